"""What a conformance row cannot say of reductions and losses: errors, derivatives of derivatives, accuracy."""

import numpy as np
import pytest

import pydl
from pydl import ops
from pydl.ops import _losses
from pydl.tensor import from_numpy


@pytest.mark.parametrize("labels", [np.array([0, 3, 1], "int32"), np.array([0, -1, 1], "int64"),
                                    np.array([0.0, np.nan, 1.0], "float32"), np.array([0.0, 0.5, 1.0], "float64")])
@pytest.mark.parametrize("from_logits", [True, False])
def test_bad_label_names_value_position_and_classes(labels, from_logits):
    with pytest.raises(ValueError, match=r"value (3|-1|nan|0\.5).* at position 1 .*classes=3"):
        p = np.full((3, 3), 0.5, "float32")
        ops.sparse_categorical_crossentropy(from_numpy(labels), p, from_logits=from_logits)


@pytest.mark.parametrize("labels", [[0, 3, 1], [0, -1, 1], [[0], [7], [1]], [0.0, 0.5, 1.0]], ids=str)
def test_generalized_cross_entropy_refuses_what_is_no_class(labels):
    """One-hot rows of such labels are zeros: the loss was that of an impossible class, without a gradient."""
    loss = pydl.losses.CategoricalGeneralizedCrossEntropy()
    with pytest.raises(ValueError, match=r"value (3|-1|7|0\.5).* at position 1 .*classes=3"):
        loss(np.array(labels), np.full((3, 3), 0.5, "float32"))
    with pytest.raises(ValueError, match=r"expected labels of shape \(3,\)"):
        loss(np.array([0]), np.full((3, 3), 0.5, "float32"))


def test_bad_label_stops_a_replay_before_later_steps():
    done = pydl.Variable(np.zeros(1, "float32"))

    @pydl.function
    def step(labels, x):
        y = ops.sum(ops.sparse_categorical_crossentropy(labels, x, from_logits=True))
        pydl._core.kernels.reduce_sum(y.data, done.data, 1, 1, 1)
        return y

    x = from_numpy(np.ones((2, 3), "float32"))
    step(from_numpy(np.array([0, 1], "int32")), x)
    before = done.numpy()
    assert before[0] > 0
    with pytest.raises(ValueError, match="value 7"):
        step(from_numpy(np.array([0, 7], "int32")), from_numpy(np.full((2, 3), 2.0, "float32")))
    np.testing.assert_array_equal(done.numpy(), before)


@pytest.mark.parametrize("call", [
    lambda: _losses.mean_squared_error(np.ones((2, 3)), np.ones((2, 4))),
    lambda: ops.categorical_crossentropy(np.ones((2, 3)), np.ones((3, 2))),
    lambda: ops.sparse_categorical_crossentropy(np.zeros(3, "int32"), np.ones((2, 3))),
    lambda: ops.max(np.ones((2, 0)), axis=1),
    lambda: ops.argmax(np.ones((0,))),
    lambda: ops.sum(np.ones((2, 3)), axis=2),
    lambda: ops.argmax(np.ones((2, 3)), axis=(0, 1)),
    lambda: ops.quantile(np.ones(3), 1.5),
    lambda: ops.norm(np.ones((2, 3)), ord="nuc"),
])
def test_refusals_name_what_was_received(call):
    with pytest.raises(ValueError, match=r"(received|out of range|not defined).*\d"):
        call()


@pytest.mark.parametrize("reduce", [ops.sum, ops.mean])
def test_second_derivative(reduce):
    def slope(x):
        return ops.sum(pydl.grad(lambda v: ops.sum(reduce(v * v, axis=0) ** 2))(x))

    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    n = 1 if reduce is ops.sum else 2
    s = (x * x).sum(0) / n
    expected = 4 * s / n + 8 * x * x.sum(0) / n**2
    np.testing.assert_allclose(pydl.grad(slope)(x).numpy(), np.broadcast_to(expected, x.shape), rtol=1e-12)


@pytest.mark.parametrize(("shape", "axis"), [((4_000_000,), None), ((2_000_000, 3), 0), ((100_000, 33), 0)])
def test_float32_sum_of_millions_is_accurate(shape, axis):
    x = np.full(shape, 0.1, "float32")
    exact = np.sum(x, axis=axis, dtype="float64")
    np.testing.assert_allclose(ops.sum(x, axis=axis).numpy(), exact, rtol=3e-6)


def test_saturated_predictions_stay_finite():
    ends = np.array([[0.0, 1.0], [1.0, 0.0]], "float32")
    huge = np.array([[1e30, -1e30], [-np.inf, 0.0]], "float32")
    labels = np.array([1, 1], "int32")
    assert np.isfinite(_losses.binary_crossentropy(1 - ends, ends).numpy()).all()
    assert np.isfinite(ops.categorical_crossentropy(1 - ends, ends).numpy()).all()
    assert np.isfinite(ops.sparse_categorical_crossentropy(labels, ends).numpy()).all()
    assert np.isfinite(ops.sparse_categorical_crossentropy(labels, huge, from_logits=True).numpy()).all()
    one_hot = np.array([[0.0, 1.0], [0.0, 1.0]], "float32")
    np.testing.assert_allclose(ops.categorical_crossentropy(one_hot, huge, from_logits=True).numpy(), [2e30, 0.0])
