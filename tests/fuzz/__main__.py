"""Searches for findings: ``python -m tests.fuzz --seconds 120``. Prints how many inputs each target got.

A finding is printed with its smallest input and ends the search in that target; the exit status is 1 then. The seed is
printed as well: the same seed tries the same inputs.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import sys
import time
import traceback
from typing import Any

import hypothesis
import structlog
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.connections import run
from tests.fuzz.targets import TARGETS, Target, close_pool

#: Inputs of one target until the next one has its turn.
BATCH = 300
#: Seconds of CPU time that one input may cost at most; the usual ones cost a thousandth of that.
MAX_CPU_SECONDS = 2.0
#: Megabytes of memory after which the search ends, as a finding.
MAX_MEGABYTES = 4096


class TooSlow(AssertionError):
    pass


def search(target: Target, seed: int) -> tuple[int, float]:
    """How many inputs were tried, and the CPU time of the slowest. Raises what the first finding raised."""
    tried, slowest = 0, 0.0

    @hypothesis.seed(seed)
    @settings(
        max_examples=BATCH,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def batch(data: Any) -> None:
        nonlocal tried, slowest
        began = time.process_time()
        target.check(data)
        spent = time.process_time() - began
        tried, slowest = tried + 1, max(slowest, spent)
        if spent > MAX_CPU_SECONDS:
            raise TooSlow(f"{spent:.1f} s of CPU time")

    batch()
    return tried, slowest


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--target", choices=[target.name for target in TARGETS], action="append")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    left = [target for target in TARGETS if options.target is None or target.name in options.target]
    counts = {target.name: 0 for target in left}
    slowest = {target.name: 0.0 for target in left}
    findings = 0
    print(f"seed {options.seed}", flush=True)
    end, turn = time.monotonic() + options.seconds, options.seed
    while left and time.monotonic() < end:
        for target in list(left):
            try:
                tried, spent = search(target, turn)
                counts[target.name] += tried
                slowest[target.name] = max(slowest[target.name], spent)
            except Exception:
                findings += 1
                left.remove(target)
                print(f"\nFINDING in {target.name}, --seed {turn}", flush=True)
                traceback.print_exc(limit=-8, file=sys.stdout)
            if time.monotonic() > end:
                break
        turn += 1
    run(close_pool())
    for name, count in counts.items():
        print(f"{name:18} {count:>10,} inputs, slowest {slowest[name]:.2f} s of CPU time")
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{sum(counts.values()):,} inputs, {findings} findings, at most {megabytes} MB")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
