"""What `fit`, `evaluate` and `predict` accept as data, brought to one of two forms: arrays in memory, or batches."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from pydl import config, tree
from pydl.dtypes import holds_floats, holds_numbers
from pydl.tensor import Tensor, as_array, holds_strings, stored, stored_dtype

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


def to_arrays(structure, what: str, floats: str | None = None):
    """Every leaf as an array that lies as kernels read it. None stays None.

    Args:
        floats: the widest dtype of floats; by default they are in `floatx`, which is the narrowest.
    """
    if structure is None or (type(structure) is np.ndarray and structure.dtype == config.floatx()
                             and structure.flags.c_contiguous and structure.flags.aligned):
        return structure  # the common case, kept cheap: a step on one batch

    def is_leaf(value):
        # A list of numbers (or of lists of numbers) is one array, a list of arrays is several inputs.
        if not isinstance(value, (list, tuple)):
            return not isinstance(value, dict)
        leaves = tree.flatten(value)
        return not any(hasattr(v, "shape") for v in leaves) and any(v is not None for v in leaves)

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
            array = as_array(array, config.floatx(), f"`{what}`")
        if not holds_numbers(array):
            raise ValueError(f"`{what}` has dtype {array.dtype}; expected numbers or bools.")
        if not holds_floats(array):
            return stored(array, stored_dtype(array.dtype))
        wanted = config.floatx()
        if floats is not None and np.dtype(floats).itemsize > np.dtype(wanted).itemsize < array.itemsize:
            wanted = floats if array.itemsize >= np.dtype(floats).itemsize else stored_dtype(array.dtype)
        return stored(array, wanted)

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

    Args:
        floats: see `to_arrays`, for `x`.

    Raises:
        ValueError: for an empty set, or different lengths.
    """

    def __init__(self, x, y=None, sample_weight=None, floats=None):
        self.x = to_arrays(x, "x", floats)
        self.y = to_arrays(y, "y")
        self.sample_weight = to_arrays(sample_weight, "sample_weight")
        self.rows = check_rows((self.x, self.y, self.sample_weight), ("x", "y", "sample_weight"))

    def rows_with_nan(self) -> np.ndarray:
        """Numbers of the rows with NaN among their targets or weights."""
        missing = np.zeros(self.rows, bool)
        for a in tree.flatten((self.y, self.sample_weight)):
            if a is not None and holds_floats(a):
                at = np.isnan(a)
                if at.any():
                    missing |= at.reshape(self.rows, -1).any(1)
        return np.flatnonzero(missing)

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

    `batches()` starts (or, for a generator, goes on with) the iteration; `epoch()` keeps one iteration for `fit`, of
    which `get_state` tells where it stands. A source may have `get_state` and `set_state` itself, for the order of
    what it gives next.

    Args:
        source: gives x, (x,), (x, y) or (x, y, sample_weight).
        steps: batches of an epoch, None for all.
        prepare: function of the arrays (x, y, sample_weight) of a batch that gives what takes their place.
        floats: see `to_arrays`, for `x`.
    """

    def __init__(self, source, steps=None, prepare=None, floats=None):
        self.source = source
        self.floats = floats
        self.prepare = prepare
        self.is_sequence = hasattr(source, "__getitem__") and (hasattr(source, "__len__")
                                                              or hasattr(source, "num_batches"))
        self.is_generator = hasattr(source, "__next__")
        self.steps = steps
        self.used_up = False  # whether a generator has ended
        self._held: list = []  # batches of it that `sample` took
        self._iterator = None
        self._order: np.ndarray | None = None  # of the batches of a sequence, in the iteration that is under way
        self._taken = 0  # of its batches
        self._began: Any = None  # what the source said of itself when it began

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

    def batches(self, order=None, skip=0):
        """Iterates over (x, y, sample_weight) of arrays.

        Args:
            order: numbers of the batches of a sequence; None for theirs.
            skip: how many to leave out.
        """
        if self.is_sequence:
            count = self.known_length()
            numbers = order if order is not None else itertools.count() if count is None else range(count)
            return map(self._arrays, (self.source[int(i)] for i in itertools.islice(numbers, skip, None)))
        if self.is_generator:
            iterator = itertools.chain(self._held, self.source)
            self._held = []
        else:
            iterator = iter(self.source)
        for _ in itertools.islice(iterator, skip):  # now: they may draw from generators that are set afterwards
            pass
        return map(self._arrays, iterator)

    def _arrays(self, batch):
        x, y, w = unpack(batch)
        arrays = to_arrays(x, "x", self.floats), to_arrays(y, "y"), to_arrays(w, "sample_weight")
        return arrays if self.prepare is None else self.prepare(*arrays)

    def _begin(self, shuffle) -> None:
        count = self.known_length() if self.is_sequence and shuffle else None
        self._order = None if count is None else np.random.permutation(count)
        self._began, self._taken = self._source_state(), 0
        self._iterator = self.batches(self._order)

    def epoch(self, steps=None, shuffle=False, done=0):
        """The batches of one epoch of which `done` were taken before. With `steps` the next epoch goes on where this
        one stops; a source that can be read again is, once it has ended."""
        if not done and hasattr(self.source, "on_epoch_begin"):
            self.source.on_epoch_begin()
        if self._iterator is None or (steps is None and not done):
            self._begin(shuffle)
        fresh = False
        while steps is None or done < steps:
            batch = next(self._iterator, None)
            if batch is not None:
                done += 1
                self._taken += 1
                yield batch
            elif done == 0 and not fresh and not self.is_generator:
                self._begin(shuffle)
                fresh = True
            else:
                self._iterator = None
                self.used_up = self.is_generator
                return

    def sample(self):
        """Some batch, which is still to come. Raises ValueError where there is none."""
        if self.is_sequence:
            return self._arrays(self.source[0])
        if self.is_generator and not self._held:
            self._held = list(itertools.islice(self.source, 1))
        before = self._source_state()
        for batch in self._held if self.is_generator else self.source:
            if before is not None:
                self.source.set_state(before)
            return self._arrays(batch)
        raise ValueError("The data set is empty: the iterator yielded no batch.")

    def peek(self):
        """The batch that comes next, which is still to come; None at the end."""
        if self._iterator is None:
            return None
        batch = next(self._iterator, None)
        if batch is not None:
            self._iterator = itertools.chain([batch], self._iterator)
        return batch

    def on_epoch_end(self) -> None:
        if self.steps is None:
            self._iterator = None
        if hasattr(self.source, "on_epoch_end"):
            self.source.on_epoch_end()

    # ---- where the iteration stands ----------------------------------------------------------------------------------

    def _source_state(self):
        return self.source.get_state() if hasattr(self.source, "get_state") else None

    def get_state(self) -> dict:
        """Where `epoch` stands, for `set_state` of data made the same way."""
        if self._iterator is None:
            return {"taken": 0, "order": None, "source": self._source_state(), "under_way": False}
        return {"taken": self._taken, "order": self._order, "source": self._began, "under_way": True}

    def set_state(self, state) -> None:
        """Goes to where `get_state` was asked: a sequence at once, another source by reading what came before. A
        generator stays where it is, since nobody can tell where that is."""
        if self.is_generator:
            return
        if state["source"] is not None:
            self.source.set_state(state["source"])
        self._iterator = None
        if state["under_way"]:
            self._order, self._began, self._taken = state["order"], state["source"], state["taken"]
            self._iterator = self.batches(self._order, skip=self._taken)


def make_data(x, y=None, sample_weight=None, steps=None, floats=None):
    """`ArrayData` for arrays (structures of them), `BatchData` for everything that yields batches; `floats` as
    `to_arrays`, for `x`."""
    leaf = tree.flatten(x)[0] if tree.is_nested(x) and tree.flatten(x) else x
    is_array = (isinstance(leaf, (np.ndarray, np.generic, Tensor, int, float, bool, str)) or tree.is_nested(x)
                or any(hasattr(leaf, name) for name in ("__array__", "to_numpy", "toarray")))  # torch, pandas, scipy
    if is_array:
        return ArrayData(x, y, sample_weight, floats)
    if y is not None or sample_weight is not None:
        raise ValueError("When `x` yields batches, they contain the targets and sample weights: `y` and"
                         " `sample_weight` should not be passed.")
    if not hasattr(x, "__iter__") and not hasattr(x, "__getitem__"):
        raise ValueError(f"Unrecognized data type: x={x!r} (of type {type(x).__name__})")
    return BatchData(x, steps, floats=floats)


def split_validation(arrays, fraction: float, floats=None):
    """((x, y, w) to train on, (x, y, w) of the last `fraction` of the rows); `floats` as `to_arrays`, for `x`."""
    if not isinstance(fraction, (float, int, np.number)) or not 0 < fraction < 1:
        raise ValueError(f"validation_split={fraction!r}: expected a number between 0 and 1.")
    x, y, w = (to_arrays(a, n, f) for a, n, f in zip(arrays, ("x", "y", "sample_weight"), (floats, None, None)))
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
    for label, weight in class_weight.items():
        if not isinstance(label, (int, float, np.number)) or not np.isscalar(weight) or isinstance(weight, str) or (
                np.isnan(weight)):
            raise ValueError("`class_weight` is a dict of class index -> weight, both numbers. Received:"
                             f" {label!r}: {weight!r}")
    if tree.is_nested(y) and not isinstance(to_arrays(y, "y"), np.ndarray):
        raise ValueError("`class_weight` is only supported for Models with a single output.")
    y = np.asarray(y)
    labels = y.argmax(-1) if y.ndim >= 2 and y.shape[-1] > 1 else y.reshape(y.shape[0], -1)[:, 0] if y.ndim > 1 else y
    weights = np.ones(labels.shape, config.floatx())
    for label, weight in class_weight.items():
        weights[labels == label] = weight
    if sample_weight is None:
        return weights
    sample_weight = as_array(sample_weight, config.floatx(), "`sample_weight`")
    if sample_weight.shape[:1] != weights.shape[:1]:
        raise ValueError(f"`sample_weight`: expected one weight for each of the {len(weights)} rows that `class_weight`"
                         f" weighs; received shape {sample_weight.shape}")
    return weights * sample_weight
