"""How often the prediction is right."""

from __future__ import annotations

import math

from pydl import config, ops
from pydl.metrics.reductions import NamedMean, averaged
from pydl.ops import _samples
from pydl.ops._common import as_float, as_tensor
from pydl.symbolic import op

__all__ = ["Accuracy", "BinaryAccuracy", "CategoricalAccuracy", "SparseCategoricalAccuracy",
           "SparseTopKCategoricalAccuracy", "TopKCategoricalAccuracy", "accuracy", "binary_accuracy",
           "categorical_accuracy", "sparse_categorical_accuracy", "sparse_top_k_categorical_accuracy",
           "top_k_categorical_accuracy"]


def _as_floatx(hits):
    return ops.cast(hits, config.floatx())


@averaged
@op
def accuracy(y_true, y_pred):
    """1.0 where `y_true` equals `y_pred`, else 0.0."""
    y_pred = as_tensor(y_pred)
    y_true = ops.cast(as_tensor(y_true), y_pred.dtype)
    return _as_floatx(ops.equal(*_samples.squeeze_or_expand_to_same_rank(y_true, y_pred)))


@averaged
@op
def binary_accuracy(y_true, y_pred, threshold=0.5):
    """1.0 where (y_pred > threshold) is the label `y_true` in {0, 1}, else 0.0."""
    y_true, y_pred = _samples.squeeze_or_expand_to_same_rank(as_tensor(y_true), as_tensor(y_pred))
    return _as_floatx(ops.equal(y_true, ops.cast(ops.greater(y_pred, threshold), y_true.dtype)))


@averaged
@op
def categorical_accuracy(y_true, y_pred):
    """1.0 where the largest entry of `y_true` and of `y_pred` (..., classes) is at the same place."""
    return _as_floatx(ops.equal(ops.argmax(as_tensor(y_true), axis=-1), ops.argmax(as_tensor(y_pred), axis=-1)))


@averaged
@op
def sparse_categorical_accuracy(y_true, y_pred):
    """1.0 where class number `y_true` is the place of the largest entry of `y_pred` (..., classes)."""
    y_true, y_pred = as_tensor(y_true), as_float(y_pred)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = ops.squeeze(y_true, -1)
    hits = ops.equal(y_true, ops.argmax(y_pred, axis=-1))
    return _as_floatx(ops.squeeze(hits, -1) if len(hits.shape) > 1 and hits.shape[-1] == 1 else hits)


def _in_top_k(classes, y_pred, k: int):
    """Whether fewer than `k` entries of a row of `y_pred` (n, C) exceed that of its class (n,). Ties count as in."""
    own = ops.take_along_axis(y_pred, ops.expand_dims(classes, -1), axis=-1)
    above = ops.logical_not(ops.less_equal(y_pred, own))  # NaN counts as above
    return ops.less(ops.sum(ops.cast(above, "int32"), axis=-1), k)


@averaged
@op
def sparse_top_k_categorical_accuracy(y_true, y_pred, k=5, from_sorted_ids=False):
    """1.0 where class number `y_true` is among the `k` largest entries of `y_pred` (..., classes).

    With `from_sorted_ids`, `y_pred` holds class numbers, most likely first.
    """
    y_true, y_pred = as_tensor(y_true), as_tensor(y_pred)
    shape = tuple(y_true.shape)
    y_pred = ops.reshape(y_pred, (math.prod(y_pred.shape[:-1]), y_pred.shape[-1]))
    y_true = ops.reshape(y_true, (math.prod(shape),))
    if from_sorted_ids:
        y_true = ops.cast(y_true, y_pred.dtype)
        hits = ops.any(ops.equal(ops.expand_dims(y_true, 1), y_pred[:, :k]), axis=1)
    else:
        hits = _in_top_k(ops.cast(y_true, "int32"), as_float(y_pred), k)
    return ops.reshape(_as_floatx(hits), shape)


@averaged
@op
def top_k_categorical_accuracy(y_true, y_pred, k=5):
    """1.0 where the true class (one-hot `y_true`) is among the `k` largest entries of `y_pred`."""
    return sparse_top_k_categorical_accuracy(ops.argmax(as_tensor(y_true), axis=-1), y_pred, k)


class Accuracy(NamedMean):
    """How often predictions equal labels."""

    _direction = "up"

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(accuracy, name, dtype)


class BinaryAccuracy(NamedMean):
    """How often predictions are on the right side of `threshold` for labels 0 / 1."""

    _direction = "up"

    def __init__(self, name="binary_accuracy", dtype=None, threshold=0.5):
        super().__init__(binary_accuracy, name, dtype, threshold=threshold)
        self.threshold = threshold


class CategoricalAccuracy(NamedMean):
    """How often the most likely class is the one of a one-hot label."""

    _direction = "up"

    def __init__(self, name="categorical_accuracy", dtype=None):
        super().__init__(categorical_accuracy, name, dtype)


class SparseCategoricalAccuracy(NamedMean):
    """How often the most likely class is the class number given as label."""

    _direction = "up"

    def __init__(self, name="sparse_categorical_accuracy", dtype=None):
        super().__init__(sparse_categorical_accuracy, name, dtype)


class TopKCategoricalAccuracy(NamedMean):
    """How often the class of a one-hot label is among the `k` most likely."""

    _direction = "up"

    def __init__(self, k=5, name="top_k_categorical_accuracy", dtype=None):
        super().__init__(top_k_categorical_accuracy, name, dtype, k=k)
        self.k = k


class SparseTopKCategoricalAccuracy(NamedMean):
    """How often the class number given as label is among the `k` most likely."""

    _direction = "up"
    _left_out = {"from_sorted_ids": False}

    def __init__(self, k=5, name="sparse_top_k_categorical_accuracy", dtype=None, from_sorted_ids=False):
        super().__init__(sparse_top_k_categorical_accuracy, name, dtype, k=k, from_sorted_ids=from_sorted_ids)
        self.k, self.from_sorted_ids = k, from_sorted_ids
