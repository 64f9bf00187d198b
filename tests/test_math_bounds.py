"""The error bounds that csrc/simd/math.h and trig.h state, over the whole range, in ulp of the result."""

import math

import numpy as np
import pytest

import pydl
from pydl._core import kernels

LONG = np.longdouble
needs_long_double = pytest.mark.skipif(
    np.finfo(LONG).nmant < 63, reason="long double is no wider than double here"
)


def sigmoid(x):
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


ERF = np.vectorize(math.erf, otypes=[float])

# kernel: (reference, bound for float32, bound for float64)
BOUNDS = {
    "exp": (np.exp, 1.1, 1.1),
    "exp2": (np.exp2, 1.1, 1.1),
    "expm1": (np.expm1, 2, 2),
    "log": (np.log, 1.1, 1.1),
    "log1p": (np.log1p, 1.5, 1.5),
    "log2": (np.log2, 0.6, 2),
    "log10": (np.log10, 0.6, 2),
    "tanh": (np.tanh, 5, 3),
    "sigmoid": (sigmoid, 2.5, 2.5),
    "softplus": (softplus, 2, 2),
    "erf": (ERF, 5, None),
    "sinh": (np.sinh, 0.6, 3),
    "cosh": (np.cosh, 0.6, 3),
    "arcsinh": (np.arcsinh, 0.6, 3),
    "arccosh": (np.arccosh, 0.6, 3),
    "arctanh": (np.arctanh, 0.6, 3),
    "sin": (np.sin, 0.6, 1.5),
    "cos": (np.cos, 0.6, 1.5),
    "tan": (np.tan, 0.6, 3),
    "arcsin": (np.arcsin, 0.6, 3),
    "arccos": (np.arccos, 0.6, 3),
    "arctan": (np.arctan, 0.6, 2.5),
    "sqrt": (np.sqrt, 0.5, 0.5),
    "rsqrt": (lambda x: 1 / np.sqrt(x), 1.5, 1.5),
}
SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.0,
    math.inf,
    -math.inf,
    math.nan,
    88.72,
    88.73,
    -87.3,
    -103.9,
    -104.0,
    709.78,
    709.79,
    -708.4,
    -745.1,
    -745.2,
    0.41421357,
    2.4142137,
    9.02,
    1e9,
    823549.5,
    3.9,
]


def arguments(dtype):
    """Bit patterns at an even distance through all floats; for doubles random ones and usual numbers."""
    special = np.array(SPECIAL, dtype)
    limits = np.finfo(dtype)
    special = np.concatenate(
        [
            special,
            [
                limits.max,
                -limits.max,
                limits.tiny,
                -limits.tiny,
                limits.smallest_subnormal,
                -limits.smallest_subnormal,
                1 + limits.eps,
            ],
        ]
    ).astype(dtype)
    if dtype == "float32":
        return np.concatenate(
            [special, np.arange(0, 2**32, 4093, dtype=np.uint64).astype(np.uint32).view(dtype)]
        )
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**64, 60000, dtype=np.uint64).view(dtype)
    spread = np.exp(rng.uniform(-20, 20, 60000)) * rng.choice([-1, 1], 60000)
    return np.concatenate([special, bits, spread, *(rng.uniform(-r, r, 30000) for r in (1, 10, 800, 1e5))])


def evaluate(name, x):
    y = np.empty_like(x)
    getattr(kernels, name)(x, y, x.size)
    return y


def worst(received, exact, x):
    """The largest error in ulp, and where; infinity where NaN, infinity or the sign of zero are wrong."""
    rounded = exact.astype(received.dtype)
    with np.errstate(invalid="ignore"):
        ulp = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1)))
        error = np.abs(received.astype(exact.dtype) - exact) / ulp.astype(exact.dtype)
    error = np.where(np.isfinite(rounded) & np.isfinite(received), error, np.inf)
    same = (np.isnan(rounded) & np.isnan(received)) | (received == rounded)
    error = np.where(same & ~np.isfinite(rounded), 0, error)
    error = np.where(
        (x == 0) & (np.signbit(rounded) != np.signbit(received)) & ~np.isnan(rounded), np.inf, error
    )
    at = int(np.argmax(error))
    return float(error[at]), x[at]


def check(name, dtype, wide, bound):
    x = arguments(dtype)
    with np.errstate(all="ignore"):
        exact = np.asarray(BOUNDS[name][0](x.astype(wide)), dtype=wide)
        error, at = worst(evaluate(name, x), exact, x)
    if pydl.config.isa() == "baseline" and bound > 1:  # no fused multiply-add
        bound *= 1.5
    assert error <= bound, f"{name} {dtype}: {error} ulp at {at!r}, stated {bound}"


@pytest.mark.parametrize("name", BOUNDS)
def test_float32(name):
    check(name, "float32", "float64", BOUNDS[name][1])


@needs_long_double
@pytest.mark.parametrize("name", [name for name, row in BOUNDS.items() if row[2] is not None])
def test_float64(name):
    check(name, "float64", LONG, BOUNDS[name][2])


def pairs(rng, n):
    special = np.array(
        [0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 2, 3, -2, -3, 0.5, -0.5, 2.5, 1e-40, -1e-40, 1e30]
    )
    a, b = np.meshgrid(special, special)
    bits = rng.integers(0, 2**32, (2, n), dtype=np.uint32).view("float32")
    usual = np.exp(rng.normal(0, 3, n)), rng.normal(0, 10, n)
    return [
        np.concatenate([s.ravel().astype("float32"), r, t.astype("float32")])
        for s, r, t in zip((a, b), bits, usual)
    ]


@pytest.mark.parametrize("name, reference", [("power", np.power), ("arctan2", np.arctan2)])
def test_two_arguments(name, reference):
    a, b = pairs(np.random.default_rng(1), 100_000)
    y = np.empty_like(a)
    getattr(kernels, name)(a, b, y, (a.size,), (1,), (1,))
    with np.errstate(all="ignore"):
        exact = reference(a.astype("float64"), b.astype("float64"))
        error, at = worst(y, exact, np.where(a == 0, 1, a))
    assert error <= 0.6, f"{name}: {error} ulp at {at!r}"
    zero = (exact == 0) & (np.abs(a) != 0)
    np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(exact[zero]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", BOUNDS)
def test_value_does_not_depend_on_the_lane(name, dtype):
    x = np.random.default_rng(2).uniform(0.01, 0.99, 67).astype(dtype)
    whole = evaluate(name, x)
    for start in (1, 5, 50, 66):
        np.testing.assert_array_equal(evaluate(name, x[start:].copy()), whole[start:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_saturates_at_one(name, dtype):
    y = evaluate(name, np.linspace(-30, 30, 100_001).astype(dtype))
    assert np.abs(y).max() == 1
