"""Rows of the attentive decoders, and their definition in NumPy: the equations of the papers, a step at a time."""

from __future__ import annotations

import numpy as np

from harness import Case, normal
from pydl import layers
from pydl.symbolic import op

from .recurrent_layers import np_gru, np_lstm, sigmoid

CELLS = {"gru": np_gru, "lstm": np_lstm}


CLASSES = {"gru": layers.GRUCell, "lstm": layers.LSTMCell}
# Cells that no fused kernel knows.
OWN = {"gru": type("OwnGRUCell", (layers.GRUCell,), {}), "lstm": type("OwnLSTMCell", (layers.LSTMCell,), {})}


def np_softmax(e, allowed):
    """Over the last axis, 0 where not allowed; 0 everywhere where nothing is."""
    e = np.where(allowed, e, -np.inf)
    w = np.exp(e - np.max(e, -1, keepdims=True, initial=-1e300)) * allowed
    return w / np.maximum(w.sum(-1, keepdims=True), 1e-300)


def np_bahdanau_attention(s, memory, w, allowed):
    """e_j = v . tanh(W s + U h_j)."""
    query, keys, vector = w
    e = np.tanh((s @ query)[:, None] + memory @ keys) @ vector
    a = np_softmax(e, allowed)
    return np.einsum("bs,bsm->bm", a, memory), a


def np_luong_attention(h, memory, w, allowed, t, score_mode, alignment, window):
    """Weights of one step; `w` holds the score's weights, then those of the predicted position."""
    w = list(w)
    if score_mode == "dot":
        e = np.einsum("bu,bsu->bs", h, memory)
    elif score_mode == "general":
        e = np.einsum("bm,bsm->bs", h @ w.pop(0), memory)
    else:
        query, keys, vector = w.pop(0), w.pop(0), w.pop(0)
        e = np.tanh((h @ query)[:, None] + memory @ keys) @ vector
    if alignment == "global":
        return np_softmax(e, allowed)
    place = np.arange(memory.shape[1]) - allowed.argmax(1)[:, None]
    if alignment == "local-m":
        return np_softmax(e, allowed & (np.abs(place - t) <= window))
    p = allowed.sum(1) * sigmoid(np.tanh(h @ w[0]) @ w[1])
    distance = place - p[:, None]
    sigma = window / 2
    return np_softmax(e, allowed & (np.abs(distance) <= window)) * np.exp(-(distance**2) / (2 * sigma**2))


def np_decoder(kind, cell, x, memory, cell_weights, weights, states, mask, memory_mask, score_mode="dot",
               alignment="global", window=10, input_feeding=False):
    batch, steps = x.shape[:2]
    allowed = np.ones(memory.shape[:2], bool) if memory_mask is None else memory_mask
    mask = np.ones((batch, steps), bool) if mask is None else mask
    fed, outputs, alignments = np.zeros((batch, states[0].shape[1])), [], []
    for t in range(steps):
        keep = mask[:, t, None]
        if kind == "BahdanauDecoder":
            context, a = np_bahdanau_attention(states[0], memory, weights, allowed)
            new = CELLS[cell](cell_weights, np.concatenate([x[:, t], context], -1), states)
            y = new[0]
        else:
            inputs = np.concatenate([x[:, t], fed], -1) if input_feeding else x[:, t]
            new = CELLS[cell](cell_weights, inputs, states)
            a = np_luong_attention(new[0], memory, weights[:-1], allowed, t, score_mode, alignment, window)
            y = np.tanh(np.concatenate([np.einsum("bs,bsm->bm", a, memory), new[0]], -1) @ weights[-1])
        states = [np.where(keep, a, b) for a, b in zip(new, states)]
        fed = np.where(keep, y, fed)
        outputs.append(y * keep)
        alignments.append(a * keep)
    return np.stack(outputs, 1), *states, *((fed,) if input_feeding else ()), np.stack(alignments, 1)


# Attributes that hold the weights of the attention, in the order of the oracle.
CONCAT = ("query_kernel", "memory_kernel", "score_vector")
SCORES = {"dot": (), "general": ("query_kernel",), "concat": CONCAT}
POSITIONS = {"global": (), "local-m": (), "local-p": ("position_kernel", "position_vector")}


def mask_of(kind, batch, steps):
    """Drawn anew for each run of a row; every row has a real step but for "empty", whose first row has none."""

    def draw(rng):
        lengths, t = rng.integers(1, steps + 1, (batch, 1)), np.arange(steps)
        if kind == "empty":
            lengths[0] = 0
        if kind == "left":
            return t >= steps - lengths
        if kind == "holes":
            return (rng.random((batch, steps)) < 0.6) | (t == lengths - 1)
        return t < lengths

    return draw


def row(kind, cell, batch, steps, features, units, places, memory_features, masks=(None, None), attention_units=5,
        bias=True, cell_options=None, own_cell=False, **options):
    """A decoder as a function of inputs, memory, states and every weight."""
    cell_options = dict(cell_options or {}, use_bias=bias)
    bahdanau = kind == "BahdanauDecoder"
    gates = {"gru": 3, "lstm": 4}[cell]
    more = memory_features if bahdanau else units if options.get("input_feeding") else 0
    after = cell_options.get("reset_after", True)
    names = CONCAT if bahdanau else (*SCORES[options.get("score_mode", "dot")],
                                     *POSITIONS[options.get("alignment", "global")], "output_kernel")
    states = 1 if cell == "gru" else 2

    def make(dtype):
        # Every weight is replaced: zeros take no time.
        made = (OWN if own_cell else CLASSES)[cell](units, dtype=dtype, recurrent_initializer="zeros", **cell_options)
        more_options = {"attention_units": attention_units, "return_state": True, "return_attention_scores": True}
        decoder = getattr(layers, kind)(cell=made, dtype=dtype, **more_options, **options)
        decoder.build((None, None, features), (None, None, memory_features))
        return decoder

    sample = make("float64")
    cell_shapes = [(features + more, gates * units), (units, gates * units)]
    if bias:
        cell_shapes.append((2, 3 * units) if cell == "gru" and after else (gates * units,))
    shapes = [*cell_shapes, *(getattr(sample, name).shape for name in names)]
    count = len(cell_shapes)

    def split(args):
        x, memory, *rest = args
        given, rest = rest[:states], rest[states:]
        weights, rest = rest[:len(shapes)], rest[len(shapes):]
        mask = rest.pop(0) if masks[0] else None
        return x, memory, given, weights, mask, rest.pop(0) if masks[1] else None

    @op
    def function(*args):
        x, memory, given, weights, mask, memory_mask = split(args)
        decoder = make(x.dtype)
        for name, value in zip(("kernel", "recurrent_kernel", "bias"), weights[:count]):
            object.__setattr__(decoder.cell, name, value)
        for name, value in zip(names, weights[count:]):
            object.__setattr__(decoder, name, value)
        return decoder(x, memory, initial_state=given, mask=mask, memory_mask=memory_mask)

    def reference(*args):
        x, memory, given, weights, mask, memory_mask = split(args)
        return np_decoder(kind, cell, x, memory, weights[:count], weights[count:], given, mask, memory_mask, **options)

    def glorot(shape):
        return normal(*shape, scale=1.0 / np.sqrt(shape[0]))

    inputs = (normal(batch, steps, features), normal(batch, places, memory_features), *[normal(batch, units)] * states,
              *map(glorot, shapes), *([mask_of(masks[0], batch, steps)] if masks[0] else []),
              *([mask_of(masks[1], batch, places)] if masks[1] else []))
    words = [cell, f"{batch}x{steps}x{features}-{units}-{places}x{memory_features}", *(m for m in masks if m),
             *(f"{k}={v}" for k, v in {**options, **cell_options}.items() if k != "use_bias"),
             "" if bias else "no_bias", "own_cell" if own_cell else ""]
    return Case(kind, reference, inputs, {}, function, "all", 64.0, scale=1.0, tag="-".join(w for w in words if w))


def rows():
    for cell in CELLS:
        for i, masks in enumerate(((None, None), ("right", "right"), ("holes", "left"), ("left", "holes"))):
            sizes = ((3, 4, 2, 5, 6, 5), (2, 5, 3, 17, 4, 17))[i % 2]
            yield row("BahdanauDecoder", cell, *sizes, masks)
            for score in SCORES:
                for alignment in POSITIONS:
                    yield row("LuongDecoder", cell, *sizes, masks, score_mode=score, alignment=alignment, window=2,
                              input_feeding=i in (1, 2))
        yield row("BahdanauDecoder", cell, 3, 4, 2, 5, 6, 7, bias=False)
        yield row("BahdanauDecoder", cell, 2, 1, 1, 1, 1, 1, attention_units=1)
        yield row("BahdanauDecoder", cell, 19, 3, 4, 33, 7, 20, ("empty", "right"), attention_units=40)
        for kind in ("BahdanauDecoder", "LuongDecoder"):
            yield row(kind, cell, 3, 3, 4, 5, 4, 5, ("empty", "empty"))
        yield row("BahdanauDecoder", cell, 3, 3, 4, 5, 4, 5, ("empty", "empty"), own_cell=True)
        yield row("BahdanauDecoder", cell, 35, 3, 20, 130, 5, 70, ("right", "right"), attention_units=33)
        yield row("BahdanauDecoder", cell, 2, 3, 2, 4, 5, 6, ("right", "right"), own_cell=True)
        yield row("LuongDecoder", cell, 2, 4, 3, 4, 5, 6, score_mode="general")
        yield row("LuongDecoder", cell, 2, 6, 3, 4, 3, 4, alignment="local-m", window=1)  # leaves the memory behind
    yield row("BahdanauDecoder", "gru", 3, 4, 2, 5, 6, 7, ("right", "right"), cell_options={"reset_after": False})


CASES = list(rows())
