"""The kinds of hyperparameters: what values they have, and their place in [0, 1]."""

from __future__ import annotations

import math
import random

import numpy as np

from pydl.configs import checked


class Parent:
    """The condition that the hyperparameter `name` has one of `values` (int, float, str or bool)."""

    def __init__(self, name, values):
        values = [_plain(v) for v in (values if isinstance(values, (list, tuple, set, np.ndarray)) else [values])]
        if not values or not all(isinstance(v, (str, int, float)) for v in values):
            raise TypeError(f"The condition on {name!r} expects values of type int, float, str or bool; received "
                            f"{values}.")
        self.name = name
        self.values = values

    def is_active(self, values) -> bool:
        """Whether it holds for a dict of values."""
        return self.name in values and values[self.name] in self.values

    def __eq__(self, other):
        return isinstance(other, Parent) and (self.name, self.values) == (other.name, other.values)

    __hash__ = None  # type: ignore[assignment]

    def get_config(self) -> dict:
        return {"name": self.name, "values": self.values}


class HyperParameter:
    """Base of all kinds.

    Args:
        name: its name in `HyperParameters.values`.
        default: the value it has before anything was tried.
        conditions: list of `Parent`; it has a value only where all of them hold.
    """

    def __init__(self, name, default=None, conditions=None):
        self.name = name
        self._default = default
        self.conditions = list(conditions) if isinstance(conditions, (list, tuple)) else (
            [conditions] if conditions else [])

    @property
    def default(self):
        return self._default

    @property
    def values(self):
        """The values a grid tries, in order."""
        raise NotImplementedError

    @property
    def size(self) -> int | None:
        """How many values there are; None in a continuous range and in ranges of integers on a logarithmic scale."""
        return len(tuple(self.values))

    def allows(self, value) -> bool:
        """Whether it is one of the values, or in the range."""
        return value in self.values

    def prob_to_value(self, prob):
        """The value at `prob` in [0, 1]: equal distances there are equally likely in a random search."""
        values = tuple(self.values)
        return values[min(int(prob * len(values)), len(values) - 1)]

    def value_to_prob(self, value):
        """The centre of the values' share of [0, 1]; the inverse of `prob_to_value`."""
        values = tuple(self.values)
        return (values.index(value) + 0.5) / len(values)

    def random_sample(self, seed=None):
        """A random value; the same one for the same seed."""
        return self.prob_to_value(random.Random(seed).random())

    def get_config(self) -> dict:
        conditions = [{"class_name": "Parent", "config": c.get_config()} for c in self.conditions]
        return {"name": self.name, "default": self.default, "conditions": conditions}

    @classmethod
    @checked
    def from_config(cls, config):
        conditions = [Parent(**c["config"]) for c in config.get("conditions", ())]
        return cls(**{**config, "conditions": conditions})

    def __repr__(self):
        config = self.get_config()
        config.pop("conditions")
        return f"{type(self).__name__}({', '.join(f'{k}: {v!r}' for k, v in config.items())})"


class Numerical(HyperParameter):
    """A range, see `HyperParameters.Int` and `HyperParameters.Float`."""

    def __init__(self, name, min_value, max_value, step=None, sampling="linear", default=None, **kwargs):
        super().__init__(name, _plain(default), **kwargs)
        self.min_value = min_value
        self.max_value = max_value
        self.step = step
        self.sampling = (sampling or "linear").lower()
        self._check()

    def _check(self) -> None:
        where = f"{type(self).__name__} {self.name!r}"
        if self.sampling not in ("linear", "log", "reverse_log"):
            raise ValueError(f"{where}: expected `sampling` to be 'linear', 'log' or 'reverse_log'; received "
                             f"{self.sampling!r}.")
        if not self.min_value <= self.max_value:
            raise ValueError(f"{where}: min_value {self.min_value} is greater than the max_value {self.max_value}.")
        if self.sampling != "linear" and self.min_value <= 0:
            raise ValueError(f"{where}: sampling={self.sampling!r} does not support negative values or 0; received "
                             f"min_value={self.min_value}.")
        least = 0 if self.sampling == "linear" else 1  # added, or multiplied with
        if self.step is not None and not self.step > least:
            raise ValueError(f"{where}: expected step > {least} with sampling={self.sampling!r}; received "
                             f"step={self.step}.")

    @property
    def default(self):
        return self.min_value if self._default is None else self._default

    @property
    def size(self) -> int | None:
        if self.step is None:
            return None
        if self.sampling == "linear":
            length = (self.max_value - self.min_value) / self.step
        else:
            length = math.log(self.max_value / self.min_value, self.step)
        return int(length + 1e-8) + 1  # ten steps of 0.1 do reach from 0 to 1

    def allows(self, value) -> bool:
        if isinstance(value, str) or not self.min_value <= value <= self.max_value:
            return False
        return self.size is None or any(math.isclose(value, v, rel_tol=1e-9) for v in self.values)

    def at(self, index: int):
        """Value number `index` of a range with steps."""
        if self.sampling == "linear":
            return self.min_value + index * self.step
        value = self.min_value * self.step ** index
        return value if self.sampling == "log" else self.max_value + self.min_value - value

    @property
    def values(self):
        if self.size is None:  # ten of them, evenly spread
            return tuple(sorted({self.prob_to_value(i / 10 + 0.05) for i in range(10)}))
        return tuple(self.at(i) for i in range(self.size))

    def _scaled(self, prob: float, top):
        if self.sampling == "linear":
            return self.min_value + prob * (top - self.min_value)
        if self.sampling == "log":
            return self.min_value * (top / self.min_value) ** prob
        return top + self.min_value - self.min_value * (top / self.min_value) ** (1 - prob)

    def _unscaled(self, value, top) -> float:
        if top == self.min_value:
            return 0.5
        if self.sampling == "linear":
            return (value - self.min_value) / (top - self.min_value)
        if self.sampling == "log":
            return math.log(value / self.min_value, top / self.min_value)
        return 1 - math.log((top + self.min_value - value) / self.min_value, top / self.min_value)

    def value_to_prob(self, value):
        if self.size is None:
            return min(max(self._unscaled(value, self.max_value), 0.0), 1.0)
        distances = [abs(value - v) for v in self.values]
        return (distances.index(min(distances)) + 0.5) / len(distances)

    def get_config(self) -> dict:
        return {**super().get_config(), "min_value": self.min_value, "max_value": self.max_value, "step": self.step,
                "sampling": self.sampling, "default": self._default}


def _plain(value):
    """A scalar of NumPy as one of Python, which JSON knows; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _whole(value, name, argument) -> int:
    if int(value) != value:
        raise ValueError(f"Int {name!r}: {argument} must be an int; received {value} of type {type(value).__name__}.")
    return int(value)


class Int(Numerical):
    """A range of integers, both ends included."""

    def __init__(self, name, min_value, max_value, step=None, sampling="linear", default=None, **kwargs):
        if step is None and (sampling or "linear").lower() == "linear":
            step = 1
        super().__init__(name, _whole(min_value, name, "min_value"), _whole(max_value, name, "max_value"),
                         None if step is None else _whole(step, name, "step"), sampling, default, **kwargs)

    def prob_to_value(self, prob):
        if self.size is not None:
            return super().prob_to_value(prob)
        # On a scale up to max + 1, so that the largest has its share.
        return min(int(self._scaled(prob, self.max_value + 1)), self.max_value)

    def value_to_prob(self, value):
        if self.size is not None:
            return super().value_to_prob(value)
        return min(max(self._unscaled(value + 0.5, self.max_value + 1), 0.0), 1.0)


class Float(Numerical):
    """A range of floats, both ends included."""

    def __init__(self, name, min_value, max_value, step=None, sampling="linear", default=None, **kwargs):
        super().__init__(name, float(min_value), float(max_value), None if step is None else float(step), sampling,
                         default, **kwargs)

    def prob_to_value(self, prob):
        if self.size is not None:
            return super().prob_to_value(prob)
        return min(max(self._scaled(prob, self.max_value), self.min_value), self.max_value)  # within, also rounded

    def get_config(self) -> dict:
        return {**super().get_config(), "default": self.default}


class Choice(HyperParameter):
    """One of a list of values of one type."""

    def __init__(self, name, values, ordered=None, default=None, **kwargs):
        super().__init__(name, _plain(default), **kwargs)
        values = [_plain(v) for v in values]
        kinds = {type(v) for v in values}
        if not values:
            raise ValueError(f"Choice {name!r}: `values` must be provided.")
        if len(kinds) > 1 or not isinstance(values[0], (str, int, float)):
            raise TypeError(f"Choice {name!r}: expected values of one of the types int, float, str, bool; received "
                            f"{values}.")
        if default is not None and default not in values:
            raise ValueError(f"Choice {name!r}: the default value should be one of the choices {values}; received "
                             f"{default!r}.")
        numeric = not isinstance(values[0], (str, bool))
        if ordered and not numeric:
            raise ValueError(f"Choice {name!r}: `ordered` must be False for values that are no numbers: {values}.")
        self._values = values
        self.ordered = numeric if ordered is None else bool(ordered)

    @property
    def values(self):
        return self._values

    @property
    def default(self):
        return self._values[0] if self._default is None else self._default

    def get_config(self) -> dict:
        return {**super().get_config(), "values": self._values, "ordered": self.ordered}


class Boolean(HyperParameter):
    """True or False."""

    def __init__(self, name, default=False, **kwargs):
        default = _plain(default)
        super().__init__(name, default, **kwargs)
        if default not in (True, False):
            raise ValueError(f"Boolean {name!r}: `default` must be a Python boolean; received {default!r}.")

    @property
    def values(self):
        return (False, True)


class Fixed(HyperParameter):
    """A value that is not tuned."""

    def __init__(self, name, value, **kwargs):
        value = _plain(value)
        if not isinstance(value, (str, int, float)):
            raise ValueError(f"Fixed {name!r}: expected an int, float, str or bool; received {value!r}.")
        super().__init__(name, value, **kwargs)
        self.value = value

    @property
    def values(self):
        return (self.value,)

    def get_config(self) -> dict:
        config = super().get_config()
        config["value"] = config.pop("default")
        return config


KINDS = {kind.__name__: kind for kind in (Int, Float, Choice, Boolean, Fixed)}
