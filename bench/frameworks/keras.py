"""Keras 3 on JAX: the same scripts as pydl's, `fit` on arrays."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras  # noqa: E402
import numpy as np  # noqa: E402

from bench.frameworks import _script  # noqa: E402
from bench.frameworks._script import model  # noqa: E402
from bench.workloads import STEPS, data, samples  # noqa: E402


def set_threads(n):
    """The number of threads is fixed by the affinity the harness gives the process."""


def train(net, batch, steps=None):
    steps = steps or (200 if net == "tiny" else STEPS.get(net, 200))
    x, y = data(net, steps * batch)
    m = model(keras, net)
    return lambda: m.fit(x, y, batch_size=batch, epochs=1, verbose=0), steps


def predict(net, rows=1):
    return _serve(model(keras, net), net, rows)


def _serve(m, net, rows):
    x = samples(net, rows)
    return lambda: np.asarray(m.predict_on_batch(x)), 1


def save(net, path):
    model(keras, net).save(f"{path}.keras")


def load(net, path):
    return _serve(keras.saving.load_model(f"{path}.keras"), net, 1)


def gan(batch):
    return _script.gan(keras, batch)
