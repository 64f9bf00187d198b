"""BahdanauDecoder and LuongDecoder: recurrent decoders that attend to a memory at every step."""

from __future__ import annotations

from pydl import initializers, ops, tree
from pydl.configs import checked
from pydl.layers._recurrence import one_draw, output_size_of, step
from pydl.layers.base import Layer
from pydl.layers.recurrent import RNN
from pydl.layers.rnn_cells import GRUCell, LSTMCell
from pydl.ops import _decoder
from pydl.registry import builtin, deserialize_keras_object

__all__ = ["BahdanauDecoder", "LuongDecoder"]

_CELLS = {"gru": GRUCell, "lstm": LSTMCell}


class AttentiveDecoder(Layer):
    """What the decoders below share: a cell, the order of the call, masks, states, steps.

    A subclass says how a memory is prepared (`_prepare`), what one step does (`step`), and, where there is a faster
    way, what all steps do (`_all_steps`).
    """

    def __init__(self, units, cell, return_state, return_attention_scores, kernel_initializer, kwargs):
        super().__init__(**kwargs)
        if isinstance(cell, str):
            if cell not in _CELLS:
                raise ValueError(f'{type(self).__name__}: expected cell to be "gru", "lstm" or a cell object; received'
                                 f" {cell!r}.")
            cell = _CELLS[cell](units, dtype=self._dtype, name=cell)
        elif units is not None and units != output_size_of(cell):
            raise ValueError(f"{type(self).__name__}: units={units}, but the cell has {output_size_of(cell)}.")
        self.rnn = RNN(cell, return_sequences=True, return_state=True, dtype=self._dtype, name="rnn")
        self.units = output_size_of(cell)
        self.return_state = return_state
        self.return_attention_scores = return_attention_scores
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.supports_masking = True

    @property
    def cell(self):
        return self.rnn.cell

    @property
    def state_size(self) -> list:
        """Sizes of the cell's states, in its form: what `initial_state` holds."""
        return self.rnn.state_size

    def _parameter(self, name, *shape):
        return self.add_weight(name=name, shape=shape, initializer=self.kernel_initializer)

    def _build_cell(self, inputs_shape, more: int) -> None:
        features = inputs_shape[-1]
        if features is None:
            raise ValueError(f"the last axis of the inputs must be known; received shape {tuple(inputs_shape)}.")
        self.rnn.build((inputs_shape[0], None, features + more))

    # ---- all steps ---------------------------------------------------------------------------------------------

    def call(self, inputs, memory, initial_state=None, mask=None, memory_mask=None, training=False):
        for what, x, given in (("inputs", inputs, mask), ("memory", memory, memory_mask)):
            if x.ndim != 3 or x.shape[1] == 0 or x.shape[0] != inputs.shape[0]:
                raise ValueError(f"expected {what} (batch, steps, features) of one batch size, with a step at least;"
                                 f" received {inputs.shape} and memory {memory.shape}.")
            if given is not None and tuple(given.shape) != tuple(x.shape[:2]):
                raise ValueError(f"expected a mask of the {what} of shape {x.shape[:2]}; received {given.shape}.")
        mask = None if mask is None else ops.cast(mask, "bool")
        fixed, state = self.begin(memory, memory_mask, initial_state)
        with one_draw(self.cell):
            sequence, state, weights = self._all_steps(inputs, fixed, state, mask, training)
        if mask is not None:
            real = ops.expand_dims(mask, -1)
            sequence = ops.where(real, sequence, 0)
            weights = ops.where(real, weights, 0) if self.return_attention_scores else weights
        outputs = (sequence, *(state if self.return_state else ()),
                   *((weights,) if self.return_attention_scores else ()))
        return outputs if len(outputs) > 1 else sequence

    def _all_steps(self, inputs, fixed, state, mask, training):
        """Sequence (batch, steps, units), last states, weights (batch, steps, memory steps)."""
        outputs, weights = [], []
        real = [None] * inputs.shape[1] if mask is None else ops.unstack(ops.expand_dims(mask, -1), axis=1)
        for t, x in enumerate(ops.unstack(inputs, axis=1)):
            y, new, w = self.step(x, fixed, state, t, training)
            if mask is not None:
                keep = real[t]
                new = tree.map_structure(lambda a, b, keep=keep: ops.where(keep, a, b), new, state)
            state = new
            outputs.append(y)
            weights.append(w)
        return ops.stack(outputs, 1), state, ops.stack(weights, 1)

    # ---- step by step ------------------------------------------------------------------------------------------

    def begin(self, memory, memory_mask=None, states=None, length=None):
        """What the steps need; see `pydl.models.seq2seq` for the protocol.

        Args:
            memory: (batch, memory steps, features).
            memory_mask: (batch, memory steps) or None.
            states: list of initial states, zeros by default.
            length: ignored.

        Returns:
            What stays the same at all steps (a dict of tensors), and the first state (a list).
        """
        if not self.built:
            raise ValueError(f'{type(self).__name__} "{self.name}" has no weights yet: call it on sequences, or build'
                             " it, before `begin`.")
        if memory_mask is None:
            return self._prepare(memory), self._first_state(memory, states)
        seen = ops.cast(memory_mask, "bool")
        # Zeros, so that the context of a row without an unmasked place is zero too.
        fixed = {**self._prepare(ops.where(ops.expand_dims(seen, -1), memory, 0)), "mask": seen}
        return fixed, self._first_state(memory, states)

    def _first_state(self, memory, given) -> list:
        return self.rnn._first_state(memory, given)

    def step(self, inputs, fixed, state, position, training=False):
        """One step.

        Args:
            inputs: (batch, features).
            fixed, state: of `begin`, the state of the step before.
            position: number of the step, an int or an int tensor of one element.

        Returns:
            output (batch, units), new state, weights (batch, memory steps).
        """
        raise NotImplementedError

    def get_config(self):
        return {**super().get_config(), **self._arguments("units", "cell", "return_state", "return_attention_scores",
                                                          "kernel_initializer")}

    @classmethod
    @checked
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config.get("cell"), dict):
            config["cell"] = deserialize_keras_object(config["cell"], custom_objects)
        return cls(**config)


def _unmasked(weights, mask):
    """Weights (batch, steps, places) without what rows that see nothing give to all places alike."""
    return weights if mask is None else ops.where(ops.expand_dims(mask, 1), weights, 0)


@builtin("pydl.layers")
class BahdanauDecoder(AttentiveDecoder):
    """A decoder that looks at the memory before each step, from the state it is in (Bahdanau, Cho and Bengio 2015):

        e_j = v . tanh(s' query_kernel + h_j memory_kernel),    a = softmax(e),    c = sum_j a_j h_j
        s = cell([x; c], s')

    Args:
        units: size of the state; may be None where `cell` is an object.
        cell: "gru", "lstm", or any cell (its first state is s').
        attention_units: size of v, `units` by default.
        return_state: also return the last state(s).
        return_attention_scores: also return the weights a of all steps (batch, steps, memory steps).
        kernel_initializer: of the attention's weights.

    Call arguments: inputs (batch, steps, features), memory (batch, memory steps, features), initial_state (a list, as
    many as the cell has states), mask (batch, steps), memory_mask (batch, memory steps), training. Masked places of the
    memory have weight 0. A masked step changes no state; its output and weights are 0.

    Returns:
        The outputs s of all steps (batch, steps, units), then the states and the weights that were asked for.

    Raises:
        ValueError: for shapes that do not fit.
    """

    def __init__(self, units=None, cell="gru", attention_units=None, return_state=False,
                 return_attention_scores=False, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(units, cell, return_state, return_attention_scores, kernel_initializer, kwargs)
        self.attention_units = attention_units or self.units

    def build(self, inputs_shape, memory_shape):
        size = tree.flatten(self.state_size)[0]
        self._build_cell(inputs_shape, memory_shape[-1])
        self.query_kernel = self._parameter("query_kernel", size, self.attention_units)
        self.memory_kernel = self._parameter("memory_kernel", memory_shape[-1], self.attention_units)
        self.score_vector = self._parameter("score_vector", self.attention_units)

    def _prepare(self, memory):
        return {"memory": memory, "keys": ops.dense(memory, self.memory_kernel)}

    def step(self, inputs, fixed, state, position=0, training=False):
        query, mask = ops.dense(tree.flatten(state)[0], self.query_kernel), fixed.get("mask")
        context, weights = ops.additive_attention(ops.expand_dims(query, 1), fixed["keys"], fixed["memory"],
                                                  self.score_vector, mask)
        output, state = step(self.cell, ops.concatenate([inputs, ops.squeeze(context, 1)], -1), state, training)
        return output, state, ops.squeeze(_unmasked(weights, mask), 1)

    def _all_steps(self, inputs, fixed, state, mask, training):
        cell = self.cell
        if type(cell) not in (GRUCell, LSTMCell) or not cell.is_fused() or (
                training and (cell.dropout or cell.recurrent_dropout)):
            return super()._all_steps(inputs, fixed, state, mask, training)
        sequence, weights, *last = _decoder.attending(
            inputs, state, cell.kernel, cell.recurrent_kernel, cell.bias, fixed["keys"], fixed["memory"],
            self.query_kernel, self.score_vector, mask, fixed.get("mask"), getattr(cell, "reset_after", None))
        return sequence, last, weights

    def get_config(self):
        return {**super().get_config(), "attention_units": self.attention_units}


@builtin("pydl.layers")
class LuongDecoder(AttentiveDecoder):
    """A decoder that looks at the memory after each step (Luong, Pham and Manning 2015):

        h = cell(x, h'),    a = align(h, memory),    c = sum_j a_j m_j,    y = tanh([c; h] output_kernel)

    align is the softmax of score(h, m): "dot", h . m; "general", h W . m; "concat", v . tanh(h W + m U). With "local-m"
    and "local-p" it covers the places s from p - window to p + window only: p = t for the first; for the second p =
    n sigmoid(v_p . tanh(h W_p)) of the n unmasked places, and the weights are multiplied with exp(-(s - p)^2 / (2
    sigma^2)), sigma = window / 2. Places are counted from the first unmasked one. Where the window covers none, all
    weights are 0.

    Args:
        units: size of h and y; may be None where `cell` is an object.
        cell: "gru", "lstm", or any cell (h is its output).
        score_mode: "dot" (the memory has `units` features), "general" or "concat".
        alignment: "global", "local-m" or "local-p".
        window: the paper's D, at least 1.
        input_feeding: the cell sees [x; y'] with the y of the step before, 0 at first. The recurrence then depends on
            the attention; else it runs over all steps at once.
        attention_units: size of v and v_p, `units` by default.
        return_state: also return the last state(s), with `input_feeding` y as the last of them; as one of the initial
            states y may be left out, which is 0 then.
        return_attention_scores: also return the weights a of all steps (batch, steps, memory steps).
        kernel_initializer: of the attention's weights.

    Call arguments: as for BahdanauDecoder.

    Returns:
        y of all steps (batch, steps, units), then the states and the weights that were asked for.

    Raises:
        ValueError: for shapes that do not fit.
    """

    def __init__(self, units=None, cell="gru", score_mode="dot", alignment="global", window=10, input_feeding=False,
                 attention_units=None, return_state=False, return_attention_scores=False,
                 kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(units, cell, return_state, return_attention_scores, kernel_initializer, kwargs)
        for name, value, allowed in (("score_mode", score_mode, ("dot", "general", "concat")),
                                     ("alignment", alignment, ("global", "local-m", "local-p"))):
            if value not in allowed:
                raise ValueError(f"LuongDecoder: expected {name} to be one of {', '.join(allowed)}; received"
                                 f" {value!r}.")
        if not isinstance(window, int) or window < 1:
            raise ValueError(f"LuongDecoder: expected window to be a positive integer; received {window!r}.")
        self.score_mode, self.alignment, self.window = score_mode, alignment, window
        self.input_feeding = bool(input_feeding)
        self.attention_units = attention_units or self.units

    def build(self, inputs_shape, memory_shape):
        features = memory_shape[-1]
        self._build_cell(inputs_shape, self.units if self.input_feeding else 0)
        if self.score_mode == "dot" and features != self.units:
            raise ValueError(f'score_mode="dot" needs a memory of {self.units} features, as many as the decoder has'
                             f' units; received {features}. "general" and "concat" take any.')
        if self.score_mode == "general":
            self.query_kernel = self._parameter("query_kernel", self.units, features)
        elif self.score_mode == "concat":
            self.query_kernel = self._parameter("query_kernel", self.units, self.attention_units)
            self.memory_kernel = self._parameter("memory_kernel", features, self.attention_units)
            self.score_vector = self._parameter("score_vector", self.attention_units)
        if self.alignment == "local-p":
            self.position_kernel = self._parameter("position_kernel", self.units, self.attention_units)
            self.position_vector = self._parameter("position_vector", self.attention_units)
        self.output_kernel = self._parameter("output_kernel", features + self.units, self.units)

    def _first_state(self, memory, given):
        if not self.input_feeding:
            return super()._first_state(memory, given)
        if given is not None and len(given) == len(self.state_size) + 1:
            *given, fed = given
            if tuple(fed.shape) != (memory.shape[0], self.units):
                raise ValueError(f"expected the last initial state of shape {(memory.shape[0], self.units)}, as"
                                 f" outputs have; received {tuple(fed.shape)}.")
        else:
            fed = ops.zeros((memory.shape[0], self.units), self.dtype)
        return [*super()._first_state(memory, given), fed]

    def _prepare(self, memory):
        return {"memory": memory,
                "keys": ops.dense(memory, self.memory_kernel) if self.score_mode == "concat" else memory}

    def _attend(self, h, fixed, positions):
        """h (batch, n, units), positions (n,) -> y (batch, n, units), weights (batch, n, memory steps)."""
        query = h if self.score_mode == "dot" else ops.dense(h, self.query_kernel)
        mask, share = (fixed.get("mask"), None) if self.alignment == "global" else self._window(h, fixed, positions)
        if self.score_mode == "concat":
            context, weights = ops.additive_attention(query, fixed["keys"], fixed["memory"], self.score_vector, mask)
        else:
            context, weights = ops.dot_attention(query, fixed["keys"], fixed["memory"], mask=mask)
        if share is None:
            weights = _unmasked(weights, mask)
        else:
            weights = ops.multiply(weights, share)
            context = ops.matmul(weights, fixed["memory"])
        return ops.dense(ops.concatenate([context, h], -1), self.output_kernel, activation="tanh"), weights

    def _window(self, h, fixed, positions):
        """The places (batch, n, memory steps) that an alignment covers, and what weights are multiplied with."""
        batch, steps, dtype = h.shape[0], fixed["memory"].shape[1], h.dtype
        mask = fixed.get("mask")
        if mask is None:
            place = ops.reshape(ops.arange(steps, dtype=dtype), (1, 1, steps))
            count = float(steps)
        else:
            ones = ops.cast(mask, dtype)
            # From the first unmasked place on, holes included: the padding in front has negative numbers.
            first = ops.cast(ops.expand_dims(ops.argmax(ones, -1), -1), dtype)
            place = ops.expand_dims(ops.subtract(ops.arange(steps, dtype=dtype), first), 1)
            count = ops.reshape(ops.sum(ones, -1), (batch, 1, 1))
        if self.alignment == "local-m":
            centre = ops.reshape(ops.cast(ops.convert_to_tensor(positions), dtype), (1, -1, 1))
        else:
            moved = ops.dense(h, self.position_kernel, activation="tanh")
            centre = ops.multiply(ops.sigmoid(ops.dense(moved, ops.expand_dims(self.position_vector, -1))), count)
        distance = ops.subtract(place, centre)
        covered = ops.less_equal(ops.absolute(distance), float(self.window))
        if mask is not None:
            covered = ops.logical_and(covered, ops.expand_dims(mask, 1))
        covered = ops.broadcast_to(covered, (batch, h.shape[1], steps))
        share = ops.cast(covered, dtype)  # a window without a place has weights 0, not equal ones
        if self.alignment == "local-p":
            share = ops.multiply(share, ops.exp(ops.multiply(ops.square(distance), -2.0 / self.window**2)))
        return covered, share

    def step(self, inputs, fixed, state, position, training=False):
        if self.input_feeding:
            *state, fed = state
            inputs = ops.concatenate([inputs, fed], -1)
        h, state = step(self.cell, inputs, state, training)
        y, weights = (ops.squeeze(t, 1) for t in self._attend(ops.expand_dims(h, 1), fixed, position))
        return y, [*state, y] if self.input_feeding else state, weights

    def _all_steps(self, inputs, fixed, state, mask, training):
        if self.input_feeding:
            return super()._all_steps(inputs, fixed, state, mask, training)
        h, *state = self.rnn(inputs, initial_state=state, mask=mask, training=training)
        y, weights = self._attend(h, fixed, ops.arange(h.shape[1]))
        return y, state, weights

    def get_config(self):
        return {**super().get_config(), "score_mode": self.score_mode, "alignment": self.alignment,
                "window": self.window, "input_feeding": self.input_feeding, "attention_units": self.attention_units}
