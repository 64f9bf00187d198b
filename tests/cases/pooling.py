"""Rows of pooling: odd sizes, strides larger and smaller than the window, both paddings, 1 to 3 axes."""

import itertools
import math

import numpy as np

from harness import Case, normal


def pairs(value, rank):
    return (value,) * rank if isinstance(value, int) else tuple(value)


def np_windows(x, bounds, reduce):
    """`reduce(window, axes)` for every combination of (first, last) of `bounds`, one list per spatial axis."""
    axes = tuple(range(1, x.ndim - 1))
    y = np.empty((len(x), *map(len, bounds), x.shape[-1]))
    for at in itertools.product(*(range(len(b)) for b in bounds)):
        places = tuple(slice(*b[i]) for b, i in zip(bounds, at))
        y[(slice(None), *at)] = reduce(x[(slice(None), *places)], axes)
    return y


def sliding(size, k, stride, padding):
    if padding == "valid":
        return [(i, i + k) for i in range(0, size - k + 1, stride)]
    count = math.ceil(size / stride)
    before = max((count - 1) * stride + k - size, 0) // 2
    return [(max(i * stride - before, 0), min(i * stride - before + k, size)) for i in range(count)]


def np_pool(reduce):
    def reference(x, pool_size, strides=None, padding="valid", data_format="channels_last"):
        if data_format == "channels_first":
            y = reference(np.moveaxis(x, 1, -1), pool_size, strides, padding)
            return np.moveaxis(y, -1, 1)
        sizes = pairs(pool_size, x.ndim - 2)
        steps = sizes if strides is None else pairs(strides, x.ndim - 2)
        return np_windows(x, [sliding(n, k, s, padding) for n, k, s in zip(x.shape[1:], sizes, steps)], reduce)
    return reference


def np_adaptive(reduce):
    def reference(x, output_size, data_format="channels_last"):
        if data_format == "channels_first":
            return np.moveaxis(reference(np.moveaxis(x, 1, -1), output_size), -1, 1)
        bounds = [[(i * n // o, math.ceil((i + 1) * n / o)) for i in range(o)]
                  for n, o in zip(x.shape[1:], pairs(output_size, x.ndim - 2))]
        return np_windows(x, bounds, reduce)
    return reference


SLIDING = [
    ((3, 4, 6, 32), {"pool_size": 2}, "2x2"),
    ((2, 5, 7, 17), {"pool_size": 2}, "odd"),
    ((2, 5, 7, 6), {"pool_size": 2, "padding": "same"}, "odd same"),
    ((2, 7, 9, 16), {"pool_size": 3, "strides": 2}, "overlapping"),
    ((2, 8, 7, 3), {"pool_size": 3, "strides": 2, "padding": "same"}, "overlapping same"),
    ((2, 9, 6, 1), {"pool_size": (2, 3), "strides": (1, 2)}, "two strides"),
    ((2, 7, 8, 6), {"pool_size": (2, 3), "strides": (2, 1), "padding": "same"}, "columns overlap"),
    ((2, 11, 9, 5), {"pool_size": 2, "strides": 4}, "gaps"),
    ((2, 11, 9, 5), {"pool_size": 2, "strides": (3, 4), "padding": "same"}, "gaps same"),
    ((2, 5, 4, 3), {"pool_size": 1}, "one place"),
    ((2, 3, 4, 3), {"pool_size": 5, "strides": 1, "padding": "same"}, "larger than the input"),
    ((2, 3, 6, 7), {"pool_size": 2, "data_format": "channels_first"}, "channels_first"),
    ((3, 9, 17), {"pool_size": 2}, "1 axis"),
    ((3, 9, 4), {"pool_size": 4, "strides": 2, "padding": "same"}, "1 axis same"),
    ((2, 4, 6, 5, 3), {"pool_size": 2}, "3 axes"),
    ((2, 5, 4, 6, 3), {"pool_size": (3, 2, 2), "strides": (2, 2, 1), "padding": "same"}, "3 axes same"),
    ((9, 24, 24, 19), {"pool_size": 2}, "shared by threads"),
    ((9, 24, 24, 19), {"pool_size": 3, "strides": 2}, "overlapping, shared by threads"),
]
ADAPTIVE = [
    ((2, 6, 8, 17), {"output_size": (3, 2)}, "even"),
    ((2, 7, 5, 3), {"output_size": (3, 4)}, "uneven"),
    ((2, 4, 3, 6), {"output_size": 5}, "larger than the input"),
    ((2, 3, 7, 5), {"output_size": 3, "data_format": "channels_first"}, "channels_first"),
    ((3, 10, 4), {"output_size": 4}, "1 axis"),
    ((2, 5, 4, 6, 3), {"output_size": (2, 2, 3)}, "3 axes"),
]
CASES = [
    *(Case(name, np_pool(reduce), (normal(*shape),), kwargs, tag=tag, scale=scale)
      for name, reduce, scale in (("max_pool", np.max, 0), ("average_pool", np.mean, 1))
      for shape, kwargs, tag in SLIDING),
    *(Case(name, np_adaptive(reduce), (normal(*shape),), kwargs, tag=tag, scale=scale)
      for name, reduce, scale in (("adaptive_max_pool", np.max, 0), ("adaptive_average_pool", np.mean, 1))
      for shape, kwargs, tag in ADAPTIVE),
]
