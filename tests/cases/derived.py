import numpy as np

from harness import Case, normal
from pydl import ops


def with_specials(*shape):
    """Normal numbers with NaN, inf and -inf among them, in different places from draw to draw."""
    def draw(rng):
        x = rng.normal(size=shape)
        return np.where(rng.random(shape) < 0.3, rng.choice([np.nan, np.inf, -np.inf], shape), x)
    return draw


CASES = [
    Case("allclose", lambda a, b: np.allclose(a, b), (normal(3, 4), normal(3, 4)), grad=()),
    Case("allclose", lambda a: np.asarray(True), (normal(3, 4),), fn=lambda a: ops.allclose(a, a), grad=(), tag="same"),
    Case("fabs", np.fabs, (normal(3, 5),)),
    Case("deg2rad", np.deg2rad, (normal(3, 5, scale=90.0),)),
    Case("rad2deg", np.rad2deg, (normal(3, 5),)),
    Case("hypot", np.hypot, (normal(3, 5), normal(5))),
    Case("fmax", np.fmax, (normal(3, 5), normal(3, 5))),
    Case("fmax", np.fmax, (with_specials(9, 9), with_specials(9, 9)), grad=(), tag="specials"),
    Case("fmin", np.fmin, (normal(3, 5), normal(3, 5))),
    Case("fmin", np.fmin, (with_specials(9, 9), with_specials(9, 9)), grad=(), tag="specials"),
    Case("isposinf", np.isposinf, (with_specials(9, 9),), grad=()),
    Case("isneginf", np.isneginf, (with_specials(9, 9),), grad=()),
    Case("ptp", np.ptp, (normal(4, 7),)),
    Case("ptp", np.ptp, (normal(4, 7),), {"axis": 1, "keepdims": True}, tag="axis"),
    Case("fliplr", np.fliplr, (normal(3, 4, 2),)),
    Case("flipud", np.flipud, (normal(3, 4),)),
    Case("ndim", np.ndim, (normal(3, 4),), symbolic=False, replay=False, grad=()),  # a Python int: nothing to record
    Case("size", np.size, (normal(3, 4),), symbolic=False, replay=False, grad=()),
    Case("dtype", None, (normal(3, 4),), symbolic=False, replay=False, grad=()),
]
