"""Layers under Keras's names. Every module of this package lists its public layers in `__all__`."""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the names are gathered at run time, where a type checker does not see them

    def __getattr__(name: str) -> Any: ...


from pydl.registry import deserialize_keras_object as _deserialize
from pydl.registry import serialize_keras_object as _serialize

__all__ = ["deserialize", "serialize"]
for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        _loaded = importlib.import_module(f"{__name__}.{_module.name}")
        for _name in getattr(_loaded, "__all__", ()):
            globals()[_name] = getattr(_loaded, _name)
            __all__.append(_name)
del importlib, pkgutil


def serialize(layer) -> dict:
    """The plain form of a layer: class name and config, as in a `.keras` file."""
    return _serialize(layer)


def deserialize(config, custom_objects=None):
    """The layer that `serialize` described.

    Raises:
        ValueError: for an unknown class, or a config of something that is no layer.
    """
    layer = _deserialize(config, custom_objects)
    if not isinstance(layer, Layer):  # noqa: F821  gathered above
        raise ValueError(f"layers.deserialize: expected the config of a layer; received {config!r}.")
    return layer
