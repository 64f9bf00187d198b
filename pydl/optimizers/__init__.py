"""Optimizers and learning-rate schedules under Keras 3's names; every method is one fused kernel over all variables."""

from pydl import configs, exports, registry
from pydl.ops.optimizer import ewma as ewma  # so an import is public to a type checker, too
from pydl.optimizers import schedules as schedules
from pydl.optimizers.adadelta import *
from pydl.optimizers.adagrad import *
from pydl.optimizers.adam import *
from pydl.optimizers.adamax import *
from pydl.optimizers.adamw import *
from pydl.optimizers.base import *
from pydl.optimizers.base import Optimizer
from pydl.optimizers.ftrl import *
from pydl.optimizers.lion import *
from pydl.optimizers.nadam import *
from pydl.optimizers.rmsprop import *
from pydl.optimizers.sgd import *

__all__ = [*exports.public(globals()), "deserialize", "get", "schedules", "serialize"]

_METHODS = {name.lower(): value for name, value in globals().items()
            if isinstance(value, type) and issubclass(value, Optimizer) and value is not Optimizer}


def serialize(optimizer) -> dict:
    """The plain form of an optimizer: its class and config, without its state."""
    return registry.serialize_keras_object(optimizer)


def deserialize(config: dict, custom_objects=None) -> Optimizer:
    """The inverse of `serialize`; the case of a built-in class name does not matter."""
    with configs.inside(config), registry.CustomObjectScope(custom_objects):
        name = config["class_name"]
        custom = registry.get_registered_object(config.get("registered_name") or name, custom_objects)
        if custom is None and name.lower() in _METHODS:
            return registry.make(_METHODS[name.lower()], config["config"])
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
