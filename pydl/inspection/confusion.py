"""Which classes a classifier takes for which others."""

from __future__ import annotations

import numpy as np

from pydl.dtypes import holds_floats

__all__ = ["confusion_matrix"]


def confusion_matrix(y_true, y_pred, num_classes: int | None = None, normalize: str | None = None,
                     sample_weight=None) -> np.ndarray:
    """How often class i was taken for class j.

    Args:
        y_true: class numbers (batch,) or (batch, 1), or one-hot (batch, classes).
        y_pred: class numbers, or probabilities or scores (batch, classes); (batch, 1) of floats is the probability of
            class 1.
        num_classes: the largest class number + 1 when None.
        normalize: "true" divides by the sum of each row (then the diagonal is the recall of each class), "pred" of each
            column (precision), "all" by everything; an empty row or column stays 0.
        sample_weight: one weight per row.

    Returns:
        Array (classes, classes), rows by true class, columns by prediction; int64, or float64 with weights or
        `normalize`.

    Raises:
        ValueError: for different lengths, class numbers out of range, no rows, or an unknown `normalize`.
    """
    true, pred = _classes(y_true, "y_true"), _classes(y_pred, "y_pred")
    if len(true) != len(pred) or len(true) == 0:
        raise ValueError("confusion_matrix: expected as many predictions as labels, at least one; received"
                         f" {len(true)} labels and {len(pred)} predictions.")
    if normalize not in (None, "true", "pred", "all"):
        raise ValueError(f"confusion_matrix: expected normalize to be None, 'true', 'pred' or 'all'; received"
                         f" {normalize!r}.")
    widths = [a.shape[1] for a in map(np.asarray, (y_true, y_pred)) if a.ndim == 2 and a.shape[1] > 1]
    count = num_classes or max([int(true.max()) + 1, int(pred.max()) + 1, *widths])
    for name, found in (("y_true", true), ("y_pred", pred)):
        if found.min() < 0 or found.max() >= count:
            raise ValueError(f"confusion_matrix: expected {name} in 0 .. {count - 1}; received"
                             f" {found.min() if found.min() < 0 else found.max()}.")
    weights = None
    if sample_weight is not None:
        weights = np.asarray(sample_weight, "float64").reshape(-1)
        if len(weights) != len(true):
            raise ValueError(f"confusion_matrix: expected {len(true)} weights; received {len(weights)}.")
    flat = np.bincount(true * count + pred, weights, count * count)
    matrix = flat.reshape(count, count)
    if normalize is None:
        return matrix
    axis = {"true": 1, "pred": 0, "all": None}[normalize]
    total = matrix.sum(axis, keepdims=True)
    return matrix / np.where(total, total, 1)


def _classes(values, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] > 1:
        return values.argmax(1)
    if values.ndim == 2 and holds_floats(values) and name == "y_pred":
        return (values[:, 0] > 0.5).astype("int64")
    flat = values.reshape(-1)
    if values.ndim > 2 or (holds_floats(values) and (flat != np.round(flat)).any()):
        raise ValueError(f"confusion_matrix: expected {name} to be class numbers (batch,) or scores (batch, classes);"
                         f" received {values.dtype} of shape {values.shape}.")
    return flat.astype("int64")
