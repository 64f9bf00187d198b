"""Every row of tests/cases/ with every axis of size 0 in turn, forwards and backwards: the oracle's result, or a
sentence. An op that divides by a size, or counts from the end of nothing, ends the process here.

Axes of one size are often one thing (the batch of all inputs, the channels of an image and of its kernel): all of them
become 0 together, and each alone, which mostly is a mistake and has to be called one."""

import dataclasses

import numpy as np
import pytest
from test_conformance import rows

import pydl
from harness import Case, LayerCase, call_layer, check_gradient, layer_gradients
from pydl import tree


def params(kind):
    return [pytest.param(row, id=f"{module}:{row}") for module, row in rows(kind)]


SENTENCES = (ValueError, IndexError, TypeError, MemoryError, OverflowError)


# Helpers of pydl.ops that trust their callers in more than what a kernel's contract says.
TRUSTING = {"matmul", "weighted_mean", "accumulate_mean"}
# Rows whose oracle answers one shape only.
OF_ONE_SHAPE = {"pad_images", "mod-by-zero", "floor_divide-by-zero"}


def emptied(leaves):
    """(what, leaves) with an axis of one of them cut to nothing, or all axes of one size."""
    seen = set()
    places = [(i, axis) for i, x in enumerate(leaves) for axis in range(x.ndim) if x.shape[axis]]
    sizes = sorted({leaves[i].shape[axis] for i, axis in places})
    groups = [[place] for place in places] + [[p for p in places if leaves[p[0]].shape[p[1]] == n] for n in sizes]
    for group in groups:
        if tuple(group) in seen:
            continue
        seen.add(tuple(group))
        cut = list(leaves)
        for i, axis in group:
            cut[i] = cut[i].take(range(0), axis)
        yield ", ".join(f"axis {axis} of input {i}" for i, axis in group), cut


def is_a_sentence(error, what):
    text = str(error)
    assert len(text) > 15 and " " in text, f"{what}: {type(error).__name__}: {text!r}"


def same_as(expected, received, what):
    for want, got in zip(map(np.asarray, tree.flatten(expected)), received):
        assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
        if want.dtype.kind == "f":
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * max(1, np.abs(want).max(initial=0)),
                                       err_msg=what)
        else:
            np.testing.assert_array_equal(got, want, err_msg=what)


def tried(function, *arguments, **kwargs):
    """The result, or the exception of a reference that has no answer."""
    with np.errstate(all="ignore"):
        try:
            return function(*arguments, **kwargs)
        except Exception as error:  # whatever NumPy says
            return error


@pytest.mark.parametrize("case", [p for p in params(Case) if not (p.values[0].fn and p.values[0].name in TRUSTING)])
def test_op(case):
    inputs = case.draw(0, "float64")
    for what, leaves in emptied(tree.flatten(inputs)):
        what = f"{case}: {what}"
        cut = dataclasses.replace(case, inputs=tree.pack_sequence_as(tuple(inputs), leaves), second=False)
        drawn = cut.draw(0, "float64")
        try:
            result = case.function(*tree.map_structure(pydl.tensor.from_numpy, drawn), **case.kwargs)
        except SENTENCES as error:
            is_a_sentence(error, what)
            continue
        received = [y.data if isinstance(y, pydl.Tensor) else np.asarray(y) for y in tree.flatten(result)]
        expected = None if case.reference is None else tried(case.reference, *drawn, **case.kwargs)
        if expected is not None and not isinstance(expected, Exception) and str(case) not in OF_ONE_SHAPE:
            same_as(expected, received, what)
        try:
            if case.grad == "all" or case.grad:
                cut = dataclasses.replace(cut, grad="all" if case.grad == "all" else
                                          [p for p in case.grad if leaves[p].size])
                if cut.grad:
                    check_gradient(cut)
        except SENTENCES as error:
            is_a_sentence(error, f"gradient of {what}")


@pytest.mark.parametrize("case", params(LayerCase))
def test_layer(case):
    inputs = case.draw(0, "float64")
    for what, leaves in emptied(inputs):
        for make in (case.built, case.make):  # weights of the full sizes, and of the empty one
            what = f"{case}, {make.__name__}: {what}"
            try:
                layer = make("float64")
                y = call_layer(layer, leaves, training=False)
            except SENTENCES as error:
                is_a_sentence(error, what)
                continue
            weights = [w.numpy() for w in layer.weights]
            expected = tried(case.reference, weights, *leaves)
            if not isinstance(expected, Exception):
                same_as(expected, [t.data for t in tree.flatten(y)], what)
            for training in (False, True):
                try:
                    y, gradients = layer_gradients(layer, leaves, training=training)
                except SENTENCES as error:
                    is_a_sentence(error, f"gradient of {what}")
                    continue
                sources = [x for x in leaves if x.dtype.kind == "f"] + layer.trainable_weights
                for gradient, source in zip(gradients, sources):
                    if gradient is not None:
                        assert gradient.shape == tuple(source.shape), f"{what}: gradient of shape {gradient.shape}"
                        assert y.size or not gradient.data.any(), f"{what}: a gradient of nothing is not 0"
