"""Attention and AdditiveAttention: one query sequence against one value sequence, without heads."""

from __future__ import annotations

import math

from pydl import ops, random
from pydl.layers.base import Layer
from pydl.registry import builtin

__all__ = ["AdditiveAttention", "Attention"]


@builtin("keras.layers")
class Attention(Layer):
    """softmax(score(query, key)) value, over the keys (Luong et al. 2015).

    Args:
        use_scale: multiply the scores (with "concat": what tanh is taken of) with a learned number, `scale`.
        score_mode: "dot": query . key; "concat": w sum(tanh(query + key)) with a learned number w.
        dropout: rate at which probabilities are left out in training.
        seed: int or None, of the dropout.

    Call arguments:
        inputs: [query (B, T, D), value (B, S, V)] or [query, value, key (B, S, D)]; the key is the value by default.
            Any number of axes may stand in the place of B, in all of them and in masks, scores and results alike.
        mask: [query_mask (B, T), value_mask (B, S)], either may be None; masks of the inputs by default. Values at
            false places get no weight, outputs at false queries are 0. A query that sees no value attends to all alike.
        training: whether dropout applies.
        return_attention_scores: also return the probabilities (B, T, S), after dropout.
        use_causal_mask: query t sees the values up to t.

    Returns:
        (B, T, V), which has the query's mask.
    """

    def __init__(self, use_scale=False, score_mode="dot", dropout=0.0, seed=None, **kwargs):
        super().__init__(**kwargs)
        if score_mode not in ("dot", "concat"):
            raise ValueError("Invalid value for argument score_mode. Expected one of {'dot', 'concat'}. Received:"
                             f" score_mode={score_mode}")
        self.use_scale = use_scale
        self.score_mode = score_mode
        self.dropout = dropout
        self.seed = seed
        self.seed_generator = random.SeedGenerator(seed) if dropout > 0 else None
        self.supports_masking = True

    def build(self, input_shape):
        self._check(input_shape)
        self.scale = self.concat_score_weight = None
        if self.use_scale:
            self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(name="concat_score_weight", shape=(), initializer="ones")

    def _check(self, inputs, mask=None) -> None:
        """Raises ValueError unless inputs (or their shapes) and masks are lists of 2 or 3."""
        for what, value in (("inputs", inputs), ("mask", mask)):
            if what == "mask" and value is None:
                continue
            if not isinstance(value, (list, tuple)) or value and isinstance(value[0], int):
                wanted = "must be called on a list of inputs" if what == "inputs" else "layer mask must be a list"
                raise ValueError(f"{type(self).__name__} {wanted}, namely [query, value] or [query, value, key];"
                                 f" received {what}={value!r}.")
            if len(value) not in (2, 3):
                raise ValueError(f"{type(self).__name__} accepts a list of length 2 or 3 as {what}, namely [query,"
                                 f" value] or [query, value, key]; received {len(value)}.")

    def _attend(self, query, key, value, mask, causal, training):
        options = {"dropout": self.dropout, "seed": self.seed_generator, "training": bool(training)}
        if self.score_mode == "dot":
            return ops.dot_attention(query, key, value, self.scale, mask, is_causal=causal, **options)
        if self.scale is not None:
            query, key = ops.multiply(query, self.scale), ops.multiply(key, self.scale)
        weight = ops.multiply(ops.ones((query.shape[-1],), query.dtype), self.concat_score_weight)
        return ops.additive_attention(query, key, value, weight, _with_causal(mask, query, key, causal), **options)

    def call(self, inputs, mask=None, training=False, return_attention_scores=False, use_causal_mask=False):
        self._check(inputs, mask)
        query, value = inputs[:2]
        key = inputs[2] if len(inputs) > 2 else value
        query_mask, value_mask = mask[:2] if mask is not None else (None, None)
        lead = tuple(query.shape[:-2])
        if len(lead) > 1:
            query, key, value, value_mask = self._one_batch_axis(query, key, value, value_mask)
        context, weights = self._attend(query, key, value, value_mask, use_causal_mask,
                                        training and not return_attention_scores)
        if return_attention_scores and training and self.dropout:  # the scores are those after dropout
            weights = random.dropout(weights, self.dropout, seed=self.seed_generator)
            context = ops.matmul(weights, value)
        if len(lead) > 1:
            context, weights = (ops.reshape(x, (*lead, *x.shape[1:])) for x in (context, weights))
        if query_mask is not None:
            context = ops.where(ops.expand_dims(ops.cast(query_mask, "bool"), -1), context, 0)
        return (context, weights) if return_attention_scores else context

    def _one_batch_axis(self, query, key, value, mask):
        """All but the last two axes as one; of the mask, all but the last."""
        lead = tuple(query.shape[:-2])
        if any(tuple(x.shape[:-2]) != lead for x in (key, value)):
            raise ValueError("expected query, value and key of one rank that agree in all but the last two axes;"
                             f" received shapes {query.shape}, {value.shape} and {key.shape}.")
        if mask is not None:
            if tuple(mask.shape) != tuple(value.shape[:-1]):
                raise ValueError(f"expected a mask of shape {value.shape[:-1]} for a value of shape {value.shape};"
                                 f" received {tuple(mask.shape)}.")
            mask = ops.reshape(mask, (math.prod(lead), mask.shape[-1]))
        return (*(ops.reshape(x, (math.prod(lead), *x.shape[-2:])) for x in (query, key, value)), mask)

    def compute_mask(self, inputs, mask=None):
        return None if mask is None else mask[0]

    def get_config(self):
        return {**super().get_config(), **self._arguments("use_scale", "score_mode", "dropout", "seed")}


def _with_causal(mask, query, key, causal):
    """A mask of keys, (B, S) or None, and that of the keys to come."""
    if not causal:
        return mask
    past = ops.tril(ops.ones((1, query.shape[1], key.shape[1]), "bool"))
    return past if mask is None else ops.logical_and(ops.expand_dims(ops.cast(mask, "bool"), 1), past)


@builtin("keras.layers")
class AdditiveAttention(Attention):
    """softmax(sum of scale tanh(query + key)) value, over the keys (Bahdanau et al. 2015).

    Args:
        use_scale: whether there is a learned `scale` (D,); ones otherwise.
        dropout, seed: as for `Attention`, as are the call arguments.
    """

    def __init__(self, use_scale=True, dropout=0.0, seed=None, **kwargs):
        super().__init__(use_scale=use_scale, dropout=dropout, seed=seed, **kwargs)

    def build(self, input_shape):
        self._check(input_shape)
        self.scale = None
        if self.use_scale:
            self.scale = self.add_weight(name="scale", shape=(input_shape[0][-1],), initializer="glorot_uniform")

    def _attend(self, query, key, value, mask, causal, training):
        return ops.additive_attention(query, key, value, self.scale, _with_causal(mask, query, key, causal),
                                      dropout=self.dropout, seed=self.seed_generator, training=bool(training))

    def get_config(self):
        config = super().get_config()
        del config["score_mode"]
        return config
