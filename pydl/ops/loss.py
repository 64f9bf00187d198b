"""Losses per sample, each one kernel forward and one for the gradient of the predictions.

`y_true` and `y_pred` have one shape and float dtype; the last axis is reduced. Where the targets need a gradient
themselves, the loss is composed from elementary ops instead.
"""

from __future__ import annotations

import math

from pydl import config, ops
from pydl._core import kernels
from pydl.dtypes import is_byte_dtype
from pydl.ops._common import as_float, as_tensor, normalize_axis, result_dtype
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

__all__ = ["binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"]


def _same(name: str, y_true, y_pred) -> tuple[Tensor, Tensor]:
    """Both as floats of one dtype. Raises ValueError unless they have one shape."""
    t, p = as_float(y_true), as_float(y_pred)
    if t.shape != p.shape:
        raise ValueError(f"{name}: expected targets and predictions of one shape; received shapes {t.shape} and "
                         f"{p.shape}.")
    if t.dtype != p.dtype:
        dtype = result_dtype(t, p)
        t, p = ops.cast(t, dtype), ops.cast(p, dtype)
    return t, p


def _rows(kernel, gradient, t: Tensor, p: Tensor, *parameters, elementwise=False) -> Tensor:
    """A loss over the last axis, or of each element."""
    n = 1 if elementwise else p.shape[-1] if p.ndim else 1
    rows = p.size // n if n else math.prod(p.shape[:-1])
    loss = empty(p.shape if elementwise else p.shape[:-1], p.dtype)
    kernel(t.data, p.data, loss.data, *parameters, rows, n)

    def vjp(dy):
        dp = empty(p.shape, p.dtype)
        gradient(t.data, p.data, dy.data, dp.data, *parameters, rows, n)
        return (dp,)

    return differentiable(loss, (p,), vjp)


def _groups(kernel, gradient, t, p: Tensor, axis: int, forward=(), backward=()) -> Tensor:
    """A loss of whole groups along `axis`, which leaves two values per group for its gradient."""
    axis = normalize_axis(axis, p.ndim)
    sizes = math.prod(p.shape[:axis]), p.shape[axis], math.prod(p.shape[axis + 1:])
    shape = p.shape[:axis] + p.shape[axis + 1:]
    loss, a, b = empty(shape, p.dtype), empty(shape, p.dtype), empty(shape, p.dtype)
    kernel(*t, a.data, b.data, loss.data, *forward, *sizes)

    def vjp(dy):
        dp = empty(p.shape, p.dtype)
        gradient(*t, a.data, b.data, dy.data, dp.data, *backward, *sizes)
        return (dp,)

    return differentiable(loss, (p,), vjp)


def _mean(x):
    return ops.mean(x, axis=-1)


@op
def mean_squared_error(y_true, y_pred):
    """mean((y_true - y_pred)^2) over the last axis."""
    t, p = _same("mean_squared_error", y_true, y_pred)
    if t.node is not None:
        return _mean(ops.square(p - t))
    return _rows(kernels.mean_squared_error, kernels.mean_squared_error_grad, t, p)


@op
def mean_absolute_error(y_true, y_pred):
    """mean(|y_true - y_pred|) over the last axis; gradient 0 where they are equal."""
    t, p = _same("mean_absolute_error", y_true, y_pred)
    if t.node is not None:
        return _mean(ops.absolute(p - t))
    return _rows(kernels.mean_absolute_error, kernels.mean_absolute_error_grad, t, p)


@op
def mean_absolute_percentage_error(y_true, y_pred):
    """100 mean(|y_true - y_pred| / max(|y_true|, epsilon)) over the last axis."""
    t, p = _same("mean_absolute_percentage_error", y_true, y_pred)
    epsilon = config.epsilon()
    if t.node is not None:
        return 100.0 * _mean(ops.absolute((p - t) / ops.maximum(ops.absolute(t), epsilon)))
    return _rows(kernels.mean_absolute_percentage_error, kernels.mean_absolute_percentage_error_grad, t, p, epsilon)


@op
def mean_squared_logarithmic_error(y_true, y_pred):
    """mean((log(1 + y_true) - log(1 + y_pred))^2) over the last axis, both raised to at least epsilon."""
    t, p = _same("mean_squared_logarithmic_error", y_true, y_pred)
    epsilon = config.epsilon()
    if t.node is not None:
        return _mean(ops.square(ops.log1p(ops.maximum(p, epsilon)) - ops.log1p(ops.maximum(t, epsilon))))
    return _rows(kernels.mean_squared_logarithmic_error, kernels.mean_squared_logarithmic_error_grad, t, p, epsilon)


@op
def huber(y_true, y_pred, delta=1.0):
    """Mean over the last axis of e^2 / 2 up to |e| = `delta`, and of delta |e| - delta^2 / 2 beyond (Huber, 1964)."""
    t, p = _same("huber", y_true, y_pred)
    delta = float(delta)
    if t.node is not None:
        e = ops.absolute(p - t)
        return _mean(ops.where(e <= delta, 0.5 * ops.square(e), delta * e - 0.5 * delta * delta))
    return _rows(kernels.huber, kernels.huber_grad, t, p, delta)


@op
def log_cosh(y_true, y_pred):
    """mean(log(cosh(y_pred - y_true))) over the last axis, without overflow or cancellation."""
    t, p = _same("log_cosh", y_true, y_pred)
    if t.node is not None:
        e = p - t
        return _mean(e + ops.softplus(-2.0 * e) - math.log(2.0))
    return _rows(kernels.log_cosh, kernels.log_cosh_grad, t, p)


def _signed(t: Tensor) -> Tensor:
    """Labels that are all 0 or 1 as -1 and 1; others as they are. (What they are is known at run time only.)"""
    signed = empty(t.shape, t.dtype)
    kernels.hinge_labels(t.data, signed.data, t.size)
    return signed


@op
def hinge(y_true, y_pred):
    """mean(max(1 - y_true y_pred, 0)) over the last axis. Labels are -1 and 1; if all are 0 or 1, 0 counts as -1."""
    t, p = _same("hinge", y_true, y_pred)
    if t.node is not None:
        return _mean(ops.maximum(1.0 - t * p, 0.0))
    return _rows(kernels.hinge, kernels.hinge_grad, _signed(t), p)


@op
def squared_hinge(y_true, y_pred):
    """mean(max(1 - y_true y_pred, 0)^2) over the last axis; labels as in `hinge`."""
    t, p = _same("squared_hinge", y_true, y_pred)
    if t.node is not None:
        return _mean(ops.square(ops.maximum(1.0 - t * p, 0.0)))
    return _rows(kernels.squared_hinge, kernels.squared_hinge_grad, _signed(t), p)


@op
def categorical_hinge(y_true, y_pred):
    """max(max((1 - y_true) y_pred) - sum(y_true y_pred) + 1, 0) over the last axis, `y_true` one-hot."""
    t, p = _same("categorical_hinge", y_true, y_pred)
    if t.node is not None:
        return ops.maximum(ops.max((1.0 - t) * p, axis=-1) - ops.sum(t * p, axis=-1) + 1.0, 0.0)
    return _groups(kernels.categorical_hinge, kernels.categorical_hinge_grad, (t.data, p.data), p, -1)


@op
def kl_divergence(y_true, y_pred):
    """sum(y_true log(y_true / y_pred)) over the last axis, both clipped to [epsilon, 1]."""
    t, p = _same("kl_divergence", y_true, y_pred)
    epsilon = config.epsilon()
    if t.node is not None:
        t, p = ops.clip(t, epsilon, 1.0), ops.clip(p, epsilon, 1.0)
        return ops.sum(t * ops.log(t / p), axis=-1)
    return _rows(kernels.kl_divergence, kernels.kl_divergence_grad, t, p, epsilon)


@op
def poisson(y_true, y_pred):
    """mean(y_pred - y_true log(y_pred + epsilon)) over the last axis."""
    t, p = _same("poisson", y_true, y_pred)
    epsilon = config.epsilon()
    if t.node is not None:
        return _mean(p - t * ops.log(p + epsilon))
    return _rows(kernels.poisson, kernels.poisson_grad, t, p, epsilon)


@op
def cosine_similarity(y_true, y_pred):
    """The cosine of the angle between `y_true` and `y_pred` along the last axis; lengths count as at least epsilon."""
    t, p = _same("cosine_similarity", y_true, y_pred)
    epsilon = config.epsilon()
    if t.node is not None:
        lengths = [ops.maximum(ops.norm(x, axis=-1), epsilon) for x in (t, p)]
        return ops.sum(t * p, axis=-1) / (lengths[0] * lengths[1])
    return _groups(kernels.cosine_similarity, kernels.cosine_similarity_grad, (t.data, p.data), p, -1, (epsilon,))


def _binary(t: Tensor, p: Tensor, from_logits: bool, elementwise: bool) -> Tensor:
    if t.node is not None:
        if from_logits:
            loss = ops.softplus(p) - t * p
        else:
            p = ops.clip(p, config.epsilon(), 1.0 - config.epsilon())
            loss = -t * ops.log(p) - (1.0 - t) * ops.log(1.0 - p)
        return loss if elementwise else _mean(loss)
    if from_logits:
        return _rows(kernels.binary_crossentropy_logits, kernels.binary_crossentropy_logits_grad, t, p,
                     elementwise=elementwise)
    return _rows(kernels.binary_crossentropy, kernels.binary_crossentropy_grad, t, p, config.epsilon(),
                 elementwise=elementwise)


@op
def mean_binary_crossentropy(y_true, y_pred, from_logits=False):
    """`binary_crossentropy`, its mean over the last axis, in one kernel."""
    return _binary(*_same("binary_crossentropy", y_true, y_pred), from_logits, elementwise=False)


@op
def binary_crossentropy(target, output, from_logits=False):
    """-target log(p) - (1 - target) log(1 - p) of each element.

    Args:
        target: floats in [0, 1].
        output: of target's shape: probabilities p, clipped to [epsilon, 1 - epsilon], or logits, p = sigmoid(output).
        from_logits: which of the two.

    Returns:
        Tensor of the same shape.
    """
    return _binary(*_same("binary_crossentropy", target, output), from_logits, elementwise=True)


@op
def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """-sum(target log(p)) over `axis`.

    Args:
        target: probabilities of the classes along `axis` (one-hot or soft).
        output: of target's shape: probabilities, divided by their sum and clipped to [epsilon, 1 - epsilon], or
            logits, p = softmax(output).
        from_logits: which of the two.
        axis: the axis of the classes.

    Returns:
        Tensor of the shape without `axis`.
    """
    t, p = _same("categorical_crossentropy", target, output)
    if p.ndim < 1:
        raise ValueError("categorical_crossentropy: expected `output` of rank at least 1; received a scalar.")
    epsilon = config.epsilon()
    if t.node is not None:
        if from_logits:
            return -ops.sum(t * ops.log_softmax(p, axis=axis), axis=axis)
        q = ops.clip(p / ops.sum(p, axis=axis, keepdims=True), epsilon, 1.0 - epsilon)
        return -ops.sum(t * ops.log(q), axis=axis)
    if from_logits:
        return _groups(kernels.categorical_crossentropy_logits, kernels.categorical_crossentropy_logits_grad,
                       (t.data, p.data), p, axis)
    return _groups(kernels.categorical_crossentropy, kernels.categorical_crossentropy_grad, (t.data, p.data), p, axis,
                   (epsilon,), (epsilon,))


@op
def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1, ignore_class=None):
    """-log(p[target]) over `axis`.

    Args:
        target: class numbers in [0, classes), of output's shape without `axis` (or with size 1 there).
        output: probabilities or logits as in `categorical_crossentropy`.
        from_logits: which of the two.
        axis: the axis of the classes.
        ignore_class: a label whose samples give 0 and no gradient, or None.

    Returns:
        Tensor of output's shape without `axis`.

    Raises:
        ValueError: a label is no class number; the text names its value and position.
    """
    p, labels = as_float(output), as_tensor(target)
    if p.ndim < 1:
        raise ValueError("sparse_categorical_crossentropy: expected `output` of rank at least 1; received a scalar.")
    along = normalize_axis(axis, p.ndim)
    shape = p.shape[:along] + p.shape[along + 1:]
    if labels.shape not in (shape, p.shape[:along] + (1,) + p.shape[along + 1:]):
        raise ValueError(f"sparse_categorical_crossentropy: expected labels of shape {shape} for predictions of shape "
                         f"{p.shape} with the classes along axis {axis}; received shape {labels.shape}.")
    if is_byte_dtype(labels.dtype):
        labels = ops.cast(labels, "int32")
    if ignore_class is None:
        ignored = -(2**40)  # no int32
        kernels.check_labels(labels.data, labels.size, p.shape[along])
    else:
        ignored = int(ignore_class)
        kernels.check_labels_or_ignored(labels.data, labels.size, p.shape[along], ignored)
    if labels.dtype != "int32":
        labels = ops.cast(labels, "int32")
    given = (p.data, labels.data)
    if from_logits:
        return _groups(kernels.sparse_categorical_crossentropy_logits,
                       kernels.sparse_categorical_crossentropy_logits_grad, given, p, axis, (ignored,))
    return _groups(kernels.sparse_categorical_crossentropy, kernels.sparse_categorical_crossentropy_grad, given, p,
                   axis, (config.epsilon(), ignored))


@op
def weighted_mean(values, weights=None, by_weight=False):
    """sum(values * weights) / n: how per-sample losses become one number.

    Args:
        values: float tensor of n values.
        weights: tensor of its shape; all 1 by default.
        by_weight: divide by the sum of the weights instead of n; 0 if that is 0.

    Returns:
        Scalar tensor.
    """
    x = as_float(values)
    if weights is not None:
        weights, _ = _same("weighted_mean", weights, x)
        if weights.node is not None:
            total = ops.sum(x * weights)
            return total / ops.sum(weights) if by_weight else total / float(x.size)
    scale, y = empty((), x.dtype), empty((), x.dtype)
    w = None if weights is None else weights.data
    kernels.weighted_mean(x.data, w, scale.data, y.data, x.size, int(by_weight))

    def vjp(dy):
        dx = empty(x.shape, x.dtype)
        kernels.weighted_mean_grad(w, scale.data, dy.data, dx.data, x.size)
        return (dx,)

    return differentiable(y, (x,), vjp)
