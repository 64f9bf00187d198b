"""`BaseTuner`: runs the trials of an oracle, whatever a trial is."""

from __future__ import annotations

import contextlib
import os
import traceback

from pydl.tuner import errors
from pydl.tuner.engine.hypermodel import get_hypermodel
from pydl.tuner.engine.objective import check_results, metrics_of
from pydl.tuner.engine.oracle import Oracle
from pydl.tuner.engine.trial import TrialStatus

__all__ = ["BaseTuner"]


class BaseTuner:
    """Runs trials; a subclass says what one is, in `run_trial`.

    Args:
        oracle: an `Oracle`.
        hypermodel: a `HyperModel`, a function `build(hp)`, or None where `run_trial` needs none.
        directory: folder of projects; the current one by default.
        project_name: folder of this project in it, and name of its study; "untitled_project" by default.
        overwrite: whether a project of this name is deleted, its trials in `storage` included. Otherwise the search
            goes on where it stood.
        storage: where the trials are recorded: an SQLAlchemy URL ("postgresql+psycopg://user@host/database"), an Optuna
            storage, or None for an SQLite file in the project's folder. Processes that pass the same storage and
            `project_name`, on one machine or many, share one search; `directory` should then be one they all see,
            because weights are files in it.
        pruner: an Optuna pruner that may end the training of a trial at the end of an epoch.
        logger: not used.
    """

    def __init__(self, oracle, hypermodel=None, directory=None, project_name=None, overwrite=False, storage=None,
                 pruner=None, logger=None):
        if not isinstance(oracle, Oracle):
            raise ValueError(f"Expected `oracle` to be an Oracle; received {oracle!r} of type "
                             f"{type(oracle).__name__}.")
        self.oracle = oracle
        self.hypermodel = get_hypermodel(hypermodel)
        self.directory = directory or "."
        self.project_name = project_name or "untitled_project"
        self.pruner = pruner
        self.logger = logger
        self.tuner_id = os.environ.get("KERASTUNER_TUNER_ID", "tuner0")
        self._populate_initial_space()
        found = self.oracle._set_project_dir(self.directory, self.project_name, storage, overwrite)
        if found and self.oracle.trials:
            print(f"Going on with the project in {self.project_dir}: {len(self.oracle.trials)} trials")

    # ---- space -------------------------------------------------------------------------------------------------------

    def _populate_initial_space(self) -> None:
        """Finds the hyperparameters, by building the model until every conditional scope was open once."""
        if self.hypermodel is None:
            self.oracle.update_space(self.oracle.get_space())
            return
        hp = self.oracle.get_space()
        self.hypermodel.declare_hyperparameters(hp)
        self.oracle.update_space(hp)
        hp = self.oracle.get_space()
        opened: list = []
        closed: list = []
        attempted: list = []
        while True:
            with contextlib.suppress(errors.FailedTrialError):  # the defaults need not work
                self.hypermodel.build(hp)
            self.oracle.update_space(hp)
            opened += [scope for scope in hp.active_scopes if scope not in opened]
            closed = [scope for scope in [*closed, *hp.inactive_scopes] if scope not in opened]
            scope = next((s for s in closed if s not in attempted), None)
            if scope is None:
                return
            attempted.append(scope)
            hp = self.oracle.get_space()
            hp.values = {condition.name: condition.values[0] for condition in scope}
            hp.ensure_active_values()

    # ---- search ------------------------------------------------------------------------------------------------------

    def search(self, *fit_args, **fit_kwargs):
        """Runs trials until there is nothing left to try.

        Arguments go to `run_trial`, from there to `HyperModel.fit` and `Model.fit`; verbose=0 also silences the tuner.
        """
        if "verbose" in fit_kwargs:
            self.oracle.verbose = fit_kwargs["verbose"]
        self.on_search_begin()
        while True:
            self.pre_create_trial()
            trial = self.oracle.create_trial(self.tuner_id)
            if trial.status == TrialStatus.STOPPED:
                break
            if trial.status == TrialStatus.IDLE:
                self.oracle.wait()
                continue
            try:
                with self.oracle.heartbeat(trial):
                    self.on_trial_begin(trial)
                    self._try_run(trial, *fit_args, **fit_kwargs)
                    self.on_trial_end(trial)
            finally:
                self.oracle.release(trial)  # where it has not ended: Ctrl-C, a fatal error
        self.on_search_end()
        self.oracle._warn_of_failure()

    def _try_run(self, trial, *fit_args, **fit_kwargs) -> None:
        try:
            results = self.run_trial(trial, *fit_args, **fit_kwargs)
            if results is not None or not trial.metrics.exists(self.oracle.objective.name):  # else by `update_trial`
                check_results(results, self.oracle.objective, f"{type(self).__name__}.run_trial()")
                found, step = metrics_of(results, self.oracle.objective)
                self.oracle.update_trial(trial.trial_id, found, step=step)
            trial.status = TrialStatus.COMPLETED
        except errors.FatalError:
            raise
        except Exception as error:
            failed = isinstance(error, errors.FailedTrialError)
            trial.status = TrialStatus.FAILED if failed else TrialStatus.INVALID
            trial.message = traceback.format_exc()

    def run_trial(self, trial, *fit_args, **fit_kwargs):
        """Evaluates `trial.hyperparameters`. Returns a float, a dict of metrics, a History, or a list of these."""
        raise NotImplementedError(f"{type(self).__name__} has no `run_trial`.")

    def save_model(self, trial_id, model, step=0):
        """Saves the model of a trial."""
        raise NotImplementedError(f"{type(self).__name__} has no `save_model`.")

    def load_model(self, trial):
        """Returns the model of a trial."""
        raise NotImplementedError(f"{type(self).__name__} has no `load_model`.")

    def pre_create_trial(self):
        """Called before the oracle is asked for a trial."""

    def on_trial_begin(self, trial):
        """Called when a trial begins."""

    def on_trial_end(self, trial):
        """Called when a trial has been run; records how it ended."""
        self.oracle.end_trial(trial)
        self.save()

    def on_search_begin(self):
        """Called when `search` begins."""

    def on_search_end(self):
        """Called when `search` ends."""

    # ---- results -----------------------------------------------------------------------------------------------------

    def _best_trials(self, count):
        trials = self.oracle.get_best_trials(count)
        return [trial for trial in trials if trial.status == TrialStatus.COMPLETED]

    def get_best_models(self, num_models=1):
        """Models of the best trials, from the best on, as `load_model` returns them."""
        return [self.load_model(trial) for trial in self._best_trials(num_models)]

    def get_best_hyperparameters(self, num_trials=1):
        """`HyperParameters` of the best trials, from the best on: `tuner.hypermodel.build(hp)` makes a fresh model."""
        return [trial.hyperparameters for trial in self._best_trials(num_trials)]

    def search_space_summary(self, extended=False):
        """Prints the hyperparameters and their ranges; `extended` also their values now."""
        space = self.oracle.get_space()
        print(f"Search space: {len(space.space)} hyperparameters")
        for hp in space.space:
            config = hp.get_config()
            print(f"{config.pop('name')} ({type(hp).__name__})")
            print(config)
            if extended:
                print(f"value: {space.values.get(hp.name)}")

    def results_summary(self, num_trials=10):
        """Prints the best trials."""
        print(f"Results in {self.project_dir}\nThe best {num_trials} trials by {self.oracle.objective}")
        for trial in self.oracle.get_best_trials(num_trials):
            print()
            trial.summary()

    @property
    def remaining_trials(self):
        """How many trials may still begin; None without `max_trials`."""
        return self.oracle.remaining_trials()

    # ---- files -------------------------------------------------------------------------------------------------------

    def save(self):
        """Stores what the oracle has to store; trials are stored as they end."""
        self.oracle.save()

    def reload(self):
        """Reads what all workers of the project have stored."""
        self.oracle.reload()

    @property
    def project_dir(self):
        """The project's folder; made when it is asked for."""
        folder = os.path.join(str(self.directory), str(self.project_name))
        os.makedirs(folder, exist_ok=True)
        return folder

    def get_trial_dir(self, trial_id):
        """The folder of a trial; made when it is asked for."""
        folder = os.path.join(self.project_dir, f"trial_{trial_id}")
        os.makedirs(folder, exist_ok=True)
        return folder
