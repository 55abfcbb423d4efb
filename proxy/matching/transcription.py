"""Whether and how a deployment can transcribe or translate a file, according to its vendor's capabilities."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from proxy.audio import labels
from proxy.audio.languages import language_code
from proxy.audio.longest import longest
from proxy.domain.requests import Mode, TranscriptionRequest
from proxy.domain.transcript import FORMATS
from proxy.errors import BadRequest, InvalidAudio, ProxyError, UnsupportedValue
from proxy.matching.bound import BoundDeployment
from proxy.matching.extras import MAX_WARNINGS, is_allowed, no_effect
from proxy.matching.limits import MEGABYTE, file_limit, file_too_large
from proxy.matching.plan import Rejection, TranscriptionPlan
from proxy.providers.base import Capabilities

GRANULARITIES = ("word", "segment")
SUBTITLES = ("srt", "vtt")
#: OpenAI's formats of translations, without times and with times; and the formats of transcripts that have times.
_PLAIN_TRANSLATIONS = ("json", "text")
_TIMED_TRANSLATIONS = ("srt", "verbose_json", "vtt")
_TIMED = ("verbose_json", "diarized_json")
#: By the caller's format: what to request if the proxy has to read the transcript, best first. Others: the same format.
_READABLE = {"text": ("json",), "srt": (*_TIMED, "json"), "vtt": (*_TIMED, "json")}


@dataclass(frozen=True, slots=True)
class Needs:
    """What the proxy itself needs the transcript for, whatever the caller gets."""

    #: A guardrail reads it.
    reading: bool = False
    #: The model group of the chat model that translates it; None: the vendor translates, or nothing is translated.
    translator: str | None = None


NO_NEEDS = Needs()


def match_transcription(
    request: TranscriptionRequest, bound: BoundDeployment, needs: Needs = NO_NEEDS
) -> TranscriptionPlan | Rejection:
    capabilities = bound.adapter.capabilities
    upstream = request
    if needs.translator is not None:
        upstream = _for_translation(request, capabilities)
        error = _translation_error(request, upstream)
    else:
        error = None
    error = error or _error(upstream, bound)
    if error is not None:
        return Rejection(error)
    if needs.reading and needs.translator is None and not _streams_readably(request):
        upstream = _readable(request, capabilities)
    upstream, warnings = _without_ignored(upstream, capabilities)
    return TranscriptionPlan(
        bound,
        upstream,
        is_read=needs.reading or needs.translator is not None,
        needs_times=request.response_format in SUBTITLES and not request.stream,
        translator=needs.translator,
        warnings=warnings,
    )


def serves(bound: BoundDeployment, mode: Mode) -> bool:
    """Whether the deployment itself serves the mode. A transcription model also translates if its vendor can."""
    if bound.deployment.mode == mode:
        return True
    return mode == Mode.TRANSLATION and bound.deployment.mode == Mode.TRANSCRIPTION and translates(bound)


def translates(bound: BoundDeployment) -> bool:
    """Whether the vendor declares that it translates."""
    return Mode.TRANSLATION in bound.adapter.capabilities.modes


def length_matters(deployments: Iterable[BoundDeployment], request: TranscriptionRequest) -> bool:
    """Whether the audio may be too long for one of them. Most uploads are short enough by their headers."""
    limits = [bound.adapter.capabilities.max_seconds for bound in deployments]
    shortest = min((seconds for seconds in limits if seconds is not None), default=None)
    if shortest is None:
        return False
    file = request.file
    seconds = longest(file.read_at, file.size, file.container)
    return seconds is None or seconds > shortest


def unreadable(request: TranscriptionRequest) -> ProxyError | None:
    """The error if a guardrail has to read the transcript but only the vendor knows the requested format."""
    return _not_one_of("response_format", request.response_format, FORMATS, request.model)


def _error(request: TranscriptionRequest, bound: BoundDeployment) -> ProxyError | None:
    capabilities, model = bound.adapter.capabilities, request.model
    limit = file_limit(bound)
    if limit is not None and request.file.size > limit * MEGABYTE:
        return file_too_large(limit, size=request.file.size)
    if (error := _container_error(request, capabilities)) is not None:
        return error
    seconds, max_seconds = request.seconds, capabilities.max_seconds
    if max_seconds is not None and seconds is not None and seconds > max_seconds:
        return BadRequest(
            f"The audio has {seconds:.0f} seconds; '{model}' takes at most {max_seconds:g}.",
            param="file",
            code="audio_too_long",
        )
    languages = capabilities.languages
    if languages is not None and request.language and language_code(request.language) not in languages:
        return _not_one_of("language", request.language, languages, model)
    if capabilities.response_formats is not None:
        if request.temperature is not None and not 0 <= request.temperature <= 1:
            return UnsupportedValue(
                f"temperature {request.temperature:g} is out of range: '{model}' takes 0 to 1.", param="temperature"
            )
        for granularity in request.timestamp_granularities:
            if granularity not in GRANULARITIES:
                return _not_one_of("timestamp_granularities", granularity, GRANULARITIES, model)
    return _not_one_of("response_format", request.response_format, capabilities.response_formats, model)


def _container_error(request: TranscriptionRequest, capabilities: Capabilities) -> ProxyError | None:
    """An unknown container is the vendor's to judge."""
    container, accepted = request.file.container, capabilities.containers
    if accepted is None or container is None or container in accepted:
        return None
    if not labels.is_audio(container):
        return InvalidAudio(f"The file is not audio but {labels.described(container)}.")
    return UnsupportedValue(
        f"The file is {labels.described(container)}, which '{request.model}' does not take. "
        f"It takes files of these formats: {', '.join(labels.extensions_of(accepted))}.",
        param="file",
    )


def _translation_error(request: TranscriptionRequest, upstream: TranscriptionRequest) -> ProxyError | None:
    """The error if a chat model cannot translate; ``upstream`` is the request for the transcript."""
    requested, model = request.response_format, request.model
    if requested in _TIMED_TRANSLATIONS and upstream.response_format not in _TIMED:
        return _not_one_of("response_format", requested, _PLAIN_TRANSLATIONS, model)
    return _not_one_of("response_format", requested, (*_PLAIN_TRANSLATIONS, *_TIMED_TRANSLATIONS), model)


def _for_translation(request: TranscriptionRequest, capabilities: Capabilities) -> TranscriptionRequest:
    """The request for a transcript in the spoken language, with all that the vendor knows.

    The prompt of a translation is in English, so it is sent to the chat model only.
    """
    supported = capabilities.response_formats
    preferred = ("verbose_json", "diarized_json", "json") if request.response_format in _TIMED_TRANSLATIONS else (
        "verbose_json", "json", "diarized_json",
    )  # fmt: skip
    best = next((name for name in preferred if supported is None or name in supported), "json")
    return replace(
        request,
        task="transcribe",
        stream=False,
        response_format=best,
        timestamp_granularities=(),
        prompt=None,
        chunking_strategy=request.chunking_strategy or ("auto" if best == "diarized_json" else None),
    )


def _streams_readably(request: TranscriptionRequest) -> bool:
    """Whether the caller gets events, and the vendor may send events too."""
    return request.stream and request.response_format in ("json", "diarized_json")


def _readable(request: TranscriptionRequest, capabilities: Capabilities) -> TranscriptionRequest:
    """The request with a format that the proxy can read and that has what the caller's format needs."""
    supported, requested = capabilities.response_formats, request.response_format
    better = _READABLE.get(requested, (requested,))
    best = next((name for name in better if supported is None or name in supported), requested)
    return replace(request, stream=False, response_format=best)


def _without_ignored(
    request: TranscriptionRequest, capabilities: Capabilities
) -> tuple[TranscriptionRequest, list[str]]:
    """The request without fields that have no effect, and a warning for each of them."""
    ignored = [name for name in capabilities.ignores if getattr(request, name, None) not in (None, ())]
    changes: dict[str, Any] = {name: () if isinstance(getattr(request, name), tuple) else None for name in ignored}
    left_out = dict.fromkeys(name for name, value in request.extra if not is_allowed(capabilities, name, value))
    if left_out:
        changes["extra"] = tuple((name, value) for name, value in request.extra if name not in left_out)
    warnings = [no_effect(name, request.model) for name in (*sorted(ignored), *left_out)][:MAX_WARNINGS]
    return (replace(request, **changes) if changes else request), warnings


def _not_one_of(param: str, value: str, allowed: tuple[str, ...] | None, model: str) -> ProxyError | None:
    if allowed is None or value in allowed:
        return None
    return UnsupportedValue(
        f"{param} '{value[:50]}' is not supported by '{model}'; it takes: {', '.join(allowed)}.", param=param
    )
