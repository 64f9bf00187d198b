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


# ---- safetensors -------------------------------------------------------------------------------------------------


def write_safetensors(path, arrays, codes=None, **changes):
    header, blocks, position = {"__metadata__": {"by": "hand"}}, b"", 0
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
