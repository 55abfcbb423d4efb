"""How administrators block end users. Each change is one transaction with an audit row for each end user."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from proxy.storage.changes import begin_change
from proxy.storage.database import Database
from proxy.storage.end_users import EndUserRepository


class EndUserStore:
    """``actor`` is the id of the key that makes the change."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def block(self, names: Sequence[str], *, blocked: bool, actor: str) -> None:
        async with begin_change(self._database, actor, int(self._clock() * 1000)) as change:
            end_users = EndUserRepository(change.connection)
            for name in dict.fromkeys(names):
                await end_users.set_blocked(name, blocked=blocked, revision=change.revision)
                await change.record("end_user.block" if blocked else "end_user.unblock", name)
