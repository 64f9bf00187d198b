"""The names of `keras.backend`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from pydl import dtypes, registry
from pydl.config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from pydl.ops._common import result_dtype
from pydl.symbolic import KerasTensor
from pydl.tensor import Tensor, Variable, standardize_dtype

__all__ = [
    "KerasTensor", "Variable", "backend", "clear_session", "epsilon", "floatx", "get_uid", "image_data_format",
    "is_float_dtype", "is_int_dtype", "is_keras_tensor", "is_tensor", "result_type", "set_epsilon", "set_floatx",
    "set_image_data_format", "standardize_dtype",
]
_uids: dict[str, Iterator[int]] = {}


def is_float_dtype(dtype) -> bool:
    """Whether the dtype is a float type."""
    return dtypes.is_float_dtype(standardize_dtype(dtype))


def is_int_dtype(dtype) -> bool:
    """Whether the dtype is an integer type, with or without sign; bool is none."""
    return dtypes.is_integer_dtype(standardize_dtype(dtype))


def is_keras_tensor(x) -> bool:
    """Whether `x` is symbolic."""
    return isinstance(x, KerasTensor)


def is_tensor(x) -> bool:
    """Whether `x` is a tensor with values."""
    return isinstance(x, Tensor)


def result_type(*dtypes) -> str:
    """The dtype that operands of these dtypes give together; `int` and `float` count as Python numbers."""
    if not dtypes:
        raise ValueError("Invalid `dtypes`. At least one dtype is required. Received: dtypes=()")
    weak = {int: 0, float: 0.0, bool: False}
    return result_dtype(*(weak[d] if isinstance(d, type) and d in weak else _WithDtype(d) for d in dtypes))


class _WithDtype:
    def __init__(self, dtype):
        self.dtype = standardize_dtype(dtype)


def get_uid(prefix: str = "") -> int:
    """How often this prefix has been asked for, this time included."""
    return next(_uids.setdefault(prefix, itertools.count(1)))


def clear_session(free_memory: bool = True) -> None:
    """Forgets automatic names. Memory needs no clearing: what nobody refers to is freed."""
    _uids.clear()
    registry.reset_names()
