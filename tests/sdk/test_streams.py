"""Speech as it arrives: the first piece before the last was sent, closed on every path."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path
from typing import Literal

import pytest

from proxy import aspeech, speech
from proxy.errors import BadRequest, ProxyError, UpstreamInvalid, UpstreamUnavailable
from tests.fakes import answers
from tests.fakes.samples import SPEECH
from tests.fakes.upstream import Upstream, stream

MP3 = SPEECH["mp3"]


def test_async_first_piece_is_there_before_the_second_was_sent(openai: Upstream) -> None:
    gate = openai.gate()
    openai.behave("tts-1", gate=gate)

    async def main() -> bytes:
        gate.release()
        async with await aspeech("tts-1", "Hello", "alloy", stream=True) as answer:
            pieces = answer.aiter_bytes()
            first = await anext(pieces)
            assert openai.last.chunks_sent == 1
            gate.open()
            return first + b"".join([piece async for piece in pieces])

    assert asyncio.run(main()) == MP3


def test_sync_first_piece_is_there_before_the_second_was_sent(openai: Upstream) -> None:
    gate = openai.gate()
    openai.behave("tts-1", gate=gate)
    gate.release()
    with speech("tts-1", "Hello", "alloy", stream=True) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        assert openai.last.chunks_sent == 1
        gate.open()
        assert first + b"".join(pieces) == MP3


def test_sync_stream_inside_a_running_loop(openai: Upstream) -> None:
    async def main() -> bytes:
        with speech("tts-1", "Hello", "alloy", stream=True) as answer:
            return b"".join(answer.iter_bytes())

    assert asyncio.run(main()) == MP3


def test_pieces_of_one_size(openai: Upstream) -> None:
    with speech("tts-1", "Hello", "alloy", stream=True) as answer:
        assert [len(piece) for piece in answer.iter_bytes(chunk_size=500)] == [500, 500, len(MP3) - 1000]


def test_leaving_early_ends_the_upstream_call(openai: Upstream) -> None:
    openai.behave("tts-1", gate=(gate := openai.gate()))
    gate.release()
    with speech("tts-1", "Hello", "alloy", stream=True) as answer:
        assert next(answer.iter_bytes())
    openai.last.wait_closed()
    assert openai.last.chunks_sent == 1


def test_leaving_early_ends_the_upstream_call_async(openai: Upstream) -> None:
    openai.behave("tts-1", gate=(gate := openai.gate()))
    gate.release()

    async def main() -> None:
        async with await aspeech("tts-1", "Hello", "alloy", stream=True) as answer:
            async for _ in answer.aiter_bytes():
                break

    asyncio.run(main())
    openai.last.wait_closed()
    assert openai.last.chunks_sent == 1


def test_closing_unread_ends_the_upstream_call(openai: Upstream) -> None:
    openai.behave("tts-1", gate=(gate := openai.gate()))
    gate.release()
    answer = speech("tts-1", "Hello", "alloy", stream=True)
    answer.close()
    answer.close()
    openai.last.wait_closed()
    with pytest.raises(BadRequest, match="closed") as caught:
        next(answer.iter_bytes())
    assert caught.value.code == "stream_closed"


def test_a_cancelled_reader_ends_the_upstream_call(openai: Upstream) -> None:
    openai.behave("tts-1", gate=(gate := openai.gate()))
    gate.release()

    async def read() -> None:
        async with await aspeech("tts-1", "Hello", "alloy", stream=True) as answer:
            async for _ in answer.aiter_bytes():
                reading.set()

    async def main() -> None:
        task = asyncio.create_task(read())
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    reading = asyncio.Event()
    asyncio.run(main())
    openai.last.wait_closed()


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
def test_another_task_may_close_what_is_being_read(openai: Upstream, stream_format: Literal["audio", "sse"]) -> None:
    openai.behave("gpt-4o-mini-tts", gate=(gate := openai.gate()))
    gate.release()

    async def main() -> None:
        answer = await aspeech("gpt-4o-mini-tts", "Hello", "alloy", stream=True, stream_format=stream_format)
        reading = asyncio.Event()

        async def read() -> None:
            async for _ in answer.aiter_bytes():
                reading.set()

        task = asyncio.create_task(read())
        await reading.wait()
        await asyncio.sleep(0.01)
        await answer.aclose()
        with pytest.raises(ProxyError):
            await task

    asyncio.run(main())
    openai.last.wait_closed()


def test_a_cancelled_whole_call_ends_the_upstream_call(openai: Upstream) -> None:
    openai.behave("tts-1", gate=openai.gate())

    async def main() -> None:
        task = asyncio.create_task(aspeech("tts-1", "Hello", "alloy"))
        await asyncio.to_thread(openai.wait_requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    openai.last.wait_closed()


def test_a_stream_is_read_once(openai: Upstream) -> None:
    with speech("tts-1", "Hello", "alloy", stream=True) as answer:
        assert b"".join(answer.iter_bytes()) == MP3
        with pytest.raises(BadRequest, match="already been read") as caught:
            next(answer.iter_bytes())
        assert caught.value.code == "stream_consumed"
        with pytest.raises(BadRequest, match="already been read"):
            _ = answer.content

    async def main() -> None:
        async with await aspeech("tts-1", "Hello", "alloy", stream=True) as answer:
            assert b"".join([piece async for piece in answer.aiter_bytes()]) == MP3
            with pytest.raises(BadRequest, match="already been read"):
                await anext(answer.aiter_bytes())

    asyncio.run(main())


def test_what_was_read_whole_stays(openai: Upstream) -> None:
    with speech("tts-1", "Hello", "alloy", stream=True) as answer:
        with pytest.raises(BadRequest, match="has not been read"):
            _ = answer.content
        assert answer.read() == MP3
    assert answer.content == answer.read() == b"".join(answer.iter_bytes(7)) == MP3

    async def main() -> None:
        async with await aspeech("tts-1", "Hello", "alloy", stream=True) as answer:
            with pytest.raises(BadRequest, match="has not been read"):
                answer.read()
            assert await answer.aread() == MP3
        assert answer.content == answer.read() == MP3

    asyncio.run(main())


def test_going_on_after_closing_is_an_error_and_no_early_end(openai: Upstream) -> None:
    openai.behave("tts-1", gate=(gate := openai.gate()))
    gate.release()
    answer = speech("tts-1", "Hello", "alloy", stream=True)
    pieces = answer.iter_bytes()
    next(pieces)
    answer.close()
    with pytest.raises(BadRequest, match="closed"):
        next(pieces)


def test_going_on_after_closing_is_an_error_and_no_early_end_async(openai: Upstream) -> None:
    openai.behave("tts-1", gate=(gate := openai.gate()))
    gate.release()

    async def main() -> None:
        answer = await aspeech("tts-1", "Hello", "alloy", stream=True)
        pieces = answer.aiter_bytes()
        await anext(pieces)
        await answer.aclose()
        with pytest.raises(BadRequest, match="closed"):
            await anext(pieces)

    asyncio.run(main())


def test_usage_is_there_at_the_end_of_events(openai: Upstream) -> None:
    with speech("gpt-4o-mini-tts", "Hello", "alloy", stream=True, stream_format="sse") as answer:
        assert answer.usage is None
        answer.read()
    assert answer.usage is not None
    assert answer.usage.total_tokens == 103


def test_an_unclosed_stream_is_warned_of(openai: Upstream) -> None:
    async def main() -> None:
        answer = await aspeech("tts-1", "Hello", "alloy", stream=True)
        with pytest.warns(ResourceWarning, match="<Speech audio/mpeg, stream> was not closed"):
            answer.__del__()  # type: ignore[attr-defined]
        await answer.aclose()

    asyncio.run(main())


def test_an_interrupt_ends_the_upstream_call(openai: Upstream) -> None:
    openai.behave("tts-1", gate=openai.gate())

    def interrupt() -> None:
        openai.wait_requests()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    # Python installs it only where the signal is not ignored, as it is for a shell's jobs in the background.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            speech("tts-1", "Hello", "alloy")
    finally:
        signal.signal(signal.SIGINT, handler)
    openai.last.wait_closed()


# -- what breaks -------------------------------------------------------------------------------------------------------


def test_a_refusal_comes_before_the_stream(openai: Upstream) -> None:
    openai.behave("tts-1", answer=answers.ERRORS[500])
    with pytest.raises(UpstreamUnavailable):
        speech("tts-1", "Hello", "alloy", stream=True, max_retries=0)


def test_a_stream_that_breaks_off_raises_and_leaves_no_file(openai: Upstream, tmp_path: Path) -> None:
    openai.behave("tts-1", stop_after=2)
    (tmp_path / "old.mp3").write_bytes(b"old")

    async def main() -> None:
        async with await aspeech("tts-1", "Hello", "alloy", stream=True) as answer:
            with pytest.raises(ProxyError):
                await answer.astream_to_file(tmp_path / "old.mp3")

    asyncio.run(main())
    with speech("tts-1", "Hello", "alloy", stream=True) as answer, pytest.raises(UpstreamInvalid, match="broke off"):
        answer.stream_to_file(tmp_path / "new.mp3")
    assert [path.name for path in tmp_path.iterdir()] == ["old.mp3"]
    assert (tmp_path / "old.mp3").read_bytes() == b"old"


def test_streamed_files_are_whole(openai: Upstream, tmp_path: Path) -> None:
    openai.behave("tts-1", answer=stream(*[MP3] * 50))
    with speech("tts-1", "Hello", "alloy", stream=True) as answer:
        answer.stream_to_file(tmp_path / "sync.mp3")

    async def main() -> None:
        async with await aspeech("tts-1", "Hello", "alloy", stream=True) as answer:
            await answer.astream_to_file(tmp_path / "async.mp3")

    asyncio.run(main())
    assert (tmp_path / "sync.mp3").read_bytes() == (tmp_path / "async.mp3").read_bytes() == MP3 * 50
    assert len(list(tmp_path.iterdir())) == 2
