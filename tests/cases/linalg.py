"""Matrix products in all layouts and sizes, the fused dense layer, contractions."""

import numpy as np

import pydl
from harness import Case, integers, normal
from pydl import ops
from pydl._core import kernels
from pydl.ops.linalg import _product
from pydl.tensor import empty


def product(name, *shapes, k, tag=None, reference=None, rtol_eps=4, **case):
    """A row whose results are sums of k products: rounding errors grow with k times the size of a product."""
    return Case(name, reference or getattr(np, name), tuple(normal(*s) for s in shapes), rtol_eps=rtol_eps, scale=k,
                tag=tag or "x".join(map(str, shapes)), **case)


def layout(batch, m, n, k, trans_a, trans_b):
    """op(a) op(b) with either operand transposed in memory."""
    a = (*batch[0], *((k, m) if trans_a else (m, k)))
    b = (*batch[1], *((n, k) if trans_b else (k, n)))
    return product(
        "matmul", a, b, k=k, tag=f"{batch} {m}x{n}x{k} {'NT'[trans_a]}{'NT'[trans_b]}", symbolic=False,  # private
        fn=lambda a, b: _product(a, b, trans_a, trans_b),
        reference=lambda a, b: (np.swapaxes(a, -1, -2) if trans_a else a) @ (np.swapaxes(b, -1, -2) if trans_b else b))


def accumulate(c, a, b, trans_a=0, trans_b=0):
    """c + op(a) op(b) by the accumulating kernel."""
    y = empty(c.shape, c.dtype)
    m, n = c.shape
    left, right = ops.ones((m, 0), c.dtype), ops.ones((0, n), c.dtype)
    kernels.matmul(left.data, right.data, None, y.data, 1, m, n, 0, 0, 0, 0, 0, 0)
    y = ops.add(y, c)
    kernels.matmul_accumulate(a.data, b.data, y.data, 1, m, n, a.shape[0 if trans_a else 1], trans_a, trans_b, 0, 0)
    return y


def reference_dense(x, kernel, bias=None, activation=None):
    y = x @ kernel + (0 if bias is None else bias)
    return {None: lambda v: v, "linear": lambda v: v, "relu": lambda v: np.maximum(v, 0),
            "sigmoid": lambda v: 1 / (1 + np.exp(-v)), "tanh": np.tanh}[activation](y)


def dense(x, units, activation, bias=True, **case):
    shapes = (x, (x[-1], units)) + (((units,),) if bias else ())
    return product("dense", *shapes, k=x[-1], kwargs={"activation": activation}, reference=reference_dense, rtol_eps=6,
                   tag=f"{x} to {units} {activation} {'' if bias else 'no '}bias", **case)


def einsum(text, *shapes):
    return product("einsum", *shapes, k=12, tag=text, fn=lambda *xs: ops.einsum(text, *xs), rtol_eps=8,
                   reference=lambda *xs: np.einsum(text, *xs))


def reference_cross(a, b, axis=None, axisa=-1, axisb=-1, axisc=-1):
    """NumPy's, with the third element it no longer adds to vectors of two."""
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    a, b = np.moveaxis(a, axisa, -1), np.moveaxis(b, axisb, -1)
    wide = [np.pad(v, [(0, 0)] * (v.ndim - 1) + [(0, 3 - v.shape[-1])]) for v in (a, b)]
    y = np.cross(*wide)
    return y[..., 2] if a.shape[-1] == b.shape[-1] == 2 else np.moveaxis(y, -1, axisc)


def cross(*shapes, tag=None, **kwargs):
    return product("cross", *shapes, k=2, tag=tag, kwargs=kwargs, reference=reference_cross)


def gradient_of(fn):
    """The gradient of sum(fn(...)^2) with respect to all arguments: a row's gradient check is of second order."""
    def gradient(*args):
        args = [ops.multiply(x, 1.0) for x in args]  # tensors of this call only
        with pydl.GradientTape(), pydl.GradientTape() as tape:  # what it computes is differentiated again
            for x in args:
                tape.watch(x)
            y = fn(*args)
            return tape.gradient(ops.sum(ops.multiply(y, y)), args)

    return gradient


def second_order(name, fn, *shapes, tag):
    return Case(name, None, tuple(normal(*s) for s in shapes), fn=gradient_of(fn), tag=f"second order {tag}",
                symbolic=False)  # a tape is not an op


ONE = ((), ())
CASES = [
    *(layout(ONE, m, n, k, ta, tb) for ta in (False, True) for tb in (False, True) for m, n, k in (
        (1, 1, 1), (3, 5, 7), (32, 16, 2), (32, 1, 16), (1, 33, 19), (14, 32, 16), (15, 33, 17), (31, 129, 70),
        (130, 20, 65), (2, 70, 1), (3, 4, 0), (0, 3, 2), (3, 0, 2))),
    *(layout(ONE, m, n, k, ta, tb) for ta, tb in ((False, False), (True, False), (False, True)) for m, n, k in (
        (300, 260, 100), (140, 1100, 400))),
    layout(ONE, 1, 3000, 900, False, False), layout(ONE, 3000, 1, 900, False, False),
    *(layout(b, 5, 6, 7, ta, tb) for b in (((3,), (3,)), ((2, 3), ()), ((), (4,))) for ta, tb in (
        (False, False), (True, False), (False, True), (True, True))),
    layout(((70,), (70,)), 20, 33, 50, False, True),
    product("matmul", (4,), (4,), k=4),
    product("matmul", (4,), (2, 4, 3), k=4),
    product("matmul", (2, 3, 4), (4,), k=4),
    product("matmul", (2, 3, 4), (4, 5), k=4),
    product("matmul", (2, 1, 3, 4), (5, 4, 2), k=4),
    product("matmul", (1, 3, 4), (5, 4, 2), k=4),
    product("matmul", (0, 3, 4), (4, 2), k=4),
    Case("matmul", np.matmul, (integers(3, 4), integers(4, 2)), tag="integers"),
    *(product("matmul", (m, n), *(((k, m) if ta else (m, k)), ((n, k) if tb else (k, n))), k=k,
               tag=f"accumulate {m}x{n}x{k} {ta}{tb}",
              fn=lambda c, a, b, ta=ta, tb=tb: accumulate(c, a, b, ta, tb), grad=(), symbolic=False,  # the kernel alone
              reference=lambda c, a, b, ta=ta, tb=tb: c + (a.T if ta else a) @ (b.T if tb else b))
      for ta in (0, 1) for tb in (0, 1) for m, n, k in ((17, 35, 9), (1, 20, 30), (20, 1, 30), (40, 50, 800))),
    *(dense(x, units, activation) for activation in (None, "linear", "relu", "sigmoid", "tanh") for x, units in (
        ((32, 2), 16), ((5, 16), 1), ((7,), 3), ((70, 20), 40))),
    dense((2, 3, 5), 4, "relu"), dense((2, 3, 5), 4, "tanh", bias=False), dense((5, 4), 3, None, bias=False),
    dense((0, 4), 3, "relu"), dense((150, 300), 200, "sigmoid"), dense((1, 300), 1500, "relu"),
    dense((200, 40), 1, "tanh"),
    product("tensordot", (2, 3, 4), (3, 4, 5), k=12),
    product("tensordot", (2, 3, 4), (5, 4, 3), k=12, kwargs={"axes": ((1, 2), (2, 1))}, tag="lists"),
    product("tensordot", (2, 3), (4,), k=1, kwargs={"axes": 0}, tag="outer"),
    product("tensordot", (2, 3, 4), (5, 4), k=4, kwargs={"axes": (-1, -1)}, tag="numbers"),
    product("dot", (4,), (4,), k=4), product("dot", (2, 3, 4), (5, 4, 2), k=4), product("dot", (2, 3), (3,), k=3),
    product("dot", (), (3, 2), k=1),
    product("inner", (2, 3, 4), (5, 4), k=4), product("inner", (4,), (4,), k=4),
    product("vdot", (2, 3), (3, 2), k=6), product("outer", (2, 3), (4,), k=1),
    cross((4, 3), (4, 3)), cross((4, 2), (3,)), cross((3,), (4, 2)), cross((4, 2), (4, 2)),
    cross((3, 4), (3, 4), axis=0, tag="axis 0"), cross((3, 4), (4, 3), axisa=0, axisc=0, tag="axes"),
    second_order("matmul", ops.matmul, (3, 4), (4, 2), tag="matrices"),
    second_order("matmul", ops.matmul, (2, 3, 4), (4,), tag="batch by vector"),
    second_order("einsum", lambda a, b: ops.einsum("bij,jk->bik", a, b), (2, 3, 4), (4, 2), tag="batch"),
    *(second_order("dense", lambda x, w, b, f=f: ops.dense(x, w, b, f), (2, 3, 4), (4, 5), (5,), tag=f)
      for f in ("linear", "relu", "sigmoid", "tanh")),
    einsum("ij,jk->ik", (3, 4), (4, 5)), einsum("ij,jk", (3, 4), (4, 5)), einsum("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
    einsum("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)), einsum("ii", (4, 4)), einsum("iij->ij", (3, 3, 2)),
    einsum("ij->ji", (3, 4)), einsum("ij->", (3, 4)), einsum("ij->j", (3, 4)), einsum("i,j->ij", (3,), (4,)),
    einsum("i,i->i", (3,), (3,)), einsum("ij,kl->il", (3, 4), (2, 5)), einsum("ij,jk,kl->il", (3, 4), (4, 2), (2, 5)),
    einsum("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)), einsum("...i->i...", (2, 3, 4)),
    einsum("...,...", (2, 3), (3,)),
    einsum("ij,ij->", (3, 4), (3, 4)), einsum("bi,bj,bk->bijk", (2, 3), (2, 4), (2, 5)),
    einsum("ab,cb,ad->cd", (3, 4), (5, 4), (3, 2)), einsum("ij,jk->ik", (3, 0), (0, 2)),
]
