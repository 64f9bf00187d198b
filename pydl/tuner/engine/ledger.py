"""The record of a search in an Optuna study, shared by all its workers without a lock.

Every attempt at a trial is one trial of Optuna, created with everything that is known of it. The study numbers its
trials in the order in which they came, and that order decides: an entry says "this is attempt a at trial i", and the
first entry that says so is the one; a worker that finds an earlier one has lost, and asks again. So nothing is proposed
twice, whoever dies in between, and what a worker sees is a function of the entries.

An attempt ends by a result (state, metrics, message) and Optuna's final state, in this order. A final state without a
result was set by somebody else: the worker had died.
"""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import re
from typing import Any

from pydl.process import has_ended, this_process
from pydl.reading import sentence
from pydl.tuner.engine.storage import GRACE_SECONDS, Heartbeat, naming_study, open_storage, quiet
from pydl.warning import warn

LOST = "LOST"  # its process died
INTERRUPTED = "INTERRUPTED"  # Ctrl-C, or an error that ended the search
OPEN = (LOST, INTERRUPTED)
STATUSES = (*OPEN, "RUNNING", "COMPLETED", "INVALID", "FAILED")
_KINDS = {"index": (int,), "attempt": (int,), "trial_id": (str,), "values": (dict,), "result": (dict,),
          "owner": (dict, type(None))}


@dataclasses.dataclass
class Entry:
    """One attempt.

    Attributes:
        index: number of the trial.
        attempt: number of the attempt.
        trial_id: the trial's name.
        values: hyperparameters; those at the end, once it has ended.
        result: dict with status, metrics, score, best_step, message; {"status": "RUNNING"} before the end.
        number: that of Optuna's trial.
        ended: when it ended.
    """

    index: int
    attempt: int
    trial_id: str
    values: dict
    result: dict
    number: int
    ended: datetime.datetime | None
    owner: dict | None


def _entry(trial, count: int) -> Entry:
    """The entry of one of Optuna's trials, of `count` in the study. Raises for a record that is not whole."""
    held = trial.user_attrs
    result = held.get("result")
    if not trial.state.is_finished():
        result = {"status": "RUNNING"}
    elif result is None:
        result = {"status": LOST}
    entry = Entry(held["index"], held["attempt"], held["trial_id"], held.get("final") or held["values"], result,
                  trial.number, trial.datetime_complete, held["owner"])
    for name, kinds in _KINDS.items():
        value = getattr(entry, name)
        if type(value) not in kinds or (kinds == (int,) and not 0 <= value < count):
            raise ValueError(f"its `{name}` is {value!r}"[:200])
    if not re.fullmatch(r"[\w.-]+", entry.trial_id):  # it becomes the name of a folder
        raise ValueError(f"its `trial_id` is {entry.trial_id!r}"[:200])
    if result["status"] not in STATUSES or (trial.state.is_finished() and entry.ended is None):
        raise ValueError(f"it ended as {result['status']!r} at {entry.ended}"[:200])
    if result["status"] == "COMPLETED" and not isinstance(result.get("score"), (int, float)):
        raise ValueError(f"its score is {result.get('score')!r}"[:200])
    return entry


def _unreadable(index: int, attempt: int, trial_id: str, status: str, values: dict) -> Entry:
    """What stands for an attempt whose record is damaged, so that the others keep their places."""
    result = {"status": status, "message": "The record of this trial is damaged."}
    return Entry(index, attempt, trial_id, values, result, -1, datetime.datetime.min, None)


class Ledger:
    """The study of a project. Trials whose records are damaged are left out, with a warning.

    Args:
        storage: see `open_storage`.
        name: name of the study.
        folder: where the SQLite file goes by default.
        direction: "min" or "max".
        overwrite: whether a study of that name is deleted first.
    """

    def __init__(self, storage, name, folder, direction, overwrite=False):
        self._name, self._place = name, folder if storage is None else storage
        self._unread: set[int] = set()  # numbers of trials that a warning was given of
        with quiet() as optuna, self._naming():
            backend = open_storage(storage, folder)
            if overwrite and name in optuna.study.get_all_study_names(backend):
                optuna.delete_study(study_name=name, storage=backend)
            self.study = optuna.create_study(
                storage=backend, study_name=name, load_if_exists=True,
                direction="maximize" if direction == "max" else "minimize")
        self._storage = self.study._storage  # what it made of `backend`: with a cache of ended trials
        self._id = self._storage.get_study_id_from_name(name)
        self._held: dict[str, int] = {}  # trial_id -> Optuna's id of the attempt this worker runs

    # ---- settings ----------------------------------------------------------------------------------------------------

    def settings(self) -> dict:
        """What was stored with `set`."""
        with self._naming():
            return self._storage.get_study_user_attrs(self._id)

    def set(self, key: str, value) -> None:
        """Stores something for all workers, and for the next run."""
        self._storage.set_study_user_attr(self._id, key, value)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def history(self) -> list[list[Entry]]:
        """The attempts at each trial, in the order of the trials."""
        found: dict[tuple[int, int], Entry] = {}
        trials = self._trials()
        for trial in trials:
            if "index" not in trial.user_attrs:
                continue  # not one of ours
            try:
                entry = _entry(trial, len(trials) + len(self._unread))
            except (ValueError, TypeError, KeyError) as error:
                self._leave_out(trial.number, error)
                continue
            found.setdefault((entry.index, entry.attempt), entry)
        rows: list[list[Entry]] = []
        width = max((len(entry.trial_id) for entry in found.values()), default=0)
        for (index, attempt), entry in sorted(found.items()):
            while len(rows) <= index:
                rows.append([])
            while len(rows[index]) < attempt:
                rows[index].append(_unreadable(index, len(rows[index]), entry.trial_id, LOST, entry.values))
            rows[index].append(entry)
        return [row or [_unreadable(i, 0, f"{i:0{width}d}", "FAILED", {})] for i, row in enumerate(rows)]

    def _trials(self) -> list:
        """The trials of the study in their order. One that cannot be read hides all from Optuna: then they are read one
        by one, and it is left out."""
        try:
            with self._naming():
                return sorted(self._storage.get_all_trials(self._id, deepcopy=False), key=lambda t: t.number)
        except (ValueError, TypeError, KeyError):
            pass
        found: list = []
        with self._naming():
            for number in itertools.count():
                try:
                    trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
                except KeyError:
                    return found
                try:
                    found.append(self._storage.get_trial(trial_id))
                except (ValueError, TypeError, KeyError) as error:
                    self._leave_out(number, error)
        return found

    def _leave_out(self, number, error) -> None:
        if number not in self._unread:
            self._unread.add(number)
            warn(f"Trial number {number} of the study {self._name!r} in {self._place} is damaged and left out:"
                 f" {sentence(error)}")

    def _naming(self):
        return naming_study(self._name, self._place)

    def fail_dead(self) -> None:
        """Ends the running attempts of processes that are no more."""
        with quiet() as optuna:
            optuna.storages.fail_stale_trials(self.study)
            running = optuna.trial.TrialState.RUNNING
            for trial in self._trials():
                if trial.state == running and has_ended(trial.user_attrs.get("owner")):
                    self._end(trial._trial_id, optuna.trial.TrialState.FAIL)

    # ---- writing -----------------------------------------------------------------------------------------------------

    def claim(self, index: int, attempt: int, trial_id: str, values: dict, parameters=()) -> Entry | None:
        """Enters an attempt. Returns None if another worker was first.

        Args:
            index, attempt, trial_id, values: see `Entry`.
            parameters: (name, value, Optuna's distribution) for those who look at the study with Optuna's tools.
        """
        with quiet() as optuna:
            state = optuna.trial.TrialState
            template = optuna.trial.FrozenTrial(
                number=-1, trial_id=-1, state=state.RUNNING, value=None, values=None, intermediate_values={},
                datetime_start=datetime.datetime.now(), datetime_complete=None, system_attrs={},
                params={name: value for name, value, _ in parameters},
                distributions={name: distribution for name, _, distribution in parameters},
                user_attrs={"index": index, "attempt": attempt, "trial_id": trial_id, "values": values,
                            "owner": this_process()})
            number = self._storage.create_new_trial(self._id, template)
            mine = self._storage.get_trial(number)
            rows = self.history()
            entry = rows[index][attempt]
            if entry.number != mine.number:
                self._end(number, state.FAIL)
                return None
        self._held[entry.trial_id] = number
        return entry

    def heartbeat(self, trial_id: str) -> Heartbeat:
        """A context in which others know that this worker lives."""
        return Heartbeat(self._storage, self._held[trial_id])

    def holds(self, trial_id: str) -> bool:
        """Whether this worker runs the trial."""
        return trial_id in self._held

    def finish(self, trial_id: str, values: dict, result: dict[str, Any], value: float | None) -> None:
        """Ends the attempt this worker holds; `value` is the score where it has one."""
        number = self._held.pop(trial_id)
        with quiet() as optuna:
            state = optuna.trial.TrialState
            final = state.FAIL if value is None else state.PRUNED if result.get("pruned") else state.COMPLETE
            try:
                self._storage.set_trial_user_attr(number, "final", values)
                self._storage.set_trial_user_attr(number, "result", result)
            except optuna.exceptions.UpdateFinishedTrialError:
                return  # this process stood still for longer than the grace; others went on without it
            self._end(number, final, None if value is None else [value])

    def _end(self, number: int, state, values=None) -> None:
        with quiet() as optuna:
            try:
                self._storage.set_trial_state_values(number, state, values)
            except optuna.exceptions.UpdateFinishedTrialError:
                pass  # another worker was first

    # ---- pruning -----------------------------------------------------------------------------------------------------

    def report(self, trial_id: str, step: int, value: float) -> None:
        """Stores the objective at an epoch, for a pruner."""
        self._storage.set_trial_intermediate_value(self._held[trial_id], step, float(value))

    def should_prune(self, trial_id: str, pruner) -> bool:
        """Whether an Optuna pruner would end the trial here."""
        with quiet():
            return bool(pruner.prune(self.study, self._storage.get_trial(self._held[trial_id])))


__all__ = ["GRACE_SECONDS", "INTERRUPTED", "LOST", "OPEN", "Entry", "Ledger"]
