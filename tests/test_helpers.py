"""Small public helpers: configuration, trees, registry, dtypes, and metrics as plain functions."""

import numpy as np
import pytest

import pydl as keras
from pydl import _core, backend, config, metrics, saving, tree, utils
from pydl.ops.indexing import gather_rows_into
from pydl.tensor import empty, from_numpy

rng = np.random.default_rng(5)


def test_config():
    assert config.isa() in config.supported_isas()
    assert config.isa() in config.show() and keras.__version__ in config.show()
    config.disable_traceback_filtering()
    config.enable_traceback_filtering()
    assert not config.is_traceback_filtering_enabled()
    try:
        backend.set_epsilon(1e-3)
        assert config.epsilon() == 1e-3
        config.set_image_data_format("channels_first")
        assert backend.image_data_format() == "channels_first"
    finally:
        config.set_epsilon(1e-7)
        config.set_image_data_format("channels_last")
    with pytest.raises(ValueError, match="channels_middle"):
        config.set_image_data_format("channels_middle")


def test_backend():
    symbolic, real = keras.Input((2,)), from_numpy(np.ones(2, "f4"))
    assert isinstance(symbolic, backend.KerasTensor)
    assert backend.is_keras_tensor(symbolic) and utils.is_keras_tensor(symbolic) and not backend.is_keras_tensor(real)
    assert backend.is_tensor(real) and not backend.is_tensor(symbolic)
    assert backend.is_float_dtype("float64") and not backend.is_float_dtype("int32")
    assert backend.is_int_dtype("uint8") and not backend.is_int_dtype("bool")
    assert backend.standardize_dtype(np.float32) == utils.standardize_dtype(None) == "float32"
    assert backend.result_type("int32", float) == "float32" and backend.result_type("float32", "float64") == "float64"
    first = backend.get_uid("thing")
    assert backend.get_uid("thing") == first + 1


def test_bases():
    assert issubclass(keras.regularizers.L2, keras.regularizers.Regularizer)
    assert issubclass(keras.constraints.NonNeg, keras.constraints.Constraint)
    assert keras.dtype_policies.FloatDTypePolicy("float32") == "float32"
    assert issubclass(utils.PyDataset, utils.Sequence)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((4, 2), "f4"), np.ones(4, "f4"), verbose=0, epochs=2)
    assert isinstance(history, keras.callbacks.History) and history.epoch == [0, 1]


@saving.register_keras_serializable("mine", "Squared")
class Square(keras.layers.Layer):
    def call(self, inputs):
        return inputs * inputs


@pytest.mark.parametrize("room", [saving, utils])
def test_registry(room):
    assert room.get_registered_name(Square) == "mine>Squared"
    assert room.get_registered_object("mine>Squared") is Square is room.get_custom_objects()["mine>Squared"]
    plain = room.serialize_keras_object(Square(name="s"))
    assert room.deserialize_keras_object(plain).name == "s"
    with room.CustomObjectScope({"other": Square}), room.custom_object_scope({"third": int}):
        assert room.get_registered_object("other") is Square
    assert room.get_registered_object("other") is None


def test_save_model(tmp_path):
    model = keras.Sequential([keras.Input((2,)), Square(), keras.layers.Dense(1)])
    x = rng.normal(size=(3, 2)).astype("f4")
    for room in (keras.models, saving):
        room.save_model(model, tmp_path / "m.keras")
        np.testing.assert_array_equal(room.load_model(tmp_path / "m.keras")(x).data, model(x).data)


def test_tree():
    assert tree.is_nested((1,)) and not tree.is_nested(1)
    assert tree.pack_sequence_as({"b": 0, "a": [0, 0]}, [1, 2, 3]) == {"b": 3, "a": [1, 2]}
    with pytest.raises(ValueError):
        tree.pack_sequence_as([0], [1, 2])


def test_metric_functions():
    t, p = np.eye(4, dtype="f4")[rng.integers(0, 4, 20)], rng.random((20, 4)).astype("f4")
    hit = t.argmax(1) == p.argmax(1)
    top = np.array([label in np.argsort(row)[-2:] for label, row in zip(t.argmax(1), p)])
    labels = t.argmax(1).astype("int32")
    np.testing.assert_array_equal(metrics.categorical_accuracy(t, p), hit)
    np.testing.assert_array_equal(metrics.sparse_categorical_accuracy(labels, p), hit)
    np.testing.assert_array_equal(metrics.top_k_categorical_accuracy(t, p, k=2), top)
    np.testing.assert_array_equal(metrics.sparse_top_k_categorical_accuracy(labels, p, k=2), top)
    np.testing.assert_array_equal(metrics.binary_accuracy(t, p), (p > 0.5) == t)
    np.testing.assert_array_equal(metrics.accuracy(labels, labels), np.ones(20))
    a, b = rng.normal(size=(3, 9)), rng.normal(size=(3, 9))
    pearson = [np.corrcoef(x, y)[0, 1] for x, y in zip(a, b)]
    np.testing.assert_allclose(metrics.pearson_correlation(a, b), pearson, rtol=1e-5)
    concordance = [2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
                   for x, y in zip(a, b)]
    np.testing.assert_allclose(metrics.concordance_correlation(a, b), concordance, rtol=1e-5)


@pytest.mark.parametrize("dtype", [name for name, *_ in _core.dtypes()])
@pytest.mark.parametrize("given", [name for name, *_ in _core.dtypes()])
def test_gather_rows_converts(given, dtype):
    source, index = rng.integers(0, 255, (9, 3, 2)).astype(given), np.array([8, 0, 0, 5], "int32")
    out = empty((4, 3, 2), dtype)
    gather_rows_into(from_numpy(source), from_numpy(index), out)
    np.testing.assert_array_equal(out.data, source[index].astype(dtype))


# ---- functions of Keras 2 -------------------------------------------------------------------------------------------

A, B = (np.random.default_rng(5).normal(size=s).astype("float32") for s in ((2, 3, 4), (4, 5)))
POSITIVE, BOOLS, ROWS = np.abs(A) + 0.1, A > 0, A[:, 0]
IMAGE = np.random.default_rng(6).normal(size=(2, 4, 4, 3)).astype("float32")
SHARES = np.abs(A) / np.abs(A).sum(-1, keepdims=True)
ONE_HOT = np.eye(4, dtype="float32")[[[0, 1, 2], [3, 0, 1]]]


def np_windows(x, function):
    return function(x.reshape(2, 2, 2, 2, 2, 3), (2, 4))


# name, arguments, what NumPy says; a third entry: arguments by name.
K_ROWS = [
    ("abs", (A,), np.abs(A)), ("all", (BOOLS, 1), BOOLS.all(1)), ("any", (BOOLS, 1), BOOLS.any(1)),
    ("arange", (2, 7, 2), np.arange(2, 7, 2)), ("argmax", (A,), A.argmax(-1)), ("argmin", (A,), A.argmin(-1)),
    ("batch_dot", (A, A, 2), np.einsum("bij,bkj->bik", A, A)),
    ("batch_dot", (ROWS, ROWS), (ROWS * ROWS).sum(1)[:, None]),
    ("batch_dot", (A, A.swapaxes(1, 2)), A @ A.swapaxes(1, 2)), ("batch_dot", (A, ROWS, (2, 1)), np.einsum(
        "bij,bj->bi", A, ROWS)),
    ("batch_flatten", (A,), A.reshape(2, -1)), ("flatten", (A,), A.ravel()), ("bias_add", (A, B[:, 0]), A + B[:, 0]),
    ("bias_add", (A, B[:3, 0], "channels_first"), A + B[:3, :1]), ("binary_crossentropy", (ONE_HOT, SHARES), -np.log(
        np.where(ONE_HOT, SHARES, 1 - SHARES))),
    ("cast", (A, "int32"), A.astype("int32")), ("cast_to_floatx", ([1, 2],), np.array([1.0, 2.0])),
    ("categorical_crossentropy", (ONE_HOT, SHARES), -np.log((ONE_HOT * SHARES).sum(-1))),
    ("clip", (A, -0.5, 0.5), A.clip(-0.5, 0.5)), ("clip", (A, None, 0.5), A.clip(None, 0.5)),
    ("clip", (A, 0.5, 0.1), np.full(A.shape, 0.5)), ("clip", (np.arange(5), 1, 3), np.arange(5).clip(1, 3)),
    ("concatenate", ([A, A],), np.concatenate([A, A], -1)), ("constant", (2.0, None, (2, 3)), np.full((2, 3), 2.0)),
    ("conv1d", (A, B[None]), A @ B), ("conv2d", (IMAGE, B[None, None, :3]), IMAGE @ B[:3]),
    ("conv3d", (IMAGE[None], B[None, None, None, :3]), IMAGE[None] @ B[:3]),
    ("depthwise_conv2d", (IMAGE, B[None, None, :3, :1]), IMAGE * B[:3, 0]), ("cos", (A,), np.cos(A)),
    ("count_params", (A,), 24), ("cumsum", (A,), np.cumsum(A, 0)),
    ("dot", (A, B), A @ B), ("dot", (A, np.stack([B, B])), np.tensordot(A, np.stack([B, B]), ((2,), (1,)))),
    ("dtype", (A,), "float32"), ("elu", (A, 0.5), np.where(A > 0, A, 0.5 * np.expm1(A))), ("equal", (A, A), A == A),
    ("eval", (A,), A), ("exp", (A,), np.exp(A)), ("expand_dims", (A,), A[..., None]), ("eye", (3,), np.eye(3)),
    ("gather", (B, [2, 0]), B[[2, 0]]), ("get_value", (A,), A), ("batch_get_value", ([A],), [A]),
    ("greater", (A, 0.0), A > 0), ("greater_equal", (A, 0.0), A >= 0), ("less", (A, 0.0), A < 0),
    ("less_equal", (A, 0.0), A <= 0), ("not_equal", (A, A), A != A),
    ("hard_sigmoid", (4 * A,), (0.8 * A + 0.5).clip(0, 1)), ("in_top_k", (ROWS, [0, 1], 4), [True, True]),
    ("int_shape", (A,), (2, 3, 4)), ("shape", (A,), (2, 3, 4)), ("ndim", (A,), 3), ("is_sparse", (A,), False),
    ("l2_normalize", (A, 1), A / np.sqrt((A * A).sum(1, keepdims=True))),
    ("l2_normalize", (A,), A / np.sqrt((A * A).sum())),
    ("log", (POSITIVE,), np.log(POSITIVE)), ("logsumexp", (A, 1), np.log(np.exp(A).sum(1))),
    ("map_fn", (lambda row: 2 * row, A), 2 * A), ("max", (A, 1), A.max(1)), ("maximum", (A, 0.0), A.clip(0)),
    ("mean", (A, 1, True), A.mean(1, keepdims=True)), ("mean", (BOOLS,), BOOLS.mean()), ("min", (A, 1), A.min(1)),
    ("minimum", (A, 0.0), A.clip(None, 0)), ("one_hot", ([1, 0], 3), np.eye(3)[[1, 0]]),
    ("ones", ((2, 3),), np.ones((2, 3))),
    ("ones_like", (A,), np.ones_like(A)), ("zeros", ((2,), "int32"), np.zeros(2)),
    ("zeros_like", (A,), np.zeros_like(A)),
    ("permute_dimensions", (A, (0, 2, 1)), A.swapaxes(1, 2)), ("transpose", (A,), A.T),
    ("pool2d", (IMAGE, (2, 2), (2, 2)), np_windows(IMAGE, np.max)),
    ("pool2d", (IMAGE, (2, 2), (2, 2), "valid", None, "avg"), np_windows(IMAGE, np.mean)),
    ("pool3d", (IMAGE[None], (1, 2, 2), (1, 2, 2)), np_windows(IMAGE, np.max)[None]),
    ("pow", (POSITIVE, 3), POSITIVE**3),
    ("prod", (A, 1), A.prod(1)), ("relu", (A,), A.clip(0)),
    ("relu", (A, 0.1, 0.5, 0.2), np.where(A >= 0.2, A.clip(None, 0.5), 0.1 * (A - 0.2))),
    ("repeat", (ROWS, 3), np.repeat(ROWS[:, None], 3, 1)), ("repeat_elements", (A, 2, 1), np.repeat(A, 2, 1)),
    ("reshape", (A, (6, 4)), A.reshape(6, 4)),
    ("resize_images", (IMAGE, 2, 3, "channels_last"), IMAGE.repeat(2, 1).repeat(
        3, 2)),
    ("reverse", (A, 1), A[:, ::-1]), ("round", (4 * A,), np.round(4 * A)), ("sigmoid", (A,), 1 / (1 + np.exp(-A))),
    ("sign", (A,), np.sign(A)), ("sin", (A,), np.sin(A)),
    ("softmax", (A,), np.exp(A) / np.exp(A).sum(-1, keepdims=True)),
    ("softplus", (A,), np.log1p(np.exp(A))), ("softsign", (A,), A / (1 + np.abs(A))),
    ("sparse_categorical_crossentropy", ([[0, 1, 2], [3, 0, 1]], SHARES), -np.log((ONE_HOT * SHARES).sum(-1))),
    ("spatial_2d_padding", (IMAGE,), np.pad(IMAGE, ((0, 0), (1, 1), (1, 1), (0, 0)))),
    ("spatial_3d_padding", (IMAGE[None],), np.pad(IMAGE[None], ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))),
    ("temporal_padding", (A, (2, 1)), np.pad(A, ((0, 0), (2, 1), (0, 0)))), ("sqrt", (A,), np.sqrt(A.clip(0))),
    ("square", (A,), A * A), ("squeeze", (A[:, :1], 1), A[:, 0]), ("stack", ([A, A],), np.stack([A, A])),
    ("std", (A, 1), A.std(1)), ("var", (A, 1), A.var(1)), ("stop_gradient", (A,), A),
    ("sum", (A, (0, 1)), A.sum((0, 1))),
    ("switch", (BOOLS[..., 0], A, -A), np.where(BOOLS[..., :1], A, -A)), ("switch", (True, lambda: A, lambda: -A), A),
    ("tanh", (A,), np.tanh(A)), ("tile", (B, (1, 2)), np.tile(B, (1, 2))),
]


@pytest.mark.parametrize("row", range(len(K_ROWS)), ids=lambda i: f"{K_ROWS[i][0]}-{i}")
def test_functions_of_keras_2(row):
    name, args, want = K_ROWS[row]
    tensors = [from_numpy(a) if isinstance(a, np.ndarray) else a for a in args]
    got = getattr(backend, name)(*tensors)
    got = tree.map_structure(lambda t: t.numpy() if backend.is_tensor(t) else t, got)
    if isinstance(want, (str, bool, int, tuple)):
        assert got == want
    else:
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)
        assert np.shape(got) == np.shape(want)
        if name not in ("arange", "cast", "zeros", "one_hot", "cast_to_floatx"):
            assert np.asarray(got).dtype.kind == np.asarray(want).dtype.kind


def test_variables_and_draws_of_keras_2():
    v = backend.variable([1.0, 2.0], name="v")
    assert backend.update_add(v, 1.0) is v and backend.get_value(v).tolist() == [2, 3]
    backend.update_sub(v, 2.0), backend.moving_average_update(v, np.ones(2, "float32"), 0.75)
    np.testing.assert_allclose(backend.get_value(v), [0.25, 1.0])
    backend.update(v, [5.0, 6.0]), backend.set_value(v, [1, 2]), backend.batch_set_value([(v, [3, 4])])
    assert backend.eval(v).tolist() == [3, 4]
    with backend.name_scope("scope"):
        assert backend.variable(1.0, name="w").path == "scope/w"
    for draw, low, high, mean in (
            (backend.random_uniform((4000,), 1.0, 3.0, seed=1), 1, 3, 2),
            (backend.random_normal((4000,), 1.0, seed=1), -5, 7, 1),
            (backend.truncated_normal((4000,), seed=1), -2, 2, 0),
            (backend.random_bernoulli((4000,), 0.3, seed=1), 0, 1, 0.3),
            (backend.dropout(backend.ones((4000,)), 0.5, seed=1), 0, 2, 1)):
        values = draw.numpy()
        assert values.dtype == "float32" and low <= values.min() and values.max() <= high
        assert abs(values.mean() - mean) < 0.1
    for wrong in (lambda: backend.pool2d(IMAGE, 2, pool_mode="sum"), lambda: backend.repeat(from_numpy(A.copy()), 2),
                  lambda: backend.batch_dot(A, A, 0)):
        with pytest.raises(ValueError):
            wrong()


def test_functions_of_keras_2_in_a_model():
    """A script of that time: K inside of Lambda, a loss and a metric, on symbolic tensors, recorded."""
    K = backend
    x = keras.Input((3, 4))
    y = keras.layers.Lambda(lambda t: K.concatenate([K.batch_flatten(t), K.sum(K.square(t), axis=1)]))(x)
    y = K.l2_normalize(K.relu(y, alpha=0.1), axis=-1) + K.mean(y, axis=-1, keepdims=True)
    model = keras.Model(x, keras.layers.Dense(1)(K.clip(y, -1, 1)))
    assert K.int_shape(y) == (None, 16)

    def loss(t, p):
        return K.mean(K.square(p - t), axis=-1) + K.epsilon()

    model.compile("sgd", loss, metrics=[lambda t, p: K.max(K.abs(t - p))])
    first, *_, last = model.fit(A, A[:, 0, :1], epochs=5, verbose=0).history["loss"]
    assert last < first
