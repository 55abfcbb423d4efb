"""Speech with espeak-ng: text and a voice in, PCM out while it is synthesized."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any, Final

from proxy.audio.limits import Limits
from proxy.engines import voices
from proxy.engines.processes import EnginePool
from proxy.engines.started import StartedStream
from proxy.errors import BadRequest

SLOWEST, FASTEST = 0.25, 4.0
_MIB: Final = 1024 * 1024
_LIMITS: Final = Limits(cpu_seconds=60, stall_seconds=20, memory_bytes=512 * _MIB)


class Espeak:
    """A pool of espeak-ng processes of about 20 MiB each. A stream occupies one until it is read or closed."""

    def __init__(self, *, processes: int = 8, queue: int = 32, limits: Limits = _LIMITS) -> None:
        self.pool = EnginePool("proxy.engines.espeak_child", size=processes, queue=queue, limits=limits)

    async def speak(self, text: str, *, voice: str = "alloy", speed: float = 1.0) -> tuple[int, StartedStream[bytes]]:
        """The sample rate and s16le mono PCM, whose first piece has arrived. Close the PCM on every path.

        The pace is 175 words per minute times `speed`. espeak-ng itself speaks 80 to 450 words per minute; its
        libsonic does the rest. Raises BadRequest and the errors of `EnginePool.submit`.
        """
        if not text.strip():
            raise BadRequest("The input is empty.", param="input")
        if not SLOWEST <= speed <= FASTEST:
            raise BadRequest(f"The speed must be between {SLOWEST} and {FASTEST:g}.", param="speed")
        job = {"op": "speak", "speed": float(speed), **dataclasses.asdict(voices.parse(voice))}
        pieces = self.pool.submit(job, _single(text.encode(errors="replace")))
        head = await StartedStream.of(pieces)
        rate: int = json.loads(await anext(head))["rate"]
        return rate, await StartedStream.of(pieces)

    async def voices(self) -> list[dict[str, Any]]:
        """OpenAI's names, then espeak-ng's languages, each as ``id``, ``name``, ``language``, ``gender``."""
        async with contextlib.aclosing(self.pool.submit({"op": "voices"})) as pieces:
            document = json.loads(b"".join([piece async for piece in pieces]))
        named = [
            {"id": name, "name": name.capitalize(), "language": voice.language, "gender": voice.gender}
            for name, voice in voices.OPENAI.items()
        ]
        languages = [
            {"id": voice["tags"][0], "name": voice["name"], "language": voice["tags"][0], "gender": voice["gender"]}
            for voice in document["voices"]
            if voice["tags"]
        ]
        return named + languages

    async def aclose(self) -> None:
        """End all processes."""
        await self.pool.aclose()


async def _single(data: bytes) -> AsyncIterator[bytes]:
    yield data
