"""Rows for regularizers and constraints."""

import numpy as np

from harness import Case, normal
from pydl import constraints, regularizers


def orthogonal(x, factor, mode):
    x = x if mode == "rows" else x.T
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    upper = np.triu_indices(len(x), 1)
    return factor * np.mean(np.abs(unit @ unit.T)[upper])


def max_norm(w, limit=2, axis=0):
    norms = np.sqrt(np.sum(w**2, axis=axis, keepdims=True))
    return w * np.minimum(norms, limit) / (norms + 1e-7)


def min_max_norm(w, low, high, rate):
    norms = np.sqrt(np.sum(w**2, axis=0, keepdims=True))
    return w * (rate * np.clip(norms, low, high) + (1 - rate) * norms) / (norms + 1e-7)


CASES = [
    Case("L1", lambda x: 0.3 * np.abs(x).sum(), (normal(6, 5),), fn=regularizers.L1(0.3)),
    Case("L2", lambda x: 0.3 * np.square(x).sum(), (normal(6, 5),), fn=regularizers.L2(0.3)),
    Case("L1L2", lambda x: 0.3 * np.abs(x).sum() + 0.2 * np.square(x).sum(), (normal(6, 5),),
         fn=regularizers.L1L2(0.3, 0.2)),
    Case("OrthogonalRegularizer", lambda x: orthogonal(x, 0.5, "rows"), (normal(4, 6),),
         fn=regularizers.OrthogonalRegularizer(0.5)),
    Case("OrthogonalRegularizer", lambda x: orthogonal(x, 0.5, "columns"), (normal(4, 6),),
         fn=regularizers.OrthogonalRegularizer(0.5, "columns"), tag="columns"),
    Case("MaxNorm", max_norm, (normal(6, 5),), fn=constraints.MaxNorm()),
    Case("MaxNorm", lambda w: max_norm(w, 1.5, (0, 1)), (normal(3, 3, 4),), fn=constraints.MaxNorm(1.5, axis=(0, 1)),
         tag="axes"),
    Case("NonNeg", lambda w: np.maximum(w, 0), (normal(6, 5),), fn=constraints.NonNeg()),
    Case("UnitNorm", lambda w: w / (np.linalg.norm(w, axis=1, keepdims=True) + 1e-7), (normal(6, 5),),
         fn=constraints.UnitNorm(axis=1)),
    Case("MinMaxNorm", lambda w: min_max_norm(w, 1.0, 2.0, 0.7), (normal(6, 5),),
         fn=constraints.MinMaxNorm(1.0, 2.0, rate=0.7)),
]
