from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proxy.audio import codec
from proxy.audio.codec import PcmFormat
from proxy.audio.limits import Limits
from proxy.audio.pool import AUDIO, PoolWorker, WorkerPool
from proxy.audio.probe import probe
from proxy.errors import InvalidAudio, Overloaded
from tests.audio import sounds
from tests.audio.conftest import WithPool, proc_file

SPEECH = sounds.pcm(1)
UPLOAD = sounds.wav(SPEECH)


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield SPEECH


async def silent() -> AsyncIterator[bytes]:
    """A source that says a little and then nothing more."""
    yield SPEECH
    await asyncio.Event().wait()


def encoding(pool: WorkerPool, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    return codec.encode(pool, chunks, source=PcmFormat(), target="mp3")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def none_running(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_nothing_is_started_before_it_is_needed_and_one_worker_is_used_again(with_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        assert pool.workers == 0
        pids = set()
        for _ in range(3):
            await probe(pool, UPLOAD)
            pids.add(pool._idle[0].process.pid)
        assert len(pids) == 1

    with_pool(test)


def test_fifty_jobs_over_two_workers(with_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        async def job(number: int) -> float:
            samples = SPEECH * (1 + number % 3)
            data = b"".join([piece async for piece in encoding(pool, sounds.arriving(samples))])
            assert pool.workers <= 2
            return (await probe(pool, data)).duration or 0

        found = await asyncio.gather(*(job(number) for number in range(50)))
        assert [round(seconds) for seconds in found] == [1 + number % 3 for number in range(50)]

    with_pool(test, size=2, wait_seconds=120)


def test_the_queue_is_bounded(with_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        async with contextlib.aclosing(encoding(pool, silent())) as busy:
            await anext(busy)
            waiting = asyncio.create_task(probe(pool, UPLOAD))
            await until(lambda: pool._waiting == 1)
            with pytest.raises(Overloaded) as caught:
                await probe(pool, UPLOAD)
            assert caught.value.status == 503
            assert caught.value.retry_after
        assert (await waiting).duration == 1

    with_pool(test, size=1, queue=1)


def test_waiting_is_bounded(with_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        async with contextlib.aclosing(encoding(pool, silent())) as busy:
            await anext(busy)
            with pytest.raises(Overloaded):
                await probe(pool, UPLOAD)
        assert (await probe(pool, UPLOAD)).duration == 1

    with_pool(test, size=1, wait_seconds=0.05)


def test_a_worker_inherits_no_variable_of_ours(with_pool: WithPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")

    async def test(pool: WorkerPool) -> None:
        await probe(pool, UPLOAD)
        environment = proc_file(pool._idle[0].process.pid, "environ")
        names = {variable.partition(b"=")[0] for variable in environment.split(b"\0") if variable}
        assert b"canary" not in environment
        assert names <= {b"PATH", b"LANG", b"PYTHONPATH", b"LD_LIBRARY_PATH", b"DYLD_LIBRARY_PATH"}

    with_pool(test)


def test_a_hung_worker_is_killed(with_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        await probe(pool, UPLOAD)
        pool._idle[0]._stall_seconds = 0.3
        hung = pool._idle[0].process
        os.kill(hung.pid, signal.SIGSTOP)
        with pytest.raises(InvalidAudio) as caught:
            await probe(pool, UPLOAD)
        assert caught.value.detail == "a worker hung"
        assert (await probe(pool, UPLOAD)).duration == 1
        await until(lambda: hung.returncode == -signal.SIGKILL)
        assert pool.workers == 1

    with_pool(test)


def test_waiting_for_the_source_is_not_hanging(with_pool: WithPool) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield SPEECH
        await asyncio.sleep(0.9)
        yield SPEECH

    async def test(pool: WorkerPool) -> None:
        await probe(pool, UPLOAD)
        pool._idle[0]._stall_seconds = 0.6
        data = b"".join([piece async for piece in encoding(pool, slow())])
        assert round((await probe(pool, data)).duration or 0) == 2

    with_pool(test)


def test_a_worker_that_dies_idle_is_replaced(with_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        await probe(pool, UPLOAD)
        dead = pool._idle[0].process
        dead.kill()
        await dead.wait()
        assert (await probe(pool, UPLOAD)).duration == 1
        assert pool._idle[0].process is not dead

    with_pool(test)


def test_a_worker_that_dies_at_work_is_reported(with_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        async with contextlib.aclosing(encoding(pool, endless())) as output:
            await anext(output)
            (worker,) = pool._busy
            worker.process.kill()
            with pytest.raises(Overloaded):
                async for _ in output:
                    pass
        assert (await probe(pool, UPLOAD)).duration == 1

    with_pool(test)


def test_cancellation_ends_the_worker_and_leaks_nothing(with_pool: WithPool) -> None:
    def at_once(pool: WorkerPool) -> bool:
        return True

    def starting(pool: WorkerPool) -> bool:
        return bool(pool._starting)

    def at_work(pool: WorkerPool) -> bool:
        return bool(pool._busy)

    async def test(pool: WorkerPool, moments: tuple[Callable[[WorkerPool], bool], ...]) -> None:
        async def consume(chunks: AsyncIterator[bytes]) -> None:
            async with contextlib.aclosing(encoding(pool, chunks)) as output:
                async for _ in output:
                    pass

        for chunks in (endless(), silent()):
            for moment in moments:
                task = asyncio.create_task(consume(chunks))
                await asyncio.sleep(0)
                await until(partial(moment, pool))
                await asyncio.sleep(0.05 if moment is at_work else 0)
                pids = [worker.process.pid for worker in (*pool._starting, *pool._busy)]
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert pool.workers == 0
                await until(partial(none_running, pids))
        assert (await probe(pool, UPLOAD)).duration == 1

    if not Path("/proc/self/fd").exists():
        pytest.skip("no /proc here")
    with_pool(lambda pool: test(pool, (at_work,)))  # what Python itself keeps open from the first time on
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with_pool(lambda pool: test(pool, (at_once, starting, at_work)))
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_a_source_that_breaks_breaks_the_answer(with_pool: WithPool) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield SPEECH
        raise ConnectionResetError("the vendor went away")

    async def test(pool: WorkerPool) -> None:
        with pytest.raises(ConnectionResetError):
            async for _ in encoding(pool, breaking()):
                pass
        assert pool.workers == 0
        assert (await probe(pool, UPLOAD)).duration == 1

    with_pool(test)


def test_idle_workers_end(with_pool: WithPool) -> None:
    async def test(pool: WorkerPool, left: int) -> None:
        both = asyncio.Event()

        async def until_both_are_busy() -> AsyncIterator[bytes]:
            yield SPEECH
            await both.wait()

        async def job() -> None:
            async for _ in encoding(pool, until_both_are_busy()):
                pass

        jobs = [asyncio.create_task(job()) for _ in range(2)]
        await until(lambda: len(pool._busy) == 2)
        workers = [worker.process for worker in pool._busy]
        both.set()
        await asyncio.gather(*jobs)
        await until(lambda: pool.workers == left)
        await until(lambda: sum(process.returncode is None for process in workers) == left)

    with_pool(lambda pool: test(pool, 0), size=2, idle_seconds=0.05)
    with_pool(lambda pool: test(pool, 1), size=2, idle_seconds=0.05, keep=1)


def test_closing_ends_busy_and_idle_workers() -> None:
    async def main() -> None:
        pool = WorkerPool(size=2)
        busy = encoding(pool, silent())
        await anext(busy)
        await probe(pool, UPLOAD)
        processes = [worker.process for worker in (*pool._busy, *pool._idle)]
        assert len(processes) == 2
        await pool.aclose()
        assert all(process.returncode is not None for process in processes)
        with pytest.raises(Overloaded, match="shutting down"):
            await probe(pool, UPLOAD)
        await busy.aclose()

    asyncio.run(main())


def test_closing_wakes_the_queue_though_the_source_of_the_job_before_is_silent() -> None:
    async def main() -> None:
        pool = WorkerPool(size=1)
        async with contextlib.aclosing(encoding(pool, silent())) as busy:
            await anext(busy)
            waiting = asyncio.create_task(probe(pool, UPLOAD))
            await until(lambda: pool._waiting == 1)
            await pool.aclose()
            async with asyncio.timeout(5):
                with pytest.raises(Overloaded, match="shutting down"):
                    await waiting

    asyncio.run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_closing_wakes_who_waits_for_a_worker(loop: str) -> None:
    factory = asyncio.new_event_loop if loop == "asyncio" else pytest.importorskip("uvloop").new_event_loop

    async def main() -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        pool = WorkerPool(size=1)
        await probe(pool, UPLOAD)
        process = pool._idle[0].process
        os.kill(process.pid, signal.SIGSTOP)
        at_work = asyncio.create_task(probe(pool, UPLOAD))
        in_the_queue = asyncio.create_task(probe(pool, UPLOAD))
        await until(lambda: bool(pool._busy) and pool._waiting == 1)
        await asyncio.sleep(0.05)
        await pool.aclose()
        async with asyncio.timeout(5):
            for waiting in (at_work, in_the_queue):
                with pytest.raises(Overloaded, match="shutting down"):
                    await waiting
        assert process.returncode == -signal.SIGKILL
        assert pool.workers == 0
        assert not complaints

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.parametrize("delay", [0.0, 0.02])
def test_closing_while_a_worker_starts_leaves_none(delay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    processes: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def noted(*command: str, **options: Any) -> asyncio.subprocess.Process:
        processes.append(await start(*command, **options))
        return processes[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)

    async def main() -> None:
        pool = WorkerPool(size=2)
        waiting = [asyncio.create_task(probe(pool, UPLOAD)) for _ in range(2)]
        await asyncio.sleep(delay)
        await pool.aclose()
        assert all(process.returncode is not None for process in processes)
        started = len(processes)
        for outcome in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(outcome, Overloaded)
            assert "shutting down" in str(outcome)
        assert len(processes) == started
        assert pool.workers == 0

    asyncio.run(main())


def test_a_worker_that_cannot_start_says_why_in_the_log(with_pool: WithPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.audio.pool._environment", dict)
    monkeypatch.setattr("sys.executable", "/bin/ls")

    async def test(pool: WorkerPool) -> None:
        with pytest.raises(Overloaded) as caught:
            await probe(pool, UPLOAD)
        assert "ls:" in caught.value.detail
        assert pool.workers == 0

    with_pool(test)


def test_a_worker_outlives_its_parent_not_for_long(with_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        worker = await PoolWorker.start(AUDIO, Limits())
        await worker.ready()
        worker._sock.close()
        assert await asyncio.wait_for(worker.process.wait(), 20) == 0
        worker.close()

    with_pool(test)


def test_uvloop_does_as_well(with_pool: WithPool) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with contextlib.aclosing(WorkerPool()) as pool:
            data = b"".join([piece async for piece in encoding(pool, sounds.arriving(SPEECH))])
            assert round((await probe(pool, data)).duration or 0) == 1
            async with contextlib.aclosing(encoding(pool, silent())) as output:
                await anext(output)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
