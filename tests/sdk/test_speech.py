"""Speech that is read as a whole, in and outside of an event loop."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from proxy import ProxyError, Speech, aspeech, speech
from proxy.errors import BadRequest, ModelNotFound
from tests.fakes.samples import SPEECH, SPEECH_TYPES
from tests.fakes.upstream import KEY, Upstream

MP3 = SPEECH["mp3"]


@pytest.mark.parametrize("wanted", sorted(SPEECH))
def test_every_format_comes_as_the_vendor_sent_it(openai: Upstream, wanted: str) -> None:
    answer = speech(model="tts-1", voice="alloy", input="Hello", response_format=wanted)
    assert answer.content == SPEECH[wanted]
    assert answer.content_type == SPEECH_TYPES[wanted]
    assert answer.headers["content-type"] == SPEECH_TYPES[wanted]


def test_every_argument_reaches_the_vendor(openai: Upstream) -> None:
    speech(
        "openai/gpt-4o-mini-tts",
        "Hello",
        {"id": "voice_1"},
        response_format="wav",
        speed=1.5,
        instructions="Whisper.",
        stream_format="audio",
        organization="org-1",
        project="proj-1",
        optional_params={"lang_code": "a", "speed": 3},
        volume=0.5,
    )
    assert openai.last.json == {
        "model": "gpt-4o-mini-tts",
        "input": "Hello",
        "voice": {"id": "voice_1"},
        "response_format": "wav",
        "speed": 1.5,
        "instructions": "Whisper.",
        "stream_format": "audio",
        "lang_code": "a",
        "volume": 0.5,
    }
    assert openai.last.header("openai-organization") == "org-1"
    assert openai.last.header("openai-project") == "proj-1"


def test_api_base_reaches_any_server_and_gets_no_key_but_the_one_given(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai-only")
    with pytest.raises(ProxyError):
        speech("hexgrad/Kokoro-82M", "Hello", "af_sky", api_base=upstream.url, max_retries=0)
    assert upstream.last.header("authorization") is None
    answer = speech("hexgrad/Kokoro-82M", "Hello", "af_sky", api_base=upstream.url, api_key=KEY)
    assert upstream.last.json["model"] == "hexgrad/Kokoro-82M"
    assert answer.content == MP3


@pytest.mark.parametrize("model", ["opneai/tts-1", "elevenlab/x", "OpenAI/tts-1", "azure/speach/tts"])
def test_a_misspelt_vendor_is_an_error_before_anything_is_sent(upstream: Upstream, model: str) -> None:
    with pytest.raises(ModelNotFound, match=r"unknown vendor '\S+'; did you mean '(openai|elevenlabs|azure/speech)'\?"):
        speech(model, "Hello", "alloy")
    assert upstream.requests == []


@pytest.mark.parametrize("by_variable", [False, True])
def test_a_server_of_ones_own_has_models_with_any_name(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    base: dict[str, Any] = {} if by_variable else {"api_base": upstream.url}
    if by_variable:
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.url)
    for model, sent in (("org/kokoro", "org/kokoro"), ("openai/opneai/kokoro", "opneai/kokoro")):
        speech(model, "Hello", "af_sky", api_key=KEY, **base)
        assert upstream.last.json["model"] == sent
    count = len(upstream.requests)
    with pytest.raises(ModelNotFound, match=r"did you mean 'openai'.*write openai/opneai/kokoro"):
        speech("opneai/kokoro", "Hello", "af_sky", api_key=KEY, **base)
    assert len(upstream.requests) == count


def test_async_answer_is_whole_and_writes_its_file_at_once(openai: Upstream, tmp_path: Path) -> None:
    async def main() -> Speech:
        answer = await aspeech(model="openai/tts-1", voice="alloy", input="Hello")
        answer.stream_to_file(tmp_path / "sync.mp3")
        await answer.astream_to_file(tmp_path / "async.mp3")
        assert b"".join([piece async for piece in answer.aiter_bytes(100)]) == MP3
        assert await answer.aread() == MP3
        return answer

    answer = asyncio.run(main())
    assert (tmp_path / "sync.mp3").read_bytes() == (tmp_path / "async.mp3").read_bytes() == MP3
    assert answer.read() == answer.content == MP3


def test_sync_works_inside_a_running_loop(openai: Upstream) -> None:
    async def main() -> bytes:
        return speech("tts-1", "Hello", "alloy").content

    assert asyncio.run(main()) == MP3


def test_pieces_have_the_size_that_was_asked_for_and_can_be_read_again(openai: Upstream) -> None:
    answer = speech("tts-1", "Hello", "alloy")
    for _ in range(2):
        pieces = list(answer.iter_bytes(chunk_size=1000))
        assert [len(piece) for piece in pieces] == [1000, len(MP3) - 1000]
        assert b"".join(pieces) == MP3
    assert list(answer.iter_bytes()) == [MP3]
    with pytest.raises(BadRequest, match="chunk_size"):
        list(answer.iter_bytes(chunk_size=0))


def test_headers_tell_request_id_and_limits_and_hide_the_rest(openai: Upstream) -> None:
    headers = speech("tts-1", "Hello", "alloy").headers
    assert headers["X-Request-ID"].startswith("req_")
    assert headers["x-ratelimit-limit-requests"] == "500"
    assert "set-cookie" not in headers


def test_usage_comes_with_events(openai: Upstream) -> None:
    answer = speech("gpt-4o-mini-tts", "Hello", "alloy", stream_format="sse")
    assert answer.content_type.startswith("text/event-stream")
    assert answer.usage is not None
    assert answer.usage.total_tokens == 103
    assert answer.usage.model_dump() == {"input_tokens": 10, "output_tokens": 93, "total_tokens": 103}
    assert speech("tts-1", "Hello", "alloy").usage is None


def test_a_whole_answer_may_stand_in_with_statements(openai: Upstream) -> None:
    with speech("tts-1", "Hello", "alloy") as answer:
        pass
    assert answer.content == MP3

    async def main() -> bytes:
        async with await aspeech("tts-1", "Hello", "alloy") as answer:
            return answer.content

    assert asyncio.run(main()) == MP3


# -- files -------------------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_written_leaves_what_was_there(openai: Upstream, tmp_path: Path) -> None:
    answer = speech("tts-1", "Hello", "alloy")
    with pytest.raises(FileNotFoundError):
        answer.stream_to_file(tmp_path / "missing" / "speech.mp3")
    with pytest.raises(IsADirectoryError):
        answer.stream_to_file(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_written_file_has_the_usual_permissions_and_a_link_stays_a_link(openai: Upstream, tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    (tmp_path / "link.mp3").symlink_to(tmp_path / "target.mp3")
    speech("tts-1", "Hello", "alloy").stream_to_file(str(tmp_path / "link.mp3"))
    assert (tmp_path / "link.mp3").is_symlink()
    target = tmp_path / "target.mp3"
    assert target.read_bytes() == MP3
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_a_pipe_is_written_as_it_is(openai: Upstream, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    speech("tts-1", "Hello", "alloy").stream_to_file(pipe)
    reader.join(10)
    assert read == [MP3]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


# -- many at once ------------------------------------------------------------------------------------------------------


def test_many_threads_at_once(openai: Upstream) -> None:
    def ask(number: int) -> tuple[bytes, Any]:
        return speech("tts-1", f"Hello {number}", "alloy").content, number

    with ThreadPoolExecutor(12) as threads:
        done = list(threads.map(ask, range(36)))
    assert {content for content, _ in done} == {MP3}
    assert sorted(request.json["input"] for request in openai.requests) == sorted(f"Hello {n}" for n in range(36))


def test_many_tasks_at_once(openai: Upstream) -> None:
    async def main() -> list[Speech]:
        return await asyncio.gather(*(aspeech("tts-1", f"Hello {n}", "alloy") for n in range(36)))

    assert {answer.content for answer in asyncio.run(main())} == {MP3}
    assert len({request.json["input"] for request in openai.requests}) == 36
