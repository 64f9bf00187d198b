"""Constraints: what the optimizer does to a variable after each update; names, defaults and configs of Keras 3."""

from __future__ import annotations

from pydl import config, lookup, ops, registry
from pydl.ops.reduction import vector_norm
from pydl.watch import Owner

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]


@registry.builtin("keras.constraints")
class Constraint(Owner):
    """Base: a callable on a variable that gives the values to put there, with `get_config`."""

    def __call__(self, w):
        return w

    def get_config(self) -> dict:
        return {}

    @classmethod
    def from_config(cls, config):
        return cls(**config)




@registry.builtin("keras.constraints")
class MaxNorm(Constraint):
    """Shrinks vectors whose norm is above a limit.

    Args:
        max_value: the limit.
        axis: axis or axes along which the norms are taken: 0 for a Dense kernel (inputs, units), (0, 1, 2) for a
            Conv2D kernel (height, width, inputs, filters).
    """

    def __init__(self, max_value=2, axis=0):
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w):
        norms = vector_norm(w, axis=self.axis)
        return w * (ops.clip(norms, 0.0, float(self.max_value)) / (norms + config.epsilon()))

    def get_config(self):
        return {"max_value": self.max_value, "axis": self.axis}


@registry.builtin("keras.constraints")
class NonNeg(Constraint):
    """Sets negative values to 0."""

    def __call__(self, w):
        return ops.maximum(w, 0.0)


@registry.builtin("keras.constraints")
class UnitNorm(Constraint):
    """Scales vectors to norm 1.

    Args:
        axis: as `MaxNorm`.
    """

    def __init__(self, axis=0):
        self.axis = axis

    def __call__(self, w):
        return w / (vector_norm(w, axis=self.axis) + config.epsilon())

    def get_config(self):
        return {"axis": self.axis}


@registry.builtin("keras.constraints")
class MinMaxNorm(Constraint):
    """Moves norms into [min_value, max_value].

    Args:
        min_value, max_value: the limits.
        rate: the part of the way that is gone in one step, 0 to 1.
        axis: as `MaxNorm`.
    """

    def __init__(self, min_value=0.0, max_value=1.0, rate=1.0, axis=0):
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w):
        norms = vector_norm(w, axis=self.axis)
        wanted = ops.clip(norms, float(self.min_value), float(self.max_value))
        wanted = wanted * float(self.rate) + norms * (1.0 - self.rate)
        return w * (wanted / (norms + config.epsilon()))

    def get_config(self):
        return {"min_value": self.min_value, "max_value": self.max_value, "rate": self.rate, "axis": self.axis}


max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm

_OBJECTS = {name: value for name, value in globals().items() if name in __all__ and isinstance(value, type)}


def serialize(constraint) -> dict:
    """The plain form of a constraint."""
    return registry.serialize_keras_object(constraint)


def deserialize(config, custom_objects=None):
    """The inverse of `serialize`."""
    return lookup.deserialize(config, _OBJECTS, "constraint", custom_objects)


def get(identifier):
    """The constraint of a name ("non_neg", "UnitNorm", ...), a config, a class, or a callable; None for None."""
    return lookup.find(identifier, _OBJECTS, "constraint")
