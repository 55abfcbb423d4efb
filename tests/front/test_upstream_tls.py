"""Upstreams behind TLS: certificates are checked, and a private authority can be trusted."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import trustme

from tests.conftest import Server, standard_config
from tests.fakes import upstream as fakes
from tests.fakes.samples import SPEECH
from tests.front.shape import error_of
from tests.front.wire import AUTHORIZATION

HELLO = {"model": "tts", "input": "Hello", "voice": "alloy"}
ASKS = {"authorization": AUTHORIZATION}


def context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(made)
    return made


def test_speech_and_uploads_over_tls(serve: Callable[..., Server], tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with fakes.running(context(authority, "127.0.0.1")) as upstream:
        server = serve(standard_config(upstream.url), env={"SSL_CERT_FILE": str(tmp_path / "authority.pem")})
        for _ in range(3):
            assert httpx.post(server.url + "/v1/audio/speech", json=HELLO, headers=ASKS).content == SPEECH["mp3"]
        assert upstream.connections == 1
        files = {"file": ("a.wav", bytes(3 << 20))}
        reply = httpx.post(
            server.url + "/v1/audio/transcriptions", data={"model": "whisper"}, files=files, headers=ASKS
        )
        assert reply.status_code == 200
        assert upstream.last.file.size == 3 << 20


def test_audio_that_breaks_off_over_tls_is_cut(serve: Callable[..., Server], tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    with fakes.running(context(authority, "127.0.0.1")) as upstream:
        server = serve(standard_config(upstream.url), env={"SSL_CERT_FILE": str(tmp_path / "authority.pem")})
        upstream.behave("tts-1", stop_after=2, gap=0.05)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(server.url + "/v1/audio/speech", json=HELLO, headers=ASKS)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_wrong_certificate_is_unreachable(serve: Callable[..., Server], tmp_path: Path, trusted: bool) -> None:
    """A stranger's authority, or the right one for another host."""
    authority = trustme.CA()
    env = {}
    if trusted:
        authority.cert_pem.write_to_path(tmp_path / "authority.pem")
        env = {"SSL_CERT_FILE": str(tmp_path / "authority.pem")}
    with fakes.running(context(authority, "elsewhere.example" if trusted else "127.0.0.1")) as upstream:
        server = serve(standard_config(upstream.url), env=env)
        reply = httpx.post(server.url + "/v1/audio/speech", json=HELLO, headers=ASKS)
        error_of(reply, 502, "upstream_unreachable")
        assert "elsewhere" not in reply.text
        assert not upstream.requests
