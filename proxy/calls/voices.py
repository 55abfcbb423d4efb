"""The voices that a caller may name, with what is known of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from proxy.calls.line import BoundDeployment
from proxy.errors import ProxyError
from proxy.providers.voices import NAMES, Voice

#: Seconds that a vendor's list is kept, and that a vendor is left alone which failed to tell one.
KEPT, LEFT_ALONE = 600.0, 60.0
MAX_OF_A_VENDOR = 5_000


@dataclass(frozen=True, slots=True)
class Named:
    """A voice under the name that callers use."""

    voice: Voice
    vendor: str


class VoiceLists:
    """The vendors' own lists, asked for when somebody wants them: once for all who ask at the same time.

    ``fetch`` returns None if the vendor does not list its voices, and raises a ProxyError.
    """

    def __init__(
        self,
        fetch: Callable[[BoundDeployment], Awaitable[Sequence[Voice] | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        #: By deployment: the list, None where there was none to be had, and until when that counts.
        self._known: dict[str, tuple[Sequence[Voice] | None, float]] = {}
        self._asking: dict[str, asyncio.Task[Sequence[Voice] | None]] = {}

    async def of(self, lines: Iterable[BoundDeployment]) -> list[Named]:
        """OpenAI's names first, then those that the operator gave, then the vendors' own; each id once."""
        lines = list(lines)
        catalogues = await asyncio.gather(*(self._catalogue(line) for line in lines))
        found: dict[str, Named] = {}
        ours = [voice for line in lines for voice in _openai(line)]
        operators = [voice for line in lines for voice in _operators(line)]
        for named in (*ours, *operators, *(voice for catalogue in catalogues for voice in catalogue)):
            found.setdefault(named.voice.id, named)
        return list(found.values())

    async def _catalogue(self, line: BoundDeployment) -> list[Named]:
        """The vendor's voices that the deployment lets callers name."""
        known = line.adapter.capabilities.voices
        live = await self._live(line)
        if live is None:
            live = known.catalogue if known is not None else ()
        elif known is not None and not line.deployment.allow_any_voice:
            live = [voice for voice in live if known.find(voice.id) is not None]
        return [Named(voice, line.deployment.vendor) for voice in live[:MAX_OF_A_VENDOR]]

    async def _live(self, line: BoundDeployment) -> Sequence[Voice] | None:
        deployment = line.deployment.id
        voices, until = self._known.get(deployment, (None, 0.0))
        if self._clock() < until:
            return voices
        task = self._asking.get(deployment)
        if task is None:
            task = self._asking[deployment] = asyncio.ensure_future(self._ask(line))
        # Whoever else waits for it must not suffer from one who leaves.
        return await asyncio.shield(task)

    async def _ask(self, line: BoundDeployment) -> Sequence[Voice] | None:
        voices: Sequence[Voice] | None = None
        kept = KEPT
        try:
            voices = await self._fetch(line)
        except ProxyError:
            kept = LEFT_ALONE
        finally:
            self._known[line.deployment.id] = voices, self._clock() + kept
            del self._asking[line.deployment.id]
        return voices


def _openai(line: BoundDeployment) -> Iterator[Named]:
    """OpenAI's names, as far as they mean a voice here; a server of which nothing is known is thought to know them."""
    known = line.adapter.capabilities.voices
    for name in NAMES:
        id = line.deployment.voices.get(name) or (known.find(name) if known is not None else name)
        if id is not None:
            yield _as(line, name, name.capitalize(), id)


def _operators(line: BoundDeployment) -> Iterator[Named]:
    deployment = line.deployment
    own = deployment.voice
    for name in (*deployment.voices, *((own,) if own is not None else ())):
        yield _as(line, name, name, deployment.voices.get(name, name))


def _as(line: BoundDeployment, name: str, shown: str, id: str) -> Named:
    """The vendor's voice ``id`` under a name of ours."""
    known = line.adapter.capabilities.voices
    catalogue = known.catalogue if known is not None else ()
    voice = next((voice for voice in catalogue if voice.id == id), Voice(id))
    return Named(replace(voice, id=name, name=shown), line.deployment.vendor)
