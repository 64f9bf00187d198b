"""Rows of ConvLSTM1D to ConvLSTM3D: the LSTM of NumPy with convolutions for products."""

from __future__ import annotations

import numpy as np

from cases.convolution import np_conv
from cases.recurrent_layers import dropping, keep, nothing, sigmoid
from harness import LayerCase, normal

OPTIONS = ("strides", "padding", "dilation_rate")


def np_conv_lstm(w, x, states, f=np.tanh, **options):
    """One step; states of zeros may stand in any shape that is broadcast to theirs."""
    h, c = states
    z = np_conv(x, w[0], *w[2:], **options)
    h = np.broadcast_to(h, (*z.shape[:-1], z.shape[-1] // 4))
    i, forget, g, o = np.split(z + np_conv(h, w[1], padding="same"), 4, -1)
    c = sigmoid(forget) * c + sigmoid(i) * f(g)
    return [sigmoid(o) * f(c), c]


def walk(w, x, mask=None, backwards=False, states=None, cell=np_conv_lstm, **options):
    """(outputs in the order of the walk, last states)."""
    states = [np.zeros(1), np.zeros(1)] if states is None else states
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    output, outputs = np.zeros(1), []
    for t in range(x.shape[1])[::-1 if backwards else 1]:
        kept = mask[:, t].reshape(-1, *[1] * (x.ndim - 2))
        new = cell(w, x[:, t], states, **options)
        output = np.where(kept, new[0], output)
        states = [np.where(kept, a, b) for a, b in zip(new, states)]
        outputs.append(output)
    return np.stack(outputs, 1), states


def row(name, x, tag="", take=lambda y: y, backwards=False, first=False, **args):
    options = {k: args[k] for k in OPTIONS if k in args}
    if args.get("activation") == "relu":
        options["f"] = lambda z: np.maximum(z, 0)

    def reference(w, x):
        y = walk(w, np.moveaxis(x, 2, -1) if first else x, backwards=backwards, **options)[0]
        return take(np.moveaxis(y, -1, 2) if first else y)

    return LayerCase(name, reference, (x,), args, tag=tag, rtol_eps=256,
                     mask=keep if args.get("return_sequences") else nothing)


def final(y):
    return y[:, -1]


SIGNAL, IMAGE, VOLUME = normal(2, 3, 7, 2), normal(2, 3, 6, 5, 2), normal(2, 2, 3, 4, 3, 2)


CASES = [
    row("ConvLSTM1D", SIGNAL, take=final, filters=3, kernel_size=3),
    row("ConvLSTM1D", SIGNAL, "dilation", filters=2, kernel_size=2, padding="same", dilation_rate=2,
        return_sequences=True, kernel_regularizer="l2"),
    row("ConvLSTM2D", IMAGE, filters=3, kernel_size=(3, 2), return_sequences=True),
    row("ConvLSTM2D", IMAGE, "strides", final, filters=2, kernel_size=3, strides=(2, 1), padding="same",
        use_bias=False),
    row("ConvLSTM2D", IMAGE, "backwards", backwards=True, filters=2, kernel_size=2, go_backwards=True,
        return_sequences=True, activation="relu"),
    row("ConvLSTM2D", normal(2, 3, 2, 6, 5), "channels_first", first=True, filters=3, kernel_size=3, padding="same",
        data_format="channels_first", return_sequences=True),
    row("ConvLSTM3D", VOLUME, take=final, filters=2, kernel_size=2, unit_forget_bias=False),
    dropping("ConvLSTM2D", lambda w, x: walk(w, x)[0][:, -1], IMAGE, filters=2, kernel_size=2, dropout=0.3,
             recurrent_dropout=0.3),
]
