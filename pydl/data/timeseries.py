"""Windows over a long series, as batches."""

from __future__ import annotations

import numpy as np

from pydl.data.dataset import Dataset, memory_of
from pydl.tensor import from_numpy

__all__ = ["timeseries_dataset_from_array"]


def timeseries_dataset_from_array(data, targets, sequence_length, sequence_stride=1, sampling_rate=1, batch_size=128,
                                  shuffle=False, seed=None, start_index=None, end_index=None, format="tf"):
    """Windows of a series in batches, for `fit`.

    Args:
        data: array (time, ...).
        targets: array whose row i belongs to the window that starts at row i, or None for windows alone.
        sequence_length: entries of a window.
        sequence_stride: rows between the starts of two windows.
        sampling_rate: rows between two entries of a window.
        batch_size: windows per batch; None for one window at a time, without a batch axis.
        shuffle: new order of windows in each epoch.
        seed: of the shuffling.
        start_index, end_index: rows used, [start_index, end_index).
        format: accepted.

    Returns:
        A Dataset of (windows, targets) in the dtypes given, windows of shape (batch, sequence_length, ...); of windows
        alone without targets. They are cut when they are asked for.

    Raises:
        ValueError: for numbers that leave no window.
    """
    for name, value in (("sequence_length", sequence_length), ("sequence_stride", sequence_stride),
                        ("sampling_rate", sampling_rate), ("batch_size", 1 if batch_size is None else batch_size)):
        if not isinstance(value, (int, np.integer)) or value <= 0:
            raise ValueError(f"timeseries_dataset_from_array: expected a positive integer `{name}`; received"
                             f" {value!r}.")
    data = np.asarray(data)
    start = start_index or 0
    end = len(data) if end_index is None else end_index
    if not 0 <= start < end <= len(data):
        raise ValueError(f"timeseries_dataset_from_array: expected 0 <= start_index < end_index <= {len(data)};"
                         f" received start_index={start_index}, end_index={end_index}.")
    last = end - (sequence_length - 1) * sampling_rate
    if targets is not None:
        targets = np.asarray(targets)
        last = min(last, len(targets))
    starts = np.arange(start, max(last, start), sequence_stride)
    if len(starts) == 0:
        raise ValueError(f"timeseries_dataset_from_array: {end - start} rows hold no window of {sequence_length}"
                         f" entries at sampling_rate={sampling_rate}.")
    generator = np.random.default_rng(seed) if shuffle else None
    offsets = np.arange(sequence_length) * sampling_rate

    def iterate():
        order = starts if generator is None else generator.permutation(starts)
        for i in range(0, len(order), batch_size or 1):
            chosen = order[i : i + batch_size] if batch_size else order[i]
            x = from_numpy(data[np.add.outer(chosen, offsets)])
            yield x if targets is None else (x, from_numpy(np.asarray(targets[chosen])))

    memory = [] if generator is None else [memory_of(generator.bit_generator)]
    return Dataset(iterate, -(-len(starts) // (batch_size or 1)), batch_size, memory)
