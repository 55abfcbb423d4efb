"""What a call costs, as its answer tells it, and what the ledger holds of it, however it ended."""

from __future__ import annotations

import asyncio
import http.client
import json
import struct
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.storage.database import Database
from proxy.storage.tables import CALLS
from tests.conftest import MASTER_KEY, Server, group, launch, standard_config
from tests.fakes import answers
from tests.fakes.upstream import Upstream

CLIP = Path(__file__).parents[2] / "proxy" / "routing" / "hello.wav"
SPEECH, TRANSCRIPTION = "audio_speech", "audio_transcription"
HELLO = "Hello there."


def priced(entry: dict[str, Any], base_model: str) -> dict[str, Any]:
    """The entry at the vendor's list price, although its server is another."""
    return {**entry, "model_info": {**entry.get("model_info", {}), "base_model": base_model}}


@pytest.fixture(scope="module")
def server(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    url = fake.url
    config = standard_config(url)
    config["model_list"] += [
        priced(group("p-tts", "openai/tts-1", url), "tts-1"),
        priced(group("p-mini", "openai/gpt-4o-mini-tts", url), "gpt-4o-mini-tts"),
        priced(group("p-exact", "openai/gpt-4o-mini-tts", url, exact_usage=True), "gpt-4o-mini-tts"),
        priced(group("p-whisper", "openai/whisper-1", url, TRANSCRIPTION), "whisper-1"),
        priced(group("p-4o", "openai/gpt-4o-transcribe", url), "gpt-4o-transcribe"),
        group("p-own", "openai/kokoro", url, SPEECH, input_cost_per_character=0),
        group("p-broken", "openai/breaks", url, SPEECH, input_cost_per_character="0.001", max_retries=0),
        group("p-refused", "openai/refuses", url, SPEECH, input_cost_per_character="0.001", max_retries=0),
    ]
    config["router_settings"] = {"fallbacks": [{"p-refused": ["p-tts"]}], "num_retries": 0}
    running = launch(config, tmp_path_factory.mktemp("billing"))
    yield running
    assert running.stop() == 0, running.log()


class Desk:
    def __init__(self, server: Server) -> None:
        self.server = server
        self._headers = {"authorization": f"Bearer {MASTER_KEY}"}
        self._names = iter(range(10**9))

    def speak(self, model: str, **fields: Any) -> tuple[httpx.Response, dict[str, Any]]:
        body = {"model": model, "input": HELLO, "voice": "alloy"} | fields
        return self._ask("speech", json=body)

    def hear(self, model: str, **fields: str) -> tuple[httpx.Response, dict[str, Any]]:
        return self.hear_file(CLIP.read_bytes(), model=model, **fields)

    def hear_file(self, content: bytes, **fields: str) -> tuple[httpx.Response, dict[str, Any]]:
        return self._ask("transcriptions", data=fields, files={"file": ("a.wav", content)})

    def _ask(self, endpoint: str, **content: Any) -> tuple[httpx.Response, dict[str, Any]]:
        name = f"billing.{time.monotonic_ns()}"
        headers = self._headers | {"x-request-id": name}
        answer = httpx.post(f"{self.server.url}/v1/audio/{endpoint}", headers=headers, timeout=30, **content)
        return answer, self.row(name)

    def row(self, name: str) -> dict[str, Any]:
        """Of the request; there is one only."""
        limit = time.monotonic() + 10
        while not (found := self.rows(name)):
            assert time.monotonic() < limit, f"no row of {name}"
            time.sleep(0.05)
        (only,) = found
        return only

    def rows(self, name: str) -> list[dict[str, Any]]:
        async def read() -> list[dict[str, Any]]:
            database = Database(f"sqlite:///{self.server.config_path.with_name('audio-proxy.db')}")
            async with database.transaction() as connection:
                found = (await connection.execute(CALLS.select().where(CALLS.c.request_id == name))).mappings().all()
            await database.aclose()
            return [dict(one) for one in found]

        return asyncio.run(read())


@pytest.fixture
def desk(server: Server, upstream: Upstream) -> Desk:
    return Desk(server)


def units(text: str | Decimal) -> int:
    return int(Decimal(text) * 10**10)


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_speech_by_characters_is_told_in_the_head_whatever_the_format(desk: Desk, format: str) -> None:
    answer, row = desk.speak("p-tts", response_format=format)
    assert answer.headers["x-proxy-response-cost"] == "0.00018"  # 12 characters at $15 a million
    assert (row["cost"], row["cost_basis"], row["characters"]) == (units("0.00018"), "characters", 12)
    assert row["audio_seconds_out"] > 0
    assert (row["status"], row["error"], row["bytes_out"]) == (200, None, len(answer.content))
    assert (row["model"], row["vendor"], row["vendor_model"], row["attempts"]) == ("p-tts", "openai", "tts-1", 1)
    assert 0 < row["first_byte_ms"] <= row["total_ms"]


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_speech_without_a_count_of_tokens_is_estimated_whatever_the_format(desk: Desk, format: str) -> None:
    _, row = desk.speak("p-mini", response_format=format)
    assert row["cost_basis"] == "estimate"
    assert row["cost"] == pytest.approx(row["audio_seconds_out"] * 0.015 / 60 * 1e10, rel=1e-3)
    assert row["cost"] > 0


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_exact_usage_takes_the_audio_out_of_events(desk: Desk, upstream: Upstream, format: str) -> None:
    plain, _ = desk.speak("p-mini", response_format=format)
    answer, row = desk.speak("p-exact", response_format=format)
    assert upstream.requests[-1].json["stream_format"] == "sse"
    assert answer.headers["content-type"] == plain.headers["content-type"]
    assert answer.content == plain.content
    # 10 tokens of text at $0.60 a million, 93 of audio at $12.
    assert (row["cost"], row["cost_basis"]) == (units("0.001122"), "tokens")
    assert (row["input_text_tokens"], row["output_audio_tokens"]) == (10, 93)


def test_exact_usage_of_a_server_that_sends_audio_all_the_same(desk: Desk, upstream: Upstream) -> None:
    plain = {"stream_format": "audio"}
    upstream.behave("gpt-4o-mini-tts", answer=lambda request: answers.speech(request.json | plain))
    answer, row = desk.speak("p-exact")
    assert answer.status_code == 200
    assert row["cost_basis"] == "estimate"


def test_what_is_known_at_the_end_comes_as_a_trailer(desk: Desk) -> None:
    for model, cost in (("p-exact", "0.001122"), ("p-tts", None)):
        connection = http.client.HTTPConnection("127.0.0.1", desk.server.port, timeout=10)
        body = json.dumps({"model": model, "input": HELLO, "voice": "alloy"})
        connection.request(
            "POST",
            "/v1/audio/speech",
            body,
            {"authorization": f"Bearer {MASTER_KEY}", "content-type": "application/json", "te": "trailers"},
        )
        answer = connection.getresponse()
        file = answer.fp
        raw = file.read1(1 << 20)
        while b"0\r\n" not in raw[-200:] or not raw.endswith(b"\r\n\r\n"):
            raw += file.read1(1 << 20)
        end = raw[raw.rindex(b"\r\n0\r\n") :]
        assert (b"x-proxy-response-cost: " + cost.encode() if cost else b"") in end
        assert (answer.headers["x-proxy-response-cost"] is None) is bool(cost)
        assert cost or b"x-proxy-response-cost" not in end
        connection.close()


@pytest.mark.parametrize("stream", ["false", "true"])
@pytest.mark.parametrize("format", ["json", "verbose_json", "text", "srt", "vtt"])
def test_the_response_format_does_not_decide_what_a_transcript_costs(desk: Desk, format: str, stream: str) -> None:
    if stream == "true" and format == "verbose_json":
        pytest.skip("the fake has no such answer")
    answer, row = desk.hear("p-whisper", response_format=format, stream=stream)
    assert answer.status_code == 200
    assert row["cost_basis"] == "seconds"
    # What the fake says in json is 2 seconds, in verbose_json 1.7; the clip has one.
    assert row["cost"] in (units("0.0001"), units("0.0002"))
    assert Decimal(answer.headers["x-proxy-response-cost"]) * 10**10 == row["cost"]


@pytest.mark.parametrize("stream", ["false", "true"])
@pytest.mark.parametrize("kind", [b"RF64", b"BW64", b"RIFX"])
def test_large_kinds_of_wav_are_measured_by_their_bytes(desk: Desk, kind: bytes, stream: str) -> None:
    """Whatever their headers claim."""
    samples, order = bytes(2 * 8000 * 3), ">" if kind == b"RIFX" else "<"
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, 9, 9, 9, 0) if kind != b"RIFX" else b""
    form = struct.pack(f"{order}4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 16_000, 2, 16)
    size = len(samples) if kind == b"RIFX" else 0xFFFFFFFF
    file = kind + b"\xff" * 4 + b"WAVE" + ds64 + form + b"data" + struct.pack(f"{order}I", size) + samples
    answer, row = desk.hear_file(file, model="p-whisper", response_format="text", stream=stream)
    assert answer.status_code == 200
    assert (row["cost"], row["cost_basis"]) == (units("0.0003"), "seconds")


def test_an_upload_whose_length_cannot_be_told_is_billed_as_unknown_and_says_so(desk: Desk) -> None:
    answer, row = desk.hear_file(bytes(range(256)) * 100, model="p-whisper", response_format="text")
    assert answer.status_code == 200
    assert "x-proxy-response-cost" not in answer.headers
    assert (row["cost"], row["cost_basis"]) == (None, "unknown")
    assert "length of the audio could not be measured" in answer.headers["x-proxy-warnings"]
    lines = [line for line in desk.server.log().splitlines() if "the cost of calls is not known" in line]
    (said,) = [line for line in lines if "openai/whisper-1" in line]
    assert "could not be measured" in said
    assert "set its price" not in said
    answer, row = desk.hear_file(bytes(range(256)) * 100, model="p-whisper", response_format="json")
    assert row["cost_basis"] == "seconds", "the vendor reports it"
    assert "x-proxy-warnings" not in answer.headers


def test_a_transcript_by_tokens_and_one_that_tells_none(desk: Desk) -> None:
    _, counted = desk.hear("p-4o")
    assert (counted["cost_basis"], counted["input_audio_tokens"]) == ("tokens", 14)
    _, streamed = desk.hear("p-4o", stream="true")
    assert streamed["cost"] == counted["cost"]
    _, silent = desk.hear("p-4o", response_format="text")
    assert (silent["cost_basis"], silent["cost"], silent["audio_seconds_in"]) == ("estimate", units("0.0001"), 1.0)


def test_a_server_of_ones_own_has_no_list_price(desk: Desk) -> None:
    answer, row = desk.speak("tts")
    assert "x-proxy-response-cost" not in answer.headers
    assert (row["cost"], row["cost_basis"], row["characters"]) == (None, "unknown", 12)
    free, row = desk.speak("p-own")
    assert free.headers["x-proxy-response-cost"] == "0"
    assert (row["cost"], row["cost_basis"]) == (0, "free")
    desk.speak("tts")
    said = [line for line in desk.server.log().splitlines() if "the cost of calls is not known" in line]
    assert sum("openai/tts-1" in line for line in said) == 1
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    metrics = httpx.get(f"{desk.server.url}/metrics", headers=headers).text
    assert 'audio_proxy_unpriced_calls_total{model="openai/tts-1"}' in metrics


def test_what_broke_off_is_billed_and_what_was_refused_is_not(desk: Desk, upstream: Upstream) -> None:
    upstream.behave("breaks", chunk_size=100, stop_after=2, stop="close")
    with pytest.raises(httpx.RemoteProtocolError):
        desk.speak("p-broken")
    name = next(
        json.loads(line)["request_id"]
        for line in reversed(desk.server.log().splitlines())
        if '"model":"p-broken"' in line
    )
    row = desk.row(name)
    assert (row["cost"], row["characters"], row["status"]) == (units("0.012"), 12, 200)
    assert row["error"]
    upstream.behave("refuses", answer=answers.ERRORS[500])
    answer, row = desk.speak("p-refused")
    assert answer.headers["x-proxy-response-cost"] == "0.00018"
    assert (row["cost"], row["attempts"], row["model"], row["fallback"]) == (units("0.00018"), 2, "p-tts", "p-refused")


def test_calls_that_fail_have_a_row_and_strangers_have_none(desk: Desk) -> None:
    answer, row = desk.speak("nobody-has-it")
    assert answer.status_code == 404
    assert (row["status"], row["error"], row["cost"], row["attempts"]) == (404, "not_found", 0, 0)
    assert HELLO not in str(row)
    name = f"stranger.{time.monotonic_ns()}"
    headers = {"authorization": "Bearer sk-nobody", "x-request-id": name}
    body = {"model": "p-tts", "input": HELLO, "voice": "alloy"}
    assert httpx.post(f"{desk.server.url}/v1/audio/speech", json=body, headers=headers).status_code == 401
    desk.speak("p-tts")
    assert desk.rows(name) == []


def test_a_client_that_leaves_is_recorded(desk: Desk, upstream: Upstream) -> None:
    upstream.behave("tts-1", chunk_size=100, gap=0.2)
    name = f"leaves.{time.monotonic_ns()}"
    headers = {"authorization": f"Bearer {MASTER_KEY}", "x-request-id": name}
    body = {"model": "p-tts", "input": HELLO * 50, "voice": "alloy"}
    with httpx.stream("POST", f"{desk.server.url}/v1/audio/speech", json=body, headers=headers) as answer:
        next(answer.iter_raw())
    row = desk.row(name)
    assert (row["error"], row["cost"], row["characters"]) == ("client_gone", units("0.009"), 600)


def test_who_called_and_for_whom(desk: Desk) -> None:
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    made = httpx.post(
        f"{desk.server.url}/key/generate",
        json={"key_alias": f"k{time.monotonic_ns()}", "user_id": "u1", "team_id": "red", "tags": ["own"]},
        headers=headers,
    ).json()
    name = f"who.{time.monotonic_ns()}"
    httpx.post(
        f"{desk.server.url}/v1/audio/speech",
        json={"model": "p-tts", "input": HELLO, "voice": "alloy", "user": "eve"},
        headers={"authorization": f"Bearer {made['key']}", "x-request-id": name, "x-proxy-tags": "a,b"},
    )
    row = desk.row(name)
    assert (row["key_id"], row["user_id"], row["team_id"], row["end_user"]) == (made["token"], "u1", "red", "eve")
    assert made["key"] not in str(row)
    query = {"group_by": "tag", "key": made["token"]}
    spent = httpx.get(f"{desk.server.url}/usage", params=query, headers=headers).json()
    assert {one["tag"]: one["cost"] for one in spent["data"]} == dict.fromkeys(("a", "b", "own"), "0.00018")
