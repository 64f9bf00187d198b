"""Rows of the layers of LeNet-5 as published."""

from __future__ import annotations

import numpy as np

from harness import LayerCase, normal

TABLE = [[0, 1], [2], [0, 1, 2], [2, 0]]


def np_tanh(x):
    return 1.7159 * np.tanh(2 * x / 3)


def np_subsample(w, x, n=2):
    height, width = x.shape[1] // n, x.shape[2] // n
    windows = x[:, :height * n, :width * n].reshape(len(x), height, n, width, n, -1)
    return windows.sum((2, 4)) * w[0] + w[1]


def np_table(w, x):
    """Every connection of the table by itself, at every place."""
    size = w[0].shape[0]
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    y = np.tile(w[1], (len(x), height, width, 1))
    connection = 0
    for out, maps in enumerate(TABLE):
        for channel in maps:
            for i in range(size):
                for j in range(size):
                    y[..., out] += x[:, i:i + height, j:j + width, channel] * w[0][i, j, connection]
            connection += 1
    return y


def first(reference):
    """`reference` on images whose channels come first."""
    return lambda w, x: np.moveaxis(reference(w, np.moveaxis(x, 1, -1)), -1, 1)


CASES = [
    LayerCase("SubSampling2D", np_subsample, (normal(3, 4, 6, 5),)),
    LayerCase("SubSampling2D", lambda w, x: np_tanh(np_subsample(w, x, 3)), (normal(2, 7, 6, 2),),
              {"pool_size": 3, "activation": "scaled_tanh"}, tag="odd"),
    LayerCase("SubSampling2D", first(np_subsample), (normal(3, 5, 4, 6),),
              {"data_format": "channels_first"}, tag="channels_first"),
    LayerCase("SparseTableConv2D", np_table, (normal(3, 6, 5, 3),), {"table": TABLE, "kernel_size": 3}, rtol_eps=64),
    LayerCase("SparseTableConv2D", lambda w, x: np_tanh(np_table(w, x)), (normal(2, 4, 4, 4, scale=0.3),),
              {"table": TABLE, "kernel_size": 2, "activation": "scaled_tanh"}, tag="unused map", rtol_eps=64),
    LayerCase("SparseTableConv2D", first(np_table), (normal(3, 3, 6, 5),),
              {"table": TABLE, "kernel_size": 3, "data_format": "channels_first"}, tag="channels_first", rtol_eps=64),
    LayerCase("RBF", lambda w, x: -((x[:, None] - w[0]) ** 2).sum(-1), (normal(5, 7),), {"units": 4}),
]
