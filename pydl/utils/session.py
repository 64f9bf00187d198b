"""State of the process: seeds and automatic names."""

from __future__ import annotations

import gc
import random as python_random

import numpy as np

from pydl import random, registry

__all__ = ["clear_session", "set_random_seed"]


def set_random_seed(seed: int) -> None:
    """Seeds Python's, NumPy's and pydl's generators: the same seed gives the same bits.

    Args:
        seed: integer in 0 .. 2**32 - 1.

    Raises:
        ValueError: for anything that is not an integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ValueError(f"Expected `seed` to be an integer; received {seed!r} of type {type(seed).__name__}.")
    seed = int(seed)
    random.set_global_seed(seed)  # first: its generator, when new, draws from Python's
    python_random.seed(seed)
    np.random.seed(seed)


def clear_session(free_memory: bool = True) -> None:
    """Starts automatic layer names again at "dense", "dense_1", ...

    Args:
        free_memory: whether to collect objects that nothing refers to, recorded programs among them.
    """
    registry.reset_names()
    if free_memory:
        gc.collect()
