"""Virtual keys on both databases: what is stored, what each change leaves behind, and what a worker knows of it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select, update

from proxy.accounting import key_settings
from proxy.accounting.authenticator import Authenticator
from proxy.accounting.end_user_store import EndUserStore
from proxy.accounting.key_cache import MIN_PAUSE, KeyCache
from proxy.accounting.key_secrets import hash_of
from proxy.accounting.key_store import KeyStore
from proxy.domain.caller import MASTER
from proxy.errors import BadRequest, ConfigError, Forbidden, NotFound, Unauthorized
from proxy.storage import tables
from proxy.storage.database import Database, Unavailable
from proxy.storage.tables import AUDIT, KEYS, REVISIONS
from tests.accounting.conftest import Postgres

MASTER_SECRET = "sk-test-7f3a9c21d4e8b605c0ffee"
Run = Callable[[Callable[[Database, KeyStore], Awaitable[Any]]], Any]
#: What would break a statement that was put together of texts, or the database's encoding.
NASTY = ["'; DROP TABLE keys; --", '" OR 1=1 --', "%_\\", "${jndi:ldap://x}", "naïve ☃ 名前", "a'b''c\"d", "$1 :x ?"]


def bearer(secret: str) -> dict[bytes, bytes]:
    return {b"authorization": f"Bearer {secret}".encode()}


async def rows(database: Database, table: Any) -> list[Any]:
    async with database.transaction() as connection:
        return list((await connection.execute(select(table))).all())


async def everything(database: Database) -> str:
    return "\n".join([repr(row) for table in tables.METADATA.sorted_tables for row in await rows(database, table)])


# -- what is stored ----------------------------------------------------------------------------------------------------


def test_of_a_key_only_its_hash_is_stored(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        secret, key = await key_store.generate({"key_alias": "one"}, "master")
        assert len(secret) >= len("sk-") + 22
        assert key.id == hashlib.sha256(secret.encode()).hexdigest()
        stored = await everything(database)
        assert key.id in stored
        assert secret not in stored
        assert secret.removeprefix("sk-") not in stored

    with_key_store(body)


def test_tables_show_keys_by_alias_or_as_they_are_displayed_with_their_owner(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        labels = {}
        for columns, label in (
            ({"key_alias": "one", "user_id": "u"}, "one"),
            ({"user_id": "u", "team_id": "t"}, "{name} (u)"),
            ({"team_id": "t"}, "{name} (t)"),
            ({}, "{name}"),
        ):
            _, key = await key_store.generate(columns, "master")
            labels[key.id] = label.format(name=key.key_name)
        await key_store.delete([key.id], "master")
        assert await key_store.labels([*labels, "master", "0" * 64]) == labels

    with_key_store(body)


def test_the_first_digits_of_an_id_name_a_key_if_it_is_the_only_one(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        _, key = await key_store.generate({}, "master")
        _, named = await key_store.generate({"key_alias": key.id[:20]}, "master")
        for digits in (key.id[:12], key.id[:12].upper(), key.id[:63], key.id):
            assert await key_store.complete(digits) == key.id
        for other in (key.id[:11], named.key_alias or "", "0" * 20, "master", "one"):
            assert await key_store.complete(other) == other
        twin = key.id[:30] + "0" * 34
        async with database.transaction() as connection:
            await connection.execute(update(KEYS).where(KEYS.c.id == named.id).values(id=twin, key_alias=None))
        with pytest.raises(BadRequest, match="Several keys"):
            await key_store.complete(key.id[:12])

    with_key_store(body)


def test_what_was_said_of_a_key_comes_back(with_key_store: Run) -> None:
    said = {
        "key_alias": "one",
        "user_id": "u",
        "team_id": "t",
        "models": ["tts", "naïve ☃"],
        "tags": ["eu"],
        "guardrails": ["no-cards"],
        "metadata": {"deep": {"er": [1, 2.5, None, "☃"]}},
        "blocked": True,
        "expires": 2_000_000_000_123,
    }

    async def body(database: Database, key_store: KeyStore) -> None:
        _, key = await key_store.generate(said, "master")
        found = await key_store.find(key.id)
        assert {name: getattr(found, name) for name in said} == said
        assert found == await key_store.find("one")

    with_key_store(body)


@pytest.mark.parametrize("text", NASTY)
def test_texts_are_values_and_nothing_else(with_key_store: Run, text: str) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        await key_store.generate({"key_alias": "other"}, "master")
        said = {"key_alias": text, "user_id": text, "team_id": text, "models": [text], "metadata": {text: text}}
        _, key = await key_store.generate(said, "master")
        assert (await key_store.find(text)).id == key.id
        found, total = await key_store.page({"user_id": text})
        assert ([one.id for one in found], total) == ([key.id], 1)
        await EndUserStore(database).block([text], blocked=True, actor=text)
        key_cache = KeyCache(database)
        await key_cache.refresh()
        assert key_cache.blocks(text)
        assert await key_store.delete([text], "master") == [key.id]
        assert len((await key_store.page())[0]) == 1

    with_key_store(body)


def test_aliases_are_unique_until_their_key_is_deleted(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        _, first = await key_store.generate({"key_alias": "one"}, "master")
        _, other = await key_store.generate({}, "master")
        with pytest.raises(BadRequest, match="alias"):
            await key_store.generate({"key_alias": "one"}, "master")
        with pytest.raises(BadRequest, match="alias"):
            await key_store.update(other.id, {"key_alias": "one"}, "master")
        await key_store.update(first.id, {"key_alias": "one", "user_id": "u"}, "master")
        await key_store.delete(["one"], "master")
        await key_store.generate({"key_alias": "one"}, "master")

    with_key_store(body)


def test_a_key_is_not_used_twice(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        secret, key = await key_store.generate({}, "master")
        with pytest.raises(BadRequest, match="used before"):
            await key_store.generate({}, "master", secret)
        await key_store.delete([key.id], "master")
        with pytest.raises(BadRequest, match="used before"):
            await key_store.generate({}, "master", secret)

    with_key_store(body)


def test_deleting_is_all_or_nothing(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        _, key = await key_store.generate({"key_alias": "one"}, "master")
        before = await everything(database)
        with pytest.raises(NotFound):
            await key_store.delete([key.id, "nobody"], "master")
        assert await everything(database) == before
        assert await key_store.delete([key.id, "one"], "master") == [key.id, key.id]

    with_key_store(body)


# -- the audit ---------------------------------------------------------------------------------------------------------


def test_every_change_leaves_one_audit_row_without_a_key(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        secret, key = await key_store.generate({"key_alias": "one", "models": ["tts"]}, "master")
        await key_store.update(key.id, {"user_id": "u"}, "master")
        await key_store.block(key.id, blocked=True, actor="master")
        await key_store.block(key.id, blocked=False, actor="master")
        second, replaced = await key_store.regenerate(key.id, {}, "command line")
        await key_store.delete(["one"], "master")
        await EndUserStore(database).block(["eve", "mallory"], blocked=True, actor="master")
        await EndUserStore(database).block(["eve"], blocked=False, actor="master")
        audit = sorted(await rows(database, AUDIT), key=lambda row: row.time)
        assert sorted((row.action, row.subject, row.actor) for row in audit) == sorted(
            [
                ("key.generate", key.id, "master"),
                ("key.update", key.id, "master"),
                ("key.block", key.id, "master"),
                ("key.unblock", key.id, "master"),
                ("key.regenerate", replaced.id, "command line"),
                ("key.delete", replaced.id, "master"),
                ("end_user.block", "eve", "master"),
                ("end_user.block", "mallory", "master"),
                ("end_user.unblock", "eve", "master"),
            ]
        )
        details = {row.action: json.loads(row.details) for row in audit}
        assert details["key.generate"] == {"key_alias": "one", "models": ["tts"]}
        assert details["key.regenerate"]["replaces"] == key.id
        assert details["key.delete"]["key_alias"] == "one"
        assert secret not in repr(audit)
        assert second not in repr(audit)

    with_key_store(body)


def test_a_change_that_fails_leaves_nothing(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        await key_store.generate({"key_alias": "one"}, "master")
        before = await everything(database)
        with pytest.raises(BadRequest):
            await key_store.generate({"key_alias": "one"}, "master")
        with pytest.raises(NotFound):
            await key_store.update("0" * 64, {"user_id": "u"}, "master")
        with pytest.raises(NotFound):
            await key_store.regenerate("0" * 64, {}, "master")
        assert await everything(database) == before

    with_key_store(body)


def test_changes_at_the_same_time_each_get_a_revision_of_their_own(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        await database.open()
        await asyncio.gather(*(key_store.generate({}, "master") for _ in range(12)))
        revisions = [row.revision for row in await rows(database, KEYS)]
        assert sorted(revisions) == list(range(1, 13))
        assert [row.value for row in await rows(database, REVISIONS)] == [12]

    with_key_store(body)


# -- what a worker knows -----------------------------------------------------------------------------------------------


class Scene:
    """Two workers' key caches on one database, and a count of the statements that they cost."""

    def __init__(self, database: Database, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.here, self.there = (KeyCache(database, clock=lambda: self.now) for _ in range(2))
        self.keys = Authenticator(master=MASTER_SECRET, key_cache=self.here)


def test_changes_reach_the_other_worker_with_its_next_look(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        scene = Scene(database)
        _, key = await key_store.generate(
            {"models": ["tts"], "user_id": "u", "tags": ["eu"], "guardrails": ["g"]}, "master"
        )
        for key_cache in (scene.here, scene.there):
            assert key_cache.find(key.id) is None
            await key_cache.refresh()
            caller = key_cache.find(key.id)
            assert caller is not None
            assert (caller.models, caller.user_id, caller.tags) == (frozenset({"tts"}), "u", ("eu",))
            assert caller.guardrails == ("g",)
        await key_store.update(key.id, {"models": ["whisper"]}, "master")
        await scene.there.refresh()
        changed = scene.there.find(key.id)
        assert changed is not None
        assert changed.models == {"whisper"}
        await key_store.block(key.id, blocked=True, actor="master")
        await scene.there.refresh()
        with pytest.raises(Forbidden) as blocked:
            scene.there.find(key.id)
        assert blocked.value.code == "key_blocked"
        await key_store.block(key.id, blocked=False, actor="master")
        await key_store.regenerate(key.id, {}, "master")
        await scene.there.refresh()
        assert scene.there.find(key.id) is None
        assert len(scene.there) == 1

    with_key_store(body)


def test_end_users_are_blocked_and_free_again(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        scene = Scene(database)
        await EndUserStore(database).block(["eve", "eve", "mallory"], blocked=True, actor="master")
        await scene.here.refresh()
        assert [scene.here.blocks(name) for name in ("eve", "mallory", "alice")] == [True, True, False]
        await EndUserStore(database).block(["eve"], blocked=False, actor="master")
        await scene.here.refresh()
        assert [scene.here.blocks(name) for name in ("eve", "mallory")] == [False, True]

    with_key_store(body)


def test_an_expired_key_ends_without_a_look(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        scene = Scene(database)
        columns = key_settings.read({"duration": "30s"}).columns(clock=lambda: scene.now)
        secret, _ = await key_store.generate(columns, "master")
        assert await scene.keys.look_up(bearer(secret)) is not None
        scene.now += 29
        assert scene.keys.cached_caller(bearer(secret)) is not None
        scene.now += 2
        with pytest.raises(Unauthorized) as raised:
            scene.keys.cached_caller(bearer(secret))
        assert (raised.value.status, raised.value.code) == (401, "expired_api_key")

    with_key_store(body)


def test_a_database_that_was_put_back_takes_keys_with_it(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        scene = Scene(database)
        _, old = await key_store.generate({}, "master")
        _, new = await key_store.generate({}, "master")
        await scene.here.refresh()
        assert len(scene.here) == 2
        async with database.transaction() as connection:
            await connection.execute(KEYS.delete().where(KEYS.c.id == new.id))
            await connection.execute(update(REVISIONS).values(value=1))
        await scene.here.refresh()
        assert scene.here.find(old.id) is not None
        assert scene.here.find(new.id) is None

    with_key_store(body)


def test_a_known_key_costs_no_query_and_a_thousand_guesses_a_few(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        scene, loop = Scene(database), asyncio.get_running_loop()
        secret, _ = await key_store.generate({}, "master")
        await scene.keys.look_up(bearer(secret))
        statements: list[str] = []
        engine = await database.open()
        event.listen(engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        for _ in range(1000):
            assert scene.keys.cached_caller(bearer(secret)) is not None
            assert scene.keys.cached_caller(bearer(MASTER_SECRET)) == MASTER
        assert statements == []

        async def guess(number: int) -> None:
            with pytest.raises(Unauthorized):
                await scene.keys.caller(bearer(f"sk-guess-{number:030}"))

        began = loop.time()
        for start in range(0, 1000, 250):
            await asyncio.gather(*(guess(number) for number in range(start, start + 250)))
        looks = (loop.time() - began) / MIN_PAUSE + 1
        assert 0 < len(statements) <= min(looks, 10)
        assert all("revisions" in statement for statement in statements)

    with_key_store(body)


def test_what_cannot_be_a_virtual_key_costs_nothing(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        keys = Authenticator(master=MASTER_SECRET, key_cache=KeyCache(database))
        for header in (b"", b"Bearer", b"Bearer any", b"Basic sk-abc", b"Bearer \xff\xfe", b"Token sk-abc"):
            with pytest.raises(Unauthorized):
                keys.cached_caller({b"authorization": header})
        with pytest.raises(Unauthorized):
            keys.cached_caller({})
        assert database._engine is None

    with_key_store(body)


def test_a_look_that_began_before_a_key_was_made_does_not_refuse_it(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        keys = Authenticator(master=MASTER_SECRET, key_cache=KeyCache(database))
        for _ in range(5):
            guessing = asyncio.gather(
                *(keys.caller(bearer(f"sk-{number:043}")) for number in range(20)), return_exceptions=True
            )
            secret, key = await key_store.generate({}, "master")
            assert (await keys.caller(bearer(secret))).key_id == key.id
            assert all(isinstance(outcome, Unauthorized) for outcome in await guessing)

    with_key_store(body)


def test_while_the_database_is_away_known_keys_go_on_and_unknown_ones_wait(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = postgres.new()

    async def body() -> None:
        database = Database(url)
        key_store, key_cache = KeyStore(database), KeyCache(database)
        keys = Authenticator(master=MASTER_SECRET, key_cache=key_cache)
        secret, _ = await key_store.generate({}, "master")
        late, _ = await key_store.generate({}, "master")
        unknown, _ = await key_store.generate({}, "master")
        await keys.look_up(bearer(secret))
        newer = Authenticator(master=MASTER_SECRET, key_cache=KeyCache(database))
        postgres.stop()
        try:
            assert keys.cached_caller(bearer(secret)) is not None
            assert newer.cached_caller(bearer(MASTER_SECRET)) == MASTER
            for one in (late, unknown, "sk-no-key-of-ours-0123456789abcdef"):
                with pytest.raises(Unavailable) as raised:
                    await newer.caller(bearer(one))
                assert raised.value.status == 503
                assert "postgres" not in raised.value.message
        finally:
            postgres.start()
        for _ in range(100):
            try:
                assert (await newer.caller(bearer(late))).key_id == hash_of(late)
                break
            except Unavailable:
                await asyncio.sleep(0.1)
        else:
            raise AssertionError("the database did not come back")
        await database.aclose()

    asyncio.run(body())


def test_a_database_that_hangs_is_waited_for_only_so_long(with_key_store: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        key_cache = KeyCache(database)
        keys = Authenticator(master=MASTER_SECRET, key_cache=key_cache)
        secret, _ = await key_store.generate({}, "master")
        await keys.look_up(bearer(secret))
        monkeypatch.setattr(database, "transaction", lambda: _Hanging())
        monkeypatch.setattr("proxy.accounting.key_cache.MAX_WAIT", 0.05)
        guesses = [keys.caller(bearer(f"sk-{number:043}")) for number in range(50)]
        outcomes = await asyncio.gather(*guesses, return_exceptions=True)
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
        assert keys.cached_caller(bearer(secret)) is not None
        with pytest.raises(Unavailable):
            await keys.caller(bearer("sk-another-0123456789abcdefghijkl"))
        await key_cache.aclose()

    with_key_store(body)


class _Hanging:
    async def __aenter__(self) -> None:
        await asyncio.Event().wait()

    async def __aexit__(self, *_: object) -> None:
        pass


def test_a_database_of_a_newer_program_is_refused(with_database: Callable[..., Any], database_url: str) -> None:
    async def age(database: Database) -> None:
        async with database.transaction() as connection:
            await connection.exec_driver_sql(
                "UPDATE "
                + ("" if database.is_sqlite else "audio_proxy.")
                + "audio_proxy_version SET version_num = '9999'"
            )

    with_database(age)

    async def body(database: Database) -> None:
        with pytest.raises(ConfigError, match="newer"):
            await database.open()
        with pytest.raises(Unavailable):
            await KeyCache(database).refresh()

    with_database(body)


def test_ten_thousand_keys_are_known_within_one_look(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        row = {"key_name": "sk-...", "models": "[]", "tags": "[]", "metadata": "{}", "blocked": False, "created": 1}
        many = [{"id": f"{number:064x}", **row, "deleted": False, "revision": 1} for number in range(10_000)]
        async with database.transaction() as connection:
            await connection.execute(insert(KEYS), many)
            await connection.execute(update(REVISIONS).values(value=1))
            assert (await connection.execute(select(func.count()).select_from(KEYS))).scalar() == 10_000
        key_cache = KeyCache(database)
        await key_cache.refresh()
        assert len(key_cache) == 10_000
        assert key_cache.find(f"{9_999:064x}") is not None

    with_key_store(body)
