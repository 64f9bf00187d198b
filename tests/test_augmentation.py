"""Random image layers beyond their rows: inside a model's training, single images, dicts, bad arguments."""

import numpy as np
import pytest

import pydl as keras
from pydl import layers

IMAGES = np.random.default_rng(0).uniform(0, 255, (8, 6, 5, 3)).astype("float32")


def augment(seed=0):
    return keras.Sequential([
        keras.Input((6, 5, 3)), layers.RandomFlip(seed=seed), layers.RandomZoom(0.2, seed=seed),
        layers.RandomRotation(0.1, seed=seed), layers.RandomTranslation(0.1, 0.1, seed=seed)])


def test_training_draws_prediction_does_not():
    model = augment()
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), IMAGES)
    step = keras.function(lambda x: model(x, training=True))
    first, second = step(IMAGES).numpy(), step(IMAGES).numpy()
    assert not np.array_equal(first, second) and len(step.captures) == 1
    np.testing.assert_array_equal(augment()(IMAGES, training=True).numpy(), first)
    repeated = step(np.repeat(IMAGES[:1], 8, 0)).numpy()
    assert len({image.tobytes() for image in repeated}) == 8, "each image has a draw of its own"


def test_fit():
    model = keras.Sequential([augment(), layers.Flatten(), layers.Rescaling(1 / 255), layers.Dense(2)])
    model.compile("sgd", "mse")
    history = model.fit(IMAGES, np.zeros((8, 2), "float32"), batch_size=3, epochs=3, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_outside_of_a_model():
    assert not np.array_equal(layers.RandomBrightness(0.5, seed=1)(IMAGES), IMAGES)  # without a word, it is training
    bytes_in = IMAGES.astype("uint8")
    assert layers.RandomFlip(seed=1)(bytes_in[0]).dtype == "float32"
    resized = layers.Resizing(3, 4)(bytes_in)
    assert resized.dtype == "uint8" and resized.shape == (8, 3, 4, 3)
    labelled = layers.CenterCrop(2, 2)({"images": IMAGES, "labels": np.arange(8)})
    assert labelled["images"].shape == (8, 2, 2, 3) and labelled["labels"].shape == (8,)


@pytest.mark.parametrize("make, message", [
    (lambda: layers.RandomRotation(1.5), "RandomRotation: expected a number"),
    (lambda: layers.RandomZoom(-1.0), r"in the range \(-1, 1\]"),
    (lambda: layers.RandomTranslation(0.1, (0, 0.1, 0.2)), "width_factor"),
    (lambda: layers.RandomFlip("diagonal"), "diagonal"),
    (lambda: layers.RandomBrightness(0.1, value_range=3), "value_range"),
    (lambda: layers.Resizing(2, 2)(np.ones((2, 2))), "rank 3"),
    (lambda: layers.Resizing(2, 0)(IMAGES), "positive"),
    (lambda: layers.Resizing(2, 2, interpolation="area")(IMAGES), "area"),
    (lambda: layers.RandomFlip()({"images": IMAGES, "bounding_boxes": IMAGES}), "Bounding boxes"),
    (lambda: keras.ops.image.extract_patches(IMAGES, 7), "does not fit"),
    (lambda: keras.ops.image.crop_images(IMAGES, top_cropping=1, left_cropping=1, target_width=2), "exactly two"),
    (lambda: keras.ops.image.pad_images(IMAGES, 1, 1, 1, target_width=2), ">= 0"),
    (lambda: keras.ops.image.affine_transform(IMAGES, np.ones(6)), "shape"),
    (lambda: keras.ops.image.affine_transform(IMAGES, np.ones(8), fill_mode="symmetric"), "symmetric"),
])
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_fill_mode_of_layers():
    with pytest.raises(NotImplementedError, match="mirror"):
        layers.RandomRotation(0.1, fill_mode="mirror")
