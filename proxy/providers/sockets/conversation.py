"""What a vendor behind a WebSocket is: a state machine, messages in, messages and bytes out, without I/O.

A flow yields ``httpx.Request("GET", "wss://…", extensions={"conversation": machine})`` where another yields a POST;
with ``"audio": upload`` in the extensions too, the machine is fed that audio, decoded. Whoever runs it
(``proxy.upstream.websocket``) opens a socket or takes a kept one, sends what `start` says, hands over every message
that comes, and sends and gives what the machine returns. The response carries the bytes as they come. The adapters of
such vendors set ``over_socket = True``.

A machine raises a ProxyError for what the vendor says went wrong, and UpstreamInvalid for what makes no sense; it is
of no more use then, and its socket is closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

#: Text is str, a binary message bytes.
Message = str | bytes


class Turn(NamedTuple):
    """What follows: messages to be sent, and bytes for the caller."""

    send: Sequence[str] = ()
    output: bytes = b""


NOTHING = Turn()


class Conversation(Protocol):
    """One exchange over a socket. It is started once, or once more on another socket if the first was dead."""

    @property
    def setting(self) -> str | None:
        """A socket over which a conversation of this setting came to its end may carry others of it; None: no other."""

    @property
    def rate(self) -> int:
        """Samples a second of the audio that it is fed (s16le, mono)."""

    @property
    def hungry(self) -> bool:
        """Whether `feed` is to be called with audio."""

    @property
    def begun(self) -> bool:
        """The vendor has taken up this conversation; until then it may as well be held on another socket."""

    @property
    def done(self) -> bool:
        """All was said, and the socket is as it was before."""

    def start(self, *, resumed: bool) -> Sequence[str]:
        """What is sent first; ``resumed``: over a socket that a conversation of the same setting has used."""

    def receive(self, message: Message) -> Turn: ...

    def feed(self, pcm: bytes) -> Turn:
        """A piece of the audio, and b"" at its end."""

    def leave(self) -> Sequence[str]:
        """What is sent before the socket is closed early; it saves the work that nobody waits for."""
