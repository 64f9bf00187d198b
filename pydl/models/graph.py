"""The graph of a functional model: which operations lie between inputs and outputs, in which order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pydl import tree
from pydl.registry import auto_name
from pydl.symbolic import KerasTensor, OpCall, SymbolicNode


class Graph:
    """Operations between symbolic inputs and outputs.

    Attributes:
        inputs, outputs: the structures given.
        nodes: `SymbolicNode`s, every one after those it needs.
        operations: layers and ops without repetition, by decreasing distance from the outputs (Keras's order, on
            which the layout of weight files rests).

    Raises:
        ValueError: when an output does not depend on the inputs alone, or two layers (inputs are layers too) have one
            name, by which files and dicts of data know them.
    """

    def __init__(self, inputs, outputs):
        self.inputs = inputs
        self.outputs = outputs
        self.input_tensors = tree.flatten(inputs)
        self.output_tensors = tree.flatten(outputs)
        for what, tensors in (("inputs", self.input_tensors), ("outputs", self.output_tensors)):
            for t in tensors:
                if not isinstance(t, KerasTensor):
                    raise ValueError(f"All `{what}` values must be KerasTensors. Received: {what}={t!r} of type"
                                     f" {type(t).__name__}.")
        self._given = {id(t) for t in self.input_tensors}
        self.nodes: list[SymbolicNode] = []
        seen_order = self._visit_all()
        self.operations = self._by_depth(seen_order)
        self._check_names()
        self._split()

    def from_inputs(self, make_input) -> Graph:
        """This graph, or, where it begins at tensors inside of another, its calls on inputs of its own.

        Args:
            make_input: `make_input(tensor)` gives a symbolic input for one like `tensor`.
        """
        if all(t.node is None or not t.node.inputs for t in self.input_tensors):
            return self
        twins = {id(t): make_input(t) if t.node is not None and t.node.inputs else t for t in self.input_tensors}

        def twin(x):
            return twins.get(id(x), x) if isinstance(x, KerasTensor) else x

        def copied(t):
            if not isinstance(t, KerasTensor):
                return t
            twins.setdefault(id(t), KerasTensor(t.shape, t.dtype, name=t.name))
            if hasattr(t, "_keras_mask"):
                twins[id(t)]._keras_mask = twin(t._keras_mask)
            return twins[id(t)]

        for node in self.nodes:
            if node.inputs and not all(id(t) in self._given for t in tree.flatten(node.outputs)):
                args, kwargs = tree.map_structure(twin, list(node.args)), tree.map_structure(twin, node.kwargs)
                SymbolicNode(node.operation, tuple(args), kwargs, tree.map_structure(copied, node.outputs))
        return Graph(tree.map_structure(twin, self.inputs), tree.map_structure(twin, self.outputs))

    def _visit_all(self) -> dict[int, int]:
        """Fills `nodes`; returns the order in which operations were first met, walking back from the outputs."""
        met: dict[int, int] = {}
        done: set[int] = set()
        for output in self.output_tensors:
            stack: list[tuple[KerasTensor, Iterator[KerasTensor] | None]] = [(output, None)]
            while stack:
                tensor, parents = stack.pop()
                node = tensor.node
                if parents is None:
                    if node is None:
                        if id(tensor) not in self._given:
                            raise ValueError(f"The outputs depend on {tensor!r}, which is not among the inputs.")
                        continue
                    if id(node) in done:
                        continue
                    met.setdefault(id(node.operation), len(met))
                    is_given = id(tensor) in self._given
                    if not is_given and not node.inputs:
                        raise ValueError(f"The outputs depend on {tensor!r}, which is not among the inputs.")
                    parents = iter(() if is_given else node.inputs)
                    done.add(id(node))
                following = next(parents, None)
                if following is None:
                    assert node is not None  # whose parents these are
                    self.nodes.append(node)
                else:
                    stack.append((tensor, parents))
                    stack.append((following, None))
        for t in self.input_tensors:  # inputs that lead nowhere are part of the model too
            if t.node is not None and id(t.node) not in done:
                done.add(id(t.node))
                met.setdefault(id(t.node.operation), len(met))
                self.nodes.insert(0, t.node)
        return met

    def _check_names(self) -> None:
        """Layers have names of their own; so do ops, which nobody has named and which get another name if need be."""
        named: dict[str, object] = {}
        for operation in self.operations:
            if not isinstance(operation, OpCall) and named.setdefault(operation.name, operation) is not operation:
                kinds = [type(o).__name__ for o in self.operations if o.name == operation.name]
                raise ValueError(f'The name "{operation.name}" is used {len(kinds)} times in the model, by'
                                 f" {', '.join(kinds)}. All layers and inputs of a model need names of their own: pass"
                                 " `name=`.")
        for operation in self.operations:
            while isinstance(operation, OpCall) and named.setdefault(operation.name, operation) is not operation:
                operation.name = auto_name(operation.fn.__name__)

    def _split(self) -> None:
        """Which nodes run on the host: those of such layers that need nothing but inputs and each other."""
        made = set(self._given)
        self.host_nodes: list[SymbolicNode] = []
        for node in self.nodes:
            outputs = tree.flatten(node.outputs)
            if getattr(node.operation, "on_host", False) and all(id(t) in made for t in node.inputs):
                if not all(id(t) in self._given for t in outputs):
                    self.host_nodes.append(node)
                    made.update(id(t) for t in outputs)
        hosts = {id(n) for n in self.host_nodes}
        used = {id(t) for n in self.nodes if id(n) not in hosts for t in n.inputs}
        used.update(id(t) for t in self.output_tensors)
        own = [t for n in self.host_nodes for t in tree.flatten(n.outputs) if id(t) in used]
        # What the other nodes need, by names that no user gives.
        self.boundary = {f"{i}:{t.name}": t for i, t in enumerate(
            [*(t for t in self.input_tensors if id(t) in used and t.dtype != "string"), *own])}
        self.only_host = bool(self.host_nodes) and all(id(t) in made for t in self.output_tensors)

    def run_host(self, inputs) -> dict:
        """Values of `boundary`, as arrays, for input values in the order of `input_tensors`."""
        values = {id(t): x for t, x in zip(self.input_tensors, inputs)}
        for node in self.host_nodes:
            args, kwargs = (tree.map_structure(lambda a: values[id(a)] if isinstance(a, KerasTensor) else a, given)
                            for given in (list(node.args), node.kwargs))
            result = node.operation(*args, **kwargs)
            values.update((id(t), y) for t, y in zip(tree.flatten(node.outputs), tree.flatten(result)))
        return {name: np.asarray(values[id(t)]) for name, t in self.boundary.items()}

    def _by_depth(self, met) -> list:
        node_depth: dict[int, int] = {}
        operation_depth: dict[int, int] = {}
        by_id = {}
        for node in reversed(self.nodes):
            operation = node.operation
            by_id[id(operation)] = operation
            depth = max(node_depth.get(id(node), 0), operation_depth.get(id(operation), 0))
            operation_depth[id(operation)] = node_depth[id(node)] = depth
            if all(id(t) not in self._given for t in tree.flatten(node.outputs)):
                for t in node.inputs:
                    if t.node is not None:
                        node_depth[id(t.node)] = max(node_depth.get(id(t.node), 0), depth + 1)
        order = sorted(by_id, key=lambda i: (-operation_depth[i], met[i]))
        return [by_id[i] for i in order]

    def run(self, inputs, call):
        """Values of the outputs for input values in the structure of `inputs`.

        Args:
            inputs: flat list of tensors, as `input_tensors`; or what `run_host` gave, as tensors.
            call: `call(operation, args, kwargs)`.
        """
        done: set[int] = set()
        if isinstance(inputs, dict):
            values = {id(self.boundary[name]): x for name, x in inputs.items()}
            done = {id(n) for n in self.host_nodes}
        else:
            values = {id(t): x for t, x in zip(self.input_tensors, inputs)}
        remaining: dict[int, int] = {}
        for node in self.nodes:
            for t in node.inputs:
                remaining[id(t)] = remaining.get(id(t), 0) + 1
        for t in self.output_tensors:
            remaining[id(t)] = remaining.get(id(t), 0) + 1

        def fetch(x):
            if not isinstance(x, KerasTensor):
                return x
            value = values[id(x)]
            remaining[id(x)] -= 1
            if remaining[id(x)] == 0:  # the last use: its memory may be reused
                del values[id(x)]
            return value

        for node in self.nodes:
            outputs = tree.flatten(node.outputs)
            if id(node) in done or all(id(t) in values or id(t) in self._given for t in outputs):
                continue
            result = call(node.operation, tree.map_structure(fetch, list(node.args)),
                          tree.map_structure(fetch, node.kwargs))
            for t, y in zip(outputs, tree.flatten(result)):
                if remaining.get(id(t), 0):
                    values[id(t)] = y
            del result
        found = [fetch(t) for t in self.output_tensors]
        if isinstance(self.outputs, (list, tuple)) and len(self.outputs) == 1 == len(found):
            return found[0]  # as Keras: a list of one output is that output
        return tree.pack_sequence_as(self.outputs, found)
