"""SimpleRNNCell, LSTMCell, GRUCell, StackedRNNCells: one step of a recurrent layer."""

from __future__ import annotations

from pydl import activations, constraints, initializers, ops, random, regularizers
from pydl.layers._recurrence import check_cell, initial_state_of, listed, output_size_of, step
from pydl.layers.base import Layer, with_dtype_of
from pydl.layers.core import activated
from pydl.layers.input_spec import InputSpec
from pydl.ops._steps import gru_step, lstm_step
from pydl.registry import builtin, deserialize_keras_object, serialize_keras_object

__all__ = ["GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells"]


class GatedCell(Layer):
    """Common to the cells below: Keras's arguments, the weights of `gates` gates side by side, dropout.

    The arguments are described at SimpleRNNCell. As in Keras 3, all gates see the same draw of dropout, unless there is
    `recurrent_dropout` or `implementation=1`: then each gate has its own, for inputs and state.

    Call: `(inputs (batch, features), states, training)` -> output (batch, units), new states.
    """

    gates = 1
    state_count = 1
    _is_cell = True

    def __init__(self, units, activation="tanh", use_bias=True, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros", kernel_regularizer=None,
                 recurrent_regularizer=None, bias_regularizer=None, kernel_constraint=None, recurrent_constraint=None,
                 bias_constraint=None, dropout=0.0, recurrent_dropout=0.0, seed=None, **kwargs):
        implementation = kwargs.pop("implementation", 2)
        super().__init__(**kwargs)
        if not isinstance(units, int) or isinstance(units, bool) or units <= 0:
            raise ValueError("Received an invalid value for argument `units`, expected a positive integer, got"
                             f" {units!r}.")
        self.units = self.output_size = units
        self.state_size = units if self.state_count == 1 else [units] * self.state_count
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.implementation = 1 if self.recurrent_dropout else implementation
        self.seed = seed
        self.seed_generator = random.SeedGenerator(seed)
        self._drawn = None

    def build(self, input_shape):
        features = input_shape[-1]
        if features is None:
            raise ValueError(f'{type(self).__name__} "{self.name}": the last axis of the input must be known; received'
                             f" a step of shape {tuple(input_shape)}.")
        self.kernel = self._weight("kernel", (features, self.gates * self.units))
        self.recurrent_kernel = self._weight("recurrent_kernel", (self.units, self.gates * self.units), "recurrent")
        self.bias = None
        if self.use_bias:
            self.bias = self._weight("bias", self._bias_shape(), initializer=self._bias_initializer())
        self.input_spec = [InputSpec(ndim=2, axes={-1: features})]

    def _bias_shape(self):
        return (self.gates * self.units,)

    def _bias_initializer(self):
        return self.bias_initializer

    def _rate(self, which: str, training) -> float:
        """The share that counts as 0; as in Keras, a rate of 1 drops all in the simple cell and nothing in others."""
        rate = getattr(self, which) if training else 0.0
        return rate if rate < 1 or self.gates == 1 else 0.0

    def draws_per_gate(self, training) -> bool:
        """Whether each gate has a draw of its own now."""
        return bool(self.gates > 1 and self.implementation == 1
                    and (self._rate("dropout", training) or self._rate("recurrent_dropout", training)))

    def mask_of(self, which: str, x, training):
        """What `which`, "dropout" or "recurrent_dropout", multiplies `x` (batch, n) with: 0 or 1 / (1 - rate), in the
        shape of `x`, or (gates, batch, n) with a draw for each gate. None where nothing is dropped.
        """
        rate = self._rate(which, training)
        return None if rate == 0 else self._once(which, lambda: random.dropout(
            ops.ones(self._mask_shape(x, training), x.dtype), rate, seed=self.seed_generator))

    def _mask_shape(self, x, training):
        return (self.gates, *x.shape) if self.draws_per_gate(training) else x.shape

    def _once(self, name: str, make):
        """`make()`, the same for all steps inside `one_draw`."""
        if self._drawn is None:
            return make()
        if name not in self._drawn:
            self._drawn[name] = make()
        return self._drawn[name]

    def dropped(self, which: str, x, training):
        mask = self.mask_of(which, x, training)
        return x if mask is None else ops.multiply(x, mask)

    def product(self, which: str, x, kernel, bias, training):
        """`x` (batch, n), with dropout, times `kernel`, plus `bias` or None: (batch, gates * units), or (gates, batch,
        units) with a draw for each gate.
        """
        if not self.draws_per_gate(training):
            return ops.dense(self.dropped(which, x, training), kernel, bias)
        y = ops.matmul(self.dropped(which, x, training), self._once(kernel.name, lambda: ops.transpose(
            ops.reshape(kernel, (-1, self.gates, self.units)), (1, 0, 2))))
        return y if bias is None else y + ops.reshape(bias, (self.gates, 1, self.units))

    def parts(self, z) -> list:
        """The gates of what `product` gives."""
        return ops.split(z, self.gates, axis=-1) if z.ndim == 2 else ops.unstack(z)

    def get_initial_state(self, batch_size=None):
        """Zeros (batch_size, units), one for each state."""
        return [ops.zeros((batch_size, self.units), self.dtype) for _ in range(self.state_count)]

    def walk(self, sequences, states, mask, go_backwards, training):
        """All steps in one fused kernel.

        Returns:
            (sequence, last states), or None where only the loop over `call` is right.
        """
        return None

    def get_config(self):
        return {**super().get_config(), **self._arguments(
            "units", "activation", "use_bias", "kernel_initializer", "recurrent_initializer", "bias_initializer",
            "kernel_regularizer", "recurrent_regularizer", "bias_regularizer", "kernel_constraint",
            "recurrent_constraint", "bias_constraint", "dropout", "recurrent_dropout", "seed")}

    def fused_inputs(self, sequences, states, mask, go_backwards, training):
        """The arguments that the ops over whole sequences share."""
        drop = self.mask_of("dropout", sequences[:, 0], training)
        if drop is not None:
            sequences = ops.multiply(sequences, ops.expand_dims(drop, 1))
        return (sequences, *states, self.kernel, self.recurrent_kernel, self.bias), {
            "mask": mask, "go_backwards": go_backwards,
            "recurrent_mask": self.mask_of("recurrent_dropout", states[0], training)}


@builtin("keras.layers")
class SimpleRNNCell(GatedCell):
    """One step of the simple cell (Elman 1990):

        h = activation(x @ kernel + h' @ recurrent_kernel + bias)

    Args:
        units: size of the state, at least 1.
        activation: name or callable.
        use_bias: whether to add a bias.
        *_initializer, *_regularizer, *_constraint: of `kernel` (features, units), `recurrent_kernel` (units, units)
            and `bias` (units,).
        dropout, recurrent_dropout: in [0, 1], shares of inputs and state that count as 0 in training; inside a layer
            all steps drop the same places (Gal and Ghahramani 2016). Cells with gates and `recurrent_dropout` take
            a slower path, with draws for each gate.
        seed: int or None.
    """

    def call(self, sequence, states, training=False):
        z = self.product("dropout", sequence, self.kernel, self.bias, training)
        h = activated(self.activation, z + self.product("recurrent_dropout", listed(states)[0], self.recurrent_kernel,
                                                        None, training))
        return h, [h] if isinstance(states, (list, tuple)) else h

    def walk(self, sequences, states, mask, go_backwards, training):
        name = {activations.tanh: "tanh", activations.relu: "relu"}.get(self.activation)
        if name is None:
            return None
        args, kwargs = self.fused_inputs(sequences, states, mask, go_backwards, training)
        sequence, *last = ops.simple_rnn(*args, activation=name, **kwargs)
        return sequence, last


class _Gated(GatedCell):
    """A cell with gates of their own activation."""

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True, **kwargs):
        super().__init__(units, activation, use_bias, **kwargs)
        self.recurrent_activation = activations.get(recurrent_activation)

    def is_fused(self, training=False) -> bool:
        """Whether the fused kernel has these activations, and this dropout."""
        return (self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid
                and not self.draws_per_gate(training))

    def get_config(self):
        return {**super().get_config(), "recurrent_activation": activations.serialize(self.recurrent_activation)}


@builtin("keras.layers")
class LSTMCell(_Gated):
    """Long short-term memory, gates in the order i f g o (Hochreiter and Schmidhuber 1997; Gers et al. 2000):

        c = f * c' + i * g,    h = o * activation(c)

    Args beside those of SimpleRNNCell:
        recurrent_activation: of the gates i, f, o.
        unit_forget_bias: the bias of f starts at 1 (Jozefowicz et al. 2015).

    States: [h, c], each (batch, units).
    """

    gates = 4
    state_count = 2

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, seed=None, **kwargs):
        super().__init__(units, activation, recurrent_activation, use_bias, kernel_initializer=kernel_initializer,
                         recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer,
                         kernel_regularizer=kernel_regularizer, recurrent_regularizer=recurrent_regularizer,
                         bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
                         recurrent_constraint=recurrent_constraint, bias_constraint=bias_constraint, dropout=dropout,
                         recurrent_dropout=recurrent_dropout, seed=seed, **kwargs)
        self.unit_forget_bias = unit_forget_bias

    def _bias_initializer(self):
        if not self.unit_forget_bias:
            return self.bias_initializer

        def forget_at_one(shape, dtype=None):
            part = (self.units,)
            return ops.concatenate([self.bias_initializer(part, dtype=dtype), ops.ones(part, dtype),
                                    self.bias_initializer((2 * self.units,), dtype=dtype)])

        return forget_at_one

    def call(self, inputs, states, training=False):
        h, c = states
        return self.advance(self.product("dropout", inputs, self.kernel, self.bias, training)
                            + self.product("recurrent_dropout", h, self.recurrent_kernel, None, training), c)

    def advance(self, z, c) -> tuple:
        """h and the new states, from the sums of all gates and the cell state."""
        h, c, _ = lstm_step(self.parts(z), c, self.recurrent_activation, self.activation)
        return h, [h, c]

    def walk(self, sequences, states, mask, go_backwards, training):
        if not self.is_fused(training):
            return None
        args, kwargs = self.fused_inputs(sequences, states, mask, go_backwards, training)
        sequence, *last = ops.lstm(*args, **kwargs)
        return sequence, last

    def get_config(self):
        return {**super().get_config(), "unit_forget_bias": self.unit_forget_bias}


@builtin("keras.layers")
class GRUCell(_Gated):
    """Gated recurrent unit, gates in the order z r n (Cho et al. 2014):

        n = activation(x @ kernel + b0 + r * (h' @ recurrent_kernel + b1))     with reset_after
        n = activation(x @ kernel + b0 + (r * h') @ recurrent_kernel)          without
        h = z * h' + (1 - z) * n

    Args beside those of SimpleRNNCell:
        recurrent_activation: of the gates z and r.
        reset_after: see above; the bias is then (2, 3 * units), else (3 * units,).
    """

    gates = 3

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0, reset_after=True,
                 seed=None, **kwargs):
        super().__init__(units, activation, recurrent_activation, use_bias, kernel_initializer=kernel_initializer,
                         recurrent_initializer=recurrent_initializer, bias_initializer=bias_initializer,
                         kernel_regularizer=kernel_regularizer, recurrent_regularizer=recurrent_regularizer,
                         bias_regularizer=bias_regularizer, kernel_constraint=kernel_constraint,
                         recurrent_constraint=recurrent_constraint, bias_constraint=bias_constraint, dropout=dropout,
                         recurrent_dropout=recurrent_dropout, seed=seed, **kwargs)
        self.reset_after = reset_after

    def _bias_shape(self):
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def call(self, inputs, states, training=False):
        previous = listed(states)[0]
        bias, inner_bias = self.bias, None
        if self.bias is not None and self.reset_after:
            bias, inner_bias = self._once("biases", lambda: ops.unstack(self.bias))
        sums = self.parts(self.product("dropout", inputs, self.kernel, bias, training))
        if self.reset_after:
            *products, h_n = self.parts(self.product("recurrent_dropout", previous, self.recurrent_kernel, inner_bias,
                                                     training))

            def candidate(r):
                return r * h_n
        else:
            h = self.dropped("recurrent_dropout", previous, training)
            each = h.ndim == 3  # a draw for each gate
            *of_gates, of_candidate = self._once("recurrent parts", lambda: ops.split(
                self.recurrent_kernel, 3 if each else [2 * self.units], axis=-1))
            if each:
                *of_zr, h = ops.unstack(h)
                products = [ops.matmul(factor, part) for factor, part in zip(of_zr, of_gates)]
            else:
                products = ops.split(ops.matmul(h, *of_gates), 2, axis=-1)

            def candidate(r):
                return ops.matmul(r * h, of_candidate)

        h, _ = gru_step(sums, products, candidate, previous, self.recurrent_activation, self.activation)
        return h, [h] if isinstance(states, (list, tuple)) else h

    def walk(self, sequences, states, mask, go_backwards, training):
        if not self.is_fused(training):
            return None
        args, kwargs = self.fused_inputs(sequences, states, mask, go_backwards, training)
        sequence, *last = ops.gru(*args, reset_after=self.reset_after, **kwargs)
        return sequence, last

    def get_config(self):
        return {**super().get_config(), "reset_after": self.reset_after}


@builtin("keras.layers")
class StackedRNNCells(Layer):
    """Cells on top of each other, as one cell: each sees the output of the one before.

    Args:
        cells: list of cells with `call` and `state_size`.

    States: one entry for each cell, in the cell's own form.
    """

    _is_cell = True

    def __init__(self, cells, **kwargs):
        super().__init__(**with_dtype_of(next(iter(cells), None), kwargs))
        for cell in cells:
            check_cell(cell, "StackedRNNCells")
        self.cells = list(cells)

    @property
    def state_size(self):
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self):
        return output_size_of(self.cells[-1])

    def build(self, input_shape):
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(input_shape)
            input_shape = (input_shape[0], output_size_of(cell))

    def call(self, inputs, states, training=False):
        new_states = []
        for cell, given in zip(self.cells, states):
            inputs, state = step(cell, inputs, listed(given), training)
            new_states.append(state if isinstance(given, (list, tuple)) else state[0])
        return inputs, new_states

    def get_initial_state(self, batch_size=None):
        return [initial_state_of(cell, batch_size, self.dtype) for cell in self.cells]

    def get_config(self):
        return {**super().get_config(), "cells": [serialize_keras_object(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        cells = [deserialize_keras_object(cell, custom_objects) if isinstance(cell, dict) else cell
                 for cell in config.pop("cells")]
        return cls(cells, **config)
