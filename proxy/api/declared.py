"""What the deployments of a model group can do together, as ``GET /v1/models/{id}`` tells it.

A request goes to whichever deployment can serve it, so a group can do what any of its deployments can. null stands for
what nobody declares: there the vendor, or the server, decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from proxy.audio.formats import SPEECH_FORMATS
from proxy.domain.requests import Mode
from proxy.matching import BoundDeployment, serves
from proxy.matching.speech import MAX_CHARACTERS, SPEEDS
from proxy.providers.base import Capabilities
from proxy.providers.voices import OPENAI_VOICES

N = TypeVar("N", int, float)


def declared(lines: Sequence[BoundDeployment]) -> dict[str, Any]:
    """``modes``, and ``speech`` and ``transcription`` where the group does that."""
    modes = [mode for mode in Mode if any(serves(line, mode) for line in lines)]
    speaking = [line for line in lines if line.deployment.mode == Mode.SPEECH]
    hearing = [line.adapter.capabilities for line in lines if line.deployment.mode != Mode.SPEECH]
    document: dict[str, Any] = {"modes": modes}
    if speaking:
        document["speech"] = _speech(speaking)
    if hearing:
        document["transcription"] = _transcription(hearing)
    return document


def _speech(lines: Sequence[BoundDeployment]) -> dict[str, Any]:
    able = [line.adapter.capabilities for line in lines]
    known = all(can.formats is not None for can in able)
    return {
        "formats": _union([(*(can.formats or ()), *SPEECH_FORMATS) for can in able]) if known else None,
        "native_formats": _union(can.formats for can in able),
        "voices": _union(_voices(line) for line in lines),
        "any_voice": any(line.deployment.allow_any_voice or line.adapter.capabilities.voices is None for line in lines),
        "speed": SPEEDS if all(can.speed is not None for can in able) else None,
        "native_speed": _range([can.speed for can in able]),
        "instructions": any("instructions" not in can.ignores for can in able),
        "max_characters": _most(_characters(can) for can in able),
        "max_instructions": _most(can.max_instructions for can in able),
        "extras": _names(can.extras for can in able),
    }


def _transcription(able: Sequence[Capabilities]) -> dict[str, Any]:
    return {
        "response_formats": _union(can.response_formats for can in able),
        "streaming": any(can.streams for can in able),
        "languages": _union(can.languages for can in able),
        "max_file_mb": _most(can.max_file_mb for can in able),
        "max_seconds": _most(can.max_seconds for can in able),
        "ignores": sorted(frozenset.intersection(*(can.ignores for can in able))),
        "extras": _names(can.extras for can in able),
    }


def _voices(line: BoundDeployment) -> Sequence[str]:
    """What the deployment names, and what the vendor declares (OpenAI's names where it declares nothing)."""
    own = [*line.deployment.voices, *([line.deployment.voice] if line.deployment.voice else [])]
    return [*own, *(line.adapter.capabilities.voices or OPENAI_VOICES).names]


def _characters(can: Capabilities) -> int | None:
    return MAX_CHARACTERS if can.splits and can.max_characters is not None else can.max_characters


def _union(lists: Iterable[Sequence[str] | None]) -> list[str] | None:
    """Each name once, in the order of the deployments; None where one of them declares nothing."""
    names: dict[str, None] = {}
    for one in lists:
        if one is None:
            return None
        names.update(dict.fromkeys(one))
    return list(names)


def _names(sets: Iterable[frozenset[str] | None]) -> list[str] | None:
    found = _union(None if one is None else sorted(one) for one in sets)
    return found if found is None else sorted(found)


def _most(limits: Iterable[N | None]) -> N | None:
    """The highest; None where one of them has none."""
    known: list[N] = []
    for limit in limits:
        if limit is None:
            return None
        known.append(limit)
    return max(known)


def _range(ranges: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    known = [one for one in ranges if one is not None]
    if len(known) < len(ranges):
        return None
    return min(low for low, _ in known), max(high for _, high in known)
