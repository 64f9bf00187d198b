"""Data sets that are read batch by batch, prepared ahead of their use; the part of tf.data's methods scripts need."""

from __future__ import annotations

import collections
import itertools
import operator
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pydl import tree
from pydl.dtypes import holds_numbers
from pydl.tensor import Tensor, from_numpy

__all__ = ["Dataset", "loaded", "split_dataset"]


class Memory(NamedTuple):
    """A part of what a data set remembers from one iteration to the next.

    Attributes:
        get: function that returns it as plain values.
        set: function that takes it over.
    """

    get: Callable[[], Any]
    set: Callable[[Any], None]


def memory_of(bits: np.random.BitGenerator) -> Memory:
    """The state of NumPy's generator."""
    return Memory(lambda: bits.state, lambda state: setattr(bits, "state", state))


class Dataset:
    """Elements that can be read again and again: `fit`, `evaluate`, `predict` and `for` take it.

    Args:
        iterate: function without arguments -> iterator over the elements of one epoch.
        length: number of elements, None when it is not known.
        batch_size: samples in an element, None for elements that are samples.
        memory: of what decides the order of the next iterations; a list of `Memory`.

    An element is a structure of tensors, or of NumPy arrays where it holds text. Every method returns a new data set
    and leaves this one as it is; their functions run in the thread that reads.
    """

    class_names: list[str] | None
    file_paths: list[str]

    def __init__(self, iterate, length=None, batch_size=None, memory=()):
        self._iterate, self._length, self.batch_size = iterate, length, batch_size
        self._memory = list(memory)

    def _with(self, iterate, length):
        return Dataset(iterate, length, self.batch_size, self._memory)

    def get_state(self) -> list:
        """What decides the order of the next iterations, as plain values: `set_state` of a data set made the same way
        takes them over, in this process or another."""
        return [part.get() for part in self._memory]

    def set_state(self, state) -> None:
        """Takes over what `get_state` returned."""
        for part, value in zip(self._memory, state):
            part.set(value)

    def __iter__(self):
        return self._iterate()

    def __len__(self):
        if self._length is None:
            raise TypeError("The data set does not know its length.")
        return self._length

    def cardinality(self):
        """Number of elements; -2 when it is not known."""
        return -2 if self._length is None else self._length

    def map(self, map_func, num_parallel_calls=None, deterministic=None):
        """Each element after `map_func(x, y)`, or `map_func(x)` where elements are no tuples. (The other arguments are
        accepted: elements are mapped one after the other.)"""
        return self._with(lambda: (map_func(*e) if isinstance(e, tuple) else map_func(e) for e in self), self._length)

    def take(self, count):
        """The first `count` elements; all for -1."""
        length = self._length if count < 0 else count if self._length is None else min(count, self._length)
        return self._with(lambda: itertools.islice(iter(self), None if count < 0 else count), length)

    def skip(self, count):
        """All but the first `count` elements."""
        length = None if self._length is None else max(self._length - count, 0)
        return self._with(lambda: itertools.islice(iter(self), count, None), length)

    def cache(self):
        """Keeps the elements in memory when they have been read to the end once. Their order is kept with them, so
        shuffle afterwards."""
        kept: list = []
        began: list = []  # with which state of this data set the elements were read

        def iterate():
            if kept:
                yield from kept
                return
            elements = []
            began[:] = [self.get_state()]
            for element in self:
                elements.append(element)
                if len(elements) == self._length:  # who knows the length does not ask for another one
                    kept[:] = elements
                yield element
            kept[:] = elements

        def set_state(state):
            kept.clear()
            self.set_state(state)

        memory = Memory(lambda: began[0] if began else self.get_state(), set_state)
        return Dataset(iterate, self._length, self.batch_size, [memory])

    def shuffle(self, buffer_size, seed=None, reshuffle_each_iteration=True):
        """Elements (batches, where they are) in random order, drawn from the next `buffer_size`."""
        generator = np.random.default_rng(seed)
        again = np.random.default_rng(int(generator.integers(2**32))).bit_generator

        def iterate():
            random = generator
            if not reshuffle_each_iteration:
                random = np.random.default_rng()
                random.bit_generator.state = again.state
            buffer: list = []
            for element in self:
                buffer.append(element)
                if len(buffer) >= buffer_size:
                    yield buffer.pop(random.integers(len(buffer)))
            while buffer:
                yield buffer.pop(random.integers(len(buffer)))

        memory = memory_of(generator.bit_generator if reshuffle_each_iteration else again)
        return Dataset(iterate, self._length, self.batch_size, [*self._memory, memory])

    def repeat(self, count=-1):
        """The elements `count` times over, without end for None or a negative number."""
        endless = count is None or count < 0
        length = None if endless or self._length is None else self._length * count
        rounds = () if endless else (count,)
        return self._with(lambda: itertools.chain.from_iterable(itertools.repeat(self, *rounds)), length)

    def batch(self, batch_size, drop_remainder=False):
        """Groups of `batch_size` elements, stacked along a new first axis; the last may be smaller."""

        def iterate():
            elements = iter(self)
            while group := list(itertools.islice(elements, batch_size)):
                if len(group) < batch_size and drop_remainder:
                    return
                yield _tensors(tree.map_structure(lambda *parts: np.stack(parts), *group))

        length = None if self._length is None else (
            self._length // batch_size if drop_remainder else -(-self._length // batch_size))
        return Dataset(iterate, length, batch_size, self._memory)

    def prefetch(self, buffer_size=None):
        """The data set itself: what is read from files is prepared ahead of its use anyway."""
        return self


def _tensors(structure):
    """Arrays as tensors over the same memory; text stays an array."""
    return tree.map_structure(lambda a: from_numpy(np.asarray(a)) if holds_numbers(np.asarray(a)) else a,
                              structure)


def workers() -> int:
    """Number of threads that load: the CPUs this process may use, at most 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, 8)


def ahead(jobs):
    """Results of functions without arguments, in their order; threads work on the next ones meanwhile.

    At most two jobs per thread are under way or wait to be taken. No thread ever waits for the reader, and all end
    when the iterator ends, fails, or is dropped. An error of a job is raised where its result would have come.
    """
    from concurrent.futures import ThreadPoolExecutor

    count = workers()
    pool = ThreadPoolExecutor(count, thread_name_prefix="pydl-load")
    pending: collections.deque = collections.deque()
    jobs = iter(jobs)
    try:
        pending.extend(pool.submit(job) for job in itertools.islice(jobs, 2 * count))
        while pending:
            result = pending.popleft().result()
            following = next(jobs, None)
            if following is not None:
                pending.append(pool.submit(following))
            else:
                pool.shutdown(wait=False)  # what was submitted is still done, also when nobody reads to the end
            yield result
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def loaded(load, items, targets, batch_size, seed) -> Dataset:
    """Batches of items that background threads load.

    Args:
        load: list of items -> array of a batch.
        items: list.
        targets: array with a row per item, or None for batches without targets.
        batch_size: None for single items without a batch axis.
        seed: of a new order in each epoch; None keeps the order.
    """
    epochs = [0]
    size = batch_size or 1

    def job(rows):
        x = load([items[i] for i in rows])
        element = x if targets is None else (x, targets[rows])
        return element if batch_size else tree.map_structure(lambda a: a[0], element)

    def iterate():
        order = np.arange(len(items))
        if seed is not None:
            order = np.random.default_rng((seed, epochs[0])).permutation(order)
            epochs[0] += 1
        parts = (order[i : i + size] for i in range(0, len(order), size))
        return map(_tensors, ahead(lambda rows=rows: job(rows) for rows in parts))

    memory = Memory(lambda: epochs[0], lambda number: epochs.__setitem__(0, number))
    return Dataset(iterate, -(-len(items) // size), batch_size, [memory])


def _samples(dataset) -> list:
    """The samples of arrays, of a list of samples, or of a data set of samples or batches."""
    if isinstance(dataset, (np.ndarray, Tensor)) or (
            isinstance(dataset, (tuple, dict)) and all(hasattr(a, "shape") for a in tree.flatten(dataset))):
        arrays = tree.map_structure(np.asarray, dataset)
        sizes = {len(a) for a in tree.flatten(arrays)}
        if len(sizes) != 1:
            raise ValueError(f"split_dataset: expected arrays of one length; received {sorted(sizes)}.")
        return [tree.map_structure(operator.itemgetter(i), arrays) for i in range(sizes.pop())]
    if getattr(dataset, "batch_size", None) is not None:
        return [sample for batch in dataset for sample in _samples(batch)]
    return [tuple(e) if isinstance(e, list) else e for e in dataset]


def split_dataset(dataset, left_size=None, right_size=None, shuffle=False, seed=None, preferred_backend=None):
    """Splits data into a left and a right part.

    Args:
        dataset: arrays with a common first axis (an array, or a tuple or dict of them), a list of samples, or a
            `Dataset` of samples or batches; it is read once and kept in memory.
        left_size, right_size: fraction (float between 0 and 1) or number (int) of samples; one may be None and is the
            rest.
        shuffle: whether to shuffle before splitting.
        seed: of the shuffling.
        preferred_backend: accepted for Keras scripts.

    Returns:
        Two `Dataset`, of batches where the given one was; else `.batch(n)` groups the samples for `fit`.

    Raises:
        ValueError: for sizes that leave a part empty or are more than there is.
    """
    samples, batch_size = _samples(dataset), getattr(dataset, "batch_size", None)
    total = len(samples)
    if left_size is None and right_size is None:
        raise ValueError("split_dataset: at least one of left_size and right_size must be given.")

    def count(name, value):
        if isinstance(value, (float, np.floating)) and 0 < value < 1:
            return round(value * total)
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and 0 < value < total:
            return int(value)
        raise ValueError(f"split_dataset: {name} is a fraction between 0 and 1, or a number of samples less than the"
                         f" {total} there are; received {value!r}.")

    left = total - count("right_size", right_size) if left_size is None else count("left_size", left_size)
    right = total - left if right_size is None else count("right_size", right_size)
    if left + right > total or not left or not right:
        raise ValueError(f"split_dataset: {total} samples cannot be split into {left} and {right}.")
    order = np.random.default_rng(seed).permutation(total) if shuffle else np.arange(total)

    def part(rows):
        found = Dataset(lambda: (_tensors(samples[i]) for i in rows), len(rows))
        return found if batch_size is None else found.batch(batch_size)

    return part(order[:left]), part(order[total - right :])
