"""Weights in the HDF5 layout of Keras 1 and 2, which `model.save("x.h5")` of Keras 3 still writes.

The group (the file, or `model_weights` of a whole model) has the attribute `layer_names`; the group of a layer has
`weight_names`, the names of its data sets. A list too long for one attribute goes on in `layer_names0`, `layer_names1`.
"""

from __future__ import annotations

import collections

import h5py
import numpy as np

from pydl.configs import inside
from pydl.reading import parse_json
from pydl.registry import CustomObjectScope, deserialize_keras_object
from pydl.saving.hdf5 import array_at, attribute, subgroup
from pydl.saving.state import assign_all, is_saveable
from pydl.warning import warn

__all__ = ["is_legacy", "load_legacy_model", "load_legacy_weights"]


def is_legacy(file) -> bool:
    """Whether an open HDF5 file has this layout."""
    return any(name in group.attrs for group in (file, subgroup(file, "model_weights")) if group is not None
               for name in ("layer_names", "layer_names0"))


def _names(group, name: str) -> list[str]:
    if name in group.attrs:
        parts = [attribute(group, name)]
    else:
        parts, i = [], 0
        while (key := f"{name}{i}") in group.attrs:
            parts.append(attribute(group, key))
            i += 1
    names = [n.decode() if isinstance(n, bytes) else str(n) for part in parts for n in part]
    if len(names) != len(set(names)):
        twice = [n for n, count in collections.Counter(names).items() if count > 1]
        raise ValueError(f"`{name}` of '{group.name}' names {twice[0]!r} twice.")
    return names


def _weights(group) -> list[tuple[str, h5py.Dataset]]:
    """(name, data set) of a layer's group. Raises ValueError for what is missing or lies in another file."""
    return [(name, array_at(group, name)) for name in _names(group, "weight_names")]


def _order(layer, names: list[str], shapes) -> list:
    """The variables of `layer` in the order of the file.

    Keras writes trainable ones first; a frozen layer's as they come. A nested model with batch normalisation differs
    in both; what fits by names (or, where the file has other names, by shapes) is meant.
    """

    def leaf(name):
        return name.split("/")[-1].split(":")[0]

    weights = layer.weights
    learned = [v for v in weights if v.trainable or getattr(v, "_frozen_by_layer", False)]
    ids = {id(v) for v in learned}
    orders = [learned + [v for v in weights if id(v) not in ids], weights]
    for order in orders:
        if [v.name for v in order] == [leaf(n) for n in names] and [tuple(v.shape) for v in order] == shapes:
            return order
    return next((order for order in orders if [tuple(v.shape) for v in order] == shapes), orders[0])


def load_legacy_weights(model, file, by_name=False, skip_mismatch=False) -> None:
    """Reads weights from an open file into a built model; all or, on an error, nothing.

    Args:
        by_name: match layers by their names and leave others alone, instead of by their order.
        skip_mismatch: warn about weights of another shape instead of raising. (Layers that are too many or too few
            are an error unless they are matched by name.)

    Raises:
        ValueError: when the file does not fit; the message names the layer.
    """
    group = file if any(n in file.attrs for n in ("layer_names", "layer_names0")) else subgroup(file, "model_weights")
    if group is None:
        raise ValueError("it holds no `model_weights`.")
    saved = []
    for name in _names(group, "layer_names"):
        if (own := subgroup(group, name)) is None:
            raise ValueError(f"the file names the layer {name!r} but holds nothing of it.")
        if weights := _weights(own):
            saved.append((name, weights))
    if by_name:
        layers = {layer.name: layer for layer in model.layers}
        matched = [(layers[name], name, weights) for name, weights in saved if name in layers]
        if not matched:
            warn(f"No weights were loaded: none of the layers {', '.join(layers)} is in the file, which has"
                 f" {', '.join(name for name, _ in saved) or 'none with weights'}.")
    else:
        own = [layer for layer in {id(layer): layer for layer in model.layers}.values() if layer.weights]
        if len(own) != len(saved):
            raise ValueError(f"Layer count mismatch when loading weights from file. Model expected {len(own)} layers"
                             f" with weights, found {len(saved)} saved layers: {', '.join(n for n, _ in saved)}.")
        matched = [(layer, name, weights) for layer, (name, weights) in zip(own, saved)]
    below = {id(v) for layer in model.layers for v in layer.weights}
    if own_weights := [v.path for v in model.weights if id(v) not in below]:
        if (top := subgroup(group, "top_level_model_weights")) is not None:
            matched.append((_TopLevel(model, below), "top_level_model_weights", _weights(top)))
        elif not by_name:
            raise ValueError(f"the file has nothing for the weights that the model has beside those of its layers:"
                             f" {', '.join(own_weights)}.")
    pairs = []
    for layer, name, weights in matched:
        variables = _order(layer, [n for n, _ in weights], [w.shape for _, w in weights])
        if len(variables) != len(weights):
            message = (f"Weight count mismatch for layer '{layer.name}' (named '{name}' in the file). Layer expects"
                       f" {len(variables)} weight(s). Received {len(weights)} saved weight(s).")
            if not (skip_mismatch and by_name):
                raise ValueError(message)
            warn(f"Skipped: {message}")
            continue
        pairs += [(v, data, f"{name}: {n}") for v, (n, data) in zip(variables, weights)]
    assign_all(_without_cudnn(model, pairs), skip_mismatch)


def _without_cudnn(model, pairs) -> list:
    """`pairs` for `assign_all`, with the weights of CuDNNLSTM and CuDNNGRU of Keras 2 as those of LSTM and GRU.

    Their bias is twice as long: one half for the input and one for the state. The kernel of a gate lies transposed in
    memory, its recurrent kernel is transposed.
    """
    sources = {id(v): source for v, source, _ in pairs}
    for cell in model._flatten_layers():
        gates = getattr(cell, "gates", 1)
        parts: list = [getattr(cell, name, None) for name in ("kernel", "recurrent_kernel", "bias")]
        if gates == 1 or not all(id(v) in sources for v in parts) or getattr(cell, "reset_after", None) is False:
            continue
        kernel, recurrent, both = (sources[id(v)] for v in parts)
        if tuple(both.shape) != (2 * gates * cell.units,) or tuple(recurrent.shape) != tuple(parts[1].shape):
            continue
        halves = np.reshape(both, (2, -1))
        sources[id(parts[2])] = halves.sum(0) if parts[2].ndim == 1 else halves
        for variable, source, turned in ((parts[0], kernel, lambda k: k.reshape(k.shape[::-1]).T),
                                         (parts[1], recurrent, np.transpose)):
            sources[id(variable)] = np.hstack([turned(k) for k in np.split(np.asarray(source), gates, 1)])
    return [(v, sources[id(v)], name) for v, _, name in pairs]


class _TopLevel:
    """A model's own weights, without those of its layers, in the form of a layer."""

    def __init__(self, model, below):
        self.name = model.name
        self.weights = [v for v in model.weights if id(v) not in below]


# ---- whole models --------------------------------------------------------------------------------------------------


def _tensor(name, node=0, index=0):
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, node, index]}}


def _node(calls):
    """A call of a layer as Keras 2 writes it, [[layer, node, tensor, other arguments], ...], in the form of Keras 3."""
    if isinstance(calls, dict):
        return modern(calls)
    inputs = [_tensor(*call[:3]) for call in calls]
    return {"args": inputs if len(inputs) == 1 else [inputs], "kwargs": modern(dict(*calls[0][3:]))}


def modern(config, module="keras"):
    """A config of Keras 1 or 2 in the form that `deserialize_keras_object` reads; `module` is where its classes are."""
    if isinstance(config, (list, tuple)):
        return [modern(item, module) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "__tuple__":
        return tuple(modern(item, module) for item in config["items"])
    new = {key: [_node(n) for n in value] if key == "inbound_nodes" else modern(value, module)
           for key, value in config.items()}
    if "class_name" not in config or not isinstance(new.get("config"), (dict, list)):
        return new
    name = str(config["class_name"])
    if name == "Model":  # so called before Keras 2.3
        new["class_name"] = "Functional"
    if isinstance(new["config"], list):  # Sequential before Keras 2.2.3: the layers alone
        new["config"] = {"layers": new["config"]}
    inner = new["config"]
    if shape := inner.pop("batch_input_shape", None):
        if name == "InputLayer":
            inner["batch_shape"] = shape
    if name == "BatchNormalization" and isinstance(inner.get("axis"), list):
        inner["axis"] = inner["axis"][0]
    if not name.startswith("__"):
        new.setdefault("module", module)
    return new


def _with_former_meanings(config):
    """A config of Keras 1 or 2, with what had another meaning or name there under the name it has here."""
    if isinstance(config, (list, tuple)):
        return [_with_former_meanings(item) for item in config]
    if not isinstance(config, dict):
        return config
    new = {key: _with_former_meanings(value) for key, value in config.items()}
    for key in ("activation", "recurrent_activation"):
        if new.get(key) == "hard_sigmoid":
            new[key] = "hard_sigmoid_of_keras_2"
    name, inner = new.get("class_name"), new.get("config")
    if name in ("GRU", "GRUCell", "CuDNNGRU") and isinstance(inner, dict):
        inner.setdefault("reset_after", name == "CuDNNGRU")  # before Keras 2.1.5 it was False, and not written
    if name in ("CuDNNGRU", "CuDNNLSTM"):
        new["class_name"] = name.removeprefix("CuDNN")
    return new


def _is_before_3(file) -> bool:
    """Whether an older Keras than 3 has written a file."""
    version = attribute(file, "keras_version")
    version = version.decode() if isinstance(version, bytes) else str(version or "1")
    return version.split(".")[0] in ("0", "1", "2")


def _json(file, name):
    value = attribute(file, name)
    return None if value is None else parse_json(value, f"`{name}`")


def load_legacy_model(file, custom_objects=None, compile=True):
    """The model of an open file that `model.save("x.h5")` of Keras 2 or 3 wrote.

    Raises:
        ValueError: when the file holds weights alone, or something that pydl does not know.
    """
    config = _json(file, "model_config")
    if config is None:
        raise ValueError("it holds weights without a model; build the model and call `load_weights`.")
    if not isinstance(config, dict) or not isinstance(config.get("config"), (dict, list)):
        raise ValueError("it is damaged: `model_config` describes no model.")
    with inside(config):
        given, form = _first_shape(config), modern(_with_former_meanings(config) if _is_before_3(file) else config)
    with CustomObjectScope(custom_objects):
        model = deserialize_keras_object(form, custom_objects)
    if not is_saveable(model):
        raise ValueError(f"`model_config` describes no model, but {model!r}"[:200])
    if not model.built and given is not None:
        model.build(tuple(given))
    load_legacy_weights(model, file)
    training = _json(file, "training_config") if compile else None
    if training is not None:
        known = ("loss", "loss_weights", "metrics", "weighted_metrics", "run_eagerly", "steps_per_execution",
                 "jit_compile")
        with CustomObjectScope(custom_objects), inside(training):
            modules = {"loss": "keras.losses", "metrics": "keras.metrics", "weighted_metrics": "keras.metrics"}
            model.compile_from_config({"optimizer": modern(training["optimizer_config"], "keras.optimizers"),
                                       **{key: modern(training[key], modules.get(key, "keras"))
                                          for key in known if key in training}})
        if model.optimizer is not None:
            _load_optimizer(model.optimizer, subgroup(file, "optimizer_weights"))
    return model


def _first_shape(config):
    """The input shape of a Sequential model of Keras 2, which stands at its first layer."""
    layers = config["config"] if isinstance(config["config"], list) else config["config"].get("layers", [])
    return layers[0]["config"].get("batch_input_shape") if config["class_name"] == "Sequential" and layers else None


def _load_optimizer(optimizer, group) -> None:
    if group is None:
        return
    try:
        optimizer.load_own_variables({str(i): data for i, (_, data) in enumerate(_weights(group))})
    except ValueError as error:
        warn(f"The state of the optimizer was not restored, it starts afresh: {error}")
