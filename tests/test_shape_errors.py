"""Messages of wrong shapes and indices, and what a recording refuses or must not alias."""

import numpy as np
import pytest

import pydl
from pydl import ops
from pydl.tensor import from_numpy

X = from_numpy(np.arange(12, dtype="float32").reshape(3, 4))
IDS = from_numpy(np.array([0, 2, 7], dtype="int32"))


@pytest.mark.parametrize("call, error, parts", [
    (lambda: ops.reshape(X, (5, -1)), ValueError, ["(3, 4)", "12 elements", "(5, -1)"]),
    (lambda: ops.reshape(X, (-1, -1)), ValueError, ["(-1, -1)"]),
    (lambda: ops.squeeze(X, 0), ValueError, ["axis 0", "(3, 4)", "received 3"]),
    (lambda: ops.transpose(X, (0, 0)), ValueError, ["(0, 0)", "(3, 4)"]),
    (lambda: ops.transpose(X, (0, 2)), ValueError, ["axis=2", "rank 2"]),
    (lambda: ops.moveaxis(X, (0, 1), 0), ValueError, ["(0, 1)"]),
    (lambda: ops.concatenate([X, X[:, :2]]), ValueError, ["axis 0", "(3, 4)", "(3, 2)"]),
    (lambda: ops.concatenate([]), ValueError, ["at least one"]),
    (lambda: ops.stack([X, X[0]]), ValueError, ["(3, 4)", "(4,)"]),
    (lambda: ops.split(X, 2), ValueError, ["size 3", "2 equal parts"]),
    (lambda: ops.split(X, 0), ValueError, ["size 3", "received 0"]),
    (lambda: ops.unstack(X, 2), ValueError, ["num=2", "size 3"]),
    (lambda: ops.broadcast_to(X, (2, 4)), ValueError, ["(3, 4)", "(2, 4)"]),
    (lambda: ops.pad(X, ((1, 1),) * 3), ValueError, ["2 axes", "(3, 4)"]),
    (lambda: ops.pad(X, -1), ValueError, ["at least 0", "-1"]),
    (lambda: ops.pad(X, 1, mode="wrap"), ValueError, ["'wrap'", "reflect"]),
    (lambda: ops.pad(X[:0], 1, mode="edge"), ValueError, ["empty axis", "(0, 4)"]),
    (lambda: ops.repeat(X, [1, 2], axis=0), ValueError, ["3 repeats", "[1, 2]"]),
    (lambda: ops.rot90(X[0]), ValueError, ["rank 2", "(4,)"]),
    (lambda: ops.diagonal(X, axis1=1), ValueError, ["axis1=1", "axis2=1"]),
    (lambda: ops.take(X, [0, 3], axis=0), IndexError, ["value 3", "position 1", "low=-3, high=3"]),
    (lambda: ops.take(X, IDS, axis=0), IndexError, ["value 7", "position 2", "low=-3, high=3"]),
    (lambda: ops.embedding(X, IDS), IndexError, ["value 7", "position 2", "low=0, high=3"]),
    (lambda: ops.embedding(X, [0, -1]), IndexError, ["value -1", "position 1", "low=0, high=3"]),
    (lambda: ops.embedding(X[0], IDS), ValueError, ["rank 2", "(4,)"]),
    (lambda: ops.take(X, [0.5], axis=0), TypeError, ["float"]),
    (lambda: ops.take_along_axis(X, IDS, axis=0), IndexError, ["value 7"]),
    (lambda: ops.take_along_axis(X, IDS[:2], axis=0), ValueError, ["(2,)", "(3, 4)"]),
    (lambda: ops.scatter([[4]], [1.0], (3,)), IndexError, ["value 4", "high=3"]),
    (lambda: ops.scatter([[1]], [1.0, 2.0], (3,)), ValueError, ["(1,)", "(2,)"]),
    (lambda: ops.scatter_update(X, [[1]], X, reduction="mean"), ValueError, ["'mean'"]),
    (lambda: ops.slice(X, (1, 1), (3, 3)), ValueError, ["(3, 3)", "(1, 1)", "(3, 4)"]),
    (lambda: ops.slice_update(X, (1, 1), X), ValueError, ["(3, 4)", "(1, 1)"]),
    (lambda: X[3], IndexError, ["index 3", "axis 0", "(3, 4)"]),
    (lambda: X[0, 0, 0], IndexError, ["too many indices", "(3, 4)"]),
    (lambda: X[[0, -4]], IndexError, ["value -4", "position 1"]),
    (lambda: ops.top_k(X, 5), ValueError, ["k=5", "(3, 4)"]),
    (lambda: ops.in_top_k(IDS, X[:2], 1), ValueError, ["(3,)", "(2, 4)"]),
    (lambda: ops.searchsorted(X, X), ValueError, ["rank 1", "(3, 4)"]),
    (lambda: ops.bincount([1, -1]), IndexError, ["value -1", "position 1"]),
    (lambda: ops.arange(0, 4, 0), ValueError, ["step"]),
    (lambda: ops.map(lambda x: x, X[:0]), ValueError, ["empty"]),
    (lambda: ops.scan(lambda c, x: (c, x), 0, (X, X[:2])), ValueError, ["[2, 3]"]),
])
def test_message(call, error, parts):
    with pytest.raises(error) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)


def test_replay_checks_indices():
    lookup = pydl.function(ops.embedding)
    lookup(X, from_numpy(np.array([0, 1, 2], dtype="int32")))
    with pytest.raises(IndexError, match=r"value 7 at position 2 .*low=0, high=3"):
        lookup(X, IDS)


@pytest.mark.parametrize("call", [
    lambda x: ops.nonzero(x),
    lambda x: ops.arange(x[0, 0]),
    lambda x: ops.histogram(x),
    lambda x: ops.cond(x[0, 0], lambda: x, lambda: x),
    lambda x: ops.while_loop(lambda v: v[0, 0], lambda v: v, x),
    lambda x: ops.fori_loop(0, x[0, 0], lambda i, v: v, x),
])
def test_recording_refuses_values(call):
    with pytest.raises(pydl.RecordingError, match="test_shape_errors.py"):
        pydl.function(call)(X)


def test_views_launch_nothing_and_share_memory():
    for y in (ops.reshape(X, (4, 3)), ops.expand_dims(X, 0), ops.squeeze(X[:1]), X[1:], X[2], ops.ravel(X)):
        assert np.shares_memory(y.data, X.data)


def test_view_of_variable_is_a_copy():
    v = pydl.Variable(np.arange(4.0))
    views = [ops.reshape(v, (2, 2)), v[1:], ops.broadcast_to(v, (4,)), ops.squeeze(v), ops.pad(v, 0)]
    for y in views:
        assert not np.shares_memory(y.data, v.data)


def test_constants_survive_replay():
    """A recording reuses freed memory; what zeros() gave must not be part of that."""

    def f(x):
        z = ops.zeros(x.shape)
        for _ in range(3):
            x = ops.flip(ops.copy(x))
        return ops.stack([z, x])

    recorded = pydl.function(f)
    for _ in range(3):
        np.testing.assert_array_equal(recorded(X).data, np.stack([np.zeros((3, 4)), X.data[::-1, ::-1]]))


def test_control_flow():
    assert ops.fori_loop(0, 3, lambda i, v: ops.concatenate([v, v]), X[0]).shape == (32,)
    carry, ys = ops.scan(lambda c, x: (x, c), X[0], X)
    np.testing.assert_array_equal(carry.data, X.data[2])
    np.testing.assert_array_equal(ys.data, X.data[[0, 0, 1]])
    carry, ys = ops.scan(lambda c, x: (x, c), X[0], X, reverse=True)
    np.testing.assert_array_equal(ys.data, X.data[[1, 2, 0]])
    np.testing.assert_array_equal(ops.map(ops.flip, X).data, X.data[:, ::-1])
    np.testing.assert_array_equal(ops.vectorized_map(ops.flip, X).data, X.data[:, ::-1])
    assert ops.cond(True, lambda: 1, lambda: 2) == 1
    assert ops.switch(7, [lambda: 1, lambda: 2]) == 2
    left = ops.associative_scan(lambda a, b: a, X, axis=0)  # associative: keeps the first
    np.testing.assert_array_equal(left.data, X.data[[0, 0, 0]])
    right = ops.associative_scan(lambda a, b: a, X, axis=1, reverse=True)
    np.testing.assert_array_equal(right.data, X.data[:, [3, 3, 3, 3]])


@pytest.mark.parametrize("loop", [
    lambda x: ops.associative_scan(ops.add, x, axis=1),
    lambda x: ops.associative_scan(ops.add, x, reverse=True, axis=1),
    lambda x: ops.fori_loop(1, 4, lambda i, v: v * i + 1.0, x),
    lambda x: ops.scan(lambda c, v: (c + v, c * v), x[:, 0], ops.transpose(x))[1],
    lambda x: ops.map(lambda v: ops.cumsum(v), ops.transpose(x)),
], ids=["associative_scan", "reverse", "fori_loop", "scan", "map"])
def test_loops_over_symbolic_tensors(loop):
    """The batch may be of any size."""
    x = pydl.Input((4,))
    model = pydl.Model(x, loop(x))
    for rows in (3, 5):
        values = np.random.default_rng(rows).normal(size=(rows, 4)).astype("float32")
        np.testing.assert_allclose(model(values), loop(from_numpy(values)), rtol=1e-6)


@pytest.mark.parametrize("padding", ["VALID", "Same"])
def test_padding_by_name_in_any_case(padding):
    x, kernel = np.ones((1, 6, 6, 2), "float32"), np.ones((3, 3, 2, 4), "float32")
    for call in (lambda p: ops.conv(x, kernel, padding=p), lambda p: ops.depthwise_conv(x, kernel[..., :1], padding=p),
                 lambda p: ops.max_pool(x, 2, padding=p), lambda p: ops.conv_transpose(x, kernel.swapaxes(2, 3), 2, p)):
        np.testing.assert_array_equal(call(padding).data, call(padding.lower()).data)
