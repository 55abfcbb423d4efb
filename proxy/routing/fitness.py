"""Whether a deployment can serve a request, by what its vendor declares; an objection is what the caller would see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from proxy.audio.formats import SPEECH_FORMATS
from proxy.audio.languages import language_code
from proxy.calls import MAX_VOICES_NAMED, BoundDeployment, voice_of
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.transcript import FORMATS
from proxy.errors import BadRequest, FileTooLarge, ProxyError, UnsupportedValue

MEGABYTE = 1_048_576
GRANULARITIES = ("word", "segment")
#: OpenAI's speeds; what a vendor lacks of them is made by stretching.
SPEEDS = (0.25, 4.0)
#: Of an input that is spoken in pieces, at the usual speed: an hour of English, up to three of Chinese. Beyond that an
#: encoder would use up the processor time that one stream may have.
MAX_CHARACTERS = 50_000
#: What OpenAI writes translations in, and which transcripts know times.
PLAIN_TRANSLATIONS = ("json", "text")
TIMED_TRANSLATIONS = ("srt", "verbose_json", "vtt")
TIMED = ("verbose_json", "diarized_json")


def serves(line: BoundDeployment, mode: Mode) -> bool:
    """A transcription model serves translations where the vendor can."""
    if line.deployment.mode == mode:
        return True
    return mode == Mode.TRANSLATION and line.deployment.mode == Mode.TRANSCRIPTION and translates(line)


def translates(line: BoundDeployment) -> bool:
    """Whether the vendor itself translates, as far as it is known."""
    return Mode.TRANSLATION in line.adapter.capabilities.modes


def speech(line: BoundDeployment, request: SpeechRequest) -> ProxyError | None:
    can = line.adapter.capabilities
    try:
        voice = voice_of(line, request)
    except UnsupportedValue as error:
        return error
    if voice is None:
        voices = f" The voices are: {', '.join(can.voices.names[:MAX_VOICES_NAMED])}." if can.voices else ""
        return BadRequest(
            f"Missing required parameter: 'voice'.{voices}", param="voice", code="missing_required_parameter"
        )
    is_long = can.max_characters is not None and len(request.input) > can.max_characters
    most = int(MAX_CHARACTERS * min(1.0, request.speed or 1.0)) if can.splits else 0
    most = max(most, can.max_characters or 0)
    if is_long and len(request.input) > most:
        return BadRequest(
            f"The input has {len(request.input)} characters; the model '{request.model}' takes at most {most}.",
            param="input",
            code="string_above_max_length",
        )
    if can.max_instructions is not None and len(request.instructions or "") > can.max_instructions:
        return BadRequest(
            f"The instructions have {len(request.instructions or '')} characters; the model '{request.model}' takes at "
            f"most {can.max_instructions}.",
            param="instructions",
            code="string_above_max_length",
        )
    is_stretched = False
    if request.speed is not None and can.speed is not None:
        if not SPEEDS[0] <= request.speed <= SPEEDS[1]:
            return UnsupportedValue(
                f"speed {request.speed:g} is out of range: '{request.model}' takes {SPEEDS[0]:g} to {SPEEDS[1]:g}.",
                param="speed",
            )
        is_stretched = not can.speed[0] <= request.speed <= can.speed[1]
    # What the vendor does not make itself of OpenAI's six formats is made of what it does.
    own = () if is_stretched or is_long else can.formats
    if own is None or request.response_format in SPEECH_FORMATS or request.response_format in own:
        return None
    return _one_of("response_format", request.response_format, (*SPEECH_FORMATS, *own), request.model)


def transcription(line: BoundDeployment, request: TranscriptionRequest) -> ProxyError | None:
    can = line.adapter.capabilities
    limit = file_limit(line)
    if limit is not None and request.file.size > limit * MEGABYTE:
        return file_too_large(limit, passed=request.file.size)
    if can.max_seconds is not None and request.seconds is not None and request.seconds > can.max_seconds:
        return BadRequest(
            f"The audio has {request.seconds:.0f} seconds; '{request.model}' takes at most {can.max_seconds:g}.",
            param="file",
            code="audio_too_long",
        )
    if can.languages is not None and request.language and language_code(request.language) not in can.languages:
        return _one_of("language", request.language, can.languages, request.model)
    if request.temperature is not None and can.response_formats is not None and not 0 <= request.temperature <= 1:
        return UnsupportedValue(
            f"temperature {request.temperature:g} is out of range: '{request.model}' takes 0 to 1.", param="temperature"
        )
    for granularity in request.timestamp_granularities if can.response_formats is not None else ():
        if granularity not in GRANULARITIES:
            return _one_of("timestamp_granularities", granularity, GRANULARITIES, request.model)
    return _one_of("response_format", request.response_format, can.response_formats, request.model)


def translated(line: BoundDeployment, request: TranscriptionRequest) -> ProxyError | None:
    """As `transcription`, of a translation that a chat model makes of the deployment's transcript."""
    asked = heard(line, request)
    if request.response_format in TIMED_TRANSLATIONS and asked.response_format not in TIMED:
        return _one_of("response_format", request.response_format, PLAIN_TRANSLATIONS, request.model)
    allowed = (*PLAIN_TRANSLATIONS, *TIMED_TRANSLATIONS)
    return _one_of("response_format", request.response_format, allowed, request.model) or transcription(line, asked)


def heard(line: BoundDeployment, request: TranscriptionRequest) -> TranscriptionRequest:
    """What the deployment is asked for where a chat model translates: all that its vendor knows, and in its language.

    The prompt of a translation is in English, and goes to the model that writes English.
    """
    able = line.adapter.capabilities.response_formats
    wanted = ("verbose_json", "diarized_json", "json") if request.response_format in TIMED_TRANSLATIONS else (
        "verbose_json", "json", "diarized_json",
    )  # fmt: skip
    best = next((name for name in wanted if able is None or name in able), "json")
    strategy = request.chunking_strategy or ("auto" if best == "diarized_json" else None)
    return replace(
        request, task="transcribe", stream=False, response_format=best, timestamp_granularities=(), prompt=None,
        chunking_strategy=strategy,
    )  # fmt: skip


def check_readable(request: TranscriptionRequest) -> None:
    """Raises UnsupportedValue for a format that only the vendor knows, where a guardrail has to read the answer."""
    objection = _one_of("response_format", request.response_format, FORMATS, request.model)
    if objection is not None:
        raise objection


def streams_readably(request: TranscriptionRequest) -> bool:
    """Whether the caller gets events, and the vendor may send them."""
    return request.stream and request.response_format in ("json", "diarized_json")


def to_read(line: BoundDeployment, request: TranscriptionRequest) -> TranscriptionRequest:
    """What the deployment is asked for where a guardrail reads the transcript: one that knows what the caller wants."""
    able, wanted = line.adapter.capabilities.response_formats, request.response_format
    better = {"text": ("json",), "srt": (*TIMED, "json"), "vtt": (*TIMED, "json")}.get(wanted, (wanted,))
    best = next((name for name in better if able is None or name in able), wanted)
    return replace(request, stream=False, response_format=best)


def length_matters(chain: Mapping[str, Sequence[BoundDeployment]], request: TranscriptionRequest) -> bool:
    """Whether the length of the audio may decide who serves it; a small upload is not worth the measuring."""
    lines = [line for lines in chain.values() for line in lines]
    bounded = any(line.adapter.capabilities.max_seconds is not None for line in lines)
    return bounded and len(lines) > 1 and request.file.size > MEGABYTE


def file_limit(line: BoundDeployment) -> float | None:
    """MB; the deployment's own limit, else the vendor's."""
    own = line.deployment.max_file_size_mb
    return own if own is not None else line.adapter.capabilities.max_file_mb


def file_too_large(limit: float, *, passed: int | None) -> FileTooLarge:
    """``limit`` in MB; ``passed`` in bytes, None where the client did not say and the rest was not waited for."""
    size = f"{passed / MEGABYTE} MB" if passed is not None else f"more than {_plain(limit)} MB"
    return FileTooLarge(
        "File size is too large. Please check your file size. "
        f"Passed file size: {size}. Max file size: {_plain(limit)} MB"
    )


def _plain(number: float) -> str:
    return format(Decimal(repr(number)).normalize(), "f")


def _one_of(param: str, value: str, allowed: tuple[str, ...] | None, model: str) -> ProxyError | None:
    if allowed is None or value in allowed:
        return None
    return UnsupportedValue(
        f"{param} '{value[:50]}' is not supported by '{model}'; it takes: {', '.join(allowed)}.", param=param
    )
