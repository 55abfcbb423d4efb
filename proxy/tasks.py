"""Ends asyncio tasks and asynchronous generators."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from types import AsyncGeneratorType
from typing import Any, TypeVar

T = TypeVar("T")


async def cancel_all(tasks: Iterable[asyncio.Future[T]]) -> list[T | BaseException]:
    """Cancel the tasks and wait until each has ended. Returns their outcomes, in order: a result or an exception.

    A task that finished before it was cancelled has a result, which the caller closes if it needs closing.
    """
    ending = tuple(tasks)
    for task in ending:
        task.cancel()
    return await asyncio.gather(*ending, return_exceptions=True)


async def close_generator(generator: AsyncGenerator[Any]) -> None:
    """Close it, unless another task is reading it: then it ends when what it reads is closed."""
    if not (isinstance(generator, AsyncGeneratorType) and generator.ag_running):
        await generator.aclose()
