"""Flows over a transport: what a vendor may answer, how often it may fail to, and what is deleted in the end."""

from __future__ import annotations

import asyncio
import errno
import gzip
from collections.abc import AsyncIterator, Callable, Generator, Sequence

import pytest

from proxy.errors import (
    ProxyError,
    Saturated,
    UpstreamCredentials,
    UpstreamInvalid,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamUnavailable,
    UpstreamUnfinished,
    UpstreamUnreachable,
)
from proxy.http.errors import ConnectError, ReadError, RemoteProtocolError, TransportError
from proxy.http.messages import URL, Request, Response
from proxy.providers.base import Adapter, BufferedRequest, Capabilities, Step
from proxy.upstream.client import ERRORS, FAILED_POLLS, Deadlines, Upstream
from tests.fakes import messages

Flow = Generator[Step, Response, str]
SOON = 0.001
PLAIN = Adapter(Capabilities(modes=frozenset()))


class Vendor:
    """Answers what it is told to, in order; an exception is raised, a callable is awaited before it answers 200."""

    def __init__(self, *answers: Response | Exception | Callable[[], object]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def send(self, request: Request) -> Response:
        self.asked.append(f"{request.method} {request.url.path}")
        if request.method == "DELETE":
            return messages.response(204)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Response):
            return answer
        await answer()  # type: ignore[misc]
        return messages.response(200, content=b"made")

    async def aclose(self) -> None:
        pass


def request(method: str, path: str) -> Request:
    return Request(method, URL(f"http://vendor{path}"))


def run(vendor: Vendor, flow: Flow, total: float = 10.0) -> str:
    async def main() -> str:
        upstream = Upstream({"http": vendor})
        try:
            found, response = await upstream.run(PLAIN, flow, Deadlines(total=total, first_byte=None, stall=None))
            await response.aclose()
            return found
        finally:
            await upstream.aclose()

    return asyncio.run(main())


def once(*, whole: bool) -> Flow:
    response = yield BufferedRequest(request("GET", "/")) if whole else request("GET", "/")
    return response.content.decode() if whole else ""


def polled(*, looks: int = 1, wait: float = SOON) -> Flow:
    yield BufferedRequest(request("POST", "/jobs"))
    for look in range(looks):
        cleanup = request("DELETE", "/jobs/1") if look == 0 else None
        response = yield BufferedRequest(request("GET", "/jobs/1"), wait=wait, cleanup=cleanup)
    return response.content.decode()


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("coding", ["gzip", "br", "GZip, deflate"])
def test_a_compressed_answer_is_refused(coding: str, *, whole: bool) -> None:
    """Nobody asked for one; it would be passed on as audio, and a small one may unpack to any size."""
    packed = messages.response(
        200, headers={"content-encoding": coding}, content=messages.Pieces(gzip.compress(b"audio"))
    )
    with pytest.raises(UpstreamInvalid):
        run(Vendor(packed), once(whole=whole))
    assert packed.is_closed


def test_an_answer_that_is_not_compressed_may_say_so() -> None:
    said = messages.response(200, headers={"content-encoding": "identity"}, content=messages.Pieces(b"audio"))
    assert run(Vendor(said), once(whole=True)) == "audio"


@pytest.mark.parametrize(
    "failure", [messages.response(500), messages.response(429), ReadError("reset"), RemoteProtocolError("cut")]
)
def test_a_look_that_fails_now_and_then_loses_no_job(failure: Response | Exception) -> None:
    ok = [messages.response(200, content=b"made"), messages.response(200, content=b"processing")]
    vendor = Vendor(ok[0], failure, ok[1], failure, messages.response(200, content=b"done"))
    assert run(vendor, polled(looks=2)) == "done"
    assert vendor.asked == ["POST /jobs", *["GET /jobs/1"] * 4, "DELETE /jobs/1"]


def test_looks_that_fail_all_the_time_end_it() -> None:
    vendor = Vendor(messages.response(200), *(messages.response(503) for _ in range(FAILED_POLLS + 5)))
    with pytest.raises(UpstreamUnavailable):
        run(vendor, polled())
    assert vendor.asked == ["POST /jobs", *["GET /jobs/1"] * (FAILED_POLLS + 1), "DELETE /jobs/1"]


@pytest.mark.parametrize(("status", "error"), [(401, UpstreamCredentials), (404, UpstreamNotFound)])
def test_a_look_that_is_refused_is_not_repeated(status: int, error: type[ProxyError]) -> None:
    vendor = Vendor(messages.response(200), messages.response(status))
    with pytest.raises(error):
        run(vendor, polled())
    assert vendor.asked == ["POST /jobs", "GET /jobs/1", "DELETE /jobs/1"]


def test_a_step_that_is_no_look_is_never_repeated() -> None:
    vendor = Vendor(messages.response(500))
    with pytest.raises(UpstreamUnavailable):
        run(vendor, polled())
    assert vendor.asked == ["POST /jobs"]


def test_no_look_reaches_past_the_end_of_the_time() -> None:
    vendor = Vendor(messages.response(200), messages.response(429, headers={"retry-after": "60"}))
    with pytest.raises(UpstreamRateLimited):
        run(vendor, polled(), total=0.5)
    assert vendor.asked == ["POST /jobs", "GET /jobs/1", "DELETE /jobs/1"]


def test_a_wait_that_is_longer_than_the_time_is_a_timeout() -> None:
    vendor = Vendor(messages.response(200))
    with pytest.raises(UpstreamUnfinished):
        run(vendor, polled(wait=60), total=0.5)
    assert vendor.asked == ["POST /jobs", "DELETE /jobs/1"]


def test_what_is_made_after_the_caller_has_left_is_deleted() -> None:
    """Only the answer tells what there is to delete."""
    assert _left_while_it_is_made(BufferedRequest(request("POST", "/jobs"), creates=True)) == [
        "POST /jobs",
        "DELETE /jobs/1",
    ]


def test_a_step_that_makes_nothing_ends_with_the_caller() -> None:
    assert _left_while_it_is_made(BufferedRequest(request("POST", "/jobs"))) == ["POST /jobs"]


def _left_while_it_is_made(step: BufferedRequest) -> Sequence[str]:
    def flow() -> Flow:
        yield step
        yield BufferedRequest(request("GET", "/jobs/1"), wait=60, cleanup=request("DELETE", "/jobs/1"))
        return ""

    async def main() -> Sequence[str]:
        asked, answer = asyncio.Event(), asyncio.Event()

        async def make() -> None:
            asked.set()
            await answer.wait()

        vendor = Vendor(make)
        upstream = Upstream({"http": vendor})
        deadlines = Deadlines(total=10.0, first_byte=None, stall=None)
        call = asyncio.ensure_future(upstream.run(PLAIN, flow(), deadlines))
        await asked.wait()
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        answer.set()
        await upstream.aclose()
        return vendor.asked

    return asyncio.run(main())


def _concrete(kind: type[Exception]) -> set[type[Exception]]:
    """Those of the classes under it that are raised: those without subclasses."""
    below = kind.__subclasses__()
    return {kind} if not below else {found for each in below for found in _concrete(each)}


def test_every_error_of_a_transport_has_one_of_ours() -> None:
    assert set(ERRORS) == _concrete(TransportError)


@pytest.mark.parametrize("error", sorted(ERRORS, key=str))
def test_an_error_of_a_transport_becomes_ours(error: type[TransportError]) -> None:
    """Before the head of the response, and in the middle of its body."""
    kind, message = ERRORS[error]

    class Broken(messages.Pieces):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"RIFF"
            raise error("for the log")

    for answer in (error("for the log"), messages.response(200, content=Broken())):
        with pytest.raises(ProxyError) as caught:
            run(Vendor(answer), once(whole=True))
        assert type(caught.value) is kind
        assert (caught.value.message, caught.value.detail) == (message, f"{error.__name__}: for the log")


@pytest.mark.parametrize("error", [OSError("broken"), ConnectionResetError("broken")])
def test_an_error_of_the_operating_system_becomes_ours(error: OSError) -> None:
    with pytest.raises(UpstreamUnreachable):
        run(Vendor(error), once(whole=True))


def test_no_files_left_is_not_the_vendors_fault() -> None:
    error = ConnectError("the connection failed")
    error.__cause__ = OSError(errno.EMFILE, "too many open files")
    with pytest.raises(Saturated):
        run(Vendor(error), once(whole=True))
