"""The tape: second use, broadcasting, tapes, persistence, second order, freed graphs."""

import numpy as np
import pytest

import pydl
from pydl import ops
from pydl.tensor import Tensor, Variable


def variable(value, **kwargs):
    return Variable(np.asarray(value, "float64"), dtype="float64", **kwargs)


def test_second_use_of_a_value_adds_up():
    x = variable([2.0, 3.0])
    with pydl.GradientTape() as tape:
        y = ops.sum(x * x + x)
    np.testing.assert_allclose(tape.gradient(y, x).numpy(), 2 * x.numpy() + 1)


def test_broadcasting_gradients_are_summed():
    a, b = variable(np.ones((3, 4))), variable(np.ones(4))
    with pydl.GradientTape() as tape:
        y = ops.sum(a * b)
    da, db = tape.gradient(y, [a, b])
    assert da.shape == (3, 4)
    np.testing.assert_array_equal(db.numpy(), [3.0] * 4)


def test_backward_accumulates_into_grad():
    w = variable(3.0)
    ops.square(w).backward()
    ops.square(w).backward()
    assert float(w.grad) == 12.0


def test_stop_gradient():
    x = variable(3.0)
    with pydl.GradientTape() as tape:
        y = x * ops.stop_gradient(x)
    assert float(tape.gradient(y, x)) == 3.0


def test_unconnected_source_gives_none_or_zeros():
    x, other = variable(1.0), variable([1.0, 2.0])
    with pydl.GradientTape(persistent=True) as tape:
        y = x * x
    assert tape.gradient(y, other) is None
    np.testing.assert_array_equal(tape.gradient(y, other, unconnected_gradients="zero").numpy(), [0.0, 0.0])


def test_non_persistent_tape_refuses_a_second_gradient():
    x = variable(1.0)
    with pydl.GradientTape() as tape:
        y = x * x
    tape.gradient(y, x)
    with pytest.raises(RuntimeError, match="persistent"):
        tape.gradient(y, x)


def test_persistent_tape_serves_twice():
    x = variable(2.0)
    with pydl.GradientTape(persistent=True) as tape:
        y = x * x
        z = y * y
    assert float(tape.gradient(y, x)) == 4.0
    assert float(tape.gradient(z, x)) == 32.0


def test_two_open_tapes_may_share_a_graph():
    w, v = variable(2.0), variable(5.0)
    with pydl.GradientTape() as first, pydl.GradientTape() as second:
        shared = w * v
        a, b = shared * 2.0, shared * 3.0
    assert float(first.gradient(a, w)) == 10.0
    assert float(second.gradient(b, v)) == 6.0


def test_watch_a_constant_and_structures():
    x = Tensor(np.array([1.0, 2.0]))
    with pydl.GradientTape() as tape:
        tape.watch(x)
        y = ops.sum(x * x)
    found = tape.gradient(y, {"x": x})
    np.testing.assert_array_equal(found["x"].numpy(), [2.0, 4.0])


def test_untrainable_variables_have_no_gradient():
    w = variable(2.0, trainable=False)
    with pydl.GradientTape() as tape:
        y = w * w
    assert y.node is None
    assert tape.gradient(y, w) is None


def test_grad_of_a_function_and_of_its_gradient():
    cube = pydl.grad(lambda x: x * x * x)
    assert float(cube(np.float64(2.0))) == 12.0
    assert float(pydl.grad(cube)(np.float64(2.0))) == 12.0
    assert float(pydl.grad(pydl.grad(cube))(np.float64(2.0))) == 6.0


def test_gradient_penalty_through_matmul():
    rng = np.random.default_rng(0)
    w, x = variable(rng.normal(size=(3, 2))), Tensor(rng.normal(size=(4, 3)))
    with pydl.GradientTape() as outer:
        with pydl.GradientTape() as inner:
            inner.watch(x)
            y = ops.sum(ops.square(ops.matmul(x, w)))
        dx = inner.gradient(y, x)
        penalty = ops.sum(ops.square(dx))
    got = outer.gradient(penalty, w).numpy()

    def value(matrix):
        return np.sum((2 * x.data @ matrix @ matrix.T) ** 2)

    step = 1e-6 * rng.normal(size=w.shape)
    numeric = (value(w.data + step) - value(w.data - step)) / 2
    np.testing.assert_allclose(np.sum(got * step), numeric, rtol=1e-6)


def test_freed_graph_is_a_clear_error():
    w = variable(2.0)
    y = w * w
    y.backward()
    with pytest.raises(RuntimeError, match="freed"):
        y.backward()


def test_backward_without_variables_is_a_clear_error():
    with pytest.raises(RuntimeError, match="no trainable variable"):
        Tensor(np.ones(2)).backward()


def test_wrong_seed_shape():
    w = variable([1.0, 2.0])
    y = w * w
    with pytest.raises(ValueError, match=r"expected \(2,\)"):
        y.backward(Tensor(np.ones(3)))


def test_deep_graphs_need_no_deep_recursion():
    x = y = variable(1.0)
    for _ in range(5000):
        y = y + 1.0
    y.backward()
    assert float(x.grad) == 1.0


def test_no_grad_leaves_no_nodes():
    w = variable(2.0)
    with pydl.no_grad():
        assert (w * w).node is None


def test_gradients_of_a_shared_penalised_kernel_are_added_in_place():
    rng = np.random.default_rng(0)
    w, x = variable(rng.normal(size=(3, 3))), Tensor(rng.normal(size=(4, 3)))

    def loss():
        hidden = ops.dense(ops.dense(x, w, activation="tanh"), w)
        return ops.sum(ops.square(hidden)) + ops.l1_l2_penalty(w, l2=0.3)

    got = {}

    def record(_):
        with pydl.GradientTape() as tape:
            y = loss()
        return tape.gradient(y, w)

    function = pydl.function(record)
    got["recorded"] = function(np.zeros(1)).numpy()
    kernels = [kernel for _, kernel, *_ in function.captures[0].program.profile()]
    assert kernels.count("matmul_accumulate") == 2  # onto the penalty's gradient, then onto that
    with pydl.GradientTape(persistent=True) as tape:
        y = loss()
    got["first"], got["again"] = tape.gradient(y, w).numpy(), tape.gradient(y, w).numpy()
    step = 1e-6 * rng.normal(size=w.shape)
    before = w.numpy()
    w.assign(before + step)
    plus = float(loss())
    w.assign(before - step)
    numeric = (plus - float(loss())) / 2
    for name, gradient in got.items():
        np.testing.assert_allclose(np.sum(gradient * step), numeric, rtol=1e-6, err_msg=name)


def test_a_gradient_handed_to_two_places_is_not_changed_by_one_of_them():
    w, x = variable(np.eye(2)), Tensor(np.ones((1, 2)))
    with pydl.GradientTape() as tape:
        a, b = w + 0.0, w + 0.0
        y = ops.sum(ops.dense(x, a)) + ops.sum(ops.dense(x, b)) + ops.sum(a + b)
    np.testing.assert_array_equal(tape.gradient(y, w).numpy(), np.full((2, 2), 4.0))
