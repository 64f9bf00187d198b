"""Optimizers and learning-rate schedules under Keras 3's names; every method is one fused kernel over all variables."""

from pydl import registry
from pydl.ops.optimizer import ewma
from pydl.optimizers import schedules
from pydl.optimizers.adadelta import Adadelta
from pydl.optimizers.adagrad import Adagrad
from pydl.optimizers.adam import Adam
from pydl.optimizers.adamax import Adamax
from pydl.optimizers.adamw import AdamW
from pydl.optimizers.base import Optimizer
from pydl.optimizers.ftrl import Ftrl
from pydl.optimizers.lion import Lion
from pydl.optimizers.nadam import Nadam
from pydl.optimizers.rmsprop import RMSprop
from pydl.optimizers.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "ewma",
    "get",
    "schedules",
    "serialize",
]

_METHODS = {name.lower(): globals()[name] for name in __all__
            if isinstance(globals().get(name), type) and name != "Optimizer"}


def serialize(optimizer) -> dict:
    """The plain form of an optimizer: its class and config, without its state."""
    return registry.serialize_keras_object(optimizer)


def deserialize(config: dict, custom_objects=None) -> Optimizer:
    """The inverse of `serialize`; the case of a built-in class name does not matter."""
    name = config["class_name"]
    custom = registry.get_registered_object(config.get("registered_name") or name, custom_objects)
    if custom is None and name.lower() in _METHODS:
        return _METHODS[name.lower()].from_config(config["config"], custom_objects)
    return registry.deserialize_keras_object(config, custom_objects)


def get(identifier) -> Optimizer | None:
    """The optimizer of a name ("adam", any case), a dict that `serialize` gave, or an optimizer; None for None.

    Raises:
        ValueError: for anything else.
    """
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        found = deserialize(identifier)
    elif isinstance(identifier, str):
        known = _METHODS.get(identifier.lower()) or registry.get_registered_object(identifier)
        found = known() if isinstance(known, type) else known
    else:
        found = identifier
    if isinstance(found, Optimizer):
        return found
    raise ValueError(f"Could not interpret optimizer identifier: {identifier!r}. Expected an Optimizer or one of"
                     f" {', '.join(sorted(_METHODS))}.")
