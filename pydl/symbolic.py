"""Symbolic tensors: what a layer or an op returns when called on an `Input`. Shapes and dtypes only."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ParamSpec, TypeVar

import numpy as np

from pydl import _core, tree
from pydl.operators import Operators
from pydl.probes import Place, explore
from pydl.registry import auto_name
from pydl.tape import no_grad
from pydl.tensor import Tensor, empty, standardize_dtype, stored_dtype

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_count = itertools.count()


def symbolic_dtype(dtype: Any) -> str:
    """As `standardize_dtype`, and "string": such data never enter a recorded program, but the graph of a model."""
    return "string" if dtype in ("string", str) else standardize_dtype(dtype)


class KerasTensor(Operators["KerasTensor"]):
    """A tensor without values.

    Attributes:
        shape: tuple of ints and None (unknown until a batch arrives).
        dtype: name.
        node: the `SymbolicNode` that produced it; None until a layer or op did.
        index: which output of the node.
    """

    _keras_mask: KerasTensor

    def __init__(self, shape: Iterable[int | None], dtype: Any = "float32", sparse: bool = False, ragged: bool = False,
                 record_history: bool = True, name: str | None = None) -> None:
        self.shape = tuple(None if d is None else int(d) for d in shape)
        self.dtype = symbolic_dtype(dtype)
        self.name = name or f"keras_tensor_{next(_count)}"
        self.sparse = sparse
        self.node: SymbolicNode | None = None
        self.index = 0

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        raise TypeError(f"A KerasTensor has no length; its shape is {self.shape}.")

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise ValueError(_NO_VALUE)

    def __bool__(self) -> bool:
        raise TypeError(_NO_VALUE)

    __float__ = __int__ = __index__ = __bool__

    def __iter__(self) -> Iterator[KerasTensor]:
        raise TypeError("Iterating over a symbolic KerasTensor is not supported.")

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"


_NO_VALUE = (
    "A KerasTensor is symbolic: it has a shape and a dtype and no value. It stands for data in a functional model;"
    " use layers and `ops` on it, and build a Model from the result."
)


class SymbolicNode:
    """One call of an operation (layer or op) on symbolic tensors.

    Attributes:
        operation: what is called when the model runs.
        args, kwargs: as given, with KerasTensors as place-holders.
        outputs: the structure of KerasTensors it gave.
    """

    def __init__(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: Any) -> None:
        self.operation = operation
        self.args = args
        self.kwargs = kwargs
        self.outputs = outputs
        self.inputs = [t for t in tree.flatten([list(args), kwargs]) if isinstance(t, KerasTensor)]
        for index, tensor in enumerate(tree.flatten(outputs)):
            if isinstance(tensor, KerasTensor):
                tensor.node, tensor.index = self, index


class OpCall:
    """An op of `pydl.ops` as the operation of a functional model."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn
        self.name = auto_name(fn.__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.fn(*args, **kwargs)

    def static_arguments(self, node: SymbolicNode) -> dict[str, Any]:
        """Arguments of the call that hold no KerasTensor, by name."""
        bound = inspect.signature(self.fn).bind(*node.args, **node.kwargs).arguments
        return {k: v for k, v in bound.items() if not is_symbolic(v)}

    def positional_numbers(self, node: SymbolicNode) -> bool:
        """Whether the op is a binary one called with a plain number or array beside a tensor, like x + 1."""
        return len(node.args) == 2 and any(isinstance(a, (int, float, np.ndarray, Tensor)) for a in node.args) and (
            tuple(inspect.signature(self.fn).parameters)[:2] == ("x1", "x2"))


def of_shapes(shapes: Any, dtype: str) -> Any:
    """A KerasTensor in the place of each shape of a structure; a shape is a list or tuple of numbers and None."""
    if isinstance(shapes, dict):
        return {key: of_shapes(shape, dtype) for key, shape in shapes.items()}
    if all(d is None or isinstance(d, (int, np.integer)) for d in shapes):
        return KerasTensor(shapes, dtype)
    return [of_shapes(shape, dtype) for shape in shapes]


def is_symbolic(*args: Any, **kwargs: Any) -> bool:
    """Whether a KerasTensor is among the arguments, or inside a list, tuple or dict there."""
    for a in args:
        if type(a) is KerasTensor or isinstance(a, KerasTensor):
            return True
        if isinstance(a, (list, tuple)) and a and is_symbolic(*a):
            return True
        if isinstance(a, dict) and is_symbolic(*a.values()):
            return True
    return is_symbolic(*kwargs.values()) if kwargs else False


def op(fn: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """Marks a function of `pydl.ops`: on symbolic arguments it adds a node to the graph instead of computing. (A type
    checker sees the result of the eager call.)"""

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        for a in args:  # the common case, kept cheap
            if isinstance(a, (KerasTensor, list, tuple, dict)) and is_symbolic(a):
                return apply_symbolic(OpCall(call), args, kwargs)
        if kwargs and is_symbolic(**kwargs):
            return apply_symbolic(OpCall(call), args, kwargs)
        return fn(*args, **kwargs)

    call.eager = fn  # type: ignore[attr-defined]  # functions have attributes
    return call


def apply_symbolic(operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls an operation on symbolic arguments: a new node, with outputs whose shapes are inferred."""
    outputs = infer(operation, args, kwargs)
    SymbolicNode(operation, args, kwargs, outputs)
    return outputs


class dry_run:
    """Context: kernels do not run; only shapes and dtypes of results mean anything."""

    def __enter__(self) -> None:
        self._before = _core.set_dry_run(True)

    def __exit__(self, *_: object) -> None:
        _core.set_dry_run(self._before)


def infer(fn: Callable[..., Any], args: Iterable[Any], kwargs: dict[str, Any]) -> Any:
    """Shapes and dtypes of `fn(*args, **kwargs)` as KerasTensors.

    The function runs without its kernels, several times, with different numbers in the place of each None
    (`probes.py`); a dimension that differs between the runs is None.

    Raises:
        ValueError: when how many results there are depends on an unknown size. Any error of the function, with None
            for numbers that do.
    """
    args = list(args)
    inputs = {id(x): x for x in tree.flatten([args, kwargs]) if isinstance(x, KerasTensor)}
    if any(x.dtype == "string" for x in inputs.values()):
        raise TypeError("strings were given to something that takes numbers; TextVectorization, StringLookup and"
                        " Hashing turn strings into numbers.")
    numbers = {key: number for number, key in enumerate(inputs)}

    def run(size: Callable[[Place], int]) -> Any:
        def stand_in(x: Any) -> Any:
            if not isinstance(x, KerasTensor):
                return x
            number = numbers[id(x)]

            def of(given: Any) -> Tensor:
                shape = [size((number, axis)) if d is None else d for axis, d in enumerate(given.shape)]
                return empty(shape, stored_dtype(given.dtype))

            value, mask = of(x), getattr(x, "_keras_mask", None)
            if mask is not None:
                value._keras_mask = of(mask)
            return value

        with dry_run(), no_grad():
            return fn(*tree.map_structure(stand_in, args), **tree.map_structure(stand_in, kwargs))

    results = explore(run, [(numbers[key], axis) for key, x in inputs.items() for axis, d in enumerate(x.shape)
                            if d is None])
    first, second, *others = results if len(results) > 1 else results * 2
    if not _alike(first, second):
        raise ValueError("The number or the rank of the results depends on a size that is not known; received"
                         f" {', '.join(str(x.shape) for x in inputs.values())}.")
    return tree.map_structure(_merged, first, second, *[y for y in others if _alike(first, y)])


def _alike(a: Any, b: Any) -> bool:
    """Whether two results differ in sizes only."""
    try:
        return all(tree.flatten(tree.map_structure(
            lambda x, y: x.ndim == y.ndim if isinstance(x, Tensor) and isinstance(y, Tensor) else type(x) is type(y),
            a, b)))
    except ValueError:
        return False


def _merged(*values: Any) -> Any:
    first = values[0]
    if not isinstance(first, Tensor):
        return None if isinstance(first, int) and len(set(values)) > 1 else first
    merged = KerasTensor([sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*[y.shape for y in values])],
                         first.dtype)
    masks = [getattr(y, "_keras_mask", None) for y in values]
    if all(mask is not None for mask in masks):
        merged._keras_mask = _merged(*masks)
    return merged
