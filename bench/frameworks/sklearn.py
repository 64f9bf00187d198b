"""scikit-learn's MLP, where it has the network (dense layers without dropout or batch norm; other rows stay empty)."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from bench.workloads import NETS, data

warnings.simplefilter("ignore", ConvergenceWarning)


def set_threads(n):
    """BLAS threads come from the environment the harness sets."""


def train(net, batch):
    shape = NETS[net]
    if "hidden" not in shape or shape["batch_norm"] or shape["dropout"]:
        return None
    steps = 200
    x, y = data(net, steps * batch)
    m = MLPClassifier(shape["hidden"], batch_size=batch, max_iter=1, alpha=shape["l2"], warm_start=True)
    y = y.ravel().astype(int)
    return lambda: m.fit(x, y), steps


def predict(net, rows=1):
    shape = NETS[net]
    if "hidden" not in shape:
        return None
    x, y = data(net, 256)
    m = MLPClassifier(shape["hidden"], max_iter=1).fit(x, y.ravel())
    x = np.ascontiguousarray(x[:rows])
    return lambda: m.predict_proba(x), 1
