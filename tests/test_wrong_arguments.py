"""Wrong sizes, axes, indices and strides in every op: NumPy's answer, or a sentence; in every layer: a result or a
sentence. See argument_sweep.py."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_conformance import rows

from harness import Case, LayerCase
from pydl import ops

OF_OPS = sorted({module for module, _ in rows(Case)})
OF_LAYERS = sorted({module for module, _ in rows(LayerCase)} - set(OF_OPS))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the addresses of a process")
@pytest.mark.parametrize("modules", [
    *(pytest.param(OF_OPS[i::4], marks=pytest.mark.once) for i in range(4)),
    *(pytest.param([module], marks=pytest.mark.slow) for module in OF_LAYERS)], ids=" ".join)
def test_wrong_arguments(modules):
    script = Path(__file__).with_name("argument_sweep.py")
    run = subprocess.run([sys.executable, str(script), *modules], capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    last = run.stdout.rsplit("\n", 2)[-2:]
    assert run.returncode == 0, f"{last} ended with {run.returncode}: {run.stderr[-2000:]}"


X = np.arange(1320.0).reshape(5, 2, 33, 4)


@pytest.mark.parametrize("positions", [
    [-1, 2, 3], [3, 1], [2, 2], [0], [5], [9], [-9, 9], [4, -1, 7, 0], [], [2**62, -2**63, 10**30], [-5, -3]])
@pytest.mark.parametrize("axis", [0, 2])
def test_splits_are_slices(positions, axis):
    """They read 4 KiB beyond the array once."""
    ends = [None, *positions, None]
    want = [X[(slice(None),) * axis + (slice(a, b),)] for a, b in zip(ends, ends[1:])]
    for split in (ops.split, ops.array_split, *([ops.vsplit] if axis == 0 else [])):
        got = split(X, positions, **({} if split is ops.vsplit else {"axis": axis}))
        assert len(got) == len(want)
        for part, wanted in zip(got, want):
            np.testing.assert_array_equal(part.data, wanted)


def test_parts_that_overlap_have_a_gradient():
    import pydl as keras

    x = keras.Variable(X[:, 0, 0])
    with keras.GradientTape() as tape:
        parts = ops.vsplit(x, [-1, 2])  # rows 0 .. 3, none, rows 2 .. 4
        total = ops.sum(parts[0]) + 10.0 * ops.sum(parts[2])
    assert [len(part) for part in parts] == [4, 0, 3]
    np.testing.assert_array_equal(tape.gradient(total, x).data[:, 0], [1, 1, 11, 11, 10])


@pytest.mark.parametrize(("call", "message"), [
    (lambda: ops.split(X, 2**40), "expected 1 to 65536 parts of an axis of size 5"),
    (lambda: ops.array_split(np.zeros(0), 10**9), "expected 1 to 65536 parts of an axis of size 0"),
    (lambda: ops.pad(X, 10**30), "pair for each of the 4 axes"),
    (lambda: ops.unravel_index(np.array([1]), (-2, -3)), "sizes of at least 1"),
    (lambda: ops.segment_sum(np.ones((1, 1)), np.array([0]), 2**40), "positions are int32"),
])
def test_sentences(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_differences_end_when_nothing_is_left():
    assert ops.diff(np.arange(5.0), 10**12).shape == (0,)


def test_places_beyond_32_bits():
    places, shape = np.array([[1, 5], [-1, 3]], "int32"), (2**20, 2**20, 3)
    for got, want in zip(ops.unravel_index(places, shape), np.unravel_index(places % np.prod(shape), shape)):
        np.testing.assert_array_equal(got.data, want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_decimals_no_number_of_the_type_has(dtype):
    x = np.array([1.25, -3700.5, 0], dtype)
    for decimals in (310, 2**63, 10**30):
        np.testing.assert_array_equal(ops.round(x, decimals).data, x)
        np.testing.assert_array_equal(ops.round(x, -decimals).data, 0 * x)
