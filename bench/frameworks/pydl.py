"""pydl, through its public API: recorded functions for single ops, `fit` on arrays for training."""

from __future__ import annotations

import numpy as np

import pydl as keras
from bench.workloads import NETS, data
from pydl import ops


def set_threads(n):
    keras.config.set_threads(n)


def _replay(fn, *args):
    """The replay of a recorded function: what a training step or a prediction consists of."""
    recorded = keras.function(fn)
    return recorded.capture(args).program.run, 1


def matmul(m, n, k):
    rng = np.random.default_rng(0)
    return _replay(ops.matmul, rng.random((m, k), np.float32), rng.random((k, n), np.float32))


def unary(function, n):
    x = np.random.default_rng(0).normal(size=n).astype(np.float32)
    return _replay(getattr(ops, function), x.reshape(1024, -1) if function == "softmax" else x)


def dropout(n, rate):
    x = np.random.default_rng(0).random(n, np.float32)
    seed = keras.random.SeedGenerator(1)
    return _replay(lambda t: keras.random.dropout(t, rate, seed=seed), x)


def batch_norm(shape):
    layer = keras.layers.BatchNormalization()
    x = np.random.default_rng(0).random(shape, np.float32)
    layer.build(shape)
    ones = keras.ops.ones(shape)

    def step(t):
        t = keras.Tensor(t.data)
        keras.autograd.watch(t)
        with keras.GradientTape() as tape:
            y = layer(t, training=True)
        return tape.gradient(y, [t, layer.gamma, layer.beta], output_gradients=ones)

    return _replay(step, x)


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
    """`fit` itself with its progress bar, on arrays in memory: one call is an epoch."""
    steps = 4000 if net == "tiny" else 100
    x, y = data(net, steps * batch)
    m = model(net)

    def epoch():
        m.fit(x, y, batch_size=batch, epochs=1, verbose=1)

    return epoch, steps


def predict(net):
    m = model(net)
    x = np.random.default_rng(0).random((1, NETS[net]["features"]), np.float32)
    return lambda: m.predict_on_batch(x), 1
