"""One conformance check for every op: a row of `tests/cases/` goes in, all properties are asserted.

* oracle: float64 result against independent NumPy float64, float32 within a bound derived from eps,
* gradient: vector-Jacobian product against central differences of a random projection, in float64,
* replay: recorded on some inputs, replayed on others, equals eager bit for bit,
* threads: the same bits for 1 and 2 threads,
* symbolic: inferred shapes and dtypes equal the real ones,
* composed: values and gradients of a fused op are those of the ops it is composed of,
* second: the derivative of the gradient against central differences of the gradient.

`properties(row)` names the checks of a row, of which each is a test of its own.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import pydl
from pydl import layers, tree
from pydl.ops._fused import composed_ops
from pydl.tensor import Tensor, from_numpy

# Where a process of its own finds the pydl under test: it looks first in the folder it starts in, and in the checkout
# there are only sources.
PYDL_FOLDER = Path(pydl.__file__).resolve().parent.parent


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
        symbolic, replay, second: switch off what a row cannot have; give the reason in a comment beside it.
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
    second: bool = True
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


def properties(case: Case | LayerCase) -> dict[str, Callable]:
    """The checks of a row by name; those of a layer take a folder for files as second argument."""
    if isinstance(case, LayerCase):
        return {name: check for name, check in LAYER_PROPERTIES.items() if name != "mask" or case.mask is not None}
    dropped = {name for name in ("symbolic", "replay", "second") if not getattr(case, name)}
    if case.reference is None:
        dropped.add("oracle")
    if case.grad != "all" and not case.grad:
        dropped |= {"gradient", "composed", "second"}
    return {name: check for name, check in PROPERTIES.items() if name not in dropped}


def for_dtypes(check):
    """The check for every dtype of a row."""
    def run_all(case):
        for dtype in case.dtypes:
            check(case, dtype)

    return run_all


def check_oracle(case: Case, dtype: str) -> None:
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


class Point:
    """A row's inputs in float64, with random seeds for its outputs and random directions for what is differentiated."""

    def __init__(self, case: Case, seed: int):
        self.case = case
        self.inputs = case.draw(seed, "float64")
        self.leaves = tree.flatten(self.inputs)
        floats = self.floats()
        self._draw([floats[p] for p in case.grad] if case.grad != "all" else floats, seed + 1)

    def floats(self) -> list[int]:
        return [i for i, x in enumerate(self.leaves) if x.dtype.kind == "f" and x.size]

    def _draw(self, checked, seed: int) -> None:
        self.checked, rng = checked, np.random.default_rng(seed)
        self.seeds = [rng.normal(size=y.shape) for y in self.outputs(self.tensors(self.leaves))]
        self.directions = {i: rng.normal(size=self.leaves[i].shape) for i in self.checked}

    def moved(self, by: float, only=None) -> list[np.ndarray]:
        """The leaves, those that are differentiated (or one of them) moved along their directions."""
        return [np.asarray(x + by * self.directions[i]) if i in self.checked and only in (None, i) else x
                for i, x in enumerate(self.leaves)]

    def tensors(self, leaves) -> list[Tensor]:
        return [Tensor(np.array(x)) for x in leaves]

    def outputs(self, tensors) -> list[Tensor]:
        """The row's differentiable results."""
        result = self.case.function(*tree.pack_sequence_as(self.inputs, tensors), **self.case.kwargs)
        return [y for y in tree.flatten(result) if y.dtype == "float64"]

    def projected(self, leaves) -> float:
        return sum(float(np.sum(u * y.data)) for u, y in zip(self.seeds, self.outputs(self.tensors(leaves))))

    def gradients(self, leaves) -> list[np.ndarray | None]:
        """The gradients of `projected`, from the tape."""
        tensors = self.tensors(leaves)
        for i in self.checked:
            pydl.autograd.watch(tensors[i])
        outputs = self.outputs(tensors)
        with pydl.no_grad():
            found = pydl.autograd.gradients(outputs, [tensors[i] for i in self.checked], list(self.seeds))
        return [None if g is None else np.array(g.data) for g in found]

    def along(self, gradients) -> float:
        """What gradients say of the directions."""
        return sum(float(np.sum(g * self.directions[i])) for i, g in zip(self.checked, gradients) if g is not None)


def check_gradient(case: Case, step: float = 1e-6, tolerance: float = 2e-5) -> None:
    """<u, J v> by central differences against <J^T u, v> from the tape, for random u, v; cost does not grow with
    size. In float64 the differences are good to about step^2 + eps/step."""
    point = Point(case, 6)
    for i, gradient in zip(point.checked, point.gradients(point.leaves)):
        assert gradient is not None, f"{case}: no gradient for input {i}"
        assert gradient.shape == point.leaves[i].shape, f"{case}: gradient shape {gradient.shape} of input {i}"
        numeric = (point.projected(point.moved(step, i)) - point.projected(point.moved(-step, i))) / (2 * step)
        terms = gradient * point.directions[i]
        analytic = float(np.sum(terms))
        size = max(abs(numeric), abs(analytic), float(np.sum(np.abs(terms))) * 1e-2, 1e-3)
        assert abs(numeric - analytic) <= tolerance * size, (
            f"{case}: gradient of input {i}: tape {analytic!r}, central difference {numeric!r}")


def check_composed(case: Case) -> None:
    compare_composed(Point(case, 13))


def check_second(case: Case) -> None:
    compare_second(Point(case, 14))


def compare_composed(point: Point) -> None:
    """Results and gradients, in float64, with kernels for the fused ops and without."""
    case = point.case

    def everything():
        values = [np.array(y.data) for y in point.outputs(point.tensors(point.leaves))]
        return [*values, *point.gradients(point.leaves)]

    with composed_ops():
        composed = everything()
    # A gradient may be zero but for rounding (that of the keys' bias, in attention): the others say how much that is.
    sizes = [0.0 if y is None else float(np.abs(y[np.isfinite(y)]).max(initial=0)) for y in composed]
    rounding = max(1e-14, 1e-13 * max(sizes, default=0.0))
    for got, want, size in zip(everything(), composed, sizes):
        assert (got is None) == (want is None), f"{case}: a gradient is None in one form only"
        if want is not None:
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=max(1e-11 * size, rounding),
                                       err_msg=f"{case}: fused (received) and composed (desired) differ")


def compare_second(point: Point, step: float = 1e-6, tolerance: float = 2e-5) -> None:
    """d/dt <gradient(x + t v), v> by central differences of the (fused) gradient against a tape over the tape."""
    if not point.checked or not point.seeds:
        return
    tensors = point.tensors(point.leaves)
    watched = [tensors[i] for i in point.checked]
    with pydl.GradientTape() as outer:
        outer.watch(watched)
        with pydl.GradientTape() as inner:
            inner.watch(watched)
            outputs = point.outputs(tensors)
        first = inner.gradient(outputs, watched, [Tensor(u) for u in point.seeds])
        total = Tensor(np.zeros(()))
        for i, gradient in zip(point.checked, first):
            if gradient is not None:
                total = total + pydl.ops.sum(gradient * point.directions[i])
    second = [] if total.node is None else outer.gradient(total, watched)
    analytic = point.along([None if g is None else g.data for g in second])
    numeric = (point.along(point.gradients(point.moved(step))) - point.along(point.gradients(point.moved(-step)))) / (
        2 * step)
    # The difference of two nearly equal sums: what rounding leaves of it, in the units of the result.
    noise = 8 * np.finfo("float64").eps * abs(point.along(point.gradients(point.leaves))) / step
    assert abs(numeric - analytic) <= tolerance * max(abs(numeric), abs(analytic), 1e-3) + noise, (
        f"{point.case}: second derivative: tapes {analytic!r}, central difference {numeric!r}")


PROPERTIES = {
    "oracle": for_dtypes(check_oracle), "replay": for_dtypes(check_replay), "threads": for_dtypes(check_threads),
    "symbolic": check_symbolic, "gradient": check_gradient, "composed": check_composed, "second": check_second,
}


# ---- layers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerCase:
    """One row of a layer; `properties` names what is asserted, each for inference and training.

    Args:
        name: class in `pydl.layers`.
        reference: NumPy function `(weights, *inputs) -> output` of float64 arrays, at inference.
        inputs: as in `Case`, batch axis first; several make a list input.
        args: of the constructor, plain values (plus a seed, where there is randomness).
        training: like `reference` for training=True; None when it is the same; for layers that draw, a function
            `(weights, y, *inputs)` that asserts what holds for every draw.
        draws: whether `training` is such an assertion.
        mask: `inputs mask (batch, ...) -> expected output mask`, for layers that carry or make one.
        grad: whether there is a gradient for the inputs.
        rtol_eps: float32 error allowed, in units of eps.
        tag: tells rows of one layer apart.
        prepare: function of the layer, called before it is built, e.g. `adapt`.
    """

    name: str
    reference: Callable
    inputs: tuple
    args: dict = field(default_factory=dict)
    training: Callable | None = None
    draws: bool = False
    mask: Callable | None = None
    grad: bool = True
    rtol_eps: float = 16.0
    tag: str = ""
    prepare: Callable | None = None
    dtypes = ("float32", "float64")

    def __str__(self):
        return f"{self.name}-{self.tag}" if self.tag else self.name

    def make(self, dtype="float32", **kwargs):
        layer = getattr(layers, self.name)(**self.args, dtype=dtype, **kwargs)
        if self.prepare is not None:
            self.prepare(layer)
        return layer

    def draw(self, seed: int, dtype: str, batch: int | None = None) -> list[np.ndarray]:
        """Inputs; with `batch`, rows repeated or cut to that many."""
        drawn = Case.draw(self, seed, dtype)
        return drawn if batch is None else [x[np.arange(batch) % len(x)] for x in drawn]

    def built(self, dtype="float32", seed=0, **kwargs):
        """A layer with random positive weights (a variance must be)."""
        layer = self.make(dtype, **kwargs)
        call_layer(layer, self.draw(seed, dtype))
        rng = np.random.default_rng(seed)
        layer.set_weights([rng.uniform(0.5, 1.5, w.shape).astype(w.dtype) for w in layer.weights])
        return layer


def arguments(layer, inputs) -> list:
    """The positional arguments of a call: several inputs as one list, or one by one where `call` names them."""
    if len(inputs) == 1 or "inputs" not in inspect.signature(type(layer).call).parameters and \
            len(inspect.signature(type(layer).build).parameters) > 2:
        return list(inputs)
    return [list(inputs)]


def call_layer(layer, inputs, **kwargs):
    inputs = [x if isinstance(x, Tensor) else from_numpy(x) for x in inputs]
    return layer(*arguments(layer, inputs), **kwargs)


def state_of(layer) -> list[np.ndarray]:
    """Values of all variables, random generators' included."""
    return [v.numpy() for v in layer.variables]


def restore(layer, state) -> None:
    for v, value in zip(layer.variables, state):
        v.assign(value)


def check_layer_oracle(case, dtype: str) -> None:
    """Output against NumPy in float64, for the row's inputs and for a batch of one; nothing is stored in it."""
    layer = case.built(dtype)
    for batch in (None, 1):
        inputs = case.draw(1, dtype, batch)
        kept = [x.copy() for x in inputs]
        for training in (False, True):
            weights = [w.numpy().astype("float64") if w.dtype == dtype else w.numpy() for w in layer.weights]
            wide = [x.astype("float64") if x.dtype.kind == "f" else x for x in inputs]
            y = outputs_of(call_layer(layer, inputs, training=training))[0]
            what = f"{case} {dtype} training={training} batch={batch}"
            if training and case.draws:
                case.training(weights, y.astype("float64"), *wide)
                again = call_layer(layer, inputs, training=True).data
                assert not np.array_equal(again, y), f"{what}: two calls draw the same numbers"
                continue
            want = np.asarray((case.training if training and case.training else case.reference)(weights, *wide))
            assert y.shape == want.shape, f"{what}: shape {y.shape}, expected {want.shape}"
            assert y.dtype == dtype or want.dtype.kind != "f", f"{what}: dtype {y.dtype}"
            eps = np.finfo(dtype).eps * case.rtol_eps
            np.testing.assert_allclose(y, want, rtol=eps, atol=eps * float(np.abs(want).max(initial=0)), err_msg=what)
        for x, before in zip(inputs, kept):
            np.testing.assert_array_equal(x, before, err_msg=f"{case}: the layer changed its input")


def check_layer_replay(case, dtype: str) -> None:
    """A recorded layer gives the bits of an eager twin, and leaves the same state, on data it was not recorded on."""
    for training in (False, True):
        eager, replayed = case.built(dtype), case.built(dtype)
        restore(replayed, state_of(eager))
        recorded = pydl.function(lambda *xs: call_layer(replayed, xs, training=training))
        for seed in (2, 3, 4):
            inputs = case.draw(seed, dtype)
            want, got = call_layer(eager, inputs, training=training), recorded(*inputs)
            np.testing.assert_array_equal(got.data, want.data, err_msg=f"{case} training={training}: replay {seed}")
            for v, w in zip(replayed.variables, eager.variables):
                np.testing.assert_array_equal(v.numpy(), w.numpy(), err_msg=f"{case}: {v.path} after replay {seed}")
        assert len(recorded.captures) == 1


def layer_gradients(layer, inputs, seeds=None, training=False):
    """Output and gradients of <seeds, output> (the sum, without seeds) wrt float inputs and trainable weights."""
    tensors = [Tensor(np.array(x)) for x in inputs]
    sources = [t for t in tensors if t.data.dtype.kind == "f"]
    for t in sources:
        pydl.autograd.watch(t)
    y = call_layer(layer, tensors, training=training)
    wanted = sources + layer.trainable_weights
    if y.data.dtype.kind != "f" or not wanted:
        return y, []
    seeds = np.ones(y.shape, y.dtype) if seeds is None else seeds
    with pydl.no_grad():  # the fused gradients; the composed ones are for second derivatives
        return y, pydl.autograd.gradients([y], wanted, [seeds])


def check_layer_threads(case) -> None:
    """Output and gradients have the same bits on 1 and 2 threads, for inputs large enough to be shared."""
    layer = case.built()
    small = case.draw(5, "float32")
    inputs = case.draw(5, "float32", 120_000 // max(x[0].size for x in small))
    state, before, results = state_of(layer), pydl.config.threads(), []
    try:
        for threads in (1, 2):
            restore(layer, state)
            pydl.config.set_threads(threads)
            y, grads = layer_gradients(layer, inputs, training=True)
            results.append([np.array(t.data) for t in (y, *grads) if t is not None])
    finally:
        pydl.config.set_threads(before)
    for one, two in zip(*results):
        np.testing.assert_array_equal(one, two, err_msg=f"{case}: bits differ between 1 and 2 threads")


def check_layer_shapes(case) -> None:
    """A symbolic call, compute_output_shape and compute_output_spec tell the real shape, None for the batch."""
    inputs = case.draw(6, "float32")
    real = call_layer(case.built(), inputs)
    symbolic = [pydl.Input(x.shape[1:], dtype=x.dtype.name) for x in inputs]
    shapes = [(None, *x.shape[1:]) for x in inputs]
    want = (None, *real.shape[1:])
    layer = case.make()
    y = layer(*arguments(layer, symbolic))
    assert y.shape == want and y.dtype == real.dtype, f"{case}: inferred {y.shape} {y.dtype}, real {want} {real.dtype}"
    layer = case.built()
    assert layer.compute_output_shape(*arguments(layer, shapes)) == want, f"{case}: compute_output_shape"
    spec = layer.compute_output_spec(*arguments(layer, symbolic))
    assert spec.shape == want and spec.dtype == real.dtype, f"{case}: compute_output_spec"


def check_layer_gradient(case, step: float = 1e-6, tolerance: float = 2e-5) -> None:
    """Random projection in float64 as in `check_gradient`, for the inputs and every trainable weight."""
    for training in (False, True):
        layer = case.built("float64")
        inputs = case.draw(7, "float64")
        state = state_of(layer)
        rng = np.random.default_rng(8)
        y = call_layer(layer, inputs, training=training)
        if y.data.dtype.kind != "f":
            return
        seeds = rng.normal(size=y.shape)
        noise = 4 * np.finfo("float64").eps * float(np.sum(np.abs(seeds * y.data))) / step  # of the difference itself
        restore(layer, state)
        grads = layer_gradients(layer, inputs, seeds, training)[1]
        floats = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
        points = [("input", i) for i in floats] + [("weight", w) for w in layer.trainable_weights]
        for (kind, which), gradient in zip(points, grads):
            if kind == "input" and not case.grad:
                continue
            value = inputs[which] if kind == "input" else which.numpy()
            direction = rng.normal(size=value.shape)
            assert gradient is not None, f"{case} training={training}: no gradient for {kind} {which}"
            projected = []
            for sign in (1, -1):
                restore(layer, state)
                moved = list(inputs)
                if kind == "input":
                    moved[which] = value + sign * step * direction
                else:
                    which.assign(value + sign * step * direction)
                projected.append(float(np.sum(seeds * call_layer(layer, moved, training=training).data)))
            restore(layer, state)
            numeric = (projected[0] - projected[1]) / (2 * step)
            analytic = float(np.sum(gradient.data * direction))
            size = max(abs(numeric), abs(analytic), float(np.sum(np.abs(gradient.data * direction))) * 1e-2, 1e-3)
            assert abs(numeric - analytic) <= tolerance * size + noise, (
                f"{case} training={training}: gradient of {kind} {which}: tape {analytic!r}, difference {numeric!r}")


class LayerPoint(Point):
    """As `Point`, for a layer: its inputs (unless they have no gradient), then its trainable weights. Every evaluation
    starts from one state, so that layers that draw draw the same."""

    def __init__(self, case: LayerCase, seed: int, training: bool):
        self.case, self.training, self.layer = case, training, case.built("float64")
        self.state, self.weights = state_of(self.layer), self.layer.trainable_weights
        self.inputs = case.draw(seed, "float64")
        self.leaves = [*self.inputs, *(w.numpy() for w in self.weights)]
        self._draw([i for i in self.floats() if case.grad or i >= len(self.inputs)], seed + 1)

    def tensors(self, leaves):
        restore(self.layer, self.state)
        values = leaves[len(self.inputs):]
        for weight, value in zip(self.weights, values):
            weight.assign(value)
        return [*super().tensors(leaves[:len(self.inputs)]), *self.weights]

    def outputs(self, tensors):
        y = call_layer(self.layer, tensors[:len(self.inputs)], training=self.training)
        return [y] if y.dtype == "float64" else []


def check_layer_composed(case) -> None:
    for training in (False, True):
        compare_composed(LayerPoint(case, 15, training))


def check_layer_second(case) -> None:
    for training in (False, True):
        compare_second(LayerPoint(case, 16, training))


# Arguments that Keras's configs leave out: values that weights hold, features that pydl refuses.
_NOT_IN_CONFIG = {"kwargs", "weights", "activity_regularizer", "renorm", "renorm_clipping", "renorm_momentum",
                  "lora_rank", "lora_alpha", "quantization_config", "use_cudnn", "flash_attention"}


def check_layer_config(case) -> None:
    """from_config(get_config()) and JSON through serialize / deserialize give a layer that computes the same."""
    layer = case.built(trainable=False, name="named")
    inputs = case.draw(9, "float32")
    want = call_layer(layer, inputs).data
    lost = set(inspect.signature(type(layer)).parameters) - set(layer.get_config()) - _NOT_IN_CONFIG
    assert not lost, f"{case}: get_config leaves out {sorted(lost)}"
    text = json.dumps(layers.serialize(layer))
    for twin in (type(layer).from_config(layer.get_config()), layers.deserialize(json.loads(text))):
        assert (twin.name, twin.trainable, twin.dtype) == ("named", False, "float32")
        call_layer(twin, inputs)
        twin.set_weights(layer.get_weights())
        np.testing.assert_array_equal(call_layer(twin, inputs).data, want, err_msg=f"{case}: after a config round trip")
        again = json.dumps(layers.serialize(twin))
        assert again == text, f"{case}: the config changed in a round trip:\n{text}\n{again}"


def check_layer_files(case, folder) -> None:
    """Weights and whole models survive .weights.h5 and .keras files."""
    inputs = case.draw(10, "float32")

    def model_of(layer):
        symbolic = [pydl.Input(x.shape[1:], dtype=x.dtype.name) for x in inputs]
        return pydl.Model(symbolic, layer(*arguments(layer, symbolic)))

    model = model_of(case.built())
    want = model(inputs, training=False).data
    model.save_weights(folder / "m.weights.h5")
    model.save(folder / "m.keras")
    fresh = model_of(case.make())
    fresh.load_weights(folder / "m.weights.h5")
    np.testing.assert_array_equal(fresh(inputs, training=False).data, want, err_msg=f"{case}: after load_weights")
    loaded = pydl.models.load_model(folder / "m.keras")
    np.testing.assert_array_equal(loaded(inputs, training=False).data, want, err_msg=f"{case}: after load_model")


def check_layer_trainable(case) -> None:
    """A frozen layer has no trainable weights, keeps all of them, and a training call leaves their values alone."""
    layer = case.built()
    count, total = len(layer.trainable_weights), len(layer.weights)
    layer.trainable = False
    before = layer.get_weights()
    call_layer(layer, case.draw(11, "float32"), training=True)
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == total
    for a, b in zip(before, layer.get_weights()):
        np.testing.assert_array_equal(a, b, err_msg=f"{case}: a frozen layer changed its weights")
    layer.trainable = True
    assert len(layer.trainable_weights) == count and len(layer.weights) == total
    assert case.make(trainable=False).trainable_weights == [] == case.built(trainable=False).trainable_weights


def check_layer_mask(case) -> None:
    """The mask of the inputs (or what the layer makes of their values) goes on as the row says."""
    rng = np.random.default_rng(12)
    inputs = [from_numpy(x) for x in case.draw(12, "float32")]
    masks = [rng.random(x.shape[:2]) < 0.5 for x in inputs]
    for x, m in zip(inputs, masks):
        x._keras_mask = from_numpy(m)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not support masks")
        got = getattr(call_layer(case.built(), inputs), "_keras_mask", None)
    want = case.mask(*masks, *(x.data for x in inputs))
    assert (got is None) == (want is None), f"{case}: mask {got}, expected {want}"
    if want is not None:
        np.testing.assert_array_equal(got.data, want, err_msg=f"{case}: mask")


LAYER_PROPERTIES = {
    "oracle": lambda case, folder: for_dtypes(check_layer_oracle)(case),
    "replay": lambda case, folder: for_dtypes(check_layer_replay)(case),
    "threads": lambda case, folder: check_layer_threads(case),
    "shapes": lambda case, folder: check_layer_shapes(case),
    "gradient": lambda case, folder: check_layer_gradient(case),
    "composed": lambda case, folder: check_layer_composed(case),
    "second": lambda case, folder: check_layer_second(case),
    "config": lambda case, folder: check_layer_config(case),
    "files": check_layer_files,
    "trainable": lambda case, folder: check_layer_trainable(case),
    "mask": lambda case, folder: check_layer_mask(case),
}
# What says the same at every ISA level and for any number of threads: tested at one.
ONCE = {"symbolic", "composed", "second", "shapes", "config", "files", "trainable", "mask"}
