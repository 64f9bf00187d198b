"""Where data sets come from and how their files are read. Nothing in a file is ever executed."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np

from pydl.utils.files import get_file, home

SOURCE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
IDX_NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def fetch(name: str, origin: str, file_hash: str | None = None) -> Path:
    """The file `name`: as a path of its own, from PYDL_HOME or PYDL_HOME/datasets, else downloaded from `origin`.

    A file that is there already is used as it is (its reader checks its structure); a download must match
    `file_hash`.

    Raises:
        OSError: when there is no such file and no download, with what to do about it.
    """
    for path in (Path(name).expanduser(), home() / name, home() / "datasets" / name):
        if path.is_absolute() and path.is_file():
            return path
    try:
        return Path(get_file(os.path.basename(name), origin=origin, file_hash=file_hash))
    except OSError as error:
        raise OSError(f"{error}\nThe data set file {os.path.basename(name)!r} is not on this machine and could not be "
                      f"downloaded. Fetch {origin} elsewhere and save it as {home() / 'datasets' / name}, "
                      "or set PYDL_HOME to a folder that has it.") from error


def find_idx(folders) -> list[Path] | None:
    """The four idx files of MNIST's form, plain or .gz, from the first folder that has them all."""
    for folder in folders:
        paths = [path for name in IDX_NAMES for path in (Path(folder, name), Path(folder, f"{name}.gz"))
                 if path.is_file()]
        if len({path.name.removesuffix(".gz") for path in paths}) == len(IDX_NAMES):
            return paths[:: len(paths) // len(IDX_NAMES)]
    return None


def idx_folders(name: str) -> list[Path]:
    """Where a user may have put idx files of the data set `name`."""
    return [home() / "datasets" / name, home() / name, home() / "datasets", home()]


def read_idx(path) -> np.ndarray:
    """An array of bytes in the idx format: 0, 0, 8 (bytes), rank, then each size as a big-endian uint32.

    Raises:
        ValueError: when the file is something else or incomplete.
    """
    try:
        with (gzip.open if os.fspath(path).endswith(".gz") else open)(path, "rb") as file:
            content = file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is damaged: {error}. Remove it and load again.") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is no idx file of bytes: it starts with {content[:4]!r}.")
    rank = content[3]
    shape = tuple(int(size) for size in np.frombuffer(content[4 : 4 + 4 * rank], ">u4"))
    values = np.frombuffer(content, np.uint8, offset=min(4 + 4 * rank, len(content)))
    if len(shape) != rank or values.size != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{path}: expected {shape} = {np.prod(shape, dtype=np.int64)} bytes; "
                         f"received {values.size}. Remove it and load again.")
    return values.reshape(shape).copy()


def read_idx_pairs(paths):
    """((x_train, y_train), (x_test, y_test)) of 60,000 and 10,000 images from the files of `find_idx`."""
    arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), map(read_idx, paths)))
    return image_pairs(arrays, Path(paths[0]).parent)


def image_pairs(arrays, where):
    """Checks the four arrays of MNIST's form and returns them as Keras does."""
    expected = {"x_train": (60000, 28, 28), "y_train": (60000,), "x_test": (10000, 28, 28), "y_test": (10000,)}
    for key, shape in expected.items():
        received = arrays[key].shape if key in arrays else "nothing"
        if received != shape:
            raise ValueError(f"{where}: expected {key!r} of shape {shape}; received {received}.")
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])


class ArrayUnpickler(pickle.Unpickler):
    """Reads pickles of arrays, lists and plain values; refuses every other class or function."""

    allowed = {("numpy", "ndarray"), ("numpy", "dtype"), ("numpy.core.multiarray", "_reconstruct"),
               ("numpy._core.multiarray", "_reconstruct")}

    def find_class(self, module, name):
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"A data set file asks for {module}.{name}: refused, it holds arrays only.")
        if name == "_reconstruct":  # numpy 1 and 2 keep it in different modules; a file may name either
            return np.zeros(0).__reduce__()[0]
        return getattr(np, name)


def read_npz(path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; arrays of lists, which NumPy stores as pickles, through `ArrayUnpickler`.

    Raises:
        ValueError: when the file is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): _read_npy(archive.read(name)) for name in archive.namelist()}
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged or no .npz file: {error}. Remove it and load again.") from error


def _read_npy(content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read_header(file)
    if dtype.hasobject:
        return ArrayUnpickler(file).load()
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def shuffled(seed: int, *groups):
    """Each group of arrays in one random order of its own, drawn one after the other: Keras's orders for a seed."""
    rng = np.random.RandomState(seed)
    result = []
    for group in groups:
        order = np.arange(len(group[0]))
        rng.shuffle(order)
        result.append([array[order] for array in group])
    return result


def split(x, y, test_split: float):
    """((x_train, y_train), (x_test, y_test)): the last `test_split` of the rows are for testing."""
    if not 0 <= test_split < 1:
        raise ValueError(f"Expected `test_split` in [0, 1); received {test_split}.")
    train = int(len(x) * (1 - test_split))
    return (x[:train], y[:train]), (x[train:], y[train:])


def load_table(path: str, name: str, file_hash: str, test_split: float, seed: int, count: int | None = None):
    """Features and targets from an .npz of `x` (N, features) and `y` (N,): the first `count`, shuffled, split."""
    found = fetch(path, SOURCE + name, file_hash)
    arrays = read_npz(found)
    if not {"x", "y"} <= arrays.keys() or len(arrays["x"]) != len(arrays["y"]):
        raise ValueError(f"{found}: expected arrays 'x' and 'y' of one length; received "
                         f"{ {key: value.shape for key, value in arrays.items()} }.")
    [(x, y)] = shuffled(seed, (arrays["x"][:count], arrays["y"][:count]))
    return split(x, y, test_split)
