"""Derivatives of derivatives where a row of the harness says too little: whole uses, kinks, far arguments, memory."""

import math
import weakref

import numpy as np
import pytest

import pydl
from cases.losses import LOSSES
from pydl import losses, ops
from pydl.ops._fused import composed_ops

ACTIVATIONS = {
    **{name: getattr(ops, name) for name in (
        "relu", "relu6", "tanh", "sigmoid", "softplus", "log_sigmoid", "softsign", "silu", "mish", "hard_sigmoid",
        "hard_silu", "hard_tanh", "leaky_relu", "elu", "selu", "celu", "gelu", "soft_shrink", "hard_shrink")},
    "gelu_exact": lambda x: ops.gelu(x, approximate=False),
    "relu_general": lambda x: ops.relu_general(x, negative_slope=0.1, max_value=5.0, threshold=1.0),
}
# Every place where one of them bends, and arguments whose square, exponential or sum overflows.
FAR = [6.0, 90.0, 1000.0, 1e20, 1e30, 3e38]
POINTS = np.array([*(-x for x in reversed(FAR)), -3, -1, -0.5, -0.0, 0, 0.5, 1, 3, 5, *FAR])


def tracked(x):
    x = ops.convert_to_tensor(np.array(x))
    pydl.autograd.watch(x)
    return x


def slope(function, x):
    """The gradient of the sum of `function(x)`; recorded when called under a tape."""
    with pydl.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x)


def differences(function, x, step=1e-6):
    """The gradient of a scalar function of an array by central differences."""
    out = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        out[i] = (function(up) - function(down)) / (2 * step)
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_composed_activation_bends_as_its_kernel_and_stays_finite(name, dtype):
    function, x = ACTIVATIONS[name], POINTS.astype(dtype)
    value, gradient = function(x).data, slope(function, tracked(x)).data
    with composed_ops():
        composed_value, composed_gradient = function(x).data, slope(function, tracked(x)).data
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(composed_value, value, rtol=4 * eps, atol=4 * eps)
    np.testing.assert_allclose(composed_gradient, gradient, rtol=8 * eps, atol=8 * eps)
    x = tracked(x)
    with pydl.GradientTape() as tape:
        first = slope(function, x)
    np.testing.assert_allclose(first.data, gradient, rtol=8 * eps, atol=8 * eps)
    if first.node is not None:
        second = tape.gradient(first, x)
        assert second is None or np.isfinite(second.data).all(), second


def test_hessian_of_a_logistic_regression():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(40, 3)), rng.integers(0, 2, (40, 1)).astype("float64")
    w = tracked(rng.normal(size=(3, 1)))
    loss = losses.BinaryCrossentropy(from_logits=True, dtype="float64")
    with pydl.GradientTape(persistent=True) as outer:
        first = slope(lambda w: loss(labels, ops.matmul(x, w)), w)
        parts = [first[i, 0] for i in range(3)]
    hessian = np.concatenate([outer.gradient(part, w).data for part in parts], axis=1)
    p = 1 / (1 + np.exp(-x @ w.data))
    np.testing.assert_allclose(hessian, x.T @ (p * (1 - p) * x) / 40, rtol=1e-12)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gradient_penalty(name):
    """The gradient of (|df/dx| - 1)^2 with respect to weights, as a Wasserstein critic is trained."""
    rng = np.random.default_rng(1)
    x, w, v = rng.normal(size=(6, 4)), rng.normal(size=(4, 5)) * 2, rng.normal(size=(5, 1))

    def penalty(w):
        dx = slope(lambda x: ops.matmul(ACTIVATIONS[name](ops.matmul(x, w)), v), tracked(x))
        return ops.mean(ops.square(ops.sqrt(ops.sum(ops.square(dx), axis=1) + 1e-3) - 1))

    received = pydl.grad(penalty)(w).data
    expected = differences(lambda w: float(penalty(ops.convert_to_tensor(w))), w)
    np.testing.assert_allclose(received, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name, third", [
    ("tanh", lambda x: -2 * (1 - np.tanh(x) ** 2) * (1 - 3 * np.tanh(x) ** 2)),
    ("gelu_exact", lambda x: (x**3 - 4 * x) * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
])
def test_third_derivative(name, third):
    def summed(f):
        return lambda x: ops.sum(f(x))

    d = summed(ACTIVATIONS[name])
    for _ in range(2):
        d = summed(pydl.grad(d))
    x = np.linspace(-3, 3, 13)
    np.testing.assert_allclose(pydl.grad(d)(x).data, third(x), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("function, second", [
    (ops.silu, lambda x, s: s * (1 - s) * (2 + x * (1 - 2 * s))),
    (ops.sigmoid, lambda x, s: s * (1 - s) * (1 - 2 * s)),
    (lambda x: ops.clip(x, -10, 10) ** 2, lambda x, s: np.full(x.shape, 2.0)),
])
def test_a_persistent_tape_inside_itself(function, second):
    x = tracked(np.linspace(-2, 2, 9))
    with pydl.GradientTape(persistent=True) as tape:
        first = tape.gradient(function(x), x)
    np.testing.assert_allclose(tape.gradient(first, x).data, second(x.data, 1 / (1 + np.exp(-x.data))), rtol=1e-12)


ONE_TAPE = {
    **{name: ACTIVATIONS[name] for name in ("relu", "tanh", "silu", "elu", "leaky_relu", "hard_shrink")},
    "exp": ops.exp,
    "clip": lambda x: ops.clip(x, -0.5, 0.5),
    "penalty": lambda x: ops.l1_l2_penalty(x, 0.1, 0.2),
    "mean_squared_error": lambda x: losses.mean_squared_error(np.zeros((2, 3)), x),
    "categorical_crossentropy": lambda x: ops.categorical_crossentropy(np.eye(2, 3), x, from_logits=True),
    "weighted_mean": lambda x: losses.weighted_mean(x, np.ones((2, 3))),
}


@pytest.mark.parametrize("name", ONE_TAPE)
def test_a_second_derivative_under_one_tape_is_refused(name):
    x = tracked(np.array([[0.3, 0.7, -0.2], [1.5, -1.0, 0.1]]))
    with pydl.GradientTape() as inner:
        y = ONE_TAPE[name](x)
    with pydl.GradientTape() as outer:
        first = inner.gradient(y, x)
        total = ops.sum(first * first)
    with pytest.raises(RuntimeError, match="computed under one tape"):
        outer.gradient(total, x)


OF_RESULT = ("relu", "tanh", "sigmoid", "softplus", "log_sigmoid", "leaky_relu", "elu", "selu", "exp", "sqrt", "expm1")


@pytest.mark.parametrize("name", OF_RESULT)
def test_a_gradient_of_the_result_keeps_no_input(name):
    v = pydl.Variable(np.full(5, 0.5, "float32"))
    for persistent in (False, True):
        with pydl.GradientTape(persistent=persistent) as tape:
            x = v * 2.0
            memory = weakref.ref(x.data)
            y = getattr(ops, name)(x)
            del x
        assert (memory() is not None) == persistent
        assert tape.gradient(y, v) is not None


OF_CLASS_NUMBERS = ("SparseCategoricalCrossentropy", "CategoricalGeneralizedCrossEntropy", "Circle")


@pytest.mark.parametrize("row", [row for row in LOSSES if row.name not in OF_CLASS_NUMBERS], ids=str)
def test_targets_have_gradients(row):
    """The same value as without one, the right gradient, of targets and predictions."""
    name = row.function.removeprefix("negative_")
    t, p = (x(np.random.default_rng(seed)) for seed, x in enumerate(row.inputs, 2))

    def loss(t, p):
        return ops.sum(ops.square(getattr(losses, name)(t, p, **row.args)))

    kernel = float(loss(t, p))
    with pydl.GradientTape() as tape:
        targets, predictions = tracked(t), tracked(p)
        value = loss(targets, predictions)
    np.testing.assert_allclose(float(value), kernel, rtol=1e-12)
    dt, dp = tape.gradient(value, [targets, predictions])
    np.testing.assert_allclose(dp.data, slope(lambda p: loss(t, p), tracked(p)).data, rtol=1e-9, atol=1e-12)
    if "hinge" in name and name != "categorical_hinge":  # what labels mean changes with the labels
        return
    if name in ("kl_divergence", "categorical_hinge") or np.isin(t, (0, 1)).all():
        t = t * 0.9 + 0.05 / t.shape[-1]  # between the ends, where clipping bends
        dt = slope(lambda t: loss(t, p), tracked(t))
    np.testing.assert_allclose(dt.data, differences(lambda t: float(loss(t, p)), t), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["hinge", "squared_hinge"])
def test_labels_with_a_gradient_are_read_as_others(name):
    """Labels 0 and 1 count as -1 and 1, whether or not somebody asks for their gradient."""
    t, p = np.array([[0.0, 1.0, 1.0]]), np.array([[0.3, -0.4, 2.0]])
    dt = slope(lambda t: getattr(losses, name)(t, p), tracked(t)).data
    margins = np.maximum(1 - (2 * t - 1) * p, 0)
    inner = np.where(margins > 0, -2 * p / 3, 0)
    np.testing.assert_allclose(dt, inner if name == "hinge" else 2 * margins * inner, rtol=1e-12)
    signed = np.array([[-1.0, 1.0, 1.0]])
    np.testing.assert_allclose(slope(lambda t: getattr(losses, name)(t, p), tracked(signed)).data, dt / 2, rtol=1e-12)


def test_weights_of_a_mean_have_gradients():
    x, w = np.array([1.0, 2.0, 4.0]), np.array([0.5, 1.0, 0.0])
    for by_weight in (False, True):
        received = slope(lambda w: losses.weighted_mean(x, w, by_weight=by_weight), tracked(w)).data
        mean = np.sum(x * w) / np.sum(w)
        np.testing.assert_allclose(received, (x - mean) / np.sum(w) if by_weight else x / 3, rtol=1e-12)
    nothing = slope(lambda w: losses.weighted_mean(x, w, by_weight=True), tracked(0 * w)).data
    assert np.isfinite(nothing).all()


@pytest.mark.parametrize("call", [
    lambda: losses.mean_squared_error(np.ones((3, 0)), np.ones((3, 0))),
    lambda: losses.cosine_similarity(np.ones((0, 3)), np.ones((0, 3)), axis=0),
    lambda: ops.categorical_crossentropy(np.ones((3, 0)), np.ones((3, 0))),
])
def test_a_loss_over_nothing_is_refused(call):
    with pytest.raises(ValueError, match=r"at least one value along the reduced axis; received .*\(3, 0\)"):
        call()
