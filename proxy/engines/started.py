"""Streams whose first item has arrived, so that errors before it are known."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class StartedStream(Generic[T]):
    """A stream whose first item has arrived. Close it on every path, even unread."""

    def __init__(self, first: T, rest: AsyncGenerator[T]) -> None:
        self._first = [first]
        self._rest = rest

    @classmethod
    async def of(cls, stream: AsyncGenerator[T]) -> StartedStream[T]:
        """Wait for the first item. If an exception is raised instead, the stream is closed."""
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
