"""Kernels as programs launch them: one step, replayed. Each row checks the result it has timed.

    pytest tests/benchmarks --benchmark-enable

Without the option every row runs once, as a test.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import pydl as keras
from pydl import _core, ops


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@dataclass(frozen=True)
class Row:
    """One kernel of `csrc/kernels.def`.

    Args:
        kernel: its name, as the program shows it.
        op: function of tensors that launches it.
        inputs: arrays.
        expected: NumPy function of the same arrays in float64; None where the result is drawn.
    """

    kernel: str
    op: Callable
    inputs: tuple
    expected: Callable | None

    def __str__(self):
        return f"{self.kernel}-{'x'.join(map(str, self.inputs[0].shape))}"


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)


def conv(x, kernel):
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], (1, 2))
    return np.einsum("bijcrs,rscf->bijf", windows, kernel, optimize=True)


def depthwise(x, kernel):
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], (1, 2))
    return np.einsum("bijcrs,rscm->bijcm", windows, kernel, optimize=True).reshape(*windows.shape[:3], -1)


def pool(reduce):
    def pooled(x):
        batch, height, width, channels = x.shape
        return reduce(x.reshape(batch, height // 2, 2, width // 2, 2, channels), (2, 4))

    return pooled


def attention(query, key, value):
    scores = np.einsum("btnh,bsnh->bnts", query, key) / np.sqrt(query.shape[-1])
    return np.einsum("bnts,bsnh->btnh", softmax(scores), value)


HEADS = tuple(normal(8, 32, 4, 16, seed=s) for s in range(3))
LARGE, IMAGES = normal(1 << 20), normal(16, 28, 28, 16)
INDICES = np.random.default_rng(0).integers(0, 1000, 4096).astype("int32")

ROWS = [
    Row("matmul", ops.matmul, (normal(512, 512), normal(512, 512, seed=1)), np.matmul),
    Row("matmul", ops.matmul, (normal(32, 784), normal(784, 128, seed=1)), np.matmul),
    Row("matmul", ops.matmul, (normal(1, 64), normal(64, 64, seed=1)), np.matmul),
    Row("conv", lambda x, k: ops.conv(x, k, 1, "valid"), (IMAGES, normal(3, 3, 16, 32, seed=1)), conv),
    Row("conv", lambda x, k: ops.conv(x, k, 1, "valid"), (normal(16, 28, 28, 1), normal(5, 5, 1, 6, seed=1)), conv),
    Row("depthwise", lambda x, k: ops.depthwise_conv(x, k, 1, "valid"), (IMAGES, normal(3, 3, 16, 1, seed=1)),
        depthwise),
    Row("max_pool", lambda x: ops.max_pool(x, 2), (IMAGES,), pool(np.max)),
    Row("average_pool", lambda x: ops.average_pool(x, 2), (IMAGES,), pool(np.mean)),
    Row("relu", ops.relu, (LARGE,), lambda x: np.maximum(x, 0)),
    Row("tanh", ops.tanh, (LARGE,), np.tanh),
    Row("sigmoid", ops.sigmoid, (LARGE,), lambda x: 1 / (1 + np.exp(-x))),
    Row("exp", ops.exp, (LARGE,), np.exp),
    Row("add", ops.add, (LARGE, LARGE[::-1].copy()), np.add),
    Row("add", ops.add, (normal(1024, 256), normal(256, seed=1)), np.add),
    Row("softmax", ops.softmax, (normal(1024, 128),), softmax),
    Row("layer_norm", lambda x: ops.layer_normalization(x, epsilon=1e-3), (normal(1024, 128),), layer_norm),
    Row("reduce_sum", lambda x: ops.sum(x, 0), (normal(1024, 256),), lambda x: x.sum(0)),
    Row("reduce_max", lambda x: ops.max(x, -1), (normal(1024, 256),), lambda x: x.max(-1)),
    Row("gather", lambda x, i: ops.take(x, i, 0), (normal(1000, 64), INDICES), lambda x, i: x[i.astype(int)]),
    Row("strided_copy", lambda x: ops.transpose(x, (0, 2, 1)), (normal(64, 128, 64),), lambda x: x.transpose(0, 2, 1)),
    Row("dot_attention", ops.dot_product_attention, HEADS, attention),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_kernel(benchmark, row):
    capture = keras.function(row.op).capture(row.inputs)
    assert row.kernel in {name for _, name, *_ in capture.program.profile()}
    benchmark(capture.program.run)
    wide = [x.astype("float64") for x in row.inputs]
    want = row.expected(*wide)
    np.testing.assert_allclose(capture.outputs.data, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_rows_are_of_the_inventory():
    assert {row.kernel for row in ROWS} <= set(dir(_core.kernels)) and len(ROWS) >= 20
