"""What the deployments of a model group can do together, as ``GET /v1/models/{id}`` reports it.

A request goes to whichever deployment can serve it, so a group can do what any of its deployments can. null means that
nothing is declared: the vendor, or the server, decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from pydantic import BaseModel, Field

from proxy.audio.formats import SPEECH_FORMATS
from proxy.audio.labels import extensions_of
from proxy.domain.requests import Mode
from proxy.matching import BoundDeployment, serves
from proxy.matching.speech import MAX_CHARACTERS, SPEEDS
from proxy.providers.base import Capabilities
from proxy.providers.voices import OPENAI_VOICES

N = TypeVar("N", int, float)
#: A number is written as it is declared: 25 does not become 25.0.
Number = int | float
Range = tuple[Number, Number]


class SpeechCapabilities(BaseModel):
    formats: list[str] | None = Field(description="Audio formats, converted ones included.")
    native_formats: list[str] | None = Field(description="Audio formats that vendors produce.")
    voices: list[str]
    any_voice: bool = Field(description="Other voices are accepted, too.")
    speed: Range | None = Field(description="Slowest and fastest speed, with time-stretching.")
    native_speed: Range | None = Field(description="Slowest and fastest speed of the vendors.")
    instructions: bool = Field(description="``instructions`` have an effect.")
    max_characters: int | None
    max_instructions: int | None = Field(description="Maximum characters of ``instructions``.")
    extras: list[str] | None = Field(description="Further fields that a request may set.")


class TranscriptionCapabilities(BaseModel):
    response_formats: list[str] | None
    streaming: bool = Field(description="With ``stream=true``, text arrives before the end of the audio is reached.")
    languages: list[str] | None = Field(description="ISO-639-1 codes.")
    file_formats: list[str] | None = Field(description="Of uploads, by their extensions.")
    max_file_mb: Number | None
    max_seconds: Number | None = Field(description="Of audio in one file.")
    ignores: list[str] = Field(description="Fields of OpenAI's API that have no effect.")
    extras: list[str] | None = Field(description="Further fields that a request may set.")


class GroupCapabilities(BaseModel):
    modes: list[Mode]
    speech: SpeechCapabilities | None = Field(default=None, description="Missing if the group does not speak.")
    transcription: TranscriptionCapabilities | None = Field(
        default=None, description="Missing if the group does not transcribe."
    )


def group_capabilities(group: Sequence[BoundDeployment]) -> GroupCapabilities:
    """Fields that do not apply are left unset."""
    capabilities = GroupCapabilities(modes=[mode for mode in Mode if any(serves(bound, mode) for bound in group)])
    if speakers := [bound for bound in group if bound.deployment.mode == Mode.SPEECH]:
        capabilities.speech = _speech(speakers)
    if others := [bound.adapter.capabilities for bound in group if bound.deployment.mode != Mode.SPEECH]:
        capabilities.transcription = _transcription(others)
    return capabilities


def _speech(group: Sequence[BoundDeployment]) -> SpeechCapabilities:
    each = [bound.adapter.capabilities for bound in group]
    declared = all(one.formats is not None for one in each)
    return SpeechCapabilities(
        formats=_union([(*(one.formats or ()), *SPEECH_FORMATS) for one in each]) if declared else None,
        native_formats=_union(one.formats for one in each),
        voices=list(dict.fromkeys(voice for bound in group for voice in _voices(bound))),
        any_voice=any(bound.deployment.allow_any_voice or bound.adapter.capabilities.voices is None for bound in group),
        speed=SPEEDS if all(one.speed is not None for one in each) else None,
        native_speed=_range([one.speed for one in each]),
        instructions=any("instructions" not in one.ignores for one in each),
        max_characters=_max(_characters(one) for one in each),
        max_instructions=_max(one.max_instructions for one in each),
        extras=_names(one.extras for one in each),
    )


def _transcription(each: Sequence[Capabilities]) -> TranscriptionCapabilities:
    return TranscriptionCapabilities(
        response_formats=_union(one.response_formats for one in each),
        streaming=any(one.streams for one in each),
        languages=_union(one.languages for one in each),
        file_formats=_names(None if one.containers is None else extensions_of(one.containers) for one in each),
        max_file_mb=_max(one.max_file_mb for one in each),
        max_seconds=_max(one.max_seconds for one in each),
        ignores=sorted(frozenset.intersection(*(one.ignores for one in each))),
        extras=_names(one.extras for one in each),
    )


def _voices(bound: BoundDeployment) -> Sequence[str]:
    """Those that the deployment names, and those that the vendor declares (OpenAI's if it declares none)."""
    own = [*bound.deployment.voices, *([bound.deployment.voice] if bound.deployment.voice else [])]
    return [*own, *(bound.adapter.capabilities.voices or OPENAI_VOICES).names]


def _characters(capabilities: Capabilities) -> int | None:
    splits = capabilities.splits and capabilities.max_characters is not None
    return MAX_CHARACTERS if splits else capabilities.max_characters


def _union(lists: Iterable[Sequence[str] | None]) -> list[str] | None:
    """Each name once, in the order of the deployments; None if any of them declares nothing."""
    names: dict[str, None] = {}
    for one in lists:
        if one is None:
            return None
        names.update(dict.fromkeys(one))
    return list(names)


def _names(sets: Iterable[Collection[str] | None]) -> list[str] | None:
    names = _union(None if one is None else sorted(one) for one in sets)
    return names if names is None else sorted(names)


def _max(limits: Iterable[N | None]) -> N | None:
    """None, which means no limit, if any of them is None."""
    known: list[N] = []
    for limit in limits:
        if limit is None:
            return None
        known.append(limit)
    return max(known)


def _range(ranges: Sequence[tuple[float, float] | None]) -> Range | None:
    known = [one for one in ranges if one is not None]
    if len(known) < len(ranges):
        return None
    return min(low for low, _ in known), max(high for _, high in known)
