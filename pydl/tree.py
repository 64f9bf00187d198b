"""Nested structures of lists, tuples and dicts: flatten, map, rebuild. Dict entries go in sorted key order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["assert_same_structure", "flatten", "flatten_with_path", "is_nested", "lists_to_tuples", "map_structure",
           "pack_sequence_as"]


def is_nested(structure: Any) -> bool:
    """Whether `structure` is a list, tuple or dict."""
    return isinstance(structure, (list, tuple, dict))


def _children(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        return [structure[key] for key in _keys(structure)]
    return list(structure)


def _keys(structure: dict[Any, Any]) -> list[Any]:
    try:
        return sorted(structure)
    except TypeError:
        return list(structure)


def _like(structure: Any, children: Iterable[Any]) -> Any:
    if isinstance(structure, dict):
        by_key = dict(zip(_keys(structure), children))
        return type(structure)((key, by_key[key]) for key in structure)
    if hasattr(structure, "_fields"):  # a named tuple
        return type(structure)(*children)
    return type(structure)(children)


def flatten(structure: Any) -> list[Any]:
    """The leaves from left to right; a leaf alone gives a list of one."""
    if not is_nested(structure):
        return [structure]
    return [leaf for child in _children(structure) for leaf in flatten(child)]


def flatten_with_path(structure: Any) -> list[tuple[tuple[Any, ...], Any]]:
    """(path, leaf) pairs from left to right; a path is the tuple of keys and positions that lead to the leaf."""
    if not is_nested(structure):
        return [((), structure)]
    keys = _keys(structure) if isinstance(structure, dict) else range(len(structure))
    return [((key, *path), leaf) for key, child in zip(keys, _children(structure))
            for path, leaf in flatten_with_path(child)]


def lists_to_tuples(structure: Any) -> Any:
    """The structure with a tuple in place of every list."""
    if not is_nested(structure):
        return structure
    children = [lists_to_tuples(child) for child in _children(structure)]
    return tuple(children) if isinstance(structure, list) else _like(structure, children)


def map_structure(func: Callable[..., Any], *structures: Any, none_is_leaf: bool = True) -> Any:
    """Applies `func` leaf by leaf to structures of one form and returns the results in that form.

    With `none_is_leaf=False` a place where the first structure has None stays None.

    Raises:
        ValueError: when the structures differ.
    """
    first = structures[0]
    if first is None and not none_is_leaf:
        return None
    if not is_nested(first):
        return func(*structures)
    for other in structures[1:]:
        _check_same_level(first, other)
    levels = zip(*map(_children, structures))
    return _like(first, [map_structure(func, *parts, none_is_leaf=none_is_leaf) for parts in levels])


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """The leaves `flat_sequence` in the form of `structure`."""
    leaves = iter(flat_sequence)
    packed = map_structure(lambda _: next(leaves), structure)
    if next(leaves, flatten) is not flatten:
        raise ValueError("pack_sequence_as: more leaves than the structure has places.")
    return packed


def assert_same_structure(a: Any, b: Any, check_types: Any = None) -> None:
    """Raises ValueError when the structures differ; `check_types` is accepted."""
    if is_nested(a) or is_nested(b):
        _check_same_level(a, b)
        for x, y in zip(_children(a), _children(b)):
            assert_same_structure(x, y)


def _check_same_level(a: Any, b: Any) -> None:
    same = is_nested(a) and is_nested(b) and isinstance(a, dict) == isinstance(b, dict) and len(a) == len(b)
    if not same or (isinstance(a, dict) and set(a) != set(b)):
        raise ValueError(f"The structures differ: {a!r} and {b!r}.")
