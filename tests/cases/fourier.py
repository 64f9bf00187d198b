"""Rows of the Fourier transforms, against NumPy's."""

from __future__ import annotations

import numpy as np

from harness import Case, normal
from pydl import ops


def numpy_of(function):
    def reference(real, imaginary):
        y = function(real + 1j * imaginary)
        return y.real, y.imag

    return reference


def row(name, *shape, tag=""):
    # Scale: a sum over all places of a transform has their root-mean-square size.
    return Case(name, numpy_of(getattr(np.fft, name)), (normal(*shape), normal(*shape)),
                fn=lambda a, b: getattr(ops, name)((a, b)), scale=float(np.prod(shape[-2:])) ** 0.5, tag=tag)


CASES = [
    row("fft", 3, 8), row("fft", 2, 3, 7, tag="odd"), row("fft", 1, tag="one"), row("fft", 2, 100, tag="long"),
    row("fft2", 4, 6), row("fft2", 2, 5, 3, tag="batch"),
    row("ifft2", 4, 6), row("ifft2", 2, 5, 3, tag="batch"),
]
