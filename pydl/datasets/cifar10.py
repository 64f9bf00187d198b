"""CIFAR-10: 60,000 colour pictures, 32 x 32, 10 classes (Krizhevsky, 2009)."""

from __future__ import annotations

from pydl.datasets import _cifar


def load_data():
    """CIFAR-10 as arrays; the archive (170 MB) comes from PYDL_HOME/datasets or is downloaded there.

    Returns:
        ((x_train, y_train), (x_test, y_test)): uint8 images of shape (50000, 32, 32, 3) and (10000, 32, 32, 3),
        channels first where `config.image_data_format()` says so; uint8 labels of shape (50000, 1) and (10000, 1).

    Raises:
        OSError: without the file and without a network; says what to do.
        ValueError: when the file is damaged.
    """
    return _cifar.load("cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
                       [f"cifar-10-batches-py/data_batch_{i}" for i in range(1, 6)], "cifar-10-batches-py/test_batch",
                       b"labels")
