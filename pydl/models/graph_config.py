"""The plain form of a functional model's graph, as Keras 3 writes it to config.json, and the way back."""

from __future__ import annotations

import inspect

from pydl import ops, tree
from pydl.layers.core import InputLayer
from pydl.registry import deserialize_keras_object, serialize_keras_object, to_snake_case
from pydl.symbolic import KerasTensor, OpCall, SymbolicNode

# Keras keeps an op's arguments in two places: those of the Operation's `call` at the node, the others in its config.
# At the node are x1, x2 of binary ops, every argument that holds a tensor, the first argument, and these.
_AT_NODE = {
    "digitize": {"bins"}, "einsum": {"operands"}, "getitem": {"key"}, "pad": {"constant_values"}, "quantile": {"q"},
    "searchsorted": {"values"}, "slice": {"start_indices"}, "slice_update": {"start_indices", "updates"},
    "scatter_update": {"indices", "updates"}, "take": {"indices"}, "take_along_axis": {"indices"},
    "isclose": {"rtol", "atol"}, "full_like": {"fill_value"},
}
_CLASS_NAMES = {"getitem": "GetItem", "searchsorted": "SearchSorted"}
_FUNCTION_NAMES = {cls: name for name, cls in _CLASS_NAMES.items()}
_MODULES = {
    "keras.src.ops.core": {"cast", "convert_to_tensor", "scatter", "scatter_update", "slice", "slice_update",
                           "stop_gradient", "unstack"},
    "keras.src.ops.linalg": {"norm"},
    "keras.src.ops.math": {"erf", "in_top_k", "logsumexp", "rsqrt", "segment_max", "segment_sum", "top_k"},
    "keras.src.ops.nn": {
        "binary_crossentropy", "categorical_crossentropy", "celu", "elu", "gelu", "glu", "hard_shrink", "hard_sigmoid",
        "hard_silu", "hard_tanh", "leaky_relu", "log_sigmoid", "log_softmax", "moments", "multi_hot", "normalize",
        "one_hot", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax", "softplus", "softsign",
        "sparse_categorical_crossentropy", "sparse_plus", "squareplus", "tanh_shrink", "threshold"},
    # Keras has no Operation of these: only pydl reads them.
    "pydl.ops": {
        "batch_normalization", "dense", "embedding", "ewma", "flatten", "group_normalization", "hard_swish",
        "layer_normalization", "masked_softmax", "mish", "prelu", "relu_general", "rms_normalization", "sum_to_shape",
        "swish"},
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


# ---- to the plain form ----------------------------------------------------------------------------------------------


def graph_config(model) -> dict:
    """Layers, ops and their connections. Raises ValueError when the graph holds what no file can hold."""
    graph = model._graph
    names = {id(op): op.name for op in graph.operations}

    def reference(t):
        kept = [n for n in graph.nodes if n.operation is t.node.operation]
        return [names[id(t.node.operation)], kept.index(t.node), t.index]

    def plain(x):
        if isinstance(x, KerasTensor):
            return {"class_name": "__keras_tensor__",
                    "config": {"shape": list(x.shape), "dtype": x.dtype, "keras_history": reference(x)}}
        if isinstance(x, (list, tuple)):
            return [plain(v) for v in x]
        if isinstance(x, dict):
            return {k: plain(v) for k, v in x.items()}
        return serialize_keras_object(x)

    def ends(structure):
        if isinstance(structure, KerasTensor):
            return reference(structure)
        if isinstance(structure, dict):
            return {k: ends(v) for k, v in structure.items()}
        return [ends(t) for t in structure]

    given = {id(t.node) for t in graph.input_tensors}
    layers = []
    for op in graph.operations:
        nodes = [n for n in graph.nodes if n.operation is op]
        calls = [] if all(id(n) in given for n in nodes) else [(n.args, n.kwargs) for n in nodes]
        if isinstance(op, OpCall):
            entry, *calls = _op_entry(op, nodes[0])
        elif not calls and not isinstance(op, InputLayer):  # an inner tensor serves as the input
            t = nodes[0].outputs
            entry = serialize_keras_object(InputLayer(batch_shape=t.shape, dtype=t.dtype, name=op.name))
        else:
            entry = serialize_keras_object(op)
        entry["name"] = op.name
        entry["inbound_nodes"] = [{"args": plain(list(args)), "kwargs": plain(kwargs)} for args, kwargs in calls]
        layers.append(entry)
    return {"name": model.name, "trainable": model.trainable, "layers": layers,
            "input_layers": ends(graph.inputs), "output_layers": ends(graph.outputs)}


def _op_entry(op: OpCall, node: SymbolicNode):
    """(entry of an op, named as Keras names its Operation classes; (args, kwargs) of its node)."""
    function = op.fn.__name__
    signature = inspect.signature(op.fn)
    bound = signature.bind(*node.args, **node.kwargs)
    given = set(bound.arguments)
    bound.apply_defaults()
    at_node = {"x1", "x2", next(iter(signature.parameters))} | _AT_NODE.get(function, set())
    if function == "einsum":
        at_node.discard("subscripts")
    config, args, kwargs = {"name": op.name}, [], {}
    in_order = True  # so far all arguments of the signature are at the node: they may be positional
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind == inspect.Parameter.VAR_POSITIONAL:
            args += value
        elif kind == inspect.Parameter.VAR_KEYWORD:
            config.update(value)
        elif name in at_node or _has_tensor(value):
            if name in given and in_order:
                args.append(value)
            elif name in given:
                kwargs[name] = value
            else:
                in_order = False
        elif value is not None or name in given:
            config[name] = serialize_keras_object(value)
    cls = _CLASS_NAMES.get(function) or "".join(part.capitalize() for part in function.split("_"))
    entry = {"module": _MODULE_OF.get(function, "keras.src.ops.numpy"), "class_name": cls, "config": config,
             "registered_name": cls}
    return entry, (args, kwargs)


def _has_tensor(x) -> bool:
    return any(isinstance(t, KerasTensor) for t in tree.flatten(x))


# ---- from the plain form --------------------------------------------------------------------------------------------


def model_from_graph_config(cls, config, custom_objects=None):
    """A `cls` from what `graph_config` or Keras wrote. Raises ValueError for unknown classes and missing inputs."""
    made: dict[str, object] = {}
    nodes: dict[str, list] = {}

    def fetch(history):
        name, node_index, tensor_index = history[:3]
        return tree.flatten(nodes[name][node_index])[tensor_index]

    def revive(x):
        if isinstance(x, dict) and x.get("class_name") == "__keras_tensor__":
            return fetch(x["config"]["keras_history"])
        if isinstance(x, list):
            return [revive(v) for v in x]
        if isinstance(x, dict) and "class_name" not in x:
            return {k: revive(v) for k, v in x.items()}
        return deserialize_keras_object(x, custom_objects)

    def needed(x):
        if isinstance(x, dict) and x.get("class_name") == "__keras_tensor__":
            name, index = x["config"]["keras_history"][:2]
            return name in nodes and index < len(nodes[name])
        if isinstance(x, (list, tuple)):
            return all(needed(v) for v in x)
        return all(needed(v) for v in x.values()) if isinstance(x, dict) and "class_name" not in x else True

    pending = []
    for entry in config["layers"]:
        name = entry.get("name") or entry["config"]["name"]
        if (entry.get("module") or "").startswith(("keras.src.ops", "pydl.ops")):
            made[name] = _revive_op(entry, name)
        else:
            made[name] = deserialize_keras_object(entry, custom_objects)
        nodes[name] = []
        if isinstance(made[name], InputLayer):
            nodes[name].append(made[name].output)
        pending += [(name, node) for node in entry.get("inbound_nodes", ())]
    while pending:
        waiting = []
        blocked: set[str] = set()  # the nodes of one layer are made in their order
        for name, node in pending:
            if name not in blocked and needed(node["args"]) and needed(node["kwargs"]):
                args, kwargs = revive(node["args"]), revive(node["kwargs"])
                nodes[name].append(made[name](*args, **kwargs))
            else:
                blocked.add(name)
                waiting.append((name, node))
        if len(waiting) == len(pending):
            raise ValueError(f"The graph of model '{config.get('name')}' cannot be rebuilt: the inputs of"
                             f" {sorted({n for n, _ in waiting})} are missing.")
        pending = waiting

    def ends(structure):
        if isinstance(structure, dict):
            return {k: ends(v) for k, v in structure.items()}
        if len(structure) >= 3 and isinstance(structure[0], str):
            return fetch(structure)
        return [ends(s) for s in structure]

    model = cls(inputs=ends(config["input_layers"]), outputs=ends(config["output_layers"]), name=config.get("name"))
    if not config.get("trainable", True):
        model.trainable = False
    return model


def _revive_op(entry, op_name):
    """What calls the op of an entry; only public functions of `pydl.ops` can be named."""
    cls = entry["class_name"]
    name = _FUNCTION_NAMES.get(cls) or to_snake_case(cls)
    function = getattr(ops, name, None)
    if not (inspect.isfunction(function) and hasattr(function, "eager")):
        raise ValueError(f"The model uses the op '{cls}' ({entry.get('module')}), which pydl.ops does not have.")
    static = {k: deserialize_keras_object(v) for k, v in entry["config"].items() if k != "name"}
    parameters = inspect.signature(function).parameters

    def call(*args, **kwargs):
        given, rest = {**static, **kwargs}, list(args)
        if name == "getitem" and isinstance(rest[-1], list):  # JSON made a list of the tuple
            rest[-1] = tuple(rest[-1])
        positional = []
        for parameter in parameters.values():
            if parameter.kind == parameter.VAR_POSITIONAL:
                positional += rest
                rest = []
            elif parameter.kind != parameter.POSITIONAL_OR_KEYWORD or not (parameter.name in given or rest):
                break
            else:
                positional.append(given.pop(parameter.name) if parameter.name in given else rest.pop(0))
        given = {k: v for k, v in given.items() if k in parameters}
        outputs = function(*positional, *rest, **given)
        for t in tree.flatten(outputs):
            t.node.operation.name = op_name
        return outputs

    return call
