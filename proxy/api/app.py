"""The application. Everything is wired here, in one place."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from proxy.accounting.authenticator import Authenticator
from proxy.accounting.billing import Billing, mode_of
from proxy.accounting.end_user_store import EndUserStore
from proxy.accounting.key_cache import KeyCache
from proxy.accounting.key_store import KeyStore
from proxy.accounting.ledger import Ledger, LedgerLimits
from proxy.accounting.recorder import CallRecorder
from proxy.accounting.refusals import Refusals
from proxy.accounting.usage_reports import UsageReports
from proxy.api import catalog, end_users, failures, gauges, health, keys, model_info, openapi, pages, paths, usage
from proxy.api.audio import SpeechEndpoint, TranscriptionEndpoint
from proxy.api.exchange import RequestLimits
from proxy.api.identity import RequestIds
from proxy.attempts import AttemptRunner, HealthTracker
from proxy.audio.pool import WorkerPool
from proxy.config import Config, Deployment, GeneralSettings, RouterSettings
from proxy.domain.requests import Mode
from proxy.engines.transport import LocalTransport
from proxy.errors import ProxyError
from proxy.gateway import Gateway
from proxy.guardrails import registry as guardrail_registry
from proxy.guardrails.engine import Guardrails
from proxy.http.transport import HTTPTransport, Transport
from proxy.matching import MEGABYTE, BoundDeployment
from proxy.metrics import Counter
from proxy.providers import chat_models, registry
from proxy.routing.groups import ModelGroups
from proxy.routing.probes import Probes
from proxy.routing.router import Router
from proxy.sinks.sinks import Sinks
from proxy.storage.call_writer import CallWriter
from proxy.storage.database import Database
from proxy.storage.journal import Journal
from proxy.storage.spool import SpoolRoom
from proxy.tasks import cancel_all
from proxy.telemetry import Telemetry, WorkerSlot
from proxy.upstream.client import Upstream
from proxy.upstream.websocket import WebSocketTransport

#: Streams that are converted at the same time. Each needs a process of about 40 MB.
ENCODERS = 16
#: How long a start waits for the keys. If the database is slower or unavailable, it is tried again afterwards.
FIRST_LOOK_SECONDS = 2.0
#: Between two warnings that the previous master key is still in use.
PREVIOUS_KEY_SECONDS = 60.0
EXPOSED_HEADERS = (
    "x-request-id", "retry-after", "openai-processing-ms", "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "x-should-retry", "x-proxy-attempts",
    "x-proxy-deployment", "x-proxy-fallback", "x-proxy-upstream-ms", "x-proxy-overhead-ms",
    "x-proxy-upstream-id", "x-proxy-warnings", "x-proxy-response-cost",
    "x-proxy-guardrails-applied", "x-proxy-guardrails-skipped",
)  # fmt: skip


class Resources:
    """What a process has once, for every configuration: pools, counters, the health of deployments."""

    def __init__(self, config: Config, slot: WorkerSlot | None = None, *, ledger: bool = True) -> None:
        """``slot``: of this process among the workers that share their metrics. ``ledger``: calls are recorded."""
        general = config.general
        self._transport = HTTPTransport(max_connections=general.max_concurrent_streams)
        self._readers, self._encoders = WorkerPool(), WorkerPool(size=ENCODERS)
        self._sockets = WebSocketTransport(self._readers, max_connections=general.max_concurrent_streams)
        mounts: dict[str, Transport] = {
            "http": self._transport,
            "https": self._transport,
            "ws": self._sockets,
            "wss": self._sockets,
            "local": LocalTransport(self._readers),
        }
        self._upstream = Upstream(mounts)
        self.telemetry = Telemetry(slot)
        self.health = HealthTracker(alarm=self.telemetry.cooldown)
        self.room = SpoolRoom(limit=int(general.spool_limit_mb * MEGABYTE), directory=general.spool_dir)
        self.telemetry.register(*gauges.of_process(self._streams, self.room))
        self.sinks = Sinks()
        self.telemetry.register(*self.sinks.families())
        self.telemetry.subscribe(self.sinks.put)
        self.database = Database(config.database_url)
        self.key_cache = KeyCache(self.database)
        self.ledger = _ledger(config, self.database) if ledger else None
        self.refusals = Refusals(self.database, general.ledger_retention_days) if ledger else None
        self._unpriced = Counter("unpriced_calls", "Attempts whose cost is not known.", "model")
        self._previous_key_uses = Counter("previous_master_key_uses", "Requests with the previous master key.")
        self._previous_key_uses[()] = 0.0
        self._previous_key_warned = -math.inf
        self.telemetry.register(self._unpriced, self._previous_key_uses, *gauges.of_ledger(self.ledger))
        #: Of every configuration so far, since calls of an earlier one may still be running.
        self._guardrails: list[Guardrails] = []
        self._tasks: list[asyncio.Task[None]] = []
        #: The process is about to stop.
        self.draining = False
        #: Names of settings that have changed since the start, and take effect after a restart.
        self.restart_needed: tuple[str, ...] = ()

    async def open(self) -> None:
        """Start the background tasks. Waits for the first read of the database, but not for long."""
        loop = asyncio.get_running_loop()
        self._tasks += [loop.create_task(work) for work in (self.key_cache.run(), self.telemetry.run())]
        if self.ledger is not None:
            self.ledger.open()
        if self.refusals is not None:
            self._tasks.append(loop.create_task(self.refusals.run()))
        with contextlib.suppress(TimeoutError, ProxyError):
            await asyncio.wait_for(self.key_cache.refresh(), timeout=FIRST_LOOK_SECONDS)

    def unpriced(self, deployment: Deployment, lacks_price: bool) -> None:
        """Counts a call whose cost is not known, and logs a warning once for each model."""
        model = f"{deployment.vendor}/{deployment.model}"
        self._unpriced[model,] += 1
        if self._unpriced[model,] == 1:
            where = deployment.where or "its entry"
            why = (
                {"remedy": f"set its price (input_cost_per_…; 0 if it is free) in {where}"}
                if lacks_price
                else {"reason": "the vendor did not report what it bills, and it could not be measured"}
            )
            self.telemetry.log.warning("the cost of calls is not known", model=model, **why)

    def previous_key_used(self) -> None:
        """Counts a request with the previous master key, and logs a warning at most once a minute."""
        self._previous_key_uses[()] += 1
        if time.monotonic() - self._previous_key_warned >= PREVIOUS_KEY_SECONDS:
            self._previous_key_warned = time.monotonic()
            self.telemetry.log.warning(
                "the previous master key is still in use", requests=int(self._previous_key_uses[()])
            )

    def _streams(self) -> int:
        return self._transport.in_flight + self._sockets.in_flight

    def runner(self, health: HealthTracker, settings: RouterSettings) -> AttemptRunner:
        """A runner with these settings. It notes the outcomes of attempts in ``health``."""
        return AttemptRunner(
            self._upstream,
            self._encoders,
            self._readers,
            health,
            allowed_fails=settings.allowed_fails,
            cooldown=settings.cooldown_time,
        )

    def guardrails(self, config: Config) -> Guardrails:
        """The guardrails of a configuration. They send requests through the vendors' transport."""
        guardrails = guardrail_registry.build(config, self._transport)
        self._guardrails.append(guardrails)
        return guardrails

    async def aclose(self) -> None:
        for guardrails in self._guardrails:
            await guardrails.aclose()
        await self.sinks.aclose()
        await self._upstream.aclose()
        await self._encoders.aclose()
        await self._readers.aclose()
        self.room.close()
        await cancel_all(self._tasks)
        if self.ledger is not None:
            await self.ledger.aclose()
        if self.refusals is not None:
            await self.refusals.aclose()
        await self.key_cache.aclose()
        await self.database.aclose()


def build(config: Config, resources: Resources) -> App:
    """The application for one configuration; a reload builds another one on the same resources."""
    general, telemetry = config.general, resources.telemetry
    billing = Billing([*config.deployments, *_translating(config)], resources.unpriced)
    groups = bound_groups(config, billing)
    runner = resources.runner(resources.health, config.router)
    gateway = Gateway(
        ModelGroups(groups, config.router, translators(config), general.translation_model),
        Router(config.router, runner, costs=billing.minutes()),
        runner,
        resources.guardrails(config),
    )
    resources.sinks.use(config)
    telemetry.register(*gauges.of_deployments(groups, resources.health))
    limits = RequestLimits(body=int(general.max_request_size_mb * MEGABYTE), stall=general.client_stall_timeout)
    app = App(
        title="audio-proxy",
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        responses=openapi.ERRORS,
    )
    # Probes update the health of deployments themselves.
    app.state.probes = Probes(groups, resources.runner(HealthTracker(), config.router), resources.health)
    app.state.keys = Authenticator(
        master=_text(general.master_key),
        previous=_text(general.previous_master_key),
        allow_weak=general.allow_weak_master_key,
        metrics=_text(general.metrics_token),
        key_cache=resources.key_cache,
        on_previous=resources.previous_key_used,
    )
    common = (gateway, app.state.keys, CallRecorder(billing, resources.ledger, resources.refusals), telemetry, limits)
    expose = general.expose_deployment
    speech = SpeechEndpoint(*common, expose_deployment=expose)
    room = resources.room
    transcriptions = TranscriptionEndpoint(*common, expose_deployment=expose, room=room, task="transcribe")
    translations = TranscriptionEndpoint(*common, expose_deployment=expose, room=room, task="translate")
    endpoints = {"/audio/speech": speech, "/audio/transcriptions": transcriptions, "/audio/translations": translations}
    for path, endpoint in endpoints.items():
        for prefix in ("/v1", ""):
            app.add_hot_route(prefix + path, _with_cors(endpoint, general))
    app.include_router(catalog.router(gateway, created=int(time.time()), public=general.public_catalog))
    app.include_router(model_info.router(gateway.groups, billing))
    app.include_router(
        health.router(
            gateway,
            resources.health,
            telemetry,
            app.state.probes,
            draining=lambda: resources.draining,
            restart_needed=lambda: resources.restart_needed,
        )
    )
    database, reports = resources.database, UsageReports(resources.database)
    app.include_router(keys.router(KeyStore(database), resources.key_cache, gateway.groups))
    app.include_router(usage.router(reports))
    app.include_router(end_users.router(EndUserStore(database), reports, resources.key_cache))
    pages.install(app, openapi.document if general.docs_enabled else None)
    failures.install(app, telemetry)
    if general.cors_origins:
        app.add_middleware(CORSMiddleware, **_cors(general))
    app.add_middleware(RequestIds)
    return app


class App(FastAPI):
    """FastAPI, except that the audio endpoints bypass its middleware and router, which cost more than a call."""

    hot: dict[str, ASGIApp]

    def add_hot_route(self, path: str, endpoint: ASGIApp) -> None:
        """``POST path`` goes straight to ``endpoint``; any other method gets its 405 from the router."""
        self.__dict__.setdefault("hot", {})[path] = endpoint
        self.router.routes.append(Route(path, endpoint, methods=["POST"]))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:  # type: ignore[override]
        if scope["type"] == "http":
            endpoint = self._hot_endpoint(scope)
            if endpoint is None:
                paths.normalize(scope)
                endpoint = self._hot_endpoint(scope)
            if endpoint is not None:
                return endpoint(scope, receive, send)
            if scope["method"] == "HEAD":
                # Answered as GET is. The server, whose scope stays as it is, sends the head only.
                scope = {**scope, "method": "GET"}
        return super().__call__(scope, receive, send)

    def _hot_endpoint(self, scope: Scope) -> ASGIApp | None:
        return self.hot.get(paths.route_path(scope)) if scope["method"] == "POST" else None


def _cors(general: GeneralSettings) -> dict[str, Any]:
    return {
        "allow_origins": list(general.cors_origins),
        "allow_methods": ["GET", "POST"],
        "allow_headers": ["*"],
        # Browsers ask before a public page calls a server in a private network.
        "allow_private_network": True,
        "expose_headers": list(EXPOSED_HEADERS),
    }


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _with_cors(endpoint: ASGIApp, general: GeneralSettings) -> ASGIApp:
    return CORSMiddleware(endpoint, **_cors(general)) if general.cors_origins else endpoint


def bound_groups(config: Config, billing: Billing | None = None) -> Mapping[str, Sequence[BoundDeployment]]:
    """The model groups with their vendors' adapters bound."""
    billing = billing or Billing(config.deployments)
    return {
        name: [_bound(deployment, config, billing) for deployment in deployments]
        for name, deployments in config.groups.items()
    }


def _bound(deployment: Deployment, config: Config, billing: Billing) -> BoundDeployment:
    price, mode = billing.price(deployment.id), mode_of(deployment)
    return BoundDeployment(
        deployment,
        registry.bind(deployment, config.environment),
        characters=len if price is None else price.characters,
        bills_seconds_in=mode != Mode.SPEECH and price is not None and price.needs_seconds(mode),
    )


def _translating(config: Config) -> Iterator[Deployment]:
    return (deployment for deployments in config.translators.values() for deployment in deployments)


def _ledger(config: Config, database: Database) -> Ledger:
    general = config.general
    limits = LedgerLimits(
        spool=int(general.ledger_spool_mb * MEGABYTE),
        deny_when_full=general.on_ledger_full == "deny",
        retention=general.ledger_retention_days,
    )
    journal = Journal(config.ledger_dir, power=general.ledger_durability == "power")
    return Ledger(CallWriter(database), journal, limits, config.ledger_dir)


def translators(config: Config) -> Mapping[str, Sequence[BoundDeployment]]:
    """The groups of chat models, which only translate."""
    return {
        name: [
            BoundDeployment(deployment, chat_models.bind(deployment, config.environment)) for deployment in deployments
        ]
        for name, deployments in config.translators.items()
    }
