"""Steps that run part by part (csrc/program/parts.h) give the bits that they give one after the other, and run so only
where none of them would see what another has not written yet, or no longer find it."""

import random

import numpy as np
import pytest

import pydl as keras
from pydl import config, layers, listing, ops

RNG = np.random.default_rng(5)


def image(*shape):
    return RNG.standard_normal(shape).astype("float32")


def replayed(fn, *arrays):
    """(grouped steps, results) of a replay of `fn` on other numbers than those it was recorded with; the results are
    compared with those of its ops one by one."""
    recorded = keras.function(fn)
    recorded(*(array + 1 for array in arrays))
    got, wanted = recorded(*arrays), fn(*map(ops.convert_to_tensor, arrays))
    for one, other in zip(keras.tree.flatten(got), keras.tree.flatten(wanted)):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    return recorded.captures[0].program.grouped


@pytest.fixture(params=[1, 2])
def threads(request):
    before = config.threads()
    config.set_threads(request.param)
    yield
    config.set_threads(before)


def settle(model):
    """Statistics and factors of batch normalisation that are not zero and one."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([RNG.uniform(0.5, 2, w.shape).astype("float32") for w in layer.get_weights()])
    return model


HEADS = {
    "pointwise": lambda: layers.Conv2D(24, 1, use_bias=False),
    "3x3": lambda: layers.Conv2D(24, 3, padding="same"),
    "stride 2": lambda: layers.Conv2D(40, 3, strides=2, padding="same"),
    "5x5, relu": lambda: layers.Conv2D(17, 5, padding="same", activation="relu"),
    "pointwise, many filters": lambda: layers.Conv2D(600, 1),
    "grouped": lambda: layers.Conv2D(24, 3, groups=2, padding="same"),
    "few filters": lambda: layers.Conv2D(3, 3, padding="same"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, padding="same"),
    "dense": lambda: layers.Dense(48, activation="tanh"),
}
TAILS = {
    "norm, relu": [layers.BatchNormalization, layers.ReLU],
    "norm, relu6": [layers.BatchNormalization, lambda: layers.ReLU(6.0)],
    "norm": [layers.BatchNormalization],
    "norm, silu, norm": [layers.BatchNormalization, lambda: layers.Activation("silu"), layers.BatchNormalization],
    "gelu": [lambda: layers.Activation("gelu")],
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("head", HEADS)
def test_what_follows_a_product(head, tail, threads):
    inputs = layers.Input((31, 29, 12))
    y = HEADS[head]()(inputs)
    for layer in TAILS[tail]:
        y = layer()(y)
    model = settle(keras.Model(inputs, y))
    x = image(3, 31, 29, 12)
    wanted = np.asarray(model(x))
    model.predict_on_batch(x + 1)
    np.testing.assert_array_equal(model.predict_on_batch(x), wanted)
    if head != "depthwise":  # which hands out no parts
        assert model.make_predict_function().captures[0].program.grouped >= 1


def test_a_residual_block(threads):
    inputs = layers.Input((16, 16, 32))
    y = layers.Conv2D(32, 3, padding="same")(inputs)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(layers.Conv2D(32, 1)(y))
    y = layers.ReLU()(layers.add([y, inputs]))
    model = settle(keras.Model(inputs, layers.GlobalAveragePooling2D()(y)))
    x = image(4, 16, 16, 32)
    model.predict_on_batch(x + 1)
    np.testing.assert_array_equal(model.predict_on_batch(x), np.asarray(model(x)))
    assert model.make_predict_function().captures[0].program.grouped >= 4  # norm, relu; norm, sum, relu


def test_values_between_that_are_asked_for(threads):
    inputs = layers.Input((20, 20, 8))
    a = layers.Conv2D(16, 1)(inputs)
    b = layers.BatchNormalization()(a)
    c = layers.ReLU()(b)
    later = layers.Concatenate()([layers.MaxPooling2D()(c), layers.MaxPooling2D()(b)])  # b once more, behind the group
    model = settle(keras.Model(inputs, [a, c, later]))
    x = image(2, 20, 20, 8)
    model.predict_on_batch(x + 1)
    for one, other in zip(model.predict_on_batch(x), model(x)):
        np.testing.assert_array_equal(one, np.asarray(other))


def test_training_has_the_bits_of_its_ops(threads):
    def trained(eagerly):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([
            layers.Input((24, 24, 8)), layers.Conv2D(16, 1), layers.BatchNormalization(), layers.ReLU(),
            layers.Conv2D(16, 3, padding="same"), layers.BatchNormalization(), layers.Activation("silu"),
            layers.GlobalAveragePooling2D(), layers.Dense(3, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=eagerly)
        rng = np.random.default_rng(1)
        model.fit(rng.standard_normal((64, 24, 24, 8)), rng.integers(0, 3, 64), batch_size=16, epochs=2, verbose=0)
        return model.get_weights()

    for one, other in zip(trained(False), trained(True)):
        np.testing.assert_array_equal(one, other)


def test_groups_are_found():
    n = 20_000
    x, y = image(n), image(n)
    assert replayed(lambda x, y: ops.exp(x) * y - 2, x, y) == 2
    assert replayed(lambda x: ops.relu(x + x) + x, x) == 2
    assert replayed(lambda x, y: (x - y, ops.square(x - y)), x, y) == 2  # three steps
    assert replayed(lambda x, y: ops.where(x > y, x, y) * 1.5, x, y) == 2
    assert replayed(lambda x, y: ops.cast(x, "float64") + ops.cast(y, "float64"), x, y) == 2
    assert replayed(lambda x: ops.relu(x * 2)[::-1] + 1, x) == 1  # what turns it round stands between


def test_what_cannot_run_part_by_part_does_not():
    x = image(200, 100)
    assert replayed(lambda x: ops.cumsum(x * 2, axis=0), x) == 0
    assert replayed(lambda x: ops.transpose(x * 2) + 1, x) == 0
    assert replayed(lambda x: (x * 2) / ops.sum(x * 3), x) == 1  # the two products, not the quotient
    assert replayed(lambda x: ops.softmax(x * 2) * 2, x) == 0
    assert replayed(lambda x: (x * 2) * ops.reshape(x * 3, (-1,))[7], x) == 1
    assert replayed(lambda x: ops.exp(x[:3, :4]) + 1, x) == 0  # so small that it stays in cache


def test_the_listing_has_every_step():
    recorded = keras.function(lambda x: ops.relu(ops.exp(x) * 2))
    x = image(10_000)
    recorded(x)
    program = recorded.captures[0].program
    assert [step.kernel for step in listing.steps(program)] == ["exp", "multiply", "relu"]
    assert program.grouped == 2
    assert all(step.seconds > 0 for step in listing.profile(program, 2))
    np.testing.assert_array_equal(np.asarray(recorded(x)), np.asarray(ops.relu(ops.exp(ops.convert_to_tensor(x)) * 2)))


UNARY = [ops.exp, ops.relu, ops.tanh, ops.negative, ops.square, lambda v: v * 0.5, lambda v: 1 - v, ops.sigmoid]
BINARY = [ops.add, ops.subtract, ops.multiply, ops.maximum, lambda a, b: ops.where(ops.less(a, b), a, b * 0.25)]
APART = [lambda v: ops.cumsum(v) * 1e-3, lambda v: ops.flip(v), lambda v: v - ops.mean(v), lambda v: ops.roll(v, 3)]


@pytest.mark.parametrize("seed", range(60))
def test_drawn_programs(seed, threads):
    """Values are made, read once or several times, dropped and kept in any order, so that memory is used again."""
    n = random.Random(seed).choice([4096, 5000, 16_384, 40_001])

    def fn(*values):
        draw = random.Random(seed)
        alive, kept = list(values), []
        for _ in range(draw.randint(5, 40)):
            kind = draw.random()
            if kind < 0.5:
                new = draw.choice(UNARY)(draw.choice(alive))
            elif kind < 0.85:
                new = draw.choice(BINARY)(draw.choice(alive), draw.choice(alive))
            else:
                new = draw.choice(APART)(draw.choice(alive))
            alive.append(ops.clip(new, -3, 3))
            if len(alive) > draw.randint(2, 5):
                alive.pop(draw.randrange(len(alive)))
            if draw.random() < 0.1:
                kept.append(alive[-1])
        return [*alive, *kept]

    assert replayed(fn, image(n), image(n)) >= 1
