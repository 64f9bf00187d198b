"""Optimizers on surfaces that show what each is for: a ravine, a saddle, Rosenbrock's valley, Beale's plateaus.

Momentum speeds up along a ravine where plain gradient descent creeps; on a saddle, adaptive rates (Adagrad, RMSprop,
Adam) leave at once in the direction whose gradient is tiny, as they divide by its size; Adagrad's rate shrinks with
time.

    python examples/optimizers_on_surfaces.py --output paths.png
"""

import argparse

import numpy as np

import pydl
from pydl import optimizers

# name: (function of tensors x and y, start, minimum (None: there is none), part of the plane to draw)
SURFACES = {
    "ravine": (lambda x, y: 0.5 * (x * x + 50.0 * y * y), (-4.0, 1.0), (0.0, 0.0), (-5, 2, -2, 2)),
    "saddle": (lambda x, y: x * x - y * y, (-1.5, 1e-4), None, (-2, 2, -3, 3)),
    "Rosenbrock": (lambda x, y: (1.0 - x) * (1.0 - x) + 100.0 * (y - x * x) * (y - x * x), (-1.2, 1.0), (1.0, 1.0),
                   (-2, 2, -1, 3)),
    "Beale": (lambda x, y: (1.5 - x + x * y) * (1.5 - x + x * y) + (2.25 - x + x * y * y) * (2.25 - x + x * y * y)
              + (2.625 - x + x * y * y * y) * (2.625 - x + x * y * y * y), (1.0, 1.5), (3.0, 0.5), (-1, 4.5, -2, 2)),
}
# The rates are chosen by hand per surface for the methods whose step is rate x gradient; the others need no such care.
RATES = {"ravine": 0.02, "saddle": 0.02, "Rosenbrock": 1e-3, "Beale": 3e-3}


def methods(surface):
    """Name -> a new optimizer."""
    rate = RATES[surface]
    return {
        "SGD": optimizers.SGD(rate), "momentum": optimizers.SGD(rate, momentum=0.9),
        "Nesterov": optimizers.SGD(rate, momentum=0.9, nesterov=True), "Adagrad": optimizers.Adagrad(0.3),
        "RMSprop": optimizers.RMSprop(0.02), "Adadelta": optimizers.Adadelta(30.0), "Adam": optimizers.Adam(0.05),
        "AdamW": optimizers.AdamW(0.05, weight_decay=0.004), "Adamax": optimizers.Adamax(0.05),
        "Nadam": optimizers.Nadam(0.05)}


def descend(surface, optimizer, steps):
    """The path (steps + 1, 2) of an optimizer; it ends early where it leaves the plane for good (|x| or |y| > 100)."""
    function, start = SURFACES[surface][:2]
    x, y = (pydl.Variable(np.float32(value)) for value in start)

    @pydl.function
    def step():
        with pydl.GradientTape() as tape:
            height = function(x, y)
        optimizer.apply(tape.gradient(height, [x, y]), [x, y])
        return height

    path = [start]
    for _ in range(steps):
        step()
        path.append((float(x), float(y)))
        if not max(map(abs, path[-1])) < 100:
            break
    return np.array(path)


def height(surface, points):
    """The surface over points (n, 2), in float64."""
    return SURFACES[surface][0](*np.asarray(points, "float64").T)


def draw(paths, file):
    """One panel per surface, its contour lines and the paths."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 9), layout="constrained")
    for cell, (surface, of_surface) in zip(figure.subplots(2, 2).flat, paths.items()):
        left, right, low, high = SURFACES[surface][3]
        x, y = np.meshgrid(np.linspace(left, right, 200), np.linspace(low, high, 200))
        values = height(surface, np.stack([x.ravel(), y.ravel()], 1)).reshape(x.shape)
        cell.contour(x, y, np.sign(values) * np.log1p(np.abs(values)), 25, cmap="Greys", linewidths=0.7)
        for name, path in of_surface.items():
            cell.plot(*path.T, label=name, linewidth=1.2)
        if SURFACES[surface][2] is not None:
            cell.plot(*SURFACES[surface][2], "k*", markersize=12)
        cell.set(title=surface, xlim=(left, right), ylim=(low, high))
    figure.axes[-1].legend(fontsize=8, loc="lower right")
    figure.savefig(file)


def main(arguments=None):
    """Returns {surface: {method: path}}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--output", help="where the picture goes")
    options = parser.parse_args(arguments)
    paths = {}
    for surface, (_, _, minimum, _) in SURFACES.items():
        print(f"{surface}, {options.steps} steps at most")
        paths[surface] = {}
        for name, optimizer in methods(surface).items():
            path = paths[surface][name] = descend(surface, optimizer, options.steps)
            if minimum is None:
                left = np.flatnonzero(np.abs(path[:, 1]) > 1)
                steps = left[0] if len(left) else f"more than {len(path) - 1}"
                print(f"  {name:9} leaves the saddle after {steps} steps")
            else:
                away = np.hypot(*(path[-1] - minimum))
                print(f"  {name:9} height {height(surface, path[-1:])[0]:9.2e}, {away:.3f} from the minimum")
    if options.output:
        draw(paths, options.output)
    return paths


if __name__ == "__main__":
    main()
