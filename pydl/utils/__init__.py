"""Helpers under Keras's names: files, arrays, progress bar, seeds."""

from pydl.backend import is_keras_tensor, standardize_dtype
from pydl.config import disable_interactive_logging, enable_interactive_logging, is_interactive_logging_enabled
from pydl.data.dataset import split_dataset
from pydl.data.pydataset import PyDataset
from pydl.data.timeseries import timeseries_dataset_from_array
from pydl.progbar import Progbar
from pydl.registry import (
    CustomObjectScope,
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)
from pydl.utils.arrays import (
    normalize,
    pack_x_y_sample_weight,
    pad_sequences,
    to_categorical,
    unpack_x_y_sample_weight,
)
from pydl.utils.files import get_file
from pydl.utils.image_dataset import image_dataset_from_directory
from pydl.utils.images import array_to_img, img_to_array, load_img, save_img
from pydl.utils.model_visualization import model_to_dot, plot_model
from pydl.utils.session import clear_session, set_random_seed
from pydl.utils.text_dataset import text_dataset_from_directory

Sequence = PyDataset

__all__ = [
    "CustomObjectScope", "Progbar", "PyDataset", "Sequence", "array_to_img", "clear_session", "custom_object_scope",
    "deserialize_keras_object", "disable_interactive_logging", "enable_interactive_logging", "get_custom_objects",
    "get_file", "get_registered_name", "get_registered_object", "image_dataset_from_directory", "img_to_array",
    "is_interactive_logging_enabled", "is_keras_tensor", "load_img", "model_to_dot", "normalize",
    "pack_x_y_sample_weight", "pad_sequences", "plot_model", "register_keras_serializable", "save_img",
    "serialize_keras_object", "set_random_seed", "split_dataset", "standardize_dtype",
    "text_dataset_from_directory", "timeseries_dataset_from_array", "to_categorical", "unpack_x_y_sample_weight",
]
