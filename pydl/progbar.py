"""One progress line in the terminal, redrawn by time and not by step."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from pydl.dtypes import holds_numbers


class Progbar:
    """Progress of an epoch with running values, in the look of Keras.

    Args:
        target: number of steps, None when it is not known.
        width: characters of the bar.
        verbose: 1 bar, 2 one line at the end, 0 silent.
        interval: seconds between two redraws; steps in between cost next to nothing.
        stateful_metrics: names of values shown as they are; others are averaged over the steps.
        stateless_metrics: accepted; those are the ones averaged.
        unit_name: what a step is called.
    """

    def __init__(self, target: int | None, width: int = 20, verbose: int = 1, interval: float = 0.05,
                 stateful_metrics: Iterable[str] | None = None, stateless_metrics: Iterable[str] | None = None,
                 unit_name: str = "step") -> None:
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.unit_name = unit_name
        self.stateful_metrics = set(stateful_metrics or ())
        self._values: dict[str, list[Any]] = {}  # name -> [weighted sum, weight], or [value] shown as it is
        self._seen = 0
        self._start = time.perf_counter()
        self._last = -1.0
        self._shown = 0  # length of the line on screen
        self._live = _is_interactive(sys.stdout)

    def update(self, current: int, values: Iterable[tuple[str, Any]] | None = None,
               finalize: bool | None = None) -> None:
        """Shows step `current`.

        Args:
            values: list of (name, number).
            finalize: whether this is the end; by default when `current` reaches the target.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        for name, value in values or ():
            if name in self.stateful_metrics:
                self._values[name] = [value]
            else:
                steps = max(current - self._seen, 1)
                total, weight = self._values.get(name, (0.0, 0))
                self._values[name] = [total + value * steps, weight + steps]
        self._seen = current
        now = time.perf_counter()
        if self.verbose == 1 and (finalize or (self._live and now - self._last >= self.interval)):
            self._last = now
            self._draw(self._line(current, now, finalize), finalize)
        elif self.verbose == 2 and finalize:
            sys.stdout.write(self._summary(current, now) + "\n")
            sys.stdout.flush()

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Moves `n` steps on."""
        self.update(self._seen + n, values)

    def _draw(self, line: str, finalize: bool) -> None:
        padding = " " * max(self._shown - len(line), 0)
        sys.stdout.write(f"{chr(13) if self._live else ''}{line}{padding}{chr(10) if finalize else ''}")
        sys.stdout.flush()
        self._shown = 0 if finalize else len(line)

    def _line(self, current: int, now: float, finalize: bool) -> str:
        spent = now - self._start
        per_step = spent / max(current, 1)
        if self.target is None:
            head = f"{current:7d}/Unknown"
        else:
            digits = len(str(self.target))
            done = min(int(self.width * current / max(self.target, 1)), self.width)
            head = f"{current:{digits}d}/{self.target} {'━' * done}{'─' * (self.width - done)}"
        if finalize or self.target is None:
            clock = f"{_duration(spent)} {_per_step(per_step)}/{self.unit_name}"
        else:
            clock = f"{_duration(per_step * (self.target - current))} left, {_per_step(per_step)}/{self.unit_name}"
        return f"{head} {clock}{self._shown_values()}"

    def _summary(self, current: int, now: float) -> str:
        spent = now - self._start
        count = f"{current}/{self.target if self.target is not None else current}"
        return f"{count} - {_duration(spent)} - {_per_step(spent / max(current, 1))}/{self.unit_name}" \
               f"{self._shown_values()}"

    def _shown_values(self) -> str:
        return "".join(f" - {name}: {_number(entry)}" for name, entry in self._values.items())


def _number(entry: list[Any]) -> str:
    value = np.asarray(entry[0] if len(entry) == 1 else entry[0] / entry[1])
    if not holds_numbers(value):
        return str(value)
    mean = float(value.mean()) if value.size else float("nan")
    return f"{mean:.4f}" if abs(mean) > 1e-3 or mean == 0 else f"{mean:.4e}"


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02d}:{int(seconds) % 60:02d}"
    if seconds >= 60:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
    return f"{seconds:.0f}s"


def _per_step(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.0f}s"
    return f"{seconds * 1e3:.0f}ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f}us"


def _is_interactive(stream: Any) -> bool:
    """A terminal or a notebook: somewhere a line can be drawn over."""
    return (hasattr(stream, "isatty") and stream.isatty()) or "ipykernel" in sys.modules
