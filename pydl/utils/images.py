"""Images between files, Pillow and arrays."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import numpy as np

from pydl import config
from pydl.atomic import atomic_write
from pydl.reading import is_of_system, sentence
from pydl.warning import warn

__all__ = ["array_to_img", "img_to_array", "load_img", "save_img"]

# Pillow has readers of more, some of which run other programs (EPS) or are seldom used.
FORMATS = ("BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
MODES = {"grayscale": "L", "rgb": "RGB", "rgba": "RGBA"}  # Pillow's, by Keras's name
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

    What the pixels of a file become, 8 bits per channel, is the same here and in `image_dataset_from_directory`.

    * 16 bits of gray, of either byte order: the upper 8 bits.
    * Numbers of 32 bits, floats: refused, since they have no agreed range.
    * Palettes and pictures of 1 bit: their colours. CMYK, YCbCr: as Pillow converts them.
    * Alpha is left out ("rgb", "grayscale": the colours below it come out as they are), or 255 where a file has none.
    * The first picture of an animation. The turn that EXIF asks for is not made, as in Keras:
     `PIL.ImageOps.exif_transpose` does.

    With "grayscale" this function alone, as in Keras, leaves gray of 16 or 32 bits and floats as they are.

    Args:
        path: of the file, or a BytesIO.
        color_mode: "grayscale", "rgb" or "rgba".
        target_size: (height, width) to resize to, or one number for both; None keeps the size of the file.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos".
        keep_aspect_ratio: cut the middle of the target's shape out of the image before resizing, instead of
            distorting it.

    Returns:
        A Pillow image.

    Raises:
        ValueError: for an unknown mode or interpolation, or a file that is no readable image; the message names it.
        FileNotFoundError: when there is no such file.
    """
    if color_mode not in MODES:
        raise ValueError(f"color_mode must be 'grayscale', 'rgb' or 'rgba'; received {color_mode!r}.")
    height, width = (None, None) if target_size is None else height_and_width("target_size", target_size)
    resample = resampling(interpolation)
    if not isinstance(path, (io.BytesIO, str, bytes, os.PathLike)):
        raise TypeError(f"load_img: expected a path or an io.BytesIO; received {type(path).__name__}.")
    image = decode(path)
    if color_mode != "grayscale" or not _is_deep(image):
        image = in_mode(image, MODES[color_mode], path)
    elif image.mode not in ("I;16", "I", "F"):  # of the other byte order
        image = pillow().fromarray(np.asarray(image).astype("<u2"))
    if height is None or image.size == (width, height):
        return image
    box = None
    if keep_aspect_ratio:
        cut = min(image.width, image.height * width // height), min(image.height, image.width * height // width)
        left, top = (image.width - cut[0]) // 2, (image.height - cut[1]) // 2
        box = (left, top, left + cut[0], top + cut[1])
    return image.resize((width, height), resample, box=box)


def height_and_width(name: str, size) -> tuple[int, int]:
    """The two of them, from a pair or from one number for both.

    Raises:
        ValueError: for anything else; the message says `name`.
    """
    pair = (size, size) if isinstance(size, (int, np.integer)) else size
    if not isinstance(pair, (tuple, list, np.ndarray)) or len(pair) != 2 or any(
            not isinstance(n, (int, np.integer)) or n < 1 for n in pair):
        raise ValueError(f"`{name}` must be two positive integers (height, width), or one for both. Received:"
                         f" {name}={size!r}")
    return int(pair[0]), int(pair[1])


def _is_deep(image) -> bool:
    """Whether a pixel is a number of more than 8 bits."""
    return image.mode[0] in "IF"


def in_mode(image, mode: str, path):
    """The image of the file `path` in the mode "L", "RGB" or "RGBA", by the rule that `load_img` states.

    Raises:
        ValueError: for numbers of 32 bits; the message names the file.
    """
    if _is_deep(image):
        # Pillow would cut values above 255 off. It opens gray of 16 bits in PPM, and in PNG once did, with mode "I".
        if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):
            raise ValueError(f"{_name(path)} holds numbers of 32 bits (Pillow's mode {image.mode!r}), which have no"
                             " agreed range. `load_img(path, color_mode='grayscale')` gives them as they are.")
        image = pillow().fromarray((np.asarray(image) >> 8).astype("uint8"))
    return image if image.mode == mode else image.convert(mode)


def _name(path) -> str:
    return "The buffer" if isinstance(path, io.BytesIO) else os.fsdecode(path)


def decode(path):
    """The decoded Pillow image of a file or BytesIO, whose first bytes say which of `FORMATS` it has.

    Raises:
        ValueError: when it is damaged, of another format, or larger than Pillow's limit; the message names the file.
    """
    try:
        with pillow().open(path, formats=FORMATS) as image:
            image.load()
            return image
    except Exception as error:  # of its many readers each raises what it likes
        if is_of_system(error):
            raise
        raise ValueError(f"{_name(path)} cannot be read as an image: {sentence(error)}") from error


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

    Raises:
        OSError: when it cannot be written; a file of that name is as it was.
    """
    if file_format is None and isinstance(path, (str, os.PathLike)):
        file_format = Path(path).suffix[1:]
    if file_format and file_format.lower() == "jpg":
        file_format = "jpeg"
    image = array_to_img(x, data_format=data_format, scale=scale)
    if image.mode == "RGBA" and file_format and file_format.lower() == "jpeg":
        warn("The JPEG format does not support RGBA images, converting to RGB.")
        image = image.convert("RGB")
    if file_format:  # "tif" is an ending, "TIFF" the format
        file_format = pillow().registered_extensions().get(f".{file_format.lower()}", file_format)
    with atomic_write(path) if isinstance(path, (str, os.PathLike)) else contextlib.nullcontext(path) as file:
        image.save(file, format=file_format or None, **kwargs)
