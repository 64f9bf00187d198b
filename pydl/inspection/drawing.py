"""Pictures of what `pydl.inspection` finds and of training, with matplotlib's figures; no window is ever opened.

Every function returns the Figure. `path` saves it (the suffix tells the format); `figure` is a Figure or SubFigure to
draw into instead of a new one. Pictures are arrays (h, w), (h, w, 1) or (h, w, 3), channels last: uint8, or floats,
which are stretched to [0, 1] where they lie outside.
"""

from __future__ import annotations

import math
import os

import numpy as np

from pydl.atomic import atomic_write

__all__ = ["plot_feature_maps", "plot_filters", "plot_grad_cam", "plot_history", "plot_predictions", "plot_saliency"]


def plot_feature_maps(maps, sample: int = 0, limit: int = 8, path=None, figure=None):
    """One row per layer with its first `limit` channels, bright where they are high.

    Args:
        maps: dict of `feature_maps`; layers without positions are left out. Or one array (batch, h, w, channels).
        sample: which row of the batch.
        limit: channels per layer.

    Raises:
        ValueError: when no layer has positions, or there is no such sample.
    """
    maps = maps if isinstance(maps, dict) else {"": np.asarray(maps)}
    shown = {name: array for name, array in maps.items() if getattr(array, "ndim", 0) == 4}
    if not shown:
        raise ValueError("plot_feature_maps: expected arrays of shape (batch, h, w, channels); received"
                         f" { {name: np.shape(array) for name, array in maps.items()} }.")
    batch = min(len(array) for array in shown.values())
    if not 0 <= sample < batch:
        raise ValueError(f"plot_feature_maps: expected sample in 0 .. {batch - 1}; received {sample}.")
    columns = min(limit, max(array.shape[-1] for array in shown.values()))
    figure, axes = _grid(len(shown), columns, figure)
    for row, (name, array) in zip(axes, shown.items()):
        for channel, cell in enumerate(row[:array.shape[-1]]):
            cell.imshow(array[sample, :, :, channel], cmap="viridis")
        row[0].set_title(f"{name} {array.shape[1:]}" if name else "", loc="left", fontsize=8)
    return _saved(figure, path)


def plot_filters(kernels, columns: int = 8, limit: int = 64, path=None, figure=None):
    """Filters as pictures, each stretched to its own range: in colour with 3 channels, else the mean of the channels.

    Args:
        kernels: array (filters, h, w, channels) of `filters`.
        columns: pictures per row.
        limit: of pictures.
    """
    kernels = np.asarray(kernels)
    if kernels.ndim != 4:
        raise ValueError("plot_filters: expected kernels of shape (filters, h, w, channels); received"
                         f" {kernels.shape}.")
    kernels = kernels[:limit]
    columns = min(columns, len(kernels))
    figure, axes = _grid(math.ceil(len(kernels) / columns), columns, figure)
    for kernel, cell in zip(kernels, axes.flat):
        cell.imshow(_stretched(kernel) if kernel.shape[-1] == 3 else kernel.mean(-1), cmap="gray")
    return _saved(figure, path)


def plot_grad_cam(images, maps, titles=None, strength: float = 0.5, path=None, figure=None):
    """Images with their class activation maps over them as heat.

    Args:
        images: (batch, h, w, channels) or (batch, h, w).
        maps: (batch, h, w) of `grad_cam`, of any size; drawn at the size of the images.
        titles: one per image.
        strength: of the heat, in [0, 1].
    """
    images, maps = _pairs("plot_grad_cam", images, maps)
    figure, axes = _grid(*_near_square(len(images)), figure)
    for image, heat, cell in zip(images, maps, axes.flat):
        _show(cell, image)
        height, width = image.shape[:2]
        cell.imshow(heat, cmap="jet", vmin=0, vmax=1, alpha=strength, interpolation="bilinear",
                    extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    _label(axes, titles)
    return _saved(figure, path)


def plot_saliency(images, maps, titles=None, path=None, figure=None):
    """Each image beside its saliency (batch, h, w), the titles over the images."""
    images, maps = _pairs("plot_saliency", images, maps)
    rows, columns = _near_square(len(images))
    figure, axes = _grid(rows, 2 * columns, figure)
    axes = axes.reshape(-1, 2)
    for image, values, (left, right) in zip(images, maps, axes):
        _show(left, image)
        right.imshow(values, cmap="inferno")
    _label(axes[:, 0], titles)
    return _saved(figure, path)


def plot_history(history, path=None, figure=None):
    """Learning curves: one panel per value of `fit`, that of the validation data beside it.

    Args:
        history: what `fit` returned, or its dict name -> one value per epoch. Values by layer ("name/layer", of a
            `TrainingMonitor`) are left to `plot_monitor`.
    """
    curves = {name: curve for name, curve in getattr(history, "history", history).items() if "/" not in name}
    names = [name for name in curves if name.removeprefix("val_") not in curves or not name.startswith("val_")]
    if not names:
        raise ValueError("plot_history: the history is empty, no epoch has run.")
    figure = figure if figure is not None else _new_figure(4.5, 3 * len(names))
    for cell, name in zip(figure.subplots(len(names), 1, squeeze=False)[:, 0], names):
        for label, curve in (("training", name), ("validation", f"val_{name}")):
            if curve in curves:
                cell.plot(range(1, len(curves[curve]) + 1), curves[curve], marker=".", label=label)
        cell.set_xlabel("epoch")
        cell.set_ylabel(name)
        cell.xaxis.get_major_locator().set_params(integer=True)
        cell.grid(alpha=0.3)
        cell.legend()
    return _saved(figure, path)


def plot_predictions(images, predictions, labels=None, class_names=None, path=None, figure=None):
    """Images with the class the model gives them; with `labels`, mistakes in red with the right one.

    Args:
        images: (batch, h, w, channels) or (batch, h, w).
        predictions: probabilities or scores (batch, classes), or class numbers (batch,).
        labels: the true class numbers (batch,).
        class_names: list of names by class number.
    """
    predictions = np.asarray(predictions)
    images, predictions = _pairs("plot_predictions", images, predictions)
    found = predictions.argmax(-1) if predictions.ndim == 2 else predictions
    right = found if labels is None else np.asarray(labels).reshape(-1)
    if right.shape != found.shape:
        raise ValueError(f"plot_predictions: expected {len(found)} labels; received an array of shape"
                         f" {np.shape(labels)}.")
    figure, axes = _grid(*_near_square(len(images)), figure)
    for image, guess, truth, cell in zip(images, found, right, axes.flat):
        _show(cell, image)
        name, true_name = (str(n) if class_names is None else class_names[n] for n in (guess, truth))
        if guess == truth:
            cell.set_title(name, fontsize=9)
        else:
            cell.set_title(f"{name}, not {true_name}", fontsize=9, color="red")
    return _saved(figure, path)


def _new_figure(width: float, height: float):
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Drawing needs matplotlib, which is not installed: pip install 'pydl[viz]'.") from error
    return Figure(figsize=(width, height), layout="constrained")


def _grid(rows: int, columns: int, figure):
    """(figure, axes (rows, columns) without frames)."""
    figure = figure if figure is not None else _new_figure(max(1.2 * columns, 2), max(1.3 * rows, 1.6))
    axes = figure.subplots(rows, columns, squeeze=False)
    for cell in axes.flat:
        cell.axis("off")
    return figure, axes


def _near_square(count: int) -> tuple[int, int]:
    columns = math.ceil(math.sqrt(count))
    return math.ceil(count / columns), columns


def _pairs(what: str, images, others):
    images, others = np.asarray(images), np.asarray(others)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3)) or len(images) == 0:
        raise ValueError(f"{what}: expected images of shape (batch, h, w), (batch, h, w, 1) or (batch, h, w, 3);"
                         f" received {images.shape}.")
    if len(others) != len(images):
        raise ValueError(f"{what}: {len(images)} images with {len(others)} results.")
    return images, others


def _stretched(picture: np.ndarray) -> np.ndarray:
    low, high = picture.min(), picture.max()
    return (picture - low) / (high - low) if high > low else np.zeros_like(picture)


def _show(cell, image: np.ndarray) -> None:
    if image.dtype != np.uint8 and (image.min() < 0 or image.max() > 1):
        image = _stretched(image)
    cell.imshow(image[..., 0] if image.shape[-1] == 1 and image.ndim == 3 else image, cmap="gray")


def _label(axes, titles) -> None:
    for cell, title in zip(axes.flat, titles if titles is not None else ()):
        cell.set_title(str(title), fontsize=9)


def save_figure(figure, path) -> None:
    """Writes a figure to a file, whose ending tells the format, or to an open one."""
    if not isinstance(path, (str, os.PathLike)):
        figure.savefig(path)
        return
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1][1:].lower()
    if not suffix:  # as matplotlib does
        suffix = figure.canvas.get_default_filetype()
        path = f"{path}.{suffix}"
    with atomic_write(path) as file:
        figure.savefig(file, format=suffix)


def _saved(figure, path):
    if path is not None:
        save_figure(figure, path)
    return figure
