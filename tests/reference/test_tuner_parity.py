"""Keras Tuner: signatures, search spaces, grids, brackets; its scripts run here after changing the imports."""

from __future__ import annotations

import importlib
import inspect
import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
theirs = pytest.importorskip("keras_tuner")

import pydl.tuner as ours  # noqa: E402  after the skip

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # its own

# Other spaces than ours, or protocols between its processes.
ABSENT = {"applications", "src"}


def public(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def test_names():
    assert public(theirs) - ABSENT - public(ours) == set()
    for room in ("errors", "oracles", "tuners"):
        assert public(getattr(theirs, room)) - {"src"} <= public(getattr(ours, room)), room
    assert public(theirs.engine) - {"src"} <= public(ours.engine)


@pytest.mark.parametrize("name", [
    "HyperParameters", "HyperModel", "Objective", "Oracle", "Tuner", "RandomSearch", "GridSearch",
    "BayesianOptimization", "Hyperband", "SklearnTuner", "oracles.RandomSearchOracle", "oracles.GridSearchOracle",
    "oracles.BayesianOptimizationOracle", "oracles.HyperbandOracle", "engine.hyperparameters.Int",
    "engine.hyperparameters.Float", "engine.hyperparameters.Choice", "engine.hyperparameters.Boolean",
    "engine.hyperparameters.Fixed", "engine.trial.Trial"])
def test_signatures(name):
    def find(package):
        found = package
        for part in name.split("."):
            found = getattr(found, part)
        return found

    importlib.import_module(f"keras_tuner.{name.rpartition('.')[0]}".rstrip("."))
    their, our = find(theirs), find(ours)
    skip = {"to_proto", "from_proto", "register_metrics", "load", "save", "reload", "get_state", "set_state"}
    for method in ["__init__", *(m for m in public(their) - skip if callable(getattr(their, m)))]:
        assert hasattr(our, method), f"{name}.{method}"
        expected = list(inspect.signature(getattr(their, method)).parameters.values())
        found = {p.name: p for p in inspect.signature(getattr(our, method)).parameters.values()}
        for parameter in expected:
            if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and method in (
                    "__init__", "create_trial", "update_trial", "end_trial"):  # the last three under a decorator
                continue
            assert parameter.name in found, f"{name}.{method}: {parameter.name}"
            assert found[parameter.name].default == parameter.default, f"{name}.{method}: {parameter.name}"


def declare(hp):
    hp.Int("n", 1, 9, step=2)
    hp.Int("m", 2, 64, step=2, sampling="log")
    hp.Int("k", 1, 1000, sampling="log")
    hp.Float("x", -1, 1)
    hp.Float("lr", 1e-4, 1e-1, sampling="log", default=1e-3)
    hp.Float("top", 1, 8, step=2, sampling="reverse_log")
    hp.Float("high", 0.1, 0.9, sampling="reverse_log")
    kind = hp.Choice("kind", ["a", "b"], default="b")
    hp.Choice("size", [1.5, 2.5])
    with hp.name_scope("block"):
        hp.Boolean("norm", default=True)
    with hp.conditional_scope("kind", ["a"]):
        hp.Float("only a", 0, 1, step=0.25)
    hp.Int("only b", 1, 3, parent_name="kind", parent_values=["b"])
    hp.Fixed("f", 3)
    return kind


def test_spaces():
    our, their = ours.HyperParameters(), theirs.HyperParameters()
    assert declare(our) == declare(their)
    assert our.get_config() == their.get_config() and our.values == their.values
    for a, b in zip(our.space, their.space):
        for prob in np.linspace(0, 0.999, 50):
            value = b.prob_to_value(prob)
            assert a.prob_to_value(prob) == pytest.approx(value) and type(a.prob_to_value(prob)) is type(value)
            assert a.value_to_prob(value) == pytest.approx(b.value_to_prob(value)), a
        assert a.random_sample(5) == pytest.approx(b.random_sample(5))
        if isinstance(a.default, str):
            assert list(a.values) == list(b.values)
        else:  # its order of ten floats is a set's
            np.testing.assert_allclose(sorted(a.values), sorted(b.values), rtol=1e-12)
    assert ours.HyperParameters.from_config(their.get_config()).get_config() == their.get_config()


def run(package, base, cost, folder, **options):
    """Values and scores of a search over a function."""
    class Function(getattr(package, base)):
        def run_trial(self, trial, *args, **kwargs):
            return cost(trial.hyperparameters)

    tuner = Function(directory=folder / package.__name__, project_name=base, **options)
    tuner.search(verbose=0)
    return [(t.hyperparameters.values, t.status, t.score) for _, t in sorted(tuner.oracle.trials.items())]


def test_grids(tmp_path):
    def cost(hp):
        kind = hp.Choice("kind", ["a", "b"], default="b")
        hp.Boolean("norm")
        with hp.conditional_scope("kind", ["a"]):
            hp.Int("n", 1, 5, step=2)
        return 1.0 + (kind == "a")

    found = run(ours, "GridSearch", cost, tmp_path)
    assert found == run(theirs, "GridSearch", cost, tmp_path) and len(found) == 8


@pytest.mark.parametrize("max_epochs, factor, iterations", [(9, 3, 1), (4, 2, 2), (10, 3, 1), (1, 3, 1), (100, 4, 1)])
def test_brackets(max_epochs, factor, iterations, tmp_path):
    rows = []
    for package in (ours, theirs):
        hp = package.HyperParameters()
        hp.Float("x", 0, 1)
        found = run(package, "Hyperband", lambda hp: hp["x"], tmp_path, max_epochs=max_epochs, factor=factor,
                    hyperband_iterations=iterations, seed=1, hyperparameters=hp)
        rows.append([[values.get(f"tuner/{n}") for n in ("epochs", "initial_epoch", "bracket", "round")]
                     for values, _, _ in found])
        scores = {f"{i:04d}": score for i, (_, _, score) in enumerate(found)}
        for values, _, score in found:
            if "tuner/trial_id" in values:
                assert scores[values["tuner/trial_id"]] == score
    assert rows[0] == rows[1]


@pytest.mark.parametrize("name", ["val_loss", "accuracy", "val_acc", "val_mean_squared_error", "val_auc",
                                  "sparse_categorical_accuracy", "val_recall", "precision", "nothing_known"])
def test_directions(name):
    assert ours.engine.objective.infer_metric_direction(name) == (
        theirs.engine.metrics_tracking.infer_metric_direction(name))


SCRIPT = """
import numpy as np

class Classifier(kt.HyperModel):
    def build(self, hp):
        model = keras.Sequential()
        model.add(keras.layers.Input((6,)))
        for i in range(hp.Int("num_layers", 1, 2)):
            model.add(keras.layers.Dense(units=hp.Int(f"units_{i}", min_value=8, max_value=16, step=8),
                                         activation=hp.Choice("activation", ["relu", "tanh"])))
        if hp.Boolean("dropout"):
            model.add(keras.layers.Dropout(rate=0.25))
        model.add(keras.layers.Dense(2, activation="softmax"))
        learning_rate = hp.Float("lr", min_value=1e-3, max_value=1e-1, sampling="log")
        model.compile(optimizer=keras.optimizers.Adam(learning_rate=learning_rate),
                      loss="sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, shuffle=hp.Boolean("shuffle"), **kwargs)

rng = np.random.default_rng(0)
x = rng.normal(size=(80, 6)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
hp = kt.HyperParameters()
hp.Choice("activation", ["tanh"])
tuner = kt.RandomSearch(hypermodel=Classifier(), objective=kt.Objective("val_accuracy", direction="max"), max_trials=3,
                        executions_per_trial=2, overwrite=True, directory=folder, project_name="helloworld", seed=1,
                        hyperparameters=hp)
tuner.search_space_summary()
tuner.search(x[:60], y[:60], epochs=2, validation_data=(x[60:], y[60:]), verbose=0,
             callbacks=[keras.callbacks.EarlyStopping("val_loss", patience=1)])
tuner.results_summary()
best_hps = tuner.get_best_hyperparameters(5)
model = Classifier().build(best_hps[0])
result = {
    "space": [h.name for h in tuner.oracle.get_space().space],
    "values": [sorted(h.values) for h in best_hps],
    "activation": best_hps[0].get("activation"),
    "trials": sorted(tuner.oracle.trials),
    "status": [t.status for t in tuner.oracle.get_best_trials(9)],
    "metrics": sorted(tuner.oracle.get_best_trials(1)[0].metrics.metrics),
    "remaining": tuner.remaining_trials,
}
"""


# With Keras 3.15 Keras Tuner 1.4.8 fails to load the optimizer's state into the models it builds anew.
MODELS = """
models = tuner.get_best_models(num_models=2)
assert len(models) == 2 and models[0].predict(x, verbose=0).shape == (80, 2)
"""


def test_script(tmp_path):
    results = []
    for package, library in ((ours, "pydl"), (theirs, "keras")):
        names = {"kt": package, "keras": importlib.import_module(library), "folder": str(tmp_path / library)}
        exec(SCRIPT + MODELS * (package is ours), names)
        results.append(names["result"])
    for result in results:  # which trial is the best, and with it its layers, is chance
        result["values"] = sorted({name for row in result["values"] for name in row} - {"units_1"})
        result["space"] = sorted(set(result["space"]) - {"units_1"})
    assert results[0] == results[1]
