"""The table of promotion against Keras 3, pair by pair."""

from __future__ import annotations

import itertools

import pytest

keras = pytest.importorskip("keras")

import pydl  # noqa: E402  after the skip
from pydl import dtypes  # noqa: E402

pytestmark = pytest.mark.reference


def test_every_pair(monkeypatch):
    """Keras halves 64-bit results where its backend has no such types; pydl has them."""
    from keras.src.backend.common import dtypes as theirs

    monkeypatch.setattr(theirs, "BIT64_TO_BIT32_DTYPE", {})
    operands = [*dtypes.STORED_AS, int, float]
    for count in (2, 3):
        for names in itertools.product(operands, repeat=count):
            assert pydl.backend.result_type(*names) == keras.backend.result_type(*names), names
