"""Pooling, padding and their relatives against Keras 3 and PyTorch: values, gradients, ties, NaN, configs."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

from test_layers_parity import plain  # noqa: E402  after the skip
from test_pooling import gradient_of  # noqa: E402

from cases.pooling_layers import CASES  # noqa: E402
from harness import call_layer  # noqa: E402
from pydl import layers, ops  # noqa: E402

pytestmark = [pytest.mark.reference,
              pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]  # of Keras variables


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case):
    """Output, config, and configs read by the other library."""
    if (keras.backend.backend() == "torch" and case.name in ("AveragePooling2D", "AveragePooling3D")
            and case.args.get("padding") == "same"):
        pytest.skip("Keras on PyTorch repeats edges where the padding is uneven; its JAX backend agrees with pydl")
    if keras.backend.backend() == "torch" and case.args.get("interpolation") in ("bicubic", "lanczos3"):
        pytest.skip("Keras on PyTorch has another bicubic and no lanczos; its JAX backend agrees with pydl")
    ours, theirs = case.built(name="same"), getattr(keras.layers, case.name)(**case.args, name="same")
    inputs = case.draw(1, "float32")
    want = keras.ops.convert_to_numpy(theirs(inputs[0]))
    np.testing.assert_allclose(call_layer(ours, inputs).data, want, rtol=1e-5, atol=1e-6)
    mine, wanted = plain(layers.serialize(ours)["config"]), plain(keras.layers.serialize(theirs)["config"])
    assert {k: v for k, v in wanted.items() if mine.get(k, "absent") != v}.keys() <= {"activity_regularizer"}
    keras.layers.deserialize(layers.serialize(ours))
    layers.deserialize(keras.layers.serialize(theirs))


def channels_first(x):
    return torch.tensor(np.moveaxis(x, -1, 1).copy(), requires_grad=True)


def channels_last(x):
    return np.moveaxis(x.detach().numpy(), 1, -1)


@pytest.mark.parametrize("kind", ["random", "ties", "nan"])
@pytest.mark.parametrize("channels", [1, 3, 6, 17, 32])
@pytest.mark.parametrize("size, stride", [(2, 2), (3, 2), (2, 3), (3, 1)])
def test_max_pool_against_torch(kind, channels, size, stride):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 9, 10, channels)).astype("f4")
    if kind == "ties":
        x = rng.integers(0, 3, x.shape).astype("f4")
    if kind == "nan":
        x[rng.random(x.shape) < 0.02] = np.nan
    t = channels_first(x)
    y = torch.nn.functional.max_pool2d(t, size, stride)
    np.testing.assert_array_equal(ops.max_pool(x, size, stride).data, channels_last(y))
    if kind != "nan":  # of several NaN in a window PyTorch takes the last
        y.sum().backward()
        np.testing.assert_array_equal(gradient_of(lambda x: ops.max_pool(x, size, stride), x), channels_last(t.grad))


@pytest.mark.parametrize("channels", [1, 6, 33])
@pytest.mark.parametrize("size, stride", [(2, 2), (3, 2), (2, 3), (3, 1)])
def test_average_pool_against_torch(channels, size, stride):
    x = np.random.default_rng(1).normal(size=(2, 9, 10, channels)).astype("f4")
    t = channels_first(x)
    y = torch.nn.functional.avg_pool2d(t, size, stride)
    y.square().sum().backward()
    np.testing.assert_allclose(ops.average_pool(x, size, stride).data, channels_last(y), rtol=1e-5, atol=1e-6)
    got = gradient_of(lambda x: ops.square(ops.average_pool(x, size, stride)), x)
    np.testing.assert_allclose(got, channels_last(t.grad), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("output_size", [(1, 1), (3, 4), (5, 10)])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_adaptive_against_torch(kind, output_size):
    x = np.random.default_rng(2).normal(size=(2, 9, 10, 6)).astype("f4")
    t = channels_first(x)
    y = getattr(torch.nn.functional, f"adaptive_{kind}_pool2d")(t, output_size)
    y.sum().backward()
    pool = ops.adaptive_max_pool if kind == "max" else ops.adaptive_average_pool
    np.testing.assert_allclose(pool(x, output_size).data, channels_last(y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient_of(lambda x: pool(x, output_size), x), channels_last(t.grad), rtol=1e-5,
                               atol=1e-6)
