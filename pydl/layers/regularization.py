"""Noise and penalties that are there in training only."""

from __future__ import annotations

import numpy as np

from pydl import config, ops, random, regularizers
from pydl.layers.base import Layer
from pydl.layers.input_spec import InputSpec
from pydl.ops._window import is_channels_first
from pydl.registry import builtin

__all__ = ["ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise", "SpatialDropout1D",
           "SpatialDropout2D", "SpatialDropout3D"]


class _Noise(Layer):
    """Common to the layers below: a rate in [0, 1] or [0, 1), a seed, nothing at prediction."""

    _one_allowed = False  # whether the formula has a value at rate 1
    _built_when_made = True

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(rate, (int, float)) or not 0 <= rate <= 1 or rate == 1 and not self._one_allowed:
            raise ValueError("Invalid value received for argument `rate`. Expected a float value between 0 and 1"
                             f"{'' if self._one_allowed else ' (1 excluded)'}. Received: rate={rate}")
        self.rate = rate
        self.seed = seed
        self.seed_generator = random.SeedGenerator(seed)
        self.supports_masking = True

    def get_config(self):
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


def _checked_noise_shape(layer, shape):
    """A tuple of sizes and None (the input's size); raises ValueError for anything else."""
    if shape is None:
        return None
    fits = not isinstance(shape, str) and hasattr(shape, "__iter__")
    sizes = tuple(shape) if fits else ()
    if not fits or any(n is not None and (not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n <= 0)
                       for n in sizes):
        raise ValueError(f"{type(layer).__name__}: expected noise_shape to be a tuple or list of positive integers and"
                         f" None; received noise_shape={shape!r}.")
    return tuple(n if n is None else int(n) for n in sizes)


@builtin("keras.layers")
class Dropout(_Noise):
    """Sets a share `rate` of the inputs to 0 and scales the rest by 1 / (1 - rate), in training (Srivastava 2014).

    Args:
        rate: in [0, 1].
        noise_shape: shape of the mask, broadcast to the input: 1 where the same decision holds along an axis, None for
            the input's own size.
        seed: int or None.
    """

    _one_allowed = True

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(rate, seed, **kwargs)
        self.noise_shape = _checked_noise_shape(self, noise_shape)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        return random.dropout(inputs, self.rate, noise_shape=self.noise_shape, seed=self.seed_generator)

    def get_config(self):
        return {**super().get_config(), "noise_shape": self.noise_shape}


class _SpatialDropout(_Noise):
    """Drops whole channels of a sample: its places agree, so that single ones would not be missed.

    Args:
        rate: in [0, 1], the share of channels that become 0 in training; the rest is divided by 1 - rate.
        data_format: "channels_last" (batch, spatial..., channels) or "channels_first" (batch, channels, spatial...).
        seed: int or None.

    Source: Tompson et al. 2015.
    """

    _one_allowed = True
    _rank: int

    def __init__(self, rate, data_format=None, seed=None, name=None, dtype=None, **kwargs):
        super().__init__(rate, seed, name=name, dtype=dtype, **kwargs)
        is_channels_first(data_format, type(self).__name__)
        self.data_format = data_format or config.image_data_format()
        self.input_spec = InputSpec(ndim=self._rank + 2)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        places = (1,) * self._rank
        shape = (None, None, *places) if self.data_format == "channels_first" else (None, *places, None)
        return random.dropout(inputs, self.rate, noise_shape=shape, seed=self.seed_generator)

    def get_config(self):
        config = {**super().get_config(), "data_format": self.data_format}
        if config["trainable"]:  # Keras's layer takes no such argument
            del config["trainable"]
        return config


@builtin("keras.layers")
class SpatialDropout1D(_SpatialDropout):
    """Drops whole channels of (batch, steps, channels), a share `rate` of them, in training (Tompson et al. 2015)."""

    _rank = 1

    def __init__(self, rate, seed=None, name=None, dtype=None, **kwargs):
        super().__init__(rate, "channels_last", seed, name, dtype, **kwargs)

    def get_config(self):
        return {k: v for k, v in super().get_config().items() if k != "data_format"}


@builtin("keras.layers")
class SpatialDropout2D(_SpatialDropout):
    __doc__ = _SpatialDropout.__doc__
    _rank = 2


@builtin("keras.layers")
class SpatialDropout3D(_SpatialDropout):
    __doc__ = _SpatialDropout.__doc__
    _rank = 3


@builtin("keras.layers")
class GaussianNoise(Layer):
    """Adds noise from N(0, stddev^2) in training.

    Args:
        stddev: standard deviation, >= 0.
        seed: int or None.
    """

    _built_when_made = True

    def __init__(self, stddev, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= stddev <= 1:
            raise ValueError(f"Invalid value received for argument `stddev`. Expected a float value between 0 and 1."
                             f" Received: stddev={stddev}")
        self.stddev = stddev
        self.seed = seed
        self.seed_generator = random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, inputs, training=False):
        if not training or self.stddev == 0:
            return inputs
        return inputs + random.normal(inputs.shape, stddev=self.stddev, dtype=inputs.dtype, seed=self.seed_generator)

    def get_config(self):
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}


@builtin("keras.layers")
class GaussianDropout(_Noise):
    """Multiplies by noise from N(1, rate / (1 - rate)) in training (Srivastava 2014, section 10)."""

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        stddev = (self.rate / (1.0 - self.rate)) ** 0.5
        return inputs * random.normal(inputs.shape, mean=1.0, stddev=stddev, dtype=inputs.dtype,
                                      seed=self.seed_generator)


@builtin("keras.layers")
class AlphaDropout(_Noise):
    """Dropout that keeps mean and variance of SELU activations (Klambauer et al. 2017, section 3).

    Args:
        rate: in [0, 1].
        noise_shape: as in Dropout.
        seed: int or None.
    """

    def __init__(self, rate, noise_shape=None, seed=None, **kwargs):
        super().__init__(rate, seed, **kwargs)
        self.noise_shape = _checked_noise_shape(self, noise_shape)

    def call(self, inputs, training=False):
        if not training or self.rate == 0:
            return inputs
        alpha_p = -1.0507009873554805 * 1.6732632423543772  # the value SELU saturates at
        shape = self.noise_shape or inputs.shape
        shape = tuple(s if n is None else n for n, s in zip(shape, inputs.shape))
        keep = ops.cast(random.uniform(shape, dtype=inputs.dtype, seed=self.seed_generator) >= self.rate, inputs.dtype)
        a = ((1.0 - self.rate) * (1.0 + self.rate * alpha_p**2)) ** -0.5
        b = -a * alpha_p * self.rate
        return a * (inputs * keep + alpha_p * (1.0 - keep)) + b

    def get_config(self):
        return {**super().get_config(), "noise_shape": self.noise_shape}


@builtin("keras.layers")
class ActivityRegularization(Layer):
    """Returns its input and adds `l1 * sum|x| + l2 * sum x^2` (per sample) to the loss."""

    _built_when_made = True

    def __init__(self, l1=0.0, l2=0.0, **kwargs):
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.supports_masking = True
        self.l1 = l1
        self.l2 = l2

    def call(self, inputs):
        return inputs

    def get_config(self):
        config = super().get_config()
        config.pop("activity_regularizer", None)
        return {**config, "l1": self.l1, "l2": self.l2}
