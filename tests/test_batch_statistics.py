"""Batch normalisation moves its statistics as stated, also in replays, and stays exact far from 0."""

import numpy as np
import pytest

import pydl
from pydl import ops
from pydl.tensor import Variable


def test_moving_statistics():
    rng = np.random.default_rng(0)
    mean, variance = Variable(np.zeros(3), trainable=False), Variable(np.ones(3), trainable=False)
    step = pydl.function(lambda x: ops.batch_normalization_training(x, mean, variance, momentum=0.9))
    wanted_mean, wanted_variance = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = rng.normal(5, 2, (64, 3)).astype("float32")
        step(x)
        wanted_mean = 0.9 * wanted_mean + 0.1 * x.mean(0)
        wanted_variance = 0.9 * wanted_variance + 0.1 * x.var(0)
    np.testing.assert_allclose(mean.numpy(), wanted_mean, rtol=1e-5)
    np.testing.assert_allclose(variance.numpy(), wanted_variance, rtol=1e-5)


def test_variance_far_from_zero():
    x = (1e4 + np.random.default_rng(0).normal(size=(20000, 17))).astype("float32")
    mean, variance = Variable(np.zeros(17), trainable=False), Variable(np.ones(17), trainable=False)
    ops.batch_normalization_training(x, mean, variance, momentum=0.0)
    np.testing.assert_allclose(variance.numpy(), x.astype("float64").var(0), rtol=1e-4)


def test_nothing_counts():
    """A batch whose mask is all 0 leaves the moving statistics alone and gives finite values."""
    mean, variance = Variable(np.zeros(3), trainable=False), Variable(np.ones(3), trainable=False)
    y = ops.batch_normalization_training(np.ones((4, 3), "float32"), mean, variance, mask=np.zeros(4, bool))
    assert np.isfinite(np.array(y)).all()
    assert mean.numpy().tolist() == [0, 0, 0] and variance.numpy().tolist() == [1, 1, 1]


def np_moments(x, mask, axes):
    """Mean and biased variance of what the mask leaves, in float64."""
    x, mask = x.astype("float64"), np.broadcast_to(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x.shape)
    count = mask.sum(axes, keepdims=True)
    mean = (x * mask).sum(axes, keepdims=True) / count
    return mean.squeeze(axes), (((x - mean) * mask)**2).sum(axes, keepdims=True).squeeze(axes) / count.squeeze(axes)


@pytest.mark.parametrize("shape, axis, mask", [
    ((6, 3, 4), 1, (6, 3)), ((6, 3, 4), -2, (6,)), ((5, 2, 3, 4), 1, (5, 2, 3)), ((5, 2, 3, 4), 2, (5, 2)),
    ((6, 3, 4), -1, (6, 3)), ((5, 2, 3, 4), 3, (5, 2)),
], ids=str)
def test_a_mask_is_of_the_axes_without_the_last(shape, axis, mask):
    """Whichever axis holds the channels, in an eager call and in replays."""
    rng = np.random.default_rng(1)
    layer = pydl.layers.BatchNormalization(axis, momentum=0.75)
    layer.build(shape)
    step = pydl.function(lambda x, m: layer(x, mask=m, training=True))
    axes = tuple(a for a in range(len(shape)) if a != axis % len(shape))
    along = [-1 if a == axis % len(shape) else 1 for a in range(len(shape))]
    wanted = [np.zeros(shape[axis]), np.ones(shape[axis])]
    for call in (lambda x, m: layer(x, mask=m, training=True), step, step):
        x, m = rng.normal(3, 2, shape).astype("float32"), rng.random(mask) < 0.7
        m[0], m[-1] = True, True
        y = np.array(call(x, m))
        mean, variance = np_moments(x, m, axes)
        wanted = [0.75 * old + 0.25 * new for old, new in zip(wanted, (mean, variance))]
        np.testing.assert_allclose(y, (x - mean.reshape(along)) / np.sqrt(variance.reshape(along) + 1e-3), rtol=1e-4,
                                   atol=1e-5)
    for got, want in zip(layer.get_weights()[2:], wanted):
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_a_channel_that_the_mask_leaves_out_keeps_its_statistics():
    layer = pydl.layers.BatchNormalization(1)
    mask = np.array([[True, False]] * 4)
    y = layer(np.full((4, 2, 3), 5.0, "float32"), mask=mask, training=True)
    assert np.isfinite(np.array(y)).all()
    np.testing.assert_allclose(layer.moving_mean.numpy(), [0.05, 0], rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), [0.99, 1], rtol=1e-5)


def test_a_mask_of_too_many_axes():
    with pytest.raises(ValueError, match=r"an axis less than the inputs; received mask of shape \(4, 3\)"):
        pydl.layers.BatchNormalization()(np.ones((4, 3), "float32"), mask=np.ones((4, 3), bool))


@pytest.mark.parametrize("clipping", [None, {"rmax": 1.5, "rmin": 0.5, "dmax": 0.3}, {"rmax": 1.01}])
@pytest.mark.parametrize("parts", [{}, {"scale": False}, {"center": False, "scale": False}], ids=str)
def test_renormalisation(clipping, parts):
    """Ioffe 2017, algorithm 1, in NumPy: x' = ((x - mean) / std r + d) gamma + beta, and the moving statistics; eager,
    then replayed. The gradient takes r and d for constants."""
    rng = np.random.default_rng(2)
    layer = pydl.layers.BatchNormalization(momentum=0.8, renorm=True, renorm_clipping=clipping, renorm_momentum=0.6,
                                           **parts)
    layer.build((None, 3))
    state = {v.name: rng.uniform(0.5, 1.5, 3) for v in layer.weights}
    layer.set_weights([state[v.name] for v in layer.weights])
    bounds = {"rmin": -np.inf, "rmax": np.inf, "dmax": np.inf, **(clipping or {})}
    step = pydl.function(lambda x: layer(x, training=True))
    for call in (lambda x: layer(x, training=True), step, step):
        x = rng.normal(2, 3, (16, 3)).astype("float32")
        mean, std = x.mean(0, dtype="f8"), np.sqrt(x.var(0, dtype="f8") + 1e-3)
        r = np.clip(std / np.maximum(state["renorm_stddev"], 1e-3**0.5), bounds["rmin"], bounds["rmax"])
        d = np.clip((mean - state["renorm_mean"]) / np.maximum(state["renorm_stddev"], 1e-3**0.5), -bounds["dmax"],
                    bounds["dmax"])
        want = ((x - mean) / std * r + d) * state.get("gamma", 1) + state.get("beta", 0)
        np.testing.assert_allclose(np.array(call(x)), want, rtol=1e-4, atol=1e-5)
        for name, value, momentum in (("renorm_mean", mean, 0.6), ("renorm_stddev", std, 0.6),
                                      ("moving_mean", mean, 0.8), ("moving_stddev", std, 0.8)):
            state[name] = momentum * state[name] + (1 - momentum) * value
        state["moving_variance"] = np.maximum(state["moving_stddev"]**2 - 1e-3, 0)
        for v in layer.weights:
            np.testing.assert_allclose(v.numpy(), state[v.name], rtol=1e-5, err_msg=v.name)
    want = (x - state["moving_mean"]) / np.sqrt(state["moving_variance"] + 1e-3) * state.get("gamma", 1)
    np.testing.assert_allclose(np.array(layer(x)), want + state.get("beta", 0), rtol=1e-4, atol=1e-5)

    other = pydl.layers.BatchNormalization.from_config(layer.get_config())
    other.build((None, 3))
    assert [v.name for v in other.weights] == [v.name for v in layer.weights]
    assert other.get_config() == layer.get_config()


def test_the_gradient_of_renormalisation_takes_the_corrections_for_constants():
    layer = pydl.layers.BatchNormalization(renorm=True, dtype="float64")
    layer.build((None, 2))
    layer.renorm_stddev.assign([0.5, 2.0])
    layer.renorm_mean.assign([1.0, -1.0])
    x, dy = (np.random.default_rng(seed).normal(size=(5, 2)) for seed in (3, 4))
    mean, std = x.mean(0), np.sqrt(x.var(0) + 1e-3)
    r = std / layer.renorm_stddev.numpy()
    z = (x - mean) / std
    tensor = Variable(x, dtype="float64")
    with pydl.GradientTape() as tape:
        loss = ops.sum(layer(tensor, training=True) * dy)
    dx, dgamma = tape.gradient(loss, [tensor, layer.gamma])
    want = r / std * (dy - dy.mean(0) - z * (dy * z).mean(0))
    np.testing.assert_allclose(dx.data, want, rtol=1e-8)
    np.testing.assert_allclose(dgamma.data, (dy * (z * r + (mean - [1, -1]) / [0.5, 2])).sum(0), rtol=1e-8)


@pytest.mark.parametrize("clipping", [{"max": 1}, {"rmax": 0.1, "rmin": 0.5}, {"dmax": -1}], ids=str)
def test_bad_clipping(clipping):
    with pytest.raises(ValueError, match="renorm_clipping"):
        pydl.layers.BatchNormalization(renorm=True, renorm_clipping=clipping)
