"""The names of `keras.ops.numpy`: what NumPy has too."""

from typing import TYPE_CHECKING, Any

from pydl.ops import creation, derived, elementwise, indexing, linalg, reduction, shape, sorting
from pydl.ops.activation import tanh

__all__ = ["tanh"]

if TYPE_CHECKING:  # the names are gathered at run time, where a type checker does not see them

    def __getattr__(name: str) -> Any: ...


_families: tuple[Any, ...] = (creation, derived, elementwise, indexing, linalg, reduction, shape, sorting)
for _family in _families:
    for _name in _family.__all__:
        globals()[_name] = getattr(_family, _name)
        __all__ += [_name]
