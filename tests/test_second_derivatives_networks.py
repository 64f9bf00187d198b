"""Second derivatives of whole networks, what composed forms may not do twice, and what graphs may not hold.

That every op has them is the property "second" of the rows in `tests/cases/`.
"""

import contextlib
import gc
import importlib
import weakref

import numpy as np
import pytest

import pydl
from harness import Case, Point
from pydl import layers, ops
from pydl.ops._fused import composed_ops
from pydl.tensor import Tensor, Variable


@pytest.fixture
def doubles():
    """Models compute in float64."""
    before = pydl.config.floatx()
    pydl.config.set_floatx("float64")
    yield
    pydl.config.set_floatx(before)


def slope(value, variables, directions, step=1e-6):
    """d/dt of `value()` for variables that move along directions, by central differences."""
    start, ends = [v.numpy() for v in variables], []
    for sign in (1, -1):
        for v, at, d in zip(variables, start, directions):
            v.assign(at + sign * step * d)
        ends.append(float(value()))
    for v, at in zip(variables, start):
        v.assign(at)
    return (ends[0] - ends[1]) / (2 * step)


def directions_for(variables, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=v.shape) for v in variables]


def along(gradients, directions):
    return sum(float(np.sum(g.data * d)) for g, d in zip(gradients, directions))


def test_gradient_penalty_of_a_wgan_critic(doubles):
    """Gulrajani et al. 2017: mean((|d critic / d x| - 1)^2) is trained, so the gradient has a gradient."""
    pydl.utils.set_random_seed(3)
    critic = pydl.Sequential([
        pydl.Input((8, 8, 4)),
        layers.Conv2D(8, 3, strides=2, padding="same", groups=2, activation="tanh"),
        layers.DepthwiseConv2D(3, padding="same", activation="sigmoid"),
        layers.LayerNormalization(), layers.LeakyReLU(0.2), layers.MaxPooling2D(2), layers.AveragePooling2D(2),
        layers.Flatten(), layers.Dense(5, activation="tanh"), layers.Dense(1)])
    for v in critic.trainable_weights:  # biases at 0 would hide what they do
        v.assign(v.numpy() + 0.1 * np.random.default_rng(v.size).normal(size=v.shape))
    x = Tensor(np.random.default_rng(0).normal(size=(3, 8, 8, 4)))

    def penalty():
        with pydl.GradientTape() as inner:
            inner.watch(x)
            score = critic(x)
        dx = inner.gradient(score, x)
        return ops.mean(ops.square(ops.sqrt(ops.sum(ops.square(dx), (1, 2, 3))) - 1))

    weights = critic.trainable_weights

    def gradients_of_penalty():
        with pydl.GradientTape() as outer:
            value = penalty()
        return outer.gradient(value, weights, unconnected_gradients="zero")

    gradients = gradients_of_penalty()
    for eager, recorded in zip(gradients, pydl.function(gradients_of_penalty)()):
        np.testing.assert_array_equal(recorded.data, eager.data)
    for v, gradient, direction in zip(weights, gradients, directions_for(weights)):
        numeric = slope(penalty, [v], [direction])
        assert along([gradient], [direction]) == pytest.approx(numeric, rel=2e-5, abs=1e-9), v.path
    assert sum(float(np.abs(g.data).max()) > 1e-6 for g in gradients) == len(weights) - 1  # all but the last bias


def test_hessian_vector_product(doubles):
    """Pearlmutter 1994: the Hessian of an MLP's loss times a vector, which is symmetric."""
    pydl.utils.set_random_seed(4)
    model = pydl.Sequential([pydl.Input((5,)), layers.Dense(7, activation="tanh"),
                             layers.Dense(6, activation="sigmoid"), layers.Dense(3)])
    rng = np.random.default_rng(0)
    x, y = Tensor(rng.normal(size=(9, 5))), rng.normal(size=(9, 3))
    weights = model.trainable_weights

    def gradient_along(directions):
        with pydl.GradientTape() as tape:
            loss = ops.mean(ops.square(model(x) - y))
        return sum(ops.sum(g * d) for g, d in zip(tape.gradient(loss, weights), directions))

    u, v = directions_for(weights, 1), directions_for(weights, 2)
    products = []
    for directions in (u, v):
        with pydl.GradientTape() as outer:
            projected = gradient_along(directions)
        products.append(outer.gradient(projected, weights, unconnected_gradients="zero"))
    assert along(products[0], v) == pytest.approx(slope(lambda: gradient_along(u), weights, v), rel=1e-6)
    assert along(products[0], v) == pytest.approx(along(products[1], u), rel=1e-12)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("pair", ["x x", "x kernel", "kernel x", "kernel kernel"])
def test_each_block_of_the_hessian_of_a_grouped_convolution(groups, pair):
    rng = np.random.default_rng(groups)
    x, kernel = (Variable(rng.normal(size=s), dtype="float64") for s in ((2, 6, 5, 4), (3, 2, 4 // groups, 8)))
    first, second = ({"x": x, "kernel": kernel}[name] for name in pair.split())
    u, v = rng.normal(size=first.shape), rng.normal(size=second.shape)

    def gradient_along():
        with pydl.GradientTape() as tape:
            y = ops.conv(x, kernel, 2, "same", activation="tanh")
            loss = ops.sum(ops.square(y) * y)
        return ops.sum(tape.gradient(loss, first) * u)

    with pydl.GradientTape() as outer:
        projected = gradient_along()
    assert along([outer.gradient(projected, second)], [v]) == pytest.approx(
        slope(gradient_along, [second], [v]), rel=1e-6)


@pytest.mark.parametrize("form", ["kernel", "composed"])
def test_two_tapes_move_batch_statistics_once(form):
    rng = np.random.default_rng(0)
    x = Tensor(rng.normal(3, 2, (16, 3)))
    moving = [Variable(np.full(3, value), dtype="float64", trainable=False) for value in (0.0, 1.0)]
    gamma = Variable(np.ones(3), dtype="float64")
    with composed_ops() if form == "composed" else contextlib.nullcontext():
        with pydl.GradientTape() as outer:
            with pydl.GradientTape() as inner:
                inner.watch(x)
                y = ops.batch_normalization_training(x, *moving, scale=gamma, momentum=0.9)
                loss = ops.sum(ops.square(y) * y)
            penalty = ops.sum(ops.square(inner.gradient(loss, x)))
        assert float(ops.max(ops.abs(outer.gradient(penalty, gamma)))) > 0
    np.testing.assert_allclose(moving[0].numpy(), 0.1 * x.data.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moving[1].numpy(), 0.9 + 0.1 * x.data.var(0), rtol=1e-12)


def test_composed_statistics_stay_where_nothing_counts():
    moving = [Variable(np.full(3, value), dtype="float64", trainable=False) for value in (0.5, 2.0)]
    with composed_ops():
        y = ops.batch_normalization_training(np.ones((4, 3)), *moving, mask=np.zeros(4, bool))
    assert np.isfinite(y.data).all()
    assert moving[0].numpy().tolist() == [0.5] * 3 and moving[1].numpy().tolist() == [2.0] * 3


@pytest.mark.parametrize("fn, shape", [
    (lambda x: ops.dense(x, Tensor(np.full((3, 2), 0.5))), (4, 3)),
    (lambda x: ops.conv(x, Tensor(np.full((2, 3, 2), 0.5))), (2, 5, 3)),
    (lambda x: ops.conv_transpose(x, Tensor(np.full((2, 2, 3), 0.5))), (2, 5, 3)),
    (lambda x: ops.depthwise_conv(x, Tensor(np.full((2, 3, 1), 0.5))), (2, 5, 3)),
], ids=["dense", "conv", "conv_transpose", "depthwise_conv"])
def test_products_have_second_derivatives_under_one_tape(fn, shape):
    """They hold their arguments anyway: a gradient taken inside its tape may go into `backward`."""
    rng = np.random.default_rng(0)
    x = Variable(rng.normal(size=shape), dtype="float64")

    def value():
        with pydl.GradientTape() as tape:
            y = fn(x)
            return ops.sum(ops.square(tape.gradient(ops.sum(ops.square(y) * y), x)))

    value().backward()
    (direction,) = directions_for([x])
    assert along([x.grad], [direction]) == pytest.approx(slope(value, [x], [direction]), rel=1e-6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("at", [0.0, 0.3])
@pytest.mark.parametrize("fn, third", [
    (lambda x: ops.prod(ops.stack([x, x, x])), lambda x: 6),
    (lambda x: ops.sum(ops.cumprod(ops.stack([x, x, x]))), lambda x: 6),
    (lambda x: ops.logsumexp(ops.stack([x, 0 * x])), lambda x: sigmoid(x) * (1 - sigmoid(x)) * (1 - 2 * sigmoid(x))),
    (lambda x: ops.var(ops.stack([x * x, -x])), lambda x: 6 * x + 3),
    (lambda x: ops.square(ops.max(ops.stack([x * x * x, x - 2]))), lambda x: 120 * x**3),
], ids=["prod", "cumprod", "logsumexp", "var", "max"])
def test_third_derivatives(fn, third, at):
    """Products at 0 among them: nothing may divide by a factor."""
    assert float(pydl.grad(pydl.grad(pydl.grad(fn)))(np.float64(at))) == pytest.approx(third(at), abs=1e-12)


def test_max_pool_has_the_second_derivative_of_the_first_maximum():
    """Of equal values the kernel takes the first; so does what its second derivative is made of, padding included."""
    x = Tensor(np.ones((1, 3, 3, 1)))
    with pydl.GradientTape() as outer:
        outer.watch(x)
        with pydl.GradientTape() as inner:
            y = ops.max_pool(x, 2, 2, "same")
            loss = ops.sum(y * y * y)
        first = inner.gradient(loss, x)
    np.testing.assert_array_equal(first.data[0, :, :, 0], [[3, 0, 3], [0, 0, 0], [3, 0, 3]])
    np.testing.assert_array_equal(outer.gradient(first, x).data, 2 * first.data)


MODULES = ["convolution", "depthwise", "derived", "image", "indexing", "linalg", "normalization", "pooling",
           "reduction", "shape", "sorting"]


@pytest.mark.parametrize("tapes", [1, 2])
@pytest.mark.parametrize("module", MODULES)
def test_results_are_freed_by_counting_references(module, tapes):
    """What a graph holds must not hold the graph: a result nobody refers to is gone without the garbage collector."""
    rows = [row for row in importlib.import_module(f"cases.{module}").CASES if isinstance(row, Case) and row.grad]
    gc.collect()
    gc.disable()
    try:
        for row in {row.name: row for row in rows}.values():
            point = Point(row, 0)
            with contextlib.ExitStack() as stack:
                for _ in range(tapes):
                    stack.enter_context(pydl.GradientTape())
                tensors = point.tensors(point.leaves)
                for i in point.checked:
                    pydl.autograd.watch(tensors[i])
                results = point.outputs(tensors)
            held = [weakref.ref(y.node) for y in results if y.node is not None]
            del results, tensors
            assert not any(node() for node in held), row.name
    finally:
        gc.enable()
