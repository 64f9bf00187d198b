"""Per-sample losses under Keras's conventions: targets take the dtype and the rank of the predictions, labels are
smoothed, classes ignored. `losses` and `metrics` both wrap these; the arithmetic is one kernel each (`ops/loss.py`).

Shapes: `y_true`, `y_pred` (batch, ..., K); results (batch, ...), the last axis (or `axis`) reduced.
"""

from __future__ import annotations

import numpy as np

from pydl import config, ops
from pydl.ops import loss as fused
from pydl.ops._common import as_float, as_tensor
from pydl.symbolic import op


def get_mask(x):
    """The mask a layer put on its output, or None."""
    return getattr(x, "_keras_mask", None)


def squeeze_or_expand_to_same_rank(x1, x2, expand_rank_1: bool = True):
    """Drops or adds a last axis of size 1 when the ranks differ by one; a vector gains the axis."""
    if len(x1.shape) == len(x2.shape) + 1 and x1.shape[-1] == 1:
        if len(x2.shape) == 1 and expand_rank_1:
            return x1, ops.expand_dims(x2, -1)
        return ops.squeeze(x1, -1), x2
    if len(x2.shape) == len(x1.shape) + 1 and x2.shape[-1] == 1:
        x2, x1 = squeeze_or_expand_to_same_rank(x2, x1, expand_rank_1)
    return x1, x2


def apply_mask(sample_weight, mask, dtype: str, reduction):
    """Weights and mask merged into weights.

    With a mean over the batch, the valid entries get weight total / valid, so that dividing by the number of all
    entries later gives the mean over the valid ones.
    """
    if mask is None:
        return sample_weight
    mask = ops.cast(mask, dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        valid = ops.sum(mask)
        mask = mask * (mask.size / ops.maximum(valid, 1.0))  # valid = 0: every weight is 0 anyway
    if sample_weight is None:
        return mask
    mask, sample_weight = align_weight(mask, ops.convert_to_tensor(sample_weight, dtype=dtype))
    return sample_weight * mask


def align_weight(values, sample_weight):
    """Weights of fewer axes than the values belong to the leading ones: (batch,) weights a (batch, time) loss."""
    values, sample_weight = squeeze_or_expand_to_same_rank(values, sample_weight)
    rank = len(sample_weight.shape)
    if 0 < rank < len(values.shape) and tuple(sample_weight.shape) == tuple(values.shape[:rank]):
        sample_weight = ops.reshape(sample_weight, (*sample_weight.shape, *(1,) * (len(values.shape) - rank)))
    return values, sample_weight


def align(y_true, y_pred, what: str):
    """Predictions as floats, targets in their dtype; both of one shape."""
    y_pred = as_float(y_pred)
    y_true = ops.cast(as_tensor(y_true), y_pred.dtype)
    y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        try:
            shape = np.broadcast_shapes(y_true.shape, y_pred.shape)
        except ValueError:
            raise ValueError(f"{what}: expected `y_true` and `y_pred` of one shape; received y_true.shape="
                             f"{y_true.shape} and y_pred.shape={y_pred.shape}.") from None
        y_true, y_pred = ops.broadcast_to(y_true, shape), ops.broadcast_to(y_pred, shape)
    return y_true, y_pred


@op
def mean_squared_error(y_true, y_pred):
    """mean((y_true - y_pred)^2) over the last axis."""
    return fused.mean_squared_error(*align(y_true, y_pred, "mean_squared_error"))


@op
def mean_absolute_error(y_true, y_pred):
    """mean(|y_true - y_pred|) over the last axis."""
    return fused.mean_absolute_error(*align(y_true, y_pred, "mean_absolute_error"))


@op
def mean_absolute_percentage_error(y_true, y_pred):
    """100 mean(|y_true - y_pred| / max(|y_true|, epsilon)) over the last axis."""
    return fused.mean_absolute_percentage_error(*align(y_true, y_pred, "mean_absolute_percentage_error"))


@op
def mean_squared_logarithmic_error(y_true, y_pred):
    """mean((log(1 + y_true) - log(1 + y_pred))^2) over the last axis, both clipped to at least epsilon."""
    return fused.mean_squared_logarithmic_error(*align(y_true, y_pred, "mean_squared_logarithmic_error"))


@op
def huber(y_true, y_pred, delta=1.0):
    """Squared error / 2 up to `delta`, linear beyond: delta |e| - delta^2 / 2; mean over the last axis."""
    y_true, y_pred = align(y_true, y_pred, "huber")
    return fused.huber(y_true, y_pred, float(delta))


@op
def log_cosh(y_true, y_pred):
    """mean(log(cosh(y_pred - y_true))) over the last axis."""
    return fused.log_cosh(*align(y_true, y_pred, "log_cosh"))


@op
def hinge(y_true, y_pred):
    """mean(max(1 - y_true y_pred, 0)) over the last axis; labels that are all 0 or 1 count as -1 and 1."""
    return fused.hinge(*align(y_true, y_pred, "hinge"))


@op
def squared_hinge(y_true, y_pred):
    """mean(max(1 - y_true y_pred, 0)^2) over the last axis; labels that are all 0 or 1 count as -1 and 1."""
    return fused.squared_hinge(*align(y_true, y_pred, "squared_hinge"))


@op
def categorical_hinge(y_true, y_pred):
    """max(max((1 - y_true) y_pred) - sum(y_true y_pred) + 1, 0), one-hot `y_true`."""
    return fused.categorical_hinge(*align(y_true, y_pred, "categorical_hinge"))


@op
def kl_divergence(y_true, y_pred):
    """sum(y_true log(y_true / y_pred)) over the last axis, both clipped to [epsilon, 1]."""
    return fused.kl_divergence(*align(y_true, y_pred, "kl_divergence"))


@op
def poisson(y_true, y_pred):
    """mean(y_pred - y_true log(y_pred + epsilon)) over the last axis."""
    return fused.poisson(*align(y_true, y_pred, "poisson"))


@op
def cosine_similarity(y_true, y_pred, axis=-1):
    """The cosine of the angle between `y_true` and `y_pred` along `axis` (the loss is its negative)."""
    y_true, y_pred = align(y_true, y_pred, "cosine_similarity")
    if axis not in (-1, len(y_pred.shape) - 1):
        y_true, y_pred = ops.moveaxis(y_true, axis, -1), ops.moveaxis(y_pred, axis, -1)
    return fused.cosine_similarity(y_true, y_pred)


def _check_axis(axis) -> None:
    if isinstance(axis, bool):
        raise ValueError(f"`axis` must be of type `int`. Received: axis={axis} of type {type(axis)}")


def _warn_one_class(y_pred, what: str) -> None:
    if y_pred.shape[-1] == 1:
        import warnings

        warnings.warn(f"{what} over one class is always 0: y_pred.shape={y_pred.shape}. For two classes with one"
                      " output use the binary cross-entropy.", SyntaxWarning, stacklevel=3)


def _smooth(y_true, label_smoothing: float, classes: int):
    """Moves `label_smoothing` of the probability to the uniform distribution over the classes."""
    return y_true * (1.0 - label_smoothing) + label_smoothing / classes if label_smoothing else y_true


@op
def binary_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """mean(-y_true log(p) - (1 - y_true) log(1 - p)) over `axis`; probabilities clipped to [epsilon, 1 - epsilon]."""
    y_true, y_pred = align(y_true, y_pred, "binary_crossentropy")
    y_true = _smooth(y_true, label_smoothing, 2)
    if axis in (-1, len(y_pred.shape) - 1):
        return fused.mean_binary_crossentropy(y_true, y_pred, from_logits)
    return ops.mean(ops.binary_crossentropy(y_true, y_pred, from_logits=from_logits), axis=axis)


@op
def binary_focal_crossentropy(y_true, y_pred, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False,
                              label_smoothing=0.0, axis=-1):
    """Binary cross-entropy times (1 - p_t)^gamma, p_t the probability of the true class (Lin et al., 2017, eq. 4-5)."""
    y_true, y_pred = align(y_true, y_pred, "binary_focal_crossentropy")
    y_true = _smooth(y_true, label_smoothing, 2)
    if from_logits:
        y_pred = ops.sigmoid(y_pred)
    p_true = y_true * y_pred + (1.0 - y_true) * (1.0 - y_pred)
    loss = ops.power(1.0 - p_true, gamma) * ops.binary_crossentropy(y_true, y_pred)
    if apply_class_balancing:
        loss = loss * (y_true * alpha + (1.0 - y_true) * (1.0 - alpha))
    return ops.mean(loss, axis=axis)


@op
def categorical_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """-sum(y_true log(p)) over `axis`; probabilities are normalised and clipped to [epsilon, 1 - epsilon]."""
    _check_axis(axis)
    y_pred = as_float(y_pred)
    y_true = ops.cast(as_tensor(y_true), y_pred.dtype)
    _warn_one_class(y_pred, "categorical_crossentropy")
    y_true = _smooth(y_true, label_smoothing, y_true.shape[-1])
    return ops.categorical_crossentropy(y_true, y_pred, from_logits=from_logits, axis=axis)


@op
def categorical_focal_crossentropy(y_true, y_pred, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0,
                                   axis=-1):
    """-alpha sum(y_true (1 - p)^gamma log(p)) over `axis` (Lin et al., 2017)."""
    _check_axis(axis)
    y_true, y_pred = align(y_true, y_pred, "categorical_focal_crossentropy")
    _warn_one_class(y_pred, "categorical_focal_crossentropy")
    y_true = _smooth(y_true, label_smoothing, y_true.shape[-1])
    p = ops.softmax(y_pred, axis=axis) if from_logits else y_pred
    p = p / ops.sum(p, axis=axis, keepdims=True)
    p = ops.clip(p, config.epsilon(), 1.0 - config.epsilon())
    return ops.sum(-alpha * y_true * ops.power(1.0 - p, gamma) * ops.log(p), axis=axis)


@op
def sparse_categorical_crossentropy(y_true, y_pred, from_logits=False, ignore_class=None, axis=-1):
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
def categorical_generalized_cross_entropy(y_true, y_pred, q):
    """(1 - p[y_true]^q) / q with class numbers `y_true` (Zhang and Sabuncu, 2018)."""
    y_pred = as_float(y_pred)
    y_true = ops.cast(as_tensor(y_true), "int32")
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    p = ops.sum(y_pred * ops.cast(ops.one_hot(y_true, y_pred.shape[-1]), y_pred.dtype), axis=-1)
    return (1.0 - ops.power(p, q)) / q


@op
def dice(y_true, y_pred, axis=None):
    """1 - 2 sum(y_true y_pred) / (sum(y_true) + sum(y_pred) + epsilon), sums over `axis` (None: everything)."""
    y_true, y_pred = align(y_true, y_pred, "dice")
    total = ops.sum(y_true, axis=axis) + ops.sum(y_pred, axis=axis) + config.epsilon()
    return 1.0 - 2.0 * ops.sum(y_true * y_pred, axis=axis) / total


@op
def tversky(y_true, y_pred, alpha=0.5, beta=0.5, axis=None):
    """1 - I / (I + alpha FP + beta FN + epsilon) with I = sum(y_true y_pred), as Keras defines alpha and beta:
    FP = sum(y_true (1 - y_pred)), FN = sum((1 - y_true) y_pred) (Salehi et al., 2017)."""
    y_true, y_pred = align(y_true, y_pred, "tversky")
    both = ops.sum(y_true * y_pred, axis=axis)
    only_true = ops.sum(y_true * (1.0 - y_pred), axis=axis)
    only_pred = ops.sum((1.0 - y_true) * y_pred, axis=axis)
    return 1.0 - both / (both + alpha * only_true + beta * only_pred + config.epsilon())


@op
def circle(y_true, y_pred, ref_labels=None, ref_embeddings=None, remove_diagonal=True, gamma=80, margin=0.4):
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


# The functions that are losses as they stand: less is better.
FUNCTIONS = {fn.__name__: fn for fn in (
    mean_squared_error, mean_absolute_error, mean_absolute_percentage_error, mean_squared_logarithmic_error, huber,
    log_cosh, hinge, squared_hinge, categorical_hinge, kl_divergence, poisson, binary_crossentropy,
    binary_focal_crossentropy, categorical_crossentropy, categorical_focal_crossentropy,
    sparse_categorical_crossentropy, categorical_generalized_cross_entropy, dice, tversky, circle)}
