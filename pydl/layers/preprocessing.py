"""Feature scaling: Rescaling, Normalization."""

from __future__ import annotations

import math

import numpy as np

from pydl import ops
from pydl.layers.base import Layer, axis_of
from pydl.layers.input_spec import InputSpec
from pydl.registry import builtin
from pydl.tensor import Tensor, as_array

__all__ = ["Normalization", "Rescaling"]


@builtin("keras.layers")
class Rescaling(Layer):
    """`x * scale + offset`, e.g. scale=1/255 for bytes to [0, 1]."""

    def __init__(self, scale, offset=0.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale
        self.offset = offset
        self.supports_masking = True

    def call(self, inputs):
        x = ops.cast(inputs, self._dtype)
        return x * _constant(self.scale, self._dtype) + _constant(self.offset, self._dtype)

    def get_config(self):
        return {**super().get_config(), "scale": _plain(self.scale), "offset": _plain(self.offset)}


def _constant(value, dtype):
    return value if isinstance(value, (int, float)) else np.asarray(value, dtype)


def _plain(value):
    return value if isinstance(value, (int, float)) else np.asarray(value).tolist()


def _broadcasts(shape, target):
    return len(shape) <= len(target) and all(m in (1, n) for m, n in zip(reversed(shape), reversed(target)))


@builtin("keras.layers")
class Normalization(Layer):
    """`(x - mean) / sqrt(variance)` per feature, with statistics given or learned by `adapt`.

    Args:
        axis: axis (or axes) that keep their own statistics; None for one mean and variance of everything, of inputs of
            any rank.
        mean, variance: fixed statistics, instead of `adapt`: numbers, or what broadcasts to the sizes of these axes.
        invert: apply the inverse, `x * sqrt(variance) + mean`.
    """

    def __init__(self, axis=-1, mean=None, variance=None, invert=False, **kwargs):
        super().__init__(**kwargs)
        self.axis = () if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
        if (mean is None) != (variance is None):
            raise ValueError("When setting values directly, both `mean` and `variance` must be set. Received:"
                             f" mean={mean} and variance={variance}")
        self.input_mean = mean
        self.input_variance = variance
        self.invert = invert
        self.supports_masking = True

    def build(self, input_shape):
        rank = len(input_shape)
        self._keep_axis = tuple(sorted(axis_of(a, rank) for a in self.axis))
        for a in self._keep_axis:
            if input_shape[a] is None:
                raise ValueError(f"All `axis` values to be kept must have a known shape. Received axis={self.axis},"
                                 f" input_shape={input_shape}, with unknown axis at index {a}")
        self._kept_shape = tuple(input_shape[a] for a in self._keep_axis)
        self._broadcast_shape = ()
        if self._keep_axis:  # one mean of everything fits inputs of any rank
            self._broadcast_shape = tuple(input_shape[a] if a in self._keep_axis else 1 for a in range(rank))
            self.input_spec = InputSpec(ndim=rank, axes={a: input_shape[a] for a in self._keep_axis})
        for name, value in (("mean", self.input_mean), ("variance", self.input_variance)):
            if value is not None and np.size(value) != 1 and not _broadcasts(np.shape(value), self._kept_shape):
                raise ValueError(f"expected `{name}` of shape () or {self._kept_shape}; received"
                                 f" {np.shape(value)}.")
        if self.input_mean is None:
            self.adapt_mean = self.add_weight(name="mean", shape=self._kept_shape, initializer="zeros",
                                              trainable=False)
            self.adapt_variance = self.add_weight(name="variance", shape=self._kept_shape, initializer="ones",
                                                  trainable=False)
            self.count = self.add_weight(name="count", shape=(), dtype="int32", initializer="zeros", trainable=False)

    def adapt(self, data) -> None:
        """Sets the statistics to those of `data` (an array, or an iterable of batches, as a list of arrays is)."""
        if isinstance(data, Tensor):
            data = data.numpy()
        numbers = isinstance(data, list) and not any(np.ndim(batch) and hasattr(batch, "shape") for batch in data)
        batches = [np.asarray(data)] if numbers or isinstance(data, np.ndarray) or hasattr(data, "to_numpy") else data
        count, mean, square = 0, 0.0, 0.0
        for batch in batches:
            batch = as_array(batch[0] if isinstance(batch, tuple) else batch, np.float64)
            if batch.ndim == 1 and self.axis:
                batch = batch[:, None]
            if not self.built:
                self.build_from_config({"input_shape": (None, *batch.shape[1:])})
            if self.input_mean is not None:
                raise ValueError("Cannot `adapt` a Normalization layer that is initialized with static `mean` and"
                                 " `variance`.")
            reduced = tuple(a for a in range(batch.ndim) if a not in self._keep_axis)
            n = math.prod(batch.shape[a] for a in reduced)
            batch_mean = batch.mean(reduced, keepdims=True)
            # Chan et al.: combine counts, means and sums of squared deviations.
            square = square + ((batch - batch_mean) ** 2).sum(reduced)
            delta = batch_mean.reshape(self._kept_shape) - mean
            square = square + delta**2 * (count * n / (count + n))
            mean = mean + delta * (n / (count + n))
            count += n
        if count == 0:
            raise ValueError("Normalization.adapt: the data set is empty.")
        self.adapt_mean.assign(np.asarray(mean, self._dtype))
        self.adapt_variance.assign(np.asarray(square / count, self._dtype))

    @property
    def mean(self):
        """The mean, shaped to broadcast with inputs; None before the layer is built."""
        return self._statistic("mean")

    @property
    def variance(self):
        """The variance, shaped as `mean`."""
        return self._statistic("variance")

    def _statistic(self, which):
        if not self.built:
            return None
        given = getattr(self, f"input_{which}")
        if given is None:
            return ops.reshape(getattr(self, f"adapt_{which}"), self._broadcast_shape)
        given = np.asarray(given, self._dtype)
        return np.broadcast_to(given.reshape(()) if given.size == 1 else given, self._kept_shape).reshape(
            self._broadcast_shape)

    def call(self, inputs):
        x = ops.cast(inputs, self._dtype)
        mean, variance = self._statistic("mean"), self._statistic("variance")
        deviation = ops.maximum(ops.sqrt(variance), 1e-7)
        return x * deviation + mean if self.invert else (x - mean) / deviation

    def get_config(self):
        return {**super().get_config(), "axis": self.axis, "invert": self.invert,
                "mean": None if self.input_mean is None else _plain(self.input_mean),
                "variance": None if self.input_variance is None else _plain(self.input_variance)}
