"""Trains LeNet-5 on MNIST and writes its weights; made the files of `LeNet5(weights="mnist")`.

    python examples/lenet5_mnist.py                          # the form of today, 10 epochs
    python examples/lenet5_mnist.py --variant 1998           # as published; 20 epochs of distorted images
    python examples/lenet5_mnist.py --data FOLDER_OR_NPZ     # files that are on this machine already
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

import pydl as keras
from pydl.applications import lenet5

RECIPES = {  # variant -> epochs, batch size, peak learning rate, distortions
    "modern": (10, 64, 2e-3, False),
    "1998": (20, 64, 3e-3, True),
}


def load_mnist(data):
    """MNIST from `data` (folder of the four idx files, or an .npz), or from where `load_data` finds it."""
    if data is None:
        return keras.datasets.mnist.load_data()
    path = Path(data).expanduser().resolve()
    if path.is_dir():
        os.environ["PYDL_HOME"] = str(path)
        return keras.datasets.mnist.load_data()
    return keras.datasets.mnist.load_data(str(path))


def distorted(images, rng, shift=1.5, scale=0.1, shear=0.1):
    """Each image moved, scaled and sheared at random, by bilinear interpolation (the distortions of section III.B).

    Args:
        images: (n, height, width, 1) floats.
        shift: up to this many pixels.
        scale, shear: up to these factors.
    """
    n, height, width, _ = images.shape
    padded = np.pad(images[..., 0], ((0, 0), (1, 2), (1, 2)))
    row = np.arange(height, dtype="float32")[:, None] - (height - 1) / 2
    column = np.arange(width, dtype="float32") - (width - 1) / 2
    result = np.empty_like(images)
    for begin in range(0, n, 1000):
        part = padded[begin:begin + 1000]
        count = len(part)

        def draw(limit, count=count):
            return rng.uniform(-limit, limit, (count, 1, 1)).astype("float32")

        # Where in the old image each new pixel lies, in coordinates of `padded`; beyond the frame is ground.
        r = row * (1 + draw(scale)) + column * draw(shear) + draw(shift) + (height + 1) / 2
        c = column * (1 + draw(scale)) + row * draw(shear) + draw(shift) + (width + 1) / 2
        r, c = np.clip(r, 0, height + 1), np.clip(c, 0, width + 1)
        i, j = r.astype(int), c.astype(int)
        down, right = r - i, c - j
        k = np.arange(count)[:, None, None]
        upper = part[k, i, j] * (1 - right) + part[k, i, j + 1] * right
        lower = part[k, i + 1, j] * (1 - right) + part[k, i + 1, j + 1] * right
        result[begin:begin + count, ..., 0] = upper * (1 - down) + lower * down
    return result


def train(variant, epochs, data, seed=0):
    """The trained model and its accuracy on the 10,000 test images."""
    default_epochs, batch_size, rate, distort = RECIPES[variant]
    epochs = epochs or default_epochs
    keras.utils.set_random_seed(seed)
    (x, y), (x_test, y_test) = load_mnist(data)
    x, x_test = lenet5.preprocess_input(x), lenet5.preprocess_input(x_test)
    model = lenet5.LeNet5(variant=variant)
    model.summary()
    steps = epochs * -(-len(x) // batch_size)
    loss = lenet5.MAPCriterion() if variant == "1998" else "sparse_categorical_crossentropy"
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    model.compile(keras.optimizers.Adam(schedule), loss, metrics=["accuracy"])
    rng = np.random.default_rng(seed)
    accuracy = 0.0
    for epoch in range(epochs):
        begin = time.perf_counter()
        images = distorted(x, rng) if distort and epoch else x
        logs = model.fit(images, y, batch_size=batch_size, initial_epoch=epoch, epochs=epoch + 1, verbose=0).history
        seconds = time.perf_counter() - begin
        _, accuracy = model.evaluate(x_test, y_test, batch_size=500, verbose=0)
        print(f"epoch {epoch + 1:2d}/{epochs}: {seconds:5.1f} s, loss {logs['loss'][0]:.4f}, "
              f"training accuracy {logs['accuracy'][0]:.4f}, "
              f"test accuracy {accuracy:.4f} (error {100 - 100 * accuracy:.2f} %)", flush=True)
    return model, accuracy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", choices=sorted(RECIPES), default="modern")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--data", help="folder of MNIST's four idx files, or an .npz file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="where to write the weights (.weights.h5)")
    arguments = parser.parse_args()
    model, accuracy = train(arguments.variant, arguments.epochs, arguments.data, arguments.seed)
    path = arguments.save or lenet5.SHIPPED[arguments.variant]
    bare = lenet5.LeNet5(variant=arguments.variant)  # not compiled: a third of the size, without the optimizer's state
    bare.set_weights(model.get_weights())
    bare.save_weights(path)
    print(f"test accuracy {accuracy:.4f}; weights in {path}")


if __name__ == "__main__":
    main()
