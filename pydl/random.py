"""Random numbers under the names of `keras.random`.

All draws come from a counter-based generator (Philox4x32-10): a state is (seed, counter), kernels read and advance
it in memory, so a replayed program draws fresh numbers, and the same seed gives the same bits for any number of
threads.
"""

from __future__ import annotations

import math
import random as python_random
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from pydl import ops
from pydl._core import kernels
from pydl.dtypes import COMPUTED_IN, INTEGERS, holds_integers, is_float_dtype, is_integer_dtype, require_range
from pydl.ops import _draws
from pydl.ops._common import as_float, as_tensor
from pydl.registry import builtin
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, Variable, empty, paused_recording, standardize_dtype
from pydl.watch import Owner

__all__ = ["SeedGenerator", "alpha_dropout", "beta", "binomial", "categorical", "dropout", "gamma",
           "get_global_state", "normal", "randint", "set_global_state", "shuffle", "truncated_normal", "uniform"]


@builtin("keras.random")
class SeedGenerator(Owner):
    """A source of random numbers with a state that functions of this module advance.

    Args:
        seed: int of 0 or more; None draws one from Python's `random`.
        name: name of the state variable's owner.

    Attributes:
        state: int64 Variable (2,), seed and counter; saved with a model.

    Raises:
        ValueError: for a seed that is no int.
    """

    def __init__(self, seed: int | None = None, name: str | None = None, **kwargs: Any) -> None:
        if kwargs:
            raise ValueError(f"Unrecognized keyword arguments: {kwargs}")
        given = seed
        if seed is None:
            seed = python_random.randint(1, 10**9)
        if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool):
            raise ValueError(f"Argument `seed` must be an integer. Received: seed={seed}")
        self.name = name or "seed_generator"
        self._initial_seed = given if given is None else int(given)
        self.state = Variable(np.array([_as_key(seed), 0]), dtype="int64", trainable=False,
                              name="seed_generator_state")

    def next(self, ordered: bool = True) -> Tensor:
        """A copy of the state, which then moves on by one block."""
        seed: Tensor = ops.add(self.state, 0)
        unused = empty((1,), "int32")
        kernels.random_integers(self.state.data, unused.data, 1, 0, 1)
        return seed

    def save_own_variables(self, store: Any) -> None:
        """Writes the state into a dict-like `store`, under "0"."""
        store["0"] = self.state.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Reads what `save_own_variables` wrote; a file that holds nothing of it, as those of Keras, changes nothing.

        Raises:
            ValueError: for anything but two integers.
        """
        if "0" not in store:
            return
        value = np.asarray(store["0"])
        if value.shape != (2,) or not holds_integers(value):
            raise ValueError(f"the state of a random generator is two integers; the file holds dtype {value.dtype} of"
                             f" shape {value.shape}.")
        self.state.assign(value.astype("int64"))

    def get_config(self) -> dict[str, Any]:
        return {"seed": self._initial_seed, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SeedGenerator:
        return cls(**config)


Seed: TypeAlias = int | SeedGenerator | None
Shape: TypeAlias = int | Iterable[int]
Value: TypeAlias = Any  # a number, an array or a tensor


def _as_key(seed: int) -> int:
    """The seed's lower 64 bits as a signed number."""
    return (int(seed) + 2**63) % 2**64 - 2**63


_global: SeedGenerator | None = None
_making = threading.Lock()  # so that all threads draw from one


def global_seed_generator() -> SeedGenerator:
    """The generator behind `seed=None`."""
    global _global
    if _global is None:
        with _making:
            if _global is None:
                with paused_recording():
                    _global = SeedGenerator(name="global_seed_generator")
    return _global


def set_global_seed(seed: int) -> None:
    """Restarts the generator behind `seed=None`; programs that use it go on from the new seed."""
    global_seed_generator().state.data[...] = (_as_key(seed), 0)


def get_global_state() -> dict[str, Any]:
    """The states of the generators of the process, those of Python's `random`, of `numpy.random` and of this module,
    as numbers, strings, lists and arrays."""
    mine = global_seed_generator().state.numpy()  # first: a new generator draws from Python's
    version, words, gauss = python_random.getstate()
    return {"python": [version, np.array(words, np.uint32), gauss], "numpy": np.random.get_state(legacy=False),
            "pydl": mine}


def set_global_state(state: dict[str, Any]) -> None:
    """Takes over what `get_global_state` returned: what is drawn next is drawn as then."""
    global_seed_generator().state.assign(state["pydl"])
    version, words, gauss = state["python"]
    python_random.setstate((version, tuple(words.tolist()), gauss))
    np.random.set_state(state["numpy"])


def _state(seed: object) -> np.ndarray:
    """The state to draw from: the global one, a generator's, or for an int a new one, the same at every call."""
    if seed is None:
        return global_seed_generator().state.data
    if isinstance(seed, SeedGenerator):
        return seed.state.data
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        state = empty((2,), "int64")
        kernels.random_seed(state.data, _as_key(int(seed)))
        return state.data
    raise ValueError("Argument `seed` must be either an integer or an instance of `SeedGenerator`. "
                     f"Received: seed={seed} (of type {type(seed)})")


_draws.state_of = _state


def _shape(shape: Shape) -> tuple[int, ...]:
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)
    if any(n < 0 for n in shape):
        raise ValueError(f"Expected a shape of dimensions of at least 0; received shape={shape}.")
    return shape


def _float_dtype(dtype: Any) -> str:
    name: str = standardize_dtype(dtype)
    if not is_float_dtype(name):
        raise ValueError(f"`dtype` must be a floating point dtype; received dtype={name}.")
    return name


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, np.integer, np.floating))


def _draw(kernel: Callable[..., Any], shape: Shape, a: float, b: float, dtype: Any, seed: Seed) -> Tensor:
    y = empty(_shape(shape), _float_dtype(dtype))
    kernel(_state(seed), y.data, y.size, float(a), float(b))
    return y


def _below(y: Tensor, limit: float) -> Tensor:
    """`y`, drawn below `limit`: where its dtype is narrower than the draw, rounding may have reached the limit."""
    if COMPUTED_IN[y.dtype] == y.dtype:
        return y
    largest = y.data.dtype.type(limit)
    if largest >= limit:
        largest = np.nextafter(largest, y.data.dtype.type(-np.inf))
    limited: Tensor = ops.minimum(y, float(largest))
    return limited


def normal(shape: Shape, mean: Value = 0.0, stddev: Value = 1.0, dtype: Any = None, seed: Seed = None) -> Tensor:
    """Normally distributed values.

    Args:
        shape: of the result.
        mean, stddev: numbers, or tensors that broadcast to `shape`.
        dtype: float dtype, `floatx` by default.
        seed: int (same values at every call), `SeedGenerator`, or None for the global generator.
    """
    if _is_number(mean) and _is_number(stddev):
        return _draw(kernels.random_normal, shape, mean, stddev, dtype, seed)
    y: Tensor = _draw(kernels.random_normal, shape, 0, 1, dtype, seed) * stddev + mean
    return y


def truncated_normal(shape: Shape, mean: Value = 0.0, stddev: Value = 1.0, dtype: Any = None,
                     seed: Seed = None) -> Tensor:
    """Normally distributed values within two standard deviations of the mean; arguments as `normal`."""
    if _is_number(mean) and _is_number(stddev):
        return _draw(kernels.random_truncated_normal, shape, mean, stddev, dtype, seed)
    y: Tensor = _draw(kernels.random_truncated_normal, shape, 0, 1, dtype, seed) * stddev + mean
    return y


def uniform(shape: Shape, minval: Value = 0.0, maxval: Value = 1.0, dtype: Any = None, seed: Seed = None) -> Tensor:
    """Values spread evenly over [minval, maxval); integers where `dtype` is an integer dtype.

    Args:
        shape: of the result.
        minval, maxval: numbers, or tensors that broadcast to `shape`.
        dtype, seed: as `normal`.
    """
    if not is_float_dtype(standardize_dtype(dtype)):
        return randint(shape, minval, maxval, dtype, seed)
    if _is_number(minval) and _is_number(maxval):
        return _below(_draw(kernels.random_uniform, shape, minval, maxval, dtype, seed), maxval)
    unit = _below(_draw(kernels.random_uniform, shape, 0, 1, dtype, seed), 1)
    y: Tensor = unit * (as_tensor(maxval) - minval) + minval
    return y


def randint(shape: Shape, minval: Value, maxval: Value, dtype: Any = "int32", seed: Seed = None) -> Tensor:
    """Integers of [minval, maxval), equally likely.

    Raises:
        ValueError: when the range is empty, or `dtype` is no integer dtype.
        OverflowError: when `dtype` does not hold the range.
    """
    dtype = standardize_dtype(dtype)
    if not is_integer_dtype(dtype):
        raise ValueError(f"`keras.random.randint` requires an integer `dtype`. Received: dtype={dtype} ")
    low, high = int(minval), int(maxval)
    if low >= high:
        raise ValueError(f"randint: expected minval < maxval; received minval={minval}, maxval={maxval}.")
    require_range((low, high - 1), dtype)
    y = empty(_shape(shape), dtype if dtype in INTEGERS else "int64")
    kernels.random_integers(_state(seed), y.data, y.size, low, high)
    return y if y.dtype == dtype else ops.cast(y, dtype)


@op
def categorical(logits: Value, num_samples: int, dtype: Any = "int32", seed: Seed = None) -> Tensor:
    """Class numbers drawn with probabilities softmax(logits). Not differentiable.

    Args:
        logits: (batch, classes), unnormalised log-probabilities.
        num_samples: draws for each row.
        dtype: integer dtype of the result.
        seed: as `normal`.

    Returns:
        (batch, num_samples).
    """
    logits = as_float(logits)
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(f"categorical: expected logits of shape (batch, classes); received shape {logits.shape}.")
    y = empty((logits.shape[0], int(num_samples)), "int32")
    kernels.random_categorical(_state(seed), logits.data, y.data, *logits.shape, y.shape[1])
    return y if dtype == "int32" else ops.cast(y, dtype)


@op
def shuffle(x: Value, axis: int = 0, seed: Seed = None) -> Tensor:
    """`x` with its slices along `axis` in random order."""
    x = as_tensor(x)
    order = empty((x.shape[axis],), "int32")
    kernels.random_permutation(_state(seed), order.data, order.size)
    y: Tensor = ops.take(x, order, axis=axis)
    return y


def _parameters(shape: Shape, dtype: Any, *values: Value) -> tuple[Tensor, list[np.ndarray]]:
    y = empty(_shape(shape), _float_dtype(dtype))
    return y, [ops.broadcast_to(ops.cast(as_tensor(v), y.dtype), y.shape).data for v in values]


def gamma(shape: Shape, alpha: Value, dtype: Any = None, seed: Seed = None) -> Tensor:
    """Gamma-distributed values of shape parameter `alpha` > 0 (number or tensor) and scale 1."""
    y, (a,) = _parameters(shape, dtype, alpha)
    kernels.random_gamma(_state(seed), a, y.data, y.size)
    return y


def beta(shape: Shape, alpha: Value, beta: Value, dtype: Any = None, seed: Seed = None) -> Tensor:
    """Beta-distributed values of parameters `alpha`, `beta` > 0 (numbers or tensors)."""
    y, (a, b) = _parameters(shape, dtype, alpha, beta)
    kernels.random_beta(_state(seed), a, b, y.data, y.size)
    return y


def binomial(shape: Shape, counts: Value, probabilities: Value, dtype: Any = None, seed: Seed = None) -> Tensor:
    """Successes among `counts` trials of probability `probabilities` (numbers or tensors), as floats."""
    y, (n, p) = _parameters(shape, dtype, counts, probabilities)
    kernels.random_binomial(_state(seed), n, p, y.data, y.size)
    return y


def _drop(x: Tensor, rate: float, scale: float, shift: float, dropped: float, seed: Seed) -> Tensor:
    """Elements become `dropped` with probability `rate`, else x scale + shift."""
    y = empty(x.shape, x.dtype)
    mask = empty(((x.size + 63) // 64 * 64,), "uint8")
    kernels.dropout(_state(seed), x.data, y.data, mask.data, x.size, rate, scale, shift, dropped)
    differentiable(y, (x,), lambda dy: (_kept(dy, mask, scale),))
    return y


def _kept(dy: Tensor, mask: Tensor, scale: float) -> Tensor:
    """dy scale where the mask keeps it, else 0. This is linear, and so its own gradient."""
    dx = empty(dy.shape, dy.dtype)
    kernels.dropout_grad(mask.data, dy.data, dx.data, dy.size, scale)
    differentiable(dx, (dy,), lambda ddx: (_kept(ddx, mask, scale),))
    return dx


def _check_rate(rate: Any) -> float:
    if not _is_number(rate) or not 0 <= rate <= 1:
        raise ValueError(f"Invalid value received for argument `rate`. Expected a float value between 0 and 1. "
                         f"Received: rate={rate}")
    return float(rate)


def _noise_shape(noise_shape: Sequence[int | None] | None, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    if noise_shape is None:
        return None
    full = tuple(n if wanted is None else int(wanted) for wanted, n in zip(noise_shape, shape))
    full = (1,) * (len(shape) - len(full)) + full
    if len(noise_shape) > len(shape) or any(k not in (1, n) for k, n in zip(full, shape)):
        raise ValueError(f"Argument `noise_shape` must broadcast to the inputs: 1, None or the inputs' size in each"
                         f" place, of as many axes at most. Received: noise_shape={noise_shape} for inputs of shape"
                         f" {shape}.")
    return None if full == tuple(shape) else full


def _ones(shape: tuple[int, ...], dtype: str) -> Tensor:
    y: Tensor = ops.ones(shape, dtype=dtype)
    return y


@op
def dropout(inputs: Value, rate: float, noise_shape: Sequence[int | None] | None = None, seed: Seed = None) -> Tensor:
    """Sets elements to 0 with probability `rate` and divides the others by 1 - rate.

    Args:
        inputs: float tensor.
        rate: in [0, 1].
        noise_shape: shape of the mask, broadcast to the inputs' (1 or None or the size in each place).
        seed: as `normal`.

    Source: Srivastava et al. 2014.
    """
    x, rate = as_float(inputs), _check_rate(rate)
    if rate == 0:
        return x
    scale = 1 / (1 - rate) if rate < 1 else 0.0
    shape = _noise_shape(noise_shape, x.shape)
    if shape is None:
        return _drop(x, rate, scale, 0.0, 0.0, seed)
    return x * _drop(_ones(shape, x.dtype), rate, scale, 0.0, 0.0, seed)


_ALPHA = -1.6732632423543772 * 1.0507009873554805  # what selu tends to on the left


@op
def alpha_dropout(inputs: Value, rate: float, noise_shape: Sequence[int | None] | None = None,
                  seed: Seed = None) -> Tensor:
    """Dropout that keeps mean and variance of standardised activations: dropped elements become selu's lower limit,
    then everything is scaled and shifted back.

    Args: as `dropout`.

    Source: Klambauer et al. 2017, "Self-normalizing neural networks".
    """
    x, rate = as_float(inputs), _check_rate(rate)
    if rate == 0:
        return x
    if rate == 1:
        return x * 0.0
    a = 1 / math.sqrt((1 - rate) * (1 + rate * _ALPHA**2))
    b = -a * _ALPHA * rate
    shape = _noise_shape(noise_shape, x.shape)
    if shape is None:
        return _drop(x, rate, a, b, a * _ALPHA + b, seed)
    kept = _drop(_ones(shape, x.dtype), rate, 1.0, 0.0, 0.0, seed)
    return (x * kept + (1.0 - kept) * _ALPHA) * a + b
