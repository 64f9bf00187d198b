"""`HyperParameters`: the space that is searched, and the values of one trial."""

from __future__ import annotations

import contextlib
import copy

from pydl.configs import checked, inside
from pydl.tuner.engine.kinds import KINDS, Boolean, Choice, Fixed, Float, HyperParameter, Int, Parent

__all__ = ["Boolean", "Choice", "Fixed", "Float", "HyperParameter", "HyperParameters", "Int", "deserialize",
           "serialize"]


def serialize(hp: HyperParameter) -> dict:
    """{"class_name": ..., "config": ...} of a hyperparameter."""
    return {"class_name": type(hp).__name__, "config": hp.get_config()}


def deserialize(config: dict) -> HyperParameter:
    """The hyperparameter that `serialize` described. Raises ValueError for a config of something else."""
    with inside(config):
        if config["class_name"] not in KINDS:
            raise ValueError(f"expected one of {', '.join(KINDS)}; received {config['class_name']!r}.")
        return KINDS[config["class_name"]].from_config(config["config"])


class HyperParameters:
    """A search space and current values in it.

    `Int`, `Float`, `Choice`, `Boolean` and `Fixed` declare a hyperparameter when they meet its name for the first time,
    and return its value in this trial: None where its conditions do not hold. The value of a hyperparameter that is
    new is its default; the search tries others from the next trial on.

    All take `parent_name` and `parent_values`: the hyperparameter then exists only where the one of that name has one
    of those values.

    Attributes:
        space: list of `HyperParameter`, parents before their children.
        values: dict name -> value of those that are active.
    """

    def __init__(self):
        self.space: list[HyperParameter] = []
        self.values: dict = {}
        self.active_scopes: list[list[Parent]] = []  # conditional scopes that were entered, by whether they held
        self.inactive_scopes: list[list[Parent]] = []
        self._by_name: dict[str, list[HyperParameter]] = {}
        self._name_scopes: list[str] = []
        self._conditions: list[Parent] = []

    # ---- scopes ------------------------------------------------------------------------------------------------------

    def _full_name(self, name) -> str:
        return "/".join([*self._name_scopes, str(name)])

    @contextlib.contextmanager
    def name_scope(self, name):
        """Names declared inside begin with "name/"."""
        self._name_scopes.append(name)
        try:
            yield
        finally:
            self._name_scopes.pop()

    @contextlib.contextmanager
    def conditional_scope(self, parent_name, parent_values):
        """Hyperparameters declared inside have a value only where `parent_name` has one of `parent_values`.

        The Python code inside runs always; hyperparameters return None where the condition does not hold.

        Raises:
            ValueError: if there is no hyperparameter `parent_name` in the scope around.
        """
        parent_name = self._full_name(parent_name)
        if not self._exists(parent_name, self._conditions):
            raise ValueError(f"The hyperparameter {parent_name!r} of a conditional scope is not defined. Defined: "
                             f"{sorted(self._by_name)}.")
        self._conditions.append(Parent(parent_name, parent_values))
        held = self._conditions[-1].is_active(self.values)
        (self.active_scopes if held else self.inactive_scopes).append(copy.deepcopy(self._conditions))
        try:
            yield
        finally:
            self._conditions.pop()

    def is_active(self, hyperparameter) -> bool:
        """Whether the conditions of a hyperparameter (a `HyperParameter`, or any of that name) hold."""
        hps = [hyperparameter] if isinstance(hyperparameter, HyperParameter) else (
            self._by_name.get(str(hyperparameter), []))
        return any(all(c.is_active(self.values) for c in hp.conditions) for hp in hps)

    # ---- declaring ---------------------------------------------------------------------------------------------------

    def _exists(self, name, conditions) -> bool:
        return any(hp.conditions == conditions for hp in self._by_name.get(name, ()))

    def _add(self, hp: HyperParameter, overwrite=False):
        """Adds a copy. Returns the value, None when it is not active."""
        self._by_name.setdefault(hp.name, []).append(copy.deepcopy(hp))
        self.space.append(self._by_name[hp.name][-1])
        if not self.is_active(hp):
            return None
        if overwrite or hp.name not in self.values:
            self.values[hp.name] = hp.default
        return self.values[hp.name]

    def _declare(self, kind, name, parent_name, parent_values, **options):
        scope = self.conditional_scope(parent_name, parent_values) if parent_name else contextlib.nullcontext()
        with scope:
            hp = kind(name=self._full_name(name), conditions=self._conditions, **options)
            if any(c.name == hp.name for c in self._conditions):
                raise ValueError(f"A conditional hyperparameter cannot have the name of its parent, {hp.name!r}.")
            if self._exists(hp.name, hp.conditions):
                # The record of a trial may lack a value: the default then, as of what is new.
                return self.values.setdefault(hp.name, hp.default) if self.is_active(hp) else None
            return self._add(hp)

    def Int(self, name, min_value, max_value, step=None, sampling="linear", default=None, parent_name=None,
            parent_values=None):
        """An integer.

        Args:
            name: its name, one for each hyperparameter of the space.
            min_value, max_value: the ends of its range, both included.
            step: distance between values, with sampling "log" and "reverse_log" a factor: min_value=2, max_value=32,
                step=2, sampling="log" are 2, 4, 8, 16, 32.
            sampling: where random values are dense. "linear" nowhere, "log" at the lower end (equally many between 1
                and 10 as between 10 and 100), "reverse_log" at the upper end.
            default: value before anything was tried; `min_value`.
            parent_name, parent_values: see the class.
        """
        return self._declare(Int, name, parent_name, parent_values, min_value=min_value, max_value=max_value,
                             step=step, sampling=sampling, default=default)

    def Float(self, name, min_value, max_value, step=None, sampling="linear", default=None, parent_name=None,
              parent_values=None):
        """A float; arguments as for `Int`. Without `step` any number of the range."""
        return self._declare(Float, name, parent_name, parent_values, min_value=min_value, max_value=max_value,
                             step=step, sampling=sampling, default=default)

    def Choice(self, name, values, ordered=None, default=None, parent_name=None, parent_values=None):
        """One of a list of int, float, str or bool, all of one type.

        Args:
            name: its name.
            values: the list.
            ordered: whether neighbours are alike, which Bayesian optimization makes use of. True for numbers, must be
                False for others.
            default: value before anything was tried; the first.
            parent_name, parent_values: see the class.
        """
        return self._declare(Choice, name, parent_name, parent_values, values=values, ordered=ordered,
                             default=default)

    def Boolean(self, name, default=False, parent_name=None, parent_values=None):
        """True or False."""
        return self._declare(Boolean, name, parent_name, parent_values, default=default)

    def Fixed(self, name, value, parent_name=None, parent_values=None):
        """A value that is not tuned; declared before the model is built, it takes the place of a tuned one."""
        return self._declare(Fixed, name, parent_name, parent_values, value=value)

    # ---- values ------------------------------------------------------------------------------------------------------

    def get(self, name):
        """The value of a hyperparameter.

        Raises:
            KeyError: if there is none of that name.
            ValueError: if its conditions do not hold.
        """
        name = self._full_name(name)
        if name in self.values:
            return self.values[name]
        if name in self._by_name:
            raise ValueError(f"The hyperparameter {name!r} is inactive with the values {self.values}.")
        raise KeyError(f"There is no hyperparameter {name!r}. Defined: {sorted(self._by_name)}.")

    def __getitem__(self, name):
        return self.get(name)

    def __contains__(self, name):
        return self._full_name(name) in self.values

    def ensure_active_values(self) -> None:
        """Gives what is active and has no value its default."""
        for hp in self.space:
            if hp.name not in self.values and self.is_active(hp):
                self.values[hp.name] = hp.default

    def allows(self, values) -> bool:
        """Whether those of `values` that are active here are among the values they may have."""
        return all(hp.name not in values or hp.allows(values[hp.name]) for hp in self.space
                   if all(c.is_active(values) for c in hp.conditions))

    def merge(self, hps, overwrite=True) -> None:
        """Adds those of `hps` (a HyperParameters or a list of HyperParameter) that are not there.

        Args:
            hps: what to add.
            overwrite: whether what is added takes its default in place of a value of that name.
        """
        for hp in hps.space if isinstance(hps, HyperParameters) else hps:
            if not self._exists(hp.name, hp.conditions):
                self._add(hp, overwrite)

    def copy(self) -> HyperParameters:
        """An independent copy of space and values."""
        return HyperParameters.from_config(self.get_config())

    def get_config(self) -> dict:
        """A dict for JSON, in Keras Tuner's form."""
        return {"space": [serialize(hp) for hp in self.space], "values": dict(self.values)}

    @classmethod
    @checked
    def from_config(cls, config) -> HyperParameters:
        """The inverse of `get_config`."""
        hps = cls()
        for entry in config["space"]:
            hp = deserialize(entry)
            hps._by_name.setdefault(hp.name, []).append(hp)
            hps.space.append(hp)
        hps.values = dict(config["values"])
        return hps
