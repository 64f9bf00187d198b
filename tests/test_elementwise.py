"""What a row of tests/cases cannot say about element-wise ops: promotion, second derivatives, memory."""

import gc
import weakref

import numpy as np
import pytest

import pydl
from pydl import ops

F32, F64 = np.ones(3, "float32"), np.ones(3, "float64")
I32, I64, BOOL = np.ones(3, "int32"), np.ones(3, "int64"), np.ones(3, "bool")


@pytest.mark.parametrize(
    "x1, x2, dtype",
    [
        (F32, F64, "float64"),
        (I32, F32, "float32"),
        (I64, F32, "float32"),
        (I32, I64, "int64"),
        (BOOL, I32, "int32"),
        (BOOL, F32, "float32"),
        (BOOL, BOOL, "bool"),
        (F32, 2, "float32"),
        (F64, 2.5, "float64"),
        (I32, 2, "int32"),
        (I32, 2.5, "float32"),
        (2.5, I64, "float32"),
        (BOOL, 1, "int32"),
        (1, 2.0, "float32"),
    ],
)
def test_promotion(x1, x2, dtype):
    assert ops.add(x1, x2).dtype == dtype
    assert ops.maximum(x1, x2).dtype == dtype
    assert ops.where(BOOL, x1, x2).dtype == dtype
    assert ops.equal(x1, x2).dtype == "bool"


def test_division_of_integers_is_a_float():
    assert ops.divide(I32, I64).dtype == "float32"
    np.testing.assert_array_equal(ops.true_divide(I32, 2), [0.5] * 3)


def test_negative_zero_is_its_own_constant():
    one = np.ones(1, "float32")
    assert not np.signbit(ops.multiply(one, 0.0).numpy())
    assert np.signbit(ops.multiply(one, -0.0).numpy())


SECOND = [
    "exp",
    "expm1",
    "log",
    "log1p",
    "sin",
    "cos",
    "tan",
    "tanh",
    "sigmoid",
    "softplus",
    "log_sigmoid",
    "silu",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "square",
    "erf",
    "arctan",
    "arcsin",
    "sinh",
    "cosh",
]


@pytest.mark.parametrize("name", SECOND)
def test_second_derivative(name):
    first = pydl.grad(getattr(ops, name))
    x, h = np.float64(0.6), 1e-5
    numeric = (float(first(x + h)) - float(first(x - h))) / (2 * h)
    assert float(pydl.grad(first)(x)) == pytest.approx(numeric, rel=1e-7)


def test_second_derivative_of_a_product_of_relus():
    second = pydl.grad(pydl.grad(lambda x: ops.relu(x) * ops.leaky_relu(x, 0.1)))
    assert float(second(np.float64(0.6))) == pytest.approx(2.0)


@pytest.mark.parametrize(
    "name", ["tanh", "exp", "sqrt", "gelu", "elu", "relu", "square", "leaky_relu", "clip", "add"]
)
def test_result_is_freed_without_the_garbage_collector(name):
    v = pydl.Variable(np.ones(5, "float32"))
    arguments = {"clip": (0.0, 2.0), "add": (v,)}.get(name, ())
    gc.collect()
    gc.disable()
    try:
        y = getattr(ops, name)(v, *arguments)
        assert y.node is not None
        gone = weakref.ref(y)
        del y
        assert gone() is None
    finally:
        gc.enable()


def test_equal_operands_share_the_gradient_of_maximum():
    a, b = (pydl.Variable(np.array(x, "float32")) for x in ([1.0, 2.0, 3.0], [1.0, 3.0, 2.0]))
    with pydl.GradientTape() as tape:
        y = ops.maximum(a, b)
    da, db = tape.gradient(y, [a, b])
    np.testing.assert_array_equal(da, [0.5, 0, 1])
    np.testing.assert_array_equal(db, [0.5, 1, 0])


def test_shapes_that_do_not_broadcast():
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(3,\) do not broadcast"):
        ops.add(np.ones((3, 4)), np.ones(3))


def test_where_needs_both_or_none():
    with pytest.raises(ValueError, match="`x1` and `x2` either both"):
        ops.where(BOOL, F32)
