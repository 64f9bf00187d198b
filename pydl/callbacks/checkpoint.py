"""Callbacks that write the model to disk, or swap its weights."""

from __future__ import annotations

import contextlib
import os

import numpy as np

from pydl.atomic import remove_leftovers
from pydl.callbacks.base import Callback
from pydl.callbacks.monitor import MonitorCallback
from pydl.warning import warn

__all__ = ["BackupAndRestore", "ModelCheckpoint", "SwapEMAWeights"]


class _EveryNBatches:
    """Counts batches across epochs; true every n-th."""

    def __init__(self, n: int):
        self.n = n
        self._since = 0
        self._last = -1

    def __call__(self, batch: int) -> bool:
        self._since += batch + 1 if batch <= self._last else batch - self._last
        self._last = batch
        if self._since < self.n:
            return False
        self._since = 0
        return True

    @property
    def state(self) -> list[int]:
        return [self._since, self._last]

    @state.setter
    def state(self, value) -> None:
        self._since, self._last = value


def _check_save_freq(save_freq) -> None:
    if save_freq != "epoch" and (not isinstance(save_freq, int) or isinstance(save_freq, bool) or save_freq < 1):
        raise ValueError(f"Invalid value for `save_freq`. Unrecognized save_freq: {save_freq}. Expected save_freq are"
                         " 'epoch' or integer values")


class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, while it trains. Files are written aside and renamed, never half.

    Args:
        filepath: path ending in ".keras" (or ".h5"), with `save_weights_only` in ".weights.h5". It may contain
            "{epoch:02d}" (from 1), "{batch}" and the names of logs, e.g. "{val_loss:.2f}".
        monitor, mode: see `MonitorCallback`.
        verbose: 1 to say what happens.
        save_best_only: whether a model is saved only when `monitor` is better than ever before. Where `monitor` is not
            among the logs and cannot come any more, every model is saved, with a warning.
        save_weights_only: whether only weights are saved.
        save_freq: "epoch", or a number of batches.
        initial_value_threshold: the value that the first saved model must beat.
    """

    def __init__(self, filepath, monitor="val_loss", verbose=0, save_best_only=False, save_weights_only=False,
                 mode="auto", save_freq="epoch", initial_value_threshold=None):
        super().__init__(monitor, mode, baseline=initial_value_threshold)
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = save_freq
        _check_save_freq(save_freq)
        if save_weights_only and not self.filepath.endswith(".weights.h5"):
            raise ValueError("When using `save_weights_only=True` in `ModelCheckpoint`, the filepath provided must end "
                             f"in `.weights.h5` (Keras weights format). Received: filepath={self.filepath}")
        if not save_weights_only and not self.filepath.endswith((".keras", ".h5")):
            raise ValueError("The filepath provided must end in `.keras` (Keras model format). "
                             f"Received: filepath={self.filepath}")
        self.needs_every_batch = save_freq != "epoch"
        self._due = _EveryNBatches(save_freq) if self.needs_every_batch else None
        self._epoch = 0
        self._lacks = False  # whether it is known that the monitor will not come

    def get_state(self) -> dict:
        return {"best": self.best, "seen": self._seen, "due": self._due and self._due.state}

    def set_state(self, state) -> None:
        self.best, self._seen = state["best"], state["seen"]
        if self._due is not None and state["due"] is not None:
            self._due.state = state["due"]

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self._due is not None and self._due(batch):
            self._save(self._epoch, batch, logs or {})

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def on_train_begin(self, logs=None):
        self._lacks = False

    def on_train_end(self, logs=None):
        if self.save_best_only and not self._lacks:
            self._check_seen()

    def _raise_missing(self, logs) -> None:
        if not self._lacks:
            try:
                super()._raise_missing(logs)
            except ValueError as error:
                warn(f"{error} The models are saved without a look at it.")
        self._lacks = True

    def _save(self, epoch: int, batch, logs: dict) -> None:
        if self.save_best_only and not self._is_best(epoch, logs):
            return
        path = self._path(epoch, batch, logs)
        if os.path.isdir(path):
            raise OSError(f"Please specify a non-directory filepath for ModelCheckpoint. Filepath used is an existing "
                          f"directory: {path}")
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1}: saved model to {path}")

    def _is_best(self, epoch: int, logs: dict) -> bool:
        current = self.get_monitor_value(logs)
        if current is None:
            return self._lacks
        self._direction()
        before = "None" if self.best is None else f"{float(self.best):.5f}"
        better = self._is_improvement(current, self.best)
        if self.verbose > 0:
            what = f"improved from {before} to {float(current):.5f}" if better else f"did not improve from {before}"
            print(f"\nEpoch {epoch + 1}: {self.monitor} {what}")
        if better:
            self.best = float(current)
        return better

    def _path(self, epoch: int, batch, logs: dict) -> str:
        names = {"epoch": epoch + 1, **logs}
        if batch is not None:
            names.setdefault("batch", batch + 1)
        try:
            return self.filepath.format(**names)
        except KeyError as missing:
            raise KeyError(f'Failed to format this callback filepath: "{self.filepath}". Reason: {missing} is not '
                           f"available. Available: {', '.join(names)}.") from None


class BackupAndRestore(Callback):
    """Lets a `fit` that was interrupted go on where it was when it is called again, with the same bits as if it had
    never been interrupted.

    One file, replaced whole, holds weights, optimizer, the states of all random generators (of layers, and the global
    ones of pydl, NumPy and Python), the order of the epoch's rows and how many batches are done, metrics, History, and
    what the other callbacks remember (`Callback.get_state`). It is written when training begins, then as `save_freq`
    says, after all other callbacks have been called. An exception, Ctrl-C, SIGTERM or SIGKILL loses the batches since.

    Data: rows of arrays and the batches of a sequence (`PyDataset`) are found again by their number; another iterable
    is read from the start of the epoch. A data set with a memory of its own needs `get_state` and `set_state`, which
    `Dataset` has. A generator goes on where the one passed to the second `fit` stands.

    Args:
        backup_dir: directory of the file; used for this model only.
        save_freq: "epoch", or a number of batches.
        double_checkpoint: whether the backup before the last one is kept, too.
        delete_checkpoint: whether the backup is removed when the training has come to its end. With False a process
            that is killed before the model is saved does not train anew either; remove the directory afterwards.

    Raises:
        ValueError: when training begins, for a backup that is damaged or does not fit, and one from the middle of an
            epoch over other data.
    """

    runs_last = True  # what it writes is the state after all others; they come to theirs before it restores it

    def __init__(self, backup_dir, save_freq="epoch", double_checkpoint=False, delete_checkpoint=True):
        super().__init__()
        if not backup_dir:
            raise ValueError("Empty `backup_dir` argument passed")
        _check_save_freq(save_freq)
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self.needs_every_batch = save_freq != "epoch"
        self._due = _EveryNBatches(save_freq) if self.needs_every_batch else None
        self._path = os.path.join(self.backup_dir, "latest.weights.h5")
        self._previous = self._path + ".bkp"
        self._goes_on_within = False

    def get_state(self) -> dict:
        return {"due": self._due.state} if self._due is not None else {}

    def set_state(self, state) -> None:
        if self._due is not None:
            self._due.state = state["due"]

    def on_train_begin(self, logs=None):
        model = self.model
        if not model.built:
            model._build_on_data()
        if model.optimizer is not None and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        if os.path.exists(self._path) or os.path.exists(self._previous):
            self._load()
            self._goes_on_within = model._steps.progress.batch > 0
        else:
            self._save()

    def on_epoch_begin(self, epoch, logs=None):
        if self._goes_on_within:  # the epoch had begun before: what was done now to begin it is undone
            self._goes_on_within = False
            self._load()

    def on_train_batch_end(self, batch, logs=None):
        if self._due is not None and self._due(batch):
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            self._save()

    def on_train_end(self, logs=None):
        if self.delete_checkpoint:
            for path in (self._previous, self._path):  # in the end none, and never the older one alone
                remove_leftovers(path)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            with contextlib.suppress(OSError):  # somebody else has files there, too
                os.rmdir(self.backup_dir)

    def _save(self) -> None:
        from pydl import saving

        os.makedirs(self.backup_dir, exist_ok=True)
        saving.save_backup(self.model, self._path, self.model._get_training_state(),
                           self._previous if self.double_checkpoint else None)

    def _load(self) -> None:
        from pydl import saving

        try:
            training = saving.load_backup(self.model, self._path)
        except (ValueError, FileNotFoundError):
            if not os.path.exists(self._previous):
                raise
            training = saving.load_backup(self.model, self._previous)
            os.replace(self._previous, self._path)  # else the damaged file would come into its place
        try:
            self.model._set_training_state(training)
        except ValueError as error:
            raise ValueError(f"{self._path}: {error} Remove the file to train from the start.") from error


class SwapEMAWeights(Callback):
    """Evaluates and predicts with the moving average of the weights that an optimizer with `use_ema=True` keeps.

    Args:
        swap_on_epoch: whether the averages are also in the model at the end of every epoch, e.g. for a checkpoint.
    """

    _kept = ("_swapped",)

    def __init__(self, swap_on_epoch=False):
        super().__init__()
        self.swap_on_epoch = swap_on_epoch
        self._swapped = False

    def _pairs(self):
        optimizer = self.model.optimizer
        averages = getattr(optimizer, "_averages", None)
        if not averages:
            raise ValueError("SwapEMAWeights must be used when `use_ema=True` is set on the optimizer. "
                             f"Received: use_ema={getattr(optimizer, 'use_ema', None)}")
        if not optimizer._averaged:
            return []
        return [(v, a) for v, a in zip(optimizer._trainable_variables, averages) if a is not None]

    def _swap(self, to_averages: bool) -> None:
        if self._swapped != to_averages:
            for variable, average in self._pairs():
                before = np.array(variable)
                variable.assign(average)
                average.assign(before)
            self._swapped = to_averages

    def on_epoch_begin(self, epoch, logs=None):
        if self.swap_on_epoch:
            self._swap(False)

    def on_epoch_end(self, epoch, logs=None):
        if self.swap_on_epoch:
            self._swap(True)
            if epoch == self.params["epochs"] - 1:  # the averages are the model now
                for variable, average in self._pairs():
                    average.assign(variable)
                self._swapped = False

    def on_test_begin(self, logs=None):
        self._swap(True)

    def on_test_end(self, logs=None):
        self._swap(False)

    def on_predict_begin(self, logs=None):
        self._swap(True)

    def on_predict_end(self, logs=None):
        self._swap(False)
