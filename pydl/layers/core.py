"""Input, Dense, Embedding, Activation, Lambda, Masking, Identity."""

from __future__ import annotations

import inspect

from pydl import activations, constraints, initializers, ops, regularizers
from pydl.dtypes import INTEGERS
from pydl.layers.base import Layer
from pydl.layers.input_spec import InputSpec
from pydl.registry import auto_name, builtin, deserialize_keras_object
from pydl.symbolic import KerasTensor, SymbolicNode, symbolic_dtype

# Activations that the matrix product applies while its result is still in registers.
FUSED = {activations.relu: "relu", activations.sigmoid: "sigmoid", activations.tanh: "tanh"}

__all__ = ["Activation", "Dense", "Embedding", "Identity", "Input", "InputLayer", "Lambda", "Masking", "Wrapper"]


@builtin("keras.layers")
class InputLayer(Layer):
    """The operation an `Input` comes from.

    Args:
        shape: shape of one sample.
        batch_size: fixed batch size, or None.
        dtype: `floatx` by default.
        batch_shape: shape with the batch dimension, instead of `shape` and `batch_size`.
    """

    def __init__(self, shape=None, batch_size=None, dtype=None, sparse=None, ragged=None, batch_shape=None,
                 input_tensor=None, optional=False, name=None, **kwargs):
        super().__init__(name=name or auto_name("input_layer"))
        if shape is not None and batch_shape is not None:
            raise ValueError("You cannot pass both `shape` and `batch_shape` at the same time.")
        if sparse or ragged:
            raise ValueError("Sparse and ragged inputs are not supported.")
        if isinstance(batch_shape, dict):
            raise ValueError(f"batch_shape is a tuple; received {batch_shape!r}.")
        if batch_shape is None:
            if shape is None:
                raise ValueError("You must pass a `shape` argument.")
            if not isinstance(shape, (tuple, list)):
                raise ValueError("`shape` is a tuple, without the batch dimension, such as (8,). Received:"
                                 f" shape={shape!r}")
            batch_shape = (batch_size, *shape)
        self.batch_shape = tuple(batch_shape)
        self._dtype = symbolic_dtype(dtype)
        self.optional = optional
        tensor = KerasTensor(self.batch_shape, self._dtype, name=name or self.name)
        self._inbound_nodes.append(SymbolicNode(self, (), {}, tensor))
        self.built = True

    def call(self, *args):
        raise RuntimeError(f'InputLayer "{self.name}" stands for data and cannot be called.')

    def get_config(self) -> dict:
        return {"batch_shape": self.batch_shape, "dtype": self._dtype, "sparse": False, "ragged": False,
                "name": self.name, "optional": self.optional}

    def get_build_config(self):
        return None


def Input(shape=None, batch_size=None, dtype=None, sparse=None, ragged=None, batch_shape=None, name=None, tensor=None,
          optional=False) -> KerasTensor:
    """A symbolic input of a functional model.

    Args:
        shape: shape of one sample, None for free dimensions.
        batch_size: fixed batch size, or None.
        dtype: `floatx` by default.
        batch_shape: shape with the batch dimension, instead of `shape` and `batch_size`.
        name: of the input; key of dict data.
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
        return y if fused or self.activation is activations.linear else self.activation(y)

    def get_config(self):
        return {**super().get_config(), **self._arguments("units", "activation", "use_bias", "kernel_initializer",
                                                          "bias_initializer", "kernel_regularizer", "bias_regularizer",
                                                          "kernel_constraint", "bias_constraint")}


@builtin("keras.layers")
class Activation(Layer):
    """Applies an activation function, given by name or callable."""

    def __init__(self, activation, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.activation = activations.get(activation)

    def call(self, inputs):
        return self.activation(inputs)

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
        weights: initial table (input_dim, output_dim).

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
            if not isinstance(value, int) or value <= 0:
                raise ValueError(f"Embedding: expected a positive integer for {name}; received {value!r}.")
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        self.autocast = False
        self._initial_table = weights

    def build(self, input_shape=None):
        self.embeddings = self._weight("embeddings", (self.input_dim, self.output_dim))
        if self._initial_table is not None:
            table = self._initial_table
            self.embeddings.assign(table[0] if isinstance(table, (list, tuple)) else table)

    def call(self, inputs):
        ids = inputs if inputs.dtype in INTEGERS else ops.cast(inputs, "int32")
        return ops.embedding(self.embeddings, ids)

    def compute_mask(self, inputs, mask=None):
        return ops.not_equal(inputs, 0) if self.mask_zero else None

    def get_config(self):
        return {**super().get_config(), **self._arguments("input_dim", "output_dim", "embeddings_initializer",
                                                          "embeddings_regularizer", "embeddings_constraint",
                                                          "mask_zero")}


@builtin("keras.layers")
class Masking(Layer):
    """Marks time steps whose features all equal `mask_value`; they are zeroed, and layers that follow skip them."""

    def __init__(self, mask_value=0.0, **kwargs):
        super().__init__(**kwargs)
        self.mask_value = mask_value
        self.supports_masking = True

    def compute_mask(self, inputs, mask=None):
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, inputs):
        keep = ops.any(ops.not_equal(inputs, self.mask_value), axis=-1, keepdims=True)
        return ops.multiply(inputs, ops.cast(keep, inputs.dtype))

    def get_config(self):
        return {**super().get_config(), "mask_value": self.mask_value}


@builtin("keras.layers")
class Identity(Layer):
    """Returns its input."""

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
        if mask is not None:
            self.supports_masking = True

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
        return {**super().get_config(), "function": self.function, "arguments": self.arguments}

    @classmethod
    def from_config(cls, config, custom_objects=None, safe_mode=None):
        config = dict(config)
        function = config["function"]
        if isinstance(function, dict):
            function = deserialize_keras_object(function, custom_objects)
        if not callable(function):
            raise ValueError(f"Lambda: the function {function!r} is not registered. Decorate it with"
                             " @register_keras_serializable() or pass it in `custom_objects`.")
        config["function"] = function
        return cls(**config)


class Wrapper(Layer):
    """A layer around another one, `layer`; the base of TimeDistributed and Bidirectional."""

    def __init__(self, layer, **kwargs):
        if not isinstance(layer, Layer):
            raise ValueError(f"{type(self).__name__}: expected a Layer; received {layer!r}.")
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape=None):
        if not self.layer.built:
            self.layer.build_from_config({"input_shape": input_shape})

    def get_config(self):
        return {**super().get_config(), "layer": self.layer}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        if isinstance(config["layer"], dict):
            config["layer"] = deserialize_keras_object(config["layer"], custom_objects)
        return cls(**config)


