"""Sorting, searching, counting, cumulative sums and products."""

import numpy as np

from harness import Case, integers, normal
from pydl import ops


def top_k(x, k):
    order = np.argsort(-x, axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(x, order, -1), order


def in_top_k(targets, predictions, k):
    own = predictions[np.arange(len(targets)), targets]
    return (predictions > own[:, None]).sum(axis=1) < k


def holes(*shape):
    """An input with ties, NaN, infinities and both zeros."""
    def draw(rng):
        x = np.round(rng.normal(0, 2, shape))
        x[rng.random(shape) < 0.1] = np.nan
        x[rng.random(shape) < 0.05] = np.inf
        x[rng.random(shape) < 0.05] = -np.inf
        return np.where((x == 0) & (rng.random(shape) < 0.5), -0.0, x)

    return draw


def stable(x, axis=-1):
    return np.argsort(x, axis=axis, kind="stable")


def bincount(x, minlength):
    return np.stack([np.bincount(row, minlength=minlength) for row in x])


EDGES = np.array([-1.0, 0.0, 0.5, 2.0])

CASES = [
    Case("sort", np.sort, (normal(5, 7),)),
    Case("sort", np.sort, (normal(6, 130),), {"axis": 0}, tag="axis 0"),
    Case("sort", lambda x, axis: np.sort(x, axis), (normal(3, 70),), {"axis": None}, tag="flattened"),
    Case("sort", np.sort, (normal(0, 3),), tag="empty"),
    Case("sort", np.sort, (normal(3, 0),), tag="empty rows"),
    Case("sort", np.sort, (integers(4, 99, low=-1000, high=1000, dtype="int64"),), tag="int64"),
    Case("argsort", stable, (holes(3, 20),), grad=(), tag="insertion"),
    Case("argsort", stable, (holes(3, 500),), grad=(), tag="radix"),
    Case("argsort", stable, (integers(3, 400, low=-9, high=9),), {"axis": 0}, grad=(), tag="axis 0"),
    Case("argsort", stable, (integers(2, 300, high=255, dtype="uint8"),), grad=(), tag="uint8"),
    Case("argsort", stable, (lambda rng: rng.random((2, 60)) < 0.5,), grad=(), tag="bool"),
    Case("top_k", top_k, (normal(5, 9),), {"k": 3}),
    Case("top_k", top_k, (integers(4, 200, high=50),), {"k": 40}, tag="many, with ties"),
    Case("top_k", top_k, (integers(4, 20, high=5),), {"k": 7}, tag="ties"),
    Case("top_k", top_k, (normal(2, 3, 60),), {"k": 60}, tag="all"),
    Case("in_top_k", in_top_k, (integers(8, high=6), normal(8, 6)), {"k": 2}, grad=()),
    Case("searchsorted", np.searchsorted, (lambda rng: np.sort(np.round(rng.normal(0, 2, 30))), holes(4, 9)), grad=()),
    Case("searchsorted", np.searchsorted, (lambda rng: np.sort(np.round(rng.normal(0, 2, 30))), holes(40)),
         {"side": "right"}, grad=(), tag="right"),
    Case("searchsorted", np.searchsorted, (normal(0), normal(3)), grad=(), tag="empty"),
    Case("digitize", lambda x: np.digitize(x, EDGES), (normal(3, 5),),
         fn=lambda x: ops.digitize(x, EDGES.astype(x.dtype)), grad=()),
    Case("bincount", np.bincount, (integers(40, high=7),), {"minlength": 9}, grad=()),
    Case("bincount", bincount, (integers(3, 40, high=7),), {"minlength": 7}, grad=(), tag="batch"),
    Case("bincount", lambda x, weights, minlength: np.bincount(x, weights, minlength),
         (integers(40, high=7), normal(40)), {"minlength": 7}, grad=(), tag="weights"),
    Case("histogram", np.histogram, (normal(50),), {"bins": 7}, grad=(), replay=False, symbolic=False),  # reads values
    Case("cumsum", np.cumsum, (normal(3, 5, 4),), {"axis": 1}, scale=8),
    Case("cumsum", np.cumsum, (normal(3, 50),), {"axis": -1}, tag="last", scale=32),
    Case("cumsum", np.cumsum, (normal(3, 4),), tag="flattened", scale=8),
    Case("cumsum", np.cumsum, (normal(0, 4),), {"axis": 0}, tag="empty"),
    Case("cumsum", np.cumsum, (integers(9),), tag="int"),
    Case("cumprod", np.cumprod, (normal(3, 5, 4),), {"axis": 1}),
    Case("cumprod", np.cumprod, (lambda rng: np.where(rng.random((4, 6)) < 0.2, 0.0, rng.normal(size=(4, 6))),),
         {"axis": 1}, tag="zeros"),
    Case("cumsum", np.cumsum, (normal(19, 6),), {"axis": 1}, tag="rows side by side", scale=8),
    Case("cumsum", np.cumsum, (lambda rng: rng.random((2, 6)) < 0.5,), {"axis": 1}, tag="bool"),
    Case("diff", np.diff, (normal(3, 6),)),
    Case("diff", np.diff, (normal(5, 3),), {"n": 2, "axis": 0}, tag="twice"),
]
