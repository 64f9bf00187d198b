"""`python -m bench.accuracy`: errors of 3x3 convolutions in float32 against float64, by Winograd and by direct sums."""

from __future__ import annotations

import numpy as np

import pydl
from pydl import ops

SIZES = [(16, 56, 64), (16, 28, 128), (8, 14, 256)]  # batch, height and width, channels and filters


def results(x, kernel, dy, dtype) -> list[np.ndarray]:
    """Output, input gradient and kernel gradient of a "same" convolution, as float64."""
    x, kernel = (pydl.Tensor(a.astype(dtype)) for a in (x, kernel))
    pydl.autograd.watch(x)
    pydl.autograd.watch(kernel)
    y = ops.conv(x, kernel, padding="same")
    with pydl.no_grad():
        gradients = pydl.autograd.gradients([y], [x, kernel], [dy.astype(dtype)])
    return [t.data.astype("float64") for t in (y, *gradients)]


def main() -> None:
    rng = np.random.default_rng(0)
    print("largest error / largest value: output, input gradient, kernel gradient")
    for batch, size, channels in SIZES:
        shape = (batch, size, size, channels)
        x, dy = (rng.normal(size=shape).astype("float32") for _ in range(2))
        kernel = rng.normal(size=(3, 3, channels, channels)).astype("float32")
        framed = np.pad(kernel, [(1, 1), (1, 1), (0, 0), (0, 0)])  # the same sums, and no 3x3 window
        wanted = results(x, kernel, dy, "float64")
        for name, k in (("Winograd", kernel), ("direct", framed)):
            found = results(x, k, dy, "float32")
            found[2] = found[2] if k is kernel else found[2][1:4, 1:4]
            errors = (np.abs(f - w).max() / np.abs(w).max() for f, w in zip(found, wanted))
            print(f"{batch}x{size}x{size}x{channels} {name:8}", *(f"{e:.1e}" for e in errors))


if __name__ == "__main__":
    main()
