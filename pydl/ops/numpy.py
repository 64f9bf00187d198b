"""The names of `keras.ops.numpy`: what NumPy has too."""

from pydl.ops import creation, derived, elementwise, indexing, linalg, reduction, shape, sorting
from pydl.ops.activation import tanh

__all__ = ["tanh"]

for _family in (creation, derived, elementwise, indexing, linalg, reduction, shape, sorting):
    for _name in _family.__all__:
        globals()[_name] = getattr(_family, _name)
        __all__ += [_name]
