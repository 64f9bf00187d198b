"""The plain form of a functional model's graph, as Keras 3 writes it to config.json, and the way back."""

from __future__ import annotations

import heapq
import inspect

from pydl import ops, tree
from pydl.configs import inside
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
        return (tuple if isinstance(structure, tuple) else list)(ends(t) for t in structure)

    given = {id(t.node) for t in graph.input_tensors}
    layers = []
    for op in graph.operations:
        nodes = [n for n in graph.nodes if n.operation is op]
        calls = [] if all(id(n) in given for n in nodes) else [(n.args, n.kwargs) for n in nodes]
        if isinstance(op, OpCall):
            entry, *calls = _op_entry(op, nodes[0])
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
    outputs: dict[tuple, object] = {}  # (layer, number of its call) -> what the call gave
    calls: list[tuple[tuple, dict]] = []  # (the same, the entry of the call)
    for entry in config["layers"]:
        with inside(entry):
            name = entry.get("name") or entry["config"]["name"]
            if name in made:
                raise ValueError(f"two layers have the name {name!r}.")
            if (entry.get("module") or "").startswith(("keras.src.ops", "pydl.ops")):
                made[name] = _revive_op(entry, name)
            else:
                made[name] = deserialize_keras_object(entry, custom_objects)
            first = 0
            if isinstance(made[name], InputLayer):
                outputs[name, 0], first = made[name].output, 1
            calls += [((name, number), node) for number, node in enumerate(entry.get("inbound_nodes", ()), first)]

    def fetch(history):
        name, number, index = history[:3]
        given = tree.flatten(outputs[name, number]) if (name, number) in outputs else []
        if not 0 <= index < len(given):
            raise ValueError(f"there is no output {index} of call {number} of a layer {name!r}.")
        return given[index]

    def revive(x):
        if isinstance(x, dict) and x.get("class_name") == "__keras_tensor__":
            return fetch(x["config"]["keras_history"])
        if isinstance(x, list):
            return [revive(v) for v in x]
        if isinstance(x, dict) and "class_name" not in x:
            return {k: revive(v) for k, v in x.items()}
        return deserialize_keras_object(x, custom_objects)

    for key, node in _in_order(calls, outputs, config.get("name")):
        with inside(node):
            outputs[key] = made[key[0]](*revive(node["args"]), **revive(node["kwargs"]))

    def ends(structure):
        if isinstance(structure, dict):
            return {k: ends(v) for k, v in structure.items()}
        if len(structure) >= 3 and isinstance(structure[0], str):
            return fetch(structure)
        return (tuple if isinstance(structure, tuple) else list)(ends(s) for s in structure)

    model = cls(inputs=ends(config["input_layers"]), outputs=ends(config["output_layers"]), name=config.get("name"))
    if not config.get("trainable", True):
        model.trainable = False
    return model


def _in_order(calls, given, model_name):
    """The calls of a graph, each after those whose outputs it takes and after the earlier ones of its layer; else in
    the order of the file. Raises ValueError where that cannot be."""
    missing = [set(_references(node)) - given.keys() for _, node in calls]
    takers: dict[tuple, list[int]] = {}
    for i, ((name, number), _) in enumerate(calls):
        if number and (name, number - 1) not in given:
            missing[i].add((name, number - 1))
        for key in missing[i]:
            takers.setdefault(key, []).append(i)
    ready = [i for i, keys in enumerate(missing) if not keys]
    left = set(range(len(calls)))
    while ready:
        i = heapq.heappop(ready)
        yield calls[i]
        left.remove(i)
        for taker in takers.get(calls[i][0], ()):
            missing[taker].discard(calls[i][0])
            if not missing[taker]:
                heapq.heappush(ready, taker)
    if left:
        raise ValueError(f"The graph of model '{model_name}' cannot be rebuilt: the inputs of"
                         f" {sorted({calls[i][0][0] for i in left})} are missing.")


def _references(x):
    """(layer, number of its call) of every tensor in the arguments of a call."""
    if isinstance(x, dict) and x.get("class_name") == "__keras_tensor__":
        yield tuple(x["config"]["keras_history"][:2])
    elif isinstance(x, (list, tuple)) or (isinstance(x, dict) and "class_name" not in x):
        for value in x.values() if isinstance(x, dict) else x:
            yield from _references(value)


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
