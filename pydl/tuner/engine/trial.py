"""`Trial`: one set of values, what came of it, and how it ended."""

from __future__ import annotations

from pydl.tuner.engine.hyperparameters import HyperParameters
from pydl.tuner.engine.metrics_tracking import MetricsTracker

__all__ = ["Trial", "TrialStatus"]


class TrialStatus:
    """What a trial may be.

    RUNNING; COMPLETED; INVALID (an attempt failed, another may follow); FAILED (no other will); IDLE (no trial: the
    oracle waits for other workers); STOPPED (no trial: the search is over).
    """

    RUNNING = "RUNNING"
    IDLE = "IDLE"
    INVALID = "INVALID"
    STOPPED = "STOPPED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class Trial:
    """A set of values that is tried.

    Attributes:
        trial_id: string, from "0000".
        hyperparameters: `HyperParameters` with its values.
        metrics: `MetricsTracker`.
        score: the value of the objective, or None.
        best_step: the epoch of the score, from 0.
        status: see `TrialStatus`.
        message: the traceback, where it failed.
    """

    def __init__(self, hyperparameters, trial_id=None, status=TrialStatus.RUNNING, message=None):
        self.hyperparameters = hyperparameters
        self.trial_id = trial_id
        self.metrics = MetricsTracker()
        self.score = None
        self.best_step = 0
        self.status = status
        self.message = message
        self.attempt = 0  # how often it was started before
        self.failures = 0  # how often it ended INVALID before

    def summary(self) -> None:
        """Prints values, score and message."""
        print(f"Trial {self.trial_id}")
        self.display_hyperparameters()
        if self.score is not None:
            print(f"Score: {self.score}")
        if self.message is not None:
            print(self.message)

    def display_hyperparameters(self) -> None:
        """Prints the values."""
        for name, value in self.hyperparameters.values.items():
            print(f"{name}: {value}")
        if not self.hyperparameters.values:
            print("default configuration")

    def get_state(self) -> dict:
        """A dict for JSON."""
        return {"trial_id": self.trial_id, "hyperparameters": self.hyperparameters.get_config(),
                "metrics": self.metrics.get_config(), "score": self.score, "best_step": self.best_step,
                "status": self.status, "message": self.message}

    def set_state(self, state) -> None:
        """Takes over what `get_state` returned."""
        self.trial_id = state["trial_id"]
        self.hyperparameters = HyperParameters.from_config(state["hyperparameters"])
        self.metrics = MetricsTracker.from_config(state["metrics"])
        self.score, self.best_step = state["score"], state["best_step"]
        self.status, self.message = state["status"], state["message"]

    @classmethod
    def from_state(cls, state) -> Trial:
        """A trial from what `get_state` returned."""
        trial = cls(None)
        trial.set_state(state)
        return trial

    def __repr__(self):
        return f"Trial({self.trial_id!r}, {self.status}, score={self.score}, values={self.hyperparameters.values})"
