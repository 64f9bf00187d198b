"""Second and higher derivatives through recurrent layers, attention and decoders: their kernels have first ones only,
the functions they are composed of have all."""

import gc
import weakref

import numpy as np
import pytest

import pydl
from pydl import layers, ops
from pydl.ops._decoder import attending
from pydl.ops._fused import composed_ops
from pydl.tensor import Tensor


@pytest.fixture(autouse=True)
def seeded():
    pydl.utils.set_random_seed(0)


def random_tensor(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).normal(size=shape))


def directions(variables):
    rng = np.random.default_rng(1)
    return [rng.normal(size=v.shape) for v in variables]


def hessian_vector(loss, variables, vectors):
    """Hessian of `loss()` times the vectors, by a tape over a tape."""
    with pydl.GradientTape() as outer:
        with pydl.GradientTape() as inner:
            value = loss()
        gradients = inner.gradient(value, variables)
        along = sum(ops.sum(g * v) for g, v in zip(gradients, vectors))
    return [np.array(g.data) for g in outer.gradient(along, variables)]


def gradient_at(loss, variables, values):
    before = [v.numpy() for v in variables]
    for variable, value in zip(variables, values):
        variable.assign(value)
    with pydl.GradientTape() as tape:
        value = loss()
    found = [np.array(g.data) for g in tape.gradient(value, variables)]
    for variable, value in zip(variables, before):
        variable.assign(value)
    return found


def check_hessian(loss, variables, step=1e-6):
    """Every element of the Hessian times a random vector against central differences of the kernels' gradients."""
    vectors = directions(variables)
    moved = [gradient_at(loss, variables, [w.numpy() + s * step * v for w, v in zip(variables, vectors)])
             for s in (1, -1)]
    largest = 0.0
    for product, up, down in zip(hessian_vector(loss, variables, vectors), *moved):
        numeric = (up - down) / (2 * step)
        assert np.isfinite(numeric).all()
        largest = max(largest, float(np.abs(numeric).max()))
        np.testing.assert_allclose(product, numeric, rtol=1e-6, atol=1e-7)
    assert largest > 1e-2


def test_hessian_of_an_lstm_classifier():
    recurrent, dense = layers.LSTM(4, dtype="float64"), layers.Dense(3, dtype="float64")
    x, labels = random_tensor(5, 6, 2), np.eye(3)[[0, 2, 1, 0, 2]]

    def loss():
        return -ops.mean(ops.sum(ops.log_softmax(dense(recurrent(x))) * labels, -1))

    loss()
    check_hessian(loss, recurrent.trainable_weights + dense.trainable_weights)


@pytest.mark.parametrize("normalize_first", [False, True])
def test_hessian_of_a_transformer_block(normalize_first):
    block = layers.TransformerEncoder(7, 2, activation="tanh", normalize_first=normalize_first, dtype="float64")
    x, target = random_tensor(3, 5, 4), random_tensor(3, 4, seed=1)
    padding = np.arange(5) < np.array([5, 3, 1])[:, None]

    def loss():
        return ops.mean(ops.square(block(x, padding_mask=padding)[:, 0] - target))

    loss()
    check_hessian(loss, block.trainable_weights)


@pytest.mark.parametrize("reset_after", [True, False])
def test_hessian_of_a_masked_gru_does_not_read_the_padding(reset_after):
    gru = layers.GRU(4, reset_after=reset_after, go_backwards=True, dtype="float64")
    mask = np.array([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 0, 1]], bool)
    padding = np.array([[0, 0, 0, 0, 1], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]], bool)
    x = np.where(padding[..., None], np.nan, random_tensor(3, 5, 2).data)

    def loss():
        return ops.sum(ops.square(gru(Tensor(x), mask=mask)))

    loss()
    check_hessian(loss, gru.trainable_weights)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_hessian_of_the_bahdanau_decoder(cell):
    decoder = layers.BahdanauDecoder(4, cell, dtype="float64")
    x, memory = random_tensor(3, 4, 2), random_tensor(3, 5, 3, seed=1)
    mask = np.arange(4) < np.array([4, 0, 2])[:, None]
    memory_mask = np.arange(5) < np.array([3, 5, 0])[:, None]  # the last row sees nothing

    def loss():
        return ops.sum(ops.square(decoder(x, memory, mask=mask, memory_mask=memory_mask)))

    loss()
    check_hessian(loss, decoder.trainable_weights)


def test_masked_places_of_a_memory_are_not_read():
    """The layer puts zeros there before; the op does not rely on it."""
    memory, memory_mask = random_tensor(2, 3, 4), Tensor(np.array([[True, False, True], [False] * 3]))
    x, h, keys, scale = random_tensor(2, 2, 3), random_tensor(2, 5), random_tensor(2, 3, 6), random_tensor(6)
    keys.data[~memory_mask.data] = np.nan
    weights = random_tensor(7, 15), random_tensor(5, 15), None, keys, memory, random_tensor(5, 6), scale

    def everything():
        with pydl.GradientTape() as tape:
            tape.watch([memory, keys])
            results = attending(x, [h], *weights, memory_mask=memory_mask, reset_after=True)
        with pydl.no_grad():
            return [np.array(y.data) for y in (*results, *tape.gradient(list(results), [memory, keys]))]

    with composed_ops():
        composed = everything()
    assert not composed[1][1].any() and composed[1][0].any() and np.isfinite(composed[-1]).all()
    for got, want in zip(everything(), composed):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_hessian_of_a_stateful_layer():
    """The states are variables that each call changes: derivatives are those at the states before."""
    lstm = layers.LSTM(3, stateful=True, dtype="float64")
    x = random_tensor(2, 4, 2)
    lstm(x)
    before = [v.numpy() for v in lstm.states]

    def loss():
        for variable, value in zip(lstm.states, before):
            variable.assign(value)
        return ops.sum(ops.square(lstm(x)))

    check_hessian(loss, lstm.trainable_weights)


def step_functions():
    weights = {n: random_tensor(*shape, seed=n) for n, shape in enumerate([(3, 12), (3, 12), (12,), (2, 3), (2, 3)])}
    kernel, recurrent, bias, h, c = weights.values()
    memory = random_tensor(2, 4, 3, seed=7)
    return {
        "lstm": lambda x: ops.lstm(ops.expand_dims(x, 1), h, c, kernel, recurrent, bias)[1],
        "gru": lambda x: ops.gru(ops.expand_dims(x, 1), h, kernel[:, :9], recurrent[:, :9])[1],
        "simple_rnn": lambda x: ops.simple_rnn(ops.expand_dims(x, 1), h, kernel[:, :3], recurrent[:, :3])[1],
        "dot_attention": lambda x: ops.dot_attention(ops.expand_dims(x, 1), memory, memory)[0],
        "additive_attention": lambda x: ops.additive_attention(ops.expand_dims(x, 1), memory, memory)[0],
    }


@pytest.mark.parametrize("name", list(step_functions()))
def test_third_derivative_of_one_step(name):
    step, x, v = step_functions()[name], random_tensor(2, 3, seed=8), random_tensor(2, 3, seed=9)

    def along(t):
        return ops.sum(ops.square(step(x + t * v)))

    second = pydl.grad(pydl.grad(along))
    third = float(pydl.grad(second)(np.float64(0.0)))
    numeric = (float(second(np.float64(1e-5))) - float(second(np.float64(-1e-5)))) / 2e-5
    assert abs(third) > 1e-2
    np.testing.assert_allclose(third, numeric, rtol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_gates_of_the_composed_form(name):
    """Gates have no gradient, so that the table of ops does not compare them."""
    gates, states = {"lstm": (4, 2), "gru": (3, 1)}[name]
    given = [random_tensor(3, 5, 2), *(random_tensor(3, 4, seed=s) for s in range(states)),
             random_tensor(2, 4 * gates), random_tensor(4, 4 * gates)]
    mask = np.random.default_rng(2).random((3, 5)) < 0.6

    def everything():
        *results, values = getattr(ops, name)(*given, mask=mask, go_backwards=True, return_gates=True)
        return {**dict(enumerate(results)), **values}

    with composed_ops():
        composed = everything()
    fused = everything()
    assert list(fused) == list(composed)
    for key, value in fused.items():
        np.testing.assert_allclose(composed[key].data, value.data, rtol=1e-12, atol=1e-14, err_msg=str(key))


def sequence_ops():
    x, h, c = random_tensor(2, 3, 4), random_tensor(2, 4), random_tensor(2, 4)
    decoder = layers.BahdanauDecoder(4, return_state=True, return_attention_scores=True, dtype="float64")
    decoder(x, x)
    query = random_tensor(2, 3, 2, 4)
    return {
        "simple_rnn": lambda w: ops.simple_rnn(x * w, h, random_tensor(4, 4), random_tensor(4, 4)),
        "lstm": lambda w: ops.lstm(x * w, h, c, random_tensor(4, 16), random_tensor(4, 16), return_gates=True)[:3],
        "gru": lambda w: ops.gru(x * w, h, random_tensor(4, 12), random_tensor(4, 12)),
        "dot_product_attention": lambda w: ops.dot_product_attention(query * w, query, query,
                                                                     return_attention_scores=True),
        "dot_attention": lambda w: ops.dot_attention(x * w, x, x),
        "additive_attention": lambda w: ops.additive_attention(x * w, x, x),
        "decoder": lambda w: decoder(x * w, x),
    }


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("name", list(sequence_ops()))
def test_results_are_freed_without_the_garbage_collector(name, persistent):
    """A gradient that holds its op's result is a circle: the buffers of a step would live until a collection."""
    function, w = sequence_ops()[name], pydl.Variable(1.0, dtype="float64")
    gc.collect()
    gc.disable()
    try:
        with pydl.GradientTape(persistent=persistent):
            results = function(w)
        alive = [weakref.ref(y) for y in results]
        assert any(y.node is not None for y in results)
        del results
        assert [ref() for ref in alive] == [None] * len(alive)
    finally:
        gc.enable()


def test_nothing_to_compute_on():
    """An empty batch, and attention to no keys, in both forms."""
    kernel, recurrent, h = random_tensor(2, 12), random_tensor(3, 12), random_tensor(0, 3)
    query, nothing = random_tensor(2, 3, 1, 4), random_tensor(2, 0, 1, 4)

    def results():
        return [*ops.lstm(random_tensor(0, 5, 2), h, h, kernel, recurrent), ops.dot_product_attention(
            query, nothing, nothing), *ops.additive_attention(query[:, :, 0], nothing[:, :, 0], nothing[:, :, 0])]

    with composed_ops():
        composed = results()
    for got, want in zip(results(), composed):
        np.testing.assert_array_equal(got.data, want.data)


RECORDED = {
    "lstm": (lambda: layers.LSTM(4, dropout=0.4, recurrent_dropout=0.3, seed=1), lambda x: (x,)),
    "fused lstm": (lambda: layers.LSTM(4, dropout=0.4, implementation=2, seed=1), lambda x: (x,)),
    "attention": (lambda: layers.Attention(use_scale=True, score_mode="concat", dropout=0.4, seed=1),
                  lambda x: ([x, x],)),
    "decoder": (lambda: layers.BahdanauDecoder(4), lambda x: (x, x)),
}


@pytest.mark.parametrize("name", list(RECORDED))
def test_a_gradient_penalty_is_recorded_with_the_bits_of_the_eager_one(name):
    make, arguments = RECORDED[name]
    draws = [np.random.default_rng(seed).normal(size=(2, 3, 4)).astype("float32") for seed in range(3)]

    def built():
        pydl.utils.set_random_seed(2)
        layer = make()
        layer(*arguments(Tensor(draws[0])))
        return layer

    def step(layer):
        def penalty(x):
            with pydl.GradientTape() as outer:
                with pydl.GradientTape() as inner:
                    inner.watch(x)
                    y = ops.sum(ops.square(layer(*arguments(x), training=True)))
                norm = ops.sum(ops.square(inner.gradient(y, x)))
            return outer.gradient(norm, layer.trainable_weights)

        return penalty

    eager, recorded = step(built()), pydl.function(step(built()))
    for x in draws:
        for got, want in zip(recorded(Tensor(x)), eager(Tensor(x)), strict=True):
            assert np.isfinite(want.data).all() and want.data.any()
            np.testing.assert_array_equal(got.data, want.data)
    assert len(recorded.captures) == 1
