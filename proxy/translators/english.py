"""Translates a transcript into English: the texts of its segments, in batches. Times are unchanged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from proxy.audio.languages import language_code
from proxy.domain.transcript import Transcript, timed_segments
from proxy.errors import BadRequest
from proxy.matching.sentences import pieces
from proxy.tasks import cancel_all

#: In one transcript: about ten hours of speech.
MAX_CHARACTERS = 500_000
#: Texts and characters in one request to the model.
BATCH_TEXTS = 40
BATCH_CHARACTERS = 4_000
#: Batches of one transcript that are translated at the same time.
CONCURRENT_BATCHES = 4

#: Texts in, texts in English out, in the same order.
TranslateTexts = Callable[[Sequence[str]], Awaitable[Sequence[str]]]


async def in_english(transcript: Transcript, translate: TranslateTexts) -> Transcript:
    """Raises BadRequest if the transcript is too long, and whatever ``translate`` raises."""
    if _is_english(transcript):
        return _as_translation(transcript)
    batches = _batches(transcript)
    slots = asyncio.Semaphore(CONCURRENT_BATCHES)

    async def translate_batch(batch: Sequence[_SegmentText]) -> Sequence[str]:
        async with slots:
            return await translate([part.text for part in batch])

    tasks = [asyncio.ensure_future(translate_batch(batch)) for batch in batches]
    try:
        translated = await asyncio.gather(*tasks)
    finally:
        await cancel_all(tasks)
    parts = [part for batch in batches for part in batch]
    return _with_texts(transcript, parts, [text for texts in translated for text in texts])


class _SegmentText(NamedTuple):
    """The text of a segment, or a piece of it if it is long."""

    segment: int
    text: str


def _is_english(transcript: Transcript) -> bool:
    """Whether the vendor reports that the language is English already."""
    languages = transcript.languages
    language = transcript.language or (languages[0] if languages and len(languages) == 1 else "")
    return language_code(language) == "en"


def _batches(transcript: Transcript) -> list[list[_SegmentText]]:
    if len(transcript.text) > MAX_CHARACTERS:
        raise BadRequest(
            f"The transcript has {len(transcript.text)} characters; at most {MAX_CHARACTERS} are translated.",
            param="file",
            code="audio_too_long",
        )
    batches: list[list[_SegmentText]] = []
    room = 0
    for part in _parts(transcript):
        room -= len(part.text)
        if not batches or room < 0 or len(batches[-1]) == BATCH_TEXTS:
            batches.append([])
            room = BATCH_CHARACTERS - len(part.text)
        batches[-1].append(part)
    return batches


def _parts(transcript: Transcript) -> Iterable[_SegmentText]:
    for index, segment in enumerate(timed_segments(transcript)):
        for text in pieces(segment.text.strip(), BATCH_CHARACTERS):
            yield _SegmentText(index, text)


def _with_texts(transcript: Transcript, parts: Sequence[_SegmentText], texts: Sequence[str]) -> Transcript:
    """The transcript with ``texts`` in place of ``parts``; the segments keep their times."""
    translated: dict[int, list[str]] = {}
    for part, text in zip(parts, texts, strict=True):
        translated.setdefault(part.segment, []).append(text.strip())
    segments = tuple(
        replace(segment, text=" ".join(translated.get(index, ())), words=(), tokens=(), compression_ratio=None)
        for index, segment in enumerate(timed_segments(transcript))
    )
    text = " ".join(segment.text for segment in segments if segment.text)
    return replace(_as_translation(transcript), text=text, segments=segments)


def _as_translation(transcript: Transcript) -> Transcript:
    """An English transcript in the form of a translation."""
    return replace(
        transcript, language="english", task="translate", words=(), languages=None, logprobs=None,
        segments=tuple(replace(segment, words=()) for segment in timed_segments(transcript)),
    )  # fmt: skip
