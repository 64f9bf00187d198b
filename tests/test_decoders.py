"""Decoders that attend: masks, flags, steps, files, errors. Values and gradients are rows of cases/decoders.py."""

import numpy as np
import pytest

import pydl
from pydl import layers, ops, tree

KINDS = [("BahdanauDecoder", {}), ("LuongDecoder", {}),
         ("LuongDecoder", {"score_mode": "general", "alignment": "local-m", "window": 1}),
         ("LuongDecoder", {"score_mode": "concat", "alignment": "local-p", "window": 2}),
         ("LuongDecoder", {"input_feeding": True})]
RNG = np.random.default_rng(0)
X, MEMORY = RNG.normal(size=(3, 4, 2)).astype("float32"), RNG.normal(size=(3, 5, 6)).astype("float32")
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]], bool)
MEMORY_MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 1, 1, 0, 1]], bool)


def made(kind, cell="gru", **options):
    return getattr(layers, kind)(6, cell=cell, return_state=True, return_attention_scores=True, **options)


def numpy(values):
    return [np.array(v.data) for v in tree.flatten(values)]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("kind, options", KINDS)
def test_steps_equal_the_sequence(kind, options, cell):
    """`begin` and `step`, with the same weights, give what the call gives, for ints and tensors as positions."""
    layer = made(kind, cell, **options)
    sequence, *state, weights = layer(X, MEMORY, memory_mask=MEMORY_MASK)
    fixed, now = layer.begin(ops.convert_to_tensor(MEMORY), ops.convert_to_tensor(MEMORY_MASK))
    for t in range(4):
        position = t if t % 2 else ops.convert_to_tensor(np.array([t], "int32"))
        y, now, w = layer.step(ops.convert_to_tensor(X[:, t]), fixed, now, position)
        np.testing.assert_allclose(y.data, sequence.data[:, t], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(w.data, weights.data[:, t], rtol=1e-5, atol=1e-6)
    for a, b in zip(numpy(now), numpy(state)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("kind, options", KINDS)
def test_masks(kind, options, cell):
    """What is masked has weight 0 and no influence, whatever lies there; a masked step changes no state."""
    layer = made(kind, cell, **options)
    want = numpy(layer(X, MEMORY, mask=MASK, memory_mask=MEMORY_MASK))
    x, memory = X.copy(), MEMORY.copy()
    x[~MASK], memory[~MEMORY_MASK] = 7.0, np.nan
    for a, b in zip(numpy(layer(x, memory, mask=MASK, memory_mask=MEMORY_MASK)), want):
        np.testing.assert_array_equal(a, b)
    sequence, weights = want[0], want[-1]
    assert (sequence[~MASK] == 0).all() and (weights[~MASK] == 0).all()
    assert (weights.transpose(0, 2, 1)[~MEMORY_MASK] == 0).all()
    if "alignment" not in options:
        np.testing.assert_allclose(weights[MASK].sum(-1), 1, rtol=1e-5)
    short = numpy(layer(X[1:2, :2], MEMORY[1:2, :3]))  # the second row without its padding
    if "alignment" not in options:
        np.testing.assert_allclose(sequence[1, :2], short[0][0], rtol=1e-5, atol=1e-6)
        for a, b in zip(want[1:-1], short[1:-1]):
            np.testing.assert_allclose(a[1], b[0], rtol=1e-5, atol=1e-6)


def test_masks_come_from_embeddings():
    source, target = np.array([[3, 4, 0], [5, 0, 0]]), np.array([[1, 2], [1, 0]])
    memory, x = layers.Embedding(6, 6, mask_zero=True)(source), layers.Embedding(4, 2, mask_zero=True)(target)
    layer = layers.BahdanauDecoder(6, return_attention_scores=True)
    y, weights = layer(x, memory)
    assert (weights.data[1, :, 1:] == 0).all() and (y.data[1, 1] == 0).all()
    np.testing.assert_array_equal(y._keras_mask.data, target != 0)


@pytest.mark.parametrize("after", [True, False, None])
def test_one_walk_equals_steps(after):
    """The fused kernel gives what the loop over steps gives, also with keys beyond what factors of e^2k allow."""
    options = {} if after is None else {"reset_after": after}
    cell = layers.LSTMCell if after is None else layers.GRUCell
    for scale in (1.0, 40.0):
        fused = made("BahdanauDecoder", cell(6, **options))
        fused(X, MEMORY)
        loop = made("BahdanauDecoder", type("Own", (cell,), {})(6, **options))
        loop(X, MEMORY)
        fused.memory_kernel.assign(fused.memory_kernel * scale)
        loop.set_weights(fused.get_weights())
        want = numpy(fused(X, MEMORY, mask=MASK, memory_mask=MEMORY_MASK))
        for a, b in zip(numpy(loop(X, MEMORY, mask=MASK, memory_mask=MEMORY_MASK)), want):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_not_a_number_stays():
    layer = layers.BahdanauDecoder(6, return_attention_scores=True)
    memory = MEMORY.copy()
    memory[0, 0, 0] = np.nan
    y, weights = layer(X, memory)
    assert np.isnan(y.data[0]).all() and np.isnan(weights.data[0]).all() and np.isfinite(y.data[1:]).all()


@pytest.mark.parametrize("kind, options", KINDS)
def test_config_files_and_symbols(kind, options, tmp_path):
    layer = made(kind, "lstm", **options)
    x, memory = pydl.Input((None, 2)), pydl.Input((None, 6))
    outputs = layer(x, memory)
    shapes = [(None, None, 6), (None, 6), (None, 6), *[(None, 6)] * ("input_feeding" in options), (None, None, None)]
    assert [y.shape for y in outputs] == shapes
    model = pydl.Model([x, memory], outputs)
    want = numpy(model([X, MEMORY]))
    for a, b in zip(numpy(layer(X, MEMORY)), want):
        np.testing.assert_array_equal(a, b)
    twin = layers.deserialize(layers.serialize(layer))
    assert layers.serialize(twin) == layers.serialize(layer)
    twin(X, MEMORY)
    twin.set_weights(layer.get_weights())
    model.save(tmp_path / "m.keras")
    for other in (lambda: twin(X, MEMORY), lambda: pydl.models.load_model(tmp_path / "m.keras")([X, MEMORY])):
        for a, b in zip(numpy(other()), want):
            np.testing.assert_array_equal(a, b)


def test_flags_and_initial_states():
    layer = layers.LuongDecoder(6, cell="lstm", input_feeding=True, return_state=True)
    sequence, h, c, fed = layer(X, MEMORY)
    np.testing.assert_array_equal(sequence.data[:, -1], fed.data)
    halves = layer(X[:, :2], MEMORY)
    again = layer(X[:, 2:], MEMORY, initial_state=list(halves[1:]))  # goes on where it stopped
    np.testing.assert_allclose(again[0].data, sequence.data[:, 2:], rtol=1e-5, atol=1e-6)
    without = layer(X[:, 2:], MEMORY, initial_state=list(halves[1:3]))  # the fed output begins with 0
    assert np.abs(without[0].data - again[0].data).max() > 1e-3
    assert layers.BahdanauDecoder(6)(X, MEMORY).shape == (3, 4, 6)
    assert layer.state_size == [6, 6] and layers.LuongDecoder(6).state_size == [6]


def test_dropout_and_other_cells():
    """Cells that the fused kernel does not know: dropout in training, other activations, stacks, a user's own."""
    layer = layers.BahdanauDecoder(cell=layers.GRUCell(6, dropout=0.5, recurrent_dropout=0.5, seed=1))
    rest = layer(X, MEMORY).data
    one, two = (layer(X, MEMORY, training=True).data for _ in range(2))
    assert not np.array_equal(one, two) and not np.array_equal(one, rest)
    stack = layers.StackedRNNCells([layers.GRUCell(5), layers.LSTMCell(6)])
    for kind in ("BahdanauDecoder", "LuongDecoder"):
        sequence, *states, weights = getattr(layers, kind)(cell=stack, return_state=True, return_attention_scores=True)(
            X, MEMORY, mask=MASK)
        assert sequence.shape == (3, 4, 6) and weights.shape == (3, 4, 5)
        assert [s.shape for s in tree.flatten(states)] == [(3, 5), (3, 6), (3, 6)]
        stack = layers.StackedRNNCells([layers.GRUCell(5), layers.LSTMCell(6)])


def test_trains_recorded():
    """A functional model with a decoder learns by `fit` to pick the memory's place that the input names."""
    rng = np.random.default_rng(1)
    places = rng.integers(0, 5, (512, 3))
    memory = np.concatenate([np.tile(np.eye(5), (512, 1, 1)), rng.normal(size=(512, 5, 1))], -1)
    target = np.take_along_axis(memory[..., 5], places, 1)[..., None]
    x, m = pydl.Input((3, 5)), pydl.Input((5, 6))
    y = layers.Dense(1)(layers.LuongDecoder(24, score_mode="general")(x, m))
    model = pydl.Model([x, m], y)
    model.compile(pydl.optimizers.Adam(0.01), "mse")
    history = model.fit([np.eye(5)[places], memory], target, epochs=40, batch_size=64, verbose=0).history["loss"]
    assert history[-1] < 0.1 < 0.7 < history[0]


@pytest.mark.parametrize("make, words", [
    (lambda: layers.BahdanauDecoder(6, cell="rnn"), '"gru", "lstm" or a cell object'),
    (lambda: layers.BahdanauDecoder(6, cell=layers.GRUCell(7)), "units=6, but the cell has 7"),
    (lambda: layers.LuongDecoder(6, score_mode="cosine"), "score_mode to be one of dot, general, concat"),
    (lambda: layers.LuongDecoder(6, alignment="local"), "alignment to be one of global, local-m, local-p"),
    (lambda: layers.LuongDecoder(6, window=0), "window to be a positive integer"),
    (lambda: layers.LuongDecoder(7)(X, MEMORY), "memory of 7 features"),
    (lambda: layers.BahdanauDecoder(6)(X[:2], MEMORY), "one batch size"),
    (lambda: layers.BahdanauDecoder(6)(X, MEMORY[:, 0]), "memory"),
    (lambda: layers.BahdanauDecoder(6)(X, MEMORY, mask=MEMORY_MASK), "mask of the inputs of shape"),
    (lambda: layers.BahdanauDecoder(6)(X, MEMORY, memory_mask=MASK), "mask of the memory of shape"),
    (lambda: layers.BahdanauDecoder(6)(X, MEMORY, initial_state=[np.zeros((3, 5), "float32")]), "initial_state"),
    (lambda: layers.LuongDecoder(6, input_feeding=True)(
        X, MEMORY, initial_state=[np.zeros((3, 6), "float32"), np.zeros((3, 5), "float32")]), "last initial state"),
    (lambda: layers.BahdanauDecoder(6).begin(MEMORY), "no weights yet"),
])
def test_errors(make, words):
    with pytest.raises(ValueError, match=words):
        make()
