"""Metrics of a binary decision at one or many thresholds, all made of the four counts of the confusion matrix."""

from __future__ import annotations

import numpy as np

from pydl import config, ops
from pydl.metrics.base import Metric
from pydl.ops import _samples
from pydl.ops._metric import confusion_counts

__all__ = ["FalseNegatives", "FalsePositives", "Precision", "PrecisionAtRecall", "Recall", "RecallAtPrecision",
           "SensitivityAtSpecificity", "SpecificityAtSensitivity", "TrueNegatives", "TruePositives"]

NEG_INF = -1e10  # what `top_k` makes of the scores that are not among the k largest
_COUNTS = ("true_positives", "false_positives", "true_negatives", "false_negatives")


def _as_list(value) -> list:
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]


def _standardize_thresholds(thresholds, default: float) -> list[float]:
    if thresholds is None:
        return [default]
    thresholds = _as_list(thresholds)
    wrong = [t for t in thresholds if t is None or t < 0 or t > 1]
    if wrong:
        raise ValueError(f"Threshold values must be in [0, 1]. Received: {wrong}")
    return thresholds


def even_thresholds(count: int) -> list[float]:
    """`count` thresholds from 0 to 1. Raises ValueError for more than float32 has numbers of that distance."""
    if not count <= 2**24:
        raise ValueError(f"Argument `num_thresholds` must be an integer up to 2^24. Received: num_thresholds={count}")
    return (np.arange(count) / (count - 1)).tolist()


def _evenly_spaced(thresholds) -> bool:
    n = len(thresholds)
    return n >= 3 and np.allclose(thresholds, np.arange(n) / (n - 1), atol=config.epsilon())


def _keep_top_k(y_pred, k: int):
    """The k largest scores of each row as they are, the others at `NEG_INF`. Of equal scores the first stay."""
    rank = ops.argsort(ops.argsort(ops.negative(y_pred), axis=-1), axis=-1)
    return ops.where(ops.less(rank, k), y_pred, ops.full_like(y_pred, NEG_INF))


class ConfusionMetric(Metric):
    """Base: keeps some of the four counts at `thresholds` up to date.

    Args:
        counts: the counts to keep, names of `_COUNTS`.
        thresholds: list of floats.
        top_k: only the k largest scores of a sample can be positive predictions.
        class_id: consider this column only.
    """

    def __init__(self, counts, thresholds, top_k=None, class_id=None, name=None, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.thresholds = thresholds
        self.top_k = top_k
        self.class_id = class_id
        self._counts = counts
        self._clip = _evenly_spaced(thresholds)
        self._make_counts((len(thresholds),))

    def _make_counts(self, shape) -> None:
        for name in self._counts:
            setattr(self, name, self._add_tally(shape, name))

    def update_state(self, y_true, y_pred, sample_weight=None):
        self._accumulate(y_true, y_pred, sample_weight)

    def _accumulate(self, y_true, y_pred, sample_weight, label_weight=None, multi_label=False) -> None:
        mask = _samples.get_mask(y_pred)
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        y_pred, y_true = _samples.squeeze_or_expand_to_same_rank(y_pred, y_true)
        if tuple(y_true.shape) != tuple(y_pred.shape):
            raise ValueError(f"{type(self).__name__}: expected `y_true` and `y_pred` of one shape; received "
                             f"y_true.shape={tuple(y_true.shape)} and y_pred.shape={tuple(y_pred.shape)}.")
        if self.top_k is not None:
            y_pred = _keep_top_k(y_pred, self.top_k)
        if self.class_id is not None:
            if len(y_pred.shape) == 1:
                raise ValueError("When class_id is provided, y_pred must be a 2D array with shape (num_samples, "
                                 f"num_classes), found shape: {tuple(y_pred.shape)}")
            y_true, y_pred = y_true[..., self.class_id], y_pred[..., self.class_id]
        if self._clip:
            y_pred = ops.clip(y_pred, 0.0, 1.0)
        weight = self._weight(y_pred, _samples.apply_mask(sample_weight, mask, self.dtype, reduction="sum"))
        if label_weight is not None:
            label_weight = ops.broadcast_to(label_weight, y_pred.shape)
            weight = label_weight if weight is None else weight * label_weight
        counts = confusion_counts(y_true, y_pred, weight, self._all_thresholds(), multi_label)
        for i, name in enumerate(_COUNTS):
            if name in self._counts:
                getattr(self, name).assign_add(counts[i])

    def _weight(self, y_pred, sample_weight):
        """Sample weights in the shape of the predictions: those of fewer axes belong to the leading ones."""
        if sample_weight is None:
            return None
        _, weight = _samples.align_weight(y_pred, ops.convert_to_tensor(sample_weight, dtype=self.dtype))
        return ops.broadcast_to(weight, y_pred.shape)

    def _all_thresholds(self):
        return self.thresholds


class _ConditionCount(ConfusionMetric):
    """One count at one or several thresholds, kept in `accumulator`."""

    def __init__(self, count: str, thresholds, name, dtype):
        self.init_thresholds = thresholds
        super().__init__((count,), _standardize_thresholds(thresholds, 0.5), name=name, dtype=dtype)

    def _make_counts(self, shape) -> None:
        self.accumulator = self._add_tally(shape, "accumulator")
        setattr(self, self._counts[0], self.accumulator)

    def result(self):
        return self._rounded(self.accumulator[0] if len(self.thresholds) == 1 else self.accumulator)

    def get_config(self) -> dict:
        return {**super().get_config(), "thresholds": self.init_thresholds}


class TruePositives(_ConditionCount):
    """Number (or weight) of positives predicted as such: y_true and y_pred > threshold."""

    _direction = "up"

    def __init__(self, thresholds=None, name=None, dtype=None):
        super().__init__("true_positives", thresholds, name, dtype)


class FalsePositives(_ConditionCount):
    """Number (or weight) of negatives predicted as positive."""

    _direction = "down"

    def __init__(self, thresholds=None, name=None, dtype=None):
        super().__init__("false_positives", thresholds, name, dtype)


class TrueNegatives(_ConditionCount):
    """Number (or weight) of negatives predicted as such."""

    _direction = "up"

    def __init__(self, thresholds=None, name=None, dtype=None):
        super().__init__("true_negatives", thresholds, name, dtype)


class FalseNegatives(_ConditionCount):
    """Number (or weight) of positives predicted as negative."""

    _direction = "down"

    def __init__(self, thresholds=None, name=None, dtype=None):
        super().__init__("false_negatives", thresholds, name, dtype)


class _Share(ConfusionMetric):
    """true_positives / (true_positives + another count)."""

    _direction = "up"

    _other = ""

    def __init__(self, thresholds=None, top_k=None, class_id=None, name=None, dtype=None):
        self.init_thresholds = thresholds
        super().__init__(("true_positives", self._other),
                         _standardize_thresholds(thresholds, 0.5 if top_k is None else NEG_INF), top_k, class_id,
                         name, dtype)

    def result(self):
        share = ops.divide_no_nan(self.true_positives, self.true_positives + getattr(self, self._other))
        return self._rounded(share[0] if len(self.thresholds) == 1 else share)

    def get_config(self) -> dict:
        return {**super().get_config(), "thresholds": self.init_thresholds, "top_k": self.top_k,
                "class_id": self.class_id}


class Precision(_Share):
    """The share of positive predictions that are right: TP / (TP + FP).

    Args:
        thresholds: a float or a list of floats in [0, 1]; 0.5 by default, none with `top_k`.
        top_k: only the k largest scores of a sample can be positive predictions.
        class_id: consider this column of `y_true` and `y_pred` only.
    """

    _other = "false_positives"


class Recall(_Share):
    """The share of positives that are found: TP / (TP + FN). Arguments as `Precision`."""

    _other = "false_negatives"


class _BestAt(ConfusionMetric):
    """The best value of one rate among the thresholds at which another is at least as wanted."""

    _direction = "up"

    def __init__(self, argument: str, value: float, num_thresholds, class_id, name, dtype):
        if value < 0 or value > 1:
            raise ValueError(f"Argument `{argument}` must be in the range [0, 1]. Received: {argument}={value}")
        if num_thresholds <= 0:
            raise ValueError("Argument `num_thresholds` must be an integer > 0. "
                             f"Received: num_thresholds={num_thresholds}")
        self._argument = argument
        self.value = value
        self.num_thresholds = num_thresholds
        thresholds = [0.5] if num_thresholds == 1 else even_thresholds(num_thresholds)
        super().__init__(_COUNTS, thresholds, class_id=class_id, name=name, dtype=dtype)

    def _sensitivity(self):
        return ops.divide_no_nan(self.true_positives, self.true_positives + self.false_negatives)

    def _specificity(self):
        return ops.divide_no_nan(self.true_negatives, self.true_negatives + self.false_positives)

    def _precision(self):
        return ops.divide_no_nan(self.true_positives, self.true_positives + self.false_positives)

    def _best(self, rate, where):
        return ops.max(ops.where(ops.greater_equal(where, self.value), rate, ops.zeros_like(rate)))

    def get_config(self) -> dict:
        return {**super().get_config(), "class_id": self.class_id, "num_thresholds": self.num_thresholds,
                self._argument: self.value}


class SensitivityAtSpecificity(_BestAt):
    """The best TP / (TP + FN) at a TN / (TN + FP) of at least `specificity`."""

    def __init__(self, specificity, num_thresholds=200, class_id=None, name=None, dtype=None):
        self.specificity = specificity
        super().__init__("specificity", specificity, num_thresholds, class_id, name, dtype)

    def result(self):
        return self._rounded(self._best(self._sensitivity(), self._specificity()))


class SpecificityAtSensitivity(_BestAt):
    """The best TN / (TN + FP) at a TP / (TP + FN) of at least `sensitivity`."""

    def __init__(self, sensitivity, num_thresholds=200, class_id=None, name=None, dtype=None):
        self.sensitivity = sensitivity
        super().__init__("sensitivity", sensitivity, num_thresholds, class_id, name, dtype)

    def result(self):
        return self._rounded(self._best(self._specificity(), self._sensitivity()))


class PrecisionAtRecall(_BestAt):
    """The best precision at a recall of at least `recall`."""

    def __init__(self, recall, num_thresholds=200, class_id=None, name=None, dtype=None):
        self.recall = recall
        super().__init__("recall", recall, num_thresholds, class_id, name, dtype)

    def result(self):
        return self._rounded(self._best(self._precision(), self._sensitivity()))


class RecallAtPrecision(_BestAt):
    """The best recall at a precision of at least `precision`."""

    def __init__(self, precision, num_thresholds=200, class_id=None, name=None, dtype=None):
        self.precision = precision
        super().__init__("precision", precision, num_thresholds, class_id, name, dtype)

    def result(self):
        return self._rounded(self._best(self._sensitivity(), self._precision()))
