"""Transcripts of OpenAI's shape, and of shapes near it, read into ours.

Differences between servers: durations in quotes (vLLM), ``speaker_id`` or a number as ``speaker`` on words or segments
(Fireworks, Together, OpenRouter, Mistral), ``speaker_segments`` beside the segments (Together), an end before the start
(taken as the start). A value of the wrong type is an UpstreamInvalid if the transcript would be wrong without it, and
left out if it would not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from string import ascii_uppercase
from typing import Any, Final

from proxy.domain.transcript import Segment, Transcript, Word, segments_of_words
from proxy.domain.usage import Usage
from proxy.errors import UpstreamInvalid
from proxy.providers.wire import dialects, encodings, json, subtitles, usage

#: A page of a gateway; not the ``<|en|>`` and ``<unk>`` with which some models begin.
_MARKUP: Final = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml|title|h\d|p|div|center|pre)\b", re.IGNORECASE)
#: The beginning of JSON; not ``[Music]`` and ``{laughs}``.
_JSON: Final = re.compile(r'\s*(?:\{\s*(?:\}|"[^"]*"\s*:)|\[\s*(?:[\[{\]]|"[^"]*"\s*[,\]]))')


#: Subtitles as a JSON string.
_QUOTED: Final = re.compile(r'\s*"(?:\ufeff|\\ufeff)?(?:WEBVTT|\d+(?:\\r)?\\n\d|\d\d:\d)')


class Speakers:
    """A vendor's labels as OpenAI's: ``A``, ``B``… in the order of their first words."""

    def __init__(self, *, keeps_names: bool = False) -> None:
        """``keeps_names``: labels that are text stay as they are, as in OpenAI's own documents."""
        self._keeps_names = keeps_names
        self._letters: dict[Any, str] = {}

    def letter(self, label: Any) -> str | None:
        if not isinstance(label, (str, int)) or isinstance(label, bool):
            return None
        if self._keeps_names and isinstance(label, str):
            return label
        return self._letters.setdefault(label, _letters(len(self._letters)))


def read(
    body: bytes,
    content_type: str = "application/json",
    *,
    task: str | None = None,
    diarized: bool = False,
    is_openai: bool = False,
) -> tuple[Transcript, Usage | None]:
    """The transcript, and the usage that the vendor reports. Raises UpstreamInvalid if the body is not a transcript.

    ``task`` is the document's own if None. ``diarized``: the caller requested speakers. ``is_openai``: the names
    of speakers and the usage stay as they are.
    """
    found = found_in(encodings.decoded(body, content_type), content_type) or {}
    return of_document(as_openai(found), task=task, diarized=diarized, is_openai=is_openai)


def found_in(text: str, content_type: str, *, is_text_due: bool = False) -> dict[str, Any] | None:
    """The JSON in an answer, whatever its label; its text, where JSON is due; None for text where text is due.

    Raises UpstreamInvalid for anything else: a page, JSON that is cut, an error.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    begins_as_json = _JSON.match(text) is not None
    is_quoted = _QUOTED.match(text) is not None
    if begins_as_json or is_quoted or media_type.endswith("json"):
        try:
            return _object(json.read(text))
        except ValueError:
            is_text = subtitles.kind(text) is not None or (is_text_due and not text.lstrip().startswith("{"))
            if begins_as_json or not is_text:
                raise _no_transcript(media_type) from None
    if _MARKUP.match(text) is not None:
        raise _no_transcript(media_type)
    if is_text_due:
        return None
    is_text = media_type.startswith("text/") or subtitles.kind(text) is not None
    if not is_text or not text.strip():
        raise UpstreamInvalid("The upstream vendor's answer is not JSON.", detail=media_type)
    return {"text": text.strip()}


def _object(parsed: Any) -> dict[str, Any]:
    if isinstance(parsed, dict):
        return parsed
    if not isinstance(parsed, (str, list)):
        raise _no_transcript("neither an object nor a text")
    return {"text": parsed} if isinstance(parsed, str) else {"result": parsed}


def as_openai(document: Mapping[str, Any]) -> dict[str, Any]:
    """In OpenAI's shape. Raises UpstreamInvalid if it is not a transcript."""
    members = dialects.as_openai(document)
    if members is None or (not members["text"] and _reports_error(document)):
        raise _no_transcript("no text")
    return members


def _reports_error(document: Mapping[str, Any]) -> bool:
    return bool(document.get("error") or document.get("errors"))


def _no_transcript(detail: str) -> UpstreamInvalid:
    return UpstreamInvalid("The upstream vendor's answer is not a transcript.", detail=detail)


def of_document(
    document: Mapping[str, Any], *, task: str | None = None, diarized: bool = False, is_openai: bool = False
) -> tuple[Transcript, Usage | None]:
    """As `read`, for a document that is parsed and has OpenAI's shape."""
    text, used, speakers = check_text(document), usage.of_transcript(document), Speakers(keeps_names=is_openai)
    spoken = rows(document, "speaker_segments") if diarized else []
    segments = tuple(_segment(number, row, speakers) for number, row in enumerate(spoken or rows(document, "segments")))
    words = tuple(_word(row, speakers) for row in rows(document, "words"))
    if diarized and not any(segment.speaker for segment in segments) and any(word.speaker for word in words):
        segments = segments_of_words(words, text)
    language = document.get("language")
    transcript = Transcript(
        text=text,
        language=language if isinstance(language, str) and language else None,
        duration=usage.seconds_of(document.get("duration")) or (used.seconds_in if used is not None else None),
        segments=segments if diarized or is_openai else _without_speakers(segments),
        words=words,
        usage=document.get("usage") if is_openai else usage.as_openai(used),
        task=task or ("translate" if document.get("task") == "translate" else "transcribe"),
        logprobs=_objects(document.get("logprobs")),
        languages=_languages(document.get("languages")),
    )
    return transcript, used


#: OpenAI's members, with the types that clients insist on.
_VERBOSE = {"task": str, "language": str, "duration": (int, float), "text": str}
_SEGMENT = {
    "id": int, "seek": int, "start": (int, float), "end": (int, float), "text": str, "tokens": list,
    "temperature": (int, float), "avg_logprob": (int, float), "compression_ratio": (int, float),
    "no_speech_prob": (int, float),
}  # fmt: skip
_SPEAKER = {
    "id": str, "type": str, "start": (int, float), "end": (int, float), "text": str, "speaker": str
}  # fmt: skip
_WORD = {"word": str, "start": (int, float), "end": (int, float)}


def is_whole(document: Any, response_format: str, granularities: Collection[str] = ()) -> bool:
    """Whether it has everything that OpenAI's JSON of this format has."""
    if not isinstance(document, dict) or not isinstance(text := document.get("text"), str):
        return False
    if text.startswith("\ufeff") or (not text and _reports_error(document)):
        return False
    if response_format == "json":
        return subtitles.kind(text) is None
    if response_format == "diarized_json":
        return _have(document.get("segments"), _SPEAKER)
    wanted = granularities or ("segment",)
    return (
        _has(document, _VERBOSE)
        and (("segment" not in wanted and "segments" not in document) or _have(document.get("segments"), _SEGMENT))
        and ("word" not in wanted or _have(document.get("words"), _WORD))
    )


def _have(rows: Any, members: Mapping[str, Any]) -> bool:
    return isinstance(rows, list) and all(isinstance(row, dict) and _has(row, members) for row in rows)


def _has(row: Mapping[str, Any], members: Mapping[str, Any]) -> bool:
    return all(isinstance(row.get(name), kind) for name, kind in members.items())


def check_text(document: Mapping[str, Any]) -> str:
    """The text of a transcript. Raises UpstreamInvalid if the document has none."""
    text = document.get("text")
    if not isinstance(text, str):
        raise UpstreamInvalid("The upstream vendor's answer is not a transcript.")
    return text


def document_of(body: bytes) -> dict[str, Any]:
    """A JSON object; anything else is an UpstreamInvalid."""
    try:
        document = json.read(encodings.decoded(body))
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UpstreamInvalid("The upstream vendor's answer is not a JSON object.", detail=f"{len(body)} bytes")
    return document


def rows(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects; empty if it is missing. Raises UpstreamInvalid for anything else."""
    value = document.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise UpstreamInvalid("The upstream vendor's transcript is malformed.", detail=name)
    return value


def time(value: Any, name: str) -> float:
    """Seconds from the start. Raises UpstreamInvalid for anything else."""
    seconds = usage.seconds_of(value)
    if seconds is None:
        raise UpstreamInvalid("The upstream vendor's transcript has invalid times.", detail=name)
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


def _objects(value: Any) -> tuple[Mapping[str, Any], ...] | None:
    return tuple(value) if isinstance(value, list) and all(isinstance(one, dict) for one in value) else None


def _languages(value: Any) -> tuple[str, ...] | None:
    languages = _objects(value) or ()
    codes = tuple(code for language in languages if isinstance(code := language.get("code"), str))
    return codes if codes and len(codes) == len(languages) else None


def _label(row: Mapping[str, Any]) -> Any:
    return row.get("speaker_id", row.get("speaker"))


def _without_speakers(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    return tuple(replace(segment, speaker=None) if segment.speaker else segment for segment in segments)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UpstreamInvalid("The upstream vendor's transcript is malformed.", detail="text")
    return value


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and -1e9 < value < 1e9 else None


def _whole_numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) and all(type(number) is int for number in value) else ()


def _letters(number: int) -> str:
    """``A`` to ``Z``, then ``AA``, ``AB``…"""
    rest, letter = divmod(number, len(ascii_uppercase))
    return (_letters(rest - 1) if rest else "") + ascii_uppercase[letter]
