"""What grows in a process that does the same thing again and again: memory, objects, file descriptors, threads.

    python -m tests.fuzz.leaks
    python -m tests.fuzz.leaks --row predict --scale 0.1

A row runs in a process of its own. After a tenth of its rounds, in which caches fill, the process is measured, then
once more at the end; memory that the C library holds for later is given back before. The last column says whether
memory has grown by less than 1 % and nothing else has grown.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import ctypes
import gc
import os
import pickle
import re
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import conftest  # noqa: F401  # finds the installed package where the sources are not built
import numpy as np

import pydl as keras
from pydl import layers

WARM = 0.1  # of the rounds, in which caches fill
BOUND = 0.01  # of the memory after them
NOISE = 256 * 1024  # bytes by which two measurements of one state differ: pages, not objects


class State(NamedTuple):
    """What a process holds."""

    memory: int  # bytes in RAM that are no part of a file, as code is, whose pages come when they are first used
    objects: int  # that Python's collector knows
    files: int
    threads: int


def state() -> State:
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    kilobytes = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    return State(int(kilobytes[1]) * 1024, len(gc.get_objects()), len(os.listdir("/proc/self/fd")),
                 len(os.listdir("/proc/self/task")))


class Growth(NamedTuple):
    """Of a row: the state after the first tenth of its rounds, and at the end."""

    rounds: int
    begin: State
    end: State
    seconds: float

    @property
    def memory(self) -> float:
        return self.end.memory / self.begin.memory - 1

    def flat(self, bound: float = BOUND) -> bool:
        """Whether memory has grown by less than `bound` of itself, and nothing else has grown."""
        grown = self.end.memory - self.begin.memory
        return (grown < max(bound * self.begin.memory, NOISE) and self.end.files <= self.begin.files
                and self.end.threads <= self.begin.threads
                and self.end.objects - self.begin.objects < max(100, self.rounds // 100))


def measure(step: Callable[[int], object], rounds: int, warm: float = WARM) -> Growth:
    """Calls `step(0)`, `step(1)` ... and looks, the first time after the part `warm` of the rounds."""
    for i in range(100_000):  # the interpreter's table of strings comes to the size that it keeps
        sys.intern(f"string {i}")
    state()  # looking takes memory, too
    first, every = max(int(rounds * warm), 1), max(rounds // 100, 20)

    def call(numbers):
        for i in numbers:
            step(i)
            if i % every == 0:  # else cycles pile up for the longer, the more rounds there are
                gc.collect()

    call(range(first))
    begin, start = state(), time.perf_counter()
    call(range(first, rounds))
    return Growth(rounds, begin, state(), time.perf_counter() - start)


# ---- rows: functions that prepare, and return what is done again and again ------------------------------------------


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def network():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(8, "relu"), layers.Dropout(0.2), layers.Dense(2)])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def build():
    """A model built, compiled, fitted, asked, dropped."""
    x, y = numbers(16, 8), numbers(16, 2)

    def step(i):
        keras.utils.clear_session(free_memory=False)
        model = network()
        model.fit(x, y, verbose=0)
        model.predict_on_batch(x)
    return step


def build_others():
    """Convolutions, recurrence, attention, in turn."""
    image, sequence = numbers(4, 8, 8, 1), numbers(4, 5, 6)

    def step(i):
        if i % 3 == 0:
            x, body = image, [layers.Conv2D(2, 3), layers.MaxPooling2D(), layers.Flatten()]
        elif i % 3 == 1:
            x, body = sequence, [layers.LSTM(3, dropout=0.1)]
        else:
            x, body = sequence, [layers.TransformerEncoder(8, 2), layers.GlobalAveragePooling1D()]
        model = keras.Sequential([keras.Input(x.shape[1:]), *body, layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(x, np.zeros((4, 1), "float32"), verbose=0, callbacks=[keras.callbacks.EarlyStopping("loss")])
    return step


def predict():
    """predict_on_batch."""
    model, x = network(), numbers(16, 8)
    return lambda i: model.predict_on_batch(x)


def train():
    """train_on_batch."""
    model, x, y = network(), numbers(16, 8), numbers(16, 2)
    return lambda i: model.train_on_batch(x, y)


def eager():
    """A step of one's own with a tape, run in Python."""
    model, x = network(), keras.ops.convert_to_tensor(numbers(16, 8))

    def step(i):
        with keras.GradientTape() as tape:
            loss = keras.ops.mean(model(x, training=True) ** 2)
        model.optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    return step


def shapes():
    """Batches of ever new sizes, in any order: programs of some sizes are kept, and theirs is then the same on
    average."""
    model, sizes = network(), 1000 + np.random.default_rng(0).permutation(2000)
    return lambda i: model.predict_on_batch(np.zeros((sizes[i % 2000], 8), "float32"))


def batches():
    """`fit` and `evaluate` with ever new sizes of batches: of two in an epoch, which are 1,100 rows together. What is
    known of a shape is kept of some thousands: the first tenth sees all there are. Blocks of so many sizes leave gaps,
    so that two looks at one state differ by 1 %, up or down."""
    model, sizes, x, y = network(), 550 + np.random.default_rng(0).permutation(550), numbers(1100, 8), numbers(1100, 2)

    def step(i):
        for call in (model.fit, model.evaluate):
            call(x, y, batch_size=int(sizes[i % 550]), verbose=0)
    return step


def functions():
    """Recorded functions made, called, dropped."""
    x = numbers(8)
    return lambda i: keras.function(lambda t: t * 2 + i % 7)(x)


def save():
    """A model saved, its weights saved, both loaded."""
    model, folder = network(), tempfile.mkdtemp()
    model.fit(numbers(16, 8), numbers(16, 2), verbose=0)

    def step(i):
        model.save(f"{folder}/m.keras")
        model.save_weights(f"{folder}/m.weights.h5")
        model.save_weights(f"{folder}/m.safetensors")
        again = keras.models.load_model(f"{folder}/m.keras")
        again.load_weights(f"{folder}/m.weights.h5")
        again.load_weights(f"{folder}/m.safetensors")
    return step


def callbacks():
    """`fit` with all callbacks that write files."""
    model, folder, x, y = network(), tempfile.mkdtemp(), numbers(16, 8), numbers(16, 2)

    def step(i):
        model.fit(x, y, epochs=2, verbose=0, callbacks=[
            keras.callbacks.ModelCheckpoint(f"{folder}/m.keras"), keras.callbacks.BackupAndRestore(f"{folder}/b"),
            keras.callbacks.CSVLogger(f"{folder}/log.csv"), keras.callbacks.EarlyStopping("loss", patience=3),
            keras.callbacks.ReduceLROnPlateau("loss")])
    return step


def datasets():
    """A data set read by threads, left in its middle."""
    from pydl.data.dataset import loaded

    items, x = list(range(40)), numbers(40, 8)
    model = network()

    def step(i):
        data = loaded(lambda rows: x[rows], items, x[:, :2], 4, seed=1)
        next(iter(data))
        model.fit(data.shuffle(4), verbose=0)
    return step


def threads():
    """Threads that predict, compute and end."""
    model, x = network(), numbers(16, 8)

    def work():
        model.predict_on_batch(x)
        keras.ops.sum(keras.ops.matmul(numbers(200, 300), numbers(300, 200)))

    def step(i):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    return step


def sequences():
    """Seq2Seq, fitted and asked to write; copies; gradients of gradients."""
    source, target = np.random.default_rng(0).integers(3, 9, (2, 8, 5)).astype("int32")

    def step(i):
        keras.utils.clear_session(free_memory=False)
        model = keras.models.Seq2Seq(layers.GRU(4, return_sequences=True, return_state=True), layers.BahdanauDecoder(4),
                                     9, 9, embedding=3, sampling=0.5)
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit((source, target[:, :-1]), target[:, 1:], verbose=0)
        model.generate(source, 4, beam_width=2)
        copy.deepcopy(model)
        x = keras.Variable(numbers(3))
        with keras.GradientTape() as outer:
            with keras.GradientTape() as inner:
                y = keras.ops.sum(keras.ops.tanh(x))
            first = inner.gradient(y, x)
        outer.gradient(first, x)
    return step


def estimators():
    """Estimators fitted, asked, pickled."""
    from pydl.estimators import MLPClassifier, NeuralClassifier, Perceptron

    x, y = numbers(20, 4), np.arange(20) % 2

    def step(i):
        for make in (lambda: MLPClassifier((4,), max_iter=2), Perceptron,
                     lambda: NeuralClassifier(epochs=1, verbose=0)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they do not converge
                pickle.loads(pickle.dumps(make().fit(x, y))).predict(x)
    return step


def errors():
    """Exceptions: wrong shapes, labels, files, a callback that raises in `fit`, a save into no folder."""
    model, x, y = network(), numbers(16, 8), numbers(16, 2)

    class Raise(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyError("on purpose")

    def step(i):
        for call in (lambda: model.predict_on_batch(x[:, :3]), lambda: model.fit(x, y[:3], verbose=0),
                     lambda: model.fit(x, y, verbose=0, callbacks=[Raise()]), lambda: model.save("/nowhere/m.keras"),
                     lambda: keras.models.load_model("/nowhere/m.keras"), lambda: layers.Dense(-1),
                     lambda: keras.function(lambda t: float(t))(x), lambda: keras.ops.matmul(x, x),
                     lambda: keras.ops.sparse_categorical_crossentropy(np.array([9]), np.ones((1, 2), "float32"))):
            try:
                call()
            except (ValueError, KeyError, OSError, RuntimeError, IndexError):
                continue
            raise AssertionError(f"no error of call {call}")
    return step


class Row(NamedTuple):
    prepare: Callable[[], Callable[[int], object]]
    rounds: int
    bound: float = BOUND


ROWS = {
    "build": Row(build, 10_000), "build others": Row(build_others, 3_000), "predict": Row(predict, 1_000_000),
    "train": Row(train, 100_000), "eager": Row(eager, 20_000), "shapes": Row(shapes, 2_000),
    "batches": Row(batches, 6_000, 0.02),
    "functions": Row(functions, 10_000), "save": Row(save, 1_000), "callbacks": Row(callbacks, 1_000),
    "datasets": Row(datasets, 1_000), "threads": Row(threads, 10_000), "sequences": Row(sequences, 500),
    "estimators": Row(estimators, 1_000), "errors": Row(errors, 3_000),
}


def separately(row: Row, scale: float, warm: float) -> Growth:
    """The growth of a row, measured in a child process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            growth = measure(row.prepare(), max(int(row.rounds * scale), 10), warm)
            os.write(writer, pickle.dumps(growth))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writer)
    with open(reader, "rb") as file:
        content = file.read()
    os.waitpid(child, 0)
    if not content:
        raise RuntimeError("the row has failed")
    return pickle.loads(content)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.leaks", description=__doc__.splitlines()[0])
    parser.add_argument("--row", choices=ROWS, action="append", help="some rows only")
    parser.add_argument("--scale", type=float, default=1.0, help="times the number of rounds")
    parser.add_argument("--warm", type=float, default=WARM, help="part of the rounds before the first look")
    parser.add_argument("--bound", type=float, help="growth of memory that counts as none; 1 %% for most rows")
    arguments = parser.parse_args()
    print(f"{'':13} {'rounds':>9} {'MB':>7} {'growth':>8} {'objects':>8} {'files':>6} {'threads':>8} {'s':>6}")
    failed = False
    for name in arguments.row or ROWS:
        g = separately(ROWS[name], arguments.scale, arguments.warm)
        flat = g.flat(arguments.bound or ROWS[name].bound)
        failed |= not flat
        print(f"{name:13} {g.rounds:9,} {g.end.memory / 1e6:7.1f} {g.memory:8.2%} {g.end.objects - g.begin.objects:+8}"
              f" {g.end.files - g.begin.files:+6} {g.end.threads - g.begin.threads:+8} {g.seconds:6.0f}"
              f"  {'flat' if flat else 'GROWS'}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
