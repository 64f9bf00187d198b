"""How a layer is built: by its first call, directly, or from a file."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from pydl.layers._call import CallSpec, Path


@functools.lru_cache(maxsize=1024)
def _parameters_of(build) -> list[str]:
    """The names a `build` takes, without `self` and `**kwargs`."""
    return [name for name, p in inspect.signature(build).parameters.items()
            if name != "self" and p.kind != p.VAR_KEYWORD]


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
    if len(names) > 1 or (names and names[0] in shapes and names[0] != "input_shape"):
        chosen = {name: shapes[name] for name in names if name in shapes}
    else:
        chosen = {"input_shape": next(iter(shapes.values()), None)}
    build_with_shapes(spec.layer, path, chosen)


def build_with_shapes(layer, path: str, shapes: dict[str, Any]) -> None:
    """Calls `build` with shapes by the names of its arguments; a lone `input_shape` goes to the first one."""
    object.__setattr__(layer, "_path", path)
    object.__setattr__(layer, "_build_shapes", shapes)
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
