"""OpenVINO, for predictions: the networks from ONNX, compiled for latency and batches of a fixed size."""

from __future__ import annotations

import openvino

from bench.workloads import samples

# float32 as everybody here: by default matrix units of a CPU that has them compute in bfloat16.
SETTINGS = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
_threads = 1


def set_threads(n):
    global _threads
    _threads = n


def _serve(model, net, rows):
    settings = SETTINGS | {"INFERENCE_NUM_THREADS": str(_threads)}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    inputs = {"x": samples(net, rows, channels_first=True)}
    return lambda: request.infer(inputs, share_inputs=True, share_outputs=True), 1


def _model(net, rows):
    from bench.frameworks import _onnx  # late: whoever loads a file does without the package `onnx`

    return openvino.Core().read_model(_onnx.model(net, rows).SerializeToString())


def predict(net, rows=1):
    return _serve(_model(net, rows), net, rows)


def save(net, path):
    openvino.save_model(_model(net, 1), f"{path}.xml", compress_to_fp16=False)


def load(net, path):
    return _serve(f"{path}.xml", net, 1)
