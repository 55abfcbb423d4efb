"""What every vendor's speech keeps to, case by case: see `contract`."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import openai
import pytest

from proxy.audio.formats import SPEECH_FORMATS
from proxy.audio.languages import language_code
from proxy.domain.requests import SpeechRequest
from proxy.providers.voices import NAMES
from tests.conftest import MASTER_KEY
from tests.front.shape import error_of
from tests.front.wire import JSON, Wire
from tests.providers.attempts import speech_attempt
from tests.providers.conftest import ANY_VOICE, HASTY, SpeechDesk
from tests.providers.contract import Failure, Reply, key_of
from tests.providers.generic import BROKEN_ANSWERS, FAILURES, NEVER, SENTINEL, expect_failure, named_failures
from tests.providers.sound import SECONDS, seconds

FORMATS = sorted(SPEECH_FORMATS)
#: Of durations: an encoder pads, and cuts into frames.
TOLERANCE = 0.15
HOSTILE = (
    "../voices/add", "..", ".", "a/b", "a?x=1", "%2e%2e%2f", "%2e%2e", "a#b", "\r\nX-Evil: y", "a\x00b", "a b", "a&b=c",
    "@127.0.0.1/x", "\\..\\x", "a;b", "ä/ö", 'a"><x>', "v" * 5000,
)  # fmt: skip
TEXTS = (
    'He said: "5 < 6 & 7 > 3", it\'s true.',
    "</voice></speak><break time='10s'/> &amp; &lt; ]]> <!-- x -->",
    "*Bold*, `code`, {json: 1}, $money, 100%, \\n, \\u0041",
    "Zürich, naïve, 日本語, Ελληνικά, emoji 👋🏽.",
    "[whispering] Come closer. (sighs) [laughs]",
    "One line.\nAnother line.\tA tab.",
)
FORBIDDEN = (
    "url",
    "audio_url",
    "callback",
    "callback_url",
    "webhook",
    "webhook_url",
    "xi-api-key",
    "api_key",
    "apikey",
    "token",
    "authorization",
)
#: What an adapter sets itself; a vendor that declares its extras lets none through.
OWN = ("Model", "text", "ssml", "model_id", "modelId", "voice_id", "contents", "headers", "input_text", "prompt")


# -- formats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", FORMATS)
def test_six_formats(speech: SpeechDesk, wanted: str) -> None:
    reply = speech.say(response_format=wanted)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == SPEECH_FORMATS[wanted]
    assert seconds(reply.content, wanted) == pytest.approx(SECONDS, abs=TOLERANCE)
    sent, native = speech.vendor.replies[-1].format, speech.can.formats
    if native is not None and sent is not None:
        assert sent in native, f"asked for {sent}, which is not declared"
        assert (sent == wanted) == (wanted in native)


def test_another_format_is_refused(speech: SpeechDesk) -> None:
    if speech.can.formats is None:
        pytest.skip("nothing is declared: the server decides")
    speech.refused(speech.say(response_format="wma"), "response_format")


@pytest.mark.parametrize("wanted", ["mp3", "pcm"])
def test_events(speech: SpeechDesk, wanted: str) -> None:
    reply = speech.say(response_format=wanted, stream_format="sse")
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8", reply.text
    *events, done = [json.loads(data) if data != "[DONE]" else data for data in _data(reply.text)]
    assert done == "[DONE]"
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    assert events[-1]["type"] == "speech.audio.done"
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert seconds(audio, wanted) == pytest.approx(SECONDS, abs=TOLERANCE)


def _data(text: str) -> list[str]:
    return [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]


def test_small_chunks_make_the_same_audio(speech: SpeechDesk) -> None:
    wanted = speech.native
    at_once = speech.say(response_format=wanted).content
    speech.vendor.play(chunk_size=7)
    assert speech.say(response_format=wanted).content == at_once


def test_the_first_audio_leaves_before_the_vendor_has_finished(speech: SpeechDesk) -> None:
    if not speech.case.live:
        pytest.skip("the vendor answers whole")
    gate = speech.vendor.gate()
    speech.vendor.play(gate=gate)
    gate.release(4)
    body = speech.body({"response_format": speech.native})
    with speech.http.stream("POST", "/audio/speech", json=body) as reply:
        arriving = reply.iter_raw()
        first = next(arriving)
        assert speech.vendor.asked.chunks_sent <= 4
        assert not speech.vendor.asked.answered.is_set()
        gate.open()
        audio = first + b"".join(arriving)
    assert seconds(audio, speech.native) == pytest.approx(SECONDS, abs=TOLERANCE)


# -- voices ------------------------------------------------------------------------------------------------------------


def test_openais_voices_are_taken_and_mapped(speech: SpeechDesk) -> None:
    known, seen = speech.can.voices, {}
    for name in NAMES:
        reply = speech.say(voice=name)
        assert reply.status_code == 200, f"{name}: {reply.text}"
        seen[name] = speech.case.voice_of(speech.vendor.asked)
        assert seen[name] == (known.find(name) if known is not None else name)
    if known is None:
        return
    english = {voice.id for voice in known.catalogue if voice.language is None or language_code(voice.language) == "en"}
    expected = speech.case.distinct_voices or min(len(NAMES), len(english) or len(NAMES))
    assert len(set(seen.values())) >= expected, seen


def test_a_voice_of_the_catalogue_by_its_id(speech: SpeechDesk) -> None:
    if speech.can.voices is None:
        pytest.skip("no voices are declared")
    for voice in (speech.can.voices.catalogue[0], speech.can.voices.catalogue[-1]):
        assert speech.say(voice=voice.id).status_code == 200
        assert speech.case.voice_of(speech.vendor.asked) == voice.id


def test_an_unknown_voice_is_refused_by_name(speech: SpeechDesk) -> None:
    if speech.can.voices is None:
        pytest.skip("no voices are declared")
    reply = speech.say(voice="no such voice!")
    speech.refused(reply, "voice")
    assert any(name in reply.json()["error"]["message"] for name in speech.can.voices.names)
    speech.refused(speech.say(voice={"id": "no such voice!"}), "voice")


def test_allow_any_voice_opens_it(speech: SpeechDesk) -> None:
    reply = speech.say(ANY_VOICE, voice="PrivateVoice1")
    assert reply.status_code == 200, reply.text
    assert speech.case.voice_of(speech.vendor.asked) == "PrivateVoice1"


@pytest.mark.parametrize("voice", HOSTILE, ids=lambda voice: ascii(voice)[1:20])
def test_a_hostile_voice_stays_in_its_place(speech: SpeechDesk, voice: str) -> None:
    """The teardown checks path and host of all that went out."""
    assert speech.say(ANY_VOICE).status_code == 200
    plain = speech.vendor.asked
    for given in (voice, {"id": voice}):
        speech.vendor.reset()
        reply = speech.say(ANY_VOICE, voice=given)
        if reply.status_code != 200:
            speech.refused(reply, "voice")
            continue
        asked = speech.vendor.asked
        assert speech.case.voice_of(asked) == voice
        assert speech.case.text_of(asked) == speech.case.text_of(plain)
        assert list(asked.query) == list(plain.query)
        assert [name for name, _ in asked.headers] == [name for name, _ in plain.headers]
    if speech.can.voices is not None and speech.can.voices.find(voice) is None:
        speech.vendor.reset()
        speech.refused(speech.say(voice=voice), "voice")


# -- fields ------------------------------------------------------------------------------------------------------------


def test_speeds_that_the_vendor_takes(speech: SpeechDesk) -> None:
    low, high = speech.can.speed or (0.5, 2.0)
    for speed in {low, high, 1.0}:
        reply = speech.say(speed=speed)
        assert reply.status_code == 200, reply.text
        if speech.case.speed_of is not None:
            arrived = speech.case.speed_of(speech.vendor.asked)
            assert arrived == pytest.approx(speed, rel=0.02) or (speed == 1 and arrived is None)


def test_the_other_speeds_of_openais_are_made_or_refused(speech: SpeechDesk) -> None:
    if speech.can.speed is None:
        pytest.skip("nothing is declared: the server decides")
    low, high = speech.can.speed
    for speed in [speed for speed in (0.25, 4.0) if not low <= speed <= high]:
        speech.vendor.reset()
        reply = speech.say(speed=speed, response_format="wav")
        if reply.status_code == 200:
            arrived = (speech.case.speed_of and speech.case.speed_of(speech.vendor.asked)) or 1.0
            assert low <= arrived <= high
            assert seconds(reply.content, "wav") == pytest.approx(SECONDS * arrived / speed, rel=0.15, abs=0.1)
        else:
            speech.refused(reply, "speed")


@pytest.mark.parametrize("speed", [0, -1, 4.1, 1000, "fast", True])
def test_no_speed_at_all(speech: SpeechDesk, speed: Any) -> None:
    if speech.can.speed is None and isinstance(speed, (int, float)) and speed is not True:
        pytest.skip("nothing is declared: the server decides")
    speech.refused(speech.say(speed=speed), "speed")


def test_instructions_arrive_or_are_warned_of(speech: SpeechDesk) -> None:
    reply = speech.say(instructions="Speak like a <pirate> & friend.")
    assert reply.status_code == 200, reply.text
    if speech.case.instructions_of is None:
        assert "instructions" in reply.headers.get("x-proxy-warnings", ""), "dropped without a word"
        assert b"pirate" not in _raw(speech)
    else:
        assert "Speak like a <pirate> & friend." in (speech.case.instructions_of(speech.vendor.asked) or "")
    assert speech.case.text_of(speech.vendor.asked) == "Hello there."


def test_an_extra_that_is_allowed_arrives(speech: SpeechDesk) -> None:
    if speech.case.extra is None:
        if speech.can.extras:
            pytest.fail(f"the case names none of the extras {sorted(speech.can.extras)}")
        pytest.skip("there are no extras")
    name, value = speech.case.extra
    assert speech.can.extras is None or name in speech.can.extras
    reply = speech.say(**{name: value})
    assert reply.status_code == 200, reply.text
    assert name not in reply.headers.get("x-proxy-warnings", "")
    if speech.case.extra_of is not None:
        assert speech.case.extra_of(speech.vendor.asked) == value
    else:
        assert value in _values(speech, name) or str(value) in _values(speech, name)


def _values(speech: SpeechDesk, name: str) -> list[Any]:
    """All that stands under that name, anywhere."""
    asked = speech.vendor.asked
    found: list[Any] = [*asked.query.get(name, ()), *asked.fields.get(name, ())]
    waiting = [asked.json]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            found.extend(value for key, value in node.items() if key == name)
        waiting.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
    return found


def test_extras_that_are_forbidden_never_arrive(speech: SpeechDesk) -> None:
    """Nor what the adapter sets, where the vendor declares its extras."""
    names = FORBIDDEN if speech.can.extras is None else (*FORBIDDEN, *OWN)
    for value in (SENTINEL, {"url": SENTINEL}, [SENTINEL]):
        reply = speech.say(**dict.fromkeys(names, value))
        assert reply.status_code in (200, 400), reply.text
    for request in speech.vendor.requests:
        assert SENTINEL not in request.target
        assert not [value for _, value in request.headers if SENTINEL in value]
    assert SENTINEL.encode() not in _raw(speech)


def test_no_extra_is_declared_that_must_not_be(speech: SpeechDesk) -> None:
    extras = speech.can.extras or frozenset()
    assert not [name for name in extras if NEVER.search(name)]
    assert not extras & {"input", "voice", "model", "speed", "instructions", "response_format"}


def _raw(speech: SpeechDesk) -> bytes:
    return b"".join(request.body + b"".join(part.value for part in request.parts) for request in speech.vendor.requests)


def test_a_text_that_is_too_long(speech: SpeechDesk) -> None:
    most = speech.can.max_characters
    if most is None:
        pytest.skip("no limit is declared")
    sentence = "One more sentence for it. "
    text = (sentence * (most // len(sentence) + 1))[: most - 1] + ".X"
    reply = speech.say(input=text)
    if reply.status_code == 200 and speech.can.splits:
        said = [speech.case.text_of(request) for request in speech.vendor.of(speech.case.main)]
        assert " ".join(said).split() == text.split()
        assert all(len(piece) <= most for piece in said)
    else:
        speech.refused(reply, "input")
    speech.vendor.reset()
    assert speech.say(input=text[:most]).status_code == 200


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text)[1:16])
def test_the_text_arrives_as_it_is(speech: SpeechDesk, text: str) -> None:
    reply = speech.say(input=text)
    assert reply.status_code == 200, reply.text
    assert speech.case.text_of(speech.vendor.asked) == text


@pytest.mark.parametrize(
    "text", ["a\x00b\x08c\x1bd\x7f", "a\ufffe\uffffb", "a\\ud83d b", "\u202eabc\u2028\u2029\ufeff"], ids=ascii
)
def test_a_text_that_hardly_is_one(speech: SpeechDesk, text: str) -> None:
    """Control characters, a lone surrogate (as JSON spells it): spoken without them, or a clear 400."""
    body = json.dumps(speech.body({"input": text})).replace("\\\\ud83d", "\\ud83d")
    reply = speech.http.post("/audio/speech", content=body, headers=JSON)
    if reply.status_code != 200:
        assert error_of(reply, 400)["param"] in ("input", None)
        return
    letters = re.sub(r"[^a-d]", "", text.replace("\\ud83d", ""))
    assert re.sub(r"[^a-d]", "", speech.case.text_of(speech.vendor.asked)) == letters


# -- what the vendor tells ---------------------------------------------------------------------------------------------


def test_the_vendors_id_and_usage_are_known(speech: SpeechDesk) -> None:
    reply = speech.say()
    assert reply.headers.get("x-proxy-upstream-id") == speech.case.upstream_id
    attempt = speech_attempt(speech.line, SpeechRequest("m", "Hello there.", "alloy", response_format=speech.native))
    assert attempt.usage == speech.case.usage
    assert attempt.upstream_id == (speech.case.upstream_id or "")
    assert not attempt.warnings


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_failures_of_every_vendor(speech: SpeechDesk, failure: Any) -> None:
    expect_failure(speech, failure.of(key_of(speech.case), speech.vendor.host), lambda: speech.say())


def test_failures_of_this_vendor(speech: SpeechDesk) -> None:
    for failure in named_failures(speech.case):
        speech.vendor.reset()
        expect_failure(speech, failure, lambda: speech.say())


@pytest.mark.parametrize("reply", BROKEN_ANSWERS)
@pytest.mark.parametrize("stream_format", [None, "sse"])
def test_an_answer_that_is_none(speech: SpeechDesk, reply: Reply, stream_format: str | None) -> None:
    failure = Failure(reply, 502, "upstream_invalid")
    expect_failure(speech, failure, lambda: speech.say(stream_format=stream_format))


@pytest.mark.parametrize("stop", ["close", "reset"])
@pytest.mark.parametrize("wanted", ["native", "mp3", "wav"])
def test_a_stream_that_dies_never_looks_complete(speech: SpeechDesk, wire: Wire, stop: Any, wanted: str) -> None:
    wanted = speech.native if wanted == "native" else wanted
    speech.say(response_format=wanted)
    pieces = speech.vendor.asked.chunks_sent
    speech.vendor.play(
        stop_after=pieces - 1 if pieces > 1 else None, stop=stop, **({} if pieces > 1 else _half(speech))
    )
    reply = wire.post("/v1/audio/speech", json.dumps(speech.body({"response_format": wanted})).encode(), JSON)
    if reply.complete:
        error_of(reply)
        assert reply.status_code >= 500


def _half(speech: SpeechDesk) -> dict[str, Any]:
    """For an answer in one piece: it is cut into such that the end never comes."""
    return {"chunk_size": max(1, len(speech.vendor.replies[-1].whole) // 4), "stop_after": 3}


def test_events_of_a_stream_that_dies_end_with_an_error(speech: SpeechDesk, wire: Wire) -> None:
    speech.say(stream_format="sse", response_format=speech.native)
    pieces = speech.vendor.asked.chunks_sent
    settings = {"stop_after": pieces // 2} if pieces > 1 else _half(speech)
    speech.vendor.play(**settings)
    body = speech.body({"response_format": speech.native, "stream_format": "sse"})
    reply = wire.post("/v1/audio/speech", json.dumps(body).encode(), JSON)
    if reply.status_code == 200:
        assert "speech.audio.done" not in reply.text
        assert "[DONE]" not in reply.text
        assert not reply.complete or '"error"' in reply.text
    else:
        assert error_of(reply)


def test_half_a_document_is_no_answer(speech: SpeechDesk, wire: Wire) -> None:
    """Where audio comes wrapped up, the end can be told; whole HTTP around half a document must not pass for it."""
    speech.say(response_format=speech.native)
    sent = speech.vendor.replies[-1]
    if sent.format is not None:
        pytest.skip("the vendor sends bare audio")
    speech.vendor.play(reply=Reply(sent.whole[: len(sent.whole) // 2], 200, sent.content_type, sent.headers))
    reply = wire.post("/v1/audio/speech", json.dumps(speech.body({"response_format": speech.native})).encode(), JSON)
    assert reply.status_code == 502 or not reply.complete


def test_a_client_that_leaves_ends_the_vendors_call(speech: SpeechDesk) -> None:
    gate = speech.vendor.gate()
    speech.vendor.play(gate=gate)
    gate.release(1)
    body = json.dumps(speech.body({"response_format": speech.native})).encode()
    with Wire(speech.server.port) as leaving:
        leaving.head("POST", "/v1/audio/speech", {**JSON, "Content-Length": str(len(body))})
        leaving.send(body)
        while not speech.vendor.of(speech.case.main):
            speech.vendor.wait_requests(len(speech.vendor.requests) + 1)
        assert speech.vendor.asked.received.wait(10)
    speech.vendor.asked.wait_closed()


def test_a_vendor_that_hangs_is_504(speech: SpeechDesk) -> None:
    speech.vendor.play(stop_after=-1, stop="hang")
    reply = speech.say(HASTY)
    assert speech.failed(reply, 504)["code"] == "upstream_timeout"
    speech.vendor.asked.wait_closed()


def test_the_official_package_reads_it(speech: SpeechDesk) -> None:
    with openai.OpenAI(base_url=speech.server.url + "/v1", api_key=MASTER_KEY, max_retries=0) as sdk:
        audio = sdk.audio.speech.create(model=speech.case.id, input="Hello there.", voice="nova", response_format="wav")
    assert seconds(audio.content, "wav") == pytest.approx(SECONDS, abs=TOLERANCE)
