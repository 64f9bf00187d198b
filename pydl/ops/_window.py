"""The geometry that convolution and pooling share: windows that slide over the spatial axes of channels-last data."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydl import config
from pydl.ops._common import Padding, PerAxis
from pydl.tensor import Tensor

_USUAL = 1024  # strides and dilations that kernels may multiply with each other and with sizes


@dataclass(frozen=True)  # a NamedTuple would be taken apart as a structure
class Window:
    """One window size and its positions, per spatial axis.

    Attributes:
        inputs: size of the input.
        outputs: number of positions.
        sizes: taps of the window.
        strides: distance of positions.
        dilation: distance of taps.
        before: padding in front; what the last position reaches past the input is padding behind.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]

    @functools.lru_cache(maxsize=1024)  # noqa: B019  of values, which hold nothing
    def flat(self) -> tuple[int, ...]:
        """The six tuples for a kernel, each filled up to three axes: (w) is (1, 1, w), (h, w) is (1, h, w)."""
        fill = 3 - len(self.inputs)
        neutral = zip((1, 1, 1, 1, 1, 0), (self.inputs, self.outputs, self.sizes, self.strides, self.dilation,
                                           self.before))
        return tuple(n for one, values in neutral for n in (one,) * fill + values)


def per_axis(value: PerAxis, rank: int, what: str, op: str) -> tuple[int, ...]:
    """`value` (int, or one int per spatial axis) as a tuple of `rank` positive ints."""
    values = (value,) * rank if isinstance(value, int) else tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(values) != rank or any(not isinstance(v, int) or isinstance(v, bool) or v < 1 for v in values):
        raise ValueError(f"{op}: expected {what} to be a positive integer or a tuple of {rank} of them; received"
                         f" {what}={value!r}.")
    return values


def pad_total(size: int, taps: int, stride: int, dilation: int) -> int:
    """Padding of "same": the output has ceil(size / stride) positions."""
    return max((-(-size // stride) - 1) * stride + (taps - 1) * dilation + 1 - size, 0)


def lowered(padding: Any) -> Any:
    """The way of padding under the name it has here: `VALID` is "valid", as in Keras."""
    return padding.lower() if isinstance(padding, str) else padding


def window(op: str, spatial: Sequence[int], sizes: PerAxis, strides: PerAxis, padding: Padding,
           dilation: PerAxis = 1) -> Window:
    """The positions of a window over `spatial`.

    Args:
        op: name for errors.
        spatial: input size per spatial axis.
        sizes, strides, dilation: int or one per axis.
        padding: "valid", "same", "causal" (one axis: all padding in front), or pairs (before, after) per axis.

    Raises:
        ValueError: for wrong arguments, strides with dilation, and a window larger than the padded input.
    """
    spatial, rank = tuple(spatial), len(spatial)
    sizes = per_axis(sizes, rank, "the window", op)
    strides = per_axis(strides, rank, "strides", op)
    dilation = per_axis(dilation, rank, "dilation_rate", op)
    reach = [(k - 1) * d + 1 for k, d in zip(sizes, dilation)]
    padding = lowered(padding)
    if isinstance(padding, (tuple, list)):
        pairs = [tuple(p) for p in padding]
        if len(pairs) != rank or any(len(p) != 2 or min(p) < 0 for p in pairs):
            raise ValueError(f"{op}: expected padding to be {rank} pairs (before, after) of integers >= 0; received"
                             f" padding={padding!r}.")
    elif padding == "valid":
        pairs = [(0, 0)] * rank
    elif padding == "same":
        totals = [pad_total(*axis) for axis in zip(spatial, sizes, strides, dilation)]
        pairs = [(t // 2, t - t // 2) for t in totals]
    elif padding == "causal" and rank == 1:
        pairs = [(reach[0] - 1, 0)]
    else:
        known = ("valid", "same", "causal") if rank == 1 else ("valid", "same")
        raise ValueError(f"{op}: expected padding to be one of {known}; received padding={padding!r}.")
    outputs = tuple((n + sum(p) - r) // s + 1 for n, p, r, s in zip(spatial, pairs, reach, strides))
    if any(n + sum(p) < r for n, p, r in zip(spatial, pairs, reach)):
        raise ValueError(f"{op}: a window of size {tuple(reach)} (with dilation) does not fit into an input of spatial"
                         f" size {spatial} with padding {padding!r}.")
    if max(*strides, *dilation) > _USUAL:
        # What nothing depends on is kept small: the stride of a single position, the dilation of a single tap.
        strides = tuple(min(s, n + sum(p)) for n, p, s in zip(spatial, pairs, strides))
        dilation = tuple(1 if k == 1 else d for k, d in zip(sizes, dilation))
    return Window(spatial, outputs, sizes, strides, dilation, tuple(p[0] for p in pairs))


def is_channels_first(data_format: str | None, op: str) -> bool:
    """Whether `data_format` (None: `config.image_data_format()`) puts the channels before the spatial axes."""
    data_format = data_format or config.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f'{op}: expected data_format to be "channels_last" or "channels_first"; received'
                         f" {data_format!r}.")
    return data_format == "channels_first"


def channels_last(x: Tensor) -> Tensor:
    """(batch, channels, spatial...) to (batch, spatial..., channels)."""
    from pydl import ops

    return ops.transpose(x, (0, *range(2, x.ndim), 1))


def channels_first(x: Tensor) -> Tensor:
    """(batch, spatial..., channels) to (batch, channels, spatial...)."""
    from pydl import ops

    return ops.transpose(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))
