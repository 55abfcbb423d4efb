"""Requests that offer to upgrade to another protocol (RFC 9110, 7.8) are served as if they did not."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Server
from tests.fakes.samples import SPEECH, wav
from tests.fakes.upstream import Upstream
from tests.front.wire import AUTHORIZATION, FORM, JSON, Wire, file_part, form, text_part

SPEAK = "/v1/audio/speech"
LISTEN = "/v1/audio/transcriptions"
BODY = json.dumps({"model": "tts", "input": "Hello", "voice": "alloy"}).encode()
#: What the JDK's HttpClient sends by default.
JDK = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA"}
OFFERS = {
    "h2c": JDK,
    "websocket": {"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
    "tls": {"Connection": "upgrade", "Upgrade": "TLS/1.0, HTTP/2.0"},
}


def request(headers: dict[str, str], body: bytes = BODY, path: str = SPEAK) -> bytes:
    """A complete request as bytes."""
    fields = {"Host": "proxy.test", "Authorization": AUTHORIZATION, "Content-Length": str(len(body)), **headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_the_offer_is_ignored_and_the_connection_stays_open(
    upstream: Upstream, proxy: Server, offer: dict[str, str]
) -> None:
    with Wire(proxy.port) as wire:
        for headers in (offer, {}, offer):
            reply = wire.post(SPEAK, BODY, {**JSON, **headers})
            assert (reply.status_code, reply.content) == (200, SPEECH["mp3"])
            assert "upgrade" not in reply.headers
    assert [one.json["input"] for one in upstream.requests] == ["Hello"] * 3


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_request_in_many_segments(upstream: Upstream, proxy: Server, size: int) -> None:
    whole = request({**JSON, **JDK})
    with Wire(proxy.port) as wire:
        for start in range(0, len(whole), size):
            wire.send(whole[start : start + size])
        assert wire.reply().content == SPEECH["mp3"]
        assert wire.post(SPEAK, BODY, JSON).content == SPEECH["mp3"]


def test_pipelined_in_one_segment(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        wire.send(b"".join(request({**JSON, **headers}) for headers in (JDK, JDK, {}, JDK)))
        assert [wire.reply().content for _ in range(4)] == [SPEECH["mp3"]] * 4


def test_a_large_upload_that_waits_for_continue(upstream: Upstream, proxy: Server) -> None:
    body = form(text_part("model", "whisper"), file_part(wav() * 100))
    with Wire(proxy.port) as wire:
        wire.head("POST", LISTEN, {**FORM, **JDK, "Content-Length": str(len(body)), "Expect": "100-continue"})
        assert wire.socket.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        wire.send(body)
        assert wire.reply().status_code == 200


def test_connection_close_is_respected(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        assert (
            wire.post(SPEAK, BODY, {**JSON, "Connection": "close, Upgrade", "Upgrade": "h2c"}).content == SPEECH["mp3"]
        )
        assert wire.closed()


def test_chunked(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        assert wire.post_chunked(SPEAK, [BODY[:9], BODY[9:]], {**JSON, **JDK}).content == SPEECH["mp3"]
        assert wire.post(SPEAK, BODY, JSON).content == SPEECH["mp3"]


def test_without_a_body(proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        for _ in range(2):
            wire.head("GET", "/health/liveliness", OFFERS["websocket"])
            assert wire.reply("GET").status_code == 200


def test_connect_is_refused(proxy: Server) -> None:
    for target, statuses in (("example.com:443", {400}), ("/v1/audio/speech", {404, 405})):
        with Wire(proxy.port) as wire:
            wire.head("CONNECT", target, JDK)
            assert wire.reply("GET").status_code in statuses


def test_it_cannot_be_used_for_request_smuggling(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        headers = {**JSON, **JDK, "Content-Length": str(len(BODY)), "Transfer-Encoding": "chunked"}
        wire.head("POST", SPEAK, headers)
        wire.send(BODY)
        assert wire.reply().status_code == 400
        assert not upstream.requests


def test_it_is_not_logged(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        reply = wire.post(SPEAK, BODY, {**JSON, **OFFERS["websocket"]})
    proxy.log_lines(reply.headers["x-request-id"])
    for words in ("upgrade", "WebSocket", "pip install"):
        assert words not in proxy.log()
