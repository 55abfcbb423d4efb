"""Starts, measures and stops each peer in turn. Every other round runs backwards. Writes one line of JSON per result.

python run_peers.py --peers direct,nginx,audio-proxy --rounds 3 --out out/main.jsonl
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from load import Failed, Target, ask, speech
from peers import LOAD_CORE, PEERS, PROXY_CORE, UPSTREAM, WORK, Peer, started, upstream
from suites import SUITES, measure


def spin() -> float:
    """Milliseconds for fixed work on the proxies' core, which show whether the machine has become slower."""
    os.sched_setaffinity(0, {PROXY_CORE})
    began = time.perf_counter()
    count = 0
    for i in range(1_000_000):
        count += i & 7
    seconds = time.perf_counter() - began
    os.sched_setaffinity(0, {LOAD_CORE})
    return round(seconds * 1000, 1)


def cold_start(peer: Peer, process: subprocess.Popen[bytes] | None, began: float) -> dict[str, float]:
    """Seconds from `began` until the first answer of any kind, and until the first good one."""
    listening = None
    while time.monotonic() - began < peer.start_timeout:
        if process and process.poll() is not None:
            raise Failed(f"exited with status {process.returncode}; see its log")
        try:
            status, _ = ask(peer.port, speech(), timeout=30)
        except (OSError, http.client.HTTPException):
            status = None
        now = time.monotonic() - began
        if status is not None and listening is None:
            listening = now
        if status == 200 and listening is not None:
            return {"listen_s": round(listening, 3), "cold_start_s": round(now, 3)}
        time.sleep(0.02)
    raise Failed("sent no good answer in time; see its log")


def row(name: str, number: int, suites: list[str], secs: int, log: Path) -> dict[str, Any]:
    """The result of one peer in one round, with `error` if it failed."""
    peer = PEERS[name]
    figures: dict[str, Any] = {"name": name, "at": round(time.time(), 1), "round": number, "spin_ms": spin()}
    began = time.monotonic()
    try:
        with started(peer, log) as process:
            figures |= cold_start(peer, process, began)
            figures |= measure(Target(peer.port, process.pid if process else None), suites, peer.secs or secs)
    except (Failed, OSError, http.client.HTTPException, subprocess.SubprocessError) as error:
        figures["error"] = f"{type(error).__name__}: {error}"
    return figures


def arguments() -> argparse.Namespace:
    """The arguments of the command line, after a check for unknown names and missing programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True, help=f"comma-separated list of {', '.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--out", type=Path, required=True, help="file to append to; the peers' logs are written to the same folder"
    )
    parser.add_argument("--suite", default=",".join(SUITES), help="comma-separated list; default: %(default)s")
    parser.add_argument("--secs", type=int, default=3, help="seconds of load per step; default: %(default)s")
    args = parser.parse_args()
    args.peers, args.suite = args.peers.split(","), args.suite.split(",")
    if unknown := (set(args.peers) - set(PEERS)) | (set(args.suite) - set(SUITES)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    programs = [
        "taskset",
        "wrk",
        str(UPSTREAM),
        *(PEERS[name].command[0] for name in args.peers if PEERS[name].command),
    ]
    if missing := [program for program in programs if not shutil.which(program)]:
        parser.error(f"not found: {', '.join(missing)}; see README.md")
    return args


def main() -> None:
    args = arguments()
    WORK.mkdir(exist_ok=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {LOAD_CORE})  # inherited by all child processes; the peers are moved
    with upstream(), args.out.open("a") as out:
        for number in range(args.rounds):
            for name in args.peers if number % 2 == 0 else args.peers[::-1]:
                figures = row(name, number, args.suite, args.secs, args.out.parent / f"{name}.log")
                print(json.dumps(figures), file=out, flush=True)
                rates = [step["rps"] for step in figures.get("speech", [])]
                print(f"round {number} {name}: {figures.get('error') or rates or 'done'}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
