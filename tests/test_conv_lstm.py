"""ConvLSTM layers: masks, states, dropout, what their arguments must be."""

import numpy as np
import pytest

import pydl
from cases.conv_lstm import walk
from pydl import layers as L

RNG = np.random.default_rng(5)
X = RNG.normal(size=(4, 5, 6, 5, 2)).astype("float32")
MASKS = {"none": None, "right": np.arange(5) < np.array([[5], [3], [1], [4]]),
         "left": np.arange(5) >= np.array([[0], [2], [4], [1]]), "holes": RNG.random((4, 5)) < 0.5}


def close(got, want):
    np.testing.assert_allclose(got.data, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_masks_states_and_directions(mask, backwards):
    layer = L.ConvLSTM2D(3, 3, return_sequences=True, return_state=True, go_backwards=backwards)
    begin = [RNG.normal(size=(4, 4, 3, 3)).astype("float32") for _ in range(2)]
    y, *states = layer(X, initial_state=begin, mask=MASKS[mask])
    weights = [w.astype("float64") for w in layer.get_weights()]
    want, last = walk(weights, X, MASKS[mask], backwards, begin)
    close(y, want)
    for got, expected in zip(states, last):
        close(got, expected)
    layer.return_sequences = layer.return_state = False
    close(layer(X, initial_state=begin, mask=MASKS[mask]), want[:, -1])


def test_a_masked_step_never_changes_the_state():
    layer = L.ConvLSTM2D(3, 3, return_state=True)
    begin = [RNG.normal(size=(4, 4, 3, 3)).astype("float32") for _ in range(2)]
    _, *states = layer(X, initial_state=begin, mask=np.zeros((4, 5), bool))
    for state, before in zip(states, begin):
        np.testing.assert_array_equal(state.data, before)
    wild = np.where(MASKS["holes"][..., None, None, None], X, np.float32(1e30))
    for a, b in zip(layer(X, mask=MASKS["holes"]), layer(wild, mask=MASKS["holes"])):
        close(a, b.data)


def test_stateful():
    layer = L.ConvLSTM2D(3, 2, stateful=True)
    model = pydl.Sequential([pydl.Input(batch_shape=(4, 2, 6, 5, 2)), layer])
    whole = L.ConvLSTM2D(3, 2)
    whole(X)
    whole.set_weights(layer.get_weights())
    for reset in (model.reset_states, layer.reset_state):
        reset()
        close(pydl.ops.convert_to_tensor(model.predict(X[:, :2], verbose=0)), whole(X[:, :2]).data)
        close(layer(X[:, 2:4]), whole(X[:, :4]).data)


def test_the_cell_alone_is_a_step_of_the_layer():
    layer = L.ConvLSTM2D(3, 2, padding="same")
    y = layer(X[:, :1])
    close(layer.cell(X[:, 0], layer.get_initial_state(4))[0], y.data)


def test_dropout_has_a_draw_for_each_gate():
    """With an input of ones, kernels that count channels and no recurrence, gates differ where draws do."""
    layer = L.ConvLSTM1D(1, 1, activation="linear", recurrent_activation="linear", use_bias=False, dropout=0.5, seed=2,
                         kernel_initializer="ones", recurrent_initializer="zeros", return_state=True)
    ones = np.ones((400, 1, 10, 1), "float32")
    layer(ones)
    layer.set_weights([np.array([[[1, 0, 1, 1]]], "float32"), np.zeros((1, 1, 4), "float32")])
    h, _, c = layer(ones, training=True)
    assert set(np.unique(c.data)) == {0, 4} and set(np.unique(h.data)) == {0, 8}
    assert np.mean(c.data > 0) == pytest.approx(1 / 4, abs=0.03)  # i and g kept; one draw for all gates would give 1/2
    assert np.mean(h.data > 0) == pytest.approx(1 / 8, abs=0.03)
    many = L.ConvLSTM1D(1, 1, dropout=0.5, return_sequences=True)
    seen = []
    many(np.repeat(ones, 3, 1))
    convolve = many.cell._of_inputs
    object.__setattr__(many.cell, "_of_inputs", lambda x: seen.append(x.data.copy()) or convolve(x))
    many(np.repeat(ones, 3, 1), training=True)
    (x,) = (s.reshape(400, 3, 10, 4) for s in seen)
    np.testing.assert_array_equal(x[:, 0], x[:, 1])  # all steps drop the same places
    np.testing.assert_array_equal(x[:, 0], x[:, 2])


def test_learns_where_a_dot_goes():
    """A dot moves one place to the right per step; the next frame is asked for."""
    frames = np.eye(8, dtype="float32")[(np.arange(8)[:, None] + np.arange(5)) % 8][..., None]
    pydl.utils.set_random_seed(0)
    model = pydl.Sequential([pydl.Input((4, 8, 1)), L.ConvLSTM1D(6, 3, padding="same"), L.Dense(1)])
    model.compile(pydl.optimizers.Adam(0.02), "mse")
    assert model.fit(frames[:, :4], frames[:, 4], epochs=150, verbose=0).history["loss"][-1] < 0.02


@pytest.mark.parametrize("name, rank", [("ConvLSTM1D", 1), ("ConvLSTM2D", 2), ("ConvLSTM3D", 3)])
def test_errors_say_what_is_wrong(name, rank):
    make = getattr(L, name)
    for call, message in [
        (lambda: make(0, 3), "filters=0"),
        (lambda: make(2, 0), "kernel_size=0"),
        (lambda: make(2, (3,) * (rank + 1)), f"tuple of {rank}"),
        (lambda: make(2, 3, padding="causal"), '"valid" or "same".*causal'),
        (lambda: make(2, 3, strides=2, dilation_rate=2), "strides above 1"),
        (lambda: make(2, 3, data_format="last"), "data_format"),
        (lambda: make(2, 3, name="n")(np.ones((2, 3, *[5] * rank), "f4")), f'"n".*ndim={rank + 3}'),
        (lambda: make(2, 3)(pydl.Input((3, *[None] * rank, 1))), "known channels and spatial sizes"),
        (lambda: make(2, 6)(np.ones((2, 3, *[5] * rank, 1), "f4")), "window"),
        (lambda: make(2, 3, name="n")(np.ones((2, 3, *[5] * rank, 1), "f4"),
                                      initial_state=[np.ones((2, *[5] * rank, 2), "f4")] * 2), '"n".*initial_state of'),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    layer = make(2, 3)
    layer(np.ones((2, 3, *[5] * rank, 1), "f4"))
    with pytest.raises(ValueError, match="expected shape"):
        layer(np.ones((2, 3, *[6] * rank, 1), "f4"))
