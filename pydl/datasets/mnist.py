"""MNIST: 70,000 handwritten digits, 28 x 28, 10 classes (LeCun, Bottou, Bengio and Haffner, 1998)."""

from __future__ import annotations

from pydl.datasets import _files


def load_data(path: str = "mnist.npz"):
    """MNIST as arrays.

    Looks for `path`, for mnist.npz, and for the four idx files (.gz or not) in PYDL_HOME/datasets/mnist,
    PYDL_HOME/mnist, PYDL_HOME/datasets and PYDL_HOME (default ~/.pydl); then downloads mnist.npz (11 MB).

    Args:
        path: name of the file below PYDL_HOME, or an absolute path.

    Returns:
        ((x_train, y_train), (x_test, y_test)): uint8 images of shape (60000, 28, 28) and (10000, 28, 28) with values
        0 .. 255, uint8 labels of shape (60000,) and (10000,).

    Raises:
        OSError: without files and without a network; says what to do.
        ValueError: when a file is damaged.
    """
    idx = None if path != "mnist.npz" else _files.find_idx(_files.idx_folders("mnist"))
    if idx:
        return _files.read_idx_pairs(idx)
    try:
        found = _files.fetch(path, _files.SOURCE + "mnist.npz",
                             "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1")
    except OSError as error:
        raise OSError(f"{error}\nThe four files train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, "
                      f"t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz in {_files.home() / 'datasets'} serve "
                      "as well. pydl.datasets.digits.load_data() gives 10,000 of the images without any download."
                      ) from error
    return _files.image_pairs(_files.read_npz(found), found)
