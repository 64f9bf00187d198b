"""The base of layers over steps, images and volumes."""

from __future__ import annotations

from pydl import config
from pydl.layers.base import Layer
from pydl.layers.input_spec import InputSpec
from pydl.ops._window import is_channels_first, per_axis


class Spatial(Layer):
    """A layer over `_rank` spatial axes in one of the two data formats, `config.image_data_format()` by default."""

    _rank: int

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        is_channels_first(data_format, type(self).__name__)
        self.data_format = data_format or config.image_data_format()
        self.input_spec = InputSpec(ndim=self._rank + 2)

    def _per_axis(self, value, what: str) -> tuple[int, ...]:
        return per_axis(value, self._rank, what, type(self).__name__)

    def _axes(self) -> tuple[int, ...]:
        """The spatial axes of an input."""
        first = 2 if self.data_format == "channels_first" else 1
        return tuple(range(first, first + self._rank))

    def get_config(self):
        return {**super().get_config(), "data_format": self.data_format}
