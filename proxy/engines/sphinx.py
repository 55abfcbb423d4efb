"""Transcription with PocketSphinx: an upload in, segments of English text out as they are recognized."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from proxy.audio import codec
from proxy.audio.limits import Limits
from proxy.audio.pool import WorkerPool
from proxy.audio.source import Source
from proxy.engines.processes import EnginePool
from proxy.errors import InvalidAudio, ProxyError, UnsupportedValue

_RATE: Final = 16_000
_MIB: Final = 1024 * 1024
_LIMITS: Final = Limits(cpu_seconds=2 * 3600, stall_seconds=120, memory_bytes=1024 * _MIB)


class Sphinx:
    """A pool of PocketSphinx processes. Each call also occupies a worker of the `audio` pool, which must be larger.

    A process takes about 120 MiB, from its first job until it has been idle for a minute.
    """

    def __init__(
        self, audio: WorkerPool, *, processes: int | None = None, queue: int = 16, limits: Limits = _LIMITS
    ) -> None:
        self._audio = audio
        size = processes or max(1, (os.cpu_count() or 1) - 1)
        self.pool = EnginePool("proxy.engines.sphinx_child", size=size, queue=queue, limits=limits)

    async def segments(self, file: Source) -> AsyncGenerator[dict[str, Any]]:
        """The documents that `sphinx_child` describes; the last one has the type ``done``.

        Raises InvalidAudio if the file cannot be read, and the errors of `EnginePool.submit`.
        """
        speech = _Decoded(codec.decode(self._audio, file, rate=_RATE))
        async with contextlib.aclosing(speech.pcm), contextlib.aclosing(self.pool.submit(_JOB, speech)) as pieces:
            async for piece in pieces:
                if speech.failure is None:
                    document = json.loads(piece)
                    if document["type"] == "done" and not document["duration"]:
                        raise InvalidAudio("The file contains no audio.")
                    yield document
            if speech.failure is not None:
                raise speech.failure

    async def aclose(self) -> None:
        """End all processes."""
        await self.pool.aclose()


_JOB: Final = {"op": "transcribe"}


class _Decoded:
    """PCM that ends if decoding fails, and stores the error. Raising it would kill the recognizer's process."""

    def __init__(self, pcm: AsyncGenerator[bytes]) -> None:
        self.pcm = pcm
        self.failure: ProxyError | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self.pcm)
        except ProxyError as failure:
            self.failure = failure
            raise StopAsyncIteration from failure


def check_language(language: str) -> None:
    """Raises UnsupportedValue for any language but English. An empty string means English."""
    tag = language.strip().lower().replace("_", "-")
    if tag not in ("", "en", "english") and not tag.startswith("en-"):
        raise UnsupportedValue(
            "PocketSphinx transcribes English only: leave 'language' out or send 'en'.", param="language"
        )
