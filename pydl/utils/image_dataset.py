"""Folders of images as data sets."""

from __future__ import annotations

import numpy as np

from pydl.data.directory import dataset_from_directory
from pydl.utils.images import MODES, check_data_format, decode, height_and_width, in_mode, pillow

__all__ = ["image_dataset_from_directory"]

_FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
# Keras's names of the filters that Pillow has.
_FILTERS = {"bicubic": "BICUBIC", "area": "BOX", "lanczos3": "LANCZOS"}
_METHODS = ("bilinear", "nearest", *_FILTERS)


def _fitted(image, height, width, crop: bool, pad: bool):
    """The part of an image, or the image on a larger black ground, that has the shape height:width, in the middle."""
    cross = image.width * height // width, image.height * width // height  # height and width of that shape
    if crop:
        size = [max(min(old, new), 1) for old, new in zip((image.height, image.width), cross)]
    elif pad:  # equal bars on both sides, as in Keras
        size = [old + max(new - old, 0) // 2 * 2 for old, new in zip((image.height, image.width), cross)]
    else:
        return image
    top, left = int((image.height - size[0]) / 2), int((image.width - size[1]) / 2)
    return image.crop((left, top, left + size[1], top + size[0]))  # what lies outside is black


def _points(old: int, new: int):
    """For each of `new` pixels along an axis of `old`: the pixels on both sides of its centre, the weight (float32) of
    the second, and the pixel that the centre lies in."""
    centre = (np.arange(new, dtype="float32") + 0.5) * np.float32(old / new)
    at = np.clip(centre - 0.5, 0, old - 1)
    low = at.astype("int64")
    return low, np.minimum(low + 1, old - 1), at - np.floor(at), np.minimum(centre.astype("int64"), old - 1)


def _resized(image, height, width, interpolation):
    """Pixels (height, width[, channels]). Bilinear and nearest read only the pixels around the centres of the new
    ones, as Keras does and Pillow does not; the other methods are Pillow's."""
    if image.size == (width, height):
        return np.asarray(image)
    if interpolation not in ("bilinear", "nearest"):
        return np.asarray(image.resize((width, height), pillow().Resampling[_FILTERS[interpolation]]))
    pixels = np.asarray(image)
    top, bottom, down, row = _points(image.height, height)
    left, right, across, column = _points(image.width, width)
    if interpolation == "nearest":
        return pixels[row[:, None], column]
    pixels = np.atleast_3d(pixels)
    rows = pixels[top] * (1 - down[:, None, None]) + pixels[bottom] * down[:, None, None]
    return rows.take(left, 1) * (1 - across[:, None]) + rows.take(right, 1) * across[:, None]


def image_dataset_from_directory(directory, labels="inferred", label_mode="int", class_names=None, color_mode="rgb",
                                 batch_size=32, image_size=(256, 256), shuffle=True, seed=None, validation_split=None,
                                 subset=None, interpolation="bilinear", follow_links=False,
                                 crop_to_aspect_ratio=False, pad_to_aspect_ratio=False, data_format=None, format="tf",
                                 verbose=True):
    """Batches of the images (.bmp, .gif, .jpeg, .jpg, .png) of a folder, decoded in threads ahead of their use.

    Args:
        directory: folder; with labels="inferred" a subfolder for each class.
        labels: "inferred", None, or a list of numbers, one for each file in alphanumeric order.
        label_mode: "int" (int32; floats that are given, for regression, stay float32), "categorical" (one-hot),
            "binary" (float32 (batch, 1), two classes) or None.
        class_names: subfolders to use, in the order of their numbers; all in alphanumeric order when None.
        color_mode: "grayscale", "rgb" or "rgba": 1, 3 or 4 channels; `load_img` says how files come to them.
        batch_size: images per batch; None for single images without a batch axis.
        image_size: (height, width) to resize to, or one number for both.
        shuffle: new order in each epoch; without it alphanumeric order.
        seed: of the shuffling and of the split.
        validation_split: fraction of the files that is set apart.
        subset: "training", "validation", or "both" for a pair; needs `validation_split`.
        interpolation: "bilinear" and "nearest" without smoothing, as in Keras; "bicubic", "area", "lanczos3" with
            Pillow's filters, which smooth where an image gets smaller.
        follow_links: whether to enter folders that are links.
        crop_to_aspect_ratio: cut the middle out instead of distorting.
        pad_to_aspect_ratio: add black bars instead of distorting.
        data_format: "channels_last" or "channels_first"; the global setting when None.
        format: accepted; batches are tensors.
        verbose: print how many files were found.

    Returns:
        `Dataset` of images, or of (images, labels): float32, values 0 to 255, (batch, height, width, channels). It has
        `class_names`, `file_paths`, `len()`.

    Raises:
        ValueError: for wrong arguments or a folder without images; while reading, for a file that is no image.
        NotADirectoryError: when there is no such folder.
        ImportError: without Pillow.
    """
    pillow()
    if color_mode not in MODES:
        raise ValueError(f"`color_mode` must be 'grayscale', 'rgb' or 'rgba'. Received: color_mode={color_mode!r}")
    interpolation = interpolation.lower()
    if interpolation not in _METHODS:
        raise ValueError(f"`interpolation` must be one of {', '.join(_METHODS)}. Received:"
                         f" interpolation={interpolation!r}")
    size = height_and_width("image_size", image_size)
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError("Only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio` can be True.")
    first = check_data_format(data_format) == "channels_first"
    mode = MODES[color_mode]

    def read(path):
        image = _fitted(in_mode(decode(path), mode, path), *size, crop_to_aspect_ratio, pad_to_aspect_ratio)
        return np.atleast_3d(_resized(image, *size, interpolation))

    def load(paths):
        batch = np.empty((len(paths), *size, len(mode)), "float32")
        for row, path in enumerate(paths):
            batch[row] = read(path)
        return np.ascontiguousarray(batch.transpose(0, 3, 1, 2)) if first else batch

    return dataset_from_directory(directory, load, _FORMATS, "image", labels, label_mode, class_names, batch_size,
                                  shuffle, seed, validation_split, subset, follow_links, verbose)
