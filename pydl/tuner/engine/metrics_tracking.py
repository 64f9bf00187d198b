"""The metrics that a trial reported."""

from __future__ import annotations

import numpy as np

from pydl.configs import checked
from pydl.tuner.engine.objective import infer_metric_direction

__all__ = ["MetricHistory", "MetricObservation", "MetricsTracker", "infer_metric_direction"]


class MetricObservation:
    """Values of a metric at one step (several executions may have reported it)."""

    def __init__(self, value, step):
        self.value = list(value) if isinstance(value, (list, tuple)) else [value]
        self.step = step

    def append(self, value) -> None:
        self.value += value if isinstance(value, list) else [value]

    def mean(self):
        return np.mean(self.value)

    def get_config(self) -> dict:
        return {"value": self.value, "step": self.step}

    @classmethod
    @checked
    def from_config(cls, config):
        return cls(**config)

    def __eq__(self, other):
        return isinstance(other, MetricObservation) and (self.value, self.step) == (other.value, other.step)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self):
        return f"MetricObservation(value={self.value}, step={self.step})"


class MetricHistory:
    """Observations of one metric, by step.

    Args:
        direction: "min" or "max": which value is the best.
    """

    def __init__(self, direction="min"):
        if direction not in ("min", "max"):
            raise ValueError(f"Expected `direction` to be 'min' or 'max'; received {direction!r}.")
        self.direction = direction
        self._observations: dict[int, MetricObservation] = {}

    def update(self, value, step) -> None:
        if step in self._observations:
            self._observations[step].append(value)
        else:
            self._observations[step] = MetricObservation(value, step)

    def get_history(self) -> list[MetricObservation]:
        """All observations, by step."""
        return sorted(self._observations.values(), key=lambda o: o.step)

    def set_history(self, observations) -> None:
        for o in observations:
            self.update(o.value, o.step)

    def _means(self):
        return np.array([o.mean() for o in self.get_history()])

    def get_best_value(self):
        """The best mean of a step; None without any, NaN if all are."""
        means = self._means()
        numbers = means[~np.isnan(means)]
        if not numbers.size:
            return None if not means.size else float("nan")
        return float(numbers.min() if self.direction == "min" else numbers.max())

    def get_best_step(self):
        """The step of the best value."""
        best = self.get_best_value()
        return next((o.step for o in self.get_history() if o.mean() == best), None)

    def get_last_value(self):
        """The mean of the last step."""
        means = self._means()
        return float(means[-1]) if means.size else None

    def get_statistics(self) -> dict:
        """Minimum, maximum, mean, median, variance and standard deviation over the steps."""
        means = self._means()
        names = ("min", "max", "mean", "median", "var", "std")
        return {name: float(getattr(np, f"nan{name}")(means)) for name in names} if means.size else {}

    def get_config(self) -> dict:
        return {"direction": self.direction, "observations": [o.get_config() for o in self.get_history()]}

    @classmethod
    @checked
    def from_config(cls, config):
        history = cls(config["direction"])
        history.set_history([MetricObservation.from_config(o) for o in config["observations"]])
        return history


class MetricsTracker:
    """All metrics of a trial.

    Attributes:
        metrics: dict name -> `MetricHistory`.
    """

    def __init__(self):
        self.metrics: dict[str, MetricHistory] = {}

    def exists(self, name) -> bool:
        return name in self.metrics

    def register(self, name, direction=None) -> None:
        """Adds a metric; without `direction` that of its name, "min" where the name says nothing."""
        if name in self.metrics:
            raise ValueError(f"The metric {name!r} is there already.")
        self.metrics[name] = MetricHistory(direction or infer_metric_direction(name) or "min")

    def update(self, name, value, step=0) -> bool:
        """Adds a value. Returns whether the best value changed."""
        if name not in self.metrics:
            self.register(name)
        before = self.metrics[name].get_best_value()
        self.metrics[name].update(float(value), step)
        return self.metrics[name].get_best_value() != before

    def _of(self, name) -> MetricHistory:
        if name not in self.metrics:
            raise ValueError(f"Unknown metric {name!r}. Reported: {list(self.metrics)}.")
        return self.metrics[name]

    def get_history(self, name):
        return self._of(name).get_history()

    def set_history(self, name, observations) -> None:
        if name not in self.metrics:
            self.register(name)
        self.metrics[name].set_history(observations)

    def get_best_value(self, name):
        return self._of(name).get_best_value()

    def get_best_step(self, name):
        return self._of(name).get_best_step()

    def get_last_value(self, name):
        return self._of(name).get_last_value()

    def get_statistics(self, name):
        return self._of(name).get_statistics()

    def get_direction(self, name):
        return self._of(name).direction

    def get_config(self) -> dict:
        return {"metrics": {name: history.get_config() for name, history in self.metrics.items()}}

    @classmethod
    @checked
    def from_config(cls, config):
        tracker = cls()
        tracker.metrics = {name: MetricHistory.from_config(c) for name, c in config["metrics"].items()}
        return tracker
