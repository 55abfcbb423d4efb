"""HTTP/1.1 on one connection: its requests, which may be pipelined and are answered in order, and its timers."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from email.utils import formatdate

import httptools
import structlog
from starlette.types import ASGIApp, Scope

from proxy.api.identity import request_id
from proxy.errors import BadRequest, ProxyError
from proxy.http.head import encode_head
from proxy.serving.cycle import STATUS_LINES, Cycle, Header
from proxy.serving.flow_control import FlowControl
from proxy.serving.reader import RequestReader

#: For a request's head to arrive, counted from its first byte, or from the opening of the connection.
HEAD_SECONDS = 30.0
#: Longer than the idle time-out of common load balancers (60 s), so that they close first.
KEEP_ALIVE_SECONDS = 75.0


def date_header() -> Header:
    return b"date", formatdate(usegmt=True).encode("ascii")


@dataclass(slots=True, eq=False)
class ServerState:
    """What the connections of a process share."""

    connections: set[HttpProtocol] = field(default_factory=set)
    #: One for each running request.
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    #: The server refreshes it every second.
    date: Header = field(default_factory=date_header)


class HttpProtocol(asyncio.Protocol):
    """One connection to an ASGI application."""

    transport: asyncio.Transport
    _flow: FlowControl
    _reader: RequestReader

    def __init__(self, app: ASGIApp, state: ServerState, root_path: str = "") -> None:
        self._app = app
        self._state = state
        self._root_path = root_path
        self._loop = asyncio.get_running_loop()
        #: The request that is being answered, and the newest one; those between them wait in the pipeline.
        self._current: Cycle | None = None
        self._newest: Cycle | None = None
        self._pipeline: deque[Cycle] = deque()
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        #: The answer to bytes that are no request, once earlier requests have been answered.
        self._refusal = b""
        #: When the last response ended, by the event loop's clock.
        self._idle_since = 0.0

    # -- called by the server ------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Close an idle connection now, a busy one after its last response. May be called again."""
        if self._newest is None:
            self.transport.close()
        elif self._newest.response_complete:
            self._newest.close()
        else:
            self._newest.keep_alive = False

    # -- called by asyncio ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._flow = FlowControl(transport)
        connection = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
            "root_path": self._root_path,
            "client": _address(transport, "peername"),
            "server": _address(transport, "sockname"),
        }
        self._reader = RequestReader(connection, self._request_received)
        self._state.connections.add(self)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        self._stop_head_timer()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for cycle in (self._current, self._newest):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnect()
        self._flow.resume_writing()
        self._reader.close()

    def pause_writing(self) -> None:
        self._flow.pause_writing()

    def resume_writing(self) -> None:
        self._flow.resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._refusal:
            return
        try:
            self._reader.feed(data)
        except httptools.HttpParserError as error:
            self._refuse(self._error_of(error))
        if self._reader.in_head and self._head_timer is None:
            self._start_head_timer()

    # -- requests ------------------------------------------------------------------------------------------------------

    def _request_received(self, scope: Scope, expects_continue: bool, keep_alive: bool) -> Cycle:
        """A head is complete. Its request begins now, or after the responses to earlier ones."""
        self._stop_head_timer()
        cycle = Cycle(
            scope,
            self.transport,
            self._flow,
            self._loop,
            self._state.date,
            expects_continue=expects_continue,
            keep_alive=keep_alive,
            on_complete=self._response_complete,
        )
        idle = self._newest is None or self._newest.response_complete
        self._newest = cycle
        if idle:
            self._begin(cycle)
        else:
            self._flow.pause_reading()
            self._pipeline.append(cycle)
        return cycle

    def _begin(self, cycle: Cycle) -> None:
        self._current = cycle
        task = self._loop.create_task(cycle.run(self._app))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    def _response_complete(self) -> None:
        if self.transport.is_closing():
            return
        self._flow.resume_reading()
        if self._pipeline:
            self._begin(self._pipeline.popleft())
            return
        if self._refusal:
            self._end(self._refusal)
            return
        self._idle_since = self._loop.time()
        if self._idle_timer is None:
            self._start_idle_timer(KEEP_ALIVE_SECONDS)

    def _error_of(self, error: httptools.HttpParserError) -> ProxyError:
        log = structlog.get_logger()
        refusal = self._reader.refusal
        if refusal is None and isinstance(error, httptools.HttpParserCallbackError):
            log.error("Exception while reading a request", exc_info=error)
            return ProxyError("Internal Server Error")
        refusal = refusal or BadRequest("Invalid HTTP request received.")
        log.warning(refusal.message)
        return refusal

    def _refuse(self, error: ProxyError) -> None:
        """Answer bytes that are not HTTP, or a head that is refused, with an error in OpenAI's format; then close.

        Complete requests before them are answered first. A request whose body they are in gets no other answer.
        """
        body = error.json()
        fields = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id(None)),
            (b"connection", b"close"),
        ]
        self._refusal = encode_head(STATUS_LINES[error.status], fields) + body
        newest = self._newest
        if newest is not None and newest.is_uploading and self._pipeline:
            self._pipeline.pop()
        elif newest is not None and newest.is_uploading:
            self._end(b"" if newest.response_started else self._refusal)
        elif newest is None or newest.response_complete:
            self._end(self._refusal)

    def _end(self, last: bytes) -> None:
        if self._newest is not None:
            self._newest.flush()
        self.transport.write(last)
        self.transport.close()

    # -- timers --------------------------------------------------------------------------------------------------------

    def _start_head_timer(self) -> None:
        self._head_timer = self._loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _start_idle_timer(self, seconds: float) -> None:
        self._idle_timer = self._loop.call_later(seconds, self._close_if_idle)

    def _close_if_idle(self) -> None:
        """Close, or start the timer again: one timer for many requests costs less than one for each."""
        self._idle_timer = None
        busy = self._newest is not None and not self._newest.response_complete
        if busy or self._reader.in_head or self.transport.is_closing():
            return
        left = self._idle_since + KEEP_ALIVE_SECONDS - self._loop.time()
        if left > 0:
            self._start_idle_timer(left)
        else:
            self.transport.close()


def _address(transport: asyncio.Transport, name: str) -> tuple[str, int] | None:
    info = transport.get_extra_info(name)
    return (str(info[0]), int(info[1])) if info else None
