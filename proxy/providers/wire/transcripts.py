"""Transcripts of OpenAI's shape, and of what is near it, read into ours.

What differs: durations in quotes (vLLM), ``speaker_id`` or a number as ``speaker`` on words or segments (Fireworks,
Together, OpenRouter, Mistral), ``speaker_segments`` beside the segments (Together). Whatever a document has of the
wrong type is an UpstreamInvalid where the transcript would be wrong without it, and left out where it would not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from string import ascii_uppercase
from typing import Any

from pydantic_core import from_json

from proxy.domain.transcript import Segment, Transcript, Word, segments_of_words
from proxy.domain.usage import Usage
from proxy.errors import UpstreamInvalid
from proxy.providers.wire import usage


class Speakers:
    """A vendor's labels as OpenAI's: ``A``, ``B``… in the order of their first words."""

    def __init__(self) -> None:
        self._letters: dict[Any, str] = {}

    def letter(self, label: Any) -> str | None:
        if not isinstance(label, (str, int)) or isinstance(label, bool):
            return None
        return self._letters.setdefault(label, _letters(len(self._letters)))


def read(body: bytes, *, task: str = "transcribe", diarized: bool = False) -> tuple[Transcript, Usage | None]:
    """The transcript, and what the vendor says it used. Raises UpstreamInvalid where it is none."""
    document = document_of(body)
    text = document.get("text")
    if not isinstance(text, str):
        raise UpstreamInvalid("The upstream vendor's answer is no transcript.", detail=f"{len(body)} bytes")
    speakers = Speakers()
    spoken = rows(document, "speaker_segments") if diarized else []
    segments = tuple(_segment(number, row, speakers) for number, row in enumerate(spoken or rows(document, "segments")))
    words = tuple(_word(row, speakers) for row in rows(document, "words"))
    if diarized and not any(segment.speaker for segment in segments) and any(word.speaker for word in words):
        segments = segments_of_words(words, text)
    used = usage.of_transcript(document)
    language = document.get("language")
    return Transcript(
        text=text,
        language=language if isinstance(language, str) and language else None,
        duration=used.seconds_in if used is not None else None,
        segments=segments if diarized else _without_speakers(segments),
        words=words,
        usage=usage.shown(used),
        task=task,
    ), used


def document_of(body: bytes) -> dict[str, Any]:
    """A JSON object; anything else is an UpstreamInvalid."""
    try:
        document = from_json(body, allow_inf_nan=False)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UpstreamInvalid("The upstream vendor's answer is no JSON object.", detail=f"{len(body)} bytes")
    return document


def rows(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects; empty where it is missing. Raises UpstreamInvalid for anything else."""
    found = document.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise UpstreamInvalid("The upstream vendor's transcript has broken parts.", detail=name)
    return found


def time(value: Any, name: str) -> float:
    """Seconds from the start. Raises UpstreamInvalid for what is no such time."""
    seconds = usage.seconds_of(value)
    if seconds is None:
        raise UpstreamInvalid("The upstream vendor's transcript has broken times.", detail=name)
    return seconds


def _segment(number: int, row: Mapping[str, Any], speakers: Speakers) -> Segment:
    start = time(row.get("start"), "start")
    return Segment(
        id=number,
        start=start,
        end=max(start, time(row.get("end"), "end")),
        text=_text(row.get("text")),
        speaker=speakers.letter(_label(row)),
        seek=int(_number(row.get("seek")) or 0),
        tokens=_whole_numbers(row.get("tokens")),
        temperature=_number(row.get("temperature")) or 0.0,
        avg_logprob=_number(row.get("avg_logprob")),
        compression_ratio=_number(row.get("compression_ratio")),
        no_speech_prob=_number(row.get("no_speech_prob")),
    )


def _word(row: Mapping[str, Any], speakers: Speakers) -> Word:
    start = time(row.get("start"), "start")
    return Word(_text(row.get("word")), start, max(start, time(row.get("end"), "end")), speakers.letter(_label(row)))


def _label(row: Mapping[str, Any]) -> Any:
    return row.get("speaker_id", row.get("speaker"))


def _without_speakers(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    return tuple(replace(segment, speaker=None) if segment.speaker else segment for segment in segments)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UpstreamInvalid("The upstream vendor's transcript has broken parts.", detail="text")
    return value


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and -1e9 < value < 1e9 else None


def _whole_numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) and all(type(number) is int for number in value) else ()


def _letters(number: int) -> str:
    """``A`` to ``Z``, then ``AA``, ``AB``…"""
    rest, letter = divmod(number, len(ascii_uppercase))
    return (_letters(rest - 1) if rest else "") + ascii_uppercase[letter]
