"""Input, Dense, Embedding, Activation, Lambda, Masking, Identity."""

from __future__ import annotations

import inspect

import numpy as np

from pydl import activations, constraints, initializers, ops, regularizers
from pydl.configs import checked
from pydl.layers.base import Layer, with_dtype_of
from pydl.layers.input_spec import InputSpec
from pydl.registry import LAMBDA, auto_name, builtin, deserialize_keras_object, serialize_keras_object
from pydl.symbolic import KerasTensor, SymbolicNode, symbolic_dtype

# Activations that the matrix product applies while its result is still in registers.
FUSED = {activations.relu: "relu", activations.sigmoid: "sigmoid", activations.tanh: "tanh"}



def activated(activation, x):
    """The activation of `x`; None, which may be assigned to a layer later, is as good as `linear`."""
    return x if activation is None or activation is activations.linear else activation(x)


__all__ = ["Activation", "Dense", "Embedding", "Identity", "Input", "InputLayer", "Lambda", "Masking", "Wrapper"]


@builtin("keras.layers")
class InputLayer(Layer):
    """The operation an `Input` comes from.

    Args:
        shape: shape of one sample, ints of at least 0 or None.
        batch_size: fixed batch size, or None.
        dtype: `floatx` by default.
        batch_shape: shape with the batch dimension, instead of `shape` and `batch_size`.
        input_tensor: a symbolic tensor that serves as the input.

    Raises:
        ValueError: for arguments that contradict each other, and for what is no shape.
    """

    sparse = ragged = False

    def __init__(self, shape=None, batch_size=None, dtype=None, sparse=None, ragged=None, batch_shape=None,
                 input_tensor=None, optional=False, name=None, **kwargs):
        super().__init__(name=name or auto_name("input_layer"))
        shape = kwargs.pop("input_shape", shape)  # as Keras 2 says it
        batch_shape = kwargs.pop("batch_input_shape", batch_shape)
        for argument, value in (("shape", shape), ("batch_size", batch_size)):
            if value is not None and batch_shape is not None:
                raise ValueError(f"You cannot pass both `{argument}` and `batch_shape` at the same time.")
        if sparse or ragged:
            raise ValueError("Sparse and ragged inputs are not supported.")
        if input_tensor is not None:
            if not isinstance(input_tensor, KerasTensor):
                raise ValueError(f"The `tensor` of an input is a KerasTensor; received {input_tensor!r}.")
            if dtype is not None and symbolic_dtype(dtype) != input_tensor.dtype:
                raise ValueError(f"The tensor of the input is of dtype {input_tensor.dtype}; received"
                                 f" dtype={symbolic_dtype(dtype)}.")
            batch_shape, dtype = input_tensor.shape, input_tensor.dtype
        elif batch_shape is None:
            if shape is None:
                raise ValueError("You must pass a `shape` argument.")
            batch_shape = (batch_size, *_as_shape("shape", shape))
        self.batch_shape = _as_shape("batch_shape", batch_shape)
        self._dtype = symbolic_dtype(dtype)
        self.optional = optional
        tensor = KerasTensor(self.batch_shape, self._dtype, name=name or self.name)
        if input_tensor is not None and input_tensor.node is None:
            tensor = input_tensor
        self._inbound_nodes.append(SymbolicNode(self, (), {}, tensor))
        self.built = True

    def call(self, *args):
        if args:
            raise RuntimeError(f'InputLayer "{self.name}" stands for data and cannot be called.')

    def get_config(self) -> dict:
        return {"batch_shape": self.batch_shape, "dtype": self._dtype, "sparse": False, "ragged": False,
                "name": self.name, "optional": self.optional}

    def get_build_config(self):
        return None


def _as_shape(argument: str, shape) -> tuple[int | None, ...]:
    if not isinstance(shape, (tuple, list)):
        raise ValueError(f"`{argument}` is a tuple, {'without' if argument == 'shape' else 'with'} the batch dimension,"
                         f" such as (8,). Received: {argument}={shape!r}")
    for n in shape:
        if n is not None and (not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 0):
            raise ValueError(f"`{argument}` holds integers of at least 0 and None; received {argument}={shape!r}.")
    return tuple(n if n is None else int(n) for n in shape)


def Input(shape=None, batch_size=None, dtype=None, sparse=None, ragged=None, batch_shape=None, name=None, tensor=None,
          optional=False) -> KerasTensor:
    """A symbolic input of a functional model.

    Args:
        shape: shape of one sample, None for free dimensions.
        batch_size: fixed batch size, or None.
        dtype: `floatx` by default.
        batch_shape: shape with the batch dimension, instead of `shape` and `batch_size`.
        name: of the input; key of dict data.
        tensor: a symbolic tensor like which the input is, instead of a shape.
    """
    return InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name).output


@builtin("keras.layers")
class Dense(Layer):
    """`activation(x @ kernel + bias)`, one fused kernel.

    Args:
        units: size of the output's last axis, at least 1.
        activation: name or callable; linear by default.
        use_bias: whether to add a bias.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint:
            of the variables `kernel` (input features, units) and `bias` (units,).

    Input shape: (batch, ..., features). Output shape: (batch, ..., units).
    """

    def __init__(self, units, activation=None, use_bias=True, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, bias_constraint=None, **kwargs):
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if not isinstance(units, int) or isinstance(units, bool) or units <= 0:
            raise ValueError("Received an invalid value for `units`, expected a positive integer. Received:"
                             f" units={units}")
        self.units = units
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape):
        features = input_shape[-1]
        if features is None:
            raise ValueError(f'Dense "{self.name}": the last axis of the input must be known; received shape'
                             f" {input_shape}.")
        self.kernel = self._weight("kernel", (features, self.units))
        self.bias = None
        if self.use_bias:
            self.bias = self._weight("bias", (self.units,))
        self.input_spec = InputSpec(min_ndim=2, axes={-1: features})

    def call(self, inputs, training=None):
        fused = FUSED.get(self.activation)
        y = ops.dense(inputs, self.kernel, self.bias, activation=fused)
        return y if fused else activated(self.activation, y)

    def get_config(self):
        return {**super().get_config(), **self._arguments("units", "activation", "use_bias", "kernel_initializer",
                                                          "bias_initializer", "kernel_regularizer", "bias_regularizer",
                                                          "kernel_constraint", "bias_constraint")}


@builtin("keras.layers")
class Activation(Layer):
    """Applies an activation function, given by name or callable."""

    _built_when_made = True

    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.activation = activations.get(activation)

    def call(self, inputs):
        return activated(self.activation, inputs)

    def get_config(self):
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


@builtin("keras.layers")
class Embedding(Layer):
    """Rows of a table: integer ids (batch, ...) -> vectors (batch, ..., output_dim).

    Args:
        input_dim: number of rows (vocabulary size); ids lie in [0, input_dim).
        output_dim: length of a row.
        embeddings_initializer, embeddings_regularizer, embeddings_constraint: of the variable `embeddings`.
        mask_zero: id 0 is padding; layers that follow get a mask.
        weights: initial table (input_dim, output_dim), or a list that holds it; with one, the layer is built at once.

    Raises:
        IndexError: at run time, for an id out of range; no weight changes.
    """

    def __init__(self, input_dim, output_dim, embeddings_initializer="uniform", embeddings_regularizer=None,
                 embeddings_constraint=None, mask_zero=False, weights=None, **kwargs):
        input_length = kwargs.pop("input_length", None)
        super().__init__(**kwargs)
        if input_length is not None and not isinstance(input_length, (int, tuple, list)):
            raise ValueError(f"input_length={input_length!r}: expected an integer or None.")
        for name, value in (("input_dim", input_dim), ("output_dim", output_dim)):
            if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
                raise ValueError(f"Embedding: `{name}` must be a positive integer; received {name}={value!r}.")
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        self.autocast = False
        if weights is not None:
            self.build()
            self.set_weights(weights if isinstance(weights, (list, tuple)) and len(weights) == 1 else [weights])

    def build(self, input_shape=None):
        self.embeddings = self._weight("embeddings", (self.input_dim, self.output_dim))

    def call(self, inputs):
        return ops.embedding(self.embeddings, inputs)

    def compute_mask(self, inputs, mask=None):
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def get_config(self):
        return {**super().get_config(), **self._arguments("input_dim", "output_dim", "embeddings_initializer",
                                                          "embeddings_regularizer", "embeddings_constraint",
                                                          "mask_zero")}


@builtin("keras.layers")
class Masking(Layer):
    """Marks time steps whose features all equal `mask_value`; they are zeroed, and layers that follow skip them."""

    _built_when_made = True

    def __init__(self, mask_value=0.0, **kwargs):
        super().__init__(**kwargs)
        self.mask_value = mask_value
        self.supports_masking = True

    def compute_mask(self, inputs, mask=None):
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, inputs):
        return ops.where(ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=True), inputs, 0)

    def get_config(self):
        return {**super().get_config(), "mask_value": self.mask_value}


@builtin("keras.layers")
class Identity(Layer):
    """Returns its input."""

    _built_when_made = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs):
        return inputs


@builtin("keras.layers")
class Lambda(Layer):
    """Applies a Python function of ops. Only a named, registered function can be saved: files never contain code.

    Args:
        function: callable on the input (and `arguments`).
        output_shape: accepted; shapes are inferred.
        mask: mask of the output, or a callable `(inputs, mask)`.
        arguments: dict of keyword arguments for `function`.
    """

    def __init__(self, function, output_shape=None, mask=None, arguments=None, **kwargs):
        super().__init__(**kwargs)
        self.function = function
        self.arguments = arguments or {}
        self._output_shape = output_shape
        self.mask = mask
        self.supports_masking = mask is not None

    def call(self, inputs, mask=None, training=None):
        kwargs = dict(self.arguments)
        parameters = inspect.signature(self.function).parameters
        if "mask" in parameters:
            kwargs["mask"] = mask
        if "training" in parameters:
            kwargs["training"] = training
        return self.function(inputs, **kwargs)

    def compute_mask(self, inputs, mask=None):
        return self.mask(inputs, mask) if callable(self.mask) else self.mask

    def get_config(self):
        functions = {name: value for name, value in (("function", self.function), ("mask", self.mask),
                                                     ("output_shape", self._output_shape)) if callable(value)}
        plain = {name: LAMBDA if getattr(value, "__name__", "") == "<lambda>" else serialize_keras_object(value)
                 for name, value in functions.items()}
        return {**super().get_config(), "output_shape": self._output_shape, "mask": None,
                "arguments": serialize_keras_object(dict(self.arguments)), **plain}

    def _twin_config(self):
        import copy

        return {**self.get_config(), "function": self.function, "mask": self.mask, "output_shape": self._output_shape,
                "arguments": copy.deepcopy(dict(self.arguments))}

    @classmethod
    @checked
    def from_config(cls, config, custom_objects=None, safe_mode=None):
        config = dict(config)
        for name in ("function", "mask", "output_shape", "arguments"):
            if isinstance(config.get(name), dict):
                config[name] = deserialize_keras_object(config[name], custom_objects)
        if not callable(config["function"]):
            raise ValueError(f"Lambda: the function {config['function']!r} is not registered. Decorate it with"
                             " @register_keras_serializable() or pass it in `custom_objects`.")
        return cls(**config)


class Wrapper(Layer):
    """A layer around another one, `layer`; the base of TimeDistributed and Bidirectional."""

    def __init__(self, layer, **kwargs):
        if not isinstance(layer, Layer):
            raise ValueError(f"{type(self).__name__}: expected a Layer; received {layer!r}.")
        super().__init__(**with_dtype_of(layer, kwargs))
        self.layer = layer

    def build(self, input_shape=None):
        if not self.layer.built:
            self.layer.build_from_config({"input_shape": input_shape})

    def get_config(self):
        return {**super().get_config(), "layer": serialize_keras_object(self.layer)}

    def _twin_config(self):
        return {**self.get_config(), "layer": self.layer}

    @classmethod
    @checked
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config["layer"], dict):
            config["layer"] = deserialize_keras_object(config["layer"], custom_objects)
        return cls(**config)


