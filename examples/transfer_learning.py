"""Transfer learning on the shipped digits: what 0-4 teach a network helps it to learn 5-9 from a few examples.

1. A LeNet-5 learns the digits 0-4 from 4,000 images.
2. Its convolutions are frozen; a new head learns 5-9 from a few images of each.
3. The layers behind `pool1` are thawed and fine-tuned with a small learning rate.

The same network, trained from scratch on the same few images, is the comparison.
"""

from __future__ import annotations

import argparse

import numpy as np

import pydl as keras
from pydl import layers
from pydl.applications import lenet5


def load_digits():
    """((x, y), (x_test, y_test)) of the digits 0-4, then of 5-9 with labels 0-4."""
    (x, y), (x_test, y_test) = keras.datasets.digits.load_data()
    x, x_test = lenet5.preprocess_input(x), lenet5.preprocess_input(x_test)
    low, high, low_test, high_test = y < 5, y >= 5, y_test < 5, y_test >= 5
    return (((x[low], y[low]), (x_test[low_test], y_test[low_test])),
            ((x[high], y[high] - 5), (x_test[high_test], y_test[high_test] - 5)))


def few(x, y, per_class, rng):
    """`per_class` images of each class, drawn at random."""
    chosen = np.concatenate([rng.permutation(np.flatnonzero(y == c))[:per_class] for c in range(5)])
    return x[chosen], y[chosen]


def fit(model, x, y, rate, epochs):
    """Trains what is not frozen."""
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)


def accuracy(model, data) -> float:
    return model.evaluate(*data, batch_size=500, verbose=0)[1]


def freeze_up_to(model, name) -> None:
    """Freezes the layers before and including `name`; those behind it are trained."""
    names = [layer.name for layer in model.layers]
    last = names.index(name)
    for i, layer in enumerate(model.layers):
        layer.trainable = i > last


def experiment(seed=0, per_class=5):
    """Accuracies on the 1,000 test images of 5-9.

    Returns:
        ({"scratch": .., "frozen": .., "fine-tuned": ..}, the transferred model).
    """
    keras.utils.set_random_seed(seed)
    (train_low, _), (train_high, test_high) = load_digits()
    x, y = few(*train_high, per_class, np.random.default_rng(seed))
    found = {}

    scratch = lenet5.LeNet5(classes=5)
    fit(scratch, x, y, 1e-3, epochs=60)
    found["scratch"] = accuracy(scratch, test_high)

    base = lenet5.LeNet5(classes=5)
    fit(base, *train_low, 1e-3, epochs=6)
    head = layers.Dense(5, activation="softmax", name="head")
    model = keras.Model(base.input, head(base.get_layer("flatten").output))
    freeze_up_to(model, "flatten")
    fit(model, x, y, 3e-3, epochs=60)
    found["frozen"] = accuracy(model, test_high)

    freeze_up_to(model, "pool1")
    fit(model, x, y, 1e-4, epochs=40)
    found["fine-tuned"] = accuracy(model, test_high)
    return found, model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=5, help="images of each of the digits 5-9")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    for seed in range(arguments.seeds):
        found, model = experiment(seed, arguments.per_class)
        if seed == 0:
            model.summary(show_trainable=True)
        print(f"seed {seed}, {arguments.per_class} images per class: "
              + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))


if __name__ == "__main__":
    main()
