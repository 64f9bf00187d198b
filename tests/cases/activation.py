"""Rows for the activations. Inputs keep a distance from kinks, where a central difference means nothing."""

import math

import numpy as np

from harness import Case, normal, uniform

ERF = np.vectorize(math.erf, otypes=[float])


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def softplus(x):
    return np.logaddexp(0, x)


def elu(x, alpha=1.0, scale=1.0, rate=1.0):
    return scale * np.where(x > 0, x, alpha * np.expm1(rate * np.minimum(x, 0)))


def relu_general(x, negative_slope=0.0, max_value=None, threshold=0.0):
    y = np.where(x > threshold, x, 0)
    y = y if max_value is None else np.minimum(np.maximum(y, 0), max_value)
    return y - negative_slope * np.maximum(threshold - x, 0)


def squareplus(x, b=4):
    root = np.sqrt(x * x + b)
    return np.where(x > 0, x + root, b / (root - x)) / 2


def gelu(x, approximate=True):
    if approximate:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + ERF(x / np.sqrt(2)))


REFERENCES = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "log_sigmoid": lambda x: -softplus(-x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "gelu": gelu,
    "hard_sigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hard_silu": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "soft_shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
    "hard_shrink": lambda x: np.where(np.abs(x) > 0.5, x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "elu": elu,
    "selu": lambda x: elu(x, 1.6732632423543772, 1.0507009873554805),
    "celu": elu,
    "squareplus": squareplus,
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x >= 1, x, (x + 1) ** 2 / 4)),
}
# Fixed points of every regime, then random ones; none within 1e-3 of a kink.
POINTS = np.array(
    [-30.0, -9.0, -6.5, -3.5, -2.0, -0.7, -0.3, -0.01, 0.02, 0.4, 0.8, 1.7, 2.9, 3.3, 5.5, 6.4, 12.0, 30.0]
)

CASES = []
for name, reference in REFERENCES.items():
    CASES.append(Case(name, reference, (POINTS,)))
    CASES.append(Case(name, reference, (normal(70001, scale=4),), grad=(), tag="chunks"))
    CASES.append(Case(name, reference, (uniform(0),), grad=(), tag="empty"))
    CASES.append(Case(name, reference, (uniform(low=1.1, high=2.9),), tag="scalar"))
CASES += [
    Case("gelu", gelu, (POINTS,), {"approximate": False}, tag="exact"),
    Case("elu", elu, (POINTS,), {"alpha": 0.7}, tag="alpha"),
    Case("elu", elu, (POINTS,), {"alpha": -0.7}, tag="negative-alpha"),
    Case("celu", lambda x, alpha: elu(x, alpha, 1.0, 1 / alpha), (POINTS,), {"alpha": 1.7}, tag="alpha"),
    Case(
        "leaky_relu",
        lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
        (POINTS,),
        {"negative_slope": -0.5},
        tag="negative-slope",
    ),
    Case(
        "soft_shrink",
        lambda x, threshold: np.sign(x) * np.maximum(np.abs(x) - threshold, 0),
        (POINTS,),
        {"threshold": 2.5},
        tag="threshold",
    ),
    Case(
        "hard_shrink",
        lambda x, threshold: np.where(np.abs(x) > threshold, x, 0),
        (POINTS,),
        {"threshold": 2.5},
        tag="threshold",
    ),
    Case(
        "threshold",
        lambda x, threshold, default_value: np.where(x > threshold, x, default_value),
        (POINTS,),
        {"threshold": 1.0, "default_value": 20.0},
    ),
    Case(
        "relu_general", relu_general, (POINTS,), {"negative_slope": 0.1, "max_value": 5.0, "threshold": 1.0}
    ),
    Case("relu_general", relu_general, (POINTS,), {}, tag="plain"),
    Case("relu_general", relu_general, (POINTS,), {"threshold": 1.25, "max_value": 0.75}, tag="max below threshold"),
    Case("relu_general", relu_general, (POINTS,), {"threshold": -1.25}, tag="negative threshold"),
    Case("relu_general", relu_general, (POINTS,), {"threshold": -1.25, "max_value": 2.0, "negative_slope": 0.5},
         tag="negative threshold and max"),
    Case("squareplus", squareplus, (POINTS,), {"b": 0.5}, tag="b"),
    Case("prelu", lambda x, a: np.where(x > 0, x, a * x), (normal(6, 5, 18), uniform(18, low=0.1))),
    Case(
        "prelu",
        lambda x, a: np.where(x > 0, x, a * x),
        (normal(6, 5, 18), uniform(1, 18, low=0.1)),
        tag="shared",
    ),
]

# Far arguments: no overflow on the way to a finite result.
FAR = np.array([-1e30, -1000.0, -100.0, -50.0, 50.0, 100.0, 1000.0, 1e30])
for name in (
    "tanh",
    "sigmoid",
    "softplus",
    "log_sigmoid",
    "softsign",
    "silu",
    "mish",
    "elu",
    "selu",
    "hard_silu",
):
    CASES.append(Case(name, REFERENCES[name], (FAR,), grad=(), tag="far"))
