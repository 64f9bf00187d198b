"""Random changes of images in training: each image of a batch has a draw of its own, prediction changes nothing."""

from __future__ import annotations

import math

from pydl import ops, random
from pydl.layers.image import ImageLayer
from pydl.ops.image import affine_transform, resize
from pydl.registry import builtin

__all__ = ["RandomBrightness", "RandomContrast", "RandomCrop", "RandomFlip", "RandomRotation", "RandomTranslation",
           "RandomZoom"]


class _RandomImageLayer(ImageLayer):
    """Images become floats; `augment(images)` changes a batch in training. As in Keras, `training` is True for a call
    that says nothing and has nothing around it that does.

    Args:
        seed: int or None.
        data_format: as in `ImageLayer`.
    """

    def __init__(self, seed=None, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.seed = seed
        self.generator = random.SeedGenerator(seed)

    def transform(self, images, training):
        images = ops.cast(images, self.compute_dtype)
        return self.augment(images) if training else images

    def _draw(self, images, low, high, shape=()):
        """(batch, *shape) values of [low, high)."""
        return random.uniform((images.shape[0], *shape), low, high, dtype=images.dtype, seed=self.generator)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


def _range_of(factor, low, high, who, above=False) -> tuple[float, float]:
    """(lower, upper) of a number f, meaning [-f, f], or of a pair; both within [low, high], or (low, high] where
    `above`."""
    pair = isinstance(factor, (tuple, list))
    values = tuple(factor) if pair else (factor,)
    if len(values) != 1 + pair or any(not isinstance(v, (int, float)) or v > high or v < low or above and v == low
                                      for v in values):
        raise ValueError(f"{who}: expected a number or two numbers in the range {'(' if above else '['}{low}, {high}];"
                         f" received {factor!r}.")
    if pair:
        return min(values), max(values)
    return max(-abs(factor), low), abs(factor)


@builtin("keras.layers")
class RandomFlip(_RandomImageLayer):
    """Mirrors images, half of them.

    Args:
        mode: "horizontal" (left and right), "vertical", or "horizontal_and_vertical" (both at once).
        seed, data_format: as in the other random layers.
    """

    def __init__(self, mode="horizontal_and_vertical", seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        axes = {"horizontal": (1,), "vertical": (0,), "horizontal_and_vertical": (0, 1)}
        if mode not in axes:
            raise ValueError(f"RandomFlip: expected mode among {tuple(axes)}; received {mode!r}.")
        self.mode = mode
        self._flipped = axes[mode]

    def augment(self, images):
        flips = self._draw(images, 0, 1, (1, 1, 1)) <= 0.5
        return ops.where(flips, ops.flip(images, [self._axes[k] for k in self._flipped]), images)

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


class _RandomAffine(_RandomImageLayer):
    """A transform of the plane for each image: `matrix(images)` gives its six numbers, (batch,) tensors or floats."""

    def __init__(self, fill_mode, interpolation, seed, fill_value, data_format, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        if fill_mode not in ("reflect", "wrap", "constant", "nearest"):
            raise NotImplementedError(f"Unknown `fill_mode` {fill_mode}. Expected one of reflect, wrap, constant,"
                                      " nearest.")
        if interpolation not in ("nearest", "bilinear"):
            raise NotImplementedError(f"Unknown `interpolation` {interpolation}. Expected nearest or bilinear.")
        self.fill_mode, self.fill_value, self.interpolation = fill_mode, fill_value, interpolation

    def augment(self, images):
        none = ops.zeros((images.shape[0],), dtype=images.dtype)
        transform = ops.stack([none + value for value in (*self.matrix(images), 0.0, 0.0)], axis=1)
        return affine_transform(images, transform, self.interpolation, self.fill_mode, self.fill_value,
                                self.data_format)

    def get_config(self):
        return {**super().get_config(), **self._arguments("fill_mode", "fill_value", "interpolation")}


@builtin("keras.layers")
class RandomRotation(_RandomAffine):
    """Turns images about their centre.

    Args:
        factor: share of a full turn, f for [-f, f] or (lower, upper), in [-1, 1].
        fill_mode: "reflect", "wrap", "constant" or "nearest", what comes in from outside, as `affine_transform`.
        interpolation: "bilinear" or "nearest".
        seed, data_format: as in the other random layers.
        fill_value: number shown by "constant".
    """

    def __init__(self, factor, fill_mode="reflect", interpolation="bilinear", seed=None, fill_value=0.0,
                 data_format=None, **kwargs):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.factor = _range_of(factor, -1, 1, "RandomRotation")

    def matrix(self, images):
        height, width = self._size(images)
        x, y = (width - 1) / 2, (height - 1) / 2
        angle = self._draw(images, *(2 * math.pi * f for f in self.factor))
        c, s = ops.cos(angle), ops.sin(angle)
        return c, -s, x - x * c + y * s, s, c, y - x * s - y * c

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


class _RandomAxes(_RandomAffine):
    """Common to zoom and translation: a factor for each axis."""

    def __init__(self, height_factor, width_factor, fill_mode, interpolation, seed, fill_value, data_format, **kwargs):
        super().__init__(fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor

    def get_config(self):
        return {**super().get_config(), "height_factor": self.height_factor, "width_factor": self.width_factor}


@builtin("keras.layers")
class RandomZoom(_RandomAxes):
    """Zooms images about their centre: a factor of 0.2 shows 20 % more of the scene (out), -0.2 shows 20 % less (in).

    Args:
        height_factor: f for [-f, f] or (lower, upper), in (-1, 1].
        width_factor: as height_factor, drawn for itself; None keeps the aspect ratio.
        fill_mode, interpolation, seed, fill_value, data_format: as in RandomRotation.
    """

    def __init__(self, height_factor, width_factor=None, fill_mode="reflect", interpolation="bilinear", seed=None,
                 fill_value=0.0, data_format=None, **kwargs):
        super().__init__(height_factor, width_factor, fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self._height = _range_of(height_factor, -1, 1, "RandomZoom height_factor", above=True)
        self._width = None if width_factor is None else _range_of(width_factor, -1, 1, "RandomZoom width_factor",
                                                                  above=True)

    def matrix(self, images):
        height, width = self._size(images)
        down = self._draw(images, *(1 + f for f in self._height))
        across = down if self._width is None else self._draw(images, *(1 + f for f in self._width))
        return across, 0.0, (1 - across) * ((width - 1) / 2), 0.0, down, (1 - down) * ((height - 1) / 2)


@builtin("keras.layers")
class RandomTranslation(_RandomAxes):
    """Moves images.

    Args:
        height_factor, width_factor: share of the height and width, f for [-f, f] or (lower, upper), in [-1, 1];
            positive is down and to the right.
        fill_mode, interpolation, seed, fill_value, data_format: as in RandomRotation.
    """

    def __init__(self, height_factor, width_factor, fill_mode="reflect", interpolation="bilinear", seed=None,
                 fill_value=0.0, data_format=None, **kwargs):
        super().__init__(height_factor, width_factor, fill_mode, interpolation, seed, fill_value, data_format, **kwargs)
        self._height = _range_of(height_factor, -1, 1, "RandomTranslation height_factor")
        self._width = _range_of(width_factor, -1, 1, "RandomTranslation width_factor")

    def matrix(self, images):
        height, width = self._size(images)
        down, across = self._draw(images, *self._height) * height, self._draw(images, *self._width) * width
        return 1.0, 0.0, -across, 0.0, 1.0, -down


@builtin("keras.layers")
class RandomCrop(_RandomImageLayer):
    """Cuts a window out of images, at one place for the whole batch (as in Keras). At prediction, and where images are
    no larger than the window, their largest centred part of its aspect ratio is resized to it.

    Args:
        height, width: of the window.
        seed, data_format: as in the other random layers.
    """

    def __init__(self, height, width, seed=None, data_format=None, name=None, **kwargs):
        super().__init__(seed, data_format, name=name, **kwargs)
        self.height, self.width = height, width

    def transform(self, images, training):
        images = ops.cast(images, self.compute_dtype)
        sizes = self._size(images)
        if not training or sizes[0] <= self.height or sizes[1] <= self.width:
            return resize(images, (self.height, self.width), crop_to_aspect_ratio=True, data_format=self.data_format)
        for axis, size, part in zip(self._axes, sizes, (self.height, self.width)):
            start = random.randint((1,), 0, size - part + 1, seed=self.generator)
            images = ops.take(images, start + ops.arange(part, dtype="int32"), axis=axis)
        return images

    def get_config(self):
        return {**super().get_config(), "height": self.height, "width": self.width}


@builtin("keras.layers")
class RandomContrast(_RandomImageLayer):
    """Moves pixels away from the mean of their image and channel: (x - mean) * factor + mean, clipped.

    Args:
        factor: f for factors of [1, 1 + f], or (lower, upper) for [1 - lower, 1 + upper], in [0, 1].
        value_range: (lowest, highest) pixel.
        seed, data_format: as in the other random layers.
    """

    def __init__(self, factor, value_range=(0, 255), seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor = _range_of(factor, 0, 1, "RandomContrast")
        self.value_range = value_range

    def augment(self, images):
        mean = ops.mean(images, axis=self._axes, keepdims=True)
        factor = self._draw(images, 1 - self.factor[0], 1 + self.factor[1], (1, 1, 1))
        return ops.clip((images - mean) * factor + mean, *self.value_range)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "value_range": self.value_range}


@builtin("keras.layers")
class RandomBrightness(_RandomImageLayer):
    """Adds a share of the value range to all pixels of an image, clipped.

    Args:
        factor: f for [-f, f] or (lower, upper), in [-1, 1].
        value_range: (lowest, highest) pixel.
        seed, data_format: as in the other random layers.
    """

    def __init__(self, factor, value_range=(0, 255), seed=None, data_format=None, **kwargs):
        super().__init__(seed, data_format, **kwargs)
        self.factor = _range_of(factor, -1, 1, "RandomBrightness")
        if not isinstance(value_range, (tuple, list)) or len(value_range) != 2:
            raise ValueError(f"RandomBrightness: expected value_range to be two numbers; received {value_range!r}.")
        self.value_range = sorted(value_range)

    def augment(self, images):
        low, high = self.value_range
        shift = self._draw(images, *(f * (high - low) for f in self.factor), (1, 1, 1))
        return ops.clip(images + shift, low, high)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor, "value_range": self.value_range}
