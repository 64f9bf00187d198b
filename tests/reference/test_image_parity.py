"""Image ops and layers against Keras 3. Run with KERAS_BACKEND=jax, whose backend has every interpolation."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import pydl  # noqa: E402  after the skip
from cases.image import LAYERS  # noqa: E402
from harness import call_layer  # noqa: E402

pytestmark = [pytest.mark.reference,
              pytest.mark.skipif(keras.config.backend() != "jax", reason="lanczos and mirror exist on jax")]

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(2, 7, 9, 3)).astype("float32")
BYTES = RNG.integers(0, 256, (2, 7, 9, 3)).astype("uint8")
TURN = np.array([[0.83, -0.41, 2.3, 0.37, 1.12, -1.9, 0, 0], [1.31, 0.23, -7.7, -0.52, 0.71, 3.3, 0, 0]], "float32")


def compare(name, *args, atol=1e-5, **kwargs):
    got = getattr(pydl.ops.image, name)(*args, **kwargs)
    want = keras.ops.convert_to_numpy(getattr(keras.ops.image, name)(*args, **kwargs))
    assert got.shape == want.shape and got.dtype == want.dtype
    np.testing.assert_allclose(got.numpy(), want, atol=atol)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"])
@pytest.mark.parametrize("size", [(14, 5), (3, 20), (7, 9), (1, 1)])
def test_resize(size, interpolation, antialias):
    compare("resize", IMAGES, size, interpolation=interpolation, antialias=antialias)
    compare("resize", IMAGES[0].transpose(2, 0, 1).copy(), size, interpolation=interpolation, antialias=antialias,
            data_format="channels_first")
    compare("resize", BYTES, size, interpolation=interpolation, antialias=antialias, atol=1)


@pytest.mark.parametrize("size", [(4, 4), (10, 3), (5, 20)])
def test_aspect_ratio(size):
    compare("resize", IMAGES, size, crop_to_aspect_ratio=True)
    compare("resize", IMAGES, size, pad_to_aspect_ratio=True, fill_value=0.3)


@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "wrap", "mirror", "reflect"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_affine_transform(interpolation, fill_mode):
    options = {"interpolation": interpolation, "fill_mode": fill_mode, "fill_value": 0.4}
    compare("affine_transform", IMAGES, TURN, **options, atol=1e-4)
    compare("affine_transform", IMAGES[0], TURN[1], **options, atol=1e-4)


@pytest.mark.parametrize("options", [{"size": 3}, {"size": (2, 3), "strides": 1}, {"size": 2, "strides": (3, 2)},
                                     {"size": 3, "strides": 2, "padding": "same"},
                                     {"size": 3, "strides": 1, "dilation_rate": 2, "padding": "same"}])
def test_extract_patches(options):
    compare("extract_patches", IMAGES, **options)
    compare("extract_patches", IMAGES[0], **options)


def test_small_ones():
    volumes = RNG.normal(size=(2, 5, 6, 7, 2)).astype("float32")
    compare("extract_patches_3d", volumes, 2)
    compare("extract_patches", volumes, (2, 3, 1))
    compare("crop_images", IMAGES, top_cropping=1, bottom_cropping=2, left_cropping=3, target_width=4)
    compare("pad_images", IMAGES, top_padding=1, bottom_padding=2, left_padding=3, target_width=14)
    compare("rgb_to_grayscale", IMAGES)


@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "wrap", "mirror", "reflect"])
@pytest.mark.parametrize("order", [0, 1])
def test_map_coordinates(order, fill_mode):
    at = RNG.uniform(-6, 12, (2, 5, 4)).astype("float32")
    compare("map_coordinates", IMAGES[0, :, :, 0], at, order, fill_mode=fill_mode, fill_value=0.3)


def test_hue():
    colours = RNG.uniform(0, 1, (2, 5, 4, 3)).astype("float32")
    compare("rgb_to_hsv", colours)
    compare("hsv_to_rgb", colours)
    compare("rgb_to_hsv", np.moveaxis(colours, -1, 1).copy(), data_format="channels_first")


def plain(value):
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_layer(case):
    ours, theirs = case.built(name="same"), getattr(keras.layers, case.name)(**case.args, name="same")
    inputs = case.draw(1, "float32")
    if case.name != "RandomCrop":  # Keras's documentation has it resize at prediction; its code returns the input
        want = keras.ops.convert_to_numpy(theirs(inputs[0], training=False))
        np.testing.assert_allclose(call_layer(ours, inputs, training=False).data, want, atol=1e-5)
    want = theirs(inputs[0], training=True)
    assert call_layer(ours, inputs, training=True).shape == tuple(want.shape)
    mine = ours.get_config()
    assert {k: plain(mine[k]) for k in theirs.get_config() if k != "dtype"} == {
        k: plain(v) for k, v in theirs.get_config().items() if k != "dtype"}
    keras.layers.deserialize(pydl.layers.serialize(ours))
    pydl.layers.deserialize(keras.layers.serialize(theirs))
