"""``cancel_all`` ends every task and loses no outcome."""

from __future__ import annotations

import asyncio

from proxy.tasks import cancel_all


async def _finish(value: str) -> str:
    return value


async def _fail() -> str:
    raise ValueError("failed")


async def _hang(ended: list[str]) -> str:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append("hang")
    return "never"


def test_outcomes_are_in_order_and_every_task_has_ended() -> None:
    ended: list[str] = []

    async def main() -> list[str | BaseException]:
        tasks = [asyncio.ensure_future(work) for work in (_finish("a"), _hang(ended), _fail(), _finish("b"))]
        await asyncio.sleep(0)
        return await cancel_all(tasks)

    first, second, third, fourth = asyncio.run(main())
    assert (first, fourth, ended) == ("a", "b", ["hang"])
    assert isinstance(second, asyncio.CancelledError)
    assert isinstance(third, ValueError)


def test_no_tasks() -> None:
    assert asyncio.run(cancel_all(())) == []


def test_it_can_be_given_an_iterator_and_waits_for_cleanup() -> None:
    ended: list[str] = []

    async def slow_cleanup() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            ended.append("cleaned")

    async def main() -> None:
        task = asyncio.ensure_future(slow_cleanup())
        await asyncio.sleep(0)
        await cancel_all(iter([task]))

    asyncio.run(main())
    assert ended == ["cleaned"]
