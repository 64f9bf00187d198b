"""`python -m bench`: prints the table, writes JSON. Peers that are not installed are left out."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from bench import harness
from bench.workloads import FRAMEWORKS, WORKLOADS

PACKAGES = {"pydl": ["pydl"], "torch": ["torch"], "jax": ["jax", "jaxlib"], "keras": ["keras", "jax", "jaxlib"],
            "sklearn": ["scikit-learn"], "numpy": ["numpy"]}
_PEAKS = [{"net": "mlp", "batch": 64}, {"net": "lenet", "batch": 128}, {"net": "vgg", "batch": 32}]


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name contains this text; `peak`: memory")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, e.g. 1,2")
    parser.add_argument("--frameworks", default=",".join(FRAMEWORKS), help="which frameworks, comma separated")
    parser.add_argument("--peers-python", default=os.environ.get("PYDL_BENCH_PEERS", sys.executable),
                        help="Python that has the peers installed; this one by default")
    parser.add_argument("--base-python", help="Python that has another version of pydl installed, measured as `base`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="time per framework, row and round")
    parser.add_argument("--json", default="bench/results/latest.json", help="where to write the numbers")
    parser.add_argument("--smoke", action="store_true", help="a short run that only shows that everything works")
    options = parser.parse_args(argv)
    rows = [w for w in WORKLOADS if options.only.lower() in w.name.lower() and (w.smoke or not options.smoke)]
    if options.smoke:
        options.rounds, options.seconds = 1, 0.05
    frameworks = [f for f in options.frameworks.split(",") if f and (f != "base" or options.base_python)]
    unknown = [f for f in frameworks if f not in FRAMEWORKS]
    if unknown:
        parser.error(f"unknown framework {unknown[0]}; known: {', '.join(FRAMEWORKS)}")

    def python_of(framework):
        return {"pydl": sys.executable, "base": options.base_python}.get(framework, options.peers_python)

    report = {"machine": machine(), "date": datetime.datetime.now().isoformat(timespec="seconds"), "rows": []}
    print(f"{report['machine']['cpu']}, {report['machine']['cores']} cores")
    for threads in (int(t) for t in options.threads.split(",")):
        workers = [harness.Worker(f, threads, python_of(f)) for f in frameworks]
        missing = [w.framework for w in workers if w.missing]
        workers = [w for w in workers if not w.missing]
        if missing:
            print(f"not installed, left out: {', '.join(missing)}")
        names = [w.framework for w in workers]
        print(f"\n{threads} thread{'s' if threads > 1 else ''}: time per unit; in brackets, peer's time / pydl's")
        print(f"{'workload':44}" + "".join(f"{n:>22}" for n in names) + f"{'aim':>7}")
        for workload in rows:
            found = harness.compare(workload, workers, options.rounds, options.seconds)
            report["rows"].append({"workload": workload.name, "threads": threads, "aim": workload.aim, **found})
            print(line(workload, found, names), flush=True)
        if not options.smoke and not options.only:
            neighbour(workers, threads, options, report)
        if options.only in ("", "peak") and not options.smoke:
            peak(workers, threads, report)
        for w in workers:
            w.close()
    if not options.only:
        fixed_costs(frameworks, python_of, options, report)
    path = Path(options.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1))
    print(f"\nwritten to {path}")
    return 0


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


def neighbour(workers, threads, options, report) -> None:
    print("\nbeside one busy process: slow-down over running alone (aim for pydl: at most 2)")
    for workload in (w for w in WORKLOADS if w.kind == "train"):
        cells = {}
        for w in workers:
            if w.framework in ("pydl", "torch", "jax"):
                both = harness.beside_neighbour(workload, w, options.seconds)
                if both:
                    cells[w.framework] = both[1] / both[0]
        report["rows"].append({"workload": f"neighbour: {workload.name}", "threads": threads, "slowdown": cells})
        print(f"{workload.name:44}" + "  ".join(f"{k} {v:.2f}" for k, v in cells.items()), flush=True)


def peak(workers, threads, report) -> None:
    """Peak memory of fresh processes that train."""
    for args in _PEAKS:
        print(f"\npeak memory of a process that trains {args['net']} with batches of {args['batch']}")
        for old in workers:
            if old.framework in ("numpy", "sklearn"):
                continue
            w = harness.Worker(old.framework, threads, old.process.args[0])
            if w.ask(prepare={"kind": "train", "args": args}).get("ready"):
                w.ask(measure=0.2)
                size = w.ask(peak=True)["bytes"]
                report["rows"].append({"workload": f"peak memory {args['net']}", "threads": threads,
                                       "framework": w.framework, "bytes": size})
                print(f"  {w.framework:16}{size / 2**20:8.0f} MiB", flush=True)
            w.close()


def fixed_costs(frameworks, python_of, options, report) -> None:
    print("\nimport in a fresh process (NumPy included), and installed size with dependencies")
    for f in frameworks:
        if f not in PACKAGES:
            continue
        seconds = harness.import_seconds(f, python_of(f), 2 if options.smoke else 7)
        size = harness.installed_bytes(PACKAGES[f], python_of(f))
        report["rows"].append({"workload": "import and size", "framework": f, "seconds": seconds, "bytes": size})
        shown = "-" if seconds is None else f"{seconds:.3f} s"
        print(f"  {f:16}{shown:>10}{size / 2**20:10.0f} MiB", flush=True)


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
