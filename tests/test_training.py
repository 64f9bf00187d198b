"""Loss curves pinned against an independent float64 training loop in NumPy: forward, backward and update by hand.

A wrong gradient, update rule, order of rows or reduction changes the curve from the first steps on.
"""

import numpy as np
import pytest

import pydl as keras
from pydl import layers

rng = np.random.default_rng(77)
ROWS, FEATURES, HIDDEN, CLASSES, BATCH, EPOCHS = 96, 5, 7, 3, 32, 20
X = rng.normal(size=(ROWS, FEATURES))
LABELS = np.argmax(X @ rng.normal(size=(FEATURES, CLASSES)), axis=1)
L2 = 0.01


def start():
    draw = np.random.default_rng(1)
    return [draw.normal(size=(FEATURES, HIDDEN)) * 0.5, np.zeros(HIDDEN), np.ones(HIDDEN), np.zeros(HIDDEN),
            draw.normal(size=(HIDDEN, CLASSES)) * 0.5, np.zeros(CLASSES)]


def step(weights, x, labels):
    """Loss and gradients of Dense(tanh, L2) -> BatchNormalization -> Dense(softmax) with cross-entropy.

    x (B, FEATURES), labels (B,).
    """
    w1, b1, gamma, beta, w2, b2 = weights
    B = len(x)
    h = np.tanh(x @ w1 + b1)  # (B, HIDDEN)
    mean, variance = h.mean(0), h.var(0)
    inverse = 1 / np.sqrt(variance + 1e-3)
    n = (h - mean) * inverse
    z = (n * gamma + beta) @ w2 + b2  # (B, CLASSES)
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    loss = -np.log(p[np.arange(B), labels]).mean() + L2 * np.sum(w1**2)
    dz = (p - np.eye(CLASSES)[labels]) / B
    dm = dz @ w2.T
    dn = dm * gamma
    dh = inverse * (dn - dn.mean(0) - n * (dn * n).mean(0))
    da = dh * (1 - h**2)
    return loss, [x.T @ da + 2 * L2 * w1, da.sum(0), (dm * n).sum(0), dm.sum(0), (n * gamma + beta).T @ dz, dz.sum(0)]


class SGD:
    def __init__(self, rate=0.1):
        self.rate = rate

    def __call__(self, w, g, memory, t):
        return w - self.rate * g


class Momentum(SGD):
    def __call__(self, w, g, memory, t):
        memory["v"] = 0.9 * memory.get("v", 0) - self.rate * g
        return w + memory["v"]


class Adam(SGD):
    def __call__(self, w, g, memory, t):
        memory["m"] = 0.9 * memory.get("m", 0) + 0.1 * g
        memory["v"] = 0.999 * memory.get("v", 0) + 0.001 * g**2
        return w - self.rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * memory["m"] / (np.sqrt(memory["v"]) + 1e-7)


def curve(rule):
    """Mean loss of every epoch, in float64."""
    weights, memory, losses, t = start(), [{} for _ in range(6)], [], 0
    for _ in range(EPOCHS):
        epoch = []
        for at in range(0, ROWS, BATCH):
            t += 1
            loss, gradients = step(weights, X[at:at + BATCH], LABELS[at:at + BATCH])
            weights = [rule(w, g, m, t) for w, g, m in zip(weights, gradients, memory)]
            epoch.append(loss)
        losses.append(np.mean(epoch))
    return losses, weights


OPTIMIZERS = {
    "sgd": (SGD(0.1), lambda: keras.optimizers.SGD(0.1)),
    "momentum": (Momentum(0.05), lambda: keras.optimizers.SGD(0.05, momentum=0.9)),
    "adam": (Adam(0.01), lambda: keras.optimizers.Adam(0.01)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_loss_curve(name, dtype):
    rule, optimizer = OPTIMIZERS[name]
    keras.config.set_floatx(dtype)
    try:
        model = keras.Sequential([
            keras.Input((FEATURES,)),
            layers.Dense(HIDDEN, activation="tanh", kernel_regularizer=keras.regularizers.L2(L2)),
            layers.BatchNormalization(), layers.Dense(CLASSES, activation="softmax")])
        for variable, value in zip(model.trainable_variables, start(), strict=True):
            variable.assign(value)
        model.compile(optimizer(), "sparse_categorical_crossentropy")
        got = model.fit(X, LABELS, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0).history["loss"]
        weights = [v.numpy() for v in model.trainable_variables]
    finally:
        keras.config.set_floatx("float32")
    losses, want = curve(rule)
    assert losses[-1] < 0.7 * losses[0]
    # Rounding of 60 steps, each a few hundred operations deep; Adam turns the rounding of gradients near 0 into steps.
    # In float64 the cross-entropy's guard against log(0), p clipped to [1e-7, 1], has no effect on these p.
    tolerance = 60 * 500 * np.finfo(dtype).eps
    np.testing.assert_allclose(got, losses, rtol=tolerance)
    for v, w in zip(weights, want):
        np.testing.assert_allclose(v, w, rtol=0, atol=tolerance * max(1, np.abs(w).max()) * 10)


def test_digits_are_learnt():
    """The shipped images of handwritten digits: pinned from below, far above what a broken step reaches."""
    (x, y), (x_test, y_test) = keras.datasets.digits.load_data()
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input(x.shape[1:]), layers.Rescaling(1 / 255), layers.Flatten(),
                              layers.Dense(128, activation="relu"), layers.Dropout(0.2),
                              layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=3, verbose=0).history
    _, accuracy = model.evaluate(x_test, y_test, verbose=0)
    assert history["loss"] == sorted(history["loss"], reverse=True)
    assert accuracy > 0.93
