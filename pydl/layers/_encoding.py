"""Numbers of categories as integers, one-hot rows, or counts: the `output_mode` of layers for categories."""

from __future__ import annotations

import math

from pydl import ops

INT, ONE_HOT, MULTI_HOT, COUNT, TF_IDF = "int", "one_hot", "multi_hot", "count", "tf_idf"


def check_mode(layer: str, mode: str, allowed: tuple) -> str:
    """The mode under its present name. Raises ValueError for one that is not allowed."""
    mode = {"binary": MULTI_HOT, "tf-idf": TF_IDF}.get(mode, mode)
    if mode not in allowed:
        raise ValueError(f"{layer}: `output_mode` is one of {', '.join(allowed)}; received {mode!r}.")
    return mode


def check_dense(layer: str, **flags) -> None:
    """Refuses `sparse=True` and `ragged=True`, which Keras has on TensorFlow only."""
    for name, value in flags.items():
        if value:
            raise ValueError(f"{layer}: {name}=True is not supported; results are dense.")


def encode(indices, mode: str, depth: int, dtype: str, weights=None):
    """Encodes numbers of categories; those outside 0 .. depth - 1 leave no trace.

    Args:
        indices: integer tensor (...). Axis 1 (of a vector: axis 0) runs over the entries of a sample that "multi_hot"
            and "count" bring together.
        weights: for "count", what each entry adds instead of 1; of the shape of `indices`.

    Returns:
        "int": `indices`; "one_hot": (..., depth), a last axis of size 1 left out; else (..., depth) without axis 1.
    """
    if mode == INT:
        return ops.cast(indices, dtype)
    if indices.ndim == 0:
        indices = ops.reshape(indices, (1,))
    if mode == ONE_HOT:
        if indices.ndim > 1 and indices.shape[-1] == 1:
            indices = ops.squeeze(indices, -1)
        return ops.one_hot(indices, depth, dtype=dtype)
    if mode == MULTI_HOT:
        return ops.multi_hot(indices, depth, dtype=dtype)
    weights = ops.ones_like(indices, dtype=dtype) if weights is None else weights
    if indices.ndim > 2:
        indices, weights = ops.moveaxis(indices, 1, -1), ops.moveaxis(weights, 1, -1)
    lead = tuple(indices.shape[:-1])
    rows = math.prod(lead)
    indices = ops.reshape(indices, (rows, indices.shape[-1]))
    inside = ops.logical_and(ops.greater_equal(indices, 0), ops.less(indices, depth))
    # One bin per row and category, and none for what leaves no trace.
    bins = ops.where(inside, ops.expand_dims(ops.arange(rows, dtype="int32") * depth, -1) + indices, -1)
    sums = ops.segment_sum(ops.reshape(weights, (-1,)), ops.reshape(bins, (-1,)), rows * depth)
    return ops.reshape(sums, (*lead, depth))
