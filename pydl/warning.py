"""Warnings and messages that point at a line of the user's."""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType

__all__ = ["user_frame", "warn"]

_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


def user_frame() -> tuple[FrameType, int]:
    """The innermost frame outside of this package (or the outermost one of all), and how many calls it lies above the
    caller."""
    frame, above = sys._getframe(1), 0
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_FOLDER):
        frame, above = frame.f_back, above + 1
    return frame, above


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns at the line outside of this package that led here, however many calls inside lie between."""
    _, above = user_frame()
    warnings.warn(message, category, stacklevel=above + 1)
