"""What the published architectures share: arguments, classifier or pooled features, weights."""

from __future__ import annotations

import os

from pydl import config, layers
from pydl.applications.imagenet_utils import obtain_input_shape, validate_activation
from pydl.models import Functional
from pydl.symbolic import KerasTensor

STORAGE = "https://storage.googleapis.com/tensorflow/keras-applications/"


def check_weights(weights, include_top, classes, published="imagenet", published_classes=1000) -> None:
    """Raises ValueError when `weights` is neither None, the name of the published ones, nor a file, or when the
    published ones are for another number of classes."""
    if weights is None:
        return
    if weights != published:
        if not os.path.exists(weights):
            raise ValueError(f"Expected `weights` to be None (random weights), {published!r} (trained ones) or the path"
                             f" of a weights file. Received: weights={weights!r}, which is no file.")
    elif include_top and classes != published_classes:
        raise ValueError(f"With weights={published!r} and include_top=True, `classes` should be {published_classes}."
                         f" Received classes={classes}.")


def channel_axis() -> int:
    """The axis of the channels in a batch of images."""
    return 1 if config.image_data_format() == "channels_first" else 3


def image_input(input_tensor, input_shape, include_top, weights, default_size=224) -> KerasTensor:
    """Where the network begins: `input_tensor`, or a new input of `input_shape`.

    Args:
        input_shape: of one image; None for `default_size`, or any size without a classifier.

    Raises:
        ValueError: for a shape that the network or its weights cannot take, or an `input_tensor` that is not symbolic
            or of another shape than `input_shape`.
    """
    data_format = config.image_data_format()
    if input_tensor is None:
        return layers.Input(shape=obtain_input_shape(input_shape, default_size, 32, data_format, include_top, weights))
    given = symbolic(input_tensor).shape[1:]
    if input_shape is not None and any(a != b for a, b in zip(given, input_shape) if None not in (a, b)):
        raise ValueError(f"`input_tensor` and `input_shape` differ: {given} and {tuple(input_shape)}.")
    obtain_input_shape(given, default_size, 32, data_format, require_flatten=False, weights=weights)
    return input_tensor


def symbolic(input_tensor) -> KerasTensor:
    """`input_tensor` itself. Raises ValueError when it is not symbolic."""
    if not isinstance(input_tensor, KerasTensor):
        raise ValueError("Expected `input_tensor` to be a symbolic tensor, such as layers.Input() gives. Received:"
                         f" {type(input_tensor).__name__}.")
    return input_tensor


def source(tensor):
    """The input that a symbolic tensor depends on; a list when there are several."""
    found: list[KerasTensor] = []
    queue, seen = [tensor], set()
    while queue:
        t = queue.pop()
        if id(t) not in seen:
            seen.add(id(t))
            if t.node is None or not t.node.inputs:
                found.append(t)
            else:
                queue += reversed(t.node.inputs)
    return found[0] if len(found) == 1 else found


def pooled(x, pooling, names=(None, None)):
    """Features of a network without its classifier: (batch, channels) for "avg" and "max", `x` itself for None."""
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"Expected `pooling` to be None, 'avg' or 'max'. Received: pooling={pooling!r}.")
    if pooling is None:
        return x
    return (layers.GlobalAveragePooling2D(name=names[0]) if pooling == "avg" else
            layers.GlobalMaxPooling2D(name=names[1]))(x)


def classifier(x, classes, activation, weights):
    """The last layer, "predictions"."""
    validate_activation(activation, weights)
    return layers.Dense(classes, activation=activation, name="predictions")(x)


def finish(img_input, x, name, weights, origin, file_hash=None) -> Functional:
    """The model from `img_input` (or what feeds it) to `x`, with its weights.

    Args:
        weights: as of the public functions.
        origin: URL below `STORAGE` of the file that "imagenet" stands for.
        file_hash: its MD5.

    Raises:
        ValueError: when a weights file does not fit.
        OSError: when "imagenet" is neither in the cache nor can be fetched.
    """
    model = Functional(source(img_input), x, name=name)
    if weights == "imagenet":
        from pydl.utils.files import get_file

        try:
            weights = get_file(os.path.basename(origin), STORAGE + origin, cache_subdir="models", file_hash=file_hash)
        except OSError as error:
            raise OSError(f"weights='imagenet': {error}\nFetch the file elsewhere and pass its path as `weights`, or"
                          " use weights=None.") from error
    if weights is not None:
        model.load_weights(weights)
    return model
