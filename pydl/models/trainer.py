"""fit, evaluate, predict: the loops around a model's recorded steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import config, random, tree
from pydl.autograd import no_grad
from pydl.callbacks import CallbackList, History
from pydl.data.adapters import (
    ArrayData,
    BatchData,
    batch_dtype,
    class_weights_to_samples,
    make_data,
    split_validation,
    to_arrays,
    unpack,
)
from pydl.dtypes import holds_floats, holds_numbers
from pydl.models.progress import Progress
from pydl.models.recipe import Recipe
from pydl.models.runner import as_floats
from pydl.models.steps import Steps, restoring
from pydl.progbar import Progbar
from pydl.tensor import from_numpy
from pydl.warning import warn

__all__ = ["Trainer"]

_STOPPED_BY = {"train": "stop_training", "test": "stop_evaluating"}  # attributes that a callback sets
_TICK = 0.1  # seconds between returns to Python when no callback asks for every batch


class Trainer(Recipe):
    """The part of Model that learns: `fit`, `evaluate`, `predict` and their one-batch forms.

    Threads: `predict` and `predict_on_batch` may be called by several threads at once, also while another one trains
    (they see the weights between two updates). Training and evaluation write metrics and weights, so one thread at a
    time does either; a second one that trains, or that comes while another trains, gets a RuntimeError.
    """

    _steps: Steps
    _host_results: Callable[[Any], Any]  # of Model, as the two that follow
    _host_answer: Callable[[Any], Any]
    _has_host_part: Callable[[Any], bool]

    def __init__(self):
        super().__init__()
        self._make_steps()

    def _make_steps(self) -> None:
        steps = Steps(describe=lambda kind: getattr(self, f"{kind}_step"), eagerly=lambda: self.run_eagerly,
                      guard=self._all_or_nothing, on_host=self._host_results, answer_on_host=self._host_answer,
                      name=lambda: f'Model "{self.name}"')
        object.__setattr__(self, "_steps", steps)  # no setting: programs do not depend on it

    def __getstate__(self) -> dict:
        # Recorded programs point into this model's memory: a copy or an unpickled model records its own.
        return {k: v for k, v in self.__dict__.items() if k != "_steps"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._make_steps()

    def _all_or_nothing(self):
        """Context of a training step: when it fails, all variables are as before."""
        if self.built and self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return restoring(self.variables + self.metrics_variables + getattr(self.optimizer, "variables", []))

    def compile(self, *args, **kwargs) -> None:
        super().compile(*args, **kwargs)
        self._steps.forget()

    compile.__doc__ = Recipe.compile.__doc__
    compile.__signature__ = inspect.signature(Recipe.compile)  # type: ignore[attr-defined]

    def make_train_function(self, force: bool = False):
        """The function `fit` calls, as in Keras; `force` forgets recorded programs."""
        return self._made_function("train", force)

    def make_test_function(self, force: bool = False):
        return self._made_function("test", force)

    def make_predict_function(self, force: bool = False):
        return self._made_function("predict", force)

    def _made_function(self, kind: str, force: bool):
        if force:
            self._steps.forget()
        return self._steps.function(kind)

    # ---- fit ---------------------------------------------------------------------------------------------------

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, validation_split=0.0,
            validation_data=None, shuffle=True, class_weight=None, sample_weight=None, initial_epoch=0,
            steps_per_epoch=None, validation_steps=None, validation_batch_size=None, validation_freq=1):
        """Trains for a number of passes over the data.

        Args:
            x: array(s) of samples (structure as the model's inputs), or a generator / sequence / iterable of batches
                (x, y) or (x, y, sample_weight).
            y: targets, structure as the model's outputs.
            batch_size: rows per update, 32 by default. The last batch of an epoch may be smaller.
            epochs: index of the last epoch.
            verbose: 0 silent, 1 progress bar, 2 one line per epoch.
            callbacks: list of Callback.
            validation_split: part of the rows, taken from the end before shuffling, to validate on.
            validation_data: (x, y), (x, y, sample_weight) or batches.
            shuffle: new order of rows in each epoch.
            class_weight: dict class index -> weight.
            sample_weight: one weight per row (or per row and time step).
            initial_epoch: index of the first epoch.
            steps_per_epoch: updates per epoch; needed for endless generators.
            validation_steps, validation_batch_size: likewise for validation.
            validation_freq: validate every so many epochs, or at the epochs of a list.

        Returns:
            History: `history` maps names to one value per epoch.
        """
        self._assert_compiled("fit")
        for name, value, least in (("epochs", epochs, 0), ("steps_per_epoch", steps_per_epoch, 1),
                                   ("validation_steps", validation_steps, 1), ("initial_epoch", initial_epoch, 0),
                                   ("validation_batch_size", validation_batch_size, 1)):
            _check_count(name, value, least)
        for epoch in validation_freq if isinstance(validation_freq, (list, tuple, set)) else (validation_freq,):
            _check_count("validation_freq", epoch, 1, may_be_none=False)
        if validation_split and validation_data is None:
            (x, y, sample_weight), validation_data = split_validation((x, y, sample_weight), validation_split,
                                                                        self._input_floats())
        if class_weight is not None and y is not None:
            sample_weight = class_weights_to_samples(y, class_weight, sample_weight)
        data = make_data(x, y, sample_weight, steps_per_epoch, self._input_floats())
        if isinstance(data, BatchData) and class_weight is not None:
            data.prepare = lambda x, y, w: (x, y, class_weights_to_samples(y, class_weight, w))
        batch_size = _batch_size(batch_size)
        if isinstance(data, ArrayData):
            self._check_targets(data, batch_size)
        steps = _count_steps(data, batch_size, steps_per_epoch)
        validation = None
        if validation_data is not None:
            if isinstance(validation_data, (tuple, list)):
                vx, vy, vw = unpack(validation_data)
                validation = make_data(vx, vy, vw, validation_steps, self._input_floats())
            else:
                validation = make_data(validation_data, steps=validation_steps, floats=self._input_floats())
        verbose = _verbosity(verbose)
        if not isinstance(callbacks, CallbackList):
            callbacks = CallbackList(callbacks, add_history=True, add_progbar=verbose != 0, model=self, epochs=epochs,
                                     steps=steps, verbose=verbose, validation=validation is not None)
        with self._steps.exclusive(trains=True):
            self._steps.progress = progress = Progress(initial_epoch, data, batch_size, callbacks, validation)
            try:
                return self._fit(progress, batch_size, epochs, steps, steps_per_epoch, shuffle, validation,
                                 validation_batch_size or batch_size, validation_steps, validation_freq)
            finally:
                del self._steps.progress

    def _fit(self, progress, batch_size, epochs, steps, steps_per_epoch, shuffle, validation, validation_batch_size,
             validation_steps, validation_freq):
        """The epochs of `fit`, on checked arguments."""
        data, callbacks = progress.data, progress.callbacks
        self.stop_training = False
        told = self.built and self._warn_if_frozen()
        callbacks.on_train_begin()  # BackupAndRestore may go to where an interrupted training stood
        begun = bool(progress.batch)
        while progress.epoch < epochs and (progress.batch or not self.stop_training):
            epoch = progress.epoch
            self.reset_metrics()
            if progress.batch:
                self._make_metrics(progress, batch_size)
            callbacks.on_epoch_begin(epoch)
            if isinstance(data, ArrayData):
                rows = progress.begin_rows(steps * batch_size, shuffle)
                if steps_per_epoch is not None and len(rows) <= (steps_per_epoch - 1) * batch_size:
                    _warn_of_few(-(-len(rows) // batch_size), steps_per_epoch)
                logs = self._run_arrays("train", data, batch_size, rows, -(-len(rows) // batch_size), callbacks,
                                        progress)
            else:
                batches = data.epoch(steps_per_epoch, shuffle=bool(shuffle), done=progress.batch)
                logs = self._run_batches("train", data, batches, steps, callbacks, progress, may_be_empty=begun)
                if not progress.batch:  # there was nothing left to read
                    _warn_of_end(epoch, epochs)
                    break
                data.on_epoch_end()
            begun, short = True, steps is not None and progress.batch < steps
            told = told or self._warn_if_frozen()
            logs = dict(logs)
            if validation is not None and _due(epoch, validation_freq):
                found = self._evaluate(validation, validation_batch_size, validation_steps, callbacks,
                                       may_be_empty=isinstance(validation, BatchData) and validation.is_generator)
                logs.update({f"val_{k}": v for k, v in found.items()})
            progress.end_epoch(dict(sorted(logs.items())))  # Keras's order
            callbacks.on_epoch_end(epoch, progress.logs)
            if isinstance(data, BatchData) and data.used_up and progress.epoch < epochs:
                if not short:  # which has been said
                    _warn_of_end(progress.epoch, epochs)
                break
        callbacks.on_train_end(progress.logs)
        self._finish_variables()
        return self.history if isinstance(self.history, History) else callbacks.history

    def _warn_if_frozen(self) -> bool:
        """Says that nothing will be trained, if so."""
        if self.trainable_variables:
            return True
        warn(f'Model "{self.name}" has no trainable weights: its loss and metrics are computed, and nothing changes.')
        return True

    def _check_targets(self, data, batch_size) -> None:
        """Looks at the targets of all rows before the first step changes anything.

        Raises:
            ValueError: a label is none of the classes, or NaN among the targets or weights makes a loss NaN or
                infinite.
        """
        loss = self._compile_loss
        if loss is None or type(self).compute_loss is not Recipe.compute_loss:
            return
        if getattr(self, "_graph", None) is not None:
            loss.check_labels(data.y, self.output)
        rows = data.rows_with_nan()
        if len(rows) == 0 or type(self).train_step is not Recipe.train_step or self._has_host_part(data.x):
            return
        x, y, weight = tree.map_structure(lambda a: a if a is None else from_numpy(a), data.take(rows[:batch_size]))
        outputs = self(x, training=False)  # makes the variables of a model that had none
        try:
            loss(y, outputs, weight)
        except FloatingPointError as error:
            raise _refusal(error, data) from None

    def _build_on_data(self) -> None:
        """Makes the variables of a model that is not built, during `fit`, from some batch of its data."""
        x = self._steps.progress.some_inputs()
        with no_grad():
            self(tree.map_structure(lambda a: from_numpy(a) if holds_numbers(a) else a, x, none_is_leaf=False),
                 training=False)

    def _make_metrics(self, progress, batch_size) -> None:
        """Makes the variables that a model has only after its first batch, by a step on some batch. It is called where
        all values are about to be set, by the callback that has set `progress`."""
        if progress.fits(self):
            return
        batch = progress.data.peek() if isinstance(progress.data, BatchData) else (
            progress.data.take(progress.rows[:batch_size]))
        if batch is not None:
            self._step_logs("train", batch)

    def _get_training_state(self) -> dict:
        """What a `fit` that is under way needs besides weights and optimizer, to go on from here: plain values and
        arrays."""
        return {"stopped": bool(self.stop_training), "generators": random.get_global_state(),
                **self._steps.progress.get_state(self)}

    def _set_training_state(self, state) -> None:
        """Takes over what `_get_training_state` returned."""
        self.stop_training = state["stopped"]
        self._steps.progress.set_state(self, state)
        random.set_global_state(state["generators"])  # last: the data may have drawn on their way

    def _finish_variables(self) -> None:
        finalize = getattr(self.optimizer, "finalize_variable_values", None)
        if finalize is not None:
            finalize(self.trainable_variables)

    def _run_arrays(self, kind, data, batch_size, order, steps, callbacks, progress) -> dict:
        """Runs `steps` batches in the given order of rows, those that `progress` says are done left out; returns the
        logs after the last."""
        begin, end = _batch_hooks(kind, callbacks)
        every_batch = callbacks is not None and callbacks.needs_batches(kind)
        done = progress.batch
        if self.run_eagerly or self._has_host_part(data.x):  # what needs Python needs it for each batch
            return self._run_batches(kind, data, _slices(data, order, batch_size, done), steps, callbacks, progress)
        runner = self._steps.runner(kind, data)
        seconds = 0.0 if every_batch else _TICK
        runner.start(order, batch_size, steps, done)
        while done < steps and not getattr(self, _STOPPED_BY[kind]):
            if begin is not None:
                begin(done)
            if kind == "train":
                try:
                    with self._steps.writing:
                        done = runner.advance(seconds)
                except FloatingPointError as error:
                    raise _refusal(error, data) from None
            else:
                done = runner.advance(seconds)
            progress.batch, progress.logs = done, runner.logs()
            if end is not None:
                end(done - 1, progress.logs)
        if kind == "train":
            self._steps.last_batch = (data, order[(done - 1) * batch_size:done * batch_size])
        return progress.logs

    def _run_batches(self, kind, data, batches, steps, callbacks, progress, may_be_empty=False) -> dict:
        begin, end = _batch_hooks(kind, callbacks)
        logs, done, last = progress.logs, progress.batch, None
        while (steps is None or done < steps) and not getattr(self, _STOPPED_BY[kind]):
            batch = next(batches, None)
            if batch is None:
                if steps is not None and 0 < done < steps:
                    _warn_of_few(done, steps)
                break
            if begin is not None:
                begin(done)
            if isinstance(data, ArrayData):
                logs = self._step_logs(kind, batch, data=data)
            else:
                ArrayData(*batch)  # the checks on lengths
                logs = self._step_logs(kind, batch, done)
            last = batch
            done += 1
            progress.batch, progress.logs = done, logs
            if end is not None:
                end(done - 1, logs)
        if done == 0 and not may_be_empty:
            raise ValueError("The data set is empty: the iterator yielded no batch.")
        if kind == "train" and last is not None:
            self._steps.last_batch = last, None
        return logs

    def _step_logs(self, kind: str, batch, number: int | None = None, data: ArrayData | None = None) -> dict:
        """One step that writes variables; its results as floats. For messages, `data` is where the batch was taken
        from, or `number` that of the batch."""
        if kind != "train":
            return self._steps.call(kind, batch, as_floats)
        try:
            with self._steps.writing:
                return self._steps.call(kind, batch, as_floats)
        except FloatingPointError as error:
            raise _refusal(error, data or ArrayData(*batch), number) from None

    # ---- evaluate, predict -------------------------------------------------------------------------------------

    def evaluate(self, x=None, y=None, batch_size=None, verbose="auto", sample_weight=None, steps=None, callbacks=None,
                 return_dict=False, **kwargs):
        """Loss and metrics on a data set.

        Returns:
            The loss; a list [loss, metrics ...] when there are metrics; a dict by name, in the order of the list, with
            `return_dict=True`.
        """
        if kwargs:
            raise ValueError(f"Arguments not recognized: {kwargs}")
        self._assert_compiled("evaluate")
        _check_count("steps", steps, 1)
        data = make_data(x, y, sample_weight, steps, self._input_floats())
        batch_size = _batch_size(batch_size)
        verbose = _verbosity(verbose)
        if not isinstance(callbacks, CallbackList):
            callbacks = CallbackList(callbacks, add_progbar=verbose != 0, model=self, epochs=1, verbose=verbose,
                                     steps=_count_steps(data, batch_size, steps))
        with self._steps.exclusive(trains=False):
            logs = self._evaluate(data, batch_size, steps, callbacks)
        return self._returned(logs, return_dict)

    def _returned(self, logs: dict, return_dict: bool):
        """Logs as the methods return them: by name, or a list of the values, the only one by itself."""
        names = self._in_order(logs)
        if return_dict:
            return {name: logs[name] for name in names}
        values = [logs[name] for name in names]
        return values[0] if len(values) == 1 else values

    def _evaluate(self, data, batch_size, steps, callbacks, may_be_empty=False) -> dict:
        self.stop_evaluating = False
        steps = _count_steps(data, batch_size, steps)
        progress = Progress(0, data, batch_size, callbacks)
        if callbacks is not None:
            callbacks.on_test_begin()
        self.reset_metrics()
        if isinstance(data, ArrayData):
            logs = self._run_arrays("test", data, batch_size, np.arange(data.rows), steps, callbacks, progress)
        else:
            logs = self._run_batches("test", data, data.batches(), steps, callbacks, progress, may_be_empty)
            if not progress.batch:
                warn("The validation data ran out: this epoch has no validation.")
        if callbacks is not None:
            callbacks.on_test_end(logs)
        return logs

    def predict(self, x, batch_size=None, verbose="auto", steps=None, callbacks=None):
        """Outputs for all rows of `x`, as NumPy array(s).

        Args:
            x: array(s), or batches.
            batch_size: rows per call, 32 by default; affects speed and memory only.
            verbose: 0, 1 (default) or 2.
            steps: number of batches, for endless iterables.
        """
        batch_size = _batch_size(batch_size)
        verbose = _verbosity(verbose)
        one_batch = (type(x) is np.ndarray and callbacks is None and steps is None and 0 < x.ndim and
                     0 < len(x) <= batch_size and x.dtype == batch_dtype(x, "x"))
        if one_batch:
            bar = Progbar(1, verbose=verbose) if verbose else None
            y = self._steps.replay(x)
            if y is not None:
                if bar is not None:
                    bar.update(1)
                return y
        _check_count("steps", steps, 1)
        data = make_data(x, steps=steps, floats=self._input_floats())
        steps = _count_steps(data, batch_size, steps)
        if not isinstance(callbacks, CallbackList):
            callbacks = CallbackList(callbacks, add_progbar=verbose != 0, model=self, epochs=1, steps=steps,
                                     verbose=verbose)
        begin, end = _batch_hooks("predict", callbacks)
        self.stop_predicting = False
        callbacks.on_predict_begin()
        batches = (_slices(data, None, batch_size) if isinstance(data, ArrayData) else data.batches())
        rows = data.rows if isinstance(data, ArrayData) and steps * batch_size >= data.rows else None
        result, parts, done = None, [], 0
        for batch in batches:
            if (steps is not None and done >= steps) or self.stop_predicting:
                break
            if begin is not None:
                begin(done)
            logs: dict = {}

            def collect(y, at=done * batch_size, logs=logs):
                nonlocal result, rows
                if rows is not None and any(
                        np.shape(a)[:1] != (min(batch_size, rows - at),) for a in tree.flatten(y)):
                    rows = None  # not one row for each of the data
                    if at:
                        parts.append(tree.map_structure(lambda out: out[:at], result))
                if rows is not None:  # straight into the result
                    if result is None:
                        result = tree.map_structure(lambda a: np.empty((rows, *a.shape[1:]), a.dtype), y)
                    tree.map_structure(lambda out, a: np.copyto(out[at:at + a.shape[0]], a), result, y)
                else:
                    parts.append(tree.map_structure(np.array, y))
                if end is not None:
                    logs["outputs"] = tree.map_structure(np.array, y)

            self._steps.call("predict", (batch[0], None, None), collect)
            done += 1
            if end is not None:
                end(done - 1, logs)
        callbacks.on_predict_end()
        if one_batch and data.x is x and not self._has_host_part(x):
            self._steps.remember(x)
        if rows is not None:
            ran = min(done * batch_size, rows)  # fewer where a callback has stopped it
            return result if ran == rows else tree.map_structure(lambda a: a[:ran], result)
        if not parts:
            raise ValueError("The data set is empty: the iterator yielded no batch.")
        return tree.map_structure(_joined, *parts)

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """One update on one batch; returns its loss and metrics (a list, or a dict)."""
        self._assert_compiled("train_on_batch")
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError("Arguments `sample_weight` and `class_weight` cannot be specified at the same time.")
            sample_weight = class_weights_to_samples(y, class_weight)
        with self._steps.exclusive(trains=True):
            self.reset_metrics()
            logs = self._step_logs("train", ArrayData(x, y, sample_weight, self._input_floats()).structure)
        return self._returned(logs, return_dict)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """Loss and metrics of one batch (a list, or a dict)."""
        self._assert_compiled("test_on_batch")
        with self._steps.exclusive(trains=False):
            self.reset_metrics()
            logs = self._step_logs("test", ArrayData(x, y, sample_weight, self._input_floats()).structure)
        return self._returned(logs, return_dict)

    def predict_on_batch(self, x):
        """Outputs for one batch, as NumPy array(s)."""
        y = self._steps.replay(x)
        if y is not None:
            return y
        x = to_arrays(x, "x", self._input_floats())
        result = self._steps.call("predict", (x, None, None), lambda y: tree.map_structure(np.array, y))
        if isinstance(x, np.ndarray) and not self._has_host_part(x):
            self._steps.remember(x)
        return result


def _warn_of_few(done: int, steps: int) -> None:
    warn(f"Your input ran out of data after {done} of {steps} steps; the epoch ends here. Make sure that your"
         " dataset or generator can generate at least `steps_per_epoch * epochs` batches.")


def _joined(*parts: np.ndarray) -> np.ndarray:
    """The outputs of all batches, one behind the other."""
    if len({a.shape[1:] for a in parts}) > 1 or parts[0].ndim == 0:
        raise ValueError("The outputs of the batches cannot be joined along their first axis: they have the shapes"
                         f" {list(dict.fromkeys(a.shape for a in parts))}. Call `predict_on_batch` for each batch.")
    return np.concatenate(parts)


def _warn_of_end(done: int, epochs: int) -> None:
    warn(f"Your input ran out of data after {done} of {epochs} epochs; the training ends here. Make sure that your"
         " generator can generate at least `steps_per_epoch * epochs` batches.")


def _refusal(error: FloatingPointError, data: ArrayData, batch: int | None = None) -> Exception:
    """What to raise for a step that NaN in the data has stopped: names where it is. `error` where there is none."""
    found = []
    for name in ("y", "sample_weight", "x"):
        for path, a in tree.flatten_with_path(getattr(data, name)):
            if a is not None and holds_floats(a) and np.isnan(a).any():
                place = name + "".join(f"[{key!r}]" for key in path)
                found.append(f"`{place}` contains NaN (first in row {np.argwhere(np.isnan(a))[0][0]})")
    if not found:
        return error
    return ValueError(f"{'' if batch is None else f'Batch {batch}: '}{', '.join(found)}, and a loss comes out as NaN or"
                      " infinite; training on it would destroy the weights. A loss of your own may leave missing values"
                      " out.")


def _check_count(name: str, value, least: int, may_be_none: bool = True) -> None:
    if value is None and may_be_none:
        return
    if not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r}: expected an integer of at least {least}.")


def _verbosity(verbose):
    if verbose != "auto":
        return verbose
    return 1 if config.is_interactive_logging_enabled() else 2


def _batch_size(batch_size) -> int:
    if batch_size is None:
        return 32
    whole = isinstance(batch_size, (int, np.integer)) or (isinstance(batch_size, (float, np.floating))
                                                          and batch_size.is_integer())
    if not whole or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r}: expected an integer of at least 1.")
    return int(batch_size)


def _count_steps(data, batch_size, steps):
    if isinstance(data, ArrayData):
        available = -(-data.rows // batch_size)
        return available if steps is None else min(int(steps), available)
    return steps if steps is not None else data.known_length()


def _slices(data, order, batch_size, done=0):
    for start in range(done * batch_size, data.rows, batch_size):
        stop = min(start + batch_size, data.rows)
        yield data.take(slice(start, stop) if order is None else order[start:stop])


def _batch_hooks(kind, callbacks):
    if callbacks is None:
        return None, None
    return getattr(callbacks, f"on_{kind}_batch_begin"), getattr(callbacks, f"on_{kind}_batch_end")


def _due(epoch, frequency) -> bool:
    if isinstance(frequency, (list, tuple, set)):
        return epoch + 1 in frequency
    return (epoch + 1) % frequency == 0
