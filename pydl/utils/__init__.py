"""Helpers under Keras's names: files, arrays, progress bar, seeds."""

from pydl import exports
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
from pydl.utils.arrays import *
from pydl.utils.files import *
from pydl.utils.image_dataset import *
from pydl.utils.images import *
from pydl.utils.model_visualization import *
from pydl.utils.session import *
from pydl.utils.text_dataset import *

Sequence = PyDataset

__all__ = exports.public(globals())
