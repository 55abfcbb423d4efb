"""A text in pieces: what a vendor may send between them, and what they cost together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import pytest

from proxy.attempts.chunked_speech import MARGIN, MAX_PAUSE, PAUSE, ChunkedSpeech
from proxy.attempts.opened import OpenedStream
from proxy.domain.results import StaticMetadata
from proxy.domain.usage import Usage
from proxy.errors import UpstreamError, UpstreamInvalid, UpstreamRateLimited, UpstreamRejected, UpstreamUnavailable
from proxy.http.messages import Response
from tests.fakes import messages

Piece = tuple[bytes, ...] | UpstreamError


class Stage:
    """A vendor that speaks each text as it is told to."""

    def __init__(self, pieces: Sequence[Piece], *, rates: Sequence[int] = (), format: str = "pcm") -> None:
        self.pieces, self.rates, self.format = list(pieces), list(rates), format
        self.asked: list[str] = []
        self.responses: list[Response] = []

    async def begin(self, text: str, *, first: bool) -> OpenedStream:
        self.asked.append(text)
        piece = self.pieces.pop(0)
        if isinstance(piece, UpstreamError):
            raise piece
        self.responses.append(messages.response(200, content=messages.Pieces(b"")))
        rate = self.rates.pop(0) if self.rates else 24_000
        metadata = StaticMetadata(Usage(characters=len(text)), ["loud"])
        return OpenedStream(self.responses[-1], self.format, rate, piece[0], _rest(piece[1:]), metadata)

    async def decoded(self, piece: OpenedStream, rate: int) -> AsyncGenerator[bytes]:
        yield f"{piece.format}@{rate}:".encode() + piece.first

    async def recited(self, texts: Sequence[str]) -> bytes:
        self.chunked_speech = ChunkedSpeech(self.begin, self.decoded, texts)
        await self.chunked_speech.start()
        async with aclosing(self.chunked_speech.samples()) as samples:
            return b"".join([data async for data in samples])


async def _rest(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def test_half_a_sample_at_the_end_of_a_piece_is_left_out() -> None:
    stage = Stage([(b"a", b"bc"), (b"de", b"f", b"gh"), (b"ij",)])
    assert asyncio.run(stage.recited(["1", "22", "333"])) == b"ab" + b"defg" + b"ij"
    assert all(response.is_closed for response in stage.responses)


def test_what_is_said_of_the_pieces_is_said_of_all() -> None:
    stage = Stage([(b"ab",), (b"cd",)])
    asyncio.run(stage.recited(["1", "22"]))
    assert stage.chunked_speech.usage == Usage(characters=3)
    assert stage.chunked_speech.warnings == ["loud"]


def test_encoded_pieces_are_decoded_each_by_itself() -> None:
    stage = Stage([(b"x",), (b"y",)], format="mp3")
    assert asyncio.run(stage.recited(["1", "2"])) == b"mp3@24000:xmp3@24000:y"


def test_the_first_piece_tells_the_rate() -> None:
    stage = Stage([(b"ab",), (b"cd",)], rates=[22_050, 22_050])
    asyncio.run(stage.recited(["1", "2"]))
    assert stage.chunked_speech.rate == 22_050


@pytest.mark.parametrize("rates", [(24_000, 16_000), (22_050, 24_000)])
def test_another_rate_on_the_way_is_an_error(rates: tuple[int, int]) -> None:
    stage = Stage([(b"ab",), (b"cd",)], rates=rates)
    with pytest.raises(UpstreamInvalid):
        asyncio.run(stage.recited(["1", "2"]))
    assert all(response.is_closed for response in stage.responses)


@pytest.mark.parametrize(
    ("failures", "asked"),
    [
        ([UpstreamUnavailable("ill")], ["1", "2", "2"]),
        ([UpstreamUnavailable("ill"), UpstreamUnavailable("ill")], ["1", "2", "2"]),
        ([UpstreamRejected("no")], ["1", "2"]),
    ],
)
def test_a_later_piece_has_two_tries(failures: list[UpstreamError], asked: list[str]) -> None:
    stage = Stage([(b"ab",), *failures, (b"cd",)])
    if len(failures) == 1 and failures[0].retryable:
        assert asyncio.run(stage.recited(["1", "2"])) == b"abcd"
    else:
        with pytest.raises(UpstreamError):
            asyncio.run(stage.recited(["1", "2"]))
    assert stage.asked == asked


def test_leaving_early_closes_what_was_begun_ahead() -> None:
    stage = Stage([(b"ab", b"cd"), (b"ef",), (b"gh",)])

    async def test() -> None:
        chunked_speech = ChunkedSpeech(stage.begin, stage.decoded, ["1", "2", "3"])
        await chunked_speech.start()
        samples = chunked_speech.samples()
        assert await anext(samples) == b"ab"
        await asyncio.sleep(0)
        await samples.aclose()

    asyncio.run(test())
    assert stage.asked == ["1", "2"]
    assert all(response.is_closed for response in stage.responses)


@pytest.mark.parametrize(("named", "paused"), [(None, PAUSE), (0.05, 0.05), (MAX_PAUSE, MAX_PAUSE)])
def test_a_vendor_has_time_before_it_is_asked_again(
    named: float | None, paused: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def noted(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("proxy.attempts.chunked_speech.asyncio.sleep", noted)
    stage = Stage([(b"ab",), UpstreamRateLimited("slow down", retry_after=named), (b"cd",)])
    assert asyncio.run(stage.recited(["1", "2"])) == b"abcd"
    assert pauses == [paused + MARGIN]


def test_nobody_waits_for_minutes_in_the_middle_of_a_text() -> None:
    stage = Stage([(b"ab",), UpstreamRateLimited("slow down", retry_after=MAX_PAUSE + 1), (b"cd",)])
    with pytest.raises(UpstreamRateLimited):
        asyncio.run(stage.recited(["1", "2"]))
