"""`+ - * / @ [] == < ...` and the methods of Tensor and KerasTensor, installed here so that neither imports upward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydl import ops, tensor
from pydl.ops._common import Axis, TensorLike
from pydl.ops.core import assign
from pydl.symbolic import KerasTensor
from pydl.tensor import Tensor

_BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide",
    "mod": "mod", "pow": "power", "matmul": "matmul", "and": "logical_and", "or": "logical_or", "xor": "logical_xor",
}
_COMPARE = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}


def _binary(name: str) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    def forward(self: TensorLike, other: TensorLike) -> Any:
        return getattr(ops, name)(self, other)

    def reflected(self: TensorLike, other: TensorLike) -> Any:
        return getattr(ops, name)(other, self)

    return forward, reflected


def _compare(name: str) -> Callable[..., Tensor | bool]:
    def compare(self: TensorLike, other: TensorLike | None) -> Any:
        if other is None:
            return name == "not_equal"
        return getattr(ops, name)(self, other)

    return compare


def _reduce(name: str) -> Callable[..., Tensor]:
    return lambda self, axis=None, keepdims=False: getattr(ops, name)(self, axis=axis, keepdims=keepdims)


def _squeeze(self: TensorLike, axis: Axis = None) -> Tensor:
    return ops.squeeze(self, axis)


def _reshape(self: TensorLike, *shape: Any) -> Tensor:
    return ops.reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)


def _transpose(self: TensorLike, *axes: Any) -> Tensor:
    return ops.transpose(self, (axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes) or None)


_METHODS = {
    "__hash__": lambda self: id(self),
    "__neg__": lambda self: ops.negative(self),
    "__pos__": lambda self: self,
    "__abs__": lambda self: ops.abs(self),
    "__invert__": lambda self: ops.logical_not(self),
    "__getitem__": lambda self, key: ops.getitem(self, key),
    "reshape": _reshape,
    "transpose": _transpose,
    "T": property(_transpose),
    "squeeze": _squeeze,
    "astype": lambda self, dtype: ops.cast(self, dtype),
    **{name: _reduce(name) for name in ("sum", "mean", "max", "min")},
    **{f"__{symbol}__": _compare(name) for symbol, name in _COMPARE.items()},
}


def install() -> None:
    """Gives Tensor and KerasTensor their operators. Called once by `pydl/__init__.py`, when all ops are loaded."""
    for cls in (Tensor, KerasTensor):
        for symbol, name in _BINARY.items():
            forward, reflected = _binary(name)
            setattr(cls, f"__{symbol}__", forward)
            setattr(cls, f"__r{symbol}__", reflected)
        for name, method in _METHODS.items():
            setattr(cls, name, method)
    tensor._assign = assign
