"""Convolution layers and depthwise convolution: messages, unknown sizes, frozen weights."""

import numpy as np
import pytest

import pydl
from pydl import layers, ops

X = np.random.default_rng(0).normal(size=(2, 6, 7, 4)).astype("float32")


@pytest.mark.parametrize("make, message", [
    (lambda: layers.Conv2D(0, 3), "Conv2D: expected filters to be a positive integer; received filters=0"),
    (lambda: layers.Conv2D(4, 3, groups=3), "Conv2D: expected filters to be a multiple of groups; received filters=4"),
    (lambda: layers.Conv2D(4, (3, 3, 3)), r"Conv2D: expected kernel_size .* 2 .* received kernel_size=\(3, 3, 3\)"),
    (lambda: layers.Conv2D(4, 3, padding="causal"), r"Conv2D: expected padding .*\('valid', 'same'\).*'causal'"),
    (lambda: layers.DepthwiseConv1D(3, padding="causal"), "DepthwiseConv1D: expected padding"),
    (lambda: layers.Conv2D(4, 3, strides=2, dilation_rate=2), r"Conv2D: strides above 1 .* dilation_rate=\(2, 2\)"),
    (lambda: layers.Conv2DTranspose(4, 3, strides=2, output_padding=2), "Conv2DTranspose: expected output_padding"),
    (lambda: layers.Conv2D(4, 3, data_format="nchw"), "Conv2D: expected data_format .* 'nchw'"),
    (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), "DepthwiseConv2D: expected depth_multiplier"),
    (lambda: layers.Conv2D(3, 3, groups=3, name="c")(X), 'Conv2D "c": .* multiple of groups=3; .* 4 channels'),
    (lambda: layers.Conv2D(3, 8, name="c")(X), r'Conv2D "c": conv: a window of size \(8, 8\) .* does not fit'),
    (lambda: layers.SeparableConv2D(3, 8, name="c")(X), r'SeparableConv2D "c": .* a window of size \(8, 8\)'),
    (lambda: layers.Conv2D(3, 3, name="c")(X[0]), 'layer "c" .* expected ndim=4, found ndim=3'),
    (lambda: layers.Conv2D(3, 3, name="c")(pydl.Input((6, 7, None))), r'Conv2D "c": the number of channels .*axis -1'),
    (lambda: ops.depthwise_conv(X, np.ones((3, 3, 3, 1))), r"depthwise_conv: expected a kernel .*4, multiplier.*3, 3"),
    (lambda: ops.depthwise_conv(X, np.ones((3, 3, 4, 2)), bias=np.ones(4)), r"bias of shape \(8,\); received \(4,\)"),
    (lambda: ops.separable_conv(X, np.ones((3, 3, 4, 2)), np.ones((1, 1, 4, 5))), "expected a pointwise_kernel"),
])
def test_messages(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_sizes():
    """A model over images of any size: spatial axes and the batch stay None."""
    y = layers.Conv2D(5, 3, strides=2)(pydl.Input((None, None, 3)))
    assert y.shape == (None, None, None, 5)
    assert layers.SeparableConv2D(5, 3, padding="same")(pydl.Input((None, 9, 3))).shape == (None, None, 9, 5)


def test_frozen_kernel():
    """A trainable bias under a frozen kernel, and the reverse."""
    rng = np.random.default_rng(2)
    x, kernel, bias = (ops.convert_to_tensor(rng.normal(size=s)) for s in ((2, 5, 6, 3), (3, 3, 3, 1), (3,)))
    with pydl.GradientTape(persistent=True) as tape:
        tape.watch([kernel, bias])
        y = ops.sum(ops.square(ops.depthwise_conv(x, kernel, bias=bias)))
    both = tape.gradient(y, [kernel, bias])
    for one, want in zip((kernel, bias), both):
        alone = [ops.convert_to_tensor(t.data.copy()) for t in (kernel, bias)]
        watched = alone[0 if one is kernel else 1]
        with pydl.GradientTape() as tape:
            tape.watch(watched)
            y = ops.sum(ops.square(ops.depthwise_conv(x, alone[0], bias=alone[1])))
        np.testing.assert_array_equal(tape.gradient(y, watched).data, want.data)
