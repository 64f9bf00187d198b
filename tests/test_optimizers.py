"""Optimizers: every rule against its transcription (tests/cases/optimizers.py) over 50 steps, and what surrounds it."""

import inspect
import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import pydl
from cases.optimizers import ROWS
from pydl import constraints, optimizers, regularizers
from pydl.ops import optimizer as launch
from pydl.optimizers import schedules
from pydl.tensor import Variable, from_numpy

STEPS = 50
SHAPES = [(7, 5), (5,), (3, 2, 4), (1,), (40, 30)]  # whole registers, rests, one element
RATE = 0.05


def draw(seed, dtype="float32", shapes=SHAPES):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=s).astype(dtype) for s in shapes]
    grads = [[rng.normal(size=s).astype(dtype) for s in shapes] for _ in range(STEPS)]
    return weights, grads


def variables_of(weights):
    return [Variable(w, dtype=w.dtype.name, name=f"w{i}") for i, w in enumerate(weights)]


def train(optimizer, weights, grads, recorded=False):
    """Applies the gradients; returns the weights after each step."""
    variables = variables_of(weights)
    optimizer.build(variables)

    def step(*gs):
        optimizer.apply(gs, variables)

    run = pydl.function(step) if recorded else step
    history = []
    for gs in grads:
        run(*[from_numpy(g) for g in gs])
        history.append([v.data.copy() for v in variables])
    return history


def expected(row, weights, grads, rate=RATE, prepare=lambda gs, step: gs, decay=0.0):
    """The same by the row's rule in float64."""
    weights = [w.astype("float64") for w in weights]
    rules = [row.rule(w, **row.options) for w in weights]
    for rule in rules:
        next(rule)
    if decay:  # the rules know no decay: their weights are moved between the steps
        raise AssertionError("use SGD without momentum for decay")
    history = []
    for k, gs in enumerate(grads):
        gs = prepare([g.astype("float64") for g in gs], k)
        if gs is not None:
            weights = [rule.send((g, rate)) for rule, g in zip(rules, gs)]
        history.append(weights)
    return history


def assert_close(history, reference, dtype="float32", factor=300):
    """Errors of `factor` eps of a weight or of 1, the size of what was added to it: 50 steps of a handful of roundings
    each, amplified by the divisions by small roots of the first steps."""
    eps = np.finfo(dtype).eps
    for got, want in zip(history, reference):
        for a, b in zip(got, want):
            assert a.dtype == dtype
            np.testing.assert_allclose(a, b, rtol=factor * eps, atol=factor * eps)


def make(row, **more):
    extra = {"weight_decay": 0.0} if row.name == "AdamW" else {}
    return row.cls(learning_rate=RATE, **row.options, **extra, **more)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_rule(row, dtype):
    weights, grads = draw(1, dtype)
    pydl_floatx = pydl.config.floatx()
    try:
        pydl.config.set_floatx(dtype)  # the learning rate is a variable of floatx
        history = train(make(row), weights, grads)
    finally:
        pydl.config.set_floatx(pydl_floatx)
    assert_close(history, expected(row, weights, grads), dtype)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_replay_equals_eager(row):
    weights, grads = draw(2)
    options = {"global_clipnorm": 3.0, "weight_decay": 0.01, "use_ema": True, "ema_overwrite_frequency": 3,
               "gradient_accumulation_steps": 2}

    def build():
        return row.cls(learning_rate=RATE, **row.options, **options)

    for a, b in zip(train(build(), weights, grads), train(build(), weights, grads, recorded=True)):
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_threads(row):
    weights, grads = draw(3, shapes=[(300, 200), (11,), (70000,)])
    grads = grads[:3]
    before = pydl.config.threads()
    try:
        results = []
        for threads in (1, 2):
            pydl.config.set_threads(threads)
            results.append(train(make(row, global_clipnorm=0.7), weights, grads)[-1])
    finally:
        pydl.config.set_threads(before)
    for one, two in zip(*results):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_config_round_trip(row):
    first = row.cls(learning_rate=0.25, **row.options, clipnorm=1.5, use_ema=True, name="mine")
    second = optimizers.deserialize(optimizers.serialize(first))
    assert type(second) is row.cls
    assert second.get_config() == first.get_config()
    assert type(optimizers.get(row.name.lower())) is row.cls


SGD = ROWS[0]


def clip_by_norm(gs, limit):
    return [g * min(1, limit / np.linalg.norm(g)) for g in gs]


def test_clipnorm():
    weights, grads = draw(4)
    want = expected(SGD, weights, grads, prepare=lambda gs, _: clip_by_norm(gs, 1.3))
    assert_close(train(make(SGD, clipnorm=1.3), weights, grads), want)


def test_global_clipnorm():
    weights, grads = draw(5)

    def prepare(gs, _):
        norm = np.sqrt(sum(np.sum(g**2) for g in gs))
        return [g * min(1, 2.5 / norm) for g in gs]

    assert_close(train(make(SGD, global_clipnorm=2.5), weights, grads), expected(SGD, weights, grads, prepare=prepare))
    # Below the limit nothing changes, not one bit.
    for a, b in zip(train(make(SGD, global_clipnorm=1e9), weights, grads), train(make(SGD), weights, grads)):
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)


def test_clipvalue():
    weights, grads = draw(6)
    want = expected(SGD, weights, grads, prepare=lambda gs, _: [np.clip(g, -0.4, 0.4) for g in gs])
    assert_close(train(make(SGD, clipvalue=0.4), weights, grads), want)


def test_nan_gradients_are_not_hidden():
    weights, grads = draw(7)
    grads[0][0][2, 3] = np.nan
    for option in ({}, {"clipvalue": 1.0}, {"clipnorm": 1.0}, {"global_clipnorm": 1.0}):
        after = train(make(SGD, **option), weights, grads[:1])[0]
        assert np.isnan(after[0][2, 3]), option
        assert np.isfinite(after[1]).all() == ("global_clipnorm" not in option), option


def test_weight_decay_and_exclusion():
    weights, grads = draw(8)
    variables = variables_of(weights)
    optimizer = make(SGD, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[variables[0]], var_names=["w3"])
    optimizer.apply([from_numpy(g) for g in grads[0]], variables)
    for i, (v, w, g) in enumerate(zip(variables, weights, grads[0])):
        keep = 1 if i in (0, 3) else 1 - 0.1 * RATE
        np.testing.assert_allclose(v.data, w * keep - RATE * g, rtol=1e-5, atol=1e-6)


def test_gradient_accumulation():
    weights, grads = draw(9)
    for row in (SGD, ROWS[7], ROWS[13]):  # Adam and Nadam count updates, not calls
        want = expected(row, weights, grads,
                        prepare=lambda gs, k: None if k % 3 != 2 else [sum(x) / 3 for x in zip(*grads[k - 2:k + 1])])
        assert_close(train(make(row, gradient_accumulation_steps=3), weights, grads), want)


def test_accumulators_are_zero_after_an_update():
    weights, grads = draw(9)
    optimizer = make(SGD, gradient_accumulation_steps=2)
    train(optimizer, weights, grads[:2])
    assert all((v.data == 0).all() for v in optimizer.variables if "accumulator" in v.name)


def test_loss_scale():
    weights, grads = draw(10)
    scaled = [[g * 64 for g in gs] for gs in grads]
    halves = train(make(ROWS[7], loss_scale_factor=64.0), weights, scaled), train(make(ROWS[7]), weights, grads)
    for a, b in zip(*halves):
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)


def test_moving_average():
    weights, grads = draw(11)
    optimizer = make(SGD, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=4)
    history = train(optimizer, weights, grads[:10])
    w, average = [x.astype("float64") for x in weights], None
    for k, gs in enumerate(grads[:10]):
        w = [x - RATE * g for x, g in zip(w, gs)]
        average = [x.copy() for x in w] if k == 0 else [0.9 * a + 0.1 * x for a, x in zip(average, w)]
        if k % 4 == 3:
            w = average
        assert_close([history[k]], [w])


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_rate_of_zero_moves_nothing(row):
    """The last step of a cosine: no rule may divide by its rate. What a momentum of the weights' own holds goes on."""
    weights, grads = draw(17)
    optimizer = make(row)
    variables = variables_of(weights)
    optimizer.build(variables)
    for g in grads[:2]:
        optimizer.apply([from_numpy(a) for a in g], variables)
    before = [np.array(v.numpy()) for v in variables]
    optimizer.learning_rate = 0.0
    optimizer.apply([from_numpy(a) for a in grads[2]], variables)
    if not row.options.get("momentum"):
        for was, v in zip(before, variables):
            np.testing.assert_array_equal(v.numpy(), was)
    optimizer.learning_rate = RATE
    optimizer.apply([from_numpy(a) for a in grads[3]], variables)
    assert all(np.isfinite(v.numpy()).all() for v in variables)


def test_iterations_and_learning_rate():
    weights, grads = draw(12)
    optimizer = make(SGD)
    variables = variables_of(weights)
    step = pydl.function(lambda *gs: optimizer.apply(gs, variables))
    step(*[from_numpy(g) for g in grads[0]])
    before = [v.data.copy() for v in variables]
    optimizer.learning_rate = 0.5  # a replay sees it
    step(*[from_numpy(g) for g in grads[1]])
    assert len(step.captures) == 1
    assert int(optimizer.iterations.data) == 2
    for v, w, g in zip(variables, before, grads[1]):
        np.testing.assert_allclose(v.data, w - np.float32(0.5) * g, rtol=1e-6, atol=1e-6)


def test_missing_gradients():
    weights, grads = draw(13)
    variables = variables_of(weights)
    optimizer = make(SGD)
    with pytest.raises(ValueError, match="No gradients provided for any variable"):
        optimizer.apply([None] * len(variables), variables)
    gs = [from_numpy(g) for g in grads[0]]
    gs[1] = None
    with pytest.warns(UserWarning, match=r"Gradients do not exist for variables \['w1'\]"):
        optimizer.apply(gs, variables)
    np.testing.assert_array_equal(variables[1].data, weights[1])
    assert (variables[0].data != weights[0]).any()
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply(gs[:1], [Variable(weights[0])])
    with pytest.raises(ValueError, match="expected a gradient of shape"):
        optimizer.apply([from_numpy(grads[0][1])], variables[:1])


@pytest.mark.parametrize("wrong", [
    {"learning_rate": 1}, {"learning_rate": "fast"}, {"clipnorm": 1.0, "clipvalue": 1.0}, {"momentum": 2.0},
    {"gradient_accumulation_steps": 1}, {"ema_momentum": 1.5, "use_ema": True},
    {"ema_overwrite_frequency": 0.5, "use_ema": True}, {"colour": "red"}, {"gradient_accumulation_steps": "2"},
    {"gradient_accumulation_steps": 2.5}, {"loss_scale_factor": 0.0}, {"ema_momentum": "a"},
    *[{name: value} for name in ("learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm",
                                 "loss_scale_factor") for value in ("a", [0.1], np.nan)],
])
def test_constructor_refuses(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong)) if "colour" not in wrong else "not recognized"):
        optimizers.SGD(**wrong)


def test_averages_that_no_step_has_made_touch_no_weight():
    """They begin as zeros."""
    x, y = np.ones((7, 5), "float32"), np.zeros((7, 1), "float32")
    model = pydl.Sequential([pydl.Input((5,)), pydl.layers.Dense(1, bias_initializer="ones")])
    for build in (False, True):
        model.compile(optimizers.SGD(0.1, use_ema=True), "mse")
        if build:
            model.optimizer.build(model.trainable_variables)
        before, loss = model.get_weights(), model.evaluate(x, y, verbose=0)
        model.fit(x, y, epochs=2, initial_epoch=2, verbose=0)
        model.optimizer.finalize_variable_values(model.trainable_variables)
        if build:
            assert model.evaluate(x, y, verbose=0, callbacks=[pydl.callbacks.SwapEMAWeights()]) == loss
        for a, b in zip(model.get_weights(), before):
            np.testing.assert_array_equal(a, b)


def test_variables_and_files():
    weights, grads = draw(14)
    first = optimizers.Adam(name="adam")
    train(first, weights, grads[:5])
    names = [v.path for v in first.variables]
    assert names[:4] == ["adam/iteration", "adam/learning_rate", "adam/w0_momentum", "adam/w0_velocity"]
    store = {}
    first.save_own_variables(store)
    second = optimizers.Adam()
    second.build(variables_of(weights))
    second.load_own_variables(store)
    for a, b in zip(first.variables, second.variables):
        np.testing.assert_array_equal(a.data, b.data)
    with pytest.warns(UserWarning, match="Skipping variable loading"):
        optimizers.SGD().load_own_variables(store)


class Momentum(optimizers.Optimizer):
    """As a Keras user writes one."""

    def __init__(self, learning_rate=RATE, momentum=0.9, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.velocities = [self.add_variable_from_reference(v, name="velocity") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        v = self.velocities[self._get_variable_index(variable)]
        self.assign(v, pydl.ops.subtract(pydl.ops.multiply(v, self.momentum), gradient * learning_rate))
        self.assign_add(variable, v)


class Halved(optimizers.Adam):
    """A subclass of a fused method that calls it."""

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient * 0.5, variable, learning_rate)


@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 2.0, "weight_decay": 0.02},
                                     {"gradient_accumulation_steps": 3, "clipvalue": 0.2, "use_ema": True}], ids=str)
def test_custom_optimizer(recorded, options):
    weights, grads = draw(15)
    got = train(Momentum(**options), weights, grads, recorded)
    want = train(optimizers.SGD(RATE, momentum=0.9, **options), weights, grads)
    assert_close(got, want)
    halves = [[g * np.float32(0.5) for g in gs] for gs in grads]
    for a, b in zip(train(Halved(RATE), weights, grads, recorded), train(optimizers.Adam(RATE), weights, halves)):
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)


def test_constraint_is_applied_after_the_update():
    v = Variable(np.ones(4, "float32"), constraint=constraints.NonNeg())
    optimizers.SGD(1.0).apply([from_numpy(np.array([0.5, 2, -1, 1], "float32"))], [v])
    np.testing.assert_array_equal(v.data, [0.5, 0, 2, 0])


@pytest.mark.parametrize("room, obj, names", [
    (regularizers, regularizers.L1(0.3), ["l1", "L1"]), (regularizers, regularizers.L2(0.3), ["l2", "L2"]),
    (regularizers, regularizers.L1L2(0.3, 0.2), ["l1_l2", "L1L2"]),
    (regularizers, regularizers.OrthogonalRegularizer(0.3, "columns"), ["orthogonal_regularizer"]),
    (constraints, constraints.MaxNorm(3, axis=1), ["max_norm", "MaxNorm"]),
    (constraints, constraints.NonNeg(), ["non_neg"]), (constraints, constraints.UnitNorm(axis=1), ["unit_norm"]),
    (constraints, constraints.MinMaxNorm(0.5, 2.0, 0.9), ["min_max_norm"]),
], ids=lambda x: type(x).__name__)
def test_regularizers_and_constraints_by_name(room, obj, names):
    copy = room.deserialize(room.serialize(obj))
    assert type(copy) is type(obj) and copy.get_config() == obj.get_config()
    assert all(type(room.get(name)) is type(obj) for name in names)
    assert room.get(obj) is obj and room.get(None) is None
    with pytest.raises(ValueError, match="Could not interpret"):
        room.get("no such thing")


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), "strong"])
def test_regularizer_refuses(bad):
    with pytest.raises(ValueError, match="non-negative float"):
        regularizers.L2(bad)


# ------------------------------------------------------------------------------------------- schedules


def schedule_rows():
    s = schedules
    return [
        (s.ExponentialDecay(0.1, 7, 0.5), lambda k: 0.1 * 0.5 ** (k / 7)),
        (s.ExponentialDecay(0.1, 7, 0.5, staircase=True), lambda k: 0.1 * 0.5 ** (k // 7)),
        (s.InverseTimeDecay(0.1, 7, 0.5), lambda k: 0.1 / (1 + 0.5 * k / 7)),
        (s.InverseTimeDecay(0.1, 7, 0.5, staircase=True), lambda k: 0.1 / (1 + 0.5 * (k // 7))),
        (s.PiecewiseConstantDecay([5, 9], [0.3, 0.2, 0.1]), lambda k: 0.3 if k <= 5 else 0.2 if k <= 9 else 0.1),
        (s.PolynomialDecay(0.1, 20, 0.01, power=2.0), lambda k: 0.09 * (1 - min(k, 20) / 20) ** 2 + 0.01),
        (s.PolynomialDecay(0.1, 8, 0.01, cycle=True), lambda k: 0.09 * (1 - k / (8 * max(1, -(-k // 8)))) + 0.01),
        (s.CosineDecay(0.1, 20, alpha=0.1),
         lambda k: 0.1 * (0.9 * 0.5 * (1 + np.cos(np.pi * min(k, 20) / 20)) + 0.1)),
        (s.CosineDecay(0.01, 20, warmup_target=0.1, warmup_steps=5),
         lambda k: 0.01 + 0.09 * k / 5 if k < 5 else 0.1 * 0.5 * (1 + np.cos(np.pi * min(k - 5, 20) / 20))),
        (s.CosineDecayRestarts(0.1, 6, t_mul=1.0, m_mul=0.5, alpha=0.1),
         lambda k: 0.1 * (0.9 * 0.5 * 0.5 ** (k // 6) * (1 + np.cos(np.pi * (k % 6) / 6)) + 0.1)),
        (s.CosineDecayRestarts(0.1, 5, t_mul=2.0, m_mul=0.8), restarts),
    ]


def restarts(k, length=5, height=0.1):
    while k >= length:
        k, length, height = k - length, length * 2, height * 0.8
    return height * 0.5 * (1 + np.cos(np.pi * k / length))


def starts_of(length, factor, count):
    """The steps at which periods begin: whole numbers in exact arithmetic."""
    start, length = Fraction(0), Fraction(length)
    for _ in range(count):
        yield math.ceil(start)
        start, length = start + length, length * Fraction(factor)


@pytest.mark.parametrize("length, factor, count", [(10, 2, 18), (7, 3, 12), (100, "3/2", 20), (13, "11/10", 60),
                                                   (10, 1, 40), (1000, 2, 12)])
def test_restarts_begin_with_their_step(length, factor, count):
    """A period's first step has the full rate, the one before it next to none."""
    schedule = schedules.CosineDecayRestarts(1.0, length, t_mul=float(Fraction(factor)))
    for start in starts_of(length, factor, count):
        assert float(schedule(np.int64(start))) > 0.5, start
        assert start == 0 or float(schedule(np.int64(start - 1))) < 0.5, start


@pytest.mark.parametrize("steps", [3, 7, 10, 49, 100, 1000, 12345])
def test_stairs_and_cycles_begin_with_their_step(steps):
    stairs = [(schedules.ExponentialDecay(1.0, steps, 0.999, staircase=True), lambda k: 0.999**k),
              (schedules.InverseTimeDecay(1.0, steps, 0.01, staircase=True), lambda k: 1 / (1 + 0.01 * k))]
    cycle = schedules.PolynomialDecay(1.0, steps, 0.1, cycle=True)
    for period in (0, 1, 2, 3, 5, 41, 2989, 2990, 3001, 2**24 // steps + 1, 10**8 // steps):
        for step in range(max(period * steps - 1, 0), period * steps + 2):
            for schedule, formula in stairs:
                np.testing.assert_allclose(float(schedule(np.int64(step))), formula(step // steps), rtol=1e-6,
                                           atol=1e-44)
            periods = max(-(-step // steps), 1)
            want = 0.9 * (1 - step / (periods * steps)) + 0.1
            np.testing.assert_allclose(float(cycle(np.int64(step))), want, rtol=1e-6)


def test_steps_beyond_float32_are_told_apart():
    late = schedules.PiecewiseConstantDecay([2**24, 2**24 + 1, 2**40], [1.0, 2.0, 3.0, 4.0])
    steps = (2**24, 2**24 + 1, 2**24 + 2, 2**31, 2**40, 2**40 + 1)
    assert [float(late(np.int64(step))) for step in steps] == [1, 2, 3, 3, 3, 4]
    assert float(late(np.int32(2**24 + 2))) == 3
    warm = schedules.CosineDecay(0.0, 10, warmup_target=1.0, warmup_steps=2**24)
    assert float(warm(np.int64(2**24 + 5))) == 0.5 and schedules.CosineDecay(0.1, 10)(np.int64(3)).dtype == "float32"


@pytest.mark.parametrize("schedule, formula", schedule_rows(), ids=lambda x: type(x).__name__)
def test_schedule(schedule, formula):
    copy = schedules.deserialize(schedules.serialize(schedule))
    assert copy.get_config() == schedule.get_config()
    weights, grads = draw(16)
    optimizer = optimizers.SGD(copy)
    variables = variables_of(weights)
    step = pydl.function(lambda *gs: optimizer.apply(gs, variables))
    for k in range(30):
        np.testing.assert_allclose(float(optimizer.learning_rate), formula(k), rtol=2e-5, atol=1e-7)
        before = variables[0].data.copy()
        step(*[from_numpy(g) for g in grads[k]])
        np.testing.assert_allclose(variables[0].data, before - formula(k) * grads[k][0], rtol=1e-4, atol=1e-5)
    assert len(step.captures) == 1
    again = optimizers.deserialize(optimizers.serialize(optimizer))
    assert again._learning_rate.get_config() == schedule.get_config()
    with pytest.raises(TypeError, match="not settable"):
        optimizer.learning_rate = 0.5


def test_callable_learning_rate():
    weights, grads = draw(17)
    rates = iter([0.5, 0.25])
    optimizer = optimizers.SGD(lambda: next(rates))
    history = train(optimizer, weights, grads[:2])
    np.testing.assert_allclose(history[1][0], weights[0] - 0.5 * grads[0][0] - 0.25 * grads[1][0], atol=1e-5)
    with pytest.raises(pydl.RecordingError, match="LearningRateSchedule"):
        train(optimizers.SGD(lambda: 0.1), weights, grads[:1], recorded=True)


# ------------------------------------------------------------------------------------ norms and checks


def test_global_norm_and_all_finite():
    rng = np.random.default_rng(18)
    arrays = [rng.normal(size=s).astype("float32") for s in [(200, 300), (5,), (40000,)]]
    tensors = [from_numpy(a) for a in arrays]
    want = np.sqrt(sum(np.sum(a.astype("float64") ** 2) for a in arrays))
    np.testing.assert_allclose(float(launch.global_norm(tensors)), want, rtol=1e-6)
    assert bool(launch.all_finite(tensors))
    for bad in (np.nan, np.inf, -np.inf):
        for array, at in zip(arrays, (59999, 4, 17000)):
            before = array.flat[at]
            array.flat[at] = bad
            assert not bool(launch.all_finite(tensors))
            array.flat[at] = before


def test_blocks_of_reductions_are_those_of_the_kernels():
    """With a smaller block Python would make more partial sums than kernels fill, with a larger one too few."""
    header = Path(__file__).resolve().parent.parent / "csrc" / "kernels" / "multi_tensor.h"
    assert re.search(r"update_grain = (\d+);", header.read_text(encoding="utf-8"))[1] == str(launch._BLOCK)


@pytest.mark.parametrize(("method", "state"), [
    (optimizers.SGD(), []),
    (optimizers.SGD(momentum=0.9), ["a_momentum", "b_momentum"]),
    (optimizers.Adam(amsgrad=True),
     ["a_momentum", "a_velocity", "b_momentum", "b_velocity", "a_velocity_hat", "b_velocity_hat"]),
    (optimizers.RMSprop(momentum=0.9, centered=True),
     ["a_velocity", "b_velocity", "a_momentum", "b_momentum", "a_average_gradient", "b_average_gradient"]),
    (optimizers.Ftrl(), ["a_accumulator", "a_linear", "b_accumulator", "b_linear"]),
], ids=lambda value: value.__class__.__name__ if isinstance(value, optimizers.Optimizer) else str(len(value)))
def test_state_in_the_order_of_files(method, state):
    method.build([Variable(np.zeros(2, "float32"), name=name) for name in "ab"])
    assert [v.name for v in method.variables[2:]] == state


def test_rule_states_every_number_of_the_signature():
    shared = set(inspect.signature(optimizers.Optimizer).parameters)
    for cls in (getattr(optimizers, name) for name in optimizers.__all__):
        if isinstance(cls, type) and cls is not optimizers.Optimizer:
            own = [name for name in inspect.signature(cls).parameters if name not in shared]
            assert own == list(cls.rule.numbers), cls.__name__
            assert own == [name for name in cls().get_config() if name not in shared], cls.__name__


@pytest.mark.parametrize(("method", "flag"), [(optimizers.Adam, "amsgrad"), (optimizers.AdamW, "amsgrad"),
                                              (optimizers.RMSprop, "centered"), (optimizers.SGD, "nesterov")])
@pytest.mark.parametrize("value", [np.bool_(True), True, 1, np.bool_(False), None])
def test_flags(method, flag, value):
    steps = []
    for given in (value, bool(value)):
        optimizer, variable = method(**{flag: given}), Variable(np.ones(3, "float32"))
        for gradient in (1.0, 0.5):
            optimizer.apply([from_numpy(np.full(3, gradient, "float32"))], [variable])
        steps.append(variable.numpy())
        assert optimizer.get_config()[flag] is bool(value)
    np.testing.assert_array_equal(*steps)
    assert np.all(steps[0] < 1)


def test_every_flag_is_stated():
    for cls in (getattr(optimizers, name) for name in optimizers.__all__):
        if isinstance(cls, type) and cls is not optimizers.Optimizer:
            defaults = {name: p.default for name, p in inspect.signature(cls).parameters.items()}
            assert [name for name in cls.rule.numbers if isinstance(defaults[name], bool)] == list(cls.rule.flags)


def test_a_number_that_is_none():
    with pytest.raises(ValueError, match="`momentum` must be a number. Received: momentum=None"):
        optimizers.RMSprop(momentum=None)


class Own(optimizers.Optimizer):
    def __init__(self, **kwargs):
        super().__init__(0.1, **kwargs)


@pytest.mark.parametrize("method", [optimizers.SGD, optimizers.Adam, optimizers.AdamW,
                                    type("Mine", (optimizers.Adam,), {}), Own])
def test_the_warning_of_decay_points_here(method):
    with pytest.warns(UserWarning, match="`decay` is no longer supported") as seen:
        method(decay=0.1)
    assert seen[0].filename == __file__
