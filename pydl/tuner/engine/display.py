"""What a search prints."""

from __future__ import annotations

import time


def _short(value, width=18) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:.5g}"
    text = str(value)
    return text if len(text) <= width else text[:width - 3] + "..."


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}h {minutes:02d}m {seconds:02d}s"


class Display:
    """Prints the values of each trial when it begins and its score when it ends.

    Attributes:
        verbose: 0 for nothing.
    """

    def __init__(self):
        self.verbose = 1
        self._start: float | None = None
        self._trial_start: dict[str, float] = {}

    def on_trial_begin(self, oracle, trial) -> None:
        now = time.monotonic()
        self._start = now if self._start is None else self._start
        self._trial_start[trial.trial_id] = now
        if self.verbose < 1:
            return
        best = oracle.best_trial()
        known = {} if best is None else best.hyperparameters.values
        of = "" if oracle.max_trials is None else f" of {oracle.max_trials}"
        print(f"\nTrial {trial.trial_id}: number {len(oracle.trials)}{of}" + (
            f", attempt {trial.attempt + 1}" if trial.attempt else ""))
        if trial.hyperparameters.values:
            print(f"{'value':18}|{'best so far':18}|hyperparameter")
        for name, value in trial.hyperparameters.values.items():
            print(f"{_short(value):18}|{_short(known.get(name, '?')):18}|{name}")

    def on_trial_end(self, oracle, trial) -> None:
        if self.verbose < 1:
            return
        now, name = time.monotonic(), oracle.objective.name
        took = _duration(now - self._trial_start.get(trial.trial_id, now))
        print(f"\nTrial {trial.trial_id} {trial.status.lower()} [{took}]")
        if trial.score is not None:
            print(f"{name}: {trial.score}")
        elif trial.message:
            print(trial.message.strip().splitlines()[-1])
        best = oracle.best_trial()
        print(f"best {name} so far: {None if best is None else best.score}\n"
              f"total time: {_duration(now - (self._start or now))}")
