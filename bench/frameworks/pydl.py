"""pydl, through its public API: recorded functions for single ops, `fit` on arrays for training."""

from __future__ import annotations

import numpy as np

import pydl as keras
from bench.frameworks import _script
from bench.frameworks._script import model
from bench.frameworks._seq2seq_pydl import decode, seq2seq  # noqa: F401  what the worker asks for
from bench.workloads import STEPS, data, samples
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


def conv(shape, filters, size, padding, strides, direction):
    x = np.random.default_rng(0).random(shape, np.float32)
    kernel = keras.Variable(np.full((size, size, shape[-1], filters), 0.1, np.float32))
    bias = keras.Variable(np.zeros(filters, np.float32))

    def forward(t):
        return ops.conv(t, kernel, strides, padding, bias=bias)

    ones = ops.ones(forward(x).shape)
    sources = [kernel, bias]

    def step(t):
        if direction == "both":
            t = keras.Tensor(t.data)
            keras.autograd.watch(t)
        with keras.GradientTape() as tape:
            y = forward(t)
        return tape.gradient(y, sources + ([t] if direction == "both" else []), output_gradients=ones)

    return _replay(forward if direction == "forward" else step, x)


def pool(mode, shape):
    x = np.random.default_rng(0).random(shape, np.float32)
    f = ops.max_pool if mode == "max" else ops.average_pool
    ones = ops.ones(f(x, 2).shape)

    def step(t):
        t = keras.Tensor(t.data)
        keras.autograd.watch(t)
        with keras.GradientTape() as tape:
            y = f(t, 2)
        return tape.gradient(y, t, output_gradients=ones)

    return _replay(step, x)


def recurrent(layer, shape, units, both_ways):
    x = np.random.default_rng(0).random(shape, np.float32)
    made = getattr(keras.layers, layer)(units, return_sequences=True)
    made = keras.layers.Bidirectional(made) if both_ways else made
    ones = ops.ones(made(x).shape)

    def step(t):
        t = keras.Tensor(t.data)
        keras.autograd.watch(t)
        with keras.GradientTape() as tape:
            y = made(t, training=True)
        return tape.gradient(y, [t, *made.trainable_weights], output_gradients=ones)

    return _replay(step, x)


def train(net, batch, steps=None):
    """`fit` itself with its progress bar, on arrays in memory: one call is an epoch."""
    steps = steps or STEPS.get(net, 100)
    x, y = data(net, steps * batch)
    m = model(keras, net)

    def epoch():
        m.fit(x, y, batch_size=batch, epochs=1, verbose=1)

    return epoch, steps


def predict(net, rows=1):
    return _serve(model(keras, net), net, rows)


def _serve(m, net, rows):
    x = samples(net, rows)
    return lambda: m.predict_on_batch(x), 1


def save(net, path):
    model(keras, net).save(f"{path}.keras")


def load(net, path):
    return _serve(keras.models.load_model(f"{path}.keras"), net, 1)


def gan(batch):
    return _script.gan(keras, batch)
