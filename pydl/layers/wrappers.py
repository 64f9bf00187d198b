"""Bidirectional, TimeDistributed, SpectralNormalization: layers around layers."""

from __future__ import annotations

from pydl import initializers, ops, tree
from pydl.dtypes import holds_floats
from pydl.layers._call import call_signature
from pydl.layers.base import Layer, with_dtype_of
from pydl.layers.core import Lambda, Wrapper
from pydl.layers.input_spec import InputSpec
from pydl.layers.normalization import BatchNormalization
from pydl.layers.recurrent import RNN
from pydl.registry import builtin, deserialize_keras_object, serialize_keras_object

__all__ = ["Bidirectional", "SpectralNormalization", "TimeDistributed"]

_MERGES = {"concat": lambda a, b: ops.concatenate([a, b], axis=-1), "sum": ops.add, "mul": ops.multiply,
           "ave": lambda a, b: (a + b) / 2, None: lambda a, b: (a, b)}


@builtin("keras.layers")
class Bidirectional(Layer):
    """A recurrent layer forwards and another backwards over the same sequence (Schuster and Paliwal 1997).

    Both are made anew, as copies of `layer`; a `backward_layer` is taken as it is. With masks the backward layer begins
    at the last real step, so its last state has seen no padding, and outputs of masked steps are 0.

    Args:
        layer: an RNN layer.
        merge_mode: "concat", "sum", "mul", "ave", or None for both outputs as a tuple.
        weights: initial weights, the forward layer's before the backward layer's.
        backward_layer: a layer with the other `go_backwards` and the same `stateful`, `return_sequences` and
            `return_state`.

    Call arguments as for the layer; `initial_state` holds the forward layer's states, then the backward layer's. With
    `return_state` the states follow the output in the same order.

    Raises:
        ValueError: for an unknown merge_mode, layers that do not match, or an odd number of initial states.
    """

    stateful: bool
    return_sequences: bool
    return_state: bool

    def __init__(self, layer, merge_mode="concat", weights=None, backward_layer=None, **kwargs):
        for value in (layer,) if backward_layer is None else (layer, backward_layer):
            if not isinstance(value, Layer):
                raise ValueError(f"Bidirectional: expected a Layer; received {value!r}.")
            missing = [a for a in ("go_backwards", "return_sequences", "return_state", "stateful")
                       if not hasattr(value, a)]
            if missing:
                raise ValueError(f'Bidirectional: {type(value).__name__} "{value.name}" is no recurrent layer; it has'
                                 f" no attribute {missing[0]}.")
        if merge_mode not in _MERGES:
            raise ValueError(f"Invalid merge mode. Received: {merge_mode}. Merge mode should be one of"
                             ' {"sum", "mul", "ave", "concat", None}')
        super().__init__(**with_dtype_of(layer, kwargs))
        name = layer.name
        self.forward_layer = layer._twin(name="forward_" + name.removeprefix("forward_"))
        self.backward_layer = backward_layer or layer._twin(
            name="backward_" + name.removeprefix("backward_"), go_backwards=True)
        if hasattr(layer, "use_cudnn"):  # which no config holds
            self.forward_layer.use_cudnn = self.backward_layer.use_cudnn = layer.use_cudnn
        if self.forward_layer.go_backwards == self.backward_layer.go_backwards:
            raise ValueError("Bidirectional: one layer goes forwards and one backwards; both have"
                             f" go_backwards={layer.go_backwards}.")
        for name in ("stateful", "return_sequences", "return_state"):
            values = getattr(self.forward_layer, name), getattr(self.backward_layer, name)
            if values[0] != values[1]:
                raise ValueError(f"Bidirectional: both layers need the same {name}; the forward layer has {values[0]},"
                                 f" the backward layer {values[1]}.")
            setattr(self, name, values[0])
        for direction in (self.forward_layer, self.backward_layer):
            direction.zero_output_for_mask = self.return_sequences
        self.merge_mode = merge_mode
        self._initial_weights = weights
        self.supports_masking = True
        self.input_spec = layer.input_spec

    @property
    def states(self):
        """The variables of a stateful layer, forward before backward; None before it is built."""
        both = self.forward_layer.states, self.backward_layer.states
        return None if None in both else tuple(s for states in both for s in states)

    def build(self, sequences_shape, initial_state_shape=None):
        for direction in (self.forward_layer, self.backward_layer):
            if not direction.built:
                direction.build(sequences_shape)
        if self._initial_weights:
            self.set_weights(self._initial_weights)

    def get_build_config(self):
        return self._build_shapes and {"input_shape": next(iter(self._build_shapes.values()))}

    def call(self, sequences, initial_state=None, mask=None, training=None):
        halves = None, None
        if initial_state is not None:
            half, odd = divmod(len(initial_state), 2)
            if odd:
                raise ValueError("expected as many initial states for the forward as for the backward layer; received"
                                 f" {len(initial_state)}.")
            halves = list(initial_state[:half]), list(initial_state[half:])
        (y, *states), (back, *back_states) = (
            tree.flatten(direction(sequences, initial_state=state, mask=mask, training=training))
            for direction, state in zip((self.forward_layer, self.backward_layer), halves))
        if self.return_sequences:
            back = ops.flip(back, 1)
        merged = _MERGES[self.merge_mode](y, back)
        if not self.return_state:
            return merged
        return *(merged if self.merge_mode is None else (merged,)), *states, *back_states

    def compute_mask(self, inputs, mask=None):
        first = tree.flatten(mask)[0] if mask is not None and self.return_sequences else None
        return (first, first) if self.merge_mode is None and first is not None else first

    def reset_state(self) -> None:
        """Sets the states of both layers to 0."""
        if not self.stateful:
            raise AttributeError(f'Bidirectional "{self.name}" is not stateful.')
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self) -> None:
        """As `reset_state`."""
        self.reset_state()

    def get_config(self):
        return {**super().get_config(), "layer": serialize_keras_object(self.forward_layer),
                "backward_layer": serialize_keras_object(self.backward_layer), "merge_mode": self.merge_mode}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for name in ("layer", "backward_layer"):
            if isinstance(config.get(name), dict):
                config[name] = deserialize_keras_object(config[name], custom_objects)
        return cls(**config)


@builtin("keras.layers")
class TimeDistributed(Wrapper):
    """The same layer on every step of (batch, steps, ...).

    Layers of this library that treat rows apart see all steps at once, as a batch of batch * steps rows; others, such
    as BatchNormalization and layers of one's own, are called step by step.

    Args:
        layer: a layer for inputs of shape (batch, ...). It gets the mask's step (batch, ...) if it takes a mask.
    """

    def __init__(self, layer, **kwargs):
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) < 3:
            raise ValueError(f'TimeDistributed "{self.name}": expected inputs (batch, steps, ...) of at least 3 axes;'
                             f" received shape {tuple(input_shape)}.")
        super().build((input_shape[0], *input_shape[2:]))

    def call(self, inputs, training=None, mask=None):
        if mask is not None and tuple(mask.shape[:2]) != tuple(inputs.shape[:2]):
            raise ValueError(f"expected a mask of shape {tuple(inputs.shape[:2])} or with more axes; received"
                             f" {tuple(mask.shape)}.")
        if mask is not None and "mask" not in call_signature(self.layer).places:
            mask = None

        def apply(x, m):
            return self.layer(x, training=training, **({} if m is None else {"mask": m}))

        if self._treats_rows_apart():
            batch, steps = inputs.shape[:2]
            y = apply(*(None if t is None else ops.reshape(t, (batch * steps, *t.shape[2:])) for t in (inputs, mask)))
            return tree.map_structure(lambda t: ops.reshape(t, (batch, steps, *t.shape[1:])), y)
        outputs = [apply(inputs[:, t], None if mask is None else mask[:, t]) for t in range(inputs.shape[1])]
        return tree.map_structure(lambda *ys: ops.stack(list(ys), 1), *outputs)

    def _treats_rows_apart(self) -> bool:
        return not any(isinstance(part, (BatchNormalization, Lambda)) or getattr(part, "stateful", False)
                       or not type(part).__module__.startswith("pydl.")
                       or (isinstance(part, RNN) and not isinstance(part.cell, Layer))
                       for part in self.layer._flatten_layers())


@builtin("keras.layers")
class SpectralNormalization(Wrapper):
    """A layer whose kernel is divided by its largest singular value before each step of training (Miyato et al. 2018).

    The singular value is estimated by power iteration, which goes on from step to step; no gradient flows through it,
    and the kernel keeps the divided value. A kernel of zeros stays as it is.

    Args:
        layer: has a `kernel`, or `embeddings`; all axes but the last count as one.
        power_iterations: steps of the iteration at each call, at least 1.

    Raises:
        ValueError: for other arguments, and when it is built around a layer without such a weight.
    """

    def __init__(self, layer, power_iterations=1, **kwargs):
        super().__init__(layer, **kwargs)
        if not isinstance(power_iterations, int) or isinstance(power_iterations, bool) or power_iterations <= 0:
            raise ValueError("SpectralNormalization: `power_iterations` should be an integer greater than zero;"
                             f" received power_iterations={power_iterations!r}.")
        self.power_iterations = power_iterations

    def build(self, input_shape):
        super().build(input_shape)
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})
        for name in ("kernel", "embeddings"):
            if hasattr(self.layer, name):
                self.kernel = getattr(self.layer, name)
                break
        else:
            raise ValueError(f'{type(self.layer).__name__} "{self.layer.name}" has no attribute `kernel` nor'
                             " `embeddings`.")
        self.vector_u = self.add_weight(name="vector_u", shape=(1, self.kernel.shape[-1]), trainable=False,
                                        initializer=initializers.TruncatedNormal(stddev=0.02))

    def call(self, inputs, training=False):
        if training:
            self._divide_kernel()
        return ops.cast(self.layer(inputs), inputs.dtype) if holds_floats(inputs.data) else self.layer(inputs)

    def _divide_kernel(self) -> None:
        rows = ops.stop_gradient(ops.reshape(self.kernel, (-1, self.kernel.shape[-1])))
        u = ops.stop_gradient(self.vector_u)
        for _ in range(self.power_iterations):
            v = _unit(ops.matmul(u, ops.transpose(rows)))
            u = _unit(ops.matmul(v, rows))
        value = ops.matmul(ops.matmul(v, rows), ops.transpose(u))
        idle = ops.all(ops.equal(rows, 0))
        self.vector_u.assign(ops.where(idle, self.vector_u, u))
        self.kernel.assign(ops.reshape(ops.where(idle, rows, rows / value), self.kernel.shape))

    def get_config(self):
        return {**super().get_config(), "power_iterations": self.power_iterations}


def _unit(x):
    """`x` divided by its length."""
    return x / ops.maximum(ops.sqrt(ops.sum(ops.square(x))), 1e-12)
