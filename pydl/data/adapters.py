"""What `fit`, `evaluate` and `predict` accept as data, brought to one of two forms: arrays in memory, or batches."""

from __future__ import annotations

import itertools

import numpy as np

from pydl import config, tree
from pydl.dtypes import STORED_AS, holds_floats, holds_numbers
from pydl.tensor import Tensor, holds_strings

__all__ = ["ArrayData", "BatchData", "class_weights_to_samples", "make_data", "split_validation", "unpack"]


def unpack(data):
    """(x, y, sample_weight) of what a generator yields: x, (x,), (x, y) or (x, y, sample_weight)."""
    if isinstance(data, list):
        data = tuple(data)
    if not isinstance(data, tuple):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError("Data is expected to be in format `x`, `(x,)`, `(x, y)`, or `(x, y, sample_weight)`;"
                         f" found a tuple of {len(data)}.")
    return data + (None,) * (3 - len(data))


def to_arrays(structure, what: str):
    """Every leaf as a C-contiguous array; floats in `floatx`. None stays None."""
    if structure is None or (type(structure) is np.ndarray and structure.dtype == config.floatx()
                             and structure.flags.c_contiguous):
        return structure  # the common case, kept cheap: a step on one batch

    def is_leaf(value):
        # A list of numbers (or of lists of numbers) is one array, a list of arrays is several inputs.
        return not isinstance(value, (list, tuple, dict)) or (
            isinstance(value, (list, tuple)) and len(value) > 0
            and not any(hasattr(v, "shape") or isinstance(v, dict) or v is None for v in tree.flatten(value)))

    def convert(value):
        if value is None:
            return None
        if isinstance(value, Tensor):
            array = value.numpy()
        elif hasattr(value, "to_numpy"):  # pandas
            array = value.to_numpy()
        elif hasattr(value, "toarray"):  # scipy.sparse
            array = value.toarray()
        else:
            array = np.asarray(value)
        if what == "x" and holds_strings(array):
            return array  # for layers that take strings
        if array.dtype == object:
            try:
                array = array.astype(config.floatx())
            except (TypeError, ValueError):
                raise ValueError(f"`{what}` holds Python objects of mixed type; expected numbers."
                                 f" First element: {array.flat[0]!r}") from None
        if not holds_numbers(array):
            raise ValueError(f"`{what}` has dtype {array.dtype}; expected numbers or bools.")
        stored = config.floatx() if holds_floats(array) else STORED_AS[array.dtype.name]
        return np.ascontiguousarray(array, stored).reshape(array.shape)

    def walk(value):
        if is_leaf(value):
            return convert(value)
        if isinstance(value, dict):
            return {k: walk(v) for k, v in value.items()}
        return type(value)(walk(v) for v in value) if not hasattr(value, "_fields") else tuple(walk(v) for v in value)

    return walk(structure)


def check_rows(structure, parts) -> int:
    """The common number of rows. Raises ValueError naming the sizes when they differ or are 0."""
    sizes: dict[str, list[int]] = {}
    for name, part in zip(parts, structure):
        for a in tree.flatten(part):
            if a is not None:
                if a.ndim == 0:
                    raise ValueError(f"`{name}` is a single number; expected an array of samples.")
                sizes.setdefault(name, []).append(a.shape[0])
    flat = {n for group in sizes.values() for n in group}
    if len(flat) > 1:
        text = ", ".join(f"'{k}' sizes: {', '.join(map(str, v))}" for k, v in sizes.items())
        raise ValueError(f"Data cardinality is ambiguous. Make sure all arrays contain the same number of samples."
                         f" {text}")
    if not flat or 0 in flat:
        raise ValueError("The data set is empty: expected at least one sample.")
    return flat.pop()


class ArrayData:
    """(x, y, sample_weight) as structures of arrays with a common first dimension.

    Raises:
        ValueError: for an empty set, different lengths, or NaN among the targets or weights.
    """

    def __init__(self, x, y=None, sample_weight=None):
        self.x = to_arrays(x, "x")
        self.y = to_arrays(y, "y")
        self.sample_weight = to_arrays(sample_weight, "sample_weight")
        self.rows = check_rows((self.x, self.y, self.sample_weight), ("x", "y", "sample_weight"))
        for name in ("y", "sample_weight"):
            for a in tree.flatten(getattr(self, name)):
                if a is not None and holds_floats(a) and np.isnan(a).any():
                    row = int(np.argwhere(np.isnan(a))[0][0])
                    raise ValueError(f"`{name}` contains NaN (first in row {row}); training on it would destroy the"
                                     " weights.")

    @property
    def structure(self):
        return (self.x, self.y, self.sample_weight)

    def take(self, rows):
        """The batch of these rows (slice or index array), in the dtypes steps see."""

        def part(name):
            return tree.map_structure(
                lambda a: None if a is None else np.ascontiguousarray(a[rows], batch_dtype(a, name)),
                getattr(self, name))

        return part("x"), part("y"), part("sample_weight")


def batch_dtype(array, what: str):
    """The dtype rows are converted to while a batch is gathered: bytes of `x` (images) to `floatx`, labels to int32.
    The whole array is never converted."""
    if array.dtype == np.uint8:
        return np.dtype(config.floatx() if what == "x" else "int32")
    if array.dtype == np.int64 and what == "y" and array.size and abs(array).max() < 2**31:
        return np.dtype("int32")
    return array.dtype


class BatchData:
    """Batches from a generator, a `PyDataset`-like sequence, or any iterable.

    `batches()` starts (or, for a generator, goes on with) the iteration.
    """

    def __init__(self, source, steps=None):
        self.source = source
        self.is_sequence = hasattr(source, "__getitem__") and (hasattr(source, "__len__")
                                                              or hasattr(source, "num_batches"))
        self.is_generator = hasattr(source, "__next__")
        self.steps = steps
        self._iterator = None

    def __len__(self):
        count = getattr(self.source, "num_batches", None)
        if count is not None:
            return count() if callable(count) else count
        return len(self.source)

    def known_length(self) -> int | None:
        try:
            return len(self)
        except (TypeError, AttributeError, NotImplementedError):
            return None

    def batches(self, shuffle=False):
        """Iterates over (x, y, sample_weight) of arrays."""
        if self.is_sequence:
            count = self.known_length()
            order = itertools.count() if count is None else np.random.permutation(count) if shuffle else range(count)
            iterator = (self.source[int(i)] for i in order)
        else:
            iterator = self.source if self.is_generator else iter(self.source)
        for batch in iterator:
            x, y, w = unpack(batch)
            yield to_arrays(x, "x"), to_arrays(y, "y"), to_arrays(w, "sample_weight")

    def epoch(self, steps=None, shuffle=False):
        """The batches of one epoch. With `steps` the next epoch goes on where this one stops; a source that can be
        read again is, once it has ended."""
        if steps is None or self._iterator is None:
            self._iterator = self.batches(shuffle)
        fresh, done = False, 0
        while steps is None or done < steps:
            batch = next(self._iterator, None)
            if batch is not None:
                done += 1
                yield batch
            elif done == 0 and not fresh and not self.is_generator:
                self._iterator, fresh = self.batches(shuffle), True
            else:
                self._iterator = None
                return

    def on_epoch_end(self) -> None:
        if hasattr(self.source, "on_epoch_end"):
            self.source.on_epoch_end()


def make_data(x, y=None, sample_weight=None, steps=None):
    """`ArrayData` for arrays (structures of them), `BatchData` for everything that yields batches."""
    leaf = tree.flatten(x)[0] if tree.is_nested(x) and tree.flatten(x) else x
    is_array = (isinstance(leaf, (np.ndarray, np.generic, Tensor, int, float, bool, str)) or tree.is_nested(x)
                or any(hasattr(leaf, name) for name in ("__array__", "to_numpy", "toarray")))  # torch, pandas, scipy
    if is_array:
        return ArrayData(x, y, sample_weight)
    if y is not None or sample_weight is not None:
        raise ValueError("When `x` yields batches, they contain the targets and sample weights: `y` and"
                         " `sample_weight` should not be passed.")
    if not hasattr(x, "__iter__") and not hasattr(x, "__getitem__"):
        raise ValueError(f"Unrecognized data type: x={x!r} (of type {type(x).__name__})")
    return BatchData(x, steps)


def split_validation(arrays, fraction: float):
    """((x, y, w) to train on, (x, y, w) of the last `fraction` of the rows)."""
    x, y, w = (to_arrays(a, n) for a, n in zip(arrays, ("x", "y", "sample_weight")))
    rows = check_rows((x, y, w), ("x", "y", "sample_weight"))
    split = int(np.floor(rows * (1.0 - fraction)))
    if not 0 < split < rows:
        raise ValueError(f"Training data contains {rows} samples, which is not sufficient to split it into a validation"
                         f" and training set as specified by `validation_split={fraction}`.")

    def part(rows_):
        return tuple(tree.map_structure(lambda a: None if a is None else a[rows_], s) for s in (x, y, w))

    return part(slice(0, split)), part(slice(split, None))


def class_weights_to_samples(y, class_weight: dict, sample_weight=None):
    """One weight per row from `class_weight` (class -> weight; classes not named weigh 1)."""
    if not isinstance(class_weight, dict):
        raise ValueError(f"`class_weight` is a dict of class index -> weight. Received: class_weight={class_weight!r}")
    if tree.is_nested(y) and not isinstance(to_arrays(y, "y"), np.ndarray):
        raise ValueError("`class_weight` is only supported for Models with a single output.")
    y = np.asarray(y)
    labels = y.argmax(-1) if y.ndim >= 2 and y.shape[-1] > 1 else y.reshape(y.shape[0], -1)[:, 0] if y.ndim > 1 else y
    weights = np.ones(labels.shape, config.floatx())
    for label, weight in class_weight.items():
        weights[labels == label] = weight
    return weights if sample_weight is None else weights * np.asarray(sample_weight, config.floatx())
