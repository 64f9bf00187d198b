"""Paths and helpers that scripts written for Keras reach for."""

import importlib

import numpy as np
import pytest

import pydl as keras


@pytest.mark.parametrize("statement", [
    "from pydl.layers import Dense, Input, InputLayer, InputSpec, Layer", "from pydl.models import Model, Sequential",
    "from pydl.saving import load_model, register_keras_serializable", "import pydl.datasets.mnist",
    "from pydl.datasets import digits", "from pydl.preprocessing.sequence import pad_sequences",
    "from pydl.preprocessing import timeseries_dataset_from_array", "from pydl.ops.nn import relu, softmax",
    "from pydl.ops.numpy import mean, tanh", "from pydl.ops.linalg import norm",
    "from pydl.optimizers.schedules import ExponentialDecay", "from pydl.utils import PyDataset, to_categorical",
    "from pydl import Initializer, Loss, Metric, Optimizer, Regularizer, DTypePolicy, KerasTensor, Variable",
    "from pydl import backend as K; K.epsilon(); K.floatx(); K.clear_session()",
    "from pydl.tree import flatten, map_structure", "from pydl.random import SeedGenerator",
])
def test_import(statement):
    exec(statement, {})


def test_top_level():
    assert keras.version() == keras.__version__
    assert not hasattr(keras, "no_such_room")  # an AttributeError, nothing else
    for name in ("applications", "saving", "utils", "datasets", "preprocessing"):
        assert getattr(keras, name) is importlib.import_module(f"pydl.{name}")


def test_dtype_policy():
    layer = keras.layers.Dense(2, dtype=keras.DTypePolicy("float64"))
    assert (layer.dtype_policy.name, layer.compute_dtype) == ("float64", "float64")
    assert keras.layers.deserialize(keras.layers.serialize(layer)).dtype == "float64"
    policies = keras.dtype_policies
    assert policies.deserialize(policies.serialize(layer.dtype_policy)) == layer.dtype_policy == policies.get("float64")
    try:
        keras.config.set_dtype_policy("float64")
        assert keras.config.dtype_policy().name == "float64" == keras.layers.Dense(1).dtype
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match="mixed_float16"):
        keras.DTypePolicy("mixed_float16")


class Squares(keras.utils.PyDataset):
    """Counts what fit asks for."""

    def __init__(self, batches, **kwargs):
        super().__init__(**kwargs)
        self.batches, self.ends = batches, 0

    @property
    def num_batches(self):
        return self.batches

    def __getitem__(self, index):
        x = np.full((4, 3), index, "float32")
        return x, x.sum(1, keepdims=True)

    def on_epoch_end(self):
        self.ends += 1


def test_pydataset_in_fit():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    data = Squares(3, workers=2, use_multiprocessing=False, max_queue_size=4)
    history = model.fit(data, epochs=2, verbose=0, validation_data=Squares(2))
    assert set(history.history) == {"loss", "val_loss"} and data.ends == 2
    assert model.optimizer.iterations == 6
    assert model.predict(data, verbose=0).shape == (12, 1)
    with pytest.raises(NotImplementedError, match="num_batches"):
        len(keras.utils.PyDataset())


def test_timeseries():
    series = np.arange(20.0).reshape(10, 2)
    make = keras.utils.timeseries_dataset_from_array
    data = make(series, np.arange(3, 10), 3, batch_size=4)
    x, y = data[0]
    assert x.shape == (4, 3, 2) and len(data) == 2
    for i in range(4):
        np.testing.assert_array_equal(x[i], series[i : i + 3])
    np.testing.assert_array_equal(y, [3, 4, 5, 6])
    x, = list(make(series, None, 2, sequence_stride=3, sampling_rate=2, start_index=1, end_index=9))
    np.testing.assert_array_equal(x[:, :, 0], [[2, 6], [8, 12]])
    starts = [x[0, 0, 0] for x in make(series, None, 1, shuffle=True, seed=1, batch_size=1)]
    assert sorted(starts) == list(range(0, 20, 2)) and starts != sorted(starts)
    assert next(iter(make(series, None, 3, batch_size=None))).shape == (3, 2)
    for wrong in ({"sequence_length": 0}, {"sequence_length": 11}, {"sequence_length": 2, "start_index": 9,
                                                                    "end_index": 3}):
        with pytest.raises(ValueError, match="timeseries_dataset_from_array"):
            make(series, None, **wrong)


def test_interactive_logging(capsys):
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    try:
        keras.config.disable_interactive_logging()
        model.fit(np.ones((8, 2), "f4"), np.ones((8, 1), "f4"))
    finally:
        keras.config.enable_interactive_logging()
    out = capsys.readouterr().out
    assert "loss" in out and "━" not in out and keras.utils.is_interactive_logging_enabled()


def test_pack_and_unpack():
    pack, unpack = keras.utils.pack_x_y_sample_weight, keras.utils.unpack_x_y_sample_weight
    assert unpack(pack(1)) == (1, None, None)
    assert unpack(pack(1, 2)) == (1, 2, None) and unpack(pack(1, 2, 3)) == (1, 2, 3)
    assert pack((1, 2)) == ((1, 2),)


def test_tree():
    tree = keras.tree
    assert tree.map_structure(lambda a: a + 1, {"a": 1, "b": None}, none_is_leaf=False) == {"a": 2, "b": None}
    assert tree.flatten_with_path({"b": [1, 2], "a": 3}) == [(("a",), 3), (("b", 0), 1), (("b", 1), 2)]
    assert tree.lists_to_tuples([1, {"a": [2]}]) == (1, {"a": (2,)})
    tree.assert_same_structure([1, (2,)], [3, (4,)], check_types=True)
