"""The names of `keras.preprocessing.sequence`."""

from pydl.utils.arrays import pad_sequences

__all__ = ["pad_sequences"]
