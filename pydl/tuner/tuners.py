"""The tuners: a search algorithm each."""

from __future__ import annotations

import inspect
import os
import pickle

import numpy as np

from pydl.atomic import atomic_write
from pydl.tuner import oracles
from pydl.tuner.engine.base_tuner import BaseTuner
from pydl.tuner.engine.tuner import Tuner

__all__ = ["BayesianOptimization", "GridSearch", "Hyperband", "RandomSearch", "SklearnTuner", "Tuner"]


class RandomSearch(Tuner):
    """Tries random values, drawn by Optuna's RandomSampler.

    Args:
        hypermodel: a `HyperModel` or a function `build(hp)`; see `BaseTuner`.
        objective, max_trials, seed, hyperparameters, tune_new_entries, allow_new_entries, max_retries_per_trial,
            max_consecutive_failed_trials: see `Oracle`. The search ends sooner when it finds nothing new any more.
        **kwargs: see `Tuner`: `executions_per_trial`, `directory`, `project_name`, `overwrite`, `storage`, `pruner`.
    """

    def __init__(self, hypermodel=None, objective=None, max_trials=10, seed=None, hyperparameters=None,
                 tune_new_entries=True, allow_new_entries=True, max_retries_per_trial=0,
                 max_consecutive_failed_trials=3, **kwargs):
        self.seed = seed
        super().__init__(oracles.RandomSearchOracle(
            objective=objective, max_trials=max_trials, seed=seed, hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries, allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials), hypermodel, **kwargs)


class GridSearch(Tuner):
    """Tries all combinations, or the first `max_trials`: the first is that of the defaults, the last hyperparameter
    changes fastest. Ranges without steps are tried at ten values.

    Args: see `RandomSearch`.
    """

    def __init__(self, hypermodel=None, objective=None, max_trials=None, seed=None, hyperparameters=None,
                 tune_new_entries=True, allow_new_entries=True, max_retries_per_trial=0,
                 max_consecutive_failed_trials=3, **kwargs):
        self.seed = seed
        super().__init__(oracles.GridSearchOracle(
            objective=objective, max_trials=max_trials, seed=seed, hyperparameters=hyperparameters,
            tune_new_entries=tune_new_entries, allow_new_entries=allow_new_entries,
            max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials), hypermodel, **kwargs)


class BayesianOptimization(Tuner):
    """Tries values that past trials make promising, by Optuna's tree-structured Parzen estimator over all
    hyperparameters jointly (Bergstra et al. 2011). Trials that run count as bad meanwhile, so that several workers
    do not try neighbours.

    Args:
        num_initial_points: random trials before that; by default three for each hyperparameter.
        alpha, beta: settings of Keras Tuner's Gaussian process; without effect, with a warning if set.
        others: see `RandomSearch`.
    """

    def __init__(self, hypermodel=None, objective=None, max_trials=10, num_initial_points=None, alpha=1e-4, beta=2.6,
                 seed=None, hyperparameters=None, tune_new_entries=True, allow_new_entries=True,
                 max_retries_per_trial=0, max_consecutive_failed_trials=3, **kwargs):
        super().__init__(oracles.BayesianOptimizationOracle(
            objective=objective, max_trials=max_trials, num_initial_points=num_initial_points, alpha=alpha, beta=beta,
            seed=seed, hyperparameters=hyperparameters, tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries, max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials), hypermodel, **kwargs)


class Hyperband(Tuner):
    """Trains many trials for a few epochs, the best of them for more (Li et al. 2018).

    A bracket begins with many random trials of few epochs; of each round the best 1 / `factor` go on, from their
    weights, for `factor` times the epochs, the last round up to `max_epochs`. Later brackets begin with fewer trials
    and more epochs. Trials that failed count as the worst of their round.

    Args:
        max_epochs: epochs of the trials that come through.
        factor: see above, at least 2.
        hyperband_iterations: how often all brackets are run.
        others: see `RandomSearch`.
    """

    def __init__(self, hypermodel=None, objective=None, max_epochs=100, factor=3, hyperband_iterations=1, seed=None,
                 hyperparameters=None, tune_new_entries=True, allow_new_entries=True, max_retries_per_trial=0,
                 max_consecutive_failed_trials=3, **kwargs):
        super().__init__(oracles.HyperbandOracle(
            objective=objective, max_epochs=max_epochs, factor=factor, hyperband_iterations=hyperband_iterations,
            seed=seed, hyperparameters=hyperparameters, tune_new_entries=tune_new_entries,
            allow_new_entries=allow_new_entries, max_retries_per_trial=max_retries_per_trial,
            max_consecutive_failed_trials=max_consecutive_failed_trials), hypermodel, **kwargs)

    def run_trial(self, trial, *fit_args, **fit_kwargs):
        """As `Tuner.run_trial`, for the epochs of the trial's round."""
        values = trial.hyperparameters.values
        if "tuner/epochs" in values:
            fit_kwargs["epochs"] = values["tuner/epochs"]
            fit_kwargs["initial_epoch"] = values["tuner/initial_epoch"]
        return super().run_trial(trial, *fit_args, **fit_kwargs)

    def _build_hypermodel(self, hp):
        model = super()._build_hypermodel(hp)
        if "tuner/trial_id" in hp.values:
            self._load_weights(model, hp.values["tuner/trial_id"])
        return model


class SklearnTuner(BaseTuner):
    """Tunes estimators of scikit-learn by cross-validation; the objective is "score".

    Args:
        oracle: e.g. `oracles.RandomSearchOracle(Objective("score", "max"), max_trials=10)`.
        hypermodel: `build(hp)` returns an estimator.
        scoring: function (estimator, X, y, sample_weight=) -> score; the estimator's own by default.
        metrics: functions (y, predicted, sample_weight=) whose means are recorded too.
        cv: a splitter; by default 5 shuffled folds.
        **kwargs: see `BaseTuner`.
    """

    def __init__(self, oracle, hypermodel, scoring=None, metrics=None, cv=None, **kwargs):
        try:
            from sklearn.model_selection import KFold
        except ImportError as error:
            raise ImportError("SklearnTuner needs scikit-learn, which is not installed: pip install scikit-learn."
                              ) from error
        self.scoring = scoring
        self.metrics = metrics if isinstance(metrics, (list, tuple)) else [] if metrics is None else [metrics]
        self.cv = cv or KFold(5, shuffle=True, random_state=1)
        super().__init__(oracle, hypermodel, **kwargs)

    def search(self, X, y, sample_weight=None, groups=None):
        """Runs trials on data; `groups` goes to splitters that want it."""
        super().search(X, y, sample_weight=sample_weight, groups=groups)

    def run_trial(self, trial, X, y, sample_weight=None, groups=None):
        """Mean scores over the folds; the estimator of the last fold is kept."""
        found: dict[str, list] = {}
        for train, test in self.cv.split(X, y, **({} if groups is None else {"groups": groups})):
            model = self.hypermodel.build(trial.hyperparameters)
            weighted = sample_weight is not None and "sample_weight" in inspect.signature(model.fit).parameters
            model.fit(_rows(X, train), _rows(y, train),
                      **({"sample_weight": _rows(sample_weight, train)} if weighted else {}))
            weights = {} if sample_weight is None else {"sample_weight": _rows(sample_weight, test)}
            part, truth = _rows(X, test), _rows(y, test)
            score = self.scoring(model, part, truth, **weights) if self.scoring else model.score(part, truth, **weights)
            found.setdefault("score", []).append(score)
            if self.metrics:
                predicted = model.predict(part)
                for metric in self.metrics:
                    found.setdefault(metric.__name__, []).append(metric(truth, predicted, **weights))
        self.save_model(trial.trial_id, model)
        return {name: float(np.mean(values)) for name, values in found.items()}

    def _path(self, trial_id):
        return os.path.join(self.get_trial_dir(trial_id), "model.pickle")

    def save_model(self, trial_id, model, step=0):
        """Pickles the estimator."""
        with atomic_write(self._path(trial_id)) as file:
            pickle.dump(model, file)

    def load_model(self, trial):
        """Unpickles the estimator of a trial; pickles run code, so only from a folder you trust."""
        with open(self._path(trial.trial_id), "rb") as file:
            return pickle.load(file)


def _rows(data, indices):
    """Rows of an array or a pandas object."""
    return data.iloc[indices] if hasattr(data, "iloc") else np.asarray(data)[indices]
