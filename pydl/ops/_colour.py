"""Colours of images, for `ops.image`, and the check that all its ops make."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydl import ops
from pydl.dtypes import is_float_dtype
from pydl.ops import _window
from pydl.ops._common import TensorLike, as_float, as_tensor
from pydl.symbolic import op
from pydl.tensor import Tensor


def check_images(x: TensorLike, who: str) -> Tensor:
    """`x` as a tensor, refused unless of rank 3 or 4."""
    x = as_tensor(x)
    if x.ndim not in (3, 4):
        raise ValueError(f"{who}: expected one image (rank 3) or a batch of images (rank 4); received shape {x.shape}.")
    return x


def channel_axis(data_format: str | None, who: str) -> int:
    """-1 or -3; raises ValueError for an unknown data_format."""
    return -3 if _window.is_channels_first(data_format, who) else -1


def _channels(images: TensorLike, count: Sequence[int], data_format: str | None, who: str) -> tuple[Tensor, int]:
    x = check_images(images, who)
    axis = channel_axis(data_format, who)
    if x.shape[axis] not in count:
        raise ValueError(f"{who}: expected {' or '.join(map(str, count))} channels in axis {axis}; received shape"
                         f" {x.shape}.")
    return x, axis


@op
def rgb_to_grayscale(images: TensorLike, data_format: str | None = None) -> Tensor:
    """Luma 0.2989 R + 0.5870 G + 0.1140 B of RGB images, as one channel; images of one channel come back."""
    x, axis = _channels(images, (1, 3), data_format, "rgb_to_grayscale")
    if x.shape[axis] == 1:
        return x
    weights = np.array([0.2989, 0.5870, 0.1140]).reshape((3,) + (1,) * (-1 - axis))
    dtype = x.dtype
    x = as_float(x)
    return ops.cast(ops.sum(x * weights.astype(x.dtype), axis=axis, keepdims=True), dtype)


def _float_planes(images: TensorLike, data_format: str | None, who: str) -> tuple[list[Tensor], int]:
    x, axis = _channels(images, (3,), data_format, who)
    if not is_float_dtype(x.dtype):
        raise ValueError(f"{who}: expected images of a float dtype; received {x.dtype}.")
    return ops.unstack(x, axis=axis), axis


@op
def rgb_to_hsv(images: TensorLike, data_format: str | None = None) -> Tensor:
    """Hue (in turns), saturation and value, all in [0, 1], of RGB images in [0, 1] (float).

    Source: Smith 1978, "Color gamut transform pairs".
    """
    (r, g, b), axis = _float_planes(images, data_format, "rgb_to_hsv")
    value = ops.maximum(ops.maximum(r, g), b)
    spread = value - ops.minimum(ops.minimum(r, g), b)
    coloured = spread > 0
    sixth = 1 / (6 * ops.where(coloured, spread, 1.0))
    hue = ops.where(value == g, (b - r) * sixth + 2 / 6, (r - g) * sixth + 4 / 6)
    hue = ops.where(coloured, ops.where(value == r, (g - b) * sixth, hue), 0.0)
    hue = hue + ops.cast(hue < 0, hue.dtype)
    saturation = ops.where(value > 0, spread / ops.where(value > 0, value, 1.0), 0.0)
    return ops.stack([hue, saturation, value], axis=axis)


@op
def hsv_to_rgb(images: TensorLike, data_format: str | None = None) -> Tensor:
    """The inverse of `rgb_to_hsv`; hues outside [0, 1] are taken modulo 1."""
    (hue, saturation, value), axis = _float_planes(images, data_format, "hsv_to_rgb")
    sixths = 6 * (hue - ops.floor(hue))
    shares = (ops.abs(sixths - 3) - 1, 2 - ops.abs(sixths - 2), 2 - ops.abs(sixths - 4))
    return ops.stack([value * (1 - saturation + saturation * ops.clip(share, 0.0, 1.0)) for share in shares],
                     axis=axis)
