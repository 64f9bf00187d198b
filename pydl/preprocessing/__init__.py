"""The names of `keras.preprocessing`."""

from pydl.data.timeseries import timeseries_dataset_from_array
from pydl.preprocessing import sequence

__all__ = ["sequence", "timeseries_dataset_from_array"]
