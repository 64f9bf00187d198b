"""Paths and helpers that scripts written for Keras reach for."""

import importlib
import pkgutil

import numpy as np
import pytest

import pydl as keras
from pydl import registry


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
    (x, y), (rest, _) = data
    assert x.shape == (4, 3, 2) and rest.shape == (3, 3, 2) and len(data) == 2
    for i in range(4):
        np.testing.assert_array_equal(x[i].numpy(), series[i : i + 3])
    np.testing.assert_array_equal(y.numpy(), [3, 4, 5, 6])
    x, = make(series, None, 2, sequence_stride=3, sampling_rate=2, start_index=1, end_index=9)
    np.testing.assert_array_equal(x.numpy()[:, :, 0], [[2, 6], [8, 12]])
    shuffled = make(series, None, 1, shuffle=True, seed=1, batch_size=1)
    first, second = ([x.numpy()[0, 0, 0] for x in shuffled] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(0, 20, 2)) and first != sorted(first) and first != second
    x, y = next(iter(make(series, np.arange(10), 3, batch_size=None)))
    assert x.shape == (3, 2) and y.shape == ()
    for wrong in ({"sequence_length": 0}, {"sequence_length": 11}, {"sequence_length": 2, "start_index": 9,
                                                                    "end_index": 3}):
        with pytest.raises(ValueError, match="timeseries_dataset_from_array"):
            make(series, None, **wrong)


def test_timeseries_as_documented():
    """The three examples of Keras's documentation."""
    make = keras.preprocessing.timeseries_dataset_from_array
    (x,) = make(np.arange(99), None, sequence_length=10, sampling_rate=2, sequence_stride=3)
    np.testing.assert_array_equal(x.numpy()[[0, 1, -1]], np.array([[0], [3], [78]]) + 2 * np.arange(10))
    data = np.random.default_rng(0).normal(size=100)
    for inputs, targets in make(data[:-10], data[10:], sequence_length=10):
        np.testing.assert_array_equal(inputs[0].numpy(), data[:10])
        assert targets[0].numpy() == data[10]
    values, doubles = np.arange(100), 2 * np.arange(100)
    for inputs, targets in zip(*(make(a, None, sequence_length=20, sequence_stride=20) for a in (values, doubles))):
        np.testing.assert_array_equal(inputs[0].numpy(), values[:20])
        np.testing.assert_array_equal(targets[1].numpy(), doubles[20:40])


def test_timeseries_forecast_by_an_lstm():
    """As scripts of weather forecasts do it: windows with a sampling rate, `take`, validation, predictions."""
    t = np.arange(1200)
    series = np.stack([np.sin(t / 9), np.cos(t / 9)], 1) + np.random.default_rng(0).normal(0, 0.05, (1200, 2))
    past, future, step, split = 36, 9, 3, 900
    make = keras.preprocessing.timeseries_dataset_from_array
    train = make(series[:split - future], series[past + future:split, :1], sequence_length=past // step,
                 sampling_rate=step, batch_size=64, shuffle=True, seed=0)
    valid = make(series[split:-future], series[split + past + future:, :1], sequence_length=past // step,
                 sampling_rate=step, batch_size=64)
    for inputs, targets in train.take(1):
        assert inputs.numpy().shape == (64, 12, 2) and targets.numpy().shape == (64, 1)
    keras.utils.set_random_seed(0)
    x = keras.layers.Input(shape=(inputs.shape[1], inputs.shape[2]))
    model = keras.Model(inputs=x, outputs=keras.layers.Dense(1)(keras.layers.LSTM(16)(x)))
    model.compile(optimizer=keras.optimizers.Adam(learning_rate=0.01), loss="mse")
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", min_delta=0, patience=5)
    history = model.fit(train, epochs=15, validation_data=valid, callbacks=[stop], verbose=0).history
    assert min(history["val_loss"]) < 0.02  # the noise alone has 0.0025; the last value repeated, 0.8
    for x, y in valid.take(5):
        assert model.predict(x, verbose=0)[0].shape == y[0].numpy().shape == (1,)


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


@pytest.mark.parametrize(("room", "base"), [("layers", "Layer"), ("optimizers", "Optimizer"), ("metrics", "Metric"),
                                            ("callbacks", "Callback")])
def test_every_public_class_is_exported(room, base):
    """A class that users may name, defined in a module of the room, is in the room's `__all__`."""
    package = getattr(keras, room)
    base = getattr(package, base)
    for module in pkgutil.iter_modules(package.__path__):
        path = f"{package.__name__}.{module.name}"
        for name, value in vars(importlib.import_module(path)).items():
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == path:
                known_to_files = value in registry._builtin_modules
                inner = name.startswith("_") or module.name.startswith("_")
                shared = any(c.__module__.startswith("pydl.") for c in value.__subclasses__())
                assert name in package.__all__ or not known_to_files and (inner or shared), f"{path}.{name}"
