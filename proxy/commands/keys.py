"""``audio-proxy keys``: create, list, revoke and import virtual keys, directly in the database."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proxy.accounting import key_settings
from proxy.accounting.key_secrets import SHORT_ID, hash_of
from proxy.accounting.key_store import COMMAND_LINE, KeyStore
from proxy.commands import database, litellm_export
from proxy.commands.table import print_table
from proxy.config import Config
from proxy.domain.timestamps import iso
from proxy.errors import BadRequest
from proxy.routing.groups import unknown_model
from proxy.storage.database import Database
from proxy.storage.keys import VirtualKey

_COLUMNS = ("key", "alias", "user", "team", "models", "tags", "created", "expires", "state", "id")


def create(config: Config, fields: dict[str, Any], metadata: str | None) -> int:
    """Only the key goes to standard output."""

    async def run(records: Database) -> int:
        settings = key_settings.read({**fields, "metadata": _object(metadata)})
        _check_models(settings.models or (), config)
        secret, key = await KeyStore(records).generate(settings.columns(), COMMAND_LINE)
        print(secret)
        print(f"Store the key now; it is not shown again. ID: {key.id}", file=sys.stderr)
        return 0

    return database.run(config, run, writes=True)


def _check_models(names: Sequence[str], config: Config) -> None:
    known = [*config.groups, *config.router.model_group_alias, *config.translators]
    for name in names:
        if name not in known:
            raise BadRequest(unknown_model(name, known))


def show(config: Config, *, as_json: bool) -> int:
    async def run(records: Database) -> int:
        keys = await _all_keys(KeyStore(records))
        if as_json:
            print(json.dumps([_document(key) for key in keys], indent=2))
        else:
            print_table([_COLUMNS, *map(_cells, keys)])
        return 0

    return database.run(config, run, writes=False)


async def _all_keys(store: KeyStore) -> list[VirtualKey]:
    keys, total = await store.page()
    while len(keys) < total and (more := (await store.page(offset=len(keys)))[0]):
        keys += more
    return keys


def revoke(config: Config, references: Sequence[str]) -> int:
    """``references``: aliases, ids (or their first digits) or keys. Revokes all of them or none."""

    async def run(records: Database) -> int:
        store = KeyStore(records)
        chosen = [await store.complete(reference) for reference in references]
        for key_id in await store.delete(chosen, COMMAND_LINE):
            print(f"revoked {key_id}")
        return 0

    return database.run(config, run, writes=True)


def import_keys(config: Config, path: str, *, without_limits: bool, dry_run: bool) -> int:
    """Returns 1 if a row was skipped."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"cannot read {path}: {error}", file=sys.stderr)
        return 1

    async def run(records: Database) -> int:
        keys, rejected = litellm_export.read(text, own=_configured_ids(config), without_limits=without_limits)
        outcomes = [] if dry_run else await KeyStore(records).add(keys, COMMAND_LINE)
        for key, outcome in zip(keys, outcomes, strict=False):
            if outcome == "alias taken":
                rejected.append(litellm_export.RejectedRow(str(key.key_alias), "another key has this alias"))
        for row in rejected:
            print(f"skipped: {row.name}: {row.reason}", file=sys.stderr)
        if any(key.team_id for key in keys):
            print(
                "note: the limits and models of LiteLLM's teams, users and organizations are not imported",
                file=sys.stderr,
            )
        summary = f"would import {len(keys)}" if dry_run else f"imported {outcomes.count('added')}"
        print(f"{summary}, already present {outcomes.count('present')}, skipped {len(rejected)}")
        return 1 if rejected else 0

    return database.run(config, run, writes=not dry_run)


def _configured_ids(config: Config) -> set[str]:
    """The ids of the configuration's own keys. LiteLLM's table may contain its master key, too."""
    general = config.general
    configured = (general.master_key, general.previous_master_key, general.metrics_token)
    return {hash_of(key.get_secret_value()) for key in configured if key is not None}


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
        key.id[:SHORT_ID],
    )


def _document(key: VirtualKey) -> dict[str, Any]:
    return {
        **{name: getattr(key, name) for name in VirtualKey.__slots__},
        "created": iso(key.created),
        "expires": None if key.expires is None else iso(key.expires),
    }
