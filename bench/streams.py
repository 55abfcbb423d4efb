"""Many slow speech streams at once, and the age of every chunk when it arrives.

The upstream writes the time into each chunk, and both ends share one clock. So the age is the time that the chunk spent
on its way through the proxy.
"""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Any, cast

import httptools
import uvloop
from load import HOST, Request, Target, speech
from meter import metered

_CHUNK = 4096
_MAX_LENGTH = 30.0


class _Stream(asyncio.Protocol):
    """One request and its answer. The answer is good if it is complete HTTP and has the right size."""

    def __init__(self, request: bytes, size: int, done: asyncio.Future[bool]) -> None:
        self.done = done
        self.status = 0
        self.body = bytearray()
        self.first_ms = 0.0  # time to the first bytes of the body
        self.whole_ms = 0.0
        self.ages_ms: list[float] = []
        self._request = request
        self._size = size
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._began = time.monotonic_ns()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._now = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._finish(False)

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if not self.body:
            self.first_ms = (self._now - self._began) / 1e6
        self.body += body
        while len(self.body) >= (start := len(self.ages_ms) * _CHUNK) + 8:
            (sent,) = struct.unpack_from("<q", self.body, start)
            self.ages_ms.append((self._now - sent) / 1e6)

    def on_message_complete(self) -> None:
        self._finish(self.status == 200 and len(self.body) == self._size)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish(False)

    def _finish(self, good: bool) -> None:
        if not self.done.done():
            self.whole_ms = (time.monotonic_ns() - self._began) / 1e6
            self.done.set_result(good)
            self._transport.close()


async def _stream(port: int, request: bytes, size: int, delay: float) -> _Stream | None:
    """The stream after it has ended, or None if it failed."""
    await asyncio.sleep(delay)
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()
    stream = _Stream(request, size, done)
    try:
        async with asyncio.timeout(_MAX_LENGTH):
            transport, _ = await loop.create_connection(lambda: stream, HOST, port)
            try:
                return stream if await done else None
            finally:
                transport.abort()
    except OSError:  # refused, or timed out
        return None


def _percentile(values: list[float], percent: int) -> float | None:
    return round(values[min(len(values) - 1, len(values) * percent // 100)], 3) if values else None


def _raw(port: int, request: Request) -> bytes:
    headers = {"Host": f"{HOST}:{port}", "Content-Length": str(len(request.body))} | request.headers
    lines = [f"POST {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + request.body


async def _run(port: int, count: int, chunks: int, gap_ms: int, stagger: float) -> dict[str, Any]:
    size = chunks * _CHUNK
    request = _raw(port, speech(f"@size={size} @chunks={chunks} @first=200 @gap={gap_ms}"))
    began = time.monotonic()
    ended = await asyncio.gather(*(_stream(port, request, size, stagger * i / count) for i in range(count)))
    wall = time.monotonic() - began
    good = [stream for stream in ended if stream]
    firsts = sorted(stream.first_ms for stream in good)
    ages = sorted(age for stream in good for age in stream.ages_ms)
    return {
        "n": count,
        "ok": len(good),
        "failed": count - len(good),
        "wall_s": round(wall, 3),
        "ttfb_ms_p50": _percentile(firsts, 50),
        "ttfb_ms_p99": _percentile(firsts, 99),
        "chunk_lag_ms_p50": _percentile(ages, 50),
        "chunk_lag_ms_p99": _percentile(ages, 99),
        "chunk_lag_ms_max": _percentile(ages, 100),
        "stream_ms_p50": _percentile(sorted(stream.whole_ms for stream in good), 50),
    }


def hold(target: Target, count: int, *, chunks: int, gap_ms: int, stagger: float = 0.0) -> dict[str, Any]:
    """`count` streams that start within `stagger` seconds: 200 ms of silence, then 4 KiB every `gap_ms`."""
    with metered(target.pid) as usage:
        figures = uvloop.run(_run(target.port, count, chunks, gap_ms, stagger))
    return figures | {"cpu_s": usage.cpu_s, "cpu_share": usage.cpu_share, "rss_peak_mb": usage.rss_peak_mb}
