"""XOR: what one unit cannot learn, and two layers can.

A unit divides the plane by a line. No line has (0, 0) and (1, 1) on one side and (0, 1) and (1, 0) on the other, so one
unit is right on three points of four at best; two hidden units make two lines.

    python examples/hidden_units.py --output units.png
"""

import argparse

import numpy as np

import pydl
from pydl import layers

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
Y = np.array([[0], [1], [1], [0]], "float32")


def network(hidden):
    """One sigmoid, behind `hidden` units of tanh (0: none)."""
    pydl.utils.set_random_seed(1)
    model = pydl.Sequential([layers.Input((2,))] + ([layers.Dense(hidden, "tanh")] if hidden else [])
                            + [layers.Dense(1, "sigmoid")])
    model.compile(pydl.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    return model


def draw(models, path):
    """The answer of each model over the plane."""
    from matplotlib.figure import Figure

    axis = np.linspace(-0.5, 1.5, 101)
    x, y = np.meshgrid(axis, axis)
    figure = Figure(figsize=(3.5 * len(models), 3.5), layout="constrained")
    for cell, (hidden, model) in zip(figure.subplots(1, len(models)), models.items()):
        answer = model.predict(np.stack([x.ravel(), y.ravel()], 1), batch_size=10201, verbose=0).reshape(x.shape)
        cell.contourf(x, y, answer, np.linspace(0, 1, 11), cmap="coolwarm", alpha=0.7)
        cell.scatter(*X.T, c=Y[:, 0], cmap="coolwarm", edgecolors="black", s=80)
        cell.set_title(f"{hidden} hidden units" if hidden else "one unit")
    figure.savefig(path)


def main(arguments=None):
    """Returns {hidden units: (accuracy, answers (4,))}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", help="where the picture goes")
    options = parser.parse_args(arguments)
    result, models = {}, {}
    for hidden in (0, 2, 8):
        model = models[hidden] = network(hidden)
        model.fit(X, Y, epochs=500, batch_size=4, verbose=0)
        answers = model.predict(X, verbose=0)[:, 0]
        result[hidden] = model.evaluate(X, Y, verbose=0)[1], answers
        print(f"{hidden} hidden units: accuracy {result[hidden][0]:.2f}, answers {answers.round(2)}")
    if options.output:
        draw(models, options.output)
    return result


if __name__ == "__main__":
    main()
