"""Weights of an object and of everything it holds, in the HDF5 layout of Keras 3's `.weights.h5`.

An object's own variables lie in the group `<path>/vars` as "0", "1", ...; what it holds lies below, under the name of
the attribute; items of a list or dict under their class name in snake case, numbered when it repeats.
"""

from __future__ import annotations

import numpy as np

from pydl.registry import to_snake_case
from pydl.warning import warn

# Attributes of the base classes: bookkeeping, or listed under another name.
_INTERNAL = {
    "_init_arguments", "_variables", "_inbound_nodes", "_graph", "_graph_layers", "_stack",
    "_compile_config", "_compile_loss", "_compile_metrics", "_loss_tracker", "_steps", "_watch", "history",
    "loss", "input_spec", "activity_regularizer", "_build_shapes",
}


def is_saveable(obj) -> bool:
    return hasattr(obj, "save_own_variables") and hasattr(obj, "load_own_variables")


def children(obj):
    """(path part, object) of everything saveable that `obj` holds."""
    if type(obj).__name__ in ("Sequential", "Functional") or getattr(obj, "_graph", None) is not None:
        yield from _items("layers", obj.layers)
    for name in sorted(vars(obj)) if hasattr(obj, "__dict__") else ():
        if name in _INTERNAL:
            continue
        value = vars(obj)[name]
        if is_saveable(value):
            yield name, value
        elif isinstance(value, (list, tuple, dict)):
            yield from _items(name, value)


def _items(name, container):
    used: dict[str, int] = {}
    for item in container.values() if isinstance(container, dict) else container:
        if is_saveable(item):
            part = to_snake_case(getattr(item, "_name_in_files", None) or type(item).__name__)
            used[part] = used.get(part, -1) + 1
            yield f"{name}/{part}" if used[part] == 0 else f"{name}/{part}_{used[part]}", item


def walk(obj, path="", visited=None):
    """(path, object) of `obj` and everything below it, each object once."""
    visited = set() if visited is None else visited
    if id(obj) in visited:
        return
    visited.add(id(obj))
    yield path, obj
    for part, child in children(obj):
        yield from walk(child, f"{path}/{part}" if path else part, visited)


def save_state(obj, file) -> None:
    """Writes the weights of `obj` into an open h5py file."""
    for path, item in walk(obj):
        store: dict[str, np.ndarray] = {}
        item.save_own_variables(store)
        group = file.create_group(f"{path}/vars" if path else "vars")
        group.attrs["name"] = getattr(item, "name", None) or type(item).__name__
        for key, value in store.items():
            group.create_dataset(key, data=np.asarray(value))


def load_state(obj, file, skip_mismatch=False, root="") -> None:
    """Reads the weights of `obj` from an open h5py file; all or, on an error, nothing.

    Raises:
        ValueError: when the file does not fit the object; the message names the layer.
    """
    items = list(walk(obj))
    before = [(v, v.numpy()) for _, item in items for v in _variables_of(item)]
    known: set[str] = set()
    try:
        for path, item in items:
            full = "/".join(p for p in (root, path, "vars") if p)
            known.add(full)
            group = file.get(full)
            store = {key: np.asarray(group[key]) for key in group} if group is not None else {}
            try:
                if store or _variables_of(item):
                    item.load_own_variables(store)
            except (ValueError, KeyError) as error:
                if not skip_mismatch:
                    raise ValueError(f"The weights file does not fit at '{path or type(obj).__name__}'"
                                     f" ({type(item).__name__}): {error}") from error
                warn(f"Could not load weights at '{path}', skipped: {error}")
        unknown = [name for name in file.get(f"{root}/layers" if root else "layers", ())
                   if (full := "/".join(p for p in (root, "layers", name, "vars") if p)) not in known
                   and len(file.get(full, ()))]
        if unknown and not skip_mismatch:
            raise ValueError(f"The weights file holds weights of {', '.join(unknown)}, for which the model has no"
                             " layer.")
    except Exception:
        for variable, value in before:
            variable.assign(value)
        raise


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
