"""The voices that a caller may name, and what is known about each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from proxy.errors import ProxyError
from proxy.matching import BoundDeployment
from proxy.providers.voices import NAMES, Voice

#: Seconds that a vendor's list is cached, and seconds before the next request to a vendor that failed to send one.
CACHE_SECONDS, RETRY_SECONDS = 600.0, 60.0
MAX_PER_VENDOR = 5_000


@dataclass(frozen=True, slots=True)
class ListedVoice:
    """A voice under the name that callers use."""

    voice: Voice
    vendor: str
    #: The model groups that have it.
    groups: tuple[str, ...]


class VoiceLists:
    """The vendors' own lists, fetched when they are needed. Concurrent callers share one request.

    ``fetch`` returns None if the vendor has no list, and raises a ProxyError if it fails.
    """

    def __init__(
        self,
        fetch: Callable[[BoundDeployment], Awaitable[Sequence[Voice] | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        #: By deployment: the list (None if there is none), and until when it is valid.
        self._cache: dict[str, tuple[Sequence[Voice] | None, float]] = {}
        self._fetching: dict[str, asyncio.Task[Sequence[Voice] | None]] = {}

    async def of(self, deployments: Iterable[BoundDeployment]) -> list[ListedVoice]:
        """OpenAI's names first, then those that the operator configured, then the vendors' own; each id once."""
        deployments = list(deployments)
        catalogues = await asyncio.gather(*(self._catalogue(bound) for bound in deployments))
        openai = [voice for bound in deployments for voice in _openai(bound)]
        configured = [voice for bound in deployments for voice in _configured(bound)]
        listed: dict[str, ListedVoice] = {}
        groups: dict[str, dict[str, None]] = {}
        for voice in (*openai, *configured, *(voice for catalogue in catalogues for voice in catalogue)):
            listed.setdefault(voice.voice.id, voice)
            groups.setdefault(voice.voice.id, {}).update(dict.fromkeys(voice.groups))
        return [replace(voice, groups=tuple(groups[id])) for id, voice in listed.items()]

    async def _catalogue(self, bound: BoundDeployment) -> list[ListedVoice]:
        """The vendor's voices that the deployment lets callers name."""
        known = bound.adapter.capabilities.voices
        live = await self._live(bound)
        if live is None:
            live = known.catalogue if known is not None else ()
        elif known is not None and not bound.deployment.allow_any_voice:
            live = [voice for voice in live if known.find(voice.id) is not None]
        return [_listed(bound, voice) for voice in live[:MAX_PER_VENDOR]]

    async def _live(self, bound: BoundDeployment) -> Sequence[Voice] | None:
        deployment = bound.deployment.id
        voices, until = self._cache.get(deployment, (None, 0.0))
        if self._clock() < until:
            return voices
        task = self._fetching.get(deployment)
        if task is None:
            task = self._fetching[deployment] = asyncio.ensure_future(self._fetch_list(bound))
        # Other callers may be waiting for the same list when one of them is cancelled.
        return await asyncio.shield(task)

    async def _fetch_list(self, bound: BoundDeployment) -> Sequence[Voice] | None:
        voices: Sequence[Voice] | None = None
        seconds = CACHE_SECONDS
        try:
            voices = await self._fetch(bound)
        except ProxyError:
            seconds = RETRY_SECONDS
        finally:
            self._cache[bound.deployment.id] = voices, self._clock() + seconds
            del self._fetching[bound.deployment.id]
        return voices


def _openai(bound: BoundDeployment) -> Iterator[ListedVoice]:
    """OpenAI's names that stand for a voice. A server that declares nothing is assumed to know them all."""
    known = bound.adapter.capabilities.voices
    for name in NAMES:
        id = bound.deployment.voices.get(name) or (known.find(name) if known is not None else name)
        if id is not None:
            yield _as(bound, name, name.capitalize(), id)


def _configured(bound: BoundDeployment) -> Iterator[ListedVoice]:
    deployment = bound.deployment
    own = deployment.voice
    for name in (*deployment.voices, *((own,) if own is not None else ())):
        yield _as(bound, name, name, deployment.voices.get(name, name))


def _as(bound: BoundDeployment, name: str, display_name: str, id: str) -> ListedVoice:
    """The vendor's voice ``id``, which callers call ``name``."""
    known = bound.adapter.capabilities.voices
    catalogue = known.catalogue if known is not None else ()
    voice = next((voice for voice in catalogue if voice.id == id), Voice(id))
    return _listed(bound, replace(voice, id=name, name=display_name))


def _listed(bound: BoundDeployment, voice: Voice) -> ListedVoice:
    return ListedVoice(voice, bound.deployment.vendor, (bound.deployment.group,))
