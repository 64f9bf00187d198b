"""Rows of the optimizer suite: a class, its options, and the published rule transcribed to NumPy float64.

A rule is a generator function: it receives the initial weights and the options, and for each (gradient, rate) sent to
it yields the new weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from harness import Case, normal
from pydl import optimizers
from pydl.ops import ewma as pydl_ewma


@dataclass(frozen=True)
class Row:
    name: str
    rule: Callable
    options: dict = field(default_factory=dict)

    def __str__(self):
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.options.items())])

    @property
    def cls(self):
        return getattr(optimizers, self.name)


def sgd(w, momentum=0.0, nesterov=False):
    m = np.zeros_like(w)
    while True:
        g, lr = yield w
        m = momentum * m - lr * g
        w = w + (momentum * m - lr * g if nesterov else m)


def rmsprop(w, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False):
    v, a, m = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    while True:
        g, lr = yield w
        v = rho * v + (1 - rho) * g**2
        a = rho * a + (1 - rho) * g
        m = momentum * m + lr * g / np.sqrt(v - (a**2 if centered else 0) + epsilon)
        w = w - m


def adam(w, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False):
    m, v, top, t = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w), 0
    while True:
        g, lr = yield w
        t += 1
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        top = np.maximum(top, v)
        w = w - lr * np.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (np.sqrt(top if amsgrad else v) + epsilon)


def adamax(w, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m, u, t = np.zeros_like(w), np.zeros_like(w), 0
    while True:
        g, lr = yield w
        t += 1
        m = beta_1 * m + (1 - beta_1) * g
        u = np.maximum(beta_2 * u, np.abs(g))
        w = w - lr / (1 - beta_1**t) * m / (u + epsilon)


def nadam(w, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    m, v, t = np.zeros_like(w), np.zeros_like(w), 0

    def u(k):
        return beta_1 * (1 - 0.5 * 0.96**k)

    while True:
        g, lr = yield w
        t += 1
        now = np.prod([u(k) for k in range(1, t + 1)])
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        m_hat = u(t + 1) * m / (1 - now * u(t + 1)) + (1 - u(t)) * g / (1 - now)
        w = w - lr * m_hat / (np.sqrt(v / (1 - beta_2**t)) + epsilon)


def adagrad(w, initial_accumulator_value=0.1, epsilon=1e-7):
    a = np.full_like(w, initial_accumulator_value)
    while True:
        g, lr = yield w
        a = a + g**2
        w = w - lr * g / np.sqrt(a + epsilon)


def adadelta(w, rho=0.95, epsilon=1e-7):
    a, x = np.zeros_like(w), np.zeros_like(w)
    while True:
        g, lr = yield w
        a = rho * a + (1 - rho) * g**2
        d = -np.sqrt(x + epsilon) / np.sqrt(a + epsilon) * g
        x = rho * x + (1 - rho) * d**2
        w = w + lr * d


def ftrl(w, learning_rate_power=-0.5, initial_accumulator_value=0.1, l1_regularization_strength=0.0,
         l2_regularization_strength=0.0, l2_shrinkage_regularization_strength=0.0, beta=0.0):
    n, z, l1 = np.full_like(w, initial_accumulator_value), np.zeros_like(w), l1_regularization_strength
    while True:
        g, lr = yield w
        n_next = n + g**2
        sigma = (n_next**-learning_rate_power - n**-learning_rate_power) / lr
        z = z + g + 2 * l2_shrinkage_regularization_strength * w - sigma * w
        ridge = l2_regularization_strength + beta / (2 * lr)
        w = np.where(np.abs(z) <= l1, 0, (np.sign(z) * l1 - z) / (n_next**-learning_rate_power / lr + 2 * ridge))
        n = n_next


def lion(w, beta_1=0.9, beta_2=0.99):
    m = np.zeros_like(w)
    while True:
        g, lr = yield w
        w = w - lr * np.sign(beta_1 * m + (1 - beta_1) * g)
        m = beta_2 * m + (1 - beta_2) * g


def ewma(x, beta=0.9, bias_correction=True):
    t = np.arange(len(x))
    weights = np.where(t[:, None] >= t, (1 - beta) * beta ** np.maximum(t[:, None] - t, 0), 0)
    if bias_correction:
        weights = weights / weights.sum(axis=1, keepdims=True)
    return np.tensordot(weights, x, 1)


ROWS = [
    Row("SGD", sgd),
    Row("SGD", sgd, {"momentum": 0.9}),
    Row("SGD", sgd, {"momentum": 0.8, "nesterov": True}),
    Row("RMSprop", rmsprop),
    Row("RMSprop", rmsprop, {"rho": 0.8, "momentum": 0.5}),
    Row("RMSprop", rmsprop, {"centered": True, "epsilon": 1e-3}),
    Row("RMSprop", rmsprop, {"centered": True, "momentum": 0.9, "epsilon": 1e-2}),
    Row("Adam", adam),
    Row("Adam", adam, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}),
    Row("Adam", adam, {"amsgrad": True, "beta_2": 0.5}),
    Row("AdamW", adam, {"amsgrad": True}),
    Row("Adamax", adamax),
    Row("Adamax", adamax, {"beta_1": 0.7, "beta_2": 0.9, "epsilon": 1e-2}),
    Row("Nadam", nadam),
    Row("Nadam", nadam, {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    Row("Adagrad", adagrad),
    Row("Adagrad", adagrad, {"initial_accumulator_value": 0.0, "epsilon": 1e-3}),
    Row("Adadelta", adadelta),
    Row("Adadelta", adadelta, {"rho": 0.8, "epsilon": 1e-3}),
    Row("Ftrl", ftrl),
    Row("Ftrl", ftrl, {"l1_regularization_strength": 0.3, "l2_regularization_strength": 0.2,
                       "l2_shrinkage_regularization_strength": 0.1, "beta": 0.5}),
    Row("Ftrl", ftrl, {"learning_rate_power": -0.75, "initial_accumulator_value": 0.5}),
    Row("Lion", lion),
    Row("Lion", lion, {"beta_1": 0.5, "beta_2": 0.9}),
]

CASES = [
    Case("ewma", ewma, (normal(20, 3),), {"beta": 0.8}, fn=pydl_ewma, grad=(), scale=1.0),
    Case("ewma", ewma, (normal(20),), {"bias_correction": False}, fn=pydl_ewma, grad=(), tag="uncorrected",
         scale=1.0),
    Case("l1_l2_penalty", lambda x, l1, l2: l1 * np.sum(np.abs(x)) + l2 * np.sum(x**2), (normal(37, 3),),
         {"l1": 0.3, "l2": 0.7}),
    Case("l1_l2_penalty", lambda x, l2: l2 * np.sum(x**2), (normal(50000),), {"l2": 0.01}, tag="blocks"),
]
