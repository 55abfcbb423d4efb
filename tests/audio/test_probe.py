from __future__ import annotations

import os
import tempfile

import av
import pytest

from proxy.audio.codec import decode
from proxy.audio.pool import WorkerPool
from proxy.audio.probe import AudioInfo, probe
from tests.audio import sounds
from tests.audio.conftest import WithPool

SPEECH = sounds.pcm(4)


def test_every_upload_format_tells_its_length(warm_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        for name, (_, encoder, rate, _, _) in sounds.FILES.items():
            info = await probe(pool, sounds.file(name, SPEECH))
            assert info.duration == pytest.approx(4, rel=0.05), name
            assert (info.channels, info.rate) == (2, rate), name
            assert info.codec.startswith(encoder.removeprefix("lib").removesuffix("mp3lame")), name
            assert info.container in name, name

    warm_pool(test)


@pytest.mark.parametrize("size", [None, 0xFFFFFFFF, 0x7FFFFFFF, 0, 10**6])
def test_wav_whose_header_lies(warm_pool: WithPool, size: int | None) -> None:
    async def test(pool: WorkerPool) -> None:
        info = await probe(pool, sounds.wav(SPEECH, size=size))
        assert info == AudioInfo(4.0, 1, 24_000, "pcm_s16le", "wav")

    warm_pool(test)


@pytest.mark.parametrize("name", ["mp3 with ID3 and Xing", "flac", "m4a", "webm without a duration", "wav of mulaw"])
def test_tags_in_any_encoding_are_passed_over(warm_pool: WithPool, name: str) -> None:
    file = sounds.file(name, SPEECH)
    latin = file.replace(b"Ein Ton", b"T\xf6ne \xff!")
    assert len(latin) == len(file)
    assert latin != file

    async def test(pool: WorkerPool) -> None:
        assert await probe(pool, latin) == await probe(pool, file)
        samples = b"".join([data async for data in decode(pool, latin)])
        assert len(samples) / 32_000 == pytest.approx(4, rel=0.05)

    warm_pool(test)


def test_a_file_is_read_by_its_descriptor_and_its_offset_stays(warm_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        with tempfile.TemporaryFile() as file:
            file.write(sounds.file("m4a", SPEECH))
            file.flush()
            file.seek(7)
            info = await probe(pool, file.fileno())
            samples = b"".join([data async for data in decode(pool, file.fileno())])
            assert info.container == "m4a"
            assert len(samples) / 32_000 == pytest.approx(4, rel=0.05)
            assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 7

    warm_pool(test)


def test_video_is_read_for_its_sound_alone(warm_pool: WithPool) -> None:
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        with av.open(file.name, "w") as container:
            video = container.add_stream("mpeg4", rate=10)
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            audio = container.add_stream("aac", rate=24_000, layout="mono")
            for index in range(20):
                picture = av.VideoFrame(64, 64, "yuv420p")
                picture.pts = index
                container.mux(video.encode(picture))
            for index in range(40):
                sound = av.AudioFrame(format="fltp", layout="mono", samples=1024)
                sound.sample_rate, sound.pts = 24_000, index * 1024
                sound.planes[0].update(bytes(sound.planes[0].buffer_size))
                container.mux(audio.encode(sound))
            container.mux(video.encode(None))
            container.mux(audio.encode(None))

        async def test(pool: WorkerPool) -> None:
            info = await probe(pool, file.fileno())
            assert (info.codec, info.channels) == ("aac", 1)
            assert info.duration == pytest.approx(40 * 1024 / 24_000, rel=0.05)

        warm_pool(test)
