"""Activation functions of `keras.ops`.

The fused gradients read the result where it suffices, so that the input can be freed. Those of relu,
leaky_relu, sigmoid, tanh, softplus and silu are composed of ops while a gradient is itself differentiated.
"""

from __future__ import annotations

from pydl import tape
from pydl._core import kernels
from pydl.ops._common import as_float
from pydl.ops.elementwise import (
    _op,
    absolute,
    cast,
    clip,
    exp,
    greater,
    maximum,
    minimum,
    sqrt,
    square,
    where,
)
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import empty

__all__ = [
    "celu", "elu", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh",
    "leaky_relu", "log_sigmoid", "mish", "prelu", "relu", "relu6", "relu_general", "selu", "sigmoid",
    "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "squareplus", "swish", "tanh",
    "tanh_shrink", "threshold",
]


def _fused(function, forward, backward, x, parameters=(), from_result=None, composed=None):
    """Launches `forward(x, y, *parameters, n)`; puts `backward(saved, dy, dx, *parameters, n)` on the tape.

    Args:
        from_result: whether `backward` reads y instead of x.
        composed: gradient as ops, `(dy, saved) -> dx`, for second derivatives.
    """
    y = empty(x.shape, x.dtype)
    forward(x.data, y.data, *parameters, x.size)
    if x.node is None or not tape.state.enabled:
        return y
    shape, dtype, size = x.shape, x.dtype, x.size
    saved = y.data if from_result else x.data
    again = x if tape.state.tapes > 1 else None

    def vjp(dy):
        if tape.state.enabled and composed is not None and again is not None:
            return (composed(dy, function(again) if from_result else again),)
        dx = empty(shape, dtype)
        backward(saved, dy.data, dx.data, *parameters, size)
        return (dx,)

    return differentiable(y, (x,), vjp)


def _activation(name, doc, from_result=False, composed=None):
    """The activation of kernels `name` and `name_grad`."""
    forward, backward = getattr(kernels, name), getattr(kernels, f"{name}_grad")

    def function(x):
        return _fused(function, forward, backward, as_float(x), (), from_result, composed)

    return _op(name, doc, function)


relu = _activation("relu", "max(x, 0).", True, lambda dy, y: dy * cast(greater(y, 0), y.dtype))
tanh = _activation("tanh", "Hyperbolic tangent.", True, lambda dy, y: dy * (1 - y * y))
sigmoid = _activation("sigmoid", "1 / (1 + exp(-x)).", True, lambda dy, y: dy * (y * (1 - y)))
softplus = _activation("softplus", "log(1 + exp(x)).", True, lambda dy, y: dy * (1 - exp(-y)))
log_sigmoid = _activation("log_sigmoid", "log(sigmoid(x)).", True, lambda dy, y: dy * (1 - exp(y)))
softsign = _activation("softsign", "x / (1 + |x|).")
silu = _activation("silu", "x * sigmoid(x), also called swish (Elfwing et al. 2017).",
                   composed=lambda dy, x: dy * (sigmoid(x) * (1 + x * (1 - sigmoid(x)))))
mish = _activation("mish", "x * tanh(softplus(x)) (Misra 2019).")
hard_sigmoid = _activation("hard_sigmoid", "relu6(x + 3) / 6: 0 below -3, 1 above 3, x / 6 + 1/2 between.")
hard_silu = _activation("hard_silu", "x * hard_sigmoid(x), also called hard swish (Howard et al. 2019).")
_gelu_exact = _activation("gelu", "x * Phi(x).")
_gelu_tanh = _activation("gelu_tanh", "The approximation of gelu by tanh.")
swish = silu
hard_swish = hard_silu


@op
def gelu(x, approximate: bool = True):
    """Gaussian error linear unit, x * Phi(x) with the normal distribution Phi (Hendrycks & Gimpel 2016).

    Args:
        x: tensor.
        approximate: take 0.5 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) for Phi, which is cheaper.
    """
    return _gelu_tanh(x) if approximate else _gelu_exact(x)


@op
def relu_general(x, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0):
    """The ReLU of `keras.layers.ReLU`: x from `threshold` up to `max_value`, limited there.

    Args:
        x: tensor.
        negative_slope: slope of the part below the threshold, negative_slope * (x - threshold).
        max_value: upper limit; None for none.
        threshold: where the linear part begins.
    """
    top = float("inf") if max_value is None else float(max_value)
    parameters = (float(negative_slope), top, float(threshold))
    if parameters == (0.0, float("inf"), 0.0):
        return relu(x)
    return _fused(None, kernels.relu_general, kernels.relu_general_grad, as_float(x), parameters)


@op
def relu6(x):
    """min(max(x, 0), 6)."""
    return relu_general(x, max_value=6.0)


@op
def leaky_relu(x, negative_slope: float = 0.2):
    """x where positive, negative_slope * x elsewhere (Maas et al. 2013)."""
    slope = float(negative_slope)

    def again(x):
        return leaky_relu(x, slope)

    def composed(dy, y):
        return dy * where(greater(y, 0), 1.0, slope)

    forward, backward = kernels.leaky_relu, kernels.leaky_relu_grad
    return _fused(again, forward, backward, as_float(x), (slope,), slope >= 0, composed)


def _elu(x, alpha, scale, rate):
    """scale x where positive, scale alpha (exp(rate x) - 1) elsewhere."""
    x = as_float(x)
    y = empty(x.shape, x.dtype)
    kernels.elu(x.data, y.data, alpha, scale, rate, x.size)
    result = y.data
    # With alpha > 0 the result has the sign of x, and x need not be kept.
    sign = result if alpha > 0 else x.data
    shape, dtype, size = x.shape, x.dtype, x.size

    def vjp(dy):
        dx = empty(shape, dtype)
        kernels.elu_grad(sign, result, dy.data, dx.data, alpha, scale, rate, size)
        return (dx,)

    return differentiable(y, (x,), vjp)


@op
def elu(x, alpha: float = 1.0):
    """x where positive, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2015)."""
    return _elu(x, float(alpha), 1.0, 1.0)


@op
def selu(x):
    """elu with the scale and alpha that keep mean 0 and variance 1 over layers (Klambauer et al. 2017)."""
    return _elu(x, 1.6732632423543772, 1.0507009873554805, 1.0)


@op
def celu(x, alpha: float = 1.0):
    """x where positive, alpha * (exp(x / alpha) - 1) elsewhere (Barron 2017); alpha must not be 0."""
    return _elu(x, float(alpha), 1.0, 1.0 / float(alpha))


@op
def prelu(x, alpha):
    """x where positive, alpha * x elsewhere, with learnt `alpha` that broadcasts to x (He et al. 2015)."""
    x = as_float(x)
    return where(greater(x, 0), x, alpha * x)


@op
def soft_shrink(x, threshold: float = 0.5):
    """x moved toward zero by `threshold`; zero where it would pass zero."""
    return _fused(None, kernels.soft_shrink, kernels.shrink_grad, as_float(x), (float(threshold),))


@op
def hard_shrink(x, threshold: float = 0.5):
    """x where |x| > threshold, else zero."""
    return _fused(None, kernels.hard_shrink, kernels.shrink_grad, as_float(x), (float(threshold),))


@op
def hard_tanh(x):
    """min(max(x, -1), 1)."""
    return clip(as_float(x), -1.0, 1.0)


@op
def tanh_shrink(x):
    """x - tanh(x)."""
    x = as_float(x)
    return x - tanh(x)


@op
def threshold(x, threshold: float, default_value: float):
    """x where x > threshold, `default_value` elsewhere."""
    x = as_float(x)
    return where(greater(x, threshold), x, default_value)


@op
def squareplus(x, b: float = 4.0):
    """(x + sqrt(x^2 + b)) / 2 (Barron 2021)."""
    x = as_float(x)
    return (x + sqrt(square(x) + b)) * 0.5


@op
def sparse_plus(x):
    """0 below -1, x above 1, (x + 1)^2 / 4 between."""
    x = as_float(x)
    inside = minimum(maximum(x, -1.0), 1.0)
    return where(greater(absolute(x), 1.0), maximum(x, 0.0), square(inside + 1) * 0.25)


@op
def glu(x, axis: int = -1):
    """The first half of x along `axis` times the sigmoid of the second (Dauphin et al. 2016)."""
    from pydl import ops

    x = as_float(x)
    if x.shape[axis] % 2:
        raise ValueError(f"glu: expected an even size along axis {axis}; received shape {x.shape}.")
    first, second = ops.split(x, 2, axis=axis)
    return first * sigmoid(second)
