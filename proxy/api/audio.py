"""The audio endpoints: plain ASGI callables, since a decorated route costs more than the upstream call itself."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from time import perf_counter
from typing import Literal, TypeVar

from starlette.types import Receive, Scope, Send

from proxy import parse
from proxy.accounting.authenticator import Authenticator
from proxy.accounting.recorder import CallRecorder
from proxy.api.answer_headers import body_headers, cost_headers, routing_headers, warnings_header
from proxy.api.exchange import Exchange, Header, RequestLimits
from proxy.api.forms import FormReader
from proxy.api.identity import TRACEPARENT, traceparent
from proxy.api.json_uploads import JsonReader
from proxy.api.watch import Watch
from proxy.domain.blotting import blotted
from proxy.domain.call import Call
from proxy.domain.requests import SpeechRequest, TranscriptionRequest
from proxy.domain.results import Headers, SpeechResult, TranscriptionResult
from proxy.errors import Forbidden, Overloaded, ProxyError, Unauthorized
from proxy.gateway import Gateway
from proxy.matching import file_too_large
from proxy.render import sse
from proxy.render.body import RenderedBody
from proxy.render.speech import render_speech
from proxy.render.transcription import render_transcription
from proxy.storage.spool import SpoolRoom
from proxy.telemetry import Telemetry

FORM = b"multipart/form-data"
JSON = b"application/json"
R = TypeVar("R", SpeechResult, TranscriptionResult)


class AudioEndpoint(ABC):
    """What the three endpoints share: authentication, errors, streaming, and one record at the end."""

    endpoint: str

    def __init__(
        self,
        gateway: Gateway,
        keys: Authenticator,
        recorder: CallRecorder,
        telemetry: Telemetry,
        limits: RequestLimits,
        *,
        expose_deployment: bool,
    ) -> None:
        self._gateway = gateway
        self._keys = keys
        self._recorder = recorder
        self._telemetry = telemetry
        self._limits = limits
        self._expose_deployment = expose_deployment
        self._watch = Watch()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._limits)
        call = Call(exchange.request_id, self.endpoint, perf_counter())
        if TRACEPARENT in exchange.headers:
            call.traceparent = traceparent(exchange.headers[TRACEPARENT])
        self._telemetry.begin()
        try:
            headers = exchange.headers
            call.caller = self._keys.cached_caller(headers) or await self._keys.look_up(headers)
            self._recorder.admit(call)
            await self.serve(exchange, call)
        except ProxyError as error:
            await self._fail(exchange, call, error)
        except asyncio.CancelledError:
            # Only a shutdown cancels a call. One that still reads its request after the 503 is cancelled once more.
            with contextlib.suppress(asyncio.CancelledError):
                await self._fail(exchange, call, Overloaded("The server is shutting down."), kind="shutdown")
        except Exception:
            self._telemetry.log.exception("unexpected error", request_id=call.request_id)
            await self._fail(exchange, call, ProxyError("The server had an error while processing your request."))
        finally:
            call.bytes_in = exchange.received
            self._telemetry.end(call)

    @abstractmethod
    async def serve(self, exchange: Exchange, call: Call) -> None:
        """Read the request, pass it to the gateway and send the answer."""

    def _identify(self, exchange: Exchange, call: Call, request: SpeechRequest | TranscriptionRequest) -> None:
        """Notes the end user and the tags. Raises Forbidden if the end user is blocked."""
        call.end_user = parse.end_user(request, exchange.headers)
        call.tags = parse.tags(exchange.headers, call.caller.tags)
        self._keys.check_end_user(call.end_user)

    async def _fail(self, exchange: Exchange, call: Call, error: ProxyError, kind: str = "") -> None:
        """Sends an error document, unless the answer has begun: then there is an error event or a cut connection."""
        call.status = error.status if not exchange.started else 200
        _note(exchange, call, error, kind)
        if isinstance(error, Unauthorized | Forbidden):
            self._recorder.refuse(call)
        await self._record(exchange, call)
        if not exchange.started and not exchange.gone:
            await exchange.refuse(error, self._routing(call))

    async def _record(self, exchange: Exchange, call: Call) -> None:
        """Called before the last byte of an answer is sent, so that every complete answer is recorded."""
        call.bytes_in = exchange.received
        self._recorder.record(call)
        if self._recorder.needs_sync:
            await self._recorder.sync()

    def _routing(self, call: Call) -> list[Header]:
        return routing_headers(call, expose_deployment=self._expose_deployment)

    async def _answer(
        self,
        exchange: Exchange,
        call: Call,
        routed: AbstractAsyncContextManager[R],
        render: Callable[[R], RenderedBody],
    ) -> None:
        """Send the answer as it arrives. The call ends at once if the client disconnects."""
        with self._watch.over(exchange):
            try:
                async with routed as result:
                    body = render(result)
                    try:
                        await self._send(exchange, call, body, result.headers)
                    finally:
                        await body.aclose()
            except ProxyError as error:
                if exchange.sends_events:
                    await self._end_events(exchange, call, error)
                raise

    async def _send(self, exchange: Exchange, call: Call, body: RenderedBody, headers: Headers) -> None:
        call.status = 200
        call.sent = perf_counter()
        call.measure_overhead()
        if body.rest is None or body.at_end:
            await self._send_whole(exchange, call, body, headers)
        else:
            await self._send_stream(exchange, call, body, body.rest, headers)

    async def _send_whole(self, exchange: Exchange, call: Call, body: RenderedBody, headers: Headers) -> None:
        call.bytes_out = len(body.first)
        await self._record(exchange, call)
        head = [
            *body_headers(body),
            *headers,
            *self._routing(call),
            *cost_headers(call.cost),
        ]
        await exchange.start(200, head)
        await exchange.write(body.first, more=False)

    async def _send_stream(
        self, exchange: Exchange, call: Call, body: RenderedBody, rest: AsyncIterator[bytes], headers: Headers
    ) -> None:
        quoted = self._recorder.quote(call) if call.won is not None and call.won.is_settled else None
        head = [
            *body_headers(body),
            *headers,
            *self._routing(call),
            *cost_headers(quoted),
        ]
        exchange.sends_events = body.is_sse
        await exchange.start(200, head)
        warned = len(call.won.warnings) if call.won is not None else 0
        call.bytes_out = len(body.first)
        await exchange.write(body.first, more=True)
        gaps, last = self._telemetry.gaps(call), call.sent or 0.0
        async for chunk in rest:
            now = perf_counter()
            gaps.observe(now - last)
            last = now
            call.bytes_out += len(chunk)
            await exchange.write(chunk, more=True)
        await self._record(exchange, call)
        late = [] if quoted is not None else cost_headers(call.cost)
        if call.won is not None and len(call.won.warnings) > warned:
            late.append(warnings_header(call.won))
        await exchange.write(b"", more=False, trailers=late)

    async def _end_events(self, exchange: Exchange, call: Call, error: ProxyError) -> None:
        """Send the error as the last event."""
        await exchange.write(sse.event(error.body(call.request_id)), more=True)
        _note(exchange, call, error)
        await self._record(exchange, call)
        await exchange.write(b"", more=False)


def _note(exchange: Exchange, call: Call, error: ProxyError, kind: str = "") -> None:
    """Notes the error for the log and the ledger, which must not repeat what the caller said."""
    call.error = kind or error.kind
    call.message = blotted(error.message, exchange.said)
    call.detail = blotted(error.detail, exchange.said)


class SpeechEndpoint(AudioEndpoint):
    """``POST /v1/audio/speech``."""

    endpoint = "speech"

    async def serve(self, exchange: Exchange, call: Call) -> None:
        exchange.check_head(JSON)
        request = parse.speech_request(await exchange.body(), exchange.model)
        call.characters = len(request.input)
        exchange.said = (request.input, request.instructions or "")
        self._identify(exchange, call, request)
        options = parse.options(exchange.headers)
        call.received = perf_counter()
        routed = self._gateway.speech(request, call, options)
        await self._answer(exchange, call, routed, lambda result: render_speech(result, request.stream_format))


class TranscriptionEndpoint(AudioEndpoint):
    """``POST /v1/audio/transcriptions`` and ``POST /v1/audio/translations``."""

    def __init__(
        self,
        gateway: Gateway,
        keys: Authenticator,
        recorder: CallRecorder,
        telemetry: Telemetry,
        limits: RequestLimits,
        *,
        expose_deployment: bool,
        room: SpoolRoom,
        task: Literal["transcribe", "translate"],
    ) -> None:
        super().__init__(gateway, keys, recorder, telemetry, limits, expose_deployment=expose_deployment)
        self.endpoint = "transcriptions" if task == "transcribe" else "translations"
        self._room = room
        self._task = task

    async def serve(self, exchange: Exchange, call: Call) -> None:
        content_type = exchange.check_head(FORM, JSON)
        options = parse.options(exchange.headers)
        limit = partial(self._gateway.groups.file_limit, options=options, caller=call.caller)

        def file_limit(model: str | None) -> float | None:
            return limit(exchange.model or model)

        form: FormReader | JsonReader
        if content_type == FORM:
            form = FormReader(exchange.headers[b"content-type"], self._room, file_limit)
        else:
            form = JsonReader(self._room, file_limit)
        try:
            while not exchange.read_all:
                await form.feed(await exchange.read())
                if form.file.passed_limit is not None and exchange.declared_length is None:
                    raise file_too_large(form.file.passed_limit, size=None)
            fields, file = await form.finish()
            if exchange.model is not None:
                fields.append(("model", exchange.model))
            request = parse.transcription_request(fields, file, self._task)
            exchange.said = (request.prompt or "", file.filename, *request.keywords)
            self._identify(exchange, call, request)
            call.received = perf_counter()
            routed = self._gateway.transcription(request, call, options)
            await self._answer(exchange, call, routed, lambda result: render_transcription(result, request))
        finally:
            form.file.close()
