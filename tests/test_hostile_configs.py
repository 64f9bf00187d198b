"""Configs that are damaged or lie: one kind of error, which says which key of which part is at fault."""

import importlib
import json
import pkgutil

import numpy as np
import pytest

import pydl as keras
from pydl import layers


def network():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="one"), layers.Dense(2, name="two")])
    model.compile(keras.optimizers.Adam(name="adam"), keras.losses.Huber())
    model.optimizer.build(model.trainable_variables)
    return model


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def at(*keys, value):
    def change(config):
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = value

    return change


def without(*keys):
    def change(config):
        for key in keys[:-1]:
            config = config[key]
        del config[keys[-1]]

    return change


ONE = ("config", "layers", 1)
CONFIGS = {
    "unknown key": (at(*ONE, "config", "unitz", value=3),
                    r"config\.layers\[1\]\.config\.unitz \(Dense 'one'\): .*unitz"),
    "wrong type": (at(*ONE, "config", "units", value="many"), r"config\.layers\[1\]\.config\.units \(Dense 'one'\): "),
    "wrong value": (at(*ONE, "config", "units", value=-1), r"config\.layers\[1\]\.config\.units \(Dense 'one'\): .*-1"),
    "unknown name": (at(*ONE, "config", "activation", value="rellu"),
                     r"config\.layers\[1\]\.config\.activation \(Dense 'one'\): .*rellu"),
    "missing key": (without(*ONE, "config", "units"), r"config\.layers\[1\]\.config \(Dense 'one'\): .*units"),
    "no config": (at(*ONE, "config", value=None), r"config\.layers\[1\] \(Dense\): expected a dict .* None"),
    "config is a list": (at(*ONE, "config", value=[1]), r"config\.layers\[1\]\.config \(Dense\): expected a dict"),
    "class is no name": (at(*ONE, "class_name", value=["Dense"]), r"config\.layers\[1\].*`class_name`"),
    "module is no name": (at(*ONE, "module", value=3), r"config\.layers\[1\].*`module`"),
    "unknown class": (at(*ONE, "class_name", value="Denze"), r"config\.layers\[1\] \(Denze 'one'\): Unknown class"),
    "not a layer": (at(*ONE, value=5), r"^config\.?.*Sequential"),
    "no layers": (without("config", "layers"), r"config\.layers|'layers' is missing"),
    "part of a part": (
        at(*ONE, "config", "kernel_initializer", value={"class_name": "VarianceScaling", "config": {"scale": -1}}),
        r"config\.layers\[1\]\.config\.kernel_initializer\.config\.scale \(VarianceScaling\)",
    ),
    "nested deep": (at(*ONE, "config", "units", value=nested(500)), "nested deeper than 200"),
    "bytes by the terabyte": (
        at(*ONE, "config", "kernel_initializer",
           value={
               "class_name": "Constant",
               "config": {"value": {"class_name": "__numpy__", "config": {"value": [1], "dtype": "S1000000000000"}}},
           }),
        r"config\.layers\[1\]\.config\.kernel_initializer\.config\.value",
    ),
    "bad optimizer": (at("compile_config", "optimizer", "config", "momentumm", value=1),
                      r"compile_config\.optimizer\.config\.momentumm \(Adam 'adam'\)"),
    "bad loss": (at("compile_config", "loss", "config", "y", value=0),
                 r"compile_config\.loss\.config\.y \(Huber 'huber_loss'\)"),
    "absurd size": (at(*ONE, "config", "units", value=10**12), r"config\.layers\[1\]\.build_config \(Dense 'one'\): "),
    "no such size": (at(*ONE, "config", "units", value=10**30), r"config\.layers\[1\]\.build_config \(Dense 'one'\): "),
    "build shape": (at("build_config", value={"input_shape": "x"}), "build_config|success"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_an_error_of_a_config_names_the_place(name):
    change, text = CONFIGS[name]
    config = json.loads(network().to_json())
    change(config)
    try:
        keras.models.model_from_json(json.dumps(config))
    except ValueError as error:
        assert error.args[0] == str(error)
        with pytest.raises(ValueError, match=text):
            raise
    else:
        assert "success" in text


@pytest.mark.parametrize(
    "text, words",
    [("", "not JSON"), ("{", "not JSON"), ("[" * 100_000 + "]" * 100_000, "nested deeper"),
     ("[" * 300 + "]" * 300, "nested deeper"), ("3", "expected the JSON of a model"),
     ('{"class_name": "Adam", "config": {}, "module": "keras.optimizers"}', "expected the JSON of a model"),
     ('{"a": 1}', "expected the JSON of a model")],
)
def test_what_is_not_the_json_of_a_model(text, words):
    with pytest.raises(ValueError, match=words):
        keras.models.model_from_json(text)


def test_from_config_alone_names_the_key():
    for cls, config, key in (
        (layers.Dense, {"units": 3, "unitz": 4}, "config.unitz"),
        (layers.Dense, {"units": "x"}, "config.units"),
        (layers.Conv2D, {"filters": 2, "kernel_size": 3, "padding": "samee"}, "config.padding"),
        (layers.RNN, {}, r"config \(RNN\)"),
        (layers.Wrapper, {}, "'layer' is missing"),
        (layers.Bidirectional, {"layer": {"class_name": "LSTM", "module": "keras.layers", "config": {"units": 2.5j}}},
         r"config.layer.config.units \(LSTM\)"),
        (keras.optimizers.Adam, {"learning_rate": []}, "config.learning_rate"),
        (keras.losses.Huber, {"d": 1}, "config.d "),
        (keras.metrics.AUC, {"num_thresholds": "x"}, "config.num_thresholds"),
        (keras.initializers.RandomNormal, {"sigma": 1}, "config.sigma"),
        (keras.regularizers.L2, {"l2": "x"}, "config.l2"),
        (keras.constraints.MaxNorm, {"x": 1}, "config.x "),
        (keras.random.SeedGenerator, {"seed": "x"}, "config.seed"),
        (layers.Dense, None, "expected a dict"),
        (layers.Dense, [("units", 3)], "expected a dict"),
        (layers.Dense, {3: 4}, "expected a dict"),
        (keras.metrics.AUC, {"num_thresholds": 10**9}, r"config\.num_thresholds"),
        (keras.metrics.RecallAtPrecision, {"precision": 0.5, "num_thresholds": 10**9}, r"config\.num_thresholds"),
        (layers.TextVectorization, {"ngrams": 10**9}, r"config\.ngrams"),
        (layers.Dense, {"units": nested(500)}, "nested deeper than 200"),
    ):
        with pytest.raises(ValueError, match=key):
            cls.from_config(config)


def test_graphs():
    a = keras.Input((3,), name="a")
    b = layers.Dense(2, name="b")(a)
    config = json.loads(keras.Model(a, layers.Add(name="c")([b, b])).to_json())

    def changed(change):
        new = json.loads(json.dumps(config))
        change(new["config"])
        return new

    def history(value):
        return lambda c: c["layers"][1]["inbound_nodes"][0]["args"][0]["config"].update(keras_history=value)

    for change, text in ((history(["nobody", 0, 0]), "inputs of .*'b'"), (history(["a", 7, 0]), "inputs of"),
                         (history(["a", 0, 5]), "no output 5"), (history(["a", 0, -1]), "no output -1"),
                         (history([["a"], 0, 0]), "config"), (history(3), "config"),
                         (lambda c: c["layers"][1].update(name="a"), "two layers have the name 'a'"),
                         (lambda c: c.update(output_layers=["c", 0, 3]), "no output 3"),
                         (lambda c: c.update(output_layers=[["c", 1, 0]]), "no output 0"),
                         (lambda c: c["layers"][1].update(inbound_nodes=[3]), r"config\.layers\[1\]|config"),
                         (lambda c: c.update(layers=None), "config"), (lambda c: c.update(input_layers=7), "config")):
        with pytest.raises(ValueError, match=text):
            keras.models.model_from_json(json.dumps(changed(change)))


def test_a_graph_in_any_order_is_rebuilt_in_linear_time():
    x = y = keras.Input((3,), name="x")
    shared = layers.Dense(3, name="d")
    for i in range(60):
        y = layers.Activation("relu", name=f"r{i}")(shared(y)) if i % 3 else shared(y)
    model = keras.Model(x, y)
    config = json.loads(model.to_json())
    config["config"]["layers"].reverse()
    twin = keras.models.model_from_json(json.dumps(config))
    twin.set_weights(model.get_weights())
    data = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    np.testing.assert_array_equal(model.predict(data, verbose=0), twin.predict(data, verbose=0))


@keras.saving.register_keras_serializable("hostile")
class Faulty(layers.Layer):
    def __init__(self, size=3, **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.missing.attribute  # noqa: B018

    missing = None

    def get_config(self):
        return {**super().get_config(), "size": self.size}


def test_an_error_of_a_class_of_the_user_is_the_cause():
    config = {"class_name": "Sequential", "module": "keras", "registered_name": None,
              "config": {"layers": [{"class_name": "Faulty", "module": "tests", "registered_name": "hostile>Faulty",
                                     "config": {"name": "f", "size": 2}}]}}
    with pytest.raises(ValueError, match=r"config\.layers\[0\]\.config \(Faulty 'f'\): .*attribute") as caught:
        keras.saving.deserialize_keras_object(config)
    assert isinstance(caught.value.__cause__, AttributeError)
    assert caught.traceback[-1].name != "__init__" and "__init__" in [
        entry.tb_frame.f_code.co_name for entry in _frames(caught.value.__cause__.__traceback__)
    ]


def _frames(trace):
    while trace is not None:
        yield trace
        trace = trace.tb_next


def test_errors_of_the_system_stay_what_they_are():
    @keras.saving.register_keras_serializable("hostile")
    class Reads(layers.Layer):
        def __init__(self, path, **kwargs):
            super().__init__(**kwargs)
            open(path)

    with pytest.raises(FileNotFoundError):
        Reads.from_config({"path": "/nowhere"})


def test_every_config_comes_through_the_door():
    open_doors = []
    for found in pkgutil.walk_packages(keras.__path__, "pydl."):
        if found.name.endswith("__main__"):
            continue
        for cls in vars(importlib.import_module(found.name)).values():
            own = vars(cls).get("from_config") if isinstance(cls, type) and cls.__module__ == found.name else None
            if own is not None and not hasattr(own.__func__, "__wrapped__"):
                open_doors.append(f"{cls.__module__}.{cls.__name__}")
    assert not open_doors, "put `checked` above `from_config`, or `builtin` above the class"
