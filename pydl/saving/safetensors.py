"""Weights in the safetensors format: the length of a JSON header (8 bytes), the header, then the arrays' bytes.

The header maps names to {"dtype", "shape", "data_offsets": [begin, end]}, offsets counted from the end of the header.
Format: https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
import os
import struct

import numpy as np

from pydl.dtypes import holds_floats, is_float_dtype
from pydl.saving.state import assign_all, walk

__all__ = ["load_safetensors", "read_safetensors", "write_safetensors"]

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
           "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
_CODES = {np.dtype(stored): code for code, stored in _DTYPES.items() if code != "BF16"}
_MAX_HEADER = 100_000_000


def read_safetensors(path) -> dict[str, np.ndarray]:
    """The arrays of a file by name, mapped into memory and not read before they are used; bfloat16 as float32.

    Raises:
        ValueError: for a damaged file, or a dtype that NumPy and pydl have no counterpart of.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise ValueError(f"{path} is damaged: {size} bytes cannot hold a header of {length} bytes.")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{path} is damaged: its header is no JSON object: {error}") from error
    if not header:
        return {}
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.empty(0, np.uint8)
    return {name: _array(path, name, entry, data) for name, entry in header.items()}


def _array(path, name, entry, data):
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
            raise ValueError("sizes are non-negative integers")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: the entry of '{name}' reads {str(entry)[:200]} ({error!r}).") from error
    if dtype not in _DTYPES:
        raise ValueError(f"{path}: '{name}' has dtype {dtype}; expected one of {', '.join(_DTYPES)}.")
    stored = np.dtype(_DTYPES[dtype])
    if end > len(data) or end - begin != math.prod(shape) * stored.itemsize:
        raise ValueError(f"{path} is damaged: '{name}' of dtype {dtype} and shape {shape} lies in the bytes {begin} to"
                         f" {end} of {len(data)}.")
    array = np.frombuffer(data[begin:end], stored).reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else array


def _places(model) -> dict:
    """The model's weights by their place in it ("layers/dense_1/kernel"), the same for equal architectures."""
    weights, places = {id(v) for v in model.weights}, {}
    for place, layer in walk(model):
        for v in getattr(layer, "_variables", ()):
            if id(v) in weights:
                name, count = "/".join(p for p in (place, v.name) if p), 0
                while (full := f"{name}_{count}" if count else name) in places:
                    count += 1
                places[full] = v
    return places


def _schemes(model) -> list[dict]:
    """Ways to name the model's weights: layer and weight, path, both with dots, place; without ambiguous ones."""
    weights = model.weights
    layers = [(f"{layer.name}/{v.name}", v) for layer in model._flatten_layers() for v in layer._variables]
    ids = {id(v) for v in weights}
    named = [[(n, v) for n, v in layers if id(v) in ids], [(v.path, v) for v in weights]]
    named += [[(n.replace("/", "."), v) for n, v in names] for names in named]
    return [found for names in named if len(found := dict(names)) == len(weights)] + [_places(model)]


def write_safetensors(model, path) -> None:
    """Writes the weights of a model, named by their place in it."""
    header, blocks, position = {}, [], 0
    for name, variable in _places(model).items():
        array = np.ascontiguousarray(variable.numpy())
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        header[name] = {"dtype": _CODES[array.dtype], "shape": list(variable.shape),
                        "data_offsets": [position, position + array.nbytes]}
        blocks.append(array)
        position += array.nbytes
    text = json.dumps({"__metadata__": {"format": "pydl"}, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for block in blocks:
            file.write(block.tobytes())


def load_safetensors(model, path, by_name=False, skip_mismatch=False, name_map=None) -> None:
    """Reads weights into a built model; all or, on an error, nothing.

    Args:
        by_name: leave alone what only one of the two has.
        skip_mismatch: warn about weights of another shape instead of raising.
        name_map: dict or callable, name in the file -> name in the model (a variable's `path`, "layer/weight", or as
            `write_safetensors` names it); None, or no entry in the dict, leaves the array out.

    Raises:
        ValueError: for a damaged file, or one that does not fit; the message lists what is missing and unexpected.
    """
    arrays = read_safetensors(path)
    if name_map is not None:
        rename = name_map if callable(name_map) else name_map.get
        renamed = [(new, a) for name, a in arrays.items() if (new := rename(name)) is not None]
        arrays = dict(renamed)
        if len(arrays) != len(renamed):
            twice = sorted({n for n, _ in renamed if [m for m, _ in renamed].count(n) > 1})
            raise ValueError(f"{path}: `name_map` maps several arrays to {', '.join(twice)}.")
    names = max(_schemes(model), key=lambda scheme: len(scheme.keys() & arrays.keys()))
    missing, unexpected = sorted(names.keys() - arrays.keys()), sorted(arrays.keys() - names.keys())
    if (missing or unexpected) and not by_name:
        raise ValueError(f"{path} does not fit the model. Missing in the file: {_some(missing)}. Unexpected in the"
                         f" file: {_some(unexpected)}. Pass `name_map` for other names, by_name=True for what fits.")
    pairs = []
    for name in names.keys() & arrays.keys():
        variable, array = names[name], arrays[name]
        if holds_floats(array) and not is_float_dtype(variable.dtype):
            raise ValueError(f"{path}: '{name}' has dtype {array.dtype}; the variable {variable.path} holds"
                             f" {variable.dtype}.")
        pairs.append((variable, array, name))
    assign_all(pairs, skip_mismatch)


def _some(names: list[str]) -> str:
    return (", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")) or "nothing"
