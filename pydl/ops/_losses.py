"""Losses, one value per sample, under Keras's conventions: targets take the dtype and the rank of the predictions,
labels are smoothed, classes ignored. `losses` and `metrics` both wrap these.

A loss is composed of ops. Where it has a kernel (csrc/kernels/loss.h), that serves while the targets need no gradient.

Shapes: `y_true`, `y_pred` (batch, ..., K); results (batch, ...), the last axis (or `axis`) reduced.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from pydl import config, ops
from pydl._core import kernels
from pydl.ops._common import Axis, TensorLike, as_float, as_tensor
from pydl.ops._fused import fused
from pydl.ops._loss_kernels import LossKernel, by_group, by_row
from pydl.ops._samples import align
from pydl.ops.crossentropy import as_probabilities, binary_of_logits, binary_of_probabilities, class_numbers
from pydl.symbolic import op
from pydl.tensor import Tensor, empty

# The functions that are losses as they stand: less is better.
__all__ = [
    "binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy", "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy", "categorical_hinge", "circle", "dice", "hinge", "huber", "kl_divergence",
    "log_cosh", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
    "mean_squared_logarithmic_error", "poisson", "sparse_categorical_crossentropy", "squared_hinge", "tversky",
]

Loss: TypeAlias = Callable[..., Tensor]  # of targets and predictions


def _mean(x: Tensor) -> Tensor:
    return ops.mean(x, axis=-1)


def _aligned(kernel: LossKernel, *settings: Callable[[], float]) -> Callable[[Callable[..., Tensor]], Loss]:
    """Decorator: the public loss of a function of aligned targets and predictions that `kernel` serves.

    Args:
        kernel: see `fused`.
        settings: functions without arguments; their results come behind the predictions.
    """

    def decorate(composed: Callable[..., Tensor]) -> Loss:
        served = fused(kernel, constants=(0,))(composed)

        def loss(y_true: TensorLike, y_pred: TensorLike) -> Tensor:
            y_true, y_pred = align(y_true, y_pred, composed.__name__)
            return served(y_true, y_pred, *(setting() for setting in settings))

        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(loss, attribute, getattr(composed, attribute))
        return op(loss)

    return decorate


@_aligned(by_row("mean_squared_error"))
def mean_squared_error(t: Tensor, p: Tensor) -> Tensor:
    """mean((y_true - y_pred)^2) over the last axis."""
    return _mean(ops.square(p - t))


@_aligned(by_row("mean_absolute_error"))
def mean_absolute_error(t: Tensor, p: Tensor) -> Tensor:
    """mean(|y_true - y_pred|) over the last axis; gradient 0 where they are equal."""
    return _mean(ops.absolute(p - t))


@_aligned(by_row("mean_absolute_percentage_error"), config.epsilon)
def mean_absolute_percentage_error(t: Tensor, p: Tensor, epsilon: float) -> Tensor:
    """100 mean(|y_true - y_pred| / max(|y_true|, epsilon)) over the last axis."""
    return 100.0 * _mean(ops.absolute((p - t) / ops.maximum(ops.absolute(t), epsilon)))


@_aligned(by_row("mean_squared_logarithmic_error"), config.epsilon)
def mean_squared_logarithmic_error(t: Tensor, p: Tensor, epsilon: float) -> Tensor:
    """mean((log(1 + y_true) - log(1 + y_pred))^2) over the last axis, both raised to at least epsilon."""
    t, p = ops.clip(t, epsilon, math.inf), ops.clip(p, epsilon, math.inf)
    return _mean(ops.square(ops.log1p(p) - ops.log1p(t)))


@fused(by_row("huber"), constants=(0,))
def _huber(t: Tensor, p: Tensor, delta: float) -> Tensor:
    e = p - t
    inside = ops.clip(e, -delta, delta)  # squared up to delta, and delta times what is beyond
    return _mean(inside * (e - 0.5 * inside))


@op
def huber(y_true: TensorLike, y_pred: TensorLike, delta: float = 1.0) -> Tensor:
    """Mean over the last axis of e^2 / 2 up to |e| = `delta`, and of delta |e| - delta^2 / 2 beyond (Huber, 1964)."""
    return _huber(*align(y_true, y_pred, "huber"), float(delta))


@_aligned(by_row("log_cosh"))
def log_cosh(t: Tensor, p: Tensor) -> Tensor:
    """mean(log(cosh(y_pred - y_true))) over the last axis, without overflow or cancellation."""
    e = p - t
    return _mean(e + ops.softplus(-2.0 * e) - math.log(2.0))


def _labels_kernel(t: Tensor) -> Tensor:
    signed = empty(t.shape, t.dtype)
    kernels.hinge_labels(t.data, signed.data, t.size)
    return signed


@fused(_labels_kernel, constants=(0,))
def _signed(t: Tensor) -> Tensor:
    """Labels that are all 0 or 1 as -1 and 1; others as they are. (What they are is known at run time only.)"""
    binary = ops.all(ops.logical_or(ops.equal(t, 0.0), ops.equal(t, 1.0)))
    return ops.where(binary, 2.0 * t - 1.0, t)


def _by_signed_row(name: str) -> LossKernel:
    """As `by_row`, for targets as `_signed` makes them."""
    kernel = by_row(name)
    return lambda t, p: kernel(_signed(t), p)


@_aligned(_by_signed_row("hinge"))
def hinge(t: Tensor, p: Tensor) -> Tensor:
    """mean(max(1 - y_true y_pred, 0)) over the last axis. Labels are -1 and 1; if all are 0 or 1, 0 counts as -1."""
    return _mean(ops.relu(1.0 - _signed(t) * p))


@_aligned(_by_signed_row("squared_hinge"))
def squared_hinge(t: Tensor, p: Tensor) -> Tensor:
    """mean(max(1 - y_true y_pred, 0)^2) over the last axis; labels as in `hinge`."""
    return _mean(ops.square(ops.relu(1.0 - _signed(t) * p)))


@_aligned(by_group("categorical_hinge"), lambda: -1)
def categorical_hinge(t: Tensor, p: Tensor, axis: int) -> Tensor:
    """max(max((1 - y_true) y_pred) - sum(y_true y_pred) + 1, 0) over the last axis, `y_true` one-hot."""
    return ops.relu(ops.max((1.0 - t) * p, axis) - ops.sum(t * p, axis) + 1.0)


@_aligned(by_row("kl_divergence"), config.epsilon)
def kl_divergence(t: Tensor, p: Tensor, epsilon: float) -> Tensor:
    """sum(y_true log(y_true / y_pred)) over the last axis, both clipped to [epsilon, 1]."""
    t, p = ops.clip(t, epsilon, 1.0), ops.clip(p, epsilon, 1.0)
    return ops.sum(t * ops.log(t / p), axis=-1)


@_aligned(by_row("poisson"), config.epsilon)
def poisson(t: Tensor, p: Tensor, epsilon: float) -> Tensor:
    """mean(y_pred - y_true log(y_pred + epsilon)) over the last axis."""
    return _mean(p - t * ops.log(p + epsilon))


@fused(by_group("cosine_similarity"), constants=(0,))
def _cosine_similarity(t: Tensor, p: Tensor, axis: int, epsilon: float) -> Tensor:
    def length(x: Tensor) -> Tensor:
        squares = ops.sum(ops.square(x), axis)
        return ops.sqrt(ops.clip(squares, epsilon * epsilon, math.inf))  # before the root, whose slope at 0 is infinite

    return ops.sum(t * p, axis) / (length(t) * length(p))


@op
def cosine_similarity(y_true: TensorLike, y_pred: TensorLike, axis: int = -1) -> Tensor:
    """The cosine of the angle between `y_true` and `y_pred` along `axis`, lengths at least epsilon. (The loss is its
    negative.)"""
    y_true, y_pred = align(y_true, y_pred, "cosine_similarity")
    if axis not in (-1, len(y_pred.shape) - 1):
        y_true, y_pred = ops.moveaxis(y_true, axis, -1), ops.moveaxis(y_pred, axis, -1)
    return _cosine_similarity(y_true, y_pred, -1, config.epsilon())


def _check_axis(axis: object) -> None:
    if isinstance(axis, bool):
        raise ValueError(f"`axis` must be of type `int`. Received: axis={axis} of type {type(axis)}")


def _warn_one_class(y_pred: Tensor, what: str) -> None:
    if y_pred.shape[-1] == 1:
        import warnings

        warnings.warn(f"{what} over one class is always 0: y_pred.shape={y_pred.shape}. For two classes with one"
                      " output use the binary cross-entropy.", SyntaxWarning, stacklevel=3)


def _smooth(y_true: Tensor, label_smoothing: float, classes: int) -> Tensor:
    """Moves `label_smoothing` of the probability to the uniform distribution over the classes."""
    return y_true * (1.0 - label_smoothing) + label_smoothing / max(classes, 1) if label_smoothing else y_true


@fused(by_row("binary_crossentropy"), constants=(0,))
def _binary_of_probabilities(t: Tensor, p: Tensor, epsilon: float) -> Tensor:
    return _mean(binary_of_probabilities(t, p, epsilon))


@fused(by_row("binary_crossentropy_logits"), constants=(0,))
def _binary_of_logits(t: Tensor, z: Tensor) -> Tensor:
    return _mean(binary_of_logits(t, z))


@op
def binary_crossentropy(y_true: TensorLike, y_pred: TensorLike, from_logits: bool = False, label_smoothing: float = 0.0,
                        axis: Axis = -1) -> Tensor:
    """mean(-y_true log(p) - (1 - y_true) log(1 - p)) over `axis`; probabilities clipped to [epsilon, 1 - epsilon]."""
    y_true, y_pred = align(y_true, y_pred, "binary_crossentropy", broadcast=False)
    y_true = _smooth(y_true, label_smoothing, 2)
    if axis not in (-1, len(y_pred.shape) - 1):
        return ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits=from_logits), axis=axis)
    if from_logits:
        return _binary_of_logits(y_true, y_pred)
    return _binary_of_probabilities(y_true, y_pred, config.epsilon())


@op
def binary_focal_crossentropy(y_true: TensorLike, y_pred: TensorLike, apply_class_balancing: bool = False,
                              alpha: float = 0.25, gamma: float = 2.0, from_logits: bool = False,
                              label_smoothing: float = 0.0, axis: Axis = -1) -> Tensor:
    """Binary cross-entropy times (1 - p_t)^gamma, p_t the probability of the true class (Lin et al., 2017, eq. 4-5)."""
    y_true, y_pred = align(y_true, y_pred, "binary_focal_crossentropy", broadcast=False)
    y_true = _smooth(y_true, label_smoothing, 2)
    if from_logits:
        y_pred = ops.sigmoid(y_pred)
    p_true = y_true * y_pred + (1.0 - y_true) * (1.0 - y_pred)
    loss = ops.power(1.0 - p_true, gamma) * ops.binary_crossentropy(y_true, y_pred)
    if apply_class_balancing:
        loss = loss * (y_true * alpha + (1.0 - y_true) * (1.0 - alpha))
    return ops.mean(loss, axis=axis)


@op
def categorical_crossentropy(y_true: TensorLike, y_pred: TensorLike, from_logits: bool = False,
                             label_smoothing: float = 0.0, axis: int = -1) -> Tensor:
    """-sum(y_true log(p)) over `axis`; probabilities are normalised and clipped to [epsilon, 1 - epsilon]."""
    _check_axis(axis)
    y_pred = as_float(y_pred)
    y_true = ops.cast(as_tensor(y_true), y_pred.dtype)
    _warn_one_class(y_pred, "categorical_crossentropy")
    y_true = _smooth(y_true, label_smoothing, y_true.shape[-1])
    return ops.categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)


@op
def categorical_focal_crossentropy(y_true: TensorLike, y_pred: TensorLike, alpha: float = 0.25, gamma: float = 2.0,
                                   from_logits: bool = False, label_smoothing: float = 0.0, axis: Axis = -1) -> Tensor:
    """-alpha sum(y_true (1 - p)^gamma log(p)) over `axis` (Lin et al., 2017)."""
    _check_axis(axis)
    y_true, y_pred = align(y_true, y_pred, "categorical_focal_crossentropy")
    _warn_one_class(y_pred, "categorical_focal_crossentropy")
    y_true = _smooth(y_true, label_smoothing, y_true.shape[-1])
    p = ops.softmax(y_pred, axis=axis) if from_logits else y_pred
    p = as_probabilities(p, axis, config.epsilon())
    return ops.sum(-alpha * y_true * ops.power(1.0 - p, gamma) * ops.log(p), axis=axis)


@op
def sparse_categorical_crossentropy(y_true: TensorLike, y_pred: TensorLike, from_logits: bool = False,
                                    ignore_class: int | None = None, axis: int = -1) -> Tensor:
    """-log(p[y_true]); `y_true` holds class numbers and has one axis less than `y_pred` (or that axis of size 1).

    Samples of `ignore_class` give 0 and are left out of the mean (the result carries a mask).
    """
    y_pred = as_float(y_pred)
    y_true = as_tensor(y_true)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[axis] == 1:
        y_true = ops.squeeze(y_true, axis)
    loss = ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits, axis, ignore_class)
    if ignore_class is not None:
        loss._keras_mask = ops.not_equal(y_true, ops.cast(ignore_class, y_true.dtype))
    return loss


@op
def categorical_generalized_cross_entropy(y_true: TensorLike, y_pred: TensorLike, q: float) -> Tensor:
    """(1 - p[y_true]^q) / q with class numbers `y_true` (Zhang and Sabuncu, 2018).

    Nothing flows back where p[y_true] is below epsilon: the slope -p^(q - 1) has no bound there.

    Raises:
        ValueError: a label is no class number.
    """
    y_pred = as_float(y_pred)
    y_true = class_numbers("categorical_generalized_cross_entropy", y_true, y_pred, -1)
    if len(y_true.shape) == len(y_pred.shape):
        y_true = ops.squeeze(y_true, -1)
    p = ops.sum(y_pred * ops.cast(ops.one_hot(y_true, y_pred.shape[-1]), y_pred.dtype), axis=-1)
    flowing = ops.power(ops.maximum(p, config.epsilon()), q)
    return (1.0 - (flowing + ops.stop_gradient(ops.power(p, q) - flowing))) / q


@op
def dice(y_true: TensorLike, y_pred: TensorLike, axis: Axis = None) -> Tensor:
    """1 - 2 sum(y_true y_pred) / (sum(y_true) + sum(y_pred) + epsilon), sums over `axis` (None: everything)."""
    y_true, y_pred = align(y_true, y_pred, "dice")
    total = ops.sum(y_true, axis=axis) + ops.sum(y_pred, axis=axis) + config.epsilon()
    return 1.0 - 2.0 * ops.sum(y_true * y_pred, axis=axis) / total


@op
def tversky(y_true: TensorLike, y_pred: TensorLike, alpha: float = 0.5, beta: float = 0.5, axis: Axis = None) -> Tensor:
    """1 - I / (I + alpha FP + beta FN + epsilon) with I = sum(y_true y_pred), as Keras defines alpha and beta:
    FP = sum(y_true (1 - y_pred)), FN = sum((1 - y_true) y_pred) (Salehi et al., 2017)."""
    y_true, y_pred = align(y_true, y_pred, "tversky")
    both = ops.sum(y_true * y_pred, axis=axis)
    only_true = ops.sum(y_true * (1.0 - y_pred), axis=axis)
    only_pred = ops.sum((1.0 - y_true) * y_pred, axis=axis)
    return 1.0 - both / (both + alpha * only_true + beta * only_pred + config.epsilon())


@op
def circle(y_true: TensorLike, y_pred: TensorLike, ref_labels: TensorLike | None = None,
           ref_embeddings: TensorLike | None = None, remove_diagonal: bool = True, gamma: float = 80,
           margin: float = 0.4) -> Tensor:
    """Circle loss of L2-normalised embeddings (Sun et al., 2020, eq. 6), on cosine distances.

    Args:
        y_true: (batch,) or (batch, 1) class numbers.
        y_pred: (batch, K) embeddings of norm 1.
        ref_labels, ref_embeddings: what to compare with; the batch itself by default.
        remove_diagonal: leave out the comparison of a sample with itself.

    Returns:
        (batch,) losses; samples without any loss are masked out.
    """
    y_pred = as_float(y_pred)
    labels = ops.reshape(ops.cast(as_tensor(y_true), "int32"), (-1, 1))
    others = labels if ref_labels is None else ops.reshape(ops.cast(as_tensor(ref_labels), "int32"), (-1, 1))
    embeddings = y_pred if ref_embeddings is None else as_float(ref_embeddings)
    distance = ops.maximum(1.0 - ops.matmul(y_pred, ops.transpose(embeddings)), 0.0)
    same = ops.equal(labels, ops.transpose(others))
    positive = same
    if remove_diagonal and labels.shape == others.shape:
        positive = ops.logical_and(same, ops.logical_not(ops.eye(labels.shape[0], dtype="bool")))
    pull = -gamma * (margin + distance) * (margin - distance)
    push = gamma * ops.maximum(1.0 + margin - distance, 0.0) * (1.0 - margin - distance)
    # Not -inf: a sample without a partner has loss softplus(-1e9 + ...) = 0, and a finite gradient.
    nothing = ops.full_like(distance, -1e9)
    pulled = ops.logsumexp(ops.where(positive, pull, nothing), axis=1)
    pushed = ops.logsumexp(ops.where(same, nothing, push), axis=1)
    loss = ops.softplus(pulled + pushed)
    loss._keras_mask = ops.greater(loss, 0.0)
    return loss


FUNCTIONS = {name: globals()[name] for name in __all__}
