"""Runs once, in a fresh process: what a program waits for before its first result (`harness.fresh_seconds`).

    turn                computes for ever, as a neighbour does
    nothing             starts and ends: what every process costs
    import              imports the framework
    fit NET             imports it, builds the network, and makes one training step
    save NET PATH       writes a network to a file, whose ending is the framework's choice
    predict NET PATH    imports it, reads that file, and predicts one row
"""

from __future__ import annotations

import importlib
import os
import sys

MISSING = 3  # exit code: the framework is not installed


def main(framework: str, threads: str, task: str, net: str = "", path: str = "") -> None:
    if task == "import":
        _imported(framework)
    while task == "turn":
        pass
    if task not in ("import", "nothing"):
        module = _imported(f"bench.frameworks.{framework}")
        module.set_threads(int(threads))
        if task == "fit":
            module.train(net, 32, steps=1)[0]()
        elif task == "save":
            module.save(net, path)
        elif task == "predict":
            module.load(net, path)[0]()
        else:
            raise ValueError(f"expected nothing, import, fit, save or predict. Received: {task}.")
    sys.stdout.flush()
    os._exit(0)  # the end of the process is not waited for


def _imported(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        os._exit(MISSING)
