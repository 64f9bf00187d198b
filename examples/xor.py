"""XOR: four clouds that no line divides, and the two hidden units or more that do.

    pip install 'pydl[sklearn,viz]' && python examples/xor.py [--output xor.png]

A perceptron gets about three of the four clouds right at best. A network with one hidden layer gets all of them; the
picture shows the regions of both.
"""

from __future__ import annotations

import argparse

import numpy as np

from pydl.estimators import MLPClassifier, Perceptron
from pydl.inspection import plot_decision_regions

CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR = np.array([0, 1, 1, 0])


def clouds(count=50, spread=0.12, seed=0):
    """(points (4 count, 2), labels 0 and 1): a cloud around each corner of the unit square."""
    rng = np.random.default_rng(seed)
    return np.repeat(CORNERS, count, 0) + spread * rng.normal(size=(4 * count, 2)), np.repeat(XOR, count)


def best_line(x, y) -> float:
    """The accuracy of the best of 180 x 200 lines: what no perceptron can beat by much."""
    best = 0.0
    for angle in np.linspace(0, 2 * np.pi, 180, endpoint=False):
        along = x @ [np.cos(angle), np.sin(angle)]
        best = max(best, ((along[:, None] > np.linspace(-1.5, 1.5, 200)) == y[:, None]).mean(0).max())
    return best


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", help="picture of the regions")
    options = parser.parse_args(arguments)

    x, y = clouds()
    line = Perceptron(solver="trick", max_iter=200, tol=None, random_state=0).fit(x, y)
    network = MLPClassifier((8,), "tanh", learning_rate_init=0.05, alpha=0, random_state=0).fit(x, y)
    scores = {"perceptron": line.score(x, y), "best line": best_line(x, y), "network": network.score(x, y)}
    for name, accuracy in scores.items():
        print(f"{name:10} {accuracy:.3f}")
    network.model_.summary()
    if options.output:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained")
        left, right = figure.subfigures(1, 2)
        plot_decision_regions(line, x, y, title=f"perceptron, {scores['perceptron']:.0%} right", figure=left)
        plot_decision_regions(network, x, y, title=f"8 hidden units, {scores['network']:.0%} right", figure=right)
        figure.savefig(options.output)
    return scores, line, network


if __name__ == "__main__":
    main()
