"""What the models of ImageNet share: scaling of pixels, names of classes, checks of arguments."""

from __future__ import annotations

import functools
import os

import numpy as np

from pydl import config, ops
from pydl.dtypes import is_float_dtype
from pydl.reading import read_json
from pydl.warning import warn

__all__ = ["decode_predictions", "preprocess_input"]

_CLASS_INDEX = "https://storage.googleapis.com/download.tensorflow.org/data/imagenet_class_index.json"
_CLASS_INDEX_MD5 = "c2c37ea517e94d9795004a39431a14cb"

# mode -> (factor, mean, deviation) over the channels; "caffe" counts them as blue, green, red.
_MODES = {
    "caffe": (1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),
    "tf": (127.5, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
    "torch": (255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def preprocess_input(x, data_format=None, mode="caffe"):
    """Scales images as a model saw them in its training.

    Args:
        x: one image or a batch, (..., height, width, 3), values 0 to 255: array, tensor, or symbolic tensor of a model.
        data_format: "channels_last" or "channels_first" (channels before height and width); the global setting when
            None.
        mode: "caffe": channels in the order blue, green, red, minus the mean of ImageNet;
            "tf": between -1 and 1; "torch": between 0 and 1, then normalised by ImageNet's mean and deviation.

    Returns:
        Floats of the shape of `x`: a new array for an array, else a tensor.

    Raises:
        ValueError: for an unknown mode or format, another rank, or (but in mode "tf") not 3 channels.
    """
    if mode not in _MODES:
        raise ValueError(f"preprocess_input: expected mode 'caffe', 'tf' or 'torch'; received mode={mode!r}.")
    data_format = data_format or config.image_data_format()
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError("preprocess_input: expected data_format 'channels_first' or 'channels_last'; received"
                         f" data_format={data_format!r}.")
    rank = len(x.shape)
    if rank not in (3, 4):
        raise ValueError(f"preprocess_input: expected one image (rank 3) or a batch (rank 4); received shape"
                         f" {tuple(x.shape)}.")
    axis = -1 if data_format == "channels_last" else rank - 3
    factor, mean, deviation = _MODES[mode]
    if mode != "tf" and x.shape[axis] != 3:
        raise ValueError(f"preprocess_input: mode {mode!r} is defined for 3 channels; received shape {tuple(x.shape)}"
                         f" in the format {data_format}.")
    if mode == "tf":
        return _as_float(x) / factor - 1.0
    library = np if isinstance(x, np.ndarray) else ops
    x = _as_float(x)
    if mode == "caffe":
        x = library.flip(x, axis)
    shape = [1] * rank
    shape[axis] = 3
    mean, deviation = (np.reshape(np.asarray(values, str(x.dtype)), shape) for values in (mean, deviation))
    return (x / factor - mean) / deviation


def _as_float(x):
    if is_float_dtype(str(x.dtype)):
        return x
    return x.astype(config.floatx()) if isinstance(x, np.ndarray) else ops.cast(x, config.floatx())


@functools.cache
def _class_index(path) -> list[tuple[str, str]]:
    """(identifier, name) of the 1000 classes in a file {"0": ["n01440764", "tench"], ...}."""
    try:
        table = read_json(path)
        return [(table[str(i)][0], table[str(i)][1]) for i in range(1000)]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{path} is no index of the 1000 classes of ImageNet (JSON, class number -> [identifier,"
                         f" name]): {error!r}") from error


def decode_predictions(preds, top=5, class_index=None):
    """Names the most probable classes of ImageNet.

    Args:
        preds: (batch, 1000) scores.
        top: how many classes of each row.
        class_index: path of a local `imagenet_class_index.json`; without it the file is fetched once and kept.

    Returns:
        For every row a list of (identifier, name, score), best first.

    Raises:
        ValueError: for another shape, or a file that is no class index.
        OSError: when the index is neither given nor cached and cannot be fetched.
    """
    preds = np.asarray(preds)
    if preds.ndim != 2 or preds.shape[1] != 1000:
        raise ValueError("decode_predictions: expected a batch of predictions of shape (samples, 1000); received shape"
                         f" {preds.shape}.")
    if class_index is None:
        from pydl.utils.files import get_file

        try:
            class_index = get_file("imagenet_class_index.json", _CLASS_INDEX, cache_subdir="models",
                                   file_hash=_CLASS_INDEX_MD5)
        except OSError as error:
            raise OSError(f"decode_predictions needs the names of ImageNet's classes. {error} Without a network, pass"
                          " the path of imagenet_class_index.json as `class_index`.") from error
    names = _class_index(os.fspath(class_index))
    best = np.argsort(-preds, axis=1, kind="stable")[:, :top]
    return [[(*names[i], row[i]) for i in order] for row, order in zip(preds, best)]


def validate_activation(classifier_activation, weights) -> None:
    """Raises ValueError when pretrained weights meet an activation of the head that they were not trained with."""
    name = getattr(classifier_activation, "__name__", classifier_activation)
    if weights is not None and name not in (None, "softmax", "linear"):
        raise ValueError("Only the activations None and 'softmax' can be used with pretrained weights and"
                         f" include_top=True; received classifier_activation={classifier_activation!r}.")


def obtain_input_shape(input_shape, default_size, min_size, data_format, require_flatten, weights=None):
    """The input shape of a model, checked and completed, without the batch axis.

    Args:
        input_shape: three entries (None: any size), or None for the model's own.
        default_size: height and width of the published model.
        min_size: least height and width.
        require_flatten: whether the head needs a fixed size (`include_top`).
        weights: "imagenet" fixes 3 channels and, with a head, the size.

    Raises:
        ValueError: for a shape that the model or the weights cannot take.
    """
    first = data_format == "channels_first"
    if input_shape is None:
        size = default_size if require_flatten else None
        return (3, size, size) if first else (size, size, 3)
    input_shape = tuple(input_shape)
    if len(input_shape) != 3:
        raise ValueError(f"`input_shape` must be a tuple of three integers; received input_shape={input_shape}.")
    channels, size = (input_shape[0], input_shape[1:]) if first else (input_shape[-1], input_shape[:2])
    if weights == "imagenet" and channels != 3:
        raise ValueError(f"The weights of ImageNet need 3 input channels; received input_shape={input_shape}.")
    if weights == "imagenet" and require_flatten and size != (default_size, default_size):
        raise ValueError(f"With include_top=True the weights of ImageNet need images of {default_size}x{default_size};"
                         f" received input_shape={input_shape}.")
    if channels not in (1, 3):
        warn(f"This model usually expects 1 or 3 input channels; it was passed input_shape={input_shape}.")
    if any(n is not None and n < min_size for n in size):
        raise ValueError(f"Input size must be at least {min_size}x{min_size}; received input_shape={input_shape}.")
    if require_flatten and None in input_shape:
        raise ValueError(f"With include_top=True the input shape must be fixed; received input_shape={input_shape}.")
    return input_shape
