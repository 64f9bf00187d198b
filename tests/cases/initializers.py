"""Rows of the initializers: how the values must be spread, as NumPy says."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from pydl import initializers


@dataclass(frozen=True)
class InitializerRow:
    """One row.

    Args:
        name: class of `pydl.initializers`; the coverage test reads it.
        args: of the constructor.
        stddev, bound: expected standard deviation and largest absolute value; None: not checked.
        mean: expected mean.
        exact: function of the shape that gives the exact values.
        shape: of the variable.
    """

    name: str
    args: dict = field(default_factory=dict)
    stddev: float | None = None
    bound: float | None = None
    mean: float = 0.0
    exact: object = None
    shape: tuple = (60, 80)

    def __str__(self):
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in self.args.items())})"

    def make(self):
        return getattr(initializers, self.name)(**self.args)


# Of a normal distribution cut off at 2 standard deviations, from erf: var = 1 - 4 phi(2) / (2 Phi(2) - 1).
CUT = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))


def cut_normal(variance):
    return {"stddev": math.sqrt(variance), "bound": 2 * math.sqrt(variance) / CUT}


def uniform(variance):
    return {"stddev": math.sqrt(variance), "bound": math.sqrt(3 * variance)}


CONV = (3, 3, 20, 40)  # fan in 180, fan out 360
CASES = [
    InitializerRow("Zeros", exact=np.zeros),
    InitializerRow("Ones", exact=np.ones),
    InitializerRow("Constant", {"value": 2.5}, exact=lambda shape: np.full(shape, 2.5)),
    InitializerRow("Constant", {"value": [1.0, 2.0]}, exact=lambda shape: np.tile([1.0, 2.0], (3, 1)), shape=(3, 2)),
    InitializerRow("Identity", {"gain": 3.0}, exact=lambda shape: 3 * np.eye(*shape), shape=(3, 5)),
    InitializerRow("RandomNormal", {"seed": 1}, stddev=0.05),
    InitializerRow("RandomNormal", {"mean": 2.0, "stddev": 0.5, "seed": 2}, stddev=0.5, mean=2.0),
    InitializerRow("TruncatedNormal", {"stddev": 1.0, "seed": 3}, stddev=CUT, bound=2.0),
    InitializerRow("RandomUniform", {"minval": -1.0, "maxval": 1.0, "seed": 4}, **uniform(1 / 3)),
    InitializerRow("VarianceScaling", {"seed": 5}, **cut_normal(1 / 60)),
    InitializerRow("VarianceScaling", {"seed": 5, "mode": "fan_out", "distribution": "untruncated_normal"},
                   stddev=math.sqrt(1 / 80)),
    InitializerRow("VarianceScaling", {"seed": 5, "scale": 3.0, "mode": "fan_avg", "distribution": "uniform"},
                   **uniform(3 / 70)),
    InitializerRow("VarianceScaling", {"seed": 5, "input_axes": [1], "output_axes": [0]}, **cut_normal(1 / 80)),
    InitializerRow("GlorotNormal", {"seed": 6}, **cut_normal(2 / 140)),
    InitializerRow("GlorotNormal", {"seed": 6}, shape=CONV, **cut_normal(2 / 540)),
    InitializerRow("GlorotUniform", {"seed": 7}, **uniform(2 / 140)),
    InitializerRow("HeNormal", {"seed": 8}, **cut_normal(2 / 60)),
    InitializerRow("HeNormal", {"seed": 8}, shape=CONV, **cut_normal(2 / 180)),
    InitializerRow("HeUniform", {"seed": 9}, **uniform(2 / 60)),
    InitializerRow("LecunNormal", {"seed": 10}, **cut_normal(1 / 60)),
    InitializerRow("LecunUniform", {"seed": 11}, **uniform(1 / 60)),
    InitializerRow("Orthogonal", {"seed": 12}, stddev=math.sqrt(1 / 80)),
]
