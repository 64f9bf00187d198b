"""Convolution against Keras 3 (every row of the layers, files both ways) and PyTorch (values and gradients)."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

from test_layers_parity import test_layer as against_keras  # noqa: E402  after the skip

import pydl  # noqa: E402
from cases.convolution_layers import CASES  # noqa: E402
from pydl import layers, ops  # noqa: E402

pytestmark = [pytest.mark.reference,
              pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]  # of Keras variables


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case):
    against_keras(case)


def network(library):
    rooms = library.layers
    return library.Sequential([
        library.Input((9, 10, 4)), rooms.Conv2D(6, 3, groups=2, activation="relu"),
        rooms.DepthwiseConv2D(3, padding="same", depth_multiplier=2), rooms.SeparableConv2D(5, 3, strides=2),
        rooms.Conv2DTranspose(3, 3, strides=2, padding="same"), rooms.Reshape((-1, 3)),
        rooms.Conv1D(4, 3, padding="causal"), rooms.DepthwiseConv1D(3), rooms.SeparableConv1D(2, 3),
        rooms.Conv1DTranspose(2, 5), rooms.Reshape((2, 3, 6, 2)), rooms.Conv3D(2, 2), rooms.Conv3DTranspose(2, 2)])


@pytest.mark.parametrize("suffix", ["keras", "weights.h5"])
@pytest.mark.parametrize("writer, reader", [(keras, pydl), (pydl, keras)], ids=["theirs", "ours"])
def test_files(writer, reader, suffix, tmp_path):
    written, path = network(writer), str(tmp_path / f"model.{suffix}")
    if suffix == "keras":
        written.save(path)
        read = reader.models.load_model(path)
    else:
        written.save_weights(path)
        read = network(reader)
        read.load_weights(path)
    x = np.random.default_rng(0).normal(size=(2, 9, 10, 4)).astype("f4")
    np.testing.assert_allclose(read.predict(x, verbose=0), written.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def both(ours, theirs, *arrays):
    """Values and gradients of two functions of the same float64 arrays."""
    tensors = [ops.convert_to_tensor(a) for a in arrays]
    with pydl.GradientTape() as tape:
        tape.watch(tensors)
        y = ours(*tensors)
        loss = ops.sum(y * ops.cos(y))
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    z = theirs(*leaves)
    (z * torch.cos(z)).sum().backward()
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-9, atol=1e-10)
    for got, leaf in zip(tape.gradient(loss, tensors), leaves):
        np.testing.assert_allclose(got.data, leaf.grad.numpy(), rtol=1e-8, atol=1e-8)


def to_torch(kernel):
    """(window..., in, out) -> (out, in, window...)."""
    return torch.permute(kernel, (kernel.ndim - 1, kernel.ndim - 2, *range(kernel.ndim - 2)))


@pytest.mark.parametrize("spatial, window, groups, strides, dilation", [
    ((17,), (4,), 1, 3, 1), ((17,), (3,), 2, 1, 3), ((9, 11), (3, 3), 1, 1, 1), ((9, 11), (3, 2), 3, (2, 3), 1),
    ((9, 11), (2, 3), 1, 1, (3, 2)), ((9, 8), (1, 1), 2, 2, 1), ((7, 7), (2, 2), 1, 4, 1),
    ((5, 6, 7), (2, 3, 2), 2, (2, 1, 1), 1)])
def test_conv_against_torch(spatial, window, groups, strides, dilation):
    rng = np.random.default_rng(3)
    function = getattr(torch.nn.functional, f"conv{len(spatial)}d")
    both(lambda x, k, b: ops.conv(x, k, strides, data_format="channels_first", dilation_rate=dilation, bias=b),
         lambda x, k, b: function(x, to_torch(k), b, strides, 0, dilation, groups),
         rng.normal(size=(2, 6, *spatial)), rng.normal(size=(*window, 6 // groups, 12)), rng.normal(size=12))


@pytest.mark.parametrize("spatial, window, multiplier, strides, dilation", [
    ((17,), (4,), 1, 3, 1), ((9, 11), (3, 3), 1, 1, 1), ((9, 11), (3, 3), 2, 2, 1), ((12, 11), (3, 2), 1, 1, (2, 3)),
    ((12, 17), (3, 3), 1, (2, 3), 2), ((5, 6, 7), (2, 3, 2), 3, 2, 1)])
def test_depthwise_against_torch(spatial, window, multiplier, strides, dilation):
    rng = np.random.default_rng(4)
    function = getattr(torch.nn.functional, f"conv{len(spatial)}d")
    channels = 19
    both(lambda x, k, b: ops.depthwise_conv(x, k, strides, data_format="channels_first", dilation_rate=dilation, bias=b,
                                            activation="tanh"),
         lambda x, k, b: torch.tanh(function(
             x, to_torch(k.reshape(*window, 1, channels * multiplier)), b, strides, 0, dilation, channels)),
         rng.normal(size=(2, channels, *spatial)), rng.normal(size=(*window, channels, multiplier)),
         rng.normal(size=channels * multiplier))


@pytest.mark.parametrize("spatial, window, strides, dilation", [
    ((7,), (4,), 3, 1), ((4, 5), (3, 3), 1, 1), ((4, 5), (4, 3), (2, 3), 1), ((4, 5), (2, 3), 1, 2),
    ((3, 4, 2), (2, 3, 2), (2, 1, 2), 1)])
def test_conv_transpose_against_torch(spatial, window, strides, dilation):
    rng = np.random.default_rng(5)
    function = getattr(torch.nn.functional, f"conv_transpose{len(spatial)}d")
    both(lambda x, k, b: ops.conv_transpose(x, k, strides, "valid", 0, "channels_first", dilation, bias=b),
         lambda x, k, b: function(x, to_torch(k), b, strides, 0, 0, 1, dilation),
         rng.normal(size=(2, 6, *spatial)), rng.normal(size=(*window, 5, 6)), rng.normal(size=5))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides, dilation", [(1, 1), (2, 1), (3, 1), (1, 2)])
def test_ops_against_keras(padding, strides, dilation):
    """The four ops under Keras's own signatures, odd and even sizes."""
    rng = np.random.default_rng(6)
    x, kernel, depthwise = rng.normal(size=(2, 8, 11, 6)), rng.normal(size=(3, 2, 6, 6)), rng.normal(size=(3, 2, 6, 2))
    pointwise = rng.normal(size=(1, 1, 12, 5))
    for name, kernels in (("conv", [kernel]), ("conv", [kernel[:, :, :2]]), ("conv_transpose", [kernel]),
                          ("depthwise_conv", [depthwise]), ("separable_conv", [depthwise, pointwise])):
        arrays = [a.astype("f4") for a in (x, *kernels)]
        options = {"strides": strides, "padding": padding, "dilation_rate": dilation}
        want = keras.ops.convert_to_numpy(getattr(keras.ops, name)(*arrays, **options))
        got = getattr(ops, name)(*arrays, **options)
        np.testing.assert_allclose(got.data, want, rtol=1e-4, atol=2e-4, err_msg=name)


def test_aliases():
    for name in layers.convolution.__all__:
        assert getattr(layers, name).__name__ == getattr(keras.layers, name).__name__
