"""Signatures: what a recorded program has to know of its arguments to be the right one for them.

A signature is a nested tuple that mirrors the structure of the arguments: containers with their type and keys, arrays
and tensors with shape and dtype, everything else with type and value. Two calls share a program only if it is equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pydl.tensor import Tensor, Variable
from pydl.watch import token

__all__ = ["rebuild", "signature"]


def signature(args: tuple[Any, ...] | list[Any] | dict[str, Any],
              describe: Callable[[tuple[Any, ...]], str]) -> tuple[tuple[Any, ...], list[np.ndarray]]:
    """The signature of arguments and their arrays, in the order in which `rebuild` meets them.

    Args:
        args: a structure of lists, tuples and dicts over arrays, tensors and other values. Variables count by identity:
            the program reads the variable itself.
        describe: names the place `path` in a message, e.g. "function 'step': argument `x`['mask']".

    Raises:
        TypeError: a value is neither array nor hashable: what cannot be compared cannot be part of a signature.
    """
    arrays: list[np.ndarray] = []
    return _of(args, arrays, (), describe), arrays


def _of(value: Any, arrays: list[np.ndarray], path: tuple[Any, ...],
        describe: Callable[[tuple[Any, ...]], str]) -> Any:
    kind = type(value)
    if kind is np.ndarray:
        arrays.append(value)
        return (np.ndarray, value.shape, value.dtype.str)
    if kind is tuple or kind is list:
        return (kind, *[_of(item, arrays, (*path, i), describe) for i, item in enumerate(value)])
    if value is None or kind in (bool, int, float, str):
        return token(value)
    if isinstance(value, dict):
        return (kind, *[(token(key), _of(item, arrays, (*path, key), describe)) for key, item in value.items()])
    if isinstance(value, (tuple, list)):
        return (kind, *[_of(item, arrays, (*path, i), describe) for i, item in enumerate(value)])
    if isinstance(value, Variable):
        return token(value)
    if isinstance(value, Tensor):
        arrays.append(value.data)
        return (np.ndarray, value.data.shape, value.data.dtype.str)
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return (np.ndarray, value.shape, value.dtype.str)
    if isinstance(value, np.generic):
        return (kind, value.tobytes())
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            f"{describe(path)} is of type {kind.__name__}, whose values cannot be compared: it is no array, tensor,"
            " list, tuple or dict, and not hashable. A recorded program is kept for each signature, so pass an array"
            " or a hashable value, or let the function reach the object by itself."
        ) from None
    compares_values = kind.__eq__ is not object.__eq__  # type: ignore[comparison-overlap]  # a slot of its own or not
    return (kind, value) if compares_values else token(value)


def rebuild(value: Any, replace: Callable[[Any], Any]) -> Any:
    """The structure with `replace(leaf)` in place of every array and tensor (variables stay), in the order of
    `signature`."""
    if isinstance(value, (np.ndarray, Tensor)) and not isinstance(value, Variable):
        return replace(value)
    if isinstance(value, dict):
        return type(value)((key, rebuild(item, replace)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        items = [rebuild(item, replace) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
