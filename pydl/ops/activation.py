"""Activation functions of `keras.ops`.

Most are composed of ops and served by a kernel; three are elementary. A kernel's gradient reads the result where it
suffices, so that the input can be freed. A composed form has the kernel's slope at a kink, and neither overflows nor
loses a gradient far from zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from pydl._core import kernels
from pydl.ops._common import Gradients, TensorLike, as_float
from pydl.ops._fused import fused, recorded_gradient
from pydl.ops.elementwise import (
    Unary,
    _op,
    absolute,
    clip,
    erf,
    expm1,
    greater,
    greater_equal,
    less,
    less_equal,
    maximum,
    minimum,
    sqrt,
    square,
    where,
)
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

__all__ = [
    "celu", "elu", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh",
    "leaky_relu", "log_sigmoid", "mish", "prelu", "relu", "relu6", "relu_general", "selu", "sigmoid",
    "silu", "soft_shrink", "softplus", "softsign", "sparse_plus", "squareplus", "swish", "tanh",
    "tanh_shrink", "threshold",
]


def _kernel(name: str, from_result: bool | Callable[..., bool] = False,
            gradient: str | None = None) -> Callable[..., Tensor]:
    """The op of the kernels `name(x, y, *parameters, n)` and `gradient(x or y, dy, dx, *parameters, n)`.

    Args:
        from_result: whether the gradient reads y; a function of the parameters where it depends on them.
        gradient: name of its kernel, `<name>_grad` by default.
    """
    forward, backward = getattr(kernels, name), getattr(kernels, gradient or f"{name}_grad")

    def kernel(x: Tensor, *parameters: float) -> Tensor:
        y = empty(x.shape, x.dtype)
        forward(x.data, y.data, *parameters, x.size)
        if x.node is None:  # the common case of predictions, which needs no closure
            return differentiable(y, (), None)
        saved = y.data if (from_result(*parameters) if callable(from_result) else from_result) else x.data
        shape, dtype, size = x.shape, x.dtype, x.size

        def vjp(dy: Tensor) -> Gradients:
            dx = empty(shape, dtype)
            backward(saved, dy.data, dx.data, *parameters, size)
            return (dx,)

        return differentiable(y, (x,), vjp)

    return kernel


def _elementary(name: str, doc: str, slope: Callable[[Tensor], Tensor]) -> Unary:
    """An activation that is composed of nothing simpler; its derivative is `slope` of its result."""
    kernel = _kernel(name, from_result=True)

    def function(x: TensorLike) -> Tensor:
        x = as_float(x)
        return recorded_gradient(kernel(x), lambda dy: (dy * slope(function(x)),))

    return _op(name, doc, function)


def _activation(name: str, doc: str, composed: Callable[[Tensor], Tensor], from_result: bool = False) -> Unary:
    """The activation `composed(x)`, served by the kernels `name` and `name_grad`."""
    served = fused(_kernel(name, from_result))(composed)

    def function(x: TensorLike) -> Tensor:
        return served(as_float(x))

    return _op(name, doc, function)


# log(1 + exp(x)) as max(x, 0) + log1p(exp(-|x|)) has no slope at 0: softplus is as elementary as sigmoid, its slope.
tanh = _elementary("tanh", "Hyperbolic tangent.", lambda y: 1 - y * y)
sigmoid = _elementary("sigmoid", "1 / (1 + exp(-x)).", lambda y: y * (1 - y))
softplus = _elementary("softplus", "log(1 + exp(x)).", lambda y: -expm1(-y))
relu = _activation("relu", "max(x, 0).", lambda x: where(less_equal(x, 0), 0, x), from_result=True)
log_sigmoid = _activation("log_sigmoid", "log(sigmoid(x)).", lambda x: -softplus(-x), from_result=True)
softsign = _activation("softsign", "x / (1 + |x|).", lambda x: x / (1 + absolute(x)))
silu = _activation("silu", "x * sigmoid(x), also called swish (Elfwing et al. 2017).", lambda x: x * sigmoid(x))
# Past 40 the factor is 1, and products with x might overflow.
mish = _activation("mish", "x * tanh(softplus(x)) (Misra 2019).",
                   lambda x: x * tanh(softplus(clip(x, -math.inf, 40.0))))
# clip and not relu6: at -3 and 3 the gradient is that of the slope between them.
hard_silu = _activation("hard_silu", "x * hard_sigmoid(x), also called hard swish (Howard et al. 2019).",
                        lambda x: x * (clip(x + 3, 0, 6) / 6))
_gelu_exact = _activation("gelu", "x * Phi(x).", lambda x: x * (0.5 * (1 + erf(x * math.sqrt(0.5)))))
swish = silu
hard_swish = hard_silu


@fused(_kernel("gelu_tanh"))
def _gelu_tanh(x: Tensor) -> Tensor:
    """(1 + tanh(u)) / 2 = sigmoid(2 u) does not cancel for negative x; past 40 it is 0 or 1, and x^3 might overflow."""
    near, k = clip(x, -40, 40), 2 * math.sqrt(2 / math.pi)
    return x * sigmoid(near * (k + 0.044715 * k * square(near)))


@op
def gelu(x: TensorLike, approximate: bool = True) -> Tensor:
    """Gaussian error linear unit, x * Phi(x) with the normal distribution Phi (Hendrycks & Gimpel 2016).

    Args:
        x: tensor.
        approximate: take 0.5 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) for Phi, which is cheaper.
    """
    return _gelu_tanh(as_float(x)) if approximate else _gelu_exact(x)


@fused(_kernel("relu_general"))
def _relu_general(x: Tensor, negative_slope: float, max_value: float, threshold: float) -> Tensor:
    """At the threshold itself the slope is that of the lower part."""
    low = 0.0 if max_value < math.inf else -math.inf
    limited = where(greater_equal(x, max_value), max_value, where(less_equal(x, low), low, x))
    below = min(0.0, max_value) + (negative_slope * (x - threshold) if negative_slope else 0.0)
    return where(less_equal(x, threshold), below, limited)


@op
def relu_general(x: TensorLike, negative_slope: float = 0.0, max_value: float | None = None,
                 threshold: float = 0.0) -> Tensor:
    """The ReLU of `keras.layers.ReLU`: x above `threshold` and 0 up to there, plus a part of its own below.

    Args:
        x: tensor.
        negative_slope: slope of the part below the threshold, negative_slope * (x - threshold).
        max_value: upper limit of x; None for none. With one, x is limited by 0 from below, too, which shows with a
            negative threshold; the part below the threshold is not limited.
        threshold: where the linear part begins.
    """
    top = float("inf") if max_value is None else float(max_value)
    parameters = (float(negative_slope), top, float(threshold))
    if parameters == (0.0, float("inf"), 0.0):
        return relu(x)
    return _relu_general(as_float(x), *parameters)


@op
def relu6(x: TensorLike) -> Tensor:
    """min(max(x, 0), 6)."""
    return relu_general(x, max_value=6.0)


hard_sigmoid = _activation("hard_sigmoid", "relu6(x + 3) / 6: 0 below -3, 1 above 3, x / 6 + 1/2 between.",
                           lambda x: relu6(x + 3) / 6)


# With a slope >= 0 the result has the sign of x, and x need not be kept.
@fused(_kernel("leaky_relu", from_result=lambda slope: slope >= 0))
def _leaky_relu(x: Tensor, slope: float) -> Tensor:
    return where(greater(x, 0), x, slope * x)


@op
def leaky_relu(x: TensorLike, negative_slope: float = 0.2) -> Tensor:
    """x where positive, negative_slope * x elsewhere (Maas et al. 2013)."""
    return _leaky_relu(as_float(x), float(negative_slope))


def _elu_kernel(x: Tensor, alpha: float, scale: float, rate: float) -> Tensor:
    y = empty(x.shape, x.dtype)
    kernels.elu(x.data, y.data, alpha, scale, rate, x.size)
    result = y.data
    # With alpha > 0 the result has the sign of x, and x need not be kept.
    sign = result if alpha > 0 else x.data
    shape, dtype, size = x.shape, x.dtype, x.size

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(shape, dtype)
        kernels.elu_grad(sign, result, dy.data, dx.data, alpha, scale, rate, size)
        return (dx,)

    return differentiable(y, (x,), vjp)


@fused(_elu_kernel)
def _elu(x: Tensor, alpha: float, scale: float, rate: float) -> Tensor:
    """scale x where positive, scale alpha (exp(rate x) - 1) elsewhere."""
    positive = greater(x, 0)
    bent = expm1(rate * where(positive, 0, x))  # no exponential of what is large
    return where(positive, scale * x, scale * alpha * bent)


@op
def elu(x: TensorLike, alpha: float = 1.0) -> Tensor:
    """x where positive, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2015)."""
    return _elu(as_float(x), float(alpha), 1.0, 1.0)


@op
def selu(x: TensorLike) -> Tensor:
    """elu with the scale and alpha that keep mean 0 and variance 1 over layers (Klambauer et al. 2017)."""
    return _elu(as_float(x), 1.6732632423543772, 1.0507009873554805, 1.0)


@op
def celu(x: TensorLike, alpha: float = 1.0) -> Tensor:
    """x where positive, alpha * (exp(x / alpha) - 1) elsewhere (Barron 2017); alpha must not be 0."""
    return _elu(as_float(x), float(alpha), 1.0, 1.0 / float(alpha))


@op
def prelu(x: TensorLike, alpha: TensorLike) -> Tensor:
    """x where positive, alpha * x elsewhere, with learnt `alpha` that broadcasts to x (He et al. 2015)."""
    x = as_float(x)
    return where(greater(x, 0), x, alpha * x)


@fused(_kernel("soft_shrink", gradient="shrink_grad"))
def _soft_shrink(x: Tensor, threshold: float) -> Tensor:
    return where(greater(x, threshold), x - threshold, where(less(x, -threshold), x + threshold, x * 0))


@op
def soft_shrink(x: TensorLike, threshold: float = 0.5) -> Tensor:
    """x moved toward zero by `threshold`; zero where it would pass zero."""
    return _soft_shrink(as_float(x), float(threshold))


@fused(_kernel("hard_shrink", gradient="shrink_grad"))
def _hard_shrink(x: Tensor, threshold: float) -> Tensor:
    return where(greater(absolute(x), threshold), x, x * 0)


@op
def hard_shrink(x: TensorLike, threshold: float = 0.5) -> Tensor:
    """x where |x| > threshold, else zero."""
    return _hard_shrink(as_float(x), float(threshold))


@op
def hard_tanh(x: TensorLike) -> Tensor:
    """min(max(x, -1), 1)."""
    return clip(as_float(x), -1.0, 1.0)


@op
def tanh_shrink(x: TensorLike) -> Tensor:
    """x - tanh(x)."""
    x = as_float(x)
    return x - tanh(x)


@op
def threshold(x: TensorLike, threshold: float, default_value: float) -> Tensor:
    """x where x > threshold, `default_value` elsewhere."""
    x = as_float(x)
    return where(greater(x, threshold), x, default_value)


@op
def squareplus(x: TensorLike, b: float = 4.0) -> Tensor:
    """(x + sqrt(x^2 + b)) / 2 (Barron 2021); below 0 as (b / 2) / (sqrt(x^2 + b) - x), which does not cancel."""
    x = as_float(x)
    size = absolute(x)
    root = maximum(sqrt(square(minimum(size, 1e12)) + b), size)  # beyond, b is lost in x^2
    below = (0.5 * b) / (root - where(greater(x, 0.0), 0.0, x))  # a minimum would halve the slope at 0
    return where(greater(x, 0.0), maximum(x, 0.0) * 0.5 + root * 0.5, below)


@op
def sparse_plus(x: TensorLike) -> Tensor:
    """0 below -1, x above 1, (x + 1)^2 / 4 between."""
    x = as_float(x)
    beyond = greater(absolute(x), 1.0)
    return where(beyond, maximum(x, 0.0), square(where(beyond, 0.0, x) + 1) * 0.25)


@op
def glu(x: TensorLike, axis: int = -1) -> Tensor:
    """The first half of x along `axis` times the sigmoid of the second (Dauphin et al. 2016)."""
    from pydl import ops

    x = as_float(x)
    if x.shape[axis] % 2:
        raise ValueError(f"glu: expected an even size along axis {axis}; received shape {x.shape}.")
    first, second = ops.split(x, 2, axis=axis)
    return first * sigmoid(second)
