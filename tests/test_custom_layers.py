"""Layers as users of Keras write them: lazily built, nested in lists and dicts, with losses, masks and flags."""

import copy

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops

rng = np.random.default_rng(11)
X = rng.normal(size=(64, 6)).astype("float32")
Y = (X[:, :1] - X[:, 1:2]).astype("float32")


@keras.saving.register_keras_serializable("test")
class Linear(layers.Layer):
    """Weights made in `build`, no get_config."""

    def __init__(self, units=4, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.scale = scale

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], self.units), initializer="glorot_uniform", name="w")
        self.b = self.add_weight(shape=(self.units,), initializer="zeros", name="b")

    def call(self, inputs):
        return (ops.matmul(inputs, self.w) + self.b) * self.scale


@keras.saving.register_keras_serializable("test")
class Block(layers.Layer):
    """Sub-layers in a list, a dict and an attribute, all built at the first call."""

    def __init__(self, widths=(5, 3), **kwargs):
        super().__init__(**kwargs)
        self.widths = list(widths)
        self.stack = [Linear(w) for w in self.widths]
        self.gates = {"a": layers.Dense(self.widths[-1], activation="sigmoid"), "b": layers.Dropout(0.5, seed=1)}
        self.norm = layers.BatchNormalization()

    def call(self, inputs, training=None):
        x = inputs
        for layer in self.stack:
            x = ops.tanh(layer(x))
        return self.norm(self.gates["b"](x * self.gates["a"](inputs)))

    def get_config(self):
        return {**super().get_config(), "widths": self.widths}


@keras.saving.register_keras_serializable("test")
class Lazy(layers.Layer):
    """Everything, the sub-layer too, is made in `call`."""

    def call(self, inputs):
        if not hasattr(self, "gain"):
            self.gain = self.add_weight(shape=(inputs.shape[-1],), initializer="ones", name="gain")
            self.inner = layers.Dense(2)
        return self.inner(inputs * self.gain)


@keras.saving.register_keras_serializable("test")
class Penalty(layers.Layer):
    def call(self, inputs):
        self.add_loss(0.1 * ops.mean(ops.square(inputs)))
        return inputs


def compiled(*stack, **options):
    model = keras.Sequential([keras.Input((6,)), *stack, layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse", **options)
    return model


def test_weights_of_nested_layers():
    block = Block()
    y = block(X)
    assert y.shape == (64, 3)
    assert len(block.trainable_weights) == 4 + 2 + 2 and len(block.non_trainable_weights) == 2
    paths = [w.path for w in block.weights]
    assert len(set(paths)) == len(paths) and all(p.startswith("block") for p in paths)
    block.trainable = False
    assert block.trainable_weights == [] and not block.stack[0].trainable and not block.gates["a"].trainable
    inputs = keras.Input((6,))
    assert keras.Model(inputs, Block()(inputs)).count_params() == block.count_params()


@pytest.mark.parametrize("make", [Linear, Block, Lazy, Penalty], ids=lambda c: c.__name__)
def test_recorded_training_is_eager_training(make):
    weights = []
    for run_eagerly in (True, False):
        keras.utils.set_random_seed(3)
        model = compiled(make(), run_eagerly=run_eagerly)
        losses = model.fit(X, Y, batch_size=16, epochs=3, verbose=0, shuffle=False).history["loss"]
        assert losses[-1] < losses[0]
        weights.append(model.get_weights())
    for a, b in zip(*weights):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [Linear, Block, Lazy, Penalty], ids=lambda c: c.__name__)
def test_saves_and_loads(make, tmp_path):
    model = compiled(make())
    model.fit(X, Y, epochs=1, verbose=0)
    want = model.predict(X, verbose=0)
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), want)
    fresh = compiled(make())
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(fresh.predict(X, verbose=0), want)
    loaded.fit(X, Y, epochs=1, verbose=0)


def test_config_without_get_config():
    layer = Linear(3, scale=2.0, name="mine")
    config = layer.get_config()
    assert (config["units"], config["scale"], config["name"]) == (3, 2.0, "mine")
    twin = layers.deserialize(layers.serialize(layer))
    assert (twin.units, twin.scale, twin.name) == (3, 2.0, "mine")

    class Holder(layers.Layer):
        def __init__(self, function, **kwargs):
            super().__init__(**kwargs)
            self.function = function

    with pytest.raises(NotImplementedError, match="Holder.*get_config"):
        Holder(np.tanh).get_config()


def test_add_loss_joins_the_training_loss():
    model = keras.Sequential([keras.Input((6,)), Penalty()])
    model.compile("sgd", "mse")
    expected = (X**2).mean() * 0.1
    np.testing.assert_allclose(float(model.evaluate(X, X, verbose=0, batch_size=64)), expected, rtol=1e-5)
    layer = Penalty()
    layer(X)
    layer(X)
    assert len(layer.losses) == 1
    np.testing.assert_allclose(float(layer.losses[0]), expected, rtol=1e-5)


def test_training_argument_reaches_nested_layers():
    class Inner(layers.Layer):
        def call(self, inputs, training=False):
            return inputs * (2.0 if training else 1.0)

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def call(self, inputs):  # does not take it, hands it on all the same
            return self.inner(inputs)

    outer = Outer()
    assert np.array_equal(outer(X).data, X) and np.array_equal(outer(X, training=True).data, X * 2)
    model = keras.Sequential([keras.Input((6,)), Outer()])
    assert np.array_equal(model(X, training=True).data, X * 2)
    assert np.array_equal(model.predict(X, verbose=0), X)


def test_mask_argument():
    class MaskedMean(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.supports_masking = True

        def call(self, inputs, mask=None):
            weight = ops.cast(mask, "float32")[..., None]
            return ops.sum(inputs * weight, axis=1) / ops.sum(weight, axis=1)

        def compute_mask(self, inputs, mask=None):
            return None

    ids = np.array([[3, 1, 0, 0], [2, 2, 4, 0]], "int32")
    model = keras.Sequential([keras.Input((4,), dtype="int32"), layers.Embedding(5, 3, mask_zero=True),
                              layers.Dense(2), MaskedMean()])
    embedded = model.layers[1](model.layers[0](ids)).data
    want = np.stack([embedded[0, :2].mean(0), embedded[1, :3].mean(0)])
    np.testing.assert_allclose(model(ids).data, want, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(ids, verbose=0), want, rtol=1e-5, atol=1e-6)


def test_several_inputs_and_named_build_shapes():
    class Bilinear(layers.Layer):
        def build(self, a_shape, b_shape):
            self.w = self.add_weight(shape=(a_shape[-1], b_shape[-1]), name="w")

        def call(self, a, b):
            return ops.sum(ops.matmul(a, self.w) * b, axis=-1, keepdims=True)

    layer = Bilinear()
    y = layer(X, X[:, :2])
    want = np.einsum("bi,ij,bj->b", X, layer.w.numpy(), X[:, :2])
    np.testing.assert_allclose(y.data[:, 0], want, rtol=1e-4, atol=1e-5)
    a, b = keras.Input((6,)), keras.Input((2,))
    model = keras.Model([a, b], Bilinear()(a, b))
    assert model.output_shape == (None, 1) and model([X, X[:, :2]]).shape == (64, 1)


def test_frozen_sublayer_stays_as_it_is():
    block = Block()
    model = compiled(block)
    block.stack[0].trainable = False
    before = block.stack[0].get_weights(), block.stack[1].get_weights()
    model.compile("sgd", "mse")
    model.fit(X, Y, epochs=1, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before[0], block.stack[0].get_weights()))
    assert not np.array_equal(before[1][0], block.stack[1].get_weights()[0])


def test_non_trainable_state_moves_in_recorded_steps():
    class Counter(layers.Layer):
        def build(self, input_shape):
            self.total = self.add_weight(shape=(), initializer="zeros", trainable=False, name="total")

        def call(self, inputs, training=False):
            if training:
                self.total.assign_add(ops.cast(inputs.shape[0], "float32"))
            return inputs

    counter = Counter()
    compiled(counter).fit(X, Y, batch_size=16, epochs=2, verbose=0)
    assert float(counter.total.numpy()) == 128.0


@pytest.mark.parametrize("layer, error, message", [
    (type("NoCall", (layers.Layer,), {}), NotImplementedError, "NoCall.*call"),
    (type("NoSuper", (layers.Layer,), {"__init__": lambda self: None, "call": lambda self, x: x}), RuntimeError,
     "NoSuper.*super"),
    (type("Wrong", (layers.Layer,), {"call": lambda self, x: ops.matmul(x, x)}), ValueError, r"Wrong.*\(64, 6\)"),
])
def test_errors_name_the_class(layer, error, message):
    with pytest.raises(error, match="(?s)" + message):
        layer()(X)


class Scaled(layers.Layer):
    """Variables and metrics in containers of every kind."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scales = [keras.Variable(np.full(6, 2.0, "float32")), {"a": (keras.Variable(np.ones(6, "float32")),)}]
        self.scales.append([keras.Variable(np.zeros(6, "float32"), trainable=False)])
        self.seen = {"sums": [keras.metrics.Sum(name="seen")]}

    def call(self, x):
        self.seen["sums"][0].update_state(ops.ones(()))
        return x * self.scales[0] * self.scales[1]["a"][0] + self.scales[2][0]


def test_variables_and_metrics_in_containers(tmp_path):
    """They are weights, are trained and written; metrics begin anew with each epoch."""
    model = keras.Sequential([keras.Input((6,)), Scaled()])
    layer = model.layers[0]
    assert (len(layer.trainable_weights), len(layer.weights)) == (2, 3)
    assert layer.weights[0] is layer.scales[0] and layer.metrics == layer.seen["sums"]
    model.compile(keras.optimizers.SGD(0.1), "mse")
    history = model.fit(X, X, epochs=3, batch_size=len(X), verbose=0).history
    assert history["seen"] == [1.0, 1.0, 1.0] and history["loss"][-1] < history["loss"][0]
    want = model.predict(X, verbose=0)
    for name in ("m.weights.h5", "m.safetensors"):
        model.save_weights(tmp_path / name)
        again = keras.Sequential([keras.Input((6,)), Scaled()])
        again.load_weights(tmp_path / name)
        np.testing.assert_array_equal(again.predict(X, verbose=0), want)
    layer.trainable = False
    assert layer.trainable_weights == [] and len(layer.weights) == 3
    layer.scales.append(keras.Variable(np.zeros(1, "float32")))
    assert len(layer.weights) == 4


def test_layers_come_in_the_order_in_which_they_were_told():
    """Keras's order, measured: of attributes as they were assigned, of lists and dicts as they were filled."""
    def dense(name):
        return layers.Dense(1, name=name)

    class Late(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.table, self.later = [dense("a")], {}, None
            self.head = dense("head")
            self.first.append(dense("b"))
            self.first.insert(0, [dense("c")])
            self.pair = (dense("d"), [dense("e")])
            self.later = dense("f")
            self.table["x"] = dense("g")
            self.first += [dense("h"), {"k": dense("i")}]
            self.numbers = [1, 2]
            self.numbers.append(3)

    model = Late()
    assert [layer.name for layer in model.layers] == ["a", "head", "b", "c", "d", "e", "f", "g", "h", "i"]
    model.first.remove(model.first[1])
    assert [layer.name for layer in model.layers] == ["head", "b", "c", "d", "e", "f", "g", "h", "i"]
    twin = copy.deepcopy(model)
    assert {layer.name for layer in twin.layers} == {layer.name for layer in model.layers}
