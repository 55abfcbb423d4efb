"""Who calls."""

from __future__ import annotations

from dataclasses import dataclass

#: ``Caller.key_id`` of the master key.
MASTER_KEY_ID = "master"


@dataclass(frozen=True, slots=True)
class Caller:
    """The master key, a virtual key, or anybody if the proxy is open."""

    #: SHA-256 of a virtual key in hexadecimal; None if the proxy is open.
    key_id: str | None = None
    alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    #: Names of model groups, or aliases of them; empty: all.
    models: frozenset[str] = frozenset()
    tags: tuple[str, ...] = ()
    #: Names of guardrails that check all of its calls.
    guardrails: tuple[str, ...] = ()

    @property
    def is_master(self) -> bool:
        return self.key_id == MASTER_KEY_ID


EVERYBODY = Caller()


MASTER = Caller(key_id=MASTER_KEY_ID)


#: The holder of the key that was the master key before. The alias makes its calls visible in the log.
PREVIOUS_MASTER = Caller(key_id=MASTER_KEY_ID, alias="previous master key")
