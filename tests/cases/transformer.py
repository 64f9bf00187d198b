"""Rows of position encodings and Transformer blocks."""

from __future__ import annotations

import numpy as np

from cases.attention_layers import np_projected
from harness import LayerCase, integers, normal


def np_norm(x, gamma, beta, epsilon=1e-5):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * gamma + beta


def around(x, part, norm, first):
    return x + part(np_norm(x, *norm)) if first else np_norm(x + part(x), *norm)


def relu(x):
    return np.maximum(x, 0)


def network(x, w, norm, first, f):
    return around(x, lambda v: f(v @ w[0] + w[1]) @ w[2] + w[3], norm, first)


def np_encoder(w, x, first=False, f=relu):
    x = around(x, lambda v: np_projected(w[:8], v, v), w[8:10], first)
    return network(x, w[12:], w[10:12], first, f)


def np_decoder(w, x, encoded=None, first=False, f=relu):
    x = around(x, lambda v: np_projected(w[:8], v, v, is_causal=True), w[8:10], first)
    w = w[10:]
    if encoded is not None:
        x = around(x, lambda v: np_projected(w[:8], v, encoded), w[8:10], first)
        w = w[10:]
    return network(x, w[2:], w[:2], first, f)


def np_sines(x, wavelength=10000):
    place, i = np.arange(x.shape[1])[:, None], np.arange(x.shape[2])
    angle = place / wavelength ** (i // 2 * 2 / x.shape[2])
    return np.broadcast_to(np.where(i % 2, np.cos(angle), np.sin(angle)), x.shape)


def first_mask(mask, *_):
    return mask


def changes(w, y, *_):
    assert np.all(np.isfinite(y)) and y.std() > 0


X, E = normal(3, 4, 6), normal(3, 5, 6)
BLOCK = {"intermediate_dim": 7, "num_heads": 2}
CASES = [
    LayerCase("SinePositionEncoding", lambda w, x: np_sines(x), (normal(3, 5, 7),), grad=False),
    LayerCase("SinePositionEncoding", lambda w, x: np_sines(x, 50), (normal(3, 5, 6),), {"max_wavelength": 50},
              grad=False, tag="wavelength"),
    LayerCase("PositionEmbedding", lambda w, x: np.broadcast_to(w[0][:x.shape[1]], x.shape), (normal(3, 5, 4),),
              {"sequence_length": 6}, grad=False),
    LayerCase("ReversibleEmbedding", lambda w, x: w[0][x], (integers(3, 5, high=8),), {"input_dim": 8, "output_dim": 4},
              mask=lambda *_: None),
    LayerCase("TokenAndPositionEmbedding", lambda w, x: w[0][x] + w[1][:x.shape[1]], (integers(3, 5, high=8),),
              {"vocabulary_size": 8, "sequence_length": 6, "embedding_dim": 4, "mask_zero": True},
              mask=lambda m, x: x != 0),
    LayerCase("TransformerEncoder", np_encoder, (X,), BLOCK, mask=first_mask, rtol_eps=512),
    LayerCase("TransformerEncoder", lambda w, x: np_encoder(w, x, True, np.tanh), (X,),
              {**BLOCK, "normalize_first": True, "activation": "tanh"}, rtol_eps=512, tag="norm first"),
    LayerCase("TransformerEncoder", np_encoder, (X,), {**BLOCK, "dropout": 0.3}, training=changes, draws=True,
              rtol_eps=512, tag="dropout"),
    LayerCase("TransformerDecoder", np_decoder, (X, E), BLOCK, mask=first_mask, rtol_eps=512),
    LayerCase("TransformerDecoder", lambda w, x, e: np_decoder(w, x, e, True, np.tanh), (X, E),
              {**BLOCK, "normalize_first": True, "activation": "tanh"}, rtol_eps=512, tag="norm first"),
    LayerCase("TransformerDecoder", np_decoder, (X,), BLOCK, rtol_eps=512, tag="alone"),
]
