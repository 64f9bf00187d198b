"""Mutated files of every format that pydl reads. Each is loaded, or refused by a ValueError that names it.

python -m tests.fuzz.files --seed 0 --count 1000 --jobs 2
python -m tests.fuzz.files --seed 0 --index 17
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np

import pydl
from pydl import layers
from pydl.applications.imagenet_utils import _class_index
from pydl.datasets import _cifar, _files, _text
from pydl.preprocessing.text import Tokenizer, tokenizer_from_json
from pydl.utils import images
from pydl.utils.files import unpack_archive

from . import mutations, pool
from .worker import Case

RNG = np.random.default_rng(0)


# ---- models ---------------------------------------------------------------------------------------------------------


def sequential():
    model = pydl.Sequential(
        [pydl.Input((6,)), layers.Dense(5, activation="relu", kernel_regularizer="l2"), layers.BatchNormalization(),
         layers.Dropout(0.3), layers.Dense(2, activation="softmax")]
    )
    model.compile(pydl.optimizers.Adam(pydl.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)),
                  "sparse_categorical_crossentropy", metrics=["accuracy", pydl.metrics.F1Score(name="f")])
    return model


def functional():
    a, b = pydl.Input((8, 8, 1), name="a"), pydl.Input((4,), dtype="int32", name="b")
    x = layers.Conv2D(3, 3, padding="same", activation="gelu")(a)
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x))
    y = layers.Bidirectional(layers.LSTM(2))(layers.Embedding(9, 3, mask_zero=True)(b))
    z = pydl.ops.concatenate([x, y * 2.0], axis=-1)
    shared = layers.Dense(3, name="shared")
    return pydl.Model([a, b], {"one": shared(z), "two": layers.Dense(1)(shared(z + 1.0))})


def transformer():
    x = pydl.Input((5, 4))
    y = layers.MultiHeadAttention(2, 2)(x, x)
    y = layers.LayerNormalization()(layers.Add()([x, y]))
    inner = pydl.Sequential(
        [layers.TimeDistributed(layers.Dense(3)), layers.RNN([layers.GRUCell(2), layers.LSTMCell(2)])]
    )
    return pydl.Model(x, inner(y))


def words():
    text = layers.TextVectorization(max_tokens=20, output_sequence_length=4)
    text.adapt(np.array(["one two three", "two three four", "four five"], object))
    return pydl.Sequential(
        [pydl.Input((), dtype="string"), text, layers.Embedding(20, 2), layers.Flatten(), layers.Dense(1)]
    )


MODELS = {"sequential": sequential, "functional": functional, "transformer": transformer, "words": words}


def keras_2(path) -> None:
    """A whole model as Keras 2 writes it."""
    dense = [{"class_name": "Dense",
              "config": {"name": name, "trainable": True, "batch_input_shape": [None, 4], "units": units,
                         "activation": "relu",
                         "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}}}}
             for name, units in (("one", 4), ("two", 3))]
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": dense}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["training_config"] = json.dumps(
            {"optimizer_config": {"class_name": "SGD", "config": {"name": "SGD", "learning_rate": 0.5}}, "loss": "mse",
             "metrics": ["mae"]}
        ).encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"one", b"two"])
        for name, units in (("one", 4), ("two", 3)):
            group.create_group(name).attrs["weight_names"] = np.array(
                [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            )
            group[f"{name}/{name}/kernel:0"] = RNG.normal(size=(4, units)).astype("float32")
            group[f"{name}/{name}/bias:0"] = np.zeros(units, "float32")


# ---- the others -----------------------------------------------------------------------------------------------------


def npz(path) -> None:
    texts = np.empty(4, object)
    texts[:] = [[1, 2, 3], [4], [], [500, 70000]]
    np.savez(path, x=texts, y=np.arange(4))


def table(path) -> None:
    np.savez_compressed(path, x=RNG.normal(size=(6, 3)), y=RNG.integers(0, 9, 6).astype("float32"))


def idx(path) -> None:
    content = (
        bytes([0, 0, 8, 3]) + np.array((5, 4, 4), ">u4").tobytes() + RNG.integers(0, 256, 80).astype("uint8").tobytes()
    )
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def cifar(path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name in ("c/train", "c/test"):
            held = pickle.dumps({b"data": RNG.integers(0, 256, (2, 3072)).astype("uint8"), b"labels": [1, 2]},
                                protocol=4)
            member = tarfile.TarInfo(name)
            member.size = len(held)
            archive.addfile(member, io.BytesIO(held))


def archive_zip(path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/one.txt", "one" * 50)
        archive.writestr("two.bin", RNG.bytes(100))


def picture(path) -> None:
    images.array_to_img(RNG.integers(0, 256, (13, 9, 3))).save(path)


def study(folder) -> None:
    """A tuner's directory after three trials, one of which has failed."""
    tuner = _tuner(folder)
    tuner.search(*_data(), epochs=1, verbose=0)


def _data():
    return np.linspace(0, 1, 8).reshape(4, 2).astype("float32"), np.arange(4).astype("float32")


def _build(hp):
    units = hp.Int("units", 1, 4)
    if units == 2:
        raise ValueError("two is too many")
    model = pydl.Sequential([pydl.Input((2,)), layers.Dense(units), layers.Dense(1)])
    model.compile(hp.Choice("optimizer", ["sgd", "adam"]), "mse")
    return model


def _tuner(folder):
    import pydl.tuner as kt

    return kt.RandomSearch(_build, objective="loss", max_trials=3, seed=3, directory=folder, project_name="p",
                           max_consecutive_failed_trials=9)


def read_study(folder) -> None:
    try:
        tuner = _tuner(folder)
    except RuntimeError as other:  # what remains of the settings reads as another search
        assert "belongs to a search of" in str(other), other
        return
    tuner.get_best_hyperparameters(3)
    tuner.oracle.get_best_trials(3)
    try:
        tuner.get_best_models(1)
    except FileNotFoundError as missing:  # the trial goes by another name now
        assert "has no weights" in str(missing), missing


class Format:
    """A kind of file: how a valid one is made, read and changed.

    Args:
        name: of the file.
        make: function of the path.
        read: function of the path.
        change: function (rng, content) -> (content, words).
        weight: how often it is chosen.
        named: whether errors name the file.
    """

    def __init__(self, name, make, read, change=mutations.change_bytes, weight=10, named=True):
        self.name, self.make, self.read, self.change, self.weight, self.named = name, make, read, change, weight, named


def _member_of_keras(rng, name, content):
    change = mutations.change_hdf5 if name.endswith(".h5") else mutations.change_json_text
    return change(rng, content) if name.endswith((".h5", ".json")) else mutations.change_bytes(rng, content)


def _keras(rng, content):
    if rng.random() < 0.3:
        return mutations.change_bytes(rng, content)
    return mutations.change_zip(rng, content, _member_of_keras)


def _npz(rng, content):
    if rng.random() < 0.3:
        return mutations.change_bytes(rng, content)
    return mutations.change_zip(rng, content, lambda rng, name, held: mutations.change_npy(rng, held))


def _packed(rng, content):
    if rng.random() < 0.3:
        return mutations.change_bytes(rng, content)
    changed, words = mutations.change_bytes(rng, gzip.decompress(content))
    return gzip.compress(changed, 1), words


def _reads_weights(make):
    model = make()
    return lambda path: model.load_weights(path)


def formats() -> list[Format]:
    found = []
    for name, make in MODELS.items():
        found += [
            Format(f"{name}.keras", lambda path, make=make: make().save(path), pydl.models.load_model, _keras, 12),
            Format(f"{name}.weights.h5", lambda path, make=make: make().save_weights(path), _reads_weights(make),
                   mutations.change_hdf5, 8),
            Format(f"{name}.safetensors", lambda path, make=make: make().save_weights(path), _reads_weights(make),
                   mutations.change_safetensors, 5),
        ]
    return [*found, Format("keras2.h5", keras_2, pydl.models.load_model, mutations.change_hdf5, 25),
            Format("texts.npz", npz, lambda path: _text.read(path, [("x", "y")]), _npz, 15),
            Format("table.npz", table, lambda path: _files.load_table(str(path), "", "", 0.2, 1), _npz),
            Format("images.idx", idx, _files.read_idx, weight=5), Format("images.gz", idx, _files.read_idx, _packed, 5),
            Format("cifar.tar.gz", cifar, lambda path: _cifar.load(str(path), "", ["c/train"], "c/test", b"labels"),
                   _packed),
            Format("vocabulary.txt", lambda path: path.write_text("one\ntwo\nthree\nvier fünf\n"),
                   lambda path: layers.StringLookup(vocabulary=str(path))(np.array(["two"])), weight=4, named=False),
            Format("ranks.json", lambda path: path.write_text(json.dumps({"the": 1, "of": 2})),
                   lambda path: _text.word_index(str(path), ""), mutations.change_json_text, 4),
            Format("classes.json",
                   lambda path: path.write_text(json.dumps({i: [f"n{i}", f"name {i}"] for i in range(1000)})),
                   lambda path: _class_index.__wrapped__(path), mutations.change_json_text, 4),
            Format("tokenizer.json", lambda path: path.write_text(_fitted().to_json()),
                   lambda path: tokenizer_from_json(path.read_bytes()), mutations.change_json_text, 6, named=False),
            Format("a.zip", archive_zip, lambda path: unpack_archive(path, path.parent / "unpacked"), _zip, 5),
            Format("a.tar.gz", cifar, lambda path: unpack_archive(path, path.parent / "unpacked"), _packed, 5),
            *(Format(f"picture.{ending}", picture, images.load_img, weight=3)
              for ending in ("png", "jpg", "gif", "bmp", "webp", "tiff"))]


def _zip(rng, content):
    return mutations.change_zip(rng, content, lambda rng, name, held: mutations.change_bytes(rng, held))


def _fitted():
    tokenizer = Tokenizer(num_words=9, oov_token="?")
    tokenizer.fit_on_texts(["one two two", "three two one"])
    return tokenizer


class Cases:
    """Valid files in `folder`, and mutated ones."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True)
        pydl.utils.set_random_seed(1)
        self._formats = formats()
        self._content = {}
        for format in self._formats:
            format.make(folder / format.name)
            self._content[format.name] = (folder / format.name).read_bytes()
        self._study = folder / "study"
        study(self._study)

    def valid(self, folder: Path):
        for format in self._formats:
            yield self._case(format, self._content[format.name], "nothing", folder)
        shutil.copytree(self._study, folder / "study")
        yield Case("study", "nothing", lambda: read_study(folder / "study"))

    def _case(self, format, content, words, folder):
        folder.mkdir(exist_ok=True)
        path = folder / format.name
        path.write_bytes(content)
        kind = format.name.partition(".")[2] if format.name.partition(".")[0] in MODELS else format.name
        return Case(kind, f"{format.name}: {words}", lambda: format.read(path), format.name if format.named else "")

    def case(self, rng, folder: Path) -> Case:
        if rng.random() < 0.03:  # slow: it opens a database
            shutil.copytree(self._study, folder / "study")
            path = rng.choice(sorted(p for p in (folder / "study").rglob("*") if p.is_file()))
            if path.suffix == ".db" or rng.random() < 0.7:
                path = folder / "study" / "p" / "study.db"
                words = mutations.change_sqlite(rng, path)
            else:
                content, words = mutations.change_bytes(rng, path.read_bytes())
                path.write_bytes(content)
            return Case("study", f"{path.name}: {words}", lambda: read_study(folder / "study"))
        format = rng.choices(self._formats, [f.weight for f in self._formats])[0]
        content, words = format.change(rng, self._content[format.name])
        return self._case(format, content, words, folder)


if __name__ == "__main__":
    pool.main("files", __doc__)
