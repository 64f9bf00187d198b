"""What the attempts at a trial say about it."""

from __future__ import annotations

from pydl.tuner.engine.hyperparameters import HyperParameters
from pydl.tuner.engine.ledger import LOST, OPEN, Entry
from pydl.tuner.engine.metrics_tracking import MetricsTracker
from pydl.tuner.engine.trial import Trial, TrialStatus
from pydl.warning import warn

MAX_DEATHS = 3  # processes that may die in a trial; another one, and the trial counts as what kills them


def failures(row: list[Entry]) -> int:
    """How many attempts ended INVALID."""
    return sum(entry.result["status"] == TrialStatus.INVALID for entry in row)


def trial_of(row: list[Entry], hps: HyperParameters) -> Trial:
    """The trial of these attempts; `hps`, a copy of the space, becomes its own."""
    last = row[-1]
    status = last.result["status"]
    hps.values = dict(last.values)
    trial = Trial(hps, last.trial_id, TrialStatus.INVALID if status in OPEN else status, last.result.get("message"))
    try:
        trial.metrics = MetricsTracker.from_config(last.result.get("metrics", {"metrics": {}}))
    except ValueError as error:
        warn(f"The metrics of trial {last.trial_id} are damaged and left out: {error}")
    trial.score = last.result.get("score")
    trial.best_step = last.result.get("best_step", 0)
    trial.attempt, trial.failures = last.attempt, failures(row)
    deaths = sum(entry.result["status"] == LOST for entry in row)
    if status == LOST and deaths > MAX_DEATHS:
        trial.status = TrialStatus.FAILED
        trial.message = f"The process died in each of {deaths} attempts at this trial."
    return trial
