"""Proposals by Optuna's samplers.

A sampler is made anew for each proposal, with a seed of its own, and told the trials so far: a proposal depends on
the seed, its number and the history only, not on how often the search was killed in between.
"""

from __future__ import annotations

import numpy as np

from pydl.tuner.engine.hyperparameters import HyperParameters
from pydl.tuner.engine.kinds import Boolean, Choice, Fixed, Float, Int
from pydl.tuner.engine.storage import quiet


def derived_seed(*numbers: int) -> int:
    """A seed from several numbers."""
    return int(np.random.SeedSequence([n % 2 ** 32 for n in numbers]).generate_state(1)[0])


def is_ordered(hp) -> bool:
    """Whether neighbours among its values are alike."""
    return not isinstance(hp, (Boolean, Choice)) or getattr(hp, "ordered", False)


def _searched(hp, package):
    """The distribution a sampler sees: numbers of values, or [0, 1] where there are too many."""
    size = hp.size
    if size is None:
        return package.distributions.FloatDistribution(0, 1)
    if is_ordered(hp):
        return package.distributions.IntDistribution(0, size - 1)
    return package.distributions.CategoricalDistribution(list(range(size)))


def _encoded(hp, value):
    prob = hp.value_to_prob(value)
    return prob if hp.size is None else int(prob * hp.size)


def _decoded(hp, code):
    return hp.prob_to_value(code if hp.size is None else (code + 0.5) / hp.size)


def _key(hp) -> str:
    """Several hyperparameters may have one name under different conditions."""
    return " & ".join([hp.name, *(f"{c.name} in {c.values}" for c in hp.conditions)])


def propose(space: HyperParameters, sampler, direction="min", trials=()) -> dict:
    """Values for the active hyperparameters of a space.

    Args:
        space: the space; its values do not matter.
        sampler: makes a sampler of `optuna.samplers`.
        direction: "min" or "max".
        trials: (values, score) of trials so far; score None for one that runs.
    """
    with quiet() as optuna:
        state = optuna.trial.TrialState
        study = optuna.create_study(sampler=sampler(optuna.samplers),
                                    direction="maximize" if direction == "max" else "minimize")
        for values, score in trials:
            codes, distributions = {}, {}
            for hp in space.space:
                known = hp.name in values and all(c.is_active(values) for c in hp.conditions)
                if known and not isinstance(hp, Fixed):
                    try:
                        codes[_key(hp)] = _encoded(hp, values[hp.name])
                    except (TypeError, ValueError):
                        continue  # a value of an earlier space
                    distributions[_key(hp)] = _searched(hp, optuna)
            study.add_trial(optuna.trial.create_trial(
                state=state.RUNNING if score is None else state.COMPLETE, value=score, params=codes,
                distributions=distributions))
        trial = study.ask()
        chosen = HyperParameters()
        for hp in space.space:
            chosen.merge([hp])
            if chosen.is_active(hp) and not isinstance(hp, Fixed):
                chosen.values[hp.name] = _decoded(hp, _suggested(trial, hp, optuna))
    return chosen.values


def _suggested(trial, hp, package):
    distribution = _searched(hp, package)
    if isinstance(distribution, package.distributions.CategoricalDistribution):
        return trial.suggest_categorical(_key(hp), distribution.choices)
    if isinstance(distribution, package.distributions.IntDistribution):
        return trial.suggest_int(_key(hp), distribution.low, distribution.high)
    return trial.suggest_float(_key(hp), distribution.low, distribution.high)


def parameters(hps: HyperParameters) -> list:
    """(name, value, distribution) of active values, as Optuna's own tools show them."""
    with quiet() as package:
        kinds = package.distributions
        found = []
        for hp in hps.space:
            if hp.name not in hps.values or not hps.is_active(hp) or isinstance(hp, Fixed):
                continue
            value = hps.values[hp.name]
            if isinstance(hp, Float):
                distribution = kinds.FloatDistribution(hp.min_value, hp.max_value, log=hp.sampling == "log")
                fits = hp.min_value <= value <= hp.max_value
            elif isinstance(hp, Int):
                distribution = kinds.IntDistribution(hp.min_value, hp.max_value, log=hp.sampling == "log")
                fits = hp.min_value <= value <= hp.max_value
            else:
                distribution, fits = kinds.CategoricalDistribution(list(hp.values)), value in hp.values
            if fits:
                alone = sum(other.name == hp.name for other in hps.space) == 1
                found.append((hp.name if alone else _key(hp), value, distribution))
        return found


def combinations(space: HyperParameters):
    """All values of a space as a grid: the last hyperparameter changes fastest, each begins with its default."""
    def choices(hp):
        return [hp.default, *(v for v in hp.values if v != hp.default)]

    def rest(i, values):
        if i == len(space.space):
            yield dict(values)
            return
        hp = space.space[i]
        if not all(c.is_active(values) for c in hp.conditions):
            yield from rest(i + 1, values)
            return
        for value in choices(hp):
            yield from rest(i + 1, {**values, hp.name: value})

    return rest(0, {})
