"""Launches of the optimizers' kernels: one call per step and dtype, over all parameters together."""

from __future__ import annotations

import math

import numpy as np

from pydl import ops
from pydl._core import kernels
from pydl.ops._common import as_float, as_tensor
from pydl.ops._fused import fused
from pydl.symbolic import op
from pydl.tape import OWNED, differentiable
from pydl.tensor import Tensor, empty

__all__ = ["ewma", "l1_l2_penalty"]

_BLOCK = 16384  # update_grain of csrc/kernels/multi_tensor.h: reductions leave one partial sum per block


class Update:
    """The arguments that all rules share; see the head of csrc/kernels/optimizer.h.

    Args:
        variables: variables of one float dtype.
        grads: tensors, one per variable, of the same dtypes and shapes.
        learning_rate: scalar tensor of that dtype.
        iterations: scalar int64 variable, the number of finished calls.
        every: the rule acts in every `every`-th call.
        decays: per variable, whether weight decay applies.
        weight_decay: factor, 0 for none.
    """

    def __init__(self, variables, grads, learning_rate, iterations, every=1, decays=None, weight_decay=0.0):
        self.variables = variables
        self.params = [v.data for v in variables]
        self.grads = [g.data for g in grads]
        self.sizes = [g.size for g in self.grads]
        self.decays = decays or [0] * len(variables)
        self.learning_rate = learning_rate
        self.iterations = iterations
        self.every = every
        self.weight_decay = weight_decay
        self.scales = None
        self.clip = math.inf

    def scale(self, factor: float) -> None:
        """Multiplies every gradient by a constant."""
        if factor != 1:
            self.scales = np.full(len(self.grads), factor, self.params[0].dtype)

    def clip_by_norm(self, max_norm: float, factor: float) -> None:
        """Each gradient, times `factor`, gets at most the norm `max_norm`."""
        self._clip(max_norm, factor, 0)

    def clip_by_global_norm(self, max_norm: float, factor: float) -> None:
        """All gradients, times `factor`, together get at most the norm `max_norm`."""
        self._clip(max_norm, factor, 1)

    def _clip(self, max_norm, factor, globally):
        self.scales = empty((len(self.grads),), self.variables[0].dtype).data
        kernels.clip_scales(self.grads, self.sizes, partial_sums(self.sizes), self.scales, max_norm, factor, globally)

    def launch(self, rule: str, slots, *attributes) -> None:
        """Runs the rule of that name in csrc/kernels/optimizer.h.

        Args:
            rule: name of the kernel.
            slots: its lists of variables (or one scalar variable), in its order.
            attributes: its last arguments.
        """
        slots = [[v.data for v in slot] if isinstance(slot, list) else slot.data for slot in slots]
        getattr(kernels, rule)(
            self.params, self.grads, *slots, self.sizes, self.decays, self.learning_rate.data,
            self.iterations.data, self.every, self.scales, self.clip, self.weight_decay, *attributes)

    def prepared(self) -> list[Tensor]:
        """The gradients scaled and clipped, as new tensors."""
        out = [empty(g.shape, v.dtype) for g, v in zip(self.grads, self.variables)]
        kernels.prepare_gradients(self.grads, [y.data for y in out], self.sizes, self.scales, self.clip)
        return out

    def decay_weights(self) -> None:
        """w -= w * weight_decay * learning_rate for the variables it applies to."""
        if self.weight_decay:
            kernels.decay_weights(self.params, self.sizes, self.decays, self.learning_rate.data, self.weight_decay)


def partial_sums(sizes) -> np.ndarray:
    """Scratch memory of a reduction over tensors of these sizes."""
    return empty((max(1, sum(-(-size // _BLOCK) for size in sizes)),), "float64").data


def nadam_product(product, iterations, every, beta_1) -> None:
    kernels.nadam_product(product.data, iterations.data, every, beta_1)


def advance(iterations) -> None:
    """iterations += 1"""
    kernels.advance(iterations.data)


def accumulate(totals, grads, scale) -> None:
    """totals += scale * grads"""
    for a, g in by_dtype(totals, grads):
        kernels.accumulate([t.data for t in a], [t.data for t in g], [t.size for t in a], scale)


def clear_accumulated(totals, iterations, every) -> None:
    """totals = 0 in the call in which the rule acted."""
    for (group,) in by_dtype(totals):
        kernels.clear_accumulated([t.data for t in group], [t.size for t in group], iterations.data, every)


def save(values) -> list[Tensor]:
    """Copies of variables, for `restore_unless_due`."""
    copies = [empty(v.shape, v.dtype) for v in values]
    for v, y in by_dtype(values, copies):
        kernels.copy_values([t.data for t in v], [t.data for t in y], [t.size for t in v])
    return copies


def restore_unless_due(values, saved, iterations, every) -> None:
    """values = saved, except in the call in which the rule acts."""
    for v, s in by_dtype(values, saved):
        kernels.restore_unless_due([t.data for t in v], [t.data for t in s], [t.size for t in v], iterations.data,
                                   every)


def update_averages(averages, variables, iterations, every, momentum, overwrite) -> None:
    """averages = momentum averages + (1 - momentum) variables; every `overwrite` steps (0: never) written back."""
    for a, v in by_dtype(averages, variables):
        kernels.update_averages([t.data for t in a], [t.data for t in v], [t.size for t in a], iterations.data, every,
                                momentum, overwrite)


def by_dtype(*lists):
    """Parallel lists of tensors, split by the dtype of the first one's items; order is kept."""
    groups: dict = {}
    for items in zip(*lists):
        group = groups.setdefault(items[0].dtype, tuple([] for _ in lists))
        for column, item in zip(group, items):
            column.append(item)
    return groups.values()


def global_norm(tensors) -> Tensor:
    """The Euclidean norm of all tensors (of one float dtype) together, a scalar. Not differentiable."""
    sizes = [t.size for t in tensors]
    y = empty((), tensors[0].dtype)
    kernels.global_norm([t.data for t in tensors], sizes, partial_sums(sizes), y.data)
    return y


def all_finite(tensors) -> Tensor:
    """Whether no element of the tensors (of one float dtype) is infinite or NaN, a scalar bool."""
    sizes = [t.size for t in tensors]
    y = empty((), "bool")
    kernels.all_finite([t.data for t in tensors], sizes, partial_sums(sizes), y.data)
    return y


def _penalty_kernel(x, l1, l2):
    y = empty((), x.dtype)
    kernels.penalty([x.data], [x.size], partial_sums([x.size]), y.data, l1, l2)

    def vjp(dy):
        dx = empty(x.shape, x.dtype)
        kernels.penalty_grad([x.data], [x.size], dy.data, [dx.data], l1, l2)
        dx.slot = OWNED  # a product that comes later adds itself, instead of one more pass over both
        return (dx,)

    return differentiable(y, (x,), vjp)


@fused(_penalty_kernel)
def _penalty(x, l1, l2):
    return l1 * ops.sum(ops.absolute(x)) + l2 * ops.sum(ops.square(x))


@op
def l1_l2_penalty(x, l1=0.0, l2=0.0):
    """l1 * sum(|x|) + l2 * sum(x^2) in one pass, a scalar.

    Args:
        x: float tensor of any shape.
        l1, l2: factors.
    """
    return _penalty(as_float(x), l1, l2)


@op
def ewma(x, beta=0.9, bias_correction=True):
    """Exponentially weighted moving average along the first axis. Not differentiable.

    y[t] = beta * y[t - 1] + (1 - beta) * x[t] from y[-1] = 0: about the mean of the last 1 / (1 - beta) values. The
    start at 0 pulls the first averages down; the correction divides by 1 - beta^(t + 1), which makes every y[t] a
    weighted mean of x[0 .. t].

    Args:
        x: float tensor (steps, ...).
        beta: weight of the past, 0 <= beta < 1.
        bias_correction: whether to divide.

    Returns:
        Tensor of x's shape.
    """
    x = as_float(as_tensor(x))
    if not 0 <= beta < 1:
        raise ValueError(f"ewma: expected 0 <= beta < 1; received beta={beta}.")
    if x.ndim == 0:
        raise ValueError("ewma: expected a sequence (steps, ...); received a scalar.")
    y = empty(x.shape, x.dtype)
    if x.size:
        kernels.ewma(x.data, y.data, x.shape[0], x.size // x.shape[0], beta, int(bias_correction))
    return y
