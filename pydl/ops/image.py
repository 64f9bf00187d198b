"""The names of `keras.ops.image`: resizing, patches, geometric transforms, colours.

Images are (height, width, channels) or (batch, height, width, channels); with data_format "channels_first" the channels
stand before the height. The names stay in this module, as in Keras: `ops.image.resize`, not `ops.resize`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from pydl import ops
from pydl._core import kernels, require_room
from pydl.dtypes import INTEGERS, is_float_dtype
from pydl.ops import _window
from pydl.ops._colour import check_images, hsv_to_rgb, rgb_to_grayscale, rgb_to_hsv
from pydl.ops._common import Gradients, PerAxis, TensorLike, as_float, as_tensor
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

__all__ = ["affine_transform", "crop_images", "extract_patches", "extract_patches_3d", "hsv_to_rgb", "map_coordinates",
           "pad_images", "resize", "rgb_to_grayscale", "rgb_to_hsv"]

Table: TypeAlias = tuple[np.ndarray, np.ndarray]  # see `_table`


def spatial_axes(data_format: str | None, who: str) -> tuple[int, int]:
    """The axes of height and width, from the end."""
    return (-2, -1) if _window.is_channels_first(data_format, who) else (-3, -2)


# ------------------------------------------------------------------------------------------------------- resize


def _triangle(x: np.ndarray) -> np.ndarray:
    y: np.ndarray = np.maximum(0, 1 - x)
    return y


def _cubic(x: np.ndarray) -> np.ndarray:  # Keys 1981, a = -1/2
    near, far = ((1.5 * x - 2.5) * x) * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(x <= radius, np.sinc(x) * np.sinc(x / radius), 0)


_FILTERS = {"bilinear": _triangle, "bicubic": _cubic, "lanczos3": _lanczos(3), "lanczos5": _lanczos(5)}


@functools.lru_cache(64)
def _resize_weights(n: int, m: int, interpolation: str, antialias: bool) -> np.ndarray:
    """(m, n): what each of m pixels takes from each of n; pixels are cells, their values stand at the centres."""
    require_room((m, n), "float64")
    if interpolation == "nearest":
        return np.eye(n)[(2 * np.arange(m) + 1) * n // (2 * m)]
    step = n / m
    centre = (np.arange(m)[:, None] + 0.5) * step - 0.5
    weights: np.ndarray = _FILTERS[interpolation](np.abs(centre - np.arange(n)) / (max(step, 1) if antialias else 1))
    weights = weights / weights.sum(1, keepdims=True)
    return weights


def _table(weights: np.ndarray) -> Table:
    """(start (m), weights (m, taps)) of a matrix (m, n) whose rows are zero but for a run of values."""
    n = weights.shape[1]
    used = weights != 0
    first, length = used.argmax(1), np.where(used.any(1), n - used[:, ::-1].argmax(1) - used.argmax(1), 0)
    taps = max(int(length.max()), 1)
    start = np.minimum(first, n - taps)
    return start.astype("int32"), np.take_along_axis(weights, start[:, None] + np.arange(taps), 1)


@functools.lru_cache(128)
def _tables(n: int, m: int, interpolation: str, antialias: bool, dtype: str) -> tuple[Table, Table]:
    """The tables of the resampling and of its transpose."""
    weights = _resize_weights(n, m, interpolation, antialias)
    (start, values), (back_start, back_values) = _table(weights), _table(weights.T)
    return (start, values.astype(dtype)), (back_start, back_values.astype(dtype))


def _resample(x: Tensor, axis: int, tables: tuple[Table, Table]) -> Tensor:
    """x with `axis` resampled by tables[0]; tables[1] is the transpose."""
    (start, weights), back = tables[0], tables[1]
    outer, n, inner = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1:])
    m, taps = weights.shape
    y = empty((*x.shape[:axis], m, *x.shape[axis + 1:]), x.dtype)
    kernels.resample(x.data, start, weights, y.data, outer, n, m, taps, inner)
    return differentiable(y, (x,), lambda dy: (_resample(dy, axis, (back, tables[0])),))


def saturate(x: Tensor, dtype: str) -> Tensor:
    """Floats rounded and clipped into an integer dtype; another float dtype is a cast."""
    if x.dtype == dtype:
        return x
    if is_float_dtype(dtype):
        return ops.cast(x, dtype)
    low, high = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return ops.cast(ops.clip(ops.round(x), low, high), dtype)


@op
def resize(images: TensorLike, size: Sequence[int], interpolation: str = "bilinear", antialias: bool = False,
           crop_to_aspect_ratio: bool = False, pad_to_aspect_ratio: bool = False, fill_mode: str = "constant",
           fill_value: float = 0.0, data_format: str | None = None) -> Tensor:
    """Images of another size.

    Args:
        images: (height, width, channels) or a batch of them; integers are rounded and clipped back into their dtype.
        size: (height, width) of the result.
        interpolation: "nearest", "bilinear", "bicubic" (Keys 1981), "lanczos3" or "lanczos5".
        antialias: widen the filter when an axis shrinks, so that every pixel counts.
        crop_to_aspect_ratio: first cut out the largest centred window of the target's aspect ratio.
        pad_to_aspect_ratio: first put `fill_value` around, to the target's aspect ratio.
        fill_mode: "constant" only.
        data_format: "channels_last" or "channels_first"; `config.image_data_format()` by default.

    Raises:
        ValueError: for wrong arguments.
    """
    x = check_images(images, "resize")
    if len(size) != 2 or min(size) <= 0:
        raise ValueError(f"resize: expected `size` to be a positive (height, width); received size={size}.")
    if interpolation not in (*_FILTERS, "nearest"):
        raise ValueError(f"resize: expected interpolation among {('nearest', *_FILTERS)}; received {interpolation!r}.")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("resize: only one of `pad_to_aspect_ratio` and `crop_to_aspect_ratio` can be True.")
    if fill_mode != "constant":
        raise ValueError(f"resize: only fill_mode='constant' is supported; received {fill_mode!r}.")
    axes = [a + x.ndim for a in spatial_axes(data_format, "resize")]
    height, width = (x.shape[a] for a in axes)
    if 0 in (height, width):
        raise ValueError(f"resize: expected images with pixels; received shape {x.shape}.")
    same_aspect = int(width * size[0] / size[1]), int(height * size[1] / size[0])
    if crop_to_aspect_ratio:
        cut = max(min(height, same_aspect[0]), 1), max(min(width, same_aspect[1]), 1)
        x = _crop(x, axes, [(n - k) // 2 for n, k in zip((height, width), cut)], cut)
    elif pad_to_aspect_ratio:
        before = [max(wanted - n, 0) // 2 for wanted, n in zip(same_aspect, (height, width))]
        x = ops.pad(x, [(before[axes.index(a)],) * 2 if a in axes else (0, 0) for a in range(x.ndim)],
                    constant_values=fill_value)
    dtype = x.dtype
    if not is_float_dtype(dtype):
        x = ops.cast(x, "float64" if dtype in INTEGERS else "float32")
    # The axis that shrinks most goes first: the other then has less to do.
    for a, m in sorted(zip(axes, size), key=lambda pair: pair[1] / x.shape[pair[0]]):
        if m != x.shape[a]:
            x = _resample(x, a, _tables(x.shape[a], int(m), interpolation, bool(antialias), x.dtype))
    return saturate(x, dtype)


def _crop(x: Tensor, axes: Sequence[int], starts: Sequence[int], sizes: Sequence[int]) -> Tensor:
    start, shape = [0] * x.ndim, list(x.shape)
    for a, s, n in zip(axes, starts, sizes):
        start[a], shape[a] = s, n
    return ops.slice(x, start, shape)


@op
def crop_images(images: TensorLike, top_cropping: int | None = None, left_cropping: int | None = None,
                bottom_cropping: int | None = None, right_cropping: int | None = None, target_height: int | None = None,
                target_width: int | None = None, data_format: str | None = None) -> Tensor:
    """Images without their margins: for each axis two of (cropping before, cropping after, target size) are given.

    Raises:
        ValueError: when not exactly two are given, or one comes out negative.
    """
    x = check_images(images, "crop_images")
    starts, sizes = [], []
    axes = [a + x.ndim for a in spatial_axes(data_format, "crop_images")]
    for axis, first, last, target, names in (
            (axes[0], top_cropping, bottom_cropping, target_height, ("top_cropping", "bottom_cropping",
                                                                     "target_height")),
            (axes[1], left_cropping, right_cropping, target_width, ("left_cropping", "right_cropping",
                                                                    "target_width"))):
        first, last, target = _completed(x.shape[axis], first, last, target, names, "crop_images", 1)
        starts.append(first)
        sizes.append(target)
    return _crop(x, axes, starts, sizes)


@op
def pad_images(images: TensorLike, top_padding: int | None = None, left_padding: int | None = None,
               bottom_padding: int | None = None, right_padding: int | None = None, target_height: int | None = None,
               target_width: int | None = None, data_format: str | None = None) -> Tensor:
    """Images with zeros around: for each axis two of (padding before, padding after, target size) are given.

    Raises:
        ValueError: when not exactly two are given, or one comes out negative.
    """
    x = check_images(images, "pad_images")
    widths = [(0, 0)] * x.ndim
    axes = spatial_axes(data_format, "pad_images")
    for axis, first, last, target, names in (
            (axes[0], top_padding, bottom_padding, target_height, ("top_padding", "bottom_padding", "target_height")),
            (axes[1], left_padding, right_padding, target_width, ("left_padding", "right_padding", "target_width"))):
        widths[axis] = _completed(x.shape[axis], first, last, target, names, "pad_images", -1)[:2]
    return ops.pad(x, widths)


def _completed(size: int, first: int | None, last: int | None, target: int | None, names: Sequence[str], who: str,
               sign: int) -> tuple[int, int, int]:
    """All of (first, last, target), of which one is None: target = size - sign (first + last)."""
    values: list[Any] = [first, last, target]
    given = ", ".join(f"{n}={v}" for n, v in zip(names, values))
    if values.count(None) != 1:
        raise ValueError(f"{who}: must specify exactly two of {', '.join(names)}; received {given}.")
    if target is None:
        values[2] = size - sign * (values[0] + values[1])
    else:
        missing = values.index(None)
        values[missing] = sign * (size - target) - values[1 - missing]
    if min(values) < 0:
        raise ValueError(f"{who}: sizes and margins must be >= 0; received {given} for {size} pixels.")
    return values[0], values[1], values[2]


# ------------------------------------------------------------------------------------------------------ patches


def _patches(images: TensorLike, rank: int, size: PerAxis, strides: PerAxis | None, dilation_rate: PerAxis,
             padding: str, data_format: str | None, who: str) -> Tensor:
    x = as_tensor(images)
    if x.ndim not in (rank + 1, rank + 2):
        raise ValueError(f"{who}: expected one image or a batch of them, rank {rank + 1} or {rank + 2}; received shape"
                         f" {x.shape}.")
    single, first = x.ndim == rank + 1, _window.is_channels_first(data_format, who)
    if single:
        x = ops.expand_dims(x, 0)
    if first:
        x = _window.channels_last(x)
    w = _window.window(who, x.shape[1:-1], size, strides or size, padding, dilation_rate)
    reach = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(w.outputs, w.strides, w.sizes, w.dilation)]
    behind = [max(r - n - b, 0) for r, n, b in zip(reach, w.inputs, w.before)]
    x = ops.pad(x, [(0, 0), *zip(w.before, behind), (0, 0)])
    channels, spatial = x.shape[-1], x.shape[1:-1]
    index = np.zeros((1,) * 2 * rank, "int64")  # (positions..., taps...) -> place in the flattened space
    for axis in range(rank):
        places = np.arange(w.outputs[axis])[:, None] * w.strides[axis] + np.arange(w.sizes[axis]) * w.dilation[axis]
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = places.shape
        index = index * spatial[axis] + places.reshape(shape)
    x = ops.take(ops.reshape(x, (x.shape[0], prod(spatial), channels)), index.reshape(-1), axis=1)
    y = ops.reshape(x, (x.shape[0], *w.outputs, prod(w.sizes) * channels))
    if first:
        y = _window.channels_first(y)
    return ops.squeeze(y, 0) if single else y


@op
def extract_patches(images: TensorLike, size: PerAxis, strides: PerAxis | None = None, dilation_rate: PerAxis = 1,
                    padding: str = "valid", data_format: str | None = None) -> Tensor:
    """The windows of images: y[b, i, j] is the window at (i, j), its pixels row by row, channels innermost.

    Args:
        images: (height, width, channels) or a batch of them; with a `size` of three, (depth, height, width, channels).
        size: window, int or (height, width) or (depth, height, width).
        strides: distance of windows, int or per axis; `size` by default (no overlap).
        dilation_rate: distance of a window's pixels; not together with strides.
        padding: "valid", or "same" (zeros around).
        data_format: "channels_last" or "channels_first"; `config.image_data_format()` by default.

    Returns:
        (batch, rows, cols, height width channels of the window), without the batch for one image.

    Raises:
        ValueError: for wrong arguments, or a window larger than the images.
    """
    if not isinstance(size, int) and len(size) not in (2, 3):
        raise ValueError(f"extract_patches: expected `size` to be an int or 2 or 3 of them; received size={size!r}.")
    rank = 2 if isinstance(size, int) else len(size)
    return _patches(images, rank, size, strides, dilation_rate, padding, data_format, "extract_patches")


@op
def extract_patches_3d(volumes: TensorLike, size: PerAxis, strides: PerAxis | None = None, dilation_rate: PerAxis = 1,
                       padding: str = "valid", data_format: str | None = None) -> Tensor:
    """`extract_patches` of volumes (depth, height, width, channels); an int `size` is that of all three axes."""
    return _patches(volumes, 3, size, strides, dilation_rate, padding, data_format, "extract_patches_3d")


# ------------------------------------------------------------------------------------------ geometric transforms

FILL_MODES = ("constant", "nearest", "wrap", "mirror", "reflect")  # their order is the kernel's


@op
def affine_transform(images: TensorLike, transform: TensorLike, interpolation: str = "bilinear",
                     fill_mode: str = "constant", fill_value: float = 0, data_format: str | None = None) -> Tensor:
    """Images seen through a transform of the plane: pixel (x, y) of the result shows (x', y') of the image,

        x' = (a0 x + a1 y + a2) / k,  y' = (b0 x + b1 y + b2) / k,  k = c0 x + c1 y + 1.

    Differentiable in the images.

    Args:
        images: (height, width, channels) or a batch of them.
        transform: (8,) or (batch, 8), a0 a1 a2 b0 b1 b2 c0 c1.
        interpolation: "bilinear" or "nearest".
        fill_mode: what lies outside: "constant", "nearest" (the edge), "wrap" (the image again), "mirror" (its mirror
            image, edge not repeated) or "reflect" (edge repeated).
        fill_value: number shown by "constant".
        data_format: "channels_last" or "channels_first"; `config.image_data_format()` by default.

    Raises:
        ValueError: for wrong arguments.
    """
    x = as_float(check_images(images, "affine_transform"))
    dtype = as_tensor(images).dtype
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(f"affine_transform: expected interpolation 'nearest' or 'bilinear'; received"
                         f" {interpolation!r}.")
    if fill_mode not in FILL_MODES:
        raise ValueError(f"affine_transform: expected fill_mode among {FILL_MODES}; received {fill_mode!r}.")
    single, first = x.ndim == 3, _window.is_channels_first(data_format, "affine_transform")
    if single:
        x = ops.expand_dims(x, 0)
    if first:
        x = _window.channels_last(x)
    transform = ops.cast(as_tensor(transform), x.dtype)
    if transform.ndim not in (1, 2) or transform.shape[-1] != 8 or transform.size not in (8, 8 * x.shape[0]):
        raise ValueError(f"affine_transform: expected a transform of shape (8,) or ({x.shape[0]}, 8); received shape"
                         f" {transform.shape}.")
    transform = ops.broadcast_to(transform, (x.shape[0], 8))
    y = _warp(x, transform, int(interpolation == "bilinear"), FILL_MODES.index(fill_mode), float(fill_value))
    if first:
        y = _window.channels_first(y)
    return saturate(ops.squeeze(y, 0) if single else y, dtype)


def _warp(x: Tensor, transform: Tensor, linear: int, fill: int, value: float) -> Tensor:
    y = empty(x.shape, x.dtype)
    kernels.warp(x.data, transform.data, y.data, *x.shape, linear, fill, value)
    before = x.shape

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(before, dy.dtype)
        kernels.warp_grad(transform.data, dy.data, dx.data, *before, linear, fill)
        return (differentiable(dx, (dy,), lambda ddx: (_warp(ddx, transform, linear, fill, 0.0),)),)

    return differentiable(y, (x,), vjp)


def _shown(index: Tensor, n: int, fill_mode: str) -> Tensor:
    """The place in 0 .. n - 1 that is shown at each place of `index`, an int tensor; any place for "constant"."""
    if fill_mode == "wrap":
        return ops.mod(index, n)
    if fill_mode == "mirror" and n > 1:
        return n - 1 - ops.abs(ops.mod(index, 2 * n - 2) - (n - 1))
    if fill_mode == "reflect":
        index = ops.mod(index, 2 * n)
        return ops.minimum(index, 2 * n - 1 - index)
    return ops.clip(index, 0, n - 1)


@op
def map_coordinates(inputs: TensorLike, coordinates: TensorLike, order: int, fill_mode: str = "constant",
                    fill_value: float = 0.0) -> Tensor:
    """Values between the elements of a tensor: y[...] = inputs[coordinates[0, ...], coordinates[1, ...], ...].

    Differentiable in both. Integers are rounded back into their dtype.

    Args:
        inputs: tensor of any rank.
        coordinates: (rank, ...) positions, finite and of a magnitude below 2^30.
        order: 0 for the nearest element, 1 for linear interpolation.
        fill_mode, fill_value: what lies outside, as `affine_transform`.

    Raises:
        ValueError: for wrong arguments.
    """
    x, dtype = as_float(inputs), as_tensor(inputs).dtype
    at = as_float(coordinates)
    if at.ndim < 2 or at.shape[0] != x.ndim:
        raise ValueError(f"map_coordinates: expected coordinates of shape ({x.ndim}, ...) for inputs of rank {x.ndim};"
                         f" received shape {at.shape}.")
    if order not in (0, 1) or fill_mode not in FILL_MODES:
        raise ValueError(f"map_coordinates: expected order 0 or 1 and fill_mode among {FILL_MODES}; received"
                         f" order={order}, fill_mode={fill_mode!r}.")
    flat = ops.reshape(x, (-1,))
    axes: list[list[tuple[Tensor, int, Tensor | None]]] = []
    for axis, n in enumerate(x.shape):
        place = at[axis]
        if order == 0:  # halves away from zero
            nearest = ops.sign(place) * ops.floor(ops.abs(place) + 0.5)
            axes.append([(ops.cast(nearest, "int32"), n, None)])
        else:
            low = ops.stop_gradient(ops.floor(place))
            index = ops.cast(low, "int32")
            axes.append([(index, n, 1.0 + low - place), (index + 1, n, place - low)])
    total: Tensor | None = None
    for corner in itertools.product(*axes):
        where: Tensor | int = 0
        inside: Tensor | bool = True
        weight: Tensor | float = 1.0
        for index, n, share in corner:
            where = where * n + _shown(index, n, fill_mode)
            inside = ops.logical_and(inside, ops.logical_and(index >= 0, index < n))
            weight = weight if share is None else weight * ops.cast(share, x.dtype)
        value = ops.take(flat, where)
        if fill_mode == "constant":
            value = ops.where(inside, value, fill_value)
        total = value * weight if total is None else total + value * weight
    assert total is not None  # there is at least one corner
    return saturate(total, dtype)
