"""`python -m bench.scaling FILE`: what more threads gain, from the JSON that `python -m bench --threads 1,2,4` wrote.

The efficiency on n threads is time on one thread / (n * time on n threads): 1 when n threads are n times as fast.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def efficiencies(report: dict) -> dict[str, dict[str, dict[int, float]]]:
    """{framework: {workload: {threads: efficiency}}} of the rows that were measured on one thread and on more."""
    times: dict[tuple[str, str], dict[int, float]] = {}
    for row in report["rows"]:
        seconds = row.get("seconds")
        for framework, t in seconds.items() if isinstance(seconds, dict) else ():
            times.setdefault((framework, row["workload"]), {})[row["threads"]] = t
    found: dict[str, dict[str, dict[int, float]]] = {}
    for (framework, workload), by_threads in times.items():
        gained = {n: by_threads[1] / (n * t) for n, t in sorted(by_threads.items()) if n > 1 and 1 in by_threads}
        if gained:
            found.setdefault(framework, {})[workload] = gained
    return found


def show(report: dict) -> None:
    """A table per framework; nothing where no row was measured on one thread and on more."""
    for framework, rows in efficiencies(report).items():
        threads = sorted({n for row in rows.values() for n in row})
        print(f"\n{framework}: time on one thread / (n * time on n threads)")
        print(f"{'workload':44}" + "".join(f"{f'n = {n}':>9}" for n in threads))
        for workload, row in rows.items():
            print(f"{workload:44}" + "".join(f"{row[n]:9.2f}" if n in row else f"{'-':>9}" for n in threads))


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", default="bench/results/latest.json")
    options = parser.parse_args(argv)
    report = json.loads(Path(options.file).read_text())
    if not efficiencies(report):
        parser.error(f"{options.file} has no row that was measured on one thread and on more; `python -m bench "
                     "--threads 1,2` writes some.")
    show(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
