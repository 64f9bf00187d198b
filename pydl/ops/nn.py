"""The names of `keras.ops.nn`: activations, softmax, convolution, pooling, losses, normalisation, encodings."""

from typing import TYPE_CHECKING, Any

from pydl.ops import activation, attention, convolution, crossentropy, depthwise, normalization, pooling, softmax
from pydl.ops.indexing import multi_hot, one_hot
from pydl.ops.reduction import moments

__all__ = ["moments", "multi_hot", "one_hot"]

if TYPE_CHECKING:  # the names are gathered at run time, where a type checker does not see them

    def __getattr__(name: str) -> Any: ...


_families: tuple[Any, ...] = (activation, attention, convolution, crossentropy, depthwise, normalization, pooling,
                              softmax)
for _family in _families:
    for _name in _family.__all__:
        globals()[_name] = getattr(_family, _name)
        __all__ += [_name]
