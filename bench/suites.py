"""The measurements of a running proxy."""

from __future__ import annotations

import time
from typing import Any

from load import Failed, Target, ask, load, speech, transcription
from meter import memory_mb, metered
from streams import hold

SUITES = ("speech", "big", "slow", "hold", "stt", "huge")
_CONNECTIONS = (1, 16, 64, 256)
_SPOKEN = b"quick brown fox"


def _check(target: Target) -> None:
    status, body = ask(target.port, speech())
    if status != 200 or len(body) != 8192:
        raise Failed(f"the speech answer has status {status} and {len(body)} bytes: {body[:200]!r}")
    status, body = ask(target.port, transcription(100_000))
    if status != 200 or _SPOKEN not in body:
        raise Failed(f"the transcription answer has status {status}: {body[:200]!r}")


def _huge(target: Target) -> dict[str, Any]:
    request = transcription(200_000_000)
    with metered(target.pid) as usage:
        began = time.monotonic()
        status, body = ask(target.port, request)
        seconds = time.monotonic() - began
    return {
        "status": status,
        "ok": _SPOKEN in body,
        "s": round(seconds, 3),
        "mb_s": round(len(request.body) / seconds / 1e6, 1),
        "cpu_s": usage.cpu_s,
        "rss_peak_mb": usage.rss_peak_mb,
    }


def measure(target: Target, suites: list[str], secs: int) -> dict[str, Any]:
    """The figures of these suites by step, with `secs` seconds of load per step. Raises Failed for a wrong answer."""
    _check(target)
    figures: dict[str, Any] = {"rss_idle_mb": memory_mb(target.pid)}
    if {"speech", "big"} & set(suites):
        load(target, speech(), 16, 1)  # warm up
    figures["rss_warm_mb"] = memory_mb(target.pid)
    if "speech" in suites:
        figures["speech"] = [load(target, speech(), connections, secs) for connections in _CONNECTIONS]
    if "big" in suites:
        figures["big"] = load(target, speech("@size=5242880 @chunks=320"), 8, secs)
    if "slow" in suites:
        figures["slow1"] = hold(target, 1, chunks=50, gap_ms=10)
        figures["slow32"] = hold(target, 32, chunks=50, gap_ms=10, stagger=0.2)
    if "hold" in suites:
        figures["hold500"] = hold(target, 500, chunks=20, gap_ms=100, stagger=1.0)
    if "stt" in suites:
        figures["stt1"] = load(target, transcription(1_000_000), 8, secs)
        figures["stt25"] = load(target, transcription(25_000_000), 8, secs + 1)
    if "huge" in suites:
        figures["huge200"] = _huge(target)
    figures["rss_end_mb"] = memory_mb(target.pid)
    return figures
