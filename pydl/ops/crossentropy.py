"""The cross-entropies of `keras.ops`. The losses of these names (`ops/_losses.py`) add Keras's conventions."""

from __future__ import annotations

from pydl import config, ops
from pydl._core import kernels
from pydl.dtypes import is_byte_dtype
from pydl.ops._common import as_float, as_tensor, normalize_axis, result_dtype
from pydl.ops._fused import fused
from pydl.ops._loss_kernels import by_group, by_row
from pydl.symbolic import op
from pydl.tensor import Tensor

__all__ = ["binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"]

_NO_CLASS = -(2**31)  # an int32 that is no class number: no label is ignored


def _same(name: str, target, output) -> tuple[Tensor, Tensor]:
    """Both as floats of one dtype. Raises ValueError unless they have one shape."""
    t, p = as_float(target), as_float(output)
    if t.shape != p.shape:
        raise ValueError(f"{name}: expected targets and predictions of one shape; received shapes {t.shape} and "
                         f"{p.shape}.")
    if t.dtype != p.dtype:
        dtype = result_dtype(t, p)
        t, p = ops.cast(t, dtype), ops.cast(p, dtype)
    return t, p


@fused(by_row("binary_crossentropy", reduced=False), constants=(0,))
def binary_of_probabilities(t, p, epsilon):
    p = ops.clip(p, epsilon, 1.0 - epsilon)
    return -t * ops.log(p) - (1.0 - t) * ops.log(1.0 - p)


@fused(by_row("binary_crossentropy_logits", reduced=False), constants=(0,))
def binary_of_logits(t, z):
    return ops.softplus(z) - t * z


@op
def binary_crossentropy(target, output, from_logits=False):
    """-target log(p) - (1 - target) log(1 - p) of each element.

    Args:
        target: floats in [0, 1].
        output: of target's shape: probabilities p, clipped to [epsilon, 1 - epsilon], or logits, p = sigmoid(output).
        from_logits: which of the two.

    Returns:
        Tensor of the same shape.
    """
    t, p = _same("binary_crossentropy", target, output)
    return binary_of_logits(t, p) if from_logits else binary_of_probabilities(t, p, config.epsilon())


@fused(by_group("categorical_crossentropy", again=1), constants=(0,))
def _categorical_of_probabilities(t, p, axis, epsilon):
    q = ops.clip(p / ops.sum(p, axis, keepdims=True), epsilon, 1.0 - epsilon)
    return -ops.sum(t * ops.log(q), axis)


@fused(by_group("categorical_crossentropy_logits"), constants=(0,))
def _categorical_of_logits(t, z, axis):
    log_q = ops.log_softmax(z, axis)
    masked = ops.logical_and(ops.equal(t, 0.0), ops.isinf(log_q))  # a logit of -inf where nothing is expected
    return -ops.sum(t * ops.where(masked, 0.0, log_q), axis)


@op
def categorical_crossentropy(target, output, from_logits=False, axis=-1):
    """-sum(target log(p)) over `axis`.

    Args:
        target: probabilities of the classes along `axis` (one-hot or soft).
        output: of target's shape: probabilities, divided by their sum and clipped to [epsilon, 1 - epsilon], or
            logits, p = softmax(output).
        from_logits: which of the two.
        axis: the axis of the classes.

    Returns:
        Tensor of the shape without `axis`.
    """
    t, p = _same("categorical_crossentropy", target, output)
    if p.ndim < 1:
        raise ValueError("categorical_crossentropy: expected `output` of rank at least 1; received a scalar.")
    if from_logits:
        return _categorical_of_logits(t, p, axis)
    return _categorical_of_probabilities(t, p, axis, config.epsilon())


def _at_labels(x, labels, axis, ignored):
    """`x` at the class of each label along `axis`, 0 where the label is the ignored one."""
    shape = x.shape[:axis] + x.shape[axis + 1:]
    labels = ops.reshape(labels, shape)
    seen = ops.not_equal(labels, ignored)
    index = ops.expand_dims(ops.where(seen, labels, 0), axis)
    return ops.where(seen, ops.squeeze(ops.take_along_axis(x, index, axis), axis), 0.0)


@fused(by_group("sparse_categorical_crossentropy", predictions=0))
def _sparse_of_probabilities(p, labels, axis, epsilon, ignored):
    q = ops.clip(p / ops.sum(p, axis, keepdims=True), epsilon, 1.0 - epsilon)
    return -_at_labels(ops.log(q), labels, axis, ignored)


@fused(by_group("sparse_categorical_crossentropy_logits", predictions=0))
def _sparse_of_logits(z, labels, axis, ignored):
    return -_at_labels(ops.log_softmax(z, axis), labels, axis, ignored)


@op
def sparse_categorical_crossentropy(target, output, from_logits=False, axis=-1, ignore_class=None):
    """-log(p[target]) over `axis`.

    Args:
        target: class numbers in [0, classes), of output's shape without `axis` (or with size 1 there).
        output: probabilities or logits as in `categorical_crossentropy`.
        from_logits: which of the two.
        axis: the axis of the classes.
        ignore_class: a label whose samples give 0 and no gradient, or None.

    Returns:
        Tensor of output's shape without `axis`.

    Raises:
        ValueError: a label is no class number; the text names its value and position.
    """
    p, labels = as_float(output), as_tensor(target)
    if p.ndim < 1:
        raise ValueError("sparse_categorical_crossentropy: expected `output` of rank at least 1; received a scalar.")
    along = normalize_axis(axis, p.ndim)
    shape = p.shape[:along] + p.shape[along + 1:]
    if labels.shape not in (shape, p.shape[:along] + (1,) + p.shape[along + 1:]):
        raise ValueError(f"sparse_categorical_crossentropy: expected labels of shape {shape} for predictions of shape "
                         f"{p.shape} with the classes along axis {axis}; received shape {labels.shape}.")
    if is_byte_dtype(labels.dtype):
        labels = ops.cast(labels, "int32")
    if ignore_class is None:
        ignored = _NO_CLASS
        kernels.check_labels(labels.data, labels.size, p.shape[along])
    else:
        ignored = int(ignore_class)
        kernels.check_labels_or_ignored(labels.data, labels.size, p.shape[along], ignored)
    if labels.dtype != "int32":
        labels = ops.cast(labels, "int32")
    if from_logits:
        return _sparse_of_logits(p, labels, along, ignored)
    return _sparse_of_probabilities(p, labels, along, config.epsilon(), ignored)
