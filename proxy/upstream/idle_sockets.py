"""The open sockets that carry no conversation."""

from __future__ import annotations

import asyncio

from proxy.upstream.duplex import Duplex

#: Unread bytes at which an idle socket, which should be silent, is closed.
MAX_UNREAD = 64 * 1024

#: URL and headers. Sockets with the same ones are interchangeable: they lead to the same model with the same key.
Endpoint = tuple[str, tuple[tuple[bytes, bytes], ...]]


class IdleSockets:
    """The most recently used socket is taken first; the longest idle one is closed when there are too many.

    A socket that has carried conversations serves others of the same ``setting``; one that has not serves any.
    """

    def __init__(self, *, idle_seconds: float, max_idle: int, max_age: float) -> None:
        self._idle_seconds, self._max_idle, self._max_age = idle_seconds, max_idle, max_age
        self._idle: dict[Duplex, tuple[Endpoint, str | None, asyncio.TimerHandle]] = {}

    def has(self, endpoint: Endpoint, setting: str | None) -> bool:
        return self._find(endpoint, setting) is not None

    def take(self, endpoint: Endpoint, setting: str | None) -> tuple[Duplex, bool] | None:
        """A suitable socket, and whether it has carried a conversation."""
        socket = self._find(endpoint, setting)
        if socket is None:
            return None
        _, last_setting, timer = self._idle.pop(socket)
        timer.cancel()
        socket.discard_unread()
        return socket, last_setting is not None

    def add(self, endpoint: Endpoint, setting: str | None, socket: Duplex) -> None:
        """Store the socket, or close it if it is lost or too old. ``setting``: None if it has carried nothing yet."""
        if socket.lost or self._is_old(socket) or self._max_idle < 1:
            socket.close()
            return
        if len(self._idle) >= self._max_idle:
            self._close(next(iter(self._idle)))
        timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._close, socket)
        self._idle[socket] = endpoint, setting, timer

    def discard(self, socket: Duplex) -> None:
        """Forget a socket that was lost, if it is one of these."""
        if socket in self._idle:
            self._idle.pop(socket)[2].cancel()

    def _find(self, endpoint: Endpoint, setting: str | None) -> Duplex | None:
        """Prefers a used socket to an unused one. Closes the dead and expired ones that it encounters."""
        unused = None
        for socket, (its_endpoint, its_setting, _) in reversed(list(self._idle.items())):
            if its_endpoint != endpoint or its_setting not in (None, setting):
                continue
            if socket.lost or socket.unread > MAX_UNREAD or self._is_old(socket):
                self._close(socket)
            elif its_setting is not None:
                return socket
            else:
                unused = unused or socket
        return unused

    def _is_old(self, socket: Duplex) -> bool:
        return asyncio.get_running_loop().time() - socket.opened_at >= self._max_age

    def _close(self, socket: Duplex) -> None:
        self.discard(socket)
        socket.close()
