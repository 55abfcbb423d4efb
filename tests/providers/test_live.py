"""OpenAI's live transcription of files: the real proxy in front of a server that follows the schemas."""

from __future__ import annotations

import array
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from proxy.config import Deployment
from proxy.domain.requests import TranscriptionRequest
from proxy.errors import InvalidAudio, ProxyError, UpstreamInvalid, UpstreamRateLimited
from proxy.providers.sockets import live
from proxy.providers.sockets.live import LONG_TURN, MAX_TURN, PIECE, Dictation, JsonLines
from proxy.providers.vendors import openai
from tests.audio import sounds
from tests.conftest import MASTER_KEY, Server, group, launch
from tests.fakes import messages
from tests.fakes.realtime import REQUEST_ID, Realtime, Script, running
from tests.front.wire import FORM, Wire, file_part, form, text_part
from tests.providers.attempts import Held

KEY = "sk-live-9f8e7d6c5b4a"
PATH = "/v1/audio/transcriptions"
SAMPLES = sounds.pcm(2.5)
WAV = sounds.wav(SAMPLES)


@pytest.fixture(scope="module")
def fake() -> Iterator[Realtime]:
    with running() as server:
        yield server


@pytest.fixture
def vendor(fake: Realtime) -> Iterator[Realtime]:
    fake.reset()
    yield fake
    violations = list(fake.violations)
    fake.reset()
    assert violations == []


@pytest.fixture(scope="module")
def server(fake: Realtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    def entry(name: str, model: str, **settings: Any) -> dict[str, Any]:
        return group(name, model, fake.url, api_key=KEY, **settings)

    config = {
        "model_list": [
            entry("stt", "openai/gpt-live-transcribe"),
            entry("whisper", "openai/gpt-realtime-whisper"),
            entry("hasty", "openai/gpt-live-transcribe", timeout=1.5),
        ],
        "router_settings": {"num_retries": 0},
        "general_settings": {"master_key": MASTER_KEY, "log_format": "json"},
    }
    running_server = launch(config, tmp_path_factory.mktemp("live"))
    yield running_server
    assert running_server.stop() == 0, running_server.log()


def transcribe(http: httpx.Client, file: bytes = WAV, model: str = "stt", **fields: Any) -> httpx.Response:
    return http.post(PATH, data={"model": model, **fields}, files={"file": ("a.wav", file)})


def events_of(reply: httpx.Response) -> list[dict[str, Any]]:
    blocks = [block.removeprefix("data: ") for block in reply.text.split("\n\n") if block]
    assert blocks[-1] == "[DONE]"
    return [json.loads(block) for block in blocks[:-1]]


# -- through the proxy -------------------------------------------------------------------------------------------------


def test_a_stream_of_openais_events(vendor: Realtime, http: httpx.Client) -> None:
    reply = transcribe(http, stream="true")
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-proxy-upstream-id"] == REQUEST_ID
    *deltas, done = events_of(reply)
    assert len(deltas) > 1
    assert "".join(event["delta"] for event in deltas) == done["text"] == "This is turn 1."
    assert done["usage"] == {"type": "duration", "seconds": 3}
    assert done["languages"] == [{"code": "en"}]


def test_plain_json_and_text(vendor: Realtime, http: httpx.Client) -> None:
    reply = transcribe(http)
    assert reply.json() == {
        "text": "This is turn 1.", "languages": [{"code": "en"}], "usage": {"type": "duration", "seconds": 3},
    }  # fmt: skip
    assert transcribe(http, response_format="text").text == "This is turn 1.\n"
    assert transcribe(http, response_format="srt").status_code == 400


def test_the_whole_audio_arrives_as_pcm(vendor: Realtime, http: httpx.Client) -> None:
    transcribe(http).raise_for_status()
    [session] = vendor.sessions
    assert session.path == "/v1/realtime?intent=transcription"
    assert session.headers["authorization"] == f"Bearer {KEY}"
    assert bytes(session.audio) == SAMPLES
    vendor.wait(session.closed.is_set, "the end of the socket")


def test_the_settings_of_a_request_are_sent(vendor: Realtime, http: httpx.Client) -> None:
    transcribe(http, language="German", prompt="About owls.", **{"keywords[]": ["Eule", "Uhu"]}).raise_for_status()
    settings = vendor.sessions[0].of("session.update")[0]["session"]["audio"]["input"]
    assert settings["transcription"] == {
        "model": "gpt-live-transcribe", "languages": ["de"], "prompt": "About owls.", "keywords": ["Eule", "Uhu"],
    }  # fmt: skip
    assert settings["turn_detection"] is None


def test_unsupported_settings_are_warnings(vendor: Realtime, http: httpx.Client) -> None:
    reply = transcribe(http, model="whisper", language="de", prompt="About owls.", temperature="0.2")
    settings = vendor.sessions[0].of("session.update")[0]["session"]["audio"]["input"]["transcription"]
    assert settings == {"model": "gpt-realtime-whisper", "language": "de"}
    assert "prompt" in reply.headers["x-proxy-warnings"]
    assert "temperature" in reply.headers["x-proxy-warnings"]


def test_invalid_audio_is_a_client_error(vendor: Realtime, http: httpx.Client) -> None:
    assert transcribe(http, b"<html>no audio</html>").json()["error"]["code"] == "invalid_audio"
    assert transcribe(http, sounds.wav(b"")).json()["error"]["code"] == "invalid_audio"


def test_very_short_audio_is_padded(vendor: Realtime, http: httpx.Client) -> None:
    transcribe(http, sounds.wav(sounds.pcm(0.03))).raise_for_status()
    assert len(vendor.sessions[0].audio) >= 4800


def test_a_refused_handshake_and_an_error(vendor: Realtime, http: httpx.Client) -> None:
    vendor.refusal = (429, {"retry-after": "9"}, '{"error": {"message": "Slowly."}}')
    reply = transcribe(http)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "9")
    vendor.refusal = None
    vendor.scripts = [Script(stop_after=0, stop="error", error={"code": "rate_limit_exceeded"})]
    assert transcribe(http, stream="true").status_code == 429


@pytest.mark.parametrize("stop", ["close", "abort"])
def test_a_socket_that_breaks_off(vendor: Realtime, http: httpx.Client, stop: Any) -> None:
    vendor.scripts = [Script(stop_after=0, stop=stop)]
    assert transcribe(http).status_code == 502


def test_silence_is_a_timeout(vendor: Realtime, http: httpx.Client) -> None:
    vendor.scripts = [Script(stop_after=0, stop="hang")]
    assert transcribe(http, model="hasty").status_code == 504
    vendor.wait(vendor.sessions[0].closed.is_set, "the end of the socket")


def test_a_client_that_disconnects_ends_the_transcription(vendor: Realtime, server: Server) -> None:
    vendor.scripts = [Script(stop_after=0, stop="hang")]
    body = form(text_part("model", "stt"), text_part("stream", "true"), file_part(WAV))
    with Wire(server.port) as wire:
        wire.head("POST", PATH, {"Content-Length": str(len(body)), **FORM})
        wire.send(body)
        vendor.wait(lambda: vendor.sessions and vendor.sessions[0].turns, "the commit")
    vendor.wait(vendor.sessions[0].closed.is_set, "the end of the socket")


def test_a_long_file_is_cut_into_turns_and_joined(vendor: Realtime, http: httpx.Client) -> None:
    """Nine minutes without a silence, whose turns are completed in reverse order."""
    vendor.turns_backwards = True
    minute = sounds.pcm(1.0) * 60
    reply = transcribe(http, sounds.wav(minute * 9), stream="true")
    *deltas, done = events_of(reply)
    first, second = vendor.sessions[0].turns
    assert MAX_TURN <= first < MAX_TURN + PIECE
    assert first + second == 9 * len(minute)
    assert done["text"] == "".join(event["delta"] for event in deltas) == "This is turn 1. This is turn 2."
    assert done["usage"] == {"type": "duration", "seconds": 6}


# -- without I/O -------------------------------------------------------------------------------------------------------


def machine() -> Dictation:
    dictation = Dictation({"model": "gpt-live-transcribe"}, (KEY,))
    assert len(dictation.start(resumed=False)) == 1
    assert not dictation.wants_audio
    receive(dictation, {"type": "session.updated"})
    assert dictation.wants_audio
    return dictation


def receive(dictation: Dictation, *events: dict[str, Any]) -> list[dict[str, Any]]:
    output = b"".join(dictation.receive(json.dumps(event)).output for event in events)
    return [json.loads(line) for line in output.splitlines()]


def delta(item: str, text: str) -> dict[str, Any]:
    return {"type": "conversation.item.input_audio_transcription.delta", "item_id": item, "delta": text}


def completed(item: str, text: str, **more: Any) -> dict[str, Any]:
    event = "conversation.item.input_audio_transcription.completed"
    return {"type": event, "item_id": item, "transcript": text, **more}


def test_a_turn_ends_at_the_first_silence_after_four_minutes() -> None:
    dictation = machine()
    loud, silent = array.array("h", [3000] * 24_000).tobytes(), bytes(48_000)
    sent = [message for _ in range(LONG_TURN // 48_000 + 5) for message in dictation.feed(loud).send]
    assert not any("commit" in message for message in sent)
    assert "commit" in dictation.feed(silent).send[-1]
    assert "commit" not in dictation.feed(silent).send[-1]


def test_text_is_output_while_audio_is_sent() -> None:
    dictation = machine()
    dictation.feed(bytes(48_000))
    assert [event["delta"] for event in receive(dictation, delta("a", "Hel"), delta("a", "lo"))] == ["Hel", "lo"]
    assert not dictation.done


def test_the_end_of_the_audio_may_complete_the_transcript() -> None:
    dictation = machine()
    for _ in range(MAX_TURN // 48_000):
        dictation.feed(array.array("h", [3000] * 24_000).tobytes())
    assert receive(dictation, completed("a", "All of it."))[-1]["delta"] == "All of it."
    turn = dictation.feed(b"")
    assert (list(turn.send), json.loads(turn.output)["text"], dictation.done) == ([], "All of it.", True)


def test_a_changed_final_text_is_in_the_last_event() -> None:
    dictation = machine()
    dictation.feed(bytes(48_000))
    dictation.feed(b"")
    events = receive(dictation, delta("a", "Helo wor"), completed("a", "Hello world."))
    assert [event["type"] for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[-1]["text"] == "Hello world."


def test_tokens_are_summed() -> None:
    dictation = machine()
    details = {"text_tokens": 3, "audio_tokens": 20}
    spent = {
        "type": "tokens",
        "input_tokens": 23,
        "input_token_details": details,
        "output_tokens": 7,
        "total_tokens": 30,
    }
    dictation.feed(bytes(MAX_TURN))
    dictation.feed(bytes(48_000))
    dictation.feed(b"")
    done = receive(dictation, completed("a", "One.", usage=spent), completed("b", "Two.", usage=spent))[-1]
    assert done["usage"]["total_tokens"] == 60
    used = dictation.usage
    assert used is not None
    assert (used.input_audio_tokens, used.input_text_tokens, used.output_text_tokens) == (40, 6, 14)
    assert used.seconds_in == 301.0


def test_chinese_turns_are_joined_without_spaces() -> None:
    dictation = machine()
    dictation.feed(bytes(MAX_TURN + 48_000))
    dictation.feed(b"")
    assert receive(dictation, completed("a", "今天很好"), completed("b", "明天下雨"))[-1]["text"] == "今天很好明天下雨"


def test_no_audio_is_an_error() -> None:
    with pytest.raises(InvalidAudio):
        machine().feed(b"")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "conversation.item.input_audio_transcription.completed"},
        {"type": "conversation.item.input_audio_transcription.completed", "item_id": "a"},
        {"type": "conversation.item.input_audio_transcription.completed", "item_id": "a", "transcript": None},
        {"type": "conversation.item.input_audio_transcription.delta", "item_id": "a", "delta": 5},
        {"type": "conversation.item.input_audio_transcription.delta", "item_id": ["a"], "delta": "x"},
        {"type": "input_audio_buffer.committed", "item_id": None},
        {"type": "conversation.item.input_audio_transcription.failed", "item_id": "a", "error": "no"},
        {"type": "error"},
    ],
)
def test_invalid_events_end_in_proxy_errors(event: dict[str, Any]) -> None:
    dictation = machine()
    with pytest.raises(ProxyError):
        dictation.receive(json.dumps(event))


@pytest.mark.parametrize(
    "more",
    [{"usage": 5}, {"usage": {"type": "tokens", "output_tokens": -5}}, {"usage": {"seconds": "x"}}, {"languages": "en"},
     {"languages": [5, {"code": 7}]}],
)  # fmt: skip
def test_invalid_usage_and_languages_are_left_out(more: dict[str, Any]) -> None:
    dictation = machine()
    dictation.feed(bytes(48_000))
    dictation.feed(b"")
    assert receive(dictation, completed("a", "One.", **more))[-1]["text"] == "One."


def test_more_turns_than_were_sent_are_invalid() -> None:
    dictation = machine()
    with pytest.raises(UpstreamInvalid):
        receive(dictation, *(delta(f"item {number}", "x") for number in range(5)))


def test_a_failed_turn_is_mapped_by_its_error() -> None:
    error = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": f"Slowly, {KEY}."}
    event = {"type": "conversation.item.input_audio_transcription.failed", "item_id": "a", "error": error}
    with pytest.raises(UpstreamRateLimited) as caught:
        receive(machine(), event)
    assert KEY not in caught.value.message


def test_a_cut_stream_is_not_complete() -> None:
    lines = JsonLines()
    assert list(lines.feed(b'{"type":"transcript.text.delta","delta":"a"}\n{"type"')) != []
    with pytest.raises(UpstreamInvalid):
        lines.end()


def test_an_incomplete_dictation_is_no_transcript() -> None:
    deployment = Deployment(id="one", group="g", vendor="openai", model="gpt-live-transcribe", where="config.yaml:1")
    flow = openai.OPENAI.bind(deployment, {"OPENAI_API_KEY": KEY}).transcription(TranscriptionRequest("m", Held(b"")))
    next(flow)
    with pytest.raises(UpstreamInvalid):
        flow.send(messages.response(200))
    assert live.declared_of("gpt-live-transcribe") is live.LIVE
