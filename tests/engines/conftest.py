"""A client whose only server is the local engines."""

from __future__ import annotations

import asyncio
import contextlib
import io
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest

from proxy.audio.pool import WorkerPool
from proxy.engines.espeak import Espeak
from proxy.engines.sphinx import Sphinx
from proxy.engines.transport import LocalTransport
from proxy.http.errors import TransportError
from proxy.http.messages import URL, ByteStream, Headers, Request
from proxy.http.transport import Transport

SPEECH = "local://espeak-ng/speech"
TRANSCRIPTION = "local://pocketsphinx/transcription"
SENTENCE = "the quick brown fox jumped over the lazy dogs"
RATE = 22050


class Mounted(httpx.AsyncBaseTransport):
    """A transport of ours behind a client of httpx."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = Sent(request.stream) if str(request.url).startswith(TRANSCRIPTION) else await request.aread()
        ours = Request(request.method, URL(str(request.url)), Headers(request.headers.raw), body)
        ours.timeouts, ours.extensions = request.extensions["timeout"], request.extensions
        with theirs():
            response = await self.transport.send(ours)
        return httpx.Response(response.status_code, headers=response.headers.raw, stream=Received(response.stream))

    async def aclose(self) -> None:
        await self.transport.aclose()


class Sent(ByteStream):
    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self.stream)


class Received(httpx.AsyncByteStream):
    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with theirs():
            async for chunk in self.stream:
                yield chunk

    async def aclose(self) -> None:
        await self.stream.aclose()


@contextlib.contextmanager
def theirs() -> Iterator[None]:
    """httpx's errors for ours."""
    try:
        yield
    except TransportError as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error


@contextlib.asynccontextmanager
async def engines(espeak: Espeak | None = None, **sphinx: Any) -> AsyncIterator[httpx.AsyncClient]:
    audio = WorkerPool(size=2)
    transport = LocalTransport(audio, espeak=espeak, sphinx=Sphinx(audio, **sphinx) if sphinx else None)
    try:
        async with httpx.AsyncClient(transport=Mounted(transport), timeout=60) as client:
            yield client
    finally:
        await audio.aclose()


Test = Callable[[httpx.AsyncClient], Awaitable[Any]]
Warm = Callable[[Test], Any]


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """`warm(test)` runs `test(client)`; all such tests share their processes, which load what they need once."""
    with asyncio.Runner() as runner:
        context = engines()
        client = runner.run(context.__aenter__())
        yield lambda test: runner.run(test(client))
        runner.run(context.__aexit__(None, None, None))


async def until(condition: Callable[[], object]) -> None:
    """Wait until something holds; five seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def seconds(pcm: bytes) -> float:
    return len(pcm) / 2 / RATE


def wav(pcm: bytes, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(pcm)
    return file.getvalue()


@pytest.fixture
def canary(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary-5e3f")
    return "sk-canary-5e3f"
