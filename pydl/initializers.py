"""Initial values of variables. They are drawn on the host, once, so they also work while a program is recorded."""

from __future__ import annotations

import math
import random as python_random

import numpy as np

from pydl import lookup, registry
from pydl._core import require_room
from pydl.configs import checked
from pydl.dtypes import COMPUTED_IN, is_float_dtype
from pydl.tensor import Tensor, as_array, from_numpy, standardize_dtype
from pydl.watch import Owner

# Standard deviation of a standard normal distribution cut off at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978


class Initializer(Owner):
    """Base of all initializers: subclass it and write `__call__(shape, dtype=None)`, which gives a tensor."""

    def __call__(self, shape, dtype=None):
        raise NotImplementedError(f"{type(self).__name__} has no `__call__(shape, dtype)`.")

    def get_config(self) -> dict:
        return {}

    @classmethod
    @checked
    def from_config(cls, config: dict):
        return cls(**config)

    def clone(self):
        """A new initializer of the same configuration."""
        return type(self).from_config(self.get_config())


class Zeros(Initializer):
    """All 0."""

    def __call__(self, shape, dtype=None):
        return from_numpy(np.zeros(*_with_room(shape, standardize_dtype(dtype))))


class Ones(Initializer):
    """All 1."""

    def __call__(self, shape, dtype=None):
        return from_numpy(np.ones(*_with_room(shape, standardize_dtype(dtype))))


class Constant(Initializer):
    """All `value`, or an array that broadcasts to the shape."""

    def __init__(self, value=0.0):
        self.value = value

    def __call__(self, shape, dtype=None):
        shape, dtype = _with_room(shape, standardize_dtype(dtype))
        value = as_array(_host(self.value), dtype, "Constant")
        return from_numpy(np.ascontiguousarray(np.broadcast_to(value, shape)))

    def get_config(self) -> dict:
        return {"value": registry.serialize_keras_object(self.value)}

    @classmethod
    def from_config(cls, config: dict):
        return cls(registry.deserialize_keras_object(config["value"]))


class Identity(Initializer):
    """The identity matrix times `gain`, for 2D shapes."""

    def __init__(self, gain=1.0):
        self.gain = gain

    def __call__(self, shape, dtype=None):
        if len(shape) != 2:
            raise ValueError("Identity matrix initializer can only be used for 2D matrices. "
                             f"Received: shape={shape} of rank {len(shape)}.")
        _with_room(shape, "float64")
        return from_numpy((self.gain * np.eye(*shape)).astype(standardize_dtype(dtype)))

    def get_config(self) -> dict:
        return {"gain": self.gain}


class RandomInitializer(Initializer):
    """Base of the random ones.

    Args:
        seed: int or None: the same values at every call (None: a seed drawn when the object is made, which
            `set_random_seed` determines); a `SeedGenerator`: new values at every call.
    """

    def __init__(self, seed=None):
        if isinstance(seed, dict):
            seed = registry.deserialize_keras_object(seed)
        self._init_seed = seed
        if seed is None:
            seed = python_random.randint(1, 10**9)
        elif not (isinstance(seed, (int, np.integer)) or hasattr(seed, "next")) or isinstance(seed, bool):
            raise ValueError("`seed` argument should be an instance of `keras.random.SeedGenerator()` or an integer. "
                             f"Received: seed={seed}")
        self.seed = seed

    def _generator(self) -> np.random.Generator:
        seed = self.seed
        if hasattr(seed, "next"):
            seed = [int(word) for word in np.asarray(_host(seed.next())).ravel()]
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(_non_negative(seed))))

    def get_config(self) -> dict:
        return {"seed": registry.serialize_keras_object(self._init_seed)}


def _host(value):
    return value.data if isinstance(value, Tensor) else value


def _non_negative(seed):
    return [_non_negative(s) for s in seed] if isinstance(seed, list) else int(seed) % 2**64


def _float_dtype(dtype) -> str:
    dtype = standardize_dtype(dtype)
    if not is_float_dtype(dtype):
        raise ValueError(f"Random initializers give floats. Received: dtype={dtype}")
    return dtype


def _with_room(shape, dtype: str) -> tuple[tuple[int, ...], str]:
    """The arguments as NumPy takes them. Raises MemoryError where no array of them fits into memory."""
    shape = tuple(shape)
    require_room(shape, dtype)
    return shape, dtype


def _scaled(values, factor, summand, dtype) -> np.ndarray:
    """values * factor + summand, in their place."""
    values *= factor
    values += summand
    return values.astype(dtype, copy=False)


def _normal(generator, shape, mean, stddev, dtype) -> np.ndarray:
    return _scaled(generator.standard_normal(*_with_room(shape, COMPUTED_IN[dtype])), stddev, mean, dtype)


def _truncated_normal(generator, shape, mean, stddev, dtype) -> np.ndarray:
    """Normal values more than two standard deviations away are drawn again (1 in 22)."""
    shape, computed = _with_room(shape, COMPUTED_IN[dtype])
    values = generator.standard_normal(math.prod(shape), computed)
    wrong = np.flatnonzero((values > 2) | (values < -2))
    while wrong.size:
        values[wrong] = generator.standard_normal(wrong.size, dtype=values.dtype)
        wrong = wrong[np.abs(values[wrong]) > 2]
    return _scaled(values, stddev, mean, dtype).reshape(shape)


def _uniform(generator, shape, low, high, dtype) -> np.ndarray:
    return _scaled(generator.random(*_with_room(shape, COMPUTED_IN[dtype])), high - low, low, dtype)


class RandomNormal(RandomInitializer):
    """Normal values of the given mean and standard deviation."""

    def __init__(self, mean=0.0, stddev=0.05, seed=None):
        self.mean, self.stddev = mean, stddev
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        return from_numpy(_normal(self._generator(), tuple(shape), self.mean, self.stddev, _float_dtype(dtype)))

    def get_config(self) -> dict:
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class TruncatedNormal(RandomInitializer):
    """Normal values, none further than two standard deviations from the mean."""

    def __init__(self, mean=0.0, stddev=0.05, seed=None):
        self.mean, self.stddev = mean, stddev
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        dtype = _float_dtype(dtype)
        return from_numpy(_truncated_normal(self._generator(), tuple(shape), self.mean, self.stddev, dtype))

    def get_config(self) -> dict:
        return {**super().get_config(), "mean": self.mean, "stddev": self.stddev}


class RandomUniform(RandomInitializer):
    """Uniform values in [minval, maxval)."""

    def __init__(self, minval=-0.05, maxval=0.05, seed=None):
        self.minval, self.maxval = minval, maxval
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        return from_numpy(_uniform(self._generator(), tuple(shape), self.minval, self.maxval, _float_dtype(dtype)))

    def get_config(self) -> dict:
        return {**super().get_config(), "minval": self.minval, "maxval": self.maxval}


def compute_fans(shape, input_axes=None, output_axes=None) -> tuple[int, int]:
    """How many inputs feed a unit and how many units an input feeds.

    Kernels are (..., in, out); the axes in front of the last two are the receptive field. `input_axes` and
    `output_axes` say otherwise.
    """
    shape = tuple(shape)
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


class VarianceScaling(RandomInitializer):
    """Values of variance `scale` / n, so that signals neither grow nor fade from layer to layer.

    Args:
        scale: above 0.
        mode: n is the number of inputs ("fan_in"), of outputs ("fan_out") or their mean ("fan_avg").
        distribution: "truncated_normal" (or "normal"), "untruncated_normal" or "uniform".
        seed: see `RandomInitializer`.
        input_axes, output_axes: axes of the shape that count as inputs and outputs; see `compute_fans`.
    """

    def __init__(self, scale=1.0, mode="fan_in", distribution="truncated_normal", seed=None, input_axes=None,
                 output_axes=None):
        if scale <= 0.0:
            raise ValueError(f"Argument `scale` must be positive float. Received: scale={scale}")
        modes = ("fan_in", "fan_out", "fan_avg")
        if mode not in modes:
            raise ValueError(f"Invalid `mode` argument: {mode}. Please use one of {modes}")
        distribution = distribution.lower()
        if distribution == "normal":
            distribution = "truncated_normal"
        distributions = ("uniform", "truncated_normal", "untruncated_normal")
        if distribution not in distributions:
            raise ValueError(f"Invalid `distribution` argument: {distribution}. Please use one of {distributions}")
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.input_axes, self.output_axes = input_axes, output_axes
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        shape, dtype = tuple(shape), _float_dtype(dtype)
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, fan))
        if self.distribution == "uniform":
            limit = math.sqrt(3.0) * stddev
            return from_numpy(_uniform(self._generator(), shape, -limit, limit, dtype))
        if self.distribution == "truncated_normal":
            return from_numpy(_truncated_normal(self._generator(), shape, 0.0, stddev / _TRUNCATED_STDDEV, dtype))
        return from_numpy(_normal(self._generator(), shape, 0.0, stddev, dtype))

    def get_config(self) -> dict:
        own = super().get_config()
        if type(self) is VarianceScaling:
            own.update(scale=self.scale, mode=self.mode, distribution=self.distribution)
        return {**own, "input_axes": self.input_axes, "output_axes": self.output_axes}


class GlorotUniform(VarianceScaling):
    """Uniform in +-sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010); the default of most layers."""

    def __init__(self, seed=None, input_axes=None, output_axes=None):
        super().__init__(1.0, "fan_avg", "uniform", seed, input_axes, output_axes)


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance 2 / (fan_in + fan_out) (Glorot and Bengio, 2010)."""

    def __init__(self, seed=None, input_axes=None, output_axes=None):
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, input_axes, output_axes)


class HeNormal(VarianceScaling):
    """Truncated normal of variance 2 / fan_in, for ReLU (He et al., 2015)."""

    def __init__(self, seed=None, input_axes=None, output_axes=None):
        super().__init__(2.0, "fan_in", "truncated_normal", seed, input_axes, output_axes)


class HeUniform(VarianceScaling):
    """Uniform in +-sqrt(6 / fan_in), for ReLU (He et al., 2015)."""

    def __init__(self, seed=None, input_axes=None, output_axes=None):
        super().__init__(2.0, "fan_in", "uniform", seed, input_axes, output_axes)


class LecunNormal(VarianceScaling):
    """Truncated normal of variance 1 / fan_in, for SELU (Klambauer et al., 2017)."""

    def __init__(self, seed=None, input_axes=None, output_axes=None):
        super().__init__(1.0, "fan_in", "truncated_normal", seed, input_axes, output_axes)


class LecunUniform(VarianceScaling):
    """Uniform in +-sqrt(3 / fan_in)."""

    def __init__(self, seed=None, input_axes=None, output_axes=None):
        super().__init__(1.0, "fan_in", "uniform", seed, input_axes, output_axes)


class Orthogonal(RandomInitializer):
    """An orthogonal matrix times `gain`, uniform over all of them (Saxe et al., 2014).

    Shapes of more axes are filled as the matrix (product of the leading axes, last axis); when it is wide its rows
    are orthonormal, else its columns.
    """

    def __init__(self, gain=1.0, seed=None):
        self.gain = gain
        super().__init__(seed)

    def __call__(self, shape, dtype=None):
        if len(shape) < 2:
            raise ValueError("The tensor to initialize must be at least two-dimensional. "
                             f"Received: shape={shape} of rank {len(shape)}.")
        _with_room(shape, "float64")
        rows, cols = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(self._generator().standard_normal((max(rows, cols), min(rows, cols))))
        q *= np.sign(np.diag(r))  # a unique decomposition: without it q is not uniform
        q = q if rows >= cols else q.T
        return from_numpy(np.ascontiguousarray((self.gain * q).reshape(shape), dtype=_float_dtype(dtype)))

    def get_config(self) -> dict:
        return {**super().get_config(), "gain": self.gain}


_CLASSES = (Zeros, Ones, Constant, Identity, RandomNormal, RandomUniform, TruncatedNormal, VarianceScaling,
            GlorotNormal, GlorotUniform, HeNormal, HeUniform, LecunNormal, LecunUniform, Orthogonal)
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal
for _cls in (Initializer, *_CLASSES):
    registry.builtin("keras.initializers")(_cls)
_SNAKE_CASE = {registry.to_snake_case(cls.__name__): cls for cls in _CLASSES}
globals().update(_SNAKE_CASE)  # keras.initializers.glorot_uniform is the class, too
OBJECTS = {
    "Initializer": Initializer, **{cls.__name__: cls for cls in _CLASSES}, **_SNAKE_CASE, "zero": Zeros, "one": Ones,
    "normal": RandomNormal, "uniform": RandomUniform, "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
}
__all__ = ["IdentityInitializer", "Initializer", "OrthogonalInitializer", "RandomInitializer", "deserialize", "get",
           "serialize"]
__all__ += [cls.__name__ for cls in _CLASSES] + list(_SNAKE_CASE)


def get(identifier):
    """The initializer of a name ("glorot_uniform", "HeNormal"), a config dict, a class or a callable; None gives None.

    An array or tensor gives an initializer that returns it.

    Raises:
        ValueError: when nothing of that name is known.
    """
    if isinstance(identifier, (Tensor, np.ndarray, np.generic)):
        return _from_value(identifier)
    return lookup.find(identifier, OBJECTS, "initializer")


def _from_value(value):
    def initialize(shape, dtype=None):
        if tuple(shape) != tuple(value.shape):
            raise ValueError(f"Expected `shape` to be {tuple(value.shape)} for direct tensor as initializer. "
                             f"Received shape={tuple(shape)}")
        return from_numpy(np.array(_host(value), dtype=standardize_dtype(dtype)))

    return initialize


def serialize(initializer):
    """The config dict of an initializer."""
    return registry.serialize_keras_object(initializer)


def deserialize(config, custom_objects=None):
    """The initializer of a config dict or a name."""
    return lookup.deserialize(config, OBJECTS, "initializer", custom_objects)
