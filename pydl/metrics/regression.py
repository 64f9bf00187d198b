"""Distances between real-valued targets and predictions, and scores of a fit."""

from __future__ import annotations

from pydl import ops
from pydl.metrics.base import Metric
from pydl.metrics.reductions import Mean, NamedMean, averaged
from pydl.ops import _losses, _samples
from pydl.ops.reduction import length_of
from pydl.symbolic import op

__all__ = ["ConcordanceCorrelation", "CosineSimilarity", "LogCoshError", "MeanAbsoluteError",
           "MeanAbsolutePercentageError", "MeanSquaredError", "MeanSquaredLogarithmicError", "PearsonCorrelation",
           "R2Score", "RootMeanSquaredError", "concordance_correlation", "pearson_correlation"]

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
    _left_out = {"axis": -1}

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
    """The coefficient of determination: 1 - residual / total sum of squares around the mean.

    The sum around the mean is kept as such (Chan, Golub and LeVeque, 1983, eq. 2.1), so a large offset of the targets
    costs no digits. Where the targets of an output do not vary, its score is 1 if all predictions are exact, else 0;
    before the first sample it is 0.

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
        self.num_samples = self._add_tally((), "num_samples")
        self._built = False

    def _build(self, y_true, y_pred) -> None:
        check_matrices(self, y_true, y_pred)
        shape = (y_pred.shape[-1],)
        self.count = self._add_tally(shape, "count")
        self.mean = self._add_tally(shape, "mean")
        self.deviation = self._add_tally(shape, "deviation")
        self.residual = self._add_tally(shape, "residual")
        self._built = True

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = ops.convert_to_tensor(y_true, dtype="float64")
        y_pred = ops.convert_to_tensor(y_pred, dtype="float64")
        y_true, y_pred = _samples.squeeze_or_expand_to_same_rank(y_true, y_pred)
        if not self._built:
            self._build(y_true, y_pred)
        if y_true.shape[0] == 0:
            return
        if sample_weight is None:
            weight = ops.ones_like(y_true)
        else:
            weight = ops.convert_to_tensor(sample_weight, dtype="float64")
            if len(weight.shape) == 1:
                weight = ops.expand_dims(weight, 1)
            weight = ops.broadcast_to(weight, y_true.shape)
        added = ops.sum(weight, axis=0)
        first = y_true[0]  # a column of equal values has this mean to the last bit
        mean = first + ops.divide_no_nan(ops.sum(weight * (y_true - first), axis=0), added)
        deviation = ops.sum(weight * ops.square(y_true - mean), axis=0)
        distance = mean - self.mean
        share = ops.divide_no_nan(added, self.count + added)
        deviation = deviation + ops.square(distance) * self.count * share
        self.mean.assign_add(distance * share)
        self.deviation.assign_add(deviation)
        self.residual.assign_add(ops.sum(ops.square(y_true - y_pred) * weight, axis=0))
        self.count.assign_add(added)
        self.num_samples.assign_add(y_true.shape[0] * y_true.shape[1])

    def result(self):
        return self._rounded(self._score()) if self._built else ops.zeros((), dtype=self.dtype)

    def _score(self):
        varies = ops.greater(self.deviation, 0.0)
        exact = ops.logical_and(ops.equal(self.residual, 0.0), ops.greater(self.count, 0.0))
        scores = ops.where(varies, 1.0 - ops.divide_no_nan(self.residual, self.deviation), ops.cast(exact, "float64"))
        if self.class_aggregation == "variance_weighted_average":
            total = ops.sum(self.deviation)
            weighted = ops.divide_no_nan(ops.sum(self.deviation * scores), total)
            scores = ops.where(ops.greater(total, 0.0), weighted, ops.mean(scores))
        elif self.class_aggregation == "uniform_average":
            scores = ops.mean(scores)
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
    """Both less their means, the difference of the means, and the dtype of the result. In float64 and counted from the
    first value, so that an offset costs no digits and equal values are exactly 0."""
    y_true, y_pred = _samples.align(y_true, y_pred, "correlation")
    wide = [ops.cast(y, "float64") for y in (y_true, y_pred)]
    first = [ops.take(y, [0], axis=axis) for y in wide]
    a, b = (y - f for y, f in zip(wide, first))
    offset_a, offset_b = (ops.mean(y, axis=axis, keepdims=True) for y in (a, b))
    return a - offset_a, b - offset_b, first[0] - first[1] + (offset_a - offset_b), y_pred.dtype


def _share(part, whole, dtype):
    """part / whole; 0 where that is 0: constant targets and predictions correlate with 0, not NaN."""
    none = ops.equal(whole, 0)
    return ops.cast(ops.where(none, 0, part / ops.where(none, 1, whole)), dtype)


@averaged
@op
def pearson_correlation(y_true, y_pred, axis=-1):
    """cov(y_true, y_pred) / (std(y_true) std(y_pred)) along `axis`."""
    a, b, _, dtype = _centred(y_true, y_pred, axis)
    spread = length_of(ops.sum(ops.square(a), axis=axis)) * length_of(ops.sum(ops.square(b), axis=axis))
    return _share(ops.sum(a * b, axis=axis), spread, dtype)


@averaged
@op
def concordance_correlation(y_true, y_pred, axis=-1):
    """2 cov(y_true, y_pred) / (var(y_true) + var(y_pred) + (difference of means)^2) along `axis` (Lin, 1989)."""
    a, b, shift, dtype = _centred(y_true, y_pred, axis)
    spread = ops.mean(ops.square(a) + ops.square(b) + ops.square(shift), axis=axis)
    return _share(2.0 * ops.mean(a * b, axis=axis), spread, dtype)


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
