"""Whole models in the HDF5 layout of Keras 2, `model.save("x.h5")`: read by pydl, Keras 3 and Keras 2.

What Keras 2 does not know is left out where it says nothing (arguments at their defaults), and else written as Keras 3
does: a call with tensors beside its first argument, an op. The layout of the weights is that of `legacy`.
"""

from __future__ import annotations

import io
import json

import h5py
import numpy as np

from pydl import losses, metrics, process, tree
from pydl.registry import serialize_keras_object

__all__ = ["write_legacy_model"]

_VERSION = "3.15.1"  # of Keras, whose definitions hold: that of hard_sigmoid differs in Keras 2
_LIMIT = 64512  # bytes that HDF5 keeps in one attribute
_ACCURACIES = ("accuracy", "acc", "crossentropy", "ce")  # strings whose meaning the outputs decide
# Arguments that have come after Keras 2, or that not all of its versions have, with values that mean nothing.
_LATER = {"build_input_shape": ..., "flash_attention": None, "input_axes": None, "lora_alpha": None, "lora_rank": None,
          "optional": False, "output_axes": None, "quantization_config": None, "renorm": False,
          "renorm_clipping": None, "renorm_momentum": 0.99, "seed": None, "synchronized": False, "use_cudnn": "auto",
          "zero_output_for_mask": False}


def write_legacy_model(model, include_optimizer=True) -> bytes:
    """The content of the file.

    Raises:
        ValueError: for a model that is neither Sequential nor functional: the layout has no place for its parts.
    """
    if getattr(model, "_graph", None) is None and not hasattr(model, "_stack"):
        raise ValueError(f'Model "{model.name}" is a subclassed model ({type(model).__name__}), which the legacy HDF5'
                         " format has no place for: save it as `.keras`, or its weights as `.weights.h5`.")
    config = _former(serialize_keras_object(model))
    training = _training(model) if include_optimizer and model.compiled and model.optimizer is not None else None
    buffer = io.BytesIO()
    with process.uncovered(), h5py.File(buffer, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = _VERSION, "pydl"
        file.attrs["model_config"] = json.dumps(config)
        weights = file.create_group("model_weights")
        weights.attrs["keras_version"], weights.attrs["backend"] = _VERSION, "pydl"
        layers = {layer.name: layer for layer in model.layers}  # one may stand twice in a Sequential
        _write_names(weights, "layer_names", list(layers))
        for _, layer in sorted(layers.items()):
            _write(weights.create_group(layer.name), layer.trainable_weights + layer.non_trainable_weights)
        below = {id(v) for layer in model.layers for v in layer.weights}
        _write(weights.create_group("top_level_model_weights"), [v for v in model.weights if id(v) not in below])
        if training is not None:
            file.attrs["training_config"] = json.dumps(training)
            if model.optimizer.variables:
                _write(file.create_group("optimizer_weights"), model.optimizer.variables)
    return buffer.getvalue()


def _write(group, variables) -> None:
    names: dict = {}
    for v in variables:
        name, count = v.path, 0
        while name in names:
            count += 1
            name = f"{v.path}_{count}"
        names[name] = v
    _write_names(group, "weight_names", list(names))
    for name, v in names.items():
        group.create_dataset(name, data=v.numpy())


def _write_names(group, attribute: str, names: list[str]) -> None:
    """A list of names as an attribute, or as several, numbered, where they are too many for one."""
    array = np.array([name.encode() for name in names], "S") if names else np.array([], "S1")
    parts = -(-array.nbytes // (_LIMIT // 2))
    for i, part in enumerate(np.array_split(array, parts) if parts > 1 else [array]):
        group.attrs[f"{attribute}{i}" if parts > 1 else attribute] = part


# ---- configs --------------------------------------------------------------------------------------------------------


def _former(entry):
    """The entry of a layer or model as Keras 2 has it."""
    config = {key: _without_policy(value) for key, value in entry["config"].items()
              if key not in _LATER or _LATER[key] not in (value, ...)}
    if "layers" in config:
        config["layers"] = [_former(layer) for layer in config["layers"]]
    for key in ("input_layers", "output_layers"):
        if key in config and config[key] and isinstance(config[key], list) and isinstance(config[key][0], str):
            config[key] = [config[key]]
    name = entry["class_name"]
    if name == "InputLayer":
        config["batch_input_shape"] = config.pop("batch_shape")
    if _is_op(entry):
        return {**entry, "config": config}
    former = {"class_name": entry["registered_name"] or name, "config": config}
    if "shared_object_id" in entry:
        former["shared_object_id"] = entry["shared_object_id"]
    if "inbound_nodes" in entry:
        former["name"] = entry["name"]
        former["inbound_nodes"] = [_node(node) for node in entry["inbound_nodes"]]
    return former


def _is_op(entry) -> bool:
    return (entry.get("module") or "").startswith(("keras.src.ops", "pydl.ops"))


def _without_policy(value):
    """A value of a config, with the names of policies and functions in place of their configs."""
    if isinstance(value, dict) and value.get("class_name") == "DTypePolicy":
        return value["config"]["name"]
    if isinstance(value, dict) and value.get("class_name") == "function":
        name = value["registered_name"]
        return value["config"] if name == "function" else name
    return value


def _node(node):
    """A call of a layer: [[layer, node, tensor, other arguments], ...] where its first argument has all tensors."""
    args, kwargs = node["args"], {k: v for k, v in node["kwargs"].items() if v is not None}
    first = args[0] if args and isinstance(args[0], list) else args[:1]
    if len(args) != 1 or not all(_is_tensor(t) for t in first) or not _is_plain(kwargs):
        return node
    return [[*t["config"]["keras_history"], kwargs] for t in first]


def _is_tensor(value) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def _is_plain(value) -> bool:
    if isinstance(value, (list, tuple, dict)):
        inside = value.values() if isinstance(value, dict) else value
        return not (isinstance(value, dict) and "class_name" in value) and all(map(_is_plain, inside))
    return True


def _training(model) -> dict:
    """The arguments of `compile`, in names and configs that `losses.deserialize` and the like of both Keras read."""
    given = dict(model._compile_config)
    optimizer = given.pop("optimizer")
    for name, find in (("loss", _loss), ("metrics", _metric), ("weighted_metrics", _metric)):
        given[name] = tree.map_structure(find, given.get(name), none_is_leaf=False)
    given = {key: serialize_keras_object(value) for key, value in given.items()}
    return {**given, "optimizer_config": _plain(optimizer)}


def _plain(value):
    form = serialize_keras_object(value)
    return {"class_name": form["registered_name"] or form["class_name"], "config": form["config"]}


def _loss(value):
    found = losses.get(value) if isinstance(value, str) else value
    return _without_policy(serialize_keras_object(found)) if not hasattr(found, "get_config") else _plain(found)


def _metric(value):
    if value in _ACCURACIES if isinstance(value, str) else value is None:
        return value
    if isinstance(value, str):
        found = metrics.get(value)
        named = hasattr(found, "get_config")
        value = type(found).from_config({**found.get_config(), "name": value}) if named else found
    return _plain(value) if hasattr(value, "get_config") else _without_policy(serialize_keras_object(value))
