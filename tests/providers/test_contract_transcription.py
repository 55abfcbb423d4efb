"""What every vendor's transcription keeps to, case by case: see `contract`."""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pysubs2
import pytest

from proxy.audio.languages import language_name
from proxy.domain.requests import TranscriptionRequest
from proxy.domain.transcript import FORMATS
from proxy.matching import MEGABYTE
from tests.audio import sounds
from tests.conftest import MASTER_KEY, Server, launch
from tests.fakes.vendor import VendorServer
from tests.front.shape import error_of
from tests.front.wire import FORM, Wire, file_part, form, text_part
from tests.providers import lies
from tests.providers.attempts import Held, transcription_attempt
from tests.providers.conftest import HASTY, Stage, TranscriptionDesk, configuration
from tests.providers.contract import Exchange, Failure, Reply, TranscriptionCase, every_case, key_of
from tests.providers.generic import BROKEN_ANSWERS, FAILURES, NEVER, SENTINEL, expect_failure, named_failures
from tests.providers.sound import whole_sound

BOTH = ["word", "segment"]
#: Of times in seconds, which vendors and subtitles round.
ABOUT = 0.011
FORBIDDEN = ("url", "audio_url", "callback", "callback_url", "webhook_url", "api_key", "token", "authorization")
OWN = ("Model", "model_id", "audio", "headers", "cloud_storage_uri", "transcription_config", "definition")
HOSTILE = ("../x", "de&callback=http://evil.example", "de\r\nX-Evil: y", "de\x00", "de#", "x" * 3000, "{}", '"')


def _declared(desk: TranscriptionDesk) -> tuple[str, ...]:
    return desk.can.response_formats or FORMATS


# -- formats -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["json", "text"])
def test_the_text(transcription: TranscriptionDesk, wanted: str) -> None:
    reply = transcription.hear(response_format=wanted)
    assert reply.status_code == 200, reply.text
    if wanted == "text":
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert reply.text == transcription.case.text + "\n"
    else:
        assert reply.headers["content-type"] == "application/json"
        assert reply.json()["text"] == transcription.case.text


def test_json_is_the_default(transcription: TranscriptionDesk) -> None:
    assert transcription.hear().json()["text"] == transcription.case.text


def test_what_is_not_declared_is_refused(transcription: TranscriptionDesk) -> None:
    for wanted in [name for name in FORMATS if name not in _declared(transcription)]:
        transcription.refused(transcription.hear(response_format=wanted), "response_format")


def test_no_format_at_all(transcription: TranscriptionDesk) -> None:
    if transcription.can.response_formats is None:
        pytest.skip("nothing is declared: the server decides")
    transcription.refused(transcription.hear(response_format="docx"), "response_format")


def test_verbose_json(transcription: TranscriptionDesk) -> None:
    if "verbose_json" not in _declared(transcription):
        pytest.skip("not declared")
    case = transcription.case
    found = transcription.hear(response_format="verbose_json", timestamp_granularities=BOTH).json()
    assert found["task"] == "transcribe"
    assert found["text"] == case.text
    assert found["language"] == (language_name(case.language) if case.language else "unknown")
    if case.duration is not None:
        assert found["duration"] == pytest.approx(case.duration, abs=ABOUT)
    assert found["segments"]
    assert "".join("".join(row["text"] for row in found["segments"]).split()) == "".join(case.text.split())
    _in_order(found["segments"])
    _in_order(found.get("words", []))
    words = [(row["word"].strip(), row["start"], row["end"]) for row in found.get("words", [])]
    assert [word for word, _, _ in words] == [word for word, _, _ in case.words]
    for (_, start, end), (_, due_start, due_end) in zip(words, case.words, strict=True):
        assert (start, end) == pytest.approx((due_start, due_end), abs=ABOUT)


def test_verbose_json_has_segments_alone_by_default(transcription: TranscriptionDesk) -> None:
    if "verbose_json" not in _declared(transcription):
        pytest.skip("not declared")
    found = transcription.hear(response_format="verbose_json").json()
    assert found["segments"]
    assert "words" not in found


#: Files whose name says something else, and what a vendor may be told that they are.
MISLABELLED = {
    "blob": (TranscriptionDesk.AUDIO, "audio.wav", {"audio/wav"}),
    "speech.mp3?token=1": (TranscriptionDesk.AUDIO, "audio.wav", {"audio/wav"}),
    "voice.opus": (whole_sound("opus"), "voice.ogg", {"audio/ogg"}),
    "audio.wav": (sounds.file("m4a", sounds.pcm(0.3)), "audio.m4a", {"audio/mp4", "audio/m4a"}),
}


@pytest.mark.parametrize("name", MISLABELLED)
def test_an_upload_goes_on_as_what_its_bytes_are(transcription: TranscriptionDesk, name: str) -> None:
    """In a form, in the head of the request or in JSON."""
    content, filename, types = MISLABELLED[name]
    reply = transcription.hear(upload=content, filename=name)
    assert reply.status_code == 200, reply.text
    for request in transcription.vendor.of(transcription.case.main):
        for part in request.parts:
            if part.filename is not None:
                assert (part.filename, part.content_type in types) == (filename, True), part
        kind = request.header("content-type") or ""
        if kind.startswith(("audio/", "video/")):
            assert kind in types
        if kind.startswith("application/json") and "input" in request.json:
            assert {row["mime_type"] for row in request.json["input"]} <= types


REFUSED = {
    "amr": (b"#!AMR\n" + b"\x3c" + bytes(31), "amr", "AMR"),
    "caf": (sounds.file("caf", sounds.pcm(0.3)), "caf", "CAF"),
    "aac": (whole_sound("aac"), "aac", "AAC"),
    "3gp": (b"\0\0\0\x18ftyp3gp4" + bytes(4) + b"isom3gp4" + bytes(100), "3gp", "3GP"),
    "mulaw": (hashlib.shake_128(b"noise").digest(8000), "ulaw", "headerless µ-law"),
    "html": (b"<!DOCTYPE html><html>Sign in</html>", "wav", "HTML"),
}


@pytest.mark.parametrize("container", REFUSED)
def test_a_container_that_the_vendor_does_not_take(transcription: TranscriptionDesk, container: str) -> None:
    content, extension, words = REFUSED[container]
    declared = transcription.can.containers
    if declared is None or container in declared:
        pytest.skip("the vendor takes it, or nothing is declared")
    reply = transcription.hear(upload=content, filename=f"speech.{extension}")
    transcription.refused(reply, "file")
    message = reply.json()["error"]["message"]
    assert words in message
    assert container == "html" or "wav" in message


def _in_order(rows: list[dict[str, Any]]) -> None:
    assert all(0 <= row["start"] <= row["end"] for row in rows)
    assert [row["start"] for row in rows] == sorted(row["start"] for row in rows)


@pytest.mark.parametrize("wanted", ["srt", "vtt"])
def test_subtitles(transcription: TranscriptionDesk, wanted: str) -> None:
    if wanted not in _declared(transcription):
        pytest.skip("not declared")
    case = transcription.case
    reply = transcription.hear(response_format=wanted)
    assert reply.headers["content-type"] == "text/plain; charset=utf-8", reply.text
    found = pysubs2.SSAFile.from_string(reply.text, format_=wanted)
    assert "".join("".join(cue.plaintext for cue in found).split()) == "".join(case.text.split())
    assert all(cue.start <= cue.end for cue in found)
    assert [cue.start for cue in found] == sorted(cue.start for cue in found)
    if case.words:
        assert found[0].start / 1000 == pytest.approx(case.words[0][1], abs=ABOUT)


def test_speakers(transcription: TranscriptionDesk) -> None:
    if "diarized_json" not in _declared(transcription):
        assert not transcription.case.speakers
        pytest.skip("not declared")
    found = transcription.hear(response_format="diarized_json").json()
    assert "".join("".join(row["text"] for row in found["segments"]).split()) == "".join(found["text"].split())
    assert {row["type"] for row in found["segments"]} == {"transcript.text.segment"}
    if transcription.can.response_formats is not None:
        assert tuple(dict.fromkeys(row["speaker"] for row in found["segments"])) == transcription.case.speakers
    _in_order(found["segments"])


@pytest.mark.parametrize("wanted", ["json", "diarized_json"])
def test_stream_true(transcription: TranscriptionDesk, wanted: str) -> None:
    if wanted not in _declared(transcription):
        pytest.skip("not declared")
    reply = transcription.hear(stream="true", response_format=wanted)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8", reply.text
    lines = reply.text.split("\n")
    assert all(line.startswith("data: ") for line in lines if line)
    *events, done = [line.removeprefix("data: ") for line in lines if line]
    assert done == "[DONE]"
    parsed = [json.loads(event) for event in events]
    assert parsed[-1]["type"] == "transcript.text.done"
    deltas = [event["delta"] for event in parsed if event["type"] == "transcript.text.delta"]
    assert "".join("".join(deltas).split()) == "".join(transcription.case.text.split())
    assert parsed[-1]["text"] == transcription.case.text


def test_the_official_package_reads_it(transcription: TranscriptionDesk) -> None:
    with openai.OpenAI(base_url=transcription.server.url + "/v1", api_key=MASTER_KEY, max_retries=0) as sdk:
        create = sdk.audio.transcriptions.create
        plain = create(model=transcription.case.id, file=("a.wav", transcription.AUDIO))
        events = list(create(model=transcription.case.id, file=("a.wav", transcription.AUDIO), stream=True))
    assert plain.text == transcription.case.text
    assert events[-1].type == "transcript.text.done"


# -- fields ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("filename", ["a.wav", 'we"ird;\u00e4 .wav', "../../x.wav", "noextension"])
def test_the_file_arrives_as_it_was_sent(transcription: TranscriptionDesk, filename: str) -> None:
    """Not the name: that is for the vendor's log at best."""
    assert transcription.hear(filename=filename).status_code == 200
    due = hashlib.sha256(transcription.AUDIO).hexdigest()
    assert any(due == _file(transcription, request) for request in transcription.vendor.requests)


def _file(desk: TranscriptionDesk, request: Any) -> str | None:
    try:
        return desk.case.file_of(request)
    except (AssertionError, TypeError, KeyError, ValueError, IndexError):
        return None  # another request of the flow


def _arrived(desk: TranscriptionDesk, reader: Any) -> Any:
    """What the reader finds in any of the flow's requests."""
    for request in desk.vendor.requests:
        try:
            found = reader(request)
        except (TypeError, KeyError, ValueError, IndexError, AttributeError):
            continue
        if found is not None:
            return found
    return None


def test_languages_by_code_and_by_name(transcription: TranscriptionDesk) -> None:
    case = transcription.case
    if case.language_of is None:
        reply = transcription.hear(language="en")
        assert reply.status_code == 200, reply.text
        assert "language" in reply.headers.get("x-proxy-warnings", "") or transcription.can.languages == ("en",)
        return
    for given, due in case.languages.items():
        transcription.vendor.reset()
        reply = transcription.hear(language=given)
        assert reply.status_code == 200, reply.text
        assert _arrived(transcription, case.language_of) == due


def test_without_a_language_the_vendor_finds_it(transcription: TranscriptionDesk) -> None:
    reply = transcription.hear()
    assert reply.status_code == 200, reply.text
    assert "x-proxy-warnings" not in reply.headers


@pytest.mark.parametrize("field", ["prompt", "keywords"])
def test_prompt_and_keywords_arrive_or_are_warned_of(transcription: TranscriptionDesk, field: str) -> None:
    reader = getattr(transcription.case, f"{field}_of")
    values = ["Kokoro", "Zürich"]
    reply = transcription.hear(**{field: "Kokoro Zürich" if field == "prompt" else values})
    assert reply.status_code == 200, reply.text
    if reader is None:
        assert field in reply.headers.get("x-proxy-warnings", ""), f"{field} dropped without a word"
    else:
        assert field not in reply.headers.get("x-proxy-warnings", "")
        arrived = json.dumps(_arrived(transcription, reader), ensure_ascii=False)
        assert all(value in arrived for value in values)


def test_prose_as_a_prompt_arrives_or_is_warned_of(transcription: TranscriptionDesk) -> None:
    """A vendor that takes terms alone finds none in it; that is known only once the vendor is asked."""
    prose = "This is the recording of a conversation that was held by two old friends about the weather."
    reply = transcription.hear(prompt=prose)
    assert reply.status_code == 200, reply.text
    sent = b"".join(
        request.body + b"".join(part.value for part in request.parts) for request in transcription.vendor.requests
    )
    assert prose.encode() in sent or "prompt" in reply.headers.get("x-proxy-warnings", ""), "dropped without a word"


def test_a_temperature_is_taken_or_warned_of(transcription: TranscriptionDesk) -> None:
    reply = transcription.hear(temperature="0.3")
    assert reply.status_code == 200, reply.text
    sent = b"".join(
        request.body + b"".join(part.value for part in request.parts) for request in transcription.vendor.requests
    )
    everywhere = sent + "".join(request.target for request in transcription.vendor.requests).encode()
    assert b"0.3" in everywhere or "temperature" in reply.headers.get("x-proxy-warnings", ""), "dropped without a word"


def test_hostile_values_stay_in_their_place(transcription: TranscriptionDesk) -> None:
    """All at once; the teardown holds what went out against the spec."""
    usual = {"language": "en", "prompt": "p", "keywords": ["k"]}
    assert transcription.hear(**usual).status_code == 200
    plain = [(request.method, request.path, set(request.query)) for request in transcription.vendor.requests]
    options = [usual | {"language": value} for value in HOSTILE]
    options += [usual | {"prompt": value, "keywords": [value]} for value in HOSTILE]
    with ThreadPoolExecutor(len(options)) as threads:
        replies = list(threads.map(lambda fields: transcription.hear(**fields), options))
    for reply in replies:
        if reply.status_code != 200:
            error_of(reply, 400)
    for request in [one for one in transcription.vendor.requests if one.method != "DELETE"]:
        fitting = [query for method, path, query in plain if (method, path) == (request.method, request.path)]
        assert fitting, f"{request.method} {request.path}"
        assert set(request.query) <= fitting[0]


def test_an_extra_that_is_allowed_arrives(transcription: TranscriptionDesk) -> None:
    if transcription.case.extra is None:
        if transcription.can.extras:
            pytest.fail(f"the case names none of the extras {sorted(transcription.can.extras)}")
        pytest.skip("there are no extras")
    name, value = transcription.case.extra
    assert transcription.can.extras is None or name in transcription.can.extras
    text = value if isinstance(value, str) else json.dumps(value)
    reply = transcription.hear(**{name: text})
    assert reply.status_code == 200, reply.text
    assert name not in reply.headers.get("x-proxy-warnings", "")
    if transcription.case.extra_of is not None:
        assert _arrived(transcription, transcription.case.extra_of) == value
        return
    found = [one for request in transcription.vendor.requests for one in lies.values_of(request, name)]
    assert value in found or text in found


def test_extras_that_are_forbidden_never_arrive(transcription: TranscriptionDesk) -> None:
    names = FORBIDDEN if transcription.can.extras is None else (*FORBIDDEN, *OWN)
    reply = transcription.hear(**dict.fromkeys(names, SENTINEL))
    assert reply.status_code in (200, 400), reply.text
    for request in transcription.vendor.requests:
        assert SENTINEL not in request.target
        assert not [value for _, value in request.headers if SENTINEL in value]
        assert SENTINEL.encode() not in request.body + b"".join(part.value for part in request.parts)


def test_no_extra_is_declared_that_must_not_be(transcription: TranscriptionDesk) -> None:
    extras = transcription.can.extras or frozenset()
    assert not [name for name in extras if NEVER.search(name)]
    assert not extras & {"file", "model", "language", "prompt", "response_format", "stream"}


def test_a_file_that_is_too_large(transcription: TranscriptionDesk) -> None:
    most = transcription.can.max_file_mb
    if most is None or most > 32:
        pytest.skip("no limit is declared, or one that costs too much to pass")
    reply = transcription.hear(upload=bytes(int(most * MEGABYTE) + 1))
    error_of(reply, 413)
    assert not transcription.vendor.requests


# -- what the vendor tells ---------------------------------------------------------------------------------------------


def test_the_vendors_id_and_usage_are_known(transcription: TranscriptionDesk) -> None:
    reply = transcription.hear()
    assert reply.headers.get("x-proxy-upstream-id") == transcription.case.upstream_id
    attempt = transcription_attempt(transcription.line, TranscriptionRequest("m", Held(transcription.AUDIO)))
    assert attempt.usage == transcription.case.usage
    assert attempt.upstream_id == (transcription.case.upstream_id or "")
    assert not attempt.warnings


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_failures_of_every_vendor(transcription: TranscriptionDesk, failure: Any) -> None:
    """At each step of the flow."""
    for exchange in _steps(transcription.case):
        transcription.vendor.reset()
        due = failure.of(key_of(transcription.case), transcription.vendor.host)
        named = Failure(due.reply, due.status, due.kind, due.retry_after, due.code, at=exchange.name or None)
        expect_failure(transcription, named if exchange is not transcription.case.main else due, transcription.hear)


def _steps(case: TranscriptionCase) -> list[Exchange]:
    """What is asked for an answer, in order; exchanges without a name of their own cannot be told apart."""
    steps = [exchange for exchange in case.exchanges if exchange.method != "DELETE"]
    assert len({exchange.name for exchange in steps}) == len(steps), "give each exchange a name"
    return steps


def test_failures_of_this_vendor(transcription: TranscriptionDesk) -> None:
    for failure in named_failures(transcription.case):
        transcription.vendor.reset()
        expect_failure(transcription, failure, transcription.hear)


@pytest.mark.parametrize("reply", BROKEN_ANSWERS)
def test_an_answer_that_is_none(transcription: TranscriptionDesk, reply: Reply) -> None:
    for exchange in _steps(transcription.case):
        transcription.vendor.reset()
        failure = Failure(reply, 502, "upstream_invalid", at=exchange.name)
        expect_failure(transcription, failure, transcription.hear)


def test_lies_are_told_from_transcripts(transcription: TranscriptionDesk) -> None:
    """Whatever is missing, null, of another type, huge or negative: a transcript that is one, or UpstreamInvalid."""
    formats = [name for name in ("verbose_json", "diarized_json") if name in _declared(transcription)] or ["json"]
    told = lies.told(transcription.case, transcription.line, transcription.AUDIO, formats)
    if not told.count:
        pytest.skip("the case's answers are no fixed JSON")
    assert not told.wrong, "\n".join(told.wrong[:20])


@pytest.mark.parametrize("stop", ["close", "reset"])
def test_an_answer_that_breaks_off(transcription: TranscriptionDesk, stop: Any) -> None:
    for exchange in _steps(transcription.case):
        transcription.vendor.reset()
        transcription.vendor.play(exchange, chunk_size=5, stop_after=2, stop=stop)
        assert transcription.failed(transcription.hear(), 502)["code"] in ("upstream_invalid", "upstream_unreachable")


def test_a_vendor_that_hangs_is_504(transcription: TranscriptionDesk) -> None:
    transcription.vendor.play(stop_after=-1, stop="hang")
    reply = transcription.hear(HASTY)
    assert transcription.failed(reply, 504)["code"] == "upstream_timeout"
    transcription.vendor.asked.wait_closed()


def test_a_client_that_leaves_ends_the_vendors_call(transcription: TranscriptionDesk) -> None:
    """At each step; and after the last one nothing stays at the vendor."""
    steps = _steps(transcription.case)
    for exchange in steps:
        transcription.vendor.reset()
        transcription.vendor.play(exchange, stop_after=-1, stop="hang")
        body = form(text_part("model", transcription.case.id), file_part(transcription.AUDIO))
        with Wire(transcription.server.port) as leaving:
            leaving.head("POST", "/v1/audio/transcriptions", {**FORM, "Content-Length": str(len(body))})
            leaving.send(body)
            _until(lambda exchange=exchange: transcription.vendor.of(exchange), f"a request for {exchange.path}")
            assert transcription.vendor.of(exchange)[-1].received.wait(10)
        transcription.vendor.of(exchange)[-1].wait_closed()
    _deleted(transcription)


def test_what_was_uploaded_is_deleted(transcription: TranscriptionDesk) -> None:
    assert transcription.hear().status_code == 200
    _deleted(transcription)
    for exchange in _steps(transcription.case)[-1:]:
        transcription.vendor.reset()
        transcription.vendor.play(exchange, Reply.json({"error": {"message": "no"}}, status=500))
        assert transcription.hear().status_code == 500
        _deleted(transcription)


def _deleted(desk: TranscriptionDesk) -> None:
    deletions = lambda: [request for request in desk.vendor.requests if request.method == "DELETE"]  # noqa: E731
    if len(_steps(desk.case)) == 1:
        assert not desk.case.deletes
        return
    _until(lambda: len(deletions()) >= desk.case.deletes, f"{desk.case.deletes} deletions")
    assert len({request.path for request in deletions()}) == len(deletions()) == desk.case.deletes


def _until(condition: Any, what: str) -> None:
    limit = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < limit, f"waited in vain for {what}"
        time.sleep(0.01)


# -- size --------------------------------------------------------------------------------------------------------------


def test_a_large_upload_passes_through_without_being_held(
    stage_of_the_largest: tuple[Stage, TranscriptionCase],
) -> None:
    stage, case = stage_of_the_largest
    server, audio = stage.server, bytes(1 << 20) * 30

    def ask(content: bytes) -> None:
        reply = stage.http.post(
            "/audio/transcriptions", data={"model": case.id}, files={"file": ("a.wav", content)}, timeout=60
        )
        assert reply.status_code == 200, reply.text

    ask(audio[:1000])
    before = server.peak_memory()
    ask(audio)
    assert server.peak_memory() - before < 15 << 20
    digests = [case.file_of(request) for request in stage.vendors[case.id].of(case.main)]
    assert digests[-1] == hashlib.sha256(audio).hexdigest()


@pytest.fixture
def stage_of_the_largest(tmp_path: Any) -> Any:
    """A server of its own: memory that others have used would hide what this test is after."""
    found = [case for case in every_case().cases if isinstance(case, TranscriptionCase)]
    case = next((case for case in found if case.id.startswith("deepgram")), found[0])
    vendor = VendorServer(case)
    server: Server | None = None
    try:
        server = launch(configuration({case.id: vendor}), tmp_path)
        with httpx.Client(base_url=server.url + "/v1", headers={"authorization": f"Bearer {MASTER_KEY}"}) as http:
            yield Stage(server, {case.id: vendor}, {}, http), case
    finally:
        if server is not None:
            assert server.stop() == 0
        vendor.close()
