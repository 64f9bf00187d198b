"""Images between files, Pillow and arrays."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from pydl import config
from pydl.warning import warn

__all__ = ["array_to_img", "img_to_array", "load_img", "save_img"]

_FILTERS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def pillow():
    """The module `PIL.Image`. Raises ImportError naming the package when it is not installed."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("Reading and writing images needs the package Pillow: `pip install pillow`.") from error
    return Image


def check_data_format(data_format) -> str:
    """`data_format`, the global setting for None. Raises ValueError for anything but Keras's two names."""
    data_format = data_format or config.image_data_format()
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError(f"Expected data_format 'channels_first' or 'channels_last'; received {data_format!r}.")
    return data_format


def resampling(name: str):
    """Pillow's filter of that name. Raises ValueError for another."""
    if name not in _FILTERS:
        raise ValueError(f"Invalid interpolation method {name!r}; expected one of {', '.join(_FILTERS)}.")
    return pillow().Resampling[name.upper()]


def load_img(path, color_mode="rgb", target_size=None, interpolation="nearest", keep_aspect_ratio=False):
    """Reads an image file.

    Args:
        path: of the file, or a BytesIO.
        color_mode: "grayscale" (images of 16 or 32 bits stay so), "rgb" or "rgba".
        target_size: (height, width) to resize to; None keeps the size of the file.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos".
        keep_aspect_ratio: cut the middle of the target's shape out of the image before resizing, instead of
            distorting it.

    Returns:
        A Pillow image.

    Raises:
        ValueError: for an unknown mode or interpolation, or a file that is no readable image; the message names it.
        FileNotFoundError: when there is no such file.
    """
    if color_mode not in ("grayscale", "rgb", "rgba"):
        raise ValueError(f"color_mode must be 'grayscale', 'rgb' or 'rgba'; received {color_mode!r}.")
    resample = resampling(interpolation)
    if not isinstance(path, (io.BytesIO, str, bytes, os.PathLike)):
        raise TypeError(f"load_img: expected a path or an io.BytesIO; received {type(path).__name__}.")
    image = decode(path)
    mode = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}[color_mode]
    if image.mode != mode and not (color_mode == "grayscale" and image.mode in ("I;16", "I")):
        image = image.convert(mode)
    if target_size is None or image.size == (target_size[1], target_size[0]):
        return image
    height, width = target_size
    box = None
    if keep_aspect_ratio:
        cut = min(image.width, image.height * width // height), min(image.height, image.width * height // width)
        left, top = (image.width - cut[0]) // 2, (image.height - cut[1]) // 2
        box = (left, top, left + cut[0], top + cut[1])
    return image.resize((width, height), resample, box=box)


def decode(path):
    """The decoded Pillow image of a file or BytesIO. Raises ValueError naming the file when it is damaged."""
    try:
        with pillow().open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, pillow().DecompressionBombError) as error:
        raise ValueError(f"{os.fsdecode(path) if not isinstance(path, io.BytesIO) else 'The buffer'} cannot be read as"
                         f" an image: {error}") from error


def img_to_array(img, data_format=None, dtype=None):
    """The pixels of an image.

    Args:
        img: Pillow image, or an array of rank 2 or 3.
        data_format: "channels_last" or "channels_first"; the global setting when None.
        dtype: `floatx` when None.

    Returns:
        Array (height, width, channels), or (channels, height, width).
    """
    data_format = check_data_format(data_format)
    x = np.array(img, dtype or config.floatx())
    if x.ndim not in (2, 3):
        raise ValueError(f"img_to_array: expected an image of rank 2 or 3; received shape {x.shape}.")
    x = x[:, :, None] if x.ndim == 2 else x
    return x.transpose(2, 0, 1) if data_format == "channels_first" else x


def array_to_img(x, data_format=None, scale=True, dtype=None):
    """The Pillow image of an array.

    Args:
        x: (height, width, channels) or (channels, height, width) with 1, 3 or 4 channels.
        data_format: "channels_last" or "channels_first"; the global setting when None.
        scale: spread the values over 0 to 255; with False they are taken as they are.
        dtype: in which the values are scaled; `floatx` when None.

    Returns:
        An image of mode L (I where a grey value is above 255), RGB or RGBA.
    """
    data_format = check_data_format(data_format)
    x = np.array(x, dtype or config.floatx())
    if x.ndim != 3:
        raise ValueError(f"array_to_img: expected one image, an array of rank 3; received shape {x.shape}.")
    if data_format == "channels_first":
        x = x.transpose(1, 2, 0)
    if x.shape[2] not in (1, 3, 4):
        raise ValueError(f"array_to_img: expected 1, 3 or 4 channels; received shape {x.shape} (channels last).")
    if scale:
        x = x - x.min()
        x = x * (255.0 / x.max()) if x.max() else x
    if x.shape[2] == 1:
        x = x[:, :, 0]
        return pillow().fromarray(x.astype("int32" if x.max() > 255 else "uint8"))
    return pillow().fromarray(x.astype("uint8"))


def save_img(path, x, data_format=None, file_format=None, scale=True, **kwargs) -> None:
    """Writes an array as an image file.

    Args:
        path: of the file, or an open binary file.
        x, data_format, scale: as in `array_to_img`.
        file_format: "png", "jpeg", ...; told by the ending of `path` when None.
        **kwargs: for Pillow's `Image.save`.
    """
    if file_format is None and isinstance(path, (str, Path)):
        file_format = Path(path).suffix[1:]
    if file_format and file_format.lower() == "jpg":
        file_format = "jpeg"
    image = array_to_img(x, data_format=data_format, scale=scale)
    if image.mode == "RGBA" and file_format and file_format.lower() == "jpeg":
        warn("The JPEG format does not support RGBA images, converting to RGB.")
        image = image.convert("RGB")
    image.save(path, format=file_format or None, **kwargs)
