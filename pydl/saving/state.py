"""Weights of an object and of everything it holds, in the HDF5 layout of Keras 3's `.weights.h5`.

An object's own variables lie in the group `<path>/vars` as "0", "1", ...; what it holds lies below, under the name of
the attribute; items of a list or dict under their class name in snake case, numbered when it repeats, lists inside of
lists as "container". What several names lead to lies under the first: of a subclassed model, whose property `layers`
holds all of its layers, those in attributes from "m" on and in private ones lie in "layers". A random generator lies
there too; Keras, which keeps no such states, passes over it.
"""

from __future__ import annotations

import collections
from functools import cached_property
from typing import Any

import numpy as np

from pydl.reading import is_of_system, sentence
from pydl.registry import to_snake_case
from pydl.saving.hdf5 import Store, subgroup
from pydl.warning import warn

# Attributes of the base classes: bookkeeping, or listed under another name.
_INTERNAL = {
    "_init_arguments", "_since", "_variables", "_inbound_nodes", "_graph", "_graph_layers", "_stack",
    "_compile_config", "_compile_loss", "_compile_metrics", "_loss_tracker", "_steps", "_watch", "history",
    "loss", "input_spec", "activity_regularizer", "_build_shapes", "_kept",
}
_MAX_PATHS = 8  # of one object that are looked at


def is_saveable(obj) -> bool:
    return hasattr(obj, "save_own_variables") and hasattr(obj, "load_own_variables")


def children(obj):
    """(path part, object) of everything saveable that `obj` holds, in Keras's order: the layers of a graph; then what
    attributes and properties of the user's classes hold, by name, private ones last. The `layers` of another model are
    one of its properties."""
    if _is_graph(obj):
        yield from _items("layers", obj.layers)
    for name in _names(obj):
        value = vars(obj).get(name)
        if value is None and name not in vars(obj):
            try:
                value = getattr(obj, name)
            except Exception:  # a property may raise what it likes
                continue
        if is_saveable(value):
            yield name, value
        elif isinstance(value, (list, tuple, dict)):
            yield from _items(name, value)


def _is_graph(obj) -> bool:
    return hasattr(obj, "_stack") or getattr(obj, "_graph", None) is not None


def _names(obj) -> list[str]:
    names = {name for name in getattr(obj, "__dict__", ()) if name not in _INTERNAL}
    names.update(name for cls in type(obj).__mro__ if not cls.__module__.startswith("pydl.")
                 for name, value in vars(cls).items() if isinstance(value, (property, cached_property)))
    if hasattr(obj, "_graph") and not _is_graph(obj):
        names.add("layers")
    return sorted(names, key=lambda name: (name.startswith("_"), name))


def _items(name, container, seen=()):
    """(path part, object) of everything saveable in a list, tuple or dict, also in those inside of it."""
    used: dict[str, int] = {}
    seen = (*seen, id(container))
    for item in container.values() if isinstance(container, dict) else container:
        if is_saveable(item):
            part = to_snake_case(getattr(item, "_name_in_files", None) or type(item).__name__)
        elif isinstance(item, (list, tuple, dict)) and id(item) not in seen:
            part = "container"
        else:
            continue
        used[part] = used.get(part, -1) + 1
        place = f"{name}/{part}" if used[part] == 0 else f"{name}/{part}_{used[part]}"
        if is_saveable(item):
            yield place, item
        else:
            yield from _items(place, item, seen)


def walk(obj, path="", visited=None):
    """(path, object) of `obj` and everything below it, each object once."""
    visited = set() if visited is None else visited
    if id(obj) in visited:
        return
    visited.add(id(obj))
    yield path, obj
    for part, child in children(obj):
        yield from walk(child, f"{path}/{part}" if path else part, visited)


def placed(obj, skipped=()) -> list[tuple[str, Any]]:
    """The list of `walk`, without `skipped` objects and what only they hold.

    Raises:
        ValueError: when a weight of `obj` has no place in it; the message names the layer.
    """
    items = list(walk(obj, visited={id(item) for item in skipped}))
    known = {id(v) for _, item in items for v in _variables_of(item)}
    known.update(id(v) for item in skipped for v in getattr(item, "weights", ()))
    lost = [(layer, v) for layer in getattr(obj, "_flatten_layers", list)() for v in layer._own_variables()
            if id(v) not in known]
    if lost:
        layer, variable = lost[0]
        raise ValueError(f"{len(lost)} weights of {_called(obj)} have no place in a file, the first is {variable.path}"
                         f" of {_called(layer)}. Hold the layer in an attribute, or in a list, tuple or dict that is"
                         " one; files know no sets.")
    return items


def _called(item) -> str:
    return f'{type(item).__name__} "{getattr(item, "name", "")}"'


def other_paths(obj) -> dict[int, list[str]]:
    """All paths by which objects are reached from `obj`, by id: `walk` gives the first one alone. A file may have an
    object under another, when attributes were named otherwise there (a property with the former name leads to it)
    or it was written before Keras's order was this one's."""
    found: dict[int, list[str]] = {}
    held: dict[int, list] = {}
    waiting: collections.deque[tuple[str, Any, tuple[int, ...]]] = collections.deque([("", obj, ())])
    while waiting:
        path, item, above = waiting.popleft()
        paths = found.setdefault(id(item), [])
        if len(paths) == _MAX_PATHS or id(item) in above:
            continue
        paths.append(path)
        if id(item) not in held:
            held[id(item)] = list(children(item))
        waiting += [(f"{path}/{part}" if path else part, child, (*above, id(item))) for part, child in held[id(item)]]
    return found


def save_state(obj, file, skipped=()) -> None:
    """Writes the weights of `obj`, but for `skipped` objects in it, into an open h5py file. Raises ValueError when a
    weight has no place."""
    for path, item in placed(obj, skipped):
        store: dict[str, np.ndarray] = {}
        item.save_own_variables(store)
        group = file.create_group(f"{path}/vars" if path else "vars")
        group.attrs["name"] = getattr(item, "name", None) or type(item).__name__
        for key, value in store.items():
            group.create_dataset(key, data=np.asarray(value))


def load_state(obj, file, skip_mismatch=False, root="", skipped=()) -> None:
    """Reads the weights of `obj`, without `skipped` objects, from an open h5py file; all or, on an error, nothing.

    Raises:
        ValueError: when the file does not fit the object, or has no weights for a part of it; the message names the
            layer.
    """
    items = placed(obj, skipped)
    others: dict[int, list[str]] | None = None
    before = [(v, v.numpy()) for _, item in items for v in _variables_of(item)]
    known: set[str] = set()
    try:
        for path, item in items:
            variables = _variables_of(item)
            full = _group(root, path)
            if variables and not _is_filled(file, full):
                others = other_paths(obj) if others is None else others
                full = next((g for p in others[id(item)] if _is_filled(file, g := _group(root, p))), full)
            known.add(full)
            try:
                expected = sum(v.size for v in variables) if variables else None
                item.load_own_variables(Store(subgroup(file, full), expected))
            except Exception as error:  # of h5py many kinds; of a class of the user any
                if is_of_system(error):
                    raise
                if not skip_mismatch:
                    raise ValueError(f"The weights file does not fit at '{path or type(obj).__name__}'"
                                     f" ({type(item).__name__}): {sentence(error)}") from error
                warn(f"Could not load weights at '{path}', skipped: {sentence(error)}")
        unknown = [name for name in subgroup(file, f"{root}/layers") or ()
                   if (full := _group(root, f"layers/{name}")) not in known and _is_filled(file, full)]
        if unknown and not skip_mismatch and not skipped:
            raise ValueError(f"The weights file holds weights of {', '.join(unknown)}, for which the model has no"
                             " layer.")
    except Exception:
        for variable, value in before:
            variable.assign(value)
        raise


def _group(root: str, path: str) -> str:
    """The group of an object's own variables."""
    return "/".join(part for part in (root, path, "vars") if part)


def _is_filled(file, path: str) -> bool:
    return len(subgroup(file, path) or ()) > 0


def assign_all(pairs, skip_mismatch=False) -> None:
    """Gives variables the values of a file: all or, on an error, none.

    Args:
        pairs: (variable, array or HDF5 data set, name in the file).
        skip_mismatch: leave out what has another shape, with a warning.

    Raises:
        ValueError: naming every variable whose shape differs.
    """
    wrong = [f"{v.path} has shape {tuple(v.shape)}; '{name}' of the file has shape {tuple(source.shape)}"
             for v, source, name in pairs if tuple(v.shape) != tuple(source.shape)]
    if wrong and not skip_mismatch:
        raise ValueError(f"Shape mismatch when loading weights: {'. '.join(wrong)}.")
    for message in wrong:
        warn(f"Skipped: {message}.")
    values = [(v, np.asarray(source)) for v, source, _ in pairs if tuple(v.shape) == tuple(source.shape)]
    for variable, value in values:
        variable.assign(value)


def _variables_of(item) -> list:
    own = getattr(item, "_ordered_own_variables", None)
    if own is not None:
        return own()
    found = getattr(item, "variables", None)
    if found is None and hasattr(item, "state"):
        found = [item.state]
    return [v for v in found or () if hasattr(v, "assign")]
