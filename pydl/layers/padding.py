"""Layers that add, drop or repeat places of spatial axes: ZeroPadding, Cropping, UpSampling."""

from __future__ import annotations

from pydl import ops
from pydl.layers._spatial import Spatial
from pydl.registry import builtin

__all__ = ["Cropping1D", "Cropping2D", "Cropping3D", "UpSampling1D", "UpSampling2D", "UpSampling3D", "ZeroPadding1D",
           "ZeroPadding2D", "ZeroPadding3D"]

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")


def _pair(value) -> tuple[int, int] | None:
    """An int n as (n, n), two ints as they are; None for anything else, and for negative numbers."""
    pair = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, (tuple, list)) else ()
    fits = len(pair) == 2 and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in pair)
    return (pair[0], pair[1]) if fits else None


def _pairs(value, rank: int, what: str, name: str) -> tuple[tuple[int, int], ...]:
    """(before, after) per spatial axis, from an int, one int per axis, or such pairs; with one axis from one pair.

    Raises:
        ValueError: for anything else, and for negative numbers.
    """
    parts = [value] if rank == 1 else [value] * rank if isinstance(value, int) else value
    pairs = [_pair(p) for p in parts] if isinstance(parts, (tuple, list)) else []
    found = tuple(p for p in pairs if p is not None)
    if not len(pairs) == len(found) == rank:
        wanted = "a pair (before, after)" if rank == 1 else f"{rank} integers, or {rank} pairs (before, after)"
        raise ValueError(f"{name}: expected {what} to be an integer of at least 0 or {wanted} of them; received"
                         f" {what}={value!r}.")
    return found


def _without_format(config: dict) -> dict:
    """The config of a layer that takes no data format."""
    return {k: v for k, v in config.items() if k != "data_format"}


class _ZeroPadding(Spatial):
    """Zeros around the spatial axes.

    Args:
        padding: how many; an int for all sides, one int per axis, or a pair (before, after) per axis.
        data_format: "channels_last" (batch, spatial..., channels) or "channels_first" (batch, channels, spatial...).
    """

    def __init__(self, padding=1, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        pairs = _pairs(padding, self._rank, "padding", type(self).__name__)
        self.padding = pairs[0] if self._rank == 1 else pairs

    def call(self, inputs):
        widths = [(0, 0)] * inputs.ndim
        for axis, pair in zip(self._axes(), [self.padding] if self._rank == 1 else self.padding):
            widths[axis] = pair
        return ops.pad(inputs, widths)

    def get_config(self):
        return {**super().get_config(), "padding": self.padding}


@builtin("keras.layers")
class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after the steps.

    Args:
        padding: int, or (before, after).
        data_format: "channels_last" (batch, steps, channels) or "channels_first" (batch, channels, steps).
    """

    _rank = 1


@builtin("keras.layers")
class ZeroPadding2D(_ZeroPadding):
    __doc__ = f"A frame of zeros around images. {_ZeroPadding.__doc__}"
    _rank = 2

    def __init__(self, padding=(1, 1), data_format=None, **kwargs):
        super().__init__(padding, data_format, **kwargs)


@builtin("keras.layers")
class ZeroPadding3D(_ZeroPadding):
    __doc__ = f"A frame of zeros around volumes. {_ZeroPadding.__doc__}"
    _rank = 3

    def __init__(self, padding=((1, 1), (1, 1), (1, 1)), data_format=None, **kwargs):
        super().__init__(padding, data_format, **kwargs)


class _Cropping(Spatial):
    """The inner part of the spatial axes.

    Args:
        cropping: how many places fall away; an int for all sides, one int per axis, or a pair (before, after) per axis.
        data_format: "channels_last" (batch, spatial..., channels) or "channels_first" (batch, channels, spatial...).

    Raises:
        ValueError: for wrong arguments, and at a call when nothing would be left.
    """

    def __init__(self, cropping, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        pairs = _pairs(cropping, self._rank, "cropping", type(self).__name__)
        self.cropping = pairs[0] if self._rank == 1 else pairs

    def call(self, inputs):
        key = [slice(None)] * inputs.ndim
        for axis, (before, after) in zip(self._axes(), [self.cropping] if self._rank == 1 else self.cropping):
            if before + after >= inputs.shape[axis]:
                raise ValueError(f"expected cropping to leave something of axis {axis}, of size {inputs.shape[axis]};"
                                 f" received cropping={self.cropping}.")
            key[axis] = slice(before, inputs.shape[axis] - after)
        return inputs[tuple(key)]

    def get_config(self):
        return {**super().get_config(), "cropping": self.cropping}


@builtin("keras.layers")
class Cropping1D(_Cropping):
    """Takes steps away at both ends of (batch, steps, channels).

    Args:
        cropping: int, or (before, after).
    """

    _rank = 1

    def __init__(self, cropping=(1, 1), **kwargs):
        super().__init__(cropping, "channels_last", **kwargs)

    def get_config(self):
        return _without_format(super().get_config())


@builtin("keras.layers")
class Cropping2D(_Cropping):
    __doc__ = f"Takes the edges of images away. {_Cropping.__doc__}"
    _rank = 2

    def __init__(self, cropping=((0, 0), (0, 0)), data_format=None, **kwargs):
        super().__init__(cropping, data_format, **kwargs)


@builtin("keras.layers")
class Cropping3D(_Cropping):
    __doc__ = f"Takes the faces of volumes away. {_Cropping.__doc__}"
    _rank = 3

    def __init__(self, cropping=((1, 1), (1, 1), (1, 1)), data_format=None, **kwargs):
        super().__init__(cropping, data_format, **kwargs)


class _UpSampling(Spatial):
    """Every place repeated.

    Args:
        size: how often, int or one per spatial axis.
        data_format: "channels_last" (batch, spatial..., channels) or "channels_first" (batch, channels, spatial...).
    """

    def __init__(self, size, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.size = self._per_axis(size, "size")

    def call(self, inputs):
        for axis, times in reversed([*zip(self._axes(), self.size)]):  # the innermost first: it moves the least
            inputs = ops.repeat(inputs, times, axis=axis)
        return inputs

    def get_config(self):
        return {**super().get_config(), "size": self.size}


@builtin("keras.layers")
class UpSampling1D(_UpSampling):
    """Repeats each step of (batch, steps, channels) `size` times."""

    _rank = 1

    def __init__(self, size=2, **kwargs):
        super().__init__(size, "channels_last", **kwargs)

    def get_config(self):
        return {**_without_format(super().get_config()), "size": self.size[0]}


@builtin("keras.layers")
class UpSampling2D(_UpSampling):
    """Images enlarged by whole factors.

    Args:
        size: factors of height and width, int or one for each.
        data_format: "channels_last" (batch, height, width, channels) or "channels_first".
        interpolation: "nearest" (places are repeated), "bilinear", "bicubic", "lanczos3" or "lanczos5", as
            `ops.image.resize` has them.
    """

    _rank = 2

    def __init__(self, size=(2, 2), data_format=None, interpolation="nearest", **kwargs):
        super().__init__(size, data_format, **kwargs)
        self.interpolation = interpolation.lower()
        if self.interpolation not in _INTERPOLATIONS:
            raise ValueError(f"UpSampling2D: expected interpolation to be one of {_INTERPOLATIONS}; received"
                             f" interpolation={interpolation!r}.")

    def call(self, inputs):
        if self.interpolation == "nearest":
            return super().call(inputs)
        size = tuple(inputs.shape[axis] * times for axis, times in zip(self._axes(), self.size))
        return ops.image.resize(inputs, size, interpolation=self.interpolation, data_format=self.data_format)

    def get_config(self):
        return {**super().get_config(), "interpolation": self.interpolation}


@builtin("keras.layers")
class UpSampling3D(_UpSampling):
    __doc__ = f"Volumes enlarged by whole factors. {_UpSampling.__doc__}"
    _rank = 3

    def __init__(self, size=(2, 2, 2), data_format=None, **kwargs):
        super().__init__(size, data_format, **kwargs)
