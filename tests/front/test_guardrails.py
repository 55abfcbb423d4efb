"""Guardrails through the real server: what callers, vendors and logs get to see of words that should not pass."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pysubs2
import pytest

from tests.conftest import MASTER_KEY, Server, group, launch, standard_config
from tests.fakes import answers
from tests.fakes.answers import Answer
from tests.fakes.samples import wav
from tests.fakes.upstream import Recorded, Upstream, running
from tests.front.shape import error_of

FILE = {"file": ("speech.wav", wav())}
SPEECH, TRANSCRIPTIONS = "/v1/audio/speech", "/v1/audio/transcriptions"
#: A number that is in no text but those of these tests.
CARD = "4929 3813 3266 4295"
SAID = f"Hello there. My card is {CARD}. Thank you very much."
MASKED = "Hello there. My card is [CREDIT_CARD]. Thank you very much."
CUSTOM = '''
from proxy.guardrails import ALLOW, Verdict


class Shouting:
    """Lowers voices, refuses the word BLOCK, and breaks on BREAK."""

    def __init__(self, refused):
        self._refused = refused

    async def check(self, text, context):
        if "BREAK" in text:
            raise RuntimeError(text)
        if self._refused in text:
            return Verdict.block("SHOUTING")
        return Verdict.rewrite(text.lower(), "SHOUTING") if text.isupper() else ALLOW
'''


def guardrail(name: str, kind: str, mode: str | Sequence[str], **params: Any) -> dict[str, Any]:
    return {"guardrail_name": name, "litellm_params": {"guardrail": kind, "mode": mode, **params}}


BOTH = ["pre_call", "post_call"]


def guardrails(hooks: str) -> list[dict[str, Any]]:
    hook = {"url": hooks.removesuffix("/v1") + "/hook", "headers": {"x-secret": "os.environ/HOOK_SECRET"}}
    words = {"words": ["forbidden fruit", "Straße"], "patterns": ["(?i)project-[0-9]+"]}
    moderation = {"api_base": hooks, "api_key": "sk-moderation"}
    return [
        guardrail("mask", "pii", BOTH, action="redact"),
        guardrail("no-cards", "pii", BOTH, entities=["CREDIT_CARD"], action="block"),
        guardrail("note", "pii", BOTH, action="log"),
        guardrail("beside", "pii", "during_call"),
        guardrail("after", "pii", "post_call"),
        guardrail("quiet", "pii", "logging_only"),
        guardrail("words", "blocked_words", BOTH, **words),
        guardrail("mask-words", "blocked_words", BOTH, action="redact", **words),
        guardrail("short", "max_length", "pre_call", max_characters=20),
        guardrail("moderated", "openai_moderation", BOTH, thresholds={"violence": 0.5}, **moderation),
        guardrail("hook", "webhook", BOTH, timeout=0.5, **hook),
        guardrail("hook-or-not", "webhook", BOTH, timeout=0.5, on_failure="allow", **hook),
        guardrail("slow-beside", "webhook", "during_call", timeout=5, **hook),
        guardrail("own", "custom", BOTH, **{"class": "shouting.Shouting"}, params={"refused": "BLOCK"}),
    ]


@pytest.fixture(scope="module")
def hooks() -> Iterator[Upstream]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def server(fake: Upstream, hooks: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "shouting.py").write_text(CUSTOM)
    config = standard_config(fake.url) | {"guardrails": guardrails(hooks.url)}
    # A second deployment: none of it may be asked after a refusal.
    config["model_list"].append(group("whisper", "openai/whisper-1", fake.url, "audio_transcription"))
    running_server = launch(config, folder, env={"HOOK_SECRET": "s3cr3t"})
    yield running_server
    assert running_server.stop() == 0, running_server.log()
    for secret in (CARD, CARD.replace(" ", ""), "s3cr3t", "sk-moderation"):
        assert secret not in running_server.log()


@pytest.fixture
def http(http: httpx.Client, hooks: Upstream, upstream: Upstream) -> httpx.Client:
    hooks.reset()
    return http


def speak(http: httpx.Client, text: str, *names: str, model: str = "tts", **more: Any) -> httpx.Response:
    body = {"model": model, "input": text, "voice": "alloy", "guardrails": list(names)} | more
    return http.post(SPEECH, json=body)


def hear(http: httpx.Client, *names: str, model: str = "whisper", **fields: Any) -> httpx.Response:
    return http.post(TRANSCRIPTIONS, data={"model": model, "guardrails[]": list(names), **fields}, files=FILE)


def refused(reply: httpx.Response, name: str) -> None:
    assert reply.status_code == 400, reply.text
    error = error_of(reply)
    assert (error["type"], error["code"]) == ("invalid_request_error", "guardrail_violation")
    assert f"'{name}'" in error["message"]
    assert CARD not in reply.text
    assert name in reply.headers["x-proxy-guardrails-applied"]


def verdicts(server: Server, reply: httpx.Response) -> list[tuple[str, str, str]]:
    """As the line of the call has them, which is the last that names it."""
    for count in range(1, 5):
        line = json.loads(server.log_lines(reply.headers["x-request-id"], count=count)[-1])
        if line["event"] == "call":
            return [(one["guardrail"], one["stage"], one["verdict"]) for one in line.get("guardrails", [])]
    raise AssertionError(line)


# -- what a vendor hears -----------------------------------------------------------------------------------------------


def test_words_that_are_fine_pass_as_they_are(http: httpx.Client, upstream: Upstream, server: Server) -> None:
    reply = speak(http, "Good morning.", "mask", "no-cards", "words", "short", "own")
    assert reply.status_code == 200, reply.text
    assert upstream.last.json["input"] == "Good morning."
    assert reply.headers["x-proxy-guardrails-applied"] == "mask, no-cards, words, short, own"
    assert {verdict for _, _, verdict in verdicts(server, reply)} == {"allowed"}


def test_input_and_instructions_are_redacted_before_the_vendor_sees_them(
    http: httpx.Client, upstream: Upstream, server: Server
) -> None:
    reply = speak(http, f"Say {CARD} twice", "mask", model="gpt-tts", instructions="As jane.doe@example.com would")
    assert reply.status_code == 200, reply.text
    assert upstream.last.json["input"] == "Say [CREDIT_CARD] twice"
    assert upstream.last.json["instructions"] == "As [EMAIL] would"
    assert verdicts(server, reply) == [("mask", "pre_call", "redacted")]


def test_fields_that_openai_does_not_know_are_words_too(http: httpx.Client, upstream: Upstream) -> None:
    speak(http, "Hello", "mask", model="selfhosted", ref_text=f"I said {CARD}", seed=4)
    assert upstream.last.json["ref_text"] == "I said [CREDIT_CARD]"
    assert upstream.last.json["seed"] == 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no-cards", f"It is {CARD}"),
        ("no-cards", "four nine two nine, three eight one three, three two six six, four two nine five"),
        ("beside", f"It is {CARD}"),
        ("words", "I ate the FORBIDDEN   fruit."),
        ("words", "Wir wohnen in der STRASSE"),
        ("words", "about Project-1234"),
        ("short", "x" * 21),
        ("own", "now BLOCK it"),
    ],
)
def test_what_is_blocked_never_reaches_the_caller(
    http: httpx.Client, upstream: Upstream, server: Server, name: str, text: str
) -> None:
    reply = speak(http, text, name)
    refused(reply, name)
    assert [verdict for _, _, verdict in verdicts(server, reply)] == ["blocked"]
    if name != "beside":
        assert not upstream.requests
        assert "x-proxy-attempts" not in reply.headers


def test_what_is_blocked_in_one_of_two_guardrails_is_not_asked_of_the_other(http: httpx.Client) -> None:
    reply = speak(http, f"It is {CARD}", "no-cards", "short")
    refused(reply, "no-cards")
    assert reply.headers["x-proxy-guardrails-applied"] == "no-cards"


def test_an_input_that_no_deployment_takes_is_refused_before_anything_looks_at_it(
    http: httpx.Client, hooks: Upstream
) -> None:
    reply = speak(http, "1.1.1.1." * 10_000, "hook", "slow-beside", model="openai-tts")
    assert error_of(reply, 400)["code"] == "string_above_max_length"
    assert not hooks.requests


def test_words_can_be_masked(http: httpx.Client, upstream: Upstream) -> None:
    speak(http, "Eat the forbidden fruit of Project-77, classy.", "mask-words")
    assert upstream.last.json["input"] == "Eat the [BLOCKED_WORD] of [BLOCKED_WORD], classy."


def test_what_is_only_noted_passes_and_is_recorded(http: httpx.Client, upstream: Upstream, server: Server) -> None:
    reply = speak(http, f"It is {CARD}", "note")
    assert reply.status_code == 200
    assert upstream.last.json["input"] == f"It is {CARD}"
    assert verdicts(server, reply) == [("note", "pre_call", "logged")]


def test_a_transcription_prompt_is_words(http: httpx.Client, upstream: Upstream) -> None:
    reply = hear(http, "mask", prompt=f"My card {CARD}", **{"keywords[]": ["Kubernetes", "a@example.com"]})
    assert reply.status_code == 200, reply.text
    assert upstream.last.fields["prompt"] == ["My card [CREDIT_CARD]"]
    upstream.reset()
    refused(hear(http, "no-cards", prompt=f"My card {CARD}"), "no-cards")
    assert not upstream.requests


def test_keywords_are_words(http: httpx.Client, upstream: Upstream) -> None:
    hear(http, "mask", model="gpt-transcribe", **{"keywords[]": ["Kubernetes", "a@example.com"]})
    assert upstream.last.fields["keywords[]"] == ["Kubernetes", "[EMAIL]"]


# -- what a caller reads -----------------------------------------------------------------------------------------------

#: As whisper writes it: with spaces before words, and the number over words and over two segments.
SEGMENTS = [(0.0, 2.5, " Hello there. My card is 4929 3813"), (2.5, 6.0, " 3266 4295. Thank you very much.")]
WORDS = ["Hello", "there.", "My", "card", "is", "4929", "38", "13", "3266", "4295.", "Thank", "you", "very", "much."]


def transcript(request: Recorded, text: str = SAID) -> Answer:
    """What whisper-1 answers in the format that it was asked for."""
    wanted = request.fields.get("response_format", ["json"])[0]
    document: dict[str, Any] = {"text": text, "usage": {"type": "duration", "seconds": 6}}
    if wanted == "verbose_json":
        document |= {"task": "transcribe", "language": "english", "duration": 6.0}
        document["segments"] = [
            {"id": number, "start": start, "end": end, "text": spoken, "tokens": [4929, 3813], "avg_logprob": -0.2,
             "seek": 0, "temperature": 0.0, "compression_ratio": 1.1, "no_speech_prob": 0.0}
            for number, (start, end, spoken) in enumerate(SEGMENTS)
        ]  # fmt: skip
        if "word" in request.fields.get("timestamp_granularities[]", []):
            document["words"] = [
                {"word": word, "start": number * 0.5, "end": number * 0.5 + 0.4} for number, word in enumerate(WORDS)
            ]
    elif wanted == "diarized_json":
        document |= {"task": "transcribe", "duration": 6.0}
        document["segments"] = [
            {"type": "transcript.text.segment", "id": f"seg_{number}", "start": start, "end": end, "text": spoken,
             "speaker": "A"}
            for number, (start, end, spoken) in enumerate(SEGMENTS)
        ]  # fmt: skip
    elif wanted != "json":
        return answers.error(400, f"the guardrail cannot read {wanted}")
    if "logprobs" in request.fields.get("include[]", []):
        document["logprobs"] = [{"token": " 4929", "logprob": -0.1, "bytes": [52]}]
    return Answer("application/json", [answers.dump(document)], chunked=False)


@pytest.fixture
def says(upstream: Upstream) -> Callable[..., None]:
    def say(text: str = SAID) -> None:
        upstream.behave("*", answer=lambda request: transcript(request, text))

    return say


def test_json_is_redacted_without_its_logprobs(http: httpx.Client, says: Callable[..., None], server: Server) -> None:
    says()
    reply = hear(http, "mask", model="gpt-4o-transcribe", **{"include[]": "logprobs"})
    assert reply.json() == {"text": MASKED, "usage": {"type": "duration", "seconds": 6}}
    assert verdicts(server, reply) == [("mask", "post_call", "redacted")]
    assert reply.headers["x-proxy-guardrails-applied"] == "mask"


def test_text_is_redacted(http: httpx.Client, says: Callable[..., None]) -> None:
    says()
    reply = hear(http, "mask", response_format="text")
    assert (reply.text, reply.headers["content-type"]) == (MASKED + "\n", "text/plain; charset=utf-8")


@pytest.mark.parametrize("granularities", [["segment"], ["word"], ["word", "segment"]])
def test_verbose_json_is_redacted_in_text_segments_and_words(
    http: httpx.Client, says: Callable[..., None], granularities: list[str]
) -> None:
    says()
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": granularities}
    document = hear(http, "mask", **fields).json()
    assert document["text"] == MASKED
    if "segment" in granularities:
        spoken = [segment["text"] for segment in document["segments"]]
        assert spoken == [" Hello there. My card is [CREDIT_CARD]", ". Thank you very much."]
        assert not any(segment["tokens"] for segment in document["segments"])
        assert document["segments"][0]["avg_logprob"] == -0.2
    if "word" in granularities:
        words = [word["word"] for word in document["words"]]
        assert words == ["Hello", "there.", "My", "card", "is", "[CREDIT_CARD].", "Thank", "you", "very", "much."]
        assert document["words"][5]["start"] == 2.5


@pytest.mark.parametrize("wanted", ["srt", "vtt"])
def test_subtitles_are_redacted(http: httpx.Client, says: Callable[..., None], wanted: str) -> None:
    says()
    reply = hear(http, "mask", response_format=wanted)
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    cues = pysubs2.SSAFile.from_string(reply.text, format_=wanted)
    assert [cue.text for cue in cues] == ["Hello there. My card is [CREDIT_CARD]", ". Thank you very much."]
    assert [cue.start for cue in cues] == [0, 2500]


def test_diarized_json_is_redacted(http: httpx.Client, says: Callable[..., None]) -> None:
    says()
    document = hear(http, "mask", model="diarize", response_format="diarized_json").json()
    assert document["text"] == MASKED
    assert [segment["text"] for segment in document["segments"]] == [
        " Hello there. My card is [CREDIT_CARD]", ". Thank you very much.",
    ]  # fmt: skip


@pytest.mark.parametrize("wanted", ["json", "text", "verbose_json", "srt", "vtt"])
def test_a_blocked_transcript_reaches_nobody_and_is_not_asked_for_again(
    http: httpx.Client, upstream: Upstream, says: Callable[..., None], server: Server, wanted: str
) -> None:
    says()
    reply = hear(http, "no-cards", response_format=wanted)
    refused(reply, "no-cards")
    assert len(upstream.requests) == 1
    assert reply.headers["x-proxy-attempts"] == "1"
    assert verdicts(server, reply) == [("no-cards", "post_call", "blocked")]


@pytest.mark.parametrize("wanted", ["json", "text", "verbose_json", "srt", "vtt"])
def test_a_transcript_that_is_fine_is_the_vendors(
    http: httpx.Client, upstream: Upstream, server: Server, wanted: str
) -> None:
    guarded = hear(http, "mask", "no-cards", "words", response_format=wanted)
    plain = hear(http, response_format=wanted)
    assert guarded.status_code == 200, guarded.text
    if wanted.endswith("json"):
        assert guarded.json() == plain.json()
    else:
        # The end of the only cue is that of the audio in the one, of the segment in the other.
        assert re.sub(r"[\d:,.]+$", "", guarded.text, flags=re.M) == re.sub(r"[\d:,.]+$", "", plain.text, flags=re.M)
    assert {verdict for _, _, verdict in verdicts(server, guarded)} == {"allowed"}


def test_a_format_that_only_the_vendor_knows_cannot_be_looked_at(http: httpx.Client, upstream: Upstream) -> None:
    reply = hear(http, "mask", model="selfhosted-stt", response_format="lrc")
    assert reply.status_code == 400
    assert error_of(reply)["param"] == "response_format"
    assert not upstream.requests


# -- streams -----------------------------------------------------------------------------------------------------------


def events(pieces: Sequence[str], text: str, *segments: Mapping[str, Any]) -> list[bytes]:
    deltas = [
        {"type": "transcript.text.delta", "delta": piece, "logprobs": [{"token": piece, "logprob": -1, "bytes": []}]}
        for piece in pieces
    ]
    done = {"type": "transcript.text.done", "text": text, "usage": {"type": "duration", "seconds": 6}}
    done["logprobs"] = [{"token": text, "logprob": -1, "bytes": []}]
    return [answers.event(event) for event in (*deltas, *segments, done)] + [answers.DONE]


def read(reply: httpx.Response) -> list[Any]:
    blocks = [block.removeprefix("data: ") for block in reply.text.split("\n\n") if block]
    return [block if block == "[DONE]" else json.loads(block) for block in blocks]


TOKENS = re.findall(r"\s*\S{1,3}", SAID)


def test_a_stream_is_redacted(http: httpx.Client, upstream: Upstream, server: Server) -> None:
    upstream.behave("*", answer=Answer(answers.EVENT_STREAM, events(TOKENS, SAID)))
    reply = hear(http, "mask", model="gpt-4o-transcribe", stream="true")
    *deltas, done, end = read(reply)
    assert end == "[DONE]"
    assert "".join(delta["delta"] for delta in deltas) == done["text"] == MASKED
    assert done["usage"] == {"type": "duration", "seconds": 6}
    assert "logprobs" not in done
    assert not set(CARD) & set("0123456789") & set("".join(delta["delta"] for delta in deltas))
    assert CARD[:4] not in reply.text
    assert verdicts(server, reply) == [("mask", "post_call", "redacted")]


def test_a_stream_that_is_fine_passes_event_for_event(http: httpx.Client, upstream: Upstream) -> None:
    text = "One thing. And another, without an end"
    pieces = re.findall(r"\s*\S+", text)
    upstream.behave("*", answer=Answer(answers.EVENT_STREAM, events(pieces, text)))
    reply = hear(http, "mask", "no-cards", model="gpt-4o-transcribe", stream="true")
    assert reply.content == b"".join(events(pieces, text))


def test_a_stream_holds_back_a_sentence_and_no_more(http: httpx.Client, upstream: Upstream) -> None:
    gate = upstream.gate()
    chunks = events(["Hello", " there.", " My", " card", f" is {CARD}.", " Bye."], SAID)
    upstream.behave("*", answer=Answer(answers.EVENT_STREAM, chunks), gate=gate)
    form = {"model": "gpt-4o-transcribe", "stream": "true", "guardrails": "mask"}
    gate.release(3)
    with http.stream("POST", TRANSCRIPTIONS, data=form, files=FILE) as reply:
        lines = (line for line in reply.iter_lines() if line)
        assert json.loads(next(lines)[6:])["delta"] == "Hello"
        assert json.loads(next(lines)[6:])["delta"] == " there."
        gate.open()
        assert json.loads(next(lines)[6:])["delta"] == " My card is [CREDIT_CARD]."


def test_a_stream_that_is_blocked_at_once_is_refused_as_any_call(http: httpx.Client, upstream: Upstream) -> None:
    upstream.behave("*", answer=Answer(answers.EVENT_STREAM, events([f"It is {CARD}. ", "Bye."], "x")))
    refused(hear(http, "no-cards", model="gpt-4o-transcribe", stream="true"), "no-cards")


def test_a_stream_that_is_blocked_later_ends_with_an_error_event(
    http: httpx.Client, upstream: Upstream, server: Server
) -> None:
    upstream.behave("*", answer=Answer(answers.EVENT_STREAM, events(TOKENS, SAID)))
    form = {"model": "gpt-4o-transcribe", "stream": "true", "guardrails": "no-cards"}
    received = ""
    with http.stream("POST", TRANSCRIPTIONS, data=form, files=FILE) as reply:
        assert reply.status_code == 200
        for chunk in reply.iter_text():
            received += chunk
    *passed, last = [json.loads(block[6:]) for block in received.split("\n\n") if block]
    assert "".join(event["delta"] for event in passed) == "Hello there."
    assert last["error"]["code"] == "guardrail_violation"
    assert "No-cards".lower() in last["error"]["message"]
    assert verdicts(server, reply) == [("no-cards", "post_call", "blocked")]
    upstream.last.answered.wait(5)
    assert len(upstream.requests) == 1


def test_the_segments_of_a_stream_are_redacted_too(http: httpx.Client, upstream: Upstream) -> None:
    segments = [
        {"type": "transcript.text.segment", "id": f"seg_{number}", "start": start, "end": end, "text": text,
         "speaker": "A"}
        for number, (start, end, text) in enumerate(SEGMENTS)
    ]  # fmt: skip
    upstream.behave("*", answer=Answer(answers.EVENT_STREAM, events(TOKENS, SAID, *segments)))
    reply = hear(http, "mask", model="diarize", response_format="diarized_json", stream="true")
    spoken = [event["text"] for event in read(reply)[:-1] if event["type"] == "transcript.text.segment"]
    assert spoken == [" Hello there. My card is [CREDIT_CARD]", ". Thank you very much."]
    assert not any(group in reply.text for group in CARD.split())


@pytest.mark.parametrize("wanted", ["json", "text", "srt"])
def test_a_transcript_that_comes_whole_where_events_are_due(
    http: httpx.Client, says: Callable[..., None], wanted: str
) -> None:
    says()
    reply = hear(http, "mask", stream="true", response_format=wanted)
    assert read(reply)[-2]["text"] == MASKED
    assert CARD[:4] not in reply.text


def test_a_translation_is_looked_at(http: httpx.Client, says: Callable[..., None]) -> None:
    says()
    data = {"model": "whisper", "guardrails": "mask", "response_format": "text"}
    assert http.post("/v1/audio/translations", data=data, files=FILE).text == MASKED + "\n"


# -- beside the call, and after it -------------------------------------------------------------------------------------


def hook(action: str, text: str | None = None, status: int = 200) -> Answer:
    document = {"action": action} | ({"text": text} if text is not None else {})
    return Answer("application/json", [answers.dump(document)], status, chunked=False)


def test_the_answer_waits_for_the_verdict(http: httpx.Client, upstream: Upstream, hooks: Upstream) -> None:
    hooks.behave("*", answer=hook("block"), first_delay=0.3)
    reply = speak(http, "Good morning.", "slow-beside")
    refused(reply, "slow-beside")
    assert len(upstream.requests) == 1  # it was asked meanwhile


def test_a_verdict_ends_the_upstream_call(http: httpx.Client, upstream: Upstream, hooks: Upstream) -> None:
    hooks.behave("*", answer=hook("block"))
    upstream.behave("tts-1", first_delay=30)
    refused(speak(http, "Good morning.", "slow-beside"), "slow-beside")
    for request in upstream.requests:
        request.wait_closed()


def test_what_the_vendor_has_already_cannot_be_redacted(http: httpx.Client, hooks: Upstream) -> None:
    hooks.behave("*", answer=hook("redact", "Good"))
    refused(speak(http, "Good morning.", "slow-beside"), "slow-beside")


def test_a_caller_who_leaves_while_a_verdict_is_awaited_ends_everything(
    http: httpx.Client, upstream: Upstream, hooks: Upstream
) -> None:
    hooks.behave("*", answer=hook("allow"), first_delay=30)
    upstream.behave("tts-1", first_delay=30)
    body = {"model": "tts", "input": "Hello", "voice": "alloy", "guardrails": ["slow-beside"]}
    with pytest.raises(httpx.ReadTimeout):
        http.post(SPEECH, json=body, timeout=0.5)
    upstream.wait_requests().wait_closed()
    hooks.wait_requests().wait_closed()


def test_an_upstream_that_fails_first_is_what_the_caller_hears_of(
    http: httpx.Client, upstream: Upstream, hooks: Upstream
) -> None:
    hooks.behave("*", answer=hook("block"), first_delay=3)
    upstream.behave("tts-1", answer=answers.error(400, "no"))
    reply = speak(http, "Good morning.", "slow-beside")
    assert (reply.status_code, error_of(reply)["code"]) == (400, None)


def test_what_is_only_for_the_log_changes_nothing_and_is_logged(
    http: httpx.Client, upstream: Upstream, server: Server, says: Callable[..., None]
) -> None:
    reply = speak(http, f"It is {CARD}", "quiet")
    assert reply.status_code == 200
    assert upstream.last.json["input"] == f"It is {CARD}"
    assert "x-proxy-guardrails-applied" not in reply.headers
    lines = server.log_lines(reply.headers["x-request-id"], count=2)
    assert any(json.loads(line).get("found") == ["CREDIT_CARD"] for line in lines)
    says()
    heard = hear(http, "quiet")
    assert heard.json()["text"] == SAID
    server.log_lines(heard.headers["x-request-id"], count=2)


def test_a_stream_that_is_only_logged_passes_byte_for_byte(
    http: httpx.Client, upstream: Upstream, server: Server
) -> None:
    upstream.behave("*", answer=Answer(answers.EVENT_STREAM, events(TOKENS, SAID)))
    reply = hear(http, "quiet", model="gpt-4o-transcribe", stream="true")
    assert reply.content == b"".join(events(TOKENS, SAID))
    server.log_lines(reply.headers["x-request-id"], count=2)


def test_what_cannot_apply_is_named(http: httpx.Client) -> None:
    reply = speak(http, "Good morning.", "after", "mask")
    assert reply.headers["x-proxy-guardrails-applied"] == "mask"
    assert reply.headers["x-proxy-guardrails-skipped"] == "after"
    assert hear(http, "beside", "after").headers["x-proxy-guardrails-skipped"] == "beside"


# -- those that ask others ---------------------------------------------------------------------------------------------


def test_a_webhook_is_told_what_it_needs(http: httpx.Client, hooks: Upstream) -> None:
    hooks.behave("*", answer=hook("allow"))
    reply = speak(http, "Good morning.", "hook", user="anna")
    assert reply.status_code == 200, reply.text
    asked = hooks.last
    assert (asked.method, asked.path, asked.header("x-secret")) == ("POST", "/hook", "s3cr3t")
    call = asked.json.pop("call")
    assert asked.json == {"guardrail": "hook", "stage": "pre_call", "text": "Good morning."}
    assert call["request_id"] == reply.headers["x-request-id"]
    assert (call["endpoint"], call["model"], call["key_id"], call["end_user"]) == ("speech", "tts", "master", "anna")


def test_a_webhook_blocks(http: httpx.Client, hooks: Upstream, upstream: Upstream) -> None:
    hooks.behave("*", answer=hook("block"))
    refused(speak(http, "Good morning.", "hook"), "hook")
    assert not upstream.requests
    refused(hear(http, "hook"), "hook")


def test_a_webhook_rewrites_words_and_transcripts(
    http: httpx.Client, hooks: Upstream, upstream: Upstream, says: Callable[..., None]
) -> None:
    hooks.behave("*", answer=lambda asked: hook("redact", asked.json["text"].replace(CARD, "***")))
    speak(http, f"It is {CARD}, Sir", "hook")
    assert upstream.last.json["input"] == "It is ***, Sir"
    says()
    fields = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}
    document = hear(http, "hook", **fields).json()
    assert document["text"] == SAID.replace(CARD, "***")
    assert [segment["text"] for segment in document["segments"]] == [
        " Hello there. My card is ***", ". Thank you very much.",
    ]  # fmt: skip
    assert not any(char.isdigit() for word in document["words"] for char in word["word"])


@pytest.mark.parametrize(
    "settings",
    [
        {"answer": hook("allow"), "first_delay": 3.0},
        {"stop_after": -1},
        {"raw": b"HTTP/1.1 200 OK\r\n\r\n<html>"},
        {"answer": hook("allow", status=500)},
        {"answer": hook("what?")},
        {"answer": hook("redact")},
    ],
    ids=["slow", "dead", "no JSON", "failing", "no verdict", "no text"],
)
def test_a_webhook_that_does_not_decide_blocks_unless_it_may_not(
    http: httpx.Client, hooks: Upstream, upstream: Upstream, server: Server, settings: dict[str, Any]
) -> None:
    hooks.behave("*", **settings)
    reply = speak(http, "Good morning.", "hook")
    assert (reply.status_code, error_of(reply)["code"]) == (503, "guardrail_unavailable")
    assert "'hook'" in error_of(reply)["message"]
    assert not upstream.requests
    assert verdicts(server, reply) == [("hook", "pre_call", "failed")]
    passed = speak(http, "Good morning.", "hook-or-not")
    assert passed.status_code == 200
    assert verdicts(server, passed) == [("hook-or-not", "pre_call", "failed")]


def test_a_webhook_that_fails_now_and_then(http: httpx.Client, hooks: Upstream) -> None:
    outcomes = iter([hook("allow"), hook("allow", status=502), hook("block"), hook("allow", status=502), hook("allow")])
    hooks.behave("*", answer=lambda _: next(outcomes))
    assert [speak(http, "Good morning.", "hook").status_code for _ in range(5)] == [200, 503, 400, 503, 200]


def moderation(**scores: float) -> Answer:
    flags = {"violence": False, "hate": False} | {name: score > 0.8 for name, score in scores.items()}
    result = {"flagged": any(flags.values()), "categories": flags, "category_scores": {"violence": 0.0} | scores}
    return Answer("application/json", [answers.dump({"results": [result]})], chunked=False)


def test_openais_moderation(http: httpx.Client, hooks: Upstream, upstream: Upstream) -> None:
    hooks.behave("omni-moderation-latest", answer=moderation(hate=0.1))
    assert speak(http, "Good morning.", "moderated").status_code == 200
    assert (hooks.last.path, hooks.last.header("authorization")) == ("/v1/moderations", "Bearer sk-moderation")
    assert hooks.last.json["input"] == ["Good morning."]
    upstream.reset()
    for scores in ({"hate": 0.9}, {"violence": 0.6}):  # by the model's own flag, by the threshold
        hooks.behave("omni-moderation-latest", answer=moderation(**scores))
        reply = speak(http, "Good morning.", "moderated")
        refused(reply, "moderated")
        assert next(iter(scores)) in error_of(reply)["message"]
    assert not upstream.requests


def test_a_class_of_ones_own(http: httpx.Client, upstream: Upstream, says: Callable[..., None]) -> None:
    speak(http, "GOOD MORNING", "own")
    assert upstream.last.json["input"] == "good morning"
    says("LOUD WORDS")
    assert hear(http, "own").json()["text"] == "loud words"
    says("now BLOCK it")
    refused(hear(http, "own"), "own")


def test_a_class_that_breaks_says_where_and_not_on_what(http: httpx.Client, server: Server) -> None:
    reply = speak(http, f"BREAK {CARD}", "own")
    assert (reply.status_code, error_of(reply)["code"]) == (503, "guardrail_unavailable")
    said = "".join(server.log_lines(reply.headers["x-request-id"], count=2))
    assert "RuntimeError in line" in said
    assert "shouting.py" in said


# -- who chooses -------------------------------------------------------------------------------------------------------


def test_a_name_that_does_not_exist_is_an_error_that_names_the_others(http: httpx.Client, upstream: Upstream) -> None:
    for reply in (
        speak(http, "Hello", "mask", "mosk"),
        hear(http, "mosk"),
        http.post(
            SPEECH, json={"model": "tts", "input": "x", "voice": "alloy"}, headers={"x-proxy-guardrails": "mosk"}
        ),
    ):
        assert reply.status_code == 400
        error = error_of(reply)
        assert (error["param"], error["code"]) == ("guardrails", "guardrail_not_found")
        assert "'mosk'" in error["message"]
        assert "'mask'" in error["message"]
    assert not upstream.requests


@pytest.mark.parametrize("value", ["mask", {"mask": {}}, [1], [["mask"]], 5])
def test_what_is_no_list_of_names_is_an_error(http: httpx.Client, value: Any) -> None:
    reply = http.post(SPEECH, json={"model": "tts", "input": "x", "voice": "alloy", "guardrails": value})
    assert (reply.status_code, error_of(reply)["param"]) == (400, "guardrails")


@pytest.mark.parametrize("header", ["x-proxy-guardrails", "x-litellm-guardrails"])
def test_a_header_chooses_too(http: httpx.Client, upstream: Upstream, header: str) -> None:
    body = {"model": "tts", "input": f"{CARD} forbidden fruit", "voice": "alloy"}
    http.post(SPEECH, json=body, headers={header: "mask, mask-words"})
    assert upstream.last.json["input"] == "[CREDIT_CARD] [BLOCKED_WORD]"


def test_without_guardrails_nothing_is_looked_at(http: httpx.Client, upstream: Upstream) -> None:
    reply = speak(http, f"It is {CARD}")
    assert upstream.last.json["input"] == f"It is {CARD}"
    assert not [name for name in reply.headers if "guardrail" in name]


def test_one_that_is_always_on_cannot_be_switched_off(
    fake: Upstream, upstream: Upstream, serve: Callable[..., Server]
) -> None:
    always = guardrail("always", "pii", BOTH, action="redact") | {"default_on": True}
    config = standard_config(fake.url) | {
        "guardrails": [always, guardrail("words", "blocked_words", BOTH, words=["no"])]
    }
    server = serve(config)
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    ways: list[dict[str, Any]] = [{}, {"guardrails": []}, {"guardrails": None}, {"guardrails": ["words"]}]
    with httpx.Client(base_url=server.url, headers=headers) as client:
        for way in ways:
            body = {"model": "tts", "input": f"It is {CARD}", "voice": "alloy"} | way
            reply = client.post(SPEECH, json=body, headers={"x-proxy-guardrails": ""})
            assert reply.status_code == 200, reply.text
            assert upstream.last.json["input"] == "It is [CREDIT_CARD]"
            assert "always" in reply.headers["x-proxy-guardrails-applied"]
    assert CARD not in server.log()


def test_keys_and_teams_choose_and_cannot_be_talked_out_of_it(
    fake: Upstream, upstream: Upstream, serve: Callable[..., Server]
) -> None:
    listed = [
        guardrail("mask", "pii", "pre_call", action="redact"),
        guardrail("team-words", "blocked_words", "pre_call", words=["secret"], teams=["red"]),
    ]
    server = serve(standard_config(fake.url) | {"guardrails": listed})
    master = {"authorization": f"Bearer {MASTER_KEY}"}
    with httpx.Client(base_url=server.url, timeout=20) as client:

        def key(**fields: Any) -> dict[str, str]:
            made = client.post("/key/generate", json=fields, headers=master)
            assert made.status_code == 200, made.text
            return {"authorization": f"Bearer {made.json()['key']}"}

        def say(text: str, headers: dict[str, str]) -> httpx.Response:
            body = {"model": "tts", "input": text, "voice": "alloy", "guardrails": []}
            return client.post(SPEECH, json=body, headers=headers)

        guarded, red, gone = key(guardrails=["mask"]), key(team_id="red"), key(guardrails=["no-more"])
        assert say(f"It is {CARD}", guarded).headers["x-proxy-guardrails-applied"] == "mask"
        assert upstream.last.json["input"] == "It is [CREDIT_CARD]"
        refused(say("a secret", red), "team-words")
        assert say("a secret", guarded).status_code == 200
        reply = say("Hello", gone)
        assert (reply.status_code, error_of(reply)["code"]) == (400, "guardrail_not_found")
        assert not [name for name in say("a secret", master).headers if "guardrail" in name]
