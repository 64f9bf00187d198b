"""Sequential: a stack of layers with one input and one output."""

from __future__ import annotations

from pydl import tree
from pydl.dtypes import is_float_dtype
from pydl.layers.base import Layer
from pydl.layers.core import Input, InputLayer, Lambda
from pydl.models.graph import Graph
from pydl.models.model import Model
from pydl.registry import builtin, deserialize_keras_object, serialize_keras_object
from pydl.symbolic import KerasTensor
from pydl.tensor import holds_strings, name_scope

__all__ = ["Sequential"]


@builtin("keras")
class Sequential(Model):
    """Layers applied one after another.

    Args:
        layers: list of layers; the first may be an `Input`. Without one, the model is built at its first call.
        name: of the model.
    """

    _shows_connections = False  # each layer feeds the next

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
        if any(other.name == layer.name for other in self._stack):
            raise ValueError("All layers added to a Sequential model should have unique names. Name"
                             f" '{layer.name}' is already the name of a layer in this model. Update the `name` argument"
                             " to pass a unique name.")
        self._stack.append(layer)
        self._graph = None
        self.built = False
        self._steps.forget()
        if rebuild:
            self._maybe_build_graph()

    def pop(self, rebuild=True) -> Layer:
        """Takes the top layer off and returns it."""
        layer = self._stack.pop()
        self._graph = None
        self.built = False
        self._steps.forget()
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
        """Builds all layers for inputs of `input_shape` (batch dimension first)."""
        if not self._stack:
            raise ValueError(f'Sequential model "{self.name}" has no layers: add some with `model.add(layer)`.')
        if isinstance(self._stack[0], InputLayer):
            inputs = self._stack[0].output
        elif input_shape is None:
            raise ValueError("You must provide an `input_shape` argument.")
        elif not all(d is None or isinstance(d, int) for d in input_shape):
            return  # several inputs: the first layer deals with them at call time
        else:
            inputs = Input(batch_shape=tuple(input_shape), dtype=self._dtype)
        self._set_graph(Graph(inputs, self._stacked(inputs)))

    def _stacked(self, x):
        """The symbolic output of all layers on the symbolic input `x`."""
        with name_scope(self.name):
            for layer in self.layers:
                x = layer(x)
        return x

    def _set_graph(self, graph: Graph) -> None:
        self._graph = graph
        self._build_shapes = {"input_shape": graph.input_tensors[0].shape}
        self.built = True

    def __call__(self, inputs, training=None, mask=None):
        if not self.built and hasattr(inputs, "shape"):
            shape = tuple(inputs.shape)
            if isinstance(inputs, KerasTensor) or len(shape) > 0:
                batch_free = (None, *shape[1:])
                dtype = "string" if holds_strings(inputs) else getattr(inputs, "dtype", None)
                self._build_for(batch_free, dtype)
        kwargs = {} if mask is None else {"mask": mask}
        return super().__call__(inputs, training=training, **kwargs)

    def _build_for(self, shape, dtype) -> None:
        dtype = str(dtype)
        if isinstance(self._stack[0] if self._stack else None, InputLayer) or not self._stack:
            self.build(shape)
            return
        inputs = Input(batch_shape=shape, dtype=self._dtype if is_float_dtype(dtype) else dtype)
        self._set_graph(Graph(inputs, self._stacked(inputs)))

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
        if self._graph is not None:
            base["build_input_shape"] = self._graph.input_tensors[0].shape
            if not isinstance(self._stack[0], InputLayer):
                t = self._graph.input_tensors[0]
                base["layers"].insert(0, serialize_keras_object(
                    InputLayer(batch_shape=t.shape, dtype=t.dtype, name=t.node.operation.name)))
        return base

    @classmethod
    def from_config(cls, config, custom_objects=None):
        model = cls(name=config.get("name"))
        for entry in config["layers"]:
            model.add(deserialize_keras_object(entry, custom_objects), rebuild=False)
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
