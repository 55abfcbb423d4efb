"""A vendor behind a WebSocket is a state machine without I/O: messages in, messages and bytes out.

A flow yields ``Request("GET", "wss://…", extensions={"conversation": machine})`` where another yields a POST;
with ``"audio": upload`` in the extensions too, the machine is fed that audio, decoded. ``proxy.upstream.websocket``
opens or reuses a socket, passes every message to the machine, and sends the messages that the machine returns. The
machine's output is the body of the response. The adapters of such vendors set ``over_socket = True``.

A machine raises a ProxyError for a failure that the vendor reports, and UpstreamInvalid for a message that it cannot
make sense of. It cannot be used after that, and its socket is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

#: Text is str, a binary message bytes.
Message = str | bytes


class Turn(NamedTuple):
    """The reaction to a message or to audio: messages to send, and bytes for the caller."""

    send: Sequence[str] = ()
    output: bytes = b""


NOTHING = Turn()


class Conversation(Protocol):
    """One exchange over a socket.

    `start` begins it, and may be called once more, for another socket, if the first proves dead before `accepted`.
    Then `receive` gets every message that arrives, and `feed` gets the audio piece by piece while `wants_audio`, until
    `done`. `cancel` is called instead if the caller leaves before that.
    """

    @property
    def setting(self) -> str | None:
        """After a conversation, its socket is reused for others with the same setting; None: it is not reused."""

    @property
    def rate(self) -> int:
        """Samples per second of the audio that it is fed (s16le, mono)."""

    @property
    def wants_audio(self) -> bool: ...

    @property
    def accepted(self) -> bool:
        """The vendor has started on it. Until then it can be repeated on another socket."""

    @property
    def done(self) -> bool:
        """It has completed, and the socket is ready for the next one."""

    def start(self, *, resumed: bool) -> Sequence[str]:
        """The first messages to send. ``resumed``: the socket has carried a conversation with the same setting."""

    def receive(self, message: Message) -> Turn: ...

    def feed(self, pcm: bytes) -> Turn:
        """``pcm`` is b"" at the end of the audio."""

    def cancel(self) -> Sequence[str]:
        """The messages to send before the socket is closed early, so that the vendor stops working."""
