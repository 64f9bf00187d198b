"""Winograd's convolution, which float32 takes where it pays: its error against float64, and that it is taken at all."""

import numpy as np
import pytest

import pydl
from cases.convolution import np_conv
from pydl import ops
from pydl.tensor import from_numpy

SHAPES = [  # (batch, height, width, channels), filters, padding
    ((2, 28, 28, 64), 64, "same"),
    ((3, 17, 30, 33), 50, "same"),  # tiles, vectors and panels cut off
    ((2, 23, 18, 32), 65, "valid"),
    ((4, 14, 14, 300), 40, "same"),  # several slices of channels
    ((1, 61, 64, 96), 16, [(2, 2), (0, 1)]),  # several groups of tiles at once
]


def results(x, kernel, dy, bias=None, **kwargs):
    """y, dx and dkernel of dy."""
    x, kernel = from_numpy(x), from_numpy(kernel)
    pydl.autograd.watch(x)
    pydl.autograd.watch(kernel)
    y = ops.conv(x, kernel, bias=bias, **kwargs)
    return [np.array(a.data) for a in (y, *pydl.autograd.gradients([y], [x, kernel], [dy]))]


@pytest.mark.parametrize("shape, filters, padding", SHAPES)
def test_error_against_float64(shape, filters, padding):
    """At most 5e-6 of the largest result (measured: 1e-6 to 3e-6, about twice the error of a direct float32 sum)."""
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=shape), rng.normal(size=(3, 3, shape[-1], filters))
    dy = rng.normal(size=np_conv(x, kernel, padding=padding).shape)
    want = results(x, kernel, dy, padding=padding)
    np.testing.assert_allclose(want[0], np_conv(x, kernel, padding=padding), atol=1e-9)
    single = [a.astype("float32") for a in (x, kernel, dy)]
    rounded = results(*(a.astype("float64") for a in single), padding=padding)
    for name, got, exact in zip(("y", "dx", "dkernel"), results(*single, padding=padding), rounded):
        error = np.abs(got - exact).max() / np.abs(exact).max()
        assert error < 5e-6, f"{name}: error {error:.1e} of the largest value"


def test_bits_do_not_depend_on_threads():
    rng = np.random.default_rng(2)
    x, kernel, dy = (rng.normal(size=s).astype("f4") for s in ((3, 30, 41, 70), (3, 3, 70, 40), (3, 30, 41, 40)))
    before = pydl.config.threads()
    try:
        runs = []
        for threads in (1, 2, 3):
            pydl.config.set_threads(threads)
            runs.append(results(x, kernel, dy, padding="same"))
    finally:
        pydl.config.set_threads(before)
    for other in runs[1:]:
        for one, two in zip(runs[0], other):
            np.testing.assert_array_equal(one, two)


def test_second_gradient_is_added():
    rng = np.random.default_rng(3)
    x, kernel = rng.normal(size=(2, 20, 20, 40)), rng.normal(size=(3, 3, 40, 40))

    def loss(x, k):
        return ops.sum(ops.square(ops.conv(x, k, padding="same"))) + ops.sum(ops.conv(ops.flip(x, 1), k))

    for got, want in zip(*(pydl.grad(loss, (0, 1))(x.astype(t), kernel.astype(t)) for t in ("f4", "f8"))):
        np.testing.assert_allclose(got.data, want.data, atol=5e-6 * np.abs(want.data).max())


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "sigmoid"])
def test_bias_and_activation(activation):
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(2, 19, 22, 40)).astype("f4"), rng.normal(size=(3, 3, 40, 37)).astype("f4") * 0.05
    bias = rng.normal(size=37).astype("f4")
    y = ops.conv(x, kernel, bias=bias, padding="same", activation=activation)
    wide = [a.astype("float64") for a in (x, kernel, bias)]
    largest = np.abs(np_conv(*wide, padding="same")).max()
    np.testing.assert_allclose(y.data, np_conv(*wide, padding="same", activation=activation), atol=5e-6 * largest)


def test_large_convolutions_take_it():
    """One infinity reaches the 16 outputs of its tiles, as NaN, where a direct sum would reach 9."""
    x = np.zeros((1, 28, 28, 64), "f4")
    x[0, 13, 13, 0] = np.inf
    kernel = np.ones((3, 3, 64, 64), "f4")
    assert np.sum(~np.isfinite(np.array(ops.conv(x, kernel, padding="same").data)[..., 0])) == 16
    wide = ops.conv(x.astype("f8"), kernel.astype("f8"), padding="same")
    assert np.sum(~np.isfinite(np.array(wide.data)[..., 0])) == 9
