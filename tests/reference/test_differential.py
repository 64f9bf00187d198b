"""Drawn graphs, trainings and files in pydl and in Keras, see differential.py. Run with `-m reference`."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import pytest

keras = pytest.importorskip("keras")
pytest.importorskip("torch")
pytestmark = [
    pytest.mark.reference,
    # Keras on jax compiles every step of every model: minutes.
    pytest.mark.skipif(keras.config.backend() != "torch", reason="compares with Keras on its torch backend"),
]

from reference import differential  # noqa: E402

SEED, EACH = 15, 50


@pytest.mark.parametrize("part", range(10))
def test_drawn_graphs_are_the_same_in_both_libraries(part):
    different = []
    for index in range(part * EACH, (part + 1) * EACH):
        _, words, error = differential.case(SEED, index)
        if error is not None:
            different.append(f"--seed {SEED} --index {index}: {words}\n    {error!r}")
    assert not different, "\n".join(different)
