"""The networks as ONNX files, for the runtimes that read them: written node by node, images channels first."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bench.workloads import MOBILENETV2, NETS, RESNET50, sample_shape

OPSET, IR = 17, 8  # old enough for every runtime of the last years


class Graph:
    """Nodes and constants of a network under construction.

    Args:
        weights: arrays as Keras lays them out and counts them (`model.get_weights()`), taken one after the other;
            random when None.
    """

    def __init__(self, weights=None):
        self.nodes: list = []
        self.constants: list = []
        self.weights = None if weights is None else iter(weights)
        self.rng = np.random.default_rng(0)

    def weight(self, *shape, fill=None, terms=None):
        """The next weight. A random one keeps the size of sums of `terms`; `fill` is what all its elements are."""
        if self.weights is not None:
            found = next(self.weights, None)
            if np.shape(found) != shape:
                raise ValueError(f"expected a weight of shape {shape}. Received: {np.shape(found)}.")
            return found
        if fill is not None:
            return np.full(shape, fill, np.float32)
        return self.rng.standard_normal(shape, np.float32) * np.float32((2 / (terms or np.prod(shape[:-1]))) ** 0.5)

    def constant(self, array) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), f"w{len(self.constants)}"))
        return self.constants[-1].name

    def node(self, kind, *inputs, result=0, **attributes) -> str:
        """The name of a new node's output number `result`; those before it are not asked for."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [""] * result + [name], **attributes))
        return name

    def conv(self, x, channels, filters, size, stride=1, padding=None, bias=False, apart=False):
        """`padding`: rows and columns of zeros before, and after; `apart`: each channel has a filter of its own."""
        before, after = (size // 2, size // 2) if padding is None else padding
        kernel = self.weight(size, size, channels, 1 if apart else filters, terms=size**2 if apart else None)
        kernel = kernel.transpose((2, 3, 0, 1) if apart else (3, 2, 0, 1))
        constants = [self.constant(kernel)] + ([self.constant(self.weight(filters, fill=0))] if bias else [])
        return self.node("Conv", x, *constants, strides=[stride] * 2, group=channels if apart else 1,
                         pads=[before] * 2 + [after] * 2)

    def norm(self, x, channels, epsilon=1e-3):
        constants = [self.constant(self.weight(channels, fill=fill)) for fill in (1, 0, 0, 1)]
        return self.node("BatchNormalization", x, *constants, epsilon=epsilon)

    def dense(self, x, features, units, image=None):
        """`image`: (height, width, channels) of which x holds all pixels, channels first."""
        kernel = self.weight(features, units)
        if image:
            kernel = kernel.reshape(*image, units).transpose(2, 0, 1, 3).reshape(features, units)
        return self.node("Gemm", x, self.constant(kernel), self.constant(self.weight(units, fill=0)))

    def lstm(self, x, rows, features, units):
        """Last output; (rows, steps, features) -> (rows, units)."""
        def gates(a):  # Keras: input, forget, candidate, output
            i, f, c, o = np.split(a, 4, -1)
            return np.concatenate([i, o, f, c], -1)

        kernel, recurrent = (gates(self.weight(n, 4 * units)).T[None] for n in (features, units))
        bias = np.concatenate([gates(self.weight(4 * units, fill=0)), np.zeros(4 * units, np.float32)])[None]
        x = self.node("Transpose", x, perm=[1, 0, 2])
        h = self.node("LSTM", x, *map(self.constant, (kernel, recurrent, bias)), result=1, hidden_size=units)
        return self.node("Reshape", h, self.constant(np.array([rows, units])))


def model(net, rows, weights=None) -> onnx.ModelProto:
    """The network of that name for batches of `rows`: input "x", output "y"."""
    shape, graph = NETS[net], Graph(weights)
    if "application" in shape:
        y, features = {"ResNet50": resnet50, "MobileNetV2": mobilenetv2}[shape["application"]](graph)
    else:
        y, features = (sequence if "steps" in shape else images if "image" in shape else dense)(graph, shape, rows)
    outputs = shape["outputs"] or features
    if shape["outputs"]:
        y = graph.node("Sigmoid" if outputs == 1 else "Softmax", graph.dense(y, features, outputs))
    if graph.weights is not None and (rest := len(list(graph.weights))):
        raise ValueError(f"{net}: {rest} weights more than the network has.")
    graph.nodes[-1].output[0] = "y"
    *places, channels = sample_shape(net)
    size = (rows, channels, *places) if "image" in shape else (rows, *places, channels)
    kind = onnx.TensorProto.INT32 if "vocabulary" in shape else onnx.TensorProto.FLOAT
    made = helper.make_model(helper.make_graph(
        graph.nodes, net, [helper.make_tensor_value_info("x", kind, size)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, (rows, outputs))], graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(made)
    return made


def dense(graph, shape, rows):
    """(what the output layer reads, its width), as all of these."""
    if shape["batch_norm"]:
        raise ValueError(f"no ONNX form of dense layers with batch normalisation: {shape}.")
    y, features = "x", shape["features"]
    for units in shape["hidden"]:
        y, features = graph.node("Relu", graph.dense(y, features, units)), units
    return y, features


def images(graph, shape, rows):
    y, (height, width, channels), features = "x", shape["image"], 0
    for kind, *args in shape["layers"]:
        if kind == "pool":
            y = graph.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
            height, width = height // 2, width // 2
            continue
        if kind == "conv":
            filters, size, padding = args
            y = graph.conv(y, channels, filters, size, padding=None if padding == "same" else (0, 0), bias=True)
            cut = 0 if padding == "same" else size - 1
            height, width, channels = height - cut, width - cut, filters
        elif features:
            y, features = graph.dense(y, features, *args), args[0]
        else:
            pixels = height * width * channels
            y, features = graph.dense(graph.node("Flatten", y), pixels, *args, image=(height, width, channels)), args[0]
        y = graph.node("Relu", y)
    return y, features


def sequence(graph, shape, rows):
    if shape["layer"] != "LSTM" or shape["both_ways"]:
        raise ValueError(f"no ONNX form of other recurrent layers than LSTM, one way: {shape}.")
    y, features = "x", shape.get("features") or shape["embedding"]
    if "vocabulary" in shape:
        y = graph.node("Gather", graph.constant(graph.weight(shape["vocabulary"], features)), "x")
    return graph.lstm(y, rows, features, shape["units"]), shape["units"]


def resnet50(graph):
    """Weights in Keras's order, which counts by the distance from the end: shortcuts come with the last convolution."""
    epsilon = 1.001e-5
    y = graph.norm(graph.conv("x", 3, 64, 7, 2, bias=True), 64, epsilon)
    y = graph.node("MaxPool", graph.node("Relu", y), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for filters, strides, blocks in RESNET50:
        for i in range(blocks):
            stride, shortcut, wide = strides if i == 0 else 1, y, 4 * filters
            for size, inputs, step in ((1, channels, stride), (3, filters, 1)):
                y = graph.norm(graph.conv(y, inputs, filters, size, step, bias=True), filters, epsilon)
                y = graph.node("Relu", y)
            shortcut = graph.conv(shortcut, channels, wide, 1, stride, bias=True) if i == 0 else shortcut
            y = graph.conv(y, filters, wide, 1, bias=True)
            shortcut = graph.norm(shortcut, wide, epsilon) if i == 0 else shortcut
            y = graph.node("Relu", graph.node("Add", graph.norm(y, wide, epsilon), shortcut))
            channels = wide
    return graph.node("Flatten", graph.node("GlobalAveragePool", y)), channels


def mobilenetv2(graph):
    def layer(y, channels, filters, *args, limit=True, **settings):
        y = graph.norm(graph.conv(y, channels, filters, *args, **settings), filters)
        return graph.node("Clip", y, zero, six) if limit else y

    zero, six = (graph.constant(np.float32(bound)) for bound in (0, 6))
    y, channels = layer("x", 3, 32, 3, 2, (0, 1)), 32
    for stage, (filters, strides) in enumerate(MOBILENETV2):
        for stride in strides:
            before, wide = y, channels * (6 if stage else 1)
            if stage:
                y = layer(y, channels, wide, 1)
            y = layer(y, wide, wide, 3, stride, (0, 1) if stride == 2 else None, apart=True)
            y = layer(y, wide, filters, 1, limit=False)
            if stride == 1 and channels == filters:
                y = graph.node("Add", before, y)
            channels = filters
    return graph.node("Flatten", graph.node("GlobalAveragePool", layer(y, channels, 1280, 1))), 1280
