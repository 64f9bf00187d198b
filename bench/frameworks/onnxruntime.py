"""ONNX Runtime, for predictions: the networks as ONNX files, batches of a fixed size."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from bench.workloads import samples

_threads = 1


def set_threads(n):
    global _threads
    _threads = n


def _serve(model, net, rows):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = _threads, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = {"x": samples(net, rows, channels_first=True)}
    return lambda: session.run(["y"], inputs), 1


def _bytes(net, rows):
    from bench.frameworks import _onnx  # late: whoever loads a file does without the package `onnx`

    return _onnx.model(net, rows).SerializeToString()


def predict(net, rows=1):
    return _serve(_bytes(net, rows), net, rows)


def save(net, path):
    Path(f"{path}.onnx").write_bytes(_bytes(net, 1))


def load(net, path):
    return _serve(f"{path}.onnx", net, 1)
