"""Who used what and what it cost: sums, and the calls themselves; as JSON or CSV."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse

from proxy.accounting.key_secrets import is_reference, key_id_of
from proxy.accounting.usage_reports import NUMBERS, ROW_SECONDS, Selection, UsageReports, groups
from proxy.api.access import Reader
from proxy.api.usage_models import CallPage, CallsQuery, Sums, SumsQuery
from proxy.domain.caller import Caller
from proxy.errors import Forbidden

#: Spreadsheets interpret a text that begins with such a sign, also in full width, as a formula. Some skip white space,
#: byte order marks and other invisible characters before it.
_FORMULA = re.compile(
    "[\\t\\r\\n]|[\\s\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*"
    "[=+\\-@|%\u2212\ufe62\ufe63\ufe66\ufe6b\uff05\uff0b\uff0d\uff1d\uff20\uff5c]"
)
_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


def router(reports: UsageReports) -> APIRouter:
    routes = APIRouter(tags=["usage"])

    @routes.get("/usage", response_model=Sums, responses=_CSV)
    async def usage(caller: Reader, query: Annotated[SumsQuery, Query()]) -> Response:
        """Sums over the calls, in all and by group."""
        selected, group_by = _selection(caller, query), groups(query.group_by)
        report = await reports.report(selected, group_by)
        if query.format == "csv":
            return _csv(as_csv(columns_of(group_by), report.rows if group_by else [report.total]))
        # Not a `Sums`, whose fields would always be in the same order.
        answer = {"object": "list", "data": report.rows, "total": report.total}
        return JSONResponse({**answer, "truncated": True} if report.truncated else answer)

    @routes.get("/usage/calls", response_model=CallPage, responses=_CSV)
    async def list_calls(caller: Reader, query: Annotated[CallsQuery, Query()]) -> CallPage | Response:
        """The calls, the newest first. In CSV, the header ``x-next-cursor`` has the cursor of the next page."""
        rows, cursor = await reports.calls(_selection(caller, query), query.limit, query.cursor)
        if not rows and query.request_id and query.cursor is None:
            # Rows are on their way to the database for about a second.
            await asyncio.sleep(ROW_SECONDS)
            rows, cursor = await reports.calls(_selection(caller, query), query.limit)
        if not caller.is_master:
            rows = [{**row, "error_detail": None} for row in rows]
        if query.format == "csv":
            response = _csv(as_csv(list(rows[0]) if rows else [], rows))
            if cursor is not None:
                response.headers["x-next-cursor"] = cursor
            return response
        return CallPage.model_validate({"data": rows, "has_more": cursor is not None, "next_cursor": cursor})

    return routes


def _selection(caller: Caller, query: SumsQuery | CallsQuery) -> Selection:
    """What the query selects; of a virtual key's calls, only its own."""
    if caller.is_master:
        return query.selection()
    key = query.key
    if key and key != caller.alias and (not is_reference(key) or key_id_of(key) != caller.key_id):
        raise Forbidden("A key may only see its own calls.", param="key")
    return query.selection(key=caller.key_id or "")


def columns_of(group_by: Sequence[str]) -> list[str]:
    groups = [column for name in group_by for column in (("key", "key_alias") if name == "key" else (name,))]
    return [*groups, *NUMBERS]


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def _csv(text: str) -> Response:
    return Response(text, media_type="text/csv; charset=utf-8")


def _cell(value: Any) -> Any:
    """Texts come from clients and must not become formulas."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value
