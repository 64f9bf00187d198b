"""One call of a layer: the arguments on their way to `call`, and what nested calls share."""

from __future__ import annotations

import functools
import inspect
import threading
from typing import Any

import numpy as np

from pydl import _core, tree
from pydl.symbolic import KerasTensor
from pydl.tensor import Tensor, current_path, from_numpy, name_scope


def is_tensor(x) -> bool:
    return isinstance(x, (Tensor, KerasTensor, np.ndarray))


def holds_tensors(structure) -> bool:
    return any(is_tensor(x) for x in tree.flatten(structure))


def shapes_of(structure):
    """The structure with the shape in the place of each tensor, None in that of anything else."""
    if structure is None:
        return None
    return tree.map_structure(lambda x: tuple(x.shape) if hasattr(x, "shape") else None, structure)


def masks_of(structure):
    """The structure with the mask in the place of each tensor that has one, None in that of anything else."""
    if isinstance(structure, Tensor):  # the common case, kept cheap
        return getattr(structure, "_keras_mask", None)
    return tree.map_structure(lambda x: getattr(x, "_keras_mask", None), structure)


def mask_of(x):
    """The mask that a tensor carries."""
    return x._keras_mask


def any_mask(masks) -> bool:
    return masks is not None and any(mask is not None for mask in tree.flatten(masks))


class CallSignature:
    """What the `call` of a class takes.

    Attributes:
        places: parameter -> position, in order, without `self`, `*args` and `**kwargs`.
        defaults: parameter -> default, of those that have one.
        takes_any: whether arguments of other names are taken, by `**kwargs`.
        masks: (parameter, source): the parameter `query_mask` takes the mask of the argument `query`.
    """

    def __init__(self, call):
        parameters = [p for name, p in inspect.signature(call).parameters.items() if name != "self"]
        self.takes_any = any(p.kind == p.VAR_KEYWORD for p in parameters)
        named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        self.places = {p.name: place for place, p in enumerate(named)}
        self.defaults = {p.name: p.default for p in named if p.default is not p.empty}
        sources = [(p.name, p.name.removesuffix("_mask")) for p in named[1:] if p.name.endswith("_mask")]
        self.masks = [(name, source) for name, source in sources if self.takes_any or source in self.places]


@functools.lru_cache(maxsize=1024)
def _signature_of(call) -> CallSignature:
    return CallSignature(call)


def call_signature(layer) -> CallSignature:
    """The signature of the class's `call`."""
    return _signature_of(type(layer).call)


class CallSpec:
    """The arguments of one call of a layer, on their way to `call`.

    Attributes:
        layer: what is called.
        signature: of its `call`.
        args, kwargs: as given at first; each step below changes them.
    """

    __slots__ = ("args", "kwargs", "layer", "signature")

    def __init__(self, layer, args: tuple, kwargs: dict[str, Any]):
        self.layer = layer
        self.signature = call_signature(layer)
        self.args = args
        self.kwargs = kwargs

    def value(self, name: str):
        """What was given for a parameter, by name or by place; None when nothing was."""
        if name in self.kwargs:
            return self.kwargs[name]
        place = self.signature.places.get(name, len(self.args))
        return self.args[place] if place < len(self.args) else None

    def set(self, name: str, value) -> None:
        """Puts a value in a parameter's place."""
        place = self.signature.places[name]
        if place < len(self.args):
            self.args = (*self.args[:place], value, *self.args[place + 1:])
        else:
            self.kwargs[name] = value

    @property
    def first(self):
        """The argument of the first parameter: the inputs of nearly every layer. None without arguments."""
        if self.args:
            return self.args[0]
        for name in self.signature.places:
            if name in self.kwargs:
                return self.kwargs[name]
        return next(iter(self.kwargs.values()), None)

    def convert(self) -> None:
        """Arrays become tensors, and floats get the layer's dtype; flags stay what they are, masks keep their dtype.

        Raises:
            ValueError: for what is no tensor in a tensor's place.
        """
        convert = self.layer._convert
        self.args = tuple([convert(value) for value in self.args])
        self.refuse_settings_by_place()
        if self.kwargs:
            self.kwargs = {name: value if name == "training" else _as_mask(value) if name == "mask" else convert(value)
                           for name, value in self.kwargs.items()}

    def refuse_settings_by_place(self) -> None:
        """Flags and numbers are given by name: by place they are taken for tensors, whose shapes a layer is built by.

        Raises:
            ValueError: for one among the arguments by place.
        """
        if self.layer.on_host or self.layer._builds_itself:  # strings; a model hands its arguments on
            return
        for value in self.args:
            if not isinstance(value, (Tensor, KerasTensor)) and value is not None:
                for x in tree.flatten(value):
                    if isinstance(x, (bool, int, float, str)):
                        raise ValueError(f"Layer '{self.layer.name}': Only input tensors may be passed as positional"
                                         f" arguments; pass {x!r} (of type {type(x).__name__}) as a keyword argument.")

    def require_tensors(self) -> None:
        """A layer that is yet to be built takes shapes from its arguments.

        Raises:
            TypeError, ValueError: when there are none.
        """
        if "inputs" not in self.signature.places or holds_tensors([self.args, self.kwargs]):
            return
        if not self.args and not self.kwargs:
            raise TypeError(f"Layer '{self.layer.name}' was called without inputs.")
        received = self.first
        raise ValueError(f"Layer '{self.layer.name}' expected an array or tensor; received {received!r} (of type"
                         f" {type(received).__name__}).")

    def shapes(self) -> dict[str, Any]:
        """`<parameter>_shape` -> shape, or structure of shapes, of every argument that holds tensors."""
        given = {**dict(zip(self.signature.places, self.args)), **self.kwargs}
        return {f"{name}_shape": shapes_of(value) for name, value in given.items() if holds_tensors(value)}

    def resolve_context(self) -> None:
        """The flag `training` is what the caller said, else the one of the call around, else the default; inner calls
        see it. So do they what `_register_call_context_args` names. A `call` that does not take it is spared it."""
        signature, training = self.signature, self.value("training")
        if training is None:
            training = _context.training
        if "training" in signature.places:
            if training is None:
                training = signature.defaults.get("training") or False
            if self.value("training") is None:
                self.set("training", bool(training))
        elif not signature.takes_any:
            self.kwargs.pop("training", None)
        _context.training = training
        if len(self.layer._call_context_args) > 1:
            self._resolve_others()

    def _resolve_others(self) -> None:
        for name in self.layer._call_context_args[1:]:
            value = self.value(name)
            if value is None:
                value = _context.others.get(name, self.signature.defaults.get(name))
            if name not in self.signature.places:
                self.kwargs.pop(name, None)
            elif value is not None:
                self.set(name, value)
            _context.others = {**_context.others, name: value}

    def resolve_masks(self) -> Any:
        """Where `call` takes masks that the caller did not give, those that the arguments carry are put: `mask`, and
        `<argument>_mask` of any argument.

        Returns:
            The mask of the first argument, or the structure of its masks: what was given as `mask`, else those it has.
        """
        signature = self.signature
        for name, source in signature.masks:
            if name not in self.kwargs and signature.places[name] >= len(self.args):
                masks = masks_of(self.value(source))
                if masks is not None:
                    self.kwargs[name] = masks
        if "mask" not in signature.places:
            return masks_of(self.first)
        given = self.value("mask")
        if given is None:
            given = masks_of(self.first)
            if given is not None:
                self.set("mask", given)
        return given


def _as_mask(structure):
    """Arrays in it as tensors of their dtype."""
    return tree.map_structure(lambda x: from_numpy(x) if isinstance(x, np.ndarray) else x, structure)


class _Context(threading.local):
    """What nested calls share: how deep they are, the training flag, and other arguments that reach inner calls."""

    def __init__(self):
        self.depth = 0
        self.training = None
        self.others: dict[str, Any] = {}


_context = _Context()


class Path(name_scope):
    """Name scope of a layer that also knows the whole path."""

    def __init__(self, layer):
        super().__init__(layer._path or layer.name, absolute=layer._path is not None)

    def __enter__(self):
        super().__enter__()
        self.full = current_path()
        return self


class Frame(Path):
    """Context of one call: names of variables, label of recorded steps, depth, training flag; errors that leave it
    tell where they come from."""

    def __init__(self, spec: CallSpec):
        super().__init__(spec.layer)
        self.spec = spec

    def __enter__(self):
        super().__enter__()
        self._label = _core.set_label(self.full)
        self._training, self._others = _context.training, _context.others
        if _context.depth == 0:
            self.spec.layer._clear_losses()
        _context.depth += 1
        return self

    def __exit__(self, kind, error, trace):
        _context.depth -= 1
        _context.training, _context.others = self._training, self._others
        _core.set_label(self._label)
        super().__exit__(kind, error, trace)
        if isinstance(error, (TypeError, ValueError)):
            _name_the_layer(error, self.spec)


def _name_the_layer(error, spec: CallSpec) -> None:
    """Puts the layer and its input shapes into the message of an error; the innermost layer does it."""
    if getattr(error, "_names_layer", False) or len(error.args) != 1 or not isinstance(error.args[0], str):
        return
    error._names_layer = True
    message, name = error.args[0], spec.layer.name
    if not any(f"{quote}{name}{quote}" in message for quote in "\"'"):
        shapes = ", ".join(str(shapes_of(value)) for value in spec.args if holds_tensors(value))
        error.args = (f'{type(spec.layer).__name__} "{name}": {message} Received input shape {shapes or "()"}.',)
