"""Places of a model's outputs, and how what is given beside them (losses, metrics, targets, weights) falls to these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydl import tree

__all__ = ["Place"]


class Place:
    """A place in the structure of the outputs: a tensor, or a list, tuple or dict of places.

    Tensors count in the order of `tree.flatten`: dict entries by key.

    Args:
        y_pred: the outputs, or what has their structure.
        names: of the outputs, one per tensor; None, or as many as there are not, where they have none.
        path: keys and positions that lead here.
        first: number of the first tensor.

    Attributes:
        children: [(key, Place)]; None for a tensor.
        container: type of the outputs here.
        name: of a tensor, or None.
        size: how many tensors there are.
    """

    def __init__(self, y_pred, names=None, path=(), first=0):
        self.path, self.first, self.container = path, first, type(y_pred)
        self.is_dict = isinstance(y_pred, dict)
        self.children: list[tuple[Any, Place]] | None = None
        self.name: str | None = None
        self.size = len(tree.flatten(y_pred))
        if names is not None and len(names) != self.size:
            names = None
        if not tree.is_nested(y_pred):
            self.name = names[0] if names else None
            return
        self.children, at = [], 0
        keys = list(dict.fromkeys(p[0] for p, _ in tree.flatten_with_path(y_pred)))
        for key in keys:
            size = len(tree.flatten(y_pred[key]))
            part = names[at:at + size] if names else None
            self.children.append((key, Place(y_pred[key], part, (*path, key), first + at)))
            at += size

    @property
    def leaves(self) -> list[Place]:
        """The tensors."""
        return [self] if self.children is None else [leaf for _, child in self.children for leaf in child.leaves]

    @property
    def names(self) -> list[str]:
        """How the tensors are called."""
        return [leaf.called(str(leaf.path[-1]) if leaf.path else "output") for leaf in self.leaves]

    def called(self, otherwise: str) -> str:
        """Keras's name of the place: its path, in which the name of a tensor, or `otherwise`, stands for a last
        position; of all outputs together, their names."""
        path = self.path
        if self.children is None and (not path or isinstance(path[-1], int)):
            path = (*path[:-1], self.name or otherwise)
        return "/".join(map(str, path or ["_".join(self.names)]))

    # ---- what is given for the outputs -------------------------------------------------------------------------------

    def parts(self, given, what: str) -> list[tuple[Place, Any]]:
        """What a list, tuple or dict holds for each child, in its own order.

        It mirrors this place, or has an entry per tensor (a flat list in their order, a dict by their names). A dict
        may leave children out, which get None.

        Raises:
            ValueError: when it does neither; the message names `what`.
        """
        assert self.children is not None
        if isinstance(given, dict):
            own, named = dict(self.children) if self.is_dict else {}, self._by_name()
            if not given.keys() <= own.keys() and given.keys() <= named.keys():
                flat = [None] * self.size
                for name, part in given.items():
                    flat[named[name]] = part
                return self._grouped(flat)
            for key in given:
                if key not in (own or named):
                    raise _foreign(key, given, list(own or named) or self.names, what)
            return [(own[key], part) for key, part in given.items()] + [
                (child, None) for key, child in self.children if key not in given]
        if len(given) == len(self.children) and all(
                child.mirrors(part) for (_, child), part in zip(self.children, given)):
            return [(child, part) for (_, child), part in zip(self.children, given)]
        if len(given) == self.size and not any(map(tree.is_nested, given)):
            return self._grouped(list(given))
        if len(given) == len(self.children):
            return [(child, part) for (_, child), part in zip(self.children, given)]  # the error lies further inside
        raise ValueError(f"`{what}` has {len(given)} entries; the model has {self.size} outputs: {self.names}.")

    def mirrors(self, given) -> bool:
        """Whether a structure has the form of this place; what is no container stands for all of it."""
        if not tree.is_nested(given):
            return True
        if self.children is None:
            return len(given) == 1 and not isinstance(given, dict) and self.mirrors(given[0])
        if isinstance(given, dict):
            own = dict(self.children)
            return self.is_dict and all(key in own and own[key].mirrors(part) for key, part in given.items())
        return not self.is_dict and len(given) == len(self.children) and all(
            child.mirrors(part) for (_, child), part in zip(self.children, given))

    def fits(self, given) -> bool:
        """Whether `parts` takes a list or tuple: it mirrors this place, or has an entry per tensor."""
        return self.mirrors(given) or (len(given) == self.size and not any(map(tree.is_nested, given)))

    def spread(self, given, what: str, shared: bool = True, many: bool = False) -> list:
        """One entry per tensor of what is given for this place.

        Args:
            shared: whether a single entry counts for all tensors.
            many: whether a tensor may have a list of entries.
        """
        found: list = [None] * self.size
        for leaf, part in self._spread(given, what, shared, many):
            found[leaf.first - self.first] = part
        return found

    def targets(self, y, wanted: list[int]) -> list:
        """One target per tensor; where only some outputs are `wanted`, `y` may hold theirs alone."""
        if self.size == 1:
            flat = tree.flatten(y)
            return flat if len(flat) == 1 else [y]  # a loss of one's own may take a structure
        try:
            return self.spread(y, "y", shared=False)
        except ValueError:
            flat = tree.flatten(y)
            if isinstance(y, dict) or len(flat) != len(wanted) or len(wanted) == self.size:
                raise
            found: list = [None] * self.size
            for number, target in zip(sorted(wanted), flat):
                found[number] = target
            return found

    def _spread(self, given, what, shared, many) -> Iterator[tuple[Place, Any]]:
        if given is None:
            return
        if self.children is None:
            yield self, given if many and not isinstance(given, dict) else self.only(given, what, many)
        elif tree.is_nested(given):
            for child, part in self.parts(given, what):
                yield from child._spread(part, what, shared, many)
        elif shared:
            for leaf in self.leaves:
                yield leaf, given
        else:
            raise ValueError(f"`{what}` has 1 entries; the model has {self.size} outputs: {self.names}.")

    def only(self, given, what: str, many: bool = False):
        """What is given for this tensor: itself, or the one entry of a list, tuple or dict (with `many` of a dict)."""
        while isinstance(given, dict) if many else tree.is_nested(given):
            if len(given) != 1:
                raise ValueError(f"`{what}`: expected one entry for output {self.names[0]!r}; received a"
                                 f" {type(given).__name__} of {len(given)}: {given!r}")
            if isinstance(given, dict) and self.name is not None and self.name not in given:
                raise _foreign(next(iter(given)), given, self.names, what)
            given = next(iter(given.values() if isinstance(given, dict) else given))
        return given

    def _by_name(self) -> dict[str, int]:
        """Numbers of the tensors by their names, where all have one of their own."""
        named = {leaf.name: leaf.first - self.first for leaf in self.leaves if leaf.name is not None}
        return named if len(named) == self.size else {}

    def _grouped(self, flat: list) -> list[tuple[Place, Any]]:
        assert self.children is not None
        found = []
        for _, child in self.children:
            at = child.first - self.first
            found.append((child, flat[at] if child.children is None else flat[at:at + child.size]))
        return found


def _foreign(key, given, known, what: str) -> ValueError:
    return ValueError(f"Invalid `{what}`: key {key!r} does not correspond to any model output. Expected keys from"
                      f" {known}; received {list(given)}.")
