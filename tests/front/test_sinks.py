"""Records of calls on their way to webhooks, objects, traces and classes of one's own, through the real server."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import pytest

from tests.conftest import KEY, NOWHERE, Server, command, standard_config
from tests.fakes.receiver import Received, Receiver, receiving
from tests.fakes.upstream import Upstream
from tests.front.test_metrics import scrape, speak, until

SECRET = "whsec_" + base64.b64encode(b"a key of the receiver's, 24+").decode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def config(upstream: Upstream, callbacks: dict[str, Any], **settings: Any) -> dict[str, Any]:
    quick = {name: {"flush_interval": 0.05, **own} for name, own in settings.items()}
    return standard_config(upstream.url) | {"litellm_settings": callbacks, "callback_settings": quick}


def rows(received: list[Received]) -> list[dict[str, Any]]:
    return [row for one in received for row in json.loads(one.body)]


def test_a_webhook_gets_signed_rows(upstream: Upstream, serve: Callable[..., Server], receiver: Receiver) -> None:
    hook = {"endpoint": receiver.url + "/hook", "signing_secret": SECRET, "headers": {"x-mine": "yes"}}
    server = serve(config(upstream, {"callbacks": ["prometheus", "webhook"]}, webhook=hook))
    speak(server, text="canary words", **{"x-request-id": "one"})
    speak(server, "bad-key", **{"x-request-id": "two"})
    receiver.until(lambda: len(rows(receiver.taken)) == 2)
    one, two = rows(receiver.taken)
    assert (one["request_id"], one["status"], one.get("error"), one["model"]) == ("one", 200, None, "tts")
    assert (two["request_id"], two["error"], two["model"]) == ("two", "upstream_credentials", "bad-key")
    for request in receiver.taken:
        headers = request.headers
        signed = b".".join((headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), request.body))
        wanted = hmac.digest(b"a key of the receiver's, 24+", signed, hashlib.sha256)
        assert headers["webhook-signature"] == "v1," + base64.b64encode(wanted).decode()
        assert (request.path, headers["x-mine"], headers["content-type"]) == ("/hook", "yes", "application/json")
        assert b"canary" not in request.body
    assert scrape(server).sum("sink_sent_total", sink="webhook") == 2


def test_success_and_failure_callbacks_get_their_own(
    upstream: Upstream, serve: Callable[..., Server], receiver: Receiver
) -> None:
    callbacks = {"success_callback": ["good"], "failure_callback": ["bad"]}
    hooks = {name: {"callback_type": "generic_api", "endpoint": f"{receiver.url}/{name}"} for name in ("good", "bad")}
    server = serve(config(upstream, callbacks, **hooks))
    speak(server)
    speak(server, "bad-key")
    receiver.until(lambda: len(receiver.taken) == 2)
    seen = {one.path: [row.get("error") for row in json.loads(one.body)] for one in receiver.taken}
    assert seen == {"/good": [None], "/bad": ["upstream_credentials"]}
    assert "webhook-signature" not in receiver.taken[0].headers


def test_the_names_and_variables_of_litellm(
    upstream: Upstream, serve: Callable[..., Server], receiver: Receiver
) -> None:
    variables = {"GENERIC_LOGGER_ENDPOINT": receiver.url + "/logs", "GENERIC_LOGGER_HEADERS": "authorization=Bearer x"}
    server = serve(config(upstream, {"success_callback": "generic_api"}, generic_api={}), env=variables)
    speak(server)
    receiver.until(lambda: len(receiver.taken) == 1)
    assert (receiver.taken[0].path, receiver.taken[0].headers["authorization"]) == ("/logs", "Bearer x")


def test_s3_gets_json_lines(upstream: Upstream, serve: Callable[..., Server], receiver: Receiver) -> None:
    params = {
        "s3_bucket_name": "calls",
        "s3_region_name": "eu-west-3",
        "s3_endpoint_url": receiver.url,
        "s3_path": "audio/proxy",
        "s3_aws_access_key_id": "AKIDEXAMPLE",
        "s3_aws_secret_access_key": "os.environ/S3_SECRET",
    }
    whole = config(upstream, {"callbacks": ["s3_v2"], "s3_callback_params": params}, s3_v2={})
    server = serve(whole, env={"S3_SECRET": "canary-secret"})
    speak(server, **{"x-request-id": "one"})
    receiver.until(lambda: len(receiver.taken) == 1)
    (put,) = receiver.taken
    assert put.method == "PUT"
    assert put.path.startswith("/calls/audio/proxy/2")
    assert put.path.endswith(".jsonl.gz")
    (row,) = [json.loads(line) for line in gzip.decompress(put.body).splitlines()]
    assert row["request_id"] == "one"
    assert put.headers["x-amz-content-sha256"] == hashlib.sha256(put.body).hexdigest()
    assert put.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-west-3/s3/aws4_request" in put.headers["authorization"]
    assert "canary-secret" not in str(put) + server.log()


OWN = """
import json
from pathlib import Path

class Keep:
    def __init__(self, file):
        self._file = Path(file)
        self._failed = False

    async def send(self, records):
        if not self._failed:
            self._failed = True
            raise RuntimeError("canary")
        with self._file.open("a") as file:
            for record in records:
                file.write(json.dumps(record) + "\\n")
"""


def test_a_class_of_ones_own(upstream: Upstream, serve: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "own_sink_of_the_tests.py").write_text(OWN)
    file = tmp_path / "kept.jsonl"
    name = "own_sink_of_the_tests.Keep"
    whole = config(upstream, {"callbacks": [name]}, **{name: {"params": {"file": str(file)}}})
    server = serve(whole, env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}"})
    speak(server, **{"x-request-id": "one"})
    until(file.exists)
    until(lambda: "one" in file.read_text())
    assert "canary" not in server.log()
    assert scrape(server).sum("sink_failures_total", sink=name) == 1


def test_what_waits_is_sent_before_the_server_ends(
    upstream: Upstream, serve: Callable[..., Server], receiver: Receiver
) -> None:
    hook = {"endpoint": receiver.url, "flush_interval": 600}
    server = serve(config(upstream, {"callbacks": ["webhook"]}, webhook=hook))
    for _ in range(5):
        speak(server)
    assert not receiver.received
    assert server.stop() == 0
    assert len(rows(receiver.taken)) == 5


def test_a_reload_changes_the_sinks(upstream: Upstream, serve: Callable[..., Server], receiver: Receiver) -> None:
    hook = {"endpoint": receiver.url + "/old", "flush_interval": 600}
    server = serve(config(upstream, {"callbacks": ["webhook"]}, webhook=hook))
    speak(server)
    text = server.config_path.read_text()
    server.config_path.write_text(text.replace("/old", "/new").replace("600", "0.05"))
    receiver.until(lambda: [one.path for one in receiver.taken] == ["/old"])
    speak(server)
    receiver.until(lambda: [one.path for one in receiver.taken] == ["/old", "/new"])
    assert scrape(server).sum("sink_sent_total", sink="webhook") == 2


#: To each of two servers, one after the other.
CALLS = 40


# -- bad receivers -----------------------------------------------------------------------------------------------------


def _slow(receiver: Receiver) -> None:
    receiver.delay = 2.0


def _flapping(receiver: Receiver) -> None:
    receiver.statuses = cycle([500, 0, 200, 429])


def _broken(receiver: Receiver) -> None:
    receiver.statuses = repeat(500)


@pytest.mark.parametrize("make_bad", [_slow, _flapping, _broken, None], ids=["slow", "flapping", "broken", "dead"])
def test_no_call_waits_for_a_bad_webhook(
    upstream: Upstream,
    serve: Callable[..., Server],
    receiver: Receiver,
    make_bad: Callable[[Receiver], None] | None,
) -> None:
    """Against the same server without a webhook, call by call in turn. The median says what a caller feels."""
    endpoint = receiver.url if make_bad is not None else NOWHERE
    if make_bad is not None:
        make_bad(receiver)
    hook = {"endpoint": endpoint, "batch_size": 5, "queue_size": 10}
    bad = serve(config(upstream, {"callbacks": ["webhook"]}, webhook=hook))
    plain = serve(standard_config(upstream.url))
    times: dict[str, list[float]] = {bad.url: [], plain.url: []}
    for server in chain.from_iterable(repeat((plain, bad), CALLS)):
        began = perf_counter()
        assert speak(server).status_code == 200
        times[server.url].append(perf_counter() - began)
    assert median(times[bad.url]) < 2 * median(times[plain.url])
    seen = scrape(bad)
    assert seen.sum("requests_total") == CALLS
    sent, dropped = seen.sum("sink_sent_total"), seen.sum("sink_dropped_total")
    waiting = CALLS - sent - dropped
    assert 0 <= waiting <= 15
    if make_bad is None or make_bad is _broken:
        assert (sent, seen.sum("sink_failures_total") > 0) == (0, True)
        assert dropped > 0
        assert bad.log().count("sink records are dropped") <= 2
    assert bad.stop() == 0


# -- mistakes in the configuration -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"litellm_settings": {"callbacks": ["datadog"]}}, "unknown callback 'datadog'; use one of prometheus"),
        ({"litellm_settings": {"callbacks": ["webhok"]}}, "did you mean 'webhook'"),
        ({"litellm_settings": {"callbacks": ["webhook"]}}, "'endpoint' is missing in callback_settings"),
        ({"litellm_settings": {"callbacks": ["s3"]}}, "'s3_bucket_name' is missing"),
        ({"litellm_settings": {"callbacks": ["langfuse"]}}, "$LANGFUSE_PUBLIC_KEY is not set"),
        ({"litellm_settings": {"callbacks": ["no_such_module.Sink"]}}, "ModuleNotFoundError"),
        (
            {"litellm_settings": {"callbacks": ["json.JSONDecoder"]}},
            "must be a class with 'async def send(self, records)'",
        ),
        (
            {
                "litellm_settings": {"callbacks": ["webhook"]},
                "callback_settings": {"webhook": {"endpoint": "http://h", "singing_secret": "x"}},
            },
            "did you mean 'signing_secret'",
        ),
        (
            {"litellm_settings": {"callbacks": ["mine"]}, "callback_settings": {"mine": {"callback_type": "pigeon"}}},
            "unknown callback 'pigeon'",
        ),
    ],
)
def test_mistakes_are_told(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(standard_config("http://127.0.0.1:1/v1") | settings))
    result = command("check", "--config", str(path), folder=tmp_path, env={"OPENAI_API_KEY": KEY})
    assert (result.returncode, said in result.stderr) == (2, True), result.stderr
