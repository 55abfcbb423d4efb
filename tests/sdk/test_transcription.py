"""Transcription and translation: every kind of file goes out, every format comes back."""

from __future__ import annotations

import asyncio
import copy
import gzip
import hashlib
import io
import os
import tempfile
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from proxy import Transcription, atranscription, atranslation, transcription, translation
from proxy.errors import BadRequest, FileTooLarge, ModelNotFound, UpstreamInvalid, UpstreamUnavailable
from proxy.sdk.files import opened
from tests.fakes import answers
from tests.fakes.answers import SRT, TEXT, VTT
from tests.fakes.samples import wav
from tests.fakes.upstream import KEY, Upstream, stream

WAV = wav()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sent(upstream: Upstream) -> tuple[str | None, str | None, str]:
    """Name, content type and digest of the file as it arrived."""
    part = upstream.last.file
    return part.filename, part.content_type, part.sha256


# -- what comes back ---------------------------------------------------------------------------------------------------


def test_json_is_an_object_with_text_and_usage(openai: Upstream) -> None:
    found = transcription(model="whisper-1", file=WAV)
    assert isinstance(found, Transcription)
    assert found.text == TEXT
    assert found.usage is not None
    assert found.usage.seconds == 2
    assert found.model_dump() == {"text": TEXT, "usage": {"type": "duration", "seconds": 2}}
    assert repr(found) == f"Transcription(text={TEXT!r}, usage=Document(type='duration', seconds=2))"


def test_verbose_json_is_nested(openai: Upstream) -> None:
    found = transcription(
        "openai/whisper-1", WAV, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert found.language == "english"
    assert found.segments[0].end == 1.7
    assert [word.word for word in found.words] == ["The", "quick", "brown"]
    assert found.model_dump()["words"][0] == {"word": "The", "start": 0.0, "end": 0.4}
    assert copy.deepcopy(found) == found
    assert not hasattr(found, "speakers")


def test_diarized_json(openai: Upstream) -> None:
    found = transcription("gpt-4o-transcribe-diarize", WAV, response_format="diarized_json", chunking_strategy="auto")
    assert found.segments[0].speaker == "A"
    assert openai.last.fields["chunking_strategy"] == ["auto"]


@pytest.mark.parametrize(("wanted", "text"), [("text", TEXT + "\n"), ("srt", SRT), ("vtt", VTT)])
def test_plain_formats_are_strings(openai: Upstream, wanted: Any, text: str) -> None:
    assert transcription("whisper-1", WAV, response_format=wanted) == text
    assert asyncio.run(atranslation("whisper-1", WAV, response_format=wanted)) == text


def test_translation_has_no_usage(openai: Upstream) -> None:
    found = translation("whisper-1", WAV, prompt="names: Ada", temperature=0.2)
    assert (found.text, found.usage) == (TEXT, None)
    assert openai.last.path == "/v1/audio/translations"
    assert openai.last.fields == {
        "model": ["whisper-1"],
        "response_format": ["json"],
        "prompt": ["names: Ada"],
        "temperature": ["0.2"],
    }


def test_every_option_reaches_the_vendor_as_openai_s_sdk_sends_it(openai: Upstream) -> None:
    asyncio.run(
        atranscription(
            "gpt-4o-transcribe",
            WAV,
            language="en",
            languages=["en", "de"],
            keywords=("Ada",),
            prompt="Grüße",
            temperature=0,
            include=["logprobs"],
            timestamp_granularities=["segment"],
            chunking_strategy={"type": "server_vad", "threshold": 0.5},
            known_speaker_names=["Ada"],
            known_speaker_references=["data:audio/wav;base64,AAAA"],
            optional_params={"vad_filter": True, "hotwords": ["x", "y"]},
        )
    )
    assert openai.last.fields == {
        "model": ["gpt-4o-transcribe"],
        "response_format": ["json"],
        "language": ["en"],
        "languages[]": ["en", "de"],
        "keywords[]": ["Ada"],
        "prompt": ["Grüße"],
        "temperature": ["0.0"],
        "include[]": ["logprobs"],
        "timestamp_granularities[]": ["segment"],
        "chunking_strategy[type]": ["server_vad"],
        "chunking_strategy[threshold]": ["0.5"],
        "known_speaker_names[]": ["Ada"],
        "known_speaker_references[]": ["data:audio/wav;base64,AAAA"],
        "vad_filter": ["true"],
        "hotwords[]": ["x", "y"],
    }


def test_streaming_is_refused_and_the_http_api_named(openai: Upstream) -> None:
    options: Any = {"stream": True}
    with pytest.raises(BadRequest, match="POST /v1/audio/transcriptions") as caught:
        transcription("whisper-1", WAV, **options)
    assert caught.value.param == "stream"
    with pytest.raises(BadRequest, match="POST /v1/audio/translations"):
        asyncio.run(atranslation("whisper-1", WAV, optional_params=options))
    assert openai.requests == []
    transcription("whisper-1", WAV, optional_params={"stream": False})
    assert "stream" not in openai.last.fields


def test_an_answer_that_is_no_transcript_is_an_error(openai: Upstream) -> None:
    openai.behave("whisper-1", answer=stream(b'{"nothing": 1}', content_type="application/json"))
    with pytest.raises(UpstreamInvalid):
        transcription("whisper-1", WAV, max_retries=0)
    openai.behave("whisper-1", answer=stream(*answers.transcription_events("x", {}), content_type="text/event-stream"))
    with pytest.raises(UpstreamInvalid, match="events"):
        transcription("whisper-1", WAV, max_retries=0)


def test_sync_works_inside_a_running_loop(openai: Upstream) -> None:
    async def main() -> str:
        return transcription("whisper-1", WAV).text

    assert asyncio.run(main()) == TEXT


# -- what goes out -----------------------------------------------------------------------------------------------------

CONTENT = b"RIFF\x10\x00\x00\x00WAVEfmt text"


def as_pathlike(path: Path) -> Any:
    return path


def as_str(path: Path) -> Any:
    return str(path)


def as_open_file(path: Path) -> Any:
    return path.open("rb")


def as_unbuffered_file(path: Path) -> Any:
    return path.open("rb", buffering=0)


def as_bytesio_with_a_name(path: Path) -> Any:
    file = io.BytesIO(path.read_bytes())
    file.name = str(path)
    return file


def as_pair(path: Path) -> Any:
    return ("sound.wav", path.read_bytes())


def as_pair_of_path(path: Path) -> Any:
    return ("sound.wav", path)


def as_triple(path: Path) -> Any:
    return ("sound.wav", path.open("rb"), "audio/wav")


@pytest.mark.parametrize(
    "given",
    [
        as_pathlike, as_str, as_open_file, as_unbuffered_file, as_bytesio_with_a_name, as_pair, as_pair_of_path,
        as_triple,
    ],
)  # fmt: skip
def test_files_with_a_name(openai: Upstream, tmp_path: Path, given: Callable[[Path], Any]) -> None:
    path = tmp_path / "sound.wav"
    path.write_bytes(CONTENT)
    file = given(path)
    transcription("whisper-1", file)
    assert sent(openai) == ("sound.wav", "audio/wav", digest(CONTENT))
    opened = file[1] if isinstance(file, tuple) else file
    if isinstance(opened, io.IOBase):
        assert not opened.closed
        opened.close()


def as_spooled(content: bytes) -> IO[bytes]:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    file.write(content)
    return file


def as_temporary(content: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(content)  # neither flushed nor rewound
    return file


def as_gzip(content: bytes) -> Any:
    return gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(content)))


def as_pipe(content: bytes) -> IO[bytes]:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return os.fdopen(reading, "rb")


@pytest.mark.parametrize(
    "given", [bytes, bytearray, memoryview, io.BytesIO, as_spooled, as_temporary, as_gzip, as_pipe]
)
def test_files_without_a_name_get_one_by_their_bytes(openai: Upstream, given: Callable[[bytes], Any]) -> None:
    file = given(CONTENT)
    transcription("whisper-1", file)
    assert sent(openai) == ("audio.wav", "audio/wav", digest(CONTENT))
    if isinstance(file, io.IOBase | tempfile.SpooledTemporaryFile) or given is as_temporary:
        assert not file.closed
        file.close()


@pytest.mark.parametrize(
    ("content", "name", "content_type"),
    [
        (b"ID3\x03\x00", "audio.mp3", "audio/mpeg"),
        (b"OggS" + bytes(24) + b"OpusHead", "audio.ogg", "audio/ogg"),
        (b"\x00\x00\x00\x20ftypM4A ", "audio.m4a", "audio/mp4"),
        (b"\x1a\x45\xdf\xa3", "audio.webm", "audio/webm"),
        (b'{"not": "audio"}', "upload", "application/octet-stream"),
    ],
)
def test_names_and_types_by_content(openai: Upstream, content: bytes, name: str, content_type: str) -> None:
    transcription("whisper-1", content)
    assert sent(openai)[:2] == (name, content_type)


@pytest.mark.parametrize("further", [(None,), ("",), ("audio/wav",), ("audio/mpeg", {"x-a": "b"}), (None, {})])
def test_tuples_as_the_openai_package_takes_them(openai: Upstream, further: tuple[Any, ...]) -> None:
    transcription("whisper-1", ("a.mp3", CONTENT, *further))
    assert sent(openai) == ("a.wav", "audio/wav", digest(CONTENT))


def test_a_name_cannot_break_the_form(openai: Upstream) -> None:
    transcription("whisper-1", ('../a"\r\nX: y\udcff.mp3', CONTENT))
    assert openai.last.complete
    assert openai.last.file.disposition == 'form-data; name="file"; filename="a%22X: y?.wav"'
    with pytest.raises(BadRequest, match="content type") as caught:
        transcription("whisper-1", ("a.mp3", CONTENT, "audio/wav\r\nX: y"))
    assert caught.value.param == "file"


def test_a_file_is_sent_from_its_beginning_and_stays_where_it_was(openai: Upstream, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(CONTENT)
    with (tmp_path / "a.wav").open("rb") as file:
        file.seek(5)
        for _ in range(2):
            transcription("whisper-1", file)
            assert openai.last.file.sha256 == digest(CONTENT)
        assert file.tell() == 5


def test_a_file_on_disk_is_never_in_memory_as_a_whole(upstream: Upstream, tmp_path: Path) -> None:
    size = 48 << 20
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.write(CONTENT)
        file.truncate(size)
    tracemalloc.start()
    try:
        transcription("any", path, api_base=upstream.url, api_key=KEY)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert upstream.last.file.size == size
    assert peak < size / 3


def test_a_large_pipe_goes_through_a_temporary_file(upstream: Upstream, tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    pipe = tmp_path / "pipe.mp3"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    transcription("any", pipe, api_base=upstream.url, api_key=KEY)
    writer.join(10)
    assert sent(upstream) == ("pipe.mp3", "audio/mpeg", digest(content))


def test_what_is_sent_again_is_sent_whole(openai: Upstream, tmp_path: Path) -> None:
    content = os.urandom((2 << 20) + 12345)
    (tmp_path / "a.mp3").write_bytes(content)
    failure = answers.error(500, "Not now.", headers={"retry-after-ms": "5"})
    openai.behave("whisper-1", answer=failure)
    with as_spooled(content) as spooled:
        for file in (tmp_path / "a.mp3", spooled, content):
            with pytest.raises(UpstreamUnavailable):
                transcription("whisper-1", file, max_retries=1)
    assert [request.file.sha256 for request in openai.requests] == [digest(content)] * 6


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (io.StringIO("text"), "mode 'rb'"),
        (io.BytesIO(b""), "empty"),
        (b"", "empty"),
        (7, "not int"),
        (None, "not NoneType"),
        (("name",), r"\(name, file"),
        (("a", b"b", "audio/wav", {}, None), r"\(name, file"),
        ((1, b"b"), r"\(name, file"),
    ],
)
def test_what_is_no_file_is_refused(openai: Upstream, file: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=message) as caught:
        transcription("whisper-1", file)
    assert caught.value.param == "file"
    assert openai.requests == []


def test_open_files_that_cannot_be_read_are_refused(openai: Upstream, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(CONTENT)
    with path.open() as text, pytest.raises(BadRequest, match="mode 'rb'"):
        transcription("whisper-1", text)  # type: ignore[call-overload]
    with path.open("ab") as writing, pytest.raises(BadRequest, match="not open for reading"):
        transcription("whisper-1", writing)
    with path.open("rb") as closed:
        pass
    with pytest.raises(BadRequest, match="closed"):
        transcription("whisper-1", closed)
    with pytest.raises(FileNotFoundError):
        transcription("whisper-1", tmp_path / "missing.wav")
    with pytest.raises(IsADirectoryError):
        transcription("whisper-1", str(tmp_path))


class Asynchronous:
    async def read(self, size: int = -1) -> bytes:
        return b""


class Wordy:
    def read(self, size: int = -1) -> str:
        return "text"


def test_look_alikes_are_refused(openai: Upstream) -> None:
    with pytest.raises(BadRequest, match="asynchronously"):
        transcription("whisper-1", Asynchronous())  # type: ignore[call-overload]
    with pytest.raises(BadRequest, match="does not return bytes"):
        transcription("whisper-1", Wordy())  # type: ignore[call-overload]


def test_a_file_that_shrinks_while_it_is_sent_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(8 << 20))

    async def main() -> None:
        async with opened(path) as upload:
            chunks = upload.chunks()
            await anext(chunks)
            os.truncate(path, 1 << 20)
            with pytest.raises(BadRequest, match="shorter"):
                await anext(chunks)

    asyncio.run(main())


def test_the_descriptor_is_our_own_and_closed_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(CONTENT)

    async def main(file: IO[bytes]) -> int:
        async with opened(file) as upload:
            file.close()
            assert b"".join([chunk async for chunk in upload.chunks()]) == CONTENT
            descriptor = upload.fileno()
        assert descriptor is not None
        return descriptor

    with path.open("rb") as file:
        descriptor = asyncio.run(main(file))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


# -- what is checked before anything is sent ---------------------------------------------------------------------------


def test_openai_s_own_limits_hold_for_its_own_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.truncate((25 << 20) + 1)
    with pytest.raises(FileTooLarge, match="Max file size: 25 MB"):
        transcription("whisper-1", path)
    with pytest.raises(BadRequest, match="verbose_json"):
        transcription("gpt-4o-transcribe", WAV, response_format="verbose_json")
    with pytest.raises(BadRequest, match="does not support audio_translation"):
        translation("gpt-4o-transcribe", WAV)
    with pytest.raises(BadRequest, match="temperature 3"):
        transcription("whisper-1", WAV, temperature=3)
    with pytest.raises(ModelNotFound, match="no vendor 'speechmatics'"):
        transcription("speechmatics/enhanced", WAV)


def test_arguments_that_no_form_can_carry(openai: Upstream) -> None:
    given: Any = {"keywords": [object()]}
    with pytest.raises(BadRequest) as caught:
        transcription("whisper-1", WAV, **given)
    assert caught.value.param == "keywords[]"


def test_half_a_surrogate_pair_is_replaced(openai: Upstream) -> None:
    transcription("whisper-1", WAV, prompt="Cut \ud83d")
    assert openai.last.fields["prompt"] == ["Cut \ufffd"]


def test_values_as_callers_write_them(openai: Upstream) -> None:
    given: Any = {"timestamp_granularities": "word,segment", "temperature": "0,5", "language": "pt-BR"}
    transcription("whisper-1", WAV, response_format="verbose_json", **given)
    assert openai.last.fields["timestamp_granularities[]"] == ["word", "segment"]
    assert (openai.last.fields["temperature"], openai.last.fields["language"]) == (["0.5"], ["pt"])


def test_a_language_that_is_none_is_refused_before_the_call(openai: Upstream) -> None:
    with pytest.raises(BadRequest) as caught:
        transcription("whisper-1", WAV, language="Klingon")
    assert caught.value.param == "language"
    assert openai.requests == []
