"""What watching costs: microseconds of one core a call, on the way of calls and beside it.

Everything is switched on: metrics of several workers, the log in JSON, and all kinds of sinks. No network is used.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from time import perf_counter

import httpx

from proxy.config import Config, Deployment, Environment
from proxy.domain.call import Attempt, Call
from proxy.domain.caller import Caller
from proxy.domain.requests import Mode
from proxy.domain.usage import Usage
from proxy.metrics import exposition
from proxy.sinks.base import Record
from proxy.sinks.custom import CustomSettings
from proxy.sinks.langfuse import LangfuseSettings
from proxy.sinks.otel import Otel, OtelSettings
from proxy.sinks.rows import as_json
from proxy.sinks.s3 import S3Settings
from proxy.sinks.sinks import Sinks
from proxy.sinks.webhook import WebhookSettings
from proxy.telemetry import Telemetry, WorkerSlot, configure_logging

CALLS, ROUNDS = 20_000, 5
VARIABLES = {
    "GENERIC_LOGGER_ENDPOINT": "http://127.0.0.1:1/",
    "LANGFUSE_PUBLIC_KEY": "pk",
    "LANGFUSE_SECRET_KEY": "sk",
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "secret",
}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def call() -> Call:
    """A sentence spoken by the first deployment asked, as the endpoint leaves it."""
    now = perf_counter()
    attempt = Attempt("tts-openai", "openai", now - 0.4, first_byte=now - 0.2, ended=now, upstream_id="req_" + "0" * 32)
    attempt.usage = Usage(characters=120, seconds_out=8.2, input_text_tokens=30, output_audio_tokens=164)
    caller = Caller("ab" * 32, "reader", "ann", "books", tags=("night",))
    made = Call(
        "req_" + "0" * 32, "speech", now - 0.41, PARENT, caller, "listener", ("night",), group="tts", status=200
    )
    made.bytes_in, made.bytes_out, made.characters = 200, 131_072, 120
    made.received, made.sent = now - 0.405, now - 0.2
    made.attempts.append(attempt)
    made.won = attempt
    made.cost, made.cost_basis = Decimal("0.0018"), "characters"
    made.row = {
        "id": "0" * 32, "time": int(time.time() * 1000), "request_id": made.request_id, "endpoint": "speech",
        "key_id": caller.key_id, "user_id": "ann", "team_id": "books", "end_user": "listener", "model": "tts",
        "status": 200, "error": None, "total_ms": 410.2, "bytes_in": 200, "bytes_out": 131_072, "attempts": 1,
        "cost": 18_000_000, "first_byte_ms": 210.1, "deployment": "tts-openai", "vendor": "openai",
        "vendor_model": "gpt-4o-mini-tts", "cost_basis": "characters", "characters": 120, "audio_seconds_in": None,
        "audio_seconds_out": 8.2, "input_text_tokens": 30, "output_audio_tokens": 164, "tags": ["night"],
    }  # fmt: skip
    return made


def best(work: Callable[[], object], count: int = CALLS) -> float:
    """Microseconds a time, of the best round."""
    times = []
    for _ in range(ROUNDS):
        began = perf_counter()
        for _ in range(count):
            work()
        times.append(perf_counter() - began)
    return min(times) / count * 1e6


def telemetry(level: str, folder: Path | None = None) -> Telemetry:
    configure_logging("json", level)
    return Telemetry(WorkerSlot(folder, 0) if folder is not None else None)


def told(what: str, microseconds: float) -> None:
    print(f"{what:<62} {microseconds:8.2f}", flush=True)


def sinks(folder: Path) -> Sinks:
    (folder / "own_sink.py").write_text("class Own:\n    async def send(self, records): pass\n")
    common = {"flush_interval": 3600, "queue_size": 1_000_000, "batch_size": 10_000}
    chosen = (
        WebhookSettings(name="webhook", **common),
        OtelSettings(name="otel", **common),
        LangfuseSettings(name="langfuse", **common),
        S3Settings(name="s3", bucket="calls", **common),
        CustomSettings(name="own_sink.Own", **common),
    )
    deployment = Deployment(id="tts-openai", group="tts", vendor="openai", model="gpt-4o-mini-tts", mode=Mode.SPEECH)
    made = Sinks()
    made.use(
        Config(
            path=str(folder / "config.yaml"),
            deployments=(deployment,),
            sinks=chosen,
            environment=Environment(VARIABLES),
        )
    )
    return made


async def on_the_way(folder: Path) -> None:
    """No task runs meanwhile: what the feeds do later is measured by itself."""
    one = call()

    def ended(watched: Telemetry) -> Callable[[], None]:
        def work() -> None:
            watched.begin()
            watched.end(one)

        return work

    counted = best(ended(telemetry("error", folder)))
    told("metrics, a call", counted)
    logged = best(ended(telemetry("info", folder)))
    told("and its line in the log", logged)
    everything = telemetry("info", folder)
    fed = sinks(folder)
    everything.subscribe(fed.put)
    whole = best(ended(everything), 5_000)
    told("and five sinks: everything on", whole)
    told("  of which sinks", whole - logged)
    gaps, last = everything.gaps(one), perf_counter()

    def chunk() -> None:
        nonlocal last
        now = perf_counter()
        gaps.observe(now - last)
        last = now

    told("the gap before a chunk, a chunk", best(chunk, 200_000))


async def beside(folder: Path) -> None:
    watched = telemetry("error", folder)
    one = call()
    for number in range(200):
        one.group = f"model-{number % 40}"
        watched.begin()
        watched.end(one)
    told(
        "what a worker writes for the others, once a second (40 models)",
        best(lambda: watched._tell(watched._board), 50),
    )
    told("an answer to a scrape (40 models; in a thread)", best(lambda: exposition(watched._metrics.read()), 20))
    records = [Record(call(), call().row or {}, perf_counter(), time.time() - perf_counter()) for _ in range(200)]
    otel = Otel(Environment({}), httpx.AsyncBaseTransport())
    began = perf_counter()
    for _ in range(ROUNDS):
        await otel._encoded(records)
    told("a trace in protobuf, a call", (perf_counter() - began) / ROUNDS / len(records) * 1e6)
    told("a row in JSON, a call", best(lambda: as_json(records[0].row)))
    lines = b"".join(as_json(record.row) for record in records)
    told("a row compressed (in a thread), a call", best(lambda: gzip.compress(lines), 20) / len(records))


def main() -> None:
    # The lines go where lines go, and nobody waits for a disk.
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    print(f"{'microseconds':>71}")
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(on_the_way(Path(name)))
        print()
        asyncio.run(beside(Path(name)))


if __name__ == "__main__":
    main()
