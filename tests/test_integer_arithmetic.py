"""Integers wrap as NumPy's, at the ends of their types too, where a signed addition has no meaning in C++."""

import numpy as np
import pytest

from pydl import _core, layers, metrics, ops
from pydl.tensor import Tensor

DTYPES = ["int32", "int64"]


def numbers(dtype, n=67):
    """The ends of the type and what lies near them, more than a register of them, and a few small ones."""
    info = np.iinfo(dtype)
    ends = [info.min, info.min + 1, info.max, info.max - 1, 0, 1, -1, 2, -2, 3, info.min // 2, info.max // 2, 46341, -7]
    return np.array([ends[i % len(ends)] for i in range(n)], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op", "of_numpy"), [
    (ops.negative, np.negative), (ops.absolute, np.abs), (ops.square, np.square), (ops.sign, np.sign),
    (lambda x: ops.clip(x, -5, 5), lambda x: np.clip(x, -5, 5)), (ops.sum, lambda x: np.sum(x, dtype=x.dtype)),
    (ops.prod, lambda x: np.prod(x, dtype=x.dtype)), (ops.cumsum, lambda x: np.cumsum(x, dtype=x.dtype)),
    (ops.cumprod, lambda x: np.cumprod(x, dtype=x.dtype)), (ops.diff, np.diff), (ops.max, np.max),
    (lambda x: ops.cumsum(ops.stack([x] * 9, 1), 0), lambda x: np.cumsum(np.stack([x] * 9, 1), 0, x.dtype)),
    (lambda x: ops.cumprod(ops.stack([x] * 9, 1), 0), lambda x: np.cumprod(np.stack([x] * 9, 1), 0, x.dtype)),
], ids=["negative", "absolute", "square", "sign", "clip", "sum", "prod", "cumsum", "cumprod", "diff", "max",
        "cumsum-columns", "cumprod-columns"])
def test_one_operand(op, of_numpy, dtype):
    x = numbers(dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(op(x).data, of_numpy(x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum", "minimum", "floor_divide", "mod"])
def test_two_operands(name, dtype):
    x = numbers(dtype, 14)
    a, b = (side.ravel() for side in np.meshgrid(x, x))
    with np.errstate(all="ignore"):
        want = getattr(np, name)(a, b)
        np.testing.assert_array_equal(getattr(ops, name)(a, b).data, want)
        for scalar in (int(x[0]), -1, 0):  # broadcast
            np.testing.assert_array_equal(getattr(ops, name)(x, np.array(scalar, dtype)).data,
                                          getattr(np, name)(x, np.array(scalar, dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers(dtype):
    base, exponent = (side.ravel() for side in np.meshgrid(numbers(dtype, 14), np.array([0, 1, 2, 3, 31, 63], dtype)))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(ops.power(base, exponent).data, base ** exponent)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_falls_on_one_place_adds_up(dtype):
    x = numbers(dtype)
    ids = np.arange(x.size, dtype="int32") % 3
    with np.errstate(all="ignore"):
        sums = np.zeros(3, dtype)
        np.add.at(sums, ids, x)
        products = np.ones(3, dtype)
        np.multiply.at(products, ids, x)
        rows = np.zeros((3, 20), dtype)
        np.add.at(rows, ids, np.stack([x] * 20, 1))
    np.testing.assert_array_equal(ops.segment_sum(x, ids, 3).data, sums)
    np.testing.assert_array_equal(ops.scatter(ids[:, None], x, (3,)).data, sums)
    np.testing.assert_array_equal(ops.scatter(ids[:, None], np.stack([x] * 20, 1), (3, 20)).data, rows)
    np.testing.assert_array_equal(
        ops.scatter_update(np.ones(3, dtype), ids[:, None], x, reduction="mul").data, products)
    np.testing.assert_array_equal(ops.bincount(ids, weights=x, minlength=3).data, sums)


def test_the_last_iteration_wraps():
    last = np.array([2**63 - 1])
    _core.kernels.advance(last)
    assert last[0] == -2**63


def test_draws_from_the_whole_range():
    state, y = np.array([1, 0]), np.zeros(64, "int64")
    _core.kernels.random_integers(state, y, y.size, -2**63, 2**63 - 1)
    assert (y < 0).any() and (y > 0).any() and np.unique(y).size == y.size


@pytest.mark.parametrize("k", [-10**30, -2**63, -4, -1, 0, 2, 5, 2**63 - 1, 10**30])
def test_diagonals_far_outside_of_a_matrix(k):
    x = np.arange(12.0).reshape(3, 4)
    near = int(np.clip(k, -4, 5))
    np.testing.assert_array_equal(ops.tril(x, k).data, np.tril(x, near))
    np.testing.assert_array_equal(ops.triu(x, k).data, np.triu(x, near))


BYTES = [side.ravel().astype("uint8") for side in np.meshgrid(np.arange(256), np.arange(256))]


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "maximum", "minimum", "floor_divide", "mod", "power"])
def test_all_pairs_of_bytes(name):
    with np.errstate(all="ignore"):
        want = getattr(np, name)(*BYTES)
    got = getattr(ops, name)(*BYTES)
    assert got.dtype == "uint8"
    np.testing.assert_array_equal(got.data, want)


@pytest.mark.parametrize("name", ["negative", "abs", "square", "sign", "max", "min", "sort"])
def test_bytes(name):
    x = np.arange(256, dtype="uint8")[::-1]
    np.testing.assert_array_equal(getattr(ops, name)(x).data, getattr(np, name)(x))
    assert ops.clip(x, -5, 300).dtype == "uint8" and (ops.clip(x, -5, 300).data == x).all()


def test_sums_of_bytes_may_be_large():
    assert ops.sum(np.full(2**24, 255, "uint8")).numpy() == 255 * 2**24  # int32 ends at 2^31


@pytest.mark.parametrize("dtype", [*DTYPES, "uint8"])
@pytest.mark.parametrize("shapes", [((5, 7), (7, 3)), ((1, 130), (130, 67)), ((2, 3, 9), (9, 33)), ((4, 9), (2, 9, 5)),
                                    ((2, 1, 3, 4), (5, 4, 2)), ((6,), (6,)), ((3, 0), (0, 2)), ((0, 3), (3, 2))])
def test_products_wrap(shapes, dtype):
    info = np.iinfo(dtype)
    rng = np.random.default_rng(0)
    a, b = (rng.integers(info.min, info.max, shape, dtype, endpoint=True) for shape in shapes)
    with np.errstate(all="ignore"):
        want = np.matmul(a, b)
    got = ops.matmul(a, b)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got.data, want)
    if len(shapes[0]) == len(shapes[1]) == 2:
        for y in (ops.dot(a, b), ops.tensordot(a, b, 1), ops.einsum("ij,jk->ik", a, b)):
            np.testing.assert_array_equal(y.data, want)


def test_class_numbers_beyond_int32_name_no_class():
    assert ops.one_hot(np.array([np.nan, 1.7, 1e30]), 3).data.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    with pytest.raises(IndexError, match="value nan at position 1"):
        layers.Embedding(3, 2)(np.array([[1.0, np.nan]]))
    with pytest.raises(OverflowError, match="256 is out of bounds for uint8"):
        ops.pad(np.array([1], "uint8"), 1, constant_values=256)
    assert ops.segment_max(np.array([True, False, False]), [0, 0, 2]).data.tolist() == [True, False, False]
    ids = np.array([2**32, 2**32 + 1, 1, -(2**32)])
    assert ops.one_hot(ids, 3).data.sum(1).tolist() == [0, 0, 1, 0]
    assert ops.multi_hot(ids, 3).data.tolist() == [0, 1, 0]
    assert ops.in_top_k(ids, np.eye(4, 3), 1).data.tolist() == [False, False, False, False]
    scores = np.zeros((1, 300), "float32")
    scores[0, 256 + 7] = 1  # a byte of it is 7
    assert np.asarray(metrics.sparse_categorical_accuracy(np.array([7], "uint8"), scores)).tolist() == [0]


def test_floats_beyond_the_type_become_its_ends():
    x = Tensor(np.array([-np.inf, -1e30, np.nan, 1e30, np.inf], "float32"))
    assert ops.cast(x, "int32").data.tolist() == [-2**31, -2**31, 0, 2**31 - 1, 2**31 - 1]
    assert ops.cast(x, "int64").data.tolist() == [-2**63, -2**63, 0, 2**63 - 1, 2**63 - 1]
