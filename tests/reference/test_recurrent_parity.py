"""Recurrent layers against Keras 3: outputs, states, masks, merges, configs, files both ways."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import pydl  # noqa: E402  after the skip

pytestmark = [pytest.mark.reference,
              pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

RNG = np.random.default_rng(7)
X = RNG.normal(size=(4, 6, 3)).astype("float32")
MASKS = {"none": None, "right": np.arange(6) < np.array([[6], [3], [1], [4]]),
         "left": np.arange(6) >= np.array([[0], [2], [5], [1]]), "holes": RNG.random((4, 6)) < 0.5}

MAKERS = {
    "SimpleRNN": lambda k, **o: k.layers.SimpleRNN(5, **o),
    "SimpleRNN-relu": lambda k, **o: k.layers.SimpleRNN(5, "relu", **o),
    "LSTM": lambda k, **o: k.layers.LSTM(5, **o),
    "LSTM-hard": lambda k, **o: k.layers.LSTM(5, "relu", "hard_sigmoid", unit_forget_bias=False, **o),
    "GRU": lambda k, **o: k.layers.GRU(5, **o),
    "GRU-before": lambda k, **o: k.layers.GRU(5, reset_after=False, **o),
    "GRU-hard": lambda k, **o: k.layers.GRU(5, "softsign", "hard_sigmoid", use_bias=False, **o),
    "cell": lambda k, **o: k.layers.RNN(k.layers.GRUCell(5), **o),
    "stack": lambda k, **o: k.layers.RNN(k.layers.StackedRNNCells([k.layers.LSTMCell(4), k.layers.SimpleRNNCell(5)]),
                                         **o),
}


def arrays(values) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(v) if not isinstance(v, pydl.Tensor) else v.data
            for v in (values if isinstance(values, (list, tuple)) else [values])]


def flat(values):
    return [v for part in (values if isinstance(values, (list, tuple)) else [values])
            for v in (flat(part) if isinstance(part, (list, tuple)) else [part])]


def same(ours, theirs, tolerance=2e-5):
    ours, theirs = arrays(flat(ours)), arrays(flat(theirs))
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def pair(make, **options):
    ours, theirs = make(pydl, **options), make(keras, **options)
    ours(X), theirs(X)
    assert [(w.name, tuple(w.shape)) for w in ours.weights] == [(w.name, tuple(w.shape)) for w in theirs.weights]
    weights = [RNG.normal(0, 0.5, w.shape).astype("float32") for w in ours.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", MAKERS)
def test_layer(kind, mask, backwards):
    for sequences in (False, True):
        ours, theirs = pair(MAKERS[kind], return_sequences=sequences, return_state=True, go_backwards=backwards)
        m = MASKS[mask]
        y, z = ours(X, mask=m), theirs(X, mask=None if m is None else keras.ops.convert_to_tensor(m))
        same(y, z)
        if kind != "stack":
            same(ours(X, initial_state=list(y[1:])), theirs(X, initial_state=list(z[1:])))


@pytest.mark.parametrize("kind", MAKERS)
def test_config(kind):
    ours, theirs = MAKERS[kind](pydl, name="same"), MAKERS[kind](keras, name="same")
    mine, wanted = ours.get_config(), theirs.get_config()
    skipped = {"dtype", "cell"} | {k for k, v in wanted.items() if isinstance(v, dict)}
    compared = wanted.keys() - skipped
    assert {k: mine.get(k, "absent") for k in compared} == {k: wanted[k] for k in compared}
    keras.layers.deserialize(pydl.layers.serialize(ours))
    pydl.layers.deserialize(keras.layers.serialize(theirs))


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_bidirectional(kind, merge):
    for sequences in (False, True):
        for mask in ("none", "right", "holes"):
            ours, theirs = pair(lambda k: k.layers.Bidirectional(
                MAKERS[kind](k, return_sequences=sequences, return_state=True), merge_mode=merge))  # noqa: B023
            m = MASKS[mask]
            y, z = ours(X, mask=m), theirs(X, mask=None if m is None else keras.ops.convert_to_tensor(m))
            same(y, z)


def classifier(k):
    return k.Sequential([
        k.Input((6,), dtype="int32"), k.layers.Embedding(9, 4, mask_zero=True),
        k.layers.Bidirectional(k.layers.LSTM(5, return_sequences=True)), k.layers.GRU(4, return_sequences=True),
        k.layers.TimeDistributed(k.layers.Dense(3)), k.layers.SimpleRNN(2, dropout=0.2)])


def encoder_decoder(k):
    source, target = k.Input((6,), dtype="int32", name="a"), k.Input((6,), dtype="int32", name="b")
    embed = k.layers.Embedding(9, 4)
    _, h, c = k.layers.LSTM(5, return_state=True)(embed(source))
    return k.Model([source, target], k.layers.LSTM(5, return_sequences=True)(embed(target), initial_state=[h, c]))


def stacked(k):
    return k.Sequential([k.Input((6,), dtype="int32"), k.layers.Embedding(9, 4), MAKERS["stack"](k)])


@pytest.mark.parametrize("build", [classifier, encoder_decoder, stacked])
def test_files_both_ways(build, tmp_path):
    ids = RNG.integers(1, 9, (4, 6)).astype("int32")
    x = [ids, ids[::-1].copy()] if build is encoder_decoder else ids
    ours, theirs = build(pydl), build(keras)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    want, keras_want = ours.predict(x, verbose=0), theirs.predict(x, verbose=0)
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "ours.keras").predict(x, verbose=0), want, rtol=1e-4,
                               atol=1e-5)
    np.testing.assert_allclose(pydl.models.load_model(tmp_path / "theirs.keras").predict(x, verbose=0), keras_want,
                               rtol=1e-4, atol=1e-5)


def share_of_ones(k, kind, options, recurrent):
    """Share of 4000 rows where a cell with weights that make gates open or shut by the kept places gives 1.

    Through the input (all ones), or through a state of ones. With one draw for all gates a row gives 1 where the one
    place is kept.
    """
    layer = getattr(k.layers, kind)(1, **options)
    layer(np.ones((2, 1, 1), "float32"))
    big = {"SimpleRNN": ([100], [0]), "LSTM": ([100, 0, 100, 100], [-50, -50, 0, -50]),
           "GRU": ([-100, 0, 100], [50, 50, 0])}[kind]
    open_at, bias = (np.array(a, "float32") for a in big)
    off = 0 * open_at[None]
    weights = [off, open_at[None]] if recurrent else [open_at[None], off]
    layer.set_weights([*weights, np.stack([bias, 0 * bias]) if kind == "GRU" else bias])
    begin = [np.full((4000, 1), float(recurrent and i == 0), "float32") for i in range(1 + (kind == "LSTM"))]
    y = layer(np.ones((4000, 1, 1), "float32"), training=True,
              initial_state=[k.ops.convert_to_tensor(s) for s in begin])
    (y,) = arrays(k.ops.stop_gradient(y))
    return float(np.mean(y > 0.5))


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_dropout_draws_as_keras(kind, recurrent):
    cases = [{"dropout": 0.5, "recurrent_dropout": 0.5}, {"dropout": 0.5}, {"recurrent_dropout": 0.5}, {"dropout": 0.3},
             {"dropout": 0.5, "implementation": 1, "use_cudnn": False}]  # Keras's fused path fails with it
    for options in cases:
        if kind == "SimpleRNN" and "implementation" in options:
            continue  # no argument of it
        ours, theirs = (share_of_ones(k, kind, options, recurrent) for k in (pydl, keras))
        assert ours == pytest.approx(theirs, abs=0.035), options


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU", "RNN", "Bidirectional", "TimeDistributed", "LSTMCell",
                                  "SimpleRNNCell", "GRUCell", "StackedRNNCells"])
def test_signatures(kind):
    for method in ("__init__", "call", "reset_states", "reset_state", "get_initial_state"):
        if not hasattr(getattr(keras.layers, kind), method):
            continue
        a, b = ([(p.name, p.default) for p in inspect.signature(getattr(getattr(k.layers, kind), method))
                 .parameters.values()] for k in (pydl, keras))
        assert a == b or (kind, method) == ("StackedRNNCells", "call"), method  # its **kwargs


def test_a_list_of_cells():
    ours, theirs = pair(lambda k: k.layers.RNN([k.layers.LSTMCell(4), k.layers.GRUCell(5)], return_state=True))
    same(ours(X), theirs(X))


@pytest.mark.parametrize("kind, torch_kind", [("SimpleRNN", "RNN"), ("LSTM", "LSTM"), ("GRU", "GRU")])
def test_bidirectional_with_masks_and_states_as_torch(kind, torch_kind):
    torch = pytest.importorskip("torch")
    both = pydl.layers.Bidirectional(getattr(pydl.layers, kind)(5, return_sequences=True, return_state=True))
    both(X)
    both.set_weights([RNG.normal(0, 0.5, w.shape).astype("float32") for w in both.weights])
    module = getattr(torch.nn, torch_kind)(3, 5, batch_first=True, bidirectional=True)
    values = []
    for direction in (both.forward_layer, both.backward_layer):
        kernel, recurrent, bias = direction.get_weights()
        biases = bias if bias.ndim == 2 else np.stack([bias, 0 * bias])
        for w in (kernel, recurrent, *biases):
            blocks = w.reshape(*w.shape[:-1], -1, 5)
            blocks = blocks[..., [1, 0, 2], :] if kind == "GRU" else blocks  # z r n to r z n
            values.append(blocks.reshape(w.shape).T)
    for parameter, value in zip(module.parameters(), values):
        parameter.data = torch.tensor(np.ascontiguousarray(value))
    count = 2 if kind == "LSTM" else 1
    begin = [RNG.normal(size=(4, 5)).astype("float32") for _ in range(2 * count)]
    lengths = MASKS["right"].sum(1)
    y, *states = both(X, initial_state=begin, mask=MASKS["right"])
    given = [torch.tensor(np.stack([begin[i], begin[count + i]])) for i in range(count)]
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(X), torch.tensor(lengths), True, False)
    sequence, last = module(packed, tuple(given) if kind == "LSTM" else given[0])
    want, _ = torch.nn.utils.rnn.pad_packed_sequence(sequence, True)
    np.testing.assert_allclose(y.data, want.detach().numpy(), rtol=2e-5, atol=2e-5)
    last = [s.detach().numpy() for s in (last if kind == "LSTM" else [last])]
    for i in range(count):
        np.testing.assert_allclose(states[i].data, last[i][0], rtol=2e-5, atol=2e-5)
        np.testing.assert_allclose(states[count + i].data, last[i][1], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU", "GRU-before"])
def test_stateful_bidirectional_hands_on_what_keras_does(kind, mask):
    ours, theirs = pair(lambda k: k.layers.Bidirectional(MAKERS[kind](k, return_sequences=True, stateful=True)))
    m = MASKS[mask]
    for both in (ours, theirs):
        both.reset_states()
    for x in (X, 2 * X):
        same(ours(x, mask=m), theirs(x, mask=None if m is None else keras.ops.convert_to_tensor(m)))
    same([s.value if hasattr(s, "value") else s for s in pydl.tree.flatten(ours.states)],
         [s for layer in (theirs.forward_layer, theirs.backward_layer) for s in layer.states])
