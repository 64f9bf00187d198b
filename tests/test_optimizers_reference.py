"""Optimizers, schedules, regularizers and constraints against Keras 3 itself, where it is installed."""

import inspect
import os

import numpy as np
import pytest
from test_optimizers import draw, schedule_rows

import pydl
from cases.optimizers import ROWS
from pydl import constraints, optimizers, regularizers
from pydl.optimizers import schedules
from pydl.tensor import Variable, from_numpy

pytestmark = pytest.mark.reference
os.environ.setdefault("KERAS_BACKEND", "torch")  # eager: no compilation per test
keras = pytest.importorskip("keras")

OPTIONS = [{}, {"clipnorm": 1.0, "weight_decay": 0.02}, {"global_clipnorm": 2.0, "use_ema": True, "ema_momentum": 0.9,
                                                        "ema_overwrite_frequency": 4},
           {"clipvalue": 0.3, "gradient_accumulation_steps": 3, "loss_scale_factor": 2.0}]


def run(module, row, options, weights, grads):
    optimizer = getattr(module.optimizers, row.name)(learning_rate=0.05, **row.options, **options)
    variables = [module.Variable(w, name=f"w{i}") for i, w in enumerate(weights)]
    history = []
    for gs in grads:
        optimizer.apply([module.ops.convert_to_tensor(g) for g in gs], variables)
        history.append([module.ops.convert_to_numpy(v) for v in variables])
    return optimizer, history


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "plain")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_equals_keras(row, options):
    weights, grads = draw(21, shapes=[(7, 5), (5,)])
    ours, got = run(pydl, row, options, weights, grads)
    theirs, want = run(keras, row, options, weights, grads)
    assert [v.shape for v in ours.variables] == [tuple(v.shape) for v in theirs.variables]
    assert [v.name for v in ours.variables][:3] == [v.name for v in theirs.variables][:3]
    # Keras computes 1 - beta^t in float32, whose relative error is 1e-5 in the first steps.
    for a, b in zip(got, want):
        for x, y in zip(a, b):
            np.testing.assert_allclose(x, y, rtol=2e-4, atol=2e-4 if row.name != "Lion" else 1e-3)
    mine = {k: v for k, v in ours.get_config().items() if k != "name"}
    assert mine == {k: v for k, v in theirs.get_config().items() if k != "name"}
    for a, b in zip(ours.variables[2:], theirs.variables[2:]):
        np.testing.assert_allclose(np.array(a), keras.ops.convert_to_numpy(b), rtol=2e-3, atol=2e-4, err_msg=a.name)


@pytest.mark.parametrize("name", sorted({row.name for row in ROWS}))
def test_constructor_equals_keras(name):
    ours = inspect.signature(getattr(optimizers, name)).parameters
    theirs = inspect.signature(getattr(keras.optimizers, name)).parameters
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


@pytest.mark.parametrize("schedule", [s for s, _ in schedule_rows()], ids=lambda s: type(s).__name__)
def test_schedule_equals_keras(schedule):
    theirs = getattr(keras.optimizers.schedules, type(schedule).__name__)(**schedule.get_config())
    assert schedule.get_config() == theirs.get_config()
    for step in range(40):
        np.testing.assert_allclose(float(schedule(step)), float(theirs(step)), rtol=2e-5, atol=1e-7)
    plain = schedules.serialize(schedule)
    assert plain == keras.optimizers.schedules.serialize(theirs)


@pytest.mark.parametrize("name, options", [
    ("L1", {"l1": 0.2}), ("L2", {"l2": 0.2}), ("L1L2", {"l1": 0.1, "l2": 0.2}),
    ("OrthogonalRegularizer", {"factor": 0.3, "mode": "rows"}),
    ("OrthogonalRegularizer", {"factor": 0.3, "mode": "columns"})])
def test_regularizer_equals_keras(name, options):
    x = np.random.default_rng(22).normal(size=(5, 4)).astype("float32")
    ours, theirs = getattr(regularizers, name)(**options), getattr(keras.regularizers, name)(**options)
    np.testing.assert_allclose(float(ours(from_numpy(x))), float(theirs(keras.ops.convert_to_tensor(x))), rtol=1e-5)


@pytest.mark.parametrize("name, options", [
    ("MaxNorm", {"max_value": 1.0}), ("NonNeg", {}), ("UnitNorm", {"axis": 1}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.0, "rate": 0.7})])
def test_constraint_equals_keras(name, options):
    x = np.random.default_rng(23).normal(size=(5, 4)).astype("float32")
    ours, theirs = getattr(constraints, name)(**options), getattr(keras.constraints, name)(**options)
    np.testing.assert_allclose(np.array(ours(Variable(x))), keras.ops.convert_to_numpy(theirs(x)), rtol=1e-5, atol=1e-7)
    assert constraints.serialize(ours) == keras.constraints.serialize(theirs)
