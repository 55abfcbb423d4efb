"""Transcripts of servers that are not OpenAI, brought into OpenAI's shape; what they hold beside it stays.

Whisper.cpp has words inside of segments, and a ``detected_language``; its command line writes ``transcription`` with
``offsets`` in milliseconds. LocalAI writes nanoseconds. WhisperX leaves out the times of words that it could not
align, and calls all words ``word_segments``. Transformers has ``chunks`` with a ``timestamp`` pair. Wrappers of NeMo
and sherpa call the text ``transcription`` or ``transcript``, or wrap all in ``result`` or ``data``. Values that make no
sense stay as they are: `transcripts` judges them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from proxy.providers.wire import subtitles

_TEXT: Final = (
    "text", "transcription", "transcript", "transcribed_text", "full_text", "transcription_text", "content",
)  # fmt: skip
_SEGMENTS: Final = ("segments", "chunks", "utterances", "sentences", "transcription", "sentence_info")
_WORDS: Final = ("words", "word_segments", "word_timestamps")
_WRAPPERS: Final = (
    "text", "result", "results", "data", "output", "response", "transcription", "transcript", "predictions",
)  # fmt: skip
_LANGUAGE: Final = ("language", "detected_language", "language_code", "lang")
_DURATION: Final = ("duration", "duration_seconds", "audio_duration", "audio_duration_seconds")
_START: Final = ("start", "start_time", "startTime", "begin", "from")
_END: Final = ("end", "end_time", "endTime", "stop", "to")
_ROW_TEXT: Final = ("text", "segment", "sentence", "transcript", "utterance", "word")
_WORD: Final = ("word", "punctuated_word", "text", "token")
#: Whole numbers above a day of seconds, as the last time of a file, are in another unit.
_DAY: Final = 86_400
_MAX: Final = 10**18
#: How deep a transcript may be wrapped.
MAX_DEPTH: Final = 8


def as_openai(document: Any, depth: int = 0) -> dict[str, Any] | None:
    """``text``, ``segments``, ``words``, ``language`` and ``duration`` where OpenAI has them, as far as they are known.

    None if nothing in it looks like a transcript.
    """
    if isinstance(document, str):
        return _of_text(document)
    if depth > MAX_DEPTH:
        return None
    if isinstance(document, list):
        return _of_list(document, depth)
    if not isinstance(document, dict):
        return None
    has_text = any(isinstance(document.get(name), str) for name in _TEXT) or subtitles_in(document) is not None
    if not has_text and not _rows_of(document, _SEGMENTS):
        inner = next(
            (found for name in _WRAPPERS if (found := as_openai(document.get(name), depth + 1)) is not None), None
        )
        if inner is None:
            return _without_speech(document)
        document = document | inner
    return _completed(document)


def subtitles_in(document: Mapping[str, Any]) -> str | None:
    """Under whatever name they stand."""
    return next((value for value in document.values() if isinstance(value, str) and subtitles.kind(value)), None)


def _of_text(text: str) -> dict[str, Any]:
    text = text.removeprefix("\ufeff")
    if subtitles.kind(text) is None:
        return {"text": text}
    segments = subtitles.segments(text)
    return {"text": " ".join(segment["text"] for segment in segments).replace("\n", " "), "segments": segments}


def _of_list(document: list[Any], depth: int) -> dict[str, Any] | None:
    if document and all(isinstance(row, str) for row in document):
        return _of_text(" ".join(document))
    if document and all(isinstance(row, dict) and _time(row, _START, 0) is not None for row in document):
        return _completed({"segments": document})
    found = [inner for row in document if (inner := as_openai(row, depth + 1)) is not None]
    return found[0] if len(found) == 1 else _of_text(" ".join(row["text"] for row in found)) if found else None


def _without_speech(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """Silence: a null text, or no segments."""
    is_silent = "text" in document and document["text"] is None
    if not document.get("error") and (is_silent or document.get("segments") in ([], {})):
        return {**document, "text": ""}
    return None


def _completed(document: Mapping[str, Any]) -> dict[str, Any]:
    text = next((document[name] for name in _TEXT if isinstance(document.get(name), str)), None)
    cues = subtitles_in(document)
    if cues is not None and (text is None or subtitles.kind(text) is not None):
        text = cues
    found = _of_text(text) if text is not None else {}
    if cues is not None and not _rows_of(document, _SEGMENTS):
        found["segments"] = subtitles.segments(cues)
    result = {**document, **found}
    if "segments" not in found:
        segments = _timed(_rows_of(document, _SEGMENTS), _ROW_TEXT, "text")
        if segments or document.get("segments", []) in (None, {}):
            result["segments"] = segments
    rows = _list(result, "segments")
    nested = [word for row in rows for word in _rows_of(row, _WORDS)]
    words = _timed(_rows_of(document, _WORDS) or nested, _WORD, "word")
    if words:
        result["words"] = words
    if text is None:
        result["text"] = _joined(row.get("text") for row in rows)
    language = next((document[name] for name in _LANGUAGE if isinstance(document.get(name), str)), None)
    if language:
        result["language"] = language
    info = document.get("info") or document.get("metadata")
    for source in (document, info if isinstance(info, dict) else {}):
        if result.get("duration") is None:
            result["duration"] = next((source[name] for name in _DURATION if source.get(name) is not None), None)
    if isinstance(result["duration"], str):
        result["duration"] = _seconds(result["duration"])
    if result["duration"] is None:
        del result["duration"]
    _scale(result)
    return result


def _joined(texts: Iterable[Any]) -> str:
    """Whisper's segments begin with their blank, others' do not; scripts without blanks are joined by one too."""
    known = [text for text in texts if isinstance(text, str) and text]
    has_blanks = any(text[:1].isspace() or text[-1:].isspace() for text in known)
    return ("" if has_blanks else " ").join(known).strip()


# -- rows --------------------------------------------------------------------------------------------------------------


def _rows_of(document: Mapping[str, Any], names: Sequence[str]) -> list[dict[str, Any]]:
    """The first list of objects under one of the names; an object of objects counts as one."""
    for name in names:
        value = document.get(name)
        if isinstance(value, dict) and value and all(isinstance(row, dict) for row in value.values()):
            value = list(value.values())
        if value and isinstance(value, list) and _is_rows(value):
            return value
    return []


def _list(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = document.get(name)
    return value if isinstance(value, list) and _is_rows(value) else []


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _timed(rows: Sequence[Mapping[str, Any]], texts: Sequence[str], name: str) -> list[dict[str, Any]]:
    """Rows with ``start``, ``end`` and a text. A missing time is its neighbour's."""
    found = []
    for row in rows:
        text = next((row[key] for key in texts if isinstance(row.get(key), str)), row.get(name))
        times = {"start": _time(row, _START, 0), "end": _time(row, _END, 1)}
        found.append({**row, **times, name: "" if text is None and name == "text" else text})
    for index, row in enumerate(found):
        if row["start"] is None:
            row["start"] = found[index - 1]["end"] if index else 0.0
        if row["end"] is None:
            later = [after["start"] for after in found[index + 1 :][:1] if after["start"] is not None]
            row["end"] = later[0] if later else row["start"]
    return found


def _time(row: Mapping[str, Any], names: Sequence[str], place: int) -> Any:
    """As it is if it is not text; None if it is missing."""
    for name in names:
        if row.get(name) is not None:
            return _seconds(row[name])
        for suffix in ("_ms", "Ms"):
            if row.get(name + suffix) is not None:
                return _thousandth(row[name + suffix])
    offsets = row.get("offsets")
    if isinstance(offsets, dict):
        return _thousandth(offsets.get(("from", "to")[place]))
    pair = row.get("timestamp", row.get("timestamps"))
    if isinstance(pair, (list, tuple)) and len(pair) == 2:
        return pair[place]
    return _seconds(pair.get(("from", "to")[place])) if isinstance(pair, dict) else None


def _thousandth(value: Any) -> Any:
    return value / 1000 if isinstance(value, (int, float)) and -_MAX < value < _MAX else value


def _seconds(value: Any) -> Any:
    """A number from ``1.5``, ``1.5s`` or ``00:00:01.500``; None for ``NaN`` and ``inf``; anything else as it is."""
    if not isinstance(value, str):
        return value
    for text, unit in ((value, 1.0), (value.removesuffix("ms"), 1000.0), (value.removesuffix("s"), 1.0)):
        try:
            number = float(text) / unit
        except ValueError:
            continue
        return number if math.isfinite(number) else None
    found = subtitles.clock(value)
    return value if found is None else found


def _scale(document: dict[str, Any]) -> None:
    """Times in milliseconds or nanoseconds, which are whole numbers far beyond the audio's length, as seconds."""
    rows = [*_list(document, "segments"), *_list(document, "words")]
    times = [row[name] for row in rows for name in ("start", "end") if name in row]
    if not times or not all(type(time) is int and 0 <= time < _MAX for time in times):
        return
    duration = document.get("duration")
    is_known = isinstance(duration, (int, float)) and not isinstance(duration, bool) and 0 < duration < _MAX
    longest = 50 * duration + 50 if isinstance(duration, (int, float)) and is_known else _DAY
    unit = 1 if max(times) <= longest else 1_000 if max(times) <= 1_000 * longest else 1_000_000_000
    if unit > 1:
        for row in rows:
            row.update({name: row[name] / unit for name in ("start", "end")})
