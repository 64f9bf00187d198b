"""PyDataset: batches from a class of the user's."""

from __future__ import annotations

__all__ = ["PyDataset"]


class PyDataset:
    """Base of data sets that make their batches in Python. Subclasses write `__getitem__(index)` -> batch `(x, y)` or
    `(x, y, sample_weight)`, and `__len__` or `num_batches`; `on_epoch_end` is called between epochs.

    Args:
        workers, use_multiprocessing, max_queue_size: accepted; batches are made in the calling thread.
    """

    def __init__(self, workers=1, use_multiprocessing=False, max_queue_size=10):
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} has no `__getitem__(index)`.")

    def __len__(self):
        return self.num_batches

    @property
    def num_batches(self):
        """Number of batches, None when they never end."""
        if type(self).__len__ is not PyDataset.__len__:
            return len(self)
        raise NotImplementedError(f"{type(self).__name__} needs `__len__` or a property `num_batches`.")

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch."""
