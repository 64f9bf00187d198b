"""Processes that train, save and search are ended at random moments; what they leave is looked at, and they go on.

    python -m tests.fuzz.kills --seed 0 --count 200
    python -m tests.fuzz.kills --seed 0 --index 17        one of them again

A case is one training (or row of saves, or search) with as many interruptions as come before its end, by SIGKILL,
SIGTERM or Ctrl-C. After each of them every file must be whole; in the end the outcome must have the bits of the same
work without interruptions, and nothing temporary may be left. The seed and the index of a case say what it is and when
the signals come; where the process stands then depends on the machine.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import csv
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import conftest  # noqa: F401  # finds the installed package where the sources are not built
import h5py
import numpy as np

import pydl as keras
import trainings
from pydl import layers

SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
LONGEST = 120.0  # seconds for a piece of work


class Failure(Exception):
    """What was left is not what it should be."""


# ---- processes ------------------------------------------------------------------------------------------------------


def fork(work, log: Path) -> int:
    """Starts `work()` in a process of its own; returns its id. The parent has computed nothing, so a child begins as a
    new process does, without the time that imports take."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it
        with open(log, "w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        work()
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def finish(child: int, log: Path, seconds: float = LONGEST) -> int:
    """The status of a process that has ended; negative for a signal."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise Failure(f"hangs for {seconds:.0f} s")
        time.sleep(0.001)


def run(work, log: Path) -> float:
    """Runs `work()` to its end in a process of its own; returns the seconds it took."""
    begin = time.monotonic()
    code = finish(fork(work, log), log)
    if code:
        raise Failure(f"ended with {code}: {log.read_text()[-2000:]}")
    return time.monotonic() - begin


# ---- work -----------------------------------------------------------------------------------------------------------


class Training:
    """`fit` with a backup, checkpoints, a table of logs; `name` is one of `trainings.MODELS`."""

    def __init__(self, name: str, save_freq):
        self.name, self.save_freq = name, save_freq

    def __str__(self):
        return f"fit of {self.name}, save_freq={self.save_freq}"

    def work(self, folder: Path) -> None:
        model, x, y = trainings.start(self.name)
        history = model.fit(x, y, batch_size=trainings.BATCH, epochs=trainings.EPOCHS, verbose=0, callbacks=[
            keras.callbacks.BackupAndRestore(folder / "backup", save_freq=self.save_freq),
            *trainings.callbacks(model, folder)])
        (folder / "outcome").write_text(trainings.digest(trainings.outcome(model, history, folder)))

    def look(self, folder: Path) -> None:
        """Every file there is can be read."""
        model, *_ = trainings.start(self.name)
        for path in folder.rglob("*.weights.h5"):
            model.load_weights(path)
        for path in folder.glob("*.keras"):
            keras.models.load_model(path)
        if (folder / "log.csv").exists():
            rows = list(csv.reader((folder / "log.csv").read_text().split("\n")[:-1]))  # the last may be half
            if any(len(row) != len(rows[0]) for row in rows):
                raise Failure(f"half a row: {rows}")


class Estimator(Training):
    """An estimator whose `fit` has a backup."""

    def __init__(self):
        super().__init__("estimator", 2)

    def work(self, folder: Path) -> None:
        from pydl.estimators import NeuralClassifier

        def build(features, outputs):
            return keras.Sequential([keras.Input((features,)), layers.Dense(6, "relu"), layers.Dropout(0.3),
                                     layers.Dense(outputs, "softmax")])

        found = NeuralClassifier(build, epochs=4, batch_size=8, random_state=3, verbose=0, validation_split=0.2,
                                 callbacks=[keras.callbacks.BackupAndRestore(folder / "backup", save_freq=2)])
        found.fit(trainings.numbers(40, 5), trainings.classes(40))
        (folder / "outcome").write_text(trainings.digest({"state": trainings.state(found.model_),
                                                          "history": found.history_}))

    def look(self, folder: Path) -> None:
        pass  # its backup, the only file, is read when it goes on


class Saves(Training):
    """The same files written again and again, each time with another number in all weights."""

    def __init__(self):
        super().__init__("saves", None)

    @staticmethod
    def model(value=0.0):
        model = keras.Sequential([keras.Input((30,)), layers.Dense(60), layers.Dense(3)])
        model.set_weights([np.full(w.shape, value, w.dtype) for w in model.get_weights()])
        return model

    def work(self, folder: Path) -> None:
        logger = keras.callbacks.CSVLogger(folder / "log.csv", append=True)
        logger.on_train_begin()
        for value in range(25):
            model = self.model(value)
            model.save(folder / "m.keras")
            model.save_weights(folder / "m.weights.h5")
            model.save_weights(folder / "m.safetensors")
            logger.on_epoch_end(value, {"loss": float(value)})
        (folder / "outcome").write_text("saved")

    def look(self, folder: Path) -> None:
        found = [keras.models.load_model(path) for path in folder.glob("m.keras")]
        for path in [*folder.glob("m.weights.h5"), *folder.glob("m.safetensors")]:
            found.append(self.model())
            found[-1].load_weights(path)
        for model in found:
            if len({float(v) for w in model.get_weights() for v in w.ravel()}) != 1:
                raise Failure("weights of two files")
        if (folder / "log.csv").exists():  # the last row may be half: the next process cuts it off
            lines = (folder / "log.csv").read_text().split("\n")[:-1]
            if lines and (lines[0] != "epoch,loss" or any(line.count(",") != 1 for line in lines)):
                raise Failure(f"half a row: {lines}")


class Search(Training):
    """A search over models, recorded in SQLite; `workers` processes share it."""

    def __init__(self, workers: int):
        super().__init__("search", workers)
        self.workers = workers

    def __str__(self):
        return f"search, {self.workers} process{'es' * (self.workers > 1)}"

    def tuner(self, folder: Path):
        import pydl.tuner as kt

        def build(hp):
            model = keras.Sequential([keras.Input((5,)), layers.Dense(hp.Int("units", 2, 9)), layers.Dropout(0.2),
                                      layers.Dense(3, activation="softmax")])
            model.compile("adam", "sparse_categorical_crossentropy")
            return model

        return kt.RandomSearch(build, "val_loss", max_trials=4, seed=4, directory=folder, project_name="p",
                               storage=f"sqlite:///{folder}/shared.db" if self.workers > 1 else None)

    def work(self, folder: Path) -> None:
        others = [fork(lambda: self.search(folder), folder / "log of another") for _ in range(self.workers - 1)]
        tuner = self.search(folder)
        for other in others:
            finish(other, folder / "log of another")
        tuner = self.tuner(folder)
        tuner.search(trainings.numbers(24, 5), trainings.classes(24), verbose=0)
        trials = [(t.trial_id, t.status, t.score, sorted(t.hyperparameters.values.items()))
                  for t in tuner.oracle.trials.values()]
        (folder / "outcome").write_text(trainings.digest({"trials": [repr(trials)]}) if self.workers == 1 else repr(
            [(t[0], t[1]) for t in trials]))

    def search(self, folder: Path):
        tuner = self.tuner(folder)
        tuner.search(trainings.numbers(24, 5), trainings.classes(24), epochs=2, batch_size=8, validation_split=0.25,
                     verbose=0)
        return tuner

    def look(self, folder: Path) -> None:
        for path in folder.rglob("*.weights.h5"):
            h5py.File(path).close()


def works(search: bool) -> list:
    """What the cases are about; those of a search need Optuna, that of an estimator scikit-learn."""
    found = [Training(name, save_freq) for name in trainings.MODELS for save_freq in ("epoch", 1, 3)]
    found += [Saves() for _ in range(4)] + [Estimator() for _ in range(2)]
    return found + [Search(1), Search(1), Search(2)] * search


# ---- cases ----------------------------------------------------------------------------------------------------------


class Campaign:
    """Cases one after the other, until `count` processes were interrupted."""

    def __init__(self, seed: int, folder: Path, search: bool):
        self.seed, self.folder, self.works = seed, folder, works(search)
        self.known: dict[str, tuple[str, float]] = {}  # outcome and seconds without interruptions
        self.table: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)

    def wanted(self, what) -> tuple[str, float]:
        if str(what) not in self.known:
            with self.place() as (folder, log):
                seconds = run(lambda: what.work(folder), log)
                self.known[str(what)] = (folder / "outcome").read_text(), seconds
        return self.known[str(what)]

    @contextlib.contextmanager
    def place(self):
        """An empty folder for a piece of work, and a file beside it for what it prints."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            (Path(folder) / "work").mkdir()
            (Path(folder) / "log").touch()
            yield Path(folder) / "work", Path(folder) / "log"

    def case(self, index: int) -> int:
        """Runs a case; returns the number of interruptions."""
        rng = random.Random(f"{self.seed} {index}")
        what = rng.choice(self.works)
        outcome, seconds = self.wanted(what)
        children: list[int] = []
        with self.place() as (folder, log):
            try:
                count = self.interrupt(what, rng, seconds, folder, log, children)
            finally:
                for child in children:  # what they may have started
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(child, signal.SIGKILL)
            if (folder / "outcome").read_text() != outcome:
                raise Failure(f"{what}: the outcome differs from that without interruptions")
            left = [str(path.relative_to(folder)) for path in folder.rglob("*")
                    if path.name == "backup" or ".pydl-" in path.name]
            if left:
                raise Failure(f"{what}: left behind {left}")
        self.table[str(what)]["cases"] += 1
        return count

    def interrupt(self, what, rng, seconds, folder, log, children) -> int:
        """Starts the work again and again until it ends by itself; returns the number of interruptions."""
        count, patience = 0, 1.0
        while not (folder / "outcome").exists():
            children.append(fork(lambda: what.work(folder), log))
            time.sleep(rng.uniform(0, patience * seconds))
            sent = rng.choice(SIGNALS)
            os.kill(children[-1], sent)  # not waited for before: the id is still its own
            code = finish(children[-1], log)
            if code not in (0, -sent, 130):
                raise Failure(f"{what} ended with {code}: {log.read_text()[-2000:]}")
            if code:
                count += 1
                self.table[str(what)][signal.Signals(sent).name] += 1
                run(lambda: what.look(folder), log)
            patience *= 1.05  # a training without backups in between would never end
        return count

    def report(self) -> str:
        columns = ["cases", "SIGKILL", "SIGTERM", "SIGINT"]
        rows = [(name, *(counts[c] for c in columns)) for name, counts in sorted(self.table.items())]
        rows.append(("all", *(sum(row[i] for row in rows) for i in range(1, 5))))
        width = max(len(row[0]) for row in rows)
        return "\n".join([f"{'':{width}}  {'  '.join(f'{c:>7}' for c in columns)}"] + [
            f"{row[0]:{width}}  {'  '.join(f'{n:7}' for n in row[1:])}" for row in rows])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.kills", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=200, help="interruptions, at least")
    parser.add_argument("--index", type=int, help="one case only")
    parser.add_argument("--no-search", action="store_true", help="without the tuner, which takes longest")
    arguments = parser.parse_args()
    begin, failures, count, index = time.monotonic(), 0, 0, arguments.index or 0
    with tempfile.TemporaryDirectory(prefix="kills") as folder:
        campaign = Campaign(arguments.seed, Path(folder), not arguments.no_search)
        while True:
            try:
                count += campaign.case(index)
            except Failure as failure:
                failures += 1
                print(f"FAILED --seed {arguments.seed} --index {index}: {failure}", flush=True)
            index += 1
            if arguments.index is not None or count >= arguments.count or failures >= 10:
                break
    print(campaign.report())
    print(f"{count} interruptions in {index - (arguments.index or 0)} cases, {failures} failures,"
          f" {time.monotonic() - begin:.0f} s")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
