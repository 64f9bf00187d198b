"""Differentiable functions under the names of `keras.ops`; forward and gradient stand side by side.

Every module of this package lists its public ops in `__all__`; they are gathered here, but for those of `ops.image`,
which Keras keeps apart too.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what is gathered below, for type checkers, which do not run it; tests/test_exports.py compares
    from pydl.ops import image as image
    from pydl.ops import linalg as linalg
    from pydl.ops import nn as nn
    from pydl.ops import numpy as numpy
    from pydl.ops.activation import *
    from pydl.ops.attention import *
    from pydl.ops.control import *
    from pydl.ops.convolution import *
    from pydl.ops.core import *
    from pydl.ops.creation import *
    from pydl.ops.crossentropy import *
    from pydl.ops.depthwise import *
    from pydl.ops.derived import *
    from pydl.ops.elementwise import *
    from pydl.ops.fourier import *
    from pydl.ops.indexing import *
    from pydl.ops.linalg import *
    from pydl.ops.normalization import *
    from pydl.ops.optimizer import *
    from pydl.ops.pooling import *
    from pydl.ops.recurrent import *
    from pydl.ops.reduction import *
    from pydl.ops.shape import *
    from pydl.ops.softmax import *
    from pydl.ops.sorting import *
else:
    from pydl.exports import gather as _gather

    _names = _gather(__name__, __path__, wanted=lambda file, _: file != "image")
    globals().update(_names)
    __all__ = [*_names]
