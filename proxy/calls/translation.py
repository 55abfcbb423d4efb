"""What is translated of a transcript, in batches, and the transcript that comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from proxy.audio.languages import language_code
from proxy.calls.sentences import pieces
from proxy.domain.transcript import Transcript, timed_segments
from proxy.errors import BadRequest

#: Of one transcript: some ten hours of speech.
MAX_CHARACTERS = 500_000
#: Of one request to the model, and the longest text in it.
BATCH_TEXTS = 40
BATCH_CHARACTERS = 4_000


class Part(NamedTuple):
    """A text to translate: a segment's, or a piece of a long one's."""

    segment: int
    text: str


def is_english(found: Transcript) -> bool:
    """Whether there is nothing to translate, as far as the vendor tells."""
    language = found.language or (found.languages[0] if found.languages and len(found.languages) == 1 else "")
    return language_code(language) == "en"


def batches(found: Transcript) -> list[list[Part]]:
    """Raises BadRequest where the transcript is too long."""
    if len(found.text) > MAX_CHARACTERS:
        raise BadRequest(
            f"The transcript has {len(found.text)} characters; at most {MAX_CHARACTERS} are translated.",
            param="file",
            code="audio_too_long",
        )
    grouped: list[list[Part]] = []
    room = 0
    for part in _parts(found):
        room -= len(part.text)
        if not grouped or room < 0 or len(grouped[-1]) == BATCH_TEXTS:
            grouped.append([])
            room = BATCH_CHARACTERS - len(part.text)
        grouped[-1].append(part)
    return grouped


def _parts(found: Transcript) -> Iterable[Part]:
    for index, segment in enumerate(timed_segments(found)):
        for text in pieces(segment.text.strip(), BATCH_CHARACTERS):
            yield Part(index, text)


def in_english(found: Transcript, parts: Sequence[Part], texts: Sequence[str]) -> Transcript:
    """The transcript with ``texts`` in the place of ``parts``; the segments keep their times."""
    translated: dict[int, list[str]] = {}
    for part, text in zip(parts, texts, strict=True):
        translated.setdefault(part.segment, []).append(text.strip())
    segments = tuple(
        replace(segment, text=" ".join(translated.get(index, ())), words=(), tokens=(), compression_ratio=None)
        for index, segment in enumerate(timed_segments(found))
    )
    text = " ".join(segment.text for segment in segments if segment.text)
    return replace(as_translation(found), text=text, segments=segments)


def as_translation(found: Transcript) -> Transcript:
    """What is known of an English transcript, as a translation tells it."""
    return replace(
        found, language="english", task="translate", words=(), languages=None, logprobs=None,
        segments=tuple(replace(segment, words=()) for segment in timed_segments(found)),
    )  # fmt: skip
