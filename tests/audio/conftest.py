from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from proxy.audio.pool import WorkerPool

T = TypeVar("T")
WithPool = Callable[..., Any]


@pytest.fixture
def with_pool() -> WithPool:
    """`with_pool(test, **settings)` runs `test(pool)` in a loop of its own and ends the pool behind it."""

    def run(test: Callable[[WorkerPool], Awaitable[T]], **settings: Any) -> T:
        async def main() -> T:
            async with contextlib.aclosing(WorkerPool(**settings)) as pool:
                return await test(pool)

        return asyncio.run(main())

    return run


@pytest.fixture(scope="session")
def warm_pool() -> Iterator[WithPool]:
    """`warm_pool(test)` runs `test(pool)` with the one pool of all such tests, whose workers are up already."""
    with asyncio.Runner() as runner:
        pool = WorkerPool()
        yield lambda test: runner.run(test(pool))
        runner.run(pool.aclose())


def proc_file(pid: int, name: str) -> bytes:
    """A file of /proc about a process; skips the test where there is none."""
    path = Path(f"/proc/{pid}/{name}")
    if not path.exists():
        pytest.skip("no /proc here")
    return path.read_bytes()
