"""Gather, scatter, slices, `x[...]`, embedding, one-hot."""

import numpy as np

from harness import Case, integers, normal
from pydl import ops


def one_hot(x, num_classes, axis=-1, dtype=None):
    hot = (x[..., None] == np.arange(num_classes)).astype(dtype or "float32")
    return np.moveaxis(hot, -1, axis)


def multi_hot(x, num_classes):
    hot = one_hot(x, num_classes)
    return hot.max(axis=1 if x.ndim > 1 else 0)


def scatter_add(base, indices, values):
    y = base.copy()
    np.add.at(y, tuple(np.moveaxis(indices, -1, 0)), values)
    return y


def scatter_update(inputs, indices, updates, reduction=None):
    y = inputs.copy()
    ufunc = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}.get(reduction)
    where = tuple(np.moveaxis(indices, -1, 0))
    if ufunc is None:
        y[where] = updates
    else:
        ufunc.at(y, where, updates)
    return y


def segment(ufunc, start):
    def reference(data, segment_ids, num_segments):
        y = np.full((num_segments,) + data.shape[1:], start, data.dtype)
        inside = (segment_ids >= 0) & (segment_ids < num_segments)  # the others are left out
        ufunc.at(y, segment_ids[inside], data[inside])
        return y

    return reference


def window(inputs, start_indices, shape):
    return inputs[tuple(slice(s, None if n == -1 else s + n) for s, n in zip(start_indices, shape))]


def slice_update(inputs, updates, start_indices):
    y = inputs.copy()
    y[tuple(slice(s, s + n) for s, n in zip(start_indices, updates.shape))] = updates
    return y


def item(shape, key, tag):
    return Case("getitem", lambda x: x[key], (normal(*shape),), fn=lambda x: x[key], tag=tag)


def distinct(n, high):
    """An input of n different integers."""
    return lambda rng: rng.permutation(high)[:n].astype("int32")


MASK = np.array([True, False, True])

CASES = [
    Case("take", np.take, (normal(5, 3), integers(7, low=-5, high=5)), {"axis": 0}),
    Case("take", np.take, (normal(4, 6, 3), integers(2, 5, high=6)), {"axis": 1}, tag="middle"),
    Case("take", np.take, (normal(4, 6), integers(8, high=24)), tag="flattened"),
    Case("take", np.take, (normal(4, 6), integers(0, high=6)), {"axis": -1}, tag="no indices"),
    Case("take", lambda x, indices, axis: np.take(x, indices, axis), (normal(4, 6),), {"indices": 2, "axis": 0},
         tag="scalar"),
    Case("take", np.take, (normal(9, 70), integers(600, high=9)), {"axis": 0}, tag="large"),
    Case("take", np.take, (integers(4, 6, dtype="int64"), integers(3, high=4)), {"axis": 0}, tag="int64"),
    Case("embedding", lambda table, ids: table[ids], (normal(7, 3), integers(4, 5, high=7))),
    Case("embedding", lambda table, ids: table[ids], (normal(11, 130), integers(40, 9, high=11)), tag="wide"),
    Case("embedding", lambda table, ids: table[ids], (normal(50, 8), integers(90, 99, high=50)), tag="long",
         rtol_eps=64),
    Case("embedding", lambda table, ids: table[ids], (normal(7, 3), integers(4, 5, high=7, dtype="int64")),
         tag="int64"),
    Case("embedding", lambda table, ids: table[ids.astype(int)],
         (normal(7, 3), lambda rng: rng.integers(0, 7, 9) + 0.5),
         grad=(0,), tag="float ids"),
    Case("embedding", lambda table, ids: table[ids], (normal(7, 3), integers(0, 5, high=7)), tag="empty"),
    Case("take_along_axis", np.take_along_axis, (normal(4, 6, 3), integers(4, 2, 3, low=-6, high=6)), {"axis": 1}),
    Case("take_along_axis", np.take_along_axis, (normal(4, 6), integers(1, 5, high=6)), {"axis": -1}, tag="broadcast"),
    Case("take_along_axis", lambda x, i: np.take_along_axis(x, i, None), (normal(4, 6), integers(5, high=24)),
         tag="flattened"),
    Case("scatter", lambda indices, values, shape: scatter_add(np.zeros(shape), indices, values),
         (integers(6, 1, low=-5, high=5), normal(6, 3)), {"shape": (5, 3)}),
    Case("scatter", lambda indices, values, shape: scatter_add(np.zeros(shape), indices, values),
         (integers(2, 7, 2, high=4), normal(2, 7, 3)), {"shape": (4, 5, 3)}, tag="pairs"),
    Case("scatter_update", scatter_update, (normal(6, 3), lambda rng: rng.permutation(6)[:4, None].astype("int32"),
                                            normal(4, 3))),
    Case("scatter_update", scatter_update, (normal(4, 3), integers(5, 2, high=3), normal(5)), grad=(), tag="pairs"),
    *[Case("scatter_update", scatter_update, (normal(4, 3), integers(9, 1, high=4), normal(9, 3)),
           {"reduction": r}, grad="all" if r == "add" else (), tag=r) for r in ("add", "mul", "max", "min")],
    Case("segment_sum", segment(np.add, 0), (normal(9, 2), integers(9, high=4)), {"num_segments": 5}),
    Case("segment_sum", segment(np.add, 0), (normal(9, 2), integers(9, low=-2, high=6)), {"num_segments": 3},
         tag="padding"),
    Case("segment_max", segment(np.maximum, -np.inf), (normal(9, 2), integers(9, low=-2, high=6)),
         {"num_segments": 3}, grad=(), tag="padding"),
    Case("segment_max", segment(np.maximum, -np.inf), (normal(9, 2), integers(9, high=4)), {"num_segments": 5},
         grad=()),
    Case("slice", window, (normal(5, 6),), {"start_indices": (1, 2), "shape": (3, -1)}),
    Case("slice", window, (normal(5, 6),), {"start_indices": (2, 0), "shape": (3, 6)}, tag="contiguous"),
    Case("slice", window, (normal(5, 6),), {"start_indices": (5, 0), "shape": (0, 6)}, tag="empty"),
    Case("slice_update", slice_update, (normal(5, 6), normal(2, 3)), {"start_indices": (1, 3)},
         fn=lambda x, u, start_indices: ops.slice_update(x, start_indices, u)),
    item((5, 6), (2,), "row"),
    item((5, 6), (-1, -2), "element"),
    item((5, 6), (slice(1, 4),), "rows: a view"),
    item((5, 6), (slice(None, None, -2), slice(4, None, -1)), "negative steps"),
    *[item((3, n), (slice(None), slice(None, None, 2)), f"every second of {n}") for n in (33, 64, 65, 131)],
    item((5, 6), (slice(9, None),), "beyond the end"),
    item((2, 3, 4), (Ellipsis, 1), "ellipsis"),
    item((2, 3, 4), (slice(None), None, 1, ..., None), "new axes"),
    item((5, 6), (np.array([3, -1, 3]),), "index array"),
    item((5, 6), ([[0, 1], [2, 3]],), "list"),
    item((2, 5, 6), (slice(None), np.array([3, 1]), np.array([[0], [5]])), "two adjacent arrays"),
    item((2, 5, 6), (np.array([1, 0]), slice(None), np.array([2, 5])), "two separate arrays"),
    item((3, 4), (MASK,), "constant mask"),
    Case("getitem", lambda x, i: x[i], (normal(5, 6), integers(3, 2, low=-5, high=5)), fn=lambda x, i: x[i],
         tag="index tensor"),
    Case("getitem", lambda x, i, j: x[i, j], (normal(5, 6), integers(3, high=5), integers(3, high=6)),
         fn=lambda x, i, j: x[i, j], tag="two index tensors"),
    # How many there are depends on the values: neither recorded nor inferred.
    Case("getitem", lambda x, m: x[m], (normal(5, 6), lambda rng: rng.random((5, 6)) < 0.5), fn=lambda x, m: x[m],
         tag="mask", replay=False, symbolic=False),
    Case("nonzero", np.nonzero, (integers(4, 5, high=2),), grad=(), replay=False, symbolic=False),
    Case("unravel_index", np.unravel_index, (integers(3, 4, high=24),), {"shape": (2, 3, 4)}, grad=()),
    Case("one_hot", one_hot, (integers(7, low=-1, high=6),), {"num_classes": 5}, grad=()),
    Case("one_hot", one_hot, (integers(3, 4, high=5),), {"num_classes": 5, "axis": 1, "dtype": "int32"}, grad=(),
         tag="axis"),
    Case("one_hot", one_hot, (integers(0, high=5),), {"num_classes": 5}, grad=(), tag="empty"),
    Case("multi_hot", multi_hot, (integers(3, 4, low=-1, high=6),), {"num_classes": 6}, grad=()),
    Case("multi_hot", multi_hot, (integers(4, high=6),), {"num_classes": 6}, grad=(), tag="vector"),
    Case("multi_hot", multi_hot, (integers(2, 3, 4, high=6),), {"num_classes": 6}, grad=(), tag="rank 3"),
]
