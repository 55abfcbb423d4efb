"""pocketsphinx through the transport, fed by espeak-ng."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from proxy.engines import sphinx
from proxy.errors import UnsupportedValue
from proxy.storage.spool import SpoolRoom
from tests.engines.conftest import RATE, SENTENCE, SPEECH, TRANSCRIPTION, Warm, engines, until, wav


@pytest.fixture(scope="module")
def warm(warm: Warm) -> Warm:
    pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed: pip install '.[local]'")
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed, or has no wheel for this Python")
    return warm


@pytest.fixture(scope="module")
def sentence(warm: Warm) -> bytes:
    """SENTENCE as s16le mono PCM."""

    async def spoken(client: httpx.AsyncClient) -> bytes:
        return (await client.post(SPEECH, json={"input": SENTENCE, "voice": "alloy"})).content

    return warm(spoken)


@pytest.fixture(scope="module")
def phrase(warm: Warm) -> bytes:
    """A second of speech, for tests that count and do not read."""

    async def spoken(client: httpx.AsyncClient) -> bytes:
        return (await client.post(SPEECH, json={"input": "the lazy dogs", "voice": "alloy"})).content

    return warm(spoken)


def test_a_sentence_comes_back(warm: Warm, sentence: bytes) -> None:
    """6 to 8 of the 8 distinct words came back when this was written; speech differs a little each time."""

    async def test(client: httpx.AsyncClient) -> None:
        answer = await client.post(TRANSCRIPTION, params={"language": "en"}, content=wav(sentence))
        assert answer.status_code == 200, answer.text
        transcript = answer.json()
        assert sorted(transcript) == ["duration", "language", "segments", "text", "words"]
        assert transcript["language"] == "english"
        assert transcript["duration"] == pytest.approx(len(sentence) / 2 / RATE, rel=0.02)
        words = transcript["words"]
        assert " ".join(word["word"] for word in words) == transcript["text"]
        assert len(set(SENTENCE.split()) & {word["word"] for word in words}) >= 5
        assert all(0 <= word["start"] < word["end"] <= transcript["duration"] + 0.1 for word in words)
        assert [word["start"] for word in words] == sorted(word["start"] for word in words)
        assert all(sorted(segment) == ["end", "id", "start", "text"] for segment in transcript["segments"])

    warm(test)


def test_a_stream_tells_each_segment_when_it_is_final(warm: Warm, phrase: bytes) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        pause = bytes(RATE * 2)
        recording = wav((phrase + pause) * 3)
        answer = client.stream("POST", TRANSCRIPTION, params={"stream": "true"}, content=recording)
        async with answer as stream:
            assert stream.headers["content-type"] == "application/x-ndjson"
            lines = [json.loads(line) async for line in stream.aiter_lines()]
        *segments, done = lines
        assert [segment["type"] for segment in segments] == ["segment"] * len(segments)
        assert [segment["id"] for segment in segments] == [0, 1, 2]
        assert done == {"type": "done", "duration": pytest.approx(len(recording) / 2 / RATE, rel=0.02)}
        times = [time for segment in segments for time in (segment["start"], segment["end"])]
        assert times == sorted(times)

    warm(test)


def test_leaving_a_stream_early_frees_the_process(phrase: bytes) -> None:
    async def main() -> None:
        recording = wav((phrase + bytes(RATE * 2)) * 12)
        async with engines(processes=1, queue=0) as client:
            async with client.stream("POST", TRANSCRIPTION, params={"stream": "true"}, content=recording) as stream:
                assert json.loads(await anext(stream.aiter_lines()))["type"] == "segment"
                refused = await client.post(TRANSCRIPTION, content=wav(phrase))
                assert refused.status_code == 503
                assert float(refused.headers["retry-after"]) > 0
            task = asyncio.create_task(client.post(TRANSCRIPTION, content=recording))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client.post(TRANSCRIPTION, content=wav(phrase))).status_code == 200

    asyncio.run(main())


def test_a_bad_upload_is_a_400_and_costs_no_process(phrase: bytes) -> None:
    async def main() -> None:
        async with engines(processes=1) as client:
            pool = client._transport.transport.sphinx.pool  # type: ignore[attr-defined]
            assert (await client.post(TRANSCRIPTION, content=wav(phrase))).status_code == 200
            before = [worker.process.pid for worker in pool._idle]
            for bad in (b"", b"no audio at all", wav(b""), b"RIFF\xff\xff\xff\xffWAVEfmt "):
                for stream in ("false", "true"):
                    answer = await client.post(TRANSCRIPTION, params={"stream": stream}, content=bad)
                    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
            assert [worker.process.pid for worker in pool._idle] == before

    asyncio.run(main())


def test_silence_is_an_empty_transcript(warm: Warm) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        transcript = (await client.post(TRANSCRIPTION, content=wav(bytes(16_000 * 4), 16_000))).json()
        assert transcript == {"text": "", "language": "english", "duration": 2.0, "words": [], "segments": []}

    warm(test)


def test_an_upload_of_several_megabytes_goes_by_a_file(warm: Warm, phrase: bytes) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        pcm = bytes(RATE * 2 * 60) + phrase
        transcript = (await client.post(TRANSCRIPTION, content=wav(pcm))).json()
        assert transcript["duration"] == pytest.approx(len(pcm) / 2 / RATE, rel=0.02)
        assert transcript["words"][0]["start"] >= 59.5

    warm(test)


async def never_read() -> AsyncIterator[bytes]:
    raise AssertionError("read")
    yield b""


@pytest.mark.parametrize("silence", [0, 60])
def test_an_upload_at_hand_is_used_where_it_lies(
    warm: Warm, phrase: bytes, silence: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In memory, and as a file whose offset stays; the body, which others send, is not even read."""
    recording = wav(bytes(RATE * 2 * silence) + phrase)

    async def test(client: httpx.AsyncClient) -> None:
        room = SpoolRoom(limit=1 << 30)
        with contextlib.closing(room), contextlib.closing(room.open()) as upload:
            upload.write(memoryview(recording))
            await upload.settle()
            await upload.finish("speech.wav", "audio/wav")
            descriptor = upload.fileno()
            assert (descriptor is None) == (not silence)
            offset = descriptor is not None and os.lseek(descriptor, 0, os.SEEK_CUR)
            monkeypatch.setattr("tempfile.SpooledTemporaryFile", None)
            ask = client.build_request("POST", TRANSCRIPTION, content=never_read(), extensions={"upload": upload})
            transcript = (await client.send(ask)).json()
            assert transcript["duration"] == pytest.approx((len(recording) - 44) / 2 / RATE, rel=0.02)
            assert transcript["text"]
            assert offset is False or os.lseek(upload.fileno() or 0, 0, os.SEEK_CUR) == offset

    warm(test)


def test_a_bad_upload_at_hand_is_a_400(warm: Warm) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        room = SpoolRoom(limit=1 << 30)
        for bad in (b"", b"no audio at all"):
            with contextlib.closing(room.open()) as upload:
                upload.write(memoryview(bad))
                ask = client.build_request("POST", TRANSCRIPTION, extensions={"upload": upload})
                answer = await client.send(ask)
                assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
        room.close()

    warm(test)


def test_uvloop_does_as_well(phrase: bytes) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main() -> None:
        async with engines() as client:
            assert (await client.post(SPEECH, json={"input": "hello"})).status_code == 200
            async with client.stream(
                "POST", TRANSCRIPTION, params={"stream": "true"}, content=wav(phrase + bytes(RATE * 40))
            ) as stream:
                lines = [json.loads(line) async for line in stream.aiter_lines()]
            assert [line["type"] for line in lines] == ["segment", "done"]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def test_a_killed_process_is_a_502_and_the_next_call_is_fine(phrase: bytes) -> None:
    async def main() -> None:
        async with engines(processes=1) as client:
            pool = client._transport.transport.sphinx.pool  # type: ignore[attr-defined]
            task = asyncio.create_task(client.post(TRANSCRIPTION, content=wav(phrase * 10)))
            await until(lambda: pool._busy)
            os.kill(next(iter(pool._busy)).process.pid, signal.SIGKILL)
            answer = await task
            assert answer.status_code == 502
            assert answer.json()["error"]["code"] == "engine_failed"
            assert (await client.post(TRANSCRIPTION, content=wav(phrase))).status_code == 200

    asyncio.run(main())


@pytest.mark.parametrize("language", ["", "en", "EN", "en-GB", "en_US", "English"])
def test_english_is_accepted_by_every_name(language: str) -> None:
    sphinx.check_language(language)


@pytest.mark.parametrize("language", ["de", "german", "e", "enx", "fr-en"])
def test_another_language_is_refused(language: str) -> None:
    with pytest.raises(UnsupportedValue, match="English only"):
        sphinx.check_language(language)


def test_another_language_is_a_400_before_the_upload_is_read() -> None:
    async def main() -> httpx.Response:
        async with engines() as client:
            return await client.post(TRANSCRIPTION, params={"language": "de"}, content=never_read())

    answer = asyncio.run(main())
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "language")


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pocketsphinx.py").write_text("raise ImportError('not here')")
    monkeypatch.syspath_prepend(tmp_path)

    async def main() -> httpx.Response:
        async with engines() as client:
            return await client.post(TRANSCRIPTION, content=wav(bytes(32_000), 16_000))

    answer = asyncio.run(main())
    assert answer.status_code == 501
    assert "pip install 'audio-proxy[local]'" in answer.json()["error"]["message"]
