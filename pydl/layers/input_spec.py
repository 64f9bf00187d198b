"""InputSpec: what a layer demands of an input."""

from __future__ import annotations

from pydl import tree
from pydl.configs import checked
from pydl.tensor import standardize_dtype

__all__ = ["InputSpec"]


class InputSpec:
    """What a layer demands of an input: dtype, rank, fixed dimensions.

    Args:
        dtype: expected dtype name.
        shape: expected shape, None for free dimensions.
        ndim, max_ndim, min_ndim: expected rank, or its bounds.
        axes: dict axis -> size.
        allow_last_axis_squeeze: accept a missing or extra last axis of size 1.
        name: key in a dict input.
        optional: whether None may be passed.
    """

    def __init__(self, dtype=None, shape=None, ndim=None, max_ndim=None, min_ndim=None, axes=None,
                 allow_last_axis_squeeze=False, name=None, optional=False):
        self.dtype = None if dtype is None else standardize_dtype(dtype)
        self.shape = None if shape is None else tuple(shape)
        self.ndim = len(self.shape) if self.shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = {int(k): v for k, v in (axes or {}).items()}
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        self.name = name
        self.optional = optional

    def __repr__(self):
        parts = [f"{k}={v}" for k, v in vars(self).items() if v not in (None, {}, False)]
        return f"InputSpec({', '.join(parts)})"

    def get_config(self) -> dict:
        return {k: getattr(self, k) for k in ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")}

    @classmethod
    @checked
    def from_config(cls, config) -> InputSpec:
        return cls(**config)

    def problem(self, shape) -> str | None:
        """What is wrong with an input of `shape`, as the end of a sentence; None when it fits."""
        rank = len(shape)
        if self.ndim is not None and rank != self.ndim:
            return f"expected ndim={self.ndim}, found ndim={rank}"
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"expected max_ndim={self.max_ndim}, found ndim={rank}"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"expected min_ndim={self.min_ndim}, found ndim={rank}"
        for axis, size in self.axes.items():
            if size is not None and shape[axis] is not None and shape[axis] != size:
                return f"expected axis {axis} of input shape to have value {size}, but received {shape[axis]}"
        if self.shape is not None:
            for want, got in zip(self.shape, shape):
                if want is not None and got is not None and want != got:
                    return f"expected shape={self.shape}, found shape={tuple(shape)}"
        return None


def check_inputs(specs, inputs, layer: str) -> None:
    """Compares the inputs of a layer with its `input_spec`.

    Args:
        specs: an InputSpec or a structure of them.
        inputs: a tensor or a structure of them.
        layer: name, for the message.

    Raises:
        ValueError: when their number differs or an input does not fit.
    """
    specs, inputs = tree.flatten(specs), tree.flatten(inputs)
    if len(specs) != len(inputs):
        raise ValueError(f'Layer "{layer}" expects {len(specs)} input(s), but it received {len(inputs)} input tensors.')
    for i, (spec, x) in enumerate(zip(specs, inputs)):
        problem = spec.problem(x.shape) if spec is not None and hasattr(x, "shape") else None
        if problem:
            which = "" if len(specs) == 1 else f" {i}"
            raise ValueError(f'Input{which} of layer "{layer}" is incompatible with the layer: {problem}.'
                             f" Full shape received: {tuple(x.shape)}")
