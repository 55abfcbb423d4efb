"""Who used what and what it cost: sums, and the calls themselves; as JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from proxy.accounting.keys import is_reference, key_id_of
from proxy.accounting.usage import FILTERS, MAX_CALLS, NUMBERS, Selection, UsageReports, groups, selection
from proxy.api.access import reader
from proxy.domain.caller import Caller
from proxy.errors import BadRequest, Forbidden

_PERIOD = ("start", "end")
#: What spreadsheets take for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Text = str | None
Format = Literal["json", "csv"]
Reader = Annotated[Caller, Depends(reader)]


def router(usage: UsageReports) -> APIRouter:
    routes = APIRouter(tags=["usage"])

    @routes.get("/usage")
    async def report(
        request: Request,
        found: Reader,
        start: Annotated[Text, Query(description="A date or a timestamp, UTC.")] = None,
        end: Annotated[Text, Query(description="A date, which is included, or a timestamp, which is not.")] = None,
        group_by: Annotated[Text, Query(description="Such as model,end_user.")] = None,
        format: Format = "json",
    ) -> Response:
        """Sums over the calls, also by ``key``, ``user``, ``team``, ``end_user``, ``tag``, ``model``, ``vendor``."""
        chosen = _selection(request, found, "group_by", "format")
        names = groups(group_by)
        sums = await usage.report(chosen, names)
        if format == "csv":
            return _csv(as_csv(columns_of(names), sums.rows if names else [sums.total]))
        answer = {"object": "list", "data": sums.rows, "total": sums.total}
        return JSONResponse({**answer, "truncated": True} if sums.truncated else answer)

    @routes.get("/usage/calls")
    async def calls(
        request: Request,
        found: Reader,
        start: Text = None,
        end: Text = None,
        limit: Annotated[int, Query(ge=1, le=MAX_CALLS)] = 100,
        cursor: Annotated[Text, Query(description="The next_cursor of the page before.")] = None,
        format: Format = "json",
    ) -> Response:
        """The calls, newest first."""
        chosen = _selection(request, found, "limit", "cursor", "format")
        rows, more = await usage.calls(chosen, limit, cursor)
        if format == "csv":
            response = _csv(as_csv(list(rows[0]) if rows else [], rows))
            if more is not None:
                response.headers["x-next-cursor"] = more
            return response
        return JSONResponse({"object": "list", "data": rows, "has_more": more is not None, "next_cursor": more})

    return routes


def _selection(request: Request, found: Caller, *also: str) -> Selection:
    """What the query asks for; of a virtual key's calls, only its own."""
    query = request.query_params
    known = (*_PERIOD, *FILTERS, *also)
    for name in query:
        if name not in known:
            raise BadRequest(f"Unknown parameter '{name[:80]}'. Known: {', '.join(known)}.", param=name[:80])
    equal = {name: query[name] for name in FILTERS if query.get(name)}
    if not found.is_master:
        named = equal.get("key")
        if named is not None and named != found.alias and (not is_reference(named) or key_id_of(named) != found.key_id):
            raise Forbidden("A key sees its own calls only.", param="key")
        equal["key"] = found.key_id or ""
    return selection(query.get("start"), query.get("end"), equal)


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
    """Texts come from clients; none may become a formula."""
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
