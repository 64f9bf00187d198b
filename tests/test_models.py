"""Sequential, functional and subclassed models: how they are put together, named, copied, frozen and refused."""

import json

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops

rng = np.random.default_rng(7)


def mlp(**kwargs):
    return keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="relu", name="hidden"),
                             layers.Dense(2, name="out")], **kwargs)


def two_in_two_out():
    """Inputs a (4), b (3); outputs "sum" (2) and "score" (1); one Dense is used twice."""
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    shared = layers.Dense(5, activation="tanh", name="shared")
    left, right = shared(layers.Dense(6, name="fit_a")(a)), shared(layers.Dense(6, name="fit_b")(b))
    joined = layers.Concatenate(name="join")([left, right])
    return keras.Model([a, b], [layers.Dense(2, name="sum")(joined), layers.Dense(1, name="score")(left - right)],
                       name="two")


# ---- Sequential -----------------------------------------------------------------------------------------------------


def test_sequential_builds_at_the_first_call():
    model = keras.Sequential([layers.Dense(3), layers.Dense(2)])
    assert not model.built and model.weights == []
    y = model(np.ones((5, 4), "float32"))
    assert model.built and y.shape == (5, 2)
    assert [w.shape for w in model.weights] == [(4, 3), (3,), (3, 2), (2,)]
    assert model.input_shape == (None, 4) and model.output_shape == (None, 2)


def test_sequential_build_makes_the_weights():
    model = keras.Sequential([layers.Dense(3), layers.Dense(2)])
    model.build((None, 4))
    assert [w.shape for w in model.weights] == [(4, 3), (3,), (3, 2), (2,)]


def test_sequential_unbuilt_has_no_shapes():
    model = keras.Sequential([layers.Dense(3)])
    with pytest.raises(AttributeError, match="has no defined output shape"):
        _ = model.output_shape
    with pytest.raises(ValueError, match="isn't built"):
        model.count_params()


def test_sequential_add_and_pop():
    model = keras.Sequential()
    model.add(keras.Input((4,)))
    model.add(layers.Dense(3))
    model.add(layers.Dense(2))
    x = np.ones((2, 4), "float32")
    before = model.layers[0].get_weights()
    assert model(x).shape == (2, 2)
    top = model.pop()
    assert isinstance(top, layers.Dense) and model.output_shape == (None, 3)
    assert model(x).shape == (2, 3)
    np.testing.assert_array_equal(before[0], model.layers[0].get_weights()[0])
    model.add(layers.Dense(7))
    assert model.predict(x, verbose=0).shape == (2, 7)


def test_sequential_refuses():
    with pytest.raises(ValueError, match="Only instances of `keras.Layer`"):
        keras.Sequential([3])
    with pytest.raises(ValueError, match="unique names.*'same'"):
        keras.Sequential([layers.Dense(1, name="same"), layers.Dense(1, name="same")])
    with pytest.raises(ValueError, match="different Input"):
        keras.Sequential([keras.Input((2,)), keras.Input((3,))])
    with pytest.raises(ValueError, match="no layers"):
        keras.Sequential().build((None, 2))


def test_sequential_pop_of_nothing_is_an_error():
    with pytest.raises((ValueError, IndexError)):
        keras.Sequential().pop()


def test_wrong_input_names_layer_expected_and_received():
    model = mlp()
    with pytest.raises(ValueError, match=r"expected.*4.*(found|received).*5") as error:
        model(np.ones((2, 5), "float32"))
    assert model.name in str(error.value)
    built = layers.Dense(3, name="narrow")
    built(np.ones((2, 4), "float32"))
    with pytest.raises(ValueError, match=r'"narrow".*value 4, but received 5'):
        built(np.ones((2, 5), "float32"))


def test_a_sequential_inside_a_sequential():
    inner = keras.Sequential([layers.Dense(3), layers.Dense(3)], name="inner")
    model = keras.Sequential([keras.Input((4,)), inner, layers.Dense(1)])
    assert len(model.weights) == 6 and len(model.layers) == 2
    model.compile("sgd", "mse")
    model.fit(rng.normal(size=(8, 4)), rng.normal(size=(8, 1)), verbose=0)


def test_a_lambda_is_a_layer():
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2)])
    np.testing.assert_array_equal(model.predict(np.ones((1, 4)), verbose=0), np.full((1, 4), 2))


# ---- functional -----------------------------------------------------------------------------------------------------


def test_functional_equals_the_same_layers_called_by_hand():
    model = two_in_two_out()
    a, b = rng.normal(size=(5, 4)).astype("float32"), rng.normal(size=(5, 3)).astype("float32")
    got = model.predict([a, b], verbose=0)
    layer = model.get_layer
    left = layer("shared")(layer("fit_a")(a))
    right = layer("shared")(layer("fit_b")(b))
    np.testing.assert_array_equal(got[0], layer("sum")(ops.concatenate([left, right], -1)).numpy())
    np.testing.assert_array_equal(got[1], layer("score")(left - right).numpy())


def test_functional_names_and_ends():
    model = two_in_two_out()
    assert model.input_names == ["a", "b"] and model.output_names == ["sum", "score"]
    assert [t.shape for t in model.inputs] == [(None, 4), (None, 3)]
    assert model.output_shape == [(None, 2), (None, 1)]
    assert len([w for w in model.weights if "shared" in w.path]) == 2


def test_functional_takes_a_dict_by_input_name():
    model = two_in_two_out()
    a, b = rng.normal(size=(5, 4)).astype("float32"), rng.normal(size=(5, 3)).astype("float32")
    for x, y in zip(model.predict([a, b], verbose=0), model.predict({"b": b, "a": a}, verbose=0)):
        np.testing.assert_array_equal(x, y)
    with pytest.raises(ValueError, match='missing data for input "b"'):
        model.predict({"a": a}, verbose=0)
    with pytest.raises(ValueError, match=r"expects 2 input\(s\), but it received 1"):
        model.predict([a], verbose=0)


def test_dict_inputs_and_outputs():
    x = {"u": keras.Input((2,), name="u"), "v": keras.Input((2,), name="v")}
    model = keras.Model(x, {"plus": layers.Add()([x["u"], x["v"]]), "less": layers.Subtract()([x["u"], x["v"]])})
    u, v = np.ones((3, 2), "float32"), np.full((3, 2), 2, "float32")
    y = model.predict({"v": v, "u": u}, verbose=0)
    np.testing.assert_array_equal(y["plus"], u + v)
    np.testing.assert_array_equal(y["less"], u - v)


def test_ops_on_keras_tensors():
    x = keras.Input((4,))
    y = ops.relu(x - 1) * 2 + ops.mean(x, axis=-1, keepdims=True)
    y = ops.concatenate([y, x[:, :2], 1 / (ops.abs(x) + 1)], axis=-1)
    model = keras.Model(x, y)
    a = rng.normal(size=(3, 4)).astype("float32")
    want = np.maximum(a - 1, 0) * 2 + a.mean(-1, keepdims=True)
    want = np.concatenate([want, a[:, :2], 1 / (np.abs(a) + 1)], -1)
    np.testing.assert_allclose(model.predict(a, verbose=0), want, rtol=1e-6, atol=1e-6)
    assert model.output_shape == (None, 10)


def test_nested_functional_models_train():
    inner = keras.Model(x := keras.Input((4,)), layers.Dense(3, activation="tanh")(x), name="inner")
    a, b = keras.Input((4,)), keras.Input((4,))
    model = keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([inner(a), inner(b)])))
    assert len(model.weights) == 4
    model.compile("sgd", "mse")
    before = inner.get_weights()
    x, y = rng.normal(size=(16, 4)), rng.normal(size=(16, 1))
    model.fit([x, x], y, verbose=0)
    assert not np.array_equal(before[0], inner.get_weights()[0])


def test_feature_extraction_shares_layers():
    model = mlp()
    features = keras.Model(model.inputs, model.get_layer("hidden").output)
    every = keras.Model(model.inputs, [layer.output for layer in model.layers])
    x = rng.normal(size=(3, 4)).astype("float32")
    hidden = features.predict(x, verbose=0)
    assert hidden.shape == (3, 3)
    np.testing.assert_array_equal(every.predict(x, verbose=0)[0], hidden)
    np.testing.assert_array_equal(every.predict(x, verbose=0)[1], model.predict(x, verbose=0))
    model.get_layer("hidden").kernel.assign(np.zeros((4, 3)))
    assert np.all(features.predict(x, verbose=0) == np.maximum(model.get_layer("hidden").bias.numpy(), 0))


def test_functional_refuses_unconnected_outputs():
    a, b = keras.Input((2,)), keras.Input((2,))
    with pytest.raises(ValueError, match="not among the inputs"):
        keras.Model(a, layers.Add()([a, b]))
    with pytest.raises(ValueError, match="must be KerasTensors"):
        keras.Model(a, np.ones(3))


def test_functional_model_as_a_base_class():
    class Named(keras.Model):
        def __init__(self, units):
            x = keras.Input((4,))
            super().__init__(inputs=x, outputs=layers.Dense(units)(x))
            self.units = units

    model = Named(3)
    assert model.predict(np.ones((2, 4)), verbose=0).shape == (2, 3)
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0)


# ---- subclassed -----------------------------------------------------------------------------------------------------


class Block(layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = [layers.Dense(units, activation="relu"), layers.Dense(units)]
        self.drop = layers.Dropout(0.5)

    def call(self, x, training=False):
        for layer in self.inner:
            x = layer(x)
        return self.drop(x, training=training)


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = Block(6)
        self.heads = {"a": layers.Dense(1), "b": layers.Dense(2)}

    def call(self, x, training=False):
        h = self.block(x, training=training)
        return {name: head(h) for name, head in self.heads.items()}


def test_subclassed_model_finds_layers_in_lists_and_dicts():
    model = Net()
    model.compile("adam", {"a": "mse", "b": "mse"})
    x = rng.normal(size=(40, 4))
    history = model.fit(x, {"a": x[:, :1], "b": x[:, 1:3]}, epochs=2, verbose=0).history
    assert len(model.trainable_variables) == 8
    assert {"loss", "a_loss", "b_loss"} <= set(history)
    y = model.predict(x, verbose=0)
    assert y["a"].shape == (40, 1) and y["b"].shape == (40, 2)


def test_forgotten_super_init():
    class Forgot(keras.Model):
        def __init__(self):
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    with pytest.raises(RuntimeError, match=r"super\(\).__init__\(\)"):
        Forgot()(np.ones((1, 2), "float32"))


def test_a_model_without_call():
    class Nothing(keras.Model):
        pass

    with pytest.raises(NotImplementedError, match="does not have a `call"):
        Nothing()(np.ones((1, 2), "float32"))


# ---- get_layer, freezing, copies, reports ---------------------------------------------------------------------------


def test_get_layer():
    model = mlp()
    assert model.get_layer("hidden") is model.layers[0] is model.get_layer(index=0)
    with pytest.raises(ValueError, match="No such layer: nope.*hidden"):
        model.get_layer("nope")
    with pytest.raises(ValueError, match="at index 5 but model only has 2"):
        model.get_layer(index=5)
    with pytest.raises(ValueError, match="either a layer name or a layer index"):
        model.get_layer()


def test_freezing_a_layer_after_compile_and_back():
    model = mlp()
    model.compile("sgd", "mse")
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))
    model.fit(x, y, verbose=0)
    hidden = model.get_layer("hidden")
    hidden.trainable = False
    assert len(model.trainable_variables) == 2 and len(model.non_trainable_weights) == 2
    frozen, free = hidden.get_weights(), model.get_layer("out").get_weights()
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(frozen[0], hidden.get_weights()[0])
    assert not np.array_equal(free[0], model.get_layer("out").get_weights()[0])
    hidden.trainable = True
    model.compile("sgd", "mse")
    model.fit(x, y, verbose=0)
    assert not np.array_equal(frozen[0], hidden.get_weights()[0])


def test_freezing_a_layer_acts_without_another_compile():
    """Recorded steps notice: the program of the unfrozen layer is not replayed."""
    model = mlp()
    model.compile(keras.optimizers.SGD(), "mse")
    x, y = rng.normal(size=(8, 4)).astype("float32"), rng.normal(size=(8, 2)).astype("float32")
    model.fit(x, y, verbose=0)
    model.get_layer("hidden").trainable = False
    frozen = model.get_layer("hidden").get_weights()
    model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(frozen[0], model.get_layer("hidden").get_weights()[0])


@pytest.mark.parametrize("make", [mlp, two_in_two_out])
def test_clone_model_has_the_architecture_and_other_weights(make):
    model = make()
    copy = keras.models.clone_model(model)
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]
    assert not any(np.array_equal(v, w) for v, w in zip(model.get_weights(), copy.get_weights()) if v.ndim > 1)
    copy.set_weights(model.get_weights())
    x = [rng.normal(size=(3, t.shape[1])).astype("float32") for t in model.inputs]
    for a, b in zip(keras.tree.flatten(model.predict(x, verbose=0)), keras.tree.flatten(copy.predict(x, verbose=0))):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [mlp, two_in_two_out])
def test_json_round_trip(make):
    model = make()
    text = model.to_json()
    json.loads(text)
    copy = keras.models.model_from_json(text)
    assert type(copy) is type(model) and copy.name == model.name
    assert [w.shape for w in copy.weights] == [w.shape for w in model.weights]
    assert copy.to_json() == text


def test_config_round_trip_of_ops_and_nesting():
    inner = keras.Model(i := keras.Input((4,)), ops.tanh(i * 2) + i, name="inner")
    x = keras.Input((4,))
    model = keras.Model(x, ops.concatenate([inner(x), x[:, 1:3], ops.reshape(x, (-1, 2, 2))[:, 0]], axis=1))
    copy = keras.Model.from_config(model.get_config())
    a = rng.normal(size=(3, 4)).astype("float32")
    np.testing.assert_array_equal(model.predict(a, verbose=0), copy.predict(a, verbose=0))


def test_set_weights_is_all_or_nothing():
    model = mlp()
    before = model.get_weights()
    with pytest.raises(ValueError, match="weight list of length 1"):
        model.set_weights(before[:1])
    with pytest.raises(ValueError, match="shape"):
        model.set_weights([w + 1 for w in before[:-1]] + [np.zeros(9)])
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_summary_counts():
    lines = []
    model = two_in_two_out()
    model.get_layer("shared").trainable = False
    model.summary(print_fn=lambda line, *args: lines.append(line))
    text = "\n".join(lines)
    total = 4 * 6 + 6 + 3 * 6 + 6 + 6 * 5 + 5 + 10 * 2 + 2 + 5 + 1
    assert model.count_params() == total
    assert str(total) in text and "Non-trainable params: 35" in text and "join" in text and "(None, 10)" in text


def test_summary_of_an_unbuilt_model():
    lines = []
    keras.Sequential([layers.Dense(3)]).summary(print_fn=lambda line, *args: lines.append(line))
    assert "dense" in "\n".join(lines)
