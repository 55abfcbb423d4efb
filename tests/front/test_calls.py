"""The error of a call is found by its request id, over HTTP and by ``audio-proxy calls``; without what was said."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from proxy.accounting import refusals
from proxy.accounting.usage_reports import ROW_SECONDS
from proxy.domain.call import Call
from proxy.storage.database import Database
from proxy.storage.tables import REFUSALS
from tests.conftest import CARD, MASTER_KEY, Server, command, environment, launch, standard_config
from tests.fakes import answers
from tests.fakes.upstream import KEY, Upstream
from tests.front.shape import error_of

SAID = "Dear Anna, your appointment on Monday is confirmed."
MASTER = {"authorization": f"Bearer {MASTER_KEY}"}


class Desk:
    def __init__(self, server: Server) -> None:
        self.server = server
        made = httpx.post(server.url + "/key/generate", json={"key_alias": "reader", "models": ["tts"]}, headers=MASTER)
        self.key = made.json()["key"]

    def speak(self, model: str = "tts", key: str = MASTER_KEY, **fields: Any) -> httpx.Response:
        body = {"model": model, "input": SAID, "voice": "alloy"} | fields
        headers = {"authorization": f"Bearer {key}"}
        with contextlib.suppress(httpx.RemoteProtocolError):  # an answer that breaks off
            return httpx.post(self.server.url + "/v1/audio/speech", json=body, headers=headers, timeout=20)
        return httpx.Response(200)

    def calls(self, key: str = MASTER_KEY, **query: Any) -> list[dict[str, Any]]:
        headers = {"authorization": f"Bearer {key}"}
        answer = httpx.get(self.server.url + "/usage/calls", params=query, headers=headers)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["data"]
        return rows

    def call(self, answer: httpx.Response) -> dict[str, Any]:
        (row,) = self.calls(request_id=answer.headers["x-request-id"])
        return row

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        path = self.server.config_path
        return command("calls", "--config", str(path), *options, folder=path.parent)

    @contextlib.contextmanager
    def following(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        path = self.server.config_path
        words = [sys.executable, "-m", "proxy", "calls", "--config", str(path), "--follow", *options]
        # A shell starts what runs in the background with SIGINT ignored, and children inherit that.
        process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(path.parent),
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture(scope="module")
def desk(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    running = launch(standard_config(fake.url), tmp_path_factory.mktemp("calls"))
    yield Desk(running)
    assert running.stop() == 0, running.log()  # which looks for secrets in the log, the database and the journal


# -- over HTTP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "answer", "status", "error", "message"),
    [
        ("nobody-has-it", None, 404, "not_found", "The model 'nobody-has-it' does not exist"),
        ("tts", answers.ERRORS[400], 400, "upstream_rejected", "'voice' does not support 'bob'"),
        ("tts", answers.ERRORS[429], 429, "upstream_rate_limited", ""),
        ("tts", answers.ERRORS[500], 500, "upstream_unavailable", ""),
        ("nowhere", None, 502, "upstream_unreachable", ""),
        ("bad-key", None, 502, "upstream_credentials", "refused the credentials"),
        ("impatient", None, 504, "upstream_timeout", ""),
    ],
)  # fmt: skip
def test_the_error_of_a_failed_call(
    upstream: Upstream, desk: Desk, model: str, answer: Any, status: int, error: str, message: str
) -> None:
    if answer is not None:
        upstream.behave("tts-1", answer=answer)
    if model == "impatient":
        upstream.behave("impatient", first_delay=5)
    refused = desk.speak(model)
    told = error_of(refused, status)["message"]
    row = desk.call(refused)
    assert (row["status"], row["error"]) == (status, error)
    assert message in row["error_message"]
    if "'" not in told and "`" not in told:
        assert told.startswith(row["error_message"])  # the answer ends with the request id
    if status >= 500:
        assert row["error_detail"]


@pytest.mark.parametrize("fields", [{"voice": ""}, {"speed": "fast"}, {"stream_format": "tape"}, {"input": ""}])
def test_the_error_of_a_malformed_call(desk: Desk, fields: dict[str, Any]) -> None:
    refused = desk.speak(**fields)
    told = error_of(refused, 400)["message"]
    row = desk.call(refused)
    assert (row["status"], row["error"], row["error_message"]) == (400, "bad_request", told)


@pytest.mark.parametrize("authorization", [None, "Bearer sk-wrong-0123456789", "Basic abc"])
def test_the_error_of_a_call_without_a_valid_key(desk: Desk, authorization: str | None) -> None:
    headers = {"authorization": authorization} if authorization is not None else {}
    for path in ("/v1/audio/speech", "/v1/audio/transcriptions"):
        refused = httpx.post(desk.server.url + path, json={"model": "tts", "input": SAID}, headers=headers)
        assert refused.status_code == 401
        row = desk.call(refused)
        assert (row["status"], row["error"], row["key"], row["cost"]) == (401, "unauthorized", None, "0")
        assert row["error_message"].startswith(error_of(refused)["message"][:20])
        assert desk.calls(key=desk.key, request_id=row["request_id"]) == []  # a virtual key sees its own calls only


def test_an_answer_that_broke_off(upstream: Upstream, desk: Desk) -> None:
    upstream.behave("tts-1", chunk_size=64, stop_after=3, stop="reset")
    desk.speak()
    time.sleep(ROW_SECONDS)
    row = desk.calls(failed=True, model="tts", limit=1)[0]
    assert (row["status"], row["error"]) == (200, "upstream_unreachable")
    assert row["error_message"]


def test_a_success_has_no_error_and_its_keys_alias(upstream: Upstream, desk: Desk) -> None:
    row = desk.call(desk.speak(key=desk.key))
    assert (row["status"], row["error"], row["error_message"], row["error_detail"]) == (200, None, None, None)
    assert (row["key_alias"], row["deployment"]) == ("reader", "tts/openai/tts-1")
    assert row["request_id"] not in [failed["request_id"] for failed in desk.calls(failed=True)]


def test_a_virtual_key_sees_what_it_was_told_and_no_more(upstream: Upstream, desk: Desk) -> None:
    upstream.behave("tts-1", answer=answers.ERRORS[500])
    identity = desk.speak(key=desk.key).headers["x-request-id"]
    (own,) = desk.calls(key=desk.key, request_id=identity)
    (operators,) = desk.calls(request_id=identity)
    assert own["error_detail"] is None
    assert operators["error_detail"]
    assert own == operators | {"error_detail": None}
    others = desk.speak("nobody-has-it").headers["x-request-id"]
    assert desk.calls(key=desk.key, request_id=others) == []


@pytest.mark.parametrize("query", [{"request_id": "req_nobody"}, {"request_id": "%' OR 1=1 --"}])
def test_an_id_that_no_call_has(desk: Desk, query: dict[str, str]) -> None:
    assert desk.calls(**query) == []


def test_odd_queries_are_refused(desk: Desk) -> None:
    for query in ({"request_id": "a\x00"}, {"failed": "perhaps"}, {"requestid": "a"}):
        error_of(httpx.get(desk.server.url + "/usage/calls", params=query, headers=MASTER), 400)


def test_failed_calls_are_paged(desk: Desk) -> None:
    for number in range(4):
        httpx.post(desk.server.url + "/v1/audio/speech", json={}, headers={"authorization": f"Bearer sk-{number}"})
        desk.speak("nobody-has-it")
    time.sleep(ROW_SECONDS + 1)
    seen: list[str] = []
    cursor = None
    while len(seen) < 8:
        query = {"failed": True, "limit": 3} | ({"cursor": cursor} if cursor else {})
        page = httpx.get(desk.server.url + "/usage/calls", params=query, headers=MASTER).json()
        seen += [row["request_id"] for row in page["data"]]
        cursor = page["next_cursor"]
    assert len(set(seen)) == len(seen)
    statuses = [desk.calls(request_id=identity)[0]["status"] for identity in seen[:8]]
    assert sorted(statuses) == [401] * 4 + [404] * 4


def test_nothing_of_what_was_said_is_kept(upstream: Upstream, desk: Desk) -> None:
    """Vendors repeat texts and keys in their errors, and callers write them into the wrong fields."""
    secret = f"{KEY} {CARD}"
    upstream.behave("*", answer=answers.error(400, f"Your input '{SAID}' with key {KEY} contains {CARD}."))
    identities = [
        desk.speak(**fields).headers["x-request-id"]
        for fields in ({}, {"voice": secret}, {"model": secret}, {"response_format": secret}, {"model": KEY})
    ]
    files = {"file": (f"{SAID}.wav", b"RIFF" + bytes(50), "audio/wav")}
    data = {"model": "whisper", "prompt": SAID, "response_format": secret}
    refused = httpx.post(desk.server.url + "/v1/audio/transcriptions", data=data, files=files, headers=MASTER)
    rows = [desk.calls(request_id=identity)[0] for identity in [*identities, refused.headers["x-request-id"]]]
    assert all(row["error_message"] for row in rows)
    kept = json.dumps(rows) + "".join(line for row in rows for line in desk.server.log_lines(row["request_id"]))
    for said in ("Anna", "appointment", "Monday", KEY, CARD, "3813"):
        assert said not in kept


# -- on the command line -----------------------------------------------------------------------------------------------


def test_the_command_finds_a_call_by_its_id(upstream: Upstream, desk: Desk) -> None:
    upstream.behave("tts-1", answer=answers.ERRORS[500])
    identity = desk.speak(key=desk.key).headers["x-request-id"]
    found = desk.run("--request-id", identity)
    assert (found.returncode, found.stderr) == (0, "")
    lines = dict(line.split(None, 1) for line in found.stdout.splitlines() if line)
    assert lines["request_id"] == identity
    assert lines["key_alias"] == "reader"
    assert lines["error"] == "upstream_unavailable"
    assert lines["error_message"]
    (document,) = map(json.loads, desk.run("--request-id", identity, "--json").stdout.splitlines())
    assert document == desk.calls(request_id=identity)[0]
    missing = desk.run("--request-id", "req_nobody")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "req_nobody" in missing.stderr


def test_the_command_lists_the_newest_last(upstream: Upstream, desk: Desk) -> None:
    good = desk.speak(key=desk.key)
    bad = desk.speak("nobody-has-it", key=desk.key)
    stranger = desk.speak(key="sk-stranger-0123456789")
    for answer in (good, bad, stranger):
        desk.call(answer)
    identities = [answer.headers["x-request-id"] for answer in (good, bad, stranger)]

    def listed(*options: str) -> list[str]:
        ended = desk.run(*options)
        assert (ended.returncode, ended.stderr) == (0, "")
        head, *rows = ended.stdout.splitlines()
        assert head.startswith("time (UTC)")
        assert all(row.isprintable() for row in rows)
        return rows

    rows = listed("--limit", "3")
    assert [re.findall(r"req_\w{32}", row) for row in rows] == [[identity] for identity in identities]
    assert "tts/openai/tts-1" in rows[0]
    assert "reader" in rows[0]
    assert "not_found: The model 'nobody-has-it' does not exist" in rows[1]
    assert "401" in rows[2]
    assert [identities[1] in row for row in listed("--failed", "--limit", "2")] == [True, False]
    assert all("reader" in row for row in listed("--key", "reader"))
    assert len(listed("--key", "reader", "--model", "tts", "--limit", "1")) == 1
    assert len(listed("--since", "1h", "--limit", "2")) == 2
    assert listed("--since", "2100-01-01") == []
    assert listed("--model", "no-such-model") == []


def test_a_key_of_the_table_can_be_asked_for(upstream: Upstream, desk: Desk) -> None:
    made = httpx.post(desk.server.url + "/key/generate", json={}, headers=MASTER).json()
    answer = desk.speak(key=made["key"])
    desk.call(answer)
    (line,) = desk.run("--request-id", answer.headers["x-request-id"], "--json").stdout.splitlines()
    key = json.loads(line)["key"]
    (row,) = (line for line in desk.run("--limit", "5").stdout.splitlines() if answer.headers["x-request-id"] in line)
    (shown,) = (cell for cell in row.split() if key.startswith(cell))
    found = desk.run("--key", shown).stdout.splitlines()
    assert [re.findall(r"req_\w{32}", line) for line in found[1:]] == [[answer.headers["x-request-id"]]]


@pytest.mark.parametrize(
    ("options", "status", "named"),
    [
        (["--since", "yesterday"], 1, "--since must be a date"),
        (["--key", "nobody"], 1, "alias"),
        (["--limit", "0"], 2, "limit"),
    ],
)
def test_the_command_refuses_what_it_does_not_understand(
    desk: Desk, options: list[str], status: int, named: str
) -> None:
    ended = desk.run(*options)
    assert (ended.returncode, ended.stdout) == (status, "")
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("as_json", [False, True])
def test_follow_shows_each_new_call_once_until_it_is_interrupted(upstream: Upstream, desk: Desk, as_json: bool) -> None:
    earlier = desk.call(desk.speak())["request_id"]
    with desk.following("--limit", "1", *(["--json"] if as_json else [])) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = [process.stdout.readline() for _ in range(1 if as_json else 2)]
        assert earlier in first[-1]
        new = [desk.speak(), desk.speak("nobody-has-it"), desk.speak(key="sk-stranger-0123456789")]
        found = [process.stdout.readline() for _ in range(3)]
        wanted = {answer.headers["x-request-id"] for answer in new}
        assert {identity for line in found for identity in re.findall(r"req_\w{32}", line)} == wanted
        time.sleep(2.2)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        assert process.stderr.read() == ""
        assert process.wait(10) == 130


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_a_flood_of_refusals_fills_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "KEPT", 150)
    now = 1_800_000_000.0

    async def scene() -> tuple[list[int], list[str]]:
        database = Database(f"sqlite:///{tmp_path / 'records.db'}")
        kept = refusals.Refusals(database, retention=2, clock=lambda: now)
        counts = []

        async def count() -> int:
            async with database.transaction() as connection:
                return int((await connection.execute(select(func.count()).select_from(REFUSALS))).scalar_one())

        async def flood(name: str) -> None:
            for number in range(1000):
                call = Call(f"{name}-{number}", "speech", time.perf_counter())
                call.status, call.error, call.message = 401, "unauthorized", "Incorrect API key provided."
                kept.add(call)
            await kept.write()
            counts.append(await count())

        nonlocal now
        await flood("first")
        now += 1
        await flood("second")
        now += 3 * 86_400
        await flood("third")
        async with database.transaction() as connection:
            ids = [str(row) for row in (await connection.execute(select(REFUSALS.c.request_id))).scalars()]
        now += 3 * 86_400
        await kept.write()
        remaining = await count()
        await database.aclose()
        return [*counts, remaining], ids

    counts, ids = asyncio.run(scene())
    assert counts == [100, 150, 100, 0]
    assert set(ids) == {f"third-{number}" for number in range(900, 1000)}
