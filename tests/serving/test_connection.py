"""One connection: its timers, its pipelined requests, and the responses of an application that breaks ASGI's rules."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime

import pytest
from starlette.types import Receive, Scope, Send

from proxy.serving import protocol
from proxy.serving.cycle import Cycle
from proxy.serving.protocol import HttpProtocol
from proxy.serving.reader import RequestReader
from tests.serving.listening import listening, request, responses, soon

START = {"type": "http.response.start", "status": 200, "headers": []}


def part(body: bytes, *, more: bool = False) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send(START | {"headers": [(b"content-length", b"5")]})
    await send(part(b"hello"))


def test_every_response_has_the_date() -> None:
    fields = responses(hello, request()).partition(b"\r\n\r\n")[0].split(b"\r\n")
    [date] = [value for name, _, value in (field.partition(b": ") for field in fields) if name.lower() == b"date"]
    assert abs(parsedate_to_datetime(date.decode()).timestamp() - time.time()) < 5


def test_a_status_without_a_standard_phrase() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START | {"status": 599})
        await send(part(b""))

    assert responses(application, request()).startswith(b"HTTP/1.1 599 \r\n")


# -- incomplete responses ----------------------------------------------------------------------------------------------


def answered(*messages: dict[str, object], raises: bool = False) -> bytes:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if raises:
            raise RuntimeError("the application failed")

    return responses(application, request(closes=False))


@pytest.mark.parametrize("raises", [True, False])
def test_no_response_at_all_is_a_500(raises: bool) -> None:
    answer = answered(raises=raises)
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"\r\nconnection: close\r\n" in answer
    assert answer.endswith(b"\r\n\r\nInternal Server Error")


@pytest.mark.parametrize("raises", [True, False])
def test_an_unfinished_response_does_not_look_complete(raises: bool) -> None:
    answer = answered(START, part(b"some", more=True), raises=raises)
    assert answer.endswith(b"\r\n\r\n4\r\nsome\r\n")


@pytest.mark.parametrize(("body", "received"), [(b"too long", b""), (b"few", b"few")], ids=["longer", "shorter"])
def test_a_response_that_does_not_match_its_length_is_cut(body: bytes, received: bytes) -> None:
    answer = answered(START | {"headers": [(b"content-length", b"5")]}, part(body))
    assert answer.partition(b"\r\n\r\n")[2] == received


# -- timers ------------------------------------------------------------------------------------------------------------


async def closed_after(*pieces: bytes) -> bytes:
    async with listening(hello) as (reader, writer):
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.01)
        return await soon(reader.read())


@pytest.mark.parametrize("pieces", [[], [request()[:20]], [request()[:20], request()[20:30]]])
def test_a_head_that_is_too_slow(monkeypatch: pytest.MonkeyPatch, pieces: Sequence[bytes]) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    assert asyncio.run(closed_after(*pieces)) == b""


def test_a_second_head_that_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    assert asyncio.run(closed_after(request(closes=False), request()[:20])).endswith(b"hello")


# -- pipelined requests ------------------------------------------------------------------------------------------------


def test_responses_keep_the_order_of_their_requests() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        await asyncio.sleep(0.05 / int(body))
        await send(START | {"headers": [(b"content-length", b"1")]})
        await send(part(body))

    requests = [request(closes=number == 3, body=b"%d" % number) for number in (1, 2, 3)]
    answers = responses(application, b"".join(requests)).split(b"HTTP/1.1 200 OK")
    assert [answer[-1:] for answer in answers[1:]] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_client_that_leaves_is_reported_to_the_running_request(count: int) -> None:
    """However many requests wait for it."""

    async def run() -> None:
        running, gone = asyncio.Event(), asyncio.Event()

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            running.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        async with listening(application) as (_, writer):
            writer.write(request(closes=False) * count)
            await soon(running.wait())
            writer.close()
            await soon(gone.wait())

    asyncio.run(run())


def test_a_closed_connection_leaves_no_garbage() -> None:
    """Garbage collections are rare; see proxy/serving/memory.py."""

    async def run() -> list[object]:
        async with listening(hello) as (reader, writer):
            writer.write(request(closes=False) + request())
            await soon(reader.read())
        await asyncio.sleep(0.05)
        return [left for left in gc.get_objects() if isinstance(left, HttpProtocol | RequestReader | Cycle)]

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(run()) == []
    finally:
        gc.enable()
