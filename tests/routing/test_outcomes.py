"""Whatever the vendors do and whenever a client leaves: one complete answer or one error, and nothing left behind.

The speech endpoint with everything below it, but for the sockets: a scripted transport stands for the vendors.
"""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from proxy.accounting import recorder
from proxy.accounting.authenticator import Authenticator
from proxy.accounting.billing import Billing
from proxy.api.audio import SpeechEndpoint
from proxy.api.exchange import RequestLimits
from proxy.attempts import AttemptRunner, HealthTracker
from proxy.audio.pool import WorkerPool
from proxy.config import Deployment, RouterSettings
from proxy.domain.call import Call
from proxy.domain.requests import Mode
from proxy.gateway import Gateway
from proxy.http.errors import ConnectError, ReadError, ReadTimeout, RemoteProtocolError, TransportError
from proxy.http.messages import ByteStream, Request, Response
from proxy.matching import BoundDeployment
from proxy.metrics import Observations
from proxy.providers.vendors.openai import OPENAI
from proxy.routing.groups import ModelGroups
from proxy.routing.router import Router
from proxy.routing.strategies import STRATEGIES
from proxy.telemetry import Telemetry
from proxy.upstream.client import Upstream
from tests.fakes import answers, messages
from tests.routing.virtual import VirtualLoop

CLOCKS = [
    f"proxy.{module}.perf_counter"
    for module in (
        "routing.router",
        "upstream.client",
        "attempts.runner",
        "attempts.attempt",
        "attempts.speech",
        "api.audio",
    )
]
#: Of a character, in the ledger's units.
PRICE = 150_000
#: What an upstream may answer instead of audio.
REFUSALS: dict[str, answers.Answer] = {
    "400": answers.ERRORS[400],
    "content policy": answers.error(400, "Not this.", code="content_policy_violation"),
    "401": answers.ERRORS[401],
    "429": answers.ERRORS[429],
    "quota": answers.error(429, "No money left.", "insufficient_quota", code="insufficient_quota"),
    "500": answers.ERRORS[500],
    "502": answers.ERRORS[502],
    "503": answers.ERRORS[503],
    "503 with a time": answers.error(503, "Later.", headers={"retry-after": "2"}),
    "too long": answers.error(429, "Much later.", headers={"retry-after": "3600"}),
    "document": answers.Answer("application/json", [b'{"error": "ill"}']),
    "nothing": answers.Answer("audio/mpeg", []),
}
BREAKS: dict[str, type[TransportError]] = {
    "closed": RemoteProtocolError,
    "reset": ReadError,
    "stalled": ReadTimeout,
}


@dataclass(frozen=True)
class Outcome:
    """What one attempt meets: a refusal after ``delay`` seconds, or ``chunks`` of audio, ``gap`` seconds apart."""

    refusal: str | None
    delay: float
    gap: float
    chunks: int
    #: How the answer ends after its chunks; None: well.
    end: str | None


OUTCOMES = st.builds(
    Outcome,
    refusal=st.sampled_from([None, None, None, "unreachable", *REFUSALS]),
    delay=st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.9, 10_000.0]),
    gap=st.sampled_from([0.0, 0.1, 10_000.0]),
    chunks=st.integers(0, 4),
    end=st.sampled_from([None, None, *BREAKS]),
).filter(lambda outcome: outcome.chunks > 0 or outcome.end is not None)
#: Seconds in which nobody may be asked again.
TIMES = {"429": 0.05, "503 with a time": 2.0, "too long": 3600.0}
WELL = Outcome(None, 0.0, 0.0, 2, None)


@dataclass(eq=False)
class Client:
    """One caller: what came back, and what the vendors were told to do to it."""

    number: int
    outcomes: Iterator[Outcome]
    pace: float
    headers: dict[str, str]
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    events: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[Attempted] = field(default_factory=list)
    #: What must not be and yet was.
    wrong: list[str] = field(default_factory=list)
    asked: bool = False

    @property
    def scope(self) -> dict[str, Any]:
        headers = {"content-type": "application/json"} | self.headers
        return {"type": "http", "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}

    async def receive(self) -> dict[str, Any]:
        if not self.asked:
            self.asked = True
            body = {"model": "group-0", "input": str(self.number), "voice": "alloy"}
            return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if self.pace:
            await asyncio.sleep(self.pace)

    @property
    def status(self) -> int | None:
        return self.events[0]["status"] if self.events else None

    @property
    def body(self) -> bytes:
        return b"".join(event["body"] for event in self.events[1:])

    @property
    def complete(self) -> bool:
        return len(self.events) > 1 and not self.events[-1]["more_body"]


class Attempted(ByteStream):
    """One attempt of a call as the vendor sees it, and the body of its answer."""

    def __init__(self, client: Client, outcome: Outcome, deadlines: dict[str, float]) -> None:
        self.outcome = outcome
        self.open = True
        self._waits = deadlines
        name = b"%04d/%02d" % (client.number, len(client.attempts))
        self.chunks = [b"\xff\xf3D\xc4" + name + b"/%02d" % number for number in range(outcome.chunks)]

    async def head(self, request: Request) -> Response:
        outcome = self.outcome
        await self._pass(outcome.delay)
        if outcome.refusal == "unreachable":
            raise ConnectError("refused")
        answer = REFUSALS[outcome.refusal] if outcome.refusal else answers.Answer("audio/mpeg", self.chunks)
        if outcome.refusal:
            self.chunks = list(answer.chunks)
        headers = {"content-type": answer.content_type, **answer.headers}
        return messages.response(answer.status, headers=headers, content=self, request=request)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number, chunk in enumerate(self.chunks):
            if number:
                await self._pass(self.outcome.gap)
            assert self.open, "a closed answer is read"
            yield chunk
        if self.outcome.end and not self.outcome.refusal:
            raise BREAKS[self.outcome.end]("as told")

    async def aclose(self) -> None:
        self.open = False

    async def _pass(self, seconds: float) -> None:
        """Let time pass, as far as the caller's patience goes."""
        patience = self._waits["read"]
        await asyncio.sleep(min(seconds, patience))
        if seconds > patience:
            raise ReadTimeout("out of patience")


class Vendors:
    def __init__(self, clients: list[Client], clock: Callable[[], float]) -> None:
        self._clients = clients
        self._clock = clock
        #: By host: from when to when it is not to be asked.
        self._limits: dict[str, tuple[float, float]] = {}

    async def send(self, request: Request) -> Response:
        host = request.url.host
        since, until = self._limits.get(host, (0.0, 0.0))
        client = self._clients[int(json.loads(cast(bytes, request.body))["input"])]
        if client.events:
            client.wrong.append("asked again after the answer had begun")
        attempt = Attempted(client, next(client.outcomes, WELL), request.timeouts)
        client.attempts.append(attempt)
        if sum(other.open for other in client.attempts) > 2:
            client.wrong.append("more than two at once")
        if since < self._clock() < until:
            client.wrong.append("asked before its time")
        try:
            response = await attempt.head(request)
            if (seconds := TIMES.get(attempt.outcome.refusal or "")) is not None:
                now = self._clock()
                self._limits[host] = (now, max(now + seconds, self._limits.get(host, (0.0, 0.0))[1]))
            return response
        except BaseException:
            await attempt.aclose()
            raise


class CallRecorder:
    """Stands for the telemetry."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.unexpected: list[str] = []
        self.log = self
        self.under_way = 0

    def begin(self) -> None:
        self.under_way += 1

    def end(self, call: Call) -> None:
        self.under_way -= 1
        self.calls.append(call)

    def gaps(self, call: Call) -> Observations:
        return Observations((1.0,))

    def exception(self, event: str, **_: object) -> None:
        self.unexpected.append(traceback.format_exc())


class Rows:
    """In place of the ledger."""

    needs_sync = False

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def admit(self) -> None:
        pass

    def new_id(self) -> str:
        return "row"

    def append(self, row: dict[str, Any]) -> None:
        self.rows.append(row)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.patches = ExitStack()
        for clock in CLOCKS:
            self.patches.enter_context(mock.patch(clock, self.loop.time))
        self.clients: list[Client] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.recorder = CallRecorder()
        self.ledger = Rows()
        self.health = HealthTracker(self.loop.time)
        self.deployments: list[str] = []

    @initialize(
        sizes=st.sampled_from([(1,), (2,), (4,), (1, 1), (2, 2), (1, 2), (1, 1, 1), (2, 1, 1)]),
        hedge_after=st.sampled_from([None, 0.4, "p95"]),
        strategy=st.sampled_from(sorted(STRATEGIES)),
        num_retries=st.integers(0, 3),
        allowed_fails=st.integers(0, 3),
        cooldown=st.sampled_from([0, 5, 60]),
        parallel=st.sampled_from([None, None, 2]),
    )
    def configure(
        self,
        sizes: tuple[int, ...],
        hedge_after: float | str | None,
        strategy: str,
        num_retries: int,
        allowed_fails: int,
        cooldown: float,
        parallel: int | None,
    ) -> None:
        groups: dict[str, list[BoundDeployment]] = {}
        for group, size in enumerate(sizes):
            for number in range(size):
                deployment = Deployment(
                    id=f"d-{group}-{number}",
                    group=f"group-{group}",
                    vendor="openai",
                    model="tts-1",
                    mode=Mode.SPEECH,
                    api_base=f"http://{number}.{group}.test/v1",
                    max_parallel_requests=parallel,
                    costs={"input_cost_per_character": Decimal("0.000015")},
                )
                groups.setdefault(deployment.group, []).append(BoundDeployment(deployment, OPENAI.bind(deployment, {})))
                self.deployments.append(deployment.id)
                self.health[deployment.id].samples.extend([0.3] * 20)
        router_settings = RouterSettings(
            routing_strategy=cast(Any, strategy),
            num_retries=num_retries,
            allowed_fails=allowed_fails,
            cooldown_time=cooldown,
            hedge_after=cast(Any, hedge_after),
            default_fallbacks=tuple(groups)[1:],
        )
        upstream = Upstream({"http": Vendors(self.clients, self.loop.time)})
        runner = AttemptRunner(
            upstream, WorkerPool(), WorkerPool(), self.health, allowed_fails=allowed_fails, cooldown=cooldown
        )
        self.endpoint = SpeechEndpoint(
            Gateway(ModelGroups(groups, router_settings), Router(router_settings, runner), runner),
            Authenticator(master=None),
            recorder.CallRecorder(
                Billing([line.deployment for one in groups.values() for line in one]), cast(Any, self.ledger)
            ),
            cast(Telemetry, self.recorder),
            RequestLimits(body=10_000, stall=30),
            expose_deployment=True,
        )

    @rule(
        outcomes=st.lists(OUTCOMES, max_size=8),
        pace=st.sampled_from([0.0, 0.0, 0.05]),
        headers=st.sampled_from([{}, {}, {"x-proxy-timeout": "1.2"}, {"x-proxy-no-fallback": "1"}]),
    )
    def call(self, outcomes: list[Outcome], pace: float, headers: dict[str, str]) -> None:
        client = Client(len(self.clients), iter(outcomes), pace, headers)
        self.clients.append(client)
        self.tasks.append(self.loop.create_task(self.endpoint(client.scope, client.receive, cast(Any, client.send))))
        self.pass_time(0.0)

    @rule(seconds=st.sampled_from([0.0, 0.011, 0.2, 0.405, 1.0, 30.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @rule(data=st.data(), after=st.integers(0, 3), shutdown=st.booleans())
    def leave(self, data: st.DataObject, after: int, shutdown: bool) -> None:
        """A client goes away, or the server ends its call, some steps of the loop from now."""
        alive = [number for number, task in enumerate(self.tasks) if not task.done()]
        if not alive:
            return
        number = data.draw(st.sampled_from(alive))

        async def steps() -> None:
            for _ in range(after):
                await asyncio.sleep(0)
            self.clients[number].gone.set()
            if shutdown:
                self.tasks[number].cancel()

        self.loop.run_until_complete(steps())

    def teardown(self) -> None:
        try:
            if self.tasks:
                self.loop.run_until_complete(asyncio.wait(self.tasks))
                self.pass_time(1.0)
            assert self.recorder.unexpected == []
            for client, task in zip(self.clients, self.tasks, strict=True):
                assert task.cancelled() or task.exception() is None
                check(client)
            for call in self.recorder.calls:
                assert all(attempt.ended is not None for attempt in call.attempts), call
            assert len(self.recorder.calls) == len(self.clients)
            check_rows(self.clients, self.recorder.calls, self.ledger.rows)
            for name in self.deployments:
                assert (self.health[name].in_flight, self.health[name].trial) == (0, None), name
        finally:
            self.patches.close()
            self.loop.close()


def check(client: Client) -> None:
    """What came back is the whole of one answer, or one error, or visibly cut."""
    assert client.wrong == []
    assert [attempt.outcome for attempt in client.attempts if attempt.open] == [], "an answer was left open"
    kinds = [event["type"] for event in client.events]
    assert kinds == ["http.response.start"] * bool(kinds) + ["http.response.body"] * (len(kinds) - 1)
    assert all(event["more_body"] for event in client.events[1:-1]), "more came after the end"
    if client.status is None:
        assert client.gone.is_set(), "neither an answer nor an error"
    elif client.status == 200:
        _check_audio(client)
    else:
        if not client.complete:
            assert client.gone.is_set(), "an error was cut"
            return
        assert list(json.loads(client.body)["error"]) == ["message", "type", "param", "code"]


def check_rows(clients: list[Client], calls: list[Call], rows: list[dict[str, Any]]) -> None:
    """One for each call, and every vendor that began to answer is in the bill."""
    assert sorted(row["request_id"] for row in rows) == sorted(call.request_id for call in calls)
    for call in calls:
        row = next(row for row in rows if row["request_id"] == call.request_id)
        assert (row["status"], row.get("error", "")) == (call.status, call.error) or "error" not in row, (row, call)
        assert row["attempts"] <= len(call.attempts)
        begun = sum(attempt.is_billed for attempt in call.attempts)
        assert (row.get("characters") or 0) == begun * call.characters, (row, call)
        assert row["cost"] == begun * call.characters * PRICE


def _check_audio(client: Client) -> None:
    sources = [attempt for attempt in client.attempts if not attempt.outcome.refusal and attempt.chunks]
    wholes = {b"".join(attempt.chunks): attempt for attempt in sources}
    if client.complete:
        assert client.body in wholes, "not the answer of one vendor"
        assert wholes[client.body].outcome.end is None, "a truncated answer looks complete"
    else:
        assert any(whole.startswith(client.body) for whole in wholes), "not the beginning of one vendor's answer"


TestOutcomes = Machine.TestCase
TestOutcomes.settings = settings(
    max_examples=150, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
