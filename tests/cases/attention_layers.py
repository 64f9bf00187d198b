"""Rows of the layers of attention, from the equations of the ops in NumPy."""

from __future__ import annotations

import numpy as np

from cases.attention import np_additive, np_dot, np_heads
from harness import LayerCase, normal

Q, V, K = normal(3, 4, 6), normal(3, 5, 3), normal(3, 5, 6)
QV = (normal(3, 4, 6), normal(3, 5, 6))


def first(mask, *_):
    return mask


def np_attention(w, q, v, *k, mode="dot", use_scale=False):
    k = k[0] if k else v
    scale = w[0] if use_scale else 1.0
    if mode == "dot":
        return np_dot(q, k, v, scale)[0]
    return np_additive(q * scale, k * scale, v, np.full(q.shape[-1], w[-1]))[0]


def on_leading_axes(reference):
    """The reference, whose arrays have one batch axis, for arrays with several."""
    def run(w, *x):
        y = reference(w, *(a.reshape(-1, *a.shape[-2:]) for a in x))
        return y.reshape(*x[0].shape[:-2], *y.shape[1:])
    return run


def np_projected(w, q, v, *k, gate=False, bias=True, axes=None, **options):
    """Weights in the order query, key, (gate,) value, output."""
    w = [(w[i], w[i + 1]) for i in range(0, len(w), 2)] if bias else [(kernel, 0.0) for kernel in w]
    k = k[0] if k else v
    names = ["query", "key", "gate", "value", "output"] if gate else ["query", "key", "value", "output"]
    w = dict(zip(names, w))

    def project(x, name):
        return np.einsum("...d,dnh->...nh", x, w[name][0]) + w[name][1]

    a, b, c = project(q, "query"), project(k, "key"), project(v, "value")
    if axes is not None:  # the others become batch axes
        a, b, c = (np.moveaxis(x, axes, 2) for x in (a, b, c))
        lead = a.shape[:2]
        a, b, c = (x.reshape(-1, *x.shape[2:]) for x in (a, b, c))
    y = np_heads(a, b, c, **options)[0]
    if axes is not None:
        y = np.moveaxis(y.reshape(*lead, *y.shape[1:]), 2, axes)
    if gate:
        y = y / (1 + np.exp(-project(q, "gate")))
    return np.einsum("...nh,nh...o->...o" if w["output"][0].ndim == 3 else "btnh,nhop->btop", y, w["output"][0]) \
        + w["output"][1]


def with_options(reference, **options):
    return lambda w, *x: reference(w, *x, **options)


def changes(w, y, *_):
    assert np.all(np.isfinite(y)) and y.std() > 0


HEADS = {"num_heads": 2, "key_dim": 3}
CASES = [
    LayerCase("EinsumDense", lambda w, x: np.einsum("abc,cde->abde", x, w[0]) + w[1], (normal(3, 4, 5),),
              {"equation": "abc,cde->abde", "output_shape": (None, 2, 3), "bias_axes": "de"}, rtol_eps=64, tag="heads"),
    LayerCase("EinsumDense", lambda w, x: np.maximum(np.einsum("abc,bcd->ad", x, w[0]) + w[1], 0), (normal(3, 4, 5),),
              {"equation": "abc,bcd->ad", "output_shape": (3,), "bias_axes": "d", "activation": "relu"}, rtol_eps=64,
              tag="two"),
    LayerCase("EinsumDense", lambda w, x: x @ w[0] + w[1], (normal(3, 4, 2, 5),),
              {"equation": "...x,xy->...y", "output_shape": 3, "bias_axes": "y"}, rtol_eps=64, tag="dots"),
    LayerCase("EinsumDense", lambda w, x: np.einsum("abcd,be->aecd", x, w[0]) + w[1], (normal(3, 4, 2, 5),),
              {"equation": "ab...,be->ae...", "output_shape": 3, "bias_axes": "e"}, rtol_eps=64, tag="dots behind"),
    LayerCase("EinsumDense", lambda w, x: np.einsum("abc,bd->adc", x, w[0]) + w[1], (normal(3, 4, 5),),
              {"equation": "abc,bd->adc", "output_shape": (6, None), "bias_axes": "d"}, rtol_eps=64, tag="middle"),
    LayerCase("EinsumDense", lambda w, x: np.einsum("abc,cd->abd", x, w[0]) + w[1], (normal(3, 4, 5),),
              {"equation": "abc,cd->abd", "output_shape": (4, 6), "bias_axes": "bd"}, rtol_eps=64, tag="wide bias"),
    LayerCase("EinsumDense", lambda w, x: x @ w[0], (normal(3, 5),), {"equation": "ab,bc->ac", "output_shape": 6},
              rtol_eps=64, tag="no bias"),
    LayerCase("Attention", np_attention, QV, mask=first, rtol_eps=64),
    LayerCase("Attention", with_options(np_attention, use_scale=True), (Q, V, K), {"use_scale": True}, rtol_eps=64,
              tag="scale"),
    LayerCase("Attention", with_options(np_attention, mode="concat"), (Q, V, K), {"score_mode": "concat"}, rtol_eps=64,
              tag="concat"),
    LayerCase("Attention", with_options(np_attention, mode="concat", use_scale=True), QV,
              {"score_mode": "concat", "use_scale": True}, rtol_eps=64, tag="concat and scale"),
    LayerCase("Attention", np_attention, QV, {"dropout": 0.4, "seed": 1}, training=changes, draws=True, rtol_eps=64,
              tag="dropout"),
    LayerCase("Attention", on_leading_axes(np_attention), (normal(2, 3, 4, 6), normal(2, 3, 5, 6)), rtol_eps=64,
              tag="rank 4"),
    LayerCase("AdditiveAttention", lambda w, q, v: np_additive(q, v, v, w[0])[0], QV, mask=first, rtol_eps=64),
    LayerCase("AdditiveAttention", on_leading_axes(lambda w, q, v: np_additive(q, v, v, w[0])[0]),
              (normal(2, 1, 3, 4, 6), normal(2, 1, 3, 5, 6)), rtol_eps=64, tag="rank 5"),
    LayerCase("AdditiveAttention", lambda w, q, v, k: np_additive(q, k, v)[0], (Q, V, K),
              {"use_scale": False, "dropout": 0.3}, training=changes, draws=True, rtol_eps=64, tag="dropout"),
    LayerCase("MultiHeadAttention", np_projected, (Q, V, K), HEADS, mask=first, rtol_eps=128),
    LayerCase("MultiHeadAttention", with_options(np_projected, bias=False), QV,
              {**HEADS, "value_dim": 2, "use_bias": False, "output_shape": 7}, rtol_eps=128, tag="sizes"),
    LayerCase("MultiHeadAttention", with_options(np_projected, gate=True), QV,
              {**HEADS, "output_shape": (2, 3), "use_gate": True}, rtol_eps=128, tag="gate"),
    LayerCase("MultiHeadAttention",
              with_options(np_projected, mask=np.abs(np.arange(4)[:, None] - np.arange(5)) < 2), QV,
              {**HEADS, "sliding_window": 2}, rtol_eps=128, tag="window"),
    LayerCase("MultiHeadAttention", np_projected, QV, {**HEADS, "dropout": 0.4, "seed": 2}, training=changes,
              draws=True, rtol_eps=128, tag="dropout"),
    LayerCase("MultiHeadAttention", with_options(np_projected, axes=1), (normal(2, 3, 4, 5), normal(2, 6, 4, 5)),
              {**HEADS, "attention_axes": 1}, rtol_eps=128, tag="axes"),
    LayerCase("GroupQueryAttention", np_projected, (Q, V, K),
              {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}, mask=first, rtol_eps=128),
    LayerCase("GroupQueryAttention", with_options(np_projected, gate=True), QV,
              {"head_dim": 3, "num_query_heads": 2, "num_key_value_heads": 1, "use_gate": True}, rtol_eps=128,
              tag="gate"),
]
