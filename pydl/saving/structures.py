"""Nested structures of plain values and arrays in an HDF5 group: JSON in the data set "structure", in which
{"array": n} stands for the data set "n" and {"dict": ...} for a dict."""

from __future__ import annotations

import json

import numpy as np

from pydl.dtypes import holds_numbers
from pydl.reading import parse_json
from pydl.saving.hdf5 import array_at
from pydl.tensor import Tensor
from pydl.warning import warn

__all__ = ["plain_items", "read_structure", "write_structure"]


def write_structure(group, value) -> None:
    """Writes `value` into an open, empty h5py group.

    Args:
        value: dicts with strings as keys, lists, tuples (which come back as lists), None, bools, ints, floats, strings,
            and arrays or tensors of numbers.

    Raises:
        TypeError: for anything else; the message says where it lies.
    """
    arrays: list[np.ndarray] = []
    text = json.dumps(_plain(value, arrays, "the value"))
    group.create_dataset("structure", data=np.frombuffer(text.encode(), np.uint8))
    for i, array in enumerate(arrays):
        group.create_dataset(str(i), data=array)


def plain_items(values: dict) -> dict:
    """The items of a dict that `write_structure` takes; a warning names the others."""
    found = {}
    for key, value in values.items():
        try:
            _plain(value, [], f"The value of {key!r}")
            found[key] = value
        except TypeError as error:
            warn(f"Left out of the backup: {error}")
    return found


def _plain(value, arrays: list[np.ndarray], where: str):
    if isinstance(value, (np.generic, Tensor)):
        value = value.item() if isinstance(value, np.generic) else value.numpy()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, arrays, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _plain(item, arrays, f"{where}[{key!r}]") for key, item in value.items()}}
    if isinstance(value, np.ndarray) and holds_numbers(value):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    raise TypeError(f"{where} is a {type(value).__name__}, {str(value)[:80]!r}: expected plain values, lists, dicts"
                    " with strings as keys, and arrays of numbers.")


def read_structure(group):
    """What `write_structure` wrote. Raises ValueError when the group holds nothing of the kind."""
    try:
        return _restored(parse_json(_array(group, "structure").tobytes(), "the structure"), group)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"'{group.name}' holds no structure of values: {error}") from error


def _restored(value, group):
    if isinstance(value, list):
        return [_restored(item, group) for item in value]
    if isinstance(value, dict):
        ((kind, content),) = value.items()
        return ({key: _restored(item, group) for key, item in content.items()} if kind == "dict"
                else _array(group, str(int(content))))
    return value


def _array(group, name: str) -> np.ndarray:
    return np.asarray(array_at(group, name))
