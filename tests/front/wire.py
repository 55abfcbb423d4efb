"""A client that puts on the wire exactly the bytes that a test names."""

from __future__ import annotations

import http.client
import io
import json
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.conftest import MASTER_KEY

AUTHORIZATION = f"Bearer {MASTER_KEY}"


@dataclass(frozen=True)
class Reply:
    """``complete`` is false when the connection ended before the body did."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes
    complete: bool = True

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


class _Kept(io.BufferedReader):
    """Survives the end of one answer, so that it keeps what it read of the next."""

    def close(self) -> None:
        self.flush()


class Wire:
    """One connection."""

    def __init__(self, port: int, *, timeout: float = 20, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        self._incoming = _Kept(socket.SocketIO(self.socket, "r"))

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def makefile(self, mode: str) -> io.BufferedReader:
        """What ``http.client`` reads answers from."""
        return self._incoming

    def send(self, *data: bytes) -> None:
        for piece in data:
            self.socket.sendall(piece)

    def head(self, method: str, path: str, headers: Mapping[str, str | None] | None = None) -> None:
        """Request line and headers; a header given as None is left out."""
        fields: dict[str, str | None] = {"Host": "proxy.test", "Authorization": AUTHORIZATION, **(headers or {})}
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in fields.items() if value is not None),
        ]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def post(self, path: str, body: bytes, headers: Mapping[str, str | None] | None = None) -> Reply:
        self.head("POST", path, {"Content-Length": str(len(body)), **(headers or {})})
        self.send(body)
        return self.reply()

    def post_chunked(
        self, path: str, pieces: Iterable[bytes], headers: Mapping[str, str | None] | None = None
    ) -> Reply:
        self.head("POST", path, {"Transfer-Encoding": "chunked", **(headers or {})})
        for piece in pieces:
            self.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.send(b"0\r\n\r\n")
        return self.reply()

    def begin(self, method: str = "POST") -> http.client.HTTPResponse:
        """The answer's head; its body is still to be read. Interim answers (100) are passed over."""
        response = http.client.HTTPResponse(self, method=method)  # type: ignore[arg-type]
        response.begin()
        return response

    def reply(self, method: str = "POST") -> Reply:
        response = self.begin(method)
        headers = {name.lower(): value for name, value in response.getheaders()}
        try:
            return Reply(response.status, headers, response.read())
        except (http.client.IncompleteRead, ConnectionResetError) as error:
            return Reply(response.status, headers, getattr(error, "partial", b""), complete=False)

    def closed(self) -> bool:
        """Whether the server has ended the connection (waits for it)."""
        try:
            return self._incoming.read(1) == b""
        except ConnectionResetError:
            return True


def form(*parts: tuple[str, bytes], boundary: str = "b0undary") -> bytes:
    """A multipart body of parts given as raw header block (without the last CR LF) and content."""
    opened = b"".join(
        b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary.encode(), head.encode(), content) for head, content in parts
    )
    return opened + b"--%b--\r\n" % boundary.encode()


def text_part(name: str, value: str) -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', value.encode()


def file_part(content: bytes, filename: str = "speech.wav", content_type: str = "audio/wav") -> tuple[str, bytes]:
    head = f'Content-Disposition: form-data; name="file"; filename="{filename}"\r\nContent-Type: {content_type}'
    return head, content


FORM = {"Content-Type": "multipart/form-data; boundary=b0undary"}
JSON = {"Content-Type": "application/json"}
