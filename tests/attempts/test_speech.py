"""Speech whose vendor frames its audio: usage is noted, and everything closed, wherever the caller stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, cast

import pytest

from proxy.attempts import HealthTracker
from proxy.attempts.services import Services
from proxy.attempts.speech import SpeechAttempt
from proxy.domain.call import Attempt
from proxy.domain.requests import SpeechRequest
from proxy.domain.results import SpeechResult
from proxy.domain.usage import Usage
from proxy.errors import ProxyError, UpstreamRateLimited
from proxy.http.messages import ByteStream, Response
from proxy.matching import SpeechPlan
from proxy.providers.base import SpeechAnswer
from tests.fakes import messages
from tests.routing.scene import line

USAGE = Usage(output_audio_tokens=7)


class Decoder:
    """The vendor's bytes are its audio; usage is known once some have arrived."""

    warnings = ()

    def __init__(self) -> None:
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        self.usage = USAGE
        yield data

    def end(self) -> Iterator[bytes]:
        return iter(())


class Body(ByteStream):
    """Sends its chunks, then nothing more until it is closed, or ends."""

    def __init__(self, *chunks: bytes, ends: bool = True) -> None:
        self._chunks = chunks
        self._ends = ends
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk
        if not self._ends:
            await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.is_closed = True


class Upstream:
    """Answers each request with the next body, or raises it if it is an error."""

    def __init__(self, *answers: Body | ProxyError) -> None:
        self._answers = list(answers)

    async def run(self, *_: Any) -> tuple[SpeechAnswer, Response]:
        answer = self._answers.pop(0)
        if isinstance(answer, ProxyError):
            raise answer
        return SpeechAnswer("pcm", decoder=Decoder()), messages.response(200, content=answer)


class Encoders:
    """Workers that are done after ``reads`` chunks, as FFmpeg is with whatever follows the end of a file."""

    def __init__(self, reads: int) -> None:
        self._reads = reads

    async def run(self, job: Any, *, fault: Any, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        for _ in range(self._reads):
            yield await anext(chunks)


def attempt(*answers: Body | ProxyError, encoders: Encoders | None = None, **plan: Any) -> SpeechAttempt:
    bound = line("d")
    cast(Any, bound.adapter).speech = lambda request: None
    services = Services(cast(Any, Upstream(*answers)), cast(Any, encoders), cast(Any, None), HealthTracker(), 0, 0.0)
    fields = {"response_format": "pcm"} | plan
    return SpeechAttempt(services, SpeechPlan(bound, SpeechRequest("m", "One. Two."), **fields), record(), None)


def record() -> Attempt:
    return Attempt("d", "fake", 0.0)


async def read(result: SpeechResult) -> bytes:
    return result.first + b"".join([chunk async for chunk in result.rest])


@pytest.mark.parametrize("plan", [{}, {"piece_characters": 5}], ids=["one request", "in pieces"])
def test_usage_is_noted_when_the_audio_has_ended(plan: dict[str, Any]) -> None:
    async def main() -> None:
        running = attempt(Body(b"\x01\xfe", b"\x02\xfd"), Body(b"\x03\xfc"), **plan)
        async with running as result:
            assert not running.record.is_settled
            await read(result)
            assert running.record.usage is not None

    asyncio.run(main())


@pytest.mark.parametrize("plan", [{}, {"piece_characters": 5}], ids=["one request", "in pieces"])
def test_usage_is_noted_if_the_encoder_does_not_read_to_the_end(plan: dict[str, Any]) -> None:
    async def main() -> None:
        running = attempt(
            Body(b"\x01\xfe", b"\x02\xfd"),
            Body(b"\x03\xfc"),
            encoders=Encoders(reads=1),
            **{"response_format": "mp3"} | plan,
        )
        async with running as result:
            assert await read(result) == b"\x01\xfe"
            assert running.record.usage == USAGE

    asyncio.run(main())


def test_a_caller_that_leaves_while_the_next_piece_is_awaited_leaves_nothing_open() -> None:
    bodies = Body(b"\x01\xfe", b"\x02\xfd"), Body(ends=False)

    async def main() -> None:
        async with attempt(*bodies, piece_characters=5) as result:
            assert result.first == b"\x01\xfe"
            await asyncio.sleep(0.01)

    asyncio.run(main())
    assert all(body.is_closed for body in bodies)


def test_a_limit_that_a_later_piece_meets_holds_for_everybody() -> None:
    async def main() -> None:
        running = attempt(
            Body(b"ab"), UpstreamRateLimited("Slow down.", retry_after=0.1), Body(b"ef"), piece_characters=5
        )
        async with running as result:
            await asyncio.sleep(0.02)
            assert 0 < running._services.health.limited_for("d") <= 0.1
            assert await read(result) == b"abef"

    asyncio.run(main())


@pytest.mark.parametrize("seconds", [0.1, 100])
def test_a_later_piece_is_not_asked_for_before_its_time(seconds: float) -> None:
    async def main() -> None:
        running = attempt(Body(b"ab"), Body(b"ef"), piece_characters=5)
        running._services.health.limit("d", UpstreamRateLimited("Slow down.", retry_after=seconds))
        async with running as result:
            if seconds < 1:
                assert await read(result) == b"abef"
                return
            with pytest.raises(UpstreamRateLimited):
                await read(result)
            assert len(cast(Any, running._services.upstream)._answers) == 1

    asyncio.run(main())
