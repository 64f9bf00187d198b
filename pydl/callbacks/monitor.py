"""Callbacks that watch one value of the logs, and those that set the learning rate or end the training."""

from __future__ import annotations

import math

import numpy as np

from pydl import ops
from pydl.callbacks.base import Callback
from pydl.tensor import Tensor
from pydl.warning import warn

__all__ = ["EarlyStopping", "LearningRateScheduler", "MonitorCallback", "ReduceLROnPlateau", "TerminateOnNaN"]


class MonitorCallback(Callback):
    """Base: follows `monitor` and knows whether it got better.

    Args:
        monitor: a key of the logs.
        mode: "min", "max", or "auto" for the direction of the metric (a loss goes down).
        baseline: the value to beat, None for none.
        min_delta: smallest change that counts as better.
    """

    def __init__(self, monitor="val_loss", mode="auto", baseline=None, min_delta=0):
        super().__init__()
        if mode not in ("auto", "min", "max"):
            warn(f"{type(self).__name__} mode '{mode}' is unknown, fallback to auto mode.")
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.best = baseline
        self.min_delta = abs(min_delta)
        self._sign = None  # 1: up is better, -1: down is better
        self._seen = False

    def _direction(self) -> int:
        """1 when larger is better, -1 when smaller is.

        Raises:
            ValueError: in mode "auto" when the metric does not tell.
        """
        if self._sign is None:
            if self.mode != "auto":
                self._sign = 1 if self.mode == "max" else -1
            else:
                name = self.monitor.removeprefix("val_")
                direction = "down" if name == "loss" or name.endswith("_loss") else _metric_direction(self.model, name)
                if direction is None:
                    raise ValueError(
                        f"{type(self).__name__} callback received monitor={self.monitor}, but it is not known whether "
                        "that metric should be maximized or minimized. Pass `mode='max'` in order to monitor based on "
                        "the highest metric value, or pass `mode='min'` in order to use the lowest value.")
                self._sign = 1 if direction == "up" else -1
        return self._sign

    @property
    def monitor_op(self):
        """`ops.greater` where larger values are better, `ops.less` where smaller ones are; None before it is known."""
        return None if self._sign is None else ops.greater if self._sign > 0 else ops.less

    def _is_improvement(self, value, reference) -> bool:
        """Whether `value` beats `reference` by more than `min_delta`; NaN never does."""
        value = float(value)
        if math.isnan(value):
            return False
        if reference is None:
            return True
        return (value - float(reference)) * self._direction() > self.min_delta

    def get_monitor_value(self, logs):
        """The value of this epoch, or None in an epoch without validation.

        Raises:
            ValueError: when the value cannot come any more.
        """
        logs = logs or {}
        value = logs.get(self.monitor)
        if value is not None:
            self._seen = True
            if getattr(value, "ndim", 0):
                if value.size == 1:  # an F-score by class, of one class
                    return value.item()
                raise ValueError(f"{type(self).__name__} needs a scalar `{self.monitor}`; received {value!r}.")
            return value
        validates = (self.params or {}).get("validation", True)
        has_validation = any(key.startswith("val_") for key in logs)
        if not self._seen and not (self.monitor.startswith("val_") and validates and not has_validation):
            self._raise_missing(logs)
        self._last_logs = logs
        return None

    def _raise_missing(self, logs) -> None:
        hint = " There is no validation data." if self.monitor.startswith("val_") and not any(
            key.startswith("val_") for key in logs) else ""
        raise ValueError(f"{type(self).__name__} monitors `{self.monitor}`, which is not available. "
                         f"Available metrics are: {', '.join(logs)}.{hint}")

    def _check_seen(self) -> None:
        """At the end of training: a value that never came is an error."""
        if not self._seen and getattr(self, "_last_logs", None):
            self._raise_missing(self._last_logs)


def _metric_direction(model, name: str) -> str | None:
    """"up" or "down" of the model's metric of that name (an output's name may stand before it), or None."""
    found = None
    for metric in _all_metrics(getattr(model, "metrics", None) or ()):
        own = getattr(metric, "name", None)
        if own is not None and getattr(metric, "_direction", None) is not None:
            if own == name:
                return metric._direction
            if name.endswith(f"_{own}"):
                found = metric._direction
    return found


def _all_metrics(metrics):
    for metric in metrics:
        yield metric
        inner = getattr(metric, "metrics", None)
        if isinstance(inner, (list, tuple)):
            yield from _all_metrics(inner)


class EarlyStopping(MonitorCallback):
    """Stops the training when a value no longer gets better.

    Args:
        monitor, mode, min_delta: see `MonitorCallback`.
        patience: epochs without improvement before the training stops.
        verbose: 1 to say so.
        baseline: a value that must be beaten before `patience` epochs have passed.
        restore_best_weights: whether the model ends with the weights of its best epoch, also when the training ran
            to its end.
        start_from_epoch: number of epochs to let pass first.
    """

    _kept = ("best", "wait", "stopped_epoch", "best_weights", "best_epoch", "_seen")

    def __init__(self, monitor="val_loss", min_delta=0, patience=0, verbose=0, mode="auto", baseline=None,
                 restore_best_weights=False, start_from_epoch=0):
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.wait = 0
        self.stopped_epoch = 0
        self.restore_best_weights = restore_best_weights
        self.best_weights = None
        self.best_epoch = 0
        self.start_from_epoch = start_from_epoch

    def on_train_begin(self, logs=None):
        self.wait = 0
        self.stopped_epoch = 0
        self.best = None
        self.best_weights = None
        self.best_epoch = 0
        self._seen = False

    def on_epoch_end(self, epoch, logs=None):
        current = self.get_monitor_value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        self._direction()
        if self.restore_best_weights and self.best_weights is None:
            self._remember(epoch)  # something to go back to even if no epoch counts as better
        self.wait += 1
        if self._is_improvement(current, self.best):
            self.best = float(current)
            if self.restore_best_weights:
                self._remember(epoch)
            else:
                self.best_epoch = epoch
            if self.baseline is None or self._is_improvement(current, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _remember(self, epoch: int) -> None:
        self.best_epoch = epoch
        self.best_weights = self.model.get_weights()

    def on_train_end(self, logs=None):
        self._check_seen()
        if self.stopped_epoch > 0 and self.verbose > 0:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class ReduceLROnPlateau(MonitorCallback):
    """Lowers the learning rate when a value no longer gets better.

    Args:
        monitor, mode, min_delta: see `MonitorCallback`.
        factor: the learning rate is multiplied by it; below 1.
        patience: epochs without improvement before that.
        verbose: 1 to say so.
        cooldown: epochs to wait after a reduction before counting again.
        min_lr: the learning rate stays at or above it.
    """

    _kept = ("best", "wait", "cooldown_counter", "_seen")

    def __init__(self, monitor="val_loss", factor=0.1, patience=10, verbose=0, mode="auto", min_delta=1e-4,
                 cooldown=0, min_lr=0.0, **kwargs):
        super().__init__(monitor, mode, min_delta=min_delta)
        if factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau does not support a factor >= 1.0. Received factor={factor}")
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.cooldown_counter = 0
        self.wait = 0
        self.min_lr = min_lr

    def on_train_begin(self, logs=None):
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0
        self._seen = False

    def in_cooldown(self) -> bool:
        return self.cooldown_counter > 0

    def on_epoch_end(self, epoch, logs=None):
        logs = {} if logs is None else logs
        logs["learning_rate"] = learning_rate_of(self.model.optimizer)
        current = self.get_monitor_value(logs)
        if current is None:
            return
        self._direction()
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(current, self.best):
            self.best = float(current)
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        old = learning_rate_of(self.model.optimizer)
        if old <= np.float32(self.min_lr):
            return
        new = max(old * self.factor, self.min_lr)
        self.model.optimizer.learning_rate = new
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing learning rate to {new}.")

    def on_train_end(self, logs=None):
        self._check_seen()


class LearningRateScheduler(Callback):
    """Sets the learning rate at the start of every epoch.

    Args:
        schedule: `schedule(epoch, learning_rate)` or `schedule(epoch)`, returns the new learning rate as a float.
        verbose: 1 to print it.
    """

    def __init__(self, schedule, verbose=0):
        super().__init__()
        self.schedule = schedule
        self.verbose = verbose
        self._arguments = _argument_count(schedule)

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = self.model.optimizer
        if not hasattr(optimizer, "learning_rate"):
            raise ValueError('Optimizer must have a "learning_rate" attribute.')
        rate = self.schedule(*(epoch, learning_rate_of(optimizer))[: self._arguments])
        if isinstance(rate, Tensor):
            rate = float(rate)
        if not isinstance(rate, (float, np.floating)):
            raise ValueError(f"The output of the `schedule` function should be a float. Got: {rate}")
        optimizer.learning_rate = float(rate)
        if self.verbose > 0:
            print(f"\nEpoch {epoch + 1}: LearningRateScheduler setting learning rate to {rate}.")

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["learning_rate"] = learning_rate_of(self.model.optimizer)


def _argument_count(schedule) -> int:
    """1 for `schedule(epoch)`, else 2. Asked once, so a TypeError inside the schedule is not mistaken for an answer."""
    import inspect

    try:
        inspect.signature(schedule).bind(0, 0.0)
    except TypeError:
        return 1
    except ValueError:  # a built-in without a signature
        return 2
    return 2


def learning_rate_of(optimizer) -> float:
    """The current learning rate as a float."""
    rate = optimizer.learning_rate
    return float(rate.data if isinstance(rate, Tensor) else rate)


class TerminateOnNaN(Callback):
    """Ends the training when the loss is NaN or infinite.

    A loss that went wrong stays wrong in the running mean, so it is looked at by time and at the end of the epoch,
    not after every batch.

    Args:
        raise_error: whether to raise RuntimeError instead of stopping.
    """

    needs_every_batch = False

    def __init__(self, raise_error: bool = False):
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(float(loss)):
            return
        if self.raise_error:
            raise RuntimeError(f"NaN or Inf loss encountered at batch {batch}. Loss value: {loss}. "
                               "Terminating training immediately.")
        if not self.model.stop_training:
            print(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
