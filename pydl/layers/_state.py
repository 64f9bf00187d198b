"""What a layer holds: variables, sub-layers, penalties, the trainable flag."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from pydl import activations, constraints, initializers, regularizers, tree, watch
from pydl.dtype_policies import DTypePolicy
from pydl.dtypes import is_float_dtype
from pydl.metrics import Metric
from pydl.random import SeedGenerator
from pydl.reading import spend
from pydl.symbolic import SymbolicNode
from pydl.tensor import Tensor, Variable, name_scope, standardize_dtype, stored_dtype
from pydl.watch import Owner, parts_of

# Attributes that hold layers, variables or metrics without owning them.
_NOT_STATE = {"_since", "_inbound_nodes", "_init_arguments", "_nodes", "_by_depth", "_kept", "_compile_config"}


class _Added(threading.local):
    """The losses that `add_loss` has collected, by layer: those of the last call on this thread."""

    def __init__(self):
        self.losses: weakref.WeakKeyDictionary[LayerState, list] = weakref.WeakKeyDictionary()


_added = _Added()


def _held_in(value: Any, since: int) -> list[tuple[int, Any]]:
    """(since when, what) lists, tuples, dicts and sets hold, also those inside of them; each container once, as some
    hold each other. Members of a set come by their names: numbers at the end of automatic ones count up."""
    found: list[tuple[int, Any]] = []
    waiting, seen = [(since, value)], set()
    while waiting:
        since, item = waiting.pop()
        if not isinstance(item, (list, tuple, dict, set)):
            found.append((since, item))
        elif id(item) not in seen:
            seen.add(id(item))
            items = item.values() if isinstance(item, dict) else item
            if isinstance(item, set):
                items = sorted(item, key=lambda part: (len(name := str(getattr(part, "name", ""))), name))
            stamps = getattr(item, "_since", {})
            waiting += reversed([(max(since, stamps.get(id(part), 0)), part) for part in items])
    return found


class LayerState(Owner):
    """The part of `Layer` that looks after variables."""

    _no_weights: tuple[str, ...] = ()  # attributes with containers of variables that are no weights
    _built_when_made = False  # layers without weights have nothing to wait for
    _learns = False  # whether it has metrics of a training of its own

    # Set by __new__, so that a subclass may assign attributes before it calls super().__init__().
    built: bool
    _init_arguments: tuple[tuple, dict]
    _variables: list[Variable]
    _inbound_nodes: list[SymbolicNode]
    _path: str | None
    _build_shapes: dict | None
    name: str
    _dtype: str
    _trainable: bool

    def __new__(cls, *args, **kwargs):
        layer = super().__new__(cls)
        # For get_config of classes that do not write one: the arguments as given.
        object.__setattr__(layer, "_init_arguments", (args, kwargs))
        object.__setattr__(layer, "_variables", [])
        object.__setattr__(layer, "_inbound_nodes", [])
        object.__setattr__(layer, "built", cls._built_when_made)
        object.__setattr__(layer, "_path", None)
        object.__setattr__(layer, "_build_shapes", None)
        return layer

    def __setattr__(self, key, value):
        if isinstance(value, Variable):
            if not any(v is value for v in self._variables):
                self._variables.append(value)
        super().__setattr__(key, value)

    def add_weight(self, shape=None, initializer=None, dtype=None, trainable=True, autocast=True, regularizer=None,
                   constraint=None, aggregation="none", overwrite_with_gradient=False, name=None):
        """Creates a variable of the layer.

        Args:
            shape: tuple of ints; () by default.
            initializer: name, Initializer, callable `(shape, dtype)` or None (Glorot uniform for floats, else zeros).
            dtype: the layer's variable dtype by default.
            trainable: whether gradients update it.
            regularizer, constraint: names, objects or callables.
            name: last part of the variable's path.
        """
        if isinstance(shape, str):
            raise ValueError(f"{type(self).__name__}: add_weight takes the shape first; pass the name as a keyword"
                             f" argument, name={shape!r}.")
        dtype = standardize_dtype(dtype or self._dtype)
        shape = tuple(shape or ())
        if None in shape:
            raise ValueError(f"The shape of a weight must be known; received {shape} for '{name}'.")
        spend(shape, np.dtype(stored_dtype(dtype)).itemsize)
        if initializer is None:
            initializer = "glorot_uniform" if is_float_dtype(dtype) else "zeros"
        with name_scope(self._path or self.name, absolute=self._path is not None):
            variable = Variable(initializers.get(initializer), shape=shape, dtype=dtype,
                                trainable=trainable, name=name, regularizer=regularizers.get(regularizer),
                                constraint=constraints.get(constraint))
        variable.overwrite_with_gradient = overwrite_with_gradient
        if trainable and not self.trainable:
            variable.trainable = False
            object.__setattr__(variable, "_frozen_by_layer", True)
        self._variables.append(variable)
        return variable

    add_variable = add_weight

    def _weight(self, name: str, shape, kind: str | None = None, initializer=None) -> Variable:
        """A variable made as the attributes `<kind>_initializer`, `<kind>_regularizer`, `<kind>_constraint` say.

        Args:
            name: last part of the variable's path.
            shape: tuple of ints.
            kind: of the attributes; `name` by default.
            initializer: takes the attribute's place.
        """
        kind = kind or name
        return self.add_weight(name=name, shape=shape, initializer=initializer or getattr(self, f"{kind}_initializer"),
                               regularizer=getattr(self, f"{kind}_regularizer"),
                               constraint=getattr(self, f"{kind}_constraint"))

    def _while_unchanged(self, what: str, make: Callable[[], list]) -> list:
        """A copy of `make()`, a list of parts, which is kept until parts are assigned anywhere. A recording looks
        itself: it depends on what it sees."""
        if watch.watching():
            return make()
        now = watch.structure
        kept: tuple[int, dict[str, list]] | None = self.__dict__.get("_kept")
        if kept is None or kept[0] != now:
            kept = now, {}
            object.__setattr__(self, "_kept", kept)
        if what not in kept[1]:
            kept[1][what] = make()
        return kept[1][what][:]

    def _arguments(self, *names: str) -> dict[str, Any]:
        """The attributes of these names as `get_config` gives them: functions and objects in their plain form."""
        values = {name: getattr(self, name) for name in names}
        return {name: activations.serialize(value) if callable(value) else value for name, value in values.items()}

    def _own_layers(self) -> list[Any]:
        """Layers held in attributes, also inside lists, tuples, dicts and sets, in the order in which they came there
        (Keras's, on which that of weights and the layout of files rest)."""
        return self._while_unchanged("layers", self._find_own_layers)

    def _find_own_layers(self) -> list[Any]:
        return _unique([item for item in self._find_held() if isinstance(item, LayerState)])

    def _find_held(self, without: tuple[str, ...] = ()) -> list[Any]:
        """What attributes hold, also inside lists, tuples, dicts and sets, in the order in which it came there."""
        parts = parts_of(self)
        stamps, since, found = parts.get("_since", {}), 0, []
        for key, value in parts.items():
            since = stamps.get(key, since)
            if key not in _NOT_STATE and key not in without:
                found += _held_in(value, since)
        return [item for _, item in sorted(found, key=lambda pair: pair[0])]

    def _own_variables(self) -> list[Variable]:
        """Those that were assigned to attributes or made by `add_weight`, then those that lie in containers only."""
        return self._variables + self._while_unchanged("variables", self._find_variables)

    def _find_variables(self) -> list[Variable]:
        known = {id(v) for v in self._variables}
        return _unique([item for item in self._find_held(self._no_weights)
                        if isinstance(item, Variable) and id(item) not in known])

    def _flatten_layers(self, include_self=True, recursive=True) -> list[Any]:
        if not recursive:
            return [self, *self._own_layers()] if include_self else self._own_layers()
        found = self._while_unchanged("all layers", self._find_all_layers)
        return found if include_self else found[1:]

    def _find_all_layers(self) -> list[Any]:
        found: list[Any] = []
        queue: list[Any] = [self]
        seen = set()
        while queue:
            layer = queue.pop(0)
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            found.append(layer)
            queue = layer._own_layers() + queue
        return found

    def _all_metrics(self) -> list:
        """Those in attributes of this layer and of the layers in it, also inside lists, tuples, dicts and sets; a model
        among these keeps its own to itself."""
        return self._while_unchanged("metrics", lambda: _unique([
            item for layer in self._flatten_layers() if layer is self or not layer._learns
            for item in layer._find_held() if isinstance(item, Metric)]))

    def _own_seed_variables(self) -> list[Variable]:
        """States of the generators in attributes, also inside lists, tuples, dicts and sets."""
        return self._while_unchanged("seeds", lambda: [
            item.state for item in self._find_held() if isinstance(item, SeedGenerator)])

    @property
    def variables(self) -> list[Variable]:
        """Weights and the states of random generators; those of metrics are in `metrics_variables`."""
        return _unique([v for layer in self._flatten_layers()
                        for v in layer._own_variables() + layer._own_seed_variables()])

    @property
    def weights(self) -> list[Variable]:
        """Variables that make up the layer's function: own trainable, own non-trainable, then the sub-layers'."""
        return _unique(self._ordered_own_variables() + [v for layer in self._own_layers() for v in layer.weights])

    @property
    def trainable_variables(self) -> list[Variable]:
        return self.trainable_weights

    @property
    def trainable_weights(self) -> list[Variable]:
        if not self.trainable:
            return []
        own = [v for v in self._own_variables() if v.trainable]
        return _unique(own + [v for layer in self._own_layers() for v in layer.trainable_weights])

    @property
    def non_trainable_variables(self) -> list[Variable]:
        trainable = {id(v) for v in self.trainable_weights}
        return [v for v in self.variables if id(v) not in trainable]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        trainable = {id(v) for v in self.trainable_weights}
        return [v for v in self.weights if id(v) not in trainable]

    @property
    def metrics(self) -> list:
        return self._all_metrics()

    @property
    def metrics_variables(self) -> list[Variable]:
        return [v for m in self.metrics for v in m.variables]

    @property
    def trainable(self) -> bool:
        return self._trainable

    @trainable.setter
    def trainable(self, value) -> None:
        value = bool(value)
        self._trainable = value
        for v in self._own_variables():
            if not value and v.trainable:
                v.trainable = False
                object.__setattr__(v, "_frozen_by_layer", True)
            elif value and getattr(v, "_frozen_by_layer", False):
                v.trainable = True
                object.__setattr__(v, "_frozen_by_layer", False)
        for layer in self._own_layers():
            layer.trainable = value

    @property
    def dtype(self) -> str:
        return self._dtype

    variable_dtype = compute_dtype = input_dtype = dtype

    @property
    def dtype_policy(self) -> DTypePolicy:
        return DTypePolicy(self._dtype)

    @property
    def path(self) -> str:
        """Where the layer is: "model/block/dense"."""
        return self._path or self.name

    def get_weights(self) -> list[np.ndarray]:
        """Copies of the values of `weights`."""
        return [v.numpy() for v in self.weights]

    def set_weights(self, weights) -> None:
        """Assigns `weights`, in the order of `get_weights`. Nothing is assigned unless all shapes fit."""
        variables = self.weights
        if len(variables) != len(weights):
            raise ValueError(
                f"You called `set_weights(weights)` on layer '{self.name}' with a weight list of length {len(weights)},"
                f" but the layer was expecting {len(variables)} weights.")
        arrays = [np.asarray(w.data if isinstance(w, Tensor) else w) for w in weights]
        for v, a in zip(variables, arrays):
            if v.shape != a.shape:
                raise ValueError(f"Layer {self.name} weight shape {v.shape} is not compatible with provided weight"
                                 f" shape {a.shape} (variable {v.path}).")
        for v, a in zip(variables, arrays):
            v.assign(a)

    def zero_grad(self) -> None:
        """Forgets the gradients that `backward()` has added up in the `.grad` of the trainable variables."""
        for v in self.trainable_weights:
            v.grad = None

    def count_params(self) -> int:
        if not self.built:
            raise ValueError(f"You tried to call `count_params` on layer '{self.name}', but the layer isn't built."
                             " You can build it manually via: `layer.build(input_shape)`.")
        return sum(v.size for v in self.weights)

    # ---- losses ------------------------------------------------------------------------------------------------

    def add_loss(self, loss) -> None:
        """Adds scalar(s) to the training loss of the model this call belongs to."""
        for value in tree.flatten(loss):
            value = value() if callable(value) and not isinstance(value, Tensor) else value
            _added.losses.setdefault(self, []).append(value)

    @property
    def losses(self) -> list:
        """Losses added by the last call, and the penalties of regularised variables."""
        found = [value for layer in self._flatten_layers() for value in _added.losses.get(layer, ())]
        return found + [v.regularizer(v) for v in self.trainable_weights if v.regularizer is not None]

    def _clear_losses(self) -> None:
        if _added.losses:
            for layer in self._flatten_layers():
                _added.losses.pop(layer, None)

    # ---- files -------------------------------------------------------------------------------------------------

    def save_own_variables(self, store) -> None:
        """Writes the layer's own variables into a dict-like `store`, keyed "0", "1", ..."""
        for i, v in enumerate(self._ordered_own_variables()):
            store[str(i)] = v.numpy()

    def load_own_variables(self, store) -> None:
        """Reads what `save_own_variables` wrote. Nothing is assigned unless everything fits."""
        variables = self._ordered_own_variables()
        if len(store) != len(variables):
            if len(variables) == 0 and not self.built:
                raise ValueError(f"Layer '{self.name}' was never built and thus it doesn't have any variables. However"
                                 f" the weights file lists {len(store)} variables for this layer.")
            raise ValueError(f"Layer '{self.name}' expected {len(variables)} variables, but received {len(store)}"
                             f" variables during loading. Expected: {[v.name for v in variables]}")
        arrays = [np.asarray(store[str(i)]) for i in range(len(variables))]
        for v, a in zip(variables, arrays):
            if v.shape != a.shape:
                raise ValueError(f"Layer '{self.name}': variable {v.path} has shape {v.shape}; the file holds shape"
                                 f" {a.shape}.")
        for v, a in zip(variables, arrays):
            v.assign(a)

    def _ordered_own_variables(self) -> list[Variable]:
        own = self._own_variables()
        return _unique([v for v in own if v.trainable or getattr(v, "_frozen_by_layer", False)] + own)


def _unique(items) -> list:
    return list({id(x): x for x in items}.values())
