"""The perceptron: the path of its line against plain Python loops with the same random choices, its surroundings."""

import math
import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from pydl.estimators import Path, Perceptron, PerceptronRegressor

LOSSES = ["perceptron", "hinge", "log", "softmax", "squared"]


def points(classes=2, features=2, count=40, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    x = spread * rng.normal(size=(count, features))
    x[np.arange(count), y % features] += 2.0 + y // features
    return x, y


def pull(loss, solver, z, y):
    """(g of each unit, loss) of one point with outputs z."""
    if loss == "softmax":
        p = [math.exp(v - max(z)) for v in z]
        p = [v / sum(p) for v in p]
        return [(k == y) - v for k, v in enumerate(p)], -math.log(p[y])
    g, total = [], 0.0
    for k, v in enumerate(z):
        mine = y == (k if len(z) > 1 else 1)
        t = 1 if mine else -1
        if loss == "number":
            g.append(y - v)
            total += (y - v) ** 2 / 2
        elif loss == "perceptron":
            g.append(float(mine) - float(v > 0) if solver == "rule" else t * float(t * v <= 0))
            total += max(0, -t * v)
        elif loss == "hinge":
            g.append(t * float(t * v < 1))
            total += max(0, 1 - t * v)
        elif loss == "log":
            g.append(mine - 1 / (1 + math.exp(-v)))
            total += math.log(1 + math.exp(-t * v))
        else:
            g.append(t - v)
            total += (t - v) ** 2 / 2
    return g, total


def walked(loss, solver, x, y, units, eta, rng, passes, batch=1, weights=None, coef=None, intercept=None):
    """([(step, coef, intercept)] of every change, [mean loss per pass]): plain loops, float64."""
    m, n = x.shape
    w = [[0.0] * n for _ in range(units)] if coef is None else [list(row) for row in coef]
    b = [0.0] * units if intercept is None else list(intercept)
    weights = [1.0] * m if weights is None else list(weights)
    batch = m if solver == "batch" else batch if solver == "mini-batch" else 1
    if batch > 1:
        weights = [v * m / sum(weights) for v in weights]
    changes, curve, step = [(0, np.array(w), np.array(b))], [], 0
    for _ in range(passes):
        if solver in ("trick", "rule"):
            order = rng.randint(0, m, size=m, dtype=np.int32)
        else:
            order = range(m) if solver == "batch" else rng.permutation(m)
        total = 0.0
        for start in range(0, m, batch):
            chosen = order[start:start + batch]
            moves = []
            for i in chosen:
                z = [sum(x[i, j] * w[k][j] for j in range(n)) + b[k] for k in range(units)]
                g, loss_of_one = pull(loss, solver, z, y[i])
                total += weights[i] * loss_of_one
                moves.append((i, [weights[i] * v for v in g]))
            step += 1
            for k in range(units):
                for j in range(n):
                    w[k][j] += eta / len(chosen) * sum(g[k] * x[i, j] for i, g in moves)
                b[k] += eta / len(chosen) * sum(g[k] for _, g in moves)
            if any(v for _, g in moves for v in g):
                changes.append((step, np.array(w), np.array(b)))
        curve.append(total / sum(weights))
    return changes, curve


def assert_path(unit, changes, curve):
    steps, coef, intercept = zip(*changes)
    assert isinstance(unit.path_, Path)
    np.testing.assert_array_equal(unit.path_.step, steps)
    np.testing.assert_allclose(unit.path_.coef, coef, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(unit.path_.intercept, intercept, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(unit.loss_curve_, curve, rtol=1e-10)
    np.testing.assert_allclose(np.atleast_2d(unit.coef_), coef[-1], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(unit.intercept_, intercept[-1], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("classes, features", [(2, 2), (3, 2), (3, 11)])
@pytest.mark.parametrize("solver", ["trick", "rule", "stochastic", "mini-batch", "batch"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_update_is_that_of_a_plain_loop(loss, solver, classes, features):
    if (loss, solver) == ("hinge", "rule"):
        pytest.skip("refused")
    x, y = points(classes, features)
    unit = Perceptron(loss, solver=solver, eta0=0.05, max_iter=4, tol=None, batch_size=7, record_path=True,
                      random_state=3).fit(x, y)
    units = 1 if classes == 2 and loss != "softmax" else classes
    changes, curve = walked(loss, solver, x, y, units, 0.05, np.random.RandomState(3), 4, batch=7)
    assert len(changes) > 3
    assert_path(unit, changes, curve)
    assert unit.t_ == 4 * {"mini-batch": 6, "batch": 1}.get(solver, 40) and unit.n_iter_ == 4


@pytest.mark.parametrize("solver", ["trick", "rule", "stochastic", "mini-batch", "batch"])
def test_regressor_is_a_plain_loop(solver):
    x, _ = points(features=3)
    y = x @ [1.0, -2.0, 0.5] + 3
    unit = PerceptronRegressor(solver=solver, eta0=0.02, max_iter=4, tol=None, batch_size=7, record_path=True,
                               random_state=3).fit(x, y)
    assert_path(unit, *walked("number", solver, x, y, 1, 0.02, np.random.RandomState(3), 4, batch=7))


@pytest.mark.parametrize("solver", ["trick", "mini-batch", "batch"])
def test_weights_sparse_points_and_start(solver):
    x, y = points(3)
    x[np.abs(x) < 0.5] = 0
    rng = np.random.RandomState(5)
    given = np.random.default_rng(1).integers(0, 3, len(x)).astype(float)
    by_class = {0: 2.0, 1: 0.5, 2: 1.0}
    coef, intercept = np.ones((3, 2)), np.array([1.0, 0.0, -1.0])
    for form in (x, sparse.csr_matrix(x), sparse.csc_array(x)):
        unit = Perceptron("log", solver=solver, eta0=0.05, max_iter=3, tol=None, batch_size=7, record_path=True,
                          class_weight=by_class, random_state=5)
        unit.fit(form, y, coef, intercept, sample_weight=given)
        rng.seed(5)
        changes, curve = walked("log", solver, x, y, 3, 0.05, rng, 3, 7, given * [by_class[k] for k in y], coef,
                                intercept)
        assert_path(unit, changes, curve)
        np.testing.assert_allclose(unit.decision_function(form), x @ unit.coef_.T + unit.intercept_)
    x, y = x[:20], y[:20]
    balanced = Perceptron("log", solver=solver, class_weight="balanced", max_iter=5, tol=None, random_state=0).fit(x, y)
    same = Perceptron("log", solver=solver, max_iter=5, tol=None, random_state=0)
    same.fit(x, y, sample_weight=(20 / 3 / np.bincount(y))[y])
    np.testing.assert_allclose(balanced.coef_, same.coef_, rtol=1e-12)


def test_callback_sees_every_move_and_stops():
    x, y = points()
    seen = []
    unit = Perceptron(solver="trick", eta0=0.1, max_iter=3, tol=None, record_path=True, random_state=0)
    unit.fit(x, y, callback=lambda *move: seen.append(move))
    assert len(seen) == len(unit.path_.step) - 1 > 5
    for (step, coef, intercept), *recorded in zip(seen, unit.path_.step[1:], unit.path_.coef[1:],
                                                  unit.path_.intercept[1:]):
        assert step == recorded[0]
        np.testing.assert_array_equal(coef, recorded[1])
        np.testing.assert_array_equal(intercept, recorded[2])
    silent = Perceptron(solver="trick", eta0=0.1, max_iter=3, tol=None, random_state=0).fit(x, y)
    np.testing.assert_array_equal(silent.coef_, unit.coef_)
    stopped = Perceptron(solver="trick", eta0=0.1, random_state=0).fit(x, y, callback=lambda step, *_: step >= 9)
    last = next(step for step, *_ in seen if step >= 9)
    assert stopped.t_ == last
    np.testing.assert_array_equal(stopped.coef_, unit.path_.coef[list(unit.path_.step).index(last)])


def test_long_paths_are_complete():
    """More changes than are kept between two visits to Python."""
    x, y = points(count=500)
    unit = Perceptron("log", eta0=0.1, max_iter=20, tol=None, record_path=True, random_state=0).fit(x, y)
    np.testing.assert_array_equal(unit.path_.step, np.arange(10001))
    np.testing.assert_array_equal(unit.path_.coef[-1], unit.coef_)


@pytest.mark.parametrize("solver", ["trick", "stochastic", "mini-batch"])
def test_going_on(solver):
    """Passes one by one, with partial_fit or warm_start, are the passes of one fit."""
    x, y = points(3)
    arguments = {"solver": solver, "eta0": 0.1, "tol": None, "random_state": 2, "record_path": True}
    whole = Perceptron("log", max_iter=4, **arguments).fit(x, y)
    parts = Perceptron("log", **arguments)
    for i in range(4):
        parts.partial_fit(x, y, classes=[0, 1, 2] if i == 0 else None)
    warm = Perceptron("log", max_iter=2, warm_start=True, **arguments).fit(x, y).fit(x, y)
    for other in (parts, warm):
        np.testing.assert_allclose(other.coef_, whole.coef_, rtol=1e-12)
        np.testing.assert_array_equal(other.path_.step, whole.path_.step)
        np.testing.assert_allclose(other.path_.coef, whole.path_.coef, rtol=1e-12)
        assert other.t_ == whole.t_ and len(other.loss_curve_) == 4
    unseen = Perceptron("log", **arguments).partial_fit(x[y < 2], y[y < 2], classes=[0, 1, 2])
    assert unseen.coef_.shape == (3, 2)
    again = pickle.loads(pickle.dumps(parts)).partial_fit(x, y)
    np.testing.assert_array_equal(again.coef_, parts.partial_fit(x, y).coef_)


def test_when_it_stops():
    x, y = points(spread=0.3)
    for solver in ("trick", "rule", "stochastic", "mini-batch", "batch"):
        unit = Perceptron(solver=solver, eta0=0.1, tol=None, random_state=0).fit(x, y)
        assert unit.score(x, y) == 1 and unit.n_iter_ < 1000, solver  # no point moves a line that separates
    assert Perceptron(solver="trick", max_steps=17, tol=None, random_state=0).fit(*points()).t_ == 17
    assert Perceptron("log", solver="mini-batch", batch_size=7, max_steps=9, tol=None).fit(*points()).t_ == 9
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        Perceptron("log", max_iter=2).fit(*points())
    slow = Perceptron("squared", solver="batch", eta0=1e-9).fit(*points())
    assert slow.n_iter_ == 6  # the first pass, and five that are not better by tol
    started = Perceptron(init="random", max_iter=1, tol=None, record_path=True, random_state=4).fit(x, y)
    rng = np.random.RandomState(4)
    np.testing.assert_array_equal(started.path_.coef[0], rng.normal(size=(1, 2)))
    np.testing.assert_array_equal(started.path_.intercept[0], rng.normal(size=1))
    flat = Perceptron("log", fit_intercept=False, max_iter=3, tol=None).fit(x, y)
    assert flat.intercept_ == 0 and flat.coef_.all()


def test_descent_arrives():
    """The minimum of the log loss has no gradient; that of the squared error is the one of least squares."""
    x, y = points(spread=1.5)
    unit = Perceptron("log", solver="batch", eta0=1.0, max_iter=5000, tol=None).fit(x, y)
    p = unit.predict_proba(x)
    np.testing.assert_allclose(p[:, 1], 1 / (1 + np.exp(-unit.decision_function(x))))
    assert np.abs((y - p[:, 1]) @ x).max() < 1e-6
    both = Perceptron("softmax", solver="batch", eta0=0.5, max_iter=5000, tol=None).fit(x, y)
    np.testing.assert_allclose(both.coef_[1] - both.coef_[0], unit.coef_[0], rtol=1e-6)
    np.testing.assert_allclose(both.predict_proba(x), p, atol=1e-7)
    target = x @ [1, 2] + np.random.default_rng(0).normal(size=len(x))
    line = PerceptronRegressor(solver="batch", max_iter=20000, tol=None).fit(x, target)
    found, *_ = np.linalg.lstsq(np.c_[x, np.ones(len(x))], target, rcond=None)
    np.testing.assert_allclose(np.append(line.coef_, line.intercept_), found, rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_mean_loss(loss):
    x, y = points(3)
    unit = Perceptron(loss, max_iter=2, tol=None, record_path=True, random_state=0).fit(x, y)
    expected = []
    for coef, intercept in zip(unit.path_.coef, unit.path_.intercept):
        expected.append(np.mean([pull(loss, "trick", list(coef @ p + intercept), k)[1] for p, k in zip(x, y)]))
    found = unit.mean_loss(x, y, unit.path_.coef, unit.path_.intercept)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    np.testing.assert_allclose(unit.mean_loss(x, y), expected[-1])


def test_probabilities():
    x, y = points(3)
    p = Perceptron("log", max_iter=3, tol=None).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(p.sum(1), 1)
    for loss in ("perceptron", "hinge", "squared"):
        assert not hasattr(Perceptron(loss), "predict_proba")
    np.testing.assert_allclose(np.exp(Perceptron("softmax").fit(x, y).predict_log_proba(x)).sum(1), 1)
    names = np.array(["red", "green", "blue"])[y]
    unit = Perceptron(random_state=0).fit(x, names)
    assert list(unit.classes_) == ["blue", "green", "red"] and set(unit.predict(x)) <= set(names)


@pytest.mark.parametrize("arguments, text", [
    ({"loss": "huber"}, "loss"), ({"solver": "newton"}, "solver"), ({"eta0": 0}, "eta0"), ({"eta0": "fast"}, "eta0"),
    ({"max_iter": 0}, "max_iter"), ({"max_steps": 1.5}, "max_steps"), ({"batch_size": 0}, "batch_size"),
    ({"init": "ones"}, "init"), ({"tol": -1}, "tol"), ({"loss": "hinge", "solver": "rule"}, "hinge loss has no rule")])
def test_arguments_out_of_range(arguments, text):
    with pytest.raises(ValueError, match=text):
        Perceptron(**arguments).fit(*points())


def test_bad_input_changes_nothing():
    x, y = points()
    unit = Perceptron("squared", eta0=0.05, random_state=0).partial_fit(x, y, classes=[0, 1])
    before = unit.coef_.copy(), unit.t_
    for bad, error in ((lambda: unit.partial_fit(1e9 * x, y), "grew without bound"),
                       (lambda: unit.partial_fit(x, y + 5), "not among|not .* known"),
                       (lambda: unit.partial_fit(x[:, :1], y), "features"),
                       (lambda: unit.partial_fit(x, y, sample_weight=-np.ones(len(y))), "weights"),
                       (lambda: unit.partial_fit(np.full_like(x, np.nan), y), "NaN"),
                       (lambda: unit.fit(x, y, coef_init=np.ones(3)), "coef_init"),
                       (lambda: unit.partial_fit(x, y, classes=[0, 1, 2]), "first call")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            with pytest.raises(ValueError, match=error):
                bad()
        np.testing.assert_array_equal(unit.coef_, before[0])
        assert unit.t_ == before[1]
    with pytest.raises(ValueError, match="one class"):
        Perceptron().fit(x, np.zeros(len(x)))
    with pytest.raises(ValueError, match="first call"):
        Perceptron().partial_fit(x, y)
    with pytest.raises(ValueError, match="balanced"):
        Perceptron(class_weight="balanced").partial_fit(x, y, classes=[0, 1])


def test_the_loop_checks_its_arrays():
    from pydl._perceptron import TRICK, Walker

    x, y, coef, b = np.ones((3, 2)), np.zeros(3), np.zeros((1, 2)), np.zeros(1)
    walker = Walker(TRICK, 0.1, 1, x, y, None, coef, b, True)
    with pytest.raises(ValueError, match=r"\[0, 3\)"):
        walker.follow(np.array([0, 3], np.int32))
    for wrong in ((x[:, :1].copy(), y, None, coef, b), (x, y[:2], None, coef, b), (x, y, np.ones(2), coef, b),
                  (x, y, None, coef, np.zeros(2))):
        with pytest.raises(ValueError, match="expected"):
            Walker(TRICK, 0.1, 1, *wrong, True)


@pytest.mark.parametrize(("indices", "indptr"), [([0, 9], [0, 1, 2]), ([0, -1], [0, 1, 2]), ([0, 1], [0, 1, 3]),
                                                 ([0, 1], [0, 2, 1]), ([0, 1, 1], [0, 1, 2])])
def test_sparse_rows_that_point_outside(indices, indptr):
    from pydl._perceptron import TRICK, Walker

    rows = np.ones(2), np.array(indices, "int32"), np.array(indptr, "int32")
    with pytest.raises(ValueError, match="expected sparse rows with indices of 0 to 2"):
        Walker(TRICK, 1.0, 1, rows, np.ones(2), None, np.zeros((1, 3)), np.zeros(1), True)
