"""What classifiers do in the plane, and how gradient descent gets there: regions, moving lines, surfaces of the loss.

The functions without `plot_` and `animate_` return arrays. Classifiers are pydl models, or estimators with
scikit-learn's `predict`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pydl.autograd import no_grad
from pydl.inspection.drawing import _new_figure, _saved
from pydl.losses import Loss

__all__ = ["animate_line", "decision_regions", "descent_curves", "line_ends", "loss_surface", "plot_decision_regions",
           "plot_descent_curves", "plot_loss_surface"]

COLOURS = ("#4c78a8", "#e45756", "#54a24b", "#f58518", "#b279a2", "#72b7b2", "#eeca3b", "#9d755d")


class Regions(NamedTuple):
    """The plane as a classifier sees it, at the points (x[j], y[i]).

    Attributes:
        x, y: (columns,), (rows,) coordinates of the first and second feature.
        label: (rows, columns) index into `classes`.
        score: (rows, columns): of two classes the score of the second, positive where it wins (0 on the border); of
            more, by how much the winner leads. Zeros where the classifier has labels only.
        classes: (k,) labels.
    """

    x: np.ndarray
    y: np.ndarray
    label: np.ndarray
    score: np.ndarray
    classes: np.ndarray


class Surface(NamedTuple):
    """A loss over two of the weights, the others held: loss[i, j] at (x[j], y[i]).

    Attributes:
        x, y: values of the weights.
        loss: (rows, columns).
        names: of the two weights.
        path: (changes, 2): the weights on their way, with a recorded path; else None.
    """

    x: np.ndarray
    y: np.ndarray
    loss: np.ndarray
    names: tuple[str, str]
    path: np.ndarray | None


def decision_regions(model, X=None, bounds=None, resolution: int = 200, margin: float = 0.1) -> Regions:
    """The class of every point of a grid.

    Args:
        model: a pydl model of 2 features with outputs (batch, classes), or (batch, 1) for two classes; or a fitted
            estimator with `predict`, e.g. of scikit-learn.
        X: (samples, 2) points that the grid covers, with a margin.
        bounds: (left, right, bottom, top) instead.
        resolution: points per axis, at least 2.
        margin: part of the range of X added at each side.

    Raises:
        ValueError: for anything else than two features.
    """
    left, right, bottom, top = _bounds("decision_regions", X, bounds, margin)
    if resolution < 2:
        raise ValueError(f"decision_regions: expected resolution of at least 2; received {resolution}.")
    x, y = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    names = getattr(model, "feature_names_in_", None)
    if names is not None and len(names) == 2:  # it learned from a frame
        import pandas

        grid = pandas.DataFrame(grid, columns=names)
    label, score, classes = _classified(model, grid)
    shape = (resolution, resolution)
    return Regions(x, y, label.reshape(shape), score.reshape(shape), classes)


def _classified(model, points):
    """(index of the class, score as in `Regions`, classes)."""
    if not hasattr(model, "classes_"):
        if not hasattr(model, "trainable_variables"):
            raise ValueError(f"decision_regions: expected a pydl model or a fitted classifier; received {model!r}.")
        with no_grad():
            y = model(np.asarray(points, "float32"), training=False).numpy()
        if y.ndim != 2:
            raise ValueError(f"decision_regions: expected outputs of shape (batch, classes); received {y.shape}.")
        if y.shape[1] == 1:
            loss = getattr(model, "loss", None)
            logits = isinstance(loss, Loss) and loss.get_config().get("from_logits", False)
            score = y[:, 0] - (0.0 if logits else 0.5)
            return (score > 0).astype(int), score, np.arange(2)
        return y.argmax(1), _lead(y), np.arange(y.shape[1])
    classes = np.asarray(model.classes_)
    label = np.searchsorted(classes, model.predict(points))
    if hasattr(model, "decision_function"):
        y = np.asarray(model.decision_function(points))
        score = y if y.ndim == 1 else _lead(y)
    elif hasattr(model, "predict_proba"):
        score = _lead(np.asarray(model.predict_proba(points)))
    else:
        score = np.zeros(len(label))
    return label, score, classes


def _lead(y) -> np.ndarray:
    """(points,) score as in `Regions` of outputs (points, classes)."""
    if y.shape[1] == 2:
        return y[:, 1] - y[:, 0]
    ordered = np.sort(y, 1)
    return ordered[:, -1] - ordered[:, -2]


def plot_decision_regions(model, X=None, y=None, bounds=None, resolution: int = 200, title=None, path=None,
                          figure=None):
    """The regions in the colours of their classes, borders as lines, and the points.

    Args:
        model: see `decision_regions`; or its result.
        X, y: (samples, 2) points and their labels; without labels they are grey.
        others: see `decision_regions`; `path` and `figure` as of every plot.
    """
    regions = model if isinstance(model, Regions) else decision_regions(model, X, bounds, resolution)
    figure = figure if figure is not None else _new_figure(4.8, 4)
    cell = figure.subplots()
    colours = _colours(len(regions.classes))
    cell.contourf(regions.x, regions.y, regions.label, np.arange(len(regions.classes) + 1) - 0.5, colors=colours,
                  alpha=0.3)
    for k in range(len(regions.classes)):
        if 0 < (regions.label == k).mean() < 1:
            cell.contour(regions.x, regions.y, regions.label == k, [0.5], colors="black", linewidths=0.8)
    _points(cell, X, y, regions.classes, colours)
    cell.set(xlim=(regions.x[0], regions.x[-1]), ylim=(regions.y[0], regions.y[-1]), title=title)
    return _saved(figure, path)


def line_ends(coef, intercept, bounds) -> np.ndarray:
    """Where the lines w x + b = 0 enter and leave a box.

    Args:
        coef: (..., 2). intercept: (...).
        bounds: (left, right, bottom, top).

    Returns:
        (..., 2, 2) points (x, y); NaN for lines that miss the box or have no direction.
    """
    coef, intercept = np.asarray(coef, float), np.asarray(intercept, float)
    if coef.shape[-1:] != (2,) or coef.shape[:-1] != intercept.shape:
        raise ValueError(f"line_ends: expected coef (..., 2) and intercept (...); received {coef.shape} and"
                         f" {intercept.shape}.")
    left, right, bottom, top = bounds
    a, b = coef[..., 0], coef[..., 1]
    squares = a * a + b * b
    with np.errstate(divide="ignore", invalid="ignore"):
        foot = -intercept / squares
        near = np.stack([foot * a, foot * b], -1)  # the point of the line next to the origin
        along = np.stack([-b, a], -1) / np.sqrt(squares)[..., None]
        enter, leave = np.full(a.shape, -np.inf), np.full(a.shape, np.inf)
        for axis, (low, high) in enumerate(((left, right), (bottom, top))):
            one, two = ((side - near[..., axis]) / along[..., axis] for side in (low, high))
            flat = along[..., axis] == 0
            inside = (near[..., axis] >= low) & (near[..., axis] <= high)
            first, last = np.minimum(one, two), np.maximum(one, two)
            first = np.where(flat, np.where(inside, -np.inf, np.inf), first)
            last = np.where(flat, np.where(inside, np.inf, -np.inf), last)
            enter, leave = np.maximum(enter, first), np.minimum(leave, last)
        ends = near[..., None, :] + np.stack([enter, leave], -1)[..., None] * along[..., None, :]
    ends[~(enter <= leave)] = np.nan
    return ends


def animate_line(line, X, y, path, frames: int = 60, fps: int = 12, bounds=None) -> int:
    """Writes the moving line of a perceptron as an animated GIF (matplotlib and Pillow, no other program).

    Args:
        line: a fitted `Perceptron(record_path=True)` of 2 features, or its `path_`.
        X, y: (samples, 2) points and labels.
        path: of the file, *.gif.
        frames: at most so many, spread evenly over the changes; the first and the last line are among them.
        fps: frames per second.
        bounds: (left, right, bottom, top); around X by default.

    Returns:
        The number of frames.
    """
    line = getattr(line, "path_", line)
    if not hasattr(line, "coef"):
        raise ValueError("animate_line: no path was recorded. Fit Perceptron(record_path=True).")
    if frames < 1 or fps <= 0:
        raise ValueError(f"animate_line: expected frames and fps of at least 1; received {frames} and {fps}.")
    figure = _new_figure(4.8, 4)
    try:
        from matplotlib.animation import PillowWriter
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as error:
        raise ImportError("Animations need Pillow beside matplotlib: pip install 'pydl[viz,image]'.") from error
    FigureCanvasAgg(figure)
    bounds = _bounds("animate_line", X, bounds, 0.1)
    chosen = np.unique(np.linspace(0, len(line.step) - 1, min(frames, len(line.step))).round().astype(int))
    ends = line_ends(line.coef[chosen], line.intercept[chosen], bounds)
    cell = figure.subplots()
    classes = np.unique(y)
    _points(cell, X, y, classes, _colours(len(classes)))
    cell.set(xlim=bounds[:2], ylim=bounds[2:])
    drawn = [cell.plot([], [], color="black" if ends.shape[1] == 1 else c)[0] for c in _colours(ends.shape[1])]
    writer = PillowWriter(fps=fps)
    with writer.saving(figure, str(path), dpi=80):
        for step, units in zip(line.step[chosen], ends):
            for artist, points in zip(drawn, units):
                artist.set_data(points[:, 0], points[:, 1])
            cell.set_title(f"after {step} updates")
            writer.grab_frame()
            figure.set_layout_engine("none")  # laid out once
    return len(chosen)


def loss_surface(unit, X, y, weights=(0, 1), bounds=None, resolution: int = 60) -> Surface:
    """The mean loss of a single unit over two of its weights, the others as learned, and the way that training took.

    Args:
        unit: a fitted `Perceptron` of one line (two classes, not "softmax"), or `PerceptronRegressor`; with
            `record_path` the way comes with it.
        X, y: the points.
        weights: the two weights, numbers of features; "intercept" or the number of features is the intercept.
        bounds: (left, right, bottom, top) of the weights; by default around the way, or around the learned ones.
        resolution: points per axis.

    Raises:
        ValueError: for a unit with several lines, or weights that it has not.
    """
    learned = np.append(np.atleast_2d(unit.coef_)[0], unit.intercept_[0])
    if np.atleast_2d(unit.coef_).shape[0] != 1:
        raise ValueError(f"loss_surface: expected a unit with one line; received {len(unit.coef_)} lines.")
    features = len(learned) - 1
    chosen = [features if w == "intercept" else w for w in weights]
    if len(chosen) != 2 or chosen[0] == chosen[1] or any(w not in range(features + 1) for w in chosen):
        raise ValueError(f"loss_surface: expected two of the weights 0 .. {features - 1} and 'intercept'; received"
                         f" {weights}.")
    way = None
    if hasattr(unit, "path_"):
        way = np.concatenate([unit.path_.coef[:, 0], unit.path_.intercept], 1)[:, chosen]
    if bounds is None:
        if way is not None and len(way) > 1:
            seen = way
        else:
            half = np.maximum(np.abs(learned[chosen]), 1)
            seen = np.stack([learned[chosen] - half, learned[chosen] + half])
        bounds = _bounds("loss_surface", seen, None, 0.4)
    left, right, bottom, top = bounds
    a, b = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
    lines = np.broadcast_to(learned, (resolution, resolution, features + 1)).copy()
    lines[..., chosen[0]], lines[..., chosen[1]] = a[None, :], b[:, None]
    loss = unit.mean_loss(X, y, lines[..., None, :-1], lines[..., -1:])
    names = ["b" if w == features else f"w{w + 1}" for w in chosen]
    return Surface(a, b, loss, (names[0], names[1]), way)


def plot_loss_surface(surface, title=None, path=None, figure=None):
    """Contours of a `Surface`, and the way of gradient descent over them."""
    figure = figure if figure is not None else _new_figure(4.8, 4)
    cell = figure.subplots()
    shown = cell.contourf(surface.x, surface.y, surface.loss, 30, cmap="viridis")
    figure.colorbar(shown, label="mean loss")
    if surface.path is not None:
        cell.plot(*surface.path.T, color="white", marker=".", markersize=3, linewidth=1)
        cell.plot(*surface.path[-1], color="red", marker="o")
    cell.set(xlabel=surface.names[0], ylabel=surface.names[1], title=title, xlim=(surface.x[0], surface.x[-1]),
             ylim=(surface.y[0], surface.y[-1]))
    return _saved(figure, path)


def descent_curves(unit, X, y, solvers=("batch", "stochastic", "mini-batch"), passes: int = 30, **arguments) -> dict:
    """The loss on all points after each update of batch, stochastic and mini-batch gradient descent.

    Args:
        unit: a `Perceptron` or `PerceptronRegressor`; copies of it are trained.
        X, y: the points.
        solvers: of the unit.
        passes: over the points.
        arguments: further ones of the unit, e.g. `eta0`.

    Returns:
        dict solver -> (updates + 1, 2): passes so far (with fractions), mean loss on all points.
    """
    curves = {}
    for solver in solvers:
        one = type(unit)(**{**unit.get_params(), "solver": solver, "max_iter": passes, "tol": None,
                            "record_path": True, "warm_start": False, **arguments}).fit(X, y)
        way = one.path_
        parts = range(0, len(way.step), 512)  # bounds the memory of the lines' outputs
        loss = np.concatenate([one.mean_loss(X, y, way.coef[i:i + 512], way.intercept[i:i + 512]) for i in parts])
        per_pass = -(-one.t_ // one.n_iter_)
        curves[solver] = np.stack([way.step / per_pass, loss], 1)
    return curves


def plot_descent_curves(curves, title=None, path=None, figure=None):
    """Loss over passes, one curve per solver; takes what `descent_curves` returns."""
    figure = figure if figure is not None else _new_figure(5.5, 3.5)
    cell = figure.subplots()
    for (solver, curve), colour in zip(curves.items(), _colours(len(curves))):
        cell.plot(curve[:, 0], curve[:, 1], label=f"{solver}, {len(curve) - 1} moves", color=colour, linewidth=1)
    cell.set(xlabel="passes over the points", ylabel="mean loss", title=title)
    cell.legend()
    return _saved(figure, path)


def _colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _points(cell, X, y, classes, colours) -> None:
    if X is None:
        return
    X = np.asarray(X)
    if y is None:
        cell.scatter(X[:, 0], X[:, 1], s=12, color="grey", edgecolor="white", linewidth=0.4)
        return
    y = np.asarray(y).reshape(-1)
    for label, colour in zip(classes, colours):
        cell.scatter(*X[y == label].T, s=14, color=colour, edgecolor="white", linewidth=0.4, label=str(label))
    cell.legend(loc="upper right", fontsize=7)


def _bounds(what: str, X, bounds, margin: float) -> tuple[Any, ...]:
    """(left, right, bottom, top), given or around the points."""
    if bounds is not None:
        if len(bounds) != 4 or not (bounds[0] < bounds[1] and bounds[2] < bounds[3]):
            raise ValueError(f"{what}: expected bounds (left, right, bottom, top); received {bounds}.")
        return tuple(bounds)
    points = np.asarray(X, float) if X is not None else np.empty(0)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise ValueError(f"{what}: expected points of two features, or bounds; received"
                         f" {'none' if X is None else f'an array of shape {points.shape}'}.")
    low, high = points.min(0), points.max(0)
    room = np.where(high > low, (high - low) * margin, 1.0)
    return low[0] - room[0], high[0] + room[0], low[1] - room[1], high[1] + room[1]
