"""What goes back to the caller."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from proxy.render import sse


@dataclass(slots=True)
class RenderedBody:
    """``first`` is here; ``rest`` follows as the vendor sends it, None if ``first`` is all."""

    content_type: str
    first: bytes
    rest: AsyncIterator[bytes] | None = None
    #: ``rest`` is known to be empty.
    at_end: bool = False

    async def aclose(self) -> None:
        """Ends the rendering; what it is made of is its owner's to close."""
        if isinstance(self.rest, AsyncGenerator):
            await self.rest.aclose()

    @property
    def is_sse(self) -> bool:
        return self.content_type == sse.CONTENT_TYPE
