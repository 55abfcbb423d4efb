"""What can go wrong between a request and the end of its response."""

from __future__ import annotations


class TransportError(Exception):
    """The base of all errors that a transport raises. The text is for logs and holds no secrets."""


class InvalidURL(TransportError):
    """The text is not a URL."""


class UnsupportedProtocol(TransportError):
    """No transport serves the scheme of the URL."""


class LocalProtocolError(TransportError):
    """The request contradicts itself and was not sent, or not completely."""


class ConnectError(TransportError):
    """No connection could be opened."""


class ForwardProxyError(TransportError):
    """The forward proxy of the environment opened no tunnel."""


class ReadError(TransportError):
    """The connection broke."""


class RemoteProtocolError(TransportError):
    """The response was malformed or incomplete."""


class TransportTimeout(TransportError):
    """The base of all timeouts."""


class ConnectTimeout(TransportTimeout):
    """No connection was opened in time."""


class PoolTimeout(TransportTimeout):
    """No connection became free in time."""


class WriteTimeout(TransportTimeout):
    """The server did not accept the request in time."""


class ReadTimeout(TransportTimeout):
    """The server did not send the response, or the next part of it, in time."""


class StreamClosed(RuntimeError):
    """The caller reads a body that it has closed: a bug of the caller, not a failure of the transport."""
