"""Layer: `build` and `call`, masks, the training flag, configuration."""

from __future__ import annotations

import inspect
import warnings

import numpy as np

from pydl import ops, regularizers, tree
from pydl.configs import checked
from pydl.dtype_policies import serialize as serialize_policy
from pydl.dtypes import holds_floats, is_float_dtype
from pydl.layers._build import as_shape, build_from_call, build_with_shapes, marks_built, takes_scalars
from pydl.layers._call import CallSpec, Frame, Path, any_mask, call_signature, holds_tensors, mask_of, masks_of
from pydl.layers._state import LayerState
from pydl.layers.input_spec import check_inputs
from pydl.registry import CustomObjectScope, auto_name, to_snake_case
from pydl.symbolic import OpCall, SymbolicNode, infer, is_symbolic, of_shapes
from pydl.tensor import Tensor, Variable, from_numpy, holds_strings, standardize_dtype

__all__ = ["Layer"]


class Layer(LayerState):
    """A function with state: the base of every layer and model.

    Subclasses write `__init__`, `build(input_shape)` (make variables with `add_weight`), `call(inputs, ...)` and
    `get_config()`. `call` may take `training` and `mask`; both arrive by themselves.

    Args:
        activity_regularizer: callable on the output whose value, divided by the batch size, joins the loss.
        trainable: bool, whether gradients update the layer's variables.
        dtype: of variables and computation, `config.floatx()` by default.
        autocast: cast float inputs to the compute dtype.
        name: unique in a model; made from the class name by default.
    """

    _name_in_files: str | None = None  # where Keras has another name for a class than for what it exports
    _builds_itself = False  # models look after `built` themselves
    _is_cell = False  # sees one step of a sequence; masks are the business of the layer around it
    _call_context_args: tuple[str, ...] = ("training",)
    on_host = False  # runs in Python, on strings for example: in a model, before the recorded steps

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls):
            cls._built_when_made = False  # a subclass of a layer without weights may have some
            if not cls._builds_itself:
                cls.build = marks_built(cls.build)
        if "__init__" in vars(cls) and cls.__module__.startswith("pydl."):
            cls.__init__ = takes_scalars(cls.__init__)

    def __init__(self, *, activity_regularizer=None, trainable=True, dtype=None, autocast=True, name=None, **kwargs):
        input_dim = kwargs.pop("input_dim", None)
        input_shape = kwargs.pop("input_shape", (input_dim,) if input_dim is not None else None)
        if kwargs:
            raise ValueError(f"Unrecognized keyword arguments passed to {type(self).__name__}: {kwargs}")
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError("Argument `name` must be a string and cannot contain character `/`."
                             f" Received: name={name}")
        self.name = name or auto_name(to_snake_case(self._name_in_files or type(self).__name__))
        if not isinstance(trainable, bool):
            raise ValueError(f"{type(self).__name__}: expected `trainable` to be a boolean; received trainable="
                             f"{trainable!r}.")
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self._trainable = trainable
        self._dtype = _dtype_name(dtype)
        self.autocast = autocast
        self.input_spec = None
        self.supports_masking = type(self).compute_mask is not Layer.compute_mask
        if input_shape is not None:  # Sequential turns it into an Input
            self._declared_input_shape = tuple(input_shape)

    # ---- build and call ----------------------------------------------------------------------------------------

    @marks_built
    def build(self, input_shape=None) -> None:
        """Makes the variables. Called once, before the first `call`, with the shape of the first input (or, when the
        parameters are named `<argument>_shape`, the shapes of those arguments)."""

    def _register_call_context_args(self, *names: str) -> None:
        """Arguments that this layer takes and, like `training`, hands on to the calls inside: a layer there that has
        registered the same name and whose `call` takes it gets the value. Raises RuntimeError after a first call."""
        if self.built and not self._built_when_made and not self._builds_itself:
            raise RuntimeError(f"Layer '{self.name}': cannot add call-context args after the layer has been called.")
        self._call_context_args = (*self._call_context_args, *names)

    def call(self, *args, **kwargs):
        raise NotImplementedError(f"Layer {type(self).__name__} does not have a `call` method implemented.")

    def __call__(self, *args, **kwargs):
        if "_trainable" not in self.__dict__:
            raise RuntimeError(f"In layer {type(self).__name__}, you forgot to call `super().__init__()` as the first"
                               " statement in the `__init__()` method.")
        if is_symbolic(*args, **kwargs):
            return self._symbolic_call(args, kwargs)
        spec = CallSpec(self, args, kwargs)
        spec.convert()
        self._check_input(spec)
        with Frame(spec) as frame:
            if not self.built:
                spec.require_tensors()
                build_from_call(spec, frame.full)
            spec.resolve_context()
            previous = spec.resolve_masks()
            outputs = self.call(*spec.args, **spec.kwargs)
            self._mask_outputs(spec, previous, outputs)
            if self.activity_regularizer is not None:
                self._penalize(outputs)
        return outputs

    def _penalize(self, outputs) -> None:
        """Adds the activity regularizer's value, per row of the batch; nothing for a batch without rows."""
        for y in tree.flatten(outputs):
            if isinstance(y, Tensor):
                rows = y.shape[0] if y.ndim else 1
                self.add_loss(self.activity_regularizer(y) / rows if rows else ops.zeros((), y.dtype))

    def _symbolic_call(self, args, kwargs):
        spec = CallSpec(self, args, kwargs)
        spec.refuse_settings_by_place()
        self._check_input(spec)
        if not self.built and not self._builds_itself:  # with None for unknown axes, which a dry run does not have
            with Frame(spec) as frame:
                build_from_call(spec, frame.full)
        outputs = self.compute_output_spec(*args, **kwargs)
        node = SymbolicNode(self, args, kwargs, outputs)
        self._inbound_nodes.append(node)
        for y in tree.flatten(outputs):
            mask = masks_of(y)
            if mask is not None:  # may be an output of a model, too
                SymbolicNode(OpCall(mask_of), (y,), {}, mask)
        return outputs

    def _infer_call(self, *args, **kwargs):
        outputs = self(*args, **kwargs)
        self._clear_losses()
        return outputs

    def _convert(self, value):
        if isinstance(value, Tensor):
            if self.autocast and holds_floats(value.data) and value.dtype != self._dtype:
                return _keep_mask(value, ops.cast(value, self._dtype))
            return value
        if isinstance(value, np.ndarray):
            return value if holds_strings(value) else self._convert(from_numpy(value))
        if isinstance(value, (list, tuple, dict)) and holds_tensors(value):
            return tree.map_structure(self._convert, value)
        if isinstance(value, list) and value and not any(callable(x) or isinstance(x, str) for x in tree.flatten(value)
                                                         ) and any(x is not None for x in tree.flatten(value)):
            return self._convert(from_numpy(np.asarray(value)))  # a nested list of numbers
        return value

    def _check_input(self, spec: CallSpec) -> None:
        """Raises for arguments that do not fit, before anything is built."""
        if self.input_spec is not None and (spec.args or spec.kwargs):
            check_inputs(self.input_spec, spec.first, self.name)

    def _mask_outputs(self, spec: CallSpec, previous, outputs) -> None:
        """Gives the outputs the masks that `compute_mask` makes of the inputs' (`previous`), where `call` gave none."""
        if not self.supports_masking:
            if any_mask(previous) and not self._builds_itself and not self._is_cell:  # what is in or around it decides
                warnings.warn(f'{type(self).__name__} "{self.name}" was given an input that has a mask, and does not'
                              " support masks: layers that follow do not see it. (A layer that passes masks on says"
                              " `self.supports_masking = True`.)", stacklevel=3)
            return
        if type(self).compute_mask is Layer.compute_mask and not any_mask(previous):
            return
        flat = tree.flatten(outputs)
        if not spec.args and not spec.kwargs or flat and all(getattr(y, "_keras_mask", None) is not None for y in flat):
            return
        masks = self.compute_mask(spec.first, previous)
        for y, mask in zip(flat, tree.flatten(masks) if masks is not None else ()):
            if mask is not None and isinstance(y, Tensor) and not isinstance(y, Variable) and (
                    getattr(y, "_keras_mask", None) is None):
                y._keras_mask = mask

    def compute_mask(self, inputs, previous_mask):
        """The mask of the output; by default the input's goes through."""
        return previous_mask

    def compute_output_shape(self, *args, **kwargs):
        """Shape of the output for inputs of the given shape(s), None for unknown dimensions."""
        def of(shapes):
            return None if shapes is None else of_shapes(shapes, self._dtype)

        inputs = {name.removesuffix("_shape"): of(shapes) for name, shapes in kwargs.items()}
        if "input" in inputs:
            inputs[next(iter(call_signature(self).places))] = inputs.pop("input")
        outputs = infer(self._infer_call, tuple(of(shapes) for shapes in args), inputs)
        return tree.map_structure(lambda t: t.shape, outputs)

    def compute_output_spec(self, *args, **kwargs):
        """KerasTensor(s) of the output for KerasTensor inputs, without adding a node.

        `call` runs without values. Where it cannot, a `compute_output_shape` of the class says the shape; a class that
        has this method of its own is believed.
        """
        try:
            return infer(self._infer_call, args, kwargs)
        except Exception:
            if type(self).compute_output_shape is Layer.compute_output_shape:
                raise
            shapes = CallSpec(self, args, kwargs).shapes()
            taken = inspect.signature(self.compute_output_shape).parameters
            if len(taken) > 1 and shapes.keys() >= taken.keys():
                shape = self.compute_output_shape(**{name: shapes[name] for name in taken})
            else:
                shape = self.compute_output_shape(next(iter(shapes.values())))
            return of_shapes(shape, self._dtype)

    # ---- functional graph --------------------------------------------------------------------------------------

    @property
    def input(self):
        """The symbolic input, when the layer was called on exactly one."""
        return self._node_attribute("input")

    @property
    def output(self):
        """The symbolic output, when the layer was called exactly once."""
        return self._node_attribute("output")

    def _node_attribute(self, what):
        if not self._inbound_nodes:
            raise AttributeError(f"The layer {self.name} has never been called and thus has no defined {what}.")
        if len(self._inbound_nodes) > 1:
            raise AttributeError(f"The layer {self.name} has multiple inbound nodes, hence the notion of"
                                 f" \"layer {what}\" is ill-defined.")
        node = self._inbound_nodes[0]
        if what == "output":
            return node.outputs
        return node.inputs[0] if len(node.inputs) == 1 else node.inputs

    # ---- configuration -----------------------------------------------------------------------------------------

    def get_config(self) -> dict:
        """What `from_config` needs to make the layer again, without weights."""
        base = {"name": self.name, "trainable": self.trainable, "dtype": serialize_policy(self._dtype)}
        if type(self).get_config is Layer.get_config and type(self).__init__ is not Layer.__init__:
            # A class that writes no get_config: its arguments, if they are plain values.
            args, kwargs = self._init_arguments
            parameters = [n for n, p in inspect.signature(type(self).__init__).parameters.items()
                          if n != "self" and p.kind == p.POSITIONAL_OR_KEYWORD]
            given = {**dict(zip(parameters, args)), **kwargs}
            if not all(_is_plain(v) for v in given.values()):
                raise NotImplementedError(
                    f"Object {type(self).__name__} was created by passing non-serializable argument values in"
                    f" `__init__()`, and therefore the object must override `get_config()` in order to be"
                    " serializable.")
            base = {**base, **given}
        if self.activity_regularizer is not None:
            base["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return base

    @classmethod
    @checked
    def from_config(cls, config):
        """The layer of `get_config`. Raises ValueError, which names the key, for a config that it cannot come from."""
        config = dict(config)
        config.pop("quantization_config", None)
        return cls(**config)

    def _twin(self, **changes):
        """A layer of the same config with weights of its own; `changes` are arguments that differ. Classes and
        functions need not be registered."""
        known: dict[str, object] = {}
        for part in self._flatten_layers():
            for item in (part, *part._find_held()):
                if inspect.isfunction(item):
                    known[f"builtins>{item.__name__}"] = item
                elif hasattr(item, "get_config"):
                    known[f"{type(item).__module__}>{type(item).__name__}"] = type(item)
        with CustomObjectScope(known):
            config = tree.map_structure(lambda v: v._twin() if isinstance(v, Layer) else v, self._twin_config())
            return type(self).from_config({**config, **changes})

    def _twin_config(self) -> dict:
        """The arguments of a twin; objects that no plain form can be written of may stand in it."""
        return self.get_config()

    def get_build_config(self) -> dict | None:
        shapes = self._build_shapes
        return shapes if not shapes or set(shapes) == {"input_shape"} else {"shapes_dict": shapes}

    def build_from_config(self, config) -> None:
        """Builds from `get_build_config`."""
        if not config or self.built:
            return
        shapes = {k: as_shape(v) for k, v in config.get("shapes_dict", config).items()}
        if shapes != {"input_shape": None}:
            with Path(self) as path:
                build_with_shapes(self, path.full, shapes)

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def with_dtype_of(layer, arguments: dict) -> dict:
    """The arguments of a layer around `layer`, which computes in the same float dtype unless they name one."""
    dtype = getattr(layer, "_dtype", None)
    if arguments.get("dtype") is None and dtype is not None and is_float_dtype(dtype):
        return {**arguments, "dtype": dtype}
    return arguments


def axis_of(axis: int, rank: int) -> int:
    """`axis` counted from the front, for an input of that rank."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis={axis} is out of range for an input of rank {rank}.")
    return axis % rank


def _keep_mask(source, target):
    mask = getattr(source, "_keras_mask", None)
    if mask is not None:
        target._keras_mask = mask
    return target


def _is_plain(value) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    return value is None or isinstance(value, (str, int, float, bool))


def _dtype_name(dtype) -> str:
    if isinstance(dtype, dict):  # a DTypePolicy as Keras writes it
        dtype = dtype.get("config", {}).get("name")
    name = standardize_dtype(dtype)
    return name


