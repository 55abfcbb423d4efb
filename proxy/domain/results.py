"""The result of an attempt: speech or a transcript, in the form that is nearest to what the vendor sent.

Results are typed until the entrance renders them: guardrails and translation take a result and return another.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.domain.transcript import Transcript
from proxy.domain.usage import Usage

#: Names and values as they go over the wire.
Headers = list[tuple[bytes, bytes]]
#: One of OpenAI's events of a transcript, such as ``{"type": "transcript.text.delta", "delta": "Hello"}``.
Event = Mapping[str, Any]


class ResponseMetadata(Protocol):
    """What a vendor reports beside its answer; complete when the answer's last byte has arrived."""

    @property
    def usage(self) -> Usage | None: ...

    @property
    def warnings(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class StaticMetadata:
    """Metadata that is known from the beginning, such as a header's."""

    usage: Usage | None = None
    warnings: Sequence[str] = ()


class Body(Protocol):
    """The body of a vendor's answer, while it arrives."""

    @property
    def at_end(self) -> bool:
        """Nothing more follows, as far as that is known without waiting."""


@dataclass(slots=True)
class SpeechResult:
    """Audio, or OpenAI's events of it. The first bytes have arrived; ``rest`` raises UpstreamError if it breaks off."""

    first: bytes
    rest: AsyncIterator[bytes]
    #: The audio format; empty if the bytes are OpenAI's events (whole ones).
    format: str
    #: The vendor's, if the format is not one of OpenAI's six.
    content_type: str = ""
    metadata: ResponseMetadata | None = None
    #: The vendor's headers that clients read.
    headers: Headers = field(default_factory=list)
    #: The vendor's body, if its bytes are passed on as they are.
    body: Body | None = None

    @property
    def at_end(self) -> bool:
        """``first`` is all, and that is known already."""
        return self.body is not None and self.body.at_end


@dataclass(slots=True)
class RawDocument:
    """The vendor's own answer in the caller's format; the proxy does not have to read it."""

    content: bytes
    content_type: str


@dataclass(slots=True)
class ForeignDocument:
    """A vendor's JSON answer that lacks something of OpenAI's shape, or that some client could not read."""

    transcript: Transcript
    #: The document's members, which stay unless they are of the wrong type.
    members: Mapping[str, Any]


@dataclass(slots=True)
class RawEvents:
    """OpenAI's own events, each a whole frame, ``[DONE]`` included; the proxy does not have to read them."""

    first: bytes
    rest: AsyncIterator[bytes]


@dataclass(slots=True)
class TranscriptEvents:
    """A transcript that arrives incrementally. ``first``: the events that have arrived already."""

    first: Sequence[Event]
    rest: AsyncIterator[Event]


@dataclass(slots=True)
class TranscriptionResult:
    content: Transcript | TranscriptEvents | RawDocument | ForeignDocument | RawEvents
    headers: Headers = field(default_factory=list)


@dataclass(slots=True)
class TranslatedTexts:
    """Texts in English, in the order of those that were sent."""

    texts: Sequence[str]
