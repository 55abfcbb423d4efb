"""The caller's own httpx clients: used, reused and left open."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy import Speech, aspeech, atranscription, speech, transcription
from proxy.errors import BadRequest, ProxyError, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from proxy.http import errors
from proxy.sdk.clients import mapped_errors
from tests.conftest import NOWHERE
from tests.fakes import answers
from tests.fakes.answers import TEXT
from tests.fakes.samples import SPEECH
from tests.fakes.upstream import KEY, Recorded, Upstream, repeated

MP3 = SPEECH["mp3"]


def test_an_async_client_is_reused_and_left_open(openai: Upstream) -> None:
    async def main() -> None:
        async with httpx.AsyncClient(headers={"x-gateway": "yes", "user-agent": "mine"}) as client:
            for _ in range(3):
                assert (await aspeech("tts-1", "Hello", "alloy", client=client)).content == MP3
            assert (await atranscription("whisper-1", b"RIFF", client=client)).text == TEXT
            async with await aspeech("tts-1", "Hello", "alloy", client=client, stream=True) as answer:
                assert b"".join([piece async for piece in answer.aiter_bytes()]) == MP3
            assert not client.is_closed

    asyncio.run(main())
    assert openai.connections == 1
    assert openai.last.header("x-gateway") == "yes"
    assert openai.last.header("user-agent") == "audio-proxy"
    assert openai.last.header("authorization") == f"Bearer {KEY}"


def test_a_sync_client_is_reused_and_left_open(openai: Upstream) -> None:
    with httpx.Client(headers={"x-gateway": "yes"}) as client:
        for _ in range(3):
            assert speech("tts-1", "Hello", "alloy", client=client).content == MP3
        assert transcription("whisper-1", b"RIFF", client=client).text == TEXT
        with speech("tts-1", "Hello", "alloy", client=client, stream=True) as answer:
            assert b"".join(answer.iter_bytes()) == MP3
        assert asyncio.run(aspeech("tts-1", "Hello", "alloy", client=client)).content == MP3
        assert not client.is_closed
    assert openai.connections == 1
    assert openai.last.header("x-gateway") == "yes"


def test_a_sync_client_pulls_a_file_piece_by_piece(openai: Upstream, tmp_path: Path) -> None:
    content = os.urandom(5 << 20)
    (tmp_path / "a.mp3").write_bytes(content)
    with httpx.Client() as client:
        transcription("whisper-1", tmp_path / "a.mp3", client=client)
        assert asyncio.run(atranscription("whisper-1", tmp_path / "a.mp3", client=client)).text == TEXT
    assert [request.file.size for request in openai.requests] == [len(content)] * 2
    assert all(request.complete for request in openai.requests)


def test_first_piece_before_the_second_was_sent_through_both(openai: Upstream) -> None:
    gate = openai.gate()
    openai.behave("tts-1", gate=gate)
    gate.release()
    with httpx.Client() as client, speech("tts-1", "Hello", "alloy", client=client, stream=True) as answer:
        assert next(answer.iter_bytes())
        assert openai.last.chunks_sent == 1
        gate.release(3)
    openai.last.wait_closed()

    async def main() -> None:
        openai.reset()
        openai.behave("tts-1", gate=(gate := openai.gate()))
        gate.release()
        async with (
            httpx.AsyncClient() as client,
            await aspeech("tts-1", "Hello", "alloy", client=client, stream=True) as answer,
        ):
            assert await anext(answer.aiter_bytes())
            assert openai.last.chunks_sent == 1
        await asyncio.to_thread(openai.last.wait_closed)

    asyncio.run(main())


def test_many_threads_share_a_sync_client(openai: Upstream) -> None:
    done: list[bytes] = []
    with httpx.Client() as client:
        threads = [
            threading.Thread(target=lambda: done.append(speech("tts-1", "Hello", "alloy", client=client).content))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert done == [MP3] * 16


def test_many_tasks_send_files_through_a_sync_client(openai: Upstream, tmp_path: Path) -> None:
    """More than there are threads: a file that is waited for must not wait for the thread that waits for it."""
    (tmp_path / "a.mp3").write_bytes(os.urandom(1 << 20))

    async def main(client: httpx.Client) -> list[Any]:
        asks = (atranscription("whisper-1", tmp_path / "a.mp3", client=client) for _ in range(60))
        return await asyncio.wait_for(asyncio.gather(*asks), 60)

    with httpx.Client() as client:
        assert {found.text for found in asyncio.run(main(client))} == {TEXT}


@pytest.fixture(params=["async", "sync"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def call(kind: str, *, follow_redirects: bool = False, **options: Any) -> Speech:
    """One call through a client of this kind."""

    async def through_async() -> Speech:
        async with httpx.AsyncClient(follow_redirects=follow_redirects) as client:
            return await aspeech("tts-1", "Hello", "alloy", client=client, max_retries=0, **options)

    if kind == "async":
        return asyncio.run(through_async())
    with httpx.Client(follow_redirects=follow_redirects) as client:
        return speech("tts-1", "Hello", "alloy", client=client, max_retries=0, **options)


def failure(kind: str, **options: Any) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        call(kind, **options)
    return caught.value


def test_errors_stay_ours(openai: Upstream, kind: str) -> None:
    assert isinstance(failure(kind, api_base=NOWHERE), UpstreamUnreachable)
    openai.behave("tts-1", stop_after=1)
    assert isinstance(failure(kind), UpstreamInvalid)
    openai.behave("tts-1", answer=answers.ERRORS[429])
    assert (failure(kind).status, failure(kind).retry_after) == (429, 0.05)


def test_time_limits_hold(openai: Upstream, kind: str) -> None:
    openai.behave("tts-1", stop_after=0, stop="hang")
    assert isinstance(failure(kind, timeout=0.3), UpstreamTimeout)
    openai.behave("tts-1", stop_after=1, stop="hang")
    assert isinstance(failure(kind, timeout=0.3), UpstreamTimeout)


def test_the_time_limit_holds_for_an_answer_that_trickles(openai: Upstream, kind: str) -> None:
    openai.behave("tts-1", answer=repeated(MP3, 60), gap=0.05)
    assert isinstance(failure(kind, timeout=0.5), UpstreamTimeout)


@pytest.mark.parametrize("permits", [0, 1], ids=["before the answer", "in its middle"])
def test_a_cancelled_call_ends_at_once(openai: Upstream, kind: str, permits: int) -> None:
    """Also where a thread waits for the answer, which may take long."""
    openai.behave("tts-1", gate=(gate := openai.gate()))
    gate.release(permits)

    async def main(client: Any) -> None:
        task = asyncio.create_task(aspeech("tts-1", "Hello", "alloy", client=client))
        request = await asyncio.to_thread(openai.wait_requests)
        await asyncio.to_thread(request.received.wait, 10)
        await asyncio.to_thread(request.wait_chunks, permits)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert request.chunks_sent == permits
        if kind == "sync" and not permits:
            gate.release()  # now the thread has an answer, which nobody wants
        await asyncio.to_thread(request.wait_closed)

    async def through_async() -> None:
        async with httpx.AsyncClient() as client:
            await main(client)

    if kind == "async":
        asyncio.run(through_async())
        return
    with httpx.Client() as client:
        asyncio.run(main(client))
        gate.open()
        assert speech("tts-1", "Hello", "alloy", client=client).content == MP3


def wait_for_body(request: Recorded) -> None:
    limit = time.monotonic() + 10
    while not request.body_size:
        assert time.monotonic() < limit, "no body came"
        time.sleep(0.001)


def test_a_file_is_not_sent_on_after_its_call_was_cancelled(openai: Upstream) -> None:
    content = bytes(24 << 20)

    async def main(client: httpx.Client) -> None:
        task = asyncio.create_task(atranscription("whisper-1", content, client=client))
        request = await asyncio.to_thread(openai.wait_requests)
        await asyncio.to_thread(wait_for_body, request)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(request.wait_closed)
        assert 0 < request.body_size < len(content)

    with httpx.Client() as client:
        asyncio.run(main(client))


def test_redirects_are_not_followed(openai: Upstream, kind: str) -> None:
    openai.behave("tts-1", answer=answers.Answer("text/plain", [], 302, {"location": openai.url + "/elsewhere"}))
    assert isinstance(failure(kind, follow_redirects=True), UpstreamInvalid)
    assert len(openai.requests) == 1


def test_a_client_that_cannot_be_used_is_refused(openai: Upstream) -> None:
    client = httpx.AsyncClient()
    for function in (speech, transcription):
        asked: Any = function
        with pytest.raises(BadRequest, match="belongs to one event loop") as caught:
            asked("tts-1", b"Hello", client=client)
        assert caught.value.param == "client"
    asyncio.run(client.aclose())
    with pytest.raises(BadRequest, match="closed"):
        asyncio.run(aspeech("tts-1", "Hello", "alloy", client=client))
    other: Any = object()
    with pytest.raises(BadRequest, match="not object"):
        speech("tts-1", "Hello", "alloy", client=other)
    assert openai.requests == []


def _all(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(found for below in kind.__subclasses__() for found in _all(below))]


@pytest.mark.parametrize("theirs", [*_all(httpx.TransportError), httpx.InvalidURL])
def test_every_error_of_httpx_becomes_one_of_ours(theirs: type[Exception]) -> None:
    """One of the same name, where there is one."""
    with pytest.raises(errors.TransportError, match="for the log") as caught, mapped_errors():
        raise theirs("for the log")
    name = {"ProxyError": "ForwardProxyError"}.get(theirs.__name__, theirs.__name__)
    assert type(caught.value).__name__ == name or not hasattr(errors, name) or theirs.__subclasses__()
    assert not type(caught.value).__subclasses__()
    assert caught.value.__cause__ is not None
