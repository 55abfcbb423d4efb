"""Whether and how a deployment can speak a text, according to its vendor's capabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from proxy.audio.formats import SPEECH_FORMATS
from proxy.domain.requests import SpeechRequest
from proxy.errors import BadRequest, ProxyError, UnsupportedValue
from proxy.matching.bound import BoundDeployment
from proxy.matching.extras import MAX_WARNINGS, is_allowed, no_effect
from proxy.matching.plan import Rejection, SpeechPlan
from proxy.matching.voices import vendor_voice, voice_error
from proxy.providers.base import Capabilities

#: OpenAI's speeds. Those that a vendor lacks are made by time-stretching.
SPEEDS = (0.25, 4.0)
#: The longest input that is spoken in pieces, at normal speed: an hour of English, up to three hours of Chinese. More
#: would exceed the processor time that one stream may use in an encoder.
MAX_CHARACTERS = 50_000
#: The first character of the East Asian scripts, and the tokens of a character before it.
_FIRST_WIDE, _TOKENS_OF_NARROW = "\u2e80", 0.4
#: The formats to request, best first, if the vendor does not produce the caller's format.
_SOURCES = ("pcm", "wav", "flac", "mp3", "opus", "aac")
#: Formats that are lossless and need no decoding.
_LOSSLESS = ("pcm", "wav")


def match_speech(request: SpeechRequest, bound: BoundDeployment) -> SpeechPlan | Rejection:
    capabilities = bound.adapter.capabilities
    voice = vendor_voice(bound, request)
    if voice is None:
        return Rejection(voice_error(bound, request))
    piece_characters = _piece_characters(request, bound)
    error = _limit_error(request, capabilities, is_split=piece_characters is not None)
    if error is not None:
        return Rejection(error)
    speed, tempo = request.speed, 1.0
    if speed is not None and capabilities.speed is not None:
        speed, tempo = nearest_speed(speed, capabilities.speed)
    is_changed = tempo != 1.0 or piece_characters is not None
    if (error := _format_error(request, () if is_changed else capabilities.formats)) is not None:
        return Rejection(error)
    changes: dict[str, Any] = _upstream_format(request, capabilities, is_changed=is_changed)
    if voice != request.voice:
        changes |= {"voice": voice, "voice_is_id": False}
    if speed != request.speed:
        changes["speed"] = speed
    warnings: list[str] = []
    if request.instructions is not None and "instructions" in capabilities.ignores:
        changes["instructions"] = None
        warnings.append(no_effect("instructions", request.model))
    left_out = [name for name, value in request.extra.items() if not is_allowed(capabilities, name, value)]
    if left_out:
        changes["extra"] = {name: value for name, value in request.extra.items() if name not in left_out}
        warnings.extend(no_effect(name, request.model) for name in left_out[:MAX_WARNINGS])
    if request.meaningless:
        warnings.extend(no_effect(name, request.model) for name in sorted(request.meaningless))
    return SpeechPlan(
        bound,
        replace(request, **changes) if changes else request,
        request.response_format,
        tempo,
        piece_characters,
        capabilities.needs_words and not has_words(request.input),
        warnings,
    )


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit. Voice agents also send fragments such as ``…`` or an emoji."""
    return any(map(str.isalnum, text))


def nearest_speed(requested: float, supported: tuple[float, float]) -> tuple[float | None, float]:
    """The vendor's nearest speed (None if it has only one), and the factor that remains."""
    nearest = min(max(requested, supported[0]), supported[1])
    return (None if supported[0] == supported[1] else nearest), requested / nearest


def native_format(formats: Sequence[str] | None, requested: str) -> str:
    """The format to request from a vendor that produces ``formats``; the caller's if nothing is declared."""
    if not formats or requested in formats:
        return requested
    return next(source for source in (*_SOURCES, *formats) if source in formats)


def _piece_characters(request: SpeechRequest, bound: BoundDeployment) -> int | None:
    """The maximum length of a piece, if the input has to be spoken in pieces; None if one request is enough."""
    capabilities, text = bound.adapter.capabilities, request.input
    limit = capabilities.max_characters
    if limit is None or not capabilities.splits or not bound.deployment.split_long_input:
        return None
    if capabilities.max_tokens is not None and not text.isascii():
        tokens = min(limit, len(text)) * _tokens_per_character(text)
        limit = limit if tokens <= capabilities.max_tokens else min(limit, capabilities.max_tokens)
    return limit if len(text) > limit else None


def _tokens_per_character(text: str) -> float:
    """A cautious estimate: one for East Asian characters and emoji, fewer for all others."""
    wide = sum(character >= _FIRST_WIDE for character in text)
    return (wide + (len(text) - wide) * _TOKENS_OF_NARROW) / len(text)


def _limit_error(request: SpeechRequest, capabilities: Capabilities, *, is_split: bool) -> ProxyError | None:
    limit, model = capabilities.max_characters, request.model
    if limit is not None and len(request.input) > limit:
        longest = int(MAX_CHARACTERS * min(1.0, request.speed or 1.0)) if is_split else 0
        if len(request.input) > (longest := max(longest, limit)):
            return BadRequest(
                f"The input has {len(request.input)} characters; the model '{model}' takes at most {longest}.",
                param="input",
                code="string_above_max_length",
            )
    limit = capabilities.max_instructions
    if limit is not None and len(request.instructions or "") > limit:
        return BadRequest(
            f"The instructions have {len(request.instructions or '')} characters; the model '{model}' takes at "
            f"most {limit}.",
            param="instructions",
            code="string_above_max_length",
        )
    speed = request.speed
    if speed is not None and capabilities.speed is not None and not SPEEDS[0] <= speed <= SPEEDS[1]:
        return UnsupportedValue(
            f"speed {speed:g} is out of range: '{model}' takes {SPEEDS[0]:g} to {SPEEDS[1]:g}.", param="speed"
        )
    return None


def _format_error(request: SpeechRequest, native: Sequence[str] | None) -> ProxyError | None:
    """The proxy converts to OpenAI's six formats only; any other must be one of the vendor's."""
    requested = request.response_format
    if native is None or requested in SPEECH_FORMATS or requested in native:
        return None
    return UnsupportedValue(
        f"response_format '{requested[:50]}' is not supported by '{request.model}'; it takes: "
        f"{', '.join(dict.fromkeys((*SPEECH_FORMATS, *native)))}.",
        param="response_format",
    )


def _upstream_format(request: SpeechRequest, capabilities: Capabilities, *, is_changed: bool) -> dict[str, Any]:
    """The fields to change for the vendor. Audio that is to be converted must not be sent as events."""
    requested = request.response_format
    native = native_format(capabilities.formats, requested)
    if is_changed:
        native = next((name for name in _LOSSLESS if name in (capabilities.formats or ())), native)
    changes = {"response_format": native} if native != requested else {}
    if request.stream_format is not None and (is_changed or native != requested or not capabilities.sse):
        return changes | {"stream_format": None}
    return changes
