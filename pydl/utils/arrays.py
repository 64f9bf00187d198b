"""NumPy helpers for labels, features and sequences."""

from __future__ import annotations

import numpy as np

from pydl import _text, ops
from pydl._core import require_room
from pydl.data.adapters import unpack
from pydl.dtypes import holds_numbers
from pydl.tensor import Tensor, as_array

__all__ = ["normalize", "pack_x_y_sample_weight", "pad_sequences", "to_categorical", "unpack_x_y_sample_weight"]


def to_categorical(x, num_classes: int | None = None) -> np.ndarray:
    """One-hot rows of class numbers.

    Args:
        x: integers, shape (...) or (..., 1), each in 0 .. num_classes - 1.
        num_classes: number of classes; the largest number plus one when None.

    Returns:
        float64 array of shape (..., num_classes).

    Raises:
        ValueError: for a class number outside the range, or for no numbers without `num_classes`.
    """
    labels = np.asarray(x).astype("int64")
    shape = labels.shape
    if len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    labels = labels.reshape(-1)
    if num_classes is None:
        if labels.size == 0:
            raise ValueError("to_categorical: `x` is empty, so `num_classes` cannot be inferred; pass it.")
        num_classes = int(labels.max()) + 1
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if outside.size:
        raise ValueError(f"to_categorical: expected class numbers in 0 .. {num_classes - 1}; received {outside[0]}.")
    require_room((labels.size, num_classes), "float64")
    one_hot = np.zeros((labels.size, num_classes))
    one_hot[np.arange(labels.size), labels] = 1
    return one_hot.reshape(*shape, num_classes)


def normalize(x, axis: int = -1, order: int = 2):
    """Divides `x` by its norm along `axis`; a vector of zeros stays as it is.

    Args:
        x: array or Tensor of any shape.
        axis: along which the norm is taken.
        order: of the norm, 2 for Euclidean length.

    Returns:
        A Tensor for a Tensor, else an array, of the shape of `x`.
    """
    if isinstance(x, Tensor):
        norm = ops.norm(x, order, axis, keepdims=True)
        return ops.divide(x, ops.where(ops.equal(norm, 0), 1.0, norm))
    x = np.asarray(x)
    top = np.max(np.abs(x), axis=axis, keepdims=True, initial=0)
    x = x / np.exp2(np.floor(np.log2(np.where((top > 0) & np.isfinite(top), top, 1))))  # its squares stay finite
    norm = np.linalg.norm(x, order, axis, keepdims=True)
    return x / np.where(norm == 0, 1, norm)


def pad_sequences(sequences, maxlen: int | None = None, dtype="int32", padding: str = "pre", truncating: str = "pre",
                  value=0.0) -> np.ndarray:
    """Sequences of different lengths as one array.

    Args:
        sequences: list of N sequences; elements may be numbers or arrays of one shape.
        maxlen: length of the result; that of the longest sequence when None.
        dtype: of the result; `object` for strings.
        padding: "pre" or "post": where `value` fills up.
        truncating: "pre" or "post": which end of a long sequence is cut off.
        value: the filling.

    Returns:
        Array of shape (N, maxlen, *shape of an element).

    Raises:
        ValueError: for something that is no sequence, elements of different shapes, or an unknown mode.
    """
    for name, mode in (("padding", padding), ("truncating", truncating)):
        if mode not in ("pre", "post"):
            raise ValueError(f"pad_sequences: expected `{name}` to be 'pre' or 'post'; received {mode!r}.")
    if not hasattr(sequences, "__len__"):
        raise ValueError(f"pad_sequences: expected a list of sequences; received {type(sequences).__name__}.")
    for position, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__"):
            raise ValueError(f"pad_sequences: expected a sequence at position {position}; received {sequence!r}.")
    if isinstance(value, str) and np.dtype(dtype).kind not in "OUS":
        raise ValueError(f"pad_sequences: a string `value` needs dtype=object; received dtype {dtype!r}.")
    if maxlen is None:
        maxlen = max(map(len, sequences), default=0)
    element = next((np.shape(s)[1:] for s in sequences if len(s)), ())
    require_room((len(sequences), maxlen, *element), dtype)
    padded = np.full((len(sequences), maxlen, *element), value, dtype)
    if isinstance(sequences, list) and _text.fill_rows(sequences, padded, padding == "pre", truncating == "pre"):
        return padded
    convert = as_array if holds_numbers(padded) else np.asarray
    for position, sequence in enumerate(sequences):
        length = min(len(sequence), maxlen)
        if length == 0:
            continue
        kept = sequence[-length:] if truncating == "pre" else sequence[:length]
        kept = convert(kept, dtype)
        if kept.shape[1:] != element:
            raise ValueError(f"pad_sequences: expected elements of shape {element} in every sequence; "
                             f"received {kept.shape[1:]} at position {position}.")
        start = maxlen - length if padding == "pre" else 0
        padded[position, start : start + length] = kept
    return padded


def unpack_x_y_sample_weight(data):
    """(x, y, sample_weight) of x, (x,), (x, y) or (x, y, sample_weight), with None for what is missing."""
    return unpack(data)


def pack_x_y_sample_weight(x, y=None, sample_weight=None):
    """What a custom `train_step` unpacks again: x (in a tuple when it is a tuple or list), (x, y), or all three."""
    if y is None:
        return (x,) if isinstance(x, (tuple, list)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)
