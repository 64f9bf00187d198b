"""Recurrent layers: gradients in every mode, masks through stacks of layers, states of all kinds, dropout, cost."""

import itertools
import time

import numpy as np
import pytest
from test_recurrent import KINDS, MASKS, X, close

import pydl
from cases.recurrent_layers import LAYERS
from pydl import layers as L
from pydl import ops

RNG = np.random.default_rng(6)
MAKERS = {"LSTM": L.LSTM, "GRU": L.GRU, "SimpleRNN": L.SimpleRNN, "GRU-before": lambda *a, **o: L.GRU(
    *a, reset_after=False, **o)}


def states_of(name, dtype="float32", units=3):
    return [RNG.normal(size=(4, units)).astype(dtype) for _ in range(2 if name == "LSTM" else 1)]


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("activation", ["tanh", "softsign"])  # fused kernels, and the loop over the cell
@pytest.mark.parametrize("name", MAKERS)
def test_gradients_through_time(name, activation, mask, backwards, stateful):
    """In float64, of weights, inputs and initial states, against differences, with each combination of flags."""
    begin, x, begun = states_of(name, "float64"), X.astype("float64"), None
    for sequences, states in itertools.product((False, True), (False, True)):
        layer = MAKERS[name](3, activation, return_sequences=sequences, return_state=states, go_backwards=backwards,
                             stateful=stateful, dtype="float64")
        layer(x)
        given = None if stateful else [ops.convert_to_tensor(s) for s in begin]
        inputs = ops.convert_to_tensor(x)
        points = [inputs, *layer.trainable_weights, *(given or ())]
        seeds = [RNG.normal(size=y.shape) for y in pydl.tree.flatten(layer(inputs))]

        def value():
            for variable, state in zip(layer.states or (), begin):
                variable.assign(state)
            out = pydl.tree.flatten(layer(inputs, initial_state=given, mask=MASKS[mask]))
            return sum(ops.sum(y * s) for y, s in zip(out, seeds))

        for point in points:
            pydl.autograd.watch(point)
        gradients = pydl.autograd.gradients([value()], points, [np.array(1.0)])
        begun = begun or [g.data for g in gradients]
        for point, gradient in zip(points, gradients):
            direction, kept, ends = RNG.normal(size=point.shape), point.data.copy(), []
            for sign in (1, -1):
                point.data[...] = kept + sign * 1e-6 * direction
                ends.append(float(value().data))
            point.data[...] = kept
            assert np.sum(gradient.data * direction) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7)


def stack(**sequences):
    return pydl.Sequential([
        pydl.Input((None,), dtype="int32"), L.Embedding(9, 4, mask_zero=True),
        L.Bidirectional(L.LSTM(3, return_sequences=True)), L.Dropout(0.1), L.TimeDistributed(L.Dense(4, "tanh")),
        L.LSTM(3, "softsign", return_sequences=True), L.LayerNormalization(),
        L.RNN([L.GRUCell(3), L.SimpleRNNCell(4)], return_sequences=True), L.Bidirectional(L.GRU(3), **sequences)])


@pytest.mark.parametrize("padding", ["pre", "post"])
def test_masks_are_carried_through_stacks(padding):
    """A padded row gives what it gives alone."""
    rows = [RNG.integers(1, 9, n).tolist() for n in (7, 3, 1, 5)]
    model = stack(merge_mode="sum")
    y = model.predict(pydl.utils.pad_sequences(rows, padding=padding), verbose=0)
    for row, got in zip(rows, y):
        np.testing.assert_allclose(got, model.predict(np.array([row]), verbose=0)[0], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("name", LAYERS)
def test_masking_layer_and_padding_on_either_side(name, padding):
    rows = [RNG.normal(size=(n, 3)).astype("float32") for n in (6, 2, 4)]
    padded = pydl.utils.pad_sequences(rows, padding=padding, dtype="float32", value=-9.0)
    both = L.Bidirectional(getattr(L, name)(3, return_state=True))
    got = both(L.Masking(-9.0)(padded))
    for i, row in enumerate(rows):
        for a, b in zip(got, both(row[None])):
            close(a[i : i + 1], b.data)


@pytest.mark.parametrize("name, activation", KINDS)
def test_initial_states_of_all_kinds(name, activation):
    layer = getattr(L, name)(3, activation, return_state=True)
    zeros = layer.get_initial_state(4)
    assert [s.shape for s in zeros] == [(4, 3)] * (2 if name == "LSTM" else 1) and not any(s.data.any() for s in zeros)
    for a, b in zip(layer(X), layer(X, initial_state=zeros)):
        np.testing.assert_array_equal(a.data, b.data)
    drawn = [pydl.random.normal((4, 3), seed=i) for i in range(len(zeros))]
    want = [y.data for y in layer(X, initial_state=drawn)]
    assert not np.allclose(want[0], layer(X)[0].data)
    forms = [tuple(drawn), [s.data for s in drawn]] + ([drawn[0]] if len(drawn) == 1 else [])
    for form in forms:  # a tuple, arrays, one tensor
        for a, b in zip(layer(X, initial_state=form), want):
            np.testing.assert_array_equal(a.data, b)
    symbols = [pydl.Input((3,)) for _ in drawn]
    inputs = pydl.Input((None, 3))
    model = pydl.Model([inputs, *symbols], layer(inputs, initial_state=symbols))
    for a, b in zip(model.predict([X, *(s.data for s in drawn)], verbose=0), want):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    chained = layer(X[:, 3:], initial_state=layer(X[:, :3], initial_state=drawn)[1:])  # states handed on
    for a, b in zip(chained, want):
        close(a, b)
    unrolled = getattr(L, name)(3, activation, return_state=True, unroll=True)
    unrolled(X)
    unrolled.set_weights(layer.get_weights())
    for a, b in zip(unrolled(X, initial_state=drawn), want):
        np.testing.assert_array_equal(a.data, b)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("mask", ["none", "right"])
def test_stateful_bidirectional_is_two_stateful_layers(name, mask):
    both = L.Bidirectional(getattr(L, name)(3, stateful=True, return_sequences=True), merge_mode=None)
    both(X)
    alone = [type(part).from_config({**part.get_config(), "zero_output_for_mask": mask != "none"})
             for part in (both.forward_layer, both.backward_layer)]
    for part, twin in zip((both.forward_layer, both.backward_layer), alone):
        twin(X)
        twin.set_weights(part.get_weights())
        twin.reset_state()
    both.reset_state()
    for chunk in (X, X[:, ::-1].copy(), X * 2):
        a, b = both(chunk, mask=MASKS[mask])
        close(a, alone[0](chunk, mask=MASKS[mask]).data)
        close(b, alone[1](chunk, mask=MASKS[mask]).data[:, ::-1])
    for variables in (both.states, alone[0].states, alone[1].states):
        assert all(np.any(v.numpy()) for v in variables)


def test_reset_states_reaches_every_layer_of_a_model():
    inner = pydl.Sequential([pydl.Input(batch_shape=(4, 5, 3)), L.GRU(3, stateful=True, return_sequences=True)])
    model = pydl.Sequential([inner, L.Bidirectional(L.LSTM(2, stateful=True, return_sequences=True)),
                             L.RNN([L.LSTMCell(2), L.GRUCell(2)], stateful=True), L.Dense(1)])
    first = model.predict(X, batch_size=4, verbose=0)
    assert not np.array_equal(model.predict(X, batch_size=4, verbose=0), first)
    model.reset_states()
    np.testing.assert_array_equal(model.predict(X, batch_size=4, verbose=0), first)
    model.compile("sgd", "mse")
    model.fit(X, np.zeros((4, 1)), batch_size=4, epochs=2, verbose=0)
    owners = [inner.layers[-1], model.layers[1], model.layers[2]]
    assert all(np.any(v.numpy()) for o in owners for v in pydl.tree.flatten(o.states))
    model.layers[1].reset_states()
    assert not any(np.any(v.numpy()) for v in owners[1].states)
    assert all(np.any(v.numpy()) for o in (owners[0], owners[2]) for v in pydl.tree.flatten(o.states))


@pytest.mark.parametrize("name, gates", [("LSTM", 4), ("GRU", 3)])
def test_implementation_1_and_recurrent_dropout_draw_for_each_gate(name, gates):
    for options, shape in [({"dropout": 0.5}, (4, 3)), ({"dropout": 0.5, "implementation": 1}, (gates, 4, 3)),
                           ({"dropout": 0.5, "recurrent_dropout": 0.5}, (gates, 4, 3))]:
        layer = getattr(L, name)(3, **options)
        mask = layer.cell.mask_of("dropout", ops.convert_to_tensor(X[:, 0]), True)
        assert mask.shape == shape and set(np.unique(mask.data)) == {0, 2}
        assert layer.cell.mask_of("dropout", ops.convert_to_tensor(X[:, 0]), False) is None
    x = np.ones((4, 5, 3), "float32")
    plain, layer = getattr(L, name)(3), getattr(L, name)(3, dropout=0.5, recurrent_dropout=0.5)
    plain(x), layer(x)
    plain.set_weights(layer.get_weights())
    close(layer(x), plain(x).data)  # at inference the fused kernel, all the same
    kept = np.ones((gates, 4, 3), "float32")
    object.__setattr__(layer.cell, "mask_of", lambda *a: ops.convert_to_tensor(kept))
    close(layer(x, training=True), plain(x).data)  # nothing dropped: the slower path computes the same


def test_a_rate_of_one():
    """As in Keras: the simple cell then sees nothing, the others drop nothing."""
    for name in LAYERS:
        layer = getattr(L, name)(3, dropout=1.0)
        dropped = layer(X, training=True).data
        np.testing.assert_array_equal(dropped, layer(0 * X if name == "SimpleRNN" else X).data)


def seconds(layer, x, mask):
    """Of a forward and backward pass, the best of several."""
    @pydl.function
    def step(x, mask):
        with pydl.GradientTape() as tape:
            loss = ops.sum(layer(x, mask=mask))
        return tape.gradient(loss, layer.trainable_weights)

    step(x, mask)
    taken = []
    for _ in range(7):
        begin = time.process_time()  # on one thread: not what others take
        step(x, mask)
        taken.append(time.process_time() - begin)
    return min(taken)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_padding_costs_next_to_nothing(name):
    """Time follows the real steps: a tenth of them takes a quarter of the time (all outputs are written), half of them
    in rows that differ 0.6 to 0.7 of it. The bounds leave room for company."""
    steps, before = 400, pydl.config.threads()
    x = RNG.normal(size=(32, steps, 32)).astype("float32")
    layer = getattr(L, name)(64)
    mixed = np.where(np.arange(32) % 2, steps, steps // 20)
    try:
        pydl.config.set_threads(1)
        full, short, left, half = (seconds(layer, x, mask) for mask in (
            np.ones((32, steps), bool), np.arange(steps) < np.full((32, 1), steps // 10),
            np.arange(steps) >= np.full((32, 1), steps - steps // 10), np.arange(steps) < mixed[:, None]))
    finally:
        pydl.config.set_threads(before)
    print(f"{name}: {1e3 * full:.2f} ms, a tenth {short / full:.2f} and {left / full:.2f}, half {half / full:.2f}")
    assert short < 0.5 * full and left < 0.5 * full and half < 0.9 * full
