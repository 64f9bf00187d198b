"""Losses and metrics of `compile`, matched to the outputs of a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pydl import losses as losses_module
from pydl import metrics as metrics_module
from pydl import ops, tree
from pydl.models.outputs import Place
from pydl.ops._loss_kernels import refuse_nan

CHOSEN_BY_SHAPE = {"accuracy": "Accuracy", "acc": "Accuracy", "crossentropy": "Crossentropy", "ce": "Crossentropy"}


def _kind(y_true, y_pred) -> str:
    """"Binary", "Categorical" or "SparseCategorical", by the shapes of targets and predictions."""
    if not y_pred.shape or y_pred.shape[-1] == 1:
        return "Binary"
    sparse = len(y_true.shape) < len(y_pred.shape) or y_true.shape[-1] == 1
    return "SparseCategorical" if sparse else "Categorical"


class Term(NamedTuple):
    """A part of the loss: what is computed of the tensors at a place of the outputs.

    Attributes:
        own: whether the loss is one of the library's, which make a NaN of a NaN.
    """

    place: Place
    loss: losses_module.Loss
    weight: float | None
    own: bool


class CompileLoss:
    """The total loss: losses of the outputs, weighted and added. Where there are several, also keeps one Mean for each
    place that has losses.

    Args:
        loss: name, Loss or callable for every output; or a structure of them that mirrors the outputs, or a flat list
            or dict of them by output. In it None leaves an output out, a loss in the place of a container is given all
            its tensors, and a list where a tensor or a dict is (a tuple where a list is, and the other way round) holds
            several losses for the whole of it.
        loss_weights: number, or structure of numbers like `loss` or by output.
        output_names: names of the outputs of a functional model.
    """

    def __init__(self, loss, loss_weights=None, output_names=None):
        self.loss = loss
        self.loss_weights = loss_weights
        self.output_names = output_names
        self._place: Place | None = None
        self._terms: list[Term] = []
        self.trackers: list = []

    def build(self, y, y_pred) -> None:
        """Finds the losses of the outputs; both arguments may be whatever has shapes."""
        self._place = root = Place(y_pred, self.output_names)
        found = list(self._found(root, self.loss, self.loss_weights, alone=not tree.is_nested(self.loss)))
        targets = root.targets(y, [leaf.first for place, *_ in found for leaf in place.leaves])
        outputs = tree.flatten(y_pred)
        self._terms = []
        for place, loss, weight in found:
            loss, own = _as_loss(loss, targets[place.first], outputs[place.first])
            self._terms.append(Term(place, loss, weight, own))
        if len(self._terms) > 1:
            shown = {id(place): place.called(loss.name) for place, loss, *_ in reversed(self._terms)}
            names = _numbered([f"{shown[at]}_loss" for at in dict.fromkeys(id(place) for place, *_ in self._terms)])
            self.trackers = [metrics_module.Mean(name=name) for name in names]

    def _found(self, place, loss, weight, alone=False) -> Iterator[tuple[Place, Any, Any]]:
        """(place, loss, weight) of what is given for a place; `alone`: a single loss counts for each of its tensors."""
        if loss is None:
            return
        several = isinstance(loss, (list, tuple)) and (
            bool(place.path) and len(loss) > 1 if place.children is None
            else not issubclass(place.container, type(loss)) and not place.fits(loss))
        if several:
            weights = weight if tree.is_nested(weight) else [weight] * len(loss)
            if isinstance(weights, dict) or len(weights) != len(loss):
                raise ValueError(f"`loss_weights` must match the {len(loss)} losses; received {weight!r}.")
            for each, factor in zip(loss, weights):
                yield from self._found(place, each, factor)
        elif place.children is None:
            yield place, place.only(loss, "loss"), place.only(weight, "loss_weights")
        elif alone:
            for leaf, factor in zip(place.leaves, place.spread(weight, "loss_weights")):
                yield leaf, loss, factor
        elif not tree.is_nested(loss):
            if tree.is_nested(weight):
                raise ValueError(f"`loss_weights`: expected one number for the loss {loss!r}; received {weight!r}.")
            yield place, loss, weight
        else:
            weights = {id(child): part for child, part in place.parts(weight, "loss_weights")} if tree.is_nested(
                weight) else {id(child): weight for _, child in place.children}
            for child, part in place.parts(loss, "loss"):
                yield from self._found(child, part, weights[id(child)])

    def check_labels(self, y, outputs) -> None:
        """Looks at the labels of all rows before the first step: none may lie outside the classes of its output.

        Args:
            y: targets of all rows.
            outputs: structure of the model's symbolic outputs.

        Raises:
            ValueError: with the label, its row and the number of classes.
        """
        if self._place is None:
            self.build(y, outputs)
        targets, flat = self._targets(y), tree.flatten(outputs)
        for place, loss, *_ in self._terms:
            labels = targets[place.first]
            if (not isinstance(loss, losses_module.LossFunctionWrapper)
                    or loss.fn not in (losses_module.sparse_categorical_crossentropy,
                                       losses_module.categorical_generalized_cross_entropy)
                    or loss._fn_kwargs.get("ignore_class") is not None or not isinstance(labels, np.ndarray)):
                continue
            classes = flat[place.first].shape[loss._fn_kwargs.get("axis", -1)]
            if classes is not None and not (labels.min() >= 0 and labels.max() < classes):
                row = int(np.argwhere(~((labels >= 0) & (labels < classes)))[0][0])
                wrong = [v for v in labels[row].ravel() if not 0 <= v < classes][0]
                raise ValueError(f'Target of output "{place.names[0]}": label {wrong} in row {row} is out of range. The'
                                 f" output has {classes} classes: expected labels from 0 to {classes - 1}.")

    def _targets(self, y) -> list:
        assert self._place is not None
        return self._place.targets(y, [leaf.first for term in self._terms for leaf in term.place.leaves])

    def __call__(self, y, y_pred, sample_weight=None, x=None):
        """The total, or None where no output has a loss.

        Args:
            x: the inputs, to look for NaN in them.

        Raises:
            FloatingPointError: where weights would be trained on a loss that NaN in the data has made NaN or infinite;
                in targets and inputs only if the loss is the library's, since others may leave missing values out. A
                replay of the step raises it too.
        """
        if self._place is None or self._place.size != len(tree.flatten(y_pred)):  # a step may have outputs of its own
            self.build(y, y_pred)
        assert self._place is not None
        targets = self._targets(y)
        weights = self._place.spread(sample_weight, "sample_weight")
        total, by_place = None, {}  # the latter in the order of the trackers
        for place, loss, factor, own in self._terms:
            output = y_pred
            for step in place.path:
                output = output[step]
            there = slice(place.first, place.first + place.size)
            for leaf, target in zip(place.leaves, targets[there]):
                if target is None:
                    raise ValueError(f'No target for output "{leaf.names[0]}": the loss {loss!r} needs one. Pass it in'
                                     " `y`.")
            weight = weights[place.first]
            if any(other is not weight for other in weights[there]):
                raise ValueError(f"`sample_weight`: expected one for the outputs {place.names}, which have one loss"
                                 " together; received several.")
            value = loss(tree.pack_sequence_as(output, targets[there]), output, sample_weight=weight)
            if getattr(value, "node", None) is not None:
                for data in [weight, *([*targets[there], *tree.flatten(x)] if own else [])]:
                    refuse_nan(data, value)
            if self.trackers:
                by_place[id(place)] = by_place[id(place)] + value if id(place) in by_place else value
            if factor is not None:
                value = value * factor
            total = value if total is None else total + value
        for tracker, value in zip(self.trackers, by_place.values()):
            tracker.update_state(value, sample_weight=float(tree.flatten(y_pred)[0].shape[0]))
        return total


def _numbered(names) -> list[str]:
    """The names, with a number from the second of the same on."""
    counts: dict[str, int] = {}
    found = []
    for name in names:
        counts[name] = counts.get(name, -1) + 1
        found.append(f"{name}_{counts[name]}" if counts[name] else name)
    return found


def _as_loss(loss, y_true, y_pred) -> tuple[losses_module.Loss, bool]:
    """(a Loss, whether it is the library's own) from a name, function or Loss."""
    name = getattr(loss, "__name__", "loss")
    if isinstance(loss, str) and CHOSEN_BY_SHAPE.get(loss.lower()) == "Crossentropy":
        name, loss = loss, f"{_kind(y_true, y_pred)}Crossentropy"
    found = losses_module.get(loss)
    if isinstance(loss, str):
        name = loss if name == "loss" else name
    if isinstance(found, losses_module.Loss):
        return found, losses_module.is_own(found)
    if not callable(found):
        raise ValueError(f"Could not interpret loss: {loss!r}")
    found = losses_module.LossFunctionWrapper(found, name=name)
    return found, losses_module.is_own(found)


def resolve_metric(metric, y_true, y_pred):
    """A Metric from a name, function or Metric; "accuracy" and "crossentropy" look at the shapes."""
    if isinstance(metric, metrics_module.Metric):
        return metric
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", None)
    if isinstance(metric, str) and metric.lower() in CHOSEN_BY_SHAPE:
        return getattr(metrics_module, _kind(y_true, y_pred) + CHOSEN_BY_SHAPE[metric.lower()])(name=metric)
    found = metrics_module.get(metric)
    if isinstance(found, metrics_module.Metric):
        if isinstance(metric, str):
            found.name = metric
        return found
    return metrics_module.MeanMetricWrapper(found, name=name)


class CompileMetrics:
    """Metrics by output, used like one metric whose result is a dict. `weighted` ones see the sample weights.

    Args:
        metrics, weighted_metrics: a list for a single output; for several a structure that mirrors the outputs, or a
            dict by their names, of metrics or lists of them. None leaves an output out.
        output_names: names of the outputs of a functional model.
    """

    name = "compile_metrics"

    def __init__(self, metrics, weighted_metrics, output_names=None):
        self.given = (metrics, weighted_metrics)
        self.output_names = output_names
        self._place: Place | None = None
        self._built: list[tuple[Place, str, metrics_module.Metric, bool]] = []  # place, prefix, metric, weighted

    @property
    def metrics(self) -> list:
        return [metric for *_, metric, _ in self._built]

    @property
    def variables(self) -> list:
        return [v for m in self.metrics for v in m.variables]

    def reset_state(self) -> None:
        for m in self.metrics:
            m.reset_state()

    def build(self, y, y_pred) -> None:
        root = Place(y_pred, self.output_names)
        found = [(leaf, given, weighted) for metrics, weighted in zip(self.given, (False, True))
                 for leaf, given in zip(root.leaves, _by_output(root, metrics, weighted)) if given is not None]
        targets, outputs = root.targets(y, _numbers(found)), tree.flatten(y_pred)
        flat = root.is_dict and root.size == len(root.children or ())
        self._built = []
        for leaf, given, weighted in found:
            prefix = "" if root.size == 1 else f"{leaf.path[0]}_" if flat else f"{leaf.name}_" if leaf.name else ""
            target, output = targets[leaf.first], outputs[leaf.first]
            for metric in given if isinstance(given, (list, tuple)) else [given]:
                metric = resolve_metric(metric, output if target is None else target, output)
                self._built.append((leaf, prefix, metric, weighted))
        self._place = root

    def update_state(self, y, y_pred, sample_weight=None) -> None:
        if self._place is None:
            self.build(y, y_pred)
        assert self._place is not None
        targets, outputs = self._place.targets(y, _numbers(self._built)), tree.flatten(y_pred)
        weights = self._place.spread(sample_weight, "sample_weight")
        for place, _, metric, weighted in self._built:
            target, output = targets[place.first], outputs[place.first]
            if target is None and y is not None:
                raise ValueError(f'No target for output "{place.names[0]}": the metric {metric.name!r} needs one. Pass'
                                 " it in `y`.")
            weight = weights[place.first] if weighted else None
            if weight is None:
                weight = getattr(output, "_keras_mask", None)
                if weight is not None:
                    weight = ops.cast(weight, output.dtype)
            metric.update_state(target, output, sample_weight=weight)

    @property
    def names(self) -> list[str]:
        """Those of the results: Keras's, with that of the output, "weighted" where a metric before has the name, a
        number where two have one still."""
        found: list[str] = []
        for _, prefix, metric, weighted in self._built:
            name = prefix + metric.name
            found.append(f"{prefix}weighted_{metric.name}" if weighted and name in found else name)
        return _numbered(found)

    def result(self) -> dict:
        found: dict = {}
        for name, metric in zip(self.names, self.metrics):
            value = metric.result()
            found.update(value if isinstance(value, dict) else {name: value})
        return found


def _numbers(found) -> list[int]:
    """Those of the outputs with metrics."""
    return list(dict.fromkeys(place.first for place, *_ in found))


def _by_output(root: Place, given, weighted: bool) -> list:
    """The metric, list of metrics or None of each output."""
    what = "weighted_metrics" if weighted else "metrics"
    if root.size > 1 or isinstance(given, dict):
        return root.spread(given, what, many=True)
    return [tree.flatten(given) if given else None]
