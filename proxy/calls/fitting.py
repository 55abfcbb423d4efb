"""A request as the vendor can take it: its voice, no fields without effect, a speed that it speaks at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from proxy.calls.line import BoundDeployment
from proxy.config import Deployment
from proxy.domain.requests import SpeechRequest, TranscriptionRequest
from proxy.errors import UnsupportedValue
from proxy.providers.base import Capabilities
from proxy.providers.voices import Voices

MAX_VOICES_NAMED = 40
MAX_WARNINGS = 20
#: Formats that need not be decoded, and lose nothing.
BEST_SOURCES = ("pcm", "wav")
#: What no request may set, whoever listens: it would dodge limits, bills and guardrails, or lead calls elsewhere.
NEVER_EXTRA = re.compile(r"url|uri|callback|webhook|api[-_]?key|token(?!s|i)|authorization|header", re.IGNORECASE)


def voice_of(line: BoundDeployment, request: SpeechRequest) -> str | None:
    """The vendor's voice; None where nobody names one. Raises UnsupportedValue for one that the caller may not use.

    That is the caller's voice, mapped by ``voices`` and by the vendor's table; or the deployment's own, where the
    caller names none or where the call has fallen back to a group whose vendor does not know the caller's voice.
    """
    deployment, known = line.deployment, line.adapter.capabilities.voices
    asked, own = request.voice, deployment.voice
    if asked is not None:
        if asked in deployment.voices:
            return deployment.voices[asked]
        found = known.find(asked) if known is not None else None
        if found is not None:
            return found
        if own is None or deployment.group == request.model:
            if known is None or deployment.allow_any_voice:
                return asked
            raise UnsupportedValue(_unknown_voice(asked, request.model, deployment, known), param="voice")
    if own is None or own in deployment.voices:
        return own and deployment.voices[own]
    return (known.find(own) if known is not None else None) or own


def _unknown_voice(asked: str, model: str, deployment: Deployment, known: Voices | None) -> str:
    names = dict.fromkeys((*deployment.voices, *(known.names if known is not None else ())))
    shown = ", ".join(list(names)[:MAX_VOICES_NAMED]) + (", …" if len(names) > MAX_VOICES_NAMED else "")
    return f"voice '{asked[:50]}' is not one of the voices of '{model}': {shown}."


class FittedSpeech(NamedTuple):
    request: SpeechRequest
    #: What the vendor's audio is still to be sped up by.
    tempo: float
    #: A sentence for each thing left out.
    warnings: list[str]


def fitted_speech(line: BoundDeployment, request: SpeechRequest) -> FittedSpeech:
    """The request with the vendor's voice, at a speed that it has, and without what has no effect."""
    can, tempo = line.adapter.capabilities, 1.0
    voice = voice_of(line, request)
    changes: dict[str, Any] = {}
    if voice != request.voice:
        changes |= {"voice": voice, "voice_is_id": False}
    if request.speed is not None and can.speed is not None:
        speed, tempo = nearest_speed(request.speed, can.speed)
        if speed != request.speed:
            changes["speed"] = speed
    if tempo != 1.0:
        changes |= from_sound(can)
    warnings = []
    if request.instructions is not None and "instructions" in can.ignores:
        changes["instructions"] = None
        warnings.append(_has_no_effect("instructions", request.model))
    left_out = [name for name, value in request.extra.items() if not _may_set(can, name, value)]
    if left_out:
        changes["extra"] = {name: value for name, value in request.extra.items() if name not in left_out}
        warnings.extend(_has_no_effect(name, request.model) for name in left_out[:MAX_WARNINGS])
    return FittedSpeech(replace(request, **changes) if changes else request, tempo, warnings)


def nearest_speed(wished: float, able: tuple[float, float]) -> tuple[float | None, float]:
    """The vendor's nearest speed, None where it has but one, and the factor that is left to do."""
    nearest = min(max(wished, able[0]), able[1])
    return (None if able[0] == able[1] else nearest), wished / nearest


def from_sound(can: Capabilities) -> dict[str, Any]:
    """What to ask of the vendor where its audio is to be changed, whatever the caller wants: sound, not events."""
    best = next((name for name in BEST_SOURCES if name in (can.formats or ())), None)
    return {"stream_format": None} | ({"response_format": best} if best is not None else {})


def fitted_transcription(
    line: BoundDeployment, request: TranscriptionRequest
) -> tuple[TranscriptionRequest, list[str]]:
    """The request without what has no effect, and a sentence for each thing left out."""
    can = line.adapter.capabilities
    ignored = [name for name in can.ignores if getattr(request, name, None) not in (None, ())]
    changes: dict[str, Any] = {name: () if isinstance(getattr(request, name), tuple) else None for name in ignored}
    left_out = dict.fromkeys(name for name, value in request.extra if not _may_set(can, name, value))
    if left_out:
        changes["extra"] = tuple((name, value) for name, value in request.extra if name not in left_out)
    warnings = [_has_no_effect(name, request.model) for name in (*sorted(ignored), *left_out)][:MAX_WARNINGS]
    return (replace(request, **changes) if changes else request), warnings


def _may_set(can: Capabilities, name: str, value: Any = None) -> bool:
    """``name`` may be that of a form's field: ``options[seed]`` is one of ``options``."""
    if can.extras is not None:
        return name.partition("[")[0] in can.extras
    if NEVER_EXTRA.search(name) is not None:
        return False
    return not any(NEVER_EXTRA.search(inner) or "://" in text for inner, text in _texts_in(value))


def _texts_in(value: Any) -> Iterator[tuple[str, str]]:
    """The names and the texts in a JSON value, however deep; each with an empty one of the other kind."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield from ((name, "") for name in node)
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, str):
            yield "", node


def _has_no_effect(name: str, model: str) -> str:
    return f"{name[:50]} has no effect on '{model}'"
