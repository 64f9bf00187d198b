"""What rows cannot say about layers: errors, functional forms, Lambda, Wrapper, Input, moving statistics, adapt."""

import inspect
import json

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
    (lambda: layers.ELU(()), r"alpha; received \(\)"),
    (lambda: layers.Softmax(2.5), "axis; received 2.5"),
    (lambda: layers.Permute(-1), "dims=-1"),
    (lambda: layers.Permute((1, 1)), r"dims=\(1, 1\)"),
    (lambda: layers.Dense(3, activation="rellu"), "rellu"),
    (lambda: layers.Dense(3, kernel_initializer="glorot"), "glorot"),
    (lambda: layers.Dense(3, nodes=3), "nodes"),
    (lambda: layers.Dense(3, name="a/b"), "a/b"),
    (lambda: layers.Dense(3, dtype="float31"), "float31"),
    (lambda: layers.Embedding(0, 3), "input_dim=0"),
    (lambda: layers.Embedding(3, -1), "output_dim=-1"),
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
    (layers.Add(name="a"), ones(2, 3), r'"a".*list of inputs.*\(2, 3\)'),
    (layers.Add(name="a"), [], r"'a'|\"a\".*at least 1.*0"),
    (layers.Add(name="a"), [ones(2, 3), ones(3, 3)], r'"a".*batch sizes.*\(2, 3\) and \(3, 3\)'),
    (layers.Concatenate(name="c"), ones(2, 3), r'"c".*list of inputs.*\(2, 3\)'),
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


def times(x, factor=2.0):
    return x * factor


def test_lambda():
    x = rng.normal(size=(2, 3)).astype("f4")
    assert np.array_equal(layers.Lambda(times)(x).data, x * 2)
    layer = layers.Lambda(times, arguments={"factor": 3.0}, name="triple")
    assert np.array_equal(layer(x).data, x * 3)
    assert layer(keras.Input((3,))).shape == (None, 3)
    with keras.saving.custom_object_scope({"times": times}):
        twin = layers.deserialize(layers.serialize(layer))
    assert np.array_equal(twin(x).data, x * 3)
    with pytest.raises(ValueError, match="times"):
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


def test_normalization_of_everything_takes_any_rank():
    """axis=None: one mean and variance, learned from data of one rank, for inputs of every rank."""
    x = rng.normal(3, 2, (50, 4)).astype("f4")
    for data in (x, x.ravel(), x.reshape(5, 10, 4), [x[:7], x[7:]], iter([x[:30].ravel(), x[30:]])):
        layer = layers.Normalization(axis=None)
        layer.adapt(data)
        for value in (x, x[0], x[:, :, None], x.reshape(5, 5, 2, 4), np.float32(2.5)):
            np.testing.assert_allclose(layer(np.asarray(value)), (value - x.mean()) / x.std(), rtol=1e-4, atol=1e-5)
    given = layers.Normalization(axis=None, mean=3.0, variance=[4.0])
    for value in (x, x[0], x.reshape(2, 25, 4)):
        np.testing.assert_allclose(given(value), (value - 3) / 2, rtol=1e-5, atol=1e-6)
    copy = layers.Normalization.from_config(given.get_config())
    np.testing.assert_array_equal(copy(x), given(x))


def test_statistics_that_are_given_broadcast_to_the_axes_kept():
    x = rng.normal(size=(3, 2, 4)).astype("f4")
    layer = layers.Normalization(axis=(1, 2), mean=[1.0, 2.0, 3.0, 4.0], variance=[[4.0], [9.0]])
    np.testing.assert_allclose(layer(x), (x - [1, 2, 3, 4]) / np.array([[2], [3]]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_categories_beyond_the_last_are_an_error_and_padding_leaves_no_trace(mode):
    layer = layers.CategoryEncoding(3, output_mode=mode)
    for ids in ([[0, 2, 3]], [[2, 2**32]], np.array([[300]], "int16"), [[1.0, np.nan]]):
        with pytest.raises(IndexError, match="value (3|4294967296|300|nan) at position"):
            layer(np.asarray(ids))
    hot = np.eye(3)[[0, 2]]
    np.testing.assert_array_equal(layer(np.array([[0, -1, 2, -1]])),
                                  [[hot[0], [0] * 3, hot[1], [0] * 3]] if mode == "one_hot" else [[1, 0, 1]])
    x = keras.Input((2,), dtype="int32")
    model = keras.Model(x, layer(x))
    model.predict(np.array([[0, 1]]), verbose=0)
    with pytest.raises(IndexError, match="value 5 at position 1"):  # a recorded step looks too
        model.predict(np.array([[0, 5]]), verbose=0)


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


def masked(value, mask):
    x = from_numpy(np.asarray(value, "float32"))
    x._keras_mask = None if mask is None else from_numpy(np.asarray(mask))
    return x


A, B = rng.normal(size=(2, 2, 4, 3)).astype("float32")
M, N = np.array([[1, 1, 0, 0], [1, 0, 1, 0]], bool), np.array([[1, 0, 1, 0], [0, 0, 1, 1]], bool)
M3, N3 = M[..., None], N[..., None]


@pytest.mark.parametrize("name, left, right, value, mask", [
    ("Add", M, N, A + B, M | N), ("Add", M, None, A + B, None), ("Subtract", M, N, A - B, M | N),
    ("Average", M, N, (A + B) / 2, M | N), ("Average", None, N, (A + B) / 2, None),
    ("Multiply", M, N, np.where(M3 | N3, np.where(M3, A, 1) * np.where(N3, B, 1), 0), M | N),
    ("Multiply", M, None, np.where(M3, A, 1) * B, None),
    ("Maximum", M, N, np.maximum(np.where(M3, A, np.where(N3, B, A)), np.where(N3, B, A)), M | N),
    ("Maximum", None, N, np.maximum(A, np.where(N3, B, A)), None),
    ("Minimum", M, N, np.minimum(np.where(M3, A, np.where(N3, B, A)), np.where(N3, B, A)), M | N),
    ("Minimum", M, None, np.minimum(np.where(M3, A, B), B), None),
    ("Concatenate", M, N, np.concatenate([A, B], -1), M | N),
    ("Concatenate", M, None, np.concatenate([A, B], -1), np.ones_like(M)),
])
def test_masks_of_merging_layers(name, left, right, value, mask):
    """A value that its mask leaves out does not count, where others' do; eager, recorded and in a functional model."""
    def call(a, b):
        a, b = a + 0, b + 0
        for x, m in ((a, left), (b, right)):
            if m is not None:
                x._keras_mask = ops.convert_to_tensor(m)
        y = getattr(layers, name)()([a, b])
        seen = getattr(y, "_keras_mask", None)
        return (y, *(() if seen is None else (ops.cast(seen, "int32"),)))

    step = keras.function(call)
    step(from_numpy(A), from_numpy(B))
    for run in (call, step):
        y, *seen = run(from_numpy(A), from_numpy(B))
        np.testing.assert_allclose(y.numpy(), value, rtol=1e-6)
        assert bool(seen) == (mask is not None)
        if seen:
            np.testing.assert_array_equal(seen[0].numpy(), mask)


def test_masks_of_merged_ranks_and_axes():
    short, long = masked(ones(2, 3), [True, False]), masked(ones(2, 4, 3), M)
    np.testing.assert_array_equal(layers.Add()([short, long])._keras_mask.numpy(), M | [[True], [False]])
    image = masked(ones(2, 4, 5, 3), M)  # (batch, steps) says the same for all that follows
    np.testing.assert_array_equal(layers.Multiply()([image, masked(ones(2, 4, 5, 3), N)])._keras_mask.numpy(), M | N)
    joined = layers.Concatenate(axis=1)([image, masked(ones(2, 1, 5, 3), None)])
    np.testing.assert_array_equal(joined._keras_mask.numpy(), np.concatenate([M, ones(2, 1)], 1))
    deep = layers.Concatenate(axis=2)([image, masked(ones(2, 4, 1, 3), ones(2, 4, 1) > 2)])
    np.testing.assert_array_equal(deep._keras_mask.numpy(), np.concatenate([np.repeat(M3, 5, 2), M3 & False], 2))
    assert getattr(layers.Dot((2, 2))([long, masked(ones(2, 4, 3), N)]), "_keras_mask", None) is None
    symbols = [keras.Input((4, 3)), keras.Input((4, 3))]  # masks with values stay values
    for layer in (layers.Add(), layers.Concatenate()):
        assert layer.compute_mask(symbols, [None, None]) is None
        np.testing.assert_array_equal(layer.compute_mask(symbols, [from_numpy(M), from_numpy(N)]).numpy(), M | N)
    for wrong in ([M], M):
        with pytest.raises(ValueError, match="mask"):
            layers.Add().compute_mask([A, B], wrong)


@pytest.mark.parametrize("axis, mask", [(-1, (2, 4, 3)), (1, (4, 1)), ((1, 2), (2, 1, 3)), (-1, (3,))], ids=str)
@pytest.mark.parametrize("offset", [0, 1e5])
def test_softmax_of_masked_places(axis, mask, offset):
    """However large the inputs, and where nothing of an axis is left."""
    x, m = A * 3 + offset, rng.random(mask) < 0.5
    m[..., 0] = False
    e = np.exp(x.astype("float64") - x.max()) * m
    total = e.sum(axis, keepdims=True)
    want = np.divide(e, total, out=np.zeros_like(e), where=total > 0)
    for given in (m, m.astype("float32") * 0.9):
        y = layers.Softmax(axis)(x, mask=from_numpy(given))
        np.testing.assert_allclose(y.numpy(), want, rtol=2e-2 if offset else 1e-5, atol=1e-6)
    assert y._keras_mask.shape == mask


@pytest.mark.parametrize("mask", [(1, 2, 4, 3), (2, 4, 2), (3, 4, 3)], ids=str)
def test_softmax_masks_that_do_not_fit(mask):
    with pytest.raises(ValueError, match="broadcastable to the inputs"):
        layers.Softmax()(A, mask=np.ones(mask, bool))


def test_activity_regularizer_without_rows_and_axes():
    class Total(layers.Layer):
        def call(self, inputs):
            return ops.sum(inputs)

    for layer, x, loss in ((layers.Dense(2, activity_regularizer="l2"), ones(0, 3), 0.0),
                           (layers.Identity(activity_regularizer=lambda y: ops.mean(y)), ones(0, 3), 0.0),
                           (layers.ActivityRegularization(l2=0.5), ones(4, 3), 1.5),
                           (Total(activity_regularizer="l2"), ones(2, 3), 0.36)):
        layer(x)
        np.testing.assert_allclose([v.numpy() for v in layer.losses], [loss], rtol=1e-6)


@pytest.mark.parametrize("make, shape", [
    (lambda: layers.Dense(3, activation="tanh"), (2, 4)), (lambda: layers.Conv1D(3, 2, activation="relu"), (2, 5, 4)),
    (lambda: layers.SeparableConv1D(3, 2, activation="relu"), (2, 5, 4)), (lambda: layers.Activation("relu"), (2, 4)),
    (lambda: layers.DepthwiseConv1D(2, activation="elu"), (2, 5, 4)),
    (lambda: layers.Conv1DTranspose(3, 2, activation="gelu"), (2, 5, 4)),
    (lambda: layers.EinsumDense("ab,bc->ac", 3, bias_axes="c", activation="relu"), (2, 4)),
])
def test_an_activation_set_to_none_later_is_none(make, shape):
    layer = make()
    x = rng.normal(size=shape).astype("float32")
    layer(x)
    config = layer.get_config()
    layer.activation = None
    plain = type(layer).from_config({**config, "activation": "linear"})
    plain(x)
    plain.set_weights(layer.get_weights())
    np.testing.assert_allclose(layer(x).numpy(), plain(x).numpy(), rtol=1e-6)
    type(layer).from_config(layer.get_config())


def test_arguments_of_a_cell_are_set_on_the_cell():
    layer = layers.LSTM(2, use_cudnn=False)
    with pytest.raises(AttributeError, match="layer.cell.dropout"):
        layer.dropout = 0.5
    layer.cell.dropout = 0.5
    assert layer.dropout == 0.5
    both = layers.Bidirectional(layer)
    assert both.forward_layer.use_cudnn is both.backward_layer.use_cudnn is False
    assert not hasattr(layers.SimpleRNN(2), "use_cudnn")


def test_embedding_weights():
    table = np.arange(6.0).reshape(3, 2)
    for weights in (table, [table], table.tolist(), (table,)):
        layer = layers.Embedding(3, 2, weights=weights)
        assert layer.built
        np.testing.assert_array_equal(layer.get_weights()[0], table)
        np.testing.assert_array_equal(layer([[2, 0]]).numpy(), table[[[2, 0]]])
        assert "weights" not in layer.get_config()
    for weights in (table[:2], [table, table], [table.T]):
        with pytest.raises(ValueError, match="shape|length"):
            layers.Embedding(3, 2, weights=weights)


@pytest.mark.parametrize("noise_shape, shared", [((None, 1, 3), (1,)), ([6, 4, 1], (2,)), ((1, None, None), (0,)),
                                                 ((4, 1), (0, 2))])
@pytest.mark.parametrize("cls", [layers.Dropout, layers.AlphaDropout])
def test_noise_shapes(cls, noise_shape, shared):
    layer = cls(0.5, noise_shape=noise_shape, seed=4)
    y = layer(ones(6, 4, 3), training=True).numpy()
    low, high = y.min(), y.max()
    assert set(np.unique(y)) == {low, high} and low < high
    for axis in shared:
        assert (np.ptp(y, axis) == 0).all()
    assert layer.get_config()["noise_shape"] == layer.noise_shape == tuple(noise_shape)


@pytest.mark.parametrize("make, message", [
    *((lambda s=s, c=c: c(0.5, noise_shape=s), "noise_shape=") for c in (layers.Dropout, layers.AlphaDropout)
      for s in ("ab", 3, (2, 1.5), (0, 1), (-1, 2), (True, 2))),
    *((lambda v=v: layers.Dense(2, trainable=v), "`trainable` to be a boolean") for v in (1, "yes", None)),
    *((lambda v=v: layers.RepeatVector(v), "positive integer; received n=") for v in (0, -2)),
    *((lambda v=v: layers.Reshape(v), "target_shape=")
      for v in ((-1, -1), (-2, 3), (1.5,), "ab", (True, 2), (None, -1))),
    *((lambda v=v: layers.Embedding(v, 2), "input_dim=") for v in (0, -1, 2.0, True, "3")),
    *((lambda v=v: layers.Embedding(2, v), "output_dim=") for v in (0, -1, 2.0, True, "3")),
    *((lambda v=v: layers.GroupNormalization(v), "groups=") for v in (0, -2, 1.5, "32")),
    (lambda: layers.Flatten("channels"), "channels"),
    (lambda: layers.MultiHeadAttention(2, 2, output_shape=8.0), "`output_shape`"),
    (lambda: layers.Dot((1, 2, 3)), "axes="),
    *((lambda v=v: layers.SpectralNormalization(layers.Dense(2), v), "power_iterations=") for v in (0, -1, 1.5)),
])
def test_arguments_that_keras_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [lambda: layers.RepeatVector(True), lambda: layers.RepeatVector(2.5),
                                  lambda: layers.UnitNormalization(None), lambda: layers.Dot("1")])
def test_types_that_keras_refuses(make):
    with pytest.raises(TypeError):
        make()


# As Keras 3.15 has them (tests/reference compares the two libraries), and those that work on strings or their ids.
BUILT = {*"""Activation ActivityRegularization AlphaDropout Dropout ELU GaussianDropout GaussianNoise Hashing Identity
             InputLayer IntegerLookup LeakyReLU Masking ReLU Reshape Softmax StringLookup TextVectorization
             UnitNormalization""".split(),
         *(f"SpatialDropout{n}D" for n in (1, 2, 3)),
         *(f"{kind}{pool}{n}D" for kind in ("", "Global") for pool in ("MaxPool", "AvgPool", "MaxPooling",
                                                                       "AveragePooling") for n in (1, 2, 3))}
FIRST_ARGUMENTS = {
    "Activation": ("relu",), "BahdanauDecoder": (2,), "Bidirectional": (layers.LSTM(2),), "CategoryEncoding": (3,),
    "CenterCrop": (2, 2), "Dot": (1,), "EinsumDense": ("ab,bc->ac", 2), "Embedding": (3, 2), "GroupQueryAttention":
    (2, 2, 2), "Hashing": (3,), "InputLayer": ((2,),), "Lambda": (abs,), "LuongDecoder": (2,), "MultiHeadAttention":
    (2, 2), "Permute": ((1,),), "PositionEmbedding": (3,), "RNN": (layers.LSTMCell(2),), "RepeatVector": (2,),
    "Rescaling": (2.0,), "Reshape": ((2,),), "Resizing": (2, 2), "ReversibleEmbedding": (3, 2), "SparseTableConv2D":
    (np.ones((1, 1)), 1), "SpectralNormalization": (layers.Dense(2),), "StackedRNNCells": ([layers.LSTMCell(2)],),
    "TimeDistributed": (layers.Dense(2),), "TokenAndPositionEmbedding": (3, 2, 2), "TransformerDecoder": (2, 2),
    "TransformerEncoder": (2, 2), "Wrapper": (layers.Dense(2),), "RandomTranslation": (0.1, 0.1), "RBF": (2,),
    "RandomCrop": (2, 2), "Discretization": ([0.0],)}


def made(name, cls):
    """A layer of the class with the arguments that it cannot do without."""
    arguments = FIRST_ARGUMENTS.get(name)
    if arguments is None:
        required = [p for p in inspect.signature(cls).parameters.values() if p.default is p.empty
                    and p.kind == p.POSITIONAL_OR_KEYWORD]
        arguments = (0.5,) * len(required) if name.startswith(("Random", "Spatial", "Gaussian", "Alpha", "Drop")) else (
            2,) * len(required)
    return cls(*arguments)


LAYER_CLASSES = {name: cls for name, cls in vars(layers).items()
                 if isinstance(cls, type) and issubclass(cls, layers.Layer) and not name.startswith("_")}


@pytest.mark.parametrize("name", LAYER_CLASSES)
def test_layers_without_weights_are_built_when_made(name):
    layer = made(name, LAYER_CLASSES[name])
    assert layer.built == (name in BUILT)
    if layer.built and type(layer)._built_when_made:
        assert layer.weights == [] and layer.count_params() == 0

        class Own(LAYER_CLASSES[name]):
            def build(self, input_shape=None):
                self.weight = self.add_weight((1,), name="w")

        assert not made(name, Own).built  # has weights of its own to make


def test_any_layer_is_built_by_its_build():
    for layer, shape in ((layers.Flatten(), (2, 3)), (layers.Cropping2D(1), (2, 5, 5, 1)),
                         (layers.Add(), [(2, 3), (2, 3)])):
        assert not layer.built
        layer.build(shape)
        assert layer.built


SPECTRAL = rng.normal(size=(2, 3, 4))


@pytest.mark.parametrize("iterations", [1, 60])
def test_spectral_normalization(iterations, tmp_path):
    """The kernel divided by the estimate of power iteration (in the end its largest singular value), eager and
    replayed; at prediction as it is. The gradient is that of the layer with the divided kernel."""
    layer = layers.SpectralNormalization(layers.Dense(4, dtype="float64"), iterations, dtype="float64")
    x = SPECTRAL[0]
    layer.build(x.shape)
    assert [w.name for w in layer.weights] == ["kernel", "vector_u", "bias"] and len(layer.trainable_weights) == 2
    kernel, u = rng.normal(size=(4, 4)), rng.normal(size=(1, 4))
    layer.set_weights([kernel, u, np.ones(4)])
    np.testing.assert_allclose(layer(x).numpy(), x @ kernel + 1)
    step = keras.function(lambda t: layer(t, training=True))
    for run in (lambda t: layer(t, training=True), step, step):
        for _ in range(iterations):
            v = u @ kernel.T / np.linalg.norm(u @ kernel.T)
            u = v @ kernel / np.linalg.norm(v @ kernel)
        kernel = kernel / (v @ kernel @ u.T)
        np.testing.assert_allclose(run(x).numpy(), x @ kernel + 1, rtol=1e-9)
        np.testing.assert_allclose(layer.get_weights()[0], kernel, rtol=1e-9)
        np.testing.assert_allclose(layer.get_weights()[1], u, rtol=1e-9)
    if iterations > 1:
        np.testing.assert_allclose(np.linalg.svd(kernel)[1][0], 1, rtol=1e-6)
    with keras.GradientTape() as tape:
        loss = ops.sum(layer(x, training=True) ** 2)
    y = layer(x).numpy()
    np.testing.assert_allclose(tape.gradient(loss, layer.kernel).numpy(), 2 * x.T @ y, rtol=1e-9)

    model = keras.Sequential([keras.Input((4,), dtype="float64"), layer])
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6)
    assert again.layers[0].get_config()["power_iterations"] == iterations


def test_spectral_normalization_of_other_weights():
    table = layers.SpectralNormalization(layers.Embedding(5, 3, embeddings_initializer="ones"), 3)
    table([[1, 2]], training=True)
    np.testing.assert_allclose(table.kernel.numpy(), np.ones((5, 3)) / 15**0.5, rtol=1e-5)
    images = layers.SpectralNormalization(layers.Conv2D(1, 2, kernel_initializer="ones"), 8)
    assert images(ones(1, 2, 2, 1)).numpy().item() == 4
    np.testing.assert_allclose(images(ones(1, 2, 2, 1), training=True).numpy().item(), 2, rtol=1e-6)
    idle = layers.SpectralNormalization(layers.Dense(2, kernel_initializer="zeros"))
    assert idle(ones(2, 3), training=True).numpy().tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="has no attribute `kernel` nor `embeddings`"):
        layers.SpectralNormalization(layers.ReLU())(ones(2, 3))


@pytest.mark.parametrize("axis", [-1, 1, [1, 2], [-1, 1]], ids=str)
def test_layer_normalization_with_rms_scaling(axis):
    """x / sqrt(var(x) + epsilon) gamma, not centred, as Keras computes it."""
    with pytest.warns(UserWarning, match="RMSNormalization"):
        layer = layers.LayerNormalization(axis, epsilon=0.1, rms_scaling=True, dtype="float64")
    x = rng.normal(1, 2, size=(3, 4, 5))
    layer.build(x.shape)
    assert [w.name for w in layer.weights] == ["gamma"]
    gamma = rng.normal(size=layer.gamma.shape)
    layer.set_weights([gamma])
    axes = tuple(sorted(a % 3 for a in ([axis] if isinstance(axis, int) else axis)))
    shape = [n if a in axes else 1 for a, n in enumerate(x.shape)]
    np.testing.assert_allclose(layer(x).numpy(), x / np.sqrt(x.var(axes, keepdims=True) + 0.1) * gamma.reshape(shape))
    assert layer.get_config()["rms_scaling"] is True


def test_layer_normalization_reads_axes_in_any_order():
    """Keras writes gamma for axis=[-1, 1] in the sizes (last, first), and its values for (first, last)."""
    x = rng.normal(size=(2, 3, 4))
    one, other = layers.LayerNormalization([-1, 1], dtype="float64"), layers.LayerNormalization([1, 2], dtype="float64")
    one.build(x.shape)
    other.build(x.shape)
    assert one.gamma.shape == (4, 3)
    weights = rng.normal(size=(2, 12))
    one.set_weights(weights.reshape(2, 4, 3))
    other.set_weights(weights.reshape(2, 3, 4))
    np.testing.assert_allclose(one(x).numpy(), other(x).numpy())


def test_masking_leaves_nothing_of_what_it_hides():
    x = np.array([[[np.inf, np.inf], [np.inf, 1]]], "float32")
    np.testing.assert_array_equal(layers.Masking(np.inf)(x).numpy(), [[[0, 0], [np.inf, 1]]])


def test_flash_attention_is_a_word():
    assert keras.config.is_flash_attention_enabled() is None
    keras.config.disable_flash_attention()
    assert keras.config.is_flash_attention_enabled() is False
    keras.config.enable_flash_attention()
    assert keras.config.is_flash_attention_enabled() is None


@pytest.mark.parametrize("make", [
    lambda n: layers.Dense(n(3)), lambda n: layers.LSTM(n(3)), lambda n: layers.Embedding(n(8), n(2)),
    lambda n: layers.Conv2D(n(2), (n(3), n(1)), strides=n(2)), lambda n: layers.MaxPooling2D(pool_size=n(2)),
    lambda n: layers.Reshape((n(2), n(-1))), lambda n: layers.RepeatVector(n(2)),
    lambda n: layers.Permute((n(2), n(1))),
    lambda n: layers.ZeroPadding2D(((n(1), n(0)), n(2))), lambda n: layers.Concatenate(axis=n(1)),
    lambda n: layers.Dot([n(1), n(1)]), lambda n: layers.GroupNormalization(n(2)),
    lambda n: layers.CategoryEncoding(n(4)),
    lambda n: layers.MultiHeadAttention(n(2), key_dim=n(4)), lambda n: layers.UpSampling2D((n(2), n(3))),
])
def test_numbers_of_numpy_are_those_of_python(make):
    configs = [make(number).get_config() for number in (np.int64, int)]
    for config in configs:
        config.pop("name")
    assert json.dumps(configs[0]) == json.dumps(configs[1])


def test_messages_show_numbers_of_numpy_as_numbers():
    with pytest.raises(ValueError, match=r"target shape \(7,\)"):
        layers.Reshape((np.int64(7),))(np.zeros((1, 3), "float32"))
