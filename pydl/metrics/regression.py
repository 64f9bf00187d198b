"""Distances between real-valued targets and predictions, and scores of a fit."""

from __future__ import annotations

from pydl import ops
from pydl.metrics.base import Metric
from pydl.metrics.reductions import Mean, NamedMean, averaged
from pydl.ops import _losses, _samples
from pydl.symbolic import op

__all__ = ["ConcordanceCorrelation", "CosineSimilarity", "LogCoshError", "MeanAbsoluteError",
           "MeanAbsolutePercentageError", "MeanSquaredError", "MeanSquaredLogarithmicError", "PearsonCorrelation",
           "R2Score", "RootMeanSquaredError", "concordance_correlation", "pearson_correlation"]

_TINY = 1e-30  # constant targets and predictions correlate with 0, not NaN


class MeanSquaredError(NamedMean):
    """mean((y_true - y_pred)^2)."""

    def __init__(self, name="mean_squared_error", dtype=None):
        super().__init__(_losses.mean_squared_error, name, dtype)


class MeanAbsoluteError(NamedMean):
    """mean(|y_true - y_pred|)."""

    def __init__(self, name="mean_absolute_error", dtype=None):
        super().__init__(_losses.mean_absolute_error, name, dtype)


class MeanAbsolutePercentageError(NamedMean):
    """100 mean(|(y_true - y_pred) / y_true|)."""

    def __init__(self, name="mean_absolute_percentage_error", dtype=None):
        super().__init__(_losses.mean_absolute_percentage_error, name, dtype)


class MeanSquaredLogarithmicError(NamedMean):
    """mean((log(1 + y_true) - log(1 + y_pred))^2)."""

    def __init__(self, name="mean_squared_logarithmic_error", dtype=None):
        super().__init__(_losses.mean_squared_logarithmic_error, name, dtype)


class LogCoshError(NamedMean):
    """mean(log(cosh(y_pred - y_true)))."""

    def __init__(self, name="logcosh", dtype=None):
        super().__init__(_losses.log_cosh, name, dtype)


class CosineSimilarity(NamedMean):
    """Mean cosine of the angle between targets and predictions along `axis`."""

    _direction = "up"

    def __init__(self, name="cosine_similarity", dtype=None, axis=-1):
        super().__init__(_losses.cosine_similarity, name, dtype, axis=axis)


class RootMeanSquaredError(Mean):
    """sqrt(mean((y_true - y_pred)^2)) over everything seen."""

    _direction = "down"

    def __init__(self, name="root_mean_squared_error", dtype=None):
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        mask = _samples.get_mask(y_pred)
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        y_true, y_pred = _samples.squeeze_or_expand_to_same_rank(y_true, y_pred)
        super().update_state(ops.square(y_pred - y_true),
                             _samples.apply_mask(sample_weight, mask, self.dtype, reduction="sum"))

    def result(self):
        return ops.sqrt(super().result())


def check_matrices(metric: Metric, y_true, y_pred) -> None:
    """Raises ValueError unless both are of rank 2."""
    if len(y_pred.shape) != 2 or len(y_true.shape) != 2:
        raise ValueError(
            f"{type(metric).__name__} expects 2D inputs with shape (batch_size, output_dim). Received input shapes: "
            f"y_pred.shape={tuple(y_pred.shape)} and y_true.shape={tuple(y_true.shape)}.")


class R2Score(Metric):
    """The coefficient of determination: 1 - residual / total sum of squares.

    Args:
        class_aggregation: over the outputs: "uniform_average", "variance_weighted_average", or None for one score
            per output.
        num_regressors: number of independent regressors; above 0 the score is adjusted for it where there are
            enough samples.
    """

    _direction = "up"

    def __init__(self, class_aggregation="uniform_average", num_regressors=0, name="r2_score", dtype=None):
        super().__init__(name=name, dtype=dtype)
        choices = (None, "uniform_average", "variance_weighted_average")
        if class_aggregation not in choices:
            raise ValueError(f"Invalid value for argument `class_aggregation`. Expected one of {choices}. "
                             f"Received: class_aggregation={class_aggregation}")
        if num_regressors < 0:
            raise ValueError("Invalid value for argument `num_regressors`. Expected a value >= 0. "
                             f"Received: num_regressors={num_regressors}")
        self.class_aggregation = class_aggregation
        self.num_regressors = num_regressors
        self.num_samples = self.add_variable((), "zeros", dtype=self.dtype, name="num_samples")
        self._built = False

    def _build(self, y_true, y_pred) -> None:
        check_matrices(self, y_true, y_pred)
        shape = (y_pred.shape[-1],)
        self.squared_sum = self.add_variable(shape, "zeros", dtype=self.dtype, name="squared_sum")
        self.sum = self.add_variable(shape, "zeros", dtype=self.dtype, name="sum")
        self.total_mse = self.add_variable(shape, "zeros", dtype=self.dtype, name="residual")
        self.count = self.add_variable(shape, "zeros", dtype=self.dtype, name="count")
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        y_true, y_pred = _samples.squeeze_or_expand_to_same_rank(y_true, y_pred)
        if not self._built:
            self._build(y_true, y_pred)
        if sample_weight is None:
            weight = ops.ones_like(y_true)
        else:
            weight = ops.convert_to_tensor(sample_weight, dtype=self.dtype)
            if len(weight.shape) == 1:
                weight = ops.expand_dims(weight, 1)
            weight = ops.broadcast_to(weight, y_true.shape)
        weighted = y_true * weight
        self.sum.assign_add(ops.sum(weighted, axis=0))
        self.squared_sum.assign_add(ops.sum(y_true * weighted, axis=0))
        self.total_mse.assign_add(ops.sum(ops.square(y_true - y_pred) * weight, axis=0))
        self.count.assign_add(ops.sum(weight, axis=0))
        self.num_samples.assign_add(y_true.shape[0] * y_true.shape[1])

    def result(self):
        total = self.squared_sum - self.sum * (self.sum / self.count)
        scores = 1.0 - self.total_mse / total
        scores = ops.where(ops.isinf(scores), ops.zeros_like(scores), scores)
        if self.class_aggregation == "uniform_average":
            scores = ops.mean(scores)
        elif self.class_aggregation == "variance_weighted_average":
            scores = ops.sum(total * scores) / ops.sum(total)
        if self.num_regressors == 0:
            return scores
        free = self.num_samples - float(self.num_regressors + 1)
        enough = ops.greater(free, 0.0)
        adjusted = 1.0 - (1.0 - scores) * (self.num_samples - 1.0) / ops.where(enough, free, ops.ones_like(free))
        return ops.where(enough, adjusted, scores)

    def get_config(self) -> dict:
        return {**super().get_config(), "class_aggregation": self.class_aggregation,
                "num_regressors": self.num_regressors}


def _centred(y_true, y_pred, axis):
    y_true, y_pred = _samples.align(y_true, y_pred, "correlation")
    mean_true = ops.mean(y_true, axis=axis, keepdims=True)
    mean_pred = ops.mean(y_pred, axis=axis, keepdims=True)
    return y_true - mean_true, y_pred - mean_pred, mean_true - mean_pred


@averaged
@op
def pearson_correlation(y_true, y_pred, axis=-1):
    """cov(y_true, y_pred) / (std(y_true) std(y_pred)) along `axis`."""
    a, b, _ = _centred(y_true, y_pred, axis)
    spread = ops.sqrt(ops.sum(ops.square(a), axis=axis) * ops.sum(ops.square(b), axis=axis))
    return ops.sum(a * b, axis=axis) / ops.maximum(spread, _TINY)


@averaged
@op
def concordance_correlation(y_true, y_pred, axis=-1):
    """2 cov(y_true, y_pred) / (var(y_true) + var(y_pred) + (difference of means)^2) along `axis` (Lin, 1989)."""
    a, b, shift = _centred(y_true, y_pred, axis)
    spread = ops.mean(ops.square(a) + ops.square(b) + ops.square(shift), axis=axis)
    return 2.0 * ops.mean(a * b, axis=axis) / ops.maximum(spread, _TINY)


class PearsonCorrelation(NamedMean):
    """Mean Pearson correlation of targets and predictions along `axis`."""

    _direction = "up"

    def __init__(self, name="pearson_correlation", dtype=None, axis=-1):
        super().__init__(pearson_correlation, name, dtype, axis=axis)
        self.axis = axis


class ConcordanceCorrelation(NamedMean):
    """Mean concordance correlation: as Pearson's, and lowered by a shift or a scale between the two."""

    _direction = "up"

    def __init__(self, name="concordance_correlation", dtype=None, axis=-1):
        super().__init__(concordance_correlation, name, dtype, axis=axis)
        self.axis = axis
