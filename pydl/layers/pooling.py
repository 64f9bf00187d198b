"""Pooling layers: sliding windows, adaptive windows, and whole images."""

from __future__ import annotations

from pydl import ops
from pydl.layers._spatial import Spatial
from pydl.registry import builtin

__all__ = [
    "AdaptiveAveragePooling1D", "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D", "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D",
    "AvgPool1D", "AvgPool2D", "AvgPool3D", "GlobalAveragePooling1D", "GlobalAveragePooling2D",
    "GlobalAveragePooling3D", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D", "GlobalMaxPool1D",
    "GlobalMaxPool2D", "GlobalMaxPool3D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D",
    "MaxPool1D", "MaxPool2D", "MaxPool3D", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D"]


class _Pooling(Spatial):
    """Windows that slide over the spatial axes.

    Args:
        pool_size: size of the window, int or one per spatial axis.
        strides: distance of windows, int or one per spatial axis; `pool_size` by default.
        padding: "valid" (whole windows only) or "same" (ceil(size / stride) windows, clipped to the input).
        data_format: "channels_last" (batch, spatial..., channels) or "channels_first" (batch, channels, spatial...).

    Raises:
        ValueError: for wrong arguments, and at a call with a window larger than the input.
    """

    _pool: str  # name of the op
    _built_when_made = True

    def __init__(self, pool_size, strides=None, padding="valid", data_format=None, name=None, **kwargs):
        super().__init__(data_format, name=name, **kwargs)
        self.pool_size = self._per_axis(pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else self._per_axis(strides, "strides")
        self.padding = padding.lower() if isinstance(padding, str) else padding

    def call(self, inputs):
        return getattr(ops, self._pool)(inputs, self.pool_size, self.strides, self.padding, self.data_format)

    def get_config(self):
        return {**super().get_config(), "pool_size": self.pool_size, "padding": self.padding, "strides": self.strides}


@builtin("keras.layers")
class MaxPooling1D(_Pooling):
    __doc__ = f"The largest value of each window of (batch, steps, channels). {_Pooling.__doc__}"
    _rank, _pool = 1, "max_pool"

    def __init__(self, pool_size=2, strides=None, padding="valid", data_format=None, name=None, **kwargs):
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


@builtin("keras.layers")
class MaxPooling2D(_Pooling):
    __doc__ = f"The largest value of each window of (batch, height, width, channels). {_Pooling.__doc__}"
    _rank, _pool = 2, "max_pool"

    def __init__(self, pool_size=(2, 2), strides=None, padding="valid", data_format=None, name=None, **kwargs):
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


@builtin("keras.layers")
class MaxPooling3D(_Pooling):
    __doc__ = f"The largest value of each window of (batch, depth, height, width, channels). {_Pooling.__doc__}"
    _rank, _pool = 3, "max_pool"

    def __init__(self, pool_size=(2, 2, 2), strides=None, padding="valid", data_format=None, name=None, **kwargs):
        super().__init__(pool_size, strides, padding, data_format, name, **kwargs)


@builtin("keras.layers")
class AveragePooling1D(_Pooling):
    __doc__ = f"The mean of each window of (batch, steps, channels), without padding. {_Pooling.__doc__}"
    _rank, _pool = 1, "average_pool"


@builtin("keras.layers")
class AveragePooling2D(_Pooling):
    __doc__ = f"The mean of each window of (batch, height, width, channels), without padding. {_Pooling.__doc__}"
    _rank, _pool = 2, "average_pool"


@builtin("keras.layers")
class AveragePooling3D(_Pooling):
    __doc__ = f"The mean of each window of (batch, depth, height, width, channels), without padding. {_Pooling.__doc__}"
    _rank, _pool = 3, "average_pool"


class _AdaptivePooling(Spatial):
    """Windows that share any input out among a fixed number of outputs.

    Args:
        output_size: int or one per spatial axis; output i of n takes the places [floor(i size / n),
            ceil((i + 1) size / n)).
        data_format: "channels_last" (batch, spatial..., channels) or "channels_first" (batch, channels, spatial...).
    """

    _pool: str  # name of the op

    def __init__(self, output_size, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.output_size = self._per_axis(output_size, "output_size")

    def call(self, inputs):
        return getattr(ops, self._pool)(inputs, self.output_size, self.data_format)

    def get_config(self):
        return {**super().get_config(), "output_size": self.output_size}


@builtin("keras.layers")
class AdaptiveMaxPooling1D(_AdaptivePooling):
    __doc__ = f"(batch, steps, channels) -> (batch, output_size, channels) by maxima. {_AdaptivePooling.__doc__}"
    _rank, _pool = 1, "adaptive_max_pool"


@builtin("keras.layers")
class AdaptiveMaxPooling2D(_AdaptivePooling):
    __doc__ = f"Images of any size to images of `output_size`, by maxima. {_AdaptivePooling.__doc__}"
    _rank, _pool = 2, "adaptive_max_pool"


@builtin("keras.layers")
class AdaptiveMaxPooling3D(_AdaptivePooling):
    __doc__ = f"Volumes of any size to volumes of `output_size`, by maxima. {_AdaptivePooling.__doc__}"
    _rank, _pool = 3, "adaptive_max_pool"


@builtin("keras.layers")
class AdaptiveAveragePooling1D(_AdaptivePooling):
    __doc__ = f"(batch, steps, channels) -> (batch, output_size, channels) by means. {_AdaptivePooling.__doc__}"
    _rank, _pool = 1, "adaptive_average_pool"


@builtin("keras.layers")
class AdaptiveAveragePooling2D(_AdaptivePooling):
    __doc__ = f"Images of any size to images of `output_size`, by means. {_AdaptivePooling.__doc__}"
    _rank, _pool = 2, "adaptive_average_pool"


@builtin("keras.layers")
class AdaptiveAveragePooling3D(_AdaptivePooling):
    __doc__ = f"Volumes of any size to volumes of `output_size`, by means. {_AdaptivePooling.__doc__}"
    _rank, _pool = 3, "adaptive_average_pool"


class _GlobalPooling(Spatial):
    """One value per channel.

    Args:
        data_format: "channels_last" (batch, spatial..., channels) or "channels_first" (batch, channels, spatial...).
        keepdims: whether the spatial axes stay, with size 1.
    """

    _built_when_made = True

    def __init__(self, data_format=None, keepdims=False, **kwargs):
        super().__init__(data_format, **kwargs)
        self.keepdims = keepdims

    def get_config(self):
        return {**super().get_config(), "keepdims": self.keepdims}


class _GlobalMaxPooling(_GlobalPooling):
    def call(self, inputs):
        return ops.max(inputs, axis=self._axes(), keepdims=self.keepdims)


class _GlobalAveragePooling(_GlobalPooling):
    def call(self, inputs):
        return ops.mean(inputs, axis=self._axes(), keepdims=self.keepdims)


@builtin("keras.layers")
class GlobalMaxPooling1D(_GlobalMaxPooling):
    __doc__ = f"The largest value over the steps. {_GlobalPooling.__doc__}"
    _rank = 1


@builtin("keras.layers")
class GlobalMaxPooling2D(_GlobalMaxPooling):
    __doc__ = f"The largest value over each image. {_GlobalPooling.__doc__}"
    _rank = 2


@builtin("keras.layers")
class GlobalMaxPooling3D(_GlobalMaxPooling):
    __doc__ = f"The largest value over each volume. {_GlobalPooling.__doc__}"
    _rank = 3


@builtin("keras.layers")
class GlobalAveragePooling1D(_GlobalAveragePooling):
    __doc__ = f"The mean over the steps, weighted by `mask` (batch, steps). {_GlobalPooling.__doc__}"
    _rank = 1

    def __init__(self, data_format=None, keepdims=False, **kwargs):
        super().__init__(data_format, keepdims, **kwargs)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        if mask is None:
            return super().call(inputs)
        axes = self._axes()
        mask = ops.expand_dims(mask, 1 if axes == (2,) else 2)
        shares = ops.cast(mask, inputs.dtype)
        kept = ops.where(ops.cast(mask, "bool"), inputs if mask.dtype == "bool" else inputs * shares, 0)
        return ops.sum(kept, axis=axes, keepdims=self.keepdims) / ops.sum(shares, axis=axes, keepdims=self.keepdims)

    def compute_mask(self, inputs, mask=None):
        return None


@builtin("keras.layers")
class GlobalAveragePooling2D(_GlobalAveragePooling):
    __doc__ = f"The mean over each image. {_GlobalPooling.__doc__}"
    _rank = 2


@builtin("keras.layers")
class GlobalAveragePooling3D(_GlobalAveragePooling):
    __doc__ = f"The mean over each volume. {_GlobalPooling.__doc__}"
    _rank = 3


MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D
GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D
GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = (GlobalAveragePooling1D, GlobalAveragePooling2D,
                                                     GlobalAveragePooling3D)
