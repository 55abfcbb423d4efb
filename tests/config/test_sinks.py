"""``callbacks`` and their settings: what is read, and what is wrong with it."""

from __future__ import annotations

import pytest

from proxy.sinks.otel import OtelSettings
from proxy.sinks.s3 import S3Settings
from proxy.sinks.webhook import WebhookSinkSettings
from tests.config.conftest import KEY, Load, Problems

ENTRY = "model_list: [{model_name: tts, litellm_params: {model: tts-1}}]\n"


def test_lists_are_put_together(load_text: Load) -> None:
    text = """
litellm_settings:
  callbacks: [prometheus, webhook]
  success_callback: [s3, otel]
  failure_callback: otel
callback_settings:
  webhook: {endpoint: "https://h/x", signing_secret: os.environ/HOOK, headers: {a: b}, batch_size: 7}
  otel: {message_logging: false}
  unused: {a: b}
"""
    config = load_text(ENTRY + text, {"HOOK": "canary", "PROXY_MASTER_KEY": KEY})
    hook, s3, otel = config.sinks
    assert isinstance(hook, WebhookSinkSettings)
    assert isinstance(s3, S3Settings)
    assert isinstance(otel, OtelSettings)
    assert [(sink.kind, sink.successes, sink.failures) for sink in (hook, s3, otel)] == [
        ("webhook", True, True), ("s3", True, False), ("otel", True, True),
    ]  # fmt: skip
    assert (hook.endpoint, hook.batch_size, hook.where) == ("https://h/x", 7, "config.yaml:4")
    assert hook.signing_secret is not None
    assert hook.signing_secret.get_secret_value() == "canary"
    assert s3.bucket is None
    assert otel.where == "config.yaml:5"
    (warning,) = [line for line in config.warnings if "no effect" in line]
    assert "otel.message_logging (line 9), callback_settings.unused (line 10)" in warning
    assert "canary" not in repr(config)


def test_s3_has_litellms_names(load_text: Load) -> None:
    text = """
litellm_settings:
  callbacks: [s3_v2]
  s3_callback_params:
    s3_bucket_name: calls
    s3_endpoint_url: http://store:9000/
    s3_aws_secret_access_key: os.environ/S
    s3_api_version: x
"""
    config = load_text(ENTRY + text, {"S": "canary", "PROXY_MASTER_KEY": KEY})
    (sink,) = config.sinks
    assert isinstance(sink, S3Settings)
    assert (sink.name, sink.bucket, sink.endpoint) == ("s3_v2", "calls", "http://store:9000")
    assert any("s3_callback_params.s3_api_version (line 9)" in line for line in config.warnings)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "litellm_settings: {callbacks: [a.B]}\ncallback_settings: {a.B: 3}",
            "config.yaml:3: 'a.B' in callback_settings must be a mapping",
        ),
        (
            "litellm_settings: {callbacks: [webhook]}\ncallback_settings: {webhook: {batch_size: 0}}",
            "config.yaml:3: 'batch_size' in callback_settings.webhook must be at least 1",
        ),
        (
            "litellm_settings: {callbacks: [webhook]}\ncallback_settings: {webhook: {endpoint: ftp://x}}",
            "config.yaml:3: 'endpoint' in callback_settings.webhook must begin with http:// or https://",
        ),
        (
            "litellm_settings: {callbacks: [s3], s3_callback_params: {bucket: x}}",
            "config.yaml:2: unknown key 'bucket' in s3_callback_params",
        ),
        ("callback_settings: [webhook]", "config.yaml:2: callback_settings must be a mapping"),
        ("litellm_settings: {input_callback: [webhook]}", "callback 'webhook' is not supported"),
    ],
)
def test_mistakes(problems_of: Problems, text: str, problem: str) -> None:
    assert any(problem in line for line in problems_of(ENTRY + text)), problems_of(ENTRY + text)
