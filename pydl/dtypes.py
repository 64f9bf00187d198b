"""The element types: what C++ tells of those that kernels know (csrc/types.def), and the other names of NumPy, Keras.

A dtype is a row of csrc/types.def; a name that no kernel knows is a row of `_OTHERS`. No other file lists dtypes: it
asks here what a name or an array is, and what two of them give together (`PROMOTED`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
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
#: names of the stored dtypes
STORED = ("bool", *_ROWS)
#: names of the float types that are stored as such
FLOATS = tuple(name for name, (kind, _) in _ROWS.items() if kind == "f")
#: names of the stored integer types that have arithmetic
INTEGERS = tuple(name for name, (kind, rows) in _ROWS.items() if kind != "f" and rows != "data")

#: name of a stored dtype -> what its values are computed and summed in: itself, or a wider type
COMPUTED_IN: dict[str, str] = {"bool": "bool", **{name: computed for name, *_, computed in _core.dtypes()}}

_ALL_FLOATS = frozenset(name for dtype, name in NAMES.items() if dtype.kind == "f")
_ALL_INTEGERS = frozenset(name for dtype, name in NAMES.items() if dtype.kind in "iu")


#: what a Python int and a Python float are among dtypes: their kind counts, not their size
WEAK_INT, WEAK_FLOAT = "int", "float"
_STEPS = {"b": 0, WEAK_INT: 1, "u": 2, "i": 2, WEAK_FLOAT: 3, "f": 4}
_KINDS = {WEAK_INT: WEAK_INT, WEAK_FLOAT: WEAK_FLOAT, **{name: dtype.kind for dtype, name in NAMES.items()}}
_BYTES = {name: dtype.itemsize for dtype, name in NAMES.items()}


def _together(first: str, second: str) -> str:
    """What an operation on the two gives: the one of the higher kind (bool, integer, float), of one kind the wider. A
    signed and an unsigned integer give the signed one that holds both; where there is none, beside uint64, a float of
    the size that the other operands or `config.floatx()` ask for."""
    kinds = _KINDS[first], _KINDS[second]
    steps = _STEPS[kinds[0]], _STEPS[kinds[1]]
    if steps[0] != steps[1]:
        return first if steps[0] > steps[1] else second
    if first == second:
        return first
    sizes = _BYTES[first], _BYTES[second]
    if kinds[0] == kinds[1]:
        return first if sizes[0] > sizes[1] else second
    unsigned, signed = sizes if kinds[0] == "u" else sizes[::-1]
    bits = 8 * max(signed, 2 * unsigned)
    return f"int{bits}" if bits <= 64 else WEAK_FLOAT


_OPERANDS = (*STORED_AS, WEAK_INT, WEAK_FLOAT)
#: (dtype, dtype) -> the dtype of an operation on both, as Keras 3 promotes; `WEAK_INT` and `WEAK_FLOAT` are Python's
PROMOTED: dict[tuple[str, str], str] = {
    (first, second): _together(first, second) for first in _OPERANDS for second in _OPERANDS}


def promoted(names: Iterable[str]) -> str:
    """The dtype of an operation on operands of these dtypes; `WEAK_INT` or `WEAK_FLOAT` where only kinds are known."""
    return functools.reduce(lambda first, second: PROMOTED[first, second], names)


def widest(dtypes: Iterable[str]) -> str:
    """The float dtype of most bits."""
    return max(dtypes, key=_BYTES.__getitem__)


def is_float_dtype(dtype: str) -> bool:
    """Whether the name is that of a float type."""
    return dtype in _ALL_FLOATS


def is_integer_dtype(dtype: str) -> bool:
    """Whether the name is that of an integer type, with or without sign; bool is none."""
    return dtype in _ALL_INTEGERS


def require_range(numbers: Iterable[int], dtype: str) -> str:
    """The dtype. Raises OverflowError for Python ints that an integer dtype does not hold, as NumPy."""
    if is_integer_dtype(dtype):
        info = np.iinfo(dtype)
        for number in numbers:
            if not info.min <= number <= info.max:
                raise OverflowError(f"Python integer {number} is out of bounds for {dtype}, which holds {info.min} to"
                                    f" {info.max}.")
    return dtype


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
