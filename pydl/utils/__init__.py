"""Helpers under Keras's names: files, arrays, progress bar, seeds.

`name as name` is how an import is public to a type checker.
"""

from pydl import exports
from pydl.backend import is_keras_tensor as is_keras_tensor
from pydl.backend import standardize_dtype as standardize_dtype
from pydl.config import disable_interactive_logging as disable_interactive_logging
from pydl.config import enable_interactive_logging as enable_interactive_logging
from pydl.config import is_interactive_logging_enabled as is_interactive_logging_enabled
from pydl.data.dataset import split_dataset as split_dataset
from pydl.data.pydataset import PyDataset as PyDataset
from pydl.data.timeseries import timeseries_dataset_from_array as timeseries_dataset_from_array
from pydl.progbar import Progbar as Progbar
from pydl.registry import CustomObjectScope as CustomObjectScope
from pydl.registry import custom_object_scope as custom_object_scope
from pydl.registry import deserialize_keras_object as deserialize_keras_object
from pydl.registry import get_custom_objects as get_custom_objects
from pydl.registry import get_registered_name as get_registered_name
from pydl.registry import get_registered_object as get_registered_object
from pydl.registry import register_keras_serializable as register_keras_serializable
from pydl.registry import serialize_keras_object as serialize_keras_object
from pydl.utils.arrays import *
from pydl.utils.files import *
from pydl.utils.image_dataset import *
from pydl.utils.images import *
from pydl.utils.model_visualization import *
from pydl.utils.session import *
from pydl.utils.text_dataset import *

Sequence = PyDataset

__all__ = exports.public(globals())
