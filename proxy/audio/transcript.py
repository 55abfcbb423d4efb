"""A transcript as it is known, and its bodies as OpenAI's API writes them, to the byte.

The subtitles are written here and not by pysubs2: that numbers the cues of WebVTT, which OpenAI does not, takes
``\\N``, ``\\h`` and ``{…}`` in a text for commands, and stops at a hundred hours. The tests read the result with it.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.audio.languages import language_name

_JSON: Final = "application/json"
#: OpenAI's ``response_format`` of transcripts.
FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
_PLAIN: Final = "text/plain; charset=utf-8"

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
    """Times in seconds from the start of the audio. What the engine does not say is written as 0."""

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
    """All that is known; `render` writes of it what the format has room for."""

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


def render(
    transcript: Transcript, response_format: str, granularities: Collection[str] = ("segment",)
) -> tuple[bytes, str]:
    """Body and content type of json, text, srt, vtt, verbose_json or diarized_json; any other name is a KeyError.

    ``granularities`` ("word", "segment"; none means segment) matters to verbose_json only. Formats with times make
    segments of the words where there are only words, and one segment of the whole where there are no times at all.
    """
    if response_format == "text":
        return _utf8(f"{transcript.text}\n"), _PLAIN
    if response_format in _SUBTITLES:
        return _utf8(_SUBTITLES[response_format](timed_segments(transcript))), _PLAIN
    document = {
        "json": lambda: _plain_document(transcript),
        "verbose_json": lambda: _verbose_document(transcript, granularities or ("segment",)),
        "diarized_json": lambda: _diarized_document(transcript),
    }[response_format]()
    return _utf8(_compact(document)), _JSON


def sse_events(transcript: Transcript, *, diarized: bool = False) -> list[bytes]:
    """The frames of ``stream=true`` for a transcript that arrives whole, ``[DONE]`` included."""
    events: list[dict[str, Any]] = []
    if diarized:
        for segment in _speaker_segments(transcript):
            gap = " " if events and not segment["text"].startswith(" ") else ""  # the deltas joined give the text
            delta = {"type": "transcript.text.delta", "delta": gap + segment["text"], "segment_id": segment["id"]}
            events += [delta, segment]
    elif transcript.text:
        events.append(_known(type="transcript.text.delta", delta=transcript.text, logprobs=transcript.logprobs))
    events.append({"type": "transcript.text.done"} | _plain_document(transcript, languages_first=True))
    return [_utf8(f"data: {_compact(event)}\n\n") for event in events] + [b"data: [DONE]\n\n"]


def timed_segments(transcript: Transcript) -> tuple[Segment, ...]:
    """The transcript's segments, or some made of its words, or one that holds everything."""
    if transcript.segments:
        return transcript.segments
    if transcript.words:
        return segments_of_words(transcript.words, transcript.text)
    if not transcript.text:
        return ()
    return (Segment(id=0, start=0.0, end=transcript.duration or 0.0, text=transcript.text),)


# -- segments of words -------------------------------------------------------------------------------------------------


def segments_of_words(words: Sequence[Word], text: str = "") -> tuple[Segment, ...]:
    """Cues that end with a sentence, at a pause, at a change of speaker, or before they grow too long to read.

    Each cue is cut out of ``text``, with its punctuation, where all words are found there, else joined of the words.
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
    """One piece of text a word, which joined give the whole: the word and what follows it up to the next."""
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
        found = lowered.find(spoken, position, position + len(spoken) + _GAP_CHARACTERS)
        if not spoken or found < 0:
            return None
        starts.append(found)
        position = found + len(spoken)
    return [0, *starts[1:]]


# -- documents ---------------------------------------------------------------------------------------------------------


def _plain_document(transcript: Transcript, *, languages_first: bool = False) -> dict[str, Any]:
    """``text``, then what is known of logprobs, languages, usage; events have the languages before the logprobs."""
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
    spoken = segment.text.encode()
    return len(spoken) / len(zlib.compress(spoken))


def _word(word: Word) -> dict[str, Any]:
    return _known(word=word.word, start=word.start, end=word.end, speaker=word.speaker)


def _speaker_segments(transcript: Transcript) -> list[dict[str, Any]]:
    """The same in a diarized body and as events; numbered by their place."""
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
    """A vendor's JSON can hold half of a surrogate pair, which no UTF-8 can."""
    return text.encode(errors="replace")


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
    """One cue's text: an empty line or an arrow in it would begin another cue."""
    lines = (line.strip() for line in text.replace("-->", "->").splitlines())
    return "\n".join(line for line in lines if line)


_SUBTITLES: Final = {"srt": _srt, "vtt": _vtt}
