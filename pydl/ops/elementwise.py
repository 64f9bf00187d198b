"""Functions of one element, arithmetic, comparisons, logic, casts: the element-wise part of `keras.ops`.

Gradients are written with ops, so that they have gradients themselves. A row of a table is one op: its name
is that of its kernel, and the gradient stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeAlias, overload

import numpy as np

from pydl import config
from pydl._core import Kernel, kernels
from pydl.dtypes import STORED, STORED_AS, holds_floats, is_byte_dtype, is_float_dtype
from pydl.ops._broadcast import broadcast_plan, operand, sum_to_shape
from pydl.ops._common import DType, Gradients, TensorLike, as_float, as_tensor, result_dtype
from pydl.ops._fused import fused, recorded_gradient
from pydl.symbolic import op
from pydl.tape import differentiable, no_grad
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


class Unary(Protocol):
    """An op of one tensor."""

    def __call__(self, x: TensorLike) -> Tensor: ...


class Binary(Protocol):
    """An op of two tensors that broadcast."""

    def __call__(self, x1: TensorLike, x2: TensorLike) -> Tensor: ...


_Parameters = ParamSpec("_Parameters")
Slope: TypeAlias = Callable[..., Tensor]  # of tensors that an op had, gave, or was given as the gradient of its result

# ----------------------------------------------------------------------------- one element each


def _op(name: str, doc: str, fn: Callable[_Parameters, Tensor]) -> Callable[_Parameters, Tensor]:
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = doc
    return op(fn)


def _unary(name: str, doc: str, slope: Slope | None = None, slope_of_result: Slope | None = None) -> Unary:
    """The float function of kernel `name`; its gradient is dy times `slope(x)` or `slope_of_result(y)`."""
    kernel = getattr(kernels, name)

    def function(x: TensorLike) -> Tensor:
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
cos: Unary = _unary("cos", "Cosine of an angle in radians.", lambda x: -sin(x))
tan = _unary("tan", "Tangent of an angle in radians.", slope_of_result=lambda y: y * y + 1)
arcsin = _unary("arcsin", "Inverse sine, in radians.", lambda x: rsqrt((1 - x) * (1 + x)))
arccos = _unary("arccos", "Inverse cosine, in radians.", lambda x: -rsqrt((1 - x) * (1 + x)))
arctan = _unary("arctan", "Inverse tangent, in radians.", lambda x: reciprocal(x * x + 1))
sinh = _unary("sinh", "Hyperbolic sine.", lambda x: cosh(x))
cosh: Unary = _unary("cosh", "Hyperbolic cosine.", lambda x: sinh(x))
arcsinh = _unary("arcsinh", "Inverse hyperbolic sine.", lambda x: rsqrt(x * x + 1))
arccosh = _unary("arccosh", "Inverse hyperbolic cosine.", lambda x: rsqrt((x - 1) * (x + 1)))
arctanh = _unary("arctanh", "Inverse hyperbolic tangent.", lambda x: reciprocal((1 - x) * (1 + x)))
erf = _unary("erf", "The error function.", lambda x: exp(-(x * x)) * float(2 / np.sqrt(np.pi)))


def _arithmetic_unary(name: str, doc: str, kernel: Kernel, slope: Slope | None = None, of_bools: str = "bool") -> Unary:
    """As `_unary`, and integers stay integers."""

    def function(x: TensorLike) -> Tensor:
        x = as_tensor(x)
        if is_byte_dtype(x.dtype):
            return cast(function(cast(x, "int32")), of_bools if x.dtype == "bool" else x.dtype)
        y = empty(x.shape, x.dtype)
        kernel(x.data, y.data, x.size)
        return differentiable(y, (x,), lambda dy: (slope(x, dy),)) if slope else y

    return _op(name, doc, function)


negative: Unary = _arithmetic_unary("negative", "-x.", kernels.negative, lambda x, dy: negative(dy))
absolute = _arithmetic_unary("absolute", "|x|.", kernels.absolute, lambda x, dy: dy * sign(x))
square = _arithmetic_unary("square", "x * x; of bools as int32.", kernels.square, lambda x, dy: dy * (x * 2),
                           of_bools="int32")
sign: Unary = _arithmetic_unary("sign", "-1, 0 or 1 by the sign of x.", kernels.sign)
abs = absolute


def _to_integer(name: str) -> Unary:
    """Rounding functions: of integers as floats, as in Keras; the gradient is zero."""
    kernel = getattr(kernels, name)

    def function(x: TensorLike) -> Tensor:
        x = as_float(x)
        y = empty(x.shape, x.dtype)
        kernel(x.data, y.data, x.size)
        return y

    return function


def _whole(x: Tensor) -> bool:
    """Whether the values are integers by their type, and hence their own rounding."""
    return not is_float_dtype(x.dtype)


floor = _op("floor", "The largest integer not above x.", _to_integer("floor"))
ceil = _op("ceil", "The smallest integer not below x.", _to_integer("ceil"))
_toward_zero = _to_integer("trunc")
_nearest = _to_integer("round")


@op
def trunc(x: TensorLike) -> Tensor:
    """The integer next to x toward zero; integers stay as they are."""
    x = as_tensor(x)
    return x if _whole(x) else _toward_zero(x)


@op
def round(x: TensorLike, decimals: int = 0) -> Tensor:
    """The nearest number of `decimals` decimals; ties go to the even one. Integers stay integers."""
    x = as_tensor(x)
    if _whole(x):
        return x if decimals >= 0 else cast(round(cast(x, "float64"), decimals), x.dtype)
    if decimals == 0:
        return _nearest(x)
    most = int(math.log10(np.finfo(x.dtype).max))  # further on, 10 to that power is no number of the type
    if not -most <= decimals <= most:
        return multiply(x, 1.0 if decimals > 0 else 0.0)
    power_of_ten = 10.0**decimals
    return divide(_nearest(x * power_of_ten), power_of_ten)


def _test(name: str, doc: str) -> Unary:
    kernel = getattr(kernels, name)

    def function(x: TensorLike) -> Tensor:
        x = as_float(x)
        y = empty(x.shape, "bool")
        kernel(x.data, y.data, x.size)
        return y

    return _op(name, doc, function)


isnan = _test("isnan", "Whether each element is NaN.")
isinf = _test("isinf", "Whether each element is infinite, of either sign.")
isfinite = _test("isfinite", "Whether each element is neither infinite nor NaN.")


@op
def logical_not(x: TensorLike) -> Tensor:
    """Whether each element is zero (False)."""
    x = as_tensor(x)
    y = empty(x.shape, "bool")
    kernels.logical_not(x.data, y.data, x.size)
    return y


_CASTS = {name: getattr(kernels, f"cast_to_{name}") for name in STORED}


@op
def cast(x: TensorLike, dtype: DType) -> Tensor:
    """`x` in another dtype.

    Floats lose their fraction toward zero when they become integers; those outside the integer type become its nearest
    end, NaN becomes 0. Integers outside of another integer type wrap, as NumPy's. The gradient passes between float
    types.

    Args:
        x: tensor of any dtype.
        dtype: name; integer types without kernels are stored in the next wider type that has them
            (`dtypes.STORED_AS`), with the values that the narrow type has.
    """
    x = as_tensor(x)
    dtype = standardize_dtype(dtype)
    if x.dtype == dtype:
        return x
    kernel = _CASTS.get(dtype)
    if kernel is None:
        return _narrowed(x, dtype)
    y = empty(x.shape, dtype)
    kernel(x.data, y.data, x.size)
    if is_float_dtype(dtype) and is_float_dtype(x.dtype):
        before = x.dtype
        return differentiable(y, (x,), lambda dy: (cast(dy, before),))
    return y


def _narrowed(x: Tensor, dtype: str) -> Tensor:
    """`x` in what stores an integer dtype that has no kernels, with the values of that dtype."""
    info = np.iinfo(dtype)
    low, high = int(info.min), min(int(info.max), 2**63 - 1)
    y = cast(x, STORED_AS[dtype])
    if is_float_dtype(x.dtype):
        return minimum(maximum(y, low), high)
    return add(mod(subtract(y, low), 2**info.bits), low) if info.bits < 8 * y.data.itemsize else y


def _clip_kernel(x: Tensor, x_min: float, x_max: float) -> Tensor:
    y = empty(x.shape, x.dtype)
    kernels.clip(x.data, y.data, x_min, x_max, x.size)

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(x.shape, x.dtype)
        kernels.clip_grad(x.data, dy.data, dx.data, x_min, x_max, x.size)
        return (dx,)

    return differentiable(y, (x,), vjp)


@fused(_clip_kernel)
def _clip(x: Tensor, x_min: float, x_max: float) -> Tensor:
    """Not of `maximum` and `minimum`, which share the gradient at the ends: those belong to the range."""
    low, high = operand(x_min, x.dtype), operand(x_max, x.dtype)
    raised = where(less(x, low), low, x)
    return where(greater(raised, high), high, raised)


@op
def clip(x: TensorLike, x_min: TensorLike, x_max: TensorLike) -> Tensor:
    """`x` limited to the range from `x_min` to `x_max` (numbers, or tensors that broadcast)."""
    if not (isinstance(x_min, (int, float)) and isinstance(x_max, (int, float))):
        return minimum(maximum(x, x_min), x_max)
    dtype = result_dtype(x, x_min, x_max)
    x = operand(x, "int32" if dtype == "bool" else dtype)
    if x.dtype == "uint8":  # bounds beyond the type mean no bound, as in the kernel
        low, high = (min(max(bound, 0), 255) for bound in (x_min, x_max))
        return cast(clip(cast(x, "int32"), low, high), "uint8")
    return _clip(x, float(x_min), float(x_max))


# ---------------------------------------------------------------------------------------- two operands


def _promote(x1: TensorLike, x2: TensorLike) -> str:
    """`result_dtype`, with a short way for common cases (an eager add of ten numbers: 5 us, 11 without)."""
    if isinstance(x1, Tensor):
        if isinstance(x2, Tensor):
            if x1.data.dtype is x2.data.dtype:
                return x1.dtype
        elif type(x2) in (int, float) and holds_floats(x1.data):
            return x1.dtype
    return result_dtype(x1, x2)


def _launch(kernel: Kernel, x1: Tensor, x2: Tensor, dtype: str) -> Tensor:
    shape, *plan = broadcast_plan(x1.shape, x2.shape)
    y = empty(shape, dtype)
    kernel(x1.data, x2.data, y.data, *plan)
    return y


def _binary(name: str, doc: str, gradient1: Slope | None = None, gradient2: Slope | None = None,
            floating: bool = False) -> Binary:
    """The broadcasting function of kernel `name`.

    Gradients are functions of (x1, x2, dy), before the sum to shape; `floating`: integers become floats.
    """
    kernel = getattr(kernels, name)

    def function(x1: TensorLike, x2: TensorLike) -> Tensor:
        dtype = _promote(x1, x2)
        if floating and not is_float_dtype(dtype):
            dtype = config.floatx()
        x1, x2 = operand(x1, dtype), operand(x2, dtype)
        if is_byte_dtype(dtype):  # arithmetic is done in int32
            return cast(function(cast(x1, "int32"), cast(x2, "int32")), dtype)
        y = _launch(kernel, x1, x2, dtype)
        if gradient1 is None or gradient2 is None:
            return y

        def vjp(dy: Tensor) -> Gradients:
            return (sum_to_shape(gradient1(x1, x2, dy), x1.shape) if x1.node is not None else None,
                    sum_to_shape(gradient2(x1, x2, dy), x2.shape) if x2.node is not None else None)

        return differentiable(y, (x1, x2), vjp)

    return _op(name, doc, function)


def _share(x1: Tensor, x2: Tensor) -> Tensor:
    """1 where x1 > x2, 1/2 where they are equal, else 0: the slope of the maximum."""
    return (cast(greater(x1, x2), x1.dtype) + cast(greater_equal(x1, x2), x1.dtype)) * 0.5


def _power_slope1(x1: Tensor, x2: Tensor, dy: Tensor) -> Tensor:
    none = equal(x2, 0)  # a constant, also at x1 = 0, where x1^-1 is infinite
    return where(none, 0, dy * x2 * power(x1, where(none, 1, x2 - 1)))


def _power_slope2(x1: Tensor, x2: Tensor, dy: Tensor) -> Tensor:
    positive = greater(x1, 0)
    return where(positive, dy * power(x1, x2) * log(where(positive, x1, 1)), 0)


add = _binary("add", "x1 + x2.", lambda a, b, dy: dy, lambda a, b, dy: dy)
subtract = _binary("subtract", "x1 - x2.", lambda a, b, dy: dy, lambda a, b, dy: -dy)
multiply = _binary("multiply", "x1 * x2.", lambda a, b, dy: dy * b, lambda a, b, dy: dy * a)
divide = _binary("divide", "x1 / x2; integers become floats.",
                 lambda a, b, dy: dy / b, lambda a, b, dy: -(dy * a) / (b * b), floating=True)
divide_no_nan: Binary = _binary("divide_no_nan", "x1 / x2, and 0 where x2 is 0.", lambda a, b, dy: divide_no_nan(dy, b),
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
_power = _binary("power", "x1 to the power of x2.", _power_slope1, _power_slope2)
true_divide = divide


@op
def power(x1: TensorLike, x2: TensorLike) -> Tensor:
    """`x1` to the power of `x2`; an integer's negative power is rounded toward zero."""
    if isinstance(x2, (int, float)) and not isinstance(x2, bool) and not isinstance(x1, (bool, int, float)):
        x1 = as_tensor(x1)
        if x2 == 2 and x1.dtype != "bool":
            return square(x1)
        if x2 == 1 and result_dtype(x1, x2) == x1.dtype:
            return x1
        if x2 == 0.5:
            return sqrt(x1)
        if x2 == -1 and is_float_dtype(x1.dtype):
            return reciprocal(x1)
    return _power(x1, x2)


def _comparison(name: str, doc: str) -> Binary:
    kernel = getattr(kernels, name)

    def function(x1: TensorLike, x2: TensorLike) -> Tensor:
        dtype = _promote(x1, x2)
        try:
            x1, x2 = operand(x1, dtype), operand(x2, dtype)
        except OverflowError:  # a Python int beside a type that does not hold it is still larger or smaller
            x1, x2 = operand(x1, "int64"), operand(x2, "int64")
        return _launch(kernel, x1, x2, "bool")

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


@overload
def where(condition: TensorLike) -> tuple[Tensor, ...]: ...


@overload
def where(condition: TensorLike, x1: TensorLike, x2: TensorLike) -> Tensor: ...


@op
def where(condition: TensorLike, x1: TensorLike | None = None,
          x2: TensorLike | None = None) -> Tensor | tuple[Tensor, ...]:
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

    def vjp(dy: Tensor) -> Gradients:
        return (None,
                sum_to_shape(where(condition, dy, 0), x1.shape) if x1.node is not None else None,
                sum_to_shape(where(condition, 0, dy), x2.shape) if x2.node is not None else None)

    return differentiable(y, (condition, x1, x2), vjp)


# -------------------------------------------------------------------------------------------- composed


def _apart(x1: Tensor, x2: Tensor) -> Tensor:
    """x1 - x2; 0 for equal infinities."""
    return where(logical_and(equal(x1, x2), isinf(x1)), 0.0, subtract(x1, x2))


@op
def logaddexp(x1: TensorLike, x2: TensorLike) -> Tensor:
    """log(exp(x1) + exp(x2)) without overflow; infinities are exact."""
    from pydl import ops

    dtype = result_dtype(x1, x2, 0.0)
    x1, x2 = operand(x1, dtype), operand(x2, dtype)
    with no_grad():
        y = maximum(x1, x2) + ops.softplus(-absolute(_apart(x1, x2)))

    def vjp(dy: Tensor) -> Gradients:
        apart = _apart(x1, x2)
        return (sum_to_shape(dy * ops.sigmoid(apart), x1.shape) if x1.node is not None else None,
                sum_to_shape(dy * ops.sigmoid(-apart), x2.shape) if x2.node is not None else None)

    return differentiable(y, (x1, x2), vjp)


@op
def isclose(x1: TensorLike, x2: TensorLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether |x1 - x2| <= atol + rtol |x2|; infinities equal themselves, NaN NaN if `equal_nan`."""
    dtype = result_dtype(x1, x2)
    dtype = dtype if is_float_dtype(dtype) else config.floatx()
    x1, x2 = operand(x1, dtype), operand(x2, dtype)
    near = logical_and(less_equal(absolute(x1 - x2), absolute(x2) * rtol + atol), isfinite(x2))
    close = logical_or(near, equal(x1, x2))
    return logical_or(close, logical_and(isnan(x1), isnan(x2))) if equal_nan else close


@op
def nan_to_num(x: TensorLike, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """`x` with NaN and infinities replaced; infinities by the largest finite numbers by default. Integers stay."""
    x = as_tensor(x)
    if _whole(x):
        return x
    largest = float(np.finfo(x.dtype).max)
    x = where(isnan(x), nan, x)
    x = where(equal(x, float("inf")), largest if posinf is None else posinf, x)
    return where(equal(x, float("-inf")), -largest if neginf is None else neginf, x)


@op
def real(x: TensorLike) -> Tensor:
    """The real part: tensors are real, so `x` itself."""
    return as_tensor(x)


@op
def imag(x: TensorLike) -> Tensor:
    """The imaginary part: zeros."""
    x = as_tensor(x)
    y = empty(x.shape, x.dtype)
    kernels.fill(0.0, y.data, x.size)
    return y


@op
def conjugate(x: TensorLike) -> Tensor:
    """The complex conjugate: tensors are real, so `x` itself."""
    return as_tensor(x)


conj = conjugate
