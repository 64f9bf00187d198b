"""Runs cases of a driver, one for each line of standard input (its index), and answers each with two lines of JSON:
what the case is, what came of it.

A process of its own: a case may end it by a signal, fill its memory (which is limited) or never end.
"""

from __future__ import annotations

import errno
import importlib
import json
import math
import os
import random
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path

from .guard import Guard, limit

SECONDS = 2.0  # of processor time
EXTRA = 500 * 2**20  # bytes beyond what the process has after a first case of each kind


class Case:
    """One mutated input: `words` say what was done to it, `read` reads it, `names` must stand in the error."""

    def __init__(self, kind, words, read, names=""):
        self.kind, self.words, self.read, self.names = kind, words, read, names


def run(case: Case, guard: Guard, seconds_allowed: float = SECONDS) -> dict:
    """What came of a case: {"outcome", "error", "seconds"}; the outcome "wrong" is a failure, `error` says of what."""
    guard.seen.clear()
    outcome, error = "loaded", ""
    guard.on = True
    begin = time.process_time()
    try:
        case.read()
    except ValueError as refused:
        outcome, error = "refused", f"{refused}"
        if case.names not in error:
            outcome, error = "wrong", f"the message does not name {case.names!r}: {error}"
    except OSError as system:
        full = system.errno in (errno.EFBIG, errno.ENOSPC)
        outcome, error = ("system" if full else "wrong"), "".join(traceback.format_exception(system))[-3000:]
    except BaseException as other:
        outcome, error = "wrong", "".join(traceback.format_exception(other))[-3000:]
    finally:
        seconds = time.process_time() - begin
        guard.on = False
    if guard.seen:
        outcome, error = "wrong", f"forbidden: {guard.seen}"
    elif seconds > seconds_allowed:
        outcome, error = "wrong", f"{seconds:.1f} seconds; {error}"
    return {"outcome": outcome, "error": error, "seconds": round(seconds, 3)}


def main() -> None:
    """`worker <driver> <seed> <folder> "limited"|""`"""
    name, seed, folder, limited = sys.argv[1:]
    seconds = SECONDS if limited else math.inf
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # readers may print
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(1000)
    driver = importlib.import_module(f"fuzz.{name}")
    home = Path(folder)
    cases = driver.Cases(home / "valid")
    guard = Guard(home)
    for case in cases.valid(home / "case"):
        result = run(case, guard, seconds)
        assert result["outcome"] == "loaded", f"a valid {case.kind} is refused: {result}"
    if limited:
        limit(EXTRA)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        shutil.rmtree(home / "case", ignore_errors=True)
        (home / "case").mkdir()
        case = cases.case(random.Random(f"{seed} {int(line)}"), home / "case")
        print(json.dumps({"index": int(line), "kind": case.kind, "words": case.words}), file=answers, flush=True)
        print(json.dumps(run(case, guard, seconds)), file=answers, flush=True)


if __name__ == "__main__":
    main()
