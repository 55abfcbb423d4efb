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

SPEECH = "local://espeak-ng/speech"
TRANSCRIPTION = "local://pocketsphinx/transcription"
SENTENCE = "the quick brown fox jumped over the lazy dogs"
RATE = 22050


@contextlib.asynccontextmanager
async def engines(espeak: Espeak | None = None, **sphinx: Any) -> AsyncIterator[httpx.AsyncClient]:
    audio = WorkerPool(size=2)
    transport = LocalTransport(audio, espeak=espeak, sphinx=Sphinx(audio, **sphinx) if sphinx else None)
    try:
        async with httpx.AsyncClient(transport=transport, timeout=60) as client:
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
