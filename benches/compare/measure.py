"""CPU seconds and memory of a piece of work in a process of its own; what both sides are measured with."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any


def measure(work: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Runs the work once to fill caches, then so many times: the median of its CPU seconds (all threads) and of its seconds."""
    work()
    cpu, wall = [], []
    for _ in range(repeats):
        start = (time.process_time(), time.perf_counter())
        work()
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return {"cpu": sorted(cpu)[repeats // 2], "wall": sorted(wall)[repeats // 2]}


def report(found: dict[str, Any]) -> None:
    """Prints what was found, with the process's peak memory in MB, as the last line."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**found, "peak": round(peak)}))
    sys.stdout.flush()
