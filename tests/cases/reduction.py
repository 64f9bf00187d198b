"""Reductions, softmax and log-sum-exp against NumPy in float64."""

import numpy as np

import pydl
from harness import Case, integers, normal, uniform

# Every layout of the kernels: runs, short rows, columns (narrower and wider than a register), several groups,
# several pieces, sizes one off a register, size 1, empty.
LAYOUTS = [
    ((7, 5), None), ((7, 5), -1), ((7, 5), 0), ((1,), 0), ((33, 257), 1), ((3, 40, 17), 1), ((3, 40, 17), (0, 2)),
    ((5, 1, 65), (0, 1)), ((2, 3, 4, 5), (1, 3)), ((2, 600, 3), 1), ((16, 16, 10), -1), ((140000,), None),
    ((70000, 3), 0), ((2, 70000), -1), ((9, 9000), -1), ((3000, 130), 0), ((20000, 33), -1), ((1, 1, 1), (0, 2)),
]
SMALL = [row for row in LAYOUTS if np.prod(row[0]) < 10000]


def rows(name, reference, layouts, draw=normal, **options):
    return [
        Case(name, reference, (draw(*shape),), {"axis": axis}, tag=f"{shape}-{axis}".replace(" ", ""),
             scale=options.get("scale", 1.0) * max(1.0, np.sqrt(np.prod(shape))),
             **{k: v for k, v in options.items() if k != "scale"})
        for shape, axis in layouts
    ]


def single_axis(layouts):
    return [(shape, axis) for shape, axis in layouts if axis is None or isinstance(axis, int)]


def np_logsumexp(x, axis=None, keepdims=False):
    m = np.max(x, axis=axis, keepdims=True)
    m = np.where(np.isfinite(m), m, 0.0)
    y = np.log(np.sum(np.exp(x - m), axis=axis, keepdims=True)) + m
    return y if keepdims else np.squeeze(y, axis=axis)


def np_softmax(x, axis=-1):
    e = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def np_log_softmax(x, axis=-1):
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


def np_masked_softmax(x, mask, axis=-1):
    return np_softmax(np.where(np.broadcast_to(mask, x.shape) > 0.5, x, -1e9), axis)


def np_sum_to_shape(x, shape):
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    return x.sum(axis=tuple(a for a, n in enumerate(shape) if n == 1), keepdims=True)


def np_moments(x, axes, keepdims=False):
    return np.mean(x, axis=axes, keepdims=keepdims), np.var(x, axis=axes, keepdims=keepdims)


def booleans(*shape):
    return lambda rng: rng.random(shape) < 0.7


def with_values(shape, *values):
    """Normal draws in which some places hold the given values."""

    def draw(rng):
        x = rng.normal(size=shape)
        for value in values:
            x.reshape(-1)[rng.integers(0, x.size, max(1, x.size // 10))] = value
        return x

    return draw


SOFTMAX = [((7, 5), -1), ((7, 5), 0), ((7, 1), -1), ((33, 257), 1), ((3, 40, 17), 1), ((2, 600, 3), 1),
            ((1, 70000), -1),
           ((3, 4, 5), (0, 2)), ((2, 3, 4), None), ((40, 32), -1), ((16, 10), -1), ((1700, 10), -1), ((0, 4), -1)]

CASES = [
    *rows("sum", np.sum, LAYOUTS),
    *rows("mean", np.mean, LAYOUTS),
    *rows("max", np.max, LAYOUTS),
    *rows("min", np.min, LAYOUTS),
    *rows("amax", np.max, SMALL[:2]),
    *rows("amin", np.min, SMALL[:2]),
    *rows("prod", np.prod, SMALL[:9], draw=lambda *s: uniform(*s, low=0.8, high=1.2), rtol_eps=128),
    *rows("any", lambda x, axis: np.any(x, axis=axis), SMALL, draw=booleans, grad=()),
    *rows("all", lambda x, axis: np.all(x, axis=axis), SMALL, draw=booleans, grad=()),
    *rows("count_nonzero", np.count_nonzero, SMALL, draw=booleans, grad=()),
    *rows("argmax", np.argmax, single_axis(LAYOUTS), grad=()),
    *rows("argmin", np.argmin, single_axis(LAYOUTS), grad=()),
    *rows("var", np.var, LAYOUTS),
    *rows("std", np.std, [row for row in SMALL if np.prod(row[0]) > 1]),
    *rows("logsumexp", np_logsumexp, LAYOUTS),
    *rows("norm", lambda x, axis: np.sqrt(np.sum(x * x, axis=axis)), LAYOUTS, scale=10.0),
    *rows("softmax", np_softmax, SOFTMAX, scale=0.0, rtol_eps=64),
    *rows("log_softmax", np_log_softmax, SOFTMAX, scale=1.0),
    Case("sum", np.sum, (normal(2, 3, 4),), {"axis": 1, "keepdims": True}, tag="keepdims"),
    Case("sum", np.sum, (normal(0, 3),), {"axis": 0}, tag="empty"),
    Case("sum", np.sum, (normal(3, 0),), {"axis": 0}, tag="empty-result"),
    Case("sum", np.sum, (integers(9, 40, low=-100, high=100),), {"axis": 1}, tag="int32"),
    Case("sum", lambda x: np.sum(x, dtype="int32"), (booleans(9, 40),), tag="bool"),
    Case("sum", lambda x: np.sum(x, axis=(0, 2), dtype="int32"), (booleans(9, 4, 3),),
         fn=lambda x: pydl.ops.sum(x, (0, 2)),
         tag="bool-groups"),
    Case("mean", np.mean, (integers(9, 40),), {"axis": 0}, tag="int32"),
    Case("mean", lambda x: np.array(np.nan), (normal(0,),), tag="empty"),
    Case("mean", np.mean, (normal(2, 3, 4),), {"axis": (0, 2), "keepdims": True}, tag="keepdims"),
    Case("max", np.max, (with_values((9, 40), np.nan, np.inf),), {"axis": 1}, grad=(), tag="nan"),
    Case("max", np.max, (with_values((40, 9), np.nan, -np.inf),), {"axis": 0}, grad=(), tag="nan-columns"),
    Case("max", np.max, (integers(9, 40, low=-100, dtype="int64"),), {"axis": 1}, tag="int64"),
    Case("max", np.max, (booleans(3, 4),), {"axis": 1}, tag="bool"),
    Case("max", np.max, (normal(3, 4),), {"axis": 1, "initial": 0.5}, tag="initial"),
    Case("max", np.max, (normal(3, 0),), {"axis": 1, "initial": 0.5}, tag="initial-empty"),
    Case("min", np.min, (with_values((9, 40), np.nan, np.inf),), {"axis": 1}, grad=(), tag="nan"),
    Case("min", np.min, (normal(3, 4),), {"axis": (0, 1), "keepdims": True}, tag="keepdims"),
    Case("prod", np.prod, (with_values((6, 7), 0.0),), {"axis": 1, "keepdims": True}, tag="zeros"),
    Case("prod", np.prod, (integers(3, 4, low=-3, high=4),), tag="int32"),
    Case("prod", np.prod, (normal(0,),), tag="empty"),
    Case("argmax", np.argmax, (with_values((9, 40), np.nan),), {"axis": 1}, grad=(), tag="nan"),
    Case("argmax", np.argmax, (with_values((9, 5), np.nan),), {"axis": 1}, grad=(), tag="nan-short"),
    Case("argmax", np.argmax, (integers(50, 7, high=3),), {"axis": -1}, tag="ties"),
    Case("argmax", np.argmax, (integers(3, 70000, high=500),), {"axis": -1}, tag="ties-pieces"),
    Case("argmax", np.argmax, (integers(40, 20, high=3),), {"axis": 0, "keepdims": True}, tag="ties-columns"),
    Case("argmin", np.argmin, (with_values((40, 9), np.nan),), {"axis": 0}, grad=(), tag="nan-columns"),
    Case("argmin", np.argmin, (integers(50, 7, high=3, dtype="int64"),), tag="ties-flat"),
    Case("any", np.any, (with_values((5, 6), 0.0),), {"axis": 1, "keepdims": True}, grad=(), tag="floats"),
    Case("all", np.all, (integers(5, 6, high=2),), {"axis": (0, 1)}, tag="ints"),
    Case("count_nonzero", np.count_nonzero, (with_values((5, 6), 0.0, np.nan),), grad=(), tag="floats"),
    Case("average", np.average, (normal(5, 6),), {"axis": 0}),
    Case("average", lambda x, w, axis: np.average(x, axis=axis, weights=w),
         (normal(5, 6), uniform(5, 6, low=0.5, high=2.0)), {"axis": 1},
          fn=lambda x, w, axis: pydl.ops.average(x, axis, w),
         scale=1.0, tag="weights"),
    Case("average", lambda x, w, axis: np.average(x, axis=axis, weights=w),
         (normal(5, 6), uniform(6, low=0.5, high=2.0)), {"axis": 1}, fn=lambda x, w, axis: pydl.ops.average(x, axis, w),
         scale=1.0, tag="weights-1d"),
    Case("moments", np_moments, (normal(6, 50, loc=3.0),), {"axes": 1}, rtol_eps=64),
    Case("moments", np_moments, (normal(4, 5, 6, loc=3.0),), {"axes": (0, 2), "keepdims": True}, rtol_eps=64,
         tag="groups"),
    Case("var", np.var, (normal(9, 300, loc=1000.0),), {"axis": 1}, grad=(), rtol_eps=4096, tag="far-from-zero"),
    Case("std", np.std, (normal(4, 5, 6),), {"axis": (0, 2)}, rtol_eps=64, tag="groups"),
    Case("logsumexp", np_logsumexp, (with_values((7, 60), -np.inf, 500.0),), {"axis": 1}, grad=(), tag="extremes"),
    Case("logsumexp", np_logsumexp, (normal(3, 4, 5, scale=100.0),), {"axis": (0, 2), "keepdims": True},
         tag="keepdims"),
    *[Case("norm", lambda x, ord, axis: np.linalg.norm(x, ord, axis), (normal(5, 6),), {"ord": o, "axis": 1},
            tag=f"ord{o}")
      for o in (1, 2, np.inf, -np.inf, 3, 0.5)],
    Case("norm", lambda x, ord, axis: np.linalg.norm(x, ord, axis), (with_values((5, 6), 0.0),), {"ord": 0, "axis": 1},
         grad=(), tag="ord0"),
    *[Case("norm", lambda x, ord, axis: np.linalg.norm(x, ord, axis), (normal(3, 5, 6),), {"ord": o, "axis": (2, 0)},
           tag=f"matrix-{o}") for o in (1, -1, np.inf, -np.inf, "fro")],
    Case("median", np.median, (normal(5, 6),), {"axis": 1}),
    Case("median", np.median, (normal(5, 7, 3),), {"axis": (0, 2), "keepdims": True}, tag="groups"),
    *[Case("quantile", np.quantile, (normal(5, 8),), {"q": [0.0, 0.3, 0.5, 1.0], "axis": 1, "method": m}, tag=m)
      for m in ("linear", "lower", "higher", "midpoint", "nearest")],
    Case("quantile", np.quantile, (normal(5, 8),), {"q": 0.25}, tag="all"),
    Case("sum_to_shape", np_sum_to_shape, (normal(4, 3, 5, 6),), {"shape": (3, 1, 6)}),
    Case("sum_to_shape", np_sum_to_shape, (normal(4, 3),), {"shape": ()}, tag="scalar"),
    Case("sum_to_shape", np_sum_to_shape, (normal(4, 3),), {"shape": (1, 3)}, tag="rows"),
    Case("softmax", np_softmax, (normal(6, 5, scale=1000.0),), grad=(), tag="saturated"),
    Case("log_softmax", np_log_softmax, (normal(6, 5, scale=1000.0),), tag="saturated", rtol_eps=64),
    Case("masked_softmax", np_masked_softmax, (normal(6, 5), booleans(6, 5)), rtol_eps=64),
    Case("masked_softmax", np_masked_softmax, (normal(4, 3, 50), booleans(4, 1, 50)), rtol_eps=64, tag="broadcast"),
    Case("masked_softmax", np_masked_softmax, (normal(4, 5), np.zeros((4, 5), bool)), grad=(), rtol_eps=64,
         tag="nothing-left"),
]
