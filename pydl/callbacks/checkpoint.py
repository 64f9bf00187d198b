"""Callbacks that write the model to disk, or swap its weights."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np

from pydl.callbacks.base import Callback
from pydl.callbacks.monitor import MonitorCallback

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


def _check_save_freq(save_freq) -> None:
    if save_freq != "epoch" and (not isinstance(save_freq, int) or isinstance(save_freq, bool) or save_freq < 1):
        raise ValueError(f"Unrecognized save_freq: {save_freq}. Expected save_freq are 'epoch' or integer values")


class ModelCheckpoint(MonitorCallback):
    """Saves the model, or its weights, while it trains. Files are written aside and renamed, never half.

    Args:
        filepath: path ending in ".keras" (or ".h5"), with `save_weights_only` in ".weights.h5". It may contain
            "{epoch:02d}" (from 1), "{batch}" and the names of logs, e.g. "{val_loss:.2f}".
        monitor, mode: see `MonitorCallback`.
        verbose: 1 to say what happens.
        save_best_only: whether a model is saved only when `monitor` is better than ever before.
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

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self._due is not None and self._due(batch):
            self._save(self._epoch, batch, logs or {})

    def on_epoch_end(self, epoch, logs=None):
        if self.save_freq == "epoch":
            self._save(epoch, None, logs or {})

    def on_train_end(self, logs=None):
        if self.save_best_only:
            self._check_seen()

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
            return False
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
    """Lets a `fit` that was interrupted go on where it was when it is called again.

    Args:
        backup_dir: directory for weights, optimizer state and the epoch number; used for this model only.
        save_freq: "epoch", or a number of batches (training then goes on at the start of the epoch it was in).
        double_checkpoint: whether the backup before the last one is kept, too.
        delete_checkpoint: whether the backup is removed when the training has come to its end.
    """

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
        self._weights = os.path.join(self.backup_dir, "latest.weights.h5")
        self._metadata = os.path.join(self.backup_dir, "training_metadata.json")
        self._epoch = 0
        self._batch = 0

    def on_train_begin(self, logs=None):
        try:
            self._load("")
        except OSError:
            if not os.path.exists(self._weights + ".bkp"):
                raise
            self._load(".bkp")

    def _load(self, suffix: str) -> None:
        if not self.model.built:
            raise ValueError("To use the BackupAndRestore callback, your model must be built before you call `fit()`. "
                             f"Model {self.model} is unbuilt. You can build it beforehand by calling it on a batch of "
                             "data.")
        weights, metadata = self._weights + suffix, self._metadata + suffix
        if not os.path.exists(weights) or not os.path.exists(metadata):
            return
        optimizer = self.model.optimizer
        if optimizer is not None and not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        if suffix:  # `load_weights` wants the proper ending
            shutil.copyfile(weights, self._weights)
        self.model.load_weights(self._weights)
        with open(metadata) as file:
            self._epoch = json.load(file)["epoch"]
        self.model._initial_epoch = self._epoch

    def on_train_batch_end(self, batch, logs=None):
        if self._due is not None and self._due(batch):
            self._batch = batch
            self._save()

    def on_epoch_end(self, epoch, logs=None):
        self._epoch, self._batch = epoch + 1, 0
        if self.save_freq == "epoch":
            self._save()

    def _save(self) -> None:
        os.makedirs(self.backup_dir, exist_ok=True)
        if self.double_checkpoint:
            for path in (self._weights, self._metadata):
                if os.path.exists(path):
                    shutil.copyfile(path, path + ".bkp")
        self.model.save_weights(self._weights, overwrite=True)
        aside = self._metadata + ".tmp"
        with open(aside, "w") as file:
            json.dump({"epoch": self._epoch, "batch": self._batch}, file)
        os.replace(aside, self._metadata)

    def on_train_end(self, logs=None):
        if self.delete_checkpoint:
            shutil.rmtree(self.backup_dir, ignore_errors=True)


class SwapEMAWeights(Callback):
    """Evaluates and predicts with the moving average of the weights that an optimizer with `use_ema=True` keeps.

    Args:
        swap_on_epoch: whether the averages are also in the model at the end of every epoch, e.g. for a checkpoint.
    """

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
