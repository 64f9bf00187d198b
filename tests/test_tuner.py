"""Search spaces, search algorithms, results and failures of trials."""

import collections
import itertools
import json
import math
import subprocess
import sys

import numpy as np
import optuna
import pytest

import pydl.tuner as kt
from harness import PYDL_FOLDER
from pydl.tuner.engine import kinds, sampling
from pydl.tuner.engine.objective import infer_metric_direction
from pydl.tuner.engine.trial import TrialStatus

# ---- search spaces ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hp, values", [
    (kinds.Int("n", 6, 13, step=3), [6, 9, 12]),
    (kinds.Int("n", 2, 32, step=2, sampling="log"), [2, 4, 8, 16, 32]),
    (kinds.Int("n", 2, 32, step=2, sampling="reverse_log"), [32, 30, 26, 18, 2]),
    (kinds.Int("n", -1, 1), [-1, 0, 1]),
    (kinds.Float("x", 0, 1, step=0.25), [0, 0.25, 0.5, 0.75, 1]),
    (kinds.Float("x", 1e-4, 1e-1, step=10, sampling="log"), [1e-4, 1e-3, 1e-2, 1e-1]),
    (kinds.Choice("c", ["b", "a"]), ["b", "a"]),
    (kinds.Choice("c", [0.1, 0.2]), [0.1, 0.2]),
    (kinds.Boolean("b"), [False, True]),
    (kinds.Fixed("f", 3), [3]),
])
def test_values_of_finite_ranges(hp, values):
    np.testing.assert_array_equal(hp.values, values) if isinstance(values[0], str) else (
        np.testing.assert_allclose(hp.values, values, rtol=1e-12))
    assert hp.size == len(values)
    for i, value in enumerate(hp.values):  # equal shares of [0, 1]
        prob = hp.value_to_prob(value)
        assert prob == pytest.approx((i + 0.5) / len(values)) and hp.prob_to_value(prob) == value
    assert hp.prob_to_value(1.0) == hp.values[-1] and hp.prob_to_value(0.0) == hp.values[0]
    assert len(kinds.Float("x", 0, 1, step=0.1).values) == 11  # 1 / 0.1 is a little less than 10


@pytest.mark.parametrize("sampling_, middle", [("linear", 505), ("log", math.sqrt(10 * 1000)),
                                               ("reverse_log", 1010 - math.sqrt(10 * 1000))])
def test_continuous_ranges(sampling_, middle):
    x = kinds.Float("x", 10, 1000, sampling=sampling_)
    assert (x.size, x.default) == (None, 10)
    assert x.prob_to_value(0.5) == pytest.approx(middle, rel=1e-12)
    for prob in np.linspace(0, 1, 11):
        assert x.value_to_prob(x.prob_to_value(prob)) == pytest.approx(prob, abs=1e-9)
    assert (x.prob_to_value(0), x.prob_to_value(1)) == (pytest.approx(10), pytest.approx(1000))
    n = kinds.Int("n", 1, 1000, sampling=sampling_)
    assert {type(v) for v in n.values} == {int} and n.prob_to_value(1) == 1000
    for value in (1, 2, 17, 999, 1000):
        assert n.prob_to_value(n.value_to_prob(value)) == value
    assert x.random_sample(3) == x.random_sample(3) != x.random_sample(4)


def test_declaring():
    hp = kt.HyperParameters()
    assert hp.Int("units", 8, 64, step=8) == 8 and hp.Float("rate", 0.0, 0.5, default=0.25) == 0.25
    assert hp.Choice("act", ["relu", "tanh"]) == "relu" and hp.Boolean("norm") is False and hp.Fixed("k", "x") == "x"
    hp.values["units"] = 24
    assert hp.Int("units", 8, 64, step=8) == hp.get("units") == hp["units"] == 24
    assert hp.Int("units", 1, 2) == 24  # the first declaration holds
    assert "rate" in hp and "other" not in hp
    with hp.name_scope("block"):
        assert hp.Int("units", 1, 2) == 1 and hp.get("units") == 1
    assert "block/units" in hp.values and [h.name for h in hp.space][-1] == "block/units"
    with pytest.raises(KeyError, match="other"):
        hp.get("other")


def test_conditions():
    hp = kt.HyperParameters()
    hp.Choice("kind", ["mlp", "cnn"])
    with hp.conditional_scope("kind", ["cnn"]):
        assert hp.Int("filters", 4, 8) is None
        hp.Boolean("deep")
        with hp.conditional_scope("deep", [True]):
            assert hp.Int("depth", 2, 3) is None
    assert hp.Int("units", 16, 32, parent_name="kind", parent_values="mlp") == 16
    assert hp.values == {"kind": "mlp", "units": 16}
    assert (hp.is_active("filters"), hp.is_active("units"), hp.is_active(hp.space[1])) == (False, True, False)
    with pytest.raises(ValueError, match="'filters' is inactive"):
        hp.get("filters")
    assert hp.inactive_scopes[0][0].get_config() == {"name": "kind", "values": ["cnn"]}
    hp.values = {"kind": "cnn", "deep": True}
    hp.ensure_active_values()
    assert hp.values == {"kind": "cnn", "deep": True, "filters": 4, "depth": 2}
    with pytest.raises(ValueError, match="'missing' of a conditional scope is not defined"):
        with hp.conditional_scope("missing", [1]):
            pass
    with pytest.raises(ValueError, match="name of its parent"):
        hp.Int("kind", 1, 2, parent_name="kind", parent_values=["mlp"])


def test_same_name_under_two_conditions():
    hp = kt.HyperParameters()
    hp.Choice("kind", ["a", "b"])
    assert hp.Int("n", 1, 2, parent_name="kind", parent_values=["a"]) == 1
    assert hp.Int("n", 5, 6, parent_name="kind", parent_values=["b"]) is None
    grid = list(sampling.combinations(hp))
    assert grid == [{"kind": "a", "n": 1}, {"kind": "a", "n": 2}, {"kind": "b", "n": 5}, {"kind": "b", "n": 6}]


def test_config_round_trip():
    hp = kt.HyperParameters()
    hp.Choice("kind", ["a", "b"], default="b")
    hp.Float("lr", 1e-4, 1e-2, sampling="log")
    hp.Int("n", 1, 9, step=2, parent_name="kind", parent_values=["a"])
    hp.Boolean("norm", default=True)
    hp.Fixed("f", 2.5)
    config = json.loads(json.dumps(hp.get_config()))
    again = kt.HyperParameters.from_config(config)
    assert again.get_config() == config == hp.copy().get_config()
    assert [repr(h) for h in again.space] == [repr(h) for h in hp.space]
    again.values["lr"] = 1e-3
    again.Int("new", 0, 1)
    assert hp.values["lr"] == 1e-4 and "new" not in hp.values
    hp.merge(again)
    assert [h.name for h in hp.space] == [h.name for h in again.space] and hp.values["lr"] == 1e-4
    from pydl.tuner.engine.hyperparameters import deserialize, serialize
    assert repr(deserialize(serialize(hp.space[1]))) == repr(hp.space[1])
    assert isinstance(hp.space[0], kt.HyperParameter)


@pytest.mark.parametrize("declare, error, match", [
    (lambda hp: hp.Int("n", 5, 1), ValueError, "min_value 5 is greater than the max_value 1"),
    (lambda hp: hp.Int("n", 1.5, 2), ValueError, "min_value must be an int; received 1.5"),
    (lambda hp: hp.Float("x", 0, 1, sampling="log"), ValueError, "received min_value=0.0"),
    (lambda hp: hp.Float("x", 1, 2, sampling="sqrt"), ValueError, "received 'sqrt'"),
    (lambda hp: hp.Float("x", 1, 2, step=1, sampling="log"), ValueError, "expected step > 1"),
    (lambda hp: hp.Int("n", 1, 2, step=0), ValueError, "expected step > 0"),
    (lambda hp: hp.Choice("c", []), ValueError, "must be provided"),
    (lambda hp: hp.Choice("c", [1, "a"]), TypeError, "one of the types"),
    (lambda hp: hp.Choice("c", [None]), TypeError, "one of the types"),
    (lambda hp: hp.Choice("c", ["a"], default="b"), ValueError, "received 'b'"),
    (lambda hp: hp.Choice("c", ["a"], ordered=True), ValueError, "must be False"),
    (lambda hp: hp.Boolean("b", default=3), ValueError, "Python boolean"),
    (lambda hp: hp.Fixed("f", [1]), ValueError, r"received \[1\]"),
    (lambda hp: kinds.Parent("n", [None]), TypeError, "int, float, str or bool"),
])
def test_bad_declarations(declare, error, match):
    hp = kt.HyperParameters()
    with pytest.raises(error, match=match):
        declare(hp)
    assert hp.space == [] and hp.values == {}


# ---- objectives ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, direction", [
    ("val_loss", "min"), ("accuracy", "max"), ("val_acc", "max"), ("val_sparse_categorical_accuracy", "max"),
    ("val_mean_squared_error", "min"), ("mae", "min"), ("val_auc_1", "max"), ("val_f1_score", "max"),
    ("recall", "max"), ("val_r2_score", "max"), ("mean_io_u", "max"), ("false_positives", "min"),
    ("weighted_accuracy", "max"), ("val_crossentropy", "min"), ("cosine_similarity", None), ("my_metric", None),
])
def test_direction(name, direction):
    assert infer_metric_direction(name) == direction


def test_objectives():
    either = kt.engine.objective.create_objective(["val_loss", kt.Objective("gain", "max")])
    assert either.get_value({"val_loss": 3.0, "gain": 1.0}) == 2.0 and either.direction == "min"
    assert not either.has_value({"val_loss": 3.0})
    objective = kt.Objective("gain", "max")
    assert objective.better_than(2, 1) and not objective.better_than(math.nan, 1) and objective.better_than(1, math.nan)
    assert objective == kt.Objective("gain", "max") != kt.Objective("gain", "min")
    with pytest.raises(ValueError, match=r'Objective\(.my_metric., direction="min"\)'):
        kt.RandomSearch(lambda hp: None, "my_metric")
    with pytest.raises(ValueError, match="received 'up'"):
        kt.Objective("gain", "up")
    with pytest.raises(TypeError, match="received 3"):
        kt.RandomSearch(lambda hp: None, 3)


# ---- algorithms, on a function of two numbers ------------------------------------------------------------------------


def bowl(hp):
    return (hp.Float("x", -1, 1) - 0.3) ** 2 + (hp.Float("y", -1, 1) + 0.5) ** 2


MEMORY: dict = {}  # files are for the tests that ask for them: opening one takes half a second


def function_tuner(base, function, tmp_path, **options):
    class FunctionTuner(base):
        def run_trial(self, trial, *args, **kwargs):
            return function(trial.hyperparameters)

    options.setdefault("storage", MEMORY.setdefault(tmp_path, optuna.storages.InMemoryStorage()))
    tuner = FunctionTuner(directory=tmp_path, **{"project_name": "p", **options})
    tuner.oracle.verbose = 0
    return tuner


def values_of(tuner):
    return [trial.hyperparameters.values for trial in tuner.oracle.trials.values()]


def test_random_search(tmp_path):
    tuner = function_tuner(kt.RandomSearch, bowl, tmp_path, max_trials=12, seed=3)
    tuner.search()
    tried = values_of(tuner)
    assert len(tried) == 12 == len({tuple(v.values()) for v in tried}) and tuner.remaining_trials == 0
    assert all(-1 <= v <= 1 for row in tried[1:] for v in row.values())  # the first trial found the space
    best = tuner.oracle.get_best_trials()[0]
    assert best.score == min(t.score for t in tuner.oracle.trials.values()) == bowl(best.hyperparameters)
    assert tuner.get_best_hyperparameters()[0].values == best.hyperparameters.values
    assert best.metrics.get_best_value("default_objective") == best.score


def test_random_values_follow_the_sampling(tmp_path):
    hp = kt.HyperParameters()
    hp.Float("x", 1e-4, 1, sampling="log")
    drawn = [sampling.propose(hp, lambda s, seed=i: s.RandomSampler(seed=seed))["x"] for i in range(300)]
    logs = np.log10(drawn)
    assert abs(logs.mean() + 2) < 0.3 and logs.min() > -4 and logs.max() < 0  # 4 sigma of the mean: 0.27


def test_exhausted(tmp_path):
    tuner = function_tuner(kt.RandomSearch, lambda hp: hp.Choice("c", [3, 1, 2]), tmp_path, max_trials=50, seed=1)
    tuner.search()
    assert sorted(v["c"] for v in values_of(tuner)) == [1, 2, 3]
    assert tuner.get_best_hyperparameters()[0]["c"] == 1


def conditional(hp):
    kind = hp.Choice("kind", ["a", "b"], default="b")
    hp.Boolean("norm")
    with hp.conditional_scope("kind", ["a"]):
        hp.Int("n", 1, 5, step=2)
    return 1.0 if kind == "a" else 2.0


def test_grid_order(tmp_path):
    """Defaults first, the last hyperparameter fastest, inactive ones left out; also those found on the way."""
    for declared in (False, True):
        hp = kt.HyperParameters()
        if declared:
            conditional(hp)
        tuner = function_tuner(kt.GridSearch, conditional, tmp_path, hyperparameters=hp, project_name=str(declared))
        tuner.search()
        assert values_of(tuner) == [
            {"kind": "b", "norm": False}, {"kind": "b", "norm": True},
            *({"kind": "a", "norm": norm, "n": n} for norm in (False, True) for n in (1, 3, 5))]
    assert tuner.oracle.get_best_trials()[0].score == 1.0


def test_grid_of_a_continuous_range(tmp_path):
    tuner = function_tuner(kt.GridSearch, lambda hp: hp.Float("x", 0, 1, default=0.5), tmp_path)
    tuner.search()
    np.testing.assert_allclose([v["x"] for v in values_of(tuner)], [0.5, *np.arange(0.05, 1, 0.1)])


def test_bayesian_optimization_beats_chance(tmp_path):
    means = {}
    for base, options in ((kt.RandomSearch, {}), (kt.BayesianOptimization, {"num_initial_points": 8})):
        scores = []
        for seed in range(2):
            tuner = function_tuner(base, bowl, tmp_path, max_trials=25, seed=seed,
                                   project_name=f"{base.__name__}{seed}", **options)
            tuner.search()
            scores.append([t.score for t in tuner.oracle.trials.values()])
        means[base] = np.mean(scores, 0)
    assert means[kt.BayesianOptimization][15:].mean() < 0.5 * means[kt.RandomSearch][15:].mean()


def test_bayesian_optimization_of_every_kind(tmp_path):
    def cost(hp):
        hp.Choice("ordered", [1, 2, 4])
        hp.Int("wide", 1, 10 ** 6, sampling="log")
        hp.Float("step", 0, 1, step=0.1)
        hp.Fixed("fixed", 7)
        return conditional(hp) + abs(hp.Float("high", 0.5, 0.9, sampling="reverse_log") - 0.8)

    tuner = function_tuner(kt.BayesianOptimization, cost, tmp_path, max_trials=14, num_initial_points=4, seed=0)
    tuner.search()
    trials = list(tuner.oracle.trials.values())
    assert len(trials) == 14 and all(t.status == TrialStatus.COMPLETED for t in trials)
    kinds_tried = collections.Counter(t.hyperparameters["kind"] for t in trials[7:])
    assert kinds_tried["a"] > kinds_tried["b"]
    study = tuner.oracle._ledger.study  # what Optuna's own tools see
    assert study.best_value == min(t.score for t in trials) and study.best_params["kind"] == "a"
    with pytest.warns(UserWarning, match="alpha=0.1"):
        kt.oracles.BayesianOptimizationOracle(alpha=0.1)


def test_hyperband_schedule(tmp_path):
    """max_epochs=9, factor=3: brackets of 9, 5 and 3 trials, as Li et al. lay out (with the sizes of Keras Tuner)."""
    tuner = function_tuner(kt.Hyperband, bowl, tmp_path, max_epochs=9, factor=3, seed=2)
    tuner.search()
    rounds = collections.Counter((v["tuner/bracket"], v["tuner/round"], v["tuner/initial_epoch"], v["tuner/epochs"])
                                 for v in values_of(tuner))
    assert rounds == {(2, 0, 0, 1): 9, (2, 1, 1, 3): 3, (2, 2, 3, 9): 1,
                      (1, 0, 0, 3): 5, (1, 1, 3, 9): 2, (0, 0, 0, 9): 3}
    trials = tuner.oracle.trials
    first = sorted((t for t in list(trials.values())[:9]), key=lambda t: t.score)
    promoted = [v["tuner/trial_id"] for v in values_of(tuner) if (v["tuner/bracket"], v["tuner/round"]) == (2, 1)]
    assert promoted == [t.trial_id for t in first[:3]]
    for values in values_of(tuner):
        if "tuner/trial_id" in values:
            past = trials[values["tuner/trial_id"]].hyperparameters.values
            assert (past["x"], past["y"]) == (values["x"], values["y"])
    assert tuner.remaining_trials is None
    twice = function_tuner(kt.Hyperband, bowl, tmp_path, max_epochs=2, factor=2, hyperband_iterations=2, seed=2,
                           project_name="twice")
    twice.search()
    assert [v["tuner/bracket"] for v in values_of(twice)] == [1, 1, 1, 0, 0] * 2


def test_hyperband_goes_on_without_failed_trials(tmp_path):
    def cost(hp):
        if hp.Float("x", 0, 1) > 0.5:
            raise kt.errors.FailedTrialError("too large")
        return hp["x"]

    tuner = function_tuner(kt.Hyperband, cost, tmp_path, max_epochs=4, factor=2, seed=1,
                           max_consecutive_failed_trials=100)
    tuner.search()
    rounds = collections.Counter((v["tuner/bracket"], v["tuner/round"]) for v in values_of(tuner))
    assert rounds[2, 1] == 2 and rounds[2, 2] == 1 and rounds[0, 0] == 3
    few = function_tuner(kt.Hyperband, lambda hp: hp.Choice("c", [1, 2, 3]), tmp_path, max_epochs=4, factor=2, seed=1,
                         project_name="few")  # fewer values than the first round has places
    few.search()
    assert [v["c"] for v in values_of(few)[3:]] == [1, 2, 1]


# ---- determinism, resuming -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base, options", [
    (kt.RandomSearch, {"max_trials": 8}), (kt.BayesianOptimization, {"max_trials": 9, "num_initial_points": 3}),
    (kt.GridSearch, {"max_trials": 8}), (kt.Hyperband, {"max_epochs": 4, "factor": 2})])
def test_an_interrupted_search_goes_on_as_if_nothing_had_been(base, options, tmp_path):
    def cost(hp):
        return bowl(hp) + hp.Int("n", 1, 4)

    whole = function_tuner(base, cost, tmp_path, seed=5, project_name="whole", **options)
    whole.search()
    calls = itertools.count(1)

    def interrupted(hp):
        if next(calls) in (3, 6):
            raise KeyboardInterrupt
        return cost(hp)

    options["storage"] = f"sqlite:///{tmp_path / 'a.db'}"
    for _ in range(2):
        parts = function_tuner(base, interrupted, tmp_path, seed=5, project_name="parts", **options)
        with pytest.raises(KeyboardInterrupt):
            parts.search()
    parts.search()  # the same object, too
    assert values_of(parts) == values_of(whole)
    assert [t.score for t in parts.oracle.trials.values()] == [t.score for t in whole.oracle.trials.values()]
    again = function_tuner(base, cost, tmp_path, project_name="parts", **options)  # nothing left to do
    again.search()
    assert values_of(again) == values_of(whole) and again.oracle.seed == 5
    other = function_tuner(base, cost, tmp_path, seed=99, project_name="parts", **options)
    assert other.oracle.seed == 99  # what is asked for now; from here on
    assert function_tuner(base, cost, tmp_path, project_name="parts", **options).oracle.seed == 99


def space_tuner(base, build, tmp_path, **options):
    """A tuner whose model is built (and is none), with the sum of its numbers as objective."""
    class SpaceTuner(base):
        def run_trial(self, trial, *args, **kwargs):
            self.hypermodel.build(trial.hyperparameters)
            return sum(v for k, v in trial.hyperparameters.values.items() if not k.startswith("tuner/"))

    storage = MEMORY.setdefault(tmp_path, optuna.storages.InMemoryStorage())
    return SpaceTuner(hypermodel=build, directory=tmp_path, project_name="p", storage=storage, **options)


@pytest.mark.parametrize("base, options", [
    (kt.RandomSearch, {"max_trials": 12}), (kt.BayesianOptimization, {"max_trials": 12, "num_initial_points": 3}),
    (kt.GridSearch, {}), (kt.Hyperband, {"max_epochs": 4, "factor": 2})])
def test_a_changed_space_is_searched(base, options, tmp_path):
    def first(hp):
        hp.Choice("units", [1, 2, 64])
        hp.Int("gone", 0, 1)
        if hp.Boolean("deep"):
            hp.Int("found", 1, 2)  # by the trials, without a conditional scope

    def second(hp):
        hp.Choice("units", [1, 2, 3])
        hp.Int("more", 0, 1)
        if hp.Boolean("deep"):
            hp.Int("found", 1, 2)

    space_tuner(base, first, tmp_path, seed=1, **options).search(verbose=0)
    again = space_tuner(base, first, tmp_path, seed=1, **options)  # the same space: no warning
    before = values_of(again)
    assert any("found" in v for v in before) and any(v["units"] == 64 for v in before)
    with pytest.warns(UserWarning, match="(?s)has changed: 'units' was .*64.*, is .*3.*'more' is new.*'gone' is gone.*"
                                         f"of {len(before)} trials fit"):
        tuner = space_tuner(base, second, tmp_path, seed=1, **options)
    kept = [v for v in before if v["units"] != 64]
    assert values_of(tuner) == kept
    tuner.search(verbose=0)
    tried = values_of(tuner)
    if base is not kt.Hyperband:  # whose brackets are nearly full
        assert {v["units"] for v in tried} == {1, 2, 3} and {v.get("more") for v in tried} >= {0, 1}
    assert tuner.get_best_hyperparameters()[0].values["units"] == 1
    space_tuner(base, second, tmp_path, seed=1, **options).search(verbose=0)  # known by now: no warning
    with pytest.warns(UserWarning, match="'units' was .*is .*64"):
        back = space_tuner(base, first, tmp_path, seed=1, **options)  # what fitted once fits again
    assert sum(v["units"] == 64 for v in values_of(back)) == sum(v["units"] == 64 for v in before)


def test_what_is_not_tuned_does_not_make_a_trial_new(tmp_path):
    given = kt.HyperParameters()
    given.Choice("x", [1, 2, 3])

    def build(hp):
        hp.Choice("x", [1, 2, 3])
        hp.Int("fixed", 5, 9)

    for _ in range(2):  # and a grid that is done stays so
        tuner = space_tuner(kt.GridSearch, build, tmp_path, hyperparameters=given, tune_new_entries=False, seed=0)
        tuner.search(verbose=0)
        assert [v["x"] for v in values_of(tuner)] == [1, 2, 3]


@pytest.mark.parametrize("verbose", [0, 1])
def test_it_is_said_that_all_trials_failed(verbose, tmp_path):
    def build(hp):
        hp.Int("x", 1, 5)

    class Failing(kt.RandomSearch):
        def run_trial(self, trial):
            raise ValueError("no such luck")

    tuner = Failing(hypermodel=build, max_trials=2, directory=tmp_path, storage=optuna.storages.InMemoryStorage())
    tuner.oracle.verbose = verbose
    with pytest.warns(UserWarning, match="(?s)All 2 trials failed.*no such luck"):
        tuner.search()


def test_scalars_of_numpy_in_a_space(tmp_path):
    """`hp.Choice("x", np.array([1, 2]))`: JSON knows numbers of Python only."""
    hp = kt.HyperParameters()
    assert type(hp.Choice("a", np.array([1, 2]))) is int and type(hp.Choice("b", np.array(["u", "v"]))) is str
    assert type(hp.Choice("c", [np.float32(0.5), np.float32(1)], default=np.float32(1))) is float
    assert hp.Fixed("d", np.int64(3)) == 3 and type(hp.Boolean("e", np.bool_(True))) is bool
    assert type(hp.Int("f", np.int64(1), np.int64(5), default=np.int64(2))) is int
    assert hp.Int("g", 1, 2, parent_name="a", parent_values=np.array([1])) == 1
    assert kt.HyperParameters.from_config(json.loads(json.dumps(hp.get_config()))).values == hp.values


def test_more_trials_later(tmp_path, capsys):
    function_tuner(kt.RandomSearch, bowl, tmp_path, max_trials=3, seed=1, storage=None).search()
    tuner = function_tuner(kt.RandomSearch, bowl, tmp_path, max_trials=5, seed=1, storage=None)
    assert (tmp_path / "p" / "study.db").exists()
    assert "3 trials" in capsys.readouterr().out and tuner.remaining_trials == 2
    tuner.search()
    assert list(tuner.oracle.trials) == ["0", "1", "2", "3", "4"]
    reader = function_tuner(kt.RandomSearch, bowl, tmp_path, max_trials=5, storage=None)
    reader.reload()
    assert reader.get_best_hyperparameters()[0].values == tuner.get_best_hyperparameters()[0].values
    assert {t.trial_id for t in reader.oracle.get_best_trials(9)} == set(tuner.oracle.trials)
    fresh = function_tuner(kt.RandomSearch, bowl, tmp_path, max_trials=5, storage=None, overwrite=True)
    assert fresh.oracle.trials == {} and fresh.remaining_trials == 5


def test_another_search_in_the_same_project(tmp_path):
    function_tuner(kt.RandomSearch, bowl, tmp_path, max_trials=1).search()
    with pytest.raises(RuntimeError, match="'p' .* RandomSearchOracle .* GridSearchOracle.*overwrite=True"):
        function_tuner(kt.GridSearch, bowl, tmp_path)
    with pytest.raises(RuntimeError, match="val_accuracy"):
        function_tuner(kt.RandomSearch, bowl, tmp_path, objective="val_accuracy")


# ---- failures --------------------------------------------------------------------------------------------------------


def test_retries_and_messages(tmp_path):
    attempts = collections.Counter()

    def cost(hp):
        c = hp.Choice("c", [0, 1, 2, 3])
        attempts[c] += 1
        if c == 1 and attempts[c] < 3:
            raise ValueError(f"attempt {attempts[c]}")
        if c == 2:
            return math.nan
        if c == 3:
            raise kt.errors.FailedTrialError("these cannot work")
        return c + 10.0

    tuner = function_tuner(kt.GridSearch, cost, tmp_path, max_retries_per_trial=2)
    tuner.search()
    assert attempts == {0: 1, 1: 3, 2: 3, 3: 1}
    for tuner in (tuner, function_tuner(kt.GridSearch, cost, tmp_path)):  # also when read again
        trials = list(tuner.oracle.trials.values())
        assert [t.status for t in trials] == ["COMPLETED", "COMPLETED", "FAILED", "FAILED"]
        assert [t.score for t in trials] == [10.0, 11.0, None, None]
        assert "default_objective is NaN" in trials[2].message and "these cannot work" in trials[3].message
        assert trials[1].attempt == 2 and trials[1].message is None
        assert [t.trial_id for t in tuner.oracle.get_best_trials(4)] == [t.trial_id for t in trials]
        assert len(tuner.get_best_hyperparameters(4)) == 2


def test_failures_in_a_row_end_the_search(tmp_path):
    def cost(hp):
        if hp.Int("n", 0, 9) in (1, 3, 4, 6, 7, 8):
            raise ValueError(f"no {hp['n']}")
        return 1.0

    tuner = function_tuner(kt.GridSearch, cost, tmp_path)
    with pytest.raises(RuntimeError, match="3 trials in a row have failed(.|\n)*ValueError: no 8"):
        tuner.search()
    assert [t.status for t in tuner.oracle.trials.values()].count("FAILED") == 6 and len(tuner.oracle.trials) == 9
    tuner.search()  # goes on with 9
    assert tuner.oracle.trials["0009"].status == "COMPLETED"


@pytest.mark.parametrize("result, match", [
    (None, "Did you forget"), ("text", "of type str"), ([], "expected the metrics"),
    ({"loss": 1.0}, "expected a float")])
def test_wrong_results_are_fatal(result, match, tmp_path):
    tuner = function_tuner(kt.RandomSearch, lambda hp: result, tmp_path)
    with pytest.raises(kt.errors.FatalTypeError, match=match):
        tuner.search()
    assert issubclass(kt.errors.FatalValueError, ValueError) and issubclass(kt.errors.FatalRuntimeError, RuntimeError)


def test_results_of_every_form(tmp_path):
    results = iter([3, {"gain": 4.0, "other": 1.0}, [1.0, {"gain": 4.0}]])
    tuner = function_tuner(kt.RandomSearch, lambda hp: [hp.Int("n", 0, 99), next(results)][1], tmp_path,
                           objective=kt.Objective("gain", "max"), max_trials=3, seed=0)
    tuner.search()
    trials = list(tuner.oracle.trials.values())
    assert [t.score for t in trials] == [3.0, 4.0, 2.5] and trials[1].metrics.get_last_value("other") == 1.0
    with pytest.raises(ValueError, match="Unknown metric 'absent'"):
        trials[0].metrics.get_best_value("absent")
    several = function_tuner(kt.RandomSearch, lambda hp: {"loss": 3.0, "gain": 1.0}, tmp_path, max_trials=1,
                             objective=["loss", kt.Objective("gain", "max")], project_name="several")
    several.search()
    assert several.oracle.get_best_trials()[0].score == 2.0


def test_update_trial(tmp_path):
    class Steps(kt.Tuner):
        def run_trial(self, trial):
            for step in range(4):
                self.oracle.update_trial(trial.trial_id, {"score": (step - 2) ** 2 + 1.0}, step=step)

    tuner = Steps(kt.oracles.RandomSearchOracle(objective=kt.Objective("score", "min"), max_trials=1),
                  directory=tmp_path)
    tuner.search()
    trial = tuner.oracle.get_best_trials()[0]
    assert (trial.score, trial.best_step) == (1.0, 2) and not tuner.oracle.ongoing_trials
    assert [o.mean() for o in trial.metrics.get_history("score")] == [5.0, 2.0, 1.0, 2.0]
    assert trial.metrics.get_statistics("score")["mean"] == 2.5
    with pytest.raises(ValueError, match="Expected a `hypermodel`"):
        kt.Tuner(kt.oracles.RandomSearchOracle())
    with pytest.raises(ValueError, match="to be an Oracle; received 3"):
        Steps(3)


def test_oracle_of_ones_own(tmp_path):
    class Halving(kt.Oracle):
        @kt.synchronized
        def populate_space(self, trial_id):
            if len(self.trials) == 4:
                return {"status": "STOPPED"}
            return {"status": "RUNNING", "values": {"x": 2.0 ** -len(self.start_order)}}

        def get_state(self):
            return {"ended": len(self.end_order)}

        def set_state(self, state):
            self.found = state["ended"]

    for _ in range(2):
        class Square(kt.Tuner):
            def run_trial(self, trial):
                return trial.hyperparameters.Float("x", 0, 1) ** 2

        tuner = Square(Halving(), directory=tmp_path, tuner_id="w")
        tuner.search()
    assert [t.score for t in tuner.oracle.trials.values()] == [1, 1 / 4, 1 / 16, 1 / 64] and tuner.oracle.found == 4
    alone = kt.oracles.GridSearchOracle(hyperparameters=tuner.oracle.get_space(), max_trials=2)  # without a project
    trial = alone.create_trial("w")
    assert alone.create_trial("w") is trial and trial.status == "RUNNING"
    alone.update_trial(trial.trial_id, {"default_objective": 1.0})
    trial.status = "COMPLETED"
    alone.end_trial(trial)
    assert alone.get_trial("0").score == 1.0 and alone.create_trial("w").trial_id == "1"
    with pytest.raises(ValueError, match="not one that this worker runs"):
        alone.end_trial(trial)


# ---- new entries -----------------------------------------------------------------------------------------------------


def test_what_is_given_takes_the_place_of_what_is_declared(tmp_path):
    given = kt.HyperParameters()
    given.Fixed("x", 0.25)
    tuner = function_tuner(kt.RandomSearch, bowl, tmp_path, hyperparameters=given, max_trials=3, seed=0)
    tuner.search()
    assert {v["x"] for v in values_of(tuner)} == {0.25} and len({v["y"] for v in values_of(tuner)}) == 3
    given = kt.HyperParameters()
    given.Float("x", -1, 1)
    kept = function_tuner(kt.RandomSearch, bowl, tmp_path, hyperparameters=given, tune_new_entries=False,
                          max_trials=3, project_name="kept", seed=0)
    kept.search()
    assert {v["y"] for v in values_of(kept)} == {-1} and len({v["x"] for v in values_of(kept)}) == 3
    with pytest.raises(RuntimeError, match="allow_new_entries.* is False.*'y'"):
        function_tuner(kt.RandomSearch, bowl, tmp_path, hyperparameters=given, allow_new_entries=False,
                       project_name="strict").search()
    for option in ("tune_new_entries", "allow_new_entries"):
        with pytest.raises(ValueError, match=f"{option}=False"):
            function_tuner(kt.RandomSearch, bowl, tmp_path, **{option: False})


# ---- imports ---------------------------------------------------------------------------------------------------------


def test_optuna_is_imported_late(tmp_path):
    code = f"""
import sys
import pydl, pydl.tuner as kt
from pydl.tuner.engine.hyperparameters import HyperParameters
from pydl import tuner
assert pydl.tuner is kt is tuner
assert "optuna" not in sys.modules and "sqlalchemy" not in sys.modules
sys.modules["optuna"] = None  # as if it were not installed
assert HyperParameters().Int("n", 1, 2) == 1
try:
    kt.RandomSearch(lambda hp: None, "val_loss", directory={str(tmp_path)!r})
except ImportError as error:
    assert "pip install 'pydl[tune]'" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PYDL_FOLDER)


@pytest.mark.parametrize("name", ["BayesianOptimization", "GridSearch", "Hyperband", "RandomSearch"])
def test_names(name):
    assert getattr(kt.tuners, name) is getattr(kt, name) and hasattr(kt.oracles, f"{name}Oracle")
