"""Area under the ROC, precision-recall or precision-recall-gain curve."""

from __future__ import annotations

import numpy as np

from pydl import config, ops
from pydl.metrics.confusion import _COUNTS, ConfusionMetric, _evenly_spaced, even_thresholds

__all__ = ["AUC"]

_CURVES = ("ROC", "PR", "PRGAIN")
_SUMMATIONS = ("interpolation", "majoring", "minoring")


class AUC(ConfusionMetric):
    """Area under a curve, as a sum over `num_thresholds` thresholds.

    Args:
        num_thresholds: more give a better approximation; 2 to 2^24.
        curve: "ROC" (recall over false-positive rate), "PR" (precision over recall) or "PRGAIN" (Flach and Kull,
            2015).
        summation_method: "interpolation" (trapezoids; for PR the interpolation of Davis and Goadrich, 2006),
            "majoring" or "minoring" (the larger or smaller side of each interval).
        thresholds: floats between 0 and 1 instead of evenly spaced ones.
        multi_label: whether the columns of (batch, labels) predictions are averaged instead of pooled.
        num_labels: number of labels with `multi_label`, when it should be known before the first batch.
        label_weights: (labels,) weights of the average, or of the columns when they are pooled.
        from_logits: whether predictions are logits instead of probabilities.
    """

    _direction = "up"

    def __init__(self, num_thresholds=200, curve="ROC", summation_method="interpolation", name=None, dtype=None,
                 thresholds=None, multi_label=False, num_labels=None, label_weights=None, from_logits=False):
        self.curve = _choose("curve", str(curve).upper(), _CURVES, curve)
        self.summation_method = _choose("summation method", str(summation_method).lower(), _SUMMATIONS,
                                        summation_method)
        self._given_thresholds = thresholds is not None
        if thresholds is not None:
            inner = sorted(float(t) for t in thresholds)
        else:
            if num_thresholds <= 1:
                raise ValueError("Argument `num_thresholds` must be an integer > 1. "
                                 f"Received: num_thresholds={num_thresholds}")
            inner = even_thresholds(num_thresholds)[1:-1]
        if num_labels and not multi_label:
            raise ValueError("`num_labels` is needed only when `multi_label` is True.")
        self.num_thresholds = len(inner) + 2
        self.multi_label = multi_label
        self.num_labels = self._columns = num_labels
        self._from_logits = from_logits
        self._built = False
        # The outermost thresholds lie beyond every probability: the curve has both its ends.
        ends = [-config.epsilon(), *inner, 1.0 + config.epsilon()]
        super().__init__(_COUNTS, ends, name=name, dtype=dtype)
        self._clip = _evenly_spaced([0.0, *inner, 1.0])
        self.label_weights = None
        if label_weights is not None:
            self.label_weights = ops.convert_to_tensor(np.asarray(label_weights, dtype=self.dtype))

    def _make_counts(self, shape) -> None:
        if self.multi_label:
            if not self._columns:
                return  # at the first batch
            shape = (*shape, self._columns)
        super()._make_counts(shape)
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        mask = getattr(y_pred, "_keras_mask", None)
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        if self.multi_label and len(y_pred.shape) != 2:
            raise ValueError("`y_pred` must have rank 2 when `multi_label=True`. Found rank "
                             f"{len(y_pred.shape)}. Full shape received for `y_pred`: {tuple(y_pred.shape)}")
        if not self._built:
            self._columns = y_pred.shape[1]
            self._make_counts((self.num_thresholds,))
        if self._from_logits:
            y_pred = ops.sigmoid(y_pred)
        if mask is not None:
            y_pred._keras_mask = mask
        self._accumulate(y_true, y_pred, sample_weight, None if self.multi_label else self.label_weights,
                         self.multi_label)

    def result(self):
        if not self._built:
            raise ValueError("The result of AUC(multi_label=True) is unknown before the first batch.")
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self._rounded(self._combine(self._interpolated_pr()))
        x, y = self._points()
        left, right = y[:-1], y[1:]
        if self.summation_method == "interpolation":
            height = (left + right) / 2.0
        else:
            height = (ops.minimum if self.summation_method == "minoring" else ops.maximum)(left, right)
        return self._rounded(self._combine((x[:-1] - x[1:]) * height))

    def _points(self):
        """The curve at each threshold: x falls from 1 to 0."""
        tp, fp, tn, fn = (getattr(self, name) for name in _COUNTS)
        recall = ops.divide_no_nan(tp, tp + fn)
        if self.curve == "ROC":
            return ops.divide_no_nan(fp, fp + tn), recall
        if self.curve == "PR":
            return recall, ops.divide_no_nan(tp, tp + fp)
        odds = ops.divide_no_nan(tp + fn, tn + fp)  # of the positive class
        none = ops.equal(tp, 0.0)
        recall_gain = ops.where(none, ops.zeros_like(tp), 1.0 - odds * ops.divide_no_nan(fn, tp))
        precision_gain = ops.where(none, ops.ones_like(tp), 1.0 - odds * ops.divide_no_nan(fp, tp))
        return ops.maximum(recall_gain, 0.0), precision_gain

    def _interpolated_pr(self):
        """Area between neighbouring thresholds when TP grows linearly in TP + FP between them.

        With P = TP + FP, slope = dTP/dP and TP = intercept + slope P, the area is
        slope / (TP + FN) * (dTP + intercept log(P_left / P_right)).
        """
        tp, fp, fn = self.true_positives, self.false_positives, self.false_negatives
        predicted = tp + fp
        left, right = predicted[:-1], predicted[1:]
        gain = tp[:-1] - tp[1:]
        slope = ops.divide_no_nan(gain, ops.maximum(left - right, 0.0))
        intercept = tp[1:] - slope * right
        both = ops.logical_and(ops.greater(left, 0.0), ops.greater(right, 0.0))
        ones = ops.ones_like(left)
        ratio = ops.where(both, left, ones) / ops.where(both, right, ones)
        return ops.divide_no_nan(slope * (gain + intercept * ops.log(ratio)), ops.maximum(tp[1:] + fn[1:], 0.0))

    def _combine(self, areas):
        if not self.multi_label:
            return ops.sum(areas)
        by_label = ops.sum(areas, axis=0)
        if self.label_weights is None:
            return ops.mean(by_label)
        return ops.divide_no_nan(ops.sum(by_label * self.label_weights), ops.sum(self.label_weights))

    def get_config(self) -> dict:
        own = {"num_thresholds": self.num_thresholds, "curve": self.curve, "summation_method": self.summation_method,
               "multi_label": self.multi_label, "num_labels": self.num_labels,
               "label_weights": None if self.label_weights is None else self.label_weights.numpy().tolist(),
               "from_logits": self._from_logits}
        if self._given_thresholds:
            own["thresholds"] = self.thresholds[1:-1]
        return {**super().get_config(), **own}


def _choose(what: str, value: str, choices, given) -> str:
    if value not in choices:
        raise ValueError(f'Invalid AUC {what} value: "{given}". Expected values are {list(choices)}')
    return value
