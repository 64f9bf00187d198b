"""What rows cannot say about layers: errors, functional forms, Lambda, Wrapper, Input, moving statistics, adapt."""

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops
from pydl.tensor import from_numpy

rng = np.random.default_rng(3)


def ones(*shape, dtype="float32"):
    return np.ones(shape, dtype)


@pytest.mark.parametrize("make, message", [
    (lambda: layers.Dense(0), "units=0"),
    (lambda: layers.Dense("3"), "units=3"),
    (lambda: layers.Dense(3, activation="rellu"), "rellu"),
    (lambda: layers.Dense(3, kernel_initializer="glorot"), "glorot"),
    (lambda: layers.Dense(3, nodes=3), "nodes"),
    (lambda: layers.Dense(3, name="a/b"), "a/b"),
    (lambda: layers.Dense(3, dtype="float31"), "float31"),
    (lambda: layers.Embedding(0, 3), "input_dim; received 0"),
    (lambda: layers.Embedding(3, -1), "output_dim; received -1"),
    (lambda: layers.Dropout(1.5), "rate=1.5"),
    (lambda: layers.Dropout("half"), "rate=half"),
    (lambda: layers.GaussianDropout(1.0), "rate=1.0"),
    (lambda: layers.AlphaDropout(1.0), "rate=1.0"),
    (lambda: layers.GaussianNoise(-1), "stddev=-1"),
    (lambda: layers.ReLU(max_value=-1), "max_value=-1"),
    (lambda: layers.ReLU(negative_slope=None), "negative_slope=None"),
    (lambda: layers.LeakyReLU(negative_slope=-0.1), "negative_slope=-0.1"),
    (lambda: layers.Permute((1, 3)), r"dims=\(1, 3\)"),
    (lambda: layers.Reshape((-1, -1)), r"\(-1, -1\)"),
    (lambda: layers.RepeatVector(2.0), "float"),
    (lambda: layers.Dot((1, 2, 3)), r"\(1, 2, 3\)"),
    (lambda: layers.LayerNormalization(axis="last"), "last"),
    (lambda: layers.Normalization(mean=1.0), "variance=None"),
    (lambda: layers.Wrapper("dense"), "dense"),
    (lambda: layers.deserialize({"class_name": "Danse", "config": {}}), "Danse"),
    (lambda: layers.deserialize(keras.optimizers.serialize(keras.optimizers.SGD())), "SGD"),
])
def test_bad_arguments(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("layer, inputs, message", [
    (layers.Dense(3, name="d"), ones(4), r'"d".*min_ndim=2, found ndim=1.*\(4,\)'),
    (layers.BatchNormalization(axis=3, name="bn"), ones(2, 3), r'"bn".*\(2, 3\)'),
    (layers.LayerNormalization(axis=2, name="ln"), ones(2, 3), r'"ln".*\(2, 3\)'),
    (layers.GroupNormalization(4, name="gn"), ones(2, 6), r'"gn".*4.*6'),
    (layers.RepeatVector(2, name="rv"), ones(2, 3, 4), r'"rv".*ndim=2, found ndim=3.*\(2, 3, 4\)'),
    (layers.Permute((2, 1), name="pm"), ones(2, 3), r'"pm".*ndim=3, found ndim=2.*\(2, 3\)'),
    (layers.Reshape((5,), name="rs"), ones(2, 6), r'"rs".*\(6,\).*\(5,\)'),
    (layers.PReLU(shared_axes=[3], name="pr"), ones(2, 6), r'"pr".*\(2, 6\)'),
    (layers.Add(name="a"), ones(2, 3), r'"a".*list of inputs.*\(2, 3\)'),
    (layers.Add(name="a"), [ones(2, 3)], r'"a".*at least 2.*1'),
    (layers.Subtract(name="s"), [ones(2, 3)] * 3, r'"s".*exactly 2.*3'),
    (layers.Multiply(name="m"), [ones(2, 3), ones(2, 4)], r'"m".*\(2, 3\) and \(2, 4\)'),
    (layers.Concatenate(name="c"), [ones(2, 3), ones(3, 3)], r'"c".*\(2, 3\), \(3, 3\)'),
    (layers.Concatenate(name="c"), ones(2, 3), r'"c".*\(2, 3\)'),
    (layers.Dot(1, name="dt"), [ones(2, 3), ones(2, 4)], r'"dt".*3 .*4'),
    (layers.Dot(1, name="dt"), [ones(2, 3)], r'"dt".*2 inputs.*\(2, 3\)'),
    (layers.Rescaling([1, 2], name="re"), ones(2, 3), r'"re".*\(2, 3\)'),
    (layers.Normalization(mean=[1.0, 2.0], variance=[1.0, 2.0], name="no"), ones(2, 3), r'"no".*\(3,\).*\(2,\)'),
])
def test_bad_inputs_name_the_layer(layer, inputs, message):
    """The layer, what it wants and what it got; and no weights of a wrong shape stay behind."""
    with pytest.raises(ValueError, match="(?s)" + message):
        layer(inputs)
    assert layer.weights == []


@pytest.mark.parametrize("layer", [layers.Dense(3, name="f"), layers.BatchNormalization(name="f"),
                                   layers.LayerNormalization(name="f"), layers.PReLU(name="f"),
                                   layers.RMSNormalization(name="f"), layers.GroupNormalization(2, name="f"),
                                   layers.Normalization(name="f")], ids=lambda layer: type(layer).__name__)
def test_other_feature_count_after_build(layer):
    layer(ones(2, 4))
    with pytest.raises(ValueError, match=r'(?s)"f".*4.*6'):
        layer(ones(2, 6))


def test_embedding_index_out_of_range():
    layer = layers.Embedding(5, 2, name="words")
    with pytest.raises(IndexError, match="(?s)words.*7"):
        layer(np.array([[1, 7]], "int32"))


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate"])
def test_functional_forms(name):
    a, b = rng.normal(size=(2, 3)).astype("f4"), rng.normal(size=(2, 3)).astype("f4")
    layer = getattr(layers, name.capitalize())
    np.testing.assert_array_equal(getattr(layers, name)([a, b]).data, layer()([a, b]).data)
    assert getattr(layers, name)([keras.Input((3,)), keras.Input((3,))], name="n").node.operation.name == "n"


def test_functional_dot():
    a, b = rng.normal(size=(2, 3)).astype("f4"), rng.normal(size=(2, 3)).astype("f4")
    np.testing.assert_allclose(layers.dot([a, b], axes=1).data[:, 0], (a * b).sum(1), rtol=1e-6)


def double(x, factor=2.0):
    return x * factor


def test_lambda():
    x = rng.normal(size=(2, 3)).astype("f4")
    assert np.array_equal(layers.Lambda(double)(x).data, x * 2)
    layer = layers.Lambda(double, arguments={"factor": 3.0}, name="triple")
    assert np.array_equal(layer(x).data, x * 3)
    assert layer(keras.Input((3,))).shape == (None, 3)
    with keras.saving.custom_object_scope({"double": double}):
        twin = layers.deserialize(layers.serialize(layer))
    assert np.array_equal(twin(x).data, x * 3)
    with pytest.raises(ValueError, match="double"):
        layers.deserialize(layers.serialize(layer))
    with pytest.raises(ValueError, match="lambda"):
        layers.serialize(layers.Lambda(lambda x: x))


def test_wrapper():
    layer = layers.Wrapper(layers.Dense(2), name="w")
    layer.build((None, 3))
    assert [w.shape for w in layer.weights] == [(3, 2), (2,)]
    assert layers.Wrapper.from_config(layer.get_config()).layer.units == 2


def test_input_and_input_layer():
    x = keras.Input((3, None), batch_size=4, dtype="int32", name="ids")
    assert (x.shape, x.dtype, x.name) == ((4, 3, None), "int32", "ids")
    layer = layers.InputLayer(batch_shape=(None, 2), name="in")
    assert layer.output.shape == (None, 2)
    twin = layers.deserialize(layers.serialize(layer))
    assert (twin.name, twin.output.shape) == ("in", (None, 2))
    with pytest.raises(ValueError, match="both"):
        keras.Input((2,), batch_shape=(None, 2))


def test_input_spec():
    spec = layers.InputSpec(shape=(None, 3), dtype="float32")
    assert spec.problem((5, 3)) is None and "(None, 3)" in spec.problem((5, 4))
    assert layers.InputSpec.from_config(spec.get_config()).shape == (None, 3)
    assert "max_ndim=2" in layers.InputSpec(max_ndim=2).problem((1, 2, 3))


def test_batch_normalization_moves_its_statistics():
    x = rng.normal(2, 3, (64, 5)).astype("f4")
    layer = layers.BatchNormalization(momentum=0.9)
    layer(x, training=True)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * x.var(0), rtol=1e-5)
    before = layer.get_weights()
    layer(x)
    layer(x, training=False)
    assert all(np.array_equal(a, b) for a, b in zip(before, layer.get_weights()))


def test_batch_normalization_leaves_out_masked_steps():
    x = rng.normal(size=(4, 6, 2)).astype("f4")
    mask = rng.random((4, 6)) < 0.6
    layer = layers.BatchNormalization(momentum=0.0)
    layer(x, training=True, mask=from_numpy(mask))
    np.testing.assert_allclose(layer.moving_mean.numpy(), x[mask].mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), x[mask].var(0), rtol=1e-4)


def test_softmax_leaves_out_masked_positions():
    x, mask = rng.normal(size=(3, 5)).astype("f4"), np.array([[True, False, True, True, False]] * 3)
    e = np.exp(x) * mask
    np.testing.assert_allclose(layers.Softmax()(x, mask=from_numpy(mask)).data, e / e.sum(1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("batched", [False, True])
def test_normalization_adapt(batched):
    x = rng.normal(3, 2, (50, 4)).astype("f4")
    layer = layers.Normalization()
    layer.adapt([x[:20], x[20:]].__iter__() if batched else x)
    np.testing.assert_allclose(layer(x).data, (x - x.mean(0)) / x.std(0), rtol=1e-4, atol=1e-5)


def test_activity_regularization_adds_its_loss():
    x = rng.normal(size=(4, 3)).astype("f4")
    layer = layers.ActivityRegularization(l1=0.1, l2=0.2)
    layer(x)
    np.testing.assert_allclose(float(layer.losses[0]), (0.1 * abs(x) + 0.2 * x**2).sum() / 4, rtol=1e-5)
    layer(x)
    assert len(layer.losses) == 1


def test_weight_regularizers_and_embedding_table():
    table = rng.normal(size=(5, 2)).astype("f4")
    layer = layers.Embedding(5, 2, weights=[table], embeddings_regularizer="l2")
    layer(np.zeros((1, 1), "int32"))
    assert np.array_equal(layer.embeddings.numpy(), table)
    np.testing.assert_allclose(float(layer.losses[0]), 0.01 * (table**2).sum(), rtol=1e-5)


def test_noise_layers_follow_the_models_training_flag():
    model = keras.Sequential([keras.Input((50,)), layers.Dropout(0.5, seed=1)])
    x = ones(4, 50)
    assert np.array_equal(model(x).data, x) and np.array_equal(model.predict(x, verbose=0), x)
    assert (model(x, training=True).data == 0).any()
    assert ops.sum(layers.Dropout(1.0)(x, training=True)).numpy() == 0


def test_build_by_hand():
    """`build` called directly builds, once, with the names a call would give; also a user's."""
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight(shape=(input_shape[-1],), name="w")

        def call(self, x):
            return x * self.w

    for layer, count in ((layers.Dense(3, name="d"), 2), (Scale(name="d"), 1)):
        layer.build((None, 4))
        assert layer.built and len(layer.weights) == count
        layer(np.ones((2, 4), "float32"))
        assert len(layer.weights) == count and layer.weights[0].path.startswith("d/")


def test_unknown_features():
    with pytest.raises(ValueError, match="must be known.*None, None"):
        layers.Dense(3)(keras.Input((None,)))
