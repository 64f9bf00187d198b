"""Weights in the safetensors format: the length of a JSON header (8 bytes), the header, then the arrays' bytes.

The header maps names to {"dtype", "shape", "data_offsets": [begin, end]}, offsets counted from the end of the header.
Format: https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct

import numpy as np

from pydl.dtypes import holds_floats, is_float_dtype
from pydl.reading import naming, parse_json
from pydl.saving.layouts import Arrays, weights_of
from pydl.saving.state import assign_all, other_paths, placed
from pydl.warning import warn

__all__ = ["load_safetensors", "read_safetensors", "write_safetensors"]

_DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
           "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
_CODES = {np.dtype(stored): code for code, stored in _DTYPES.items() if code != "BF16"}
_MAX_HEADER = 100_000_000


def read_safetensors(filepath) -> dict[str, np.ndarray]:
    """The arrays of a `.safetensors` file by name, mapped into memory and not read before they are used; bfloat16 as
    float32.

    Raises:
        ValueError: for a damaged file, one whose arrays overlap or leave gaps, or a dtype that NumPy and pydl have no
            counterpart of.
    """
    return _read(filepath)[0]


def _read(path) -> tuple[dict[str, np.ndarray], dict]:
    """(arrays by name, what the file says about itself)."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise ValueError(f"{path} is damaged: {size} bytes cannot hold a header of {length} bytes.")
        header = parse_json(file.read(length), f"The header of {path}", object_pairs_hook=_without_repetition)
    if not isinstance(header, dict):
        raise ValueError(f"The header of {path} is no JSON object.")
    metadata = header.pop("__metadata__", None)
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.empty(0, np.uint8)
    arrays = {name: _array(path, name, entry, data) for name, entry in header.items()}
    end = 0
    for name, (begin, following) in sorted(((n, e["data_offsets"]) for n, e in header.items()), key=lambda e: e[1]):
        if begin != end:
            raise ValueError(f"{path} is damaged: '{name}' begins at byte {begin}; what lies before ends at {end}.")
        end = following
    if end != len(data):
        raise ValueError(f"{path} is damaged: its arrays end at byte {end} of {len(data)}.")
    return arrays, metadata if isinstance(metadata, dict) else {}


def _without_repetition(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has two entries called '{next(name for name in names if names.count(name) > 1)}'.")
    return found


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
    try:
        array = np.frombuffer(data[begin:end], stored).reshape(shape)
    except (ValueError, OverflowError) as error:  # NumPy has no such shape: too many axes, or too large beside a 0
        raise ValueError(f"{path} is damaged: '{name}' has the shape {str(shape)[:200]}: {error}") from error
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else array


def _places(model, skipped=(), former=False) -> dict:
    """The model's weights by their place in it ("layers/dense_1/kernel"), the same for equal architectures; `former`
    ones are those by attributes alone, as they were before pydl had Keras's order."""
    weights, places = {id(v) for v in model.weights}, {}
    paths = other_paths(model) if former else {}
    for place, layer in placed(model, skipped):
        if former:
            place = min(paths[id(layer)], key=lambda path: path.split("/").count("layers"))
        for v in layer._own_variables() if hasattr(layer, "_own_variables") else ():
            if id(v) in weights:
                own = "variable" if re.fullmatch(r"variable(_\d+)?", v.name) else v.name  # automatic names count on
                name, count = "/".join(p for p in (place, own) if p), 0
                while (full := f"{name}_{count}" if count else name) in places:
                    count += 1
                places[full] = v
    return places


def _schemes(model) -> list[dict]:
    """Ways to name the model's weights: layer and weight, path, both with dots, place; without ambiguous ones."""
    weights = model.weights
    layers = [(f"{layer.name}/{v.name}", v) for layer in model._flatten_layers() for v in layer._own_variables()]
    ids = {id(v) for v in weights}
    named = [[(n, v) for n, v in layers if id(v) in ids], [(v.path, v) for v in weights]]
    named += [[(n.replace("/", "."), v) for n, v in names] for names in named]
    return [found for names in named if len(found := dict(names)) == len(weights)] + [
        _places(model), _places(model, former=True)]


def write_safetensors(model, file, skipped=()) -> None:
    """Writes the weights of a model, but for `skipped` layers, named by their place in it, into an open binary file."""
    header, blocks, position = {}, [], 0
    for name, variable in _places(model, skipped).items():
        array = np.ascontiguousarray(variable.numpy())
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        header[name] = {"dtype": _CODES[array.dtype], "shape": list(variable.shape),
                        "data_offsets": [position, position + array.nbytes]}
        blocks.append(array)
        position += array.nbytes
    text = json.dumps({"__metadata__": {"format": "pydl"}, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for block in blocks:
        file.write(block.tobytes())


def load_safetensors(model, path, by_name=False, skip_mismatch=False, name_map=None) -> None:
    """Reads weights into a built model; all or, on an error, nothing.

    Args:
        by_name: leave alone what only one of the two has.
        skip_mismatch: warn about weights of another shape instead of raising.
        name_map: what becomes of the arrays in the file: a callable, name in the file -> name in the model or None, or
            a dict, which leaves out what it has no entry for:

                name_map = {
                    "fc.weight": "dense/kernel",            # as it is; None leaves it out
                    "fc": ("dense", "torch.Linear"),        # a module in the layout of PyTorch, and a layer
                    "lstm": "torch.LSTM",                   # the same, where both have one name
                    "norm/gamma": lambda t: 1 + t["w"],     # a weight of the model, from the arrays by name
                    ("b1", "b2"): ("head/bias", np.add),    # arrays of the file -> weight, by a function
                    "rnn": [("one", "torch.GRU[0]"), ("two", "torch.GRU[1]")],  # several of these
                }

            A weight is named by its `path`, as "layer/weight", or as `write_safetensors` names it, a layer by its
            name, path or place. Layouts: those of `layouts.LAYOUTS`; of a recurrent module with several layers one
            is "torch.LSTM[1]", a bidirectional one fills a Bidirectional. Kernels are transposed, gates reordered,
            the two biases of a cell summed. What a layout cannot know: a Linear behind a Flatten counts channels
            first in PyTorch, its rows need a function.

    Raises:
        ValueError: for a damaged file, or one that does not fit; the message lists what is missing and unexpected.

    Warns when a file says that PyTorch has written it and no layout or function was given: a square kernel would be
    taken for its transpose.
    """
    arrays, metadata = _read(path)
    renamed, made, knows = _mapped(model, path, arrays, name_map)
    if metadata.get("format") == "pt" and not knows:
        warn(f"{path} was written by PyTorch, whose kernels are the transposes of those here. Pass layouts in"
             " `name_map`, such as {'fc': ('dense', 'torch.Linear')}.")
    done = {id(variable) for variable, _, _ in made}
    schemes = [{name: v for name, v in scheme.items() if id(v) not in done} for scheme in _schemes(model)]
    names = max(schemes, key=lambda scheme: len(scheme.keys() & renamed.keys()))
    missing, unexpected = sorted(names.keys() - renamed.keys()), sorted(renamed.keys() - names.keys())
    if (missing or unexpected) and not by_name:
        raise ValueError(f"{path} does not fit the model. Missing in the file: {_some(missing)}. Unexpected in the"
                         f" file: {_some(unexpected)}. Pass `name_map` for other names, by_name=True for what fits.")
    pairs = made + [(names[name], renamed[name], name) for name in names if name in renamed]
    if by_name and not pairs:
        warn(f"No weights were loaded: none of {_some(list(names))} is in {path}, which has {_some(unexpected)}.")
    for variable, array, name in pairs:
        if holds_floats(array) and not is_float_dtype(variable.dtype):
            raise ValueError(f"{path}: '{name}' has dtype {array.dtype}; the variable {variable.path} holds"
                             f" {variable.dtype}.")
    assign_all(pairs, skip_mismatch)


def _mapped(model, path, arrays, name_map):
    """(arrays by their names in the model, (variable, array, name) of what layouts make, whether there was a layout or
    a function)."""
    if name_map is None:
        return arrays, [], False
    if callable(name_map):
        name_map = {name: name_map(name) for name in arrays}
    renamed: list[tuple[str, np.ndarray]] = []
    made: list[tuple] = []
    modules: list[Arrays] = []
    computed = False
    entries = [(key, entry) for key, value in name_map.items()
               for entry in (value if isinstance(value, list) else [value])]
    for key, entry in entries:
        target, how = entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, None)
        if callable(entry) or (isinstance(entry, str) and entry.startswith("torch.")):
            target, how = key, entry
        if target is None:
            continue
        if not isinstance(target, str) or not (how is None or isinstance(how, str) or callable(how)):
            raise ValueError(f"`name_map`: expected a name, a function, a layout, or a pair of a name and one of these"
                             f" for {key!r}; received {entry!r}.")
        if isinstance(how, str):
            modules.append(Arrays(arrays, key))
            with naming(f"{path}: `name_map` of '{key}'"):
                made += weights_of(how, _layer(model, target), modules[-1])
        elif how is None:
            if key in arrays:
                renamed.append((target, arrays[key]))
        else:
            names = () if entry is how else key if isinstance(key, tuple) else (key,)
            if absent := [name for name in names if name not in arrays]:
                raise ValueError(f"{path}: `name_map` of {key!r}: there is no array {absent[0]!r}.")
            with naming(f"{path}: `name_map` of {key!r}"):
                renamed.append((target, np.asarray(how(*(arrays[name] for name in names)) if names else how(arrays))))
            computed = True
    taken = set[str]().union(*(module.taken for module in modules), (k for k in name_map if isinstance(k, str)),
                             *(k for k in name_map if isinstance(k, tuple)))
    if left := sorted({name for module in modules for name in module.left()} - taken):
        raise ValueError(f"{path}: the layouts of `name_map` leave out {_some(left)}. Give them an entry, or None.")
    if len(dict(renamed)) != len(renamed):
        twice = sorted({n for n, _ in renamed if [m for m, _ in renamed].count(n) > 1})
        raise ValueError(f"{path}: `name_map` maps several arrays to {', '.join(twice)}.")
    return dict(renamed), made, computed or bool(modules)


def _layer(model, name: str):
    """The layer of that name, path or place in a model."""
    layers = model._flatten_layers(include_self=False)
    places = {id(item): place for place, item in placed(model)}
    for names in (lambda layer: layer.name, lambda layer: layer.path, lambda layer: places.get(id(layer))):
        found = [layer for layer in layers if names(layer) == name]
        if len(found) == 1:
            return found[0]
    raise ValueError(f"the model has {'several layers' if found else 'no layer'} '{name}'. Its layers:"
                     f" {_some([layer.name for layer in layers])}.")


def _some(names: list[str]) -> str:
    return (", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")) or "nothing"
