"""CIFAR-100: 60,000 colour pictures, 32 x 32, 100 fine and 20 coarse classes (Krizhevsky, 2009)."""

from __future__ import annotations

from pydl.datasets import _cifar


def load_data(label_mode: str = "fine"):
    """CIFAR-100 as arrays; the archive (169 MB) comes from PYDL_HOME/datasets or is downloaded there.

    Args:
        label_mode: "fine" for 100 classes, "coarse" for their 20 groups.

    Returns:
        ((x_train, y_train), (x_test, y_test)): uint8 images of shape (50000, 32, 32, 3) and (10000, 32, 32, 3),
        channels first where `config.image_data_format()` says so; uint8 labels of shape (50000, 1) and (10000, 1).

    Raises:
        OSError: without the file and without a network; says what to do.
        ValueError: for another `label_mode`, or when the file is damaged.
    """
    if label_mode not in ("fine", "coarse"):
        raise ValueError(f"cifar100: expected `label_mode` 'fine' or 'coarse'; received {label_mode!r}.")
    return _cifar.load("cifar-100-python.tar.gz", "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
                       ["cifar-100-python/train"], "cifar-100-python/test", f"{label_mode}_labels".encode())
