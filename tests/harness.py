"""One conformance check for every op: a row of `tests/cases/` goes in, all properties are asserted.

* oracle: float64 result against independent NumPy float64, float32 within a bound derived from eps,
* gradient: vector-Jacobian product against central differences of a random projection, in float64,
* replay: recorded on some inputs, replayed on others, equals eager bit for bit,
* threads: the same bits for 1 and 2 threads,
* symbolic: inferred shapes and dtypes equal the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import pydl
from pydl import tree
from pydl.tensor import Tensor, from_numpy


@dataclass(frozen=True)
class Case:
    """One row.

    Args:
        name: the public name under test (`ops.<name>` unless `fn` is given); the coverage test reads it.
        reference: NumPy function of float64 / int arrays, same arguments as the op.
        inputs: arrays, or callables `rng -> array`; floats are drawn in float64 and cast.
        kwargs: passed to both.
        fn: the function under test.
        grad: which float inputs are checked for gradients: "all", () for none, or positions.
        rtol_eps: float32 error allowed, in units of float32 eps times the magnitude of the result.
        scale: extra absolute magnitude for cancellation (e.g. the sum of absolute values of a reduction).
        tag: tells rows of one name apart.
        symbolic, replay: switch off what a row cannot have; give the reason in a comment beside it.
        dtypes: float dtypes to run.
    """

    name: str
    reference: Callable | None
    inputs: tuple = ()
    kwargs: dict = field(default_factory=dict)
    fn: Callable | None = None
    grad: object = "all"
    rtol_eps: float = 16.0
    scale: float = 0.0
    tag: str = ""
    symbolic: bool = True
    replay: bool = True
    dtypes: tuple = ("float32", "float64")

    def __str__(self):
        return f"{self.name}-{self.tag}" if self.tag else self.name

    @property
    def function(self):
        return self.fn or getattr(pydl.ops, self.name)

    def draw(self, seed: int, dtype: str) -> list:
        rng = np.random.default_rng(seed)

        def one(x):
            x = np.asarray(x(rng) if callable(x) else x)
            return x.astype(dtype) if x.dtype.kind == "f" else x

        return [tree.map_structure(one, x) for x in self.inputs]


def normal(*shape, loc=0.0, scale=1.0):
    """An input drawn from a normal distribution."""
    return lambda rng: rng.normal(loc, scale, shape)


def uniform(*shape, low=-1.0, high=1.0):
    """An input drawn uniformly."""
    return lambda rng: rng.uniform(low, high, shape)


def integers(*shape, low=0, high=10, dtype="int32"):
    """An input of random integers."""
    return lambda rng: rng.integers(low, high, shape).astype(dtype)


def run(case: Case, inputs):
    tensors = [tree.map_structure(from_numpy, x) for x in inputs]
    return case.function(*tensors, **case.kwargs)


def outputs_of(result) -> list[np.ndarray]:
    return [np.array(y.data if isinstance(y, Tensor) else y) for y in tree.flatten(result)]


def check_case(case: Case) -> None:
    """Asserts everything the module's docstring lists."""
    for dtype in case.dtypes:
        check_oracle(case, dtype)
        if case.replay:
            check_replay(case, dtype)
        check_threads(case, dtype)
    if case.symbolic:
        check_symbolic(case)
    if case.grad == "all" or case.grad:
        check_gradient(case)


def check_oracle(case: Case, dtype: str) -> None:
    if case.reference is None:
        return
    inputs = case.draw(0, dtype)
    wide = [tree.map_structure(lambda a: a.astype("float64") if a.dtype.kind == "f" else a, x) for x in inputs]
    with np.errstate(all="ignore"):
        expected = [np.asarray(y) for y in tree.flatten(case.reference(*wide, **case.kwargs))]
    received = outputs_of(run(case, inputs))
    assert len(received) == len(expected), f"{case}: {len(received)} outputs, expected {len(expected)}"
    for got, want in zip(received, expected):
        assert got.shape == want.shape, f"{case} {dtype}: shape {got.shape}, expected {want.shape}"
        if got.dtype.kind != "f":
            np.testing.assert_array_equal(got, want, err_msg=f"{case} {dtype}")
            continue
        if any(np.asarray(a).dtype.kind == "f" for x in inputs for a in tree.flatten(x)):
            assert got.dtype == dtype, f"{case}: dtype {got.dtype} for inputs of {dtype}"
        eps = np.finfo(got.dtype).eps
        finite = want[np.isfinite(want)]
        magnitude = max(case.scale, float(np.abs(finite).max(initial=0.0)) * 1e-2)
        np.testing.assert_allclose(got, want, rtol=case.rtol_eps * eps, atol=case.rtol_eps * eps * magnitude,
                                   err_msg=f"{case} {dtype}")


def check_replay(case: Case, dtype: str) -> None:
    recorded = pydl.function(lambda *xs: case.function(*xs, **case.kwargs))
    for seed in (1, 2, 3):
        inputs = case.draw(seed, dtype)
        tensors = [tree.map_structure(from_numpy, x) for x in inputs]
        for got, want in zip(outputs_of(recorded(*tensors)), outputs_of(run(case, inputs))):
            np.testing.assert_array_equal(got, want, err_msg=f"{case} {dtype}: replay differs from eager, draw {seed}")
    assert len(recorded.captures) <= 3


def check_threads(case: Case, dtype: str) -> None:
    inputs = case.draw(4, dtype)
    before = pydl.config.threads()
    try:
        results = []
        for threads in (1, 2):
            pydl.config.set_threads(threads)
            results.append(outputs_of(run(case, inputs)))
    finally:
        pydl.config.set_threads(before)
    for one, two in zip(*results):
        np.testing.assert_array_equal(one, two, err_msg=f"{case} {dtype}: bits differ between 1 and 2 threads")


def check_symbolic(case: Case) -> None:
    inputs = case.draw(5, "float32")
    symbolic = [tree.map_structure(lambda a: pydl.KerasTensor(a.shape, a.dtype), x) for x in inputs]
    inferred = tree.flatten(case.function(*symbolic, **case.kwargs))
    for got, want in zip(inferred, tree.flatten(run(case, inputs))):
        assert got.shape == tuple(want.shape), f"{case}: inferred shape {got.shape}, real {want.shape}"
        assert got.dtype == want.dtype, f"{case}: inferred dtype {got.dtype}, real {want.dtype}"


def check_gradient(case: Case, step: float = 1e-6, tolerance: float = 2e-6) -> None:
    """<u, J v> by central differences against <J^T u, v> from the tape, for random u, v; cost does not grow with
    size. In float64 the differences are good to about step^2 + eps/step."""
    inputs = case.draw(6, "float64")
    leaves = tree.flatten(inputs)
    floats = [i for i, x in enumerate(leaves) if x.dtype.kind == "f" and x.size]
    checked = floats if case.grad == "all" else [floats[p] for p in case.grad]
    rng = np.random.default_rng(7)
    tensors = [Tensor(np.array(x)) for x in leaves]
    for i in checked:
        pydl.autograd.watch(tensors[i])
    outputs = [y for y in tree.flatten(case.function(*tree.pack_sequence_as(inputs, tensors), **case.kwargs))
               if y.dtype == "float64"]
    seeds = [rng.normal(size=y.shape) for y in outputs]
    with pydl.no_grad():
        grads = pydl.autograd.gradients(outputs, [tensors[i] for i in checked], [np.asarray(u) for u in seeds])
    for i, gradient in zip(checked, grads):
        assert gradient is not None, f"{case}: no gradient for input {i}"
        assert gradient.shape == leaves[i].shape, f"{case}: gradient shape {gradient.shape} of input {i}"
        direction = rng.normal(size=leaves[i].shape)
        projected = []
        for sign in (1, -1):
            moved = list(leaves)
            moved[i] = np.asarray(leaves[i] + sign * step * direction)
            moved = [from_numpy(np.asarray(x)) for x in moved]
            result = tree.flatten(case.function(*tree.pack_sequence_as(inputs, moved), **case.kwargs))
            result = [y for y in result if y.dtype == "float64"]
            projected.append(sum(float(np.sum(u * y.data)) for u, y in zip(seeds, result)))
        numeric = (projected[0] - projected[1]) / (2 * step)
        analytic = float(np.sum(gradient.data * direction))
        size = max(abs(numeric), abs(analytic), float(np.sum(np.abs(gradient.data * direction))) * 1e-2, 1e-3)
        assert abs(numeric - analytic) <= tolerance * size * 10, (
            f"{case}: gradient of input {i}: tape {analytic!r}, central difference {numeric!r}")
