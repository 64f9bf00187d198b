"""What a user sees while a model works, and what is written to a table."""

from __future__ import annotations

import io
import os

import numpy as np

from pydl.atomic import append_to, atomic_write
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

    A new file takes the place of an old one with its first row. Columns are the logs of the first epoch, those of the
    validation included if there is one; a value that comes later gets a column of its own, and "NA" stands where there
    was none. A full disk leaves no half row; one that a killed process left is removed when rows are appended again.

    Args:
        filename: path of the file.
        separator: between two values.
        append: whether rows go to the end of an existing file, each value into the column of its name, instead of a
            new one.

    Raises:
        OSError: when training begins, or a row is to be written, and the file cannot be written.
        ValueError: when training begins, and the file to append to is no such table.
    """

    _kept = ("keys", "_rows")

    def __init__(self, filename, separator=",", append=False):
        super().__init__()
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys = None
        self._rows = 0  # in the file, of this training and of earlier ones it is appended to

    def set_state(self, state) -> None:
        """Rows that were written after the state was taken are removed: they come again."""
        super().set_state(state)
        if self.keys is None and not self.append:
            return
        table = self._read()
        if len(table) - 1 > self._rows:
            self._write(table[:self._rows + 1] if self._rows else [])
        self.keys = table[0][1:] if table and self._rows else None  # some may have come since

    def on_train_begin(self, logs=None):
        append_to(self.filename, b"")
        self.keys, self._rows = None, 0
        if self.append:
            _remove_half_row(self.filename, f"epoch{self.sep}".encode())
            table = self._read()
            if table and table[0][:1] != ["epoch"]:
                raise ValueError(f"CSVLogger: {self.filename} has the columns {table[0]}; expected a table whose first"
                                 f" column is 'epoch', separated by {self.sep!r}. Take another file, or append=False.")
            if table:
                self.keys, self._rows = table[0][1:], len(table) - 1

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.keys is None:
            self.keys = self._first_columns(logs)
            content = self._text([["epoch", *self.keys], self._row(epoch, logs)])
            if self.append:
                append_to(self.filename, content)
            else:
                with atomic_write(self.filename) as file:
                    file.write(content)
        elif logs.keys() <= set(self.keys):
            append_to(self.filename, self._text([self._row(epoch, logs)]))
        else:
            new = sorted(logs.keys() - set(self.keys))
            self.keys = [*self.keys, *new]
            rows = [row + ["NA"] * len(new) for row in self._read()[1:]]
            self._write([["epoch", *self.keys], *rows, self._row(epoch, logs)])
        self._rows += 1

    def _first_columns(self, logs) -> list[str]:
        keys = sorted(logs)
        validates = (self.params or {}).get("validation", False)
        if validates and not any(key.startswith("val_") for key in keys):  # it comes in a later epoch
            keys += [f"val_{key}" for key in keys if key != "learning_rate"]
        return keys

    def _row(self, epoch, logs) -> list:
        return [epoch, *(_cell(logs.get(key, "NA")) for key in self.keys)]

    def _read(self) -> list[list[str]]:
        import csv

        with open(self.filename, newline="", encoding="utf-8") as file:
            return list(csv.reader(file, delimiter=self.sep))

    def _text(self, rows) -> bytes:
        import csv

        text = io.StringIO()
        csv.writer(text, delimiter=self.sep, lineterminator="\n").writerows(rows)
        return text.getvalue().encode()

    def _write(self, rows) -> None:
        with atomic_write(self.filename) as file:
            file.write(self._text(rows))


def _remove_half_row(path, header: bytes) -> None:
    """Cuts off what follows the last line of a table that begins with `header`: its rows end with a line break."""
    with open(path, "rb+") as file:
        if not file.read(len(header)) == header:
            return
        end = start = file.seek(0, os.SEEK_END)
        tail = b""
        while b"\n" not in tail and start > 0:
            start = max(start - 4096, 0)
            file.seek(start)
            tail = file.read(end - start)
        file.truncate(start + tail.rfind(b"\n") + 1)


def _cell(value):
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        return f'"[{", ".join(map(str, value))}]"'
    return value
