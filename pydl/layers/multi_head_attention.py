"""MultiHeadAttention and GroupQueryAttention: projections to heads, attention in each, a projection back."""

from __future__ import annotations

import math

import numpy as np

from pydl import constraints, initializers, ops, random, regularizers
from pydl.layers.base import Layer
from pydl.layers.einsum_dense import EinsumDense
from pydl.registry import builtin, deserialize_keras_object, serialize_keras_object

__all__ = ["GroupQueryAttention", "MultiHeadAttention"]


def _positive(value, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"Received an invalid value for argument `{name}`, expected a positive integer. Received:"
                         f" {name}={value}")


class _Heads(Layer):
    """What the two layers share: the options of their projections, masks, the call."""

    _prefix = ""  # of the attributes that hold the projections; names in files follow from it

    def __init__(self, dropout, use_bias, sliding_window, flash_attention, kernel_initializer, bias_initializer,
                 kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint,
                 use_gate, seed, **kwargs):
        super().__init__(**kwargs)
        if sliding_window is not None:
            _positive(sliding_window, "sliding_window")
        if flash_attention and dropout > 0:
            raise ValueError("Dropout is not supported when flash attention is enabled. Please set dropout to 0.0 to"
                             " use flash attention.")
        self.dropout = dropout
        self.use_bias = use_bias
        self.sliding_window = sliding_window
        self.use_gate = use_gate
        self.seed = seed
        self._flash_attention = flash_attention
        self._options = {
            "kernel_initializer": initializers.get(kernel_initializer),
            "bias_initializer": initializers.get(bias_initializer),
            "kernel_regularizer": regularizers.get(kernel_regularizer),
            "bias_regularizer": regularizers.get(bias_regularizer),
            "kernel_constraint": constraints.get(kernel_constraint),
            "bias_constraint": constraints.get(bias_constraint),
        }
        self._of_outputs = regularizers.get(activity_regularizer)
        self.seed_generator = random.SeedGenerator(seed) if dropout > 0 else None
        self.supports_masking = True

    def _project(self, name, shape, inner, outer, attribute=None, activation=None) -> None:
        """Makes and builds the projection of the last `inner` axes of `shape` to axes `outer`."""
        import string

        free = len(shape) - inner
        axes = string.ascii_lowercase[:free + inner + len(outer)]
        lead, middle, last = axes[:free], axes[free:free + inner], axes[free + inner:]
        # An initializer of its own, or all of the same shape would begin alike where it has a seed.
        options = {k: deserialize_keras_object(serialize_keras_object(v)) if k.endswith("initializer") and v else v
                   for k, v in self._options.items()}
        layer = EinsumDense(f"{lead}{middle},{middle}{last}->{lead}{last}", (*(None,) * (free - 1), *outer),
                            activation=activation, bias_axes=last if self.use_bias else None, name=name,
                            activity_regularizer=self._of_outputs, dtype=self.dtype, **options)
        layer.supports_masking = True  # what masks say is done between the projections
        setattr(self, attribute or f"{self._prefix}{name}_dense", layer)
        layer.build(shape)

    def _build_all(self, query_shape, value_shape, key_shape, heads, groups, width, depth, output) -> None:
        key_shape = value_shape if key_shape is None else key_shape
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ValueError("All dimensions of `value` and `key`, except the last one, must be equal. Received:"
                             f" value_shape={value_shape} and key_shape={key_shape}")
        self._project("query", query_shape, 1, (heads, width))
        self._project("key", key_shape, 1, (groups, width))
        if self.use_gate:
            self._project("gate", query_shape, 1, (heads, depth), "_gate_dense", "sigmoid")
        self._project("value", value_shape, 1, (groups, depth))
        self._project("attention_output", (*query_shape[:-1], heads, depth), 2, output, f"{self._prefix}output_dense")

    def projections(self) -> tuple[EinsumDense, ...]:
        """Those of query, key, value and output."""
        return tuple(getattr(self, f"{self._prefix}{name}_dense") for name in ("query", "key", "value", "output"))

    def _mask(self, query, value, query_mask, value_mask, key_mask, attention_mask):
        """All masks but the causal one as one that broadcasts to (B, T, S), or None."""
        mask = None
        if value_mask is not None:
            mask = ops.expand_dims(ops.cast(value_mask, "bool"), -2)
        if key_mask is not None and key_mask is not value_mask:
            mask = _both(mask, ops.expand_dims(ops.cast(key_mask, "bool"), -2))
        if query_mask is not None:
            mask = _both(mask, ops.expand_dims(ops.cast(query_mask, "bool"), -1))
        if self.sliding_window is not None:
            distance = np.arange(query.shape[1])[:, None] - np.arange(value.shape[1])
            mask = _both(mask, ops.convert_to_tensor(np.abs(distance)[None] < self.sliding_window))
        return mask if attention_mask is None else _both(mask, ops.cast(attention_mask, "bool"))

    def call(self, query, value, key=None, query_mask=None, value_mask=None, key_mask=None, attention_mask=None,
             return_attention_scores=False, training=None, use_causal_mask=False):
        if self._flash_attention and return_attention_scores:
            raise ValueError("Returning attention scores is not supported when flash attention is enabled. Please"
                             " disable flash attention to access attention scores.")
        key = value if key is None else key
        if query.ndim < 3 or not query.ndim == value.ndim == key.ndim:
            raise ValueError("expected query, value and key (batch, steps, ..., features) of one rank, at least 3;"
                             f" received shapes {query.shape}, {value.shape} and {key.shape}.")
        mask = self._mask(query, value, query_mask, value_mask, key_mask, attention_mask)
        to_query, to_key, to_value, to_output = self.projections()
        context, scores = self._attend(to_query(query), to_key(key), to_value(value), mask, training,
                                       return_attention_scores, use_causal_mask)
        if self.use_gate:
            context = ops.multiply(context, self._gate_dense(query))
        output = to_output(context)
        return (output, scores) if return_attention_scores else output

    def _attend(self, query, key, value, mask, training, want_scores, causal):
        result = ops.dot_product_attention(query, key, value, mask=_for_heads(mask), is_causal=causal,
                                           dropout=self.dropout, seed=self.seed_generator, training=bool(training),
                                           return_attention_scores=want_scores)
        return result if want_scores else (result, None)

    def compute_mask(self, inputs, previous_mask):
        return previous_mask

    def get_config(self):
        options = {k: {"initializer": initializers, "regularizer": regularizers, "constraint": constraints}
                   [k.split("_")[1]].serialize(v) for k, v in self._options.items()}
        return {**super().get_config(), "dropout": self.dropout, "use_bias": self.use_bias, "use_gate": self.use_gate,
                "sliding_window": self.sliding_window, "seed": self.seed,
                "activity_regularizer": regularizers.serialize(self._of_outputs), **options}


def _both(a, b):
    return b if a is None else ops.logical_and(a, b)


def _for_heads(mask):
    """A mask that broadcasts to (B, T, S), or one with heads, for scores (B, N, T, S)."""
    return mask if mask is None or mask.ndim != 3 else ops.expand_dims(mask, 1)


@builtin("keras.layers")
class MultiHeadAttention(_Heads):
    """Attention in several heads, each on a projection of its own (Vaswani et al. 2017).

    Args:
        num_heads: number of heads N.
        key_dim: size of a head's queries and keys.
        value_dim: size of a head's values, key_dim by default.
        dropout: rate at which probabilities are left out in training.
        use_bias: whether the projections have biases.
        output_shape: int or tuple, of the last axes of the output; the query's last axis by default.
        attention_axes: axes of the query over which is attended; by default all but batch and features. (The others are
            batch axes.)
        sliding_window: queries see the keys less than that far away only.
        flash_attention: accepted; there is one way of computing.
        kernel_initializer, ... : of the projections query, key, value and attention_output.
        use_gate: multiply the heads' outputs with a sigmoid projection of the query.
        seed: int or None, of the dropout.

    Call arguments:
        query: (B, T, D); value: (B, S, V); key: (B, S, K), the value by default.
        query_mask, value_mask, key_mask: (B, T), (B, S); those of the inputs by default.
        attention_mask: bool, broadcasts to (B, T, S), true where a query sees a key. One that sees none attends to all
            alike.
        return_attention_scores: also return the probabilities (B, N, T, S), as they were before dropout.
        training: whether dropout applies.
        use_causal_mask: query t sees the keys up to t.

    Returns:
        (B, T, D) or `output_shape`, with the mask that the query carries.
    """

    # As Keras calls the attributes.
    _query_dense = property(lambda self: self.query_dense)
    _key_dense = property(lambda self: self.key_dense)
    _value_dense = property(lambda self: self.value_dense)
    _output_dense = property(lambda self: self.output_dense)
    _sliding_window = property(lambda self: self.sliding_window)

    def __init__(self, num_heads, key_dim, value_dim=None, dropout=0.0, use_bias=True, output_shape=None,
                 attention_axes=None, sliding_window=None, flash_attention=None, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, use_gate=False, seed=None, **kwargs):
        super().__init__(dropout, use_bias, sliding_window, flash_attention, kernel_initializer, bias_initializer,
                         kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint,
                         use_gate, seed, **kwargs)
        _positive(num_heads, "num_heads")
        _positive(key_dim, "key_dim")
        if value_dim is not None:
            _positive(value_dim, "value_dim")
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim or key_dim
        sizes = (output_shape,) if isinstance(output_shape, int) else output_shape or ()
        if not isinstance(sizes, (tuple, list)) or not all(isinstance(n, int) for n in sizes):
            raise ValueError(f"MultiHeadAttention: Invalid `output_shape`, expected an int or a tuple of ints; received"
                             f" output_shape={output_shape!r}.")
        self._output_shape = tuple(sizes) or None
        if attention_axes is not None and not isinstance(attention_axes, (int, list, tuple)):
            raise ValueError("`attention_axes` must be an int, list, or tuple. Received:"
                             f" attention_axes={attention_axes}")
        self.attention_axes = (attention_axes,) if isinstance(attention_axes, int) else attention_axes

    def build(self, query_shape, value_shape, key_shape=None):
        rank = len(query_shape)
        axes = range(1, rank - 1) if self.attention_axes is None else self.attention_axes
        self.attention_axes = tuple(a % rank for a in axes)
        self._build_all(query_shape, value_shape, key_shape, self.num_heads, self.num_heads, self.key_dim,
                        self.value_dim, self._output_shape or (query_shape[-1],))

    def _attend(self, query, key, value, mask, training, want_scores, causal):
        if query.ndim == 4 and self.attention_axes == (1,):
            return super()._attend(query, key, value, mask, training, want_scores, causal)
        attended = self.attention_axes
        batch = tuple(a for a in range(query.ndim - 2) if a not in attended)
        order = (*batch, *attended, query.ndim - 2, query.ndim - 1)
        if causal:
            past = ops.tril(ops.ones((1, query.shape[1], key.shape[1]), "bool"))
            mask = past if mask is None else ops.logical_and(mask, past)
        query, key, value = (ops.transpose(x, order) for x in (query, key, value))
        lead, queries, keys = query.shape[:len(batch)], query.shape[len(batch):-2], key.shape[len(batch):-2]
        scores_shape = (*lead, self.num_heads, *queries, *keys)
        flat = (math.prod(lead), self.num_heads, math.prod(queries), math.prod(keys))
        if mask is not None:
            while mask.ndim < len(scores_shape):
                mask = ops.expand_dims(mask, max(0, mask.ndim - 2 * len(attended)))
            mask = ops.reshape(ops.broadcast_to(mask, scores_shape), flat)
        result, scores = super()._attend(*(ops.reshape(x, (flat[0], math.prod(x.shape[len(batch):-2]), *x.shape[-2:]))
                                           for x in (query, key, value)), mask, training, True, False)
        result = ops.transpose(ops.reshape(result, (*lead, *queries, *result.shape[-2:])), np.argsort(order).tolist())
        return result, ops.reshape(scores, scores_shape)

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads, "key_dim": self.key_dim,
                "value_dim": self.value_dim, "output_shape": self._output_shape, "attention_axes": self.attention_axes}


@builtin("keras.layers")
class GroupQueryAttention(_Heads):
    """Attention in heads of which several share one key and value (Ainslie et al. 2023).

    Args:
        head_dim: size of a head's queries, keys and values.
        num_query_heads: number of heads, a multiple of num_key_value_heads.
        num_key_value_heads: number of keys and values.

    The other arguments, those of the call and the result are as for `MultiHeadAttention`; sequences are (B, T, D).
    """

    _prefix = "_"
    _name_in_files = "GroupedQueryAttention"  # as Keras calls the class

    def __init__(self, head_dim, num_query_heads, num_key_value_heads, dropout=0.0, use_bias=True, sliding_window=None,
                 flash_attention=None, kernel_initializer="glorot_uniform", bias_initializer="zeros",
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, use_gate=False, seed=None, **kwargs):
        super().__init__(dropout, use_bias, sliding_window, flash_attention, kernel_initializer, bias_initializer,
                         kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint, bias_constraint,
                         use_gate, seed, **kwargs)
        for name, value in (("head_dim", head_dim), ("num_query_heads", num_query_heads),
                            ("num_key_value_heads", num_key_value_heads)):
            _positive(value, name)
        if num_query_heads % num_key_value_heads:
            raise ValueError("`num_query_heads` must be divisible by `num_key_value_heads`. Received:"
                             f" {num_query_heads} and {num_key_value_heads}.")
        self.head_dim = head_dim
        self.num_query_heads = num_query_heads
        self.num_key_value_heads = num_key_value_heads

    def build(self, query_shape, value_shape, key_shape=None):
        self._build_all(query_shape, value_shape, key_shape, self.num_query_heads, self.num_key_value_heads,
                        self.head_dim, self.head_dim, (query_shape[-1],))

    def get_config(self):
        return {**super().get_config(), **self._arguments("head_dim", "num_query_heads", "num_key_value_heads")}
