"""How training goes inside a network: gradients, updates, activations of each layer, once per epoch."""

from __future__ import annotations

import math

import numpy as np

from pydl import tree
from pydl.callbacks import Callback
from pydl.dtypes import holds_floats
from pydl.inspection.rehearsal import as_batch, last_batch, parts, rehearse
from pydl.inspection.watching import checked
from pydl.layers import Embedding
from pydl.tensor import Tensor
from pydl.warning import warn

__all__ = ["TrainingMonitor", "gradient_problems", "monitored", "training_statistics"]

QUANTITIES = ("gradient_norm", "weight_change", "update_ratio", "activation_mean", "activation_std",
              "activation_zeros")

VANISHING = ("Usual remedies: fewer layers, ReLU instead of sigmoid or tanh, He or Glorot initialisation,"
             " BatchNormalization, residual connections; LSTM or GRU over long sequences.")
EXPLODING = ("Usual remedies: gradient clipping (clipnorm, global_clipnorm or clipvalue of the optimizer), a smaller"
             " learning rate, smaller initial weights (He or Glorot), BatchNormalization, scaled inputs and targets.")


def training_statistics(model, x, y=None, sample_weight=None) -> dict[str, dict[str, float]]:
    """What one training step on a batch would do to each layer; the step is undone.

    The model's own `train_step` runs with everything that belongs to it (losses, penalties, masks, sample weights,
    dropout with the masks the next step would draw, clipping, optimizer). Variables, optimizer, metrics and random
    states are as before afterwards. It costs one step that is run from Python, and a copy of all variables.

    Args:
        model: compiled and built.
        x, y, sample_weight: one batch, as for `train_on_batch`.

    Returns:
        layer -> dict, in order of computation, of
        "gradient_norm": Euclidean norm of the gradient over all trainable weights of the layer, before clipping;
        "gradient_rms": root of the mean square over its kernels (rank 2 and more; all weights when it has none; of
        an Embedding only the rows of the batch);
        "update_ratio": norm of the step of the optimizer divided by the norm of the weights;
        "activation_mean", "activation_std", "activation_zeros": mean, standard deviation and share of exact zeros of
        the layer's (first) output, over all its calls.
        Values that a layer does not have (no trainable weights, integer outputs) are missing.

    Raises:
        TypeError, ValueError: for something that is no compiled, built model, or an `x` that does not fit.
    """
    checked(model, x, "training_statistics")
    return _statistics(model, as_batch(x, y, sample_weight))


def _statistics(model, batch) -> dict[str, dict[str, float]]:
    model._assert_compiled("training_statistics")
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    layers = parts(model)
    gradients: dict[int, np.ndarray] = {}
    updates: dict[int, tuple[float, float]] = {}
    outputs: dict[int, list[float]] = {}
    seen = []

    def on_gradients(pairs):
        gradients.update({id(v): g for v, g in pairs})

    def on_updates(pairs):
        updates.update({id(v): (_squares(v.data - before), _squares(before)) for v, before in pairs})

    def on_output(layer, output):
        if id(layer) not in outputs:
            seen.append(layer)
        total = outputs.setdefault(id(layer), [0.0, 0.0, 0.0, 0.0])
        y = next((t.data for t in tree.flatten(output) if isinstance(t, Tensor)), None)
        if y is not None and holds_floats(y):
            for i, part in enumerate((y.size, y.sum(dtype=np.float64), _squares(y), y.size - np.count_nonzero(y))):
                total[i] += float(part)

    with np.errstate(over="ignore", invalid="ignore"):
        rehearse(model, batch, on_gradients, on_updates, on_output, layers.values())
        names = {id(layer): name for name, layer in layers.items()}
        return {names[id(layer)]: {**_of_weights(layer, gradients, updates), **_of_outputs(outputs[id(layer)])}
                for layer in seen}


def _squares(a: np.ndarray) -> float:
    return float(np.square(a, dtype=np.float64).sum())


def _of_weights(layer, gradients, updates) -> dict[str, float]:
    trained = [v for v in layer.trainable_variables if id(v) in gradients]
    if not trained:
        return {}
    found = [gradients[id(v)] for v in trained]
    kernels = [g for g in found if g.ndim >= 2] or found
    if isinstance(layer, Embedding):
        kernels = [g[(g != 0).any(-1)] for g in kernels]
    change, before = (sum(updates[id(v)][i] for v in trained) for i in (0, 1))
    return {"gradient_norm": math.sqrt(sum(map(_squares, found))),
            "gradient_rms": math.sqrt(sum(map(_squares, kernels)) / max(sum(g.size for g in kernels), 1)),
            "update_ratio": _ratio(change, before)}


def _ratio(change: float, before: float) -> float:
    """Root of change / before, both sums of squares; no change of nothing is 0."""
    return math.sqrt(change / before) if before else (math.inf if change else 0.0)


def _of_outputs(total) -> dict[str, float]:
    count, values, squares, zeros = total
    if not count:
        return {}
    mean = values / count
    return {"activation_mean": mean, "activation_std": float(np.sqrt(np.maximum(squares / count - mean * mean, 0))),
            "activation_zeros": zeros / count}


def gradient_problems(statistics, vanishing: float = 1e-4, exploding: float = 1e4) -> dict[str, tuple[str, str]]:
    """Layers whose gradients vanish or explode.

    A layer's gradient (its root mean square per weight) is compared with the largest among the layers behind it, on the
    way to the loss: where training goes well they are of similar size at any time, also when all become small together.

    Args:
        statistics: of `training_statistics`.
        vanishing: share of the other gradient below which the layer hardly learns.
        exploding: multiple of it above which one step shakes the layer. Gradients that are not finite, and steps larger
            than the weights they change, are reported too. Where all gradients are 0 (a perfect fit, or a saturated
            loss) nothing is.

    Returns:
        layer -> (kind, sentence with the usual remedies), kind being "vanishing" or "exploding".
    """
    found: dict[str, tuple[str, str]] = {}
    largest, behind = 0.0, ""
    anywhere = any(of_layer.get("gradient_norm", of_layer.get("gradient_rms")) for of_layer in statistics.values())
    for name, of_layer in reversed(statistics.items()):
        rms = of_layer.get("gradient_rms")
        if rms is None:
            continue
        ratio = rms / largest if largest else 1.0  # nothing behind it to compare with
        if not math.isfinite(rms):
            found[name] = "exploding", f'Exploding gradient in layer "{name}": it is not finite. {EXPLODING}'
        elif 1 < of_layer["update_ratio"] < math.inf:
            found[name] = "exploding", (f'Exploding update in layer "{name}": one step is'
                                        f' {of_layer["update_ratio"]:.3g} times as large as the weights it changes.'
                                        f" {EXPLODING}")
        elif ratio > exploding:
            found[name] = "exploding", (f'Exploding gradient in layer "{name}": per weight it is {ratio:.1e} times that'
                                        f' of layer "{behind}" behind it. {EXPLODING}')
        elif rms == 0 and anywhere:
            found[name] = "vanishing", f'Vanishing gradient in layer "{name}": none arrives, it is 0. {VANISHING}'
        elif ratio < vanishing:
            found[name] = "vanishing", (f'Vanishing gradient in layer "{name}": per weight it is {ratio:.1e} of that of'
                                        f' layer "{behind}" behind it. {VANISHING}')
        if math.isfinite(rms) and rms > largest:
            largest, behind = rms, name
    return dict(reversed(found.items()))


class TrainingMonitor(Callback):
    """Writes gradients, updates and activations of each layer into History, once per epoch.

    At the end of an epoch one more step is rehearsed and undone (`training_statistics`), on the last batch of the epoch
    at the weights after it, or on the batch given here. Training goes on as if nothing had happened: a run with the
    monitor gives the same weights, bit for bit. Cost: per measured epoch one step run from Python and one copy of all
    variables; during it, one copy of the trainable weights.

    `History.history` gets one value per epoch under "<quantity>/<layer>", NaN where there is none:
    "gradient_norm", "update_ratio" (one step / weights), "weight_change" (norm of the change over the whole epoch
    divided by the norm of the weights before; NaN for the first epoch of a model that was not yet built),
    "activation_mean", "activation_std", "activation_zeros".

    Args:
        data: (x, y) or (x, y, sample_weight), one batch to measure on at every epoch; the last batch of the epoch when
            None.
        every: measure every so many epochs.
        vanishing, exploding: see `gradient_problems`. A UserWarning names each layer and kind once.

    Attributes:
        statistics: the last result of `training_statistics`.
        problems: {(layer, kind): epoch in which it was first seen}.
    """

    def __init__(self, data=None, every: int = 1, vanishing: float = 1e-4, exploding: float = 1e4):
        super().__init__()
        if not isinstance(every, int) or every < 1:
            raise ValueError("TrainingMonitor: expected every to be a number of epochs, at least 1; received"
                             f" {every!r}.")
        if data is not None and (not isinstance(data, (tuple, list)) or not 1 <= len(data) <= 3):
            raise ValueError("TrainingMonitor: expected data to be (x, y) or (x, y, sample_weight); received"
                             f" {type(data).__name__}.")
        self.every = every
        self.vanishing = vanishing
        self.exploding = exploding
        self.statistics: dict[str, dict[str, float]] = {}
        self.problems: dict[tuple[str, str], int] = {}
        self._batch = None if data is None else as_batch(*data)
        self._weights: list | None = None

    def on_train_begin(self, logs=None):
        self.problems = {}

    def on_epoch_begin(self, epoch, logs=None):
        due = (epoch + 1) % self.every == 0 and self.model.built
        self._weights = [(v, v.data.copy()) for v in self.model.trainable_variables] if due else None

    def on_epoch_end(self, epoch, logs=None):
        values = {}
        if (epoch + 1) % self.every == 0:
            batch = self._batch if self._batch is not None else last_batch(self.model)
            self.statistics = _statistics(self.model, batch)
            changes = self._changes()
            values = {f"{quantity}/{name}": of_layer[quantity] for name, of_layer in self.statistics.items()
                      for quantity in QUANTITIES if quantity in of_layer}
            values |= {f"weight_change/{name}": change for name, change in changes.items()}
            self._warn(epoch)
        history = self.model.history
        epochs = sum(e != epoch for e in history.epoch)  # History has had its turn already, or not
        for key in [*values, *(k for k in history.history if k.partition("/")[0] in QUANTITIES and k not in values)]:
            curve = history.history.setdefault(key, [])
            curve += [math.nan] * (epochs - len(curve)) + [values.get(key, math.nan)]

    def _changes(self) -> dict[str, float]:
        before = {id(v): value for v, value in self._weights or ()}
        result = {}
        for name, layer in parts(self.model).items():
            trained = layer.trainable_variables
            if trained and name in self.statistics:
                known = all(id(v) in before for v in trained)
                result[name] = _ratio(sum(_squares(v.data - before[id(v)]) for v in trained),
                                      sum(_squares(before[id(v)]) for v in trained)) if known else math.nan
        return result

    def _warn(self, epoch) -> None:
        for name, (kind, sentence) in gradient_problems(self.statistics, self.vanishing, self.exploding).items():
            if (name, kind) not in self.problems:
                self.problems[name, kind] = epoch
                warn(f"{sentence} (epoch {epoch + 1})")


def monitored(history) -> dict[str, dict[str, np.ndarray]]:
    """The values of a `TrainingMonitor` in a History (or its dict): quantity -> layer -> array (epochs,)."""
    result: dict[str, dict[str, np.ndarray]] = {}
    for key, curve in getattr(history, "history", history).items():
        quantity, _, layer = key.partition("/")
        if layer and quantity in QUANTITIES:
            result.setdefault(quantity, {})[layer] = np.array(curve, dtype="float64")
    return result
