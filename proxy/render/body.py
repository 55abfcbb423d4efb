"""The body of an answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from proxy.render import sse
from proxy.tasks import close_generator


@dataclass(slots=True)
class RenderedBody:
    """``first`` has arrived; ``rest`` follows as the vendor sends it. None: ``first`` is everything."""

    content_type: str
    first: bytes
    rest: AsyncIterator[bytes] | None = None
    #: ``rest`` is known to be empty.
    at_end: bool = False

    async def aclose(self) -> None:
        """Ends the rendering. The result that is rendered is closed by its owner."""
        if isinstance(self.rest, AsyncGenerator):
            await close_generator(self.rest)

    @property
    def is_sse(self) -> bool:
        return self.content_type == sse.CONTENT_TYPE
