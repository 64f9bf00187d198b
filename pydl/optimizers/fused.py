"""FusedOptimizer: methods whose rule is one kernel over all variables."""

from __future__ import annotations

import operator
from typing import NamedTuple

import numpy as np

from pydl import ops
from pydl.dtypes import COMPUTED_IN
from pydl.ops import optimizer as launch
from pydl.ops._common import as_tensor
from pydl.optimizers.base import Optimizer

__all__ = ["FusedOptimizer", "Rule", "Slot", "given"]


class Slot(NamedTuple):
    """A list of state variables, one per trainable variable.

    Attributes:
        attribute: where the optimizer keeps the list.
        name: last part of the variables' names.
        when: a number of the rule; where it is not above 0, the list is empty.
        start: a number of the rule that fills the variables at first; 0 by default.
    """

    attribute: str
    name: str
    when: str | None = None
    start: str | None = None


class Rule:
    """What tells one method from another.

    Args:
        name: its kernel in csrc/kernels/optimizer.h.
        slots: its state, in the kernel's order.
        numbers: its own constructor arguments, in the order of the config; those that no slot starts at are the
            kernel's last arguments.
        flags: those of them that say yes or no.
    """

    def __init__(self, name: str, slots: tuple[Slot, ...], numbers: tuple[str, ...], flags: tuple[str, ...] = ()):
        self.name, self.slots, self.numbers, self.flags = name, slots, numbers, flags
        # Getters made once: an eager step calls both.
        self.lists = _getter([slot.attribute for slot in slots])
        self.attributes = _getter([number for number in numbers if all(number != slot.start for slot in slots)])


class FusedOptimizer(Optimizer):
    """Base of methods whose rule is one kernel over all variables.

    A subclass states its `rule` and, in its constructor, the signature: `super().__init__(**given(locals()))`.
    """

    rule: Rule

    def __init__(self, **arguments):
        numbers = {name: arguments.pop(name) for name in self.rule.numbers}
        super().__init__(**arguments)
        for name, value in numbers.items():
            if name in self.rule.flags:
                value = bool(value)  # kernels refuse None and NumPy's flags
            elif value is None:
                raise ValueError(f"`{name}` must be a number. Received: {name}=None")
            setattr(self, name, value)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        # The order of Keras's files: the slots that always exist variable by variable, then the others one by one.
        always = [s for s in self.rule.slots if s.when is None]
        columns = self.add_optimizer_variables(variables, [s.name for s in always], [self._start(s) for s in always])
        for slot, column in zip(always, columns):
            setattr(self, slot.attribute, column)
        for slot in self.rule.slots:
            if slot.when is not None:
                exists = getattr(self, slot.when) > 0
                setattr(self, slot.attribute, self.add_optimizer_variables(variables, slot.name, self._start(slot))
                        if exists else [])

    def _start(self, slot):
        if slot.start is None:
            return "zeros"
        value = getattr(self, slot.start)
        return lambda shape, dtype: np.full(shape, value, dtype)

    def get_config(self):
        return {**super().get_config(), **{name: getattr(self, name) for name in self.rule.numbers}}

    def _begin_step(self, every) -> None:
        """What happens once per step, whatever the number of variables."""

    def _launch(self, update, indices) -> None:
        """Launches the rule. `indices` are the positions of the update's variables in the lists of slots."""
        update.launch(self.rule.name, self._slots(indices), *self.rule.attributes(self))

    def _slots(self, indices) -> list:
        """The state of some variables, a list per slot; an empty one for a slot that does not exist."""
        return [[variables[i] for i in indices] if variables else [] for variables in self.rule.lists(self)]

    def _run_rule(self, updates, every) -> None:
        self._begin_step(every)
        if type(self).update_step is not FusedOptimizer.update_step:  # a subclass wrote its own
            return super()._run_rule(updates, every)
        for u in updates:
            self._launch(u, [self._get_variable_index(v) for v in u.variables])

    def update_step(self, gradient, variable, learning_rate) -> None:
        rate = ops.cast(as_tensor(learning_rate), COMPUTED_IN[variable.dtype])
        gradient = as_tensor(gradient)
        if gradient.dtype != variable.dtype:
            gradient = ops.cast(gradient, variable.dtype)
        every = self.gradient_accumulation_steps or 1
        self._launch(launch.Update([variable], [gradient], rate, self._iterations, every),
                     [self._get_variable_index(variable)])


def _getter(names):
    """A function from an object to a tuple of its attributes of these names."""
    get = operator.attrgetter(*names)
    return get if len(names) > 1 else lambda owner: (get(owner),)


def given(scope: dict) -> dict:
    """The arguments that a constructor was called with, from its `locals()`; `**kwargs` among them."""
    arguments = {name: value for name, value in scope.items() if name not in ("self", "__class__", "kwargs")}
    return {**arguments, **scope["kwargs"]}
