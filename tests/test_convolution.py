"""What rows of convolution cannot say: wrong arguments."""

import numpy as np
import pytest

import pydl
from pydl import ops


@pytest.mark.parametrize("x, kernel, kwargs, message", [
    ((2, 4, 4, 3), (5, 5, 3, 2), {}, r"window of size \(5, 5\).*does not fit.*\(4, 4\)"),
    ((2, 4, 4, 3), (2, 2, 2, 2), {}, "3 channels and a kernel of shape"),
    ((2, 4, 4, 4), (2, 2, 2, 3), {}, "4 channels and a kernel of shape"),
    ((4, 4, 3), (2, 2, 3, 2), {}, "kernel of the same rank"),
    ((2, 4, 4, 3), (2, 2, 3, 2), {"strides": 0}, "strides=0"),
    ((2, 4, 4, 3), (2, 2, 3, 2), {"strides": (1, 2, 3)}, "strides"),
    ((2, 4, 4, 3), (2, 2, 3, 2), {"padding": "causal"}, "causal"),
    ((2, 4, 4, 3), (2, 2, 3, 2), {"padding": [(1, 1)]}, "2 pairs"),
    ((2, 4, 4, 3), (2, 2, 3, 2), {"activation": "gelu"}, "gelu"),
    ((2, 4, 4, 3), (2, 2, 3, 2), {"bias": np.ones(3, "f4")}, r"bias of shape \(2,\)"),
    ((2, 4, 4, 3), (2, 2, 3, 2), {"data_format": "nhwc"}, "nhwc"),
])
def test_wrong_arguments(x, kernel, kwargs, message):
    with pytest.raises(ValueError, match=message):
        ops.conv(np.ones(x, "f4"), np.ones(kernel, "f4"), **kwargs)


def test_wrong_transposed():
    x = np.ones((1, 3, 3, 2), "f4")
    for kernel, kwargs, message in (((2, 2, 4, 3), {}, "an input of 2 channels"),
                                    ((2, 2, 4, 2), {"output_padding": 1}, "less than the stride 1"),
                                    ((2, 2, 4, 2), {"padding": "causal"}, "causal")):
        with pytest.raises(ValueError, match=message):
            ops.conv_transpose(x, np.ones(kernel, "f4"), **kwargs)


def test_empty_batch():
    y = ops.conv(np.ones((0, 5, 5, 2), "f4"), np.ones((3, 3, 2, 4), "f4"))
    assert y.shape == (0, 3, 3, 4)
    kernel = pydl.Variable(np.ones((3, 3, 2, 4), "f4"))
    with pydl.GradientTape() as tape:
        loss = ops.sum(ops.conv(np.ones((0, 5, 5, 2), "f4"), kernel))
    np.testing.assert_array_equal(tape.gradient(loss, kernel).data, 0)
