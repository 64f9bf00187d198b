"""The search algorithms."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pydl.tuner.engine import sampling
from pydl.tuner.engine.oracle import Oracle
from pydl.tuner.engine.trial import Trial, TrialStatus
from pydl.warning import warn

__all__ = ["BayesianOptimizationOracle", "GridSearchOracle", "HyperbandOracle", "RandomSearchOracle"]

STOPPED = {"status": TrialStatus.STOPPED, "values": None}
IDLE = {"status": TrialStatus.IDLE, "values": None}


def running(values) -> dict:
    """The answer of `populate_space` with these values; STOPPED without."""
    return {"status": TrialStatus.RUNNING, "values": values} if values is not None else STOPPED


class RandomSearchOracle(Oracle):
    """Random values, never the same twice; see `RandomSearch`."""

    def __init__(self, objective=None, max_trials=10, seed=None, hyperparameters=None, allow_new_entries=True,
                 tune_new_entries=True, max_retries_per_trial=0, max_consecutive_failed_trials=3):
        super().__init__(objective, max_trials, hyperparameters, allow_new_entries, tune_new_entries, seed,
                         max_retries_per_trial, max_consecutive_failed_trials)

    def populate_space(self, trial_id):
        return running(self._random_values())


class GridSearchOracle(Oracle):
    """All combinations of values; see `GridSearch`."""

    def __init__(self, objective=None, max_trials=None, seed=None, hyperparameters=None, allow_new_entries=True,
                 tune_new_entries=True, max_retries_per_trial=0, max_consecutive_failed_trials=3):
        super().__init__(objective, max_trials, hyperparameters, allow_new_entries, tune_new_entries, seed,
                         max_retries_per_trial, max_consecutive_failed_trials)
        self._grid: Iterator[dict] = iter(())
        self._grid_size = -1  # of the space the grid was made for
        self._next: dict | None = None

    def populate_space(self, trial_id):
        if len(self.hyperparameters.space) != self._grid_size:  # also when a trial declared something new
            self._grid_size = len(self.hyperparameters.space)
            self._grid = sampling.combinations(self.get_space())
            self._next = next(self._grid, None)
        tried = self._tried()
        while self._next is not None and self._tried_key(self._next) in tried:
            self._next = next(self._grid, None)
        if self._next is not None:
            return running(dict(self._next))
        return IDLE if self.ongoing_trials else STOPPED  # what runs may declare something new


class BayesianOptimizationOracle(Oracle):
    """Values that past trials make promising; see `BayesianOptimization`."""

    def __init__(self, objective=None, max_trials=10, num_initial_points=None, alpha=1e-4, beta=2.6, seed=None,
                 hyperparameters=None, allow_new_entries=True, tune_new_entries=True, max_retries_per_trial=0,
                 max_consecutive_failed_trials=3):
        super().__init__(objective, max_trials, hyperparameters, allow_new_entries, tune_new_entries, seed,
                         max_retries_per_trial, max_consecutive_failed_trials)
        if (alpha, beta) != (1e-4, 2.6):
            warn("`alpha` and `beta` belong to Gaussian processes; this search uses a tree-structured Parzen "
                 f"estimator, which has no such settings. Received: alpha={alpha}, beta={beta}.")
        self.num_initial_points = num_initial_points
        self.alpha = alpha
        self.beta = beta

    def populate_space(self, trial_id):
        done = [t for t in self.trials.values() if t.status == TrialStatus.COMPLETED and math.isfinite(t.score)]
        initial = self.num_initial_points or max(3 * len(self.hyperparameters.space), 3)
        if len(done) < initial:
            return running(self._random_values())
        known = [(t.hyperparameters.values, t.score) for t in done]
        known += [(t.hyperparameters.values, None) for t in self.ongoing_trials.values()]

        def sampler(samplers, seed):
            return samplers.TPESampler(seed=seed, n_startup_trials=1, multivariate=True, group=True,
                                       constant_liar=True)

        values = self._new_values(sampler, known)
        return running(self._random_values() if values is None else values)


class HyperbandOracle(Oracle):
    """Many trials of few epochs, of which the best go on; see `Hyperband`.

    A trial has values of the names "tuner/epochs" (up to which it is trained, counted from the first), "tuner/bracket"
    and "tuner/round", "tuner/initial_epoch" and, when it goes on where another one stopped, "tuner/trial_id". A
    `run_trial` of one's own should look at them.
    """

    def __init__(self, objective=None, max_epochs=100, factor=3, hyperband_iterations=1, seed=None,
                 hyperparameters=None, allow_new_entries=True, tune_new_entries=True, max_retries_per_trial=0,
                 max_consecutive_failed_trials=3):
        super().__init__(objective, None, hyperparameters, allow_new_entries, tune_new_entries, seed,
                         max_retries_per_trial, max_consecutive_failed_trials)
        if factor < 2:
            raise ValueError(f"Expected `factor` to be at least 2; received {factor}.")
        if max_epochs < 1:
            raise ValueError(f"Expected `max_epochs` to be at least 1; received {max_epochs}.")
        self.max_epochs = max_epochs
        self.factor = factor
        self.hyperband_iterations = hyperband_iterations or math.inf

    def _get_num_brackets(self) -> int:
        brackets, epochs = 0, self.max_epochs
        while epochs >= 1:
            epochs /= self.factor
            brackets += 1
        return brackets

    def _get_size(self, bracket: int, number: int) -> int:
        """Trials in a round: such that all brackets cost about the same."""
        last = math.ceil(1 + math.log(self.max_epochs, self.factor)) / (bracket + 1)
        return math.ceil(last * self.factor ** (bracket - number))

    def _get_epochs(self, bracket: int, number: int) -> int:
        """Epochs up to which a round trains."""
        return math.ceil(self.max_epochs / self.factor ** (bracket - number))

    def _rounds(self) -> dict[tuple[int, int], list[list[Trial]]]:
        """The trials of each round of each bracket, by (iteration, bracket)."""
        found: dict[tuple[int, int], list[list[Trial]]] = {}
        where: dict[str, tuple[int, int]] = {}
        begun = [0] * self._get_num_brackets()
        for trial in self.trials.values():
            values = trial.hyperparameters.values
            bracket, number = values["tuner/bracket"], values["tuner/round"]
            if number == 0:
                key = begun[bracket] // self._get_size(bracket, 0), bracket
                begun[bracket] += 1
            else:
                key = where[values["tuner/trial_id"]]
            where[trial.trial_id] = key
            found.setdefault(key, [[] for _ in range(bracket + 1)])[number].append(trial)
        return found

    def populate_space(self, trial_id):
        rounds, iteration, exhausted = self._rounds(), 0, False
        while iteration < self.hyperband_iterations:
            for bracket in reversed(range(self._get_num_brackets())):
                trials = rounds.get((iteration, bracket)) or [[] for _ in range(bracket + 1)]
                size = self._get_size(bracket, 0)
                if len(trials[0]) < size:
                    values = None if exhausted else self._random_values()
                    if values is not None:
                        return running({**values, **self._labels(bracket, 0)})
                    exhausted, size = True, len(trials[0])  # no others will join: go on with these
                for number in range(1, bracket + 1):
                    before, size = size, min(size, self._get_size(bracket, number))
                    values = self._promoted(trials[number - 1], trials[number], before, size)
                    if values is not None:
                        return running({**values, **self._labels(bracket, number)})
            iteration += 1
            if exhausted and all(key[0] < iteration for key in rounds):
                break
        return IDLE if self.ongoing_trials else STOPPED

    def _labels(self, bracket, number) -> dict:
        first = self._get_epochs(bracket, number - 1) if number else 0
        return {"tuner/epochs": self._get_epochs(bracket, number), "tuner/initial_epoch": first,
                "tuner/bracket": bracket, "tuner/round": number}

    def _promoted(self, past: list[Trial], begun: list[Trial], past_size: int, size: int) -> dict | None:
        """Values of the best of a round that is sure to be among the `size` that go on, if there is one."""
        if len(begun) >= size:
            return None
        gone = {t.hyperparameters.values["tuner/trial_id"] for t in begun}
        left = [t for t in past if t.trial_id not in gone and t.status in (TrialStatus.COMPLETED, TrialStatus.FAILED)]
        good = [t for t in left if t.status == TrialStatus.COMPLETED]
        if len(left) <= past_size - size or not good:
            return None
        best = (max if self.objective.direction == "max" else min)(good, key=lambda t: t.score)
        return {**best.hyperparameters.values, "tuner/trial_id": best.trial_id}
