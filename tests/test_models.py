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


def convolutions(*first):
    return keras.Sequential([*first, layers.Conv2D(4, 3, padding="same", activation="relu"),
                             layers.GlobalMaxPooling2D(), layers.Dense(2)])


def images(*sizes):
    return [rng.normal(size=(2, *size, 3)).astype("float32") for size in sizes]


def in_turn(model, x):
    for layer in model.layers:
        x = layer(x)
    return x.data


class Wrapping(keras.Model):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


@pytest.mark.parametrize("first", [(), (keras.Input((8, 9, 3)),)], ids=["deferred", "Input"])
@pytest.mark.parametrize("entry", ["call", "predict", "predict_on_batch", "generator", "file", "weights", "inside",
                                   "functional", "clone"])
def test_sequential_runs_on_sizes_that_its_layers_take(entry, first, tmp_path):
    model = convolutions(*first)
    sizes = [(8, 9), (10, 12), (3, 5), (8, 9)]
    batches = images(*sizes)
    model(batches[0])
    assert model.input_shape == (None, 8, 9, 3) and model.built
    run = model
    if entry == "file":
        model.save(tmp_path / "m.keras")
        run = keras.models.load_model(tmp_path / "m.keras")
    elif entry == "weights":
        model.save_weights(tmp_path / "m.weights.h5")
        run = convolutions(*first)
        run.build((None, 8, 9, 3))
        run.load_weights(tmp_path / "m.weights.h5")
    elif entry == "inside":
        run = Wrapping(model)
    elif entry == "functional":
        x = keras.Input((None, None, 3))
        run = keras.Model(x, model(x))
    elif entry == "clone":
        run = keras.models.clone_model(model)
        run.set_weights(model.get_weights())
    if entry == "generator":
        got = np.split(model.predict(((x,) for x in batches), verbose=0), len(batches))
    elif entry.startswith("predict"):
        got = [getattr(model, entry)(x) for x in batches]
    else:
        got = [run(x).data for x in batches]
    for x, y in zip(batches, got):
        np.testing.assert_allclose(y, in_turn(model, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("first", [(), (keras.Input((8, 9, 3)),)], ids=["deferred", "Input"])
def test_sequential_trains_on_batches_of_several_sizes(first):
    batches = [(x, np.ones((2, 2), "float32")) for x in images((8, 9), (10, 12), (3, 5))]
    model, twin = convolutions(*first), convolutions(keras.Input((None, None, 3)))
    model(batches[0][0])
    twin.set_weights(model.get_weights())
    histories = []
    for each in (model, twin):
        each.compile(keras.optimizers.SGD(0.01), "mse")
        histories.append(each.fit((b for _ in range(3) for b in batches), steps_per_epoch=3, epochs=3,
                                  verbose=0).history["loss"])
    assert histories[0] == histories[1] and histories[0][0] > histories[0][-1]
    assert model.evaluate(iter(batches), verbose=0) == twin.evaluate(iter(batches), verbose=0)


def test_sequential_takes_sequences_of_several_lengths():
    model = keras.Sequential([layers.Embedding(9, 4, mask_zero=True), layers.LSTM(3), layers.Dense(1)])
    model.compile("sgd", "mse")
    ids = [rng.integers(1, 9, (2, n)) for n in (5, 7, 3)]
    model.fit(((x, np.zeros((2, 1))) for x in ids), verbose=0)
    for x in ids:
        padded = np.pad(x, ((0, 0), (0, 4)))
        np.testing.assert_allclose(model(x).data, model(padded).data, rtol=1e-5, atol=1e-6)


def test_where_sizes_matter_the_layer_refuses():
    model = keras.Sequential([layers.Conv2D(2, 3, name="conv"), layers.Flatten(), layers.Dense(2, name="head")])
    model.compile("sgd", "mse")
    x, y = images((8, 9), (10, 9))
    model(x)
    before = model.get_weights()
    for refused in (lambda: model(y), lambda: model.predict(y, verbose=0),
                    lambda: model.fit(y, np.zeros((2, 2)), verbose=0)):
        with pytest.raises(ValueError, match=r'"head".*value 84, but received 112'):
            refused()
    with pytest.raises(ValueError, match=r'"conv".*value 3, but received 4'):
        model(np.zeros((2, 8, 9, 4), "float32"))
    with pytest.raises(ValueError, match=r"expected shape=\(None, 8, 9, 3\), found shape=\(2, 8, 9\)"):
        model(np.zeros((2, 8, 9), "float32"))
    with pytest.raises(ValueError, match=r"\(None, 8, 9, 3\).*\(None, 8, 7, 3\)"):
        model.build((None, 8, 7, 3))
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rows", [2, 32, 40])
def test_predictions_that_are_not_one_per_row(rows):
    """As Keras: those of the batches behind each other. No row of them is one that nobody has written."""
    x = keras.Input((3,))
    model = keras.Model(x, [x, ops.sum(x, axis=0, keepdims=True), x[:1]])
    data = rng.normal(size=(rows, 3)).astype("float32")
    same, total, first = model.predict(data, verbose=0)
    starts = range(0, rows, 32)
    np.testing.assert_array_equal(same, data)
    np.testing.assert_array_equal(first, data[list(starts)])
    np.testing.assert_allclose(total, np.add.reduceat(data, list(starts)), rtol=1e-5, atol=1e-5)


def test_predictions_of_several_sizes_are_not_joined():
    model = keras.Sequential([layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"\(2, 6, 7, 2\), \(2, 8, 7, 2\).*predict_on_batch"):
        model.predict(((x,) for x in images((8, 9), (10, 9))), verbose=0)


@pytest.mark.parametrize("shape, dtype, data_format, received, advice", [
    ((64, 64, 3), "float32", "channels_last", (2, 96, 80, 3), "Input((None, None, 3))"),
    ((64, 64, 3), "float32", "channels_last", (2, 64, 80, 3), "Input((64, None, 3))"),
    ((64, 64, 3), "float32", "channels_last", (2, 96, 80, 4), None),
    ((3, 64, 64), "float32", "channels_first", (2, 3, 96, 80), "Input((3, None, None))"),
    ((5,), "int32", "channels_last", (2, 7), "Input((None,))"),
    ((5,), "float32", "channels_last", (2, 7), None),
    ((5, 3), "float32", "channels_first", (2, 7, 3), "Input((None, 3))"),
    ((5, 3), "float32", "channels_last", (2, 5), None),
])
def test_functional_refuses_other_sizes_and_says_how_to_take_them(shape, dtype, data_format, received, advice):
    x = keras.Input(shape, dtype=dtype)
    model = keras.Model(x, layers.Identity()(x))
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(data_format)
    try:
        for call in (model, lambda x: model.predict(x, verbose=0)):
            with pytest.raises(ValueError) as caught:
                call(np.zeros(received, dtype))
            message = str(caught.value)
            assert f"expected shape={(None, *shape)}, found shape={received}" in message
            assert ("Input(" in message) == (advice is not None) and (advice or "") in message
    finally:
        keras.config.set_image_data_format(before)


def test_the_batch_size_of_an_input_binds_nobody():
    x = keras.Input((5,), batch_size=4)
    for model in (keras.Model(x, layers.Dense(3)(x)), keras.Sequential([keras.Input((5,), batch_size=4),
                                                                        layers.Dense(3)])):
        assert model.input_shape == (4, 5) and model(np.zeros((2, 5))).shape == (2, 3)


def test_sequential_layers_have_one_output_however_they_were_added():
    model = keras.Sequential([layers.Dense(3)])
    model(np.zeros((2, 4)))
    model.add(layers.Dense(2))
    assert model.built and model.layers[0].output.shape == (None, 3) and model.layers[1].output.shape == (None, 2)
    model.pop()
    assert model.built and keras.Model(model.input, model.layers[0].output)(np.zeros((2, 4))).shape == (2, 3)


def test_sequential_refuses_a_layer_of_two_inputs():
    class Two(layers.Layer):
        def call(self, a, b):
            return a

    with pytest.raises(ValueError, match=r"one positional argument.*'two'.*call\(a, b\)"):
        keras.Sequential([Two(name="two")])(np.zeros((2, 3)))


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


# --------------------------------------------------------------------- float64 by `dtype=`, floatx being float32

X64 = rng.normal(size=(6, 3))


def dense64():
    return layers.Dense(1, dtype="float64")


class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = dense64()

    def call(self, x):
        return self.inner(x)


def functional64(layer):
    x = keras.Input((3,), dtype="float64")
    return keras.Model(x, layer(x))


FLOAT64 = {
    "functional": lambda: functional64(dense64()),
    "sequential": lambda: keras.Sequential([keras.Input((3,), dtype="float64"), dense64()]),
    "without an Input": lambda: keras.Sequential([dense64()]),
    "nested": lambda: functional64(keras.Sequential([keras.Input((3,), dtype="float64"), dense64()])),
    "nested without an Input": lambda: functional64(keras.Sequential([dense64()])),
    "subclassed": lambda: Subclassed(dtype="float64"),
}


@pytest.mark.parametrize("make", FLOAT64.values(), ids=FLOAT64)
def test_float64_inputs_stay_float64(make, tmp_path):
    model = make()
    ways = {"predict": lambda m: m.predict(X64, batch_size=4, verbose=0), "again": lambda m: m.predict(X64, verbose=0),
            "call": lambda m: m(X64), "predict_on_batch": lambda m: m.predict_on_batch(X64),
            "batches": lambda m: m.predict(iter([X64[:4], X64[4:]]), verbose=0)}
    for name, way in ways.items():
        got = np.asarray(way(model))
        kernel, bias = model.get_weights()
        assert got.dtype == kernel.dtype == "float64"
        np.testing.assert_allclose(got, X64 @ kernel + bias, rtol=0, atol=1e-14, err_msg=name)
    model.compile("sgd", "mse")
    model.fit(X64, X64[:, :1], epochs=1, validation_split=0.5, verbose=0)
    model.evaluate(X64, X64[:, :1], verbose=0)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(model.predict(X64, verbose=0), X64 @ kernel + bias, rtol=0, atol=1e-14)
    if not isinstance(model, Subclassed):
        model.save(tmp_path / "m.keras")
        copy = keras.models.load_model(tmp_path / "m.keras")
        np.testing.assert_array_equal(copy.predict(X64, verbose=0), model.predict(X64, verbose=0))


def test_a_file_of_float64_opened_where_floatx_is_float32(tmp_path):
    keras.config.set_floatx("float64")
    try:
        model = keras.Sequential([keras.Input((3,)), layers.Dense(2, activation="tanh"), layers.Dense(1)])
        want = model.predict(X64, verbose=0)
        model.save(tmp_path / "m.keras")
    finally:
        keras.config.set_floatx("float32")
    got = keras.models.load_model(tmp_path / "m.keras").predict(X64, verbose=0)
    assert got.dtype == "float64"
    np.testing.assert_array_equal(got, want)


def test_each_input_has_its_own_dtype():
    wide, narrow = keras.Input((3,), dtype="float64"), keras.Input((3,))
    model = keras.Model([wide, narrow], [dense64()(wide), layers.Dense(1)(narrow)])
    outputs = model.predict([X64, X64], verbose=0)
    assert [y.dtype for y in outputs] == ["float64", "float32"]
    assert keras.Sequential([layers.Dense(1)]).predict(X64, verbose=0).dtype == "float32"


@pytest.mark.parametrize("make", [
    lambda: layers.TimeDistributed(dense64()), lambda: layers.RNN(layers.SimpleRNNCell(2, dtype="float64")),
    lambda: layers.Bidirectional(layers.GRU(2, dtype="float64")),
    lambda: layers.RNN([layers.GRUCell(2, dtype="float64"), layers.GRUCell(2, dtype="float64")]),
], ids=["TimeDistributed", "RNN", "Bidirectional", "StackedRNNCells"])
def test_wrappers_compute_in_the_dtype_of_their_layer(make):
    layer = make()
    x = rng.normal(size=(2, 4, 3))
    assert layer(x).dtype == layer.dtype == "float64"
    moved = x * (1 + 1e-12)  # float32 sees no difference
    assert not np.array_equal(layer(x), layer(moved))
    assert type(layer).from_config(layer.get_config()).dtype == "float64"


# ---- parts and copies of graphs -------------------------------------------------------------------------------------


def chain():
    x = keras.Input((None, 2), name="x")
    first = layers.Dense(3, name="first")(x)
    second = layers.Dense(4, activation="relu", name="second")(first)
    y = layers.Dense(5, name="third")(second + 1)
    return keras.Model(x, y, name="chain"), first, second


def test_a_model_begins_at_a_tensor_inside_of_another(tmp_path):
    full, first, second = chain()
    data = rng.normal(size=(2, 6, 2)).astype("float32")
    inner = [full.get_layer("first")(data), full.get_layer("second")(full.get_layer("first")(data))]
    for begin, end, value, names in ((second, full.output, inner[1], ["third"]),
                                     (first, second, inner[0], ["second"]),
                                     (full.get_layer("second").input, full.output, inner[0], ["second", "third"])):
        part = keras.Model(begin, end)
        assert [layer.name for layer in part.layers[1:]] == names and part.input_shape == begin.shape
        assert all(part.get_layer(name) is full.get_layer(name) for name in names)
        assert len(part.weights) == 2 * len(names)
        want = part(value).data
        part.save(tmp_path / "part.keras")
        for other in (keras.models.load_model(tmp_path / "part.keras"), keras.models.clone_model(part)):
            other.set_weights(part.get_weights())
            np.testing.assert_array_equal(other(value).data, want)
    np.testing.assert_array_equal(keras.Model(second, full.output)(inner[1]).data, full(data).data)
    assert full.get_layer("second").output is second  # the layer was called once


def test_a_model_of_two_inner_tensors_holds_no_layer_before_them():
    full, first, second = chain()
    model = keras.Model({"a": first, "b": second}, ops.concatenate([first, second], axis=-1))
    assert model.weights == [] and model.input_shape == {"a": (None, None, 3), "b": (None, None, 4)}
    assert model({"a": np.zeros((1, 2, 3)), "b": np.ones((1, 2, 4))}).shape == (1, 2, 7)


@pytest.mark.parametrize("form", [
    lambda a, b: (a, b), lambda a, b: [a, b], lambda a, b: {"x": a, "y": (b,)}, lambda a, b: [[a], (b,)],
    lambda a, b: ({"q": a}, b), lambda a, b: (a,), lambda a, b: a,
])
def test_from_config_restores_the_structure_of_inputs_and_outputs(form):
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    outputs = keras.Model([a, b], form(layers.Dense(2)(a), layers.Dense(3)(b)))
    inputs = keras.Model(form(a, b), sum(keras.tree.flatten(form(a, b)), 0))
    for model in (outputs, inputs):
        for twin in (keras.Model.from_config(model.get_config()), keras.models.clone_model(model)):
            for mine, theirs in ((model.input, twin.input), (model.output, twin.output)):
                assert keras.tree.map_structure(lambda t: t.shape, mine) == keras.tree.map_structure(
                    lambda t: t.shape, theirs)


def test_a_list_for_a_model_of_unsorted_keys_is_refused():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    data = [np.zeros((2, 3)), np.ones((2, 3))]
    with pytest.raises(ValueError, match="received .*cannot be told: the keys are not in sorted order"):
        keras.Model({"b": b, "a": a}, a - b)(data)
    with pytest.warns(UserWarning, match="structure"):
        np.testing.assert_array_equal(keras.Model({"a": a, "b": b}, a - b)(data).data, -np.ones((2, 3)))


@keras.saving.register_keras_serializable("test_models")
class Wide(keras.Model):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.dense = layers.Dense(units)

    def call(self, x):
        return self.dense(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def test_clone_of_a_subclassed_model():
    model = Wide(5)
    model(np.zeros((2, 3)))
    twin = keras.models.clone_model(model)
    assert type(twin) is Wide and twin.dense is not model.dense and twin(np.zeros((2, 3))).shape == (2, 5)
    with pytest.raises(ValueError, match="call_function can be used"):
        keras.models.clone_model(model, call_function=lambda layer, x: layer(x))


def test_clone_with_a_call_function():
    def call(layer, *args, **kwargs):
        y = layer(*args, **kwargs)
        return layers.Dropout(0.1, name=f"{layer.name}_dropped")(y) if isinstance(layer, layers.Dense) else y

    model, *_ = chain()
    twin = keras.models.clone_model(model, call_function=call)
    assert [layer.name for layer in twin.layers] == ["x", "first", "first_dropped", "second", "second_dropped",
                                                     "third", "third_dropped"]
    twin.set_weights(model.get_weights())
    data = rng.normal(size=(2, 6, 2)).astype("float32")
    np.testing.assert_array_equal(twin(data).data, model(data).data)
    with pytest.raises(ValueError, match="call_function"):
        keras.models.clone_model(mlp(), call_function=call)


def test_clone_on_other_inputs():
    x = keras.Input((4,), batch_size=3, name="other")
    model = keras.Model(x, layers.Dense(2)(x))
    for source in (model, mlp()):
        assert keras.models.clone_model(source, input_tensors=x).input_shape == (3, 4)
    assert keras.models.clone_model(model, input_tensors=x).input is x
    with pytest.raises(ValueError, match="expected 1 symbolic tensors"):
        keras.models.clone_model(model, input_tensors=[x, x])


def test_clone_of_nested_models():
    x = keras.Input((4,))
    model = keras.Model(x, mlp(name="inner")(x))
    for recursive, want in ((False, ["inner"]), (True, ["hidden", "out"])):
        seen = []

        def clone(layer, seen=seen):
            seen.append(layer.name)
            return type(layer).from_config(layer.get_config())

        twin = keras.models.clone_model(model, clone_function=clone, recursive=recursive)
        assert seen == want and twin.get_layer("inner") is not model.get_layer("inner")


def test_clone_keeps_the_dtype_of_inputs():
    model = keras.Sequential([keras.Input((5,), dtype="int32"), layers.Embedding(9, 3)])
    assert keras.models.clone_model(model).inputs[0].dtype == "int32"


# ---- shapes that layers say, summaries, states ----------------------------------------------------------------------


class Closed(layers.Layer):
    def call(self, x):
        raise RuntimeError("never called")

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 7)


class Stated(layers.Layer):
    def call(self, x):
        raise RuntimeError("never called")

    def compute_output_spec(self, x):
        return keras.KerasTensor((*x.shape[:-1], 9), "int32")


def test_a_layer_that_says_its_shape_need_not_run():
    x = keras.Input((3,))
    assert Closed()(x).shape == (None, 7) and Closed().compute_output_spec(x).shape == (None, 7)
    assert (Stated()(x).shape, Stated()(x).dtype) == ((None, 9), "int32")

    class Silent(layers.Layer):
        def call(self, x):
            raise RuntimeError("never called")

    with pytest.raises(RuntimeError, match="never called"):
        Silent()(x)


def summary_of(model):
    lines = []
    model.summary(print_fn=lines.append)
    return "\n".join(lines)


def test_summary_shows_the_shapes_of_layers_that_were_built_by_hand_or_by_data():
    class ByHand(keras.Model):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.Dense(4), layers.Dense(6)

        def build(self, input_shape):
            self.first.build(input_shape)
            self.second.build((None, 4))

        def call(self, x):
            return self.second(self.first(x))

    model = ByHand()
    model.build((None, 3))
    assert "(None, 4)" in summary_of(model) and "(None, 6)" in summary_of(model)
    other = Wide(5)
    other(np.zeros((2, 3)))
    assert "(None, 5)" in summary_of(other)
    assert "?" in summary_of(Wide(5))


def test_summary_shows_the_shapes_of_ops_and_of_dict_outputs():
    class Two(layers.Layer):
        def call(self, x):
            return {"a": x, "b": x[:, :1]}

    x = keras.Input((3,))
    y = Two(name="two")(x)
    text = summary_of(keras.Model(x, [y["a"] + 1, ops.concatenate([y["b"]] * 2)]))
    assert "[(None, 3), (None, 1)]" in text and "(None, 2)" not in text and "?" not in text


def test_state_trees():
    def trained(seed):
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="d"), layers.Dropout(0.1),
                                  layers.Dropout(0.2), layers.BatchNormalization(name="n")], name="m")
        model.compile("adam", "mse", metrics=["mae"])
        model.fit(np.random.default_rng(seed).normal(size=(4, 4)), np.ones((4, 3)), verbose=0)
        return model

    model, other = trained(1), trained(2)
    for value_format in ("backend_tensor", "numpy_array"):
        state = model.get_state_tree(value_format)
        assert list(state) == ["trainable_variables", "non_trainable_variables", "optimizer_variables",
                               "metrics_variables"]
        np.testing.assert_array_equal(state["trainable_variables"]["m"]["d"]["kernel"],
                                      model.get_layer("d").get_weights()[0])
        assert len(keras.tree.flatten(state)) == len(model.variables) + len(model.optimizer.variables) + len(
            model.metrics_variables)
    other.set_state_tree({k: v for k, v in state.items() if k != "optimizer_variables"})  # whose name is another
    for a, b in zip(model.variables + model.metrics_variables, other.variables + other.metrics_variables):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    before = other.get_weights()
    for broken, message in (({"weights": {}}, "weights"), ({"trainable_variables": {}}, "missing.*m/d/kernel"),
                            ({"trainable_variables": {"m": {**state["trainable_variables"]["m"], "q": 1}}}, "m/q")):
        with pytest.raises(ValueError, match=message):
            other.set_state_tree(broken)
    wrong = model.get_state_tree("numpy_array")
    wrong["trainable_variables"]["m"]["n"]["beta"] = np.zeros(4)
    with pytest.raises(ValueError, match=r"m/n/beta.*\(3,\); received \(4,\)"):
        other.set_state_tree(wrong)
    for a, b in zip(before, other.get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("arguments, message", [
    ({}, "`shape`"),
    ({"shape": (3,), "batch_shape": (2, 3)}, "both `shape`"),
    ({"batch_size": 2, "batch_shape": (2, 3)}, "both `batch_size`"),
    ({"shape": 5}, "tuple"), ({"shape": "abc"}, "tuple"), ({"batch_shape": {"a": 1}}, "tuple"),
    ({"shape": (-1,)}, "at least 0"), ({"shape": (1.5,)}, "integers"), ({"shape": ("a",)}, "integers"),
    ({"shape": (True,)}, "integers"), ({"shape": (3,), "batch_size": -1}, "at least 0"),
    ({"shape": (3,), "batch_size": "a"}, "integers"), ({"shape": (3,), "sparse": True}, "not supported"),
    ({"tensor": np.zeros((2, 3))}, "KerasTensor"),
    ({"tensor": keras.KerasTensor((2, 3)), "dtype": "int32"}, "float32.*int32"),
])
def test_inputs_that_contradict_themselves(arguments, message):
    with pytest.raises(ValueError, match=message):
        keras.Input(**arguments)


def test_an_input_like_a_tensor():
    given = keras.KerasTensor((4, 3), "int32")
    x = keras.Input(tensor=given)
    assert x is given and keras.Model(x, x + 1).input_shape == (4, 3)
    inner = x * 2
    assert keras.Input(tensor=inner).shape == (4, 3) and keras.Input(tensor=inner) is not inner
    layer = layers.InputLayer((3,))
    assert layer.call() is None and (layer.sparse, layer.ragged) == (False, False)
    assert layers.InputLayer(batch_input_shape=(2, 3)).batch_shape == (2, 3)
