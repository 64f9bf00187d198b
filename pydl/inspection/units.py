"""Units that never fire, and the distribution of weights."""

from __future__ import annotations

import numpy as np

from pydl import activations, ops, tree
from pydl.autograd import no_grad
from pydl.data.adapters import ArrayData, make_data
from pydl.inspection.rehearsal import parts
from pydl.inspection.watching import checked, watching
from pydl.layers import ReLU
from pydl.models import Model
from pydl.symbolic import OpCall
from pydl.tensor import Tensor
from pydl.warning import warn

__all__ = ["dead_units", "weight_histograms"]

_RELUS = (activations.relu, activations.relu6, ops.relu, ops.relu6)


def dead_units(model, x, batch_size: int = 32, warn_above: float = 0.5) -> dict[str, np.ndarray]:
    """Which ReLU units never fire over a data set: their output is 0 for every sample, so no gradient reaches them.

    A unit is an element of the last axis of the layer's output; of a convolution it is a channel, which is dead when it
    is 0 at every position of every sample.

    Args:
        model: a built model.
        x: the data set, as for `predict`.
        batch_size: rows computed at once.
        warn_above: a layer with a larger share of dead units causes a UserWarning with its name.

    Returns:
        layer -> bool array (units,), True where dead, for all layers with activation relu or relu6, ReLU layers (of
        slope 0), and these functions called in a functional model. `np.mean` of it is the share.

    Raises:
        TypeError, ValueError: for something that is no built model, one without ReLU, or an `x` that does not fit.
    """
    checked(model, x, "dead_units")
    names = {id(layer): name for name, layer in parts(model).items() if _is_relu(layer)}
    chosen = [layer for layer in parts(model).values() if id(layer) in names]
    for operation in _relu_calls(model):
        names[id(operation)] = operation.name
        chosen.append(operation)
    if not chosen:
        raise ValueError(f'dead_units: model "{model.name}" has no layer with a ReLU: {list(parts(model))}.')
    fired: dict[str, np.ndarray] = {}

    def see(layer, output):
        y = output if isinstance(output, Tensor) else tree.flatten(output)[0]
        units = 1 if getattr(layer, "data_format", None) == "channels_first" else y.ndim - 1
        found = (y.data > 0).any(tuple(axis for axis in range(y.ndim) if axis != units))
        name = names[id(layer)]
        fired[name] = fired[name] | found if name in fired else found
        return output

    data = make_data(x)
    batches = ((data.take(slice(i, i + batch_size)) for i in range(0, data.rows, batch_size))
               if isinstance(data, ArrayData) else data.batches())
    with no_grad(), watching(chosen, see):
        for batch in batches:
            model(batch[0], training=False)
    dead = {name: ~array for name, array in fired.items()}
    for name, array in dead.items():
        if array.mean() > warn_above:
            warn(f'{array.mean():.0%} of the units of layer "{name}" are dead: their ReLU gave 0 for every'
                 " sample, and no gradient reaches them. Usual remedies: a smaller learning rate, LeakyReLU or"
                 " ELU instead of ReLU, He initialisation, no large negative bias, BatchNormalization before"
                 " the activation.")
    return dead


def _is_relu(layer) -> bool:
    if isinstance(layer, ReLU):
        return not layer.negative_slope
    activation = getattr(layer, "activation", None)
    return _is_relu(activation) if isinstance(activation, ReLU) else any(activation is relu for relu in _RELUS)


def _relu_calls(model) -> list[OpCall]:
    """`ops.relu(x)` among the operations of a functional model and of the models inside."""
    found = []
    for operation in model._graph.operations if model._graph is not None else model._own_layers():
        if isinstance(operation, Model):
            found += _relu_calls(operation)
        elif isinstance(operation, OpCall) and operation.fn in _RELUS:
            found.append(operation)
    return found


def weight_histograms(model, bins: int = 50, limits=None, kernels_only: bool = True) -> dict[str, tuple]:
    """How the weights of each layer are distributed.

    Args:
        model: a built model.
        bins: number of bins.
        limits: (low, high) of all histograms, so that models can be compared; each variable's own range when None.
        kernels_only: leave out biases and other vectors.

    Returns:
        "<layer>/<variable>" -> (counts (bins,), edges (bins + 1,)).

    Raises:
        ValueError: for a model without weights.
    """
    found = {name: np.histogram(v.numpy(), bins, limits) for name, v in named_weights(model, kernels_only).items()}
    if not found:
        raise ValueError(f'weight_histograms: model "{model.name}" has no trainable weights; is it built?')
    return found


def named_weights(model, kernels_only: bool) -> dict:
    """Trainable variables by layer and name, as "conv/kernel" or "lstm/lstm_cell/kernel"."""
    return {f"{name}/{v.path.partition(layer.name + '/')[2] or v.name}": v for name, layer in parts(model).items()
            for v in layer.trainable_variables if v.ndim >= 2 or not kernels_only}
