"""Layer: `build` and `call`, masks, the training flag, configuration; and InputSpec."""

from __future__ import annotations

import functools
import inspect
import threading

import numpy as np

from pydl import _core, ops, regularizers, tree
from pydl.dtype_policies import serialize as serialize_policy
from pydl.layers._state import LayerState
from pydl.registry import auto_name, to_snake_case
from pydl.symbolic import KerasTensor, SymbolicNode, infer, is_symbolic
from pydl.tensor import Tensor, Variable, current_path, from_numpy, holds_strings, name_scope, standardize_dtype

__all__ = ["InputSpec", "Layer"]


class InputSpec:
    """What a layer demands of an input: dtype, rank, fixed dimensions.

    Args:
        dtype: expected dtype name.
        shape: expected shape, None for free dimensions.
        ndim, max_ndim, min_ndim: expected rank, or its bounds.
        axes: dict axis -> size.
        allow_last_axis_squeeze: accept a missing or extra last axis of size 1.
        name: key in a dict input.
        optional: whether None may be passed.
    """

    def __init__(self, dtype=None, shape=None, ndim=None, max_ndim=None, min_ndim=None, axes=None,
                 allow_last_axis_squeeze=False, name=None, optional=False):
        self.dtype = None if dtype is None else standardize_dtype(dtype)
        self.shape = None if shape is None else tuple(shape)
        self.ndim = len(self.shape) if self.shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = {int(k): v for k, v in (axes or {}).items()}
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        self.name = name
        self.optional = optional

    def __repr__(self):
        parts = [f"{k}={v}" for k, v in vars(self).items() if v not in (None, {}, False)]
        return f"InputSpec({', '.join(parts)})"

    def get_config(self) -> dict:
        return {k: getattr(self, k) for k in ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")}

    @classmethod
    def from_config(cls, config) -> InputSpec:
        return cls(**config)

    def problem(self, shape) -> str | None:
        """What is wrong with an input of `shape`, as the end of a sentence; None when it fits."""
        rank = len(shape)
        if self.ndim is not None and rank != self.ndim:
            return f"expected ndim={self.ndim}, found ndim={rank}"
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"expected max_ndim={self.max_ndim}, found ndim={rank}"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"expected min_ndim={self.min_ndim}, found ndim={rank}"
        for axis, size in self.axes.items():
            if size is not None and shape[axis] is not None and shape[axis] != size:
                return f"expected axis {axis} of input shape to have value {size}, but received {shape[axis]}"
        if self.shape is not None:
            for want, got in zip(self.shape, shape):
                if want is not None and got is not None and want != got:
                    return f"expected shape={self.shape}, found shape={tuple(shape)}"
        return None


class CallContext(threading.local):
    """What nested layer calls share: the training flag and the losses added on the way."""

    def __init__(self):
        self.depth = 0
        self.training = None


_context = CallContext()


@functools.lru_cache(maxsize=1024)
def _signature(function):
    return inspect.signature(function)


def _call_parameters(layer) -> dict:
    """Names of `call`'s parameters -> default, for the class (cached)."""
    return {name: p.default for name, p in _signature(type(layer).call).parameters.items()
            if name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def _shape_of(x):
    if x is None:
        return None
    return tree.map_structure(lambda t: tuple(t.shape) if hasattr(t, "shape") else None, x)


def _marks_built(build):
    """`build` of a class, after which a layer is built also when it was called directly."""

    @functools.wraps(build)
    def marked(self, *args, **kwargs):
        outermost = getattr(type(self).build, "__wrapped__", None) is build  # not by way of super()
        if not outermost or self._path is not None:
            build(self, *args, **kwargs)
        else:
            with _Path(self.name) as path:
                object.__setattr__(self, "_path", path.full)
                build(self, *args, **kwargs)
        if outermost:
            if self._build_shapes is None and (args or kwargs):
                object.__setattr__(self, "_build_shapes", kwargs or {"input_shape": args[0]})
            object.__setattr__(self, "built", True)

    return marked


def _is_tensor(x) -> bool:
    return isinstance(x, (Tensor, KerasTensor, np.ndarray))


class Layer(LayerState):
    """A function with state: the base of every layer and model.

    Subclasses write `__init__`, `build(input_shape)` (make variables with `add_weight`), `call(inputs, ...)` and
    `get_config()`. `call` may take `training` and `mask`; both arrive by themselves.

    Args:
        activity_regularizer: callable on the output whose value, divided by the batch size, joins the loss.
        trainable: whether gradients update the layer's variables.
        dtype: of variables and computation, `config.floatx()` by default.
        autocast: cast float inputs to the compute dtype.
        name: unique in a model; made from the class name by default.
    """

    _name_in_files: str | None = None  # where Keras has another name for a class than for what it exports
    _builds_itself = False  # models look after `built` themselves
    on_host = False  # runs in Python, on strings for example: in a model, before the recorded steps

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls) and not cls._builds_itself:
            cls.build = _marks_built(cls.build)

    def __init__(self, *, activity_regularizer=None, trainable=True, dtype=None, autocast=True, name=None, **kwargs):
        input_dim = kwargs.pop("input_dim", None)
        input_shape = kwargs.pop("input_shape", (input_dim,) if input_dim is not None else None)
        if kwargs:
            raise ValueError(f"Unrecognized keyword arguments passed to {type(self).__name__}: {kwargs}")
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError("Argument `name` must be a string and cannot contain character `/`."
                             f" Received: name={name}")
        self.name = name or auto_name(to_snake_case(self._name_in_files or type(self).__name__))
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self._trainable = bool(trainable)
        self._dtype = _dtype_name(dtype)
        self.autocast = autocast
        self.input_spec = None
        self.supports_masking = False
        if input_shape is not None:  # Sequential turns it into an Input
            self._declared_input_shape = tuple(input_shape)

    # ---- build and call ----------------------------------------------------------------------------------------

    def build(self, input_shape=None) -> None:
        """Makes the variables. Called once, before the first `call`, with the shape of the first input (or, when the
        parameters are named `<argument>_shape`, the shapes of those arguments)."""
        self._is_default_build = True

    def call(self, *args, **kwargs):
        raise NotImplementedError(f"Layer {type(self).__name__} does not have a `call()` method implemented.")

    def __call__(self, *args, **kwargs):
        if "_trainable" not in self.__dict__:
            raise RuntimeError(f"In layer {type(self).__name__}, you forgot to call `super().__init__()` as the first"
                               " statement in the `__init__()` method.")
        if is_symbolic(*args, **kwargs):
            return self._symbolic_call(args, kwargs)
        args = tuple(self._convert(a) for a in args)
        kwargs = {k: self._convert(v) if k not in ("training", "mask") else v for k, v in kwargs.items()}
        self._check_input(args, kwargs)
        with _Path(self._path or self.name, absolute=self._path is not None) as path:
            if not self.built:
                self._check_given(args, kwargs)
                self._build_or_name(path.full, args, kwargs)
            label = _core.set_label(self._path or path.full)
            context = _context
            outer_training = context.training
            try:
                if context.depth == 0:
                    self._clear_losses()
                context.depth += 1
                self._fill_in_arguments(args, kwargs)
                context.training = kwargs.get("training", context.training)
                if "training" in kwargs and "training" not in _call_parameters(self) and not _takes_any(self):
                    kwargs.pop("training")
                outputs = self.call(*args, **kwargs)
                self._set_mask(args, kwargs, outputs)
                if self.activity_regularizer is not None:
                    for y in tree.flatten(outputs):
                        self.add_loss(self.activity_regularizer(y) / y.shape[0])
            except (TypeError, ValueError) as error:
                _name_the_layer(error, self, args)
                raise
            finally:
                context.depth -= 1
                context.training = outer_training
                _core.set_label(label)
        return outputs

    def _symbolic_call(self, args, kwargs):
        self._check_input(args, kwargs)
        if not self.built and not self._builds_itself:  # with None for unknown axes, which a dry run does not have
            with _Path(self._path or self.name, absolute=self._path is not None) as path:
                self._build_or_name(path.full, args, kwargs)
        outputs = infer(self._infer_call, args, kwargs)
        node = SymbolicNode(self, args, kwargs, outputs)
        self._inbound_nodes.append(node)
        return outputs

    def _infer_call(self, *args, **kwargs):
        outputs = self(*args, **kwargs)
        self._clear_losses()
        return outputs

    def _convert(self, value):
        if isinstance(value, Tensor):
            if self.autocast and value.data.dtype.kind == "f" and value.dtype != self._dtype:
                return _keep_mask(value, ops.cast(value, self._dtype))
            return value
        if isinstance(value, np.ndarray):
            return value if holds_strings(value) else self._convert(from_numpy(value))
        if isinstance(value, (list, tuple, dict)) and any(_is_tensor(x) for x in tree.flatten(value)):
            return tree.map_structure(self._convert, value)
        if isinstance(value, list) and value and not any(callable(x) or isinstance(x, str)
                                                         for x in tree.flatten(value)):
            return self._convert(from_numpy(np.asarray(value)))  # a nested list of numbers
        return value

    def _check_input(self, args, kwargs) -> None:
        if self.input_spec is None or not (args or kwargs):
            return
        specs = tree.flatten(self.input_spec)
        inputs = tree.flatten(args[0] if args else next(iter(kwargs.values())))
        if len(specs) != len(inputs):
            raise ValueError(f'Layer "{self.name}" expects {len(specs)} input(s), but it received {len(inputs)} input'
                             f" tensors.")
        for i, (spec, x) in enumerate(zip(specs, inputs)):
            problem = spec.problem(x.shape) if spec is not None and hasattr(x, "shape") else None
            if problem:
                which = "" if len(specs) == 1 else f" {i}"
                raise ValueError(f'Input{which} of layer "{self.name}" is incompatible with the layer: {problem}.'
                                 f" Full shape received: {tuple(x.shape)}")

    def _check_given(self, args, kwargs) -> None:
        """A layer that is yet to be built needs an array to take shapes from."""
        if "inputs" in _call_parameters(self) and not any(_is_tensor(x) for x in tree.flatten([args, kwargs])):
            if not args and not kwargs:
                raise TypeError(f"Layer '{self.name}' was called without inputs.")
            received = args[0] if args else next(iter(kwargs.values()))
            raise ValueError(f"Layer '{self.name}' expected an array or tensor; received {received!r} (of type"
                             f" {type(received).__name__}).")

    def _build_or_name(self, path: str, args, kwargs) -> None:
        try:
            self._maybe_build(path, args, kwargs)
        except (TypeError, ValueError) as error:
            _name_the_layer(error, self, args)
            raise

    def _maybe_build(self, path: str, args, kwargs) -> None:
        object.__setattr__(self, "_path", path)
        names = list(_call_parameters(self))
        given = dict(zip(names, args))
        given.update({k: v for k, v in kwargs.items() if any(_is_tensor(x) for x in tree.flatten(v))})
        shapes = {f"{k}_shape": _shape_of(v) for k, v in given.items()
                  if any(_is_tensor(x) for x in tree.flatten(v))}
        parameters = [n for n, p in _signature(type(self).build).parameters.items()
                      if n != "self" and p.kind != p.VAR_KEYWORD]
        if len(parameters) > 1 or (parameters and parameters[0] in shapes and parameters[0] != "input_shape"):
            chosen = {n: shapes[n] for n in parameters if n in shapes}
            object.__setattr__(self, "_build_shapes", chosen)
            self.build(**chosen)
        else:
            shape = next(iter(shapes.values()), None)
            object.__setattr__(self, "_build_shapes", {"input_shape": shape})
            self.build(shape)
        object.__setattr__(self, "built", True)

    def _fill_in_arguments(self, args, kwargs) -> None:
        """Adds `training` and `mask` where `call` takes them and the caller did not give them."""
        parameters = _call_parameters(self)
        names = list(parameters)
        if "training" in parameters and names.index("training") >= len(args) and kwargs.get("training") is None:
            inherited = _context.training
            default = parameters["training"]
            kwargs["training"] = bool(inherited if inherited is not None else default or False)
        if "mask" in parameters and names.index("mask") >= len(args) and kwargs.get("mask") is None and args:
            masks = tree.map_structure(lambda t: getattr(t, "_keras_mask", None), args[0])
            if any(m is not None for m in tree.flatten(masks)):
                kwargs["mask"] = masks
        for name in names[1:]:
            if name.endswith("_mask") and name not in kwargs and names.index(name) >= len(args):
                source = name[: -len("_mask")]
                value = kwargs.get(source) if source in kwargs else (
                    args[names.index(source)] if source in names and names.index(source) < len(args) else None)
                mask = getattr(value, "_keras_mask", None)
                if mask is not None:
                    kwargs[name] = mask

    def _set_mask(self, args, kwargs, outputs) -> None:
        if not self.supports_masking and type(self).compute_mask is Layer.compute_mask:
            return
        if not args:
            return
        previous = tree.map_structure(lambda t: getattr(t, "_keras_mask", None), args[0])
        flat = tree.flatten(previous)
        if type(self).compute_mask is Layer.compute_mask and all(m is None for m in flat):
            return
        masks = self.compute_mask(args[0], previous)
        outputs = tree.flatten(outputs)
        masks = tree.flatten(masks) if masks is not None else []
        for y, m in zip(outputs, masks):
            if m is not None and isinstance(y, Tensor) and not isinstance(y, Variable):
                y._keras_mask = m

    def compute_mask(self, inputs, previous_mask):
        """The mask of the output; by default the input's goes through."""
        return previous_mask

    def compute_output_shape(self, *args, **kwargs):
        """Shape of the output for inputs of the given shape(s), None for unknown dimensions."""
        def symbolic(shape):
            return KerasTensor(shape, self._dtype)

        def is_shape(s):
            return isinstance(s, (tuple, list)) and all(d is None or isinstance(d, (int, np.integer)) for d in s)

        def convert(s):
            if is_shape(s):
                return symbolic(s)
            return {k: convert(v) for k, v in s.items()} if isinstance(s, dict) else [convert(x) for x in s]

        kwargs = {k.removesuffix("_shape"): convert(v) for k, v in kwargs.items()}
        if "input" in kwargs:
            args, kwargs = (*args, ), {k: v for k, v in kwargs.items() if k != "input"} | {
                next(iter(_call_parameters(self))): kwargs["input"]}
        outputs = infer(self._infer_call, tuple(convert(a) for a in args), kwargs)
        return tree.map_structure(lambda t: t.shape, outputs)

    def compute_output_spec(self, *args, **kwargs):
        """KerasTensor(s) of the output for KerasTensor inputs, without adding a node."""
        return infer(self._infer_call, args, kwargs)

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
            parameters = [n for n, p in _signature(type(self).__init__).parameters.items()
                          if n != "self" and p.kind == p.POSITIONAL_OR_KEYWORD]
            given = {**dict(zip(parameters, args)), **kwargs}
            if not all(_is_plain(v) for v in given.values()):
                raise NotImplementedError(
                    f"Object {type(self).__name__} was created by passing non-serializable argument values in"
                    f" `__init__()`, and therefore the object must override `get_config()` in order to be"
                    " serializable.")
            return {**base, **given}
        if self.activity_regularizer is not None:
            base["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return base

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config.pop("quantization_config", None)
        try:
            return cls(**config)
        except TypeError as error:
            raise TypeError(f"Error when deserializing class '{cls.__name__}' using config={config}.\n\n"
                            f"{error}") from error

    def get_build_config(self) -> dict | None:
        shapes = self._build_shapes
        return shapes if not shapes or set(shapes) == {"input_shape"} else {"shapes_dict": shapes}

    def build_from_config(self, config) -> None:
        """Builds from `get_build_config`."""
        if not config or self.built:
            return
        shapes = {k: _as_shape(v) for k, v in config.get("shapes_dict", config).items()}
        with _Path(self.name) as path:
            object.__setattr__(self, "_path", path.full)
            object.__setattr__(self, "_build_shapes", shapes)
            if set(shapes) == {"input_shape"}:
                if shapes["input_shape"] is None:
                    return
                self.build(shapes["input_shape"])
            else:
                self.build(**shapes)
        object.__setattr__(self, "built", True)

    def __repr__(self):
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


class _Path(name_scope):
    """Name scope that also knows the whole path."""

    def __enter__(self):
        super().__enter__()
        self.full = current_path()
        return self


def axis_of(axis: int, rank: int) -> int:
    """`axis` counted from the front, for an input of that rank."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis={axis} is out of range for an input of rank {rank}.")
    return axis % rank


def _name_the_layer(error, layer, args) -> None:
    """Puts the layer and its input shapes into the message of an error from `build` or `call`; the innermost layer
    does it."""
    if getattr(error, "_names_layer", False) or len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    error._names_layer = True
    message = error.args[0]
    if not any(f"{quote}{layer.name}{quote}" in message for quote in "\"'"):
        shapes = ", ".join(str(_shape_of(a)) for a in args if any(_is_tensor(x) for x in tree.flatten(a)))
        error.args = (f'{type(layer).__name__} "{layer.name}": {message} Received input shape {shapes or "()"}.',)


def _takes_any(layer) -> bool:
    return any(p.kind == p.VAR_KEYWORD for p in _signature(type(layer).call).parameters.values())


def _keep_mask(source, target):
    mask = getattr(source, "_keras_mask", None)
    if mask is not None:
        target._keras_mask = mask
    return target


def _as_shape(value):
    """JSON turns tuples into lists: back."""
    if isinstance(value, dict):
        return {k: _as_shape(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        if all(d is None or isinstance(d, int) for d in value):
            return tuple(value)
        return [_as_shape(v) for v in value]
    return value


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


