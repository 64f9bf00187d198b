"""The command `pydl`: `pydl demo` trains a network on the shipped digits, `pydl info` tells what is installed."""

from __future__ import annotations

import argparse
import sys
import time
from importlib import metadata


def demo(epochs: int, seed: int) -> float:
    """Trains a dense network on the shipped digits, prints how good and how fast it is, returns the test accuracy."""
    import pydl

    (x_train, y_train), (x_test, y_test) = pydl.datasets.digits.load_data()
    x_train = x_train.reshape(-1, 784).astype("float32") / 255
    x_test = x_test.reshape(-1, 784).astype("float32") / 255
    print(f"{len(x_train):,} handwritten digits to learn from, {len(x_test):,} others to test with (MNIST subset)")
    print(pydl.config.show())

    pydl.utils.set_random_seed(seed)
    model = pydl.Sequential([
        pydl.Input((784,)),
        pydl.layers.Dense(256, activation="relu"),
        pydl.layers.Dropout(0.3),
        pydl.layers.Dense(128, activation="relu"),
        pydl.layers.Dropout(0.3),
        pydl.layers.Dense(10, activation="softmax"),
    ])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])

    start = time.perf_counter()
    model.fit(x_train, y_train, batch_size=64, epochs=epochs)
    seconds = time.perf_counter() - start
    _, accuracy = model.evaluate(x_test, y_test, batch_size=500, verbose=0)
    print(f"test accuracy {accuracy:.2%} after {epochs} epochs in {seconds:.2f} s: "
          f"{epochs * len(x_train) / seconds:,.0f} images/s")
    return accuracy


def info() -> None:
    """Prints versions, ISA level and threads."""
    import pydl

    print(f"pydl     {pydl.config.__version__}")
    levels = ", ".join(pydl.config.supported_isas())
    print(f"ISA      {pydl.config.isa()} (this machine has {levels}; PYDL_ISA forces one)")
    print(f"threads  {pydl.config.threads()} (PYDL_NUM_THREADS sets them)")
    print(f"Python   {sys.version.split()[0]}")
    for package in ("numpy", "h5py", "tqdm"):
        try:
            print(f"{package:8} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            print(f"{package:8} not installed")


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="pydl", description="Deep learning on CPUs.")
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("demo", help="train a network on the digits that ship with pydl")
    train.add_argument("--epochs", type=int, default=10, help="passes over the training digits (default 10)")
    train.add_argument("--seed", type=int, default=0, help="of weights, order and dropout (default 0)")
    commands.add_parser("info", help="print version, ISA level, threads, versions of dependencies")
    options = parser.parse_args(arguments)
    if options.command == "info":
        info()
        return 0
    if options.epochs < 1:
        parser.error(f"expected --epochs of at least 1; received {options.epochs}")
    demo(options.epochs, options.seed)
    return 0
