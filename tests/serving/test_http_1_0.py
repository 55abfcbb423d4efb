"""HTTP/1.0 has no chunks: a response without a length ends with its connection."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path

import pytest
import trustme

from tests.conftest import Server, standard_config
from tests.fakes.samples import SPEECH
from tests.fakes.upstream import Upstream
from tests.front.shape import error_of
from tests.front.wire import AUTHORIZATION, Wire

BODY = json.dumps({"model": "tts", "input": "Hello", "voice": "alloy"}).encode()


def send_request(
    wire: Wire, body: bytes = BODY, *fields: str, method: str = "POST", path: str = "/v1/audio/speech"
) -> None:
    lines = [
        f"{method} {path} HTTP/1.0",
        f"Authorization: {AUTHORIZATION}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *fields,
    ]
    wire.send("\r\n".join([*lines, "", ""]).encode() + body)


def framing(response: HTTPResponse) -> tuple[str | None, str | None, str | None]:
    return tuple(map(response.getheader, ("transfer-encoding", "content-length", "connection")))  # type: ignore


@pytest.mark.parametrize("fields", [(), ("Connection: keep-alive",)])
def test_a_stream_is_not_chunked_and_ends_with_the_connection(
    upstream: Upstream, proxy: Server, fields: tuple[str, ...]
) -> None:
    gate = upstream.gate()
    upstream.behave("tts-1", gate=gate)
    gate.release()
    with Wire(proxy.port) as wire:
        send_request(wire, BODY, *fields)
        response = wire.begin()
        assert framing(response) == (None, None, "close")
        received = response.read(1)  # while the vendor still holds the rest back
        gate.open()
        assert received + response.read() == SPEECH["mp3"]


def test_a_response_with_a_length_keeps_it(upstream: Upstream, proxy: Server) -> None:
    with Wire(proxy.port) as wire:
        send_request(wire, json.dumps({"model": "none", "input": "Hello", "voice": "alloy"}).encode())
        reply = wire.reply()
        error_of(reply, 404)
        assert int(reply.headers["content-length"]) == len(reply.content)
        assert wire.closed()
    with Wire(proxy.port) as wire:
        send_request(wire, b"", method="GET", path="/health/liveliness")
        assert wire.reply("GET").complete


def test_no_interim_response_is_sent(upstream: Upstream, proxy: Server) -> None:
    """HTTP/1.0 has none: a client would take it for the response."""
    with Wire(proxy.port) as wire:
        send_request(wire, BODY, "Expect: 100-continue")
        assert wire.socket.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("stop", ["close", "reset"])
def test_a_broken_stream_resets_the_connection(upstream: Upstream, proxy: Server, stop: str) -> None:
    upstream.behave("tts-1", stop_after=2, stop=stop, gap=0.05)
    with Wire(proxy.port) as wire:
        send_request(wire)
        response = wire.begin()
        assert response.status == 200
        with pytest.raises(ConnectionResetError):
            response.read()


def test_over_tls_a_broken_stream_is_not_closed_properly(
    upstream: Upstream, serve: Callable[..., Server], tmp_path: Path
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = serve(standard_config(upstream.url), args=["--ssl-certfile", str(tmp_path / "both.pem")])

    def call() -> bytes:
        with Wire(server.port) as wire:
            wire.socket = context.wrap_socket(wire.socket, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
            send_request(wire)
            received = b""
            while piece := wire.socket.recv(65536):
                received += piece
        return received

    assert call().endswith(SPEECH["mp3"])
    upstream.behave("tts-1", stop_after=2, gap=0.05)
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
        call()
