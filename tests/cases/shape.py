"""Reshaping, transposition, joining, splitting, padding, repetition."""

import numpy as np

from harness import Case, integers, normal


def tensors(*shapes):
    """An input that is a list of normal tensors."""
    return [normal(*shape) for shape in shapes]


def unstack(x, num=None, axis=0):
    return [np.take(x, i, axis=axis) for i in range(x.shape[axis])]


def reference_pad(x, pad_width, mode="constant", constant_values=None):
    return np.pad(x, pad_width, mode, **({} if constant_values is None else {"constant_values": constant_values}))


def rows_of(name, reference, shapes, **kwargs):
    """One row per shape, tagged with it."""
    return [Case(name, reference, (normal(*shape),), kwargs, tag="x".join(map(str, shape)) + "".join(
        f" {k}={v}" for k, v in kwargs.items())) for shape in shapes]


CASES = [
    *rows_of("reshape", lambda x, newshape: x.reshape(newshape), [(6, 4), (2, 3, 4)], newshape=(-1, 8)),
    *rows_of("reshape", lambda x, newshape: x.reshape(newshape), [(0, 3)], newshape=(3, 0)),
    *rows_of("reshape", lambda x, newshape: x.reshape(3, 4), [(3, 2, 2)], newshape=(None, 4)),
    *rows_of("reshape", lambda x, newshape: x.reshape(newshape), [(1, 1)], newshape=()),
    *rows_of("ravel", np.ravel, [(2, 3), (0, 4), ()]),
    *rows_of("flatten", np.ravel, [(2, 3)]),
    *rows_of("expand_dims", np.expand_dims, [(2, 3), (0,)], axis=1),
    *rows_of("expand_dims", np.expand_dims, [(2, 3)], axis=(0, -1)),
    *rows_of("squeeze", np.squeeze, [(1, 3, 1), (1, 0)]),
    *rows_of("squeeze", np.squeeze, [(2, 1, 1)], axis=-2),
    *rows_of("squeeze", np.squeeze, [(2, 1, 1)], axis=(1, 2)),
    *rows_of("transpose", np.transpose, [(3, 5), (17, 33), (70, 130), (3, 0), (4,), (), (2, 3, 4, 5), (1, 7, 1)]),
    *rows_of("transpose", np.transpose, [(2, 16, 32), (3, 5, 65), (2, 4, 3)], axes=(0, 2, 1)),
    *rows_of("transpose", np.transpose, [(5, 4, 6, 3)], axes=(2, 0, 3, 1)),
    *rows_of("transpose", np.transpose, [(2, 9, 11, 3)], axes=(0, 3, 1, 2)),
    Case("transpose", np.transpose, (integers(19, 35, dtype="int64"),), tag="int64"),
    Case("transpose", np.transpose, (integers(19, 70, high=255, dtype="uint8"),), tag="uint8"),
    Case("transpose", np.transpose, (lambda rng: rng.random((6, 9)) < 0.5,), tag="bool"),
    *rows_of("swapaxes", np.swapaxes, [(2, 3, 4), (2, 0, 1)], axis1=0, axis2=-1),
    *rows_of("moveaxis", np.moveaxis, [(2, 3, 4)], source=0, destination=-1),
    *rows_of("moveaxis", np.moveaxis, [(2, 3, 4, 5)], source=(0, 2), destination=(3, 0)),
    *rows_of("flip", lambda x, axis=None: np.flip(x, axis), [(3, 4), (0, 2), (1,), ()]),
    *rows_of("flip", np.flip, [(3, 4, 5)], axis=(0, 2)),
    *rows_of("flip", np.flip, [(3, 37), (2, 70)], axis=-1),
    *[row for k in range(-1, 4) for row in rows_of("rot90", lambda array, k, axes=(0, 1): np.rot90(array, k, axes),
                                                   [(3, 4, 2)], k=k)],
    *rows_of("rot90", np.rot90, [(3, 4, 2)], axes=(2, 1)),
    Case("concatenate", np.concatenate, (tensors((2, 3), (4, 3), (0, 3)),)),
    Case("concatenate", np.concatenate, (tensors((3, 2), (3, 5), (3, 1)),), {"axis": 1}, tag="axis 1"),
    Case("concatenate", np.concatenate, (tensors((3, 2, 40), (3, 5, 40)),), {"axis": -2}, tag="axis -2"),
    Case("concatenate", lambda xs, axis: np.concatenate(xs, axis), (tensors((3, 2), (4,)),), {"axis": None},
         tag="flattened"),
    Case("concatenate", np.concatenate, (tensors((40000,), (3,)),), tag="long"),
    Case("concatenate", np.concatenate, ([normal(2, 3), integers(2, 3)],), tag="promotes"),
    Case("stack", np.stack, (tensors((2, 3), (2, 3)),)),
    Case("stack", np.stack, (tensors((2, 3), (2, 3), (2, 3)),), {"axis": -1}, tag="last"),
    Case("stack", np.stack, (tensors((), ()),), tag="scalars"),
    Case("hstack", np.hstack, (tensors((2, 3), (2, 1)),)),
    Case("hstack", np.hstack, (tensors((3,), (2,)),), tag="vectors"),
    Case("vstack", np.vstack, (tensors((2, 3), (1, 3)),)),
    Case("vstack", np.vstack, (tensors((3,), (3,)),), tag="vectors"),
    Case("dstack", np.dstack, (tensors((2, 3), (2, 3)),)),
    Case("dstack", np.dstack, (tensors((3,), (3,)),), tag="vectors"),
    *rows_of("split", np.split, [(6, 2), (0, 2)], indices_or_sections=3),
    *rows_of("split", np.split, [(4, 7)], indices_or_sections=[2, 5], axis=1),
    *rows_of("split", np.split, [(2, 7)], indices_or_sections=[-3, 6, 9], axis=-1),
    *rows_of("array_split", np.array_split, [(7, 2), (2, 3)], indices_or_sections=3),
    *rows_of("hsplit", np.hsplit, [(4, 6), (6,)], indices_or_sections=2),
    *rows_of("vsplit", np.vsplit, [(4, 6)], indices_or_sections=2),
    *rows_of("unstack", unstack, [(3, 4), (1, 2)]),
    *rows_of("unstack", unstack, [(3, 4, 2)], axis=-2),
    *rows_of("broadcast_to", np.broadcast_to, [(3, 1, 4), (4,), (1,), ()], shape=(2, 3, 5, 4)),
    *rows_of("broadcast_to", np.broadcast_to, [(1, 3)], shape=(0, 3)),
    *rows_of("tile", lambda x, repeats: np.tile(x, repeats), [(2, 3), (1, 20)], repeats=(2, 3)),
    *rows_of("tile", lambda x, repeats: np.tile(x, repeats), [(2, 3, 1)], repeats=2),
    *rows_of("tile", lambda x, repeats: np.tile(x, repeats), [(3,)], repeats=(2, 1, 2)),
    *rows_of("tile", lambda x, repeats: np.tile(x, repeats), [(3,)], repeats=0),
    *rows_of("repeat", np.repeat, [(2, 3), (0, 3)], repeats=2, axis=1),
    *rows_of("repeat", np.repeat, [(2, 3)], repeats=3),
    *rows_of("repeat", np.repeat, [(3, 4)], repeats=[2, 0, 3], axis=0),
    *rows_of("roll", np.roll, [(3, 4), (5,)], shift=2),
    *rows_of("roll", np.roll, [(3, 4, 5), (2, 0, 1)], shift=-6, axis=1),
    *rows_of("roll", np.roll, [(3, 4, 5)], shift=(1, -2), axis=(0, 2)),
    *rows_of("pad", reference_pad, [(3, 4), (0, 2)], pad_width=((1, 2), (0, 3))),
    *rows_of("pad", reference_pad, [(3, 4)], pad_width=2, constant_values=1.5),
    *rows_of("pad", reference_pad, [(2, 5, 4, 3)], pad_width=((0, 0), (1, 1), (2, 0), (0, 0))),
    *[row for mode in ("edge", "reflect", "symmetric")
      for row in rows_of("pad", reference_pad, [(2, 5, 4, 3)], pad_width=((0, 0), (1, 2), (3, 0), (0, 0)), mode=mode)
      + rows_of("pad", reference_pad, [(3,), (1,)], pad_width=(7, 8), mode=mode)],
    *rows_of("diagonal", np.diagonal, [(4, 6), (3, 2, 5)]),
    *rows_of("diagonal", np.diagonal, [(4, 6)], offset=-2),
    *rows_of("diagonal", np.diagonal, [(4, 6, 3)], offset=1, axis1=2, axis2=0),
    *rows_of("diagonal", np.diagonal, [(2, 3)], offset=9),
    *[row for k in (-2, 0, 1) for row in rows_of("diag", np.diag, [(4,), (3, 5)], k=k)],
    *rows_of("diagflat", np.diagflat, [(2, 2)], k=1),
    *rows_of("trace", np.trace, [(4, 6), (3, 3, 2)]),
    *[row for k in (-3, 0, 2) for name in ("tril", "triu")
      for row in rows_of(name, getattr(np, name), [(4, 6), (2, 33, 5), (0, 3)], k=k)],
]
