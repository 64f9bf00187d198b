"""NumPy, for the rows that are one array operation."""

from __future__ import annotations

import numpy as np


def set_threads(n):
    try:
        import threadpoolctl

        threadpoolctl.threadpool_limits(n)
    except ImportError:
        pass  # the environment variables of the harness hold


def matmul(m, n, k):
    rng = np.random.default_rng(0)
    a, b, out = rng.random((m, k), np.float32), rng.random((k, n), np.float32), np.empty((m, n), np.float32)
    return lambda: np.matmul(a, b, out=out), 1


def unary(function, n):
    x = np.random.default_rng(0).normal(size=n).astype(np.float32)
    y = np.empty_like(x)
    if function == "relu":
        return lambda: np.maximum(x, 0, out=y), 1
    if function == "tanh":
        return lambda: np.tanh(x, out=y), 1
    if function == "sigmoid":
        return lambda: 1 / (1 + np.exp(-x)), 1
    x = x.reshape(1024, -1)

    def softmax():
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)

    return softmax, 1
