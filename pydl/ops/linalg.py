"""Products of tensors under the names of `keras.ops`, and `dense`, the fused layer `activation(x @ kernel + bias)`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from pydl import ops
from pydl._core import kernels
from pydl.dtypes import is_byte_dtype, is_float_dtype
from pydl.ops._common import (
    Gradients,
    Shape,
    TensorLike,
    as_float,
    as_tensor,
    normalize_axes,
    normalize_axis,
    result_dtype,
)
from pydl.ops._fused import fused
from pydl.ops.reduction import norm  # noqa: F401  keras.ops.linalg has it
from pydl.symbolic import op
from pydl.tape import OWNED, differentiable
from pydl.tensor import Tensor, empty

__all__ = ["cross", "dense", "dot", "einsum", "inner", "matmul", "outer", "tensordot", "vdot"]

# The activations a product kernel applies to its tiles; numbers of csrc/kernels/matmul.h.
FUSED_ACTIVATIONS = {None: 0, "linear": 0, "relu": 1, "sigmoid": 2, "tanh": 3}


def _operands(x1: TensorLike, x2: TensorLike) -> tuple[Tensor, Tensor, str]:
    """Both as tensors of the dtype products are computed in, and the dtype of the result."""
    x1, x2 = as_tensor(x1), as_tensor(x2)
    dtype = result_dtype(x1, x2)
    compute = _computed_in(dtype)
    x1, x2 = (x if x.dtype == compute else ops.cast(x, compute) for x in (x1, x2))
    return x1, x2, dtype


def _computed_in(dtype: str) -> str:
    return "int32" if is_byte_dtype(dtype) else dtype


def _result(y: Tensor, dtype: str) -> Tensor:
    return y if y.dtype == dtype else ops.cast(y, dtype)


def _product(a: Tensor, b: Tensor, trans_a: bool = False, trans_b: bool = False) -> Tensor:
    """op(a) op(b) of the last two axes. Batch axes are equal, or one operand has none and serves the whole batch. Of
    integers, which have no gradient and come as they are, modulo 2^bits."""
    m, k = a.shape[-2:][::-1] if trans_a else a.shape[-2:]
    n = b.shape[-2] if trans_b else b.shape[-1]
    batch = a.shape[:-2] or b.shape[:-2]
    y = empty((*batch, m, n), a.dtype)
    strides = m * k if a.ndim > 2 else 0, k * n if b.ndim > 2 else 0
    if not is_float_dtype(a.dtype):
        kernels.matmul_wrapping(a.data, b.data, y.data, math.prod(batch), m, n, k, *strides)
        return y
    kernels.matmul(a.data, b.data, None, y.data, math.prod(batch), m, n, k, trans_a, trans_b, *strides, 0)

    def vjp(dy: Tensor) -> Gradients:  # of products, so that it has a gradient itself
        da = db = None
        if a.node is not None:
            da = _product(b, dy, trans_b, True) if trans_a else _product(dy, b, False, not trans_b)
            if a.ndim == 2 < da.ndim:
                da = ops.sum(ops.reshape(da, (-1, *a.shape)), 0)
        if b.node is not None:
            db = _product(dy, a, True, trans_a) if trans_b else _product(a, dy, not trans_a, False)
            if b.ndim == 2 < db.ndim:
                db = ops.sum(ops.reshape(db, (-1, *b.shape)), 0)
        return da, db

    return differentiable(y, (a, b), vjp)


@op
def matmul(x1: TensorLike, x2: TensorLike) -> Tensor:
    """Matrix product over the last two axes; products of integers wrap, as NumPy's.

    Args:
        x1: (..., m, k), or (k,).
        x2: (..., k, n), or (k,). Leading axes broadcast; an operand of rank 1 is a row (`x1`) or a column (`x2`)
            whose axis of size 1 the result does not have.

    Returns:
        (..., m, n).

    Raises:
        ValueError: when an operand is a number or the inner sizes differ.
    """
    x1, x2, dtype = _operands(x1, x2)
    if x1.ndim == 0 or x2.ndim == 0 or x1.shape[-1] != x2.shape[max(x2.ndim - 2, 0)]:
        raise ValueError(f"matmul: expected shapes (..., m, k) and (..., k, n); received {x1.shape} and {x2.shape}.")
    a = ops.reshape(x1, (1, -1)) if x1.ndim == 1 else x1
    b = ops.reshape(x2, (x2.shape[0], 1)) if x2.ndim == 1 else x2
    shape = (x1.shape[-2:-1] if x1.ndim > 1 else ()) + (x2.shape[-1:] if x2.ndim > 1 else ())
    lead = a.shape[:-2]
    if b.ndim == 2 < a.ndim:  # one tall product
        a = ops.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))
    elif a.ndim == 2 < b.ndim:
        lead = b.shape[:-2]
    elif lead != b.shape[:-2]:
        lead = _broadcast_shape(lead, b.shape[:-2])
        # A batch of ones is one matrix for all; anything else is written out.
        a, b = (ops.reshape(x, x.shape[-2:]) if math.prod(x.shape[:-2]) == 1 else
                ops.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (a, b))
    y = _product(a, b)
    return _result(y if y.shape == lead + shape else ops.reshape(y, lead + shape), dtype)


def _broadcast_shape(a: Shape, b: Shape) -> Shape:
    rank = max(len(a), len(b))
    pairs = list(zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b))
    if any(m != n and 1 not in (m, n) for m, n in pairs):
        raise ValueError(f"matmul: batch shapes {a} and {b} do not broadcast.")
    return tuple(n if m == 1 else m for m, n in pairs)


@op
def dense(x: TensorLike, kernel: TensorLike, bias: TensorLike | None = None, activation: str | None = None) -> Tensor:
    """`activation(x @ kernel + bias)` in one pass: bias and activation are applied to tiles still in registers or L1.

    Args:
        x: (..., k), at least rank 1.
        kernel: (k, n).
        bias: (n,) or None.
        activation: None, `"linear"`, `"relu"`, `"sigmoid"` or `"tanh"`.

    Returns:
        (..., n).
    """
    if activation not in FUSED_ACTIVATIONS:
        raise ValueError(f"dense: expected activation to be one of {list(FUSED_ACTIVATIONS)}; received {activation!r}.")
    x, kernel = as_float(x), as_float(kernel)
    bias = None if bias is None else as_float(bias)
    if x.dtype != kernel.dtype or (bias is not None and bias.dtype != x.dtype):
        dtype = result_dtype(*(t for t in (x, kernel, bias) if t is not None))
        x, kernel = ops.cast(x, dtype), ops.cast(kernel, dtype)
        bias = None if bias is None else ops.cast(bias, dtype)
    if x.ndim < 1 or kernel.ndim != 2 or x.shape[-1] != kernel.shape[0]:
        raise ValueError(f"dense: expected x (..., k) and kernel (k, n); received {x.shape} and {kernel.shape}.")
    if bias is not None and bias.shape != kernel.shape[1:]:
        raise ValueError(f"dense: expected bias of shape {kernel.shape[1:]}; received {bias.shape}.")
    return _dense(x, kernel, bias, activation)


def activated(z: Tensor, bias: Tensor | None, activation: str | None) -> Tensor:
    """activation(z + bias): what the kernels of `dense` and of the convolutions do to their sums."""
    z = z if bias is None else ops.add(z, bias)
    return getattr(ops, activation)(z) if activation is not None and FUSED_ACTIVATIONS[activation] else z


def before_activation(value: np.ndarray, dy: Tensor, bias: Tensor | None, code: int) -> tuple[Tensor, Tensor | None]:
    """The gradients of the sums in front of a fused activation, and of the bias. value: the activation's result."""
    channels = dy.shape[-1]
    dz = empty(dy.shape, dy.dtype) if code else dy
    dbias = empty((channels,), dy.dtype) if bias is not None and bias.node is not None else None
    if code or dbias is not None:
        kernels.dense_dz(value if code else None, dy.data, dz.data if code else None,
                         None if dbias is None else dbias.data, math.prod(dy.shape[:-1]), channels, code)
    return dz, dbias


def _dense_kernel(x: Tensor, kernel: Tensor, bias: Tensor | None, activation: str | None) -> Tensor:
    (k, n), m, dtype = kernel.shape, math.prod(x.shape[:-1]), x.dtype
    code = FUSED_ACTIVATIONS[activation]
    y = empty((*x.shape[:-1], n), dtype)
    kernels.matmul(x.data, kernel.data, None if bias is None else bias.data, y.data, 1, m, n, k, 0, 0, 0, 0, code)
    value = y.data

    def vjp(dy: Tensor, into: Sequence[Tensor | None]) -> Gradients:
        dx = dkernel = None
        dz, dbias = before_activation(value, dy, bias, code)
        if x.node is not None:
            dx = empty(x.shape, dtype)
            kernels.matmul(dz.data, kernel.data, None, dx.data, 1, m, k, n, 0, 1, 0, 0, 0)
        if kernel.node is not None and into[1] is not None:
            dkernel = into[1]
            kernels.matmul_accumulate(x.data, dz.data, dkernel.data, 1, k, n, m, 1, 0, 0, 0)
        elif kernel.node is not None:
            dkernel = empty(kernel.shape, dtype)
            dkernel.slot = OWNED
            kernels.matmul(x.data, dz.data, None, dkernel.data, 1, k, n, m, 1, 0, 0, 0, 0)
        return (dx, dkernel, dbias) if bias is not None else (dx, dkernel)

    return differentiable(y, (x, kernel) if bias is None else (x, kernel, bias), vjp, adds=True)


@fused(_dense_kernel, keeps_inputs=True)
def _dense(x: Tensor, kernel: Tensor, bias: Tensor | None, activation: str | None) -> Tensor:
    return activated(matmul(x, kernel), bias, activation)


# ------------------------------------------------------------------------------- other contractions


@op
def tensordot(x1: TensorLike, x2: TensorLike, axes: int | Sequence[int | Sequence[int]] = 2) -> Tensor:
    """Sum of products over pairs of axes.

    Args:
        x1, x2: tensors.
        axes: how many last axes of `x1` meet as many first axes of `x2`, or two lists of axes that meet in order.

    Returns:
        The remaining axes of `x1`, then those of `x2`.
    """
    x1, x2, dtype = _operands(x1, x2)
    if isinstance(axes, int):
        if not 0 <= axes <= min(x1.ndim, x2.ndim):
            raise ValueError(f"tensordot: axes={axes} for shapes {x1.shape} and {x2.shape}.")
        first, second = tuple(range(x1.ndim - axes, x1.ndim)), tuple(range(axes))
    else:
        first, second = ((a,) if isinstance(a, int) else tuple(a) for a in axes)
        normalize_axes(first, x1.ndim), normalize_axes(second, x2.ndim)
        first, second = tuple(a % x1.ndim for a in first), tuple(a % x2.ndim for a in second)
    sizes = [x1.shape[a] for a in first]
    if sizes != [x2.shape[a] for a in second]:
        raise ValueError(f"tensordot: axes {first} of shape {x1.shape} and {second} of {x2.shape} differ in size.")
    free1 = tuple(a for a in range(x1.ndim) if a not in first)
    free2 = tuple(a for a in range(x2.ndim) if a not in second)
    shape = tuple(x1.shape[a] for a in free1) + tuple(x2.shape[a] for a in free2)
    k = math.prod(sizes)
    a = ops.reshape(_permuted(x1, free1 + first), (math.prod(x1.shape[d] for d in free1), k))
    b = ops.reshape(_permuted(x2, second + free2), (k, math.prod(x2.shape[d] for d in free2)))
    return _result(ops.reshape(_product(a, b), shape), dtype)


def _permuted(x: Tensor, order: Shape) -> Tensor:
    return x if order == tuple(range(x.ndim)) else ops.transpose(x, order)


@op
def dot(x1: TensorLike, x2: TensorLike) -> Tensor:
    """As `numpy.dot`: the product over the last axis of `x1` and the second last (or only) of `x2`; a number scales."""
    a, b = as_tensor(x1), as_tensor(x2)
    if a.ndim == 0 or b.ndim == 0:
        return ops.multiply(x1, x2)
    return tensordot(a, b, axes=((a.ndim - 1,), (max(b.ndim - 2, 0),)))


@op
def inner(x1: TensorLike, x2: TensorLike) -> Tensor:
    """As `numpy.inner`: the product over the last axis of both; a number scales."""
    a, b = as_tensor(x1), as_tensor(x2)
    if a.ndim == 0 or b.ndim == 0:
        return ops.multiply(x1, x2)
    return tensordot(a, b, axes=((a.ndim - 1,), (b.ndim - 1,)))


@op
def vdot(x1: TensorLike, x2: TensorLike) -> Tensor:
    """The sum of products of all elements of two tensors of equal size."""
    return dot(ops.ravel(x1), ops.ravel(x2))


@op
def outer(x1: TensorLike, x2: TensorLike) -> Tensor:
    """(m, n): every element of `x1` (raveled, m) times every element of `x2` (raveled, n)."""
    return ops.multiply(ops.reshape(ops.ravel(x1), (-1, 1)), ops.reshape(ops.ravel(x2), (1, -1)))


@op
def cross(x1: TensorLike, x2: TensorLike, axisa: int = -1, axisb: int = -1, axisc: int = -1,
          axis: int | None = None) -> Tensor:
    """The cross product of vectors of 2 or 3 elements (a missing third is zero); two of 2 give the third element only.

    Args:
        x1, x2: tensors whose axes besides the vectors broadcast.
        axisa, axisb, axisc: where the vectors of `x1`, `x2` and the result lie.
        axis: all three at once.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = as_tensor(x1), as_tensor(x2)
    a, b = ops.moveaxis(a, axisa, -1), ops.moveaxis(b, axisb, -1)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError(f"cross: expected vectors of 2 or 3 elements; received {a.shape[-1]} and {b.shape[-1]}.")
    u, v = ops.unstack(a, axis=-1), ops.unstack(b, axis=-1)

    def minor(i: int, j: int) -> Tensor:  # u[i] v[j] - u[j] v[i], third elements that are not there being zero
        first, second = (ops.multiply(u[p], v[q]) if p < len(u) and q < len(v) else None for p, q in ((i, j), (j, i)))
        if first is None:
            assert second is not None  # one of the vectors has three elements, or neither product needs a third
            return ops.negative(second)
        return first if second is None else ops.subtract(first, second)

    if len(u) == len(v) == 2:
        return minor(0, 1)
    y = ops.stack([minor(1, 2), minor(2, 0), minor(0, 1)], axis=-1)
    return ops.moveaxis(y, -1, normalize_axis(axisc, y.ndim, "axisc"))


# ----------------------------------------------------------------------------------------- einsum

Label: TypeAlias = str | int  # of an axis: its letter, or the place of an axis of "..."


@op
def einsum(subscripts: str, *operands: TensorLike, **kwargs: Any) -> Tensor:
    """Sums of products named by letters, as `numpy.einsum`: `"bij,bjk->bik"`, `"...ij->...ji"`, `"ii"`.

    Operands are contracted from left to right, each pair as one batched matrix product.

    Args:
        subscripts: the letters of each operand's axes, `->` and those of the result (without `->`: all that occur
            once, in alphabetical order). `...` stands for axes that broadcast.
        operands: tensors.
    """
    if kwargs.keys() - {"optimize"}:
        raise TypeError(f"einsum: unexpected arguments {sorted(kwargs.keys() - {'optimize'})}.")
    dtype = result_dtype(*(as_tensor(x) for x in operands))
    compute = _computed_in(dtype)
    tensors = [as_tensor(x) for x in operands]
    tensors = [x if x.dtype == compute else ops.cast(x, compute) for x in tensors]
    terms, result = _parse(subscripts, [x.shape for x in tensors])
    sizes: dict[Label, int] = {}
    for term, x in zip(terms, tensors):
        for label, size in zip(term, x.shape):
            known = sizes.get(label, 1)
            if known != 1 and size not in (1, known):
                raise ValueError(f"einsum {subscripts!r}: sizes {known} and {size} of axis {label!r} differ.")
            sizes[label] = known if size == 1 else size
    work = []
    for at, (term, x) in enumerate(zip(terms, tensors)):
        kept = set(result).union(*terms[:at], *terms[at + 1:])
        work.append(_reduced(x, term, kept, sizes))
    x, labels = work[0]
    for at, (y, others) in enumerate(work[1:], 2):
        x, labels = _contract(x, labels, y, others, set(result).union(*(t for _, t in work[at:])))
    return _result(_permuted(x, tuple(labels.index(label) for label in result)), dtype)


def _parse(subscripts: str, shapes: list[Shape]) -> tuple[list[list[Label]], list[Label]]:
    """The axis labels of each operand and of the result. The axes of `...` are the labels 0, 1, ... counted from the
    last, so that they align as broadcasting does."""
    left, arrow, right = subscripts.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(shapes):
        raise ValueError(f"einsum {subscripts!r}: names {len(parts)} operands; received {len(shapes)}.")
    terms, extra = [], 0

    def expand(part: str, count: int) -> list[Label]:
        before, dots, after = part.partition("...")
        if not (before + after).isalpha() and before + after:
            raise ValueError(f"einsum {subscripts!r}: {part!r} is not made of letters and one '...'.")
        return [*before, *(range(count - 1, -1, -1) if dots else ()), *after]

    for part, shape in zip(parts, shapes):
        count = len(shape) - len(part.replace("...", ""))
        if count < 0 or (count and "..." not in part):
            raise ValueError(f"einsum {subscripts!r}: {part!r} does not fit an operand of shape {shape}.")
        extra = max(extra, count)
        terms.append(expand(part, count))
    if arrow:
        result = expand(right, extra)
    else:
        names = [label for term in terms for label in term if isinstance(label, str)]
        result = [*range(extra - 1, -1, -1), *sorted(label for label in set(names) if names.count(label) == 1)]
    known = {label for term in terms for label in term}
    if len(set(result)) != len(result) or not known.issuperset(result):
        raise ValueError(f"einsum {subscripts!r}: the result {right!r} repeats or invents an axis.")
    return terms, result


def _reduced(x: Tensor, term: list[Label], kept: set[Label], sizes: dict[Label, int]) -> tuple[Tensor, list[Label]]:
    """One operand with diagonals taken for repeated labels, axes nobody else names summed, and axes of size 1 that
    are to broadcast dropped."""
    term = list(term)
    for label in dict.fromkeys(term):
        while term.count(label) > 1:
            i = term.index(label)
            j = term.index(label, i + 1)
            x = ops.diagonal(x, 0, i, j)
            term = [*term[:i], *term[i + 1:j], *term[j + 1:], label]
    drop = tuple(a for a, label in enumerate(term) if x.shape[a] == 1 and (sizes[label] != 1 or label not in kept))
    if drop:
        x = ops.squeeze(x, drop)
        term = [label for a, label in enumerate(term) if a not in drop]
    lone = tuple(a for a, label in enumerate(term) if label not in kept)
    if lone:
        x = ops.sum(x, lone)
        term = [label for a, label in enumerate(term) if a not in lone]
    return x, term


def _contract(a: Tensor, of_a: list[Label], b: Tensor, of_b: list[Label],
              kept: set[Label]) -> tuple[Tensor, list[Label]]:
    """The product of two operands, summed over the labels they share and nobody else wants: (batch, m, k) by
    (batch, k, n)."""
    shared = [label for label in of_a if label in of_b]
    batch = [label for label in shared if label in kept]
    inner = [label for label in shared if label not in kept]
    rows = [label for label in of_a if label not in shared]
    columns = [label for label in of_b if label not in shared]
    size = {**dict(zip(of_a, a.shape)), **dict(zip(of_b, b.shape))}

    def grouped(x: Tensor, labels: list[Label], *groups: list[Label]) -> Tensor:
        order = tuple(labels.index(label) for group in groups for label in group)
        return ops.reshape(_permuted(x, order), tuple(math.prod(size[label] for label in g) for g in groups))

    if batch:
        y = _product(grouped(a, of_a, batch, rows, inner), grouped(b, of_b, batch, inner, columns))
    else:
        y = _product(grouped(a, of_a, rows, inner), grouped(b, of_b, inner, columns))
    labels = batch + rows + columns
    y = ops.reshape(y, tuple(size[label] for label in labels))
    lone = tuple(i for i, label in enumerate(labels) if label not in kept)
    return (ops.sum(y, lone), [label for label in labels if label in kept]) if lone else (y, labels)
