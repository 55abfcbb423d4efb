"""What the proxy does for a vendor that takes short texts only, or few speeds: it asks in pieces, and stretches."""

from __future__ import annotations

import array
import io
from collections.abc import Callable, Iterator
from typing import Any

import av
import httpx
import pytest

from tests.conftest import MASTER_KEY, Server, group, launch
from tests.fakes import answers
from tests.fakes.answers import Answer
from tests.fakes.samples import wav
from tests.fakes.upstream import Recorded, Upstream
from tests.front.shape import error_of

#: It speaks 200 characters at a time, at half to five times the speed, and in wav only.
MODEL = "canopylabs/orpheus-v1-english"
SENTENCES = [f"This is sentence number {number} of a text that is far too long for one request." for number in range(9)]
LONG = " ".join(SENTENCES)
FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


def like(name: str, vendor: str, base_model: str, url: str, **params: Any) -> dict[str, Any]:
    """A server of one's own with the limits and formats of a model."""
    entry = group(name, f"{vendor}/{name}", url, "audio_speech", **params)
    entry["model_info"]["base_model"] = base_model
    return entry


@pytest.fixture(scope="module")
def server(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = {
        "model_list": [
            group("orpheus", f"groq/{MODEL}", fake.url),
            group("single", "openai/tts-1", None, timeout=1, split_long_input=False),
            like("own", "openai", "tts-1", fake.url),
            like("own-gpt", "openai_compatible", "gpt-4o-mini-tts", fake.url),
            like("own-prefixed", "openai", "openai/tts-1", fake.url),
            like("own-of-azure", "openai_compatible", "azure/tts-1-hd", fake.url),
            like("own-single", "openai", "tts-1", fake.url, split_long_input=False),
        ],
        "general_settings": {"master_key": MASTER_KEY, "drain_delay": 0},
        "router_settings": {"num_retries": 0},
    }
    running = launch(config, tmp_path_factory.mktemp("long"))
    yield running
    assert running.stop() == 0, running.log()


def loud(number: int, seconds: float = 0.5) -> Answer:
    """A wav of one value, by which the test knows where it comes from."""
    samples = array.array("h", [1000 * (number + 1)] * int(24_000 * seconds)).tobytes()
    return Answer("audio/wav", answers.cut(wav(samples, streamed=True), 4096))


def spoken(request: Recorded) -> Answer:
    return loud(next(number for number, text in enumerate(SENTENCES) if text[:26] in request.json["input"]))


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "orpheus", "input": LONG, "voice": "alloy", "response_format": "pcm"} | fields


def seconds(audio: bytes, name: str) -> float:
    if name == "pcm":
        return len(audio) / 48_000
    with av.open(io.BytesIO(audio), "r", format={"opus": "ogg"}.get(name, name)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


# -- in pieces ---------------------------------------------------------------------------------------------------------


def test_a_long_text_is_spoken_in_pieces_in_order(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave(MODEL, answer=spoken)
    reply = http.post("/v1/audio/speech", json=ask())
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "audio/pcm"
    texts = [request.json["input"] for request in upstream.requests]
    assert " ".join(texts) == LONG
    assert all(len(text) <= 200 and text.endswith(".") for text in texts)
    values = array.array("h", reply.content)
    assert len(values) == 12_000 * len(texts)
    assert sorted(values) == values.tolist(), "the pieces came in another order"
    assert len({request.json["voice"] for request in upstream.requests}) == 1


def test_pieces_without_words_are_left_out(upstream: Upstream, http: httpx.Client) -> None:
    """A vendor that refuses one would end the whole speech."""
    upstream.behave(MODEL, answer=spoken)
    text = "\n\n".join(("-" * 450, SENTENCES[0], "=" * 300, SENTENCES[1], "\u2026" * 210))
    reply = http.post("/v1/audio/speech", json=ask(input=text))
    assert reply.status_code == 200, reply.text
    assert all(any(map(str.isalnum, request.json["input"])) for request in upstream.requests)
    assert set(array.array("h", reply.content)) == {1000, 2000}
    upstream.reset()
    reply = http.post("/v1/audio/speech", json=ask(input="*" * 450))
    assert (reply.status_code, "silence" in reply.headers["x-proxy-warnings"]) == (200, True)
    assert not upstream.requests


@pytest.mark.parametrize("wanted", FORMATS)
def test_the_pieces_are_one_stream_of_the_format(upstream: Upstream, http: httpx.Client, wanted: str) -> None:
    upstream.behave(MODEL, answer=spoken)
    reply = http.post("/v1/audio/speech", json=ask(response_format=wanted))
    assert reply.status_code == 200, reply.text
    assert seconds(reply.content, wanted) == pytest.approx(0.5 * len(upstream.requests), rel=0.05, abs=0.13)


def test_events_are_made_of_the_pieces(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave(MODEL, answer=spoken)
    reply = http.post("/v1/audio/speech", json=ask(stream_format="sse"))
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.text.count("speech.audio.done") == 1
    assert reply.text.endswith("data: [DONE]\n\n")


def test_the_first_sound_leaves_before_the_next_piece_is_spoken(upstream: Upstream, http: httpx.Client) -> None:
    gate = upstream.gate()
    gate.release(2)
    upstream.behave(MODEL, answer=spoken, gate=gate)
    with http.stream("POST", "/v1/audio/speech", json=ask()) as reply:
        sound = reply.iter_raw(1000)
        assert next(sound)
        upstream.wait_requests(2)
        assert len(upstream.requests) == 2, "no more than one piece is asked for ahead"
        gate.open()
        assert sum(map(len, sound)) > 100_000


def test_a_caller_who_leaves_ends_both_requests(upstream: Upstream, http: httpx.Client) -> None:
    gate = upstream.gate()
    gate.release(2)
    upstream.behave(MODEL, answer=spoken, gate=gate)
    with http.stream("POST", "/v1/audio/speech", json=ask()) as reply:
        next(reply.iter_raw(1000))
        upstream.wait_requests(2)
    for request in list(upstream.requests):
        request.wait_closed()


def failing_from(number: int, times: int, status: int = 500) -> Callable[[Recorded], Answer]:
    """The piece with sentence ``number`` in it fails so often."""
    left = [times]

    def answer(request: Recorded) -> Answer:
        if SENTENCES[number][:26] in request.json["input"] and left[0]:
            left[0] -= 1
            return answers.ERRORS[status]
        return spoken(request)

    return answer


@pytest.mark.parametrize("status", [500, 429])
def test_a_later_piece_is_asked_for_once_more(upstream: Upstream, http: httpx.Client, status: int) -> None:
    upstream.behave(MODEL, answer=failing_from(4, 1, status))
    reply = http.post("/v1/audio/speech", json=ask())
    texts = [request.json["input"] for request in upstream.requests]
    assert len(array.array("h", reply.content)) == 12_000 * (len(texts) - 1)


@pytest.mark.parametrize("wanted", ["pcm", "mp3", "wav"])
@pytest.mark.parametrize(("times", "status"), [(2, 500), (1, 400)])
def test_an_answer_that_lacks_a_piece_never_looks_complete(
    upstream: Upstream, http: httpx.Client, wanted: str, times: int, status: int
) -> None:
    upstream.behave(MODEL, answer=failing_from(4, times, status))
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/v1/audio/speech", json=ask(response_format=wanted))


def test_a_piece_that_dies_in_its_midst_cuts_the_answer(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave(MODEL, answer=spoken, stop_after=3)
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/v1/audio/speech", json=ask())


def test_a_first_piece_that_fails_is_an_error(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave(MODEL, answer=failing_from(0, 9))
    error_of(http.post("/v1/audio/speech", json=ask()), 500)


@pytest.mark.parametrize(("speed", "most"), [(None, 50_000), (4, 50_000), (0.5, 25_000)])
def test_even_pieces_have_a_limit(upstream: Upstream, http: httpx.Client, speed: float | None, most: int) -> None:
    body = ask(input="x" * (most + 1), speed=speed)
    error = error_of(http.post("/v1/audio/speech", json=body), 400, "string_above_max_length")
    assert str(most) in error["message"]
    assert not upstream.requests


def test_a_vendor_that_must_not_be_split_refuses(upstream: Upstream, http: httpx.Client) -> None:
    body = ask(model="single", input="x" * 4097)
    assert "4096" in error_of(http.post("/v1/audio/speech", json=body), 400, "string_above_max_length")["message"]


@pytest.mark.parametrize(
    ("model", "sentence", "most"),
    [
        ("own", "A sentence of English, and then one more. ", 4096),
        ("own-gpt", "A sentence of English, and then one more. ", 4096),
        ("own-gpt", "Ein längerer Satz, der weiter geht als nötig wäre. ", 4096),
        ("own-gpt", "这是一个很长的中文句子用来测试语音合成。", 2000),
    ],
)
def test_openais_models_speak_long_texts_in_pieces(
    upstream: Upstream, http: httpx.Client, model: str, sentence: str, most: int
) -> None:
    text = (sentence * 1500)[:30_000].rstrip()
    upstream.behave(model, answer=loud(0))
    reply = http.post("/v1/audio/speech", json=ask(model=model, input=text))
    assert reply.status_code == 200, reply.text
    pieces = [request.json["input"] for request in upstream.requests]
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert most * 0.8 < max(map(len, pieces)) <= most
    assert len(pieces) <= 30_000 / most + 2
    assert seconds(reply.content, "pcm") == pytest.approx(0.5 * len(pieces))


def test_without_splitting_the_limit_is_the_vendors(upstream: Upstream, http: httpx.Client) -> None:
    body = ask(model="own-single", input="x" * 30_000)
    assert "4096" in error_of(http.post("/v1/audio/speech", json=body), 400, "string_above_max_length")["message"]
    assert not upstream.requests
    listed = {name: http.get(f"/v1/models/{name}").json()["speech"] for name in ("own", "own-single")}
    assert {name: one["max_characters"] for name, one in listed.items()} == {"own": 50_000, "own-single": 4096}


@pytest.mark.parametrize("model", ["own", "own-prefixed", "own-of-azure"])
def test_a_base_model_brings_its_formats_and_limits(upstream: Upstream, http: httpx.Client, model: str) -> None:
    for fields in ({"response_format": "wma"}, {"speed": 5}, {"instructions": "x" * 5000}):
        error_of(http.post("/v1/audio/speech", json=ask(model=model, input="Hello.") | fields), 400)
    assert not upstream.requests
    reply = http.post("/v1/audio/speech", json=ask(model=model, input="Hello.", voice="my own voice", seed=1))
    assert reply.status_code == 200, reply.text
    assert (upstream.last.json["voice"], upstream.last.json["seed"]) == ("my own voice", 1)


# -- stretched ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize(("speed", "asked"), [(0.25, 0.5), (0.4, 0.5)])
def test_a_speed_that_the_vendor_lacks(
    upstream: Upstream, http: httpx.Client, wanted: str, speed: float, asked: float
) -> None:
    """It is asked for its nearest one, and the rest is done here."""
    upstream.behave(MODEL, answer=loud(0, 2))
    reply = http.post("/v1/audio/speech", json=ask(input="Hi.", speed=speed, response_format=wanted))
    assert reply.status_code == 200, reply.text
    assert upstream.last.json["speed"] == asked
    assert upstream.last.json["response_format"] == "wav"
    assert seconds(reply.content, wanted) == pytest.approx(2 * asked / speed, rel=0.03, abs=0.13)


def test_a_speed_that_the_vendor_has_is_left_to_it(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave(MODEL, answer=loud(0, 2))
    reply = http.post("/v1/audio/speech", json=ask(input="Hi.", speed=1.5))
    assert upstream.last.json["speed"] == 1.5
    assert seconds(reply.content, "pcm") == 2


@pytest.mark.parametrize("speed", [0.24, 4.01])
def test_a_speed_that_openai_lacks_is_refused(upstream: Upstream, http: httpx.Client, speed: float) -> None:
    error = error_of(http.post("/v1/audio/speech", json=ask(input="Hi.", speed=speed)), 400, "unsupported_value")
    assert "0.25 to 4" in error["message"]
    assert error["param"] == "speed"


def test_pieces_are_stretched_too(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave(MODEL, answer=spoken)
    reply = http.post("/v1/audio/speech", json=ask(speed=0.25))
    assert seconds(reply.content, "pcm") == pytest.approx(1.0 * len(upstream.requests), rel=0.03)
