"""The exponentially weighted moving average (EWMA), the building block of momentum, RMSprop and Adam.

    y[t] = beta y[t - 1] + (1 - beta) x[t],    y[-1] = 0

is about the mean of the last 1 / (1 - beta) values: a larger beta is smoother and later. The start at 0 makes the first
values too small; dividing by 1 - beta^(t + 1) corrects that (Adam, Kingma and Ba 2015, section 3).

    python examples/ewma.py --output ewma.png
"""

import argparse

import numpy as np

import pydl

BETAS = (0.5, 0.9, 0.98)


def temperatures(days=365, seed=0):
    """Daily temperatures of a made-up year: the season, and the weather as noise. Returns (measured, season)."""
    day = np.arange(days)
    season = 12 - 9 * np.cos(2 * np.pi * day / 365)
    return season + np.random.default_rng(seed).normal(0, 4, days), season


def averages(x, betas=BETAS):
    """beta -> (plain, corrected) average of x."""
    return {beta: tuple(pydl.ops.ewma(x, beta, bias_correction=corrected).numpy() for corrected in (False, True))
            for beta in betas}


def weights(beta, steps):
    """How much each of the last values counts, latest first: (1 - beta) beta^k, a sum of 1 - beta^steps."""
    return (1 - beta) * beta ** np.arange(steps)


def roughness(x):
    """Root of the mean squared change from one day to the next."""
    return float(np.sqrt(np.mean(np.diff(x) ** 2)))


def lag(x, season):
    """By how many days an average comes late: the shift that fits the season best."""
    days = np.arange(90)
    return int(days[np.argmin([np.mean((x[120 + d:300 + d] - season[120:300]) ** 2) for d in np.minimum(days, 65)])])


def draw(measured, found, path):
    """Averages with (solid) and without (dashed) correction over the measurements."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    cell = figure.subplots()
    cell.plot(measured, ".", color="lightgray", label="measured")
    for number, (beta, (plain, corrected)) in enumerate(found.items()):
        cell.plot(corrected, color=f"C{number}", label=f"beta = {beta}")
        cell.plot(plain, "--", color=f"C{number}", linewidth=1)
    cell.set(xlabel="day", ylabel="temperature")
    cell.legend()
    figure.savefig(path)


def main(arguments=None):
    """Returns {beta: (roughness, lag in days, first plain value, first corrected value)}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", help="where the picture goes")
    options = parser.parse_args(arguments)
    measured, season = temperatures()
    found = averages(measured)
    print(f"measured: changes by {roughness(measured):.2f} a day; first value {measured[0]:.2f}")
    result = {}
    for beta, (plain, corrected) in found.items():
        result[beta] = roughness(corrected), lag(corrected, season), float(plain[0]), float(corrected[0])
        print(f"beta = {beta:<4}  about {1 / (1 - beta):2.0f} days  changes by {result[beta][0]:.2f} a day,"
              f" {result[beta][1]:2} days late  first value {result[beta][2]:6.2f}, corrected {result[beta][3]:6.2f}")
    if options.output:
        draw(measured, found, options.output)
    return result


if __name__ == "__main__":
    main()
