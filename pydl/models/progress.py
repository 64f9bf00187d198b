"""Progress: where a `fit` stands, and what belongs to that."""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl import tree
from pydl.data.adapters import ArrayData, BatchData
from pydl.tensor import Variable

_NO_ROWS = np.zeros(0, np.int32)


class Progress:
    """Where a pass over data stands.

    Args:
        epoch: the first one.
        data: `ArrayData` or `BatchData`.
        batch_size: rows of a batch of arrays.
        callbacks: `CallbackList` or None.
        validation: data that are asked after each epoch, or None.

    Attributes:
        epoch: number of the epoch that is under way, or comes next.
        batch: how many of its batches are done.
        logs: of the last batch, or of the last epoch.
        rows: rows of arrays in the order of this epoch; those of done batches too.
        rest: rows that follow in the next epochs, where `steps_per_epoch` is less than all.
    """

    def __init__(self, epoch: int, data, batch_size: int, callbacks, validation=None):
        self.epoch, self.data, self.batch_size, self.callbacks = epoch, data, batch_size, callbacks
        self.validation = validation
        self.batch = 0
        self.logs: dict[str, Any] = {}
        self.rows = self.rest = _NO_ROWS
        self._metrics: list[np.ndarray] = []  # values for variables that the model may not have yet

    def begin_rows(self, count: int, shuffle) -> np.ndarray:
        """The `count` rows of an epoch that begins, in their order; those of one that is under way as they are."""
        if not self.batch:
            if len(self.rest) == 0:  # otherwise fewer steps than an epoch has: go on where the last one stopped
                rows = self.data.rows
                self.rest = np.random.permutation(rows) if shuffle else np.arange(rows)
            self.rows, self.rest = self.rest[:count], self.rest[count:]
        return self.rows

    def some_inputs(self):
        """Inputs of some batch, which still comes."""
        if isinstance(self.data, ArrayData):
            return self.data.take(slice(0, self.batch_size))[0]
        return self.data.sample()[0]

    def end_epoch(self, logs: dict) -> None:
        """The epoch is done, and `logs` came of it."""
        self.epoch, self.batch, self.logs, self.rows = self.epoch + 1, 0, logs, _NO_ROWS

    # ---- to go on elsewhere ------------------------------------------------------------------------------------------

    def get_state(self, model) -> dict:
        """Plain values and arrays from which `set_state` goes on: this, the data, the callbacks, and variables of the
        model that are none of its weights."""
        from pydl.saving.structures import plain_items

        arrays = isinstance(self.data, ArrayData)
        return {"epoch": self.epoch, "batch": self.batch, "batch_size": self.batch_size, "logs": plain_items(self.logs),
                "rows": self.rows, "rest": self.rest, "length": self.data.rows if arrays else None,
                "data": _state_of(self.data), "validation": _state_of(self.validation),
                "callbacks": self.callbacks.get_state(),
                "metrics": [v.numpy() for v in model.metrics_variables] if self.batch else [],
                "states": [v.numpy() for v in _layer_states(model)]}

    def set_state(self, model, state: dict) -> None:
        """Goes to where `get_state` was asked.

        Raises:
            ValueError: in the middle of an epoch, for other data or another size of batches.
        """
        arrays = isinstance(self.data, ArrayData)
        mine = (self.data.rows if arrays else None), self.batch_size
        if (state["batch"] or len(state["rest"])) and mine != (state["length"], state["batch_size"]):
            raise ValueError(f"the training stands in the middle of a pass over {state['length']} rows in batches of"
                             f" {state['batch_size']}; received {mine[0]} rows, in batches of {mine[1]}.")
        self.epoch, self.batch, self.logs = state["epoch"], state["batch"], state["logs"]
        self.rows, self.rest, self._metrics = state["rows"], state["rest"], state["metrics"]
        for name, data in (("data", self.data), ("validation", self.validation)):
            if isinstance(data, BatchData) and state[name] is not None:
                data.set_state(state[name])
        self.callbacks.set_state(state["callbacks"])
        for variable, value in zip(_layer_states(model), state["states"]):
            variable.assign(value)
        if self.fits(model):
            for variable, value in zip(model.metrics_variables, self._metrics):
                variable.assign(value)

    def fits(self, model) -> bool:
        """Whether the model has the variables of metrics that `set_state` was given values for."""
        return not self._metrics or [v.shape for v in model.metrics_variables] == [a.shape for a in self._metrics]


def _state_of(data) -> dict | None:
    """Where batches stand; arrays have no place of their own."""
    return data.get_state() if isinstance(data, BatchData) else None


def _layer_states(model) -> list[Variable]:
    """What stateful layers carry from batch to batch."""
    return [v for layer in model._flatten_layers() for v in tree.flatten(getattr(layer, "states", None))
            if isinstance(v, Variable)]
