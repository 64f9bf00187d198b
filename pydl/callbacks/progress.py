"""What a user sees while a model works, and what is written to a table."""

from __future__ import annotations

import csv
import os

import numpy as np

from pydl.callbacks.base import Callback
from pydl.progbar import Progbar

__all__ = ["CSVLogger", "ProgbarLogger"]


class ProgbarLogger(Callback):
    """The progress line of `fit`, `evaluate` and `predict`."""

    needs_every_batch = False  # the line is redrawn by time

    def __init__(self):
        super().__init__()
        self.seen = 0
        self.progbar = None
        self.target = None
        self.verbose = 1
        self.epochs = 1
        self._in_fit = False

    def set_params(self, params) -> None:
        super().set_params(params)
        verbose = params.get("verbose", 1)
        self.verbose = 1 if verbose == "auto" else int(verbose)
        self.epochs = params.get("epochs", 1)
        self.target = params.get("steps")

    def on_train_begin(self, logs=None):
        self._in_fit = True

    def on_train_end(self, logs=None):
        self._in_fit = False

    def on_epoch_begin(self, epoch, logs=None):
        if self.verbose and self.epochs > 1:
            print(f"Epoch {epoch + 1}/{self.epochs}", flush=True)
        self._open()

    def on_test_begin(self, logs=None):
        if not self._in_fit:
            self._open()

    def on_predict_begin(self, logs=None):
        self._open()

    def on_train_batch_end(self, batch, logs=None):
        self._update(batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        if not self._in_fit:
            self._update(batch, logs)

    def on_predict_batch_end(self, batch, logs=None):
        self._update(batch, None)

    def on_epoch_end(self, epoch, logs=None):
        self._close(logs)

    def on_test_end(self, logs=None):
        if not self._in_fit:
            self._close(logs)

    def on_predict_end(self, logs=None):
        self._close(None)

    def _open(self) -> None:
        self.seen = 0
        self.progbar = Progbar(self.target, verbose=self.verbose)

    def _show(self, step: int, logs, finalize: bool) -> None:
        logs = logs or {}
        self.progbar.stateful_metrics.update(logs)  # logs are means over the epoch already
        self.progbar.update(step, logs.items(), finalize)

    def _update(self, batch: int, logs) -> None:
        self.seen = batch + 1
        if self.verbose == 1:
            if self.progbar is None:
                self._open()
            self._show(self.seen, logs, False)

    def _close(self, logs) -> None:
        if not self.verbose or self.progbar is None:
            return
        if self.target is None:
            self.target = self.progbar.target = self.seen
        self._show(self.target, logs, True)


class CSVLogger(Callback):
    """Writes the logs of every epoch as a row of a CSV file.

    Args:
        filename: path of the file.
        separator: between two values.
        append: whether rows go to the end of an existing file (which keeps its header) instead of a new one.
    """

    def __init__(self, filename, separator=",", append=False):
        super().__init__()
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys = None
        self.writer = None
        self.csv_file = None

    def on_train_begin(self, logs=None):
        self._close()
        self._needs_header = not (self.append and os.path.exists(self.filename) and os.path.getsize(self.filename))
        self.csv_file = open(self.filename, "a" if self.append else "w", newline="")
        self.keys = self.writer = None

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.writer is None:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):  # a validation may come in a later epoch
                self.keys += [f"val_{key}" for key in self.keys]
            self.writer = csv.DictWriter(self.csv_file, ["epoch", *self.keys], delimiter=self.sep,
                                         lineterminator="\n")
            if self._needs_header:
                self.writer.writeheader()
        self.writer.writerow({"epoch": epoch, **{key: _cell(logs.get(key, "NA")) for key in self.keys}})
        self.csv_file.flush()

    def on_train_end(self, logs=None):
        self._close()

    def _close(self) -> None:
        if self.csv_file is not None:
            self.csv_file.close()
        self.csv_file = self.writer = None


def _cell(value):
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        return f'"[{", ".join(map(str, value))}]"'
    return value
