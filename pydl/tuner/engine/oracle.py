"""`Oracle`: proposes values, records what came of them."""

from __future__ import annotations

import functools
import json
import math
import os
import random
import shutil
import time

from pydl.reading import naming
from pydl.tuner.engine import sampling
from pydl.tuner.engine.attempts import failures, trial_of
from pydl.tuner.engine.display import Display
from pydl.tuner.engine.hyperparameters import HyperParameters, serialize
from pydl.tuner.engine.ledger import INTERRUPTED, Entry, Ledger
from pydl.tuner.engine.objective import Objective, create_objective
from pydl.tuner.engine.storage import optuna
from pydl.tuner.engine.trial import Trial, TrialStatus
from pydl.warning import warn

__all__ = ["Objective", "Oracle", "synchronized"]

MAX_COLLISIONS = 20  # draws of values that were tried before, until the space counts as exhausted
MESSAGE_LENGTH = 8000  # of a traceback; its end tells most


def synchronized(method):
    """For oracles written for Keras Tuner. Workers need no lock here, see `engine/ledger.py`."""
    return method


class Oracle:
    """Base of the search algorithms: subclass it and override `populate_space`.

    Args:
        objective: name of a metric, an `Objective`, a list of these (the sum of those to minimize, less the sum of
            those to maximize), or None where `run_trial` or `HyperModel.fit` returns a float to minimize.
        max_trials: how many sets of values are tried at most; None for any number.
        hyperparameters: `HyperParameters` that take the place of what the model declares under these names.
        allow_new_entries: whether the model may declare hyperparameters that are not in `hyperparameters`.
        tune_new_entries: whether these are tuned; otherwise they have their defaults.
        seed: makes proposals repeatable.
        max_retries_per_trial: how often a trial that failed is tried again.
        max_consecutive_failed_trials: after so many failed trials in a row the search ends with a RuntimeError.
    """

    def __init__(self, objective=None, max_trials=None, hyperparameters=None, allow_new_entries=True,
                 tune_new_entries=True, seed=None, max_retries_per_trial=0, max_consecutive_failed_trials=3):
        self.objective = create_objective(objective)
        self.max_trials = max_trials
        for name, value in (("tune_new_entries", tune_new_entries), ("allow_new_entries", allow_new_entries)):
            if not value and hyperparameters is None:
                raise ValueError(f"With {name}=False the search space must be given as `hyperparameters`.")
        self.hyperparameters = HyperParameters() if hyperparameters is None else hyperparameters
        self.allow_new_entries = allow_new_entries
        self.tune_new_entries = tune_new_entries
        self.is_seeded = seed is not None
        self.seed = random.randint(1, 10000) if seed is None else int(seed)
        self.max_retries_per_trial = max_retries_per_trial
        self.max_consecutive_failed_trials = max_consecutive_failed_trials
        # What the ledger said when it was last read.
        self.trials: dict[str, Trial] = {}
        self.ongoing_trials: dict[str, Trial] = {}  # tuner id, or "trial_id" of another worker's
        self.start_order: list[str] = []
        self.end_order: list[str] = []
        self._rows: list[list[Entry]] = []
        self._read: dict[tuple, Trial] = {}
        self._display = Display()
        self._ledger: Ledger | None = None
        self._draws = 0

    # ---- project -----------------------------------------------------------------------------------------------------

    def _set_project_dir(self, directory, project_name, storage=None, overwrite=False) -> bool:
        """Opens the study of a project. Returns whether it was there."""
        folder = os.path.join(str(directory), str(project_name))
        if overwrite:
            shutil.rmtree(folder, ignore_errors=True)
        self._ledger = Ledger(storage, project_name, folder, self.objective.direction, overwrite)
        settings = self._ledger.settings()
        found, known = "space" in settings, settings.get("objective", str(self.objective))
        if known != str(self.objective) or settings.get("oracle", type(self).__name__) != type(self).__name__:
            raise RuntimeError(f"The project {project_name!r} in {folder} belongs to a search of "
                               f"{settings.get('oracle')} for {known}; this is one of {type(self).__name__} for "
                               f"{self.objective}. Pass another `project_name`, or `overwrite=True`.")
        if "seed" in settings:
            with naming(f"The seed of {project_name!r} in {folder}"):
                seed, is_seeded = settings["seed"]
                seed = int(seed)
            if not self.is_seeded:  # else the one that is asked for now
                self.seed, self.is_seeded = seed, is_seeded
        for key, value in (("objective", str(self.objective)), ("oracle", type(self).__name__),
                           ("seed", [self.seed, self.is_seeded])):
            if settings.get(key) != value:
                self._ledger.set(key, value)
        self._reconcile(settings, f"The search space of the project {project_name!r} in {folder}")
        self.reload()
        return found

    def _reconcile(self, settings, where: str) -> None:
        """Brings the space that was declared before the project was opened and the one it holds together: the declared
        one holds, with what trials have found beside it. Where it has changed, trials with values that are possible no
        longer are left out, and a warning says so.

        Args:
            settings: of the ledger; "declared" is the space that the code declared, "space" has what trials found, too.
            where: for messages.
        """
        declared = json.loads(json.dumps(self.hyperparameters.get_config()["space"]))  # as the ledger gives it back
        if "space" in settings:
            with naming(where):
                stored = HyperParameters.from_config({"space": settings["space"], "values": {}})
                before = HyperParameters.from_config({"space": settings.get("declared", []), "values": {}})
            changes = self._changes(stored, before)
            self.hyperparameters.merge([hp for hp in stored.space if not before._exists(hp.name, hp.conditions)])
            if changes:
                rows = self._records().history()
                left_out = [row[-1].trial_id for row in rows if not self.hyperparameters.allows(row[-1].values)]
                self._records().set("left_out", left_out)
                warn(f"{where} has changed: {'; '.join(changes)}. The new one is searched;"
                     f" {len(rows) - len(left_out)} of {len(rows)} trials fit in and count, the others are left out.")
        for key, value in (("declared", declared), ("space", self.hyperparameters.get_config()["space"])):
            if settings.get(key) != json.loads(json.dumps(value)):
                self._records().set(key, value)

    def _changes(self, stored, before) -> list[str]:
        """What the declared space has otherwise than the one that is stored, of which `before` was declared."""
        def kept(hps, hp):
            return next((other for other in hps.space if other.name == hp.name and other.conditions == hp.conditions),
                        None)

        found = []
        for hp in self.hyperparameters.space:
            old = kept(stored, hp)
            if old is None:
                found.append(f"{hp.name!r} is new, {hp}")
            elif serialize(old) != json.loads(json.dumps(serialize(hp))):
                found.append(f"{hp.name!r} was {old}, is {hp}")
        return found + [f"{hp.name!r} is gone" for hp in before.space if kept(self.hyperparameters, hp) is None]

    def _records(self) -> Ledger:
        if self._ledger is None:  # an oracle used by itself: in memory
            self._ledger = Ledger(optuna().storages.InMemoryStorage(), "untitled_project", ".",
                                  self.objective.direction)
        return self._ledger

    def save(self) -> None:
        """Stores `get_state()`, where a subclass has one. All else is stored when it happens."""
        if state := self.get_state():
            self._records().set("state", state)

    def reload(self) -> None:
        """Reads what this and other workers have stored."""
        settings = self._records().settings()
        if "space" in settings:
            with naming("The search space that is stored"):
                self.hyperparameters = HyperParameters.from_config({"space": settings["space"], "values": {}})
                self.hyperparameters.ensure_active_values()
        if "state" in settings:
            self.set_state(settings["state"])
        self._refresh()

    def get_state(self) -> dict:
        """What a subclass wants to find again, as a dict for JSON."""
        return {}

    def set_state(self, state) -> None:
        """Takes over what `get_state` returned."""

    def _refresh(self) -> None:
        """Reads the ledger into `trials` and the other attributes, and what other workers found of the space."""
        settings = self._records().settings()
        if known := settings.get("space"):
            self.hyperparameters.merge(HyperParameters.from_config({"space": known, "values": {}}))
        left_out = set(settings.get("left_out", ()))
        self._rows = self._records().history()
        held = {t.trial_id: (tuner_id, t) for tuner_id, t in self.ongoing_trials.items()
                if self._records().holds(t.trial_id)}
        self.trials, self.ongoing_trials = {}, {}
        for row in self._rows:
            last = row[-1]
            if last.trial_id in left_out:
                continue
            if last.trial_id in held:
                tuner_id, trial = held[last.trial_id]
            else:
                tuner_id, trial = last.trial_id, self._trial(row)
            self.trials[last.trial_id] = trial
            if trial.status == TrialStatus.RUNNING:
                self.ongoing_trials[tuner_id] = trial
        self.start_order = list(self.trials)
        ended = [row[-1] for row in self._rows if row[-1].trial_id in self.trials
                 and self.trials[row[-1].trial_id].status in (TrialStatus.COMPLETED, TrialStatus.FAILED)]
        self.end_order = [entry.trial_id for entry in sorted(ended, key=lambda e: (e.ended, e.number))]

    def _trial(self, row: list[Entry]) -> Trial:
        """The trial of its attempts; the same object for the same attempt."""
        key = row[-1].number, row[-1].result["status"], len(self.hyperparameters.space)
        if key not in self._read:
            self._read[key] = trial_of(row, self.hyperparameters.copy())
        return self._read[key]

    # ---- space -------------------------------------------------------------------------------------------------------

    def get_space(self) -> HyperParameters:
        """A copy of the search space with its defaults."""
        return self.hyperparameters.copy()

    def update_space(self, hyperparameters) -> None:
        """Adds what a model declared.

        Raises:
            RuntimeError: if there is something new and `allow_new_entries` is False.
        """
        new = [hp for hp in hyperparameters.space if not self.hyperparameters._exists(hp.name, hp.conditions)]
        if new and not self.allow_new_entries:
            raise RuntimeError(f"`allow_new_entries` is False; the model declares {new}, not in `hyperparameters`.")
        if self.tune_new_entries:
            self.hyperparameters.merge(new)
        config = self.hyperparameters.get_config()["space"]
        if self._ledger is not None and self._ledger.settings().get("space") != config:
            self._ledger.set("space", config)

    # ---- proposing ---------------------------------------------------------------------------------------------------

    def populate_space(self, trial_id) -> dict:
        """Proposes the values of a new trial; to be overridden.

        Returns: {"status": "RUNNING", "values": dict}, {"status": "IDLE"} to wait for trials of other workers, or
            {"status": "STOPPED"} when there is nothing left to try.
        """
        raise NotImplementedError(f"{type(self).__name__} has no `populate_space(trial_id)`.")

    def _tried_key(self, values) -> tuple:
        """What makes two sets of values the same; hyperparameters found since have their defaults."""
        hps = HyperParameters()
        hps.space, hps._by_name = self.hyperparameters.space, self.hyperparameters._by_name
        hps.values = {name: value for name, value in values.items() if name in hps._by_name}  # others are not tuned
        hps.ensure_active_values()
        return tuple(sorted((name, str(value)) for name, value in hps.values.items()))

    def _tried(self) -> set:
        return {self._tried_key(trial.hyperparameters.values) for trial in self.trials.values()}

    def _new_values(self, sampler, trials=()) -> dict | None:
        """Values that were not tried, from `sampler(optuna.samplers, seed)`; None after too many that were."""
        tried = self._tried()
        for _ in range(MAX_COLLISIONS + 1):
            self._draws += 1
            seed = sampling.derived_seed(self.seed, len(self.trials), self._draws)
            values = sampling.propose(self.hyperparameters, functools.partial(sampler, seed=seed),
                                      self.objective.direction, trials)
            if self._tried_key(values) not in tried:
                return values
        return None

    def _random_values(self) -> dict | None:
        """Random values that were not tried; None when the space seems exhausted."""
        return self._new_values(lambda samplers, seed: samplers.RandomSampler(seed=seed))

    def create_trial(self, tuner_id) -> Trial:
        """The next trial for a worker: one it holds, one that waits for another attempt, or a new one.

        Returns: a `Trial` with status RUNNING, IDLE or STOPPED.
        """
        held = self.ongoing_trials.get(tuner_id)
        if held is not None and self._records().holds(held.trial_id):
            return held
        found = None
        while found is None:  # None: another worker was faster
            self._records().fail_dead()
            self._refresh()
            found = self._retry() or self._propose()
        trial = found
        if trial.status == TrialStatus.RUNNING:
            self.trials[trial.trial_id] = trial
            self.ongoing_trials[tuner_id] = trial
            self._refresh()
            self._display.on_trial_begin(self, trial)
        return trial

    def _retry(self) -> Trial | None:
        """Another attempt at the first trial that waits for one, if this worker gets it."""
        for index, row in enumerate(self._rows):
            trial = self.trials.get(row[-1].trial_id)
            if trial is not None and trial.status == TrialStatus.INVALID:
                hps = self.hyperparameters.copy()
                hps.values = dict(row[0].values)  # as proposed
                if self._claim(index, len(row), trial.trial_id, hps):
                    again = Trial(hps, trial.trial_id)
                    again.attempt, again.failures = len(row), failures(row)
                    return again
                return None
        return None

    def _propose(self) -> Trial | None:
        """A new trial; None if another worker was faster."""
        index = len(self._rows)
        trial_id = f"{index:0{len(str(self.max_trials))}d}"
        if self.max_trials and len(self.trials) >= self.max_trials:
            return Trial(self.get_space(), trial_id, TrialStatus.STOPPED)
        if not self.hyperparameters.space and self.ongoing_trials:  # the first trial is about to find the space
            return Trial(self.get_space(), trial_id, TrialStatus.IDLE)
        self._draws = 0
        response = self.populate_space(trial_id)
        hps = self.hyperparameters.copy()
        hps.values = dict(response.get("values") or {})
        if response["status"] == TrialStatus.RUNNING:
            hps.ensure_active_values()
            if not self._claim(index, 0, trial_id, hps):
                return None
        return Trial(hps, trial_id, response["status"])

    def _claim(self, index, attempt, trial_id, hps) -> bool:
        return self._records().claim(index, attempt, trial_id, hps.values, sampling.parameters(hps)) is not None

    # ---- results -----------------------------------------------------------------------------------------------------

    def update_trial(self, trial_id, metrics, step=0) -> Trial:
        """Adds metrics to a running trial.

        Raises:
            ValueError: if the objective is not among them.
        """
        trial = self.trials[trial_id]
        missing = [name for name in self.objective.names if name not in metrics]
        if missing and self.objective.name not in metrics:
            raise ValueError(f"The metrics of trial {trial_id} lack the objective {missing}; received {list(metrics)}.")
        metrics = dict(metrics)
        if self.objective.name not in metrics:
            metrics[self.objective.name] = self.objective.get_value(metrics)
        directions = {self.objective.name: self.objective.direction,
                      **getattr(self.objective, "name_to_direction", {})}
        for name, value in metrics.items():
            if not trial.metrics.exists(name):
                trial.metrics.register(name, directions.get(name))
            trial.metrics.update(name, value, step)
        return trial

    def score_trial(self, trial) -> None:
        """Sets `score` and `best_step` of a completed trial from its metrics."""
        trial.score = trial.metrics.get_best_value(self.objective.name)
        trial.best_step = trial.metrics.get_best_step(self.objective.name)

    def end_trial(self, trial) -> None:
        """Records how a trial ended; `trial.status` says it.

        Raises:
            RuntimeError: after `max_consecutive_failed_trials`, with the message of the last.
        """
        if not self._records().holds(trial.trial_id):
            raise ValueError(f"Trial {trial.trial_id} is not one that this worker runs.")
        if trial.status == TrialStatus.COMPLETED:
            self.score_trial(trial)
            if trial.score is None or math.isnan(trial.score):
                trial.status, trial.score = TrialStatus.INVALID, None
                trial.message = (f"The objective {self.objective.name} is NaN." if trial.metrics.metrics else
                                 "No metrics were reported.")
        try:
            self.update_space(trial.hyperparameters)
        except RuntimeError as error:
            self._finish(trial, TrialStatus.FAILED, str(error))
            raise
        if trial.status == TrialStatus.INVALID and trial.failures >= self.max_retries_per_trial:
            trial.status = TrialStatus.FAILED
        self._finish(trial, trial.status, trial.message)
        self.save()
        self._display.on_trial_end(self, trial)
        self._check_consecutive_failures()

    def _finish(self, trial, status, message=None) -> None:
        trial.hyperparameters.ensure_active_values()
        score = trial.score if status == TrialStatus.COMPLETED else None
        result = {"status": status, "metrics": trial.metrics.get_config(), "score": score,
                  "best_step": int(trial.best_step or 0), "message": message and message[-MESSAGE_LENGTH:],
                  "pruned": getattr(trial, "pruned", False)}
        self._records().finish(trial.trial_id, trial.hyperparameters.values, result, score)
        self.ongoing_trials = {k: t for k, t in self.ongoing_trials.items() if t.trial_id != trial.trial_id}
        self._refresh()

    def release(self, trial) -> None:
        """Gives a trial back that was interrupted: the next worker to ask, or the next run, starts it again."""
        if self._records().holds(trial.trial_id):
            self._finish(trial, INTERRUPTED)

    def _check_consecutive_failures(self) -> None:
        failed = 0
        for trial_id in reversed(self.end_order):
            if self.trials[trial_id].status != TrialStatus.FAILED:
                break
            failed += 1
        if failed >= self.max_consecutive_failed_trials:
            raise RuntimeError(f"{failed} trials in a row have failed, the limit is "
                               f"{self.max_consecutive_failed_trials}. The last one:\n"
                               f"{self.trials[self.end_order[-1]].message or ''}")

    def _warn_of_failure(self) -> None:
        """Says at the end of a search that no trial has given a result, if it is so."""
        failed = [t for t in self.trials.values() if t.status == TrialStatus.FAILED]
        if failed and not self._completed():
            warn(f"All {len(failed)} trials failed: there is no best one. The last message:\n"
                 f"{failed[-1].message or ''}")

    # ---- questions ---------------------------------------------------------------------------------------------------

    def get_trial(self, trial_id) -> Trial:
        """The trial of that id.

        Raises:
            KeyError: if there is none.
        """
        if trial_id not in self.trials:
            self._refresh()
        return self.trials[trial_id]

    def _completed(self) -> list[Trial]:
        done = [t for t in self.trials.values() if t.status == TrialStatus.COMPLETED]
        return sorted(done, key=lambda t: t.score, reverse=self.objective.direction == "max")

    def best_trial(self) -> Trial | None:
        """The best trial that was completed."""
        return next(iter(self._completed()), None)

    def get_best_trials(self, num_trials=1) -> list[Trial]:
        """Trials from the best on; if fewer are completed, followed by the others."""
        self._refresh()
        done = self._completed()
        if len(done) < num_trials:
            done += [t for t in self.trials.values() if t.status != TrialStatus.COMPLETED]
        return done[:num_trials]

    def remaining_trials(self) -> int | None:
        """How many trials may still begin; None without `max_trials`."""
        self._refresh()
        return max(self.max_trials - len(self.trials), 0) if self.max_trials else None

    def heartbeat(self, trial):
        """A context in which other workers know that this trial is being run."""
        return self._records().heartbeat(trial.trial_id)

    def should_prune(self, trial, step, value, pruner) -> bool:
        """Whether an Optuna pruner would end a trial whose objective is `value` after epoch `step`."""
        if not math.isnan(value):
            self._records().report(trial.trial_id, step, value)
        return self._records().should_prune(trial.trial_id, pruner)

    def wait(self) -> None:
        """Called before asking again after IDLE."""
        time.sleep(0.2)

    @property
    def verbose(self):
        return self._display.verbose

    @verbose.setter
    def verbose(self, value):
        self._display.verbose = 1 if value == "auto" else int(value)
