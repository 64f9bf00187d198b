"""What `python -m bench` measures beside the table: rows named `neighbour`, `peak`, `tail`, `cold`, `import`.

Each part is a function of the run; `--only` with a text that begins with a part's name chooses among its rows.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench import harness
from bench.workloads import NETS, ONE_ROW, STEPS, WORKLOADS

NAMES = ("neighbour", "peak", "tail", "cold", "import")
PACKAGES = {"pydl": ["pydl"], "torch": ["torch"], "jax": ["jax", "jaxlib"], "keras": ["keras", "jax", "jaxlib"],
            "onnxruntime": ["onnxruntime"], "openvino": ["openvino"], "sklearn": ["scikit-learn"], "numpy": ["numpy"]}
_PEAKS = [("mlp", 64), ("lenet", 128), ("vgg", 32), ("resnet50", 8)]  # the first is that of the short run
_TITLES = {"mlp": "MLP 784-128-64-10", "lenet": "LeNet-5"}
_TRAINED_COLD = ("pydl", "base", "torch", "jax", "keras")
_LOADED_COLD = (*_TRAINED_COLD, "onnxruntime", "openvino")
_TAILED = ("pydl", "base", "torch", "onnxruntime", "openvino")


class Run:
    """The options of one call of the program, and the report it fills."""

    def __init__(self, options, frameworks, report):
        self.options, self.frameworks, self.report = options, frameworks, report
        self.failures: list[str] = []

    def python(self, framework) -> str:
        return {"pydl": sys.executable, "base": self.options.base_python}.get(framework, self.options.peers_python)

    def chosen(self, part: str, row: str) -> bool:
        only = self.options.only.lower()
        return not only or (only.startswith(part) and only in row.lower())

    def add(self, **row) -> None:
        self.report["rows"].append(row)

    def fresh(self, row, framework, threads, *task, repeats=7) -> float | None:
        """`harness.fresh_seconds`, fewer in a short run; what goes wrong is kept."""
        try:
            return harness.fresh_seconds(self.python(framework), threads, framework, *task,
                                         repeats=1 if self.options.smoke else repeats)
        except RuntimeError as error:
            self.failures.append(f"{row}: {error}")
            return None


def neighbour(run, workers, threads) -> None:
    # Large networks are left out: their steps take seconds, in which nothing is learned that others do not show.
    rows = [w for w in WORKLOADS if w.kind == "train" and "application" not in NETS[w.args["net"]]]
    rows = [(f"neighbour: {w.name}", w) for w in (rows[:1] if run.options.smoke else rows)]
    rows = [(name, w) for name, w in rows if run.chosen("neighbour", name)]
    if rows:
        print("\nbeside one busy process: slow-down over running alone (aim for pydl: at most 2)")
    for name, workload in rows:
        cells = {}
        for w in workers:
            if w.framework in ("pydl", "torch", "jax"):
                rounds = 1 if run.options.smoke else 3
                both = harness.beside_neighbour(workload, w, rounds, run.options.seconds)
                if both:
                    cells[w.framework] = both[1] / both[0]
        run.add(workload=name, threads=threads, slowdown=cells)
        print(f"{workload.name:44}" + "  ".join(f"{k} {v:.2f}" for k, v in cells.items()), flush=True)


def peak(run, workers, threads) -> None:
    """Peak memory of fresh processes that train."""
    for net, batch in _PEAKS[:1] if run.options.smoke else _PEAKS:
        name = f"peak memory {net}"
        if not run.chosen("peak", name):
            continue
        print(f"\npeak memory of a process that trains {net} with batches of {batch}")
        for old in workers:
            if old.framework in ("numpy", "sklearn"):
                continue
            w = harness.Worker(old.framework, threads, old.python)
            if w.prepare(name, "train", {"net": net, "batch": batch, "steps": STEPS.get(net, 100)}):
                w.ask(measure=0.2)
                size = w.ask(peak=True)["bytes"]
                run.add(workload=name, threads=threads, framework=w.framework, bytes=size)
                print(f"  {w.framework:16}{size / 2**20:8.0f} MiB", flush=True)
            w.close()
            old.failures += w.failures


def tail(run, workers, threads) -> None:
    """How long single predictions take at worst, alone and beside a busy process on the same cores."""
    name = f"tail: {ONE_ROW}"
    if not run.chosen("tail", name):
        return
    count = 1000 if run.options.smoke else 100_000
    workload = next(w for w in WORKLOADS if w.name == ONE_ROW)
    print(f"\n{ONE_ROW}, {count} times: microseconds alone, then beside one busy process\n" + 16 * " "
          + f"{'p50':>10}{'p99.9':>10}{'max':>10}" * 2)
    for w in workers:
        if w.framework not in _TAILED or not w.prepare(name, workload.kind, workload.args):
            continue
        alone = w.ask(latencies=count)
        with harness.neighbour(threads):
            beside = w.ask(latencies=count)
        run.add(workload=name, threads=threads, framework=w.framework, count=count, alone=alone, beside=beside)
        cells = (f"{t * 1e6:10.1f}" for t in (*alone.values(), *beside.values()))
        print(f"{w.framework:16}" + "".join(cells), flush=True)


def cold(run, threads) -> None:
    """What a new process takes up to its first training step, and from a file to its first prediction."""
    rows = [(f"cold fit, {_TITLES[net]}", "fit", net, _TRAINED_COLD) for net in ("mlp", "lenet")]
    rows.append((f"cold predict from a file, {_TITLES['lenet']}", "predict", "lenet", _LOADED_COLD))
    rows = [row for row in rows if run.chosen("cold", row[0])]
    if rows:
        print(f"\nfrom the start of a process on {threads} threads, without that of the interpreter: import, build and "
              "first training step; import, file and first prediction")
    for name, task, net, known in rows:
        for framework in (f for f in run.frameworks if f in known):
            with tempfile.TemporaryDirectory() as folder:
                path = [str(Path(folder) / net)] if task == "predict" else []
                if path and run.fresh(name, framework, threads, "save", net, *path, repeats=1) is None:
                    continue
                seconds = run.fresh(name, framework, threads, task, net, *path)
            if seconds is not None:
                run.add(workload=name, threads=threads, framework=framework, seconds=seconds)
                print(f"{name:44}{framework:16}{seconds:8.3f} s", flush=True)


def fixed_costs(run, threads) -> None:
    name = "import and size"
    if not run.chosen("import", name):
        return
    print("\nimport in a fresh process (NumPy included), and installed size with dependencies")
    for f in run.frameworks:
        if f in PACKAGES:
            seconds = run.fresh(name, f, threads, "import")
            size = harness.installed_bytes(PACKAGES[f], run.python(f))
            run.add(workload=name, framework=f, seconds=seconds, bytes=size)
            shown = "-" if seconds is None else f"{seconds:.3f} s"
            print(f"  {f:16}{shown:>10}{size / 2**20:10.0f} MiB", flush=True)
