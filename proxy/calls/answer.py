"""What an attempt brought: the first bytes, and whatever follows as the upstream sends it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence

from proxy.domain.call import Attempt
from proxy.domain.usage import Usage
from proxy.http.messages import Response
from proxy.providers.base import ResponseMetadata, StaticMetadata
from proxy.providers.wire import sse
from proxy.providers.wire.requests import holds, secrets_of

PASSED_HEADERS = frozenset({b"openai-processing-ms", b"openai-version"})
PASSED_PREFIX = b"x-ratelimit-"


class Answer:
    """What goes back to the client. ``first`` is here already; ``rest`` comes as the upstream sends it.

    Whoever holds an answer closes it, on every path.
    """

    __slots__ = ("_sources", "attempt", "content_type", "first", "metadata", "on_end", "response", "rest", "settling")

    def __init__(
        self,
        response: Response,
        content_type: str,
        first: bytes,
        rest: AsyncIterator[bytes] | None = None,
        metadata: ResponseMetadata | None = None,
        sources: Sequence[AsyncGenerator[bytes]] = (),
    ) -> None:
        self.response = response
        self.metadata = metadata
        #: What ``rest`` is made of, last things first; they hold processes and responses until they are closed.
        self._sources = sources
        self.content_type = content_type
        self.first = first
        self.rest = rest
        self.attempt: Attempt | None = None
        #: Finds out at the end what was used, where the vendor's remarks may not say it.
        self.settling: Callable[[Usage | None], Awaitable[None]] | None = None
        #: Told once how the answer ended: by the error that cut it, or None.
        self.on_end: Callable[[BaseException | None], None] = _nobody_listens

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What the vendor says of itself and clients read, by allowlist."""
        told = [
            (name, value)
            for raw, value in self.response.headers.raw
            if (name := raw.lower()) in PASSED_HEADERS or name.startswith(PASSED_PREFIX)
        ]
        secrets = secrets_of(self.response) if told else ()
        return [(name, value) for name, value in told if not holds(value, secrets)]

    @property
    def at_end(self) -> bool:
        """Nothing comes after ``first``, although it is a stream, and that is known already."""
        return getattr(self.rest, "at_end", False)

    @property
    def is_sse(self) -> bool:
        return self.content_type == sse.CONTENT_TYPE

    @property
    def says_all(self) -> bool:
        """Nothing that is still to come tells more of what was used."""
        return self.metadata is None or isinstance(self.metadata, StaticMetadata)

    def settle(self) -> None:
        """Note in the attempt what the vendor remarked up to now; all of it once the last byte has come."""
        metadata, self.metadata = self.metadata, None
        if metadata is not None and self.attempt is not None:
            self.attempt.usage = metadata.usage
            self.attempt.note(metadata.warnings)

    async def settled(self) -> None:
        """As `settle`, and all that was used is known: once the last byte has come."""
        self.settle()
        if self.settling is not None and self.attempt is not None:
            await self.settling(self.attempt.usage)
            self.settling = None

    async def aclose(self, error: BaseException | None = None) -> None:
        self.settle()
        on_end, self.on_end = self.on_end, _nobody_listens
        try:
            if self._sources:
                await _close(self.rest, *self._sources)
        finally:
            try:
                await self.response.aclose()
            finally:
                on_end(error)
                if self.settling is not None:
                    await self.settled()


async def _close(*chunks: object) -> None:
    for one in chunks:
        if isinstance(one, AsyncGenerator):
            await one.aclose()


def _nobody_listens(_: BaseException | None) -> None:
    pass
