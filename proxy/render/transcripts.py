"""Renders transcripts exactly as OpenAI's API does.

Subtitles are not written by pysubs2, since that numbers the cues of WebVTT, interprets ``\\N``, ``\\h`` and ``{…}`` in
texts, and stops at a hundred hours. The tests parse the result with it.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from proxy.audio.languages import language_name
from proxy.domain.transcript import Segment, Transcript, Word, timed_segments
from proxy.domain.usage import NO_TOKENS
from proxy.surrogates import well_formed

_JSON: Final = "application/json"
_PLAIN: Final = "text/plain; charset=utf-8"
TEXT_FORMATS: Final = ("text", "srt", "vtt")


def render(
    transcript: Transcript, response_format: str, granularities: Collection[str] = ("segment",)
) -> tuple[bytes, str]:
    """Body and content type, in one of OpenAI's six formats. Raises KeyError for any other name."""
    if response_format in TEXT_FORMATS:
        return _utf8(as_text(transcript, response_format)), _PLAIN
    return _utf8(_compact(as_document(transcript, response_format, granularities))), _JSON


def as_text(transcript: Transcript, response_format: str) -> str:
    """``text``, ``srt`` or ``vtt``. Without segments, subtitles are made from the words."""
    if response_format == "text":
        return f"{transcript.text}\n"
    return _SUBTITLES[response_format](timed_segments(transcript))


def as_document(
    transcript: Transcript, response_format: str, granularities: Collection[str] = ("segment",)
) -> dict[str, Any]:
    """``json``, ``verbose_json`` or ``diarized_json``. Raises KeyError for any other name.

    ``granularities`` ("word", "segment"; empty means segment) applies to verbose_json only. Formats with times make
    segments from the words if there are only words, and a single segment if there are no times at all.
    """
    if response_format == "json":
        return _plain_document(transcript)
    if response_format == "verbose_json":
        return _verbose_document(transcript, granularities or ("segment",))
    if response_format == "diarized_json":
        return _diarized_document(transcript)
    raise KeyError(response_format)


def complete(
    members: Mapping[str, Any], transcript: Transcript, response_format: str, granularities: Collection[str]
) -> bytes:
    """A vendor's own JSON document with what it lacks of OpenAI's shape. All else in it stays.

    Segments are added even if only words were requested, since some typed clients insist on them.
    """
    return _utf8(_compact(_merged(members, as_document(transcript, response_format, {*granularities, "segment"}))))


def _merged(members: Mapping[str, Any], due: Mapping[str, Any]) -> dict[str, Any]:
    """``due`` in its order, with the values of ``members`` where those have the same type; then what is left."""
    merged = {name: _better(members.get(name), value) for name, value in due.items()}
    return merged | {name: value for name, value in members.items() if name not in merged}


def _better(value: Any, due: Any) -> Any:
    if isinstance(value, list) and isinstance(due, list) and len(value) == len(due):
        return [_better(one, other) for one, other in zip(value, due, strict=True)]
    if isinstance(value, dict) and isinstance(due, dict):
        return _merged(value, due)
    is_number = _is_number(value) and _is_number(due)
    return value if is_number or (type(value) is type(due) and not isinstance(due, (list, tuple))) else due


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def sse_events(transcript: Transcript, *, diarized: bool = False) -> list[bytes]:
    """The frames of ``stream=true`` for a transcript that is complete, ``[DONE]`` included."""
    events: list[dict[str, Any]] = []
    if diarized:
        for segment in _speaker_segments(transcript):
            gap = " " if events and not segment["text"].startswith(" ") else ""  # the deltas joined give the text
            delta = {"type": "transcript.text.delta", "delta": gap + segment["text"], "segment_id": segment["id"]}
            events += [delta, segment]
    elif transcript.text:
        events.append(_known(type="transcript.text.delta", delta=transcript.text, logprobs=transcript.logprobs))
    done = {"type": "transcript.text.done"} | _plain_document(transcript, languages_first=True)
    events.append(done if transcript.usage is not None else done | {"usage": _usage_of(transcript)})
    return [_utf8(f"data: {_compact(event)}\n\n") for event in events] + [b"data: [DONE]\n\n"]


def _usage_of(transcript: Transcript) -> Mapping[str, Any]:
    """For a vendor that reports none: OpenAI's done event always has one."""
    if transcript.duration is None:
        return NO_TOKENS
    return {"type": "duration", "seconds": math.ceil(transcript.duration)}


# -- documents ---------------------------------------------------------------------------------------------------------


def _plain_document(transcript: Transcript, *, languages_first: bool = False) -> dict[str, Any]:
    """``text``, then logprobs, languages and usage if known; events have the languages before the logprobs."""
    languages = None if transcript.languages is None else [{"code": code} for code in transcript.languages]
    if languages_first:
        return _known(text=transcript.text, languages=languages, logprobs=transcript.logprobs, usage=transcript.usage)
    return _known(text=transcript.text, logprobs=transcript.logprobs, languages=languages, usage=transcript.usage)


def _verbose_document(transcript: Transcript, granularities: Collection[str]) -> dict[str, Any]:
    segments = timed_segments(transcript)
    words = transcript.words or tuple(word for segment in segments for word in segment.words)
    return _known(
        task=transcript.task,
        language=language_name(transcript.language) if transcript.language else "unknown",
        duration=_duration(transcript, segments),
        text=transcript.text,
        segments=[_verbose_segment(segment) for segment in segments] if "segment" in granularities else None,
        words=[_word(word) for word in words] if "word" in granularities else None,
        usage=transcript.usage,
    )


def _diarized_document(transcript: Transcript) -> dict[str, Any]:
    return _known(
        text=transcript.text,
        task=transcript.task,
        duration=_duration(transcript, timed_segments(transcript)),
        segments=_speaker_segments(transcript),
        usage=transcript.usage,
    )


def _duration(transcript: Transcript, segments: Sequence[Segment]) -> float:
    if transcript.duration is not None:
        return transcript.duration
    return max((segment.end for segment in segments), default=0.0)


def _verbose_segment(segment: Segment) -> dict[str, Any]:
    return _known(
        id=segment.id,
        seek=segment.seek,
        start=segment.start,
        end=segment.end,
        text=segment.text,
        tokens=segment.tokens,
        temperature=segment.temperature,
        avg_logprob=segment.avg_logprob or 0.0,
        compression_ratio=_compression_ratio(segment),
        no_speech_prob=segment.no_speech_prob or 0.0,
        speaker=segment.speaker,
    )


def _compression_ratio(segment: Segment) -> float:
    if segment.compression_ratio is not None:
        return segment.compression_ratio
    spoken = segment.text.encode("utf-8", "replace")
    return len(spoken) / len(zlib.compress(spoken))


def _word(word: Word) -> dict[str, Any]:
    return _known(word=word.word, start=word.start, end=word.end, speaker=word.speaker)


def _speaker_segments(transcript: Transcript) -> list[dict[str, Any]]:
    """The segments of a diarized document or of its events, numbered in order."""
    return [
        {
            "type": "transcript.text.segment",
            "text": segment.text,
            "speaker": segment.speaker or "A",
            "start": segment.start,
            "end": segment.end,
            "id": f"seg_{number}",
        }
        for number, segment in enumerate(timed_segments(transcript))
    ]


def _known(**fields: Any) -> dict[str, Any]:
    """The fields that have a value, in their order."""
    return {name: value for name, value in fields.items() if value is not None}


def _compact(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _utf8(text: str) -> bytes:
    return well_formed(text).encode()


# -- subtitles ---------------------------------------------------------------------------------------------------------


def _srt(segments: Iterable[Segment]) -> str:
    return "".join(
        f"{number}\n{_clock(segment.start, ',')} --> {_clock(segment.end, ',')}\n{_cue(segment.text)}\n\n"
        for number, segment in enumerate(segments, 1)
    )


def _vtt(segments: Iterable[Segment]) -> str:
    return "WEBVTT\n\n" + "".join(
        f"{_clock(segment.start, '.')} --> {_clock(segment.end, '.')}\n{_cue(segment.text)}\n\n" for segment in segments
    )


def _clock(seconds: float, mark: str) -> str:
    """``HH:MM:SS,mmm``, with more digits for the hours from a hundred on."""
    milliseconds = max(0, round(seconds * 1000))
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def _cue(text: str) -> str:
    """The text of a cue, without empty lines and arrows, which would start another cue."""
    lines = (line.strip() for line in text.replace("-->", "->").splitlines())
    return "\n".join(line for line in lines if line)


_SUBTITLES: Final = {"srt": _srt, "vtt": _vtt}
