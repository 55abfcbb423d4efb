"""``audio-proxy keys``: virtual keys made, listed, ended and taken over, straight in the database."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from proxy.accounting import key_fields
from proxy.accounting.key_store import COMMAND_LINE, KeyStore, VirtualKey
from proxy.accounting.keys import hashed
from proxy.accounting.usage import iso
from proxy.commands import litellm_export
from proxy.commands.table import print_table
from proxy.config import Config
from proxy.errors import BadRequest, ProxyError
from proxy.storage import place
from proxy.storage.database import Database

PAGE = 1000
_COLUMNS = ("key", "alias", "user", "team", "models", "tags", "created", "expires", "state", "id")


def create(config: Config, fields: dict[str, Any], metadata: str | None) -> int:
    """Prints the key, and nothing else, to standard output."""

    async def run(administration: KeyStore) -> int:
        given = key_fields.read({**fields, "metadata": _object(metadata)})
        secret, made = await administration.generate(given.columns, COMMAND_LINE)
        print(secret)
        print(f"This is the only time that the key is shown. Its id: {made.id}", file=sys.stderr)
        return 0

    return _run(config, run)


def show(config: Config, *, as_json: bool) -> int:
    async def run(administration: KeyStore) -> int:
        found, total = await administration.keys(limit=PAGE)
        while len(found) < total and (more := (await administration.keys(limit=PAGE, offset=len(found)))[0]):
            found += more
        if as_json:
            print(json.dumps([_document(key) for key in found], indent=2))
        else:
            print_table([_COLUMNS, *map(_cells, found)])
        return 0

    return _run(config, run)


def revoke(config: Config, references: Sequence[str]) -> int:
    """By alias, by id or in clear; all of them or none."""

    async def run(administration: KeyStore) -> int:
        for key_id in await administration.delete(references, COMMAND_LINE):
            print(f"revoked {key_id}")
        return 0

    return _run(config, run)


def take_over(config: Config, path: str, *, without_limits: bool, dry_run: bool) -> int:
    """1 where a row was left out."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"cannot read {path}: {error}", file=sys.stderr)
        return 1

    async def run(administration: KeyStore) -> int:
        keys, refused = litellm_export.read(text, own=_own_ids(config), without_limits=without_limits)
        outcomes = [] if dry_run else await administration.add(keys, COMMAND_LINE)
        for key, outcome in zip(keys, outcomes, strict=False):
            if outcome == "alias taken":
                refused.append(litellm_export.RejectedRow(str(key.key_alias), "another key has this alias"))
        for row in refused:
            print(f"left out: {row.name}: {row.why}", file=sys.stderr)
        if any(key.team_id for key in keys):
            print(
                "note: limits and models of LiteLLM's teams, users and organizations do not come along", file=sys.stderr
            )
        done = f"would import {len(keys)}" if dry_run else f"imported {outcomes.count('added')}"
        print(f"{done}, there already {outcomes.count('present')}, left out {len(refused)}")
        return 1 if refused else 0

    return _run(config, run)


def _own_ids(config: Config) -> set[str]:
    """Of the configuration's keys, which are no virtual keys; LiteLLM's table holds its master key's hash, too."""
    own = (config.general.master_key, config.general.metrics_token)
    return {hashed(key.get_secret_value()) for key in own if key is not None}


def _run(config: Config, command: Callable[[KeyStore], Awaitable[int]]) -> int:
    async def with_database() -> int:
        await place.prepare(config)
        database = Database(config.database_url)
        try:
            return await command(KeyStore(database))
        finally:
            await database.aclose()

    return told(with_database)


def told(command: Callable[[], Any]) -> int:
    """The command's status, or 1 and a sentence where it cannot be done. ConfigError passes."""
    try:
        return int(asyncio.run(command()))
    except ProxyError as error:
        if error.kind == "config":
            raise
        print(f"{error.message} {error.detail}".strip(), file=sys.stderr)
        return 1


def _object(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise BadRequest(f"--metadata must be JSON: {error}") from None


def _cells(key: VirtualKey) -> tuple[str, ...]:
    return (
        key.key_name,
        key.key_alias or "",
        key.user_id or "",
        key.team_id or "",
        ", ".join(key.models) or "all",
        ", ".join(key.tags),
        iso(key.created)[:10],
        iso(key.expires)[:16] if key.expires is not None else "never",
        "blocked" if key.blocked else "",
        key.id,
    )


def _document(key: VirtualKey) -> dict[str, Any]:
    return {
        **{name: getattr(key, name) for name in VirtualKey.__slots__},
        "created": iso(key.created),
        "expires": None if key.expires is None else iso(key.expires),
    }
