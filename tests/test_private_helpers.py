"""No function of pydl.ops, private ones included, gets a kernel past the arrays it is called with.

Each is called with tensors of random shapes, dtypes and numbers, mostly wrong ones; every kernel runs on copies of its
arrays that lie between canaries. An exception is an answer, whatever it says: these helpers trust their callers, the
rows of csrc/kernels.def do not."""

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

from kernel_calls import CANARY, GUARD, KERNELS, guarded
from pydl import _core, ops
from pydl.data.adapters import ArrayData
from pydl.models.runner import ArrayRunner
from pydl.ops._broadcast import sum_to_shape
from pydl.ops._strided import strided_copy, strided_scatter
from pydl.program import RecordedFunction
from pydl.tensor import Tensor

DRAWS = 40
SIZES = (0, 1, 1, 2, 3, 5, 33)
NUMBERS = (-2**40, -33, -2, -1, 0, 1, 2, 3, 4, 33, 2**40, 2**62)


class Guarded:
    """A kernel whose arrays lie between canaries while it runs."""

    def __init__(self, kernel):
        self.kernel = kernel

    def __getattr__(self, name):
        return getattr(self.kernel, name)

    def __call__(self, *arguments):
        taken = []

        def between(array):
            if not isinstance(array, np.ndarray):
                return array
            inside, whole = guarded(array.size, array.dtype, GUARD)
            inside[...] = array.reshape(-1)
            taken.append((array, inside, whole))
            return inside.reshape(array.shape)

        try:
            self.kernel(*[[between(a) for a in x] if isinstance(x, list) else between(x) for x in arguments])
        finally:
            for array, inside, whole in taken:
                if array.flags.writeable:
                    array[...] = inside.reshape(array.shape)
                outside = np.concatenate([whole[:GUARD], whole[GUARD + array.size:]])
                assert (outside == np.array(CANARY).astype(array.dtype)).all(), f"{self.kernel.name} left its array"


@pytest.fixture
def guards(monkeypatch):
    for kernel in KERNELS:
        monkeypatch.setattr(_core.kernels, kernel.name, Guarded(kernel))


def modules():
    return [f"pydl.ops.{module.name}" for module in pkgutil.iter_modules(ops.__path__)]


def functions(module):
    return [f for name, f in sorted(vars(importlib.import_module(module)).items())
            if inspect.isfunction(f) and f.__module__ == module]


class NotDrawn(Exception):
    """A parameter takes something else than tensors and numbers."""


def drawn(parameter, rng):
    text = str(parameter.annotation)

    def shape():
        return tuple(rng.choice(SIZES, rng.integers(0, 5)).tolist())

    def tensor():
        if rng.random() < 0.2:
            return Tensor(rng.choice(NUMBERS, shape()).clip(-2**31, 2**31 - 1).astype("int32"))
        return Tensor(rng.normal(size=shape()).astype(rng.choice(["float32", "float64"])))

    if "Callable" in text or "Window" in text:
        raise NotDrawn
    if "Tensor" in text:
        return [tensor() for _ in range(rng.integers(0, 4))] if "Sequence" in text or "list" in text else tensor()
    if any(word in text for word in ("Shape", "Sequence", "tuple", "list", "Sizes", "Starts", "PerAxis")):
        return shape() if rng.random() < 0.5 else tuple(rng.choice(NUMBERS, rng.integers(0, 5)).tolist())
    if "bool" in text:
        return bool(rng.integers(2))
    if "int" in text or "Axis" in text:
        return int(rng.choice(NUMBERS))
    if "float" in text:
        return float(rng.normal())
    if parameter.default is not parameter.empty:
        return parameter.default
    raise NotDrawn


@pytest.mark.parametrize("module", modules())
def test_functions_with_random_arguments(module, guards):
    for function in functions(module):
        rng = np.random.default_rng(list(function.__name__.encode()))
        parameters = [p for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        for _ in range(DRAWS):
            try:
                arguments = [drawn(p, rng) for p in parameters]
            except NotDrawn:
                break
            try:
                with np.errstate(all="ignore"):
                    function(*arguments)
            except AssertionError:
                raise
            except Exception:  # an answer
                continue


@pytest.mark.parametrize("order", [[0, 1, 4], [0, -1, 2], [2**31 - 1]])
def test_a_loop_over_rows_that_are_none(order):
    data = ArrayData(np.ones((4, 3), "float32"))
    runner = ArrayRunner(RecordedFunction(lambda x, y, w: {"sum": ops.sum(x)}), data)
    with pytest.raises(IndexError, match="there are rows 0 to 3"):
        runner.start(np.array(order), 1, len(order))
    runner.start(np.array([3, 0, 1, 2]), 2, 2)
    while runner.advance(1.0) < 2:
        pass
    assert runner.logs() == {"sum": 6.0}


def test_what_wrote_past_its_array(guards):
    x = Tensor(np.ones((33, 0, 33, 3), "float32"))
    with pytest.raises(ValueError, match=r"a tensor of shape \(0, 1\) does not broadcast to shape \(33, 0, 33, 3\)"):
        sum_to_shape(x, (0, 1))
    np.testing.assert_array_equal(sum_to_shape(x, (1, 3)).data, np.zeros((1, 3)))
    small = Tensor(np.arange(6, dtype="float32"))
    for shape, strides, offset in (((2, 4), (3, 1), 0), ((7,), (1,), 0), ((2,), (-1,), 0), ((3,), (1,), 4)):
        with pytest.raises(ValueError):
            strided_copy(small, shape, strides, offset)
    with pytest.raises(ValueError):
        strided_scatter(small, (5,), (1,), 0)
