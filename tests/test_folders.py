"""Folders as data sets, read ahead in threads; the small part of tf.data."""

import gc
import threading
import time

import numpy as np
import pytest

import pydl as keras
from pydl.data import dataset as dataset_module
from pydl.data.dataset import Dataset, ahead

Image = pytest.importorskip("PIL.Image")
rng = np.random.default_rng(8)


@pytest.fixture
def folder(tmp_path):
    """12 pictures in the folders a (5), b (4, one of them deeper) and c (3); the pixel values are the file's number."""
    root = tmp_path / "pictures"
    number = 0
    for name, count in (("a", 5), ("b", 4), ("c", 3)):
        (root / name / "deep").mkdir(parents=True)
        for i in range(count):
            below = "deep" if (name, i) == ("b", 3) else "."
            Image.fromarray(np.full((4, 6, 3), number, "uint8")).save(root / name / below / f"{i}.png")
            number += 1
    (root / "a" / "notes.txt").write_text("no picture")
    (root / ".hidden").mkdir()
    return root


def load(folder, **kwargs):
    kwargs = {"image_size": (4, 6), "verbose": False, "batch_size": 5, **kwargs}
    return keras.utils.image_dataset_from_directory(folder, **kwargs)


def numbers(dataset):
    return np.concatenate([np.asarray(e[0] if isinstance(e, tuple) else e)[:, 0, 0, 0] for e in dataset]).tolist()


def loading_threads():
    return [t for t in threading.enumerate() if t.name.startswith("pydl-load")]


def wait_for(condition):
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_images_and_labels(folder, capsys):
    data = load(folder, shuffle=False, verbose=True)
    assert capsys.readouterr().out == "Found 12 files belonging to 3 classes.\n"
    assert data.class_names == ["a", "b", "c"] and len(data) == 3 and data.cardinality() == 3
    assert len(data.file_paths) == 12 and data.file_paths[8].endswith("3.png") and "deep" in data.file_paths[8]
    assert numbers(data) == list(range(12)) == numbers(data)
    x, y = next(iter(data))
    assert x.shape == (5, 4, 6, 3) and x.dtype == "float32" and y.dtype == "int32"
    assert np.concatenate([y.numpy() for _, y in data]).tolist() == [0] * 5 + [1] * 4 + [2] * 3
    assert data.class_names[y[0]] == "a"


def test_label_modes(folder):
    one_hot = next(iter(load(folder, shuffle=False, label_mode="categorical", class_names=["c", "a"])))[1]
    np.testing.assert_array_equal(one_hot, [[1, 0]] * 3 + [[0, 1]] * 2)
    binary = next(iter(load(folder, shuffle=False, label_mode="binary", class_names=["c", "a"])))[1]
    assert binary.shape == (5, 1) and binary.dtype == "float32"
    for alone in (load(folder, labels=None), load(folder, label_mode=None)):
        assert next(iter(alone)).shape == (5, 4, 6, 3) and alone.class_names is None
    given = load(folder, labels=[3] * 6 + [1] * 6, shuffle=False)
    assert given.class_names == ["1", "3"] and next(iter(given))[1].numpy().tolist() == [3] * 5
    x, y = next(iter(load(folder, batch_size=None, shuffle=False)))
    assert x.shape == (4, 6, 3) and y.shape == ()
    amounts = [0.1, 0.9, 2.7] * 4
    for order in (False, True):
        data = load(folder, labels=amounts, shuffle=order, seed=1, validation_split=0.25, subset="both")
        for part in data:
            y = np.concatenate([y.numpy() for _, y in part])
            assert y.dtype == "float32" and set(y) <= set(np.float32(amounts))
    assert next(iter(load(folder, labels=[1.0, 0.0] * 6, label_mode="binary", shuffle=False)))[1].numpy()[0] == 1
    for wrong, mode in ((amounts, "categorical"), ([0.5, 1.0] * 6, "binary"), (["a"] * 12, "int"), ([None] * 12, "int"),
                        ([np.nan] * 12, "int"), ([2**31] * 12, "int"), ([[1]] * 12, "int"), ([10**30] * 12, "int")):
        with pytest.raises(ValueError, match="label"):
            load(folder, labels=wrong, label_mode=mode)


def test_forms_of_images(folder):
    for mode, channels in (("grayscale", 1), ("rgb", 3), ("rgba", 4)):
        assert next(iter(load(folder, color_mode=mode)))[0].shape == (5, 4, 6, channels)
    assert next(iter(load(folder, data_format="channels_first")))[0].shape == (5, 3, 4, 6)
    assert next(iter(load(folder, image_size=8)))[0].shape == (5, 8, 8, 3)
    for i in ("bilinear", "nearest", "bicubic", "area", "lanczos3"):
        assert numbers(load(folder, image_size=(9, 3), interpolation=i, shuffle=False)) == list(range(12))
    path = folder / "a" / "0.png"
    pixels = rng.integers(0, 256, (4, 6, 3)).astype("uint8")
    Image.fromarray(pixels).save(path)
    cropped = next(iter(load(folder, image_size=(4, 4), crop_to_aspect_ratio=True, shuffle=False)))[0]
    np.testing.assert_array_equal(cropped[0], pixels[:, 1:5])
    padded = next(iter(load(folder, image_size=(6, 6), pad_to_aspect_ratio=True, shuffle=False)))[0].numpy()
    np.testing.assert_array_equal(padded[0, 1:5], pixels)
    assert not padded[0, [0, 5]].any()
    deep = (np.arange(24).reshape(4, 6) * 2700).astype("uint16")
    Image.fromarray(deep).save(path)
    np.testing.assert_array_equal(next(iter(load(folder, shuffle=False)))[0].numpy()[0, :, :, 1], deep >> 8)


def test_bilinear_reads_the_points_of_keras(folder):
    pixels = rng.integers(0, 256, (7, 10, 3)).astype("uint8")
    Image.fromarray(pixels).save(folder / "a" / "0.png")

    def weights(old, new):
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.minimum(at.astype(int), old - 2)
        w = np.zeros((new, old))
        w[np.arange(new), low], w[np.arange(new), low + 1] = 1 - (at - low), at - low
        return w

    for size in ((3, 4), (14, 25)):
        x = next(iter(load(folder, image_size=size, shuffle=False)))[0].numpy()[0]
        want = np.einsum("yh,xw,hwc->yxc", weights(7, size[0]), weights(10, size[1]), pixels)
        np.testing.assert_allclose(x, want, atol=1e-3)
        x = next(iter(load(folder, image_size=size, shuffle=False, interpolation="nearest")))[0].numpy()[0]
        rows, columns = (((2 * np.arange(new) + 1) * old // (2 * new)) for old, new in zip((7, 10), size))
        np.testing.assert_array_equal(x, pixels[rows[:, None], columns])


def test_order_depends_on_the_seed_only(folder, monkeypatch):
    def epochs():
        data = load(folder, seed=4)
        return data.file_paths, numbers(data), numbers(data)

    paths, first, second = epochs()
    assert first != second and sorted(first) == sorted(second) == list(range(12))
    for count in (1, 3, 7):
        monkeypatch.setattr(dataset_module, "workers", lambda count=count: count)
        assert epochs() == (paths, first, second)


def test_subsets(folder, capsys):
    arguments = {"validation_split": 0.25, "seed": 3}
    train, held_out = load(folder, subset="both", **arguments)
    assert len(train.file_paths) == 9 and len(held_out.file_paths) == 3
    assert not set(train.file_paths) & set(held_out.file_paths)
    assert load(folder, subset="training", **arguments).file_paths == train.file_paths
    assert load(folder, subset="validation", **arguments).file_paths == held_out.file_paths
    assert numbers(held_out) == numbers(held_out)
    load(folder, subset="training", verbose=True, **arguments)
    assert "Using 9 files for training." in capsys.readouterr().out


@pytest.mark.parametrize("arguments, match", [
    ({"labels": "found"}, "labels"), ({"labels": [1]}, "12 files"), ({"label_mode": "onehot"}, "label_mode"),
    ({"class_names": ["a", "z"]}, "class_names"), ({"labels": None, "class_names": ["a"]}, "class_names"),
    ({"label_mode": "binary"}, "exactly 2"), ({"color_mode": "cmyk"}, "color_mode"),
    ({"image_size": (3,)}, "image_size"), ({"interpolation": "gaussian"}, "interpolation"),
    ({"validation_split": 2, "subset": "training", "seed": 1}, "validation_split"),
    ({"validation_split": 0.2}, "subset"), ({"validation_split": 0.2, "subset": "test", "seed": 1}, "subset"),
    ({"validation_split": 0.2, "subset": "training"}, "seed"), ({"batch_size": 0}, "batch_size"),
    ({"validation_split": 0.01, "subset": "validation", "seed": 1}, "No validation image"),
    ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "aspect_ratio"),
    ({"data_format": "last"}, "data_format"),
    ({"labels": [7] * 12, "label_mode": "categorical"}, "categorical"),
])
def test_wrong_arguments(folder, arguments, match):
    with pytest.raises(ValueError, match=match):
        load(folder, **arguments)


def test_wrong_folders(folder):
    with pytest.raises(NotADirectoryError, match="nowhere"):
        load(folder / "nowhere")
    with pytest.raises(ValueError, match=r"No image files.*\.png"):
        load(folder / ".hidden")


def test_a_broken_image_is_named_in_the_main_thread(folder):
    good = (folder / "b" / "1.png").read_bytes()
    (folder / "b" / "1.png").write_bytes(good[: len(good) - 30])
    data = load(folder, shuffle=False)
    iterator = iter(data)
    next(iterator)
    with pytest.raises(ValueError, match=r"b.1\.png"):
        next(iterator)
    wait_for(lambda: not loading_threads())
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"b.1\.png"):
        model.fit(data, verbose=0)
    gc.collect()
    wait_for(lambda: not loading_threads())


def test_fit_evaluate_predict(folder):
    train, held_out = load(folder, validation_split=0.25, subset="both", seed=1)
    model = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    history = model.fit(train, validation_data=held_out, epochs=2, verbose=0)
    assert model.optimizer.iterations == 4 and "val_accuracy" in history.history
    assert len(model.evaluate(held_out, verbose=0)) == 2
    assert model.predict(held_out, verbose=0).shape == (3, 3)
    scaled = train.map(lambda x, y: (x / 255.0, y)).cache().shuffle(4).prefetch(buffer_size=-1)
    model.fit(scaled, epochs=2, verbose=0)
    wait_for(lambda: not loading_threads())


# ---- threads -----------------------------------------------------------------------------------------------------


def test_loading_hides_behind_the_step():
    """20 batches of 25 ms and 20 steps of 30 ms, with two threads that load: about the time of the steps."""
    start = time.perf_counter()
    for _ in ahead(lambda: time.sleep(0.025) for _ in range(20)):
        time.sleep(0.03)
    spent = time.perf_counter() - start
    assert spent < 0.6 + 0.35  # one after the other: 1.1


def test_the_queue_is_bounded_and_threads_end(monkeypatch):
    monkeypatch.setattr(dataset_module, "workers", lambda: 2)
    begun = []
    iterator = ahead(lambda i=i: begun.append(i) or i for i in range(1000))
    assert next(iterator) == 0
    time.sleep(0.1)
    assert len(begun) <= 5
    assert loading_threads()
    del iterator
    wait_for(lambda: not loading_threads())
    assert len(begun) <= 5


def test_an_error_comes_in_its_place():
    iterator = ahead(lambda i=i: 1 // (i - 3) for i in range(9))
    assert [next(iterator) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(iterator)
    wait_for(lambda: not loading_threads())


# ---- methods -----------------------------------------------------------------------------------------------------


def test_methods():
    reads = []

    def count():
        reads.append(1)
        return iter(range(5))

    data = Dataset(count, 5)
    assert list(data.map(lambda x: 2 * x)) == [0, 2, 4, 6, 8]
    assert list(data.take(2)) == [0, 1] and len(data.take(9)) == 5 and list(data.take(-1)) == list(range(5))
    assert list(data.skip(3)) == [3, 4] and len(data.skip(3)) == 2
    assert list(data.repeat(2)) == 2 * list(range(5)) and len(data.repeat(2)) == 10
    assert list(data.repeat().take(7))[-1] == 1 and data.repeat().cardinality() == -2
    assert [b.numpy().tolist() for b in data.batch(2)] == [[0, 1], [2, 3], [4]] and len(data.batch(2)) == 3
    assert len(list(data.batch(2, drop_remainder=True))) == 2 == len(data.batch(2, drop_remainder=True))
    shuffled = data.shuffle(3, seed=1)
    first, second = list(shuffled), list(shuffled)
    assert sorted(first) == sorted(second) == list(range(5)) and first[0] < 3
    fixed = data.shuffle(5, seed=1, reshuffle_each_iteration=False)
    assert list(fixed) == list(fixed)
    reads.clear()
    cached = data.cache()
    assert list(cached.take(2)) == [0, 1] and list(cached) == list(cached) == list(range(5)) and len(reads) == 2
    with pytest.raises(TypeError, match="length"):
        len(Dataset(count))


def test_split_dataset():
    x, y = np.arange(10.0).reshape(10, 1), np.arange(10)
    left, right = keras.utils.split_dataset((x, y), left_size=0.7)
    assert len(left) == 7 and len(right) == 3
    assert [int(b) for _, b in right] == [7, 8, 9] and next(iter(left))[0].shape == (1,)
    left, right = keras.utils.split_dataset(x, right_size=2, shuffle=True, seed=3)
    assert sorted(float(v[0]) for part in (left, right) for v in part) == list(range(10))
    left, right = keras.utils.split_dataset([(1.0, 2.0)] * 4, 1, 2)
    assert (len(left), len(right)) == (1, 2)
    batches = Dataset(lambda: ((x[i : i + 4], y[i : i + 4]) for i in (0, 4, 8)), 3, batch_size=4)
    left, right = keras.utils.split_dataset(batches, 0.5)
    assert [b[1].numpy().tolist() for b in right] == [[5, 6, 7, 8], [9]]
    for wrong in ({}, {"left_size": 1.5}, {"left_size": 10}, {"left_size": 6, "right_size": 6}, {"left_size": 0.01}):
        with pytest.raises(ValueError, match="split_dataset"):
            keras.utils.split_dataset(x, **wrong)
    with pytest.raises(ValueError, match="one length"):
        keras.utils.split_dataset((x, y[:3]), 0.5)


def test_texts(tmp_path):
    for name, texts in (("neg", ["bad", "naïve"]), ("pos", ["good"])):
        (tmp_path / name).mkdir()
        for i, text in enumerate(texts):
            (tmp_path / name / f"{i}.txt").write_text(text, encoding="utf-8")
    load_texts = keras.utils.text_dataset_from_directory
    (x, y), = load_texts(tmp_path, shuffle=False, verbose=False)
    assert x.tolist() == ["bad", "naïve", "good"] and y.numpy().tolist() == [0, 0, 1]
    x, = load_texts(tmp_path, labels=None, shuffle=False, max_length=3, verbose=False)
    assert x.tolist() == ["bad", "na", "goo"]
    lengths = load_texts(tmp_path, shuffle=False, verbose=False).map(lambda x, y: (np.array([len(t) for t in x]), y))
    assert next(iter(lengths))[0].tolist() == [3, 5, 4]
    with pytest.raises(ValueError, match="max_length"):
        load_texts(tmp_path, max_length=0)
    (tmp_path / "pos" / "1.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="1.txt"):
        list(load_texts(tmp_path, verbose=False))
