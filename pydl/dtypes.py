"""The element types: what C++ tells of those that kernels know (csrc/types.def), and the other names of NumPy, Keras.

A dtype is a row of csrc/types.def; a name that no kernel knows is a row of `_OTHERS`. No other file lists dtypes: it
asks here what a name or an array is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pydl import _core

# Names without kernels of their own: what stores their values. bool alone stays itself; its bytes are uint8's.
_OTHERS = {"bool": "bool", "int8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64", "uint64": "int64"}

_ROWS = {name: (kind, rows) for name, kind, _, rows, _ in _core.dtypes()}

#: name -> what its values are stored as
STORED_AS: dict[str, str] = {**{name: name for name in _ROWS}, **_OTHERS}
#: NumPy dtype -> name
NAMES: dict[np.dtype, str] = {np.dtype(name): name for name in STORED_AS}
#: names of the stored dtypes in the order of promotion: an operation on two gives the later one
PROMOTION = {name: rank for rank, name in enumerate(["bool", *_ROWS])}
#: names of the float types that are stored as such
FLOATS = tuple(name for name, (kind, _) in _ROWS.items() if kind == "f")
#: names of the stored integer types that have arithmetic
INTEGERS = tuple(name for name, (kind, rows) in _ROWS.items() if kind != "f" and rows != "data")

#: name of a stored dtype -> what its values are computed and summed in: itself, or a wider type
COMPUTED_IN: dict[str, str] = {"bool": "bool", **{name: computed for name, *_, computed in _core.dtypes()}}

_ALL_FLOATS = frozenset(name for dtype, name in NAMES.items() if dtype.kind == "f")
_ALL_INTEGERS = frozenset(name for dtype, name in NAMES.items() if dtype.kind in "iu")


def is_float_dtype(dtype: str) -> bool:
    """Whether the name is that of a float type."""
    return dtype in _ALL_FLOATS


def is_integer_dtype(dtype: str) -> bool:
    """Whether the name is that of an integer type, with or without sign; bool is none."""
    return dtype in _ALL_INTEGERS


def is_byte_dtype(dtype: str) -> bool:
    """Whether the stored dtype is a byte without arithmetic of its own: bool or uint8, computed with as int32."""
    return dtype == "bool" or _ROWS[dtype][1] == "data"


def holds_floats(array: Any) -> bool:
    """Whether `array` (NumPy, or anything with a NumPy `dtype`) holds floats."""
    return bool(array.dtype.kind == "f")


def holds_integers(array: Any) -> bool:
    """Whether `array` holds integers, with or without sign; bools are none."""
    return array.dtype.kind in "iu"


def holds_numbers(array: Any) -> bool:
    """Whether `array` holds floats, integers or bools."""
    return array.dtype.kind in "fiub"


def holds_text(array: Any) -> bool:
    """Whether `array` holds str, bytes or Python objects."""
    return array.dtype.kind in "OUS"
