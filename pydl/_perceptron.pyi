import numpy as np

TRICK: int
STEP: int
HINGE: int
LOG: int
SOFTMAX: int
SIGNED: int
SQUARED: int

class Walker:
    loss: float
    moves: int
    @property
    def position(self) -> int: ...
    @property
    def steps(self) -> int: ...
    def __init__(self, rule: int, rate: float, batch: int, x: np.ndarray | tuple[np.ndarray, np.ndarray, np.ndarray],
                 targets: np.ndarray, weights: np.ndarray | None, coef: np.ndarray, intercept: np.ndarray, bias: bool,
                 room: int = 0) -> None: ...
    def follow(self, order: np.ndarray) -> None: ...
    def walk(self, stop: int) -> bool: ...
    def taken(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...
