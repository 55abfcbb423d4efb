"""A transcript, whatever format the caller wants it in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: OpenAI's ``response_format`` of transcripts.
FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
_PAUSE_SECONDS: Final = 0.8
_CUE_CHARACTERS: Final = 80
_CUE_SECONDS: Final = 7.0
_SENTENCE_END: Final = re.compile(r"[.?!\u2026\u3002\uff1f\uff01][\"'\u201d\u2019\u00bb)\]]*$")
#: How far behind the last word the next one is looked for in the text.
_GAP_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Word:
    """Times in seconds from the start of the audio."""

    word: str
    start: float
    end: float
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """Times in seconds from the start of the audio. What is not known is written as 0."""

    id: int
    start: float
    end: float
    text: str
    speaker: str | None = None
    words: tuple[Word, ...] = ()
    seek: int = 0
    tokens: tuple[int, ...] = ()
    temperature: float = 0.0
    avg_logprob: float | None = None
    #: None: computed from the text, as whisper does.
    compression_ratio: float | None = None
    no_speech_prob: float | None = None


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that is known; `proxy.render` writes as much of it as the format has room for."""

    text: str
    #: ISO code or English name.
    language: str | None = None
    #: Seconds.
    duration: float | None = None
    segments: tuple[Segment, ...] = ()
    words: tuple[Word, ...] = ()
    #: As OpenAI writes it: ``{"type": "duration", "seconds": 2}`` or ``{"type": "tokens", …}``.
    usage: Mapping[str, Any] | None = None
    task: str = "transcribe"
    #: ``{"token", "logprob", "bytes"}`` each.
    logprobs: tuple[Mapping[str, Any], ...] | None = None
    #: ISO codes.
    languages: tuple[str, ...] | None = None


def timed_segments(transcript: Transcript) -> tuple[Segment, ...]:
    """The transcript's segments; else some made of its words; else one that holds everything."""
    if transcript.segments:
        return transcript.segments
    if transcript.words:
        return segments_of_words(transcript.words, transcript.text)
    if not transcript.text:
        return ()
    return (Segment(id=0, start=0.0, end=transcript.duration or 0.0, text=transcript.text),)


def segments_of_words(words: Sequence[Word], text: str = "") -> tuple[Segment, ...]:
    """Cues that end with a sentence, at a pause, at a change of speaker, or before they grow too long to read.

    Each cue is cut out of ``text``, with its punctuation, if all words are found there; else its words are joined.
    """
    pieces = _pieces(words, text)
    segments: list[Segment] = []
    first = 0
    for index in range(1, len(words) + 1):
        if index < len(words) and not _breaks(words, pieces, first, index):
            continue
        run = tuple(words[first:index])
        spoken = "".join(pieces[first:index]).strip()
        segments.append(Segment(len(segments), run[0].start, run[-1].end, spoken, run[0].speaker, run))
        first = index
    return tuple(segments)


def _breaks(words: Sequence[Word], pieces: Sequence[str], first: int, index: int) -> bool:
    """Whether a new cue begins at `index`."""
    before, word = words[index - 1], words[index]
    return (
        word.speaker != before.speaker
        or word.start - before.end > _PAUSE_SECONDS
        or word.end - words[first].start > _CUE_SECONDS
        or len("".join(pieces[first : index + 1]).strip()) > _CUE_CHARACTERS
        or _SENTENCE_END.search(pieces[index - 1].rstrip()) is not None
    )


def _pieces(words: Sequence[Word], text: str) -> list[str]:
    """One piece of text for each word, with what follows it up to the next. Joined, they give the whole text."""
    starts = _starts(words, text)
    if starts is not None:
        return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    if any(word.word[:1].isspace() for word in words):
        return [word.word for word in words]
    return [f"{word.word} " for word in words]


def _starts(words: Sequence[Word], text: str) -> list[int] | None:
    """Where each word begins in the text; None unless all are found, in order."""
    lowered = text.lower()
    if len(lowered) != len(text):
        return None
    starts: list[int] = []
    position = 0
    for word in words:
        spoken = word.word.strip().lower()
        start = lowered.find(spoken, position, position + len(spoken) + _GAP_CHARACTERS)
        if not spoken or start < 0:
            return None
        starts.append(start)
        position = start + len(spoken)
    return [0, *starts[1:]]
