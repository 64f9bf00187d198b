"""Metrics: numbers accumulated over batches, and the per-sample functions some of them average."""

from __future__ import annotations

import functools
import typing

from pydl import exports, lookup, registry
from pydl.metrics.accuracy import *
from pydl.metrics.auc import *
from pydl.metrics.base import *
from pydl.metrics.base import Metric
from pydl.metrics.confusion import *
from pydl.metrics.f_score import *
from pydl.metrics.iou import *
from pydl.metrics.probabilistic import *
from pydl.metrics.reductions import *
from pydl.metrics.regression import *
from pydl.ops._losses import FUNCTIONS as _FUNCTIONS

if typing.TYPE_CHECKING:  # the functions are gathered at run time, where a type checker does not see them

    def __getattr__(name: str) -> typing.Any: ...


globals().update(_FUNCTIONS)  # losses per sample are public here too, as in Keras
__all__ = [*exports.public(globals()), "deserialize", "get", "serialize"]

_CLASSES = {name: value for name, value in globals().items() if isinstance(value, type) and issubclass(value, Metric)}
_ALIASES = {"bce": "BinaryCrossentropy", "mse": "MeanSquaredError", "mae": "MeanAbsoluteError",
            "mape": "MeanAbsolutePercentageError", "msle": "MeanSquaredLogarithmicError"}
for _cls in _CLASSES.values():
    registry.builtin("keras.metrics")(_cls)


@functools.cache
def _objects() -> dict[str, typing.Any]:
    """What `get` knows, by name. Made at its first call: the names in snake case cost more than the classes."""
    return {**_CLASSES, **{registry.to_snake_case(name): cls for name, cls in _CLASSES.items()},
            **{spelt: _CLASSES[name] for alias, name in _ALIASES.items() for spelt in (alias, alias.upper())}}


def get(identifier):
    """The metric of a name ("mse", "AUC"), a config dict, a class or a callable; None gives None.

    Raises:
        ValueError: when nothing of that name is known.
    """
    return lookup.find(identifier, _objects(), "metric")


def serialize(metric):
    """The config dict of a metric."""
    return registry.serialize_keras_object(metric)


def deserialize(config, custom_objects=None):
    """The metric of a config dict or a name."""
    return lookup.deserialize(config, _objects(), "metric", custom_objects)
