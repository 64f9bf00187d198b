"""Recurrent layers: masks, states, directions, what users trip over."""

import numpy as np
import pytest

import pydl
from cases.recurrent_layers import LAYERS, walk
from pydl import layers as L
from pydl import listing, ops

RNG = np.random.default_rng(4)
X = RNG.normal(size=(4, 5, 3)).astype("float32")
MASKS = {"none": None, "right": np.arange(5) < np.array([[5], [3], [1], [4]]),
         "left": np.arange(5) >= np.array([[0], [2], [4], [1]]), "holes": RNG.random((4, 5)) < 0.5}
KINDS = [pytest.param(name, activation, id=f"{name}-{activation}") for name in LAYERS
         for activation in ("tanh", "softsign")]  # fused kernels, and the loop over the cell


def wide(layer):
    return [w.astype("float64") for w in layer.get_weights()]


def function(name):
    return {"tanh": np.tanh, "softsign": lambda x: x / (1 + abs(x))}[name]


def close(got, want, rtol=2e-5):
    np.testing.assert_allclose(got.data if isinstance(got, pydl.Tensor) else got, want, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name, activation", KINDS)
def test_masks_states_and_directions(name, activation, mask, backwards):
    layer = getattr(L, name)(3, activation, return_sequences=True, return_state=True, go_backwards=backwards)
    begin = [RNG.normal(size=(4, 3)).astype("float32") for _ in range(2 if name == "LSTM" else 1)]
    y, *states = layer(X, initial_state=begin, mask=MASKS[mask])
    want, last = walk(LAYERS[name], wide(layer), X, MASKS[mask], backwards, begin, f=function(activation))
    close(y, want)
    for got, expected in zip(states, last):
        close(got, expected)
    layer.return_sequences = layer.return_state = False
    close(layer(X, initial_state=begin, mask=MASKS[mask]), want[:, -1])
    layer.return_sequences = layer.zero_output_for_mask = True
    kept = np.ones((4, 5)) if mask == "none" else MASKS[mask][:, ::-1 if backwards else 1]
    close(layer(X, initial_state=begin, mask=MASKS[mask]), want * kept[..., None])


@pytest.mark.parametrize("name, activation", KINDS)
def test_gradient_through_time(name, activation):
    layer = getattr(L, name)(3, activation, return_sequences=True, dtype="float64")
    x, mask = X.astype("float64"), MASKS["holes"]
    seeds = RNG.normal(size=(4, 5, 3))

    def value():
        return ops.sum(layer(x, mask=mask) * seeds)

    layer(x)
    gradients = pydl.autograd.gradients([value()], layer.trainable_weights, [np.array(1.0)])
    for weight, gradient in zip(layer.trainable_weights, gradients):
        kept, direction = weight.numpy(), RNG.normal(size=weight.shape)
        ends = []
        for sign in (1, -1):
            weight.assign(kept + sign * 1e-6 * direction)
            ends.append(float(value().data))
        weight.assign(kept)
        assert np.sum(gradient.data * direction) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name, activation", KINDS)
def test_a_masked_step_never_changes_the_state(name, activation):
    layer = getattr(L, name)(3, activation, return_state=True)
    begin = [RNG.normal(size=(4, 3)).astype("float32") for _ in range(2 if name == "LSTM" else 1)]
    _, *states = layer(X, initial_state=begin, mask=np.zeros((4, 5), bool))
    for state, before in zip(states, begin):
        np.testing.assert_array_equal(state.data, before)
    wild = np.where(MASKS["holes"][..., None], X, np.float32(1e30))  # what stands at masked steps does not matter
    for a, b in zip(layer(X, mask=MASKS["holes"]), layer(wild, mask=MASKS["holes"])):
        close(a, b.data, 1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_bidirectional_with_masking_hands_on_the_right_states(name):
    padded, lengths = X.copy(), [5, 3, 1, 4]
    for row, length in zip(padded, lengths):
        row[length:] = 0
    both = L.Bidirectional(getattr(L, name)(3, return_sequences=True, return_state=True))
    y, *states = both(L.Masking()(padded))
    assert len(states) == (4 if name == "LSTM" else 2)
    parts = [part(L.Masking()(padded))[1:] for part in (both.forward_layer, both.backward_layer)]
    for got, want in zip(states, parts[0] + parts[1]):  # the forward layer's first
        close(got, want.data)
    for i, length in enumerate(lengths):  # each row alone, without its padding
        alone, *alone_states = both(X[i : i + 1, :length])
        close(y[i : i + 1, :length], alone.data)
        assert not y.data[i, length:].any()
        for got, want in zip(states, alone_states):
            close(got[i : i + 1], want.data)


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
def test_bidirectional_merges(merge):
    both = L.Bidirectional(L.GRU(2, return_sequences=True), merge_mode=merge)
    y = both(X)
    a, b = both.forward_layer(X).data, both.backward_layer(X).data[:, ::-1]
    want = {"concat": np.concatenate([a, b], -1), "sum": a + b, "mul": a * b, "ave": (a + b) / 2, None: (a, b)}[merge]
    for got, expected in zip(y if merge is None else [y], want if merge is None else [want]):
        close(got, expected)
    assert pydl.tree.map_structure(lambda t: t.shape, both(pydl.Input((5, 3)))) == pydl.tree.map_structure(
        lambda t: (None, *t.shape[1:]), y)
    twin = L.deserialize(L.serialize(both))
    twin(X)
    twin.set_weights(both.get_weights())
    for got, expected in zip(pydl.tree.flatten(twin(X)), pydl.tree.flatten(y)):
        np.testing.assert_array_equal(got.data, expected.data)


def test_bidirectional_of_different_layers():
    both = L.Bidirectional(L.LSTM(2), backward_layer=L.LSTM(4, "relu", go_backwards=True))
    assert both(X).shape == (4, 6) and both.backward_layer.activation is pydl.activations.relu
    weights = both.get_weights()
    again = L.Bidirectional(L.LSTM(2), weights=weights, backward_layer=L.LSTM(4, "relu", go_backwards=True))
    np.testing.assert_array_equal(again(X).data, both(X).data)
    for wrong, message in [({"layer": L.Dense(2)}, "no recurrent layer"), ({"merge_mode": "max"}, "merge mode"),
                           ({"backward_layer": L.LSTM(2)}, "go_backwards"),
                           ({"backward_layer": L.LSTM(2, go_backwards=True, return_state=True)}, "return_state")]:
        with pytest.raises(ValueError, match=message):
            L.Bidirectional(**{"layer": L.LSTM(2), **wrong})
    with pytest.raises(ValueError, match="initial states"):
        both(X, initial_state=[np.zeros((4, 2), "float32")] * 3)


@pytest.mark.parametrize("name, activation", KINDS)
def test_stateful(name, activation):
    layer = getattr(L, name)(3, activation, stateful=True)
    model = pydl.Sequential([pydl.Input(batch_shape=(4, 2, 3)), layer])
    whole = getattr(L, name)(3, activation)
    whole(X)
    whole.set_weights(layer.get_weights())
    want = [whole(X[:, :n]).data for n in (2, 4)]
    for run in (lambda x: model.predict(x, verbose=0), lambda x: layer(x).data):  # recorded, and not
        for reset in (model.reset_states, layer.reset_states, layer.reset_state):
            reset()
            np.testing.assert_allclose(run(X[:, :2]), want[0], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(run(X[:, 2:4]), want[1], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="expected 4 rows, received 3"):
        layer(X[:3])
    with pytest.raises(ValueError, match="batch size must be fixed"):
        getattr(L, name)(3, stateful=True)(pydl.Input((5, 3)))
    assert len(layer.weights) == 3


def test_gradient_of_a_stateful_layer_starts_from_the_state_it_used():
    layer, plain = L.SimpleRNN(3, stateful=True), L.SimpleRNN(3)
    layer(X), plain(X)
    plain.set_weights(layer.get_weights())
    begin = layer.states[0].numpy()
    for_state = pydl.autograd.gradients([ops.sum(layer(X))], layer.trainable_weights, [np.float32(1)])
    for_given = pydl.autograd.gradients([ops.sum(plain(X, initial_state=begin))], plain.trainable_weights,
                                        [np.float32(1)])
    for a, b in zip(for_state, for_given):
        np.testing.assert_array_equal(a.data, b.data)


def test_stateful_bidirectional():
    both = L.Bidirectional(L.GRU(3, stateful=True))
    first, second = both(X).data, both(X).data
    assert not np.array_equal(first, second) and len(both.states) == 2
    both.reset_states()
    np.testing.assert_array_equal(both(X).data, first)
    model = pydl.Sequential([pydl.Input(batch_shape=(4, 5, 3)), both])
    model.reset_states()
    np.testing.assert_array_equal(model.predict(X, verbose=0), first)
    with pytest.raises(AttributeError, match="not stateful"):
        L.Bidirectional(L.GRU(3)).reset_state()


def seq2seq():
    source, target = pydl.Input((None,), dtype="int32"), pydl.Input((None,), dtype="int32")
    _, *state = L.LSTM(4, return_state=True)(L.Embedding(9, 3, mask_zero=True)(source))
    y = L.LSTM(4, return_sequences=True)(L.Embedding(9, 3)(target), initial_state=state)
    return pydl.Model([source, target], L.Dense(9, activation="softmax")(y))


def test_states_from_encoder_to_decoder(tmp_path):
    model = seq2seq()
    ids = [np.array([[1, 2, 3, 0], [4, 5, 0, 0]]), np.array([[1, 2, 3], [4, 5, 6]])]
    y = model.predict(ids, verbose=0)
    assert y.shape == (2, 3, 9)
    np.testing.assert_allclose(model.predict([ids[0][1:, :2], ids[1][1:]], verbose=0), y[1:], rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(pydl.models.load_model(tmp_path / "m.keras").predict(ids, verbose=0), y)
    model.compile("adam", "sparse_categorical_crossentropy")
    losses = model.fit(ids, np.array([[1, 2, 3], [4, 5, 6]]), epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


class Decay(L.Layer):
    """A cell of a user: h = h' / 2 + x @ w."""

    state_size = 2

    def build(self, input_shape):
        self.w = self.add_weight((input_shape[-1], 2), name="w")

    def call(self, inputs, states):
        h = states[0] / 2 + ops.matmul(inputs, self.w)
        return h, [h]


class Plain:
    """A cell that is no layer, with two states of different sizes."""

    state_size = [3, 1]

    def call(self, inputs, states):
        total, count = states
        return inputs + total, [inputs + total, count + 1]


def test_cells_of_users():
    layer = L.RNN(Decay(), return_sequences=True)
    y, w, h = layer(X).data, layer.cell.w.numpy(), 0
    for t in range(5):
        h = h / 2 + X[:, t] @ w
        np.testing.assert_allclose(y[:, t], h, rtol=1e-5, atol=1e-6)
    assert L.Bidirectional(L.RNN(Decay()))(X).shape == (4, 4)
    y, total, count = L.RNN(Plain(), return_state=True)(X, mask=MASKS["right"])
    np.testing.assert_allclose(total.data, (X * MASKS["right"][..., None]).sum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(count.data[:, 0], [5, 3, 1, 4])
    with pytest.raises(ValueError, match="no `state_size`"):
        L.RNN(L.Dense(2))
    with pytest.raises(ValueError, match="no `call`"):
        L.StackedRNNCells([3])


def test_stacked_cells_are_stacked_layers():
    stack = L.RNN(L.StackedRNNCells([L.LSTMCell(3), L.GRUCell(2), L.SimpleRNNCell(4)]), return_state=True)
    y, *states = stack(X)
    upper = L.LSTM(3, return_sequences=True), L.GRU(2, return_sequences=True), L.SimpleRNN(4)
    plain = pydl.Sequential(upper)
    plain(X)
    plain.set_weights(stack.get_weights())
    close(plain(X), y.data)
    again, *_ = stack(X, initial_state=states)
    assert not np.allclose(again.data, y.data)
    twin = L.deserialize(L.serialize(stack))
    twin(X)
    twin.set_weights(stack.get_weights())
    np.testing.assert_array_equal(twin(X)[0].data, y.data)


@pytest.mark.parametrize("name, activation", KINDS)
def test_dropout(name, activation):
    ones = np.ones((64, 5, 8), "float32")
    layer = getattr(L, name)(6, activation, dropout=0.5, recurrent_dropout=0.5, seed=3)
    np.testing.assert_array_equal(layer(ones).data, layer(ones).data)  # none at inference
    recorded = pydl.function(lambda x: layer(x, training=True))
    draws = [recorded(ones).data.copy() for _ in range(3)]
    assert len({d.tobytes() for d in draws}) == 3, "a replay draws afresh"
    twin = getattr(L, name)(6, activation, dropout=0.5, recurrent_dropout=0.5, seed=3)
    twin(ones)
    twin.set_weights(layer.get_weights())
    np.testing.assert_array_equal(twin(ones, training=True).data, draws[0])
    steps = getattr(L, name)(6, activation, dropout=0.5, return_sequences=True)
    mask_of, seen = steps.cell.mask_of, []
    object.__setattr__(steps.cell, "mask_of", lambda *a: seen.append(mask_of(*a)) or seen[-1])
    steps(ones, training=True)
    assert len({id(m) for m in seen if m is not None}) == 1, "all steps drop the same places"


def test_time_distributed():
    layer = L.TimeDistributed(L.Dense(2))
    close(layer(X), X @ layer.layer.kernel.numpy())
    normal = L.TimeDistributed(L.BatchNormalization(momentum=0.5))
    y = normal(X, training=True).data  # the statistics are each step's own
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    assert L.TimeDistributed(L.Conv2D(2, 3))(pydl.Input((None, 8, 8, 1))).shape == (None, None, 6, 6, 2)
    masked = L.Masking()(np.where(MASKS["right"][..., None], X, 0))
    np.testing.assert_array_equal(layer(masked)._keras_mask.data, MASKS["right"])
    twin = L.deserialize(L.serialize(layer))
    assert twin.layer.units == 2
    with pytest.raises(ValueError, match="at least 3 axes"):
        L.TimeDistributed(L.Dense(2))(X[:, 0])
    with pytest.raises(ValueError, match=r"mask of shape \(4, 5\)"):
        layer(X, mask=np.ones((4, 3), bool))


@pytest.mark.parametrize("name", LAYERS)
def test_errors_name_the_layer_and_the_shapes(name):
    make = getattr(L, name)
    for call, message in [
        (lambda: make(3, name="n")(X[0]), r'"n".*expected ndim=3, found ndim=2.*\(5, 3\)'),
        (lambda: make(3, name="n")(pydl.Input((5, None))), r'"n?.*last axis of the input must be known'),
        (lambda: make(3, name="n")(X[:, :0]), r'"n".*at least one step'),
        (lambda: make(3, name="n")(X, initial_state=[np.zeros((4, 3), "f4")] * 3), r'"n".*initial_state of'),
        (lambda: make(3, name="n")(X, initial_state=[np.zeros((4, 2), "f4")] * (1 + (name == "LSTM"))),
         r'"n".*\(4, 3\).*received \[\(4, 2\)'),
        (lambda: make(0), "units"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_initial_weights():
    lstm = L.LSTM(3)
    lstm(X)
    kernel, recurrent, bias = lstm.get_weights()
    assert kernel.shape == (3, 12) and recurrent.shape == (3, 12) and bias.tolist() == [0] * 3 + [1] * 3 + [0] * 6
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(3), atol=1e-5)
    for options, shape in (({}, (2, 9)), ({"reset_after": False}, (9,))):
        gru = L.GRU(3, **options)
        gru(X)
        assert gru.get_weights()[2].shape == shape


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_gates_make_the_states(name):
    model = pydl.Sequential([pydl.Input(batch_shape=(4, 5, 3)), L.Masking(), getattr(L, name)(2, stateful=True)])
    x = np.where(MASKS["right"][..., None], X, 0)
    model(x)
    layer, before = model.layers[-1], model.layers[-1].states[0].numpy()
    seen = pydl.inspection.gates(model, x)
    np.testing.assert_array_equal(layer.states[0].numpy(), before)
    assert {v.shape for v in seen.values()} == {(4, 5, 2)}
    layer.reset_states()
    seen = pydl.inspection.gates(layer, X)
    layer.return_sequences = True
    y = layer(X).data
    if name == "LSTM":
        close(y, seen["o"] * np.tanh(seen["c"]))
        close(seen["c"][:, 1:], (seen["f"] * np.roll(seen["c"], 1, 1) + seen["i"] * seen["g"])[:, 1:])
    else:
        before = np.concatenate([np.zeros((4, 1, 2)), y[:, :-1]], 1)
        close(y, seen["z"] * before + (1 - seen["z"]) * seen["n"])
    with pytest.raises(ValueError, match="2 LSTM and GRU layers"):
        pydl.inspection.gates(pydl.Sequential([pydl.Input((5, 3)), L.Bidirectional(L.GRU(2))]), X)
    with pytest.raises(ValueError, match="tanh and sigmoid"):
        pydl.inspection.gates(getattr(L, name)(2, "relu"), X)


@pytest.mark.parametrize(("name", "units", "features"), [
    ("lstm", 150, 20), ("lstm", 37, 9), ("lstm", 300, 5), ("gru", 130, 20), ("gru", 200, 20), ("simple_rnn", 300, 7),
    ("simple_rnn", 530, 20), ("simple_rnn", 1100, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_weights_are_sums_over_the_rows(name, units, features, dtype):
    """Where the columns of the weights did not divide into even panels, blocks of them wrote into each other."""
    batch, steps, gates = 24, 40, {"lstm": 4, "gru": 3, "simple_rnn": 1}[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, steps, features)).astype(dtype)
    weights = [pydl.Variable(0.1 * rng.normal(size=shape), dtype=dtype) for shape in (
        (features, gates * units), (units, gates * units), (2, gates * units) if name == "gru" else (gates * units,))]
    of_outputs = rng.normal(size=(batch, steps, units)).astype(dtype)

    def gradients(rows):
        states = [np.zeros((len(x[rows]), units), dtype)] * (2 if name == "lstm" else 1)
        with pydl.GradientTape() as tape:
            y = pydl.tree.flatten(getattr(ops, name)(x[rows], *states, *weights))[0]
            total = ops.sum(y * of_outputs[rows])
        return [np.array(g, "float64") for g in tape.gradient(total, weights)]

    single = [sum(parts) for parts in zip(*(gradients(slice(b, b + 1)) for b in range(batch)))]  # a row is one slice
    for got, want in zip(gradients(slice(None)), single):
        bound = 3e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(got, want, rtol=bound, atol=bound * np.abs(want).max())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_steps_of_a_gru_copy_no_weights(dropout):
    """The loop over a cell whose gates no kernel knows cuts its recurrent weights once, for however many steps; forward
    and in the gradient."""
    def of_weights(steps):
        model = pydl.Sequential([pydl.Input((steps, 3)), L.GRU(16, recurrent_activation="hard_sigmoid",
                                                              reset_after=False, recurrent_dropout=dropout)])
        model.compile("sgd", "mse")
        model.train_on_batch(np.ones((2, steps, 3), "float32"), np.ones((2, 16), "float32"))
        return [step.kernel for step in listing.steps(model.make_train_function().captures[-1].program)
                if max(buffer.elements for buffer in step.buffers) >= 16 * 16
                and step.kernel in ("split", "concatenate", "strided_copy", "strided_scatter")]

    assert of_weights(3) == of_weights(7)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_gru_with_other_gates_has_the_bits_of_any_number_of_threads(dropout):
    x, y = RNG.normal(size=(16, 9, 8)).astype("float32"), RNG.normal(size=(16, 40)).astype("float32")
    found = []
    before = pydl.config.threads()
    for threads in (1, 2):
        pydl.config.set_threads(threads)
        pydl.utils.set_random_seed(3)
        model = pydl.Sequential([pydl.Input((9, 8)), L.GRU(40, recurrent_activation="hard_sigmoid", reset_after=False,
                                                          recurrent_dropout=dropout)])
        model.compile("sgd", "mse")
        model.fit(x, y, epochs=2, verbose=0)
        found.append([*model.get_weights(), model.predict(x, verbose=0)])
    pydl.config.set_threads(before)
    for a, b in zip(*found):
        np.testing.assert_array_equal(a, b)
