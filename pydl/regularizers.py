"""Penalties on weights (and activities) that are added to the loss; names, defaults and configs of Keras 3."""

from __future__ import annotations

import math

from pydl import lookup, ops, registry
from pydl.ops.reduction import vector_norm
from pydl.watch import Owner

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]


@registry.builtin("keras.regularizers")
class Regularizer(Owner):
    """Base: a callable on a variable that gives a scalar, with `get_config`."""

    def __call__(self, x):
        return 0.0

    @classmethod
    def from_config(cls, config):
        return cls(**config)

    def get_config(self) -> dict:
        raise NotImplementedError(f"{self} does not implement get_config()")


def _factor(value, name: str, default: float) -> float:
    """A finite, non-negative number. Raises ValueError for anything else."""
    if value is None:
        return default
    if not isinstance(value, (float, int)) or not math.isfinite(value) or value < 0:
        raise ValueError(f"Invalid value for argument {name}: expected a non-negative float. Received: {name}={value}")
    return float(value)


@registry.builtin("keras.regularizers")
class L1L2(Regularizer):
    """l1 * sum(|x|) + l2 * sum(x^2).

    Args:
        l1, l2: factors >= 0.
    """

    def __init__(self, l1=0.0, l2=0.0):
        self.l1 = _factor(l1, "l1", 0.0)
        self.l2 = _factor(l2, "l2", 0.0)

    def __call__(self, x):
        return ops.l1_l2_penalty(x, l1=self.l1, l2=self.l2)

    def get_config(self):
        return {"l1": self.l1, "l2": self.l2}


@registry.builtin("keras.regularizers")
class L1(Regularizer):
    """l1 * sum(|x|): drives weights to exactly 0.

    Args:
        l1: factor >= 0.
    """

    def __init__(self, l1=0.01):
        self.l1 = _factor(l1, "l1", 0.01)

    def __call__(self, x):
        return ops.l1_l2_penalty(x, l1=self.l1)

    def get_config(self):
        return {"l1": self.l1}


@registry.builtin("keras.regularizers")
class L2(Regularizer):
    """l2 * sum(x^2): keeps weights small.

    Args:
        l2: factor >= 0.
    """

    def __init__(self, l2=0.01):
        self.l2 = _factor(l2, "l2", 0.01)

    def __call__(self, x):
        return ops.l1_l2_penalty(x, l2=self.l2)

    def get_config(self):
        return {"l2": self.l2}


@registry.builtin("keras.regularizers")
class OrthogonalRegularizer(Regularizer):
    """factor * the mean |cosine| between different rows (or columns) of a matrix.

    Args:
        factor: >= 0.
        mode: "rows" or "columns".
    """

    def __init__(self, factor=0.01, mode="rows"):
        self.factor = _factor(factor, "factor", 0.01)
        if mode not in ("rows", "columns"):
            raise ValueError('Invalid value for argument `mode`. Expected one of {"rows", "columns"}. Received:'
                             f" mode={mode}")
        self.mode = mode

    def __call__(self, x):
        if len(x.shape) != 2:
            raise ValueError(f"Inputs to OrthogonalRegularizer must have rank 2. Received: inputs.shape={x.shape}")
        if self.mode == "columns":
            x = ops.transpose(x)
        size = x.shape[0]
        unit = x / ops.maximum(vector_norm(x, axis=1), 1e-6)
        cosines = ops.matmul(unit, ops.transpose(unit)) * (1.0 - ops.eye(size, dtype=x.dtype))
        return ops.sum(ops.absolute(cosines)) * (self.factor / max(size * (size - 1), 1))  # 0 without pairs

    def get_config(self):
        return {"factor": self.factor, "mode": self.mode}


l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer

_OBJECTS = {name: value for name, value in globals().items() if name in __all__ and isinstance(value, type)}
_OBJECTS["l1l2"] = L1L2


def serialize(regularizer) -> dict:
    """The plain form of a regularizer."""
    return registry.serialize_keras_object(regularizer)


def deserialize(config, custom_objects=None):
    """The inverse of `serialize`."""
    return lookup.deserialize(config, _OBJECTS, "regularizer", custom_objects)


def get(identifier):
    """The regularizer of a name ("l1", "l2", "l1_l2", ...), a config, a class, or a callable; None for None."""
    return lookup.find(identifier, _OBJECTS, "regularizer")
