"""Values per sample: targets, masks and weights laid beside them under Keras's conventions, and their weighted mean."""

from __future__ import annotations

import numpy as np

from pydl import ops
from pydl._core import kernels
from pydl.ops._common import Gradients, TensorLike, as_float, as_tensor
from pydl.ops._fused import fused
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty


def get_mask(x: object) -> Tensor | None:
    """The mask a layer put on its output, or None."""
    return getattr(x, "_keras_mask", None)


def squeeze_or_expand_to_same_rank(x1: Tensor, x2: Tensor, expand_rank_1: bool = True) -> tuple[Tensor, Tensor]:
    """Drops or adds a last axis of size 1 when the ranks differ by one; a vector gains the axis."""
    if len(x1.shape) == len(x2.shape) + 1 and x1.shape[-1] == 1:
        if len(x2.shape) == 1 and expand_rank_1:
            return x1, ops.expand_dims(x2, -1)
        return ops.squeeze(x1, -1), x2
    if len(x2.shape) == len(x1.shape) + 1 and x2.shape[-1] == 1:
        x2, x1 = squeeze_or_expand_to_same_rank(x2, x1, expand_rank_1)
    return x1, x2


def apply_mask(sample_weight: TensorLike | None, mask: TensorLike | None, dtype: str,
               reduction: str | None) -> TensorLike | None:
    """Weights and mask merged into weights.

    With a mean over the batch, the valid entries get weight total / valid, so that dividing by the number of all
    entries later gives the mean over the valid ones.
    """
    if mask is None:
        return sample_weight
    mask = ops.cast(mask, dtype)
    if reduction in ("mean", "sum_over_batch_size"):
        valid = ops.sum(mask)
        mask = mask * (mask.size / ops.maximum(valid, 1.0))  # valid = 0: every weight is 0 anyway
    if sample_weight is None:
        return mask
    mask, sample_weight = align_weight(mask, ops.convert_to_tensor(sample_weight, dtype=dtype))
    return sample_weight * mask


def align_weight(values: Tensor, sample_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of fewer axes than the values belong to the leading ones: (batch,) weights a (batch, time) loss."""
    values, sample_weight = squeeze_or_expand_to_same_rank(values, sample_weight)
    rank = len(sample_weight.shape)
    if 0 < rank < len(values.shape) and tuple(sample_weight.shape) == tuple(values.shape[:rank]):
        sample_weight = ops.reshape(sample_weight, (*sample_weight.shape, *(1,) * (len(values.shape) - rank)))
    return values, sample_weight


def align(y_true: TensorLike, y_pred: TensorLike, what: str, broadcast: bool = True) -> tuple[Tensor, Tensor]:
    """Predictions as floats, targets in their dtype; both of one shape, to which `broadcast` may bring them."""
    y_pred = as_float(y_pred)
    y_true = ops.cast(as_tensor(y_true), y_pred.dtype)
    y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
    if y_true.shape != y_pred.shape:
        try:
            if not broadcast:
                raise ValueError
            shape = np.broadcast_shapes(y_true.shape, y_pred.shape)
        except ValueError:
            raise ValueError(f"{what}: `y_true` and `y_pred` must have the same shape; received y_true.shape="
                             f"{y_true.shape} and y_pred.shape={y_pred.shape}.") from None
        y_true, y_pred = ops.broadcast_to(y_true, shape), ops.broadcast_to(y_pred, shape)
    return y_true, y_pred


def _weighted_mean_kernel(x: Tensor, weights: Tensor | None, by_weight: bool) -> Tensor:
    scale, y = empty((), x.dtype), empty((), x.dtype)
    w = None if weights is None else weights.data
    kernels.weighted_mean(x.data, w, scale.data, y.data, x.size, int(by_weight))

    def vjp(dy: Tensor) -> Gradients:
        dx = empty(x.shape, x.dtype)
        kernels.weighted_mean_grad(w, scale.data, dy.data, dx.data, x.size)
        return (dx,)

    return differentiable(y, (x,), vjp)


@fused(_weighted_mean_kernel, constants=(1,))
def _weighted_mean(x: Tensor, weights: Tensor | None, by_weight: bool) -> Tensor:
    if weights is None:
        return ops.mean(x)
    total = ops.sum(x * weights)
    return ops.divide_no_nan(total, ops.sum(weights)) if by_weight else total / float(x.size)


@op
def weighted_mean(values: TensorLike, weights: TensorLike | None = None, by_weight: bool = False) -> Tensor:
    """sum(values * weights) / n: how per-sample losses become one number.

    Args:
        values: float tensor of n values.
        weights: tensor of its shape; all 1 by default.
        by_weight: divide by the sum of the weights instead of n; 0 if that is 0.

    Returns:
        Scalar tensor.
    """
    x = as_float(values)
    if weights is not None:
        weights = as_float(weights)
        if weights.dtype != x.dtype:
            weights = ops.cast(weights, x.dtype)
        if weights.shape != x.shape:
            raise ValueError(f"weighted_mean: expected weights of the values' shape {x.shape}; received shape "
                             f"{weights.shape}.")
    return _weighted_mean(x, weights, by_weight)
