"""Bodies that bypass the parser end at their declared length, whatever segments they arrive in."""

from __future__ import annotations

import socket
import time
from hashlib import sha256

import pytest

from proxy.serving.reader import LARGE_BODY
from tests.conftest import Server
from tests.fakes.samples import SPEECH
from tests.fakes.upstream import Upstream
from tests.front.wire import FORM, JSON, Wire, file_part, form, text_part
from tests.serving.test_upgrade import BODY, JDK, LISTEN, SPEAK, request

#: Its content shows the position of each byte, and never looks like a boundary.
AUDIO = b"RIFF" + b"".join(position.to_bytes(4, "big") for position in range(100_000))


def upload(size: int) -> bytes:
    """A form of exactly that many bytes; if they are too few for the file, it is empty."""
    around = len(form(text_part("model", "whisper"), file_part(b"")))
    return form(text_part("model", "whisper"), file_part(AUDIO[: max(0, size - around)]))


def received(upstream: Upstream) -> list[int]:
    """Sizes of the files that arrived upstream intact."""
    files = [one.file for one in upstream.requests if one.path.endswith("/audio/transcriptions")]
    assert [file.sha256 for file in files] == [sha256(AUDIO[: file.size]).hexdigest() for file in files]
    return [file.size for file in files]


@pytest.mark.parametrize("headers", [{}, JDK], ids=["plain", "offering to upgrade"])
@pytest.mark.parametrize("segment", [999, LARGE_BODY, LARGE_BODY + 1, 1 << 20])
def test_the_next_request_follows_the_body(
    upstream: Upstream, proxy: Server, segment: int, headers: dict[str, str]
) -> None:
    sizes = [LARGE_BODY - 1, LARGE_BODY, LARGE_BODY + 1, 3 * LARGE_BODY + 5]
    parts = []
    for size in sizes:
        parts += [request({**FORM, **headers}, upload(size), LISTEN), request(JSON)]
    whole = b"".join(parts)
    with Wire(proxy.port) as wire:
        for start in range(0, len(whole), segment):
            wire.send(whole[start : start + segment])
        replies = [wire.reply() for _ in parts]
    assert [reply.status_code for reply in replies] == [200] * len(parts)
    assert [reply.content for reply in replies[1::2]] == [SPEECH["mp3"]] * len(sizes)
    around = len(upload(0))
    assert received(upstream) == [size - around for size in sizes]


@pytest.mark.parametrize("beyond", [0, 1, 50])
def test_a_body_that_ends_in_the_same_segment_as_the_next_head_begins(
    upstream: Upstream, proxy: Server, beyond: int
) -> None:
    first, second = request(FORM, upload(2 * LARGE_BODY), LISTEN), request(JSON)
    with Wire(proxy.port) as wire:
        wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wire.send(first[:-100])
        time.sleep(0.05)  # so that the two are not read as one
        wire.send(first[-100:] + second[:beyond])
        assert wire.reply().status_code == 200
        wire.send(second[beyond:])
        assert wire.reply().content == SPEECH["mp3"]


def test_a_request_refused_before_its_body_arrived_gets_its_response(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        wire.send(request({**FORM, "Authorization": "Bearer sk-wrong"}, upload(3 * LARGE_BODY), LISTEN))
        assert wire.reply().status_code == 401
        assert wire.closed()
    assert not upstream.requests


def test_a_body_that_is_shorter_than_declared(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        wire.send(request({**FORM, "Content-Length": str(4 * LARGE_BODY)}, upload(2 * LARGE_BODY), LISTEN))
    with Wire(proxy.port) as wire:
        assert wire.post(SPEAK, BODY, JSON).content == SPEECH["mp3"]
    assert received(upstream) == []
