"""Sunspots of the next year from those of the last 33, by a GRU, against two forecasts that need no learning.

    pip install statsmodels && python examples/forecast.py [--epochs N] [--seed N]

The yearly numbers of 1700 to 2008 come with statsmodels (public domain). The model learns from the years before 1930
and is tested on the rest. Naive: as last year; seasonal naive: as eleven years ago, the length of the solar cycle.
"""

from __future__ import annotations

import argparse

import numpy as np

import pydl as keras

STEPS, CYCLE, SPLIT = 33, 11, 1930


def sunspots():
    """(years, numbers), one per year."""
    from statsmodels.datasets import sunspots

    data = sunspots.load_pandas().data
    return data["YEAR"].to_numpy(int), data["SUNACTIVITY"].to_numpy("float32")


def windows(series):
    """Inputs (n, STEPS, 1) and the value after each."""
    x = np.lib.stride_tricks.sliding_window_view(series[:-1], STEPS)
    return x[..., None].copy(), series[STEPS:]


def rmse(error) -> float:
    return float(np.sqrt(np.mean(np.square(error))))


def forecast(epochs=300, seed=0, verbose=0) -> dict[str, float]:
    """Root mean squared error on the test years of each forecast."""
    keras.utils.set_random_seed(seed)
    years, numbers = sunspots()
    series = np.sqrt(numbers) / 10  # the spread of the numbers grows with them
    x, y = windows(series)
    learn = years[STEPS:] < SPLIT
    model = keras.Sequential([
        keras.Input((STEPS, 1)),
        keras.layers.GRU(32),
        keras.layers.Dropout(0.1),
        keras.layers.Dense(1),
    ])
    steps = epochs * -(-learn.sum() // 16)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)), "mse")
    model.fit(x[learn], y[learn], batch_size=16, epochs=epochs, verbose=verbose)
    predicted = np.square(10 * np.maximum(model.predict(x[~learn], verbose=0)[:, 0], 0))
    test = np.flatnonzero(years >= SPLIT)
    return {"naive": rmse(numbers[test] - numbers[test - 1]),
            "seasonal naive": rmse(numbers[test] - numbers[test - CYCLE]),
            "GRU": rmse(numbers[test] - predicted)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name, error in forecast(arguments.epochs, arguments.seed).items():
        print(f"{name:15} RMSE {error:5.1f}")


if __name__ == "__main__":
    main()
