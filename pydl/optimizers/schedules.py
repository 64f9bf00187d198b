"""Learning-rate schedules: functions of the iteration, computed by ops, so that recorded training sees every step."""

from __future__ import annotations

import math

from pydl import config, ops, registry
from pydl.dtypes import is_float_dtype
from pydl.ops._common import as_tensor
from pydl.watch import Owner

__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "serialize",
]


@registry.builtin("keras.optimizers.schedules")
class LearningRateSchedule(Owner):
    """Base of schedules. A custom one overrides `__call__(step)` with ops on `step` (scalar integer tensor), and
    `get_config`."""

    def __call__(self, step):
        raise NotImplementedError(f"Learning rate schedule '{type(self).__name__}' must override"
                                  " `__call__(self, step)`.")

    def get_config(self) -> dict:
        raise NotImplementedError(f"Learning rate schedule '{type(self).__name__}' must override `get_config()` in"
                                  " order to be serializable.")

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def _as_step(step):
    """The step as float64: in float32 a period may begin a step late, and steps beyond 2^24 are not told apart."""
    return ops.cast(as_tensor(step), "float64")


def _rate(value):
    return ops.cast(value, config.floatx())


def _check_steps(name: str, value) -> None:
    if value <= 0:
        raise ValueError(f"Argument `{name}` must be > 0. Received: {name}={value}")


class _ByPeriods(LearningRateSchedule):
    """Decay by the number of periods of `decay_steps` steps."""

    def __init__(self, initial_learning_rate, decay_steps, decay_rate, staircase, name):
        _check_steps("decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def _periods(self, step):
        periods = _as_step(step) / float(self.decay_steps)
        return ops.floor(periods) if self.staircase else periods

    def get_config(self):
        return {"initial_learning_rate": self.initial_learning_rate, "decay_steps": self.decay_steps,
                "decay_rate": self.decay_rate, "staircase": self.staircase, "name": self.name}


@registry.builtin("keras.optimizers.schedules")
class ExponentialDecay(_ByPeriods):
    """rate = initial * decay_rate^(step / decay_steps).

    Args:
        initial_learning_rate: rate at step 0.
        decay_steps: steps in which the rate changes by the factor `decay_rate`.
        decay_rate: factor.
        staircase: whether step / decay_steps is rounded down.
        name: name of the schedule.
    """

    def __init__(self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name="ExponentialDecay"):
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step):
        return _rate(ops.power(float(self.decay_rate), self._periods(step)) * float(self.initial_learning_rate))


@registry.builtin("keras.optimizers.schedules")
class InverseTimeDecay(_ByPeriods):
    """rate = initial / (1 + decay_rate * step / decay_steps). Arguments as `ExponentialDecay`."""

    def __init__(self, initial_learning_rate, decay_steps, decay_rate, staircase=False, name="InverseTimeDecay"):
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step):
        return _rate(float(self.initial_learning_rate) / (self._periods(step) * float(self.decay_rate) + 1.0))


@registry.builtin("keras.optimizers.schedules")
class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to and including step boundaries[0], then values[1] up to boundaries[1], ...

    Args:
        boundaries: increasing steps.
        values: rates, one more than boundaries.
        name: name of the schedule.
    """

    def __init__(self, boundaries, values, name="PiecewiseConstant"):
        if len(boundaries) != len(values) - 1:
            raise ValueError("The length of boundaries should be 1 less than the length of values. Received:"
                             f" boundaries={boundaries} of length {len(boundaries)}, and values={values} of length"
                             f" {len(values)}.")
        self.boundaries = boundaries
        self.values = values
        self.name = name

    def __call__(self, step):
        step = as_tensor(step)
        kind = float if is_float_dtype(step.dtype) else int
        rate = as_tensor(float(self.values[-1]))
        for boundary, value in zip(reversed(self.boundaries), reversed(self.values[:-1])):
            rate = ops.where(step <= kind(boundary), float(value), rate)
        return rate

    def get_config(self):
        return {"boundaries": self.boundaries, "values": self.values, "name": self.name}


@registry.builtin("keras.optimizers.schedules")
class PolynomialDecay(LearningRateSchedule):
    """rate = (initial - end) * (1 - step / decay_steps)^power + end, and `end` after decay_steps.

    Args:
        initial_learning_rate: rate at step 0.
        decay_steps: steps until `end_learning_rate`.
        end_learning_rate: the last rate.
        power: exponent; 1 is linear.
        cycle: whether decay_steps grows to the next multiple once passed, instead of staying at the end.
        name: name of the schedule.
    """

    def __init__(self, initial_learning_rate, decay_steps, end_learning_rate=0.0001, power=1.0, cycle=False,
                 name="PolynomialDecay"):
        _check_steps("decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step):
        step, steps = _as_step(step), float(self.decay_steps)
        if self.cycle:
            part = step / (ops.maximum(ops.ceil(step / steps), 1.0) * steps)
        else:
            part = ops.minimum(step, steps) / steps
        first, last = float(self.initial_learning_rate), float(self.end_learning_rate)
        return _rate(ops.power(1.0 - part, float(self.power)) * (first - last) + last)

    def get_config(self):
        return {"initial_learning_rate": self.initial_learning_rate, "decay_steps": self.decay_steps,
                "end_learning_rate": self.end_learning_rate, "power": self.power, "cycle": self.cycle,
                "name": self.name}


def _cosine(part, alpha):
    """Half a cosine from 1 to 0 over 0 <= part <= 1, scaled to end at alpha."""
    return (ops.cos(part * math.pi) + 1.0) * (0.5 * (1.0 - alpha)) + alpha


@registry.builtin("keras.optimizers.schedules")
class CosineDecay(LearningRateSchedule):
    """Half a cosine from the initial rate to alpha times it, after an optional linear warm-up.

    Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation 5.

    Args:
        initial_learning_rate: rate at step 0.
        decay_steps: steps of the cosine.
        alpha: last rate as a part of the first.
        name: name of the schedule.
        warmup_target: None, or the rate that a linear warm-up reaches and the cosine starts from.
        warmup_steps: steps of the warm-up.
    """

    def __init__(self, initial_learning_rate, decay_steps, alpha=0.0, name="CosineDecay", warmup_target=None,
                 warmup_steps=0):
        _check_steps("decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        step, steps, alpha = _as_step(step), float(self.decay_steps), float(self.alpha)
        first = float(self.initial_learning_rate)
        if self.warmup_target is None:
            return _rate(_cosine(ops.minimum(step, steps) / steps, alpha) * first)
        target, warmup = float(self.warmup_target), float(self.warmup_steps)
        decayed = _cosine(ops.minimum(step - warmup, steps) / steps, alpha) * target
        if warmup:
            decayed = ops.where(step < warmup, step * ((target - first) / warmup) + first, decayed)
        return _rate(decayed)

    def get_config(self):
        return {"initial_learning_rate": self.initial_learning_rate, "decay_steps": self.decay_steps,
                "alpha": self.alpha, "name": self.name, "warmup_target": self.warmup_target,
                "warmup_steps": self.warmup_steps}


@registry.builtin("keras.optimizers.schedules")
class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decay that starts again and again. Source: as `CosineDecay`.

    Args:
        initial_learning_rate: rate at step 0.
        first_decay_steps: steps of the first period.
        t_mul: each period is so many times as long as the one before.
        m_mul: each period starts at so many times the rate of the one before.
        alpha: last rate of a period as a part of the initial one.
        name: name of the schedule.
    """

    def __init__(self, initial_learning_rate, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0, name="SGDRDecay"):
        _check_steps("first_decay_steps", first_decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = first_decay_steps
        self._t_mul = t_mul
        self._m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step):
        part = _as_step(step) / float(self.first_decay_steps)
        t, m, alpha = float(self._t_mul), float(self._m_mul), float(self.alpha)
        if t == 1:
            restarts = ops.floor(part)
            part = part - restarts
        else:
            def start(k):  # of period k, which is t^k long
                return (ops.power(t, k) - 1.0) / (t - 1.0)

            near = ops.floor(ops.log(part * (t - 1.0) + 1.0) / math.log(t))  # one off, where a rounding crosses a start
            late, early = ops.less(part, start(near)), ops.greater_equal(part, start(near + 1.0))
            restarts = near + ops.cast(early, "float64") - ops.cast(late, "float64")
            part = (part - start(restarts)) / ops.power(t, restarts)
        height = ops.power(m, restarts) * (0.5 * (1.0 - alpha))
        return _rate((height * (ops.cos(part * math.pi) + 1.0) + alpha) * float(self.initial_learning_rate))

    def get_config(self):
        return {"initial_learning_rate": self.initial_learning_rate, "first_decay_steps": self.first_decay_steps,
                "t_mul": self._t_mul, "m_mul": self._m_mul, "alpha": self.alpha, "name": self.name}


def serialize(learning_rate_schedule) -> dict:
    """The plain form of a schedule."""
    return registry.serialize_keras_object(learning_rate_schedule)


def deserialize(config, custom_objects=None) -> LearningRateSchedule:
    """The inverse of `serialize`."""
    return registry.deserialize_keras_object(config, custom_objects)
