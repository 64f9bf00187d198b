"""The names of `keras.ops.nn`: activations, softmax, convolution, pooling, losses, normalisation, encodings."""

from pydl.ops import activation, attention, convolution, crossentropy, depthwise, normalization, pooling, softmax
from pydl.ops.indexing import multi_hot, one_hot
from pydl.ops.reduction import moments

__all__ = ["moments", "multi_hot", "one_hot"]

for _family in (activation, attention, convolution, crossentropy, depthwise, normalization, pooling, softmax):
    for _name in _family.__all__:
        globals()[_name] = getattr(_family, _name)
        __all__ += [_name]
