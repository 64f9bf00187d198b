"""A part of what the drivers of tests/fuzz/ try: ops with other shapes, layouts and values than the rows of the
conformance suite have, trainings with drawn settings, right and wrong."""

import pytest

from fuzz import pool

SEED = 11


@pytest.mark.once
@pytest.mark.parametrize("driver, count", [
    ("ops", 600), ("settings", 60),
    *[pytest.param(driver, count, marks=pytest.mark.slow) for driver, count in (("ops", 20_000), ("settings", 2_000))],
])
def test_drawn_calls_answer_as_they_should_or_refuse(driver, count):
    counts, wrong = pool.run(driver, SEED, range(count))
    assert sum(counts.values()) == count
    assert not wrong, "\n\n".join(
        f"python -m tests.fuzz.{driver} --seed {SEED} --index {w['index']} ({w['kind']}: {w['words']})\n{w['error']}"
        for w in wrong)
