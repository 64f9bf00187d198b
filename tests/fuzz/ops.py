"""Calls of ops forwards and backwards, with odd shapes, dtypes, layouts and values, against NumPy in float64.

    python -m tests.fuzz.ops --seed 0 --count 1000 --jobs 2
    python -m tests.fuzz.ops --seed 0 --index 17

A case is a row of the conformance suite whose inputs are changed: a size everywhere it stands, single values (zeros,
infinities, NaN, the largest and the smallest), the layout in memory. An op answers or refuses with a sentence. Where no
value is special, the answer is that of the row's reference within loose bounds (the suite has the tight ones), and the
gradient in float32 is that in float64.
"""

from __future__ import annotations

import importlib
import math
import pkgutil

import numpy as np

import pydl
from pydl import tree
from pydl.tensor import from_numpy

from . import pool
from .worker import Case

SIZES = (0, 1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 65, 130)
SPECIAL = (0.0, -0.0, math.inf, -math.inf, math.nan, 1e30, -1e30, 1e-30, 3e38, 1e-45, 2.0**24)
SENTENCES = (ValueError, IndexError, TypeError, MemoryError)
LARGEST = 1 << 17  # elements of an input
# Rows whose results are no continuous function of their inputs, so that rounding alone may change them.
JUMPS = {"floor_divide", "mod", "round", "sign", "floor", "ceil", "trunc", "argmax", "argmin", "argsort", "sort",
         "top_k", "unique", "searchsorted", "digitize", "histogram", "map_coordinates", "heaviside", "remainder",
         "affine_transform"}
# Rows whose reference answers for their own sizes only.
OWN_SIZES = {"crop_images", "diagflat", "floor_divide", "mod", "pad_images", "resize", "weighted_mean",
             "OrthogonalRegularizer"}

SLOW_REFERENCES = {"affine_transform-large"}  # by the second, in loops of Python: their answers are not compared


def resized(leaf: np.ndarray, size: int, to: int) -> np.ndarray:
    """`leaf` with its values repeated, or cut, along every axis of that size."""
    for axis, n in enumerate(leaf.shape):
        if n == size:
            leaf = np.take(leaf, np.arange(to) % max(n, 1), axis) if n else leaf
    return leaf


def laid_out(how: str, leaf: np.ndarray) -> np.ndarray:
    """Equal values, otherwise in memory."""
    if leaf.ndim == 0 or leaf.size == 0:
        return leaf
    if how == "by columns":
        return np.asfortranarray(leaf)
    if how == "backwards":
        return np.ascontiguousarray(leaf[..., ::-1])[..., ::-1]
    if how == "every second":
        return np.repeat(leaf, 2, axis=-1)[..., ::2]
    if how == "unaligned":
        return np.frombuffer(b"." + leaf.tobytes(), leaf.dtype, offset=1).reshape(leaf.shape)
    if how == "read-only":
        leaf = leaf.copy()
        leaf.flags.writeable = False
    return leaf


class Call:
    """One changed row; calling it runs the op, or raises ValueError for what the op refuses."""

    def __init__(self, row, dtype, inputs, layout, plain):
        self.row, self.dtype, self.inputs, self.layout, self.plain = row, dtype, inputs, layout, plain

    def __call__(self) -> None:
        try:
            received = self.outputs(self.dtype)
            slopes = self.gradients(self.dtype)
        except SENTENCES as error:
            if len(str(error)) <= 15:
                raise RuntimeError(f"a bare {type(error).__name__}: {error}") from error
            raise ValueError(str(error)) from error
        if not self.plain or sum(y.nbytes for y in received) > LARGEST * 64:
            return
        self.compare(received)
        if self.dtype == "float32" and slopes and not jumps(self.row):
            for got, want in zip(slopes, self.gradients("float64")):
                check("gradient", got, want, 1e-2)

    def tensors(self, dtype):
        def one(x):
            x = x.astype(dtype) if x.dtype.kind == "f" else x
            return from_numpy(laid_out(self.layout, x))

        return [tree.map_structure(one, x) for x in self.inputs]

    def outputs(self, dtype) -> list[np.ndarray]:
        return [np.array(y) for y in tree.flatten(self.row.function(*self.tensors(dtype), **self.row.kwargs))]

    def gradients(self, dtype) -> list[np.ndarray]:
        tensors = self.tensors(dtype)
        leaves = [t for t in tree.flatten(tensors) if t.dtype in ("float32", "float64")]
        if self.row.grad != "all":
            leaves = [leaf for i, leaf in enumerate(tree.flatten(tensors)) if i in self.row.grad]
        if not leaves:
            return []
        with pydl.GradientTape() as tape:
            for leaf in leaves:
                tape.watch(leaf)
            outputs = [y for y in tree.flatten(self.row.function(*tensors, **self.row.kwargs)) if
                       getattr(y, "dtype", "") == dtype]
            total = sum((pydl.ops.sum(y * weights(y.shape, dtype)) for y in outputs), pydl.ops.zeros((), dtype))
        found = tape.gradient(total, leaves)
        for leaf, slope in zip(leaves, found):
            if slope is not None and slope.shape != leaf.shape:
                raise RuntimeError(f"the gradient of {leaf.shape} has shape {slope.shape}")
        return [np.array(slope) for slope in found if slope is not None]

    def compare(self, received) -> None:
        wide = [tree.map_structure(lambda a: a.astype(self.dtype).astype("float64") if a.dtype.kind == "f" else a, x)
                for x in self.inputs]
        with np.errstate(all="ignore"):
            try:
                expected = [np.asarray(y) for y in tree.flatten(self.row.reference(*wide, **self.row.kwargs))]
            except Exception:  # the reference is written for the row's own shapes
                return
        if len(expected) != len(received):
            raise RuntimeError(f"{len(received)} results, expected {len(expected)}")
        for got, want in zip(received, expected):
            if got.shape == (0,) and self.row.name.startswith("losses."):
                continue  # as in Keras, an empty batch is not reduced
            if got.shape != want.shape:
                raise RuntimeError(f"shape {got.shape}, expected {want.shape}")
            if not jumps(self.row):
                check("result", got, want, 1e-3, self.row.scale)


def jumps(row) -> bool:
    return row.name in JUMPS or "local-p" in str(row)  # whose windows begin where a place in float is rounded


def weights(shape, dtype) -> np.ndarray:
    """What outputs are weighed with before they are summed: no two alike."""
    return np.cos(np.arange(math.prod(shape), dtype="float64")).reshape(shape).astype(dtype)


def check(what, got, want, bound, scale=0.0) -> None:
    """Raises RuntimeError unless the arrays are equal within `bound` of their largest value."""
    got, want = np.asarray(got, "float64"), np.asarray(want, "float64")
    largest = max(1.0, scale, float(np.abs(want[np.isfinite(want)]).max(initial=0.0)))
    if not np.allclose(got, want, rtol=bound, atol=bound * largest, equal_nan=True):
        at = np.unravel_index(int(np.argmax(~np.isclose(got, want, bound, bound * largest, equal_nan=True))), got.shape)
        raise RuntimeError(f"{what} {got[at]} at {tuple(map(int, at))}, expected {want[at]}")


class Cases:
    """Rows as they are, and changed ones."""

    def __init__(self, folder):
        import cases  # in the folder of the tests, which workers have in their path
        from harness import Case as Row

        modules = [importlib.import_module(f"cases.{module.name}") for module in pkgutil.iter_modules(cases.__path__)]
        self._rows = [row for module in modules for row in getattr(module, "CASES", ())
                      if isinstance(row, Row) and row.reference is not None]

    def valid(self, folder):
        for row in self._rows[::7]:
            yield Case("row", str(row), Call(row, "float32", row.draw(0, "float64"), "", False))

    def case(self, rng, folder) -> Case:
        row = rng.choice(self._rows)
        dtype = rng.choice(row.dtypes)
        inputs = row.draw(rng.randrange(1000), "float64")
        words, kind, plain = [], "row", str(row) not in SLOW_REFERENCES
        sizes = sorted({n for leaf in tree.flatten(inputs) for n in leaf.shape})
        if sizes and rng.random() < 0.6:
            size, to = rng.choice(sizes), rng.choice(SIZES)
            growth = [leaf.size * (to / max(size, 1)) ** leaf.shape.count(size) for leaf in tree.flatten(inputs)]
            to = to if max(growth) <= LARGEST else 1
            changed = [tree.map_structure(lambda leaf: resized(leaf, size, to), x) for x in inputs]
            inputs, kind = changed, "size"
            plain = plain and row.name not in OWN_SIZES
            words.append(f"{size} -> {to}")
        if rng.random() < 0.3:
            kind, plain = "value", False
            for leaf in tree.flatten(inputs):
                for _ in range(rng.choice((0, 1, 3))):
                    if leaf.size and leaf.dtype.kind == "f":
                        value = rng.choice(SPECIAL)
                        leaf.flat[rng.randrange(leaf.size)] = value
                        words.append(str(value))
        layout = rng.choice(("", "", "by columns", "backwards", "every second", "unaligned", "read-only"))
        text = f"{row}, {dtype}, {layout or 'plain'}, {', '.join(words)}"
        return Case(kind, text, Call(row, dtype, inputs, layout, plain))


if __name__ == "__main__":
    pool.main("ops", __doc__)
