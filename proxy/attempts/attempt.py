"""One execution of a plan, from the request to the end of the vendor's answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack
from time import perf_counter
from types import TracebackType
from typing import Any, Generic, TypeVar

from proxy.attempts.services import Services
from proxy.domain.call import Attempt
from proxy.domain.results import Headers, ResponseMetadata, StaticMetadata
from proxy.errors import ProxyError
from proxy.http.messages import Response
from proxy.matching import Plan
from proxy.providers.wire.headers import holds, secrets_of, upstream_id
from proxy.tasks import close_generator

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

#: The vendor's headers that clients read.
_PASSED_HEADERS = frozenset({b"openai-processing-ms", b"openai-version"})
_PASSED_PREFIX = b"x-ratelimit-"


class RunningAttempt(ABC, Generic[R_co]):
    """``async with attempt as result``: owns times, usage, health, and closing what the attempt has opened.

    It counts as in flight from its creation, so that limits hold before its first step. Whoever creates one must open
    or close it. The result has its first byte; `open` raises a ProxyError if none arrives.
    """

    __slots__ = (
        "_closed", "_deployment", "_is_whole", "_metadata", "_response", "_seconds_left", "_services", "_sources",
        "plan", "record", "result",
    )  # fmt: skip

    plan: Plan[R_co]
    result: R_co

    def __init__(self, services: Services, plan: Plan[R_co], record: Attempt, seconds_left: float | None) -> None:
        """``seconds_left`` for the whole call; None: the deployment's own timeout applies."""
        self._services = services
        self.plan = plan
        self._seconds_left = seconds_left
        self._deployment = plan.bound.deployment
        self.record = record
        self._response: Response | None = None
        #: Generators between the vendor's body and the result. They may hold worker processes until they are closed.
        self._sources: list[AsyncGenerator[Any]] = []
        self._metadata: ResponseMetadata | None = None
        #: The result contains the whole answer: nothing stays open.
        self._is_whole = False
        self._closed = False
        services.health.started(self._deployment.id, record, counted=self._deployment.rpm is not None)

    async def open(self) -> R_co:
        try:
            self.result = await self._execute()
        except BaseException as error:
            await self.aclose(error)
            raise
        self._services.health.answered(self._deployment.id, self.record)
        if self._is_whole:
            await self.aclose()
        return self.result

    @abstractmethod
    async def _execute(self) -> R_co:
        """Call the vendor. Register at once what is opened (`_owned`, `_answered_by`), so that `aclose` closes it."""

    async def aclose(self, error: BaseException | None = None) -> None:
        """Close everything, once. ``error`` is what ended the attempt early, if anything did."""
        if self._closed:
            return
        self._closed = True
        self._note_usage()
        try:
            if self._sources:
                await _close_all(self._sources)
        finally:
            try:
                if self._response is not None:
                    await self._response.aclose()
            finally:
                self._end(error)
                await self._settle()

    async def _settle(self) -> None:
        """Find out what was used if the vendor does not report it."""

    def _owned(self, source: AsyncGenerator[T]) -> AsyncGenerator[T]:
        """Register a generator, which is closed with the attempt."""
        self._sources.append(source)
        return source

    def _answered_by(self, response: Response) -> None:
        """Register the vendor's response, which is closed with the attempt."""
        self._response = response
        self.record.upstream_id = upstream_id(response)

    def _report(self, metadata: ResponseMetadata | None) -> None:
        """Register the source of usage and warnings; they are noted at once if they are known, else at the end."""
        self._metadata = metadata
        if metadata is None or isinstance(metadata, StaticMetadata):
            self._note_usage()
        else:
            self.record.note(metadata.warnings)

    def _note_usage(self) -> None:
        """Note, once, what the vendor has reported up to now; that is everything after its last byte."""
        if not self.record.is_settled:
            metadata, self.record.is_settled = self._metadata, True
            if metadata is not None:
                self.record.usage = metadata.usage
                self.record.note(metadata.warnings)

    def _headers(self) -> Headers:
        return [] if self._response is None else passed_headers(self._response)

    def _end(self, error: BaseException | None) -> None:
        services, record, deployment = self._services, self.record, self._deployment.id
        record.ended = perf_counter()
        if isinstance(error, ProxyError):
            record.error = error.kind
            services.health.failed(
                deployment, record, error, allowed_fails=services.allowed_fails, cooldown=services.cooldown
            )
        elif error is not None:
            record.error = "cancelled"
        services.health.ended(deployment, record)

    async def __aenter__(self) -> R_co:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose(error)


async def _close_all(sources: Iterable[AsyncGenerator[Any]]) -> None:
    """Close the last one first, and each of them even if closing another one fails."""
    async with AsyncExitStack() as stack:
        for source in sources:
            stack.push_async_callback(close_generator, source)


def passed_headers(response: Response) -> Headers:
    """The vendor's headers that clients read, by allowlist; none that contains a secret."""
    passed = [
        (name, value)
        for raw, value in response.headers.raw
        if (name := raw.lower()) in _PASSED_HEADERS or name.startswith(_PASSED_PREFIX)
    ]
    secrets = secrets_of(response) if passed else ()
    return [(name, value) for name, value in passed if not holds(value, secrets)]
