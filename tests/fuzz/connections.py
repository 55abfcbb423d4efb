"""A transport without a socket, for protocols whose other side is the fuzzer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for all inputs, each of which would otherwise spend most of its time on it."""
    return asyncio.new_event_loop()


def run(work: Awaitable[T]) -> T:
    """Runs it to its end. Raises what a callback or a forgotten task raised meanwhile."""
    loop, failures = _loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    result = loop.run_until_complete(asyncio.wait_for(work, 20))
    if failures:
        raise failures[0].get("exception") or AssertionError(failures[0]["message"])
    return result


class _Socket:
    def setsockopt(self, *_: object) -> None:
        pass


class Wire(asyncio.Transport):
    """``sent`` is what the protocol has written."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__({"socket": _Socket(), "peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.sent = bytearray()
        self._protocol = protocol
        self._closing = self._paused = False
        protocol.connection_made(self)

    async def receive(self, pieces: Sequence[bytes]) -> None:
        """The other side sends these, as fast as the protocol reads them."""
        for piece in pieces:
            for _ in range(100):
                if not self._paused or self._closing:
                    break
                await asyncio.sleep(0)
            if self._closing:
                return
            self._protocol.data_received(piece)
            await asyncio.sleep(0)

    async def hang_up(self) -> None:
        """The other side closes its end; whatever is still running hears of it."""
        for _ in range(10):
            await asyncio.sleep(0)
        if not self._closing:
            self._protocol.eof_received()
            self.abort()
        for _ in range(10):
            await asyncio.sleep(0)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass
