"""A database of an earlier version keeps its rows."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from proxy.accounting.refusals import Refusals
from proxy.accounting.usage_reports import Selection, UsageReports
from proxy.domain.call import Call
from proxy.storage import database as module
from proxy.storage.call_writer import CallWriter
from proxy.storage.database import SCHEMA, Database

EARLIER = (
    "INSERT INTO {schema}calls "
    "(id, time, request_id, endpoint, model, status, total_ms, bytes_in, bytes_out, attempts) "
    "VALUES ('old', 1, 'req_old', 'speech', 'tts', 200, 1.5, 1, 2, 1)"
)
LATER = (
    b'{"id":"new","time":2,"request_id":"req_new","endpoint":"speech","model":"tts","status":502,"total_ms":1.5,'
    b'"bytes_in":1,"bytes_out":2,"attempts":1,"error":"upstream","error_message":"It failed.","error_detail":"500"}'
)


def test_the_first_version_becomes_the_newest(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def opened(body: Any) -> Any:
        database = Database(database_url)
        try:
            return await body(database)
        finally:
            await database.aclose()

    async def earlier(database: Database) -> None:
        async with database.transaction() as connection:
            statement = EARLIER.format(schema="" if database.is_sqlite else f"{SCHEMA}.")
            await connection.exec_driver_sql(statement)

    async def later(database: Database) -> list[dict[str, Any]]:
        await CallWriter(database).insert([LATER])
        refusals = Refusals(database)
        call = Call("req_refused", "speech", time.perf_counter())
        call.status, call.error, call.message = 401, "unauthorized", "No key."
        refusals.add(call)
        await refusals.write()
        rows, _ = await UsageReports(database).calls(Selection(refusals=True), 10)
        return rows

    newest = module.HEAD
    monkeypatch.setattr(module, "HEAD", "0001")
    asyncio.run(opened(earlier))
    monkeypatch.setattr(module, "HEAD", newest)
    rows = asyncio.run(opened(later))
    found = [(row["request_id"], row["error_message"], row["error_detail"]) for row in rows]
    assert found == [("req_refused", "No key.", None), ("req_new", "It failed.", "500"), ("req_old", None, None)]
