"""One unit between two clouds of points: the perceptron trick, its relatives by loss, and three ways down the loss.

    pip install 'pydl[sklearn,viz,image]' && python examples/perceptron.py [--animation line.gif] [--output descent.png]

The trick: pick a random point; if it is on the wrong side, move the line towards putting it right. Written as one rule,
w += eta (y - y') x. With another output y' (sigmoid, the value itself) the same rule is logistic or linear regression.
"""

from __future__ import annotations

import argparse

import numpy as np

from pydl.estimators import Perceptron, PerceptronRegressor
from pydl.inspection import animate_line, descent_curves, loss_surface, plot_descent_curves, plot_loss_surface


def clouds(count=100, distance=4.0, seed=0):
    """(points (2 count, 2), labels): two round clouds; at a distance of 4 spreads they overlap a little."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2 * count, 2))
    y = np.repeat(["left", "right"], count)
    x[y == "right"] += distance / np.sqrt(2)
    return x, y


def by_hand(x, y, draws, eta):
    """The trick in ten lines of Python, for comparison: the line after each move, and the last one."""
    w, b, lines = np.zeros(2), 0.0, [(0, 0.0, 0.0, 0.0)]
    for step, i in enumerate(draws, 1):
        t = 1.0 if y[i] == "right" else -1.0
        if t * (x[i, 0] * w[0] + x[i, 1] * w[1] + b) <= 0:  # on the wrong side, or on the line
            w = w + eta * t * x[i]
            b = b + eta * t
            lines.append((step, *w, b))
    return np.array(lines)


def trick(x, y, steps=1000, eta=0.1, seed=1) -> Perceptron:
    """A perceptron after so many random points, with the way of its line."""
    return Perceptron(solver="trick", eta0=eta, max_steps=steps, max_iter=steps, tol=None, record_path=True,
                      random_state=seed).fit(x, y)


def relatives(x, y) -> dict[str, float]:
    """Accuracy of the unit with each loss, by stochastic gradient descent."""
    losses = ("perceptron", "hinge", "log", "softmax", "squared")
    return {loss: Perceptron(loss, eta0=0.02, max_iter=200, random_state=0).fit(x, y).score(x, y) for loss in losses}


def regression(count=200, seed=0):
    """(weights and bias found by the linear unit, those by which the data were made)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2))
    true = np.array([2.0, -1.0, 0.5])
    unit = PerceptronRegressor(eta0=0.01, max_iter=100, tol=1e-6, random_state=0)
    unit.fit(x, x @ true[:2] + true[2] + 0.1 * rng.normal(size=count))
    return np.append(unit.coef_, unit.intercept_), true


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--animation", help="file for the moving line, *.gif")
    parser.add_argument("--output", help="picture of the loss surface and the curves of three kinds of descent")
    options = parser.parse_args(arguments)

    x, y = clouds()
    unit = trick(x, y)
    print(f"trick: {unit.t_} random points, {len(unit.path_.step) - 1} moves, accuracy {unit.score(x, y):.3f}")
    scores = relatives(x, y)
    for loss, accuracy in scores.items():
        print(f"loss {loss:10} accuracy {accuracy:.3f}")
    found, true = regression()
    print("linear regression:", np.round(found, 2), "made with", true)
    curves = descent_curves(Perceptron("log", eta0=0.1, fit_intercept=True, random_state=0), x, y, passes=10)
    for solver, curve in curves.items():
        print(f"{solver:10} {len(curve) - 1:5} moves in 10 passes, loss {curve[-1, 1]:.3f}")
    if options.animation:
        print(animate_line(unit, x, y, options.animation), "frames in", options.animation)
    if options.output:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained")
        left, right = figure.subfigures(1, 2)
        logistic = Perceptron("log", solver="batch", eta0=0.5, max_iter=100, tol=None, record_path=True).fit(x, y)
        plot_loss_surface(loss_surface(logistic, x, y, (0, "intercept")), title="log loss, batch descent", figure=left)
        plot_descent_curves(curves, title="log loss", figure=right)
        figure.savefig(options.output)
    return unit, scores, (found, true), curves


if __name__ == "__main__":
    main()
