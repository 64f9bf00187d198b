"""Sequential: a stack of layers with one input and one output."""

from __future__ import annotations

import inspect

import numpy as np

from pydl import config, tree
from pydl.dtypes import is_float_dtype, widest
from pydl.layers.base import Layer
from pydl.layers.core import InputLayer, Lambda
from pydl.models.graph import Graph
from pydl.models.model import Model
from pydl.probes import settle
from pydl.registry import builtin, deserialize_keras_object, serialize_keras_object
from pydl.symbolic import KerasTensor
from pydl.tensor import holds_strings, name_scope

__all__ = ["Sequential"]


@builtin("keras")
class Sequential(Model):
    """Layers applied one after another.

    The rank of the inputs is that of the `Input`, or of the first inputs seen. Their sizes are not: every layer says
    itself which it takes, so a stack of convolutions that was made on images of one size runs on others.

    Args:
        layers: list of layers; the first may be an `Input`. Without one, the model is built at its first call.
        name: of the model.
    """

    _shows_connections = False  # each layer feeds the next
    _fixes_sizes = False

    def __new__(cls, *args, **kwargs):
        return Layer.__new__(cls, *args, **kwargs)

    def __init__(self, layers=None, trainable=True, name=None, **kwargs):
        super().__init__(trainable=trainable, name=name, **kwargs)
        self._stack: list[Layer] = []
        for layer in layers or ():
            self.add(layer, rebuild=False)
        self._maybe_build_graph()

    def add(self, layer, rebuild=True) -> None:
        """Puts a layer on top.

        Raises:
            ValueError: for something that is not a layer, a second input, or a layer whose name is taken.
        """
        if isinstance(layer, KerasTensor) and layer.node is not None:
            layer = layer.node.operation
        if not isinstance(layer, Layer):
            if callable(layer) and hasattr(layer, "__name__"):
                layer = Lambda(layer)
            else:
                raise ValueError("Only instances of `keras.Layer` can be added to a Sequential model. Received:"
                                f" {layer} (of type {type(layer)})")
        shape = getattr(layer, "_declared_input_shape", None)
        if not self._stack and shape is not None:
            self._stack.append(InputLayer(shape=shape))
        if isinstance(layer, InputLayer) and self._stack:
            raise ValueError(f"Sequential model '{self.name}' has already been configured to use input shape"
                             f" {self._stack[0]!r}. You cannot add a different Input layer to it.")
        if any(other.name == layer.name and other is not layer for other in self._stack):
            raise ValueError("All layers added to a Sequential model should have unique names. Name"
                             f" '{layer.name}' is already the name of a layer in this model. Update the `name` argument"
                             " to pass a unique name.")
        self._disconnect()
        self._stack.append(layer)
        if rebuild:
            self._maybe_build_graph()

    def pop(self, rebuild=True) -> Layer:
        """Takes the top layer off and returns it."""
        self._disconnect()
        layer = self._stack.pop()
        if rebuild:
            self._maybe_build_graph()
        return layer

    def _maybe_build_graph(self) -> None:
        if self._stack and isinstance(self._stack[0], InputLayer) and len(self._stack) > 1:
            self.build()
        elif self._stack and isinstance(self._stack[0], Model) and self._stack[0]._graph is not None:
            first = self._stack[0]
            if not tree.is_nested(first.input):
                self.build(first.input.shape)

    @property
    def layers(self) -> list[Layer]:
        stack = list(self._stack)
        return stack[1:] if stack and isinstance(stack[0], InputLayer) else stack

    def build(self, input_shape=None) -> None:
        """Builds all layers for inputs of `input_shape` (batch dimension first).

        Raises:
            ValueError: when there are no layers, or an input of another shape.
        """
        if not self._stack:
            raise ValueError(f'Sequential model "{self.name}" has no layers: add some with `model.add(layer)`.')
        if isinstance(self._stack[0], InputLayer):
            mine = self._stack[0].batch_shape
            if input_shape is not None and (len(input_shape) != len(mine) or any(
                    None not in (m, n) and m != n for m, n in zip(mine, input_shape))):
                raise ValueError(f'Sequential model "{self.name}" has already been configured to use input shape'
                                 f" {mine}. You cannot build it with input_shape={tuple(input_shape)}.")
            self._connect()
        elif input_shape is None:
            raise ValueError("You must provide an `input_shape` argument.")
        elif all(d is None or isinstance(d, (int, np.integer)) for d in input_shape):
            self._build_for(input_shape, self._dtype)
        # Else there are several inputs: the first layer deals with them at call time.

    def _build_for(self, shape, dtype) -> None:
        """Builds for inputs of this shape, with the batch, and dtype: from now on an Input stands before the layers."""
        known = settle(self, {"input_shape": tuple(shape)}) if self._stack else None
        if known is not None:  # built in the course of an inference of shapes: for sizes that are none
            shape = known["input_shape"]
            self._disconnect()
            self._stack.pop(0)
        if self._stack and not isinstance(self._stack[0], InputLayer):
            dtype = str(dtype)
            first = InputLayer(batch_shape=tuple(shape), dtype=self._float_input() if is_float_dtype(dtype) else dtype)
            self._stack.insert(0, first)
            try:
                self._connect()
            except BaseException:
                self._stack.remove(first)
                raise
        else:
            self.build()

    def _disconnect(self) -> None:
        """Forgets the graph, as which it is called no more: layers have one output again, that of the next graph."""
        if self._graph is not None:
            calls = {id(node) for node in self._graph.nodes}
            for layer in self.layers:
                layer._inbound_nodes[:] = [node for node in layer._inbound_nodes if id(node) not in calls]
        self._graph = None
        self.built = False
        self._steps.forget()

    def _connect(self) -> None:
        """Makes the graph of the layers, from the Input on."""
        x = inputs = self._stack[0].output
        with name_scope(self.name):
            for layer in self.layers:
                x = _call_alone(layer, x)
        self._graph = Graph(inputs, x)
        self.autocast = False  # the layers cast
        self._build_shapes = {"input_shape": inputs.shape}
        self.built = True

    def __call__(self, inputs, training=None, mask=None, **others):
        if not self.built and hasattr(inputs, "shape"):
            shape = tuple(inputs.shape)
            if isinstance(inputs, KerasTensor) or len(shape) > 0:
                dtype = "string" if holds_strings(inputs) else getattr(inputs, "dtype", None)
                self._build_for((None, *shape[1:]), dtype)
        kwargs = {} if mask is None else {"mask": mask}
        return super().__call__(inputs, training=training, **kwargs, **others)

    def _float_input(self) -> str:
        """The dtype of an input of floats: that of the first layer, where it computes with floats."""
        first = next((layer._dtype for layer in self._stack if not isinstance(layer, InputLayer)), self._dtype)
        return first if is_float_dtype(first) else self._dtype

    def _input_floats(self) -> str:
        return super()._input_floats() if self._graph is not None else widest([config.floatx(), self._float_input()])

    def call(self, inputs, training=None, mask=None):
        if self._graph is not None:
            return super().call(inputs, training=training, mask=mask)
        x = inputs
        for layer in self.layers:
            x = layer(x)
        return x

    @property
    def input_shape(self):
        if self._graph is None:
            raise AttributeError(f"Sequential model '{self.name}' has no defined input shape yet.")
        return self._graph.input_tensors[0].shape

    @property
    def output_shape(self):
        if self._graph is None:
            raise AttributeError(f"Sequential model '{self.name}' has no defined output shape yet.")
        return self._graph.output_tensors[0].shape

    def get_config(self) -> dict:
        base: dict = Layer.get_config(self) if type(self).get_config is not Sequential.get_config else {
            "name": self.name, "trainable": self.trainable, "dtype": {
                "module": "keras", "class_name": "DTypePolicy", "config": {"name": self._dtype},
                "registered_name": None}}
        base["layers"] = [serialize_keras_object(layer) for layer in self._stack]
        for layer, entry in zip(self._stack, base["layers"]):
            if sum(other is layer for other in self._stack) > 1:
                entry["shared_object_id"] = next(i for i, other in enumerate(self._stack) if other is layer)
        if self._graph is not None:
            base["build_input_shape"] = self._graph.input_tensors[0].shape
        return base

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = cls(name=config.get("name"))
        shared: dict = {}
        for entry in config["layers"]:
            number = entry.get("shared_object_id") if isinstance(entry, dict) else None
            layer = shared.get(number) if isinstance(number, int) else None
            if layer is None:
                layer = deserialize_keras_object(entry, custom_objects)
            if isinstance(number, int):
                shared[number] = layer
            model.add(layer, rebuild=False)
        model._maybe_build_graph()
        shape = config.get("build_input_shape")
        if not model.built and shape:
            model.build(tuple(shape))
        if not config.get("trainable", True):
            model.trainable = False
        return model

    def get_build_config(self):
        return self._build_shapes if self._graph is not None else None

    def build_from_config(self, config) -> None:
        shape = (config or {}).get("input_shape")
        if not self.built and shape and self._stack:
            self.build(tuple(shape))


def _call_alone(layer: Layer, x: KerasTensor):
    """`layer(x)`. Raises ValueError for a layer that demands more arguments than its input."""
    call = inspect.signature(layer.call)
    try:
        call.bind(x, **dict.fromkeys({"training", "mask"} & call.parameters.keys()))
    except TypeError:
        raise ValueError("Layers added to a Sequential model take one positional argument, the input tensor. The call"
                         f" of layer '{layer.name}' is {type(layer).__name__}.call{call}.") from None
    return layer(x)
