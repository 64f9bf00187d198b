"""What image layers share, and the ones that draw nothing: Resizing, CenterCrop."""

from __future__ import annotations

from pydl import config, ops
from pydl.layers.base import Layer
from pydl.ops.image import crop_images, resize, spatial_axes
from pydl.registry import builtin

__all__ = ["CenterCrop", "Resizing"]


class ImageLayer(Layer):
    """A layer of images: (height, width, channels) or a batch of them, channels first where `data_format` says so.

    The input may also be a dict with "images" and whatever belongs to them ("labels", ...), which is passed on; what
    would have to move with the pixels ("bounding_boxes", "segmentation_masks") is refused.

    A subclass has `transform(images, training)` for a batch.

    Args:
        data_format: "channels_last" or "channels_first"; `config.image_data_format()` by default.
    """

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = data_format or config.image_data_format()
        self._axes = spatial_axes(self.data_format, type(self).__name__)

    def call(self, data, training=True):
        if isinstance(data, dict):
            moving = sorted(data.keys() & {"bounding_boxes", "segmentation_masks"})
            if moving or "images" not in data:
                raise ValueError(f"{type(self).__name__}: expected images or a dict with 'images' and labels; received"
                                 f" a dict with {sorted(data)}. Bounding boxes and segmentation masks are not"
                                 " transformed here.")
            return {**data, "images": self.call(data["images"], training)}
        if data.ndim not in (3, 4):
            raise ValueError(f"{type(self).__name__}: expected one image (rank 3) or a batch of images (rank 4);"
                             f" received shape {data.shape}.")
        if data.ndim == 4:
            return self.transform(data, training)
        return ops.squeeze(self.transform(ops.expand_dims(data, 0), training), 0)

    def _size(self, images) -> tuple[int, int]:
        """Height and width."""
        return images.shape[self._axes[0]], images.shape[self._axes[1]]

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}


@builtin("keras.layers")
class Resizing(ImageLayer):
    """Images of another size, at training and prediction alike; integers stay integers.

    Args:
        height, width: of the result.
        interpolation: "bilinear", "nearest", "bicubic", "lanczos3" or "lanczos5".
        crop_to_aspect_ratio, pad_to_aspect_ratio, fill_mode, fill_value, antialias, data_format: as
            `ops.image.resize`.
    """

    def __init__(self, height, width, interpolation="bilinear", crop_to_aspect_ratio=False, pad_to_aspect_ratio=False,
                 fill_mode="constant", fill_value=0.0, antialias=False, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.height, self.width = height, width
        self.interpolation = interpolation
        self.crop_to_aspect_ratio, self.pad_to_aspect_ratio = crop_to_aspect_ratio, pad_to_aspect_ratio
        self.fill_mode, self.fill_value = fill_mode, fill_value
        self.antialias = bool(antialias)

    def transform(self, images, training):
        return resize(images, (self.height, self.width), self.interpolation, self.antialias,
                      self.crop_to_aspect_ratio, self.pad_to_aspect_ratio, self.fill_mode, self.fill_value,
                      self.data_format)

    def get_config(self):
        return {**super().get_config(), **self._arguments("height", "width", "interpolation", "crop_to_aspect_ratio",
                                                          "pad_to_aspect_ratio", "fill_mode", "fill_value",
                                                          "antialias")}


@builtin("keras.layers")
class CenterCrop(ImageLayer):
    """The middle of images; images smaller than that are resized to cover it, their aspect ratio kept.

    Args:
        height, width: of the result.
        data_format: as in `ImageLayer`.
    """

    def __init__(self, height, width, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.height, self.width = height, width

    def transform(self, images, training):
        images = ops.cast(images, self.compute_dtype)
        height, width = self._size(images)
        if height < self.height or width < self.width:
            return resize(images, (self.height, self.width), crop_to_aspect_ratio=True, data_format=self.data_format)
        return crop_images(images, top_cropping=(height - self.height) // 2, target_height=self.height,
                           left_cropping=(width - self.width) // 2, target_width=self.width,
                           data_format=self.data_format)

    def get_config(self):
        return {**super().get_config(), "height": self.height, "width": self.width}
