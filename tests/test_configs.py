"""Configs are plain data, clones share nothing, and what a config names is what is made."""

import importlib
import inspect
import json
import pkgutil

import numpy as np
import pytest

import cases
import pydl as keras
from harness import LayerCase
from pydl import constraints, initializers, layers, losses, metrics, ops, optimizers, regularizers
from pydl.optimizers import schedules
from pydl.symbolic import SymbolicNode
from pydl.tensor import Variable
from pydl.watch import Watch

rng = np.random.default_rng(31)


def thrice(x):
    return 3 * x


def lstm(**kwargs):
    return layers.LSTM(2, kernel_initializer=initializers.Constant(np.float32(0.5)), **kwargs)


# What no row of tests/cases makes, with objects of all kinds inside.
OBJECTS = [
    lambda: layers.TimeDistributed(layers.Dense(3, activation=thrice)),
    lambda: layers.TimeDistributed(keras.Sequential([keras.Input((2,)), layers.Dense(3)])),
    lambda: layers.Wrapper(layers.Conv1D(2, 2)),
    lambda: layers.Bidirectional(lstm(return_sequences=True)),
    lambda: layers.Bidirectional(lstm(), backward_layer=lstm(go_backwards=True)),
    lambda: layers.RNN([layers.LSTMCell(2), layers.GRUCell(3, dropout=0.1)]),
    lambda: layers.RNN(layers.SimpleRNNCell(2, kernel_regularizer=regularizers.L2(0.1))),
    lambda: layers.LSTMCell(2), lambda: layers.GRUCell(2), lambda: layers.SimpleRNNCell(2),
    lambda: layers.StackedRNNCells([layers.LSTMCell(2), layers.LSTMCell(2)]),
    lambda: layers.Lambda(thrice, arguments={}), lambda: layers.Lambda(lambda x: x),
    lambda: layers.Lambda(thrice, mask=thrice, output_shape=lambda shape: shape),
    lambda: layers.BahdanauDecoder(5), lambda: layers.LuongDecoder(cell=layers.LSTMCell(2)),
    lambda: layers.Hashing(4), lambda: layers.StringLookup(vocabulary=["a", "b"]),
    lambda: layers.TextVectorization(standardize=None, split="character"), lambda: layers.InputLayer((2,)),
    lambda: layers.Layer(activity_regularizer=regularizers.L1(0.1)),
    lambda: layers.Dense(3, kernel_initializer=initializers.HeNormal(seed=3), bias_constraint="non_neg"),
    lambda: layers.MultiHeadAttention(2, 2, kernel_initializer=initializers.GlorotUniform(seed=1)),
    lambda: layers.ConvLSTM1D(2, 2), lambda: layers.Normalization(mean=np.float32(1.0), variance=np.ones(3)),
    lambda: losses.Loss(), lambda: losses.LossFunctionWrapper(losses.mean_squared_error, name="mine"),
    lambda: metrics.Mean(), lambda: metrics.Sum(), lambda: metrics.Metric(),
    lambda: metrics.MeanMetricWrapper(losses.mean_squared_error),
    lambda: optimizers.Optimizer(0.1), lambda: optimizers.Adam(np.float64(0.1)),
    lambda: optimizers.SGD(schedules.CosineDecay(0.1, 10, warmup_target=0.2, warmup_steps=3)),
    lambda: schedules.CosineDecay(0.1, 10), lambda: schedules.CosineDecayRestarts(0.1, 4),
    lambda: schedules.ExponentialDecay(np.float64(0.1), 3, 0.5),
    lambda: schedules.InverseTimeDecay(0.1, 3, 0.5), lambda: schedules.PolynomialDecay(0.1, 3),
    lambda: schedules.PiecewiseConstantDecay([3, 5], [0.1, 0.2, np.float64(0.3)]),
    lambda: initializers.Constant(np.ones((2, 2))), lambda: regularizers.L1(0.1), lambda: regularizers.L1L2(0.1, 0.2),
    lambda: regularizers.L2(np.float64(0.1)), lambda: regularizers.OrthogonalRegularizer(),
    lambda: constraints.MaxNorm(2), lambda: constraints.MinMaxNorm(), lambda: constraints.UnitNorm(),
    lambda: constraints.NonNeg(),
    lambda: layers.SpectralNormalization(layers.Dense(2), 3),
    lambda: keras.Sequential([keras.Input((4, 2)), layers.TimeDistributed(layers.Dense(3))]),
]
# Bases with nothing to make, classes that are found under another name, and what is no object with a config.
WITHOUT = {"InputSpec", "LearningRateSchedule", "Constraint", "Initializer", "Regularizer", "IdentityInitializer",
           "OrthogonalInitializer", "RandomInitializer"}


def instances():
    """(name, object): one for every row of a class in tests/cases, and those of `OBJECTS`."""
    rooms = {"losses": losses, "metrics": metrics}
    for module in pkgutil.iter_modules(cases.__path__):
        for value in vars(importlib.import_module(f"cases.{module.name}")).values():
            for row in value if isinstance(value, (list, tuple)) else ():
                if isinstance(row, LayerCase):
                    yield str(row), row.built()
                elif hasattr(row, "make"):
                    yield str(row), row.make()
                elif hasattr(row, "cls"):
                    yield str(row), row.cls(**getattr(row, "options", None) or getattr(row, "args", {}))
                elif hasattr(row, "args") and hasattr(rooms.get(module.name), getattr(row, "name", "")):
                    yield str(row), getattr(rooms[module.name], row.name)(**row.args)
    for make in OBJECTS:
        made = make()
        yield type(made).__name__, made


def test_every_config_is_plain_data():
    made = set()
    for name, instance in instances():
        made.add(type(instance))
        try:
            json.dumps(instance.get_config())
        except (TypeError, ValueError) as error:
            raise AssertionError(f"{name}: {error}; {instance.get_config()}") from error
    for room in (layers, losses, metrics, optimizers, schedules, initializers, regularizers, constraints):
        classes = {value for name in room.__all__ if inspect.isclass(value := getattr(room, name))}
        missing = {cls.__name__ for cls in classes - made} - WITHOUT
        assert not missing, f"{room.__name__}: no instance of {missing}"


def reached(value, found, skipped=(SymbolicNode, Watch, type(None), str, int, float, type, np.generic)):
    """Everything that has a state and is reached from `value`: objects of pydl, their lists and dicts, arrays."""
    if isinstance(value, skipped) or inspect.isroutine(value) or inspect.ismodule(value) or id(value) in found:
        return found
    if isinstance(value, (list, dict, set, np.ndarray)) or type(value).__module__.startswith("pydl."):
        found[id(value)] = value
    held = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple, set)) else ()
    for item in (*held, *getattr(value, "__dict__", {}).values()):
        reached(item, found)
    return found


def test_a_twin_of_any_layer_shares_nothing():
    for name, layer in instances():
        if isinstance(layer, layers.Layer) and not isinstance(layer, layers.InputLayer):
            twin = layer._twin()
            assert json.dumps(twin.get_config()) == json.dumps(layer.get_config()), name
            shared = reached(layer, {}).keys() & reached(twin, {}).keys()
            assert not shared, f"{name}: {[v for i, v in reached(layer, {}).items() if i in shared]}"


class Outer(layers.Layer):
    """Not registered; hands out the layer it holds in its config."""

    def __init__(self, inner, scale=thrice, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.scale = inner, scale

    def call(self, x):
        return self.scale(self.inner(x))

    def get_config(self):
        return {**super().get_config(), "inner": self.inner, "scale": self.scale}


@pytest.mark.parametrize("make", [
    lambda: layers.TimeDistributed(layers.Dense(3, activation=thrice)),
    lambda: layers.TimeDistributed(Outer(layers.Dense(3))),
    lambda: Outer(layers.TimeDistributed(layers.Dense(3))),
    lambda: layers.Bidirectional(layers.RNN([layers.LSTMCell(2), layers.GRUCell(2, kernel_regularizer="l2")])),
    lambda: layers.Lambda(lambda x: 2 * x, arguments={}),
    lambda: layers.LSTM(3, dropout=0.1, kernel_initializer=initializers.GlorotUniform(seed=1)),
    lambda: layers.GRU(2, recurrent_constraint="non_neg"),
    lambda: keras.Sequential([keras.Input((4, 2)), layers.TimeDistributed(layers.Dense(3)), layers.Dropout(0.1)]),
    lambda: keras.Model(x := keras.Input((4, 2)), layers.Dense(2)(ops.relu(layers.BatchNormalization()(x)))),
])
def test_a_clone_shares_nothing(make):
    inner = make()
    x = keras.Input((4, 2))
    for model in (keras.Sequential([keras.Input((4, 2)), inner, layers.Flatten(), layers.Dense(1)]),
                  keras.Model(x, layers.Dense(1)(layers.Flatten()(inner(x))))):
        clone = keras.models.clone_model(model)
        ours, theirs = ([item for layer in m.layers[-3:] for item in reached(layer, {}).values()]
                        for m in (model, clone))
        shared = {id(v) for v in ours} & {id(v) for v in theirs}
        assert not [v for v in ours if id(v) in shared], "shared"
        assert any(isinstance(v, Variable) for v in theirs)
        before = model.get_weights()
        clone.set_weights(before)
        data = rng.normal(size=(3, 4, 2)).astype("float32")
        np.testing.assert_array_equal(clone.predict(data, verbose=0), model.predict(data, verbose=0))
        clone.compile("sgd", "mse")
        clone.fit(data, np.ones((3, 1), "float32"), verbose=0)
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("wrapper", [
    layers.TimeDistributed(layers.Dense(3)), layers.Wrapper(layers.Dense(3)),
    layers.Bidirectional(layers.LSTM(2)), layers.RNN(layers.LSTMCell(2)),
], ids=lambda layer: type(layer).__name__)
def test_wrappers_hold_the_plain_form_of_what_they_wrap(wrapper):
    inner = wrapper.get_config().get("layer") or wrapper.get_config()["cell"]
    assert {"module", "class_name", "config", "registered_name"} <= inner.keys()
    assert inner["module"] == "keras.layers" and inner["registered_name"] is None


def named(class_name, config, **keys):
    return {"class_name": class_name, "config": config, "module": "keras.layers", "registered_name": None, **keys}


class WithoutFromConfig:
    def get_config(self):
        return {}


@pytest.mark.parametrize(("config", "kind", "words"), [
    (named("Dense", "units"), TypeError, "expected a dict of arguments"),
    ({"class_name": "Dense", "config": [3]}, TypeError, "expected a dict of arguments"),
    ({"class_name": "__typespec__", "config": 3}, TypeError, "expected a dict of arguments"),
    (named("Dense", {"units": 3, "unitz": 4}), ValueError, "unitz"),
    (named(["Dense"], {}), TypeError, "class_name"),
    (named("function", 3), TypeError, "expected the name of a function"),
    (named("WithoutFromConfig", {}, module=__name__), TypeError, "no from_config"),
    (named("Dense", {"units": 3}, registered_name="mine>Dense"), ValueError, "'mine>Dense' is not registered"),
    (named("function", "relu", module="builtins", registered_name="mine>relu"), ValueError, "'mine>relu' is not reg"),
    ({"class_name": "__lambda__", "config": {"code": "x"}}, ValueError, "never runs code"),
    (named("Lambda", {"function": layers.Lambda(lambda x: x).get_config()["function"]}), ValueError, "never runs code"),
])
def test_wrong_configs(config, kind, words):
    """A ValueError, as for every file, and where a type is wrong a TypeError, too, as in Keras."""
    for safe_mode in (True, False):
        with pytest.raises(ValueError, match=words) as caught:
            keras.saving.deserialize_keras_object(config, {"WithoutFromConfig": WithoutFromConfig}, safe_mode=safe_mode)
        assert isinstance(caught.value, kind)


def test_a_function_of_the_users_is_not_taken_for_a_built_in_one():
    """By its name it is the built-in one; `custom_objects` and registrations come first."""

    def relu(x):
        return x + 100

    layer = layers.Dense(2, activation=relu)
    text = json.dumps(layers.serialize(layer))
    assert keras.saving.deserialize_keras_object(json.loads(text), {"relu": relu}).activation is relu
    assert layer._twin().activation is relu
    for custom_objects in ({}, {"mine>relu": relu}):
        twin = keras.saving.deserialize_keras_object(json.loads(text), custom_objects)
        assert twin.activation is keras.activations.relu
    # What has no built-in name is found without its package, which Keras before 3.7 left out.
    text = json.dumps(layers.serialize(layers.Dense(2, activation=thrice)))
    assert keras.saving.deserialize_keras_object(json.loads(text), {"mine>thrice": thrice}).activation is thrice
    assert keras.losses.deserialize(named("function", "mine", module="builtins"), {"x>mine": thrice}) is thrice


@pytest.mark.parametrize("nested", [False, True])
def test_layers_of_a_functional_model_have_names_of_their_own(nested):
    def again(x):
        return layers.Dense(2, name="d")(x)

    def wrapped(x):
        return keras.Sequential([layers.Dense(2)], name="d")(x) if nested else again(x)

    x, other = keras.Input((2,), name="x"), keras.Input((2,), name="x")
    free = keras.Input((2,))
    for inputs, outputs, name, count in (
            (x, wrapped(again(x)), "d", 2), (x, [wrapped(x), again(x), wrapped(x)], "d", 3),
            ([x, other], layers.Add()([x, other]), "x", 2), ({"a": x, "b": other}, x + other, "x", 2),
            (x, layers.Dense(2, name="x")(x), "x", 2), (x, {"a": wrapped(x), "b": again(x)}, "d", 2)):
        with pytest.raises(ValueError, match=f'The name "{name}" is used {count} times in the model.*`name=`'):
            keras.Model(inputs, outputs)
    with pytest.raises(ValueError, match="unique names"):
        keras.Sequential([keras.Input((2,)), layers.Dense(2, name="d"), layers.Dense(3, name="d")])
    shared = layers.Dense(2, name="d")  # one layer, called twice; a layer inside of another; one output twice
    keras.Model([x, free], [shared(x), shared(free)])
    keras.Model(x, again(keras.Sequential([keras.Input((2,)), layers.Dense(2, name="d")], name="inner")(x)))
    keras.Model(x, [y := shared(x), y])


def test_a_layer_may_stand_twice_in_a_sequential_model(tmp_path):
    """Its second entry in the file refers to the first."""
    shared = layers.Dense(3, name="d")
    model = keras.Sequential([keras.Input((3,)), shared, layers.Dense(3, "tanh"), shared, layers.Dense(2)])
    data = rng.normal(size=(4, 3)).astype("float32")
    k, b, k2, b2, k3, b3 = model.get_weights()
    np.testing.assert_allclose(model(data).numpy(), (np.tanh((data @ k + b) @ k2 + b2) @ k + b) @ k3 + b3, rtol=1e-4,
                               atol=1e-6)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.layers[0] is again.layers[2] and len(again.weights) == 6
    np.testing.assert_array_equal(again(data).numpy(), model(data).numpy())
    with pytest.warns(UserWarning, match="legacy"):
        model.save(tmp_path / "m.h5")
    again = keras.models.load_model(tmp_path / "m.h5")
    np.testing.assert_array_equal(again(data).numpy(), model(data).numpy())


def test_ops_of_one_name_get_others(tmp_path):
    """Nobody named them: the names of a file may be those of ops that are made after it was read."""
    x = keras.Input((2,), name="x")
    first = keras.Model(x, ops.tanh(ops.tanh(layers.Dense(2, name="d")(x))))
    for node in first._graph.nodes:
        if not isinstance(node.operation, layers.Layer):
            node.operation.name = "tanh"
    model = keras.Model(x, ops.tanh(first.output) * 2.0)
    names = [op.name for op in model._graph.operations]
    assert len(set(names)) == len(names)
    model.save(tmp_path / "m.keras")
    data = rng.normal(size=(3, 2)).astype("float32")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(data).numpy(), model(data).numpy())
