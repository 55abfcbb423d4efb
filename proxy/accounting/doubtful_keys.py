"""Virtual keys that outlive a weak master key: whoever guessed it may have made them."""

from __future__ import annotations

import time

from proxy.accounting.key_secrets import SHORT_ID
from proxy.config import Config
from proxy.config.models import is_weak
from proxy.storage.keys import KeyRepository
from proxy.storage.preparation import usable_database

_MOST_NAMED = 20


async def warning(config: Config) -> str | None:
    """Names the keys, once the master key cannot be guessed any more; None if there are none.

    Changes nothing. Raises ConfigError for a database that cannot be used, Unavailable if it does not answer.
    """
    master = config.general.master_key
    if master is None or is_weak(master.get_secret_value()):
        return None
    async with usable_database(config) as database:
        if not await database.is_current():
            return None
        async with database.transaction() as connection:
            keys = await KeyRepository(connection).doubtful(int(time.time() * 1000))
    if not keys:
        return None
    names = [f"{key.key_alias or key.key_name} ({key.id[:SHORT_ID]})" for key in keys[:_MOST_NAMED]]
    more = f" and {len(keys) - _MOST_NAMED} more" if len(keys) > _MOST_NAMED else ""
    return (
        f"keys were made while the master key could be guessed, perhaps by somebody else: {', '.join(names)}{more}. "
        "Regenerate, block or revoke them"
    )
