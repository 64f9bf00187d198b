"""Control flow over tensors: loops, branches, scans, maps.

In a recording loops are unrolled: the number of rounds must be known when the step is described. A branch on a
tensor's value reads that value, which a recording refuses with an error that names the line. Called on symbolic tensors
a loop is one step of the graph. It holds the functions, so a model with one can be saved only where these are
registered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from pydl import ops, tree
from pydl._core import is_dry_run
from pydl.symbolic import KerasTensor, op
from pydl.tensor import RecordingError, Tensor

__all__ = ["associative_scan", "cond", "fori_loop", "map", "scan", "switch", "vectorized_map", "while_loop"]

Structure: TypeAlias = Any  # tensors in lists, tuples and dicts

_MOST_DRY_ROUNDS = 1000  # of a condition that Python decides, where nothing but shapes is wanted


@op
def fori_loop(lower: int, upper: int, body_fun: Callable[[int, Structure], Structure],
              init_val: Structure) -> Structure:
    """`val = body_fun(i, val)` for i = lower .. upper - 1. The bounds are read; a recording unrolls the loop.

    Of symbolic tensors the result has the shapes of `init_val`, which the body keeps.

    Returns:
        The last `val`, a structure of tensors.
    """
    value = init_val
    for i in range(int(lower), int(upper)):
        value = body_fun(i, value)
    return value


@op
def while_loop(cond: Callable[..., object], body: Callable[..., Structure], loop_vars: Structure,
               maximum_iterations: int | None = None) -> Structure:
    """`loop_vars = body(*loop_vars)` while `cond(*loop_vars)`, at most `maximum_iterations` times.

    The condition is read each round, so it must not depend on tensors inside a recording. Of symbolic tensors the
    result has the shapes of one round.

    Returns:
        The last `loop_vars`, in the structure given.
    """
    single = not isinstance(loop_vars, (list, tuple))
    values = (loop_vars,) if single else tuple(loop_vars)
    if is_dry_run():  # whose numbers are none
        values = tuple(_tensors(values))
    rounds = 0
    while maximum_iterations is None or rounds < maximum_iterations:
        try:
            if not cond(*values) or (is_dry_run() and rounds == _MOST_DRY_ROUNDS):
                break
        except RecordingError:
            if not is_dry_run() or rounds:
                raise
            maximum_iterations = 1  # rounds keep the shapes
        result = body(*values)
        values = tuple(result) if isinstance(result, (list, tuple)) else (result,)
        if len(values) != (1 if single else len(loop_vars)):
            raise ValueError(f"while_loop: the body returned {len(values)} values for "
                             f"{1 if single else len(loop_vars)} loop variables.")
        rounds += 1
    return values[0] if single else type(loop_vars)(values)


def cond(pred: object, true_fn: Callable[[], Structure], false_fn: Callable[[], Structure]) -> Structure:
    """`true_fn()` if `pred` else `false_fn()`. `pred` is read: inside a recording use `ops.where` on both results."""
    if isinstance(pred, KerasTensor):
        raise ValueError("cond: a KerasTensor has no value to decide by, and the graph of a model does not see which"
                         " tensors the functions use. Use ops.where, or put the branch into the `call` of a layer.")
    return true_fn() if bool(pred) else false_fn()


@op
def switch(index: int | Tensor, branches: Sequence[Callable[..., Structure]], *operands: Structure) -> Structure:
    """`branches[index](*operands)`, with the index clamped to the branches there are. The index is read; of symbolic
    tensors the result has the shapes of the first branch."""
    if is_dry_run() and isinstance(index, Tensor):
        return branches[0](*operands)
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


def _length(xs: Structure, length: int | None, who: str) -> int:
    lengths: set[int | None] = set()
    if xs is not None:
        lengths = {x.shape[0] if len(x.shape) else None for x in tree.flatten(xs)}
    if length is not None:
        lengths.add(int(length))
    (n,) = lengths if len(lengths) == 1 else {None}
    if n is None:
        raise ValueError(f"{who}: expected tensors with one common size of axis 0; received sizes "
                         f"{sorted(lengths, key=str)}.")
    return n


def _tensors(xs: Structure) -> Structure:
    return tree.map_structure(ops.convert_to_tensor, xs)


def _stacked(results: Sequence[Structure]) -> Structure:
    return tree.map_structure(lambda *parts: ops.stack(list(parts)), *results)


@op
def scan(f: Callable[[Structure, Structure], tuple[Structure, Structure]], init: Structure, xs: Structure = None,
         length: int | None = None, reverse: bool = False, unroll: int = 1) -> tuple[Structure, Structure]:
    """`carry, y = f(carry, x)` for each slice x of `xs` along axis 0.

    Args:
        f: function of a carry and a slice.
        init: the first carry, a structure of tensors.
        xs: structure of tensors with a common size of axis 0, or None with `length`.
        length: number of rounds, when `xs` is None.
        reverse: from the last slice to the first; results stay in the order of `xs`.

    Returns:
        (last carry, structure of the y's stacked along axis 0, None when f returns None for y).
    """
    xs = None if xs is None else _tensors(xs)
    n = _length(xs, length, "scan")
    carry, results = init, []
    for i in range(n - 1, -1, -1) if reverse else range(n):
        carry, y = f(carry, None if xs is None else tree.map_structure(lambda x, i=i: x[i], xs))
        results.append(y)
    if reverse:
        results.reverse()
    return carry, None if not results or results[0] is None else _stacked(results)


@op
def map(f: Callable[[Structure], Structure], xs: Structure) -> Structure:
    """`f` applied to each slice of `xs` along axis 0, the results stacked.

    Raises:
        ValueError: for an empty axis 0, where the form of the results is unknown.
    """
    xs = _tensors(xs)
    n = _length(xs, None, "map")
    if n == 0:
        raise ValueError("map: axis 0 is empty.")
    return _stacked([f(tree.map_structure(lambda x, i=i: x[i], xs)) for i in range(n)])


def vectorized_map(function: Callable[[Structure], Structure], elements: Structure) -> Structure:
    """As `map`: slice by slice."""
    return map(function, elements)


@op
def associative_scan(f: Callable[[Structure, Structure], Structure], elems: Structure, reverse: bool = False,
                     axis: int = 0) -> Structure:
    """Running results e0, f(e0, e1), f(f(e0, e1), e2), ... of an associative `f` along `axis`, in log2(n) rounds.

    Args:
        f: function of two structures like `elems` that works on whole tensors, element by element along `axis`.
        elems: structure of tensors with a common size of `axis`.
        reverse: from the end.
    """
    elems = _tensors(elems)
    flat = tree.flatten(elems)
    n = flat[0].shape[axis]
    if any(x.shape[axis] != n for x in flat):
        raise ValueError(f"associative_scan: expected one size of axis {axis}; received shapes "
                         f"{[x.shape for x in flat]}.")

    def part(x: Tensor, begin: int, end: int) -> Tensor:
        return x[(slice(None),) * (axis % x.ndim) + (slice(begin, end),)]

    if reverse:
        elems = tree.map_structure(lambda x: ops.flip(x, axis), elems)
    distance = 1
    while distance < n:  # after each round every place covers `distance` elements up to itself
        head = tree.map_structure(lambda x, d=distance: part(x, 0, d), elems)
        early = tree.map_structure(lambda x, d=distance: part(x, 0, n - d), elems)
        late = tree.map_structure(lambda x, d=distance: part(x, d, n), elems)
        elems = tree.map_structure(lambda a, b: ops.concatenate([a, b], axis), head, f(early, late))
        distance *= 2
    return tree.map_structure(lambda x: ops.flip(x, axis), elems) if reverse else elems
