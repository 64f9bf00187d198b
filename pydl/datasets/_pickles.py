"""Pickles as data: arrays, lists and plain values, in the memory that their length accounts for.

Old data sets are pickles. What unpickling may call is one question (`ArrayUnpickler.find_class`); how much it takes is
another: Python's unpickler makes room for as many remembered objects as one opcode says, up to 64 GB.
"""

from __future__ import annotations

import io
import math
import pickle
import re

import numpy as np

# Opcodes by what follows them: nothing, or a fixed number of bytes; lines; a length and so many bytes.
_FIXED = re.compile(rb"(?:[(012NQRabdelostu)\]}\x81\x85-\x89\x8f-\x94\x97\x98]|[Khq\x80\x82].|[M\x83]..|[Jj\x84]....|"
                    rb"[G\x95].{8}){0,10000}", re.DOTALL)
_LINES = {b"F": 1, b"I": 1, b"L": 1, b"P": 1, b"S": 1, b"V": 1, b"g": 1, b"p": 1, b"c": 2, b"i": 2}
_COUNTED = {b"U": 1, b"C": 1, b"\x8a": 1, b"\x8c": 1, b"T": 4, b"X": 4, b"B": 4, b"\x8b": 4, b"\x8d": 8, b"\x8e": 8,
            b"\x96": 8}
_REMEMBER = {b"p", b"r"}  # PUT, LONG_BINPUT: the object on top gets the number that follows


def _check_sizes(content: bytes) -> None:
    """Raises ValueError for lengths beyond the end, and for numbers of remembered objects that are not in it."""
    at, end = 0, len(content)
    while at < end:
        if (after := _FIXED.match(content, at).end()) > at:  # type: ignore[union-attr]  # it may match nothing
            at = after
            continue
        code = content[at : at + 1]
        start = at = at + 1
        if code in _COUNTED:
            at += _COUNTED[code]
            at += int.from_bytes(content[start:at], "little")
        elif code in _LINES:
            for _ in range(_LINES[code]):
                at = (content.find(b"\n", at) + 1) or end + 1
        elif code == b"r":
            at += 4
        else:
            return  # the end, or what the unpickler complains of
        if code in _REMEMBER:
            number = int(content[start:at]) if code == b"p" else int.from_bytes(content[start:at], "little")
            if number > end:
                raise ValueError(f"a pickle of {end} bytes numbers its object {number}.")
        if at > end:
            raise ValueError(f"a pickle of {end} bytes goes on until byte {at}.")


class _Array:
    """An array of a pickle: rebuilt here from its parts, each compared with the bytes that are there.

    NumPy's own rebuilding believes the shape that the pickle says, and `numpy.ndarray`, called by one, makes an array
    of any size.
    """

    array: np.ndarray

    def __init__(self, *_):
        pass

    def __setstate__(self, state):
        _, shape, dtype, is_fortran, content = state
        if dtype.code == "O":
            values = np.empty(len(content), object)
            values[:] = content
        else:
            values = np.frombuffer(content, dtype.order + dtype.code)
        if values.size != math.prod(shape):
            raise ValueError(f"an array of shape {shape} holds {values.size} values.")
        self.array = values.reshape(shape, order="F" if is_fortran else "C")


class _Dtype:
    """A dtype of a pickle: numbers, or Python objects."""

    def __init__(self, code, *_):
        code = _text_of(code)
        self.code, self.order = ("O" if code == "O8" else code), "="
        if not re.fullmatch(r"O|b1|[iufc]\d{1,2}", self.code):
            raise pickle.UnpicklingError(f"it holds an array of dtype {code!r}; expected numbers or lists.")

    def __setstate__(self, state):
        order = _text_of(state[1])
        self.order = order if order in ("<", ">") else "="


def _text_of(value) -> str:
    return value.decode() if isinstance(value, bytes) else value  # Python 2 wrote the batches of CIFAR


def _bytes(text, encoding) -> bytes:
    """How Python 3 writes bytes in protocols that Python 2 reads, too."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds bytes as {encoding!r}; expected 'latin1'.")
    return text.encode("latin1")


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of arrays, lists and plain values; refuses every other class or function. `load` gives arrays at
    the top, and as values of a dict at the top.

    Args:
        content: the bytes of the pickle.
        **options: for `pickle.Unpickler`.

    Raises:
        ValueError: for what asks for more memory than its length accounts for.
    """

    _known = {("numpy", "ndarray"): None, ("numpy", "dtype"): _Dtype, ("_codecs", "encode"): _bytes,
              ("numpy.core.multiarray", "_reconstruct"): _Array,  # of NumPy 1
              ("numpy._core.multiarray", "_reconstruct"): _Array}

    def __init__(self, content: bytes, **options):
        _check_sizes(content)
        super().__init__(io.BytesIO(content), **options)

    def find_class(self, module, name):
        if (module, name) not in self._known:
            raise pickle.UnpicklingError(f"A data set file asks for {module}.{name}: refused, it holds arrays only.")
        return self._known[module, name]

    def load(self):
        found = super().load()
        if isinstance(found, dict):
            return {key: getattr(value, "array", value) for key, value in found.items()}
        return getattr(found, "array", found)
