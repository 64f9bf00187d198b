"""What rows cannot say about pooling and padding: ties, NaN, masks, errors."""

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops
from pydl.tensor import Tensor, from_numpy

rng = np.random.default_rng(5)


def gradient_of(fn, x, dy=None):
    x = Tensor(np.array(x, "float32"))
    with keras.GradientTape() as tape:
        tape.watch(x)
        y = fn(x)
        total = ops.sum(y if dy is None else y * dy)
    return tape.gradient(total, x).data


@pytest.mark.parametrize("channels", [1, 6, 16, 33])
def test_ties_go_to_the_first_place(channels):
    x = np.zeros((2, 4, 4, channels))
    expected = np.zeros_like(x)
    expected[:, ::2, ::2] = 1
    np.testing.assert_array_equal(gradient_of(lambda x: ops.max_pool(x, 2), x), expected)
    overlapping = gradient_of(lambda x: ops.max_pool(x, 2, 1), x)
    np.testing.assert_array_equal(overlapping[0, :, :, 0], [[1, 1, 1, 0]] * 3 + [[0] * 4])


@pytest.mark.parametrize("channels", [1, 6, 16, 33])
@pytest.mark.parametrize("place", range(4))
def test_nan_passes_on_and_takes_the_gradient(channels, place):
    x = rng.normal(size=(1, 4, 4, channels)).astype("f4")
    at = (0, 2 + place // 2, place % 2, slice(None))
    x[at] = np.nan
    y = ops.max_pool(x, 2).data
    assert np.isnan(y[0, 1, 0]).all() and np.isnan(y).sum() == channels
    gradient = gradient_of(lambda x: ops.max_pool(x, 2), x)
    assert (gradient[at] == 1).all() and gradient.sum() == 4 * channels


def test_infinities():
    x = np.full((1, 2, 2, 3), -np.inf, "f4")
    assert (ops.max_pool(x, 2).data == -np.inf).all() and gradient_of(lambda x: ops.max_pool(x, 2), x).sum() == 3


def test_padding_is_no_value():
    x = -np.ones((1, 3, 3, 2), "f4")
    assert (ops.max_pool(x, 2, padding="same").data == -1).all()
    assert (ops.average_pool(x, 2, padding="same").data == -1).all()


def test_empty_batch():
    assert ops.max_pool(np.ones((0, 4, 4, 3), "f4"), 2).shape == (0, 2, 2, 3)


@pytest.mark.parametrize("pool", [ops.max_pool, ops.average_pool])
@pytest.mark.parametrize("arguments", [(2,), (3, 2), (2, 1, "same"), (2, 5)])
def test_gradient_bits_do_not_depend_on_threads(pool, arguments):
    x = rng.normal(size=(5, 37, 41, 23)).astype("f4")
    dy = rng.normal(size=pool(x, *arguments).shape).astype("f4")
    before, results = keras.config.threads(), []
    try:
        for threads in (1, 2):
            keras.config.set_threads(threads)
            results.append(gradient_of(lambda x: pool(x, *arguments), x, dy))
    finally:
        keras.config.set_threads(before)
    np.testing.assert_array_equal(*results)


def test_masked_steps_do_not_count():
    x, mask = rng.normal(size=(3, 5, 2)).astype("f4"), rng.random((3, 5)) < 0.6
    mask[:, 0] = True
    expected = np.stack([row[kept].mean(0) for row, kept in zip(x, mask)])
    y = layers.GlobalAveragePooling1D()(x, mask=from_numpy(mask))
    np.testing.assert_allclose(y.data, expected, rtol=1e-5)
    first = layers.GlobalAveragePooling1D("channels_first", keepdims=True)(x.transpose(0, 2, 1).copy(),
                                                                           mask=from_numpy(mask))
    np.testing.assert_allclose(first.data[:, :, 0], expected, rtol=1e-5)
    model = keras.Sequential([layers.Masking(), layers.GlobalAveragePooling1D()])
    np.testing.assert_allclose(model(x * mask[:, :, None]).data, expected, rtol=1e-5)
    assert getattr(model.outputs[0] if model.built else None, "_keras_mask", None) is None


def test_aliases():
    for short, long in (("MaxPool", "MaxPooling"), ("AvgPool", "AveragePooling"), ("GlobalMaxPool", "GlobalMaxPooling"),
                        ("GlobalAvgPool", "GlobalAveragePooling")):
        for rank in "123":
            assert getattr(layers, f"{short}{rank}D") is getattr(layers, f"{long}{rank}D")
    assert ops.nn.max_pool is ops.max_pool and ops.nn.average_pool is ops.average_pool


def test_unknown_sizes():
    x = keras.Input((None, None, 3))
    assert layers.MaxPooling2D()(x).shape == (None, None, None, 3)
    assert layers.AdaptiveAveragePooling2D(4)(x).shape == (None, 4, 4, 3)
    assert layers.UpSampling2D()(layers.Cropping2D(1)(layers.ZeroPadding2D()(x))).shape == (None, None, None, 3)


@pytest.mark.parametrize("make, message", [
    (lambda: layers.MaxPooling2D(0), "MaxPooling2D.*pool_size=0"),
    (lambda: layers.MaxPooling2D((2, 2, 2)), r"MaxPooling2D.*\(2, 2, 2\)"),
    (lambda: layers.AveragePooling1D(2, strides=1.5), "AveragePooling1D.*strides=1.5"),
    (lambda: layers.MaxPooling2D(data_format="last"), "MaxPooling2D.*'last'"),
    (lambda: layers.AdaptiveMaxPooling2D(0), "AdaptiveMaxPooling2D.*output_size=0"),
    (lambda: layers.ZeroPadding2D(-1), "ZeroPadding2D.*padding=-1"),
    (lambda: layers.ZeroPadding2D(((1, 2, 3), 1)), "ZeroPadding2D.*padding="),
    (lambda: layers.ZeroPadding3D((1, 2)), r"ZeroPadding3D.*padding=\(1, 2\)"),
    (lambda: layers.Cropping1D((1, -1)), r"Cropping1D.*cropping=\(1, -1\)"),
    (lambda: layers.Cropping2D("all"), "Cropping2D.*cropping='all'"),
    (lambda: layers.UpSampling1D(0), "UpSampling1D.*size=0"),
    (lambda: layers.UpSampling2D(interpolation="cubic"), "UpSampling2D.*cubic"),
    (lambda: layers.SpatialDropout2D(1.5), "rate=1.5"),
    (lambda: layers.SpatialDropout2D(0.5, data_format="last"), "SpatialDropout2D.*'last'"),
])
def test_bad_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("layer, shape, message", [
    (layers.MaxPooling2D(4, name="p"), (1, 3, 5, 2), r'"p".*\(4, 4\).*\(3, 5\)'),
    (layers.AveragePooling1D(2, padding="full", name="p"), (1, 3, 5), '"p".*\'full\''),
    (layers.MaxPooling1D(2, padding="causal", name="p"), (1, 3, 5), '"p".*\'causal\''),
    (layers.MaxPooling2D(name="p"), (3, 5, 2), r'"p".*ndim=4, found ndim=3.*\(3, 5, 2\)'),
    (layers.Cropping2D(2, name="c"), (1, 4, 5, 2), r'"c".*axis 1, of size 4.*\(2, 2\)'),
    (layers.SpatialDropout1D(0.5, name="s"), (3, 5), '"s".*ndim=3'),
    (layers.GlobalMaxPooling2D(name="g"), (3, 5), '"g".*ndim=4'),
])
def test_bad_inputs_name_the_layer(layer, shape, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        layer(np.ones(shape, "f4"))


def test_bad_inputs_of_ops():
    with pytest.raises(ValueError, match=r"max_pool.*rank 3, 4 or 5.*\(2, 3\)"):
        ops.max_pool(np.ones((2, 3), "f4"), 2)
    with pytest.raises(ValueError, match="adaptive_max_pool.*at least 1.*(0, 3)"):
        ops.adaptive_max_pool(np.ones((2, 0, 3, 1), "f4"), 2)


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", ["bool", "float32", "int32"])
def test_the_mean_over_steps_is_weighted_by_the_mask(layout, dtype):
    x = np.random.default_rng(1).normal(size=(2, 4, 3)).astype("float32")
    mask = np.array([[1, 0.5, 0, 0], [0.25, 1, 1, 0]]).astype(dtype)
    x[mask == 0] = np.nan  # what is left out does not count, whatever it is
    given = x if layout == "channels_last" else np.moveaxis(x, 1, 2)
    y = layers.GlobalAveragePooling1D(layout)(given, mask=mask)
    want = np.nansum(x * mask[..., None], 1) / mask.astype("float64").sum(1, keepdims=True)
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-5)
