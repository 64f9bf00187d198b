"""Constants, ranges, conversion. Constants take no input: the rows check values, dtype and that a replay has them."""

import numpy as np

import pydl
from harness import Case, integers, normal
from pydl import ops


def constant(name, expected, *args, tag="", **kwargs):
    return Case(name, lambda: expected, (), fn=lambda: getattr(ops, name)(*args, **kwargs), grad=(), tag=tag,
                symbolic=False, dtypes=("float32",))  # nothing symbolic among the arguments


F, I = np.float32, np.int32

CASES = [
    constant("zeros", np.zeros((2, 3), F), (2, 3)),
    constant("zeros", np.zeros(4, I), 4, "int32", tag="int32"),
    constant("ones", np.ones((0, 3), F), (0, 3)),
    constant("ones", np.ones((), bool), (), "bool", tag="bool"),
    constant("empty", np.zeros((2, 2), F), (2, 2)),
    constant("full", np.full((2, 3), 1.5, F), (2, 3), 1.5),
    constant("full", np.full((2, 3), [1, 2, 3], F), (2, 3), [1, 2, 3], tag="broadcast"),
    constant("eye", np.eye(3, 5, 1, F), 3, 5, 1),
    constant("identity", np.eye(3, dtype=F), 3),
    constant("tri", np.tri(3, 5, -1, F), 3, 5, -1),
    constant("arange", np.arange(5, dtype=I), 5),
    constant("arange", np.arange(2, 9, 3, dtype=I), 2, 9, 3, tag="step"),
    constant("arange", np.arange(1, 0, -0.25, dtype=F), 1, 0, -0.25, tag="float"),
    constant("linspace", np.linspace(-1, 2, 7, dtype=F), -1, 2, 7),
    constant("linspace", np.linspace(0, 4, 4, endpoint=False, dtype=I), 0, 4, 4, endpoint=False, dtype="int32",
             tag="int"),
    constant("logspace", np.logspace(0, 2, 5, dtype=F), 0, 2, 5),
    Case("zeros_like", np.zeros_like, (normal(2, 3),), grad=()),
    Case("ones_like", lambda x, dtype: np.ones_like(x, dtype), (integers(2, 3),), {"dtype": "int64"}, grad=()),
    Case("empty_like", np.zeros_like, (normal(2, 3),), grad=()),
    Case("full_like", np.full_like, (normal(2, 3),), {"fill_value": 2}, grad=()),
    Case("meshgrid", np.meshgrid, (normal(3), normal(4), normal(2))),
    Case("meshgrid", np.meshgrid, (normal(3), normal(4)), {"indexing": "ij"}, tag="ij"),
    Case("convert_to_tensor", lambda x: x, (normal(2, 3),)),
    Case("array", lambda x: x, (normal(2, 3),)),
    Case("copy", lambda x: x, (normal(2, 3),)),
    Case("copy", lambda x: x, (normal(0, 3),), tag="empty"),
    # It leaves the library: nothing to record, differentiate or infer.
    Case("convert_to_numpy", lambda x: x, (normal(2, 3),), grad=(), replay=False, symbolic=False),
    Case("is_tensor", None, (normal(2),), fn=lambda x: ops.full((), pydl.ops.is_tensor(x), "bool"), grad=()),
    Case("convert_to_tensor", lambda x, dtype: x.astype(dtype), (integers(2, 3),), {"dtype": "float64"}, grad=(),
         tag="cast"),
    Case("full", lambda v: np.full((2, 3), v), (normal(),), fn=lambda v: ops.full((2, 3), v, v.dtype), tag="tensor"),
    Case("linspace", lambda a, b, num, axis: np.linspace(a, b, num, axis=axis), (normal(3), normal(2, 1)),
         {"num": 5, "axis": 1}, tag="tensors"),
    Case("linspace", lambda a, b: np.linspace(a, b, 4, endpoint=False, retstep=True), (normal(3), normal(3)),
         fn=lambda a, b: ops.linspace(a, b, 4, endpoint=False, retstep=True), tag="step"),
    Case("logspace", lambda a, b: np.logspace(a, b, 5), (normal(3), normal(3)),
         fn=lambda a, b: ops.logspace(a, b, 5), tag="tensors", rtol_eps=64),
]
