"""What a sink is, and what it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from proxy.domain.call import Call


class Record(NamedTuple):
    """One call that has ended. ``row`` is what the ledger keeps of it: no text, no audio, no key."""

    call: Call
    row: Mapping[str, Any]
    #: When it ended, on the call's clock, and what to add to times of that clock for seconds since 1970.
    ended: float
    epoch: float
    #: Vendors' models by the deployments' ids.
    models: Mapping[str, str] = MappingProxyType({})


class Undelivered(Exception):
    """The records were not taken. ``again``: they may be, later. The message is for the log."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


class Sink(Protocol):
    """Takes batches, one after the other."""

    async def send(self, records: Sequence[Record]) -> None:
        """All or nothing; raises Undelivered. May get the same batch again."""

    async def aclose(self) -> None:
        return  # nothing to close, unless a sink says otherwise
