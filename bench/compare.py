"""Two versions of pydl on one machine: `python -m bench.compare BASE_PYTHON HEAD_PYTHON`.

Runs `tests/benchmarks` of this checkout with both, in turns, and compares the medians of each row. A row that got
slower by more than the limit is measured again, more rounds of it alone: a busy machine must not fail a change. Exit
code 1 when one stays slower. `.ci/compare REVISION` builds both versions first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.harness import ROOT


def medians(python: str, names: list[str] | None, seconds: float) -> dict[str, float]:
    """Seconds by row, of one run of the benchmarks (or of those rows) in a fresh process. A row that a version cannot
    run is left out."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmarks.json"
        command = [python, "-m", "pytest", "-q", "--benchmark-enable", "--benchmark-only", f"--benchmark-json={path}",
                   f"--benchmark-max-time={seconds}", "--benchmark-warmup=on", "-p", "no:cacheprovider"]
        command += names or ["tests/benchmarks"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True,
                              env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"})
        if not path.exists():
            raise RuntimeError(f"{python}: the benchmarks failed:\n{done.stdout}\n{done.stderr}")
        return {row["fullname"]: row["stats"]["median"] for row in json.loads(path.read_text())["benchmarks"]}


def measure(pythons: list[str], names: list[str] | None, rounds: int, seconds: float) -> list[dict[str, float]]:
    """For each Python the median over the rounds, by row."""
    found: list[list[dict[str, float]]] = [[] for _ in pythons]
    for number in range(rounds):
        for i in range(len(pythons)):
            which = (i + number) % len(pythons)  # neither is always the first
            found[which].append(medians(pythons[which], names, seconds))
    return [{name: statistics.median(run[name] for run in runs) for name in runs[0]} for runs in found]


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("base", help="Python with the former version (and pytest, pytest-benchmark) installed")
    parser.add_argument("head", help="Python with the new one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.2, help="per row and round")
    parser.add_argument("--limit", type=float, default=0.15, help="how much slower a row may get, as a share")
    options = parser.parse_args(argv)
    if any((ROOT / "pydl").glob("_core*.so")):
        parser.error("a development build in pydl/ would be measured in place of both: remove pydl/_*.so")
    pythons = [options.base, options.head]
    base, head = measure(pythons, None, options.rounds, options.seconds)
    shared = [name for name in head if name in base]
    slower = [name for name in shared if head[name] > base[name] * (1 + options.limit)]
    if slower:
        for now, again in zip((base, head), measure(pythons, slower, 2 * options.rounds + 1, 2 * options.seconds)):
            now.update(again)
        slower = [name for name in slower if head[name] > base[name] * (1 + options.limit)]
    print(f"{'row':64}{'base':>12}{'head':>12}{'head/base':>11}")
    for name in shared:
        mark = "  slower" if name in slower else ""
        print(f"{name.split('::')[-1]:64}{base[name] * 1e6:9.2f} us{head[name] * 1e6:9.2f} us"
              f"{head[name] / base[name]:11.2f}{mark}")
    if slower:
        print(f"\n{len(slower)} of {len(shared)} rows got slower by more than {options.limit:.0%}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
