"""What a sink is, and what it receives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from proxy.domain.call import Call


class Record(NamedTuple):
    """A call that has ended. ``row`` is its row in the ledger, without text, audio or keys."""

    call: Call
    row: Mapping[str, Any]
    #: The end, in seconds of ``time.perf_counter``, and the difference to seconds since 1970.
    ended: float
    epoch: float
    #: The vendors' models, by ids of deployments.
    models: Mapping[str, str] = MappingProxyType({})


class Undelivered(Exception):
    """The records were not delivered. ``again``: a retry may succeed. The message is for the log."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


class Sink(Protocol):
    """Receives batches, one at a time."""

    async def send(self, records: Sequence[Record]) -> None:
        """Deliver all records or raise Undelivered. The same batch may come again."""

    async def aclose(self) -> None:
        return  # nothing to close by default
