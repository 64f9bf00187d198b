"""Model: a layer that can be trained, evaluated, saved; subclassed or made from a graph (`Functional`)."""

from __future__ import annotations

import numpy as np

from pydl import config, ops, tree
from pydl._core import is_dry_run
from pydl.dtypes import INTEGERS, is_float_dtype, widest
from pydl.layers.base import Layer
from pydl.layers.core import InputLayer
from pydl.models import state_tree
from pydl.models.graph import Graph
from pydl.models.graph_config import graph_config, model_from_graph_config
from pydl.models.summary import summary
from pydl.models.trainer import Trainer
from pydl.reading import parse_json
from pydl.registry import builtin, deserialize_keras_object, serialize_keras_object
from pydl.symbolic import KerasTensor, infer, of_shapes
from pydl.tensor import Tensor, from_numpy, holds_strings
from pydl.warning import warn

__all__ = ["Functional", "Model", "model_from_json"]


def _is_optional(spec) -> bool:
    """Whether an input of a graph may be None: an `Input` that says so."""
    return isinstance(spec, KerasTensor) and spec.node is not None and getattr(spec.node.operation, "optional", False)


def _is_functional(args, kwargs) -> bool:
    return len(args) >= 2 or (len(args) == 1 and "outputs" in kwargs) or ("inputs" in kwargs and "outputs" in kwargs)


def _advice(spec: KerasTensor, axes: list[int]) -> str:
    """How to make the input of a model that takes any size of these axes; nothing where they hold features."""
    rank = len(spec.shape)
    features = None if rank == 2 and spec.dtype in INTEGERS else (
        1 if config.image_data_format() == "channels_first" and rank > 3 else rank - 1)
    if 0 in axes or features in axes:
        return ""
    free = tuple(None if axis in axes else n for axis, n in enumerate(spec.shape))[1:]
    return f". For a model that takes inputs of any such size, make it from Input({free})."


@builtin("keras")
class Model(Trainer, Layer):
    """A layer with `compile`, `fit`, `evaluate`, `predict`, `save`.

    Either `Model(inputs, outputs)` with symbolic tensors (several as list or dict), or a subclass with `call`.

    Args:
        inputs, outputs: structures of KerasTensors.
        name: of the model.
    """

    _builds_itself = True
    _shows_connections = True  # in its summary, when it is a graph
    _fixes_sizes = True  # its graph is called on the sizes it was made for, not on any that its layers take

    def __new__(cls, *args, **kwargs):
        if cls is Model and _is_functional(args, kwargs):
            return super().__new__(Functional, *args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args, **kwargs):
        graph_arguments = {}
        if _is_functional(args, kwargs):
            graph_arguments = dict(zip(("inputs", "outputs", "name"), args))
            graph_arguments.update({k: kwargs.pop(k) for k in ("inputs", "outputs") if k in kwargs})
            if "name" in graph_arguments:
                kwargs["name"] = graph_arguments.pop("name")
        elif args:
            raise TypeError(f"{type(self).__name__}: expected `inputs` and `outputs`; received {args}.")
        Trainer.__init__(self)
        Layer.__init__(self, **kwargs)
        self._graph = None
        if graph_arguments:
            graph = Graph(graph_arguments["inputs"], graph_arguments["outputs"])
            self._set_graph(graph.from_inputs(lambda t: InputLayer(batch_shape=t.shape, dtype=t.dtype).output))

    # ---- graph -------------------------------------------------------------------------------------------------

    def _set_graph(self, graph: Graph) -> None:
        self._graph = graph
        self._graph_layers = [op for op in graph.operations if isinstance(op, Layer)]
        self.autocast = False  # inputs get the dtypes of the graph's
        self.built = True

    @property
    def layers(self) -> list[Layer]:
        """The layers at the top level of the model."""
        if self._graph is not None:
            return list(self._graph_layers)
        return self._own_layers()

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name or position. Raises ValueError when there is none."""
        if (name is None) == (index is None):
            raise ValueError("Provide either a layer name or a layer index at `get_layer`.")
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(f"Was asked to retrieve layer at index {index} but model only has"
                                 f" {len(self.layers)} layers.")
            return self.layers[index]
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise ValueError(f"No such layer: {name}. Existing layers are: {[layer.name for layer in self.layers]}.")

    @property
    def inputs(self) -> list[KerasTensor] | None:
        return None if self._graph is None else list(self._graph.input_tensors)

    @property
    def outputs(self) -> list[KerasTensor] | None:
        return None if self._graph is None else list(self._graph.output_tensors)

    def _input_floats(self) -> str:
        """The widest float dtype that inputs keep: of those of a graph, else that of the model, which casts them."""
        dtypes = [self._dtype] if self._graph is None else [t.dtype for t in self._graph.input_tensors]
        return widest(filter(is_float_dtype, [config.floatx(), *dtypes]))

    @property
    def input(self):
        return self._symbolic_end("input")

    @property
    def output(self):
        return self._symbolic_end("output")

    def _symbolic_end(self, which):
        if self._graph is None:
            return Layer._node_attribute(self, which)
        structure = self._graph.inputs if which == "input" else self._graph.outputs
        return structure[0] if isinstance(structure, (list, tuple)) and len(structure) == 1 else structure

    @property
    def input_shape(self):
        return tree.map_structure(lambda t: t.shape, self.input)

    @property
    def output_shape(self):
        return tree.map_structure(lambda t: t.shape, self.output)

    @property
    def input_names(self) -> list[str]:
        return [t.node.operation.name if t.node else t.name for t in self._graph.input_tensors]

    @property
    def output_names(self) -> list[str] | None:
        if self._graph is None:
            return None
        names: list[str] = []
        for t in self._graph.output_tensors:
            name, count = t.node.operation.name, 1
            while name in names:
                name, count = f"{t.node.operation.name}_{count}", count + 1
            names.append(name)
        return names

    def call(self, inputs, training=None, mask=None):
        if self._graph is None:
            raise NotImplementedError(f"Model {type(self).__name__} does not have a `call()` method implemented.")
        if isinstance(inputs, dict) and self._graph.host_nodes and inputs.keys() == self._graph.boundary.keys():
            flat = inputs  # the layers on the host have run
        else:
            flat = self._match_inputs(inputs)
        if mask is not None:
            for x, m in zip(flat, tree.flatten(mask)):
                if m is not None and isinstance(x, Tensor):
                    x._keras_mask = m

        def call(operation, args, kwargs):
            if training is not None and "training" in kwargs and kwargs["training"] is None:
                kwargs = {**kwargs, "training": training}
            return operation(*args, **kwargs)

        return self._graph.run(flat, call)

    def _match_inputs(self, inputs) -> list:
        """The values in the order of the graph's inputs, checked against their shapes."""
        graph = self._graph
        tensors = graph.input_tensors
        if isinstance(inputs, dict):
            wanted = graph.inputs if isinstance(graph.inputs, dict) else dict(zip(self.input_names, tensors))
            for name, spec in wanted.items():
                if name not in inputs and not _is_optional(spec):
                    raise ValueError(f'Model "{self.name}": missing data for input "{name}". Expected the keys'
                                     f" {list(wanted)}; received {list(inputs)}.")
            if wanted is graph.inputs:
                if not inputs.keys() <= wanted.keys():
                    self._warn_of_structure(inputs)
                flat = tree.flatten({name: inputs.get(name) for name in wanted})
            else:
                flat = [inputs.get(name) for name in wanted]
        else:
            if isinstance(graph.inputs, dict):
                self._warn_of_structure(inputs)
            flat = tree.flatten(inputs)
        if len(flat) != len(tensors):
            raise ValueError(f'Model "{self.name}" expects {len(tensors)} input(s), but it received {len(flat)} input'
                             " tensors.")
        return [self._match_input(x, t, i) for i, (x, t) in enumerate(zip(flat, tensors))]

    def _warn_of_structure(self, inputs) -> None:
        """Says that the inputs are not in the structure of the model's.

        Raises:
            ValueError: where the order of the values cannot tell what belongs to which key.
        """
        wanted = self._graph.inputs
        text = (f'The structure of `inputs` doesn\'t match the expected structure of model "{self.name}". Expected'
                f" {tree.map_structure(lambda t: t.name, wanted)}; received"
                f" {tree.map_structure(lambda a: 'None' if a is None else '*', inputs)}.")
        if not isinstance(inputs, dict) and list(wanted) != sorted(wanted):
            raise ValueError(f"{text} Which value belongs to which key cannot be told: the keys are not in sorted"
                             " order. Pass a dict.")
        if not is_dry_run():
            warn(text)

    def _match_input(self, x, spec: KerasTensor, i: int):
        if x is None:
            if not _is_optional(spec):
                raise ValueError(f'Model "{self.name}": the input {spec.name!r} is not optional, but None was passed.')
            return None
        if spec.dtype == "string":
            return self._match_strings(x, spec, i)
        if not isinstance(x, Tensor):
            x = from_numpy(x)
        # A missing or extra last axis of size 1 is forgiven, as in Keras.
        if x.ndim == len(spec.shape) - 1 and spec.shape[-1] == 1:
            x = ops.expand_dims(x, -1)
        elif x.ndim == len(spec.shape) + 1 and x.shape[-1] == 1:
            x = ops.squeeze(x, -1)
        self._check_shape(x.shape, spec, i)
        return x if x.dtype == spec.dtype else ops.cast(x, spec.dtype)

    def _match_strings(self, x, spec: KerasTensor, i: int) -> np.ndarray:
        x = x if isinstance(x, np.ndarray) else np.asarray(x.data if isinstance(x, Tensor) else x, object)
        if not holds_strings(x):
            raise ValueError(f'Input {i} of layer "{self.name}" holds strings; received numbers of shape {x.shape}.')
        if x.ndim == len(spec.shape) - 1 and spec.shape[-1] == 1:
            x = x[..., None]
        elif x.ndim == len(spec.shape) + 1 and x.shape[-1] == 1:
            x = x[..., 0]
        self._check_shape(x.shape, spec, i)
        return x

    def _check_shape(self, shape, spec: KerasTensor, i: int) -> None:
        """Raises ValueError for another rank than that of the graph's input, and, where `_fixes_sizes`, for another
        size of an axis. The size of the batch is free, as in Keras, also where the Input gave one."""
        wrong = [] if len(shape) == len(spec.shape) else [0]
        if self._fixes_sizes and not wrong:
            wrong = [axis for axis, want in enumerate(spec.shape) if axis and want not in (None, shape[axis])]
        if wrong:
            raise ValueError(f'Input {i} of layer "{self.name}" is incompatible with the layer: expected'
                             f" shape={spec.shape}, found shape={tuple(shape)}{_advice(spec, wrong)}")

    def _has_host_part(self, x) -> bool:
        return (self._graph is not None and bool(self._graph.host_nodes)) or any(map(holds_strings, tree.flatten(x)))

    def _host_results(self, x):
        """What a recorded step gets for data `x`: where layers run on the host, their results."""
        if self._graph is None and hasattr(self, "_build_for") and isinstance(x, np.ndarray) and holds_strings(x):
            self._build_for((None, *x.shape[1:]), "string")
        if self._graph is not None and self._graph.host_nodes:
            return self._graph.run_host(self._match_inputs(x))
        for a in tree.flatten(x):
            if holds_strings(a):
                raise ValueError(f'Model "{self.name}": the data hold strings; expected numbers. First element:'
                                 f" {a.item(0)!r}")
        return x

    def _host_answer(self, x):
        """The outputs of a model whose layers all run on the host, from their results `x`; else None."""
        graph = self._graph
        return graph.run(x, None) if graph is not None and graph.only_host else None

    def build(self, input_shape=None) -> None:
        """Makes all variables for inputs of `input_shape` (batch dimension first; a list or dict for several)."""
        if self._graph is not None:
            return
        if input_shape is None:
            self.built = True
            return

        if not getattr(self, "_building", False):
            object.__setattr__(self, "_building", True)
            try:
                if type(self).call is not Model.call:
                    self.built = True  # __call__ must not come back here
                    infer(self._infer_call, (of_shapes(input_shape, self._dtype),), {})
            finally:
                object.__setattr__(self, "_building", False)
        self.built = True

    # ---- reports and files -------------------------------------------------------------------------------------

    def reset_states(self) -> None:
        """Sets the states of all stateful layers to 0."""
        for layer in self._flatten_layers(include_self=False):
            if getattr(layer, "stateful", False) and hasattr(layer, "reset_states"):
                layer.reset_states()

    def get_state_tree(self, value_format="backend_tensor") -> dict:
        """Copies of all variables: {"trainable_variables": {"model": {"layer": {"kernel": ...}}}, ...} with
        "non_trainable_variables", "optimizer_variables", "metrics_variables".

        Args:
            value_format: "backend_tensor" or "numpy_array".
        """
        return state_tree.get_state_tree(self, value_format)

    def set_state_tree(self, state) -> None:
        """Assigns what `get_state_tree` gave, or some of its four groups. Nothing is assigned unless all fits.

        Raises:
            ValueError: for a variable that is missing, unknown or of another shape.
        """
        state_tree.set_state_tree(self, state)

    def summary(self, line_length=None, positions=None, print_fn=None, expand_nested=False, show_trainable=False,
                layer_range=None) -> None:
        """Prints layers, output shapes, parameter counts."""
        summary(self, line_length=line_length, positions=positions, print_fn=print_fn, expand_nested=expand_nested,
                show_trainable=show_trainable, layer_range=layer_range)

    def save(self, filepath, overwrite=True, zipped=None, **kwargs) -> None:
        """Writes architecture, weights, optimizer state to a `.keras` file, or to a legacy `.h5` file (atomically)."""
        from pydl import saving

        saving.save_model(self, filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def save_weights(self, filepath, overwrite=True, max_shard_size=None, **kwargs) -> None:
        """Writes the weights to a `.weights.h5` or `.safetensors` file (atomically)."""
        from pydl import saving

        saving.save_weights(self, filepath, overwrite=overwrite, max_shard_size=max_shard_size, **kwargs)

    def load_weights(self, filepath, skip_mismatch=False, **kwargs) -> None:
        """Reads weights from a `.weights.h5`, `.keras`, `.safetensors`, or `.h5` file of Keras 1 and 2."""
        from pydl import saving

        saving.load_weights(self, filepath, skip_mismatch=skip_mismatch, **kwargs)

    def to_json(self, **kwargs) -> str:
        import json

        return json.dumps(serialize_keras_object(self), **kwargs)

    def get_config(self) -> dict:
        if self._graph is not None and type(self) is Functional:
            return graph_config(self)
        return Layer.get_config(self)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        if "layers" in config and "input_layers" in config:
            return model_from_graph_config(Functional if cls is Model else cls, config, custom_objects)
        return super().from_config(config)


@builtin("keras.src.models.functional")
class Functional(Model):
    """A model made from a graph of layers and ops: what `Model(inputs, outputs)` returns."""

    def get_build_config(self) -> dict | None:
        return {"input_shape": None}

    def build_from_config(self, config) -> None:
        pass


def model_from_json(json_string: str, custom_objects=None):
    """The model of `Model.to_json`, with new weights.

    Raises:
        ValueError: for a text that is not JSON, or not that of a model; the message names the place.
    """
    config = parse_json(json_string, "The text")
    model = deserialize_keras_object(config, custom_objects)
    if not isinstance(model, Model):
        raise ValueError(f"model_from_json: expected the JSON of a model; received that of {model!r}"[:200])
    return model
