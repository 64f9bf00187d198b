"""Files that are damaged or lie: an error that names file and place, and no memory for what is not there."""

import gzip
import json
import os
import pickle
import struct
import tracemalloc
import warnings
import zipfile

import h5py
import numpy as np
import pytest

import pydl as keras
from fuzz import pool
from pydl import layers
from pydl.datasets import _files, _text
from pydl.datasets._pickles import ArrayUnpickler
from pydl.preprocessing.text import Tokenizer, tokenizer_from_json
from pydl.saving.safetensors import read_safetensors
from pydl.utils import images


def network():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="one"), layers.Dense(2, name="two")])
    model.compile(keras.optimizers.Adam(name="adam"), keras.losses.Huber())
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def small(monkeypatch):
    """Context that fails when a reader takes more than 100 MB."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * 2**20


# ---- .keras ---------------------------------------------------------------------------------------------------------


def rezip(path, change, **options):
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    change(parts)
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def member(name, content):
    return lambda path: rezip(path, lambda parts: parts.update({name: content}))


def linked(path):
    info = zipfile.ZipInfo("assets/x")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "/etc/passwd")


def twice(path):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("config.json", "{}")


def larger(path):
    """The list of members says that one is 3 GB."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"model.weights.h5"))
    content[at + 24 : at + 28] = struct.pack("<I", 3 * 2**30)
    path.write_bytes(content)


KERAS = {
    "empty": (lambda p: p.write_bytes(b""), "not a `.keras` file"),
    "first half": (lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]), "truncated"),
    "something before": (lambda p: p.write_bytes(b"#!/bin/sh\n" + p.read_bytes()), "starts with b'#!/bin/s'"),
    "a bomb": (
        lambda p: rezip(p, lambda parts: parts.update({"config.json": b" " * 2**27}), compression=zipfile.ZIP_DEFLATED),
        "'config.json' is declared as 134217728 bytes",
    ),
    "another method": (lambda p: rezip(p, lambda parts: None, compression=zipfile.ZIP_LZMA), "compressed by method 14"),
    "a size that lies": (larger, "declared as 3221225472 bytes"),
    "a name that leads out": (member("../x", b""), "leads out"),
    "an absolute name": (member("/etc/x", b""), "leads out"),
    "a link": (linked, "'assets/x' is a link"),
    "a name twice": (twice, "two members called 'config.json'"),
    "deep JSON": (member("config.json", b"[" * 10**6 + b"]" * 10**6), "config.json is nested deeper"),
    "an optimizer": (member("config.json", b'{"class_name": "L2", "module": "keras.regularizers", "config": {}}'),
                     "describes no model"),
    "weights behind a page": (member("model.weights.h5", bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(3000)),
                              "not an HDF5 file"),
}


@pytest.mark.parametrize("name", KERAS)
def test_a_keras_file(tmp_path, name, small):
    change, text = KERAS[name]
    path = tmp_path / "m.keras"
    network().save(path)
    change(path)
    tracemalloc.reset_peak()
    with pytest.raises(ValueError, match="(?s)m.keras.*" + text):
        keras.models.load_model(path)
    assert os.listdir(tmp_path) == ["m.keras"]


@pytest.mark.parametrize("units", [10**8, 10**12, 10**30])
def test_a_model_that_is_much_larger_than_its_weights(tmp_path, units, small):
    def grow(parts):
        config = json.loads(parts["config.json"])
        config["config"]["layers"][1]["config"]["units"] = units
        parts["config.json"] = json.dumps(config)

    path = tmp_path / "m.keras"
    network().save(path)
    rezip(path, grow)
    with pytest.raises(ValueError, match=rf"m\.keras: config.* \(4, {units}\) makes the model much larger"):
        keras.models.load_model(path)


def test_a_compressed_archive_is_read(tmp_path):
    model = network()
    model.save(tmp_path / "m.keras")
    rezip(tmp_path / "m.keras", lambda parts: None, compression=zipfile.ZIP_DEFLATED)
    twin = keras.models.load_model(tmp_path / "m.keras")
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_first_bytes_decide(tmp_path):
    """HDF5 looks for a beginning at 512 bytes, 1024, ...; zip looks for a list at the end."""
    model = network()
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "w.weights.h5")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        head = zipfile.ZipInfo("model.weights.h5")
        head.extra = struct.pack("<HH", 0xCAFE, 512 - 30 - len(head.filename) - 4) + bytes(
            512 - 30 - len(head.filename) - 4
        )
        archive.writestr(head, parts.pop("model.weights.h5"))
        for name, content in parts.items():
            archive.writestr(name, content)
    assert h5py.is_hdf5(tmp_path / "m.keras")
    twin = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(twin.get_weights()[0], model.get_weights()[0])
    twin.load_weights(tmp_path / "m.keras")
    # The other way round: an archive appended to HDF5 is HDF5, whatever the name says.
    both = tmp_path / "both.keras"
    both.write_bytes((tmp_path / "w.weights.h5").read_bytes() + (tmp_path / "m.keras").read_bytes())
    assert zipfile.is_zipfile(both)
    with pytest.raises(ValueError, match="weights without a model"):
        keras.models.load_model(both)
    twin.load_weights(both)
    (tmp_path / "w.safetensors").write_bytes((tmp_path / "w.weights.h5").read_bytes())
    twin.load_weights(tmp_path / "w.safetensors")


# ---- HDF5 -----------------------------------------------------------------------------------------------------------


def replaced(make):
    def change(file):
        del file["layers/dense/vars/0"]
        make(file, "layers/dense/vars/0")

    return change


def huge_chunk(file, name):
    data = file.create_dataset(name, (4, 3), "float32", chunks=(2**14, 2**14), maxshape=(None, None))
    data.id.write_direct_chunk((0, 0), bytes(100))


def bomb(file, name):
    """A chunk of 48 bytes that inflates to half a gigabyte."""
    import zlib

    data = file.create_dataset(name, (4, 3), "float32", chunks=(4, 3), compression="gzip")
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(32)) + packer.flush()
    data.id.write_direct_chunk((0, 0), packed)


def virtual(file, name):
    layout = h5py.VirtualLayout(shape=(4, 3), dtype="float32")
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=(4, 3))
    file.create_virtual_dataset(name, layout)


HDF5 = {
    "fill value": (
        replaced(lambda f, n: f.create_dataset(n, (10**6, 10**6), "float32", chunks=(100, 100), fillvalue=1)),
        "is not in the file",
    ),
    "never written": (replaced(lambda f, n: f.create_dataset(n, (4, 3), "float32")), "is not in the file"),
    "zeros, packed": (replaced(lambda f, n: f.create_dataset(n, data=np.zeros(2**25, "f4"), compression="gzip")),
                      "declared as 134217728 bytes"),
    "much too large": (replaced(lambda f, n: f.create_dataset(n, data=np.zeros(2**21, "f4"), compression="gzip")),
                       "larger than all variables"),
    "a chunk that lies": (replaced(huge_chunk), "a chunk of"),
    "a chunk that inflates": (replaced(bomb), "inflates to more than the 48 bytes"),
    "another filter": (replaced(lambda f, n: f.create_dataset(n, data=np.zeros((4, 3), "f4"), compression="lzf")),
                       r"filters \[32000\]"),
    "an external link": (replaced(lambda f, n: f.__setitem__(n, h5py.ExternalLink("other.h5", "/x"))),
                         "links are not followed"),
    "a soft link": (replaced(lambda f, n: f.__setitem__(n, h5py.SoftLink("/layers/dense/vars/1"))),
                    "links are not followed"),
    "a soft link in a circle": (replaced(lambda f, n: f.__setitem__(n, h5py.SoftLink(f"/{n}"))),
                                "links are not followed"),
    "a virtual data set": (replaced(virtual), "is no array, or not in the file"),
    "external storage": (replaced(lambda f, n: f.create_dataset(n, (4, 3), "f4", external=[("other.raw", 0, 48)])),
                         "is no array, or not in the file"),
    "a group": (replaced(lambda f, n: f.create_group(n)), "is no array"),
    "texts": (replaced(lambda f, n: f.create_dataset(n, data=np.full((4, 3), b"x"))), r"holds \|S1; expected numbers"),
    "no value": (replaced(lambda f, n: f.create_dataset(n, data=h5py.Empty("f4"))), "0'"),
    "a link for a layer": (lambda f: (f.move("layers/dense", "x"), f.__setitem__("layers/dense", h5py.SoftLink("/x"))),
                           "links are not followed"),
    "its own parent": (lambda f: (f.pop("layers/dense/vars"), f.__setitem__("layers/dense/vars", f["layers"])),
                       "'0' is missing"),
}


@pytest.mark.parametrize("name", HDF5)
def test_a_weights_file(tmp_path, name, small):
    change, text = HDF5[name]
    (tmp_path / "other.raw").write_bytes(bytes(range(48)))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones((4, 3), "float32")
    model, path = network(), tmp_path / "m.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        change(file)
    tracemalloc.reset_peak()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"(?s)m\.weights\.h5.*dense.*" + text):
        model.load_weights(path)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_packed_weights_are_read(tmp_path):
    model, path = network(), tmp_path / "m.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "a") as file:
        kernel = file["layers/dense/vars/0"][:] + 1
        replaced(lambda f, n: f.create_dataset(n, data=kernel, compression="gzip", shuffle=True, fletcher32=True))(file)
    model.load_weights(path)
    np.testing.assert_array_equal(model.get_weights()[0], kernel)


def whole_model(path):
    dense = {"class_name": "Dense", "config": {"name": "one", "units": 3, "batch_input_shape": [None, 4]}}
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": {"name": "s", "layers": [dense]}}
        )
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"one"])
        group.create_group("one").attrs["weight_names"] = np.array([b"one/k", b"one/b"])
        group["one/one/k"], group["one/one/b"] = np.ones((4, 3), "f4"), np.zeros(3, "f4")


@pytest.mark.parametrize(
    "change, text",
    [(lambda f: f.attrs.__setitem__("model_config", "[" * 10000 + "]" * 10000), "`model_config` is nested deeper"),
     (lambda f: f.attrs.__setitem__("model_config", np.ones(3)), "`model_config`"),
     (lambda f: f.attrs.__setitem__("model_config", '{"class_name": "Sequential", "config": [3]}'), "config"),
     (lambda f: f.attrs.__setitem__("training_config", '{"loss": "mse"}'), "'optimizer_config' is missing"),
     (lambda f: f.attrs.__setitem__("training_config", "7"), "config"),
     (lambda f: f.pop("model_weights"), "no `model_weights`"),
     (lambda f: f["model_weights"].attrs.__setitem__("layer_names", np.array([b"one"] * 2)), "names 'one' twice"),
     (lambda f: f["model_weights"].attrs.__setitem__("layer_names", 7), "iterable"),
     (lambda f: f["model_weights/one"].attrs.__setitem__("weight_names", np.array([b"one/k", b"two"])),
      "'/model_weights/one/two'"),
     (lambda f: (f.pop("model_weights/one/one/k"),
                 f.__setitem__("model_weights/one/one/k", h5py.ExternalLink("o.h5", "x"))), "links")],
)
def test_a_whole_model_of_keras_2(tmp_path, change, text):
    path = tmp_path / "m.h5"
    whole_model(path)
    assert keras.models.load_model(path).count_params() == 15
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(ValueError, match=r"(?s)m\.h5.*" + text):
        keras.models.load_model(path)


def test_a_heap_without_an_end(tmp_path):
    """HDF5 2.0 looks for the end of a heap, in which the text of `model_config` lies, for ever."""
    path = tmp_path / "m.h5"
    whole_model(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"GCOL") + 16
    while struct.unpack_from("<H", content, at)[0]:
        at += 16 + (struct.unpack_from("<Q", content, at + 8)[0] + 7) // 8 * 8
    content[at + 8 : at + 16] = bytes(8)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"m\.h5: the heap at byte \d+ is damaged: it has a gap of no size"):
        keras.models.load_model(path)
    content[13] = 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"m\.h5 is not an HDF5 file of 64 bits"):
        keras.models.load_model(path)


# ---- safetensors ----------------------------------------------------------------------------------------------------


def entry(dtype="F32", shape=(2,), begin=0, end=8):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "header, text",
    [({"a": entry(), "b": entry()}, "'b' begins at byte 0; what lies before ends at 8"),
     ({"a": entry(begin=8, end=16)}, "'a' begins at byte 8"), ({"a": entry()}, "end at byte 8 of 16"),
     ({"a": entry(shape=(0, 2**70), end=0)}, r"shape \[0, 1180591620717411303424\]"),
     ({"a": entry(shape=(1,) * 100, end=4)}, "shape"), (b'{"a": {}, "a": {}}', "two entries called 'a'"),
     (b"[" * 5000 + b"]" * 5000, "nested deeper"), (b"7", "no JSON object"), (b"\xff\xfe", "not JSON")],
)
def test_a_safetensors_file(tmp_path, header, text):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(ValueError, match=r"(?s)x\.safetensors.*" + text):
        read_safetensors(path)


# ---- data sets, texts, images ---------------------------------------------------------------------------------------


def npy(shape="(2,)", dtype="'<f8'", content=bytes(16), fortran="False"):
    header = f"{{'descr': {dtype}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def pickled(code):
    return npy("(1,)", "'|O'", code)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("escaped",)


NPZ = {
    "a shape that lies": (npy("(100000000000,)"), r"shape \(100000000000,\).* does not take 16 bytes"),
    "a negative shape": (npy("(-1, -2)"), "does not take"),
    "no shape": (npy("'x'"), "a.npy"),
    "an item of a gigabyte": (npy("(0,)", "'V1073741824'", b"x"), "does not take"),
    "code": (pickled(pickle.dumps(Bomb())), "refused, it holds arrays only"),
    "an array from nothing": (pickled(b"cnumpy\nndarray\n(I1000000000\ntR."), "a.npy"),
    "a pickle that lies": (
        pickled(pickle.dumps(np.array([None, 1], object), protocol=4).replace(b"K\x02\x85", b"J\xff\xff\xff\x7f\x85")),
        "holds 2 values",
    ),
    "a number that lies": (pickled(b"Nr\xff\xff\xff\x7f."), "a pickle of 7 bytes numbers its object 2147483647"),
    "a number in text that lies": (pickled(b"Np2000000000\n."), "numbers its object 2000000000"),
    "a length that lies": (pickled(b"\x96" + struct.pack("<Q", 2**40) + b"."), "goes on until byte 1099511627785"),
    "no array": (pickled(pickle.dumps([1])), "no array of shape"),
    "no npy": (b"text", "a.npy"),
    "half": (npy()[:20], "a.npy"),
}


@pytest.mark.parametrize("name", NPZ)
def test_an_npz_file(tmp_path, monkeypatch, name, small):
    content, text = NPZ[name]
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ValueError, match=r"(?s)x\.npz is damaged.*" + text + ".*load again"):
        _files.read_npz(tmp_path / "x.npz")
    assert os.listdir(tmp_path) == ["x.npz"]


@pytest.mark.parametrize("dtype", ["float32", ">i2", "bool", "complex64"])
@pytest.mark.parametrize("order", "CF")
def test_arrays_of_npz_files(tmp_path, dtype, order):
    a = np.asarray(np.arange(12).reshape(3, 4) % 5, dtype, order=order)
    lists = np.empty((2, 2), object)
    lists[:] = [[[1, 2], []], [[3], None]]
    np.savez(tmp_path / "x.npz", a=a, lists=lists, scalar=np.float32(3))
    found = _files.read_npz(tmp_path / "x.npz")
    np.testing.assert_array_equal(found["a"], a)
    assert found["a"].dtype == a.dtype and found["lists"].tolist() == lists.tolist() and found["scalar"] == 3


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol(protocol):
    values = {"x": [1, 2.5, "x" * 300, b"y" * 300, None, True, 10**20, -5, (1, 2), "é", 300, 70000, {"k": [1] * 300}]}
    assert ArrayUnpickler(pickle.dumps(values, protocol)).load() == values
    a = np.arange(6, dtype="int16").reshape(2, 3)
    if 1 < protocol < 5:  # in the others NumPy names more than arrays
        found = ArrayUnpickler(pickle.dumps({b"data": a, "lists": [3]}, protocol)).load()
        np.testing.assert_array_equal(found[b"data"], a)


def test_texts_are_lists_of_numbers(tmp_path):
    for texts, labels in (([[1], ["a"]], [0, 1]), ([[1], 3], [0, 1]), ([[1], [2]], [0])):
        x = np.empty(2, object)
        x[:] = texts
        np.savez(tmp_path / "x.npz", x=x, y=np.array(labels))
        with pytest.raises(ValueError, match="x.npz.*expected 'x' to hold lists"):
            _text.read(tmp_path / "x.npz", [("x", "y")])
    with pytest.raises(ValueError, match=r"expected the arrays .*it has \['x', 'y'\]"):
        _text.read(tmp_path / "x.npz", [("x_train", "y_train")])


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize(
    "content, text",
    [(b"\0\0\x08\x03" + b"\xff" * 12 + b"abc", "is declared as"), (b"\0\0\x08\xff" + bytes(1020), "sizes of 255 axes"),
     (b"\0\0\x08\x02\0\0", "ends after 2 bytes"), (b"\0\0\x08\x01\0\0\0\x03abcd", "3 bytes; received 4 or more")],
)
def test_an_idx_file_of_any_name(tmp_path, pack, content, text, small):
    path = tmp_path / "images.bin"  # the first bytes say whether it is packed
    path.write_bytes(pack(content))
    with pytest.raises(ValueError, match=f"images.bin.*{text}"):
        _files.read_idx(path)
    path.write_bytes(pack(b"\0\0\x08\x01\0\0\0\x03abc"))
    assert bytes(_files.read_idx(path)) == b"abc"


def test_text_files(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes(b"one\n\xff\xfe\n")
    with pytest.raises(ValueError, match="words.txt.*utf-8"):
        layers.StringLookup(vocabulary=str(path))
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(["a b"])
    good = json.loads(tokenizer.to_json())
    for bad in ("", "[]", "{}", '{"config": {}}', "[" * 9999,
                json.dumps({"config": {**good["config"], "word_counts": "7"}}),
                json.dumps({"config": {**good["config"], "nope": 1}}),
                json.dumps({"config": {**good["config"], "index_word": '{"x": 1}'}})):
        with pytest.raises(ValueError, match="The JSON of the tokenizer"):
            tokenizer_from_json(bad)


def test_images_of_formats_that_run_programs_are_not_read(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(escaped) (w) file pop\n")
    with pytest.raises(ValueError, match="x.png cannot be read as an image"):
        images.load_img(path)


# ---- campaigns ------------------------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize("driver, count",
                         [("files", 150), ("configs", 400), pytest.param("files", 4000, marks=pytest.mark.slow),
                          pytest.param("configs", 8000, marks=pytest.mark.slow)])
def test_mutations_are_read_or_refused(driver, count):
    pytest.importorskip("PIL")
    pytest.importorskip("optuna")
    _, wrong = pool.run(driver, 14, range(count))
    assert not wrong, "\n".join(
        f"python -m tests.fuzz.{driver} --seed 14 --index {w['index']} ({w['kind']}: {w['words']})\n{w['error']}"
        for w in wrong
    )
