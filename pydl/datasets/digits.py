"""10,000 handwritten digits of MNIST that ship inside the package (see data/digits.LICENSE.txt)."""

from __future__ import annotations

import lzma

import numpy as np

TRAIN = 8000
TEST = 2000


def load_data():
    """The shipped digits: 800 training and 200 test images of each class, from MNIST's training and test files.

    Returns:
        ((x_train, y_train), (x_test, y_test)): uint8 images of shape (8000, 28, 28) and (2000, 28, 28) with values
        0 .. 255, uint8 labels of shape (8000,) and (2000,).
    """
    from importlib import resources

    packed = resources.files("pydl.datasets").joinpath("data", "digits.xz").read_bytes()
    content = np.frombuffer(bytearray(lzma.decompress(packed)), np.uint8)
    count = TRAIN + TEST
    images = content[: count * 28 * 28].reshape(count, 28, 28)
    labels = content[count * 28 * 28 :]
    return (images[:TRAIN], labels[:TRAIN]), (images[TRAIN:], labels[TRAIN:])
