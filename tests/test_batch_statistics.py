"""Batch normalisation moves its statistics as stated, also in replays, and stays exact far from 0."""

import numpy as np

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
