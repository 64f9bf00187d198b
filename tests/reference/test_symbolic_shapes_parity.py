"""Static shapes of every row of ops and layers, with unknown sizes of several axes, against those of Keras 3."""

from __future__ import annotations

import importlib
import pkgutil
import warnings

import pytest

keras = pytest.importorskip("keras")

import cases  # noqa: E402  after the skip
import pydl  # noqa: E402
from harness import Case, LayerCase, arguments  # noqa: E402
from pydl import tree  # noqa: E402

pytestmark = pytest.mark.reference

ROWS = [row for module in pkgutil.iter_modules(cases.__path__)
        for row in getattr(importlib.import_module(f"cases.{module.name}"), "CASES", [])]
OPS = [row for row in ROWS
       if isinstance(row, Case) and row.fn is None and row.symbolic and hasattr(keras.ops, row.name)]
LAYERS = [row for row in ROWS if isinstance(row, LayerCase) and hasattr(keras.layers, row.name)]

# Where Keras says something else than what its op computes, or pydl than what Keras computes; the others that differ
# are counted below.
KERAS_IS_WRONG = {
    "adaptive_average_pool", "adaptive_max_pool",  # (batch, size, ...) + output_size
    "categorical_crossentropy",  # axis
    "cross",  # axis=0
    "rot90",  # k=0, k=2
    "vstack",  # vectors
}
SIZE_IS_THAT_OF_VALUES = {"bincount", "repeat"}
# Sizes bounded by an unknown one: None in pydl.
BOUNDED = {"split"}
# Neither two sizes that must have a product, nor empty ones, nor four sizes at once are looked for.
NOT_FOUND = {"broadcast_to", "conv_transpose", "dot_product_attention", "matmul", "reshape", "scatter",
             "separable_conv", "tensordot", "vdot"}


def patterns(shapes):
    """Sizes taken away: of the batch, of all, of the first two axes, of all but the first; of the first and of the last
    input alone."""
    everything = [tuple(None for _ in s) for s in shapes]
    yield [(None, *s[1:]) if s else s for s in shapes]
    yield everything
    yield [tuple(None if axis < 2 else n for axis, n in enumerate(s)) for s in shapes]
    yield [tuple(n if axis == 0 else None for axis, n in enumerate(s)) for s in shapes]
    if len(shapes) > 1:
        yield [everything[0], *shapes[1:]]
        yield [*shapes[:-1], everything[-1]]


def inferred(library, call, inputs, shapes):
    """The shapes of the results; the error instead."""
    leaves = [library.KerasTensor(shape, x.dtype.name) for shape, x in zip(shapes, tree.flatten(inputs))]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call(tree.pack_sequence_as(list(inputs), leaves))
        return [tuple(t.shape) for t in keras.tree.flatten(result)]
    except Exception as error:
        return error


def finer(mine, theirs):
    """Whether shapes agree but for sizes that only pydl knows."""
    return len(mine) == len(theirs) and all(
        len(a) == len(b) and all(m == n or n is None for m, n in zip(a, b)) for a, b in zip(mine, theirs))


@pytest.mark.parametrize("case", OPS, ids=str)
def test_op(case):
    inputs = case.draw(5, "float32")
    for shapes in patterns([x.shape for x in tree.flatten(inputs)]) if inputs else ():
        mine, theirs = (inferred(library, lambda xs, ops=library.ops: getattr(ops, case.name)(*xs, **case.kwargs),
                                 inputs, shapes) for library in (pydl, keras))
        if isinstance(theirs, Exception):
            continue
        if isinstance(mine, Exception):
            assert case.name in NOT_FOUND, f"{shapes}: {mine}; Keras {theirs}"
        else:
            assert finer(mine, theirs) or case.name in KERAS_IS_WRONG | BOUNDED | SIZE_IS_THAT_OF_VALUES, (
                f"{shapes}: {mine}; Keras {theirs}")


@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_layer(case):
    inputs = case.draw(5, "float32")
    full = [x.shape for x in inputs]
    for shapes in ([(None, *s[1:]) for s in full], [(*(None for _ in s[:-1]), s[-1]) for s in full]):
        ours = case.make()
        mine = inferred(pydl, lambda xs, layer=ours: layer(*arguments(layer, xs)), inputs, shapes)
        theirs = inferred(keras, lambda xs: getattr(keras.layers, case.name)(**case.args)(*arguments(ours, xs)), inputs,
                          shapes)
        if isinstance(theirs, Exception):
            continue
        assert not isinstance(mine, Exception), f"{shapes}: {mine}; Keras {theirs}"
        # The order of the axes that "..." stands for is lost in Keras's rule for EinsumDense.
        assert finer(mine, theirs) or str(case) == "EinsumDense-dots", f"{shapes}: {mine}; Keras {theirs}"
