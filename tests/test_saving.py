"""Model files: round trips of every kind of model, atomic writes, damaged and hostile files."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops, saving

rng = np.random.default_rng(13)
X = rng.normal(size=(24, 4)).astype("float32")
Y = rng.normal(size=(24, 2)).astype("float32")


def sequential():
    return keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="relu", kernel_regularizer="l2"),
                             layers.BatchNormalization(), layers.Dropout(0.3), layers.Dense(2)])


def functional():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = layers.Dense(3, activation="tanh", name="shared")
    inner = keras.Model(i := keras.Input((3,)), ops.relu(layers.Dense(3)(i)) * 0.5 + i, name="inner")
    joined = ops.concatenate([inner(shared(a)), shared(b), a[:, 1:3]], axis=-1)
    return keras.Model({"a": a, "b": b}, {"u": layers.Dense(2, name="u")(joined), "v": ops.mean(joined, axis=-1)})


class Net(keras.Model):
    def __init__(self, units=5, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first = layers.Dense(units, activation="relu")
        self.rest = [layers.BatchNormalization(), layers.Dense(2)]

    def call(self, x, training=False):
        x = self.first(x)
        for layer in self.rest:
            x = layer(x)
        return x

    def get_config(self):
        return {**super().get_config(), "units": self.units}


OPTIMIZERS = ["sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "adamax", "nadam", "ftrl", "lion"]


def trained(make=sequential, optimizer="adam"):
    keras.utils.set_random_seed(1)
    model = make()
    model.compile(optimizer, "mse", metrics=["mae"])
    model.fit(X, Y, epochs=2, batch_size=8, verbose=0)
    return model


def same_state(a, b):
    for v, w in zip(a.get_weights() + [v.numpy() for v in a.optimizer.variables],
                    b.get_weights() + [v.numpy() for v in b.optimizer.variables], strict=True):
        np.testing.assert_array_equal(v, w)


# ---- round trips ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_as_if_never_saved(tmp_path, optimizer):
    model = trained(optimizer=optimizer)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    same_state(model, again)
    assert type(again.optimizer) is type(model.optimizer)
    for m in (model, again):
        m.fit(X, Y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    same_state(model, again)
    assert model.evaluate(X, Y, verbose=0) == again.evaluate(X, Y, verbose=0)


def test_functional_with_dicts_shared_nested_and_ops(tmp_path):
    model = functional()
    model.compile("adam", {"u": "mse", "v": "mae"}, metrics={"u": ["mae"]}, loss_weights={"u": 1.0, "v": 0.5})
    data = {"a": X, "b": -X}, {"u": Y, "v": Y[:, 0]}
    model.fit(*data, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    same_state(model, again)
    for name, y in model.predict(data[0], verbose=0).items():
        np.testing.assert_array_equal(y, again.predict(data[0], verbose=0)[name])
    assert model.evaluate(*data, verbose=0, return_dict=True) == again.evaluate(*data, verbose=0, return_dict=True)
    again.save(tmp_path / "n.keras")  # what was loaded can be saved
    third = keras.models.load_model(tmp_path / "n.keras")
    same_state(model, third)


def test_subclassed_model(tmp_path):
    model = trained(Net)
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="Net.*custom_objects"):
        keras.models.load_model(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", custom_objects={"Net": Net})
    same_state(model, again)
    np.testing.assert_array_equal(model.predict(X, verbose=0), again.predict(X, verbose=0))
    with saving.custom_object_scope({"Net": Net}):
        keras.models.load_model(tmp_path / "m.keras", compile=False)


def test_subclassed_weights(tmp_path):
    model = trained(Net)
    model.save_weights(tmp_path / "m.weights.h5")
    fresh = Net()
    fresh(X)
    fresh.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(model.predict(X, verbose=0), fresh.predict(X, verbose=0))


def test_weights_come_from_a_model_file_too(tmp_path):
    model = trained()
    model.save(tmp_path / "m.keras")
    fresh = sequential()
    fresh.load_weights(tmp_path / "m.keras")
    np.testing.assert_array_equal(model.predict(X, verbose=0), fresh.predict(X, verbose=0))


def test_uncompiled_and_unbuilt_models(tmp_path):
    model = sequential()
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert not again.compiled
    np.testing.assert_array_equal(model.predict(X, verbose=0), again.predict(X, verbose=0))
    keras.Sequential([layers.Dense(3)]).save(tmp_path / "n.keras")
    assert keras.models.load_model(tmp_path / "n.keras").predict(X, verbose=0).shape == (24, 3)


def test_compile_false_leaves_the_optimizer_out(tmp_path):
    trained().save(tmp_path / "m.keras")
    model = keras.models.load_model(tmp_path / "m.keras", compile=False)
    assert not model.compiled and model.optimizer is None


def test_frozen_layers_stay_frozen_and_keep_their_weights(tmp_path):
    model = sequential()
    model.layers[0].trainable = False
    model.layers[1].trainable = False
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert [layer.trainable for layer in again.layers] == [layer.trainable for layer in model.layers]
    assert len(again.trainable_variables) == 2
    np.testing.assert_array_equal(model.predict(X, verbose=0), again.predict(X, verbose=0))
    same_state(model, again)


def test_schedules_losses_metrics_with_arguments(tmp_path):
    model = sequential()
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    model.compile(keras.optimizers.SGD(rate, momentum=0.9, clipnorm=1.0), keras.losses.Huber(delta=0.3),
                  metrics=[keras.metrics.MeanAbsoluteError(name="off")])
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.optimizer.clipnorm == 1.0 and again.optimizer.momentum == 0.9
    assert set(again.fit(X, Y, verbose=0).history) == {"loss", "off"}


def test_float64_models(tmp_path):
    x = keras.Input((4,), dtype="float64")
    model = keras.Model(x, layers.Dense(2, dtype="float64")(x))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    assert again.weights[0].dtype == "float64"
    np.testing.assert_array_equal(model.get_weights()[0], again.get_weights()[0])


# ---- layers in containers -------------------------------------------------------------------------------------------


def dense(units=3):
    return layers.Dense(units)


def leaves(value, seen=()):
    """The layers in a structure, containers that hold themselves once."""
    if isinstance(value, layers.Layer):
        return [value]
    if id(value) in seen:
        return []
    held = value.values() if isinstance(value, dict) else value
    return [layer for item in held for layer in leaves(item, (*seen, id(value)))]


CONTAINERS = {
    "lists of lists": lambda: [[dense()], [dense(), dense()]],
    "lists of dicts": lambda: [{"z": dense(), "a": dense()}, {"0": [dense()]}],
    "dicts of lists": lambda: {"z": [dense(), dense()], 1: [dense()]},
    "tuples of lists": lambda: ([dense()], (dense(), [dense()])),
    "all at once": lambda: [dense(), [dense(), {"q": (dense(),)}], dense()],
    "a set": lambda: {dense()},
}


class Holder(keras.Model):
    """Layers in a container, which holds itself, too, if it can be told later."""

    def __init__(self, kind, attribute="held", **kwargs):
        super().__init__(**kwargs)
        self.kind, self.attribute = kind, attribute
        setattr(self, attribute, CONTAINERS[kind]())
        held = getattr(self, attribute)
        if isinstance(held, list):
            held.append(held)
        if isinstance(held, dict):
            held["again"] = [held]

    def call(self, x):
        for layer in leaves(getattr(self, self.attribute)):
            x = layer(x)
        return x

    def get_config(self):
        return {"kind": self.kind, "attribute": self.attribute}


def holder(kind, attribute="held"):
    model = Holder(kind, attribute)
    model(X[:, :3])
    return model


def random_weights(model):
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("attribute", ["held", "rest", "_private"])
@pytest.mark.parametrize("kind", CONTAINERS)
def test_layers_in_containers_are_written_and_come_back(tmp_path, kind, attribute):
    model = random_weights(holder(kind, attribute))
    assert len(model.get_weights()) == 2 * len(leaves(getattr(model, attribute)))
    want = model(X[:, :3]).numpy()
    model.compile("sgd", "mse")
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    model.fit(X[:, :3], X[:, :3], epochs=0, verbose=0, callbacks=[backup])
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", custom_objects={"Holder": Holder})
    np.testing.assert_array_equal(again(X[:, :3]).numpy(), want)
    for path in ("m.weights.h5", "m.safetensors", "backup/latest.weights.h5"):
        if not path.startswith("backup"):
            model.save_weights(tmp_path / path)
        again = holder(kind, attribute)
        again.load_weights(tmp_path / path)
        np.testing.assert_array_equal(again(X[:, :3]).numpy(), want, err_msg=path)


def test_a_container_that_holds_itself_from_the_start_is_a_clear_error():
    model, held = keras.Model(), [dense()]
    held.append(held)
    with pytest.raises(ValueError, match="a list that holds itself"):
        model.held = held


class Hiding(layers.Layer):
    """A layer in a set, which files of Keras have no place for."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = {layers.Dense(3, name="lost")}

    def call(self, x):
        return [*self.parts][0](x)


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.safetensors"])
def test_a_weight_without_a_place_is_refused(tmp_path, name):
    model = keras.Sequential([keras.Input((3,)), Hiding(name="hiding")])
    write = model.save if name == "m.keras" else model.save_weights
    with pytest.raises(ValueError, match='2 weights of Sequential "sequential.*" have no place.*Dense "lost"'):
        write(tmp_path / name)
    assert os.listdir(tmp_path) == []
    plain = keras.Sequential([keras.Input((3,)), dense()])
    path = tmp_path / name.replace("keras", "weights.h5")
    plain.save_weights(path)
    before = model.get_weights()
    with pytest.raises(ValueError, match="have no place"):
        model.load_weights(path)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_an_attribute_may_be_redefined_before_saving(tmp_path):
    def build(redefined):
        model = Holder("lists of lists")
        model(X[:, :3])
        if redefined:
            model.held = [dense(3)]
            model(X[:, :3])
        return model

    model = random_weights(build(True))
    assert len(model.weights) == 2
    model.save_weights(tmp_path / "m.weights.h5")
    again = build(True)
    again.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(again(X[:, :3]).numpy(), model(X[:, :3]).numpy())
    with pytest.raises(ValueError, match="held/container.*expected 2 variables, but received 0"):
        build(False).load_weights(tmp_path / "m.weights.h5")


def test_weights_of_a_layer_that_the_model_does_not_have(tmp_path):
    """Keras writes those of a layer whose attribute was assigned anew, which moves the numbers of others."""
    model = holder("tuples of lists", "z")
    model.save_weights(tmp_path / "m.weights.h5")
    with h5py.File(tmp_path / "m.weights.h5", "a") as file:
        file["layers/dense_3/vars/0"] = np.zeros((3, 3))
    before = model.get_weights()
    random_weights(model)
    now = model.get_weights()
    with pytest.raises(ValueError, match="holds weights of dense_3, for which the model has no layer"):
        model.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(model.get_weights()[0], now[0])
    model.load_weights(tmp_path / "m.weights.h5", skip_mismatch=True)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


class Named(keras.Model):
    def __init__(self):
        super().__init__()
        self.layer = dense()

    def call(self, x):
        return self.layer(x)


class Renamed(keras.Model):
    def __init__(self):
        super().__init__()
        self.an_earlier_name = dense()

    @property
    def layer(self):
        return self.an_earlier_name

    @property
    def broken(self):
        raise RuntimeError("not now")

    def call(self, x):
        return self.layer(x)


@pytest.mark.parametrize("make", [Named, Renamed, lambda: Holder("tuples of lists", "z")])
def test_files_with_other_names_for_what_attributes_hold(tmp_path, make):
    """A property may lead to what has another name now; and before pydl had Keras's order, layers in attributes from
    "m" on lay under those, not in "layers"."""
    model = make()
    model(X[:, :3])
    named = {"layer": model.layer} if hasattr(model, "layer") else {
        "z/container/dense": model.z[0][0], "z/container_1/dense": model.z[1][0],
        "z/container_1/container/dense": model.z[1][1][0]}
    values = {path: (rng.normal(size=(3, 3)), rng.normal(size=3)) for path in named}
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for path, arrays in values.items():
            for i, array in enumerate(arrays):
                file[f"{path}/vars/{i}"] = array.astype("float32")
    model.load_weights(tmp_path / "m.weights.h5")
    for path, layer in named.items():
        np.testing.assert_allclose(layer.kernel.numpy(), values[path][0], rtol=1e-6)
        np.testing.assert_allclose(layer.bias.numpy(), values[path][1], rtol=1e-6)


def test_safetensors_by_former_names(tmp_path):
    model = random_weights(holder("tuples of lists", "z"))
    model.save_weights(tmp_path / "m.safetensors")
    content = (tmp_path / "m.safetensors").read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header, data = content[8:start], content[start:]
    for new, old in ((b"layers/dense/", b"z/container/dense/"), (b"layers/dense_1/", b"z/container_1/dense/"),
                     (b"layers/dense_2/", b"z/container_1/container/dense/")):
        assert new in header
        header = header.replace(new, old)
    (tmp_path / "old.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    again = holder("tuples of lists", "z")
    again.load_weights(tmp_path / "old.safetensors")
    np.testing.assert_array_equal(again(X[:, :3]).numpy(), model(X[:, :3]).numpy())


# ---- writing --------------------------------------------------------------------------------------------------------


class Failing(layers.Layer):
    """Raises where its weights are written or read."""

    def __init__(self, when, **kwargs):
        super().__init__(**kwargs)
        self.when = when

    def call(self, x):
        return x

    def save_own_variables(self, store):
        if self.when == "saving":
            raise ArithmeticError("not written")

    def load_own_variables(self, store):
        raise ArithmeticError("not read")

    def get_config(self):
        return {**super().get_config(), "when": self.when}


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
def test_errors_of_a_layer_that_is_written_or_read_reach_the_caller(tmp_path, name):
    model = keras.Sequential([keras.Input((3,)), dense(), Failing("saving")])
    with pytest.raises(ArithmeticError, match="not written"):
        (model.save if name == "m.keras" else model.save_weights)(tmp_path / name)
    assert os.listdir(tmp_path) == []
    model.layers[1].when = "loading"
    (model.save if name == "m.keras" else model.save_weights)(tmp_path / name)
    before = model.get_weights()
    with pytest.raises(ValueError, match="Failing.*not read") as caught:
        if name == "m.keras":
            keras.models.load_model(tmp_path / name, custom_objects={"Failing": Failing})
        else:
            model.load_weights(tmp_path / name)
    assert isinstance(caught.value.__cause__.__cause__, ArithmeticError)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert os.listdir(tmp_path) == [name]


def test_objects_to_skip(tmp_path):
    model, other = random_weights(functional()), functional()
    shared, skipped = other.get_layer("inner").get_weights()[0], model.get_layer("inner")
    model.save_weights(tmp_path / "m.weights.h5", objects_to_skip=[skipped])
    saving.save_weights(model, tmp_path / "all.weights.h5")
    with pytest.raises(ValueError, match="layers/functional/layers/dense.*received 0"):
        other.load_weights(tmp_path / "m.weights.h5")
    for path in ("m.weights.h5", "all.weights.h5"):
        other.load_weights(tmp_path / path, objects_to_skip=[other.get_layer("inner")])
        np.testing.assert_array_equal(other.get_layer("inner").get_weights()[0], shared)
        for a, b in zip(other.get_layer("shared").get_weights(), model.get_layer("shared").get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


class Assets(layers.Layer):
    def call(self, x):
        return x

    def save_assets(self, dir_path):
        with open(os.path.join(dir_path, "note.txt"), "w") as file:
            file.write(self.note)

    def load_assets(self, dir_path):
        with open(os.path.join(dir_path, "note.txt")) as file:
            self.note = file.read()


def test_files_of_layers_are_written_beside_the_weights(tmp_path):
    model = keras.Sequential([keras.Input((3,)), Assets()])
    model.layers[0].note = "kept"
    model.save(tmp_path / "m.keras")
    assert "assets/layers/assets/note.txt" in zipfile.ZipFile(tmp_path / "m.keras").namelist()
    assert keras.models.load_model(tmp_path / "m.keras", custom_objects={"Assets": Assets}).layers[0].note == "kept"


@pytest.mark.parametrize(("path", "arguments", "words"), [
    ("m.keras", {"random_arg": 1}, r"not supported: \['random_arg'\]"),
    ("m.keras", {"zipped": False}, "zipped"),
    ("m.tf", {"save_format": "tf"}, "`save_format` argument is deprecated.*ending"),
    ("m", {}, r"`\.keras`"),
])
def test_arguments_of_save_that_are_not_known(tmp_path, path, arguments, words):
    with pytest.raises(ValueError, match=words):
        sequential().save(tmp_path / path, **arguments)
    assert os.listdir(tmp_path) == []


def test_save_format_is_deprecated(tmp_path):
    with pytest.warns(UserWarning, match="`save_format` argument is deprecated"):
        sequential().save(tmp_path / "m.keras", save_format="keras")
    with pytest.raises(ValueError, match="is not built"):
        keras.Sequential([dense()]).save_weights(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("suffix", [".npz", ".pth", ".onnx", ".pkl", ""])
def test_weights_of_other_formats(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    for exists in (False, True):
        with pytest.raises(ValueError, match=r"File format not supported.*w.*\.weights\.h5.*\.safetensors"):
            sequential().load_weights(path)
        if not exists:
            with open(path, "wb") as file:  # .npz and .pth are archives, as .keras is
                np.savez(file, a=X) if suffix in (".npz", ".pth") else file.write(b"something else")


class Doubled(layers.Dense):
    """A Dense of fixed arguments."""

    def call(self, x):
        return 2 * super().call(x)


def test_a_class_that_takes_the_place_of_a_built_in_one_finds_its_weights(tmp_path):
    inner = keras.Sequential([keras.Input((3,)), dense(), layers.BatchNormalization()])
    model = random_weights(keras.Sequential([keras.Input((3,)), dense(), inner, layers.Dense(2)]))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", custom_objects={"Dense": Doubled})
    assert [type(layer) for layer in again.layers] == [Doubled, keras.Sequential, Doubled]
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    again.save(tmp_path / "n.keras")  # under its own name
    once_more = keras.models.load_model(tmp_path / "n.keras", custom_objects={"Doubled": Doubled})
    np.testing.assert_array_equal(once_more(X[:, :3]).numpy(), again(X[:, :3]).numpy())


class Compiling(keras.Sequential):
    def compile(self, rate):
        super().compile(keras.optimizers.SGD(rate), "mse")


def test_a_compile_of_ones_own_is_not_called_with_other_arguments(tmp_path):
    model = Compiling([keras.Input((3,)), dense()])
    model.compile(0.5)
    model.save(tmp_path / "m.keras")
    with pytest.warns(UserWarning, match="Compiling.*compile_from_config"):
        again = keras.models.load_model(tmp_path / "m.keras", custom_objects={"Compiling": Compiling})
    assert not again.compiled


def test_paths_are_checked(tmp_path):
    model = sequential()
    for path in ("m.txt", "m"):
        with pytest.raises(ValueError, match=r"`\.keras`"):
            model.save(tmp_path / path)
    with pytest.raises(ValueError, match=r"weights\.h5"):
        model.save_weights(tmp_path / "m.h5")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        model.save(tmp_path / "nowhere" / "m.keras")
    model.save(tmp_path / "m.keras")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(tmp_path / "m.keras", overwrite=False)


def test_a_failing_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.keras"
    sequential().save(path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", fail)
    with pytest.raises(OSError, match="disk full"):
        sequential().save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["m.keras"]


def test_a_process_killed_while_saving_leaves_a_whole_file(tmp_path):
    """Killed at some moment of a long row of saves: the file under its name can always be loaded."""
    script = """
import sys
import pydl as keras
model = keras.Sequential([keras.Input((300,)), keras.layers.Dense(1000)])
model.save(sys.argv[1])
print("go", flush=True)
while True:
    model.save(sys.argv[1])
    model.save_weights(sys.argv[2])
"""
    files = tmp_path / "m.keras", tmp_path / "m.weights.h5"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for delay in (0.01, 0.04):
        child = subprocess.Popen([sys.executable, "-c", script, *map(str, files)], stdout=subprocess.PIPE,
                                 env=environment, cwd=tmp_path)  # not the sources
        assert child.stdout.readline() == b"go\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(delay)
        child.kill()
        child.wait()
        child.stdout.close()
        model = keras.models.load_model(files[0])
        if files[1].exists():
            model.load_weights(files[1])


# ---- reading what is damaged, foreign or hostile --------------------------------------------------------------------


def rewrite(path, change):
    """Changes the parts of a .keras file: `change(dict name -> bytes)`."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def edit_config(parts, change):
    config = json.loads(parts["config.json"])
    change(config)
    parts["config.json"] = json.dumps(config).encode()


def lambda_layer(config):
    config["config"]["layers"].append({
        "module": "keras.layers", "class_name": "Lambda", "registered_name": None,
        "config": {"name": "evil", "trainable": True, "function": {
            "class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}}})


DAMAGE = {
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:2000]), "not a `.keras` file"),
    "empty": (lambda p: p.write_bytes(b""), "not a `.keras` file"),
    "no config": (lambda p: rewrite(p, lambda parts: parts.pop("config.json")), "lacks config.json"),
    "no weights": (lambda p: rewrite(p, lambda parts: parts.pop("model.weights.h5")), "lacks model.weights.h5"),
    "bad json": (lambda p: rewrite(p, lambda parts: parts.update({"config.json": b"{"})), "config.json"),
    "json of another kind": (lambda p: rewrite(p, lambda parts: parts.update({"config.json": b"[1]"})), "config.json"),
    "bad weights": (lambda p: rewrite(p, lambda parts: parts.update({"model.weights.h5": b"no"})), "model.weights.h5"),
    "lambda": (lambda p: rewrite(p, lambda parts: edit_config(parts, lambda_layer)), "never runs code from a file"),
    "unknown class": (lambda p: rewrite(p, lambda parts: edit_config(
        parts, lambda c: c["config"]["layers"][1].update(class_name="Denze"))), "Unknown class 'Denze'"),
    "module outside": (lambda p: rewrite(p, lambda parts: edit_config(
        parts, lambda c: c["config"]["layers"][1].update(module="os", class_name="system"))), "Unknown class 'system'"),
    "bad argument": (lambda p: rewrite(p, lambda parts: edit_config(
        parts, lambda c: c["config"]["layers"][1]["config"].update(unitz=3))), "unitz"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_model_file_is_a_clear_error(tmp_path, name):
    damage, text = DAMAGE[name]
    path = tmp_path / "m.keras"
    sequential().save(path)
    damage(path)
    with pytest.raises((ValueError, TypeError), match=text):
        keras.models.load_model(path)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "m.keras"
    sequential().save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        keras.models.load_model(path)


def test_missing_files(tmp_path):
    with pytest.raises(ValueError, match="File not found"):
        keras.models.load_model(tmp_path / "none.keras")
    with pytest.raises(FileNotFoundError, match=r"none\.weights\.h5"):
        sequential().load_weights(tmp_path / "none.weights.h5")


def test_nothing_in_a_file_is_unpickled_or_called(tmp_path):
    """Names of functions, pickles and callables in a config stay names."""

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "boom"),))

    path = tmp_path / "m.keras"
    hostile = [
        {"module": "os", "class_name": "function", "config": "mkdir", "registered_name": "function"},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "eval"},
        {"class_name": "__numpy__", "config": {"value": pickle.dumps(Bomb()).decode("latin1"), "dtype": "object"}},
        {"module": "builtins", "class_name": "eval", "config": {"source": "1/0"}, "registered_name": None},
        {"module": "pydl.saving", "class_name": "os", "config": {}, "registered_name": None},
    ]
    for value in hostile:
        sequential().save(path)
        rewrite(path, lambda parts, v=value: edit_config(
            parts, lambda c: c["config"]["layers"][1]["config"].update(activation=v)))
        with pytest.raises((ValueError, TypeError)):
            keras.models.load_model(path)
    assert os.listdir(tmp_path) == ["m.keras"]


def test_an_op_of_a_graph_can_only_be_an_op():
    x = keras.Input((4,))
    config = keras.Model(x, ops.relu(x)).get_config()
    for name in ("IsTensor", "Np", "Kernels", "Importlib", "__import__", "Nope"):
        config["layers"][1]["class_name"] = name
        with pytest.raises(ValueError, match="does not have"):
            keras.Model.from_config(config)


def weights_file(path, change):
    trained().save_weights(path)
    with h5py.File(path, "a") as file:
        change(file)


@pytest.mark.parametrize("change, text", [
    (lambda f: f.pop("layers/dense_1"), "dense_1.*expected 2 variables, but received 0"),
    (lambda f: (f.pop("layers/dense_1/vars/0"), f["layers/dense_1/vars"].create_dataset("0", data=np.zeros((5, 9)))),
     r"dense_1.*shape \(5, 2\).*\(5, 9\)"),
    (lambda f: f.pop("layers/dense_1/vars/1"), "dense_1.*expected 2 variables, but received 1"),
    (lambda f: (f.pop("layers/dense_1/vars/1"), f["layers/dense_1/vars"].create_dataset("1", data=b"text")), "dense_1"),
])
def test_weights_that_do_not_fit_change_nothing(tmp_path, change, text):
    path = tmp_path / "m.weights.h5"
    weights_file(path, change)
    model = trained(optimizer="sgd")
    before = [v.numpy() for v in model.weights + model.optimizer.variables]
    with pytest.raises(ValueError, match=text):
        model.load_weights(path)
    for v, w in zip(before, model.weights + model.optimizer.variables):
        np.testing.assert_array_equal(v, w.numpy())


def test_weights_of_a_longer_model_are_refused(tmp_path):
    path = tmp_path / "m.weights.h5"
    keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(3), layers.Dense(3)]).save_weights(path)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    before = model.get_weights()
    with pytest.raises(ValueError, match="dense_1"):
        model.load_weights(path)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


def test_skip_mismatch_loads_what_fits(tmp_path):
    path = tmp_path / "m.weights.h5"
    model = trained()
    model.save_weights(path)
    other = keras.Sequential([keras.Input((4,)), layers.Dense(5), layers.BatchNormalization(), layers.Dropout(0.3),
                              layers.Dense(7)])
    with pytest.warns(UserWarning, match="dense_1"):
        other.load_weights(path, skip_mismatch=True)
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize("content", [b"", b"no hdf5 at all", b"\x89HDF\r\n\x1a\n" + bytes(50)])
def test_what_is_no_weights_file(tmp_path, content):
    path = tmp_path / "m.weights.h5"
    path.write_bytes(content)
    model = sequential()
    before = model.get_weights()
    with pytest.raises(ValueError, match="not an HDF5 file"):
        model.load_weights(path)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


def test_weights_of_an_unbuilt_model_are_a_clear_error(tmp_path):
    path = tmp_path / "m.weights.h5"
    sequential().save_weights(path)
    with pytest.raises(ValueError, match="(?i)built"):
        keras.Sequential([layers.Dense(5), layers.BatchNormalization()]).load_weights(path)


def test_lambdas_are_refused_when_saving(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x * 2)])
    with pytest.raises(ValueError, match="lambda cannot be saved"):
        model.save(tmp_path / "m.keras")
    assert os.listdir(tmp_path) == []


@keras.saving.register_keras_serializable("tests")
def double(x):
    return 2 * x


def test_registered_functions_survive(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(double), layers.Dense(2, activation=double)])
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model.predict(X, verbose=0), again.predict(X, verbose=0))


def test_the_layout_is_keras_own(tmp_path):
    trained().save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert set(archive.namelist()) == {"metadata.json", "config.json", "model.weights.h5"}
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
            assert list(file["layers"]) == ["batch_normalization", "dense", "dense_1", "dropout"]
            assert file["layers/dense/vars/0"].shape == (4, 5) and "0" in file["optimizer/vars"]
