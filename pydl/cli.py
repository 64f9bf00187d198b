"""The command `pydl`: `pydl demo` trains LeNet-5 on the shipped digits, `pydl info` tells what is installed."""

from __future__ import annotations

import argparse
import sys
import time
from importlib import metadata
from pathlib import Path


def demo(epochs: int, seed: int, output: str | None) -> float:
    """Trains LeNet-5 on the shipped digits, prints how good and how fast it is, draws learning curves and predictions.

    Args:
        epochs: passes over the training digits.
        seed: of weights and order.
        output: where the picture goes; None for no picture.

    Returns:
        Test accuracy.
    """
    import pydl

    (x_train, y_train), (x_test, y_test) = pydl.datasets.digits.load_data()
    x_train = x_train[..., None].astype("float32") / 255
    x_test = x_test[..., None].astype("float32") / 255
    print(f"{len(x_train):,} handwritten digits to learn from, {len(x_test):,} others to test with (MNIST subset)")
    print(pydl.config.show())

    pydl.utils.set_random_seed(seed)
    model = pydl.applications.LeNet5()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    print(f"LeNet-5: {model.count_params():,} weights")

    start = time.perf_counter()
    history = model.fit(x_train, y_train, batch_size=64, epochs=epochs, validation_data=(x_test, y_test),
                        validation_batch_size=500)
    seconds = time.perf_counter() - start
    accuracy = history.history["val_accuracy"][-1]
    print(f"test accuracy {accuracy:.2%} after {epochs} epochs in {seconds:.2f} s, tests included: "
          f"{epochs * len(x_train) / seconds:,.0f} images/s")
    if output is not None:
        draw(history, x_test, y_test, model.predict(x_test, batch_size=500, verbose=0), output)
    return accuracy


def draw(history, images, labels, predictions, output: str) -> None:
    """Saves learning curves beside 36 predictions, mistakes first; tells how when matplotlib is missing."""
    import numpy as np

    from pydl import inspection
    from pydl.inspection.drawing import save_figure

    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no picture: it needs matplotlib (pip install 'pydl[viz]')")
        return
    figure = Figure(figsize=(12, 6), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False)[0]
    inspection.plot_history(history, figure=left)
    mistakes = np.flatnonzero(predictions.argmax(1) != labels)[:12]
    others = np.setdiff1d(np.arange(len(labels)), mistakes)[:36 - len(mistakes)]
    shown = np.concatenate([mistakes, others])
    inspection.plot_predictions(images[shown], predictions[shown], labels[shown], figure=right)
    save_figure(figure, output)
    print(f"learning curves and predictions, mistakes in red: {output}")


def info() -> None:
    """Prints versions, ISA level and threads."""
    import pydl

    print(f"pydl     {pydl.config.__version__}")
    levels = ", ".join(pydl.config.supported_isas())
    print(f"ISA      {pydl.config.isa()} (this machine has {levels}; PYDL_ISA forces one)")
    runtime = pydl.config.threading_runtime()
    print(f"threads  {pydl.config.threads()} (PYDL_NUM_THREADS sets them)")
    print(f"made by  {pydl.config.threading_layer()}" + (f", {runtime}" if runtime else ""))
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
    train = commands.add_parser("demo", help="train LeNet-5 on the digits that ship with pydl")
    train.add_argument("--epochs", type=int, default=10, help="passes over the training digits (default 10)")
    train.add_argument("--seed", type=int, default=0, help="of weights and order (default 0)")
    train.add_argument("--output", default="pydl-demo.png", help="where the picture goes (default pydl-demo.png)")
    train.add_argument("--no-picture", action="store_true", help="only numbers")
    commands.add_parser("info", help="print version, ISA level, threads, versions of dependencies")
    options = parser.parse_args(arguments)
    if options.command == "info":
        info()
        return 0
    if options.epochs < 1:
        parser.error(f"expected --epochs of at least 1; received {options.epochs}")
    if not Path(options.output).parent.is_dir():
        parser.error(f"expected --output in a folder that exists; received {options.output}")
    demo(options.epochs, options.seed, None if options.no_picture else options.output)
    return 0
