"""The cross-entropies of `keras.ops`. The losses of these names (`ops/_losses.py`) add Keras's conventions."""

from __future__ import annotations

from pydl import config, ops
from pydl._core import kernels
from pydl.ops._common import Axis, TensorLike, as_float, as_tensor, at_least_int32, normalize_axis, result_dtype
from pydl.ops._fused import fused
from pydl.ops._loss_kernels import by_group, by_row
from pydl.symbolic import op
from pydl.tensor import Tensor

__all__ = ["binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"]

_NO_CLASS = -(2**31)  # an int32 that is no class number: no label is ignored


def _same(name: str, target: TensorLike, output: TensorLike) -> tuple[Tensor, Tensor]:
    """Both as floats of one dtype. Raises ValueError unless they have one shape."""
    t, p = as_float(target), as_float(output)
    if t.shape != p.shape:
        raise ValueError(f"{name}: targets and predictions must have the same shape; received shapes {t.shape} and "
                         f"{p.shape}.")
    if t.dtype != p.dtype:
        dtype = result_dtype(t, p)
        t, p = ops.cast(t, dtype), ops.cast(p, dtype)
    return t, p


@fused(by_row("binary_crossentropy", reduced=False), constants=(0,))
def binary_of_probabilities(t: Tensor, p: Tensor, epsilon: float) -> Tensor:
    p = ops.clip(p, epsilon, 1.0 - epsilon)
    return -t * ops.log(p) - (1.0 - t) * ops.log(1.0 - p)


@fused(by_row("binary_crossentropy_logits", reduced=False), constants=(0,))
def binary_of_logits(t: Tensor, z: Tensor) -> Tensor:
    return ops.softplus(z) - t * z


@op
def binary_crossentropy(target: TensorLike, output: TensorLike, from_logits: bool = False) -> Tensor:
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


def as_probabilities(p: Tensor, axis: Axis, epsilon: float) -> Tensor:
    """`p` divided by its sum and clipped to [epsilon, 1 - epsilon]. Where all are 0, each becomes epsilon: an
    impossible class costs the same in every row, and nothing flows back."""
    total = ops.sum(p, axis, keepdims=True)
    return ops.clip(p / ops.where(ops.equal(total, 0.0), 1.0, total), epsilon, 1.0 - epsilon)


@fused(by_group("categorical_crossentropy", again=1), constants=(0,))
def _categorical_of_probabilities(t: Tensor, p: Tensor, axis: int, epsilon: float) -> Tensor:
    return -ops.sum(t * ops.log(as_probabilities(p, axis, epsilon)), axis)


@fused(by_group("categorical_crossentropy_logits"), constants=(0,))
def _categorical_of_logits(t: Tensor, z: Tensor, axis: int) -> Tensor:
    log_q = ops.log_softmax(z, axis)
    masked = ops.logical_and(ops.equal(t, 0.0), ops.isinf(log_q))  # a logit of -inf where nothing is expected
    return -ops.sum(t * ops.where(masked, 0.0, log_q), axis)


@op
def categorical_crossentropy(target: TensorLike, output: TensorLike, from_logits: bool = False,
                             axis: int = -1) -> Tensor:
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


def _at_labels(x: Tensor, labels: Tensor, axis: int, ignored: int) -> Tensor:
    """`x` at the class of each label along `axis`, 0 where the label is the ignored one."""
    shape = x.shape[:axis] + x.shape[axis + 1:]
    labels = ops.reshape(labels, shape)
    seen = ops.not_equal(labels, ignored)
    index = ops.expand_dims(ops.where(seen, labels, 0), axis)
    return ops.where(seen, ops.squeeze(ops.take_along_axis(x, index, axis), axis), 0.0)


@fused(by_group("sparse_categorical_crossentropy", predictions=0))
def _sparse_of_probabilities(p: Tensor, labels: Tensor, axis: int, epsilon: float, ignored: int) -> Tensor:
    return -_at_labels(ops.log(as_probabilities(p, axis, epsilon)), labels, axis, ignored)


def class_numbers(name: str, target: TensorLike, p: Tensor, axis: int, ignored: int = _NO_CLASS) -> Tensor:
    """The labels `target` as int32, checked (in every replay, too) to be class numbers or `ignored`.

    Args:
        name: of the loss, for messages.
        target: of p's shape without `axis`, or with size 1 there.
        p: the predictions, with the classes along `axis`.
    """
    labels, along = at_least_int32(as_tensor(target)), normalize_axis(axis, p.ndim)
    shape = p.shape[:along] + p.shape[along + 1:]
    if labels.shape not in (shape, p.shape[:along] + (1,) + p.shape[along + 1:]):
        raise ValueError(f"{name}: expected labels of shape {shape} for predictions of shape {p.shape} with the classes"
                         f" along axis {axis}; received shape {labels.shape}.")
    if ignored == _NO_CLASS:
        kernels.check_labels(labels.data, labels.size, p.shape[along])
    else:
        kernels.check_labels_or_ignored(labels.data, labels.size, p.shape[along], ignored)
    return labels if labels.dtype == "int32" else ops.cast(labels, "int32")


@fused(by_group("sparse_categorical_crossentropy_logits", predictions=0))
def _sparse_of_logits(z: Tensor, labels: Tensor, axis: int, ignored: int) -> Tensor:
    return -_at_labels(ops.log_softmax(z, axis), labels, axis, ignored)


@op
def sparse_categorical_crossentropy(target: TensorLike, output: TensorLike, from_logits: bool = False, axis: int = -1,
                                    ignore_class: int | None = None) -> Tensor:
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
    p = as_float(output)
    if p.ndim < 1:
        raise ValueError("sparse_categorical_crossentropy: expected `output` of rank at least 1; received a scalar.")
    along, ignored = normalize_axis(axis, p.ndim), _NO_CLASS if ignore_class is None else int(ignore_class)
    labels = class_numbers("sparse_categorical_crossentropy", target, p, axis, ignored)
    if from_logits:
        return _sparse_of_logits(p, labels, along, ignored)
    return _sparse_of_probabilities(p, labels, along, config.epsilon(), ignored)
