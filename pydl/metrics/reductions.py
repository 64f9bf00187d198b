"""Sum, weighted mean, and the mean of a function of targets and predictions."""

from __future__ import annotations

from pydl import lookup, ops, registry
from pydl.configs import checked
from pydl.metrics.base import Metric
from pydl.ops import _losses, _samples
from pydl.ops._metric import accumulate_mean

__all__ = ["Mean", "MeanMetricWrapper", "Sum"]

# What `MeanMetricWrapper` may average, by the name in its config.
FUNCTIONS = {**_losses.FUNCTIONS, "cosine_similarity": _losses.cosine_similarity}


def averaged(fn):
    """Decorator: enters a function of targets and predictions, one value per sample, in `FUNCTIONS`."""
    FUNCTIONS[fn.__name__] = fn
    return fn


def _weigh(values, sample_weight, dtype: str):
    """Values and their weights, or values and None.

    A mask on the values (left by `ignore_class`) takes the weights away where it is False; without weights such values,
    which are 0, count as they are. That is Keras's rule.
    """
    mask = _samples.get_mask(values)
    values = ops.convert_to_tensor(values, dtype=dtype)
    if sample_weight is None:
        return values, None
    sample_weight = ops.convert_to_tensor(sample_weight, dtype=dtype)
    sample_weight = _samples.apply_mask(sample_weight, mask, dtype, reduction="sum")
    return _samples.squeeze_or_expand_to_same_rank(values, sample_weight)


def _trailing(values, weight) -> tuple[int, ...]:
    """The axes of the values that the weights do not have."""
    return tuple(range(len(weight.shape), len(values.shape)))


class Sum(Metric):
    """The sum of values times weights. Example: Sum()([1, 3, 5, 7]) is 16."""

    def __init__(self, name="sum", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self._add_tally((), "total")

    def update_state(self, values, sample_weight=None):
        values, weight = _weigh(values, sample_weight, "float64")
        if weight is not None:
            if _trailing(values, weight):
                values = ops.sum(values, axis=_trailing(values, weight))
            values = values * weight
        self.total.assign_add(ops.sum(values))

    def result(self):
        return self._rounded(self.total)


class Mean(Metric):
    """The mean of values, weighted by samples.

    Values of several axes are first averaged over all but the first; each sample then counts once (or by its
    weight). Example: Mean()([1, 3, 5, 7], sample_weight=[1, 1, 0, 0]) is 2.
    """

    def __init__(self, name="mean", dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.total = self._add_tally((), "total")
        self.count = self._add_tally((), "count")

    def update_state(self, values, sample_weight=None):
        values, weight = _weigh(values, sample_weight, self.dtype)
        if weight is not None:
            leading = tuple(values.shape[: len(weight.shape)])
            if tuple(weight.shape) != leading:
                weight = ops.broadcast_to(weight, leading)
        accumulate_mean(values, weight, self.total, self.count)

    def result(self):
        return self._rounded(ops.divide_no_nan(self.total, self.count))


class MeanMetricWrapper(Mean):
    """The mean of `fn(y_true, y_pred, **kwargs)`, which gives one value per sample."""

    def __init__(self, fn, name=None, dtype=None, **kwargs):
        super().__init__(name=name, dtype=dtype)
        self._fn = fn
        self._fn_kwargs = kwargs
        # A loss as a metric: less is better.
        if any(fn is known for known in _losses.FUNCTIONS.values()) or hasattr(fn, "reduction"):
            self._direction = "down"

    def update_state(self, y_true, y_pred, sample_weight=None):
        mask = _samples.get_mask(y_pred)
        values = self._fn(y_true, y_pred, **self._fn_kwargs)
        super().update_state(values, _samples.apply_mask(sample_weight, mask, self.dtype, reduction="sum"))

    def get_config(self) -> dict:
        return {**super().get_config(), "fn": registry.serialize_keras_object(self._fn),
                **registry.serialize_keras_object(self._fn_kwargs)}

    @classmethod
    @checked
    def from_config(cls, config: dict):
        if isinstance(config.get("fn"), (dict, str)):
            config = {**config, "fn": lookup.find(config["fn"], FUNCTIONS, "metric")}
        return cls(**config)


class NamedMean(MeanMetricWrapper):
    """A mean whose function belongs to the class: `fn` stays out of the config."""

    _direction = "down"  # of most: distances and losses
    _left_out: dict = {}  # as that of a loss

    def get_config(self) -> dict:
        given = {name: value for name, value in self._fn_kwargs.items() if self._left_out.get(name, ...) != value}
        return {"name": self.name, "dtype": self.dtype, **registry.serialize_keras_object(given)}

    @classmethod
    @checked
    def from_config(cls, config: dict):
        return cls(**config)
