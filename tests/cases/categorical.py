"""Rows of the layers for categories that run inside models."""

from __future__ import annotations

import numpy as np

from harness import LayerCase, integers, normal

TERMS = [7, 3, 11]


def np_counts(x, depth):
    return np.stack([np.bincount(row, minlength=depth)[:depth] for row in x]).astype(float)


def np_lookup(x, first=1):
    return np.vectorize(lambda v: first + TERMS.index(v) if v in TERMS else 0)(x)


BOUNDS = [-0.5, 0.25, 1.0]
IDS = (integers(3, 5, high=6),)

CASES = [
    LayerCase("CategoryEncoding", lambda w, x: np.eye(6)[x], IDS, {"num_tokens": 6, "output_mode": "one_hot"},
              grad=False, tag="one_hot"),
    LayerCase("CategoryEncoding", lambda w, x: np.minimum(np_counts(x, 6), 1), IDS, {"num_tokens": 6}, grad=False),
    LayerCase("CategoryEncoding", lambda w, x: np_counts(x, 6), IDS, {"num_tokens": 6, "output_mode": "count"},
              grad=False, tag="count"),
    LayerCase("Discretization", lambda w, x: np.digitize(x, BOUNDS), (normal(3, 5),), {"bin_boundaries": BOUNDS},
              grad=False),
    LayerCase("Discretization", lambda w, x: np_counts(np.digitize(x, BOUNDS), 4), (normal(3, 5),),
              {"bin_boundaries": BOUNDS, "output_mode": "count"}, grad=False, tag="count"),
    LayerCase("IntegerLookup", lambda w, x: np_lookup(x), (integers(3, 5, high=13),), {"vocabulary": TERMS},
              grad=False),
    LayerCase("IntegerLookup", lambda w, x: np_counts(np_lookup(x), 4), (integers(3, 5, high=13),),
              {"vocabulary": TERMS, "output_mode": "count"}, grad=False, tag="count"),
]
