"""`python -m bench.regions`: what a parallel region costs, alone and beside one busy process.

Compares the pool on both layers of threads (`csrc/base/team.h`) with regions of OpenMP itself, and with `--base
REVISION` also with the pool of another revision. Everything is built here by `c++`; interleaved rounds, medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from io import BytesIO
from pathlib import Path

from bench.harness import ROOT, Watch

CHUNK = 10  # microseconds
JOBS = {  # chunks, microseconds of a chunk, pause between two regions
    "2 empty chunks": (2, 0, 0),
    "20 us": (2, CHUNK, 0),
    "1000 us": (100, CHUNK, 0),
    "20 us each 100 us": (2, CHUNK, 80),
}
OMP = {"omp parallel for, static": "omp-static", "omp parallel for, dynamic": "omp-dynamic",
       "omp parallel, chunks claimed": "omp-claiming"}


def build(csrc: Path, layer: str, folder: Path) -> Path:
    """The driver with the pool of `csrc`, its threads made by `layer`."""
    base = csrc / "base"
    sources = [base / name for name in ("parallel.cpp", "interrupt.cpp", "memory.cpp")]
    sources += [path for path in (base / "cores.cpp", base / "groups.cpp", base / f"team_{layer}.cpp") if path.exists()]
    program = Path(tempfile.mkdtemp(dir=folder)) / "regions"
    openmp = ["-fopenmp"] if layer == "openmp" else []
    subprocess.run(["c++", "-std=gnu++20", "-O2", "-pthread", *openmp, f"-I{csrc}", *sources,
                    ROOT / "bench" / "regions.cpp", "-o", program], check=True)
    return program


def csrc_of(revision: str, folder: Path) -> Path:
    archive = subprocess.run(["git", "archive", revision, "csrc"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder / "base", filter="data")
    return folder / "base" / "csrc"


class Driver:
    """A process that measures on request; what it waits for between two requests costs nothing."""

    def __init__(self, program: Path, threads: int, **variables: str):
        mine = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
        self.process = subprocess.Popen(
            [program], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=mine | {"PYDL_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)} | variables)

    def measure(self, way: str, chunks: int, turns: int, pause: int, seconds: float) -> float:
        """Mean microseconds of a region."""
        self.process.stdin.write(f"{way} {chunks} {turns} {pause} {seconds}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)


def turns_per_microsecond(driver: Driver) -> float:
    """At the best speed of this core: the same work for everybody."""
    return 100_000 / min(driver.measure("serial", 1, 100_000, 0, 0.02) for _ in range(20))


def cpu_seconds(process: subprocess.Popen) -> float:
    """That it has used so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rounds(rows: dict, speed: float, count: int, seconds: float, beside: bool) -> tuple[dict, float]:
    """{(row, job): microseconds of each round}, and how many cores processes that are not ours used meanwhile."""
    found: dict[tuple[str, str], list[float]] = {(row, job): [] for row in rows for job in JOBS}
    processes = [driver.process for driver in {driver for driver, _ in rows.values()}]
    if beside:
        processes.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
        time.sleep(0.2)
    try:
        with Watch() as watch:
            before = sum(map(cpu_seconds, processes)) + time.process_time()
            for _ in range(count):
                for job, (chunks, work, pause) in JOBS.items():
                    for row, (driver, way) in rows.items():
                        found[row, job].append(driver.measure(
                            way, chunks, round(work * speed), round(pause * speed), seconds))
            watch.own = sum(map(cpu_seconds, processes)) + time.process_time() - before
    finally:
        if beside:
            processes[-1].kill()
            processes[-1].wait()
    return found, watch.others


def number(microseconds: float) -> str:
    return f"{microseconds:,.0f}" if microseconds >= 100 else f"{microseconds:.{1 if microseconds >= 1 else 2}f}"


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.regions", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", help="a revision of git whose pool is measured too")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.2, help="time per row, job and round")
    parser.add_argument("--json", help="where to write the numbers of all rounds")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        openmp = build(ROOT / "csrc", "openmp", folder)
        ours = Driver(openmp, options.threads)
        rows = {"serial": (ours, "serial")}
        for policy in ("", ", passive"):
            # By default threads wait awake for a while, then asleep.
            driver = Driver(openmp, options.threads, **({"OMP_WAIT_POLICY": "passive"} if policy else {}))
            rows |= {row + policy: (driver, way) for row, way in OMP.items()}
        rows["pool on std::thread"] = Driver(build(ROOT / "csrc", "std", folder), options.threads), "pool"
        if options.base:
            rows[f"pool of {options.base}"] = (
                Driver(build(csrc_of(options.base, folder), "std", folder), options.threads), "pool")
        rows["pool on OpenMP"] = ours, "pool"
        speed = turns_per_microsecond(ours)
        alone, others = rounds(rows, speed, options.rounds, options.seconds, beside=False)
        beside, more_others = rounds(rows, speed, options.rounds, options.seconds, beside=True)
        for driver in {driver for driver, _ in rows.values()}:
            driver.close()

    print(f"{options.threads} threads, median of {options.rounds} rounds; microseconds of a region alone / beside one "
          f"busy process.\nOther processes used {others:.2f} / {more_others:.2f} cores meanwhile.\n")
    print(f"| | {' | '.join(JOBS)} |\n|---|" + "---|" * len(JOBS))
    for row in rows:
        cells = [f"{number(statistics.median(alone[row, job]))} / {number(statistics.median(beside[row, job]))}"
                 for job in JOBS]
        print(f"| {row} | {' | '.join(cells)} |")
    print("\npool on OpenMP, times that of another, median over the rounds, alone / beside:")
    for row in rows:
        if row.startswith("pool") and row != "pool on OpenMP":
            cells = [" / ".join(f"{statistics.median(a / b for a, b in zip(t['pool on OpenMP', job], t[row, job])):.3f}"
                                for t in (alone, beside)) for job in JOBS]
            print(f"| {row} | {' | '.join(cells)} |")
    if options.json:
        Path(options.json).write_text(json.dumps(
            {kind: {f"{row}; {job}": values for (row, job), values in found.items()}
             for kind, found in (("alone", alone), ("beside", beside))}, indent=1))


if __name__ == "__main__":
    main()
