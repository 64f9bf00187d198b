"""Seq2Seq: encoder, state bridge, decoder, output; trained with teacher forcing, written by greedy or beam search."""

from __future__ import annotations

import contextlib

import numpy as np

from pydl import activations, ops, random, tree
from pydl.autograd import no_grad
from pydl.dtypes import holds_integers
from pydl.layers._call import call_signature
from pydl.layers.base import Layer
from pydl.layers.core import Dense, Embedding
from pydl.models._generation import Writer, check_options
from pydl.models._stepping import stepping
from pydl.models.model import Model
from pydl.registry import builtin, deserialize_keras_object, serialize_keras_object
from pydl.tensor import Tensor, Variable

__all__ = ["Seq2Seq"]

_MAX_WRITERS = 8  # programs of generation that a model keeps


@builtin("pydl.models")
class Seq2Seq(Model):
    """Sequences of tokens to sequences of tokens (Sutskever, Vinyals and Le 2014; Cho et al. 2014).

        fit((source, target_in), target_out), with target_in = start y1 y2 ... and target_out = y1 y2 ... end

    The model gives logits (batch, steps, target_vocabulary): compile it with a loss of `from_logits=True`. With
    `mask_zero` token 0 is padding, on either side, does not count in losses and metrics, and is never written.

    Args:
        encoder: a layer, or a list of layers on top of each other, from (batch, places, features) to a memory (batch,
            places, features): RNN layers with return_sequences=True (and return_state=True, for the last one, to hand
            states on), Bidirectional, attention blocks.
        decoder: BahdanauDecoder, LuongDecoder, TransformerDecoder, an RNN layer, any layer of the form that
            `models/_stepping.py` describes, or a list of them.
        source_vocabulary, target_vocabulary: number of tokens.
        embedding: width of the vectors of tokens. `source_embedding`, `target_embedding` replace them: a layer, or a
            list of layers, from ids to vectors. Where the place counts, one takes `start_index` in its call, as
            TokenAndPositionEmbedding does, or has a method `step(x, position)` for single tokens.
        mask_zero: whether token 0 is padding.
        shared_embedding: one table for both sides.
        bridge: how the encoder's states become the decoder's: "auto", as they are where sizes are equal, else "dense",
            bridge_activation(concatenation of all states @ W + b) for each state; None, the decoder begins with zeros,
            as it does when the encoder returns no states.
        bridge_activation: "tanh" as in Bahdanau, Cho and Bengio 2015.
        sampling: None for plain teacher forcing; a number for scheduled sampling (Bengio et al. 2015): the share of
            steps, in training, that see the model's own best token instead of the target's. It is the initial value of
            the variable `sampling`, which may be assigned at any time (in a callback, say). The tokens are found step
            by step, without dropout, in front of the training step itself.
        seed: of the draws of scheduled sampling.

    Raises:
        ValueError: for arguments that do not fit together.
        IndexError: at run time, for a token out of range; no weight changes.
    """

    def __init__(self, encoder, decoder, source_vocabulary, target_vocabulary, embedding=64, source_embedding=None,
                 target_embedding=None, mask_zero=True, shared_embedding=False, bridge="auto",
                 bridge_activation="tanh", sampling=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        if bridge not in ("auto", "dense", None):
            raise ValueError(f'Seq2Seq: expected bridge to be "auto", "dense" or None; received {bridge!r}.')
        if shared_embedding and (source_embedding is not None or target_embedding is not None
                                 or source_vocabulary != target_vocabulary):
            raise ValueError("Seq2Seq: shared_embedding=True needs one vocabulary and no embedding layers; received"
                             f" {source_vocabulary} and {target_vocabulary} tokens.")
        if sampling is not None and not 0 <= sampling <= 1:
            raise ValueError(f"Seq2Seq: expected sampling between 0 and 1; received {sampling!r}.")
        self.encoder, self.decoder = encoder, decoder
        self.source_vocabulary, self.target_vocabulary = source_vocabulary, target_vocabulary
        self.embedding, self.mask_zero, self.shared_embedding = embedding, mask_zero, shared_embedding
        self.own_embeddings = source_embedding is not None, target_embedding is not None
        if source_embedding is None:
            source_embedding = Embedding(source_vocabulary, embedding, mask_zero=mask_zero, name="source_embedding")
        if target_embedding is None:
            target_embedding = source_embedding if shared_embedding else Embedding(
                target_vocabulary, embedding, mask_zero=mask_zero, name="target_embedding")
        self.source_embedding, self.target_embedding = source_embedding, target_embedding
        self.output_layer = Dense(target_vocabulary, name="output")
        self.bridge, self.bridge_activation = bridge, activations.get(bridge_activation)
        self.bridge_layers: list[Layer] = []
        self.sampling = None
        if sampling is not None:
            self.sampling = Variable(float(sampling), dtype=self._dtype, trainable=False, name="sampling")
        self.seed = seed
        self.seed_generator = random.SeedGenerator(seed)
        self._decoding = stepping(decoder)
        self._writers: dict = {}

    # ---- the sequences of a batch --------------------------------------------------------------------------------

    def encode(self, source, training=False):
        """source (batch, places) of ids -> memory (batch, places, features), its mask or None, the decoder's states or
        None."""
        x = _through(self.source_embedding, source)
        mask = getattr(x, "_keras_mask", None)
        for layer in _listed(self.encoder):
            # The mask goes along by itself, with layers that carry one.
            x, *states = tree.flatten(layer(x, training=training))
        if x.ndim != 3:
            raise ValueError("the encoder must return a sequence (batch, places, features): give its RNN layers"
                             f" return_sequences=True. It returned shape {x.shape}.")
        carried = getattr(x, "_keras_mask", None)
        if carried is None and mask is not None and x.shape[1] == mask.shape[1]:
            carried = mask
        return x, carried, self._handed_over(states)

    def _handed_over(self, states):
        sizes = self._decoding.state_size
        if not states or not sizes or self.bridge is None:
            return None
        if self.bridge == "auto" and [s.shape[-1] for s in states] == sizes:
            return list(states)
        if not self.bridge_layers:
            self.bridge_layers = [Dense(size, self.bridge_activation, name=f"bridge_{i}")
                                  for i, size in enumerate(sizes)]
        joined = ops.concatenate(list(states), -1) if len(states) > 1 else states[0]
        return [layer(joined) for layer in self.bridge_layers]

    def call(self, inputs, training=False):
        if not isinstance(inputs, (list, tuple)) or len(inputs) != 2:
            raise ValueError(f"expected the inputs [source, target]; received {type(inputs).__name__}.")
        source, target = inputs
        memory, memory_mask, states = self.encode(source, training)
        if self.sampling is not None and training:
            if not self.output_layer.built:  # steps need the weights that a sequence makes
                with no_grad():
                    self.call(inputs)
            target = self._mixed(target, memory, memory_mask, states)
        x = _through(self.target_embedding, target)
        mask = getattr(x, "_keras_mask", None)
        logits = self.output_layer(self._decoding.sequence(x, memory, mask, memory_mask, states, training))
        if mask is not None:
            logits._keras_mask = mask
        return logits

    def _mixed(self, target, memory, memory_mask, states):
        """`target` (batch, steps) with the best token of the step before in some places, found step by step. No
        gradient flows through a choice, so the steps need none: what is trained is the sequence of what they saw."""
        target = ops.cast(target, "int32")
        batch, steps = target.shape
        own = ops.less(random.uniform((batch, steps), dtype=self._dtype, seed=self.seed_generator), self.sampling)
        real = ops.not_equal(target, 0) if self.mask_zero else ops.ones((batch, steps), "bool")
        own = ops.logical_and(own, real)
        with no_grad():
            fixed, state = self._decoding.begin(memory, memory_mask, states, steps)
            tokens: list[Tensor] = [target[:, 0]]
            for t in range(1, steps):
                features, new, _ = self._decoding.step(self._embedded(tokens[-1], t - 1), fixed, state, t - 1)
                keep = real[:, t - 1]
                state = tree.map_structure(
                    lambda a, b, keep=keep: ops.where(ops.reshape(keep, (-1, *[1] * (a.ndim - 1))), a, b), new, state)
                best = ops.argmax(self._without_padding(self.output_layer(features)), -1)
                tokens.append(ops.where(own[:, t], best, target[:, t]))
            return ops.stack(tokens, 1)

    def _without_padding(self, logits):
        """Logits (batch, tokens) among which padding, where there is some, has probability 0."""
        if not self.mask_zero:
            return logits
        barred = np.zeros(self.target_vocabulary, logits.dtype)
        barred[0] = -np.inf
        return ops.add(logits, barred)

    def _embedded(self, token, position):
        """token (batch,) at a position -> vectors (batch, features)."""
        x = token
        for layer in _listed(self.target_embedding):
            if "start_index" in call_signature(layer).places:
                x = ops.squeeze(layer(ops.expand_dims(x, 1), start_index=position), 1)
            else:
                x = layer.step(x, position) if hasattr(layer, "step") else layer(x)
        return x

    # ---- writing -------------------------------------------------------------------------------------------------

    def generate(self, source, max_length, beam_width=1, length_penalty=0.0, n_best=1, start_token=1, end_token=2,
                 pad_token=0, return_scores=False, return_attention=False, batch_size=64):
        """Writes a sequence for each source, token by token, by recorded programs.

        With a beam of one the best token is taken at every step (greedy). A wider beam keeps the hypotheses of the
        highest score, log p(y | x) / lp(y) with lp(y) = ((5 + |y|) / 6)^length_penalty (Wu et al. 2016, eq. 14, without
        coverage), |y| the number of tokens with the end token; finished ones stay in the beam as they are. Writing ends
        when all of the beam are finished.

        Args:
            source: (n, places) of ids.
            max_length: number of tokens at most, the end token included.
            beam_width: hypotheses for each source.
            length_penalty: exponent; 0 compares log probabilities, larger ones favour long sequences.
            n_best: how many of the beam are returned.
            start_token: what the first step sees.
            end_token: what ends a sequence; None for none.
            pad_token: what follows the end.
            return_scores: also return the scores.
            return_attention: also return the attention weights of every step.
            batch_size: sources that are written at once.

        Returns:
            int32 tokens (n, max_length), without start and with end token, then padding; (n, n_best, max_length), best
            first, for n_best > 1. Scores (n,) or (n, n_best), and weights (n, [n_best,] max_length, places), zeros
            after the end, follow where asked for.

        Raises:
            ValueError: for options that do not fit together, or weights of a decoder that has none.
            IndexError: for tokens out of range.
        """
        options = check_options(self, max_length, beam_width, length_penalty, n_best, start_token, end_token,
                                pad_token, return_scores, return_attention)
        source = np.asarray(source.data if isinstance(source, Tensor) else source)
        if source.ndim != 2 or not holds_integers(source) or 0 in source.shape:
            raise ValueError(f"generate: expected integer ids (n, places); received shape {source.shape}, dtype"
                             f" {source.dtype}.")
        source = np.ascontiguousarray(source, "int32")
        batch = min(int(batch_size), len(source))
        if batch < 1:
            raise ValueError(f"generate: expected a positive batch_size; received {batch_size}.")
        if not self.built:
            self((source[:1], np.full((1, 1), start_token, "int32")))
        parts = []
        with self._steps.reading, self._writer(batch, source.shape[1], options) as writer:
            for begin in range(0, len(source), batch):
                rows = source[begin:begin + batch]
                missing = batch - len(rows)
                if missing:  # the last batch: the rows that are missing repeat one, and are dropped
                    rows = np.concatenate([rows, np.repeat(rows[:1], missing, 0)])
                parts.append([y[:batch - missing] for y in writer.write(rows)])
        results = [np.concatenate(part) for part in zip(*parts)]
        results = [y[:, 0] for y in results] if n_best == 1 else results
        return tuple(results) if len(results) > 1 else results[0]

    @contextlib.contextmanager
    def _writer(self, batch, places, options):
        """Leases the writer for a batch size and options: another thread that writes meanwhile gets its own."""
        key = (batch, places, options)
        writer = self._writers.pop(key, None)
        if writer is None or not writer.is_current():
            writer = Writer(self, batch, places, options)
        yield writer
        self._writers[key] = writer
        while len(self._writers) > _MAX_WRITERS:
            self._writers.pop(next(iter(self._writers)), None)

    def __getstate__(self) -> dict:
        return {**super().__getstate__(), "_writers": {}}

    # ---- configuration -------------------------------------------------------------------------------------------

    def get_config(self):
        own = {name: serialize_keras_object(layer) if given else None for name, layer, given in zip(
            ("source_embedding", "target_embedding"), (self.source_embedding, self.target_embedding),
            self.own_embeddings)}
        return {**Layer.get_config(self), "encoder": serialize_keras_object(self.encoder),
                "decoder": serialize_keras_object(self.decoder), "source_vocabulary": self.source_vocabulary,
                "target_vocabulary": self.target_vocabulary, "embedding": self.embedding, **own,
                "mask_zero": self.mask_zero, "shared_embedding": self.shared_embedding, "bridge": self.bridge,
                "bridge_activation": activations.serialize(self.bridge_activation),
                "sampling": None if self.sampling is None else float(self.sampling.data), "seed": self.seed}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in ("encoder", "decoder", "source_embedding", "target_embedding"):
            config[name] = deserialize_keras_object(config.get(name), custom_objects)
        return cls(**config)


def _listed(layers) -> list:
    return list(layers) if isinstance(layers, (list, tuple)) else [layers]


def _through(layers, x):
    for layer in _listed(layers):
        x = layer(x)
    return x
