"""Activation functions by name: the ops of `ops/activation.py` under Keras's signatures."""

from __future__ import annotations

import inspect

from pydl import lookup, ops, registry
from pydl.symbolic import op


def relu(x, negative_slope=0.0, max_value=None, threshold=0.0):
    """x from `threshold` (at most `max_value`), `negative_slope` (x - threshold) below."""
    return ops.relu_general(x, negative_slope, max_value, threshold)


def linear(x):
    """x itself."""
    return x


def exponential(x):
    """e^x."""
    return ops.exp(x)


def leaky_relu(x, negative_slope=0.2):
    """x above 0, `negative_slope` x below."""
    return ops.leaky_relu(x, negative_slope)


def relu6(x):
    """x between 0 and 6."""
    return ops.relu6(x)


def elu(x, alpha=1.0):
    """x above 0, alpha (e^x - 1) below."""
    return ops.elu(x, alpha)


def selu(x):
    """ELU scaled so that activations keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    return ops.selu(x)


def celu(x, alpha=1.0):
    """max(x, 0) + min(alpha (e^(x / alpha) - 1), 0)."""
    return ops.celu(x, alpha)


def gelu(x, approximate=False):
    """x P(X <= x) for a standard normal X (Hendrycks and Gimpel, 2016); with `approximate` by tanh."""
    return ops.gelu(x, approximate)


def softmax(x, axis=-1):
    """e^x / sum(e^x) along `axis`: positive, of sum 1."""
    return ops.softmax(x, axis=axis)


def log_softmax(x, axis=-1):
    """The logarithm of `softmax`."""
    return ops.log_softmax(x, axis=axis)


def softplus(x):
    """log(1 + e^x)."""
    return ops.softplus(x)


def softsign(x):
    """x / (1 + |x|)."""
    return ops.softsign(x)


def sigmoid(x):
    """1 / (1 + e^-x)."""
    return ops.sigmoid(x)


def log_sigmoid(x):
    """log(1 / (1 + e^-x))."""
    return ops.log_sigmoid(x)


def hard_sigmoid(x):
    """x / 6 + 1 / 2, between 0 and 1."""
    return ops.hard_sigmoid(x)


@op
def hard_sigmoid_of_keras_2(x):
    """x / 5 + 1 / 2, between 0 and 1: what "hard_sigmoid" was in Keras 1 and 2. Their files are read with it."""
    return ops.clip(x * 0.2 + 0.5, 0.0, 1.0)


def silu(x):
    """x sigmoid(x), also called swish."""
    return ops.silu(x)


def hard_silu(x):
    """x hard_sigmoid(x), also called hard swish."""
    return ops.hard_silu(x)


def tanh(x):
    """Hyperbolic tangent."""
    return ops.tanh(x)


@op
def scaled_tanh(x):
    """1.7159 tanh(2 x / 3): 1 at 1 and -1 at -1, where it bends most (LeCun et al., 1998, appendix A)."""
    return ops.tanh(x * (2 / 3)) * 1.7159


def hard_tanh(x):
    """x between -1 and 1."""
    return ops.hard_tanh(x)


def tanh_shrink(x):
    """x - tanh(x)."""
    return ops.tanh_shrink(x)


def hard_shrink(x, threshold=0.5):
    """x where |x| > threshold, else 0."""
    return ops.hard_shrink(x, threshold)


def soft_shrink(x, threshold=0.5):
    """x moved towards 0 by `threshold`, 0 where it would pass."""
    return ops.soft_shrink(x, threshold)


def threshold(x, threshold, default_value):
    """x where x > threshold, else `default_value`."""
    return ops.threshold(x, threshold, default_value)


def mish(x):
    """x tanh(softplus(x)) (Misra, 2019)."""
    return ops.mish(x)


def squareplus(x, b=4):
    """(x + sqrt(x^2 + b)) / 2 (Barron, 2021)."""
    return ops.squareplus(x, b)


def sparse_plus(x):
    """0 up to -1, x from 1 on, (x + 1)^2 / 4 between."""
    return ops.sparse_plus(x)


@op
def sparse_sigmoid(x):
    """(x + 1) / 2, between 0 and 1."""
    return ops.add(ops.clip(x, -1.0, 1.0), 1.0) * 0.5


def glu(x, axis=-1):
    """First half of `axis` times the sigmoid of the second half (Dauphin et al., 2016)."""
    return ops.glu(x, axis)


swish, hard_swish = silu, hard_silu
_FUNCTIONS = (relu, leaky_relu, relu6, softmax, celu, elu, selu, softplus, softsign, squareplus, soft_shrink,
              sparse_plus, silu, gelu, glu, tanh, tanh_shrink, threshold, sigmoid, sparse_sigmoid, exponential,
              hard_sigmoid, hard_sigmoid_of_keras_2, hard_silu, hard_tanh, scaled_tanh, hard_shrink, linear, mish,
              log_softmax, log_sigmoid)
OBJECTS = {**{fn.__name__: fn for fn in _FUNCTIONS}, "swish": silu, "hard_swish": hard_silu}
__all__ = ["deserialize", "get", "serialize"]
__all__ += list(OBJECTS)


def get(identifier):
    """The activation of a name ("relu"), a config dict, a layer or another callable; None gives `linear`.

    Raises:
        ValueError: when nothing of that name is known.
    """
    return linear if identifier is None else lookup.find(identifier, OBJECTS, "activation function")


def serialize(activation):
    """The name of a built-in function, the config dict of a layer or of a function of the user."""
    if inspect.isfunction(activation) and OBJECTS.get(activation.__name__) is activation:
        return activation.__name__
    return registry.serialize_keras_object(activation)


def deserialize(config, custom_objects=None):
    """The activation of a name or a config dict."""
    return linear if config is None else lookup.deserialize(config, OBJECTS, "activation function", custom_objects)
