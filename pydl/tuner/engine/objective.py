"""What a search looks for: the name of a metric and whether less or more of it is better."""

from __future__ import annotations

import math
import re

import numpy as np

from pydl import callbacks, losses, metrics
from pydl.tuner.errors import FatalTypeError, FatalValueError

__all__ = ["Objective", "create_objective", "infer_metric_direction"]

# Names that scripts use for what is exported under others.
_SHORT = {"loss": "min", "crossentropy": "min", "ce": "min", "mse": "min", "mae": "min", "mape": "min", "msle": "min",
          "rmse": "min", "acc": "max"}


def _key(name: str) -> str:
    return name.replace("_", "").lower()


def _directions() -> dict[str, str]:
    """What is known of exported names: metrics tell it, of losses less is better."""
    known = {_key(name): "min" for name in losses.__all__ if name not in ("deserialize", "get", "serialize")}
    for name in metrics.__all__:
        direction = getattr(getattr(metrics, name), "_direction", None)
        if direction is not None:
            known[_key(name)] = "max" if direction == "up" else "min"
    del known["cosinesimilarity"]  # the metric of this name grows with similarity, the loss falls
    return {**known, **_SHORT}


def infer_metric_direction(name: str) -> str | None:
    """"min" or "max" for the name of a metric or loss, also with "val_" before it; None where it is not known."""
    return _directions().get(_key(re.sub(r"_\d+$", "", name.removeprefix("val_").removeprefix("weighted_"))))


class Objective:
    """A metric and its direction.

    Args:
        name: name of the metric in the logs of `fit`, e.g. "val_accuracy".
        direction: "min" or "max".
    """

    def __init__(self, name, direction):
        if direction not in ("min", "max"):
            raise ValueError(f"Objective {name!r}: expected `direction` to be 'min' or 'max'; received {direction!r}.")
        self.name = name
        self.direction = direction

    @property
    def names(self) -> list[str]:
        """The metrics it is made of."""
        return [self.name]

    def has_value(self, logs) -> bool:
        """Whether the logs hold it."""
        return all(name in logs for name in self.names)

    def get_value(self, logs):
        """Its value in the logs."""
        return logs[self.name]

    def better_than(self, a, b) -> bool:
        """Whether the value `a` is better than `b`; any number is better than NaN."""
        if math.isnan(b):
            return not math.isnan(a)
        return a > b if self.direction == "max" else a < b

    def __eq__(self, other):
        return isinstance(other, Objective) and str(self) == str(other)

    def __hash__(self):
        return hash(str(self))

    def __str__(self):
        return f'Objective(name="{self.name}", direction="{self.direction}")'

    __repr__ = __str__


class DefaultObjective(Objective):
    """The number that `run_trial` or `HyperModel.fit` returns, to be minimized."""

    def __init__(self):
        super().__init__("default_objective", "min")


class MultiObjective(Objective):
    """The sum of objectives to minimize, less the sum of those to maximize; to be minimized."""

    def __init__(self, objectives):
        super().__init__("multi_objective", "min")
        self.objectives = objectives
        self.name_to_direction = {o.name: o.direction for o in objectives}

    @property
    def names(self) -> list[str]:
        return list(self.name_to_direction)

    def get_value(self, logs):
        return sum(logs[name] if direction == "min" else -logs[name]
                   for name, direction in self.name_to_direction.items())

    def __str__(self):
        return f"Multi{super().__str__()}: [{', '.join(sorted(map(str, self.objectives)))}]"

    __repr__ = __str__


def create_objective(objective) -> Objective:
    """An Objective from one, from a metric's name, a list of those, or None.

    Raises:
        ValueError: for a name whose direction is not known.
    """
    if objective is None:
        return DefaultObjective()
    if isinstance(objective, (list, tuple)):
        return MultiObjective([create_objective(o) for o in objective])
    if isinstance(objective, Objective):
        return objective
    if not isinstance(objective, str):
        raise TypeError(f"Expected `objective` to be a string, an Objective, a list of these, or None; received "
                        f"{objective!r} of type {type(objective).__name__}.")
    direction = infer_metric_direction(objective)
    if direction is None:
        raise ValueError(f"Could not infer whether more or less of {objective!r} is better. Write "
                         f"Objective({objective!r}, direction=\"min\"), or \"max\".")
    return Objective(objective, direction)


# ---- results of a trial ----------------------------------------------------------------------------------------------


def check_results(results, objective: Objective, where: str) -> None:
    """Raises a fatal error, naming `where`, unless `results` are a float, dict, History, or a list of these, that hold
    the objective."""
    if isinstance(results, list) and results:
        for result in results:
            check_results(result, objective, where)
    elif isinstance(results, (int, float, np.number)):
        return
    elif results is None or isinstance(results, list):
        raise FatalTypeError(f"{where} returned {results}; expected the metrics of the trial. Did you forget to "
                             f"return what `fit` returned?")
    elif not isinstance(results, (dict, callbacks.History)):
        raise FatalTypeError(f"{where} returned {results!r} of type {type(results).__name__}; expected a float, a "
                             "dict, a History, or a list of these.")
    else:
        found = results if isinstance(results, dict) else results.history
        if isinstance(objective, DefaultObjective) and objective.name not in found:
            raise FatalTypeError(f"{where} returned {type(results).__name__} while no `objective` was specified; "
                                 f"expected a float. Its metrics: {list(found)}.")
        if objective.name not in found and not objective.has_value(found):
            raise FatalValueError(f"{where} returned no {' and '.join(objective.names)}, which is the objective. "
                                  f"Returned: {list(found)}." + (
                                      " Was there validation data?" if "val_" in str(objective.names) else ""))


def _at_best_epoch(history: dict, objective: Objective) -> tuple[dict, int]:
    """Metrics and number of the epoch with the best objective."""
    epochs = min(len(history[name]) for name in objective.names)
    rows = [{name: values[i] for name, values in history.items() if i < len(values)} for i in range(epochs)]
    if not rows:
        raise FatalValueError("The training had no epoch: nothing to judge the trial by.")
    for row in rows:
        row[objective.name] = objective.get_value(row)
    best = 0
    for i, row in enumerate(rows):
        if objective.better_than(row[objective.name], rows[best][objective.name]):
            best = i
    return rows[best], best


def metrics_of(results, objective: Objective) -> tuple[dict[str, float], int]:
    """Metrics of checked results, at the best epoch and as a mean over executions; and that epoch."""
    if isinstance(results, list):
        parts = [metrics_of(result, objective) for result in results]
        names = {name: None for part, _ in parts for name in part}  # in order
        means = {name: float(np.mean([part[name] for part, _ in parts if name in part])) for name in names}
        return means, int(np.mean([step for _, step in parts]))
    if isinstance(results, dict):
        found = {name: value for name, value in results.items() if np.ndim(value) == 0 and not isinstance(value, str)}
        if objective.name not in found:
            found[objective.name] = objective.get_value(found)
        return {name: float(value) for name, value in found.items()}, 0
    if isinstance(results, callbacks.History):
        row, best = _at_best_epoch(results.history, objective)
        return {name: float(value) for name, value in row.items()}, best
    return {objective.name: float(results)}, 0
