"""Sizes that stand for unknown ones while shapes are inferred: which are tried, and what comes of it.

A function is run dry with numbers in place of the sizes that are not known, twice or more. What is the same whatever
they are is known; what differs is not: a size of a result, a number in the message of an error, a size in the shape a
layer was built with. So nobody ever sees the numbers. Where the first do not fit, others are tried: an axis may have to
be of one size with another, or divide, or be what the message says was expected.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from pydl import tree, watch

__all__ = ["Place", "explore", "settle"]

Place = tuple[int, int]  # (number of the tensor, axis)
Result = TypeVar("Result")
Sizes = Callable[[Place], int]
Probe = tuple[int, int]  # the size of every axis 0 that is not known, and that of all others

# The probes of two runs, in the order in which they are tried.
_PAIRS: tuple[tuple[Probe, Probe], ...] = (
    ((7, 509), (5, 251)),  # fits every window of a deep network, divides by nothing, equals nothing
    ((7, 127), (5, 61)),  # where the first need more addresses than there are: volumes
    ((127, 127), (61, 61)),  # the first axis and others agree
    ((12, 480), (24, 960)),  # divides
)
# Runs that may fail: windows exceed them. Where they do not, a result that is no larger than an unknown size shows.
_SMALL: tuple[Probe, ...] = ((1, 1), (1, 509))
_MOST_TRIES = 100  # of sizes that messages name
_MOST_PINS = 4
_NUMBER = re.compile(r"(?<![\w.\"'])\d+(?![\w\"']|\.\d)")  # no part of a name
# What sizes may be the reason of. A value that is read, or a MemoryError, stays what it is.
_OF_SIZES = (TypeError, ValueError, IndexError, ArithmeticError)


def explore(run: Callable[[Sizes], Result], places: list[Place]) -> list[Result]:
    """The results of `run` for several choices of the sizes at `places`.

    Raises:
        Exception: what `run` raises whatever the sizes are, with None for the numbers that depend on them.
    """
    if not places:
        return [run(lambda place: 0)]
    with _Trial() as trial:
        return _Exploration(run, places, trial).results()


class _Failure(Exception):
    """A pair of runs did not work: the error, and its message with None for the numbers that are not the same."""

    def __init__(self, error: Exception, message: str) -> None:
        self.error, self.message = error, message

    def numbers(self) -> list[int]:
        """Those in the message, 1, and what makes one of the other (a factor of the elements that are asked for)."""
        named = [n for n in map(int, _NUMBER.findall(self.message)) if 0 < n < 2**31]
        pairs = list(itertools.permutations(dict.fromkeys(named), 2))[:_MOST_TRIES]
        return list(dict.fromkeys([*named, 1, *(m // n for m, n in pairs if m % n == 0), *(m * n for m, n in pairs)]))


class _Exploration:
    def __init__(self, run: Callable[[Sizes], Any], places: list[Place], trial: _Trial) -> None:
        self.places, self.trial = places, trial
        self._run = run
        self.builds = False  # whether layers get their weights on the way
        self.differs = False  # and such as the next run cannot use

    def once(self, probe: Probe, pins: dict[Place, int]) -> Any:
        with self.trial.run():
            return self._run(lambda place: pins.get(place) or probe[place[1] > 0])

    def maybe(self, probe: Probe, pins: dict[Place, int]) -> list[Any]:
        try:
            return [self.once(probe, pins)]
        except (*_OF_SIZES, MemoryError):
            return []

    def small(self, pins: dict[Place, int]) -> list[Any]:
        return next(filter(None, (self.maybe(probe, pins) for probe in _SMALL)), [])

    def pair(self, probes: tuple[Probe, Probe], pins: dict[Place, int]) -> list[Any]:
        """The results for both probes. Raises _Failure."""
        try:
            return self.both(*probes, pins)
        except _OF_SIZES as first:
            # The other way round: what a layer was built with by the first run is then another number too.
            try:
                self.both(*probes[::-1], pins)
            except _OF_SIZES as second:
                raise _Failure(first, _common_text(first, second)) from None
            finally:
                self.trial.undo()
            raise _Failure(first, _common_text(first, Exception(""))) from None

    def both(self, one: Probe, other: Probe, pins: dict[Place, int]) -> list[Any]:
        found: list[Any] = []
        try:
            found.append(self.once(one, pins))
            found.append(self.once(other, pins))
            return found
        except BaseException:
            built = bool(self.trial.known)
            self.builds, self.differs = self.builds or built, self.differs or (built and bool(found))
            self.trial.undo()
            raise

    def results(self) -> list[Any]:
        failure: _Failure | None = None
        out_of_memory: MemoryError | None = None
        for probes in _PAIRS:
            try:
                found = self.pair(probes, {})
                return found + self.small({})
            except _Failure as e:
                failure = failure or e
            except MemoryError as e:
                out_of_memory = out_of_memory or e
        if failure is None:
            assert out_of_memory is not None
            raise out_of_memory
        # Weights get no size that was only looked for, neither here nor there.
        fitting = None if self.builds else self.fitting(failure)
        if fitting is not None:
            return self.around(*fitting)
        if len(failure.error.args) == 1 and isinstance(failure.error.args[0], str):
            failure.error.args = (failure.message + self.differs * (
                " The weights of a layer would depend on a size that is not known."),)
        raise failure.error

    def fitting(self, failure: _Failure) -> tuple[dict[Place, int], list[Any]] | None:
        """Sizes for some places with which all goes well, and the results: looked for among the numbers in messages."""
        queue: list[tuple[dict[Place, int], _Failure]] = [({}, failure)]
        seen: set[frozenset[tuple[Place, int]]] = set()
        while queue:
            before, why = queue.pop(0)
            free = [place for place in self.places if place not in before]
            groups = [[place] for place in free]
            groups += [group for group in ([p for p in free if p[1]], [p for p in free if not p[1]]) if len(group) > 1]
            for size, group in itertools.product(why.numbers(), groups):
                pins = {**before, **dict.fromkeys(group, size)}
                if frozenset(pins.items()) in seen:
                    continue
                seen.add(frozenset(pins.items()))
                if len(seen) > _MOST_TRIES:
                    return None
                try:
                    found = self.pair(_PAIRS[0], pins)
                    if self.trial.known:
                        self.trial.undo()
                        return None
                    return pins, found
                except _Failure as e:
                    if e.message != why.message and len(pins) < _MOST_PINS:  # further on
                        queue.append((pins, e))
                except MemoryError:
                    pass
        return None

    def around(self, pins: dict[Place, int], found: list[Any]) -> list[Any]:
        """The results for all sizes near those that were found to fit."""
        for place in list(pins):  # one of them was of no importance, it may be
            fewer = {p: size for p, size in pins.items() if p != place}
            with contextlib.suppress(_Failure, MemoryError):
                found = self.pair(_PAIRS[0], fewer)
                pins = fewer
        for place, size in pins.items():  # or is one of several that fit
            found += [y for n in (2 * size, 3 * size, 1) for y in self.maybe(_PAIRS[0][0], {**pins, place: n})]
        return found + self.small(pins)


def _common_text(one: Exception, other: Exception) -> str:
    """The message of `one`, None in it for each number that `other` does not have in its place."""
    a, b = str(one), str(other)
    mine, theirs = _NUMBER.findall(a), _NUMBER.findall(b)
    if _NUMBER.sub("", a) == _NUMBER.sub("", b):
        kept = iter([m if m == n else "None" for m, n in zip(mine, theirs)])
        return _NUMBER.sub(lambda _: next(kept), a)
    return _NUMBER.sub(lambda m: m.group() if m.group() in theirs else "None", a)


# ---- layers that are built on the way ----------------------------------------------------------------------------


Known = dict[int, tuple[Any, Callable[[], None]]]  # id -> the layer, what unbuilds it


class _Trials(threading.local):
    def __init__(self) -> None:
        self.open: list[_Trial] = []


_trials = _Trials()


class _Trial:
    """The layers that the runs of one exploration have built: by the first run, which the others must agree with."""

    def __init__(self) -> None:
        self.known: Known = {}

    def __enter__(self) -> _Trial:
        _trials.open.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _trials.open.pop()
        if _trials.open:
            _trials.open[-1].known.update(self.known)

    def run(self) -> _Run:
        return _Run(self.known)

    def undo(self) -> None:
        """Unbuilds all layers."""
        while self.known:
            self.known.popitem()[1][1]()


class _Run:
    """Context of one run: the layers known before have to be built again, which only compares shapes (`settle`)."""

    def __init__(self, known: Known) -> None:
        self.known = known

    def __enter__(self) -> None:
        self.before = len(self.known)
        for layer, _ in self.known.values():
            object.__setattr__(layer, "built", False)

    def __exit__(self, kind: object, *error: object) -> None:
        if kind is not None:
            while len(self.known) > self.before:
                self.known.popitem()[1][1]()
        for layer, _ in self.known.values():
            object.__setattr__(layer, "built", True)


def settle(layer: Any, shapes: dict[str, Any]) -> dict[str, Any] | None:
    """The shapes a layer was built with by an earlier run of the inference that is under way, None where those of this
    run are others; None for a layer that is to be built now."""
    for trial in _trials.open:
        if id(layer) in trial.known:
            return {name: tree.map_structure(lambda m, n: m if m == n else None, shape, shapes.get(name, shape))
                    for name, shape in layer._build_shapes.items()}
    if _trials.open:
        _trials.open[-1].known[id(layer)] = layer, _undo(layer)
    return None


def _undo(layer: Any) -> Callable[[], None]:
    """What gives a layer the attributes back that it has now."""
    attributes = dict(layer.__dict__)
    lists = {name: value[:] for name, value in attributes.items() if isinstance(value, list)}

    def undo() -> None:
        layer.__dict__.clear()
        layer.__dict__.update(attributes)
        for name, items in lists.items():
            attributes[name][:] = items
        watch.restructured()

    return undo
