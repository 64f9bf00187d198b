"""Layers under Keras's names. Every module of this package lists its public layers in `__all__`."""

from typing import TYPE_CHECKING, Any

from pydl.exports import gather as _gather
from pydl.registry import deserialize_keras_object as _deserialize
from pydl.registry import serialize_keras_object as _serialize

if TYPE_CHECKING:  # the names are gathered at run time, where a type checker does not see them

    def __getattr__(name: str) -> Any: ...


_names = _gather(__name__, __path__)
globals().update(_names)
__all__ = [*_names, "deserialize", "serialize"]


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
