"""How a server's API differs from OpenAI's, as data: a vendor that differs in nothing else is a row of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.providers.wire.streams import AudioChunks, Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """The defaults describe OpenAI and servers that copy it."""

    #: The API's path, for a base URL that has none.
    path: str = "/v1"
    #: Other base URLs, by model.
    bases: Mapping[str, str] = field(default_factory=dict)

    #: ``{"id": …}`` is accepted as a voice.
    voice_objects: bool = False
    #: By speech format: the fields that request it, if they are not ``response_format`` and the format's name.
    format_fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Reads the vendor's own speech events.
    speech_events: Callable[[Failure], AudioChunks] | None = None
    #: The path of the vendor's list of voices, and the query field that names the model.
    voices: str = ""
    voices_model_field: str | None = None

    #: By the caller's ``response_format``: the one to request instead, None for no such field. The JSON answer is
    #: parsed, and the caller's format is rendered from it. Answers in other formats are passed on unchanged.
    transcript_formats: Mapping[str, str | None] = field(default_factory=dict)
    #: By the caller's ``response_format``: granularities of timestamps to request besides the caller's.
    granularities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: Timestamps of words may be requested.
    words: bool = True
    #: Appended to the name of a field that may be repeated.
    brackets: str = "[]"
    #: The field for the language; its value if the caller names none.
    language: str = "language"
    unnamed_language: str = ""
    #: The vendor takes a language or timestamps, not both.
    language_excludes_times: bool = False
    #: The field for keywords; the separator, if they share one field; whether each must be one word without commas.
    keywords: str = "keywords[]"
    joined: str | None = None
    single_words: bool = False
    #: The fields that request speakers.
    speakers: tuple[tuple[str, str], ...] = ()
    #: The field that turns a transcription into a translation, if there is no separate path.
    translates: tuple[str, str] | None = None
    #: ``stream=true`` is supported.
    streams: bool = True


OPENAI_QUIRKS = Quirks(voice_objects=True)
