"""Steps: the recorded steps of one model, and who may run them when."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import tree
from pydl.autograd import no_grad
from pydl.data.adapters import ArrayData
from pydl.models.progress import Progress
from pydl.models.runner import ArrayRunner, Replay
from pydl.program import Gate, RecordedFunction
from pydl.tensor import Tensor, from_numpy, holds_strings

__all__ = ["Exclusive", "Steps"]


class Exclusive:
    """Who trains or evaluates a model: one thread at a time, since both write its metrics, training its weights.

    A thread may enter again. Whoever comes while another thread evaluates waits; while another thread trains, which
    may take hours, it gets an error.

    Args:
        what: the subject of the message.
    """

    def __init__(self, what: Callable[[], str]):
        self._what = what
        self._moved = threading.Condition()
        self._holder: threading.Thread | None = None
        self._depth = 0
        self._trains = False

    @contextlib.contextmanager
    def __call__(self, trains: bool):
        me = threading.current_thread()
        with self._moved:
            while self._holder is not None and self._holder is not me:
                if self._trains:
                    raise RuntimeError(
                        f"{self._what()} is being trained by thread '{self._holder.name}'; thread '{me.name}' cannot"
                        f" {'train' if trains else 'evaluate'} it at the same time. Wait for the other to end, or train"
                        " a copy (`clone_model`). `predict` may run beside training."
                    )
                self._moved.wait()
            before = self._trains
            self._holder, self._depth, self._trains = me, self._depth + 1, before or trains
        try:
            yield
        finally:
            with self._moved:
                self._depth -= 1
                self._trains = before
                if self._depth == 0:
                    self._holder = None
                    self._moved.notify_all()


class Steps:
    """The steps of a model, recorded and replayed.

    Args:
        describe: the step of a kind ("train", "test", "predict") as Python: takes the data of a batch.
        eagerly: whether steps run in Python every time.
        guard: makes the context of a training step that may fail half-way; then variables are as before.
        on_host: what a recorded step gets for the inputs of a batch: where layers run in Python (on strings), their
            results.
        answer_on_host: the predictions for what `on_host` gave, where the model ends there; else None.
        name: the model, for messages.

    Attributes:
        progress: of the `fit` that is under way.
    """

    progress: Progress

    def __init__(self, describe: Callable[[str], Callable], eagerly: Callable[[], bool], guard: Callable,
                 on_host: Callable[[Any], Any], answer_on_host: Callable[[Any], Any], name: Callable[[], str]):
        self._describe, self._eagerly, self._guard = describe, eagerly, guard
        self._on_host, self._answer_on_host = on_host, answer_on_host
        self.exclusive = Exclusive(name)
        self.forget()

    def forget(self) -> None:
        """Drops all programs and what they were fed with."""
        self.writing = Gate()  # closed while a training step runs: predictions of other threads see whole updates
        self._functions: dict[str, Any] = {}
        self._runners: dict[str, ArrayRunner] = {}
        # Predictions for an array like the one before, the short way; gives None where that does not apply.
        self.replay: Replay | Callable[[Any], None] = _no_replay
        self.last_batch: tuple | None = None  # (data, rows or None) that `fit` trained on last

    def function(self, kind: str):
        """The recorded (or eager) function `(x, y, sample_weight) -> result` of a step."""
        if kind not in self._functions:
            batch = _drop_missing(self._describe(kind))

            def graph_free(*data):
                with no_grad():
                    return batch(*data)

            run = batch if kind == "train" else graph_free
            guard = self._guard if kind == "train" else contextlib.nullcontext
            if self._eagerly():
                def guarded(*data):
                    with guard():
                        return run(*data)

                made: Callable = guarded
            else:
                made = RecordedFunction(run, name=f"{kind}_step", guard=guard,
                                        gate=self.writing if kind == "predict" else None)
            return self._functions.setdefault(kind, made)  # another thread may have made one
        return self._functions[kind]

    def call(self, kind: str, data, use: Callable[[Any], Any]):
        """`use(results)` of one step on a batch of arrays: a structure of NumPy arrays that belong to the call until
        `use` returns."""
        function = self.function(kind)
        if isinstance(function, RecordedFunction):
            x = self._on_host(data[0])
            if x is not data[0] and kind == "predict":
                answer = self._answer_on_host(x)
                if answer is not None:
                    return use(tree.map_structure(_to_numpy, answer))
            return function.run((x, *data[1:]), lambda outputs: use(tree.map_structure(_to_numpy, outputs)))
        tensors = tree.map_structure(
            lambda a: from_numpy(a) if isinstance(a, np.ndarray) and not holds_strings(a) else a, tuple(data))
        return use(tree.map_structure(_to_numpy, function(*tensors)))

    @property
    def reading(self):
        """Context of a call that reads the model's variables: training of other threads waits for it, and it for
        them."""
        return self.writing.reading

    def runner(self, kind: str, data: ArrayData) -> ArrayRunner:
        """Runs a step over the rows of `data`."""
        runner = self._runners.get(kind)
        function = self.function(kind)
        if runner is None or runner.function is not function or not runner.reads(data):
            self._runners[kind] = runner = ArrayRunner(function, data)
        return runner

    def remember(self, x) -> None:
        """Makes the short way for arrays like `x`, which `call("predict")` has just seen."""
        function = self.function("predict")
        if isinstance(function, RecordedFunction):
            self.replay = Replay.of(function, (x, None, None)) or _no_replay


def _no_replay(x) -> None:
    return None


@contextlib.contextmanager
def restoring(variables):
    """Context of a step that may fail half-way (wrong shapes, labels out of range, Ctrl-C): then the variables are as
    before."""
    before = [(v, v.data.copy()) for v in variables]
    try:
        yield
    except BaseException:
        for v, value in before:
            np.copyto(v.data, value)
        raise


def _drop_missing(step):
    """`step` on (x, y, sample_weight) with trailing None left out, as users unpack them: (x, y), or x by itself."""

    def call(x, y, sample_weight):
        if sample_weight is not None:
            return step((x, y, sample_weight))
        if y is not None:
            return step((x, y))
        return step((x,) if isinstance(x, (list, tuple)) else x)

    return call


def _to_numpy(value):
    return value.data if isinstance(value, Tensor) else value
