"""Rows of the losses. The NumPy functions `np_<name>` state each per-sample loss once, in float64.

`CASES` runs them through the harness (function forms, gradients, replay); `LOSSES` lists the classes with arguments,
which test_losses.py checks against the same functions and tests/reference against Keras.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from harness import Case, integers, normal, uniform
from pydl import losses

EPS = 1e-7


def np_mean_squared_error(t, p):
    return np.mean((t - p) ** 2, -1)


def np_mean_absolute_error(t, p):
    return np.mean(np.abs(t - p), -1)


def np_mean_absolute_percentage_error(t, p):
    return 100 * np.mean(np.abs((t - p) / np.maximum(np.abs(t), EPS)), -1)


def np_mean_squared_logarithmic_error(t, p):
    return np.mean((np.log(np.maximum(p, EPS) + 1) - np.log(np.maximum(t, EPS) + 1)) ** 2, -1)


def np_huber(t, p, delta=1.0):
    e = np.abs(t - p)
    return np.mean(np.where(e <= delta, e**2 / 2, delta * e - delta**2 / 2), -1)


def np_log_cosh(t, p):
    return np.mean(np.log(np.cosh(p - t)), -1)


def _signs(t):
    return 2 * t - 1 if np.isin(t, (0, 1)).all() else t


def np_hinge(t, p):
    return np.mean(np.maximum(1 - _signs(t) * p, 0), -1)


def np_squared_hinge(t, p):
    return np.mean(np.maximum(1 - _signs(t) * p, 0) ** 2, -1)


def np_categorical_hinge(t, p):
    return np.maximum(np.max((1 - t) * p, -1) - np.sum(t * p, -1) + 1, 0)


def np_kl_divergence(t, p):
    t, p = np.clip(t, EPS, 1), np.clip(p, EPS, 1)
    return np.sum(t * np.log(t / p), -1)


def np_poisson(t, p):
    return np.mean(p - t * np.log(p + EPS), -1)


def np_cosine_similarity(t, p, axis=-1):
    def unit(x):
        return x / np.sqrt(np.maximum(np.sum(x * x, axis, keepdims=True), 1e-12))

    return np.sum(unit(t) * unit(p), axis)


def np_negative_cosine_similarity(t, p, axis=-1):
    return -np_cosine_similarity(t, p, axis)


def np_binary_terms(t, p, from_logits=False, label_smoothing=0.0):
    p = 1 / (1 + np.exp(-p)) if from_logits else np.clip(p, EPS, 1 - EPS)
    t = t * (1 - label_smoothing) + label_smoothing / 2
    return -t * np.log(p) - (1 - t) * np.log(1 - p)


def np_binary_crossentropy(t, p, from_logits=False, label_smoothing=0.0, axis=-1):
    return np.mean(np_binary_terms(t, p, from_logits, label_smoothing), axis)


def np_binary_focal_crossentropy(t, p, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False,
                                 label_smoothing=0.0, axis=-1):
    p = 1 / (1 + np.exp(-p)) if from_logits else p
    t = t * (1 - label_smoothing) + label_smoothing / 2
    value = (1 - t * p - (1 - t) * (1 - p)) ** gamma * np_binary_terms(t, p)
    return np.mean(value * (t * alpha + (1 - t) * (1 - alpha)) if apply_class_balancing else value, axis)


def np_probabilities(p, from_logits, axis):
    if from_logits:
        p = np.exp(p - p.max(axis, keepdims=True))
    total = p.sum(axis, keepdims=True)
    p = p / np.where(total == 0, 1, total)
    return p if from_logits else np.clip(p, EPS, 1 - EPS)


def np_categorical_crossentropy(t, p, from_logits=False, label_smoothing=0.0, axis=-1):
    t = t * (1 - label_smoothing) + label_smoothing / t.shape[-1]
    return -np.sum(t * np.log(np_probabilities(p, from_logits, axis)), axis)


def np_categorical_focal_crossentropy(t, p, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1):
    t = t * (1 - label_smoothing) + label_smoothing / t.shape[-1]
    p = np.clip(np_probabilities(p, from_logits, axis), EPS, 1 - EPS)
    return -np.sum(alpha * t * (1 - p) ** gamma * np.log(p), axis)


def np_sparse_categorical_crossentropy(t, p, from_logits=False, ignore_class=None, axis=-1):
    t = t.squeeze(axis) if t.ndim == p.ndim else t
    keep = np.ones(t.shape, bool) if ignore_class is None else t != ignore_class
    chosen = np.take_along_axis(np_probabilities(p, from_logits, axis),
                                np.expand_dims(np.where(keep, t, 0).astype(int), axis), axis).squeeze(axis)
    return np.where(keep, -np.log(chosen), 0.0)


def np_categorical_generalized_cross_entropy(t, p, q):
    return (1 - np.take_along_axis(p, t[:, None].astype(int), 1)[:, 0] ** q) / q


def np_dice(t, p, axis=None):
    return 1 - 2 * np.sum(t * p, axis) / (np.sum(t, axis) + np.sum(p, axis) + EPS)


def np_tversky(t, p, alpha=0.5, beta=0.5, axis=None):
    both = np.sum(t * p, axis)
    return 1 - both / (both + alpha * np.sum(t * (1 - p), axis) + beta * np.sum((1 - t) * p, axis) + EPS)


def np_circle(t, p, gamma=80.0, margin=0.4, remove_diagonal=True):
    out = []
    for i in range(len(t)):
        pull, push = [], []
        for j in range(len(t)):
            s = min(float(p[i] @ p[j]), 1.0)  # similarity
            if t[i] != t[j]:
                push.append(gamma * max(s + margin, 0) * (s - margin))
            elif i != j or not remove_diagonal:
                pull.append(-gamma * (1 + margin - s) * (s - 1 + margin))
        both = np.logaddexp.reduce(pull or [-np.inf]) + np.logaddexp.reduce(push or [-np.inf])
        out.append(np.logaddexp(0, both))
    return np.array(out)


def labels(*shape):
    return lambda rng: rng.integers(0, 2, shape).astype("float64")


def one_hot(n, classes):
    return lambda rng: np.eye(classes)[rng.integers(0, classes, n)]


def soft(*shape):
    """Rows of probabilities."""
    return lambda rng: rng.dirichlet(np.full(shape[-1], 2.0), shape[:-1])


def unit(n, k):
    def draw(rng):
        x = rng.normal(size=(n, k))
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    return draw


REAL = (normal(6, 5), normal(6, 5))
POSITIVE = (uniform(6, 5, low=0.1, high=3.0), uniform(6, 5, low=0.1, high=3.0))
PROBABLE = (labels(6, 5), uniform(6, 5, low=0.05, high=0.95))
CLASSES = (one_hot(6, 5), soft(6, 5))
NUMBERS = (integers(6, high=5), soft(6, 5))
EMBEDDED = (integers(8, high=3), unit(8, 4))


@dataclass(frozen=True)
class LossRow:
    """A loss class with arguments, its function, and inputs for which it is meant."""

    name: str
    function: str
    inputs: tuple
    args: dict = field(default_factory=dict)
    second: bool = True  # as of `Case`

    def __str__(self):
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in self.args.items())})"

    def reference(self, t, p):
        """(batch,) per-sample values in float64."""
        return globals()[f"np_{self.function}"](t, p, **self.args)


LOSSES = [
    LossRow("MeanSquaredError", "mean_squared_error", REAL),
    LossRow("MeanAbsoluteError", "mean_absolute_error", REAL),
    LossRow("MeanAbsolutePercentageError", "mean_absolute_percentage_error", POSITIVE),
    LossRow("MeanSquaredLogarithmicError", "mean_squared_logarithmic_error", POSITIVE),
    LossRow("Huber", "huber", REAL),
    LossRow("Huber", "huber", REAL, {"delta": 0.3}),
    LossRow("LogCosh", "log_cosh", REAL),
    LossRow("Hinge", "hinge", (labels(6, 5), normal(6, 5))),
    LossRow("SquaredHinge", "squared_hinge", (labels(6, 5), normal(6, 5))),
    LossRow("CategoricalHinge", "categorical_hinge", (one_hot(6, 5), normal(6, 5))),
    LossRow("CosineSimilarity", "negative_cosine_similarity", REAL),
    LossRow("CosineSimilarity", "negative_cosine_similarity", REAL, {"axis": 0}),
    LossRow("KLDivergence", "kl_divergence", (soft(6, 5), soft(6, 5))),
    LossRow("Poisson", "poisson", POSITIVE),
    LossRow("BinaryCrossentropy", "binary_crossentropy", PROBABLE),
    LossRow("BinaryCrossentropy", "binary_crossentropy", (labels(6, 5), normal(6, 5)), {"from_logits": True}),
    LossRow("BinaryCrossentropy", "binary_crossentropy", PROBABLE, {"label_smoothing": 0.2}),
    LossRow("BinaryFocalCrossentropy", "binary_focal_crossentropy", PROBABLE),
    LossRow("BinaryFocalCrossentropy", "binary_focal_crossentropy", (labels(6, 5), normal(6, 5)),
            {"apply_class_balancing": True, "gamma": 1.5, "alpha": 0.3, "from_logits": True, "label_smoothing": 0.1}),
    LossRow("CategoricalCrossentropy", "categorical_crossentropy", CLASSES),
    LossRow("CategoricalCrossentropy", "categorical_crossentropy", (one_hot(6, 5), normal(6, 5)),
            {"from_logits": True, "label_smoothing": 0.1}),
    LossRow("CategoricalFocalCrossentropy", "categorical_focal_crossentropy", CLASSES),
    LossRow("CategoricalFocalCrossentropy", "categorical_focal_crossentropy", (one_hot(6, 5), normal(6, 5)),
            {"alpha": 0.4, "gamma": 1.5, "from_logits": True, "label_smoothing": 0.1}),
    LossRow("SparseCategoricalCrossentropy", "sparse_categorical_crossentropy", NUMBERS),
    LossRow("SparseCategoricalCrossentropy", "sparse_categorical_crossentropy", (integers(6, high=5), normal(6, 5)),
            {"from_logits": True}),
    LossRow("CategoricalGeneralizedCrossEntropy", "categorical_generalized_cross_entropy", NUMBERS, {"q": 0.7}),
    LossRow("Dice", "dice", PROBABLE),
    LossRow("Dice", "dice", PROBABLE, {"axis": (1,)}),
    LossRow("Tversky", "tversky", PROBABLE, {"alpha": 0.3, "beta": 0.8}),
    LossRow("Circle", "circle", EMBEDDED, {"gamma": 2.0}),
    # The distance of an embedding of norm 1 to itself is at the kink of max(1 - cos, 0).
    LossRow("Circle", "circle", EMBEDDED, {"gamma": 2.0, "margin": 0.3, "remove_diagonal": False}, second=False),
]


def _function(row: LossRow):
    """The function form of a row, with all arguments spelled out."""
    name = "cosine_similarity" if row.name == "CosineSimilarity" else row.function
    return lambda t, p: getattr(losses, name)(t, p, **row.args)


def _class(row: LossRow):
    return lambda t, p: getattr(losses, row.name)(dtype=p.dtype, **row.args)(t, p)


# p of a float32 is within eps / 2 of what it was drawn as, and log(1 - p) near p = 1 magnifies that: hence rtol.
CASES = [Case(f"losses.{row.function}", row.reference, row.inputs, fn=_function(row), grad=(-1,), rtol_eps=64,
              tag=str(row), second=row.second) for row in LOSSES]
CASES += [Case(f"losses.{row.name}", lambda t, p, row=row: np.mean(row.reference(t, p)), row.inputs, fn=_class(row),
               grad=(-1,), rtol_eps=64, tag=str(row)) for row in LOSSES if row.name not in ("Circle",)]
