"""Whether the clients of calls are still there, and read."""

from __future__ import annotations

import asyncio

from proxy.api.exchange import Exchange
from proxy.errors import ClientGone

#: Seconds that a call has lasted at least before its client is watched, and at most twice that; most calls end before.
WATCH_AFTER = 0.02
#: Seconds between two looks at whether the client reads; one that reads nothing in between is cut.
CLIENT_READ_SECONDS = 300.0


class Watch:
    """Looks after the clients of all calls, by one timer. For use in one event loop."""

    def __init__(self) -> None:
        #: Calls that began since the last look, and those that are one look older.
        self._newest: dict[WhileConnected, None] = {}
        self._older: dict[WhileConnected, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def over(self, exchange: Exchange) -> WhileConnected:
        return WhileConnected(exchange, self)

    def add(self, call: WhileConnected, loop: asyncio.AbstractEventLoop) -> None:
        self._newest[call] = None
        if self._timer is None:
            self._timer = loop.call_later(WATCH_AFTER, self._look, loop)

    def remove(self, call: WhileConnected) -> None:
        self._newest.pop(call, None)
        self._older.pop(call, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        lasting, self._older, self._newest = self._older, self._newest, {}
        self._timer = loop.call_later(WATCH_AFTER, self._look, loop) if self._older else None
        for call in lasting:
            call.begin(loop)


class WhileConnected:
    """Cancels the work inside when the client goes away or stops reading, and tells that from any other cancellation.

    Sound as long as nothing is awaited between the last byte of the answer and the exit.
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
        """From now on the client is watched."""
        self._waiting = loop.create_task(self._exchange.disconnected())
        self._waiting.add_done_callback(self._left)
        self._look(loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """A client that has read nothing of a waiting piece since the last look holds an upstream for nothing."""
        exchange = self._exchange
        if exchange.writing and exchange.written == self._seen:
            exchange.gone = True
            exchange.task.cancel()
            return
        self._seen = exchange.written
        self._timer = loop.call_later(CLIENT_READ_SECONDS, self._look, loop)

    def _left(self, waiting: asyncio.Task[None]) -> None:
        if not waiting.cancelled():
            self._exchange.task.cancel()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._watch.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._waiting is not None:
            self._waiting.remove_done_callback(self._left)
            self._waiting.cancel()
        if kind is asyncio.CancelledError and self._exchange.gone:
            self._exchange.task.uncancel()
            raise ClientGone("The client closed the connection, or stopped reading.")
