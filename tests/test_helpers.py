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
