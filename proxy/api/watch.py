"""Watches whether the clients of calls are still connected and reading."""

from __future__ import annotations

import asyncio

from proxy.api.exchange import Exchange
from proxy.errors import ClientGone

#: A client is watched once its call has lasted this many seconds, at most twice as many. Most calls end before.
WATCH_AFTER = 0.02
#: Seconds between two checks of whether the client reads. One that has read nothing in between is disconnected.
CLIENT_READ_SECONDS = 300.0


class Watch:
    """Watches the clients of all calls with one timer. For use in one event loop."""

    def __init__(self) -> None:
        #: Calls that began since the last check, and those that are one check older.
        self._newest: dict[WhileConnected, None] = {}
        self._older: dict[WhileConnected, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def over(self, exchange: Exchange) -> WhileConnected:
        return WhileConnected(exchange, self)

    def add(self, call: WhileConnected, loop: asyncio.AbstractEventLoop) -> None:
        self._newest[call] = None
        if self._timer is None:
            self._timer = loop.call_later(WATCH_AFTER, self._check, loop)

    def remove(self, call: WhileConnected) -> None:
        self._newest.pop(call, None)
        self._older.pop(call, None)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        lasting, self._older, self._newest = self._older, self._newest, {}
        self._timer = loop.call_later(WATCH_AFTER, self._check, loop) if self._older else None
        for call in lasting:
            call.begin(loop)


class WhileConnected:
    """Cancels the block if the client disconnects or stops reading; it then raises ClientGone, not CancelledError.

    A client may disconnect once it has the last byte, so the block must not wait for anything after that.
    """

    __slots__ = ("_exchange", "_seen", "_timer", "_waiting", "_watch")

    def __init__(self, exchange: Exchange, watch: Watch) -> None:
        self._exchange = exchange
        self._watch = watch
        self._waiting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._seen = -1

    def __enter__(self) -> None:
        self._watch.add(self, self._exchange.task.get_loop())

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start to watch the client."""
        self._waiting = loop.create_task(self._exchange.disconnected())
        self._waiting.add_done_callback(self._on_disconnect)
        self._check(loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        """Disconnects a client that has read nothing since the last check: it would keep the vendor's call open."""
        exchange = self._exchange
        if exchange.writing and exchange.written == self._seen:
            exchange.gone = True
            exchange.task.cancel()
            return
        self._seen = exchange.written
        self._timer = loop.call_later(CLIENT_READ_SECONDS, self._check, loop)

    def _on_disconnect(self, waiting: asyncio.Task[None]) -> None:
        if not waiting.cancelled():
            self._exchange.task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._watch.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting is not None:
            self._waiting.remove_done_callback(self._on_disconnect)
            self._waiting.cancel()
        if kind is asyncio.CancelledError and self._exchange.gone:
            self._exchange.task.uncancel()
            raise ClientGone("The client closed the connection, or stopped reading.")
