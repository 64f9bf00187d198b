"""The accumulators of metrics; see csrc/kernels/metric.h. None is differentiable."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pydl import ops
from pydl._core import kernels
from pydl.tensor import Tensor, empty, from_numpy


def accumulate_mean(values: Tensor, weight: Tensor | None, total: Tensor, count: Tensor) -> None:
    """Adds a batch to a weighted mean: total += sum of weighted sample means, count += sum of weights.

    Args:
        values: (batch, ...) tensor, or a scalar that counts as one sample.
        weight: None, or a tensor whose shape is a leading part of the shape of `values`; axes after the first are
            averaged, so a sample counts once however many values it has.
        total, count: scalar variables, float64.
    """
    leading = values.shape[: len(weight.shape)] if weight is not None else values.shape[:1]
    per_sample = math.prod(leading[1:])
    rows, cols = math.prod(leading), math.prod(values.shape[len(leading):])
    kernels.accumulate_mean(values.data, None if weight is None else weight.data, total.data, count.data, rows, cols,
                            max(per_sample, 1))


def confusion_counts(y_true: Tensor, y_pred: Tensor, weight: Tensor | None, thresholds: Sequence[float],
                     multi_label: bool) -> Tensor:
    """Weights of true positives, false positives, true negatives and false negatives at every threshold.

    Args:
        y_true, y_pred: tensors of one shape, (n, labels) with `multi_label`, and of one float dtype.
        weight: None or a tensor of that shape.
        thresholds: floats; `y_pred` above one is a positive prediction.

    Returns:
        (4, thresholds) tensor, (4, thresholds, labels) with `multi_label`.
    """
    labels = y_pred.shape[-1] if multi_label else 1
    levels = np.asarray(thresholds, dtype=y_pred.dtype)
    order = np.argsort(levels, kind="stable")
    shape = (4, levels.size, labels) if multi_label else (4, levels.size)
    counts = empty(shape, y_pred.dtype)
    kernels.confusion_counts(y_true.data, y_pred.data, None if weight is None else weight.data,
                             np.ascontiguousarray(levels[order]), counts.data, y_pred.size // max(labels, 1), labels,
                             levels.size)
    if np.array_equal(order, np.arange(levels.size)):
        return counts
    return ops.take(counts, from_numpy(np.argsort(order).astype("int32")), axis=1)
