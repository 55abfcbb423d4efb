"""espeak-ng through the transport, with real processes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.audio.limits import Limits
from proxy.audio.pool import WorkerPool
from proxy.engines import voices
from proxy.engines.espeak import Espeak
from proxy.engines.processes import EnginePool
from proxy.engines.transport import LocalTransport
from tests.engines.conftest import SENTENCE, SPEECH, Warm, engines, seconds, until

loader = pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed: pip install '.[local]'")

LONG = "Every good boy deserves fudge, and so do the girls. " * 80


async def spoken(client: httpx.AsyncClient, text: str = SENTENCE, **fields: Any) -> bytes:
    answer = await client.post(SPEECH, json={"input": text, **fields})
    assert answer.status_code == 200, answer.text
    return answer.content


def pids(pool: EnginePool) -> list[int]:
    return [worker.process.pid for worker in [*pool._idle, *pool._busy]]


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def kept_limits(pid: int) -> dict[str, list[str]]:
    """Soft and hard limit by name."""
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return {line[:25].strip(): line[25:].split()[:2] for line in lines}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_sentence_becomes_pcm_whose_rate_is_in_the_content_type(warm: Warm) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post(SPEECH, json={"input": SENTENCE, "voice": "alloy"})
        assert answer.headers["content-type"] == "audio/pcm;rate=22050;channels=1"
        assert 1 < seconds(answer.content) < 6
        assert any(answer.content)

    warm(test)


def test_the_thirteen_voices_sound_different(warm: Warm) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        heard = [await spoken(client, "hello there", voice=name) for name in voices.OPENAI]
        assert len(set(heard)) == len(voices.OPENAI)
        assert len({len(pcm) for pcm in heard}) > 1

    warm(test)


def test_every_openai_voice_names_a_language_and_a_variant_of_espeak(warm: Warm) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        listed = (await client.get("local://espeak-ng/voices")).json()["voices"]
        assert {"id": "de", "name": "German", "language": "de", "gender": "male"} in listed
        assert [voice["id"] for voice in listed[:13]] == list(voices.OPENAI)
        for voice in ("de", "en-gb+f2", "en-us", "cmn", "de+whisper", "en-us+Andrea"):
            assert await spoken(client, "hello", voice=voice)

    warm(test)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"voice": "../x"}, "voice"),
        ({"voice": "xx"}, "voice"),
        ({"voice": "en-us+nosuch"}, "voice"),
        ({"voice": ["alloy"]}, "voice"),
        ({"input": ""}, "input"),
        ({"input": " \n "}, "input"),
        ({"input": "..."}, "input"),
        ({"input": 7}, "input"),
        ({"speed": 0.1}, "speed"),
        ({"speed": 4.5}, "speed"),
        ({"speed": "fast"}, "speed"),
        ({"speed": 10**400}, "speed"),
        ({"speed": float("nan")}, "speed"),
    ],
)
def test_what_cannot_be_spoken_is_a_400_in_openais_shape(warm: Warm, fields: dict[str, Any], param: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post(SPEECH, content=json.dumps({"input": "hello", **fields}))
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert error["param"] == param
        assert sorted(error) == ["code", "message", "param", "type"]
        assert await spoken(client, "still there")

    warm(test)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_a_body_that_is_no_object_is_a_400(warm: Warm, body: bytes) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        assert (await client.post(SPEECH, content=body)).status_code == 400
        assert (await client.get(SPEECH)).status_code == 404

    warm(test)


def test_speed_changes_the_duration_in_proportion(warm: Warm) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        normal = seconds(await spoken(client))
        for speed in (0.25, 0.4, 0.5, 2, 3, 4):
            assert seconds(await spoken(client, speed=speed)) * speed == pytest.approx(normal, rel=0.25)

    warm(test)


def test_text_is_plain_text(warm: Warm) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        plain = seconds(await spoken(client))
        assert seconds(await spoken(client, f"<break time='60s'/> {SENTENCE}")) < plain + 10
        # A control character would begin a command, here one that speaks faster.
        assert seconds(await spoken(client, f"\x01450S {SENTENCE}")) > plain
        odd = await client.post(SPEECH, content=json.dumps({"input": "lone \ud800 surrogates, \0 and NUL"}))
        assert seconds(odd.content) > 1

    warm(test)


def test_the_first_bytes_leave_while_synthesis_goes_on() -> None:
    async def main() -> None:
        async with engines(Espeak(processes=1, queue=0)) as client:
            async with client.stream("POST", SPEECH, json={"input": LONG}) as answer:
                chunks = answer.aiter_raw()
                first = await anext(chunks)
                # The only process is still at work on the rest.
                assert (await client.post(SPEECH, json={"input": "hi"})).status_code == 503
                rest = b"".join([chunk async for chunk in chunks])
            assert 0 < len(first) < len(rest) / 20
            assert seconds(first + rest) > 60
            assert await spoken(client, "hi")

    asyncio.run(main())


def test_eight_calls_at_once_share_two_processes() -> None:
    async def main() -> None:
        espeak = Espeak(processes=2)
        async with engines(espeak) as client:
            heard = await asyncio.gather(*(spoken(client, f"number {number}") for number in range(8)))
            assert all(heard)
            assert espeak.pool.workers == 2

    asyncio.run(main())


def test_saturated_means_503_with_retry_after() -> None:
    async def main() -> None:
        espeak = Espeak(processes=1, queue=1)
        async with engines(espeak) as client:
            async with client.stream("POST", SPEECH, json={"input": LONG}):
                waiting = asyncio.create_task(spoken(client))
                await until(lambda: espeak.pool._waiting)
                refused = await client.post(SPEECH, json={"input": "hi"})
            assert refused.status_code == 503
            assert float(refused.headers["retry-after"]) > 0
            assert refused.json()["error"]["code"] == "server_is_overloaded"
            assert await waiting

    asyncio.run(main())


def test_leaving_early_ends_the_process_and_frees_its_place() -> None:
    async def main() -> None:
        espeak = Espeak(processes=1, queue=0)
        async with engines(espeak) as client:
            for read in (0, 1):
                async with client.stream("POST", SPEECH, json={"input": LONG}) as answer:
                    (busy,) = pids(espeak.pool)
                    if read:
                        await anext(answer.aiter_raw())
                assert await spoken(client)
                assert pids(espeak.pool) != [busy]

            task = asyncio.create_task(spoken(client, LONG))
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await spoken(client)

    asyncio.run(main())


def test_a_killed_process_costs_one_call_at_most() -> None:
    async def main() -> None:
        espeak = Espeak(processes=1)
        async with engines(espeak) as client:
            await spoken(client)
            os.kill(pids(espeak.pool)[0], signal.SIGKILL)
            await asyncio.sleep(0.05)
            assert await spoken(client)

            async with client.stream("POST", SPEECH, json={"input": LONG}) as answer:
                os.kill(pids(espeak.pool)[0], signal.SIGKILL)
                with pytest.raises(httpx.RemoteProtocolError):
                    await answer.aread()
            assert await spoken(client)

    asyncio.run(main())


def test_a_hung_process_is_killed_and_the_call_fails_clearly() -> None:
    async def main() -> None:
        espeak = Espeak(processes=1, limits=dataclasses.replace(Limits(), stall_seconds=0.3))
        async with engines(espeak) as client:
            await spoken(client)
            (hung,) = pids(espeak.pool)
            os.kill(hung, signal.SIGSTOP)
            answer = await client.post(SPEECH, json={"input": SENTENCE})
            assert answer.status_code == 502
            assert answer.json()["error"]["code"] == "engine_failed"
            assert await spoken(client)
            assert not alive(hung)

    asyncio.run(main())


def test_the_requests_read_timeout_holds() -> None:
    async def main() -> None:
        espeak = Espeak(processes=1)
        async with engines(espeak) as client:
            await spoken(client)
            os.kill(pids(espeak.pool)[0], signal.SIGSTOP)
            with pytest.raises(httpx.ReadTimeout):
                await client.post(SPEECH, json={"input": SENTENCE}, timeout=0.2)
            assert await spoken(client)

    asyncio.run(main())


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to look into a process")
def test_a_process_holds_no_key_and_nothing_is_left_behind(canary: str) -> None:
    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        espeak = Espeak(processes=2)
        async with engines(espeak) as client:
            await asyncio.gather(*(spoken(client) for _ in range(2)))
            async with client.stream("POST", SPEECH, json={"input": LONG}):
                pass
            await spoken(client)
            started = pids(espeak.pool)
            assert started
            for pid in started:
                assert canary.encode() not in environment(pid)
        assert not any(alive(pid) for pid in started)
        assert len(os.listdir("/proc/self/fd")) <= before

    asyncio.run(main())


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="needs /proc to look into a process")
def test_a_process_is_confined(warm: Warm) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        await spoken(client)
        pool = client._transport.transport.espeak.pool  # type: ignore[attr-defined]
        shown = kept_limits(pids(pool)[0])
        assert shown["Max file size"] == ["0", "0"]
        assert shown["Max core file size"] == ["0", "0"]
        assert shown["Max open files"] == ["64", "64"]
        assert shown["Max address space"] == [str(pool.limits.memory_bytes)] * 2
        assert shown["Max cpu time"][0] != "unlimited"

    warm(test)


def test_closing_while_a_process_is_busy_ends_both() -> None:
    async def main() -> None:
        espeak = Espeak(processes=1)
        async with engines(espeak) as client:
            async with client.stream("POST", SPEECH, json={"input": LONG}) as answer:
                (busy,) = pids(espeak.pool)
                await espeak.aclose()
                with pytest.raises(httpx.RemoteProtocolError):
                    async with asyncio.timeout(5):
                        await answer.aread()
            assert not alive(busy)
            assert (await client.post(SPEECH, json={"input": "hi"})).status_code == 503

    asyncio.run(main())


def test_closing_wakes_who_waits_for_a_process() -> None:
    async def main() -> None:
        espeak = Espeak(processes=1)
        async with engines(espeak) as client:
            await spoken(client)
            os.kill(pids(espeak.pool)[0], signal.SIGSTOP)
            waiting = asyncio.create_task(client.post(SPEECH, json={"input": "hi"}))
            await until(lambda: espeak.pool._busy)
            await asyncio.sleep(0.05)
            await espeak.aclose()
            async with asyncio.timeout(5):
                assert (await waiting).status_code == 503

    asyncio.run(main())


def test_without_any_espeak_the_answer_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "espeakng_loader.py").write_text("raise ImportError")
    (tmp_path / "sitecustomize.py").write_text(
        "import ctypes\ndef missing(name, *rest): raise OSError(name)\nctypes.CDLL = missing"
    )
    monkeypatch.syspath_prepend(tmp_path)

    async def main() -> None:
        async with engines() as client:
            for _ in range(2):
                answer = await client.post(SPEECH, json={"input": "hello"})
                assert answer.status_code == 501
                assert "pip install 'audio-proxy[local]'" in answer.json()["error"]["message"]

    asyncio.run(main())


def test_the_proxy_itself_loads_no_engine() -> None:
    code = (
        "import sys, proxy.engines.transport as t; print({'espeakng_loader', 'pocketsphinx', 'av'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_mounting_costs_nothing_and_needs_no_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("asyncio.create_subprocess_exec", None)

    def cost() -> tuple[int, int, list[Path]]:
        descriptors = os.listdir("/proc/self/fd") if Path("/proc/self/fd").exists() else ()
        return threading.active_count(), len(descriptors), list(tmp_path.iterdir())

    def mount() -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_event_loop()
        before = cost()
        transport = LocalTransport(WorkerPool())
        assert cost() == before
        asyncio.run(transport.aclose())
        assert cost() == before

    with ThreadPoolExecutor(1) as thread:
        thread.submit(mount).result()


def test_the_package_may_lie_in_a_very_deep_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path.joinpath(*["a-directory-with-a-long-name"] * 8)
    deep.mkdir(parents=True)
    (deep / "espeakng_loader").symlink_to(Path(loader.__file__).parent)
    monkeypatch.syspath_prepend(deep)

    async def main() -> None:
        async with engines() as client:
            assert await spoken(client, voice="de")

    asyncio.run(main())
