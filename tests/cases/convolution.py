"""Rows of convolution: sums over taps spelled out in NumPy."""

from __future__ import annotations

import itertools

import numpy as np

from harness import Case, normal

ACTIVATIONS = {None: lambda z: z, "relu": lambda z: np.maximum(z, 0), "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
               "tanh": np.tanh}


def tuple_of(value, rank):
    return (value,) * rank if isinstance(value, int) else tuple(value)


def pairs_of(padding, spatial, sizes, strides, dilation):
    """(before, after) per axis."""
    reach = [(k - 1) * d + 1 for k, d in zip(sizes, dilation)]
    if padding == "valid":
        return [(0, 0)] * len(sizes)
    if padding == "causal":
        return [(reach[0] - 1, 0)]
    if padding == "same":
        totals = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in zip(spatial, strides, reach)]
        return [(t // 2, t - t // 2) for t in totals]
    return padding


def np_conv(x, kernel, *bias, strides=1, padding="valid", data_format=None, dilation_rate=1, activation=None):
    if data_format == "channels_first":
        x = np.moveaxis(x, 1, -1)
    rank = x.ndim - 2
    *sizes, depth, filters = kernel.shape
    strides, dilation = tuple_of(strides, rank), tuple_of(dilation_rate, rank)
    pairs = pairs_of(padding, x.shape[1:-1], sizes, strides, dilation)
    padded = np.pad(x, [(0, 0), *pairs, (0, 0)])
    out = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(padded.shape[1:-1], sizes, strides, dilation)]
    y = np.zeros((x.shape[0], *out, filters))
    groups = x.shape[-1] // depth
    for tap in itertools.product(*map(range, sizes)):
        region = padded[(slice(None), *(slice(t * d, t * d + (o - 1) * s + 1, s)
                                        for t, d, o, s in zip(tap, dilation, out, strides)))]
        for g in range(groups):
            columns = slice(g * filters // groups, (g + 1) * filters // groups)
            y[..., columns] += region[..., g * depth:(g + 1) * depth] @ kernel[tap][:, columns]
    y = ACTIVATIONS[activation](y + bias[0] if bias else y)
    return np.moveaxis(y, -1, 1) if data_format == "channels_first" else y


def np_conv_transpose(x, kernel, *bias, strides=1, padding="valid", output_padding=None, data_format=None,
                      dilation_rate=1, activation=None):
    """Every input spreads its window over the output, of which padding is cut off."""
    if data_format == "channels_first":
        x = np.moveaxis(x, 1, -1)
    rank = x.ndim - 2
    *sizes, filters, _ = kernel.shape
    strides, dilation = tuple_of(strides, rank), tuple_of(dilation_rate, rank)
    extra = tuple_of(output_padding, rank) if output_padding is not None else (None,) * rank
    fulls, cuts = [], []
    for n, k, s, d, e in zip(x.shape[1:-1], sizes, strides, dilation, extra):
        reach = (k - 1) * d + 1
        fulls.append((n - 1) * s + max(reach, s) + s)  # room for what output_padding adds
        if e is None:
            size = n * s if padding == "same" else n * s + max(reach - s, 0)
            front = max(reach - s, 0) // 2 if padding == "same" else 0
        else:
            # Output padding first fills up what "same" cuts off behind.
            front = max(reach // 2 * 2 - e, 0) // 2 if padding == "same" else 0
            size = (n - 1) * s + (reach % 2 if padding == "same" else reach) + e
        cuts.append(slice(front, front + size))
    full = np.zeros((x.shape[0], *fulls, filters))
    for tap in itertools.product(*map(range, sizes)):
        place = tuple(slice(t * d, t * d + (n - 1) * s + 1, s)
                      for t, d, n, s in zip(tap, dilation, x.shape[1:-1], strides))
        full[(slice(None), *place)] += x @ kernel[tap].T
    y = full[(slice(None), *cuts)]
    y = ACTIVATIONS[activation](y + bias[0] if bias else y)
    return np.moveaxis(y, -1, 1) if data_format == "channels_first" else y


def with_bias(op):
    """The op with the bias as third positional argument, so that its gradient is checked too."""
    import pydl

    return lambda x, kernel, bias, **kwargs: getattr(pydl.ops, op)(x, kernel, bias=bias, **kwargs)


def conv_row(tag, x, kernel, bias=False, grad="all", **kwargs):
    inputs = (normal(*x), normal(*kernel)) + ((normal(kernel[-1]),) if bias else ())
    return Case("conv", np_conv, inputs, kwargs, fn=with_bias("conv") if bias else None, tag=tag,
                scale=0.6 * np.prod(kernel[:-1]), grad=grad)  # sums of that many terms of mean magnitude 0.6


def transpose_row(tag, x, kernel, bias=False, **kwargs):
    inputs = (normal(*x), normal(*kernel)) + ((normal(kernel[-2]),) if bias else ())
    return Case("conv_transpose", np_conv_transpose, inputs, kwargs, fn=with_bias("conv_transpose") if bias else None,
                tag=tag,
                scale=0.6 * np.prod(kernel) / kernel[-2])


def shared_kernel(x, kernel):
    """One kernel on an image and on its mirror image: the second gradient is added to the first."""
    import pydl

    return pydl.ops.conv(x, kernel) + pydl.ops.conv(pydl.ops.flip(x, 1), kernel)


CASES = [
    Case("conv", lambda x, k: np_conv(x, k) + np_conv(x[:, ::-1], k), (normal(2, 6, 6, 3), normal(3, 3, 3, 4)),
         fn=shared_kernel, tag="shared-kernel", scale=30.0),
    conv_row("1d", (2, 9, 3), (4, 3, 5), bias=True),
    conv_row("1d-causal", (2, 9, 3), (3, 3, 5), padding="causal", dilation_rate=2),
    conv_row("1d-long", (2, 700, 2), (5, 2, 3), padding="same"),
    conv_row("1d-pairs", (2, 9, 3), (3, 3, 17), padding=[(2, 1)]),
    conv_row("2d", (2, 7, 9, 3), (3, 3, 3, 6)),
    *[conv_row(f"2d-{c}-{f}", (2, 9, 11, c), (3, 5, c, f), bias=True, padding="same", activation=a)
      for c, f, a in ((1, 6, "relu"), (6, 16, "tanh"), (16, 17, "sigmoid"), (17, 33, "relu"), (33, 1, None))],
    conv_row("2d-1x1", (2, 5, 5, 16), (1, 1, 16, 33), bias=True, activation="relu"),
    conv_row("2d-1x1-stride", (2, 5, 6, 4), (1, 1, 4, 3), strides=2),
    conv_row("2d-stride", (2, 9, 10, 3), (3, 3, 3, 6), strides=2, padding="same"),
    conv_row("2d-stride-over-kernel", (2, 11, 10, 3), (2, 2, 3, 4), strides=(4, 3)),
    conv_row("2d-dilation", (2, 11, 10, 3), (3, 2, 3, 4), dilation_rate=(2, 3), padding="same"),
    conv_row("2d-groups", (2, 6, 7, 6), (3, 3, 2, 9), bias=True, padding="same", activation="relu"),
    conv_row("2d-groups-wide", (2, 6, 7, 36), (3, 3, 18, 40), strides=2),
    conv_row("2d-whole-image", (3, 5, 5, 16), (5, 5, 16, 20)),
    conv_row("2d-channels-first", (2, 3, 7, 9), (3, 3, 3, 4), data_format="channels_first", padding="same"),
    conv_row("2d-parts", (8, 24, 24, 16), (3, 3, 16, 32), padding="same"),  # several threads, blocks and parts
    conv_row("2d-winograd", (2, 18, 21, 24), (3, 3, 24, 40), bias=True, padding="same", activation="relu"),
    # Few filters or channels: lanes over pixels, and gradients scattered from the outputs.
    conv_row("2d-planes", (3, 9, 21, 20), (3, 3, 20, 2), bias=True, padding="same", activation="relu"),
    conv_row("2d-planes-dilation", (2, 19, 23, 4), (2, 3, 4, 1), bias=True, dilation_rate=(2, 3), activation="tanh"),
    conv_row("2d-planes-rows", (2, 21, 14, 3), (3, 2, 3, 2), strides=(2, 1)),
    conv_row("2d-scatter", (9, 16, 14, 6), (5, 5, 6, 16), bias=True, activation="relu"),
    conv_row("2d-scatter-stride", (3, 17, 18, 3), (7, 7, 3, 20), strides=2, padding="same"),
    transpose_row("2d-scatter", (3, 7, 8, 20), (4, 4, 3, 20), bias=True, strides=2, padding="same", activation="tanh"),
    conv_row("3d", (2, 5, 6, 7, 2), (3, 2, 3, 2, 5), bias=True, strides=(1, 2, 1), padding="same", activation="relu"),
    conv_row("3d-valid", (1, 5, 6, 7, 3), (2, 3, 3, 3, 4), dilation_rate=(2, 1, 1)),
    transpose_row("1d", (2, 5, 3), (4, 6, 3), bias=True, strides=2),
    transpose_row("2d", (2, 5, 6, 3), (3, 3, 4, 3), bias=True, strides=2, padding="same", activation="relu"),
    transpose_row("2d-valid", (2, 5, 6, 3), (3, 4, 6, 3), strides=(2, 3), activation="tanh"),
    transpose_row("2d-stride-over-kernel", (2, 4, 3, 3), (2, 2, 5, 3), bias=True, strides=3, activation="sigmoid"),
    transpose_row("2d-same-odd", (2, 4, 3, 3), (5, 4, 5, 3), strides=2, padding="same"),
    transpose_row("2d-output-padding", (2, 4, 3, 3), (3, 3, 5, 3), strides=2, padding="same", output_padding=1),
    transpose_row("2d-dilation", (2, 4, 5, 3), (3, 2, 5, 3), dilation_rate=2),
    transpose_row("2d-channels-first", (2, 3, 5, 6), (3, 3, 4, 3), strides=2, data_format="channels_first"),
    transpose_row("2d-winograd", (2, 18, 21, 24), (3, 3, 40, 24), bias=True, padding="same", activation="relu"),
    transpose_row("3d", (2, 3, 4, 2, 2), (3, 2, 2, 3, 2), strides=(2, 1, 2), padding="same"),
]
