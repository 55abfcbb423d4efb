"""What observability costs per call, in microseconds of one core: during calls and in the background.

Everything is on: metrics of several workers, the JSON log, and all kinds of sinks. Uses no network.
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

from proxy.config import Config, Deployment, Environment
from proxy.domain.call import Attempt, Call
from proxy.domain.caller import Caller
from proxy.domain.requests import Mode
from proxy.domain.usage import Usage
from proxy.http.transport import HTTPTransport
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
    """A finished speech call: one sentence, spoken by the first deployment that was tried."""
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
    """Microseconds per run, in the best round."""
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


def report(what: str, microseconds: float) -> None:
    print(f"{what:<66} {microseconds:8.2f}", flush=True)


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


async def during_calls(folder: Path) -> None:
    """No other task runs meanwhile: what the feeds do later is measured separately."""
    one = call()

    def ended(watched: Telemetry) -> Callable[[], None]:
        def work() -> None:
            watched.begin()
            watched.end(one)

        return work

    counted = best(ended(telemetry("error", folder)))
    report("metrics, per call", counted)
    logged = best(ended(telemetry("info", folder)))
    report("metrics and the log line", logged)
    everything = telemetry("info", folder)
    fed = sinks(folder)
    everything.subscribe(fed.put)
    whole = best(ended(everything), 5_000)
    report("metrics, the log line and five sinks: everything on", whole)
    report("  of this, the sinks", whole - logged)
    gaps, last = everything.gaps(one), perf_counter()

    def chunk() -> None:
        nonlocal last
        now = perf_counter()
        gaps.observe(now - last)
        last = now

    report("the gap before a chunk, per chunk", best(chunk, 200_000))


async def in_the_background(folder: Path) -> None:
    watched = telemetry("error", folder)
    workers = watched._workers
    assert workers is not None
    one = call()
    for number in range(200):
        one.group = f"model-{number % 40}"
        watched.begin()
        watched.end(one)
    report(
        "publishing metrics to the other workers, once a second (40 models)",
        best(lambda: watched._publish(workers), 50),
    )
    report("answering a scrape (40 models, in a thread)", best(lambda: exposition(watched._metrics.read()), 20))
    records = [Record(call(), call().row or {}, perf_counter(), time.time() - perf_counter()) for _ in range(200)]
    otel = Otel(Environment({}), HTTPTransport())
    began = perf_counter()
    for _ in range(ROUNDS):
        await otel._encoded(records)
    report("a trace in protobuf, per call", (perf_counter() - began) / ROUNDS / len(records) * 1e6)
    report("a row as JSON, per call", best(lambda: as_json(records[0].row)))
    lines = b"".join(as_json(record.row) for record in records)
    report("compressing a row (in a thread), per call", best(lambda: gzip.compress(lines), 20) / len(records))


def main() -> None:
    # Log lines are written as usual, but nothing waits for a disk.
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    print(f"{'microseconds':>75}")
    with tempfile.TemporaryDirectory() as name:
        asyncio.run(during_calls(Path(name)))
        print()
        asyncio.run(in_the_background(Path(name)))


if __name__ == "__main__":
    main()
