"""The way from an op that draws to the state of a generator. `pydl.random`, which stands on ops, puts itself here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

state_of: Callable[[object], np.ndarray]  # a seed, as the functions of `pydl.random` take it -> the state to draw from
