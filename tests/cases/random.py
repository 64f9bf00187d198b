"""An int seed gives the same draw at every call, so what is drawn is a plain function of the inputs."""

import functools

import numpy as np

from harness import Case, normal, uniform
from pydl import random


def seeded(fn):
    return functools.partial(fn, seed=7)


def drop(x, rate, noise_shape=None):
    """The reference draws its mask from a row of ones; what it checks is how the mask is applied."""
    shape = x.shape if noise_shape is None else noise_shape
    return x * np.asarray(random.dropout(np.ones(shape, "float64"), rate, seed=7))


CASES = [
    Case("random.dropout", None, (normal(9, 33),), {"rate": 0.3}, fn=seeded(random.dropout)),
    Case("random.dropout", drop, (normal(9, 33),), {"rate": 0.3}, fn=seeded(random.dropout), dtypes=("float64",),
         tag="mask"),
    Case("random.dropout", drop, (normal(9, 5, 3),), {"rate": 0.5, "noise_shape": (9, 1, 3)},
         fn=seeded(random.dropout), dtypes=("float64",), tag="noise_shape"),
    Case("random.dropout", lambda x, rate: x * 0, (normal(9, 33),), {"rate": 1.0}, fn=seeded(random.dropout),
         tag="all"),
    Case("random.alpha_dropout", None, (normal(9, 33),), {"rate": 0.3}, fn=seeded(random.alpha_dropout)),
    Case("random.alpha_dropout", None, (normal(9, 3, 3),), {"rate": 0.3, "noise_shape": (9, 1, 3)},
         fn=seeded(random.alpha_dropout), tag="noise_shape"),
    Case("random.shuffle", None, (normal(50, 2),), fn=seeded(random.shuffle)),
    Case("random.categorical", None, (uniform(6, 10),), {"num_samples": 5}, fn=seeded(random.categorical), grad=()),
    Case("random.dropout", None, (normal(200001),), {"rate": 0.3}, fn=seeded(random.dropout), tag="long",
         symbolic=False),
]
