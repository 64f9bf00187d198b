"""What lies inside a convolutional network: the outputs of its layers, and its filters."""

from __future__ import annotations

import numpy as np

from pydl import tree
from pydl.autograd import no_grad
from pydl.inspection.watching import (
    checked,
    find_layer,
    is_convolution,
    is_pooling,
    layers_by_key,
    layers_by_path,
    watching,
)
from pydl.layers import Layer

__all__ = ["feature_maps", "filters"]


def feature_maps(model, x, layers=None) -> dict[str, np.ndarray]:
    """The outputs of layers for a batch.

    Args:
        model: a built model.
        x: batch of inputs, as for `predict`; it is computed in one piece.
        layers: names, paths ("inner/conv" inside a nested model) or layers; all convolution and pooling layers when
            None.

    Returns:
        name -> array (batch, ...), in the order of computation. A name that two layers have is replaced by their
        paths; of a layer that is used several times the last output is returned.

    Raises:
        ValueError: for a layer the model does not have or does not use, a model that is not built, an `x` that does
            not fit.
    """
    x = checked(model, x, "feature_maps")
    keys = {id(layer): key for key, layer in layers_by_key(model).items()}
    if layers is None:
        chosen = [layer for layer in layers_by_path(model).values() if is_convolution(layer) or is_pooling(layer)]
        if not chosen:
            raise ValueError(f'feature_maps: model "{model.name}" has no convolution or pooling layer. Name some of'
                             f" its layers: {list(keys.values())}.")
    else:
        chosen = [find_layer(model, wanted) for wanted in ([layers] if isinstance(layers, (str, Layer)) else layers)]
    maps = {}

    def see(layer, output):
        maps[keys[id(layer)]] = tree.map_structure(lambda y: np.array(y.numpy()), output)
        return output

    with no_grad(), watching(chosen, see):
        model(x, training=False)
    for layer in chosen if layers is not None else ():
        if keys[id(layer)] not in maps:
            raise ValueError(f'feature_maps: model "{model.name}" does not use its layer "{layer.name}".')
    return maps


def filters(layer_or_model, name: str | None = None, normalize: bool = False) -> np.ndarray:
    """The kernels of a convolution, one per row.

    Args:
        layer_or_model: a convolution layer, or a model.
        name: of the layer inside a model; its first convolution when None.
        normalize: bring each filter to [0, 1] for viewing; a constant one becomes 0.

    Returns:
        Array (filters, h, w, channels), for 1D (filters, steps, channels). The filters of a depthwise convolution see
        one channel each; of a separable one they are its depthwise filters.

    Raises:
        ValueError: for a layer that is no convolution or is not built, or a name the model does not have.
    """
    layer = layer_or_model
    if name is not None:
        layer = find_layer(layer_or_model, name)
    elif hasattr(layer_or_model, "layers"):
        found = [inner for inner in layers_by_path(layer_or_model).values() if is_convolution(inner)]
        if not found:
            raise ValueError(f'filters: model "{layer_or_model.name}" has no convolution layer.')
        layer = found[0]
    if not is_convolution(layer):
        raise ValueError(f"filters: expected a convolution layer; received {layer!r}.")
    rows = _rows(layer)
    if normalize:
        axes = tuple(range(1, rows.ndim))
        low, high = rows.min(axes, keepdims=True), rows.max(axes, keepdims=True)
        rows = (rows - low) / np.where(high > low, high - low, 1)
    return rows


def _rows(layer) -> np.ndarray:
    """The kernel of a convolution with the filters first."""
    separate = getattr(layer, "depthwise_kernel", None)
    kernel = separate if separate is not None else getattr(layer, "kernel", None)
    if kernel is None:
        raise ValueError(f'filters: {type(layer).__name__} "{layer.name}" has no `kernel`; is it built?')
    kernel = np.array(kernel)
    if hasattr(layer, "depth_multiplier"):  # (..., channels, multiplier): each filter reads one channel
        return np.moveaxis(kernel.reshape(*kernel.shape[:-2], -1), -1, 0)[..., None]
    transposed = hasattr(layer, "output_padding")  # (..., filters, channels)
    return np.moveaxis(kernel, -2 if transposed else -1, 0)
