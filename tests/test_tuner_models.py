"""Trials that build and train models: scores, weights, callbacks, hooks, pruning."""

import sys

import numpy as np
import optuna
import pytest

import pydl
import pydl.tuner as kt

layers = pydl.layers


def values_of(tuner):
    return [trial.hyperparameters.values for trial in tuner.oracle.trials.values()]


def data(n=96):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4)).astype("float32")
    return x, (x[:, 0] + x[:, 1] > 0).astype("int32")


X, Y = data()


def build(hp):
    model = pydl.Sequential([layers.Dense(hp.Int("units", 2, 16, step=2), activation="tanh"),
                             layers.Dense(2, activation="softmax")])
    model.compile(pydl.optimizers.Adam(hp.Float("lr", 1e-3, 1e-1, sampling="log")), "sparse_categorical_crossentropy",
                  metrics=["accuracy"])
    return model


class Seen(pydl.callbacks.Callback):
    """Records every epoch of every model it was copied for."""

    all = []

    def __init__(self):
        super().__init__()
        self.mine = []

    def on_epoch_end(self, epoch, logs=None):
        self.mine.append(epoch)
        Seen.all.append((id(self), epoch, logs["val_accuracy"]))


def test_models(tmp_path, capsys):
    Seen.all.clear()
    callback = Seen()
    tuner = kt.RandomSearch(build, "val_accuracy", max_trials=3, seed=1, directory=tmp_path, project_name="m",
                            executions_per_trial=2)
    tuner.search_space_summary(extended=True)
    assert "units (Int)" in capsys.readouterr().out
    assert tuner.search(X[:64], Y[:64], epochs=4, validation_data=(X[64:], Y[64:]), callbacks=[callback],
                        verbose=0) is None
    assert capsys.readouterr().out == ""
    assert callback.mine == [] and len(Seen.all) == 24 and len({who for who, _, _ in Seen.all}) >= 2
    for i, trial in enumerate(tuner.oracle.trials.values()):
        runs = np.array([value for _, _, value in Seen.all]).reshape(3, 2, 4)[i]
        assert trial.score == pytest.approx(runs.max(1).mean())  # best epoch of each execution
        assert set(trial.metrics.metrics) == {"accuracy", "loss", "val_accuracy", "val_loss"}
        model = tuner.load_model(trial)  # the weights of the best epoch of all executions
        assert model.evaluate(X[64:], Y[64:], verbose=0)[1] == pytest.approx(runs.max())
    best, second = tuner.get_best_models(2)
    assert best.layers[0].units == tuner.get_best_hyperparameters()[0]["units"]
    assert isinstance(tuner.hypermodel, kt.HyperModel)
    assert tuner.hypermodel.build(tuner.get_best_hyperparameters()[0]).layers[0].units == best.layers[0].units
    tuner.results_summary(2)
    printed = capsys.readouterr().out
    assert printed.count("Score: ") == 2 and str(tmp_path) in printed
    again = kt.RandomSearch(build, "val_accuracy", max_trials=3, seed=1, directory=tmp_path, project_name="n",
                            executions_per_trial=2)
    again.search(X[:64], Y[:64], epochs=4, validation_data=(X[64:], Y[64:]), verbose=1)
    assert [t.score for t in again.oracle.trials.values()] == [t.score for t in tuner.oracle.trials.values()]
    printed = capsys.readouterr().out
    assert "best val_accuracy so far" in printed and "units" in printed and "number 3 of 3" in printed


class Tunable(kt.HyperModel):
    def declare_hyperparameters(self, hp):
        hp.Int("units", 3, 5)  # narrower than in build

    def build(self, hp):
        return build(hp)

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, epochs=hp.Int("epochs", 1, 3), batch_size=hp.Choice("batch", [16, 32]), **kwargs)


def test_hypermodel(tmp_path):
    tuner = kt.GridSearch(Tunable(name="t"), "val_loss", max_trials=8, directory=tmp_path)
    tuner.search(X, Y, validation_split=0.25, verbose=0)
    tried = values_of(tuner)
    assert [(v["epochs"], v["batch"]) for v in tried[:6]] == [(1, 16), (1, 32), (2, 16), (2, 32), (3, 16), (3, 32)]
    assert tried[0]["lr"] == tried[5]["lr"] != tried[6]["lr"] and {v["units"] for v in tried} == {3}
    fixed = Tunable(tunable=False)
    hp = kt.HyperParameters()
    fixed.build(hp)
    assert hp.space == []
    with pytest.raises(kt.errors.FatalValueError, match="received 3"):
        kt.GridSearch(3, "val_loss")
    with pytest.raises(NotImplementedError, match="HyperModel has no `build"):
        kt.HyperModel().build(hp)


def test_conditional_scopes_are_all_found(tmp_path):
    def nested(hp):
        kind = hp.Choice("kind", ["a", "b", "c"])
        with hp.conditional_scope("kind", ["b"]):
            if kind == "b":
                deep = hp.Boolean("deep")
                with hp.conditional_scope("deep", [True]):
                    if deep:
                        hp.Int("depth", 1, 3)
        with hp.conditional_scope("kind", ["never"]):
            pass
        return build(hp)

    tuner = kt.RandomSearch(nested, "val_loss", directory=tmp_path)
    assert [h.name for h in tuner.oracle.get_space().space] == ["kind", "units", "lr", "deep", "depth"]


def test_models_that_cannot_work(tmp_path):
    def failing(hp):
        if hp.Boolean("bad"):
            raise kt.errors.FailedTrialError("bad")
        return build(hp)

    given = kt.HyperParameters()
    given.Fixed("lr", 0.01)
    given.Int("units", 4, 8, step=2)
    storage = optuna.storages.InMemoryStorage()
    tuner = kt.GridSearch(failing, "val_loss", max_model_size=40, directory=tmp_path, hyperparameters=given,
                          storage=storage)
    with pytest.raises(RuntimeError, match="3 trials in a row"):
        tuner.search(X, Y, validation_split=0.25, verbose=0)
    assert [(v["units"], v["bad"]) for v in values_of(tuner)] == [(4, False), (4, True), (6, False), (6, True)]
    tried = list(tuner.oracle.trials.values())
    assert [t.status for t in tried] == ["COMPLETED", "FAILED", "FAILED", "FAILED"]  # 44 weights, found by training
    assert "44 trainable weights" in tried[2].message and "FailedTrialError: bad" in tried[3].message

    def large(hp):
        model = pydl.Sequential([pydl.Input((4,)), layers.Dense(hp.Int("units", 4, 400, step=396)), layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    tuner = kt.GridSearch(large, "loss", max_model_size=40, directory=tmp_path, project_name="large",
                          storage=storage)
    tuner.search(X, Y, verbose=0)
    small, big = tuner.oracle.trials.values()
    assert small.status == "COMPLETED" and "2401 trainable weights" in big.message
    with pytest.raises(kt.errors.FatalTypeError, match="return a pydl Model; received 3"):
        kt.RandomSearch(lambda hp: 3, "loss", directory=tmp_path, project_name="no", storage=storage).search(X, Y)
    with pytest.raises(kt.errors.FatalValueError, match="no val_loss.*Was there validation data"):
        kt.RandomSearch(build, "val_loss", directory=tmp_path, project_name="nv", storage=storage).search(
            X, Y, verbose=0)
    with pytest.raises(kt.errors.FatalTypeError, match="no `objective` was specified"):
        kt.RandomSearch(build, directory=tmp_path, project_name="none", storage=storage).search(X, Y, verbose=0)
    with pytest.raises(FileNotFoundError, match="has no weights"):
        tuner.load_model(big)
    uncopyable = pydl.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    uncopyable.stream = sys.stdout
    with pytest.raises(kt.errors.FatalValueError, match="deep-copied"):
        kt.RandomSearch(build, "loss", directory=tmp_path, project_name="cb", storage=storage).search(
            X, Y, callbacks=[uncopyable])
    with pytest.raises(ValueError, match="distribution_strategy"):
        kt.RandomSearch(build, "loss", directory=tmp_path, distribution_strategy="mirrored")


def test_hyperband_goes_on_from_the_weights(tmp_path):
    tuner = kt.Hyperband(build, "val_loss", max_epochs=4, factor=2, seed=1, directory=tmp_path)
    seen = []
    tuner.on_epoch_begin = lambda trial, model, epoch, logs=None: seen.append(
        (trial.trial_id, epoch, int(model.optimizer.iterations)))
    tuner.search(X, Y, validation_split=0.25, epochs=99, batch_size=36, verbose=0)
    for trial in tuner.oracle.trials.values():
        values = trial.hyperparameters.values
        epochs = [(epoch, steps) for name, epoch, steps in seen if name == trial.trial_id]
        assert [epoch for epoch, _ in epochs] == list(range(values["tuner/initial_epoch"], values["tuner/epochs"]))
        if "tuner/trial_id" in values:  # the optimizer's state, too
            past = tuner.oracle.get_trial(values["tuner/trial_id"])
            assert epochs[0][1] == 2 * (past.best_step + 1 + past.hyperparameters["tuner/initial_epoch"])
    assert tuner.get_best_models()[0].evaluate(X[72:], Y[72:], verbose=0)[0] == pytest.approx(
        tuner.oracle.get_best_trials()[0].score, rel=1e-5)


def test_compile_arguments_of_the_tuner(tmp_path):
    tuner = kt.RandomSearch(build, "val_mse", max_trials=1, directory=tmp_path, optimizer=pydl.optimizers.SGD(0.25),
                            loss="mse", metrics=["mse"])
    model = tuner._build_hypermodel(kt.HyperParameters())
    assert model.loss == "mse" and float(model.optimizer.learning_rate) == 0.25
    assert model.optimizer is not tuner.optimizer
    only = kt.RandomSearch(build, "loss", directory=tmp_path, project_name="o", optimizer="sgd")
    model = only._build_hypermodel(kt.HyperParameters())
    assert type(model.optimizer).__name__ == "SGD" and model.loss == "sparse_categorical_crossentropy"
    history = model.fit(X, Y, verbose=0).history
    assert set(history) == {"loss", "accuracy"}


def test_hooks_for_batches(tmp_path):
    seen = []

    class Watching(kt.RandomSearch):
        def on_batch_begin(self, trial, model, batch, logs):
            seen.append(("begin", batch))

        def on_batch_end(self, trial, model, batch, logs=None):
            seen.append(("end", batch, "loss" in logs))

    Watching(build, "loss", max_trials=1, directory=tmp_path).search(X, Y, batch_size=48, verbose=0)
    assert seen == [("begin", 0), ("end", 0, True), ("begin", 1), ("end", 1, True)]


def test_pruner(tmp_path):
    tuner = kt.RandomSearch(build, "val_loss", max_trials=3, seed=0, directory=tmp_path,
                            pruner=optuna.pruners.ThresholdPruner(upper=1e-6, n_warmup_steps=2))
    tuner.search(X, Y, validation_split=0.25, epochs=9, verbose=0)
    study = tuner.oracle._ledger.study
    assert [len(t.intermediate_values) for t in study.trials] == [3, 3, 3]  # ended after the third epoch
    assert {t.state.name for t in study.trials} == {"PRUNED"}
    for trial, stored in zip(tuner.oracle.trials.values(), study.trials):
        assert trial.status == "COMPLETED"
        assert trial.score == pytest.approx(min(stored.intermediate_values.values()))
    bands = kt.RandomSearch(build, "val_loss", max_trials=6, seed=0, directory=tmp_path, project_name="bands",
                            pruner=optuna.pruners.HyperbandPruner(1, 9, 3))
    bands.search(X, Y, validation_split=0.25, epochs=9, verbose=0)
    assert min(len(t.intermediate_values) for t in bands.oracle._ledger.study.trials) < 9


def test_sklearn_tuner(tmp_path):
    pytest.importorskip("sklearn")
    from sklearn.linear_model import Ridge
    from sklearn.metrics import mean_absolute_error

    x = X.astype("float64")
    y = x @ [1.0, -2.0, 0.5, 0.0]
    tuner = kt.SklearnTuner(kt.oracles.GridSearchOracle(kt.Objective("score", "max")), lambda hp: Ridge(
        alpha=hp.Float("alpha", 1e-3, 1e3, step=1000, sampling="log")), metrics=mean_absolute_error, directory=tmp_path)
    tuner.oracle.verbose = 0
    tuner.search(x, y, sample_weight=np.ones(len(y)))
    scores = [t.score for t in tuner.oracle.trials.values()]
    assert len(scores) == 3 and scores == sorted(scores, reverse=True) and scores[0] > 0.999
    np.testing.assert_allclose(tuner.get_best_models()[0].coef_, [1, -2, 0.5, 0], atol=1e-3)
    assert tuner.oracle.trials["0000"].metrics.exists("mean_absolute_error")
