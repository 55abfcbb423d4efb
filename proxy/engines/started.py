"""A stream that has begun: whatever can go wrong before its first item has not."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class StartedStream(Generic[T]):
    """A stream whose first item is at hand. Close it on every path, read or not."""

    def __init__(self, first: T, rest: AsyncGenerator[T]) -> None:
        self._first = [first]
        self._rest = rest

    @classmethod
    async def of(cls, stream: AsyncGenerator[T]) -> StartedStream[T]:
        """Wait for the first item; whatever is raised instead has closed the stream."""
        try:
            return cls(await anext(stream), stream)
        except BaseException:
            await stream.aclose()
            raise

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        return self._first.pop() if self._first else await anext(self._rest)

    async def aclose(self) -> None:
        await self._rest.aclose()
