"""The recurrent ops against PyTorch (values and all gradients) and Keras 3 (masks, both walks, both GRUs)."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

import pydl  # noqa: E402  after the skip
from cases.recurrent import GATES, mask_of  # noqa: E402
from pydl import ops  # noqa: E402

pytestmark = [pytest.mark.reference,
              pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]  # of Keras variables

BATCH, STEPS, FEATURES, UNITS = 5, 7, 6, 17
# PyTorch's gates in our order: i f g o as ours; r z n for our z r n.
ORDER = {"simple_rnn": [0], "lstm": [0, 1, 2, 3], "gru": [1, 0, 2]}


def weights(name, dtype, reset_after=True):
    rng = np.random.default_rng(0)
    columns = GATES[name] * UNITS
    bias = (2, columns) if name == "gru" and reset_after else (columns,)
    states = [(BATCH, UNITS)] * (2 if name == "lstm" else 1)
    shapes = [(BATCH, STEPS, FEATURES), *states, (FEATURES, columns), (UNITS, columns), bias]
    return [(rng.normal(size=s) * 0.5).astype(dtype) for s in shapes]


def swapped(name, matrix):
    """Columns of gates from our order to PyTorch's, or back: each order is its own inverse."""
    blocks = matrix.reshape(*matrix.shape[:-1], GATES[name], UNITS)[..., ORDER[name], :]
    return blocks.reshape(matrix.shape)


@pytest.mark.parametrize("name, activation", [("simple_rnn", "relu"), *((name, "tanh") for name in GATES)])
def test_torch(name, activation):
    arrays = weights(name, "float64")
    tensors = [ops.convert_to_tensor(a) for a in arrays]
    with pydl.GradientTape() as tape:
        tape.watch(tensors)
        ours = getattr(ops, name)(*tensors, **({"activation": activation} if name == "simple_rnn" else {}))
        loss = sum(ops.sum(y * ops.cos(y)) for y in ours)
    gradients = [g.data for g in tape.gradient(loss, tensors)]

    x, *states, kernel, recurrent, bias = arrays
    biases = bias if name == "gru" else np.stack([bias, 0 * bias])
    options = {"nonlinearity": activation} if name == "simple_rnn" else {}
    module = {"simple_rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[name](
        FEATURES, UNITS, batch_first=True, dtype=torch.float64, **options)
    for parameter, value in zip(module.parameters(), (kernel.T, recurrent.T, *biases)):
        value = swapped(name, value.T) if value.ndim == 2 else swapped(name, value)
        parameter.data = torch.tensor(np.ascontiguousarray(value.T))
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, *(s[None] for s in states))]
    sequence, last = module(leaves[0], tuple(leaves[1:]) if name == "lstm" else leaves[1])
    theirs = [sequence, *(s[0] for s in (last if name == "lstm" else [last]))]
    sum((y * torch.cos(y)).sum() for y in theirs).backward()
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-12, atol=1e-12)
    of_weights = [swapped(name, p.grad.numpy().T) for p in module.parameters()]
    expected = [leaves[0].grad.numpy(), *(t.grad.numpy()[0] for t in leaves[1:]), *of_weights[:2],
                np.stack(of_weights[2:]) if name == "gru" else of_weights[2]]
    for a, b in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("kind", [None, "right", "left", "holes"])
@pytest.mark.parametrize("name, options", [*((name, {}) for name in GATES), ("gru", {"reset_after": False})],
                         ids=["simple_rnn", "lstm", "gru", "gru_before"])
def test_keras(name, options, kind, go_backwards):
    arrays = weights(name, "float32", **options)
    x, *states, kernel, recurrent, bias = arrays
    mask = None if kind is None else mask_of(kind, BATCH, STEPS)(np.random.default_rng(1))
    ours = getattr(ops, name)(*arrays, mask=mask, go_backwards=go_backwards, **options)
    layer = {"simple_rnn": keras.layers.SimpleRNN, "lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[name](
        UNITS, return_sequences=True, return_state=True, go_backwards=go_backwards, **options)
    layer.build(x.shape)
    layer.set_weights([kernel, recurrent, bias])
    theirs = layer(x, mask=mask, initial_state=[keras.ops.convert_to_tensor(s) for s in states])
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.data, keras.ops.convert_to_numpy(b), rtol=1e-5, atol=1e-6)
