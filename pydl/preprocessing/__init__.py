"""The names of `keras.preprocessing`."""

from pydl.data.timeseries import timeseries_dataset_from_array
from pydl.preprocessing import image, sequence

__all__ = ["image", "sequence", "timeseries_dataset_from_array"]
