"""Traces as an OTLP receiver gets them from the real server."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import Server, command, group, standard_config
from tests.fakes.receiver import Received, Receiver, receiving
from tests.fakes.upstream import Upstream
from tests.front.test_metrics import speak

trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-2] + "00"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def spans(received: list[Received]) -> list[Any]:
    found = []
    for one in received:
        body = gzip.decompress(one.body) if one.headers.get("content-encoding") == "gzip" else one.body
        request = trace_service.ExportTraceServiceRequest.FromString(body)
        found += [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    return found


def attributes(span: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


def traced(upstream: Upstream, serve: Callable[..., Server], receiver: Receiver, **env: str) -> Server:
    config = standard_config(upstream.url) | {
        "litellm_settings": {"callbacks": ["otel"]},
        "callback_settings": {"otel": {"flush_interval": 0.05, "message_logging": False}},
        "router_settings": {"num_retries": 0, "fallbacks": [{"broken": ["tts"]}]},
    }
    config["model_list"].append(group("broken", "openai/broken", upstream.url, "audio_speech"))
    return serve(config, env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url} | env)


def test_a_call_is_a_trace(upstream: Upstream, serve: Callable[..., Server], receiver: Receiver) -> None:
    upstream.behave("broken", stop_after=-1)
    variables = {
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%20b",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }
    server = traced(upstream, serve, receiver, **variables)
    speak(server, "broken", text="canary words", traceparent=PARENT, **{"x-request-id": "one"})
    receiver.until(lambda: len(receiver.taken) == 1)
    (request,) = receiver.taken
    assert (request.path, request.headers["api-key"]) == ("/v1/traces", "a b")
    assert request.headers["content-type"] == "application/x-protobuf"
    export = trace_service.ExportTraceServiceRequest.FromString(request.body)
    resource = {pair.key: pair.value.string_value for pair in export.resource_spans[0].resource.attributes}
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("audio-proxy", "test")
    found = spans([request])
    root = found[0]
    by_id = {span.span_id: span for span in found}
    assert {span.trace_id.hex() for span in found} == {PARENT[3:35]}
    assert root.parent_span_id.hex() == PARENT[36:52]
    assert [span.name for span in found] == [
        "POST /v1/audio/speech", "receive", "route", "speech broken", "speech tts-1", "answer",
    ]  # fmt: skip
    for span in found[1:]:
        above = by_id[span.parent_span_id]
        assert above.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano
    first, second = found[3:5]
    assert (first.status.code, second.status.code, root.status.code) == (2, 0, 0)
    said = attributes(second)
    assert said["gen_ai.operation.name"] == "speech"
    assert said["gen_ai.provider.name"] == "openai"
    assert said["gen_ai.request.model"] == "tts-1"
    assert said["gen_ai.output.type"] == "speech"
    assert said["audio_proxy.won"] is True
    assert attributes(first)["error.type"] == "upstream_unreachable"
    whole = attributes(root)
    assert (whole["http.response.status_code"], whole["audio_proxy.request_id"]) == (200, "one")
    assert whole["audio_proxy.characters"] == len("canary words")
    assert b"canary" not in request.body
    (line,) = server.log_lines("one")
    assert PARENT in line
    assert all("traceparent" not in one.headers for one in upstream.requests)


def test_tokens_of_a_transcription(upstream: Upstream, serve: Callable[..., Server], receiver: Receiver) -> None:
    import httpx

    from tests.front.test_metrics import KEY

    server = traced(upstream, serve, receiver)
    form = {"model": "gpt-4o-transcribe"}
    file = {"file": ("a.wav", b"RIFF" + bytes(100), "audio/wav")}
    response = httpx.post(server.url + "/v1/audio/transcriptions", data=form, files=file, headers=KEY)
    assert response.status_code == 200, response.text
    receiver.until(lambda: len(receiver.taken) == 1)
    (attempt,) = [span for span in spans(receiver.taken) if span.name.startswith("transcription ")]
    usage = response.json()["usage"]
    said = attributes(attempt)
    assert said["gen_ai.usage.input_tokens"] == usage["input_tokens"]
    assert said["gen_ai.usage.output_tokens"] == usage["output_tokens"]
    assert said["gen_ai.output.type"] == "text"


def test_a_caller_that_does_not_sample_is_heeded(
    upstream: Upstream, serve: Callable[..., Server], receiver: Receiver
) -> None:
    server = traced(upstream, serve, receiver)
    speak(server, traceparent=UNSAMPLED)
    speak(server, traceparent="rubbish", **{"x-request-id": "mine"})
    assert server.stop() == 0  # what waits has been sent
    (root,) = [span for span in spans(receiver.taken) if not span.parent_span_id]
    assert attributes(root)["audio_proxy.request_id"] == "mine"


def test_compressed(upstream: Upstream, serve: Callable[..., Server], receiver: Receiver) -> None:
    server = traced(upstream, serve, receiver, OTEL_EXPORTER_OTLP_COMPRESSION="gzip")
    speak(server)
    receiver.until(lambda: len(receiver.taken) == 1)
    assert spans(receiver.taken)[0].name == "POST /v1/audio/speech"


def test_langfuse(upstream: Upstream, serve: Callable[..., Server], receiver: Receiver) -> None:
    config = standard_config(upstream.url) | {
        "litellm_settings": {"success_callback": ["langfuse"]},
        "callback_settings": {"langfuse": {"flush_interval": 0.05}},
    }
    variables = {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
        "LANGFUSE_SECRET_KEY": "sk-lf-canary",
        "LANGFUSE_HOST": receiver.url,
    }
    server = serve(config, env=variables)
    speak(server, **{"x-litellm-end-user-id": "ann"})
    receiver.until(lambda: len(receiver.taken) == 1)
    (request,) = receiver.taken
    credentials = base64.b64encode(b"pk-lf-1:sk-lf-canary").decode()
    assert request.path == "/api/public/otel/v1/traces"
    assert request.headers["authorization"] == f"Basic {credentials}"
    root, *rest = spans([request])
    assert attributes(root)["langfuse.trace.name"] == "audio speech"
    (attempt,) = [span for span in rest if span.name == "speech tts-1"]
    assert attributes(attempt)["langfuse.observation.type"] == "generation"
    assert "canary" not in server.log()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "must be http/protobuf, not 'grpc'"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "$OTEL_EXPORTER_OTLP_ENDPOINT must begin with http"),
        ({"OTEL_TRACES_SAMPLER": "sometimes"}, "$OTEL_TRACES_SAMPLER must be one of always_off, always_on"),
        ({"OTEL_TRACES_SAMPLER_ARG": "2"}, "$OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1"),
    ],
)
def test_mistakes_are_told(tmp_path: Any, variables: dict[str, str], said: str) -> None:
    import json

    path = tmp_path / "config.yaml"
    config = standard_config("http://127.0.0.1:1/v1") | {"litellm_settings": {"callbacks": ["otel"]}}
    path.write_text(json.dumps(config))
    environment = {"OPENAI_API_KEY": "sk-x"} | variables
    result = command("check", "--config", str(path), folder=tmp_path, env=environment)
    assert (result.returncode, said in result.stderr) == (2, True), result.stderr
