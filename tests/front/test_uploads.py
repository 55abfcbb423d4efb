"""Every client layout of an upload on raw sockets, the limits, and what they cost."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import MASTER_KEY, Server, group, launch, standard_config
from tests.fakes.samples import wav
from tests.fakes.upstream import Upstream
from tests.front.shape import asked, error_of
from tests.front.wire import AUTHORIZATION, FORM, Reply, Wire, file_part, form, text_part

PATH = "/v1/audio/transcriptions"
WAV = wav()
MIB = 1 << 20
BLOCK = hashlib.shake_128(b"block").digest(64 * 1024)


@pytest.fixture
def wire(proxy: Server) -> Iterator[Wire]:
    with Wire(proxy.port) as connection:
        yield connection


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spool")


@pytest.fixture(scope="module")
def spooling(fake: Upstream, spool: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a spool folder of its own."""
    server = launch(standard_config(fake.url, spool_dir=str(spool)), tmp_path_factory.mktemp("spooling"))
    yield server
    assert server.stop() == 0, server.log()


def arrived(upstream: Upstream, reply: Reply, content: bytes = WAV) -> None:
    assert reply.status_code == 200, reply.text
    assert upstream.last.complete
    assert upstream.last.broken is None
    assert (upstream.last.file.size, upstream.last.file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


# -- layouts -----------------------------------------------------------------------------------------------------------


def test_fields_first_file_last(upstream: Upstream, wire: Wire) -> None:
    arrived(upstream, wire.post(PATH, form(text_part("model", "whisper"), file_part(WAV)), FORM))


def test_file_first(upstream: Upstream, wire: Wire) -> None:
    body = form(file_part(WAV), text_part("model", "whisper"), text_part("language", "en"))
    arrived(upstream, wire.post(PATH, body, FORM))
    assert asked(upstream.last.fields) == {"model": ["whisper-1"], "language": ["en"]}


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
def test_file_first_and_chunked_without_a_length(upstream: Upstream, wire: Wire, size: int) -> None:
    """Node 6.49 and 7.57; the chunks cut boundaries and header lines anywhere."""
    content = WAV[:300] if size == 1 else WAV
    body = form(file_part(content, content_type="application/octet-stream"), text_part("model", "whisper"))
    reply = wire.post_chunked(PATH, [body[start : start + size] for start in range(0, len(body), size)], FORM)
    arrived(upstream, reply, content)


def test_a_file_of_several_mib_first_and_chunked(upstream: Upstream, wire: Wire) -> None:
    content = BLOCK * 48
    body = form(file_part(content), text_part("model", "whisper"))
    reply = wire.post_chunked(PATH, [body[start : start + 65_536] for start in range(0, len(body), 65_536)], FORM)
    arrived(upstream, reply, content)


def test_expect_100_continue_on_a_socket(upstream: Upstream, wire: Wire) -> None:
    body = form(text_part("model", "whisper"), file_part(WAV))
    wire.head("POST", PATH, {**FORM, "Content-Length": str(len(body)), "Expect": "100-continue"})
    assert wire.socket.recv(len(b"HTTP/1.1 100 Continue\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    wire.send(body)
    arrived(upstream, wire.reply())


def test_expect_100_continue_with_curl(upstream: Upstream, proxy: Server, tmp_path: Path) -> None:
    content = BLOCK * 32
    path = tmp_path / "größe.wav"
    path.write_bytes(content)
    said = curl(proxy, "-F", f"file=@{path}", "-F", "model=whisper", "-H", "Expect: 100-continue")
    assert said.startswith('{"text":'), said
    assert upstream.last.file.sha256 == hashlib.sha256(content).hexdigest()
    assert upstream.last.file.filename == "größe.wav"


def test_dotnets_quoting(upstream: Upstream, wire: Wire) -> None:
    """A quoted boundary, unquoted names, ``filename*=`` next to ``filename=``, the file first and without a type."""
    body = form(
        ("Content-Disposition: form-data; name=file; filename=speech.wav; filename*=utf-8''speech.wav", WAV),
        ("Content-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=model", b"whisper"),
        boundary="8a2c-4e=f1",
    )
    reply = wire.post(PATH, body, {"Content-Type": 'multipart/form-data; boundary="8a2c-4e=f1"'})
    arrived(upstream, reply)
    assert upstream.last.file.filename == "speech.wav"
    assert asked(upstream.last.fields) == {"model": ["whisper-1"]}


def test_filename_star_alone(upstream: Upstream, wire: Wire) -> None:
    disposition = "Content-Disposition: form-data; name=file; filename*=UTF-8''gr%C3%B6%C3%9Fe.wav"
    reply = wire.post(PATH, form((disposition, WAV), text_part("model", "whisper")), FORM)
    arrived(upstream, reply)
    assert upstream.last.file.filename == "größe.wav"


@pytest.mark.parametrize("name", ["größe.wav", "音声.wav", "a b;c=d.wav", "👋.wav"])
def test_non_ascii_names_as_raw_utf_8(upstream: Upstream, wire: Wire, name: str) -> None:
    arrived(upstream, wire.post(PATH, form(file_part(WAV, name), text_part("model", "whisper")), FORM))
    assert upstream.last.file.filename == name


@pytest.mark.parametrize(
    "head",
    [
        "Content-Disposition: form-data; name=file; filename*=UTF-8''a%0D%0AX-Evil%3A%201.wav",
        'Content-Disposition: form-data; name="file"; filename="a%0D%0AX-Evil: 1.wav"',
        'Content-Disposition: form-data; name="file"; filename="a\\"; x=\\"y.wav"',
        'Content-Disposition: form-data; name="file"; filename="..\\..\\a.wav"',
    ],
    ids=["percent star", "percent", "escaped quotes", "path"],
)
def test_names_cannot_break_out_when_re_encoded(upstream: Upstream, wire: Wire, head: str) -> None:
    reply = wire.post(PATH, form((head, WAV), text_part("model", "whisper")), FORM)
    arrived(upstream, reply)
    assert "x-evil" not in upstream.last.file.headers
    assert set(upstream.last.file.headers) <= {"content-disposition", "content-type"}
    name = upstream.last.file.filename or ""
    assert "\r" not in name
    assert "\n" not in name


def test_a_field_value_that_looks_like_a_boundary_is_only_text(upstream: Upstream, wire: Wire) -> None:
    prompt = "--b0undary\r\n--other\r\nContent-Disposition: form-data"
    body = form(text_part("model", "whisper"), text_part("prompt", prompt), file_part(WAV), boundary="other-b")
    arrived(upstream, wire.post(PATH, body, {"Content-Type": "multipart/form-data; boundary=other-b"}))
    assert upstream.last.fields["prompt"] == [prompt]


@pytest.mark.parametrize("content_type", ["application/octet-stream", "text/plain", "audio/x-wav", None])
def test_the_parts_content_type_says_nothing(upstream: Upstream, wire: Wire, content_type: str | None) -> None:
    head, content = file_part(WAV, content_type=content_type or "x")
    head = head if content_type else head.split("\r\n")[0]
    arrived(upstream, wire.post(PATH, form((head, content), text_part("model", "whisper")), FORM))


def test_an_epilogue_is_passed_over(upstream: Upstream, wire: Wire) -> None:
    body = form(text_part("model", "whisper"), file_part(WAV)) + b"and an epilogue"
    arrived(upstream, wire.post(PATH, body, FORM))


def test_two_uploads_on_one_connection(upstream: Upstream, wire: Wire) -> None:
    for _ in range(2):
        arrived(upstream, wire.post(PATH, form(text_part("model", "whisper"), file_part(WAV)), FORM))


# -- limits ------------------------------------------------------------------------------------------------------------

_EXACT = "File size is too large. Please check your file size. Passed file size: {} MB. Max file size: 0.0001 MB"
_MORE = re.compile(
    r"File size is too large\. Please check your file size\. "
    r"Passed file size: more than [0-9.e-]+ MB\. Max file size: [0-9.e-]+ MB\Z"
)
_EITHER = re.compile(r"File size is too large\. .* Max file size: 0\.0001 MB\Z")
_LARGE = BLOCK * 12


def too_large(reply: Any, message: str | re.Pattern[str]) -> None:
    error = error_of(reply, 413, 413)
    assert (error["type"], error["param"]) == ("bad_request", "file")
    if isinstance(message, str):
        assert error["message"] == message
    else:
        assert message.match(error["message"]), error["message"]


def test_the_seeds_own_body_byte_for_byte(upstream: Upstream, wire: Wire) -> None:
    content = (BLOCK * 12)[:775_192]
    reply = wire.post(PATH, form(text_part("model", "tiny"), file_part(content)), FORM)
    message = _EXACT.format("0.7392807006835938")
    expected = f'{{"error":{{"message":"{message}","type":"bad_request","param":"file","code":413}}}}'
    assert (reply.status_code, reply.text) == (413, expected)
    assert not upstream.requests


@pytest.mark.parametrize("order", ["file last", "file first"])
@pytest.mark.parametrize("size", [105, 5_000, len(_LARGE)])
def test_413_whatever_the_part_order(upstream: Upstream, wire: Wire, order: str, size: int) -> None:
    parts = [text_part("model", "tiny"), file_part(_LARGE[:size])]
    body = form(*(parts if order == "file last" else parts[::-1]))
    too_large(wire.post(PATH, body, FORM), _EXACT.format(size / MIB))
    assert not upstream.requests


@pytest.mark.parametrize("order", ["file last", "file first"])
def test_a_file_of_just_the_limit_passes(upstream: Upstream, wire: Wire, order: str) -> None:
    parts = [text_part("model", "tiny"), file_part(WAV[:104])]
    reply = wire.post(PATH, form(*(parts if order == "file last" else parts[::-1])), FORM)
    arrived(upstream, reply, WAV[:104])


def test_more_than_x_mb_where_the_length_was_not_declared(upstream: Upstream, wire: Wire) -> None:
    body = form(text_part("model", "tiny"), file_part(_LARGE))
    pieces = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]
    too_large(wire.post_chunked(PATH, pieces, FORM), _MORE)
    assert not upstream.requests


def test_413_arrives_while_an_undeclared_body_is_still_being_sent(upstream: Upstream, wire: Wire) -> None:
    """The limit is enforced while reading: the answer does not wait for an end that may never come."""
    wire.head("POST", PATH, {**FORM, "Transfer-Encoding": "chunked"})
    start = form(text_part("model", "tiny"), file_part(BLOCK)).removesuffix(b"\r\n--b0undary--\r\n")
    wire.send(b"%x\r\n%b\r\n" % (len(start), start))
    too_large(wire.reply(), _MORE)


def test_file_first_the_largest_limit_among_the_models_counts(upstream: Upstream, serve: Callable[..., Server]) -> None:
    config = {
        "model_list": [
            group("small", "openai/whisper-1", upstream.url, "audio_transcription", max_file_size_mb=0.0001),
            group("medium", "openai/whisper-1", upstream.url, "audio_transcription", max_file_size_mb=0.1),
            group("medium", "openai/whisper-1", upstream.url, "audio_transcription", max_file_size_mb=0.25),
        ],
        "general_settings": {"master_key": MASTER_KEY},
    }
    server = serve(config)

    def sent(model: str, size: int, *, chunked: bool) -> Reply:
        body = form(file_part(_LARGE[:size]), text_part("model", model))
        with Wire(server.port) as wire:
            return wire.post_chunked(PATH, [body], FORM) if chunked else wire.post(PATH, body, FORM)

    assert sent("medium", 200_000, chunked=False).status_code == 200  # the group's limit is its largest
    too_large(
        sent("small", 200_000, chunked=True), re.compile(r"File size is too large\..* Max file size: 0\.0001 MB\Z")
    )
    too_large(sent("medium", 600_000, chunked=True), re.compile(r".*more than [0-9.]+ MB\. Max file size: 0\.25 MB\Z"))
    too_large(
        sent("medium", 600_000, chunked=False), re.compile(rf".*: {600_000 / MIB} MB\. Max file size: 0\.25 MB\Z")
    )


def test_the_seeds_whisper_entry_refuses_with_its_limit(upstream: Upstream, serve: Callable[..., Server]) -> None:
    config = f"""
model_list:
  - model_name: whisper
    litellm_params:
      model: whisper-1
      api_key: sk-upstream-for-the-seed
      api_base: {upstream.url}
      max_file_size_mb: 0.00001
    model_info: {{mode: audio_transcription}}
general_settings: {{master_key: {MASTER_KEY}}}
"""
    with Wire(serve(config).port) as wire:
        reply = wire.post(PATH, form(text_part("model", "whisper"), file_part(WAV)), FORM)
    error = error_of(reply, 413, 413)
    assert error["message"].endswith(("Max file size: 1e-05 MB", "Max file size: 0.00001 MB"))


def test_openais_own_limit_of_25_mb(wire: Wire) -> None:
    content = BLOCK * 400 + b"x"
    error = error_of(wire.post(PATH, form(text_part("model", "openai-whisper"), file_part(content)), FORM), 413, 413)
    assert re.search(r"Passed file size: 25\.0+95\d* MB\. Max file size: 25(\.0)? MB\Z", error["message"]), error


def test_413_reaches_curl(upstream: Upstream, proxy: Server, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(BLOCK * 80)
    for expect in ("Expect: 100-continue", "Expect:"):
        said = curl(proxy, "-F", f"file=@{path}", "-F", "model=tiny", "-H", expect, "-w", " %{http_code}")
        assert said.endswith('"code":413}} 413'), said


def curl(proxy: Server, *args: str) -> str:
    command = ["curl", "-sS", proxy.url + PATH, "-H", f"Authorization: {AUTHORIZATION}", *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("size", [5_000, 8 * MIB])
def test_413_reaches_the_sdk(upstream: Upstream, sdk: openai.OpenAI, size: int) -> None:
    content = (BLOCK * 128)[:size]
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.audio.transcriptions.create(file=content, model="tiny")
    assert caught.value.status_code == 413
    assert caught.value.code == "413"  # the package makes text of it
    assert "File size is too large" in str(caught.value)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("order", ["file last", "file first"])
def test_413_reaches_a_client_that_reads_only_after_it_has_written_everything(
    upstream: Upstream, wire: Wire, order: str, declared: bool
) -> None:
    content = BLOCK * 160
    parts = [text_part("model", "tiny"), file_part(content)]
    body = form(*(parts if order == "file last" else parts[::-1]))
    if declared:
        too_large(wire.post(PATH, body, FORM), _EXACT.format(len(content) / MIB))
    else:
        pieces = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]
        # File first, the whole file has passed before the model is known: then its size is known, too.
        too_large(wire.post_chunked(PATH, pieces, FORM), _MORE if order == "file last" else _EITHER)


def test_max_request_size_mb_bounds_every_body(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url, max_request_size_mb=0.5))
    body = form(text_part("model", "whisper"), file_part(_LARGE))
    with Wire(server.port) as wire:
        error_of(wire.post(PATH, body, FORM), 413)
    with Wire(server.port) as wire:
        pieces = [body[start : start + 65_536] for start in range(0, len(body), 65_536)]
        error_of(wire.post_chunked(PATH, pieces, FORM), 413)
    with Wire(server.port) as wire:
        padded = b'{"model":"selfhosted","input":"%b","voice":"alloy"}' % (b"x" * 600_000)
        error_of(wire.post("/v1/audio/speech", padded, {"Content-Type": "application/json"}), 413)
    with Wire(server.port) as wire:
        arrived(upstream, wire.post(PATH, form(text_part("model", "whisper"), file_part(WAV)), FORM))


def test_a_refusal_reaches_a_client_whose_body_is_many_times_the_bound(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    server = serve(standard_config(upstream.url, max_request_size_mb=0.5))
    with Wire(server.port) as wire:
        error_of(wire.post(PATH, form(text_part("model", "whisper"), file_part(BLOCK * 160)), FORM), 413)


def test_a_declared_length_over_the_bound_is_refused_at_once(upstream: Upstream, wire: Wire) -> None:
    wire.head("POST", PATH, {**FORM, "Content-Length": str(600 * MIB)})
    wire.send(form(text_part("model", "whisper"), file_part(b""))[:100])
    error_of(wire.reply(), 413)


@pytest.mark.parametrize("key", [AUTHORIZATION, "Bearer sk-wrong"])
def test_after_a_refusal_a_body_without_end_is_drained_within_a_bound(wire: Wire, key: str) -> None:
    wire.head("POST", PATH, {**FORM, "Transfer-Encoding": "chunked", "Authorization": key})
    start = form(text_part("model", "tiny"), file_part(BLOCK)).removesuffix(b"\r\n--b0undary--\r\n")
    wire.send(b"%x\r\n%b\r\n" % (len(start), start))
    chunk = b"10000\r\n" + BLOCK + b"\r\n"
    with pytest.raises((BrokenPipeError, ConnectionResetError)):  # noqa: PT012
        for _ in range(16 * 1024):  # 1 GiB
            wire.send(chunk)


# -- cost --------------------------------------------------------------------------------------------------------------


def upload(port: int, mib: int) -> Reply:
    """Streamed from one small block, so that this process does not grow either."""
    opened, closed = form(text_part("model", "whisper"), file_part(b"\0")).split(b"\0")
    with Wire(port, timeout=60) as wire:
        wire.head("POST", PATH, {**FORM, "Content-Length": str(len(opened) + mib * MIB + len(closed))})
        wire.send(opened, *[BLOCK] * (mib * 16), closed)
        return wire.reply()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_file_and_no_file_is_left(
    upstream: Upstream, spooling: Server, spool: Path
) -> None:
    assert upload(spooling.port, 5).status_code == 200
    after_small = spooling.peak_memory()
    assert upload(spooling.port, 100).status_code == 200
    assert upstream.last.file.size == 100 * MIB
    assert spooling.peak_memory() < after_small * 1.25
    assert os.listdir(spool) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_spool_is_an_unlinked_file_while_the_upload_runs(upstream: Upstream, spooling: Server, spool: Path) -> None:
    opened, closed = form(text_part("model", "whisper"), file_part(b"\0")).split(b"\0")
    with Wire(spooling.port) as wire:
        wire.head("POST", PATH, {**FORM, "Content-Length": str(len(opened) + 8 * MIB + len(closed))})
        wire.send(opened, *[BLOCK] * 127)
        _until(lambda: _open_spools(spooling, spool), "a spool file is open")
        assert [stat.st_mode & 0o777 for stat in _open_spools(spooling, spool)] == [0o600]
        assert [stat.st_nlink for stat in _open_spools(spooling, spool)] == [0]
        assert os.listdir(spool) == []
        wire.send(BLOCK, closed)
        assert wire.reply().status_code == 200
    _until(lambda: not _open_spools(spooling, spool), "the spool file is closed")


def _open_spools(server: Server, folder: Path) -> list[os.stat_result]:
    links = Path(f"/proc/{server.process.pid}/fd").iterdir()
    found = []
    for link in links:
        try:
            if os.readlink(link).startswith(str(folder)):
                found.append(link.stat())
        except FileNotFoundError:
            continue
    return found


def _until(condition: Callable[[], Any], what: str) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit, f"waited in vain: {what}"
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_client_that_leaves_in_the_middle_leaves_no_file(upstream: Upstream, spooling: Server, spool: Path) -> None:
    opened, _ = form(text_part("model", "whisper"), file_part(b"\0")).split(b"\0")
    with Wire(spooling.port) as wire:
        wire.head("POST", PATH, {**FORM, "Content-Length": str(9 * MIB)})
        wire.send(opened, *[BLOCK] * 128)
        _until(lambda: _open_spools(spooling, spool), "a spool file is open")
    _until(lambda: not _open_spools(spooling, spool), "the spool file is closed")
    assert os.listdir(spool) == []
    assert not upstream.requests


def test_the_quota_over_all_spools_answers_503(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url, spool_limit_mb=6))
    opened, closed = form(text_part("model", "whisper"), file_part(b"\0")).split(b"\0")
    head = {**FORM, "Content-Length": str(len(opened) + 4 * MIB + len(closed))}
    with Wire(server.port) as first, Wire(server.port) as second:
        first.head("POST", PATH, head)
        first.send(opened, *[BLOCK] * 64)
        time.sleep(0.2)
        second.head("POST", PATH, head)
        second.send(opened, *[BLOCK] * 64, closed)
        error_of(second.reply(), 503, "server_is_overloaded")
        first.send(closed)
        assert first.reply().status_code == 200
    assert upload(server.port, 4).status_code == 200  # the room is free again


def test_a_client_that_stops_sending_is_cut_and_a_slow_one_is_not(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    server = serve(standard_config(upstream.url, client_stall_timeout=0.4))
    body = form(text_part("model", "whisper"), file_part(WAV))
    with Wire(server.port) as wire:
        wire.head("POST", PATH, {**FORM, "Content-Length": str(len(body))})
        wire.send(body[:500])
        error_of(wire.reply(), 408)
        assert wire.closed()
    with Wire(server.port) as wire:  # slow is not stalled
        wire.head("POST", PATH, {**FORM, "Content-Length": str(len(body))})
        for start in range(0, len(body), 2000):
            wire.send(body[start : start + 2000])
            time.sleep(0.15)
        arrived(upstream, wire.reply())
    with Wire(server.port) as wire:
        wire.head("POST", "/v1/audio/speech", {"Content-Type": "application/json", "Content-Length": "100"})
        wire.send(b'{"model":')
        error_of(wire.reply(), 408)


# -- broken bodies -----------------------------------------------------------------------------------------------------

_WHOLE = form(text_part("model", "whisper"), file_part(WAV[:200]))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b"", "multipart/form-data; boundary=b0undary", id="empty"),
        pytest.param(_WHOLE[:-20], "multipart/form-data; boundary=b0undary", id="no closing boundary"),
        pytest.param(_WHOLE[:60], "multipart/form-data; boundary=b0undary", id="cut in a header"),
        pytest.param(_WHOLE, "multipart/form-data; boundary=another", id="another boundary"),
        pytest.param(_WHOLE, "multipart/form-data", id="no boundary"),
        pytest.param(_WHOLE, "multipart/form-data; boundary=", id="empty boundary"),
        pytest.param(_WHOLE, "multipart/form-data; boundary=" + "b" * 300, id="endless boundary"),
        pytest.param(_WHOLE.replace(b'name="model"', b'nom="model"'), FORM["Content-Type"], id="no name"),
        pytest.param(_WHOLE.replace(b"Content-Disposition", b"X-Other"), FORM["Content-Type"], id="no disposition"),
        pytest.param(_WHOLE.replace(b": form", b"\0form"), FORM["Content-Type"], id="no colon"),
        pytest.param(b"hello", FORM["Content-Type"], id="not a form"),
    ],
)
def test_broken_multipart_is_400(upstream: Upstream, wire: Wire, body: bytes, content_type: str) -> None:
    error = error_of(wire.post(PATH, body, {"Content-Type": content_type}), 400)
    assert error["type"] == "invalid_request_error"
    assert not upstream.requests


def test_a_field_that_is_not_utf_8_is_400(upstream: Upstream, wire: Wire) -> None:
    body = form(
        text_part("model", "whisper"), ('Content-Disposition: form-data; name="prompt"', b"\xff\xfe"), file_part(WAV)
    )
    assert error_of(wire.post(PATH, body, FORM), 400)["param"] in {"prompt", None}


def test_field_count_is_bounded(upstream: Upstream, wire: Wire) -> None:
    many = [text_part(f"f{number}", "x") for number in range(5_000)]
    reply = wire.post(PATH, form(text_part("model", "selfhosted-stt"), *many, file_part(WAV)), FORM)
    error_of(reply)
    assert reply.status_code in {400, 413}


def test_field_bytes_are_bounded(upstream: Upstream, wire: Wire) -> None:
    long = text_part("prompt", "x" * (20 * MIB))
    reply = wire.post(PATH, form(text_part("model", "selfhosted-stt"), long, file_part(WAV)), FORM)
    error_of(reply)
    assert reply.status_code in {400, 413}


def test_header_sizes_within_the_body_are_bounded(upstream: Upstream, wire: Wire) -> None:
    head = 'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nX-Long: ' + "x" * MIB
    reply = wire.post(PATH, form(text_part("model", "whisper"), (head, WAV)), FORM)
    error_of(reply)
    assert reply.status_code in {400, 413}


def test_several_files_are_refused_or_one_goes_on(upstream: Upstream, wire: Wire) -> None:
    reply = wire.post(PATH, form(text_part("model", "whisper"), file_part(WAV), file_part(WAV[:100])), FORM)
    if reply.status_code == 200:
        assert upstream.last.file.size in {len(WAV), 100}
    else:
        assert error_of(reply, 400)["param"] == "file"


def test_a_refused_upload_leaves_a_healthy_server(upstream: Upstream, http: httpx.Client) -> None:
    for _ in range(3):
        error_of(http.post(PATH, data={"model": "tiny"}, files={"file": ("a.wav", _LARGE)}), 413)
    assert http.post(PATH, data={"model": "whisper"}, files={"file": ("a.wav", WAV)}).status_code == 200
