"""Discrete Fourier transforms of pairs (real part, imaginary part)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pydl import ops
from pydl._core import require_room
from pydl.ops._common import TensorLike, as_float
from pydl.symbolic import op
from pydl.tensor import Tensor

__all__ = ["fft", "fft2", "ifft2"]


def _pair(x: Sequence[TensorLike], who: str) -> tuple[Tensor, Tensor]:
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(f"{who}: expected a pair (real part, imaginary part); received {type(x).__name__}.")
    real, imaginary = (as_float(part) for part in x)
    if real.shape != imaginary.shape or real.dtype != imaginary.dtype:
        raise ValueError(f"{who}: expected both parts of one shape and dtype; received {real.shape} {real.dtype} and"
                         f" {imaginary.shape} {imaginary.dtype}.")
    return real, imaginary


def _along_last(real: Tensor, imaginary: Tensor, sign: int) -> tuple[Tensor, Tensor]:
    """sum_k x_k exp(sign 2 pi i j k / n): two products with the matrix of cosines and sines. The angles are taken of
    j k modulo n, so that they stay exact however long the axis."""
    n = real.shape[-1]
    if n == 0:
        raise ValueError(f"A Fourier transform is of at least one value; received shape {real.shape}.")
    require_room((n, n), "float64")
    angle = 2 * np.pi / n * (np.outer(np.arange(n), np.arange(n)) % n)
    cosines, sines = (ops.cast(f(angle), real.dtype) for f in (np.cos, np.sin))
    a, b = ops.matmul(real, cosines), ops.matmul(imaginary, cosines)
    c, d = ops.matmul(real, sines), ops.matmul(imaginary, sines)
    return (a + d, b - c) if sign < 0 else (a - d, b + c)


def _along_two(x: Sequence[TensorLike], sign: int, who: str) -> tuple[Tensor, Tensor]:
    real, imaginary = _pair(x, who)
    if real.ndim < 2:
        raise ValueError(f"{who}: expected at least two axes; received shape {real.shape}.")
    for _ in range(2):  # the last axis, then the one before
        real, imaginary = (ops.swapaxes(part, -1, -2) for part in _along_last(real, imaginary, sign))
    return real, imaginary


@op
def fft(x: Sequence[TensorLike]) -> tuple[Tensor, Tensor]:
    """The discrete Fourier transform along the last axis, X_j = sum_k x_k exp(-2 pi i j k / n).

    Args:
        x: pair of float tensors (..., n), real and imaginary part.

    Returns:
        The pair of the transform, of the same shape. Written as products with an (n, n) matrix, so that it costs n^2
        and has gradients like any product.

    Raises:
        ValueError: for anything but a pair of one shape and dtype.
    """
    return _along_last(*_pair(x, "fft"), -1)


@op
def fft2(x: Sequence[TensorLike]) -> tuple[Tensor, Tensor]:
    """`fft` along the last two axes of a pair (..., m, n)."""
    return _along_two(x, -1, "fft2")


@op
def ifft2(x: Sequence[TensorLike]) -> tuple[Tensor, Tensor]:
    """The inverse of `fft2`."""
    real, imaginary = _along_two(x, 1, "ifft2")
    size = real.shape[-1] * real.shape[-2]
    return real / size, imaginary / size
