"""Windows over a long series, as batches."""

from __future__ import annotations

import numpy as np

from pydl.data.pydataset import PyDataset

__all__ = ["timeseries_dataset_from_array"]


class _Windows(PyDataset):
    """Batches of windows, cut when they are asked for."""

    def __init__(self, data, targets, starts, length, stride, batch_size, generator):
        super().__init__()
        self.data, self.targets, self.starts, self.length, self.stride = data, targets, starts, length, stride
        self.batch_size = batch_size
        self.generator = generator
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.starts) // self.batch_size)

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"Batch {index} of {len(self)}.")
        starts = self.starts[index * self.batch_size : (index + 1) * self.batch_size]
        x = self.data[starts[:, None] + np.arange(self.length) * self.stride]
        return x if self.targets is None else (x, self.targets[starts])

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def on_epoch_end(self):
        if self.generator is not None:
            self.starts = self.generator.permutation(self.starts)


def timeseries_dataset_from_array(data, targets, sequence_length, sequence_stride=1, sampling_rate=1, batch_size=128,
                                  shuffle=False, seed=None, start_index=None, end_index=None, format="tf"):
    """Batches of windows of a series, for `fit`.

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
        format: accepted; batches are NumPy arrays.

    Returns:
        A PyDataset of (windows, targets), windows of shape (batch, sequence_length, ...).

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
    if batch_size is None:
        return _Single(data, targets, starts, sequence_length, sampling_rate, 1, generator)
    return _Windows(data, targets, starts, sequence_length, sampling_rate, batch_size, generator)


class _Single(_Windows):
    def __getitem__(self, index):
        item = super().__getitem__(index)
        return tuple(part[0] for part in item) if isinstance(item, tuple) else item[0]
