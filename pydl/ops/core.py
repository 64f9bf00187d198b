"""stop_gradient, and writing into variables."""

from __future__ import annotations

import numpy as np

from pydl import _core
from pydl._core import kernels
from pydl.ops._broadcast import broadcast_plan
from pydl.ops._common import TensorLike, as_tensor
from pydl.symbolic import op
from pydl.tensor import Tensor, Variable

__all__ = ["stop_gradient"]


@op
def stop_gradient(variable: TensorLike) -> Tensor:
    """The same values, through which no gradient flows."""
    return Tensor(as_tensor(variable).data)


def assign(variable: Variable, value: TensorLike, how: str) -> None:
    """variable = value, variable += value or variable -= value, in the variable's memory.

    Args:
        variable: written in place; recorded programs see the new values.
        value: tensor, array or number that broadcasts to the variable's shape.
        how: "assign", "assign_add" or "assign_sub".

    Raises:
        ValueError: when the value does not fit; the variable is unchanged.
    """
    from pydl import ops

    recorded = _core.is_recording() or _core.is_dry_run()
    if isinstance(value, (bool, int, float)):
        if how == "assign" and not recorded:
            variable.data.fill(value)
            return
        value = np.asarray(value, variable.dtype)
    t = as_tensor(value)
    try:
        shape, *plan = broadcast_plan(variable.shape, t.shape)
    except ValueError:
        shape = None
    if shape != variable.shape or (how == "assign" and t.size != variable.size and t.ndim > 0):
        raise ValueError("The shape of the target variable and the shape of the target value in"
                         f" `variable.assign(value)` must match. variable.shape={variable.shape}, Received:"
                         f" value.shape={t.shape}. Target variable: {variable.path}")
    if t.dtype != variable.dtype:
        t = ops.cast(Tensor(t.data), variable.dtype)
    if how == "assign":
        if not recorded:
            np.copyto(variable.data, t.data)
        else:
            kernels.strided_copy(t.data, variable.data, plan[0], plan[2], 0)
    else:
        kernel = kernels.add if how == "assign_add" else kernels.subtract
        kernel(variable.data, t.data, variable.data, *plan)
