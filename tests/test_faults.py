"""The drivers of `tests/fuzz` that interrupt processes and look for leaks: a few cases of each, and that they see."""

import gc
import os
import resource
import subprocess
import sys

import pytest

import pydl as keras
from fuzz import leaks
from harness import PYDL_FOLDER

TESTS = os.path.dirname(os.path.abspath(__file__))

pytestmark = [pytest.mark.once, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")]


def begin(name, *arguments):
    """A driver in a process of its own, which has computed nothing before it forks."""
    return subprocess.Popen([sys.executable, os.path.join(TESTS, "fuzz", f"{name}.py"), *arguments], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=PYDL_FOLDER)


def end(driver) -> str:
    """What it prints; it must have passed."""
    found = driver.communicate()[0]
    assert driver.returncode == 0, found
    return found


def test_kills():
    assert " 0 failures" in end(begin("kills", "--seed", "3", "--count", "4", "--no-search"))


@pytest.mark.slow
def test_200_kills():
    pytest.importorskip("optuna")
    pytest.importorskip("sklearn")
    for driver in [begin("kills", "--seed", seed, "--count", "100") for seed in ("4", "5")]:  # beside each other
        assert " 0 failures" in end(driver)


ROUNDS = {"build": 1000, "build others": 600, "predict": 20_000, "train": 2000, "eager": 600, "shapes": 1000,
          "batches": 400, "functions": 400, "save": 120, "callbacks": 60, "datasets": 100, "threads": 300,
          "sequences": 60, "estimators": 60, "errors": 60}
FAST = {"predict", "train", "functions", "batches", "datasets", "errors"}


@pytest.mark.parametrize("name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
                                  for name in leaks.ROWS])
def test_nothing_grows(name):
    """Fewer rounds than the command's, and a bound that pages which come and go do not reach."""
    rows = leaks.ROWS[name]
    assert "flat" in end(begin("leaks", "--row", name, "--scale", str(ROUNDS[name] / rows.rounds), "--warm", "0.5",
                               "--bound", "0.03"))


LEAKS = {
    "memory": lambda: b"x" * int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss),  # a thousandth
    "a file": lambda: open("/dev/null"),
    "a thread": lambda: thread(),
    "an object": lambda: [[] for _ in range(3)],
    "a model": lambda: keras.Sequential([keras.Input((8,)), keras.layers.Dense(8)]),
}


def thread():
    import threading
    event = threading.Event()
    threading.Thread(target=event.wait, daemon=True).start()
    return event


@pytest.mark.parametrize("kind", LEAKS)
def test_a_leak_is_seen(kind):
    gc.collect()
    gc.freeze()  # what other tests have left in this process is not gone through at every look
    kept = []
    growth = leaks.measure(lambda i: kept.append(LEAKS[kind]()), 200, warm=0.5)
    for item in kept:
        getattr(item, "close", lambda: None)()
        getattr(item, "set", lambda: None)()
    assert not growth.flat(0.03)
