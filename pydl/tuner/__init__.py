"""Hyper-parameter tuning with Keras Tuner's interface: `import pydl.tuner as kt`.

A function `build(hp)` (or a `HyperModel`) says which models there are; a tuner tries some of them and keeps the weights
of each trial's best epoch. Optuna proposes and records (`pip install 'pydl[tune]'`): every trial is in its database the
moment it begins and ends, so that a search that was killed goes on where it stood, and processes that name the same
`storage` and `project_name` share one search.

    def build(hp):
        model = pydl.Sequential([pydl.layers.Dense(hp.Int("units", 16, 128, step=16), activation="relu"),
                                 pydl.layers.Dense(10, activation="softmax")])
        model.compile(hp.Choice("optimizer", ["adam", "sgd"]), "sparse_categorical_crossentropy",
                      metrics=["accuracy"])
        return model

    tuner = RandomSearch(build, "val_accuracy", max_trials=20, seed=1, directory="tuning", project_name="digits")
    tuner.search(x, y, validation_split=0.2, epochs=5)
    model = tuner.get_best_models()[0]
"""

from pydl.tuner import engine, errors, oracles, tuners
from pydl.tuner.engine.hypermodel import HyperModel
from pydl.tuner.engine.hyperparameters import HyperParameter, HyperParameters
from pydl.tuner.engine.objective import Objective
from pydl.tuner.engine.oracle import Oracle, synchronized
from pydl.tuner.tuners import BayesianOptimization, GridSearch, Hyperband, RandomSearch, SklearnTuner, Tuner

__all__ = ["BayesianOptimization", "GridSearch", "HyperModel", "HyperParameter", "HyperParameters", "Hyperband",
           "Objective", "Oracle", "RandomSearch", "SklearnTuner", "Tuner", "engine", "errors", "oracles",
           "synchronized", "tuners"]
