"""Where data sets come from and how their files are read. Nothing in a file is ever executed."""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import os
from pathlib import Path

import numpy as np

from pydl.datasets._pickles import ArrayUnpickler
from pydl.reading import check_expansion, is_of_system, naming, sentence
from pydl.saving.archive import SIGNATURES, open_archive
from pydl.utils.files import get_file, home

GZIP = b"\x1f\x8b"
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
    """An array of bytes in the idx format, plain or packed by gzip: 0, 0, 8 (bytes), rank, then each size as a
    big-endian uint32.

    Raises:
        ValueError: when the file is something else or incomplete.
    """
    with damage(path), open(path, "rb") as raw:
        packed = raw.read(2) == GZIP
        raw.seek(0)
        with gzip.open(raw) if packed else contextlib.nullcontext(raw) as file:
            start = file.read(4)
            if len(start) < 4 or start[:3] != b"\0\0\x08":
                raise ValueError(f"it is no idx file of bytes: it starts with {start!r}.")
            sizes = file.read(4 * start[3])
            if len(sizes) < 4 * start[3] or start[3] > 32:
                raise ValueError(f"it ends after {len(sizes)} bytes of the sizes of {start[3]} axes.")
            shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
            count = math.prod(shape)
            check_expansion(count, os.path.getsize(path), f"the shape {shape}")
            values = file.read(count + 1)
        if len(values) != count:
            raise ValueError(f"expected {shape} = {count} bytes; received {len(values)}"
                             f"{' or more' if len(values) > count else ''}.")
    return np.frombuffer(values, np.uint8).reshape(shape).copy()


@contextlib.contextmanager
def damage(path):
    """Context of reading: a ValueError that names the file, for whatever is wrong with it."""
    try:
        yield
    except Exception as error:
        if is_of_system(error):
            raise
        raise ValueError(f"{path} is damaged or another file: {sentence(error)} Remove it and load again.") from error


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


def read_npz(path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; arrays of lists, which NumPy stores as pickles, through `ArrayUnpickler`.

    Raises:
        ValueError: when the file is damaged.
    """
    with damage(path):
        with open(path, "rb") as file:
            start = file.read(4)
        if start not in SIGNATURES:
            raise ValueError(f"it is no .npz file: it starts with {start!r}.")
        arrays = {}
        with open_archive(path) as archive:
            for name in archive.namelist():
                with naming(name):
                    arrays[name.removesuffix(".npy")] = _read_npy(archive.read(name))
        return arrays


def _read_npy(content: bytes) -> np.ndarray:
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read_header(file)
    if dtype.hasobject:
        found = ArrayUnpickler(content[file.tell() :]).load()
        if not isinstance(found, np.ndarray) or found.shape != shape:
            raise ValueError(f"it holds no array of shape {shape}.")
        return found
    held = len(content) - file.tell()
    if math.prod(shape) * dtype.itemsize != held or min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape} and dtype {dtype} does not take {held} bytes.")
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if is_fortran else "C").copy()


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
    shapes = {key: value.shape for key, value in arrays.items()}
    if not {"x", "y"} <= shapes.keys() or not shapes["x"] or shapes["x"][:1] != shapes["y"][:1]:
        raise ValueError(f"{found}: expected arrays 'x' and 'y' of one length; received {shapes}.")
    [(x, y)] = shuffled(seed, (arrays["x"][:count], arrays["y"][:count]))
    return split(x, y, test_split)
