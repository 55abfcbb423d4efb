"""pocketsphinx through the transport, fed by espeak-ng."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import httpx
import pytest

from proxy.engines import sphinx
from proxy.errors import UnsupportedValue
from tests.engines.conftest import RATE, SENTENCE, SPEECH, TRANSCRIPTION, engines, until, wav


@pytest.fixture(scope="module")
def sentence() -> bytes:
    """SENTENCE as s16le mono PCM."""
    pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed: pip install '.[local]'")
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed, or has no wheel for this Python")

    async def main() -> bytes:
        async with engines() as client:
            return (await client.post(SPEECH, json={"input": SENTENCE, "voice": "alloy"})).content

    return asyncio.run(main())


def test_a_sentence_comes_back(sentence: bytes) -> None:
    """6 to 8 of the 8 distinct words came back when this was written; speech differs a little each time."""

    async def main() -> None:
        async with engines() as client:
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

    asyncio.run(main())


def test_a_stream_tells_each_segment_when_it_is_final(sentence: bytes) -> None:
    async def main() -> None:
        pause = bytes(RATE * 2)
        recording = wav((sentence + pause) * 3)
        async with engines() as client:
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

    asyncio.run(main())


def test_leaving_a_stream_early_frees_the_process(sentence: bytes) -> None:
    async def main() -> None:
        recording = wav((sentence + bytes(RATE * 2)) * 6)
        async with engines(processes=1, queue=0) as client:
            async with client.stream("POST", TRANSCRIPTION, params={"stream": "true"}, content=recording) as stream:
                assert json.loads(await anext(stream.aiter_lines()))["type"] == "segment"
                refused = await client.post(TRANSCRIPTION, content=wav(sentence))
                assert refused.status_code == 503
                assert float(refused.headers["retry-after"]) > 0
            task = asyncio.create_task(client.post(TRANSCRIPTION, content=recording))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client.post(TRANSCRIPTION, content=wav(sentence))).status_code == 200

    asyncio.run(main())


def test_a_bad_upload_is_a_400_and_costs_no_process(sentence: bytes) -> None:
    async def main() -> None:
        async with engines(processes=1) as client:
            pool = client._transport.sphinx.pool  # type: ignore[attr-defined]
            assert (await client.post(TRANSCRIPTION, content=wav(sentence))).status_code == 200
            before = [worker.process.pid for worker in pool._idle]
            for bad in (b"", b"no audio at all", wav(b""), b"RIFF\xff\xff\xff\xffWAVEfmt "):
                for stream in ("false", "true"):
                    answer = await client.post(TRANSCRIPTION, params={"stream": stream}, content=bad)
                    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "file")
            assert [worker.process.pid for worker in pool._idle] == before

    asyncio.run(main())


def test_silence_is_an_empty_transcript(sentence: bytes) -> None:
    async def main() -> None:
        async with engines() as client:
            transcript = (await client.post(TRANSCRIPTION, content=wav(bytes(16_000 * 4), 16_000))).json()
        assert transcript == {"text": "", "language": "english", "duration": 2.0, "words": [], "segments": []}

    asyncio.run(main())


def test_an_upload_of_several_megabytes_goes_by_a_file(sentence: bytes) -> None:
    async def main() -> None:
        pcm = bytes(RATE * 2 * 60) + sentence
        async with engines() as client:
            transcript = (await client.post(TRANSCRIPTION, content=wav(pcm))).json()
        assert transcript["duration"] == pytest.approx(len(pcm) / 2 / RATE, rel=0.02)
        assert transcript["words"][0]["start"] >= 59.5

    asyncio.run(main())


def test_a_killed_process_is_a_502_and_the_next_call_is_fine(sentence: bytes) -> None:
    async def main() -> None:
        async with engines(processes=1) as client:
            pool = client._transport.sphinx.pool  # type: ignore[attr-defined]
            task = asyncio.create_task(client.post(TRANSCRIPTION, content=wav(sentence * 10)))
            await until(lambda: pool._busy)
            os.kill(next(iter(pool._busy)).process.pid, signal.SIGKILL)
            answer = await task
            assert answer.status_code == 502
            assert answer.json()["error"]["code"] == "engine_failed"
            assert (await client.post(TRANSCRIPTION, content=wav(sentence))).status_code == 200

    asyncio.run(main())


@pytest.mark.parametrize("language", ["", "en", "EN", "en-GB", "en_US", "English"])
def test_english_is_accepted_by_every_name(language: str) -> None:
    sphinx.check_language(language)


@pytest.mark.parametrize("language", ["de", "german", "e", "enx", "fr-en"])
def test_another_language_is_refused(language: str) -> None:
    with pytest.raises(UnsupportedValue, match="English only"):
        sphinx.check_language(language)


def test_another_language_is_a_400_before_the_upload_is_read() -> None:
    async def upload() -> object:
        raise AssertionError("read")
        yield b""

    async def main() -> httpx.Response:
        async with engines() as client:
            return await client.post(TRANSCRIPTION, params={"language": "de"}, content=upload())  # type: ignore[arg-type]

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
