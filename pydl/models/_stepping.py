"""Decoders one step at a time: what a layer needs to decode under `Seq2Seq`, and how RNN layers and stacks meet it.

A decoder is a layer with `begin` and `step` beside its call over whole sequences:

    layer(inputs (batch, steps, features), memory, mask=, memory_mask=, training=) -> features (batch, steps, n), or a
        tuple that begins with them; `initial_state=` is passed too where the layer has a `state_size` (ints, nested).
    begin(memory, memory_mask, states, length) -> fixed, state
        memory (batch, places, features), memory_mask (batch, places) or None, states: list of initial states or None,
        length: how many steps may come. `fixed`: what belongs to the source and stays (keys, masks). `state`: what
        belongs to a hypothesis and changes. Both are structures of tensors of fixed shapes, batch first; beam search
        repeats `fixed` once and picks rows of `state` at every step.
    step(inputs (batch, features), fixed, state, position, training=False) -> features (batch, n), state, weights
        position: the step's number, an int tensor of one element when recorded, or an int; the new state in the
        structure, shapes and dtypes of the old; weights (batch, places) of the attention, or None.

LSTM, GRU, RNN layers with `return_sequences=True` do as well: they see the initial states only. So does
TransformerDecoder, whose keys and values stay in a cache.
"""

from __future__ import annotations

from pydl import ops, tree
from pydl.layers._recurrence import step as cell_step
from pydl.layers.recurrent import RNN
from pydl.layers.transformer import TransformerDecoder


def stepping(decoder):
    """The object with `state_size`, `sequence`, `begin`, `step` for a layer or a list of layers.

    Raises:
        ValueError: for a layer that cannot decode step by step.
    """
    if isinstance(decoder, (list, tuple)):
        return Stack([stepping(layer) for layer in decoder])
    if hasattr(decoder, "begin") and hasattr(decoder, "step"):
        return Attending(decoder)
    if isinstance(decoder, RNN):
        if not decoder.return_sequences or decoder.go_backwards or decoder.stateful:
            raise ValueError(f'Seq2Seq: the decoder "{decoder.name}" must have return_sequences=True, and neither'
                             " go_backwards nor stateful.")
        return Recurrent(decoder)
    if isinstance(decoder, TransformerDecoder):
        return Cached(decoder)
    raise ValueError(f"Seq2Seq: a decoder is an RNN layer or a layer with `begin` and `step`; {decoder!r} is neither.")


class Attending:
    """A layer with `begin` and `step`."""

    def __init__(self, layer):
        self.layer = layer
        self.state_size = tree.flatten(getattr(layer, "state_size", []))

    def sequence(self, inputs, memory, mask, memory_mask, states, training):
        given = {"initial_state": states} if states else {}
        return tree.flatten(self.layer(inputs, memory, mask=mask, memory_mask=memory_mask, training=training,
                                       **given))[0]

    def begin(self, memory, memory_mask, states, length):
        return self.layer.begin(memory, memory_mask, states or None, length)

    def step(self, inputs, fixed, state, position, training=False):
        return self.layer.step(inputs, fixed, state, position, training=training)


class Recurrent:
    """An RNN layer: it begins with the states it is given and looks at nothing."""

    def __init__(self, layer):
        self.layer = layer
        self.state_size = tree.flatten(layer.state_size)

    def sequence(self, inputs, memory, mask, memory_mask, states, training):
        return tree.flatten(self.layer(inputs, initial_state=states or None, mask=mask, training=training))[0]

    def begin(self, memory, memory_mask, states, length):
        return {}, self.layer._first_state(memory, states or None)

    def step(self, inputs, fixed, state, position, training=False):
        output, state = cell_step(self.layer.cell, inputs, state, training)
        return output, state, None


class Cached:
    """A TransformerDecoder: keys and values of the memory are made once, those of the steps are kept in the state."""

    def __init__(self, layer):
        self.layer = layer
        self.state_size: list[int] = []

    def sequence(self, inputs, memory, mask, memory_mask, states, training):
        return self.layer(inputs, memory, decoder_padding_mask=mask, encoder_padding_mask=memory_mask,
                          training=training)

    def begin(self, memory, memory_mask, states, length):
        _, to_key, to_value, _ = self.layer._cross_attention_layer.projections()
        fixed = {"cache": ops.stack([to_key(memory), to_value(memory)], axis=1)}
        if memory_mask is not None:
            fixed["mask"] = memory_mask
        own = self.layer._self_attention_layer
        return fixed, ops.zeros((memory.shape[0], 2, length, own.num_heads, own.key_dim), memory.dtype)

    def step(self, inputs, fixed, state, position, training=False):
        y, cache, _ = self.layer(
            ops.expand_dims(inputs, 1), encoder_padding_mask=fixed.get("mask"), self_attention_cache=state,
            self_attention_cache_update_index=position, cross_attention_cache=fixed["cache"], training=training)
        return ops.squeeze(y, 1), cache, None


class Stack:
    """Decoders on top of each other; the weights are those of the last one that has some."""

    def __init__(self, parts):
        self.parts = parts
        self.state_size = [size for part in parts for size in part.state_size]

    def _shares(self, states):
        """The initial states of each part."""
        at = 0
        for part in self.parts:
            count = len(part.state_size)
            yield part, states[at:at + count] if states else None
            at += count

    def sequence(self, inputs, memory, mask, memory_mask, states, training):
        for part, own in self._shares(states):
            inputs = part.sequence(inputs, memory, mask, memory_mask, own, training)
        return inputs

    def begin(self, memory, memory_mask, states, length):
        begun = [part.begin(memory, memory_mask, own, length) for part, own in self._shares(states)]
        return [fixed for fixed, _ in begun], [state for _, state in begun]

    def step(self, inputs, fixed, state, position, training=False):
        weights, new = None, []
        for part, own, before in zip(self.parts, fixed, state):
            inputs, after, seen = part.step(inputs, own, before, position, training)
            new.append(after)
            weights = weights if seen is None else seen
        return inputs, new, weights
