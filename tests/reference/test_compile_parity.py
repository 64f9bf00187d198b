"""Losses, metrics and weights of several outputs, in the forms of compile_forms.py, against Keras. Run with
`-m reference`."""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(keras.config.backend() != "torch", reason="jax compiles every model (minutes)"),
    pytest.mark.filterwarnings("ignore:Gradients do not exist for variables"),  # of outputs without a loss
    # 2026-11: Keras 3.15 with NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
]

import pydl  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1]))
from compile_forms import CASES, HISTORIES, evaluated, history  # noqa: E402


@pytest.mark.parametrize("name", CASES)
def test_history(name):
    ours, theirs = history(pydl, CASES[name]), history(keras, CASES[name])
    assert list(ours) == list(theirs) == list(HISTORIES[name])  # and the constants are still those of this Keras
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(list(HISTORIES[name].values()), list(theirs.values()), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_evaluate(name):
    (ours, our_names), (theirs, their_names) = evaluated(pydl, CASES[name]), evaluated(keras, CASES[name])
    assert our_names.keys() == their_names.keys()
    for key, value in their_names.items():
        np.testing.assert_allclose(our_names[key], float(value), rtol=2e-5)
    if len(theirs) == len(their_names):  # Keras lists some values twice where two metrics have one name
        np.testing.assert_allclose(ours, theirs, rtol=2e-5)
