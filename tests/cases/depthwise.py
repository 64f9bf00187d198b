"""Rows of depthwise and separable convolution: convolution in as many groups as channels."""

from __future__ import annotations

import numpy as np

from cases.convolution import np_conv
from harness import Case, normal


def np_depthwise(x, kernel, *bias, **options):
    return np_conv(x, kernel.reshape(*kernel.shape[:-2], 1, -1), *bias, **options)


def np_separable(x, depthwise, pointwise, *bias, activation=None, data_format=None, **options):
    y = np_depthwise(x, depthwise, data_format=data_format, **options)
    return np_conv(y, pointwise, *bias, activation=activation, data_format=data_format)


def with_bias(name, operands):
    """The op with the bias after its other operands, so that its gradient is checked too."""
    import pydl

    return lambda *tensors, **options: getattr(pydl.ops, name)(*tensors[:operands], bias=tensors[operands], **options)


def row(spatial, window, channels, multiplier=1, batch=2, bias=False, **options):
    x = (batch, channels, *spatial) if options.get("data_format") == "channels_first" else (batch, *spatial, channels)
    shapes = [x, (*window, channels, multiplier)] + [(channels * multiplier,)] * bias
    tag = "-".join(["x".join(map(str, s)) for s in shapes[:2]] + [str(v) for v in options.values()])
    return Case("depthwise_conv", np_depthwise, tuple(normal(*s) for s in shapes), options, tag=tag,
                fn=with_bias("depthwise_conv", 2) if bias else None, scale=0.6 * np.prod(window))


CASES = [
    row((7, 9), (3, 3), 16),
    row((7, 9), (3, 3), 33, padding="same", bias=True),
    row((20, 21), (3, 3), 3, padding="same", strides=2, bias=True, activation="relu"),
    row((8, 11), (3, 2), 17, padding="same", strides=(1, 3), bias=True, activation="sigmoid"),
    row((9, 13), (2, 4), 1, dilation_rate=2, bias=True, activation="tanh"),
    row((9, 13), (3, 3), 70, padding="same", dilation_rate=(3, 2), activation="relu"),
    row((9, 30), (3, 5), 20, padding="same", strides=2, dilation_rate=3),
    row((5, 5), (1, 1), 16, strides=4, batch=1),
    row((11, 10), (2, 2), 6, strides=(4, 3)),
    row((6, 7), (2, 2), 5, multiplier=3, bias=True, activation="relu"),
    row((6, 7), (6, 7), 4, multiplier=2, padding="same"),
    row((6, 7), (3, 3), 4, data_format="channels_first", bias=True),
    row((6, 7), (3, 3), 4, padding=[(2, 0), (0, 5)]),
    row((24, 24), (3, 3), 64, batch=8, padding="same", bias=True),  # several threads and parts
    row((31,), (7,), 18, padding="causal", dilation_rate=3, bias=True),
    row((10,), (4,), 2, padding="same", strides=3, multiplier=2),
    row((5, 6, 7), (3, 2, 4), 3, padding="same", strides=(2, 1, 2), bias=True, activation="relu"),
    row((6, 6), (3, 3), 3, batch=0),
    Case("separable_conv", np_separable, (normal(2, 7, 9, 5), normal(3, 3, 5, 2), normal(1, 1, 10, 17)),
         {"padding": "same", "strides": 2}, scale=30.0),
    Case("separable_conv", np_separable, (normal(2, 4, 30), normal(5, 4, 1), normal(1, 4, 3), normal(3)),
         {"data_format": "channels_first", "dilation_rate": 2, "activation": "relu"}, fn=with_bias("separable_conv", 3),
         scale=10.0, tag="bias"),
]
