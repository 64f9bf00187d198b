"""Learning-rate schedules drawn, and what a falling rate is for: noise in the last steps.

    python examples/learning_rates.py --output rates.png
"""

import argparse

import numpy as np

import pydl
from pydl.optimizers import schedules

STEPS = 1000


def all_schedules(rate=0.1, steps=STEPS):
    """Name -> schedule, all from `rate` (cosine with warm-up: up to it)."""
    warm = steps // 10
    return {
        "constant": schedules.PiecewiseConstantDecay([steps], [rate, rate]),
        "exponential": schedules.ExponentialDecay(rate, steps // 10, 0.7),
        "staircase": schedules.ExponentialDecay(rate, steps // 10, 0.7, staircase=True),
        "piecewise": schedules.PiecewiseConstantDecay([steps // 2, 3 * steps // 4], [rate, rate / 10, rate / 100]),
        "inverse time": schedules.InverseTimeDecay(rate, steps // 10, 1.0),
        "polynomial": schedules.PolynomialDecay(rate, steps, rate / 1000, power=2.0),
        "cosine": schedules.CosineDecay(rate, steps),
        "cosine, warm-up": schedules.CosineDecay(0.0, steps - warm, warmup_target=rate, warmup_steps=warm),
        "cosine, restarts": schedules.CosineDecayRestarts(rate, -(-steps // 7), t_mul=2.0),
    }


def curve(schedule, steps=STEPS):
    """The rate at every step."""
    return np.array([float(schedule(step)) for step in range(steps)])


def noisy_descent(schedule, steps=STEPS, seed=0):
    """Root of the mean squared error of 20 weights after descending w^2 / 2 by gradients with noise of deviation 1."""
    noise = np.random.default_rng(seed).normal(size=(steps, 20)).astype("float32")
    w = pydl.Variable(np.full(20, 5, "float32"))
    optimizer = pydl.optimizers.SGD(schedule)

    @pydl.function
    def step(disturbance):
        optimizer.apply([w + disturbance], [w])
        return optimizer.iterations

    for row in noise:
        step(row)
    return float(np.sqrt(np.mean(w.numpy() ** 2)))


def main(arguments=None):
    """Returns {name: (rates (steps,), error at the end)}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", help="where the picture goes")
    options = parser.parse_args(arguments)
    result = {name: (curve(schedule), noisy_descent(schedule)) for name, schedule in all_schedules().items()}
    for name, (rates, error) in result.items():
        print(f"{name:17} rate {rates[0]:.4f} at first, {rates[STEPS // 2]:.4f} half-way, {rates[-1]:.5f} at the end;"
              f"  error of noisy descent {error:.4f}")
    if options.output:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 4.5), layout="constrained")
        cell = figure.subplots()
        for name, (rates, _) in result.items():
            cell.plot(rates, label=name)
        cell.set(xlabel="step", ylabel="learning rate")
        cell.legend(fontsize=8)
        figure.savefig(options.output)
    return result


if __name__ == "__main__":
    main()
