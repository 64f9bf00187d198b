"""The names of `keras.backend`, and the functions that `K` had in Keras 2, for its scripts: thin names of `ops`.

`K.relu`, `K.sum`, `K.dot` ... take the arguments of Keras 2 and mean what they meant there (`hard_sigmoid` is not that
of `ops`). What worked on TensorFlow's graphs alone (`function`, `gradients`, `learning_phase`, `rnn`) has no
counterpart.
"""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Iterator

import numpy as np

from pydl import activations, config, dtypes, ops, random, registry
from pydl.config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from pydl.dtypes import WEAK_FLOAT, WEAK_INT, promoted
from pydl.ops import (
    abs,
    all,
    any,
    binary_crossentropy,
    cast,
    categorical_crossentropy,
    cos,
    elu,
    equal,
    exp,
    greater,
    greater_equal,
    less,
    less_equal,
    log,
    logsumexp,
    max,
    maximum,
    min,
    minimum,
    not_equal,
    ones_like,
    prod,
    reshape,
    sigmoid,
    sign,
    sin,
    softplus,
    softsign,
    sparse_categorical_crossentropy,
    square,
    squeeze,
    stack,
    std,
    stop_gradient,
    sum,
    tanh,
    tile,
    var,
    zeros_like,
)
from pydl.ops import power as pow
from pydl.random import dropout
from pydl.symbolic import KerasTensor
from pydl.tensor import Tensor, Variable, name_scope, standardize_dtype

__all__ = [
    "KerasTensor", "Variable", "backend", "clear_session", "epsilon", "floatx", "get_uid", "image_data_format",
    "is_float_dtype", "is_int_dtype", "is_keras_tensor", "is_tensor", "result_type", "set_epsilon", "set_floatx",
    "set_image_data_format", "standardize_dtype",
    # of Keras 2
    "abs", "all", "any", "arange", "argmax", "argmin", "batch_dot", "batch_flatten", "batch_get_value",
    "batch_set_value", "bias_add", "binary_crossentropy", "cast", "cast_to_floatx", "categorical_crossentropy", "clip",
    "concatenate", "constant", "conv1d", "conv2d", "conv3d", "cos", "count_params", "cumsum",
    "depthwise_conv2d", "dot", "dropout", "dtype", "elu", "equal", "eval", "exp", "expand_dims", "eye", "flatten",
    "gather", "get_value", "greater", "greater_equal", "hard_sigmoid", "in_top_k", "int_shape", "is_sparse",
    "l2_normalize", "less", "less_equal", "log", "logsumexp", "map_fn", "max", "maximum", "mean", "min", "minimum",
    "moving_average_update", "name_scope", "ndim", "not_equal", "one_hot", "ones", "ones_like", "permute_dimensions",
    "pool2d", "pool3d", "pow", "prod", "random_bernoulli", "random_normal", "random_uniform", "relu", "repeat",
    "repeat_elements", "reshape", "resize_images", "reverse", "round", "set_value", "shape", "sigmoid", "sign", "sin",
    "softmax", "softplus", "softsign", "sparse_categorical_crossentropy", "spatial_2d_padding", "spatial_3d_padding",
    "sqrt", "square", "squeeze", "stack", "std", "stop_gradient", "sum", "switch", "tanh", "temporal_padding", "tile",
    "transpose", "truncated_normal", "update", "update_add", "update_sub", "var", "variable", "zeros", "zeros_like",
]
_uids: dict[str, Iterator[int]] = {}


def is_float_dtype(dtype) -> bool:
    """Whether the dtype is a float type."""
    return dtypes.is_float_dtype(standardize_dtype(dtype))


def is_int_dtype(dtype) -> bool:
    """Whether the dtype is an integer type, with or without sign; bool is none."""
    return dtypes.is_integer_dtype(standardize_dtype(dtype))


def is_keras_tensor(x) -> bool:
    """Whether `x` is symbolic."""
    return isinstance(x, KerasTensor)


def is_tensor(x) -> bool:
    """Whether `x` is a tensor with values."""
    return isinstance(x, Tensor)


def result_type(*given) -> str:
    """The dtype that operands of these dtypes give together; `int` and `float` count as Python numbers, None as
    `floatx()`, which is also that of no operands. What tensors of it are stored as: `pydl.dtypes.STORED_AS`."""
    weak = {int: WEAK_INT, float: WEAK_FLOAT, bool: "bool"}
    names = [weak[d] if isinstance(d, type) and d in weak else standardize_dtype(d) for d in given]
    return {WEAK_INT: "int32", WEAK_FLOAT: floatx()}.get(name := promoted(names or [floatx()]), name)


def get_uid(prefix: str = "") -> int:
    """How often this prefix has been asked for, this time included."""
    return next(_uids.setdefault(prefix, itertools.count(1)))


def clear_session(free_memory: bool = True) -> None:
    """Forgets automatic names. Memory needs no clearing: what nobody refers to is freed."""
    _uids.clear()
    registry.reset_names()


# ---- functions of Keras 2 -------------------------------------------------------------------------------------------
# Names of Python's own functions are those of K here: `builtins` has the others.

hard_sigmoid = activations.hard_sigmoid_of_keras_2


def arange(start, stop=None, step=1, dtype="int32"):
    """Numbers from `start` (0 where only one is given) up to `stop`."""
    return ops.arange(start, stop, step, dtype=dtype)


def argmax(x, axis=-1):
    """Positions of the largest values along an axis."""
    return ops.argmax(x, axis)


def argmin(x, axis=-1):
    """Positions of the smallest values along an axis."""
    return ops.argmin(x, axis)


def batch_dot(x, y, axes=None):
    """The products of samples: `x` (batch, ...) and `y` (batch, ...) summed over one axis of each.

    Args:
        axes: an int, or one of each; by default the last of `x` and the last but one of `y` (the last of a matrix).

    Returns:
        The other axes of `x`, then those of `y`; (batch, 1) for two matrices.
    """
    x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)
    if axes is None:
        axes = x.ndim - 1, y.ndim - 1 if y.ndim == 2 else y.ndim - 2
    a, b = (axis % t.ndim for axis, t in zip((axes, axes) if isinstance(axes, int) else axes, (x, y)))
    if a == 0 or b == 0 or x.ndim < 2 or y.ndim < 2:
        raise ValueError(f"batch_dot: expected samples of rank 1 or more and axes beside the batch; received shapes"
                         f" {x.shape}, {y.shape} and axes={axes}.")
    letters = iter("cdefghijklmnopqrstuvwxyz")
    left = ["b", *("a" if i == a else next(letters) for i in range(1, x.ndim))]
    right = ["b", *("a" if i == b else next(letters) for i in range(1, y.ndim))]
    free = [letter for letter in left[1:] + right[1:] if letter != "a"]
    result = ops.einsum(f"{''.join(left)},{''.join(right)}->b{''.join(free)}", x, y)
    return result if free else ops.expand_dims(result, 1)


def batch_flatten(x):
    """(batch, ...) as a matrix (batch, n)."""
    return ops.reshape(x, (ops.shape(x)[0] or -1, -1))


def flatten(x):
    """All elements in one axis."""
    return ops.reshape(x, (-1,))


def bias_add(x, bias, data_format=None):
    """`x` plus `bias` (channels,), or one of the shape of a sample."""
    bias = ops.convert_to_tensor(bias)
    if bias.ndim == 1 and (data_format or image_data_format()) == "channels_first" and x.ndim > 2:
        bias = ops.reshape(bias, (-1, *(1,) * (x.ndim - 2)))
    return ops.add(x, bias)


def cast_to_floatx(x):
    """`x` in the default float type: a tensor of a tensor, else an array."""
    return ops.cast(x, floatx()) if is_tensor(x) or is_keras_tensor(x) else np.asarray(x, floatx())


def clip(x, min_value, max_value):
    """`x` between two bounds; None for no bound, and the lower one wins where it is the larger."""
    if isinstance(min_value, (int, float)) and isinstance(max_value, (int, float)):
        max_value = builtins.max(min_value, max_value)
    x = x if min_value is None else ops.maximum(x, min_value)
    return x if max_value is None else ops.minimum(x, max_value)


def concatenate(tensors, axis=-1):
    """Tensors one behind the other along an axis."""
    return ops.concatenate(tensors, axis)


def constant(value, dtype=None, shape=None, name=None):
    """A tensor of a value, in `shape` if given."""
    value = ops.convert_to_tensor(value, dtype or floatx())
    return value if shape is None else ops.broadcast_to(value, tuple(shape))


def _convolution(name, rank):
    def convolution(x, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
        return ops.conv(x, kernel, strides, padding, data_format, dilation_rate)

    convolution.__name__ = convolution.__qualname__ = name
    convolution.__doc__ = f"Convolution over {rank} axes; `kernel` (window..., inputs, filters)."
    return convolution


conv1d, conv2d, conv3d = (_convolution(f"conv{rank}d", rank) for rank in (1, 2, 3))


def depthwise_conv2d(x, depthwise_kernel, strides=(1, 1), padding="valid", data_format=None, dilation_rate=(1, 1)):
    """Convolution of each channel with kernels of its own (height, width, channels, multiplier)."""
    return ops.depthwise_conv(x, depthwise_kernel, strides, padding, data_format, dilation_rate)


def pool2d(x, pool_size, strides=(1, 1), padding="valid", data_format=None, pool_mode="max"):
    """Windows' largest values, or with pool_mode="avg" their means."""
    if pool_mode not in ("max", "avg"):
        raise ValueError(f"Invalid pooling mode: {pool_mode}; expected 'max' or 'avg'.")
    return (ops.max_pool if pool_mode == "max" else ops.average_pool)(x, pool_size, strides, padding, data_format)


def pool3d(x, pool_size, strides=(1, 1, 1), padding="valid", data_format=None, pool_mode="max"):
    """As `pool2d`, of volumes."""
    return pool2d(x, pool_size, strides, padding, data_format, pool_mode)


def count_params(x):
    """The number of elements."""
    return int(np.prod(x.shape))


def cumsum(x, axis=0):
    """Sums of the elements up to each along an axis."""
    return ops.cumsum(x, axis)


def dot(x, y):
    """The last axis of `x` times the last but one of `y`."""
    x, y = (t if is_keras_tensor(t) else ops.convert_to_tensor(t) for t in (x, y))
    return ops.matmul(x, y) if y.ndim <= 2 else ops.tensordot(x, y, axes=[[-1], [y.ndim - 2]])


def dtype(x):
    """The name of its type."""
    return x.dtype


def eval(x):  # noqa: A001
    """The value, as an array."""
    return get_value(x)


def get_value(x):
    """The value, as an array; what is no tensor is returned as it is."""
    return x.numpy() if is_tensor(x) else x


def batch_get_value(tensors):
    """The values of a list of tensors."""
    return [get_value(x) for x in tensors]


def set_value(x, value):
    """Gives a variable a value."""
    x.assign(np.asarray(value, x.dtype))


def batch_set_value(tuples):
    """Gives variables values, from pairs of both."""
    for x, value in tuples:
        set_value(x, value)


def expand_dims(x, axis=-1):
    """One more axis, of size 1."""
    return ops.expand_dims(x, axis)


def eye(size, dtype=None, name=None):
    """The identity matrix; `size` is a number or a pair."""
    rows, columns = (size, size) if isinstance(size, int) else size
    return ops.eye(rows, columns, dtype=dtype or floatx())


def gather(reference, indices):
    """Rows by their numbers."""
    return ops.take(reference, indices, axis=0)


def in_top_k(predictions, targets, k):
    """Whether the target class of each sample is among the `k` largest predictions."""
    return ops.in_top_k(targets, predictions, k)


def int_shape(x):
    """The shape as a tuple, None for free axes."""
    return tuple(x.shape)


def is_sparse(tensor):
    """False: tensors are dense."""
    return False


def l2_normalize(x, axis=None):
    """`x` over its Euclidean norm along an axis, all axes by default."""
    squares = ops.sum(ops.square(x), axis, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(squares, 1e-12)))


def map_fn(fn, elems, name=None, dtype=None):
    """`fn` of every element along the first axis."""
    result = ops.map(fn, elems)
    return result if dtype is None else ops.cast(result, dtype)


def mean(x, axis=None, keepdims=False):
    """The mean along axes; that of bools is their share."""
    return ops.mean(ops.cast(x, floatx()) if standardize_dtype(x.dtype) == "bool" else x, axis, keepdims)


def moving_average_update(x, value, momentum):
    """Moves a variable towards `value` by the share 1 - `momentum`."""
    x.assign(x * momentum + ops.multiply(value, 1 - momentum))
    return x


def ndim(x):
    """The number of axes."""
    return len(x.shape)


def one_hot(indices, num_classes):
    """1 at the place of each index, else 0, in one more axis."""
    return ops.one_hot(indices, num_classes)


def ones(shape, dtype=None, name=None):
    """Ones."""
    return ops.ones(shape, dtype or floatx())


def zeros(shape, dtype=None, name=None):
    """Zeros."""
    return ops.zeros(shape, dtype or floatx())


def permute_dimensions(x, pattern):
    """The axes in another order."""
    return ops.transpose(x, pattern)


def transpose(x):
    """The axes in reverse order."""
    return ops.transpose(x)


def random_bernoulli(shape, p=0.0, dtype=None, seed=None):
    """1 with probability `p`, else 0."""
    return ops.cast(ops.less(random.uniform(shape, dtype=floatx(), seed=seed), p), dtype or floatx())


def random_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Numbers of a normal distribution."""
    return random.normal(shape, mean, stddev, dtype or floatx(), seed)


def random_uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    """Numbers between two bounds."""
    return random.uniform(shape, minval, maxval, dtype or floatx(), seed)


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """Numbers of a normal distribution within two standard deviations."""
    return random.truncated_normal(shape, mean, stddev, dtype or floatx(), seed)


def relu(x, alpha=0.0, max_value=None, threshold=0.0):
    """As `activations.relu`; `alpha` is the slope below the threshold."""
    return activations.relu(x, alpha, max_value, threshold)


def repeat(x, n):
    """(batch, features) as (batch, n, features)."""
    if len(x.shape) != 2:
        raise ValueError(f"repeat: expected a matrix; received shape {tuple(x.shape)}.")
    return ops.repeat(ops.expand_dims(x, 1), n, 1)


def repeat_elements(x, rep, axis):
    """Each element along an axis `rep` times."""
    return ops.repeat(x, rep, axis)


def resize_images(x, height_factor, width_factor, data_format, interpolation="nearest"):
    """Images of so many times the height and width."""
    height, width = x.shape[2:] if data_format == "channels_first" else x.shape[1:3]
    return ops.image.resize(x, (height * height_factor, width * width_factor), interpolation, data_format=data_format)


def reverse(x, axes):
    """The elements along axes from behind."""
    return ops.flip(x, axes)


def round(x):  # noqa: A001
    """The nearest integers, halves to even ones."""
    return ops.round(x)


def _padded(x, padding, data_format):
    pairs = [tuple(pair) for pair in padding]
    first = (data_format or config.image_data_format()) == "channels_first"
    return ops.pad(x, [(0, 0), (0, 0), *pairs] if first else [(0, 0), *pairs, (0, 0)])


def temporal_padding(x, padding=(1, 1)):
    """Zeros before and behind the steps of (batch, steps, features)."""
    return _padded(x, [padding], "channels_last")


def spatial_2d_padding(x, padding=((1, 1), (1, 1)), data_format=None):
    """Zeros around images."""
    return _padded(x, padding, data_format)


def spatial_3d_padding(x, padding=((1, 1), (1, 1), (1, 1)), data_format=None):
    """Zeros around volumes."""
    return _padded(x, padding, data_format)


def sqrt(x):
    """The square root, 0 of what is negative."""
    return ops.sqrt(ops.maximum(x, 0.0))


def shape(x):
    """The shape, None for free axes."""
    return ops.shape(x)


def softmax(x, axis=-1):
    """e^x over its sum along an axis."""
    return ops.softmax(x, axis)


def switch(condition, then_expression, else_expression):
    """One of two, tensors or functions without arguments, by a scalar; elementwise by a tensor of conditions."""
    condition = ops.cast(condition, "bool")
    functions = [e if callable(e) else lambda e=e: e for e in (then_expression, else_expression)]
    if len(condition.shape) == 0:
        return ops.cond(condition, *functions)
    then, other = (f() for f in functions)
    rank = len(then.shape)
    condition = ops.reshape(condition, (*condition.shape, *(1,) * (rank - len(condition.shape))))
    return ops.where(condition, then, other)


def update(x, new_x):
    """Gives a variable a value."""
    x.assign(new_x)
    return x


def update_add(x, increment):
    """Adds to a variable."""
    x.assign_add(increment)
    return x


def update_sub(x, decrement):
    """Subtracts from a variable."""
    x.assign_sub(decrement)
    return x


def variable(value, dtype=None, name=None, constraint=None):
    """A variable that begins with a value."""
    return Variable(np.asarray(value), dtype=dtype or floatx(), name=name, constraint=constraint)
