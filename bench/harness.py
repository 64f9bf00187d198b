"""Fair comparison on a noisy machine: a process per framework, rounds interleaved, disturbed rounds repeated."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The checkout comes last on the path, the folder it starts in not at all: what is measured is the installed package.
_START = "import sys; del sys.path[0]; sys.path.append(sys.argv[1]); from bench.worker import main; main(*sys.argv[2:])"


class Worker:
    """One framework in a process of its own, limited to `threads` cores."""

    def __init__(self, framework: str, threads: int, python: str):
        self.framework = framework
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYDL_NUM_THREADS")
        environment = {**os.environ, **{n: str(threads) for n in names}, "KERAS_BACKEND": "jax",
                       "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
        for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # would slow NumPy's own BLAS down
            environment.pop(name, None)
        cores = sorted(os.sched_getaffinity(0))[:threads]
        self.process = subprocess.Popen(
            [python, "-c", _START, str(ROOT), framework, str(threads)], cwd=tempfile.gettempdir(), env=environment,
            text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, cores))
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

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=30)


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


def compare(workload, workers, rounds: int, seconds: float, retries: int = 4) -> dict:
    """Median seconds per unit of each framework that has the workload; and how many rounds stayed disturbed."""
    ready = [w for w in workers if w.ask(prepare={"kind": workload.kind, "args": workload.args}).get("ready")]
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


def import_seconds(module: str, python: str, repeats: int = 7) -> float | None:
    """Median wall time of a fresh process that imports `module`, minus that of one that imports nothing."""
    def once(code):
        start = time.perf_counter()
        done = subprocess.run([python, "-c", code], capture_output=True, cwd=tempfile.gettempdir(),
                              env={**os.environ, "KERAS_BACKEND": "jax"})
        return time.perf_counter() - start if done.returncode == 0 else None

    times = [(once(f"import {module}"), once("pass")) for _ in range(repeats)]
    if any(a is None for a, _ in times):
        return None
    return statistics.median(a for a, _ in times) - statistics.median(b for _, b in times)


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


def beside_neighbour(workload, worker: Worker, seconds: float) -> tuple[float, float] | None:
    """Seconds per unit alone, and with one busy process on the same cores."""
    if not worker.ask(prepare={"kind": workload.kind, "args": workload.args}).get("ready"):
        return None
    alone, beside = [], []
    for _ in range(3):
        alone.append(worker.ask(measure=seconds)["seconds"])
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            time.sleep(0.2)
            beside.append(worker.ask(measure=max(seconds, 0.5))["seconds"])
        finally:
            busy.kill()
            busy.wait()
    return statistics.median(alone), statistics.median(beside)
