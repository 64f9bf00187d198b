"""Pictures of training: gradients and activations by layer, weights, dead units, memory, confusion."""

from __future__ import annotations

import numpy as np

from pydl.dtypes import holds_floats
from pydl.inspection.drawing import _new_figure, _saved
from pydl.inspection.training import QUANTITIES, monitored
from pydl.inspection.units import named_weights
from pydl.models import Model

__all__ = ["plot_backprop_memory", "plot_confusion_matrix", "plot_dead_units", "plot_monitor",
           "plot_weight_histograms"]

_LOGARITHMIC = ("gradient_norm", "weight_change", "update_ratio", "activation_std")


def plot_monitor(history, quantities=None, layers=None, path=None, figure=None):
    """What a `TrainingMonitor` wrote: one panel per quantity, one curve per layer, dark at the input to bright at the
    output; sizes on a logarithmic scale.

    Args:
        history: what `fit` returned, or its dict.
        quantities: names of QUANTITIES; all that were measured when None.
        layers: names; those with trainable weights when None.

    Raises:
        ValueError: when no monitor has run, or for a quantity or layer it has not seen.
    """
    found = monitored(history)
    if not found:
        raise ValueError("plot_monitor: the history has no values of a TrainingMonitor; give one to fit(callbacks=...)"
                         " first.")
    quantities = [q for q in QUANTITIES if q in found] if quantities is None else _as_list(quantities)
    known = list(dict.fromkeys(name for curves in found.values() for name in curves))
    trained = list(found.get("gradient_norm", ()))
    layers = (trained or known) if layers is None else _as_list(layers)
    for what, wanted, there in (("quantity", quantities, list(found)), ("layer", layers, known)):
        for name in wanted:
            if name not in there:
                raise ValueError(f"plot_monitor: expected a {what} among {there}; received {name!r}.")
    figure = figure if figure is not None else _new_figure(7, 2.6 * len(quantities))
    colours = _colours(len(layers))
    for cell, quantity in zip(figure.subplots(len(quantities), 1, squeeze=False)[:, 0], quantities):
        for name, colour in zip(layers, colours):
            curve = found[quantity].get(name)
            if curve is not None:
                measured = np.isfinite(curve)
                cell.plot(np.arange(1, len(curve) + 1)[measured], curve[measured], marker=".", color=colour, label=name)
        positive = [curve[curve > 0] for curve in found[quantity].values()]
        if quantity in _LOGARITHMIC and any(len(p) for p in positive):
            cell.set_yscale("log")
        _labelled(cell, "epoch", quantity.replace("_", " "))
        cell.xaxis.get_major_locator().set_params(integer=True)
    if len(layers) <= 12:
        figure.axes[0].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return _saved(figure, path)


def plot_weight_histograms(models, bins: int = 50, kernels_only: bool = True, path=None, figure=None):
    """The weights of models over each other, one panel per variable, e.g. {"without": a, "L2": b} for a penalty.

    Args:
        models: dict label -> built model, or one model. All have the same layers; ranges are shared.
        bins: per panel.
        kernels_only: leave out biases and other vectors.
    """
    models = {"": models} if isinstance(models, Model) else dict(models)
    chosen = {label: named_weights(m, kernels_only) for label, m in models.items()}
    counts = {label: len(found) for label, found in chosen.items()}
    if not counts or len(set(counts.values())) != 1 or 0 in counts.values():
        raise ValueError("plot_weight_histograms: expected built models with the same layers; received models with"
                         f" {counts} weights.")
    rows = next(iter(counts.values()))
    figure = figure if figure is not None else _new_figure(6, 2.2 * rows)
    cells = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for row, cell in enumerate(cells):
        values = {label: list(found.values())[row].numpy().ravel() for label, found in chosen.items()}
        edges = np.histogram_bin_edges(np.concatenate(list(values.values())), bins)
        for label, array in values.items():
            cell.hist(array, edges, histtype="stepfilled", alpha=0.5, label=label or None)
        _labelled(cell, list(next(iter(chosen.values())))[row], "weights")
        if len(models) > 1:
            cell.legend()
    return _saved(figure, path)


def plot_dead_units(dead, path=None, figure=None):
    """Share of dead units by layer, of what `dead_units` returned; above one half in red."""
    return _bars({name: 100 * float(np.mean(array)) for name, array in dead.items()}, "dead units in %",
                 lambda share: "tab:red" if share > 50 else "tab:blue", path, figure)


def plot_backprop_memory(kept, path=None, figure=None):
    """Memory by layer, of what `backprop_memory` returned, in MB."""
    return _bars({name: size / 1e6 for name, size in kept.items()}, "kept for the backward pass in MB",
                 lambda _: "tab:blue", path, figure)


def plot_confusion_matrix(matrix, class_names=None, path=None, figure=None):
    """A confusion matrix with its numbers, rows by true class; colours show the share of the row.

    Args:
        matrix: array (classes, classes) of `confusion_matrix`.
        class_names: list of names; class numbers when None.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"plot_confusion_matrix: expected an array (classes, classes); received {matrix.shape}.")
    count = len(matrix)
    names = [str(i) for i in range(count)] if class_names is None else [str(n) for n in class_names]
    if len(names) != count:
        raise ValueError(f"plot_confusion_matrix: expected {count} class names; received {len(names)}.")
    figure = figure if figure is not None else _new_figure(max(4, 0.5 * count + 1.5), max(3.5, 0.5 * count + 1))
    cell = figure.subplots()
    rows = matrix.sum(1, keepdims=True)
    shares = matrix / np.where(rows, rows, 1)
    cell.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if count <= 30:
        for i in range(count):
            for j in range(count):
                text = f"{matrix[i, j]:.2f}" if holds_floats(matrix) else f"{matrix[i, j]}"
                cell.text(j, i, text, ha="center", va="center", fontsize=8,
                          color="white" if shares[i, j] > 0.5 else "black")
    cell.set_xticks(range(count), names, rotation=0 if max(map(len, names)) < 4 else 90)
    cell.set_yticks(range(count), names)
    cell.set_xlabel("predicted")
    cell.set_ylabel("true")
    return _saved(figure, path)


def _bars(values: dict, label: str, colour, path, figure):
    if not values:
        raise ValueError("Expected a dict of at least one layer; received an empty one.")
    figure = figure if figure is not None else _new_figure(6, max(1.5, 0.28 * len(values) + 0.8))
    cell = figure.subplots()
    cell.barh(list(values), list(values.values()), color=[colour(v) for v in values.values()])
    cell.invert_yaxis()
    cell.tick_params(axis="y", labelsize=8)
    _labelled(cell, label, "")
    return _saved(figure, path)


def _labelled(cell, x: str, y: str) -> None:
    cell.set_xlabel(x)
    cell.set_ylabel(y)
    cell.grid(alpha=0.3)


def _as_list(value) -> list:
    return [value] if isinstance(value, str) else list(value)


def _colours(count: int):
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0, 0.9, count))
