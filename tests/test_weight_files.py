"""Weights files of others: HDF5 of Keras 1 and 2, safetensors. Files are written by hand, from their layout."""

import json
import struct

import h5py
import numpy as np
import pytest

import pydl as keras
from pydl import layers
from pydl.saving.safetensors import read_safetensors

rng = np.random.default_rng(23)


def network(units=3, nested=True):
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="d"), layers.BatchNormalization(name="n1"),
                              layers.BatchNormalization(name="n2")], name="inner")
    x = keras.Input((4,))
    y = inner(x) if nested else x
    return keras.Model(x, layers.Dense(units, name="head")(layers.Dropout(0.5)(y)))


def new_values(model):
    return [rng.normal(size=v.shape).astype("float32") for v in model.weights]


def write_legacy(group, saved, chunks=1, suffix=":0"):
    """`saved`: {layer: [(weight, array)]}; the lists of names in `chunks` attributes."""

    def names(where, attribute, values):
        values = np.array([v.encode() for v in values], "S")
        if chunks == 1:
            where.attrs[attribute] = values
        else:
            for i, part in enumerate(np.array_split(values, chunks)):
                where.attrs[f"{attribute}{i}"] = part

    names(group, "layer_names", list(saved))
    for layer, weights in saved.items():
        inside = group.create_group(layer)
        names(inside, "weight_names", [f"{layer}/{w}{suffix}" for w, _ in weights])
        for w, array in weights:
            inside[f"{layer}/{w}{suffix}"] = array


def legacy_content(model, values):
    """As Keras 2 orders it: of a nested model the trainable weights first."""
    by_name = {v.path.split("/")[-2] + "/" + v.name: a for v, a in zip(model.weights, values, strict=True)}
    order = ["d/kernel", "d/bias", "n1/gamma", "n1/beta", "n2/gamma", "n2/beta", "n1/moving_mean",
             "n1/moving_variance", "n2/moving_mean", "n2/moving_variance"]
    return {"input_1": [], "inner": [(n, by_name[n]) for n in order], "dropout": [],
            "head": [(n, by_name[f"head/{n}"]) for n in ("kernel", "bias")]}


def same(model, values):
    for v, a in zip(model.weights, values, strict=True):
        np.testing.assert_array_equal(v.numpy(), a, err_msg=v.path)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("where", ["/", "model_weights"])
@pytest.mark.parametrize("chunks", [1, 2])
def test_legacy_by_order(tmp_path, where, chunks, frozen):
    model = network()
    values = new_values(model)
    content = legacy_content(model, values)
    if frozen:  # then Keras writes the weights of a nested model as they come
        content["inner"] = [(f"{v.path.split('/')[-2]}/{v.name}", a) for v, a in zip(model.weights[:10], values)]
    with h5py.File(tmp_path / "w.h5", "w") as file:
        write_legacy(file.require_group(where), content, chunks)
    model.get_layer("inner").trainable = frozen  # another state than the file's
    model.load_weights(tmp_path / "w.h5")
    same(model, values)


def test_legacy_with_names_of_keras_1(tmp_path):
    model = network(nested=False)
    kernel, bias = new_values(model)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        write_legacy(file, {"dense_7": [("dense_7_W", kernel), ("dense_7_b", bias)]}, suffix="")
    model.load_weights(tmp_path / "w.h5")
    same(model, [kernel, bias])


def test_legacy_by_name(tmp_path):
    model = network()
    values = new_values(model)
    content = legacy_content(model, values)
    content["foreign"] = [("kernel", np.zeros((7, 7)))]
    del content["inner"]
    with h5py.File(tmp_path / "w.h5", "w") as file:
        write_legacy(file, content)
    before = model.get_weights()
    model.load_weights(tmp_path / "w.h5", by_name=True)
    same(model, before[:-2] + values[-2:])
    with pytest.raises(ValueError, match="w.h5.*Weight count mismatch"):
        model.load_weights(tmp_path / "w.h5")
    other = network(units=5)
    before = other.get_weights()
    with pytest.raises(ValueError, match=r"\(4, 5\).*\(4, 3\)"):
        other.load_weights(tmp_path / "w.h5", by_name=True)
    same(other, before)
    with pytest.warns(UserWarning, match="Skipped"):
        other.load_weights(tmp_path / "w.h5", by_name=True, skip_mismatch=True)
    same(other, before)


def test_a_legacy_file_that_does_not_fit_changes_nothing(tmp_path):
    model = network()
    content = legacy_content(model, new_values(model))
    before = model.get_weights()
    for change, match in ((("head", [("kernel", np.zeros((4, 3)))]), "Weight count mismatch.*head"),
                          (("head", [("kernel", np.zeros((4, 3))), ("bias", np.zeros(4))]), "head/bias"),
                          (("inner", []), "Layer count")):
        with h5py.File(tmp_path / "w.h5", "w") as file:
            write_legacy(file, {**content, change[0]: change[1]})
        with pytest.raises(ValueError, match=match):
            model.load_weights(tmp_path / "w.h5")
        same(model, before)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        write_legacy(file, content)
        del file["head/head/bias:0"]
    with pytest.raises(ValueError, match="head/bias:0.*not in the file"):
        model.load_weights(tmp_path / "w.h5")
    with h5py.File(tmp_path / "w.h5", "a") as file, h5py.File(tmp_path / "other.h5", "w") as other:
        other["bias"] = np.zeros(3)
        file["head/head/bias:0"] = h5py.ExternalLink("other.h5", "bias")
    with pytest.raises(ValueError, match="not in the file"):
        model.load_weights(tmp_path / "w.h5")
    (tmp_path / "w.h5").write_bytes((tmp_path / "w.h5").read_bytes()[:2000])
    with pytest.raises(ValueError, match="w.h5"):
        model.load_weights(tmp_path / "w.h5")
    same(model, before)


def test_by_name_wants_a_file_with_names(tmp_path):
    model = network()
    model.save_weights(tmp_path / "x.weights.h5")
    with pytest.raises(ValueError, match="by_name"):
        model.load_weights(tmp_path / "x.weights.h5", by_name=True)
    with pytest.raises(ValueError, match="name_map"):
        model.load_weights(tmp_path / "x.weights.h5", name_map={})
    model.save(tmp_path / "x.keras")
    other = network()
    other.load_weights(tmp_path / "x.keras")
    same(other, model.get_weights())


def keras_2_config(kind):
    """A model of two dense layers, as Keras 2 describes it."""
    dense = [{"class_name": "Dense", "config": {
        "name": name, "trainable": True, "dtype": "float32", "units": units, "activation": "linear", "use_bias": True,
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
        "bias_initializer": {"class_name": "Zeros", "config": {}}, "kernel_regularizer": None}}
        for name, units in (("one", 4), ("two", 3))]
    if kind == "list":  # the oldest
        dense[0]["config"]["batch_input_shape"] = [None, 4]
        return {"class_name": "Sequential", "config": dense}
    start = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 4], "dtype": "float32", "name": "in",
                                                    "sparse": False, "ragged": False}}
    if kind == "sequential":
        return {"class_name": "Sequential", "config": {"name": "s", "layers": [start, *dense]}}
    norm = {"class_name": "BatchNormalization", "config": {"name": "n", "axis": [1], "trainable": True}}
    join = {"class_name": "Add", "config": {"name": "join", "trainable": True}}
    calls = {"in": [], "one": [[["in", 0, 0, {}]]], "n": [[["one", 0, 0, {"training": False}]]],
             "join": [[["n", 0, 0, {}], ["one", 0, 0, {}]]], "two": [[["join", 0, 0, {}]]]}
    layers_ = [{**entry, "name": entry["config"]["name"], "inbound_nodes": calls[entry["config"]["name"]]}
               for entry in (start, dense[0], norm, join, dense[1])]
    return {"class_name": "Model", "config": {"name": "f", "layers": layers_, "input_layers": [["in", 0, 0]],
                                              "output_layers": [["two", 0, 0]]}}


@pytest.mark.parametrize("kind", ["list", "sequential", "functional"])
def test_whole_models_of_keras_2(tmp_path, kind):
    one, two = ([("kernel", rng.normal(size=(4, n)).astype("float32")), ("bias", np.ones(n, "float32"))] for n in
                (4, 3))
    saved = {"one": one, "two": two}
    norm = [(name, np.full(4, value, "float32")) for name, value in
            (("gamma", 2), ("beta", 1), ("moving_mean", 0), ("moving_variance", 1 - 1e-3))]
    if kind == "functional":
        saved = {"in": [], "one": one, "n": norm, "join": [], "two": two}
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(keras_2_config(kind)).encode()
        file.attrs["training_config"] = json.dumps({
            "optimizer_config": {"class_name": "SGD", "config": {"name": "SGD", "learning_rate": 0.5}},
            "loss": "mse", "metrics": ["mae"], "sample_weight_mode": None})
        write_legacy(file.create_group("model_weights"), saved)
    model = keras.models.load_model(tmp_path / "m.h5")
    x = rng.normal(size=(6, 4)).astype("float32")
    hidden = x @ one[0][1] + 1
    hidden = 2 * hidden + 1 + hidden if kind == "functional" else hidden
    np.testing.assert_allclose(model.predict(x, verbose=0), hidden @ two[0][1] + 1, rtol=1e-4, atol=1e-4)
    assert float(model.optimizer.learning_rate) == 0.5
    assert not keras.models.load_model(tmp_path / "m.h5", compile=False).compiled
    code = {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEAAAA=", None, None],
                                               "function_type": "lambda"}}
    for wrong in ({"class_name": "Sequential", "config": [code]}, {"class_name": "Sequential", "config": [{}]},
                  {"class_name": "Thing", "config": {}}, [1], {"class_name": 3, "config": {}}, {"config": {}}):
        with h5py.File(tmp_path / "m.h5", "a") as file:
            file.attrs["model_config"] = json.dumps(wrong)
        with pytest.raises(ValueError, match="m.h5"):
            keras.models.load_model(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "a") as file:
        del file.attrs["model_config"]
    with pytest.raises(ValueError, match="m.h5.*load_weights"):
        keras.models.load_model(tmp_path / "m.h5")


def recurrent(cls="LSTM", name="r", units=3, **config):
    return {"class_name": cls, "config": {"name": name, "units": units, "return_sequences": False, **config}}


def write_model(path, layers_, saved, version="2.3.1"):
    """A Sequential of Keras 2 for sequences of 2 features; `version` None: that of Keras 1, which has none."""
    layers_[0]["config"]["batch_input_shape"] = [None, None, 2]
    with h5py.File(path, "w") as file:
        if version is not None:
            file.attrs["keras_version"] = version.encode()
        config = {"class_name": "Sequential", "config": {"name": "s", "layers": layers_}}
        file.attrs["model_config"] = json.dumps(config)
        write_legacy(file.create_group("model_weights"), saved)


@pytest.mark.parametrize(("version", "share"), [(None, 0.2), ("2.3.1", 0.2), ("2.15.0-tf", 0.2), ("3.15.1", 1 / 6)])
def test_hard_sigmoid_is_that_of_the_keras_that_wrote_the_file(tmp_path, version, share):
    kernel, state, bias = (rng.normal(size=s).astype("float32") for s in ((2, 12), (3, 12), 12))
    activation = {"class_name": "Activation", "config": {"name": "a", "activation": "hard_sigmoid"}}
    write_model(tmp_path / "m.h5", [recurrent(recurrent_activation="hard_sigmoid", activation="tanh"), activation],
                {"r": [("kernel", kernel), ("recurrent_kernel", state), ("bias", bias)], "a": []}, version)
    x = rng.normal(size=(4, 5, 2)).astype("float32")
    h = c = np.zeros((4, 3))
    for step in np.moveaxis(x, 1, 0):
        i, f, g, o = np.split(step @ kernel + h @ state + bias, 4, 1)
        i, f, o = (np.clip(share * z + 0.5, 0, 1) for z in (i, f, o))
        c = f * c + i * np.tanh(g)
        h = o * np.tanh(c)
    model = keras.models.load_model(tmp_path / "m.h5")
    np.testing.assert_allclose(model.predict(x, verbose=0), np.clip(share * h + 0.5, 0, 1), rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "m.keras")  # it stays what it is
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cudnn_lstm(x, w, r, b):
    """As the library computes it: w (4, units, features), r (4, units, units), b (2, 4, units), gates i f g o."""
    h = c = np.zeros((len(x), w.shape[1]))
    for step in np.moveaxis(x, 1, 0):
        i, f, g, o = (step @ w[k].T + h @ r[k].T + b[0, k] + b[1, k] for k in range(4))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


def cudnn_gru(x, w, r, b):
    """Likewise with three gates, z r h."""
    h = np.zeros((len(x), w.shape[1]))
    for step in np.moveaxis(x, 1, 0):
        az, ar, ah = (step @ w[k].T + b[0, k] for k in range(3))
        bz, br, bh = (h @ r[k].T + b[1, k] for k in range(3))
        z = sigmoid(az + bz)
        h = z * h + (1 - z) * np.tanh(ah + sigmoid(ar + br) * bh)
    return h


@pytest.mark.parametrize("way", ["whole model", "weights", "nested"])
@pytest.mark.parametrize(("cls", "oracle", "gates"), [("LSTM", cudnn_lstm, 4), ("GRU", cudnn_gru, 3)])
def test_weights_of_cudnn_layers_of_keras_2(tmp_path, cls, oracle, gates, way):
    """Keras 2 keeps the library's matrices as they lie in memory, under shapes of its own."""
    w, r, b = (rng.normal(size=s).astype("float32") for s in ((gates, 3, 2), (gates, 3, 3), (2, gates, 3)))
    arrays = [("kernel", np.concatenate([k.ravel().reshape(2, 3) for k in w], 1)),
              ("recurrent_kernel", np.concatenate(list(r), 1)), ("bias", b.ravel())]
    # A kernel of (features, units) is written transposed, in its own shape; Keras hands the library its transpose.
    x = rng.normal(size=(4, 5, 2)).astype("float32")
    write_model(tmp_path / "m.h5", [recurrent("CuDNN" + cls)], {"r": arrays})
    if way == "whole model":
        model = keras.models.load_model(tmp_path / "m.h5")
    else:
        inner = getattr(layers, cls)(3, name="r")
        inner = keras.Sequential([keras.Input((None, 2)), inner], name="r") if way == "nested" else inner
        model = keras.Sequential([keras.Input((None, 2)), inner])
        model.load_weights(tmp_path / "m.h5")
    np.testing.assert_allclose(model.predict(x, verbose=0), oracle(x, w, r, b), rtol=1e-4, atol=1e-5)
    if cls == "GRU":
        with pytest.raises(ValueError, match="bias has shape"):
            keras.Sequential([keras.Input((None, 2)), layers.GRU(3, reset_after=False)]).load_weights(tmp_path / "m.h5")


def test_an_old_gru_has_one_bias(tmp_path):
    """Before there was `reset_after` it was False."""
    arrays = [(n, rng.normal(size=s).astype("float32")) for n, s in (("kernel", (2, 9)), ("recurrent_kernel", (3, 9)),
                                                                      ("bias", 9))]
    write_model(tmp_path / "m.h5", [recurrent("GRU")], {"r": arrays}, "2.1.0")
    assert not keras.models.load_model(tmp_path / "m.h5").layers[0].reset_after


# ---- whole models written as .h5 ---------------------------------------------------------------------------------


@keras.saving.register_keras_serializable("weight_files")
def halved(x):
    return x / 2


def whole_models():
    """(model, an input) of every kind that the format has a place for, trained a step."""
    layer, x = layers, keras.Input((4,), name="x")
    plain = keras.Sequential([keras.Input((4,)), layer.Dense(3, "relu", kernel_regularizer="l2", name="d"),
                              layer.BatchNormalization(), layer.Dense(2, activation=halved)])
    plain.compile(keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)), "mse",
                  metrics=["mae", keras.metrics.MeanSquaredError(name="q")])
    y = keras.Input((4,), name="y")
    inner = keras.Sequential([keras.Input((4,)), layer.Dense(4), layer.BatchNormalization()], name="inner")
    inner.trainable = False
    h = layer.Add()([inner(x), layer.Dropout(0.5)(y, training=False)])
    shared = layer.Dense(2, name="shared")
    nested = keras.Model({"x": x, "y": y}, [shared(h), layer.Dense(1, name="o")(shared(x))], name="nested")
    nested.compile("sgd", ["mse", keras.losses.Huber()], loss_weights=[1.0, 2.0], metrics=[["mae"], ["mse"]])
    ops_model = keras.Model(x, layer.MultiHeadAttention(1, 2)(a := layer.Reshape((2, 2))(x), value=a) * 2.0)
    steps = keras.Sequential([keras.Input((4, 1)), layer.TimeDistributed(layer.Dense(3, "tanh")),
                              layer.Bidirectional(layer.GRU(2))])
    steps.compile("rmsprop", halved_error)
    data = rng.normal(size=(6, 4)).astype("float32")
    for model, inputs in ((plain, data), (nested, {"x": data, "y": data}), (ops_model, data), (steps, data[..., None])):
        if model.compiled:
            targets = model.predict(inputs, verbose=0)
            model.fit(inputs, [t + 1 for t in targets] if model is nested else targets + 1, verbose=0)
        yield model, inputs


@keras.saving.register_keras_serializable("weight_files")
def halved_error(y, p):
    return (y - p) ** 2 / 2


@pytest.mark.filterwarnings("ignore:A whole model in an HDF5 file")
def test_whole_models_are_written_as_keras_2_did(tmp_path):
    for model, x in whole_models():
        model.save(tmp_path / "m.h5")
        again = keras.models.load_model(tmp_path / "m.h5")
        for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        want, got = (keras.tree.flatten(m.predict(x, verbose=0)) for m in (model, again))
        for a, b in zip(want, got, strict=True):
            np.testing.assert_array_equal(a, b)
        assert again.compiled == model.compiled
        if model.compiled:
            for a, b in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
                np.testing.assert_array_equal(a.numpy(), b.numpy())
            targets = [t * 0 for t in want] if len(want) > 1 else want[0] * 0
            assert again.evaluate(x, targets, verbose=0, return_dict=True) == model.evaluate(
                x, targets, verbose=0, return_dict=True)
        with h5py.File(tmp_path / "m.h5") as file:
            config = json.loads(file.attrs["model_config"])
            assert config.keys() == {"class_name", "config"} and "registered_name" not in config["config"]["layers"][1]
            assert [n.decode() for n in file["model_weights"].attrs["layer_names"]] == [v.name for v in model.layers]
        model.save(tmp_path / "n.hdf5", include_optimizer=False)
        assert not keras.models.load_model(tmp_path / "n.hdf5").compiled


def test_the_legacy_format_warns_and_refuses_what_it_cannot_hold(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    with pytest.warns(UserWarning, match="legacy format.*`.keras`"):
        model.save(tmp_path / "m.h5")
    with pytest.raises(FileExistsError):
        model.save(tmp_path / "m.h5", overwrite=False)
    before = (tmp_path / "m.h5").read_bytes()

    class Sub(keras.Model):
        pass

    for wrong, words in ((Sub(), "subclassed model"),
                         (keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x)]), "lambda cannot be saved")):
        with pytest.warns(UserWarning), pytest.raises(ValueError, match=words):
            wrong.save(tmp_path / "m.h5")
    assert (tmp_path / "m.h5").read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["m.h5"]


@pytest.mark.filterwarnings("ignore:A whole model in an HDF5 file")
def test_more_names_than_one_attribute_holds(tmp_path):
    long = "a" * 200
    model = keras.Sequential([keras.Input((1,)), *(layers.Activation("relu", name=f"{long}{i}") for i in range(400)),
                              layers.Dense(1)])
    model.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert "layer_names1" in file["model_weights"].attrs
    again = keras.models.load_model(tmp_path / "m.h5")
    np.testing.assert_array_equal(again.get_weights()[0], model.get_weights()[0])


@pytest.mark.filterwarnings("ignore:A whole model in an HDF5 file")
def test_checkpoints_of_whole_models(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model.compile("adam", "mse")
    x = rng.normal(size=(4, 4)).astype("float32")
    model.fit(x, x[:, :3], epochs=2, verbose=0, callbacks=[keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.h5")])
    again = keras.models.load_model(tmp_path / "2.h5")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert (tmp_path / "1.h5").exists()


def test_weights_of_the_model_itself(tmp_path):
    """Those beside its layers lie in a group of their own, which files of older versions lack."""
    def make():
        model = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="d")])
        model.own = keras.Variable(np.zeros(3, "float32"), name="own")
        return model

    model = make()
    values = new_values(model)
    assert len(values) == 3
    model.set_weights(values)
    with pytest.warns(UserWarning, match="legacy"):
        model.save(tmp_path / "w.h5")
    again = make()
    again.load_weights(tmp_path / "w.h5")
    same(again, model.get_weights())
    with h5py.File(tmp_path / "w.h5", "a") as file:
        del file["model_weights/top_level_model_weights"]
    before = make()
    with pytest.raises(ValueError, match="w.h5.*beside those of its layers.*own"):
        before.load_weights(tmp_path / "w.h5")
    before.load_weights(tmp_path / "w.h5", by_name=True)
    np.testing.assert_array_equal(before.layers[0].kernel.numpy(), model.layers[0].kernel.numpy())


def test_by_name_without_a_match_warns(tmp_path):
    model = network()
    with h5py.File(tmp_path / "w.h5", "w") as file:
        write_legacy(file, {"foreign": [("kernel", np.zeros((7, 7)))]})
    with pytest.warns(UserWarning, match="No weights were loaded.*head.*foreign"):
        model.load_weights(tmp_path / "w.h5", by_name=True)
    write_safetensors(tmp_path / "w.safetensors", {"foreign": np.zeros(3, "float32")})
    with pytest.warns(UserWarning, match="No weights were loaded.*n1/gamma.*foreign"):
        model.load_weights(tmp_path / "w.safetensors", by_name=True)


# ---- safetensors -------------------------------------------------------------------------------------------------


def write_safetensors(path, arrays, codes=None, metadata=None, **changes):
    header, blocks, position = {"__metadata__": metadata or {"by": "hand"}}, b"", 0
    for name, a in arrays.items():
        code = (codes or {}).get(name) or {"float32": "F32", "float64": "F64", "float16": "F16", "int32": "I32",
                                           "int64": "I64"}[a.dtype.name]
        header[name] = {"dtype": code, "shape": list(a.shape), "data_offsets": [position, position + a.nbytes]}
        header[name].update(changes)
        blocks += a.tobytes()
        position += a.nbytes
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + blocks)
    return path


def test_safetensors_round_trip(tmp_path):
    model, other = network(), network()
    model.set_weights(new_values(model))
    model.save_weights(tmp_path / "x.safetensors")
    other.load_weights(tmp_path / "x.safetensors")
    same(other, model.get_weights())
    arrays = read_safetensors(tmp_path / "x.safetensors")
    assert "layers/sequential/layers/dense/kernel" in arrays and len(arrays) == len(model.weights)
    assert not [p for p in tmp_path.iterdir() if p.name != "x.safetensors"]
    with pytest.raises(FileExistsError):
        model.save_weights(tmp_path / "x.safetensors", overwrite=False)
    with pytest.raises(ValueError, match="safetensors"):
        model.save_weights(tmp_path / "x.npz")


@pytest.mark.parametrize("scheme", ["path", "layer/weight", "layer.weight"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "BF16"])
def test_safetensors_names_and_dtypes(tmp_path, scheme, dtype):
    model = network()
    values = [np.round(a, 1) for a in new_values(model)]
    names = [v.path if scheme == "path" else "/".join(v.path.split("/")[-2:]).replace("/", scheme[5]) for v in
             model.weights]
    if dtype == "BF16":
        stored = [(a.view(np.uint32) >> 16).astype(np.uint16) for a in values]
        values = [(a.astype(np.uint32) << 16).view(np.float32) for a in stored]
    else:
        stored = [a.astype(dtype) for a in values]
        values = [a.astype("float32") for a in stored]
    codes = dict.fromkeys(names, "BF16") if dtype == "BF16" else None
    model.load_weights(write_safetensors(tmp_path / "x.safetensors", dict(zip(names, stored)), codes))
    same(model, values)


def test_safetensors_of_other_names(tmp_path):
    model = network(nested=False)
    kernel, bias = new_values(model)
    path = write_safetensors(tmp_path / "x.safetensors", {"fc.w": kernel, "fc.b": bias, "step": np.zeros(3)})
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"Missing in the file: .*head.*Unexpected in the file: fc.b, fc.w, step"):
        model.load_weights(path)
    same(model, before)
    table = {"fc.w": "head/kernel", "fc.b": "head/bias"}
    for name_map in (table, lambda name: table.get(name)):
        model.set_weights(before)
        model.load_weights(path, name_map=name_map)
        same(model, [kernel, bias])
    with pytest.raises(ValueError, match="head/kernel"):
        model.load_weights(path, name_map=lambda name: "head/kernel")
    only = write_safetensors(tmp_path / "x.safetensors", {"head/bias": bias + 1, "other": bias})
    model.load_weights(only, by_name=True)
    same(model, [kernel, bias + 1])


# ---- weights of PyTorch ------------------------------------------------------------------------------------------


def of_torch(path, arrays):
    """A file as PyTorch writes it: it says so."""
    return write_safetensors(path, arrays, metadata={"format": "pt"})


def draws(**shapes):
    return {name.replace("__", "."): rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def torch_gru(x, t, suffix=""):
    w, r = (t[f"weight_{which}{suffix}"].reshape(3, 3, -1)[[1, 0, 2]] for which in ("ih_l0", "hh_l0"))  # r z n there
    b = np.stack([t[f"bias_{which}{suffix}"].reshape(3, 3)[[1, 0, 2]] for which in ("ih_l0", "hh_l0")])
    return cudnn_gru(x, w, r, b)


def torch_lstm(x, t, suffix="_l0"):
    w, r = (t[f"weight_{which}{suffix}"].reshape(4, 3, -1) for which in ("ih", "hh"))
    return cudnn_lstm(x, w, r, np.stack([t[f"bias_{which}{suffix}"].reshape(4, 3) for which in ("ih", "hh")]))


def cell_arrays(gates, features=2, units=3, suffix="_l0"):
    return {name + suffix: value for name, value in draws(
        weight_ih=(gates * units, features), weight_hh=(gates * units, units), bias_ih=gates * units,
        bias_hh=gates * units).items()}


def np_conv(x, weight, bias):
    """Channels first, as PyTorch has it, but for the data: (batch, height, width, channels)."""
    height, width = weight.shape[2:]
    return np.stack([np.stack([np.einsum("bhwc,ochw->bo", x[:, i:i + height, j:j + width], weight) + bias
                               for j in range(x.shape[2] - width + 1)], 1)
                     for i in range(x.shape[1] - height + 1)], 1)


SEQUENCE = rng.normal(size=(4, 5, 2)).astype("float32")
IMAGE = rng.normal(size=(2, 5, 6, 2)).astype("float32")
# layer, layout, arrays of the module, what it computes.
LAYOUT_ROWS = {
    "Linear": (lambda: layers.Dense(2, name="l"), "torch.Linear", draws(weight=(2, 2), bias=2), SEQUENCE,
               lambda x, t: x @ t["weight"].T + t["bias"]),
    "Linear without bias": (lambda: layers.Dense(2, use_bias=False, name="l"), "torch.Linear", draws(weight=(2, 2)),
                            SEQUENCE, lambda x, t: x @ t["weight"].T),
    "Conv2d": (lambda: layers.Conv2D(2, (2, 2), name="l"), "torch.Conv2d", draws(weight=(2, 2, 2, 2), bias=2), IMAGE,
               lambda x, t: np_conv(x, t["weight"], t["bias"])),
    "Conv2d, depthwise": (
        lambda: layers.DepthwiseConv2D(2, depth_multiplier=3, name="l"), "torch.Conv2d",
        draws(weight=(6, 1, 2, 2), bias=6), IMAGE, lambda x, t: np.concatenate([np_conv(
            x[..., c:c + 1], t["weight"][3 * c:3 * c + 3], t["bias"][3 * c:3 * c + 3]) for c in (0, 1)], -1)),
    "Embedding": (lambda: layers.Embedding(7, 3, name="l"), "torch.Embedding", draws(weight=(7, 3)),
                  rng.integers(0, 7, (4, 5)), lambda x, t: t["weight"][x]),
    "LayerNorm": (lambda: layers.LayerNormalization(epsilon=1e-5, name="l"), "torch.LayerNorm",
                  draws(weight=2, bias=2), SEQUENCE, lambda x, t: (x - x.mean(-1, keepdims=True)) / np.sqrt(
                      x.var(-1, keepdims=True) + 1e-5) * t["weight"] + t["bias"]),
    "BatchNorm": (lambda: layers.BatchNormalization(epsilon=1e-5, name="l"), "torch.BatchNorm1d",
                  {**draws(weight=2, bias=2, running_mean=2), "running_var": np.array([0.5, 2], "float32"),
                   "num_batches_tracked": np.array(3)}, SEQUENCE, lambda x, t: (x - t["running_mean"]) / np.sqrt(
                       t["running_var"] + 1e-5) * t["weight"] + t["bias"]),
    "LSTM": (lambda: layers.LSTM(3, name="l"), "torch.LSTM", cell_arrays(4), SEQUENCE, torch_lstm),
    "second LSTM": (lambda: layers.LSTM(3, name="l"), "torch.LSTM[1]", cell_arrays(4, suffix="_l1"), SEQUENCE,
                    lambda x, t: torch_lstm(x, t, "_l1")),
    "LSTM of both directions": (
        lambda: layers.Bidirectional(layers.LSTM(3), name="l"), "torch.LSTM",
        {**cell_arrays(4), **cell_arrays(4, suffix="_l0_reverse")}, SEQUENCE,
        lambda x, t: np.concatenate([torch_lstm(x, t), torch_lstm(x[:, ::-1], t, "_l0_reverse")], -1)),
    "GRU": (lambda: layers.GRU(3, name="l"), "torch.GRU", cell_arrays(3), SEQUENCE, torch_gru),
}


@pytest.mark.parametrize("row", LAYOUT_ROWS)
def test_layouts_of_pytorch(tmp_path, row):
    make, layout, arrays, x, oracle = LAYOUT_ROWS[row]
    model = keras.Sequential([keras.Input(x.shape[1:], dtype="int32" if x.dtype.kind == "i" else None), make()])
    prefixed = {f"net.l.{name}": value for name, value in arrays.items()}
    path = of_torch(tmp_path / "x.safetensors", prefixed)
    model.load_weights(path, name_map={"net.l": ("l", layout)})
    np.testing.assert_allclose(model.predict(x, verbose=0), oracle(x, arrays), rtol=1e-4, atol=1e-5)
    before = random_or_same(model)
    of_torch(path, {name: value for name, value in arrays.items() if not name.startswith("weight")} | draws(other=2))
    if any(name.startswith("weight") for name in arrays):  # alone in the file, with an array that nobody knows
        with pytest.raises(ValueError, match="x.safetensors.*(weight|gives)"):
            model.load_weights(path, name_map={"": ("l", layout)})
    of_torch(path, {f"l.{name}": value for name, value in arrays.items()} | {"l.unknown": np.zeros(2, "float32")})
    with pytest.raises(ValueError, match="leave out l.unknown"):
        model.load_weights(path, name_map={"l": layout})
    same(model, before)
    model.load_weights(path, name_map={"l": layout, "l.unknown": None})
    np.testing.assert_allclose(model.predict(x, verbose=0), oracle(x, arrays), rtol=1e-4, atol=1e-5)


def random_or_same(model):
    """New weights in place of what was loaded, where the layer takes any."""
    model.set_weights([np.abs(rng.normal(size=w.shape)) for w in model.get_weights()])
    return model.get_weights()


def test_functions_in_a_name_map(tmp_path):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="one"), layers.Dense(2, name="two")])
    arrays = draws(a=(2, 2), b=(2,), c=(2,), fc__weight=(2, 2), fc__bias=(2,))
    path = of_torch(tmp_path / "x.safetensors", arrays)
    model.load_weights(path, name_map={"a": ("one/kernel", np.transpose), ("b", "c"): ("one/bias", np.add),
                                       "two/kernel": lambda t: 2 * t["fc.weight"].T, "fc.bias": "two/bias"})
    same(model, [arrays["a"].T, arrays["b"] + arrays["c"], 2 * arrays["fc.weight"].T, arrays["fc.bias"]])
    before = model.get_weights()
    for name_map, words in (
            ({"fc": ("three", "torch.Linear")}, "no layer 'three'.*one, two"),
            ({"fc": ("two", "torch.Linea")}, "unknown layout 'torch.Linea'.*torch.Linear"),
            ({"fc": ("two", "torch.Linear[1]")}, "only torch.RNN"),
            ({"fc": ("two", "torch.BatchNorm1d")}, "`name_map` of 'fc'.*running_mean"),
            ({"f": ("two", "torch.Linear")}, "no 'f.weight'"),
            ({"fc": ("two", 3)}, "`name_map`: expected"),
            ({("a", "d"): ("one/kernel", np.add)}, "no array 'd'"),
            ({"two/kernel": lambda t: t["missing"]}, "`name_map` of 'two/kernel'.*missing"),
            ({"fc": ("two", "torch.Linear")}, "Missing in the file: one/bias, one/kernel"),
            ({"a": ("one/kernel", lambda a: a[:1]), "b": "one/bias", "fc": ("two", "torch.Linear")}, r"\(1, 2\)")):
        with pytest.raises(ValueError, match=words) as caught:
            model.load_weights(path, name_map=name_map)
        assert "x.safetensors" in str(caught.value) or "name_map" in str(caught.value)
        same(model, before)
    model.load_weights(path, name_map={"fc": ("two", "torch.Linear")}, by_name=True)
    same(model, [*before[:2], arrays["fc.weight"].T, arrays["fc.bias"]])


def test_a_file_of_pytorch_without_a_layout_warns(tmp_path):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(2, name="fc")])
    arrays = draws(fc__weight=(2, 2), fc__bias=2)
    path = of_torch(tmp_path / "x.safetensors", arrays)
    names = {"fc.weight": "fc/kernel", "fc.bias": "fc/bias"}
    with pytest.warns(UserWarning, match="x.safetensors was written by PyTorch.*transposes.*torch.Linear"):
        model.load_weights(path, name_map=names)
    same(model, [arrays["fc.weight"], arrays["fc.bias"]])
    model.load_weights(write_safetensors(path, arrays), name_map=names)  # of somebody else
    model.load_weights(of_torch(path, arrays), name_map={"fc": "torch.Linear"})
    same(model, [arrays["fc.weight"].T, arrays["fc.bias"]])
    assert keras.saving.read_safetensors(path).keys() == arrays.keys()


def test_a_gru_without_reset_after_has_no_place_for_two_biases(tmp_path):
    model = keras.Sequential([keras.Input((None, 2)), layers.GRU(3, reset_after=False, name="l")])
    with pytest.raises(ValueError, match="bias has shape"):
        model.load_weights(of_torch(tmp_path / "x.safetensors", cell_arrays(3)), name_map={"": ("l", "torch.GRU")})


def test_a_damaged_safetensors_file_changes_nothing(tmp_path):
    model = network(nested=False)
    before, path = model.get_weights(), tmp_path / "x.safetensors"
    good = {"head/kernel": np.zeros((4, 3), "float32"), "head/bias": np.zeros(3, "float32")}
    write_safetensors(path, good)
    content = path.read_bytes()
    for damaged in (b"", content[:5], content[:100], content[:-1], struct.pack("<Q", 2**60) + content[8:],
                    struct.pack("<Q", 2) + b"[]" + content[8:], content[:8] + b"\xff" + content[9:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="x.safetensors"):
            model.load_weights(path)
    for change in ({"dtype": "F8_E4M3"}, {"shape": [1]}, {"shape": [-4, -3]}, {"data_offsets": [0, 1 << 40]},
                   {"data_offsets": [4]}, {"shape": "big"}):
        write_safetensors(path, good, **change)
        with pytest.raises(ValueError, match="x.safetensors.*head/kernel"):
            model.load_weights(path)
    write_safetensors(path, {**good, "head/bias": np.zeros(4, "float32")})
    with pytest.raises(ValueError, match=r"x.safetensors.*\(3,\).*\(4,\)"):
        model.load_weights(path)
    same(model, before)
    with pytest.warns(UserWarning, match="head/bias"):
        model.load_weights(path, skip_mismatch=True)
    same(model, [good["head/kernel"], before[1]])
