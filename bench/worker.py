"""Runs inside one process per framework: takes commands as JSON lines, answers with timings.

{"prepare": {"kind": ..., "args": ...}} -> {"ready": bool}, and "failed": what went wrong if something did
{"measure": seconds}                    -> {"seconds": per unit, "cpu": seconds of CPU used}
{"latencies": count}                    -> {"p50": seconds, "p99.9": seconds, "max": seconds}, of that many calls
{"peak": true}                          -> {"bytes": peak resident set size}
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time


def main(framework: str, threads: str) -> None:
    """Serves until standard input closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # progress bars are drawn, into nowhere
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def answer(**values):
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    try:
        module = importlib.import_module(f"bench.frameworks.{framework}")
        module.set_threads(int(threads))
    except ImportError as error:
        answer(missing=str(error))
        return
    answer(ready=True)
    call, units = None, 1
    for line in sys.stdin:
        command = json.loads(line)
        if "prepare" in command:
            wanted = command["prepare"]
            call = made = None  # whatever the last one needed is free before the next is made
            try:
                setup = getattr(module, wanted["kind"], None)
                made = setup(**wanted["args"]) if setup else None
                if made is None:
                    answer(ready=False)
                    continue
                call, units = made
                warm_up(call)
            except Exception as error:
                answer(ready=False, failed=f"{type(error).__name__}: {error}")
            else:
                answer(ready=True)
        elif "measure" in command:
            answer(**measure(call, units, command["measure"]))
        elif "latencies" in command:
            answer(**latencies(call, command["latencies"]))
        elif "peak" in command:
            answer(bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def warm_up(call) -> None:
    """Three calls, or as many as begin within a second."""
    end = time.perf_counter() + 1
    for _ in range(3):
        if time.perf_counter() < end:
            call()


def measure(call, units, seconds) -> dict:
    """Median seconds per unit over calls that fill `seconds`: at least three, or one where that takes longer by far."""
    cpu = time.process_time()
    start = time.perf_counter()
    call()
    once = time.perf_counter() - start
    group = max(1, int(2e-4 / max(once, 1e-9)))  # calls per clock reading: the clock must not count
    times = []
    least = 3 if once < 3 * seconds else 1
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(group):
            call()
        times.append((time.perf_counter() - start) / (group * units))
    times.sort()
    return {"seconds": times[len(times) // 2], "cpu": time.process_time() - cpu}


def latencies(call, count) -> dict:
    """What `count` calls took each, garbage collection and all: the median, the time that all but one in a thousand
    keep, and the longest."""
    times = [0.0] * count
    for i in range(count):
        start = time.perf_counter()
        call()
        times[i] = time.perf_counter() - start
    return {"p50": percentile(times, 500), "p99.9": percentile(times, 999), "max": max(times)}


def percentile(values, permille: int) -> float:
    """The least of the values that `permille` thousandths of them do not exceed.

    Raises:
        ValueError: without values, or for a share that is none.
    """
    if not values or not 0 < permille <= 1000:
        raise ValueError(f"expected values and a share of 1 to 1000 thousandths. Received: {len(values)} values and "
                         f"{permille}.")
    return sorted(values)[-(-permille * len(values) // 1000) - 1]
