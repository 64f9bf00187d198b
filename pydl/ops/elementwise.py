"""Functions of one element, arithmetic, comparisons, logic, casts: the element-wise part of `keras.ops`.

Gradients are written with ops, so that they have gradients themselves. A row of a table is one op: its name
is that of its kernel, and the gradient stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import config
from pydl._core import kernels
from pydl.dtypes import PROMOTION, STORED_AS, holds_floats, is_byte_dtype, is_float_dtype
from pydl.ops._broadcast import broadcast_plan, operand, sum_to_shape
from pydl.ops._common import as_float, as_tensor, result_dtype
from pydl.ops._fused import fused, recorded_gradient
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty, standardize_dtype

__all__ = [
    "abs", "absolute", "add", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh",
    "cast", "ceil", "clip", "conj", "conjugate", "cos", "cosh", "divide", "divide_no_nan", "equal", "erf",
    "exp", "exp2", "expm1", "floor", "floor_divide", "greater", "greater_equal", "imag", "isclose",
    "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log1p", "log2", "log10", "logaddexp",
    "logical_and", "logical_not", "logical_or", "logical_xor", "maximum", "minimum", "mod", "multiply",
    "nan_to_num", "negative", "not_equal", "power", "real", "reciprocal", "round", "rsqrt", "sign", "sin",
    "sinh", "sqrt", "square", "subtract", "tan", "true_divide", "trunc", "where",
]


Op = Callable[..., Any]  # said of the ops that a gradient above them names

# ----------------------------------------------------------------------------- one element each


def _op(name: str, doc: str, fn) -> Op:
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = doc
    return op(fn)


def _unary(name, doc, slope=None, slope_of_result=None):
    """The float function of kernel `name`; its gradient is dy times `slope(x)` or `slope_of_result(y)`."""
    kernel = getattr(kernels, name)

    def function(x):
        x = as_float(x)
        y = empty(x.shape, x.dtype)
        kernel(x.data, y.data, x.size)
        if slope is not None:
            return differentiable(y, (x,), lambda dy: (dy * slope(x),))
        if slope_of_result is not None:
            values = y.data  # and not y: a node that held its own result would outlive it
            y = differentiable(y, (x,), lambda dy: (dy * slope_of_result(Tensor(values)),))
            return recorded_gradient(y, lambda dy: (dy * slope_of_result(function(x)),))
        return y

    return _op(name, doc, function)


sqrt = _unary("sqrt", "Square root.", slope_of_result=lambda y: 0.5 / y)
rsqrt = _unary("rsqrt", "1 / sqrt(x).", slope_of_result=lambda y: -0.5 * (y * y * y))
reciprocal = _unary("reciprocal", "1 / x.", slope_of_result=lambda y: -(y * y))
exp = _unary("exp", "e to the power of x.", slope_of_result=lambda y: y)
exp2 = _unary("exp2", "2 to the power of x.", slope_of_result=lambda y: y * float(np.log(2)))
expm1 = _unary("expm1", "exp(x) - 1, precise for small x.", slope_of_result=lambda y: y + 1)
log = _unary("log", "Natural logarithm.", lambda x: reciprocal(x))
log1p = _unary("log1p", "log(1 + x), precise for small x.", lambda x: reciprocal(x + 1))
log2 = _unary("log2", "Logarithm to base 2.", lambda x: reciprocal(x * float(np.log(2))))
log10 = _unary("log10", "Logarithm to base 10.", lambda x: reciprocal(x * float(np.log(10))))
sin = _unary("sin", "Sine of an angle in radians.", lambda x: cos(x))
cos: Op = _unary("cos", "Cosine of an angle in radians.", lambda x: -sin(x))
tan = _unary("tan", "Tangent of an angle in radians.", slope_of_result=lambda y: y * y + 1)
arcsin = _unary("arcsin", "Inverse sine, in radians.", lambda x: rsqrt((1 - x) * (1 + x)))
arccos = _unary("arccos", "Inverse cosine, in radians.", lambda x: -rsqrt((1 - x) * (1 + x)))
arctan = _unary("arctan", "Inverse tangent, in radians.", lambda x: reciprocal(x * x + 1))
sinh = _unary("sinh", "Hyperbolic sine.", lambda x: cosh(x))
cosh: Op = _unary("cosh", "Hyperbolic cosine.", lambda x: sinh(x))
arcsinh = _unary("arcsinh", "Inverse hyperbolic sine.", lambda x: rsqrt(x * x + 1))
arccosh = _unary("arccosh", "Inverse hyperbolic cosine.", lambda x: rsqrt((x - 1) * (x + 1)))
arctanh = _unary("arctanh", "Inverse hyperbolic tangent.", lambda x: reciprocal((1 - x) * (1 + x)))
erf = _unary("erf", "The error function.", lambda x: exp(-(x * x)) * float(2 / np.sqrt(np.pi)))


def _arithmetic_unary(name, doc, kernel, slope=None):
    """As `_unary`, and integers stay integers."""

    def function(x):
        x = as_tensor(x)
        if is_byte_dtype(x.dtype):
            return cast(function(cast(x, "int32")), x.dtype)
        y = empty(x.shape, x.dtype)
        kernel(x.data, y.data, x.size)
        return differentiable(y, (x,), lambda dy: (slope(x, dy),)) if slope else y

    return _op(name, doc, function)


negative: Op = _arithmetic_unary("negative", "-x.", kernels.negative, lambda x, dy: negative(dy))
absolute = _arithmetic_unary("absolute", "|x|.", kernels.absolute, lambda x, dy: dy * sign(x))
square = _arithmetic_unary("square", "x * x.", kernels.square, lambda x, dy: dy * (x * 2))
sign: Op = _arithmetic_unary("sign", "-1, 0 or 1 by the sign of x.", kernels.sign)
abs = absolute


def _to_integer(name, doc):
    """Rounding functions: integers are their own result (as floats, as in Keras), the gradient is zero."""
    kernel = getattr(kernels, name)

    def function(x):
        x = as_float(x)
        y = empty(x.shape, x.dtype)
        kernel(x.data, y.data, x.size)
        return y

    return _op(name, doc, function)


floor = _to_integer("floor", "The largest integer not above x.")
ceil = _to_integer("ceil", "The smallest integer not below x.")
trunc = _to_integer("trunc", "The integer next to x toward zero.")
_nearest = _to_integer("round", "The nearest integer, ties to even.")


@op
def round(x, decimals: int = 0):
    """The nearest number of `decimals` decimals; ties go to the even one."""
    if decimals == 0:
        return _nearest(x)
    power_of_ten = 10.0**decimals
    return divide(_nearest(as_float(x) * power_of_ten), power_of_ten)


def _test(name, doc):
    kernel = getattr(kernels, name)

    def function(x):
        x = as_float(x)
        y = empty(x.shape, "bool")
        kernel(x.data, y.data, x.size)
        return y

    return _op(name, doc, function)


isnan = _test("isnan", "Whether each element is NaN.")
isinf = _test("isinf", "Whether each element is infinite, of either sign.")
isfinite = _test("isfinite", "Whether each element is neither infinite nor NaN.")


@op
def logical_not(x):
    """Whether each element is zero (False)."""
    x = as_tensor(x)
    y = empty(x.shape, "bool")
    kernels.logical_not(x.data, y.data, x.size)
    return y


_CASTS = {name: getattr(kernels, f"cast_to_{name}") for name in PROMOTION}


@op
def cast(x, dtype):
    """`x` in another dtype.

    Floats lose their fraction toward zero when they become integers; numbers outside the integer type become
    its nearest end, NaN becomes 0. The gradient passes between float types.

    Args:
        x: tensor of any dtype.
        dtype: name; 8- and 16-bit types are stored in the next wider type that has kernels.
    """
    x = as_tensor(x)
    dtype = STORED_AS[standardize_dtype(dtype)]
    if x.dtype == dtype:
        return x
    y = empty(x.shape, dtype)
    _CASTS[dtype](x.data, y.data, x.size)
    if is_float_dtype(dtype) and is_float_dtype(x.dtype):
        before = x.dtype
        return differentiable(y, (x,), lambda dy: (cast(dy, before),))
    return y


def _clip_kernel(x, x_min, x_max):
    y = empty(x.shape, x.dtype)
    kernels.clip(x.data, y.data, x_min, x_max, x.size)

    def vjp(dy):
        dx = empty(x.shape, x.dtype)
        kernels.clip_grad(x.data, dy.data, dx.data, x_min, x_max, x.size)
        return (dx,)

    return differentiable(y, (x,), vjp)


@fused(_clip_kernel)
def _clip(x, x_min, x_max):
    """Not of `maximum` and `minimum`, which share the gradient at the ends: those belong to the range."""
    low, high = operand(x_min, x.dtype), operand(x_max, x.dtype)
    raised = where(less(x, low), low, x)
    return where(greater(raised, high), high, raised)


@op
def clip(x, x_min, x_max):
    """`x` limited to the range from `x_min` to `x_max` (numbers, or tensors that broadcast)."""
    if not all(isinstance(bound, (int, float)) for bound in (x_min, x_max)):
        return minimum(maximum(x, x_min), x_max)
    dtype = result_dtype(x, x_min, x_max)
    x = operand(x, "int32" if dtype == "bool" else dtype)
    if x.dtype == "uint8":
        return cast(clip(cast(x, "int32"), x_min, x_max), "uint8")
    return _clip(x, float(x_min), float(x_max))


# ---------------------------------------------------------------------------------------- two operands


def _promote(x1, x2):
    """`result_dtype`, with a short way for common cases (an eager add of ten numbers: 5 us, 11 without)."""
    if isinstance(x1, Tensor):
        if isinstance(x2, Tensor):
            if x1.data.dtype is x2.data.dtype:
                return x1.dtype
        elif type(x2) in (int, float) and holds_floats(x1.data):
            return x1.dtype
    return result_dtype(x1, x2)


def _launch(kernel, x1, x2, dtype):
    shape, *plan = broadcast_plan(x1.shape, x2.shape)
    y = empty(shape, dtype)
    kernel(x1.data, x2.data, y.data, *plan)
    return y


def _binary(name, doc, gradient1=None, gradient2=None, floating=False):
    """The broadcasting function of kernel `name`.

    Gradients are functions of (x1, x2, dy), before the sum to shape; `floating`: integers become floats.
    """
    kernel = getattr(kernels, name)

    def function(x1, x2):
        dtype = _promote(x1, x2)
        if floating and not is_float_dtype(dtype):
            dtype = config.floatx()
        if is_byte_dtype(dtype):  # arithmetic is done in int32
            return cast(function(operand(x1, "int32"), operand(x2, "int32")), dtype)
        x1, x2 = operand(x1, dtype), operand(x2, dtype)
        y = _launch(kernel, x1, x2, dtype)
        if gradient1 is None:
            return y

        def vjp(dy):
            return (sum_to_shape(gradient1(x1, x2, dy), x1.shape) if x1.node is not None else None,
                    sum_to_shape(gradient2(x1, x2, dy), x2.shape) if x2.node is not None else None)

        return differentiable(y, (x1, x2), vjp)

    return _op(name, doc, function)


def _share(x1, x2):
    """1 where x1 > x2, 1/2 where they are equal, else 0: the slope of the maximum."""
    return (cast(greater(x1, x2), x1.dtype) + cast(greater_equal(x1, x2), x1.dtype)) * 0.5


def _power_slope2(x1, x2, dy):
    positive = greater(x1, 0)
    return where(positive, dy * power(x1, x2) * log(where(positive, x1, 1)), 0)


add = _binary("add", "x1 + x2.", lambda a, b, dy: dy, lambda a, b, dy: dy)
subtract = _binary("subtract", "x1 - x2.", lambda a, b, dy: dy, lambda a, b, dy: -dy)
multiply = _binary("multiply", "x1 * x2.", lambda a, b, dy: dy * b, lambda a, b, dy: dy * a)
divide = _binary("divide", "x1 / x2; integers become floats.",
                 lambda a, b, dy: dy / b, lambda a, b, dy: -(dy * a) / (b * b), floating=True)
divide_no_nan: Op = _binary("divide_no_nan", "x1 / x2, and 0 where x2 is 0.", lambda a, b, dy: divide_no_nan(dy, b),
                        lambda a, b, dy: -divide_no_nan(dy * a, b * b), floating=True)
maximum = _binary("maximum", "The larger of two; NaN where either is. Equal ones share the gradient.",
                  lambda a, b, dy: dy * _share(a, b), lambda a, b, dy: dy * _share(b, a))
minimum = _binary("minimum", "The smaller of two; NaN where either is. Equal ones share the gradient.",
                  lambda a, b, dy: dy * _share(b, a), lambda a, b, dy: dy * _share(a, b))
arctan2 = _binary("arctan2", "The angle of the point (x2, x1), in radians from -pi to pi.",
                  lambda a, b, dy: dy * b / (a * a + b * b), lambda a, b, dy: -(dy * a) / (a * a + b * b),
                  floating=True)
mod = _binary("mod", "The remainder of x1 / x2, of x2's sign; 0 for integers divided by 0.",
              lambda a, b, dy: dy, lambda a, b, dy: -dy * floor(a / b))
floor_divide = _binary("floor_divide", "The largest integer not above x1 / x2; 0 for integers divided by 0.")
_power = _binary("power", "x1 to the power of x2.",
                 lambda a, b, dy: dy * b * power(a, b - 1), _power_slope2)
true_divide = divide


@op
def power(x1, x2):
    """`x1` to the power of `x2`; an integer's negative power is rounded toward zero."""
    if isinstance(x2, (int, float)) and not isinstance(x2, bool) and not isinstance(x1, (bool, int, float)):
        x1 = as_tensor(x1)
        if x2 == 2:
            return square(x1)
        if x2 == 1 and result_dtype(x1, x2) == x1.dtype:
            return x1
        if x2 == 0.5:
            return sqrt(x1)
        if x2 == -1 and is_float_dtype(x1.dtype):
            return reciprocal(x1)
    return _power(x1, x2)


def _comparison(name, doc):
    kernel = getattr(kernels, name)

    def function(x1, x2):
        dtype = _promote(x1, x2)
        return _launch(kernel, operand(x1, dtype), operand(x2, dtype), "bool")

    return _op(name, doc, function)


equal = _comparison("equal", "x1 == x2, element by element.")
not_equal = _comparison("not_equal", "x1 != x2, element by element.")
less = _comparison("less", "x1 < x2, element by element.")
less_equal = _comparison("less_equal", "x1 <= x2, element by element.")
greater = _comparison("greater", "x1 > x2, element by element.")
greater_equal = _comparison("greater_equal", "x1 >= x2, element by element.")
logical_and = _comparison("logical_and", "Whether both are non-zero.")
logical_or = _comparison("logical_or", "Whether either is non-zero.")
logical_xor = _comparison("logical_xor", "Whether exactly one is non-zero.")


@op
def where(condition, x1=None, x2=None):
    """Elements of `x1` where `condition` holds, of `x2` elsewhere; all three broadcast.

    Without `x1` and `x2`: the indices where `condition` is non-zero, one array per axis (reads the values, so
    it cannot be recorded).
    """
    if x1 is None and x2 is None:
        return tuple(as_tensor(i) for i in np.nonzero(as_tensor(condition).numpy()))
    if x1 is None or x2 is None:
        raise ValueError("`x1` and `x2` either both should be `None` or both should have non-None value.")
    dtype = _promote(x1, x2)
    condition, x1, x2 = operand(condition, "bool"), operand(x1, dtype), operand(x2, dtype)
    shape, *plan = broadcast_plan(condition.shape, x1.shape, x2.shape)
    y = empty(shape, dtype)
    kernels.where(condition.data, x1.data, x2.data, y.data, *plan)

    def vjp(dy):
        return (None,
                sum_to_shape(where(condition, dy, 0), x1.shape) if x1.node is not None else None,
                sum_to_shape(where(condition, 0, dy), x2.shape) if x2.node is not None else None)

    return differentiable(y, (condition, x1, x2), vjp)


# -------------------------------------------------------------------------------------------- composed


@op
def logaddexp(x1, x2):
    """log(exp(x1) + exp(x2)) without overflow."""
    from pydl import ops

    return maximum(x1, x2) + ops.softplus(-absolute(subtract(x1, x2)))


@op
def isclose(x1, x2, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False):
    """Whether |x1 - x2| <= atol + rtol |x2|; infinities equal themselves, NaN NaN if `equal_nan`."""
    dtype = result_dtype(x1, x2)
    dtype = dtype if is_float_dtype(dtype) else config.floatx()
    x1, x2 = operand(x1, dtype), operand(x2, dtype)
    near = logical_and(less_equal(absolute(x1 - x2), absolute(x2) * rtol + atol), isfinite(x2))
    close = logical_or(near, equal(x1, x2))
    return logical_or(close, logical_and(isnan(x1), isnan(x2))) if equal_nan else close


@op
def nan_to_num(x, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None):
    """`x` with NaN and infinities replaced; infinities by the largest finite numbers by default."""
    x = as_float(x)
    largest = float(np.finfo(x.dtype).max)
    x = where(isnan(x), nan, x)
    x = where(equal(x, float("inf")), largest if posinf is None else posinf, x)
    return where(equal(x, float("-inf")), -largest if neginf is None else neginf, x)


@op
def real(x):
    """The real part: tensors are real, so `x` itself."""
    return as_tensor(x)


@op
def imag(x):
    """The imaginary part: zeros."""
    x = as_tensor(x)
    y = empty(x.shape, x.dtype)
    kernels.fill(0.0, y.data, x.size)
    return y


@op
def conjugate(x):
    """The complex conjugate: tensors are real, so `x` itself."""
    return as_tensor(x)


conj = conjugate
