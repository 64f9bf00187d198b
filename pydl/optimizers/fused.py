"""FusedOptimizer: methods whose rule is one kernel over all variables."""

from __future__ import annotations

import numpy as np

from pydl import ops
from pydl.ops import optimizer as launch
from pydl.ops._common import as_tensor
from pydl.optimizers.base import Optimizer

__all__ = ["FusedOptimizer", "constant", "take"]


class FusedOptimizer(Optimizer):
    """Base of methods whose rule is one kernel over all variables."""

    def _begin_step(self, every) -> None:
        """What happens once per step, whatever the number of variables."""

    def _launch(self, update, indices) -> None:
        """Launches the rule. `indices` are the positions of the update's variables in the lists of slots."""
        raise NotImplementedError

    def _run_rule(self, updates, every) -> None:
        self._begin_step(every)
        if type(self).update_step is not FusedOptimizer.update_step:  # a subclass wrote its own
            return super()._run_rule(updates, every)
        for u in updates:
            self._launch(u, [self._get_variable_index(v) for v in u.variables])

    def update_step(self, gradient, variable, learning_rate) -> None:
        rate = as_tensor(learning_rate)
        if rate.dtype != variable.dtype:
            rate = ops.cast(rate, variable.dtype)
        gradient = as_tensor(gradient)
        if gradient.dtype != variable.dtype:
            gradient = ops.cast(gradient, variable.dtype)
        every = self.gradient_accumulation_steps or 1
        self._launch(launch.Update([variable], [gradient], rate, self._iterations, every),
                     [self._get_variable_index(variable)])


def constant(value):
    """An initializer that fills with `value`."""
    return lambda shape, dtype: np.full(shape, value, dtype)


def take(slots, indices):
    """The slots of some variables; all of them empty when the method has none."""
    return [slots[i] for i in indices] if slots else []
