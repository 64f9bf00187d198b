"""Workers, and the command line that the drivers share. A worker that dies or hangs is a failure of its case, and
replaced."""

from __future__ import annotations

import argparse
import collections
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
HANG = 30.0  # seconds after which a case counts as hanging
CASES_EACH = 1000  # for one worker: what libraries keep adds up


class Worker:
    """A process that runs cases; see `worker.py`."""

    def __init__(self, driver, seed, folder, limited=True):
        import pydl

        self._hang = HANG if limited else 10 * HANG
        places = [str(TESTS), str(Path(pydl.__file__).resolve().parents[1])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "PYDL_NUM_THREADS": "1",
                       "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYDL_HOME": str(folder),
                       "PYTHONHASHSEED": "0"}
        self._log = open(Path(folder) / "log", "w+")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.worker", driver, str(seed), str(folder), "limited" if limited else ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=folder,
            env=environment,
            bufsize=0,
        )
        self._heard = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        answer = self._answer(20 * HANG)
        if answer is None:
            self._log.seek(0)
            raise RuntimeError(f"The worker did not start:\n{self._log.read()[-4000:]}")

    def _answer(self, seconds):
        while b"\n" not in self._heard and self._selector.select(seconds):
            if not (more := os.read(self._process.stdout.fileno(), 1 << 16)):
                return None
            self._heard += more
        line, end, self._heard = self._heard.partition(b"\n")
        return json.loads(line) if end else None

    def ask(self, index) -> dict:
        """The result of a case; where the worker did not live to tell, {"outcome": "wrong", "dead": True}."""
        try:
            self._process.stdin.write(f"{index}\n".encode())
        except BrokenPipeError:
            pass
        begin = time.monotonic()
        case = self._answer(self._hang) or {"index": index, "kind": "?", "words": "?"}
        answer = self._answer(self._hang)
        if answer is not None:
            return {**case, **answer}
        hung = time.monotonic() - begin >= self._hang
        self.stop()
        code = self._process.returncode
        how = "hung" if hung else f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        self._log.seek(0)
        return {**case, "outcome": "wrong", "dead": True, "error": f"the process {how}\n{self._log.read()[-1000:]}"}

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._selector.close()

    def close(self) -> None:
        self.stop()
        self._log.close()


def run(driver, seed, indices, jobs=1, report=None, limited=True):
    """(Counter of (kind, outcome), results of the cases that went wrong) of the cases `indices`. Without limits of
    memory and time (`limited=False`) they run under sanitizers, which need terabytes of addresses."""
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    for index in indices:
        waiting.put(index)
    counts: collections.Counter = collections.Counter()
    wrong: list[dict] = []
    broken: list[BaseException] = []

    def work():
        try:
            while not waiting.empty():
                with tempfile.TemporaryDirectory(prefix="pydl_fuzz_") as folder:
                    worker = Worker(driver, seed, folder, limited)
                    try:
                        for _ in range(CASES_EACH):
                            try:
                                index = waiting.get_nowait()
                            except queue.Empty:
                                return
                            result = worker.ask(index)
                            counts[result["kind"], result["outcome"]] += 1
                            if result["outcome"] == "wrong":
                                wrong.append(result)
                            if report is not None:
                                report(result)
                            if result.get("dead"):
                                break
                    finally:
                        worker.close()
        except BaseException as error:
            broken.append(error)

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if broken:
        raise broken[0]
    return counts, wrong


def table(counts) -> str:
    """The counts by kind as a table in Markdown."""
    outcomes = ("loaded", "refused", "system", "wrong")
    lines = ["| | " + " | ".join(outcomes) + " |", "|---|" + "---|" * len(outcomes)]
    for kind in sorted({kind for kind, _ in counts}):
        lines.append(f"| {kind} | " + " | ".join(str(counts[kind, outcome]) for outcome in outcomes) + " |")
    lines.append("| all | "
                 + " | ".join(str(sum(n for (_, o), n in counts.items() if o == outcome)) for outcome in outcomes)
                 + " |")
    return "\n".join(lines)


def main(driver, about) -> None:
    """The command line of a driver."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.fuzz.{driver}", description=about)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0, help="the first index")
    parser.add_argument("--index", type=int, help="run this case alone and show what came of it")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--unlimited", action="store_true", help="no limits of memory and time, for sanitizers")
    options = parser.parse_args()
    if options.index is not None:
        counts, wrong = run(driver, options.seed, [options.index], report=lambda r: print(json.dumps(r, indent=1)),
                            limited=not options.unlimited)
        sys.exit(bool(wrong))

    def report(result):
        if result["outcome"] == "wrong":
            print(f"--seed {options.seed} --index {result['index']} ({result['kind']}: {result['words']})\n"
                  f"{result['error']}\n", flush=True)

    indices = range(options.start, options.start + options.count)
    counts, wrong = run(driver, options.seed, indices, options.jobs, report, not options.unlimited)
    print(table(counts))
    sys.exit(bool(wrong))
