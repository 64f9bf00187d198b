"""Keras 3 on JAX: the same scripts as pydl's, `fit` on arrays."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras  # noqa: E402
import numpy as np  # noqa: E402

from bench.workloads import NETS, data  # noqa: E402


def set_threads(n):
    """The number of threads is fixed by the affinity the harness gives the process."""


def model(net):
    shape = NETS[net]
    layers = [keras.Input((shape["features"],))]
    l2 = keras.regularizers.L2(shape["l2"]) if shape["l2"] else None
    for units in shape["hidden"]:
        if shape["batch_norm"]:
            layers += [keras.layers.Dense(units, use_bias=False), keras.layers.BatchNormalization(),
                       keras.layers.Activation("relu")]
        else:
            layers.append(keras.layers.Dense(units, activation="relu", kernel_regularizer=l2))
        if shape["dropout"]:
            layers.append(keras.layers.Dropout(shape["dropout"]))
    binary = shape["outputs"] == 1
    layers.append(keras.layers.Dense(shape["outputs"], activation="sigmoid" if binary else "softmax"))
    net = keras.Sequential(layers)
    net.compile(optimizer="adam", loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy",
                metrics=["accuracy"])
    return net


def train(net, batch):
    steps = 200
    x, y = data(net, steps * batch)
    m = model(net)
    return lambda: m.fit(x, y, batch_size=batch, epochs=1, verbose=0), steps


def predict(net):
    m = model(net)
    x = np.random.default_rng(0).random((1, NETS[net]["features"]), np.float32)
    return lambda: np.asarray(m.predict_on_batch(x)), 1
