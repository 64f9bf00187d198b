"""How a layer is built: by its first call, directly, or from a file."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np

from pydl.layers._call import CallSpec, Path
from pydl.probes import settle
from pydl.tensor import paused_recording


@functools.lru_cache(maxsize=1024)
def _parameters_of(build) -> list[str]:
    """The names a `build` takes, without `self` and `**kwargs`."""
    return [name for name, p in inspect.signature(build).parameters.items()
            if name != "self" and p.kind != p.VAR_KEYWORD]


def takes_scalars(init):
    """`__init__` that gets numbers of NumPy (`x.max() + 1`), also in tuples and lists, as those of Python, which
    configs and messages know."""
    @functools.wraps(init)
    def plain(self, *args, **kwargs):
        init(self, *map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})

    return plain


def _plain(value):
    if isinstance(value, (np.number, np.bool_)):
        return value.item()
    if type(value) in (tuple, list) and any(isinstance(v, (np.number, np.bool_, tuple, list)) for v in value):
        return type(value)(map(_plain, value))
    return value


def marks_built(build):
    """`build` of a class, after which a layer is built also when it was called directly."""

    @functools.wraps(build)
    def marked(self, *args, **kwargs):
        outermost = getattr(type(self).build, "__wrapped__", None) is build  # not by way of super()
        if not outermost or self._path is not None:
            build(self, *args, **kwargs)
        else:
            with Path(self) as path:
                object.__setattr__(self, "_path", path.full)
                build(self, *args, **kwargs)
        if outermost:
            if self._build_shapes is None and (args or kwargs):
                object.__setattr__(self, "_build_shapes", kwargs or {"input_shape": args[0]})
            object.__setattr__(self, "built", True)

    return marked


def build_from_call(spec: CallSpec, path: str) -> None:
    """Builds the layer of a call: with the shape of the first argument that holds tensors, or, where `build` names them
    `<argument>_shape`, with the shapes of those arguments."""
    shapes, names = spec.shapes(), _parameters_of(type(spec.layer).build)
    if len(names) > 1:
        _check_names(spec, names)
    if len(names) > 1 or (names and names[0] in shapes and names[0] != "input_shape"):
        chosen = {name: shapes[name] for name in names if name in shapes}
    else:
        chosen = {"input_shape": next(iter(shapes.values()), None)}
    build_with_shapes(spec.layer, path, chosen)


def _check_names(spec: CallSpec, names: list[str]) -> None:
    """Raises ValueError for a parameter of `build` that is no `<argument>_shape` of `call`'s."""
    signature = spec.signature
    for name in names:
        if not name.endswith("_shape"):
            raise ValueError(f"{type(spec.layer).__name__}: a `build` of several parameters takes shapes by the names"
                             f" of `call`'s arguments; its parameter `{name}` does not end in `_shape`.")
        if name.removesuffix("_shape") not in signature.places and not signature.takes_any:
            raise ValueError(f"{type(spec.layer).__name__}: the parameter `{name}` of `build` asks for a shape, and"
                             f" `call()` does not have argument `{name.removesuffix('_shape')}`.")


def build_with_shapes(layer, path: str, shapes: dict[str, Any]) -> None:
    """Calls `build` with shapes by the names of its arguments; a lone `input_shape` goes to the first one. It runs
    where no recording and no inference of shapes sees it: what it makes, stays."""
    known = settle(layer, shapes)
    if known is not None:
        object.__setattr__(layer, "_build_shapes", known)
    else:
        object.__setattr__(layer, "_path", path)
        object.__setattr__(layer, "_build_shapes", shapes)
        with paused_recording():
            if set(shapes) == {"input_shape"}:
                layer.build(shapes["input_shape"])
            else:
                layer.build(**shapes)
    object.__setattr__(layer, "built", True)


def as_shape(value):
    """JSON turns tuples into lists: back."""
    if isinstance(value, dict):
        return {key: as_shape(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        if all(d is None or isinstance(d, int) for d in value):
            return tuple(value)
        return [as_shape(v) for v in value]
    return value
