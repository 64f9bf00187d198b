"""RNN, SimpleRNN, LSTM, GRU: a cell over the steps of a sequence."""

from __future__ import annotations

import inspect

from pydl import ops, regularizers, tree
from pydl.layers._recurrence import check_cell, initial_state_of, one_draw, step
from pydl.layers.base import Layer, with_dtype_of
from pydl.layers.input_spec import InputSpec
from pydl.layers.rnn_cells import GRUCell, LSTMCell, SimpleRNNCell, StackedRNNCells
from pydl.ops._steps import beside, unrolled
from pydl.registry import builtin, deserialize_keras_object, serialize_keras_object
from pydl.tensor import Variable

__all__ = ["GRU", "LSTM", "RNN", "SimpleRNN"]


@builtin("keras.layers")
class RNN(Layer):
    """A cell over all steps of (batch, steps, features).

    Args:
        cell: has `call(inputs, states)` -> (output, new states), `state_size` (an int, or a list of ints), and may have
            `output_size` and `get_initial_state(batch_size)`; or a list of cells, to be stacked.
        return_sequences: outputs of all steps (batch, steps, units) instead of the last.
        return_state: also return the last state(s).
        go_backwards: walk from the last step to the first; the outputs come in the order of the walk.
        stateful: each batch starts from the states that the one before left, row by row; the batch size is fixed.
        unroll: accepted; recorded programs are unrolled anyway.
        zero_output_for_mask: outputs of masked steps are 0; by default they repeat the output before.

    Call arguments: sequences, initial_state (one tensor or a list, as many as the cell has states), mask
    (batch, steps), training. A masked step changes no state.

    Raises:
        ValueError: for initial states that do not fit the cell, a stateful layer without a batch size, or with another
            one than it was built for.
    """

    _no_weights = ("states",)

    def __init__(self, cell, return_sequences=False, return_state=False, go_backwards=False, stateful=False,
                 unroll=False, zero_output_for_mask=False, **kwargs):
        cell = StackedRNNCells(cell) if isinstance(cell, (list, tuple)) else cell
        super().__init__(**with_dtype_of(cell, kwargs))
        check_cell(cell, type(self).__name__)
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.state_size = [cell.state_size] if isinstance(cell.state_size, int) else list(cell.state_size)
        self.states = None
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=3)

    def build(self, sequences_shape, initial_state_shape=None):
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build((sequences_shape[0], *sequences_shape[2:]))
        if self.stateful:
            if sequences_shape[0] is None:
                raise ValueError(f'{type(self).__name__} "{self.name}": a stateful layer keeps a state for each row of'
                                 " the batch, so the batch size must be fixed, e.g. by Input(batch_shape=(batch,"
                                 f" steps, features)). Received shape {tuple(sequences_shape)}.")
            self.states = tree.map_structure(
                lambda value: Variable(value, dtype=self.dtype, trainable=False, name="rnn_state"),
                self.get_initial_state(sequences_shape[0]))

    def get_build_config(self):
        return self._build_shapes and {"input_shape": next(iter(self._build_shapes.values()))}

    def get_initial_state(self, batch_size):
        """The state before the first step, as a list."""
        state = initial_state_of(self.cell, batch_size, self.dtype)
        return list(state) if isinstance(state, (list, tuple)) else [state]

    def reset_state(self) -> None:
        """Sets the state of a stateful layer to 0."""
        for state in tree.flatten(self.states) if self.states is not None else ():
            state.assign(ops.zeros(state.shape, state.dtype))

    def reset_states(self) -> None:
        """As `reset_state`."""
        self.reset_state()

    def call(self, sequences, initial_state=None, mask=None, training=False):
        if sequences.shape[1] == 0:
            raise ValueError("expected at least one step.")
        mask = None if mask is None else ops.cast(tree.flatten(mask)[0], "bool")
        begin = self._first_state(sequences, initial_state)
        with one_draw(self.cell):
            sequence, states = self._walk(sequences, begin, mask, training)
        if mask is not None and self.zero_output_for_mask:
            walked = ops.flip(mask, 1) if self.go_backwards else mask
            sequence = ops.where(beside(walked, sequence), sequence, 0)
        if self.stateful:
            for variable, state in zip(tree.flatten(self.states), tree.flatten(states)):
                variable.assign(state)
        if self.return_sequences:
            output = sequence
        elif mask is None and hasattr(self.cell, "walk"):
            output = states[0]  # the same, and its gradient is one row instead of a sequence
        else:
            output = sequence[:, -1]
        return (output, *states) if self.return_state else output

    def _first_state(self, sequences, given) -> list:
        batch = sequences.shape[0]
        if self.stateful and self.states is not None:
            expected = tree.flatten(self.states)[0].shape[0]
            if batch != expected:
                raise ValueError(f"a stateful layer keeps its batch size: expected {expected} rows, received {batch}.")
        if given is None:
            # A copy: the variables change before the gradients are taken.
            return tree.map_structure(lambda v: ops.add(v, 0), self.states) if self.stateful else (
                self.get_initial_state(batch))
        given = list(given) if isinstance(given, (list, tuple)) else [given]
        flat, want = tree.flatten(given), self._state_shapes(batch)
        if [tuple(s.shape) for s in flat] != want:
            raise ValueError(f"expected initial_state of {len(want)} tensor(s) of shapes {want}; received"
                             f" {[tuple(s.shape) for s in flat]}.")
        return tree.pack_sequence_as(self.state_size, flat)

    def _state_shapes(self, batch) -> list[tuple]:
        return [(batch, n) for n in tree.flatten(self.state_size)]

    def _walk(self, sequences, states, mask, training):
        """Outputs of all steps in the order of the walk, and the last states: by the cell's fused kernel, or a loop."""
        fused = getattr(self.cell, "walk", None)
        result = fused and fused(sequences, states, mask, self.go_backwards, training)
        if result:
            return result
        inputs = ops.unstack(sequences, axis=1)
        return unrolled(lambda t, before: step(self.cell, inputs[t], before, training), len(inputs), states, mask,
                        self.go_backwards)

    def compute_mask(self, inputs, mask=None):
        first = tree.flatten(mask)[0] if mask is not None else None
        return first if self.return_sequences else None

    def _flags(self) -> dict:
        return self._arguments("return_sequences", "return_state", "go_backwards", "stateful", "unroll",
                               "zero_output_for_mask")

    def get_config(self):
        return {**super().get_config(), **self._flags(), "cell": serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config.get("cell"), dict):
            config["cell"] = deserialize_keras_object(config["cell"], custom_objects)
        return cls(**config)


class _Recurrent(RNN):
    """A layer that makes its own cell out of the arguments they share; those of the cell are attributes here too."""

    _cell_class: type

    def __init__(self, cell_arguments, cell_name, flags, kwargs):
        same = {k: kwargs[k] for k in ("dtype", "trainable") if k in kwargs}
        cell_arguments = {**cell_arguments, **{k: kwargs.pop(k) for k in ("implementation",) if k in kwargs}}
        super().__init__(self._cell_class(**cell_arguments, **same, name=cell_name), **flags, **kwargs)
        self.input_spec = InputSpec(ndim=3)

    def __getattr__(self, name):
        if name in _cell_parameters(type(self)._cell_class) and "cell" in self.__dict__:
            return getattr(self.cell, name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name, value):
        if "cell" in self.__dict__ and name in _cell_parameters(type(self)._cell_class):
            raise AttributeError(f'{type(self).__name__} "{self.name}": {name} belongs to the cell and is set there,'
                                 f" layer.cell.{name} = ...")
        super().__setattr__(name, value)

    def build(self, sequences_shape, initial_state_shape=None):
        super().build(sequences_shape, initial_state_shape)
        self.input_spec = InputSpec(ndim=3, axes={-1: sequences_shape[-1]})

    def get_config(self):
        own = {k: v for k, v in self.cell.get_config().items() if k in _cell_parameters(self._cell_class)}
        return {**Layer.get_config(self), **self._flags(), **own,
                "activity_regularizer": regularizers.serialize(self.activity_regularizer)}


def _cell_parameters(cell_class) -> set[str]:
    return set(inspect.signature(cell_class).parameters) - {"kwargs", "name", "dtype", "trainable"}


@builtin("keras.layers")
class SimpleRNN(_Recurrent):
    __doc__ = f"SimpleRNNCell over a sequence; arguments of both.\n{RNN.__doc__}"
    _cell_class = SimpleRNNCell

    def __init__(self, units, activation="tanh", use_bias=True, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros", kernel_regularizer=None,
                 recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0,
                 return_sequences=False, return_state=False, go_backwards=False, stateful=False, unroll=False,
                 seed=None, **kwargs):
        super().__init__(*_sorted_out(locals(), "simple_rnn_cell"))


@builtin("keras.layers")
class LSTM(_Recurrent):
    __doc__ = f"LSTMCell over a sequence; arguments of both. `use_cudnn` is accepted.\n{RNN.__doc__}"
    _cell_class = LSTMCell

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 unit_forget_bias=True, kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None,
                 activity_regularizer=None, kernel_constraint=None, recurrent_constraint=None, bias_constraint=None,
                 dropout=0.0, recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False,
                 go_backwards=False, stateful=False, unroll=False, use_cudnn="auto", **kwargs):
        super().__init__(*_sorted_out(locals(), "lstm_cell"))
        self.use_cudnn = use_cudnn


@builtin("keras.layers")
class GRU(_Recurrent):
    __doc__ = f"GRUCell over a sequence; arguments of both. `use_cudnn` is accepted.\n{RNN.__doc__}"
    _cell_class = GRUCell

    def __init__(self, units, activation="tanh", recurrent_activation="sigmoid", use_bias=True,
                 kernel_initializer="glorot_uniform", recurrent_initializer="orthogonal", bias_initializer="zeros",
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False, go_backwards=False,
                 stateful=False, unroll=False, reset_after=True, use_cudnn="auto", **kwargs):
        super().__init__(*_sorted_out(locals(), "gru_cell"))
        self.use_cudnn = use_cudnn


def _sorted_out(given: dict, cell_name: str) -> tuple[dict, str, dict, dict]:
    """The arguments of a constructor (its `locals()`): the cell's, its name, the flags, what remains for Layer."""
    layer, kwargs = given["self"], given["kwargs"]
    parameters = _cell_parameters(type(layer)._cell_class)
    flags = {k: v for k, v in given.items() if k in inspect.signature(RNN).parameters and k != "kwargs"}
    cell = {k: v for k, v in given.items() if k in parameters}
    return cell, cell_name, flags, {**kwargs, "activity_regularizer": given["activity_regularizer"]}
