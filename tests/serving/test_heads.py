"""What a gateway in front sets or strips cannot be undone: heads are frozen, and say each thing once."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.types import Receive, Scope, Send

from tests.serving.listening import listening, request, responses, soon


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Waits for the whole body, and answers with the headers as they are then."""
    while (await receive()).get("more_body"):
        pass
    fields = sorted(f"{name.decode()}: {value.decode()}" for name, value in scope["headers"])
    body = json.dumps(fields).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


CHUNKED = b"5\r\nhello\r\n0\r\n"


@pytest.mark.parametrize("name", ["Authorization", "x-proxy-end-user-id", "x-request-id", "Host", "Content-Type"])
@pytest.mark.parametrize("is_large", [True, False])
def test_trailers_of_a_request_are_dropped(name: str, is_large: bool) -> None:
    chunk = b"%x\r\n%b\r\n" % (100_000, b"a" * 100_000) if is_large else b""
    sent = (
        request(f"{name}: mine", "Transfer-Encoding: chunked")
        if name != "Host"
        else request("Transfer-Encoding: chunked")
    )
    answer = responses(echo, sent + chunk + CHUNKED + f"{name}: other\r\n\r\n".encode())
    assert b"200 OK" in answer
    assert b"other" not in answer


def test_trailers_count_for_the_size_of_the_head() -> None:
    trailers = b"".join(b"x-%d: %b\r\n" % (number, b"a" * 1000) for number in range(80))
    answer = responses(echo, request("Transfer-Encoding: chunked") + CHUNKED + trailers + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "name",
    ["Authorization", "Content-Type", "api-key", "X-Api-Key", "x-request-id", "x-proxy-timeout", "X-Proxy-Anything"],
)
def test_two_of_a_kind_are_refused(name: str) -> None:
    answer = responses(echo, request(f"{name}: a", f"{name.upper()}: a"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"x-request-id: " in head
    assert json.loads(body)["error"]["message"] == f"The header '{name.lower()}' must be sent only once."


def test_two_hosts_or_none_are_refused() -> None:
    assert b"'host' must be sent only once" in responses(echo, request("Host: other.test"))
    assert b"'Host' is missing" in responses(echo, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert responses(echo, b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_other_fields_may_be_repeated() -> None:
    answer = responses(echo, request("Accept: a", "Accept: b", "X-Forwarded-For: c", "X-Forwarded-For: d"))
    assert all(field in answer for field in (b"accept: a", b"accept: b", b"x-forwarded-for: c", b"x-forwarded-for: d"))


@pytest.mark.parametrize("url", ["http://", "*", "/\u00e4", "//", "example.com:443", "http://[::1", "?a=b"])
def test_no_url_is_a_fault_of_ours(url: str) -> None:
    answer = responses(echo, f"GET {url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert answer[9:12] in (b"200", b"400")


# -- pipelines ---------------------------------------------------------------------------------------------------------


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"10")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"first", "more_body": True})
    await asyncio.sleep(0.05)
    await send({"type": "http.response.body", "body": b" half"})


@pytest.mark.parametrize(
    "broken",
    [b"\x00\x01\x02\r\n\r\n", request("Host: twice"), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"],
    ids=["no HTTP", "two hosts", "no length"],
)
def test_a_broken_second_request_does_not_touch_the_first_answer(broken: bytes) -> None:
    answer = responses(slow, request(closes=False) + broken)
    first, second = answer.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200 ")
    assert first.endswith(b"first half")
    assert second.startswith(b"400 ")


def test_a_broken_third_request_comes_after_the_second() -> None:
    answer = responses(slow, request(closes=False) * 2 + b"\x00\r\n\r\n" + request())
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"400"]


def test_a_broken_body_is_the_answer_to_its_request() -> None:
    broken = request("Transfer-Encoding: chunked", closes=False) + b"no number\r\n"
    assert responses(echo, broken).startswith(b"HTTP/1.1 400 ")
    answer = responses(slow, request(closes=False) + broken)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400"]


def test_a_broken_body_cuts_an_answer_that_has_begun() -> None:
    async def run() -> bytes:
        async with listening(slow) as (reader, writer):
            writer.write(request("Transfer-Encoding: chunked", closes=False))
            await soon(reader.readuntil(b"first"))
            writer.write(b"no number\r\n")
            return await soon(reader.read())

    assert asyncio.run(run()) == b""


def test_a_fault_of_ours_is_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr("proxy.serving.reader.RequestReader._large_body", fails)
    answer = responses(echo, request())
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"fault of ours" not in answer
