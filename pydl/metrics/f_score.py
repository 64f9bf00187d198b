"""F-beta and F1 score."""

from __future__ import annotations

from pydl import config, ops
from pydl.metrics.base import Metric
from pydl.metrics.regression import check_matrices

__all__ = ["F1Score", "FBetaScore"]


class FBetaScore(Metric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall), of (batch, classes) labels and scores.

    Args:
        average: None for one score per class, "micro" (counts pooled over classes), "macro" (mean over classes) or
            "weighted" (mean weighted by the number of true samples of each class).
        beta: above 0; above 1 recall counts more than precision.
        threshold: scores above it (0 < threshold <= 1) are positive; by default the largest score of a row is.
    """

    _direction = "up"

    def __init__(self, average=None, beta=1.0, threshold=None, name="fbeta_score", dtype=None):
        super().__init__(name=name, dtype=dtype)
        if average not in (None, "micro", "macro", "weighted"):
            raise ValueError("Invalid `average` argument value. Expected one of: (None, 'micro', 'macro', "
                             f"'weighted'). Received: average={average}")
        if not isinstance(beta, float):
            raise ValueError("Invalid `beta` argument value. It should be a Python float. "
                             f"Received: beta={beta} of type '{type(beta)}'")
        if beta <= 0.0:
            raise ValueError(f"Invalid `beta` argument value. It should be > 0. Received: beta={beta}")
        if threshold is not None and not isinstance(threshold, float):
            raise ValueError("Invalid `threshold` argument value. It should be a Python float. "
                             f"Received: threshold={threshold} of type '{type(threshold)}'")
        if threshold is not None and not 0.0 < threshold <= 1.0:
            raise ValueError("Invalid `threshold` argument value. It should verify 0 < threshold <= 1. "
                             f"Received: threshold={threshold}")
        self.average, self.beta, self.threshold = average, beta, threshold
        self.axis = None if average == "micro" else 0
        self._built = False

    def _build(self, y_true, y_pred) -> None:
        check_matrices(self, y_true, y_pred)
        shape = () if self.average == "micro" else (y_pred.shape[-1],)
        for name in ("true_positives", "false_positives", "false_negatives", "intermediate_weights"):
            setattr(self, name, self._add_tally(shape, name))
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        if not self._built:
            self._build(y_true, y_pred)
        if self.threshold is None:
            best = ops.max(y_pred, axis=-1, keepdims=True)
            # A row of zeros predicts nothing.
            hit = ops.logical_and(ops.greater_equal(y_pred, best), ops.greater(ops.abs(y_pred), 1e-9))
        else:
            hit = ops.greater(y_pred, self.threshold)
        hit = ops.cast(hit, self.dtype)
        weight = None
        if sample_weight is not None:
            weight = ops.reshape(ops.convert_to_tensor(sample_weight, dtype=self.dtype), (-1, 1))

        def total(values):
            return ops.sum(values if weight is None else values * weight, axis=self.axis)

        both, predicted, true = total(hit * y_true), total(hit), total(y_true)
        self.true_positives.assign_add(both)
        self.false_positives.assign_add(predicted - both)
        self.false_negatives.assign_add(true - both)
        self.intermediate_weights.assign_add(true)

    def result(self):
        if not self._built:
            return ops.zeros((), dtype=self.dtype)
        tiny = config.epsilon()
        precision = self.true_positives / (self.true_positives + self.false_positives + tiny)
        recall = self.true_positives / (self.true_positives + self.false_negatives + tiny)
        square = self.beta**2
        score = (1.0 + square) * (precision * recall / (square * precision + recall + tiny))
        if self.average == "weighted":
            weights = self.intermediate_weights / (ops.sum(self.intermediate_weights) + tiny)
            return self._rounded(ops.sum(score * weights))
        return self._rounded(ops.mean(score) if self.average is not None else score)

    def get_config(self) -> dict:
        return {**super().get_config(), "average": self.average, "beta": self.beta, "threshold": self.threshold}


class F1Score(FBetaScore):
    """The harmonic mean of precision and recall: `FBetaScore` with beta = 1."""

    def __init__(self, average=None, threshold=None, name="f1_score", dtype=None):
        super().__init__(average=average, beta=1.0, threshold=threshold, name=name, dtype=dtype)

    def get_config(self) -> dict:
        own = super().get_config()
        del own["beta"]
        return own
