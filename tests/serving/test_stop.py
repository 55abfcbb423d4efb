"""Signals in each state of a server that stops."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable

import pytest

from tests.conftest import Server, standard_config
from tests.fakes.upstream import Upstream
from tests.front.wire import JSON, Wire

BODY = json.dumps({"model": "tts", "input": "Hello", "voice": "alloy"}).encode()
#: Seconds; a stop that waits for a call takes as long.
SHUTDOWN_TIMEOUT = 25


def stream(wire: Wire) -> None:
    """Begin a call that never ends by itself."""
    wire.head("POST", "/v1/audio/speech", {**JSON, "Content-Length": str(len(BODY))})
    wire.send(BODY)
    assert wire.begin().read(1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_same_signal_again_stops_it_at_once(
    upstream: Upstream, serve: Callable[..., Server], number: signal.Signals
) -> None:
    server = serve(standard_config(upstream.url, shutdown_timeout=SHUTDOWN_TIMEOUT))
    upstream.behave("tts-1", stop_after=2, stop="hang")
    with Wire(server.port) as wire:
        stream(wire)
        server.process.send_signal(number)
        time.sleep(0.5)
        assert server.process.poll() is None
        server.process.send_signal(number)
        assert server.process.wait(SHUTDOWN_TIMEOUT / 2) == 0
    assert "Traceback" not in server.log()


def test_a_different_signal_does_not(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url, shutdown_timeout=2))
    upstream.behave("tts-1", stop_after=2, stop="hang")
    with Wire(server.port) as wire:
        stream(wire)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert server.process.poll() is None
        assert server.stop() == 0


def test_a_connection_without_a_request_does_not_delay_it(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url, shutdown_timeout=SHUTDOWN_TIMEOUT))
    with Wire(server.port):
        time.sleep(0.1)
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < SHUTDOWN_TIMEOUT / 2
