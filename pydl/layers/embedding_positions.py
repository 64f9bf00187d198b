"""Where a token stands: position encodings, and embeddings made for language models."""

from __future__ import annotations

import numpy as np

from pydl import initializers, ops
from pydl.dtypes import is_float_dtype
from pydl.layers.base import Layer
from pydl.layers.core import Embedding
from pydl.registry import builtin

__all__ = ["PositionEmbedding", "ReversibleEmbedding", "SinePositionEncoding", "TokenAndPositionEmbedding"]


@builtin("keras_hub.layers")
class SinePositionEncoding(Layer):
    """Sines and cosines of the position, of wavelengths from 2 pi to `max_wavelength` (Vaswani et al. 2017, 3.5):

        encoding(p, 2 i) = sin(p / max_wavelength^(2 i / D)),  encoding(p, 2 i + 1) = cos of the same

    Args:
        max_wavelength: of the slowest pair.

    Call arguments:
        inputs: (B, T, D); only its shape is used.
        start_index: position of the first token, an int or an int tensor of one element that is read at run time.
        positions: (T,) or (B, T), instead of those from start_index on.

    Returns:
        (B, T, D), to be added to the inputs.
    """

    def __init__(self, max_wavelength=10000, **kwargs):
        super().__init__(**kwargs)
        self.max_wavelength = max_wavelength
        self.supports_masking = True

    def call(self, inputs, start_index=0, positions=None):
        steps, features = inputs.shape[-2:]
        rates = self.max_wavelength ** (-(np.arange(features) // 2 * 2) / features)
        if positions is None and isinstance(start_index, (int, np.integer)):  # known now: a constant
            angles = (np.arange(steps)[:, None] + start_index) * rates
            table = np.where(np.arange(features) % 2, np.cos(angles), np.sin(angles))
            return ops.broadcast_to(ops.convert_to_tensor(table.astype(inputs.dtype)), inputs.shape)
        if positions is None:
            positions = ops.add(ops.convert_to_tensor(np.arange(steps)), ops.reshape(start_index, ()))
        angles = ops.expand_dims(ops.cast(positions, inputs.dtype), -1) * rates.astype(inputs.dtype)
        table = ops.where(np.arange(features) % 2 == 1, ops.cos(angles), ops.sin(angles))
        return ops.broadcast_to(table, inputs.shape)

    def get_config(self):
        return {**super().get_config(), "max_wavelength": self.max_wavelength}


@builtin("keras_hub.layers")
class PositionEmbedding(Layer):
    """A learned vector for each position.

    Args:
        sequence_length: number of positions; longer inputs are an error.
        initializer: of the variable `embeddings` (sequence_length, D).

    Call arguments:
        inputs: (B, T, D); only its shape is used.
        start_index: position of the first token, an int or an int tensor of one element that is read at run time.

    Returns:
        (B, T, D), to be added to the inputs.

    Raises:
        ValueError: for more than sequence_length positions.
        IndexError: for a start_index tensor past them.
    """

    def __init__(self, sequence_length, initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        if not isinstance(sequence_length, int) or sequence_length <= 0:
            raise ValueError(f"PositionEmbedding: expected a positive sequence_length; received {sequence_length!r}.")
        self.sequence_length = sequence_length
        self.initializer = initializers.get(initializer)
        self.supports_masking = True

    def build(self, inputs_shape):
        if inputs_shape[-1] is None:
            raise ValueError(f'PositionEmbedding "{self.name}": the last axis of the input must be known; received'
                             f" shape {tuple(inputs_shape)}.")
        self.position_embeddings = self.add_weight(name="embeddings", shape=(self.sequence_length, inputs_shape[-1]),
                                                   initializer=self.initializer)

    def call(self, inputs, start_index=0):
        steps = inputs.shape[-2]
        if isinstance(start_index, (int, np.integer)):
            if not 0 <= start_index <= self.sequence_length - steps:
                raise ValueError(f"expected at most {self.sequence_length} positions; received {steps} from"
                                 f" {start_index} on.")
            rows = self.position_embeddings[start_index:start_index + steps]
        else:
            places = ops.add(ops.convert_to_tensor(np.arange(steps, dtype="int32")),
                             ops.cast(ops.reshape(start_index, ()), "int32"))
            rows = ops.embedding(self.position_embeddings, places)
        return ops.broadcast_to(rows, inputs.shape)

    def get_config(self):
        return {**super().get_config(), **self._arguments("sequence_length", "initializer")}


@builtin("keras.layers")
class ReversibleEmbedding(Embedding):
    """An `Embedding` that also goes back, from vectors to scores of the rows (Press and Wolf 2016).

    Args:
        input_dim, output_dim, embeddings_initializer, embeddings_regularizer, embeddings_constraint, mask_zero: as for
            `Embedding`.
        tie_weights: go back with the same table; otherwise with `reverse_embeddings` (output_dim, input_dim).
        reverse_dtype: accepted where it is the layer's.
        logit_soft_cap: c in c tanh(scores / c), or None.

    Call arguments: ids, or with reverse=True vectors (..., output_dim), which become scores (..., input_dim).
    """

    def __init__(self, input_dim, output_dim, tie_weights=True, embeddings_initializer="uniform",
                 embeddings_regularizer=None, embeddings_constraint=None, mask_zero=False, reverse_dtype=None,
                 logit_soft_cap=None, **kwargs):
        self.tie_weights = tie_weights  # before the table may be made
        super().__init__(input_dim, output_dim, embeddings_initializer, embeddings_regularizer, embeddings_constraint,
                         mask_zero, **kwargs)
        if reverse_dtype not in (None, self.dtype):
            raise ValueError(f"ReversibleEmbedding: expected reverse_dtype None or {self.dtype}; received"
                             f" {reverse_dtype!r}.")
        self.reverse_dtype = reverse_dtype
        self.logit_soft_cap = logit_soft_cap

    def build(self, input_shape=None):
        super().build(input_shape)
        if not self.tie_weights:
            self.reverse_embeddings = self.add_weight(name="reverse_embeddings",
                                                      shape=(self.output_dim, self.input_dim),
                                                      initializer=self.embeddings_initializer)

    def call(self, inputs, reverse=False):
        if not reverse:
            return super().call(inputs)
        table = ops.transpose(self.embeddings) if self.tie_weights else self.reverse_embeddings
        scores = ops.matmul(inputs, table)
        return scores if self.logit_soft_cap is None else ops.tanh(scores / self.logit_soft_cap) * self.logit_soft_cap

    def compute_mask(self, inputs, mask=None):
        return mask if is_float_dtype(inputs.dtype) else super().compute_mask(inputs, mask)

    def get_config(self):
        return {**super().get_config(), **self._arguments("tie_weights", "reverse_dtype", "logit_soft_cap")}


@builtin("keras_hub.layers")
class TokenAndPositionEmbedding(Layer):
    """The sum of a token's vector and its position's.

    Args:
        vocabulary_size: ids lie in [0, vocabulary_size).
        sequence_length: number of positions.
        embedding_dim: D.
        tie_weights: of `token_embedding`, a `ReversibleEmbedding`: call it with reverse=True for scores.
        embeddings_initializer: of both tables.
        mask_zero: id 0 is padding; layers that follow get a mask.

    Call arguments: ids (B, T), start_index as for `PositionEmbedding`. Returns (B, T, D).
    """

    def __init__(self, vocabulary_size, sequence_length, embedding_dim, tie_weights=True,
                 embeddings_initializer="uniform", mask_zero=False, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.sequence_length = sequence_length
        self.embedding_dim = embedding_dim
        self.tie_weights = tie_weights
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.mask_zero = mask_zero
        self.autocast = False
        self.token_embedding = ReversibleEmbedding(vocabulary_size, embedding_dim, tie_weights, embeddings_initializer,
                                                   mask_zero=mask_zero, dtype=self.dtype, name="token_embedding")
        self.position_embedding = PositionEmbedding(sequence_length, embeddings_initializer, dtype=self.dtype,
                                                    name="position_embedding")
        self.supports_masking = mask_zero

    def build(self, inputs_shape):
        self.token_embedding.build(inputs_shape)
        self.position_embedding.build((*inputs_shape, self.embedding_dim))

    def call(self, inputs, start_index=0):
        tokens = self.token_embedding(inputs)
        return ops.add(tokens, self.position_embedding(tokens, start_index=start_index))

    def compute_mask(self, inputs, mask=None):
        return self.token_embedding.compute_mask(inputs, mask) if self.mask_zero else None

    def get_config(self):
        return {**super().get_config(), **self._arguments("vocabulary_size", "sequence_length", "embedding_dim",
                                                          "tie_weights", "mask_zero", "embeddings_initializer")}
