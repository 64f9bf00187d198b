"""Rows of the recurrent ops: one step after the other in NumPy."""

from __future__ import annotations

import numpy as np

import pydl
from harness import Case, normal, uniform


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def walk(x, states, step, mask, go_backwards):
    """(sequence, last states, extras by step) of `step(x_t, states) -> (states, extras)`; the first state is the
    output. A masked row keeps its states, repeats its output, and has zeros for extras."""
    batch, steps, _ = x.shape
    real = np.ones((batch, steps), bool) if mask is None else mask.astype(bool)
    output, sequence, extras = np.zeros_like(states[0]), [], []
    for t in range(steps)[::-1 if go_backwards else 1]:
        on = real[:, t, None]
        new, more = step(x[:, t], states)
        states = [np.where(on, a, b) for a, b in zip(new, states)]
        output = np.where(on, new[0], output)
        sequence.append(output)
        extras.append([np.where(on, e, 0) for e in more] + list(states[1:]))
    return np.stack(sequence, 1), states, [np.stack(e, 1) for e in zip(*extras)]


def np_simple_rnn(x, h, kernel, recurrent, bias=0.0, mask=None, drop=1.0, activation="tanh", go_backwards=False):
    f = np.tanh if activation == "tanh" else lambda v: np.maximum(v, 0)
    sequence, (h,), _ = walk(x, [h], lambda x, s: ([f(x @ kernel + bias + s[0] * drop @ recurrent)], ()), mask,
                             go_backwards)
    return sequence, h


def np_lstm(x, h, c, kernel, recurrent, bias=0.0, mask=None, drop=1.0, go_backwards=False, return_gates=False):
    def step(x, states):
        i, f, g, o = np.split(x @ kernel + bias + states[0] * drop @ recurrent, 4, -1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * states[1] + i * g
        return [o * np.tanh(c), c], (i, f, g, o)

    sequence, states, gates = walk(x, [h, c], step, mask, go_backwards)
    return (sequence, *states, dict(zip("ifgoc", gates))) if return_gates else (sequence, *states)


def np_gru(x, h, kernel, recurrent, bias=None, mask=None, drop=1.0, reset_after=True, go_backwards=False,
           return_gates=False):
    bias = np.zeros(6 if reset_after else 3).repeat(h.shape[1]) if bias is None else bias.reshape(-1)
    first, second = bias[:3 * h.shape[1]], bias[3 * h.shape[1]:] if reset_after else 0.0

    def step(x, states):
        a, inputs = states[0] * drop, np.split(x @ kernel + first, 3, -1)
        products = np.split(a @ recurrent + second, 3, -1)
        z, r = sigmoid(inputs[0] + products[0]), sigmoid(inputs[1] + products[1])
        n = np.tanh(inputs[2] + (r * products[2] if reset_after else r * a @ recurrent[:, -h.shape[1]:]))
        return [z * states[0] + (1 - z) * n], (z, r, n)

    sequence, states, gates = walk(x, [h], step, mask, go_backwards)
    return (sequence, *states, dict(zip("zrn", gates))) if return_gates else (sequence, *states)


ORACLES = {"simple_rnn": np_simple_rnn, "lstm": np_lstm, "gru": np_gru}
GATES = {"simple_rnn": 1, "lstm": 4, "gru": 3}


def with_options(name):
    """The op with bias, mask and recurrent mask in positions, None where the row has none."""

    def function(*args, **kwargs):
        *given, mask, drop = args
        return getattr(pydl.ops, name)(*given, mask=mask, recurrent_mask=drop, **kwargs)

    return function


def mask_of(kind, batch, steps):
    """A mask drawn anew for each run of a row: padding behind ("right") or in front ("left"), or any steps ("holes");
    a first row without a real step where there are several."""

    def draw(rng):
        lengths = rng.integers(1, steps + 1, (batch, 1))
        lengths[0] *= batch == 1
        t = np.arange(steps)
        if kind == "right":
            return t < lengths
        if kind == "left":
            return t >= steps - lengths
        return (rng.random((batch, steps)) < 0.6) & (lengths > 0)

    return draw


def row(name, batch, steps, features, units, mask=None, drop=False, bias=True, tag="", **kwargs):
    columns, states = GATES[name] * units, 2 if name == "lstm" else 1
    shape = (2, columns) if name == "gru" and kwargs.get("reset_after", True) else (columns,)
    weights = [uniform(n, columns, low=-(n**-0.5), high=n**-0.5) for n in (features, units)]
    optional = [uniform(*shape)] if bias else []
    optional += [mask_of(mask, batch, steps)] if mask else []
    optional += [lambda rng: (rng.random((batch, units)) < 0.7) / 0.7] if drop else []
    # The recurrent mask, a draw of dropout, and gates have no gradient. Scale: the size of the sums in front of gates.
    checked = () if "return_gates" in kwargs else tuple(range(1 + states + 2 + bool(bias)))

    def split(args):
        base, rest = list(args[:3 + states]), list(args[3 + states:])
        return [*base, *[rest.pop(0) if there else None for there in (bias, mask, drop)]]

    def reference(*args, **options):
        *given, real, scale = split(args)
        given = given if bias else given[:-1]
        return ORACLES[name](*given, mask=real, drop=1.0 if scale is None else scale, **options)

    words = [f"{batch}x{steps}x{features}-{units}", mask or "", "drop" if drop else "", "" if bias else "no_bias",
             *(f"{k}={v}" for k, v in kwargs.items()), tag]
    return Case(name, reference, (normal(batch, steps, features), *[normal(batch, units)] * states, *weights,
                                  *optional), kwargs, lambda *args, **k: with_options(name)(*split(args), **k),
                checked, scale=4.0, tag="-".join(w for w in words if w),
                # Of very many kinks some lie between the two points of a difference.
                second=kwargs.get("activation") != "relu" or batch * steps * units < 20_000)


def rows_of(name, **kwargs):
    sizes = ((3, 6, 4, 5), (2, 5, 3, 17), (19, 4, 6, 33))
    for i, mask in enumerate((None, "right", "left", "holes")):
        for j, backwards in enumerate((False, True)):
            yield row(name, *sizes[(i + j) % 3], mask, go_backwards=backwards, **kwargs)
            yield row(name, *sizes[(i + j + 1) % 3], mask, drop=True, go_backwards=backwards, **kwargs)
    yield row(name, 1, 6, 5, 16, **kwargs)
    yield row(name, 1, 5, 3, 7, "holes", **kwargs)
    yield row(name, 4, 1, 3, 5, bias=False, **kwargs)
    yield row(name, 1, 1, 1, 1, **kwargs)
    # Slices of the depth of a product, several columns of panels, several tasks.
    yield row(name, 35, 3, 40, 130, "right", **kwargs)
    # Gradients of the weights in several parts, of several slices each.
    yield row(name, 24, 75, 41, 34, **kwargs)
    yield row(name, 23, 79, 36, 42, "holes", drop=True, go_backwards=True, **kwargs)


CASES = [
    *rows_of("simple_rnn"),
    *rows_of("simple_rnn", activation="relu"),
    *rows_of("lstm"),
    row("lstm", 3, 5, 4, 6, return_gates=True),
    row("lstm", 3, 5, 4, 6, "holes", return_gates=True, go_backwards=True),
    *rows_of("gru"),
    *rows_of("gru", reset_after=False),
    row("gru", 3, 5, 4, 6, return_gates=True),
    row("gru", 3, 5, 4, 6, "holes", return_gates=True, reset_after=False, go_backwards=True),
]
