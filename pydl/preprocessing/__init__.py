"""The names of `keras.preprocessing`."""

from pydl.data.timeseries import timeseries_dataset_from_array
from pydl.preprocessing import image, sequence, text
from pydl.utils.image_dataset import image_dataset_from_directory
from pydl.utils.text_dataset import text_dataset_from_directory

__all__ = ["image", "image_dataset_from_directory", "sequence", "text", "text_dataset_from_directory",
           "timeseries_dataset_from_array"]
