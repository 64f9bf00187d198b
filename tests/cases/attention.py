"""Rows of the attention ops: the equations in NumPy."""

from __future__ import annotations

import functools

import numpy as np

import pydl
from harness import Case, normal


def probabilities(scores, mask):
    """Softmax over the last axis; hidden ones zero, a row without any left uniform."""
    mask = np.broadcast_to(True if mask is None else mask, scores.shape)
    e = np.where(mask, np.exp(scores - np.where(mask, scores, -np.inf).max(-1, keepdims=True, initial=-1e30)), 0)
    total = e.sum(-1, keepdims=True)
    return np.where(total > 0, e / np.where(total > 0, total, 1), 1 / scores.shape[-1])


def causal(queries, keys):
    return np.tril(np.ones((queries, keys), bool))


def np_heads(q, k, v, *rest, bias=None, mask=None, scale=None, cap=None, is_causal=False, with_bias=False):
    if with_bias:
        (bias,) = rest
    group = q.shape[2] // k.shape[2]
    k, v = np.repeat(k, group, 2), np.repeat(v, group, 2)
    scores = np.einsum("btnh,bsnh->bnts", q, k) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if cap:
        scores = cap * np.tanh(scores / cap)
    if bias is not None:
        scores = scores + bias
    if is_causal:
        mask = causal(*scores.shape[-2:]) if mask is None else mask & causal(*scores.shape[-2:])
    p = probabilities(scores, mask)
    return np.einsum("bnts,bsnv->btnv", p, v), p


def heads(q, k, v, *rest, bias=None, mask=None, scale=None, cap=None, is_causal=False, with_bias=False):
    if with_bias:
        (bias,) = rest
    return pydl.ops.dot_product_attention(q, k, v, bias, mask, scale, is_causal, attn_logits_soft_cap=cap,
                                          return_attention_scores=True)


def np_dot(q, k, v, *scale, mask=None, is_causal=False):
    scores = q @ k.swapaxes(-1, -2) * (scale[0] if scale else 1)
    mask = mask[:, None] if mask is not None and mask.ndim == 2 else mask
    if is_causal:
        mask = causal(*scores.shape[-2:]) if mask is None else mask & causal(*scores.shape[-2:])
    p = probabilities(scores, mask)
    return p @ v, p


def np_additive(q, k, v, *scale, mask=None):
    scores = np.tanh(q[:, :, None] + k[:, None]) @ (scale[0] if scale else np.ones(q.shape[-1]))
    p = probabilities(scores, mask[:, None] if mask is not None and mask.ndim == 2 else mask)
    return p @ v, p


def random_mask(*shape, seed=0):
    return np.random.default_rng(seed).random(shape) < 0.6


def padding(batch, keys, *lengths):
    return np.arange(keys) < np.resize(lengths, batch)[:, None]


def with_blind_row(mask):
    mask = mask.copy()
    mask.reshape(-1, mask.shape[-1])[1] = False
    return mask


def qkv(batch, queries, keys, width, depth, *heads_and_groups):
    n, g = ((h,) for h in heads_and_groups) if heads_and_groups else ((), ())
    return (normal(batch, queries, *n, width), normal(batch, keys, *g, width), normal(batch, keys, *g, depth))


SMALL = qkv(3, 5, 7, 8, 8, 2, 2)

# A context is a mean of values of either sign: its error is that of the values.
row = functools.partial(Case, scale=2.0)

def np_cached(q, k, v, cache, mask=None, at=0):
    new = cache.copy()
    if k is not None:
        new[:, 0, at:at + k.shape[1]], new[:, 1, at:at + k.shape[1]] = k, v
        past = np.arange(cache.shape[2]) <= at + np.arange(q.shape[1])[:, None]
        mask = past if mask is None else mask & past
    return np_heads(q, new[:, 0], new[:, 1], mask=mask)[0], new


CASES = [
    row("dot_product_attention", np_heads, SMALL, fn=heads, tag="plain"),
    row("dot_product_attention", lambda q, k, v: np_heads(q, k, v)[0], SMALL, tag="context"),
    row("dot_product_attention", np_heads, qkv(2, 20, 22, 32, 32, 4, 4), {"scale": 0.3}, fn=heads, tag="head"),
    row("dot_product_attention", np_heads, qkv(2, 6, 9, 5, 3, 4, 2), fn=heads, tag="groups"),
    row("dot_product_attention", np_heads, qkv(2, 40, 70, 16, 20, 3, 1), {"is_causal": True}, fn=heads, tag="shared"),
    row("dot_product_attention", np_heads, qkv(1, 600, 130, 8, 8, 1, 1), {"is_causal": True}, fn=heads, tag="blocks",
         rtol_eps=64),
    row("dot_product_attention", np_heads, qkv(2, 1, 17, 33, 17, 2, 2), fn=heads, tag="one query"),
    row("dot_product_attention", np_heads, SMALL, {"is_causal": True}, fn=heads, tag="causal"),
    row("dot_product_attention", np_heads, SMALL, {"mask": padding(3, 7, 7, 2, 1)[:, None, None]}, fn=heads,
         tag="padding"),
    row("dot_product_attention", np_heads, SMALL, {"mask": random_mask(3, 1, 5, 7), "is_causal": True}, fn=heads,
         tag="holes"),
    row("dot_product_attention", np_heads, SMALL, {"mask": with_blind_row(random_mask(3, 2, 5, 7))}, fn=heads,
         tag="blind row"),
    row("dot_product_attention", np_heads, SMALL, {"mask": random_mask(5, 1)}, fn=heads, tag="blind queries"),
    row("dot_product_attention", np_heads, (*SMALL, normal(2, 5, 7)), {"with_bias": True}, fn=heads, tag="bias"),
    row("dot_product_attention", np_heads, (*SMALL, normal(3, 1, 1, 7)),
         {"with_bias": True, "cap": 1.5, "is_causal": True, "mask": padding(3, 7, 7, 2, 4)[:, None, None]}, fn=heads,
         tag="bias and cap"),
    row("dot_product_attention", np_heads, qkv(2, 30, 30, 8, 8, 2, 1), {"cap": 0.5}, fn=heads, tag="cap"),
    row("dot_product_attention", np_heads, qkv(0, 3, 4, 8, 8, 2, 1), fn=heads, tag="no batch"),
    row("dot_attention", np_dot, qkv(3, 5, 7, 20, 6), tag="plain"),
    row("dot_attention", np_dot, (*qkv(3, 1, 20, 32, 40), normal()), {"mask": padding(3, 20, 20, 3, 11)}, tag="scale"),
    row("dot_attention", np_dot, qkv(3, 5, 7, 8, 6), {"mask": with_blind_row(random_mask(3, 5, 7)), "is_causal": True},
         tag="holes"),
    row("additive_attention", np_additive, (*qkv(3, 5, 7, 20, 6), normal(20)), tag="scale"),
    row("additive_attention", np_additive, qkv(3, 2, 7, 20, 6), tag="plain"),
    row("additive_attention", np_additive, (*qkv(4, 1, 20, 128, 40), normal(128)),
         {"mask": padding(4, 20, 20, 3, 11, 1)}, tag="one query"),
    row("additive_attention", np_additive, (*qkv(2, 20, 9, 33, 16), normal(33)), {"mask": random_mask(2, 20, 9)},
         tag="holes", rtol_eps=32),
    row("additive_attention", np_additive, (normal(2, 4, 12, scale=30.0), normal(2, 9, 12, scale=30.0), normal(2, 9, 3),
                                             normal(12)), {"mask": with_blind_row(random_mask(2, 4, 9))},
         tag="blind row, saturated", rtol_eps=32),
    row("cached_attention", lambda q, k, v, c: np_cached(q, k, v, c, at=4),
        (normal(2, 1, 4, 3), normal(2, 1, 2, 3), normal(2, 1, 2, 3), normal(2, 2, 7, 2, 3)), grad=(),
        fn=lambda q, k, v, c: pydl.ops.cached_attention(q, k, v, c, 4), tag="step"),
    row("cached_attention", lambda q, k, v, c: np_cached(q, k, v, c, padding(2, 7, 7, 3)[:, None, None], at=2),
        (normal(2, 3, 2, 5), normal(2, 3, 2, 5), normal(2, 3, 2, 5), normal(2, 2, 7, 2, 5)), grad=(),
        fn=lambda q, k, v, c: pydl.ops.cached_attention(q, k, v, c, 2, padding(2, 7, 7, 3)[:, None, None]),
        tag="some, masked"),
    row("cached_attention", lambda q, c: np_cached(q, None, None, c), (normal(2, 3, 2, 5), normal(2, 2, 7, 2, 5)),
        grad=(), fn=lambda q, c: pydl.ops.cached_attention(q, None, None, c, 0), tag="complete"),
]
