"""Rows of the recurrent layers, and their definition in NumPy: one step after the other."""

from __future__ import annotations

import numpy as np

from harness import LayerCase, normal

X = normal(3, 4, 2)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def np_simple(w, x, h, f=np.tanh):
    (h,) = h
    return [f(x @ w[0] + h @ w[1] + (w[2] if len(w) > 2 else 0))]


def np_lstm(w, x, states, f=np.tanh):
    h, c = states
    i, forget, g, o = np.split(x @ w[0] + h @ w[1] + (w[2] if len(w) > 2 else 0), 4, -1)
    c = sigmoid(forget) * c + sigmoid(i) * f(g)
    return [sigmoid(o) * f(c), c]


def np_gru(w, x, states, f=np.tanh):
    (h,), u = states, w[1].shape[0]
    bias = w[2] if len(w) > 2 else np.zeros((2, 3 * u))
    b_x, b_h = bias if bias.ndim == 2 else (bias, None)
    a, k = x @ w[0] + b_x, w[1]
    b = h @ k + (0 if b_h is None else b_h)
    z, r = sigmoid(a[:, :u] + b[:, :u]), sigmoid(a[:, u:2 * u] + b[:, u:2 * u])
    n = f(a[:, 2 * u:] + ((r * h) @ k[:, 2 * u:] if b_h is None else r * b[:, 2 * u:]))
    return [z * h + (1 - z) * n]


def walk(cell, w, x, mask=None, backwards=False, states=None, **options):
    """(outputs in the order of the walk, last states); a masked step repeats the output and leaves the states."""
    units, count = w[1].shape[0], 2 if cell is np_lstm else 1
    states = [np.zeros((len(x), units)) for _ in range(count)] if states is None else states
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    output, outputs = np.zeros((len(x), units)), []
    for t in range(x.shape[1])[::-1 if backwards else 1]:
        keep = mask[:, t, None]
        new = cell(w, x[:, t], states, **options)
        output = np.where(keep, new[0], output)
        states = [np.where(keep, a, b) for a, b in zip(new, states)]
        outputs.append(output)
    return np.stack(outputs, 1), states


def last(cell, **options):
    return lambda w, x: walk(cell, w, x, **options)[0][:, -1]


def every(cell, **options):
    return lambda w, x: walk(cell, w, x, **options)[0]


def keep(mask, *_):
    return mask


def nothing(*_):
    return None


def relu(x):
    return np.maximum(x, 0)


def bounded(weights, y, *inputs):
    assert np.isfinite(y).all() and (abs(y) <= 1).all()


def dropping(name, reference, x, tag="dropout", **args):
    """A row of which, in training, is asserted that it stays within bounds and draws anew; its gradient is checked."""
    return LayerCase(name, reference, (x,), {**args, "seed": 1}, training=bounded, draws=True, tag=tag, rtol_eps=256)


LAYERS = {"SimpleRNN": np_simple, "LSTM": np_lstm, "GRU": np_gru}
CASES = [case for name, cell in LAYERS.items() for case in (
    LayerCase(name, last(cell), (X,), {"units": 3}, mask=nothing, rtol_eps=64),
    LayerCase(name, every(cell), (X,), {"units": 3, "return_sequences": True}, mask=keep, rtol_eps=64,
              tag="sequences"),
    LayerCase(name, every(cell, backwards=True), (X,), {"units": 3, "return_sequences": True, "go_backwards": True},
              rtol_eps=64, tag="backwards"),
    LayerCase(name, last(cell, backwards=True), (X,), {"units": 2, "go_backwards": True, "use_bias": False},
              rtol_eps=64, tag="no_bias"),
    LayerCase(name, every(cell, f=relu), (X,), {"units": 3, "activation": "relu", "return_sequences": True},
              rtol_eps=128, tag="relu"),
    LayerCase(name, last(cell, f=lambda x: x / (1 + abs(x))), (X,), {"units": 3, "activation": "softsign"},
              rtol_eps=64, tag="softsign"),
    dropping(name, every(cell), X, units=3, dropout=0.3, return_sequences=True),
    dropping(name, last(cell), X, "recurrent_dropout", units=3, recurrent_dropout=0.3),
)] + [
    LayerCase("GRU", every(np_gru), (X,), {"units": 3, "reset_after": False, "return_sequences": True}, rtol_eps=64,
              tag="reset_before"),
    LayerCase("GRU", last(np_gru, f=relu), (X,), {"units": 3, "reset_after": False, "activation": "relu"},
              rtol_eps=128, tag="reset_before_relu"),
    dropping("GRU", last(np_gru), X, "reset_before_dropout", units=3, reset_after=False, dropout=0.3,
             recurrent_dropout=0.3),
]
