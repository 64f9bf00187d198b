"""Fashion-MNIST: 70,000 pictures of clothing, 28 x 28, 10 classes (Xiao, Rasul and Vollgraf, 2017; MIT licence)."""

from __future__ import annotations

from pydl.datasets import _files

SYSTEM_FOLDERS = ("/usr/share/datasets/fashion-mnist",)  # Debian package dataset-fashion-mnist


def load_data():
    """Fashion-MNIST as arrays.

    Looks for the four idx files (.gz or not) in PYDL_HOME/datasets/fashion-mnist, PYDL_HOME/fashion-mnist (default
    of PYDL_HOME: ~/.pydl) and where Debian's package `dataset-fashion-mnist` installs them; then downloads them
    (31 MB).

    Returns:
        ((x_train, y_train), (x_test, y_test)): uint8 images of shape (60000, 28, 28) and (10000, 28, 28) with values
        0 .. 255, uint8 labels of shape (60000,) and (10000,).

    Raises:
        OSError: without files and without a network; says what to do.
        ValueError: when a file is damaged.
    """
    folders = _files.idx_folders("fashion-mnist")[:2]
    paths = _files.find_idx([*folders, *SYSTEM_FOLDERS])
    if paths is None:
        try:
            paths = [_files.get_file(f"{name}.gz", f"{_files.SOURCE}{name}.gz", cache_subdir="datasets/fashion-mnist")
                     for name in _files.IDX_NAMES]
        except OSError as error:
            files = ", ".join(f"{name}.gz" for name in _files.IDX_NAMES)
            raise OSError(f"{error}\nFashion-MNIST is not on this machine and could not be downloaded. On Debian or "
                          "Ubuntu `apt-get install dataset-fashion-mnist` installs it; elsewhere fetch "
                          f"{files} from {_files.SOURCE} and put them into {folders[0]}.") from error
    return _files.read_idx_pairs(paths)
