"""`python -m bench`: prints the table, writes JSON. Peers that are not installed are left out."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from bench import harness, parts, scaling
from bench.workloads import FRAMEWORKS, WORKLOADS


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name contains this text; a text that begins with "
                        "neighbour, peak, tail, cold or import: rows of that part")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, e.g. 1,2,4; those above the number of "
                        "cores are left out")
    parser.add_argument("--frameworks", default=",".join(FRAMEWORKS), help="which frameworks, comma separated")
    parser.add_argument("--peers-python", default=os.environ.get("PYDL_BENCH_PEERS", sys.executable),
                        help="Python that has the peers installed; this one by default")
    parser.add_argument("--base-python", help="Python that has another version of pydl installed, measured as `base`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="time per framework, row and round")
    parser.add_argument("--json", default="bench/results/latest.json", help="where to write the numbers")
    parser.add_argument("--smoke", action="store_true", help="a short run that only shows that everything works")
    options = parser.parse_args(argv)
    try:
        rows = chosen(options.only, options.smoke)
        counts = thread_counts(options.threads, len(os.sched_getaffinity(0)))
        frameworks = known(options.frameworks)
    except ValueError as error:
        parser.error(str(error))
    if options.smoke:
        options.rounds, options.seconds = 1, 0.05
    frameworks = [f for f in frameworks if f != "base" or options.base_python]
    report = {"machine": machine(), "date": datetime.datetime.now().isoformat(timespec="seconds"), "rows": []}
    run = parts.Run(options, frameworks, report)
    print(f"{report['machine']['cpu']}, {report['machine']['cores']} cores")
    for threads in counts:
        workers = [harness.Worker(f, threads, run.python(f)) for f in frameworks]
        missing = [w.framework for w in workers if w.missing]
        workers = [w for w in workers if not w.missing]
        if missing:
            print(f"not installed, left out: {', '.join(missing)}")
        if rows:
            table(run, rows, workers, threads)
        for part in (parts.neighbour, parts.tail, parts.peak):
            part(run, workers, threads)
        for w in workers:
            w.close()
            run.failures += w.failures
    parts.cold(run, counts[-1])
    parts.fixed_costs(run, counts[-1])
    scaling.show(report)
    path = Path(options.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1))
    print(f"\nwritten to {path}")
    if run.failures:
        print("failed:", *run.failures, sep="\n  ", file=sys.stderr)
    return 1 if run.failures else 0


def chosen(only: str, smoke: bool) -> list:
    """The rows of the table with that text in their names; none where it names a part.

    Raises:
        ValueError: when it names nothing.
    """
    rows = [w for w in WORKLOADS if only.lower() in w.name.lower()]
    if not rows and not only.lower().startswith(tuple(parts.NAMES)):
        raise ValueError(f"no row has {only!r} in its name, and no part begins with it: {', '.join(parts.NAMES)}")
    if not smoke:
        return rows
    return [dataclasses.replace(w, args={**w.args, **(w.smoke if isinstance(w.smoke, dict) else {})})
            for w in rows if w.smoke]


def known(names: str) -> list[str]:
    """Frameworks, comma separated. Raises ValueError for one that there is not."""
    frameworks = [f for f in names.split(",") if f]
    if unknown := [f for f in frameworks if f not in FRAMEWORKS]:
        raise ValueError(f"unknown framework {unknown[0]}; known: {', '.join(FRAMEWORKS)}")
    return frameworks


def thread_counts(text: str, cores: int) -> list[int]:
    """Numbers of threads, comma separated, without those for which there are too few cores.

    Raises:
        ValueError: for what is no such list, or when nothing is left of it.
    """
    try:
        counts = [int(t) for t in text.split(",")]
    except ValueError:
        counts = [0]
    if min(counts) < 1:
        raise ValueError(f"--threads takes numbers from 1, e.g. 1,2. Received: {text}")
    if above := [n for n in counts if n > cores]:
        print(f"left out for want of cores, of which there are {cores}: {', '.join(map(str, above))} threads")
    if not (counts := [n for n in counts if n <= cores]):
        raise ValueError(f"--threads {text}: this process may use {cores} cores")
    return counts


def table(run, rows, workers, threads) -> None:
    names = [w.framework for w in workers]
    print(f"\n{threads} thread{'s' if threads > 1 else ''}: time per unit; in brackets, peer's time / pydl's")
    print(f"{'workload':44}" + "".join(f"{n:>22}" for n in names) + f"{'aim':>7}")
    for workload in rows:
        retries = 0 if run.options.smoke else 4
        found = harness.compare(workload, workers, run.options.rounds, run.options.seconds, retries)
        run.add(workload=workload.name, threads=threads, aim=workload.aim, **found)
        print(line(workload, found, names), flush=True)


def line(workload, found, names) -> str:
    seconds = found["seconds"]
    ours = seconds.get("pydl")
    cells = []
    for name in names:
        t = seconds.get(name)
        ratio = f" ({t / ours:.2f})" if t is not None and ours and name != "pydl" else ""
        speed = f" {workload.flops / t / 1e9:.0f}G/s" if t is not None and workload.flops and name == "pydl" else ""
        cells.append(f"{'-' if t is None else duration(t) + speed + ratio:>22}")
    mark = " *" if found["disturbed"] else ""
    return f"{workload.name:44}" + "".join(cells) + f"{workload.aim:>6.2f}x" + mark


def duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.2f} us"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def machine() -> dict:
    cpu = platform.processor()
    try:
        text = Path("/proc/cpuinfo").read_text()
        cpu = next(line.split(":", 1)[1].strip() for line in text.split("\n") if line.startswith("model name"))
        flags = subprocess.run(["grep", "-m1", "-o", "avx512f", "/proc/cpuinfo"], capture_output=True, text=True)
        cpu += f" ({flags.stdout.strip() or 'no avx512'})"
    except (OSError, StopIteration):
        pass
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}


if __name__ == "__main__":
    sys.exit(main())
