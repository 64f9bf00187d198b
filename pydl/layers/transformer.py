"""TransformerEncoder and TransformerDecoder: attention and a two-layer network, each with a residual and a norm."""

from __future__ import annotations

from typing import Any

from pydl import activations, initializers, ops
from pydl.layers.base import Layer
from pydl.layers.core import Dense
from pydl.layers.multi_head_attention import MultiHeadAttention
from pydl.layers.normalization import LayerNormalization
from pydl.layers.regularization import Dropout
from pydl.registry import builtin
from pydl.tensor import Tensor, Variable

__all__ = ["TransformerDecoder", "TransformerEncoder"]


class _Block(Layer):
    """The options, the parts, and how one part is put around the others.

    A part x -> f(x) becomes norm(x + dropout(f(x))), or with `normalize_first` x + dropout(f(norm(x))).
    """

    def __init__(self, intermediate_dim, num_heads, dropout=0, activation="relu", layer_norm_epsilon=1e-05,
                 kernel_initializer="glorot_uniform", bias_initializer="zeros", normalize_first=False, **kwargs):
        super().__init__(**kwargs)
        for name, value in (("intermediate_dim", intermediate_dim), ("num_heads", num_heads)):
            if not isinstance(value, int) or value <= 0:
                raise ValueError(f"{type(self).__name__}: expected a positive integer for {name}; received {value!r}.")
        self.intermediate_dim = intermediate_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.activation = activations.get(activation)
        self.layer_norm_epsilon = layer_norm_epsilon
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.normalize_first = normalize_first
        self.supports_masking = True

    def _initializers(self) -> dict:
        """New ones: an initializer with a seed would begin all weights alike."""
        return {"kernel_initializer": initializers.get(initializers.serialize(self.kernel_initializer)),
                "bias_initializer": initializers.get(initializers.serialize(self.bias_initializer)),
                "dtype": self.dtype}

    def _add_attention(self, name: str, query_shape, value_shape) -> None:
        features = query_shape[-1]
        if features is None or features < self.num_heads:
            raise ValueError(f"expected at least {self.num_heads} features, one for each head; received shape"
                             f" {tuple(query_shape)}.")
        layer = MultiHeadAttention(self.num_heads, features // self.num_heads, dropout=self.dropout,
                                   name=f"{name}_layer", **self._initializers())
        setattr(self, f"_{name}_layer", layer)
        layer.build(query_shape, value_shape)
        self._add_norm(name, query_shape)

    def _add_norm(self, name: str, shape) -> None:
        norm = LayerNormalization(epsilon=self.layer_norm_epsilon, dtype=self.dtype, name=f"{name}_layer_norm")
        setattr(self, f"_{name}_layer_norm", norm)
        norm.build(shape)
        setattr(self, f"_{name}_dropout", Dropout(self.dropout, dtype=self.dtype, name=f"{name}_dropout"))

    def _add_feedforward(self, shape) -> None:
        self._add_norm("feedforward", shape)
        self._feedforward_intermediate_dense = Dense(self.intermediate_dim, self.activation,
                                                     name="feedforward_intermediate_dense", **self._initializers())
        self._feedforward_output_dense = Dense(shape[-1], name="feedforward_output_dense", **self._initializers())
        self._feedforward_intermediate_dense.build(shape)
        self._feedforward_output_dense.build((*shape[:-1], self.intermediate_dim))

    def _around(self, name: str, x, part, training):
        norm, dropout = getattr(self, f"_{name}_layer_norm"), getattr(self, f"_{name}_dropout")
        if self.normalize_first:
            return ops.add(x, dropout(part(norm(x)), training=training))
        return norm(ops.add(x, dropout(part(x), training=training)))

    def _feedforward(self, x):
        return self._feedforward_output_dense(self._feedforward_intermediate_dense(x))

    def get_config(self):
        return {**super().get_config(), **self._arguments("intermediate_dim", "num_heads", "dropout", "activation",
                                                          "layer_norm_epsilon", "kernel_initializer",
                                                          "bias_initializer", "normalize_first")}


_ARGUMENTS = """
        intermediate_dim: units of the network between the two Dense layers.
        num_heads: heads of the attention; each has features // num_heads units.
        dropout: rate for the probabilities of the attention and in front of each residual sum.
        activation: of the network.
        layer_norm_epsilon: of the norms.
        kernel_initializer, bias_initializer: of all dense parts.
        normalize_first: norms in front of the parts (Xiong et al. 2020) instead of behind the sums.
"""


def _own_mask(x, given):
    return given if given is not None else getattr(x, "_keras_mask", None)


@builtin("keras_hub.layers")
class TransformerEncoder(_Block):
    __doc__ = f"""Self-attention, then a network on each place (Vaswani et al. 2017, 3.1).

    Args:{_ARGUMENTS}
    Call arguments:
        inputs: (B, T, D).
        padding_mask: bool (B, T), true at real places; the inputs' mask by default.
        attention_mask: bool (B, T, T), true where a place sees another.
        return_attention_scores: also return the probabilities (B, N, T, T).

    Returns:
        (B, T, D).
    """

    def build(self, inputs_shape):
        self._add_attention("self_attention", inputs_shape, inputs_shape)
        self._add_feedforward(inputs_shape)

    def call(self, inputs, padding_mask=None, attention_mask=None, training=None, return_attention_scores=False):
        keys, scores = _own_mask(inputs, padding_mask), []

        def attend(x):
            result = self._self_attention_layer(x, x, query_mask=None, value_mask=keys, attention_mask=attention_mask,
                                                return_attention_scores=return_attention_scores, training=training)
            if return_attention_scores:
                result, probabilities = result
                scores.append(probabilities)
            return result

        x = self._around("self_attention", inputs, attend, training)
        x = self._around("feedforward", x, self._feedforward, training)
        return (x, *scores) if return_attention_scores else x


@builtin("keras_hub.layers")
class TransformerDecoder(_Block):
    __doc__ = f"""Causal self-attention, attention to an encoder's output, then a network on each place (Vaswani et al.
    2017, 3.1). Built without an encoder sequence it has no attention to one (as in GPT).

    Args:{_ARGUMENTS}
    Call arguments:
        decoder_sequence: (B, T, D).
        encoder_sequence: (B, S, E), or None.
        decoder_padding_mask, encoder_padding_mask: bool (B, T), (B, S), true at real places; the inputs' masks by
            default.
        decoder_attention_mask, encoder_attention_mask: bool (B, T, T), (B, T, S).
        self_attention_cache: (B, 2, T_max, N, H) for generation: keys and values of the places so far. A Variable is
            changed in place, anything else is left as it is.
        self_attention_cache_update_index: where in the cache decoder_sequence begins: an int, or an int tensor of one
            element, which is read when a recorded program runs, so that one serves all steps.
        cross_attention_cache: (B, 2, S, N, H), keys and values of the encoder's output.
        cross_attention_cache_update_index: 0 to fill that cache from encoder_sequence, None when it is complete.
        use_causal_mask: whether a place sees only those up to its own.

    Returns:
        (B, T, D); with a self_attention_cache, also that; with a cross_attention_cache, that too. Both are new tensors
        unless they were Variables.

    Raises:
        ValueError: for an encoder sequence that is missing or not expected, or a cache that does not fit.
        IndexError: for places past the end of the cache.
    """

    def build(self, decoder_sequence_shape, encoder_sequence_shape=None):
        self._add_attention("self_attention", decoder_sequence_shape, decoder_sequence_shape)
        self._cross_attention_layer = None
        if encoder_sequence_shape is not None:
            self._add_attention("cross_attention", decoder_sequence_shape, encoder_sequence_shape)
        self._add_feedforward(decoder_sequence_shape)

    def call(self, decoder_sequence, encoder_sequence=None, decoder_padding_mask=None, decoder_attention_mask=None,
             encoder_padding_mask=None, encoder_attention_mask=None, self_attention_cache=None,
             self_attention_cache_update_index=None, cross_attention_cache=None,
             cross_attention_cache_update_index=None, use_causal_mask=True, training=None):
        crossing = self._cross_attention_layer is not None
        if crossing and encoder_sequence is None and (cross_attention_cache is None
                                                      or cross_attention_cache_update_index is not None):
            raise ValueError("the layer was built with an encoder sequence: expected encoder_sequence or a complete"
                             " cross_attention_cache.")
        if not crossing and (encoder_sequence is not None or cross_attention_cache is not None):
            raise ValueError("the layer was built without an encoder sequence; received one.")
        if cross_attention_cache is not None and self_attention_cache is None:
            raise ValueError("expected a self_attention_cache beside the cross_attention_cache.")
        keys = _own_mask(decoder_sequence, decoder_padding_mask)
        caches = []

        def attend(x):
            layer = self._self_attention_layer
            if self_attention_cache is None:
                return layer(x, x, query_mask=None, value_mask=keys, attention_mask=decoder_attention_mask,
                             use_causal_mask=use_causal_mask, training=training)
            index = self_attention_cache_update_index
            if index is None:
                raise ValueError("expected self_attention_cache_update_index beside the self_attention_cache.")
            y, cache = _with_cache(layer, x, x, self_attention_cache, index, decoder_attention_mask, use_causal_mask)
            caches.append(cache)
            return y

        def attend_to_encoder(x):
            layer, mask = self._cross_attention_layer, encoder_padding_mask
            if encoder_sequence is not None:
                mask = _own_mask(encoder_sequence, mask)
            if cross_attention_cache is None:
                return layer(x, encoder_sequence, query_mask=None, value_mask=mask, key_mask=None,
                             attention_mask=encoder_attention_mask, training=training)
            mask = layer._mask(x, None, None, mask, None, encoder_attention_mask)
            index = cross_attention_cache_update_index
            y, cache = _with_cache(layer, x, None if index is None else encoder_sequence, cross_attention_cache, index,
                                   mask, False)
            caches.append(cache)
            return y

        x = self._around("self_attention", decoder_sequence, attend, training)
        if crossing:
            x = self._around("cross_attention", x, attend_to_encoder, training)
        x = self._around("feedforward", x, self._feedforward, training)
        return (x, *caches) if caches else x


def _with_cache(layer: MultiHeadAttention, x: Tensor, source, cache, index, mask, causal):
    """(output, cache) of attention to the cache, into which the projections of `source` go before, if there is one."""
    to_query, to_key, to_value, to_output = layer.projections()
    new: tuple[Any, Any] = (None, None) if source is None else (to_key(source), to_value(source))
    if source is not None and source.shape[1] != x.shape[1]:  # all of an encoder's output at once
        if not isinstance(index, int):
            raise ValueError(f"expected an int for cross_attention_cache_update_index; received {index!r}.")
        filled = ops.slice_update(cache, (0, 0, index, 0, 0), ops.stack(new, axis=1))
        if isinstance(cache, Variable):
            cache.assign(filled)
        else:
            cache = filled
        new = (None, None)
    if mask is not None and mask.ndim == 3:
        mask = ops.expand_dims(mask, 1)
    y, cache = ops.cached_attention(to_query(x), *new, cache, 0 if index is None else index, mask, is_causal=causal)
    return to_output(y), cache
