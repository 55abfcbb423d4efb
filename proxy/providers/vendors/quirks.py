"""In what a server's API differs from OpenAI's: data, so that a vendor which differs in no more is a row of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.providers.base import SpeechDecoder
from proxy.providers.wire.streams import Failure, TranscriptEvents


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """The defaults are OpenAI's ways, or those of who copies them."""

    #: Of the API, where a base URL has none.
    path: str = "/v1"
    #: Other base URLs, by model.
    bases: Mapping[str, str] = field(default_factory=dict)

    #: ``{"id": …}`` is a voice, too.
    voice_objects: bool = False
    #: The fields that ask for a format of speech, where they are more than ``response_format`` and its name.
    format_fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Reads the vendor's own events of speech.
    speech_events: Callable[[Failure], SpeechDecoder] | None = None
    #: Where the vendor lists its voices, and the field of the query that names the model.
    voices: str = ""
    voices_of: str | None = None

    #: By the caller's ``response_format``: what is asked for in its place, None for no such field. The JSON that comes
    #: is read, and the caller's format is rendered of it. An answer to what is missing here is passed on as it comes.
    asks: Mapping[str, str | None] = field(default_factory=dict)
    #: Times to ask for, by the caller's ``response_format``, beside those that the caller asks for.
    times: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Whether times of words may be asked for.
    words: bool = True
    #: Behind the name of a field that holds several values.
    brackets: str = "[]"
    #: The field of the language; the language where the caller names none; whether it must be an ISO code.
    language: str = "language"
    unnamed_language: str = ""
    codes: bool = False
    #: The vendor takes a language or times, not both.
    language_excludes_times: bool = False
    #: The field of the keywords; what joins them in one field, where each has none of its own; whether they are words
    #: without spaces and commas.
    keywords: str = "keywords[]"
    joined: str | None = None
    single_words: bool = False
    #: The fields that ask for speakers.
    speakers: tuple[tuple[str, str], ...] = ()
    #: The field that makes a translation of a transcription, where no path does.
    translates: tuple[str, str] | None = None
    #: Whether ``stream=true`` is known, and what reads the vendor's own events.
    streams: bool = True
    transcript_events: Callable[[Failure], TranscriptEvents] | None = None


OPENAI_WAYS = Quirks(voice_objects=True)
