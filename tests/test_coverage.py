"""No public name without a conformance row or a named test, and no kernel that the rows do not reach."""

import functools
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest
from test_conformance import rows

import cases
import pydl
from harness import Case, LayerCase, layer_gradients
from pydl import _core, tree
from pydl.tensor import Tensor

TESTS = Path(__file__).parent


def cases_of(kind):
    return [row for _, row in rows(kind)]


def row_names(module: str) -> set[str]:
    """Names of all rows, of whatever form, in a module of cases."""
    found = set()
    for value in vars(importlib.import_module(f"cases.{module}")).values():
        for row in value if isinstance(value, (list, tuple)) else ():
            name = getattr(row, "name", None) or getattr(getattr(row, "cls", None), "__name__", None)
            if name is not None:
                found.add(name)
    return found


@functools.cache
def texts() -> str:
    """The text of all test files but this one."""
    return "\n".join(path.read_text() for path in sorted(TESTS.glob("test_*.py")) if path.name != Path(__file__).name)


def public(module: str) -> set[str]:
    """Functions and classes of a public module; its imports of rooms, and constants, are not meant."""
    loaded = importlib.import_module(f"pydl.{module}")
    names = getattr(loaded, "__all__", None) or [n for n in vars(loaded) if not n.startswith("_")]
    return {n for n in names if callable(getattr(loaded, n, None)) and (
        getattr(getattr(loaded, n), "__module__", "") or "").startswith("pydl")}


# Bases and registry functions are exercised by everything: get, serialize, deserialize.
PLUMBING = {"get", "serialize", "deserialize"}

# Rows are asked for where a row says all; elsewhere a test that calls the name.
WITH_ROWS = ["ops", "ops.image", "layers", "losses", "metrics", "optimizers", "initializers"]
WITH_TESTS = ["optimizers.schedules", "regularizers", "constraints", "activations", "callbacks", "random", "utils",
              "saving", "tree", "models", "config", "backend", "dtype_policies", "preprocessing", "inspection",
              "estimators", "tuner"]

# Bases of classes with rows, and what takes functions or other layers: named tests instead of rows.
NAMED_TESTS = {
    "ops": {"associative_scan", "cond", "fori_loop", "map", "scan", "shape", "stop_gradient", "switch",
            "vectorized_map", "while_loop", "glu"},
    "layers": {"Bidirectional", "GRUCell", "Hashing", "Input", "InputLayer", "InputSpec", "LSTMCell", "Lambda", "Layer",
               "RNN", "SimpleRNNCell", "StackedRNNCells", "StringLookup", "TextVectorization", "TimeDistributed",
               "SpectralNormalization", "Wrapper"},
    "losses": {"Loss"},
    "metrics": {"Mean", "Metric", "Sum", "accuracy", "binary_accuracy", "categorical_accuracy",
                "concordance_correlation", "pearson_correlation", "sparse_categorical_accuracy",
                "sparse_top_k_categorical_accuracy", "top_k_categorical_accuracy"},
    "optimizers": {"Optimizer"},
    "initializers": {"Initializer"},
}
# Bases that no script names; each is exercised by every row of its family.
BASES = {"LossFunctionWrapper", "RandomInitializer", "MonitorCallback", "Functional"}


def is_tested(name: str) -> bool:
    """Whether a test calls `name`, names it as an attribute, or lists it as a string."""
    return re.search(rf"""\b{name}\(|\.{name}\b|["']{name}["']""", texts()) is not None


@functools.cache
def all_row_names() -> set[str]:
    return {name for module in pkgutil.iter_modules(cases.__path__) for name in row_names(module.name)}


@pytest.mark.parametrize("module", WITH_ROWS)
def test_every_name_has_a_row(module):
    loaded = importlib.import_module(f"pydl.{module}")
    names = public(module) - PLUMBING - BASES
    covered = {n for n in names if n in all_row_names() or f"{module}.{n}" in all_row_names()}
    objects = {id(getattr(loaded, n)) for n in covered}  # another name of a covered object
    # `layers.add` is `Add`, `metrics.hinge` is `losses.hinge`.
    functional = {n for n in names if module == "layers" and n.capitalize() in covered}
    shared = {n for n in names if module == "metrics" and f"losses.{n}" in all_row_names()}
    left = {n for n in names - covered - functional - shared if id(getattr(loaded, n)) not in objects}
    named = NAMED_TESTS.get(module, set())
    assert left - named == set(), f"pydl.{module}: no row in tests/cases/"
    assert named <= names, f"no longer public: {named - names}"
    untested = {n for n in named if not is_tested(n)}
    assert untested == set(), f"pydl.{module}: no test calls these"


@pytest.mark.parametrize("module", WITH_TESTS)
def test_every_name_has_a_test(module):
    untested = {n for n in public(module) - PLUMBING - BASES
                if not is_tested(n) and n not in all_row_names() and f"{module}.{n}" not in all_row_names()}
    assert untested == set(), f"pydl.{module}: no test calls these"


# Kernels that rows cannot reach (draws are checked statistically, host state is written, batches are gathered), with
# the test that does.
BY_NAMED_TESTS = {
    "accumulate_mean": "test_metrics.py::test_values",
    "all_finite": "test_optimizers.py::test_global_norm_and_all_finite",
    "check_loss": "test_bad_input.py::test_nan_in_the_data_of_a_loss_of_the_library",
    "copy_values": "test_optimizers.py::test_gradient_accumulation",
    "decay_weights": "test_optimizers.py::test_custom_optimizer",
    **{f"gather_rows_to_{name}": "test_helpers.py::test_gather_rows_converts" for name, *_ in _core.dtypes()},
    "cast_to_float16": "test_float16.py::test_rounding_at_every_tie",
    "global_norm": "test_optimizers.py::test_global_norm_and_all_finite",
    "prepare_gradients": "test_optimizers.py::test_custom_optimizer",
    "random_beta": "test_random.py::test_seeds_replays_threads",
    "random_binomial": "test_random.py::test_seeds_replays_threads",
    "random_gamma": "test_random.py::test_seeds_replays_threads",
    "random_truncated_normal": "test_random.py::test_seeds_replays_threads",
    "restore_unless_due": "test_optimizers.py::test_gradient_accumulation",
}


def launched_by(function) -> set[str]:
    """Names of the kernels that `function()` launches."""
    program = _core.Program()
    before = _core.open_recording(program)
    try:
        function()
    finally:
        _core.open_recording(before)
    program.seal()
    return {name for _, name, *_ in program.profile()}


def forward_and_backward(case, inputs):
    """Calls the op and differentiates the sum of its float outputs wrt what the row's gradient check moves."""
    tensors = [Tensor(np.array(x)) for x in tree.flatten(inputs)]
    floats = [t for t in tensors if t.data.dtype.kind == "f"]
    checked = floats if case.grad == "all" else [floats[i] for i in case.grad]
    for t in checked:
        pydl.autograd.watch(t)
    result = case.function(*tree.pack_sequence_as(inputs, tensors), **case.kwargs)
    outputs = [y for y in tree.flatten(result) if isinstance(y, Tensor) and y.data.dtype.kind == "f"]
    if checked and outputs:
        with pydl.no_grad():  # the fused gradients; the composed ones are for second derivatives
            pydl.autograd.gradients(outputs, checked, [np.ones(y.shape, y.dtype) for y in outputs])


# What rows of optimizers are combined with in test_optimizers.py.
OPTIONS = [{}, {"clipnorm": 1.0}, {"clipvalue": 1.0}, {"global_clipnorm": 1.0}, {"weight_decay": 0.1},
           {"use_ema": True, "ema_overwrite_frequency": 2}, {"gradient_accumulation_steps": 2}]


def step_of(optimizer):
    weights = [pydl.Variable(np.ones(5, "float32"))]
    optimizer.build(weights)
    return lambda: optimizer.apply([pydl.ops.ones(5)], weights)


def kernels_of_rows() -> set[str]:
    reached = set()
    for case in cases_of(Case):
        if case.replay:
            reached |= launched_by(functools.partial(forward_and_backward, case, case.draw(0, "float32")))
    for case in cases_of(LayerCase):
        layer, inputs = case.built(), case.draw(0, "float32")
        reached |= launched_by(functools.partial(layer_gradients, layer, inputs, training=True))
    for row in importlib.import_module("cases.optimizers").ROWS:
        for options in OPTIONS:
            reached |= launched_by(step_of(row.cls(**{**row.options, **options})))
    return reached


def test_every_kernel_is_reached():
    inventory = {n for n in dir(_core.kernels) if not n.startswith("_")}
    reached = kernels_of_rows()
    assert reached <= inventory
    assert inventory - reached - set(BY_NAMED_TESTS) == set(), "kernels that no row launches"
    assert set(BY_NAMED_TESTS) - inventory == set() == set(BY_NAMED_TESTS) & reached, "the list of exceptions is stale"
    for test in BY_NAMED_TESTS.values():
        path, name = test.split("::")
        assert f"def {name}(" in (TESTS / path).read_text(), f"{test} is gone"
