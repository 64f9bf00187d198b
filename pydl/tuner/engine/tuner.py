"""`Tuner`: trials that build and train a model."""

from __future__ import annotations

import copy
import json
import math
import os

from pydl import callbacks as callbacks_room
from pydl import models, optimizers, utils
from pydl.atomic import atomic_write
from pydl.reading import naming, read_json
from pydl.tuner import errors
from pydl.tuner.engine.base_tuner import BaseTuner
from pydl.tuner.engine.objective import check_results
from pydl.tuner.engine.sampling import derived_seed

__all__ = ["Tuner"]


class Tuner(BaseTuner):
    """Builds and trains a model for each trial, and keeps the weights of its best epoch.

    With a seed (that of the oracle) each execution of a trial starts with `utils.set_random_seed` of a number made of
    the seed, the trial and the execution. So a search is repeatable as a whole, also when it was killed and went on.

    Args:
        oracle, hypermodel, directory, project_name, overwrite: see `BaseTuner`.
        max_model_size: a model with more trainable weights fails; one without weights before it sees data, after its
            first epoch.
        optimizer, loss, metrics: take the place of what `build` compiled the model with.
        distribution_strategy: not supported, must be None. Several processes share a search by `storage`.
        logger: not used.
        tuner_id: name of this worker.
        executions_per_trial: how often each trial is trained, from new weights; its score is the mean.
        **kwargs: `storage` and `pruner` of `BaseTuner`.
    """

    def __init__(self, oracle, hypermodel=None, max_model_size=None, optimizer=None, loss=None, metrics=None,
                 distribution_strategy=None, directory=None, project_name=None, logger=None, tuner_id=None,
                 overwrite=False, executions_per_trial=1, **kwargs):
        if hypermodel is None and type(self).run_trial is Tuner.run_trial:
            raise ValueError("Expected a `hypermodel`: only a subclass that overrides `run_trial` can do without.")
        if distribution_strategy is not None:
            raise ValueError("`distribution_strategy` is not supported; let several processes share the search by "
                             f"`storage`. Received {distribution_strategy!r}.")
        self.max_model_size = max_model_size
        self.optimizer = optimizer
        self.loss = loss
        self.metrics = metrics
        self.distribution_strategy = None
        self.executions_per_trial = executions_per_trial
        super().__init__(oracle, hypermodel, directory=directory, project_name=project_name, logger=logger,
                         overwrite=overwrite, **kwargs)
        self.tuner_id = tuner_id or self.tuner_id

    # ---- one trial ---------------------------------------------------------------------------------------------------

    def _build_hypermodel(self, hp):
        model = self.hypermodel.build(hp)
        if isinstance(model, models.Model) and (self.optimizer or self.loss or self.metrics):
            changed = {"loss": self.loss, "metrics": copy.deepcopy(self.metrics), "optimizer": self.optimizer}
            if self.optimizer is not None and not isinstance(self.optimizer, str):
                changed["optimizer"] = optimizers.deserialize(optimizers.serialize(self.optimizer))
            model.compile(**{**(model._compile_config or {}), **{k: v for k, v in changed.items() if v}})
        return model

    def _try_build(self, hp):
        utils.clear_session()
        model = self._build_hypermodel(hp)
        if not isinstance(model, models.Model):
            raise errors.FatalTypeError(f"Expected `build(hp)` to return a pydl Model; received {model!r} of type "
                                        f"{type(model).__name__}.")
        self._check_size(model)
        return model

    def _check_size(self, model) -> None:
        size = sum(math.prod(w.shape) for w in model.trainable_weights) if model.built else 0
        if self.max_model_size and size > self.max_model_size:
            raise errors.FailedTrialError(f"The model has {size} trainable weights, more than max_model_size="
                                          f"{self.max_model_size}.")

    def _build_and_fit_model(self, trial, *args, **kwargs):
        hp = trial.hyperparameters
        model = self._try_build(hp)
        results = self.hypermodel.fit(hp, model, *args, **kwargs)
        self._store_shape(trial.trial_id, model)
        check_results(results, self.oracle.objective, "HyperModel.fit()")
        return results

    def run_trial(self, trial, *args, **kwargs):
        """Trains the model `executions_per_trial` times; to be overridden for anything else.

        Args:
            trial: the `Trial`; its values are `trial.hyperparameters`.
            *args, **kwargs: those of `search`. Callbacks are deep-copied for each execution.

        Returns: see `BaseTuner.run_trial`.
        """
        keep_best = _SaveBestEpoch(self.oracle.objective, self._get_checkpoint_fname(trial.trial_id))
        given = kwargs.pop("callbacks", None) or []
        results = []
        for execution in range(self.executions_per_trial):
            callbacks = [*self._copied(given), _Hooks(self, trial), keep_best]
            if self.pruner is not None and execution == 0:
                callbacks.append(_Prune(self, trial))
            self._point_logs(callbacks, trial, execution)
            if self.oracle.is_seeded:
                utils.set_random_seed(derived_seed(self.oracle.seed, int(trial.trial_id), trial.failures, execution))
            results.append(self._build_and_fit_model(trial, *args, **{**kwargs, "callbacks": callbacks}))
            if getattr(trial, "pruned", False):
                break
        return results

    def _copied(self, callbacks):
        try:
            return list(copy.deepcopy(callbacks))
        except Exception as error:
            raise errors.FatalValueError(f"Callbacks are deep-copied for each trial; {callbacks} cannot be: {error}"
                                         ) from error

    @staticmethod
    def _point_logs(callbacks, trial, execution) -> None:
        """A folder for each execution, for callbacks that write logs into one."""
        for callback in callbacks:
            if type(callback).__name__ == "TensorBoard" and hasattr(callback, "log_dir"):
                callback.log_dir = os.path.join(str(callback.log_dir), trial.trial_id, f"execution{execution}")

    # ---- models ------------------------------------------------------------------------------------------------------

    def save_model(self, trial_id, model, step=0):
        """Saves the weights of a trial where `load_model` finds them; for a `run_trial` of one's own."""
        model.save_weights(self._get_checkpoint_fname(trial_id))
        self._store_shape(trial_id, model)

    def load_model(self, trial):
        """The model of a trial with the weights of its best epoch.

        Raises:
            FileNotFoundError: if they are not in the project's folder.
        """
        path = self._get_checkpoint_fname(trial.trial_id)
        if not os.path.exists(path):
            raise FileNotFoundError(f"Trial {trial.trial_id} has no weights at {path}. If it was run on another machine"
                                    ", let `directory` be a folder that all machines share.")
        model = self._try_build(trial.hyperparameters)
        self._load_weights(model, trial.trial_id)
        return model

    def _store_shape(self, trial_id, model) -> None:
        with atomic_write(self._get_build_config_fname(trial_id), "w") as file:
            json.dump(model.get_build_config(), file)

    def _load_weights(self, model, trial_id) -> None:
        """Loads what a trial saved, also into a model that has no weights before it sees data."""
        if not model.built:
            path = self._get_build_config_fname(trial_id)
            with naming(path):
                model.build_from_config(read_json(path))
        if model.optimizer is not None and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)  # its state was saved too
        model.load_weights(self._get_checkpoint_fname(trial_id))

    def _get_checkpoint_fname(self, trial_id):
        return os.path.join(self.get_trial_dir(trial_id), "checkpoint.weights.h5")

    def _get_build_config_fname(self, trial_id):
        return os.path.join(self.get_trial_dir(trial_id), "build_config.json")

    # ---- hooks -------------------------------------------------------------------------------------------------------

    def on_batch_begin(self, trial, model, batch, logs):
        """Called when a batch begins."""

    def on_batch_end(self, trial, model, batch, logs=None):
        """Called when a batch ends."""

    def on_epoch_begin(self, trial, model, epoch, logs=None):
        """Called when an epoch begins."""

    def on_epoch_end(self, trial, model, epoch, logs=None):
        """Called when an epoch ends; `logs` holds the objective."""


class _Hooks(callbacks_room.Callback):
    """Calls the hooks of a tuner."""

    def __init__(self, tuner, trial):
        super().__init__()
        self._tuner, self._trial = tuner, trial
        # A callback for each batch costs time: only where somebody listens.
        if type(tuner).on_batch_begin is not Tuner.on_batch_begin:
            self.on_train_batch_begin = lambda batch, logs=None: tuner.on_batch_begin(trial, self.model, batch, logs)
        if type(tuner).on_batch_end is not Tuner.on_batch_end:
            self.on_train_batch_end = lambda batch, logs=None: tuner.on_batch_end(trial, self.model, batch, logs)

    def on_epoch_begin(self, epoch, logs=None):
        self._tuner.on_epoch_begin(self._trial, self.model, epoch, logs=logs)

    def on_epoch_end(self, epoch, logs=None):
        self._tuner._check_size(self.model)  # it may have had no weights before it saw data
        self._tuner.on_epoch_end(self._trial, self.model, epoch, logs=logs)


class _SaveBestEpoch(callbacks_room.Callback):
    """Saves the weights when the objective is better than ever; without one in the logs, after every epoch."""

    _kept = ("_best",)

    def __init__(self, objective, path):
        super().__init__()
        self._objective, self._path = objective, path
        self._best = math.nan

    def on_epoch_end(self, epoch, logs=None):
        if self._objective.has_value(logs or {}):
            value = float(self._objective.get_value(logs))
            if not self._objective.better_than(value, self._best):
                return
            self._best = value
        self.model.save_weights(self._path)


class _Prune(callbacks_room.Callback):
    """Reports the objective of each epoch and ends the training where the pruner says so."""

    def __init__(self, tuner, trial):
        super().__init__()
        self._tuner, self._trial = tuner, trial

    def on_epoch_end(self, epoch, logs=None):
        oracle = self._tuner.oracle
        if not oracle.objective.has_value(logs or {}):
            return
        value = float(oracle.objective.get_value(logs))
        if oracle.should_prune(self._trial, epoch, value, self._tuner.pruner):
            self._trial.pruned = True
            self.model.stop_training = True
