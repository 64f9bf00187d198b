"""Fair comparison on a noisy machine: a process per framework, rounds interleaved, disturbed rounds repeated."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.cold import MISSING

ROOT = Path(__file__).resolve().parent.parent

# The checkout comes last on the path, the folder it starts in not at all: what is measured is the installed package.
_START = """
import importlib, os, sys
os.sched_setaffinity(0, map(int, sys.argv[1].split(",")))  # here, since what runs before `exec` warns under JAX
sys.path[:] = [*sys.path[1:], sys.argv[2]]
importlib.import_module(sys.argv[3]).main(*sys.argv[4:])
"""


def process(python: str, threads: int, module: str, *args) -> dict:
    """Arguments of `subprocess.Popen` for one that runs `main(*args)` of a module of `bench` on `threads` cores, with
    as many threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYDL_NUM_THREADS")
    environment = {**os.environ, **{n: str(threads) for n in names}, "KERAS_BACKEND": "jax",
                   "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    # Two would slow NumPy's own BLAS down, one let a checkout be compiled anew by every process.
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    cores = ",".join(map(str, first_cores(threads)))
    return {"args": [python, "-c", _START, cores, str(ROOT), module, *map(str, args)],
            "cwd": tempfile.gettempdir(), "env": environment, "text": True}


def first_cores(threads: int) -> list[int]:
    """Cores for that many threads, among those this process may use: one of each pair that shares its units first."""
    def rank(core):
        path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        siblings = path.read_text().strip() if path.exists() else str(core)
        first = int(siblings.replace("-", ",").split(",")[0])
        return core != first, core

    return sorted(os.sched_getaffinity(0), key=rank)[:threads]


class Worker:
    """One framework in a process of its own, limited to `threads` cores. `failures` says what it could not do, by
    row."""

    def __init__(self, framework: str, threads: int, python: str):
        self.framework, self.threads, self.python = framework, threads, python
        self.failures: list[str] = []
        self.process = subprocess.Popen(**process(python, threads, "bench.worker", framework, threads),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.missing = "ready" not in self._answer()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"missing": "the process ended"}

    def ask(self, **command) -> dict:
        if self.process.poll() is not None:
            return {"missing": "the process ended"}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def prepare(self, name: str, kind: str, args: dict) -> bool:
        """Whether the framework has that row, and it is ready to be measured."""
        found = self.ask(prepare={"kind": kind, "args": args})
        if reason := found.get("failed") or found.get("missing"):
            self.failures.append(f"{self.framework}, {name}: {reason}")
        return found.get("ready", False)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


def machine_cpu() -> tuple[float, float]:
    """(seconds all cores were busy, seconds stolen by the hypervisor) since boot."""
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    tick = os.sysconf("SC_CLK_TCK")
    user, nice, system, _, _, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq) / tick, steal / tick


class Watch:
    """Context: tells afterwards how much CPU time others used, as a share of one core."""

    def __init__(self):
        self.own = 0.0

    def __enter__(self):
        self._busy, self._stolen = machine_cpu()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_):
        busy, stolen = machine_cpu()
        elapsed = max(time.perf_counter() - self._start, 1e-3)
        self.others = max(0.0, (busy - self._busy - self.own) / elapsed)
        self.stolen = (stolen - self._stolen) / elapsed

    @property
    def disturbed(self) -> bool:
        # /proc/stat counts in hundredths of a second: short rounds cannot tell less than this.
        return self.others > 0.25 or self.stolen > 0.05


def compare(workload, workers, rounds: int, seconds: float, retries: int) -> dict:
    """Median seconds per unit of each framework that has the workload; and how many rounds stayed disturbed."""
    ready = [w for w in workers if w.prepare(workload.name, workload.kind, workload.args)]
    samples: dict[str, list[float]] = {w.framework: [] for w in ready}
    disturbed = 0
    for _ in range(rounds):
        for worker in ready:
            for attempt in range(retries + 1):
                with Watch() as watch:
                    found = worker.ask(measure=seconds)
                    watch.own = found.get("cpu", 0.0)
                if not watch.disturbed or attempt == retries:
                    break
                time.sleep(0.5)
            disturbed += watch.disturbed
            if "seconds" in found:
                samples[worker.framework].append(found["seconds"])
    return {"seconds": {f: statistics.median(s) for f, s in samples.items() if s}, "disturbed": disturbed,
            "samples": samples}


def fresh_seconds(python: str, threads: int, framework: str, *task: str, repeats: int = 7) -> float | None:
    """Median wall time of a fresh process that does a task of `bench.cold`, minus that of one that does nothing; None
    where the framework is not installed.

    Raises:
        RuntimeError: when it fails otherwise.
    """
    def once(*args):
        start = time.perf_counter()
        done = subprocess.run(**process(python, threads, "bench.cold", *args), capture_output=True)
        seconds = time.perf_counter() - start
        if done.returncode not in (0, MISSING):
            raise RuntimeError(f"{' '.join(args)}: {done.stderr.strip().splitlines()[-1:]}")
        return None if done.returncode else seconds

    times, idle = [], []
    for _ in range(repeats):
        seconds = once(framework, str(threads), *task)
        if seconds is None:
            return None
        times.append(seconds)
        idle.append(once(framework, str(threads), "nothing"))
    return statistics.median(times) - statistics.median(idle)


_SIZE = """
import importlib.metadata as md, re, sys
seen, total = set(), 0
def visit(name):
    global total
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in seen: return
    seen.add(key)
    try: d = md.distribution(name)
    except md.PackageNotFoundError: return
    for f in d.files or ():
        try: total += f.locate().stat().st_size
        except OSError: pass
    for r in d.requires or ():
        if "extra ==" not in r: visit(re.match(r"[A-Za-z0-9._-]+", r).group())
for n in sys.argv[1:]: visit(n)
print(total if seen else 0)
"""


def installed_bytes(names: list[str], python: str) -> int:
    """Size of the installed distributions with all they depend on."""
    done = subprocess.run([python, "-c", _SIZE, *names], capture_output=True, text=True,
                          cwd=tempfile.gettempdir())
    return int(done.stdout or 0)


@contextlib.contextmanager
def neighbour(threads: int):
    """Context: one busy process on the cores of a worker with that many threads."""
    busy = subprocess.Popen(**process(sys.executable, threads, "bench.cold", "", threads, "turn"))
    try:
        time.sleep(0.2)
        yield
    finally:
        busy.kill()
        busy.wait()


def beside_neighbour(workload, worker: Worker, rounds: int, seconds: float) -> tuple[float, float] | None:
    """Seconds per unit alone, and with one busy process on the same cores."""
    if not worker.prepare(workload.name, workload.kind, workload.args):
        return None
    alone, beside = [], []
    for _ in range(rounds):
        alone.append(worker.ask(measure=seconds)["seconds"])
        with neighbour(worker.threads):
            beside.append(worker.ask(measure=max(seconds, 0.5))["seconds"])
    return statistics.median(alone), statistics.median(beside)
