"""Losses and metrics of `compile`, matched to the outputs of a model."""

from __future__ import annotations

import numpy as np

from pydl import losses as losses_module
from pydl import metrics as metrics_module
from pydl import ops, tree


def output_slots(y_pred, output_names=None):
    """[(name, path)] of the outputs; the path leads from the structure to the output."""
    if isinstance(y_pred, dict):
        return [(str(k), (k,)) for k in y_pred]
    if isinstance(y_pred, (list, tuple)):
        names = output_names or [f"output_{i}" for i in range(len(y_pred))]
        return [(names[i], (i,)) for i in range(len(y_pred))]
    return [((output_names or ["output"])[0], ())]


def _at(structure, path, name, slots, what):
    """The part of `structure` that belongs to an output: by key, by position, or the whole for a single output."""
    if structure is None:
        return None
    if isinstance(structure, dict):
        if name in structure:
            return structure[name]
        if path and path[0] in structure:
            return structure[path[0]]
        if len(slots) == 1 and what == "y" and len(structure) == 1:
            return next(iter(structure.values()))
        return None
    if not path and not isinstance(structure, (list, tuple)):
        return structure
    if isinstance(structure, (list, tuple)):
        position = [n for n, _ in slots].index(name)
        if len(slots) == 1 and len(structure) != 1:
            return structure
        if position >= len(structure):
            raise ValueError(f"`{what}` has {len(structure)} entries; the model has {len(slots)} outputs:"
                             f" {[n for n, _ in slots]}.")
        return structure[position]
    return structure


def check_names(structure, slots, what: str) -> None:
    """Raises ValueError when a dict names outputs the model does not have."""
    if isinstance(structure, dict):
        known = {n for n, _ in slots} | {p[0] for _, p in slots if p}
        unknown = [k for k in structure if k not in known]
        if unknown and not (len(slots) == 1 and what == "y"):
            raise ValueError(f"In the dict argument `{what}`, key '{unknown[0]}' does not correspond to any model"
                             f" output. Received: {list(structure)}; the outputs are {[n for n, _ in slots]}.")


class CompileLoss:
    """The total loss: per-output losses, weighted and added. Also keeps one Mean per output when there are several.

    Args:
        loss: name, Loss or callable, or a structure of them by output.
        loss_weights: number, or structure of numbers by output.
        output_names: names of the outputs of a functional model.
    """

    def __init__(self, loss, loss_weights=None, output_names=None):
        self.loss = loss
        self.loss_weights = loss_weights
        self.output_names = output_names
        self._built = None  # [(name, path, Loss, weight)]
        self.trackers: list = []

    def build(self, y_pred) -> None:
        slots = output_slots(y_pred, self.output_names)
        check_names(self.loss, slots, "loss")
        check_names(self.loss_weights, slots, "loss_weights")
        if isinstance(self.loss, (list, tuple)) and len(self.loss) != len(slots):
            raise ValueError(f"`loss` has {len(self.loss)} entries; the model has {len(slots)} outputs:"
                             f" {[n for n, _ in slots]}.")
        if isinstance(self.loss_weights, (list, tuple)) and len(self.loss_weights) != len(slots):
            raise ValueError(f"`loss_weights` has {len(self.loss_weights)} entries; the model has {len(slots)} outputs:"
                             f" {[n for n, _ in slots]}.")
        self._built = []
        for name, path in slots:
            loss = self.loss if not isinstance(self.loss, (dict, list, tuple)) else _at(
                self.loss, path, name, slots, "loss")
            weight = self.loss_weights
            if isinstance(weight, (dict, list, tuple)):
                weight = _at(weight, path, name, slots, "loss_weights")
            if loss is not None:
                self._built.append((name, path, _as_loss(loss), weight))
        self._slots = slots
        if len(self._built) > 1:
            self.trackers = [metrics_module.Mean(name=f"{name}_loss") for name, *_ in self._built]

    def check_labels(self, y, outputs) -> None:
        """Looks at the labels of all rows before the first step: none may lie outside the classes of its output.

        Args:
            y: targets of all rows.
            outputs: structure of the model's symbolic outputs.

        Raises:
            ValueError: with the label, its row and the number of classes.
        """
        if self._built is None:
            self.build(outputs)
        for name, path, loss, _ in self._built:
            labels, output = _at(y, path, name, self._slots, "y"), outputs
            for step in path:
                output = output[step]
            output = tree.flatten(output)[0]
            if (getattr(loss, "fn", None) is not losses_module.sparse_categorical_crossentropy
                    or loss._fn_kwargs.get("ignore_class") is not None or not isinstance(labels, np.ndarray)):
                continue
            classes = output.shape[loss._fn_kwargs.get("axis", -1)]
            if classes is not None and (labels.min() < 0 or labels.max() >= classes):
                row = int(np.argwhere((labels < 0) | (labels >= classes))[0][0])
                wrong = [v for v in labels[row].ravel() if not 0 <= v < classes][0]
                raise ValueError(f'Target of output "{name}": label {wrong} in row {row} is out of range. The output'
                                 f" has {classes} classes: expected labels from 0 to {classes - 1}.")

    def __call__(self, y, y_pred, sample_weight=None):
        if self._built is None:
            self.build(y_pred)
        check_names(y, self._slots, "y")
        total = None
        for i, (name, path, loss, weight) in enumerate(self._built):
            target = _at(y, path, name, self._slots, "y")
            output = y_pred
            for step in path:
                output = output[step]
            if target is None:
                raise ValueError(f'No target for output "{name}": the loss {loss!r} needs one. Pass it in `y`.')
            value = loss(target, output, sample_weight=_at(sample_weight, path, name, self._slots, "sample_weight"))
            if self.trackers:
                batch = tree.flatten(output)[0].shape[0]
                self.trackers[i].update_state(value, sample_weight=float(batch))
            if weight is not None:
                value = value * weight
            total = value if total is None else total + value
        return total


def _as_loss(loss):
    loss = losses_module.get(loss)
    if isinstance(loss, losses_module.Loss):
        return loss
    if not callable(loss):
        raise ValueError(f"Could not interpret loss: {loss!r}")
    return losses_module.LossFunctionWrapper(loss, name=getattr(loss, "__name__", "loss"))


def resolve_metric(metric, y_true, y_pred):
    """A Metric from a name, function or Metric; "accuracy" and "crossentropy" look at the shapes."""
    if isinstance(metric, metrics_module.Metric):
        return metric
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", None)
    if isinstance(metric, str) and metric.lower() in ("accuracy", "acc", "crossentropy", "ce"):
        sparse = len(y_true.shape) < len(y_pred.shape) or (y_true.shape[-1] == 1 and y_pred.shape[-1] > 1)
        binary = y_pred.shape[-1] == 1 if len(y_pred.shape) else True
        kind = "Binary" if binary else "SparseCategorical" if sparse else "Categorical"
        suffix = "Accuracy" if metric.lower() in ("accuracy", "acc") else "Crossentropy"
        return getattr(metrics_module, kind + suffix)(name=metric)
    found = metrics_module.get(metric)
    if isinstance(found, metrics_module.Metric):
        if isinstance(metric, str):
            found.name = metric
        return found
    return metrics_module.MeanMetricWrapper(found, name=name)


class CompileMetrics:
    """Metrics by output, used like one metric whose result is a dict. `weighted` ones see the sample weights.

    Args:
        metrics, weighted_metrics: a list for a single output; lists or a dict by output for several.
        output_names: names of the outputs of a functional model.
    """

    name = "compile_metrics"

    def __init__(self, metrics, weighted_metrics, output_names=None):
        self.given = (metrics, weighted_metrics)
        self.output_names = output_names
        self._built = None  # [(output name, path, key, Metric, weighted)]

    @property
    def metrics(self) -> list:
        return [m for *_, m, _ in self._built or ()]

    @property
    def variables(self) -> list:
        return [v for m in self.metrics for v in m.variables]

    def reset_state(self) -> None:
        for m in self.metrics:
            m.reset_state()

    def build(self, y, y_pred) -> None:
        self._slots = slots = output_slots(y_pred, self.output_names)
        built = []
        for given, weighted in zip(self.given, (False, True)):
            check_names(given, slots, "weighted_metrics" if weighted else "metrics")
            for name, path in slots:
                for metric in self._of_output(given, name, path, slots):
                    target = _at(y, path, name, slots, "y")
                    output = y_pred
                    for step in path:
                        output = output[step]
                    metric = resolve_metric(metric, output if target is None else target, output)
                    key = f"{name}_{metric.name}" if len(slots) > 1 else metric.name
                    built.append((name, path, key, metric, weighted))
        self._built = built

    @staticmethod
    def _of_output(given, name, path, slots) -> list:
        if given is None:
            return []
        if isinstance(given, dict):
            found = given.get(name, given.get(path[0]) if path else None)
        elif not isinstance(given, (list, tuple)):
            found = given
        elif len(slots) > 1:
            if all(not isinstance(g, (list, tuple)) for g in given) and len(given) != len(slots):
                found = given  # one flat list for all outputs
            else:
                found = _at(list(given), path, name, slots, "metrics")
        else:
            found = given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given
        if found is None:
            return []
        return list(found) if isinstance(found, (list, tuple)) else [found]

    def update_state(self, y, y_pred, sample_weight=None) -> None:
        if self._built is None:
            self.build(y, y_pred)
        for name, path, _, metric, weighted in self._built:
            target = _at(y, path, name, self._slots, "y")
            output = y_pred
            for step in path:
                output = output[step]
            weight = _at(sample_weight, path, name, self._slots, "sample_weight") if weighted else None
            if weight is None:
                weight = getattr(output, "_keras_mask", None)
                if weight is not None:
                    weight = ops.cast(weight, output.dtype)
            metric.update_state(target, output, sample_weight=weight)

    def result(self) -> dict:
        found: dict = {}
        for *_, key, metric, weighted in self._built or ():
            value = metric.result()
            if isinstance(value, dict):
                found.update(value)
            else:
                key = f"weighted_{key}" if weighted and key in found else key
                unique, count = key, 1
                while unique in found:
                    unique, count = f"{key}_{count}", count + 1
                found[unique] = value
        return found
