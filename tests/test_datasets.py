"""Data sets from prepared caches, local servers and the package itself; utils that fetch and shape data."""

import functools
import gzip
import hashlib
import http.server
import io
import pickle
import random
import tarfile
import threading
import zipfile

import numpy as np
import pytest

import pydl
from pydl import config, datasets, utils
from pydl.datasets import _files, fashion_mnist, mnist


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty PYDL_HOME, and sources that do not answer."""
    monkeypatch.setenv("PYDL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(_files, "SOURCE", (tmp_path / "nowhere").as_uri() + "/")
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDERS", ())
    return tmp_path / "home" / "datasets"


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)


@functools.cache
def image_arrays():
    rng = np.random.default_rng(0)

    def part(n):
        images = np.zeros((n, 28, 28), np.uint8)
        images[:, 3, 4] = rng.integers(0, 256, n)
        return images, rng.integers(0, 10, n).astype(np.uint8)

    return (*part(60000), *part(10000))


def assert_pairs(loaded, arrays):
    (x_train, y_train), (x_test, y_test) = loaded
    for got, want in zip((x_train, y_train, x_test, y_test), arrays):
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got, want)


def test_digits_are_balanced_images_of_the_stated_form():
    (x_train, y_train), (x_test, y_test) = datasets.digits.load_data()
    assert x_train.shape == (8000, 28, 28) and x_test.shape == (2000, 28, 28)
    assert {a.dtype.name for a in (x_train, y_train, x_test, y_test)} == {"uint8"}
    np.testing.assert_array_equal(np.bincount(y_train), [800] * 10)
    np.testing.assert_array_equal(np.bincount(y_test), [200] * 10)
    assert x_train.max() == 255 and (x_train[:, 0, 0] == 0).all()
    x_train[0] = 1  # the arrays are the caller's own
    checksum = hashlib.sha256(x_test.tobytes() + y_test.tobytes()).hexdigest()
    assert checksum == "3bf76f86f25c5a0c0dbda82ca42757deb97dbdc1119da742b84a3fabddf2bd22"


def test_digits_separate_the_classes():
    """Labels belong to images: the nearest class mean gets most test digits right."""
    (x_train, y_train), (x_test, y_test) = datasets.digits.load_data()
    flat = x_train.reshape(len(x_train), -1).astype("float64")
    means = np.stack([flat[y_train == digit].mean(0) for digit in range(10)])
    x = x_test.reshape(len(x_test), -1)
    nearest = np.argmin((means**2).sum(1) - 2.0 * (x @ means.T), axis=1)
    assert (nearest == y_test).mean() > 0.75


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", [".", "mnist"])
def test_mnist_from_idx_files(cache, folder, suffix):
    for name, array in zip(_files.IDX_NAMES, image_arrays()):
        write_idx(cache / folder / f"{name}{suffix}", array)
    assert_pairs(mnist.load_data(), image_arrays())


def test_fashion_mnist_does_not_take_mnist_files(cache):
    for name, array in zip(_files.IDX_NAMES, image_arrays()):
        write_idx(cache / name, array)
    with pytest.raises(OSError, match="dataset-fashion-mnist"):
        fashion_mnist.load_data()


def test_fashion_mnist_from_cache_and_system_folder(cache, tmp_path, monkeypatch):
    for name, array in zip(_files.IDX_NAMES, image_arrays()):
        write_idx(tmp_path / "system" / name, array)
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDERS", (str(tmp_path / "system"),))
    assert_pairs(fashion_mnist.load_data(), image_arrays())


def test_fashion_mnist_download(cache, tmp_path, monkeypatch):
    for name, array in zip(_files.IDX_NAMES, image_arrays()):
        write_idx(tmp_path / "served" / f"{name}.gz", array)
    monkeypatch.setattr(_files, "SOURCE", (tmp_path / "served").as_uri() + "/")
    assert_pairs(fashion_mnist.load_data(), image_arrays())
    assert len(list((cache / "fashion-mnist").iterdir())) == 4


def test_mnist_from_npz(cache):
    cache.mkdir(parents=True)
    np.savez(cache / "mnist.npz", **dict(zip(("x_train", "y_train", "x_test", "y_test"), image_arrays())))
    assert_pairs(mnist.load_data(), image_arrays())


def test_mnist_without_files_says_what_to_do(cache):
    with pytest.raises(OSError) as caught:
        mnist.load_data()
    text = str(caught.value)
    for part in ("mnist.npz", str(cache), "PYDL_HOME", "train-images-idx3-ubyte.gz", "digits.load_data()"):
        assert part in text
    assert not any(cache.glob("*")), "a failed download leaves nothing behind"


def test_mnist_download_of_other_bytes_is_refused(cache, tmp_path, monkeypatch):
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere" / "mnist.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="checksum"):
        mnist.load_data()
    assert not any(cache.glob("*")) and not any(cache.glob(".*"))


def test_damaged_files_are_named(cache):
    cache.mkdir(parents=True)
    (cache / "mnist.npz").write_bytes(b"PK no zip")
    with pytest.raises(ValueError, match=r"mnist\.npz is damaged"):
        mnist.load_data()
    np.savez(cache / "mnist.npz", x_train=np.zeros((3, 28, 28), np.uint8))
    with pytest.raises(ValueError, match=r"'x_train' of shape \(60000, 28, 28\); received \(3, 28, 28\)"):
        mnist.load_data()


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x09\1\0\0\0\1a", b"\0\0\x08\1\0\0\0\5ab"])
def test_read_idx_refuses(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match="file"):
        _files.read_idx(tmp_path / "file")


def cifar_archive(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, batch in members.items():
            content = pickle.dumps(batch, protocol=4)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def cifar_batch(n, start, *label_keys):
    data = (np.arange(n * 3072) + start).astype(np.uint8).reshape(n, 3072)
    return {b"data": data, **{key: [(start + i) % 7 for i in range(n)] for key in label_keys}}


@pytest.mark.parametrize("layout", ["channels_last", "channels_first"])
def test_cifar10(cache, layout):
    members = {f"cifar-10-batches-py/data_batch_{i}": cifar_batch(4, i, b"labels") for i in (1, 2, 3, 4, 5)}
    members["cifar-10-batches-py/test_batch"] = cifar_batch(3, 9, b"labels")
    # The archive's order is not that of the numbers, as in the real one.
    cifar_archive(cache / "cifar-10-python.tar.gz", dict(reversed(members.items())))
    config.set_image_data_format(layout)
    try:
        (x_train, y_train), (x_test, y_test) = datasets.cifar10.load_data()
    finally:
        config.set_image_data_format("channels_last")
    want = np.concatenate([b[b"data"] for b in list(members.values())[:5]]).reshape(20, 3, 32, 32)
    got = x_train.transpose(0, 3, 1, 2) if layout == "channels_last" else x_train
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(y_train[:5, 0], [1, 2, 3, 4, 2])
    assert y_test.shape == (3, 1) and y_test.dtype == np.uint8 and len(x_test) == 3


def test_cifar100_label_modes(cache):
    batch = cifar_batch(4, 0, b"fine_labels") | {b"coarse_labels": [9, 9, 9, 9]}
    cifar_archive(cache / "cifar-100-python.tar.gz", {"cifar-100-python/train": batch, "cifar-100-python/test": batch})
    assert datasets.cifar100.load_data()[0][1].ravel().tolist() == [0, 1, 2, 3]
    assert datasets.cifar100.load_data("coarse")[1][1].ravel().tolist() == [9] * 4
    with pytest.raises(ValueError, match="'medium'"):
        datasets.cifar100.load_data("medium")


class Boom:
    def __reduce__(self):
        return (exec, ("raise SystemError('ran code of a file')",))


def test_data_never_runs_code(cache):
    cifar_archive(cache / "cifar-100-python.tar.gz", {"cifar-100-python/train": Boom()})
    with pytest.raises(ValueError, match="cifar-100.*exec"):
        datasets.cifar100.load_data()
    np.savez(cache / "imdb.npz", x_train=np.array([Boom(), 1], object))
    with pytest.raises(ValueError, match="imdb.*exec"):
        datasets.imdb.load_data()


def lists(*texts):
    array = np.empty(len(texts), object)
    array[:] = [list(t) for t in texts]
    return array


def test_imdb_numbering(cache):
    cache.mkdir(parents=True)
    x = lists([1, 2, 3], [4, 1], [1, 5, 2, 9], [7])
    np.savez(cache / "imdb.npz", x_train=x, y_train=np.arange(4), x_test=x, y_test=np.arange(4))
    (x_train, y_train), (x_test, y_test) = datasets.imdb.load_data()
    rng = np.random.RandomState(113)
    orders = []
    for _ in range(2):
        order = np.arange(4)
        rng.shuffle(order)
        orders.append(order)
    np.testing.assert_array_equal(y_train, orders[0])
    np.testing.assert_array_equal(y_test, orders[1])
    by_label = dict(zip(y_train, x_train))
    assert by_label[0] == [1, 4, 5, 6] and by_label[2] == [1, 4, 8, 5, 2]  # 9 + 3 is the largest: unknown
    (x_train, y_train), _ = datasets.imdb.load_data(num_words=6, skip_top=5, maxlen=4, oov_char=None, start_char=None,
                                                    index_from=3)
    assert dict(zip(y_train, x_train)) == {0: [5], 1: [], 3: []}
    with pytest.raises(ValueError, match="maxlen=1"):
        datasets.imdb.load_data(maxlen=1)


def test_reuters_split_and_names(cache):
    cache.mkdir(parents=True)
    np.savez(cache / "reuters.npz", x=lists(*[[i + 1, 1] for i in range(10)]), y=np.arange(10))
    (x_train, y_train), (x_test, y_test) = datasets.reuters.load_data(test_split=0.3, num_words=100)
    assert len(x_train) == 7 and len(x_test) == 3
    assert sorted([*y_train, *y_test]) == list(range(10))
    assert all(text == [1, label + 4, 4] for text, label in zip(x_train, y_train))
    assert len(set(datasets.reuters.get_label_names())) == 46


def test_word_index(cache):
    cache.mkdir(parents=True)
    (cache / "imdb_word_index.json").write_text('{"the": 1}')
    assert datasets.imdb.get_word_index() == {"the": 1}


@pytest.mark.parametrize("name", ["boston_housing", "california_housing"])
def test_housing(cache, name):
    cache.mkdir(parents=True)
    np.savez(cache / f"{name}.npz", x=np.arange(2000.0).reshape(1000, 2), y=np.arange(1000.0))
    load = getattr(datasets, name).load_data
    (x_train, y_train), (x_test, y_test) = load(test_split=0.1)
    order = np.arange(1000)
    np.random.RandomState(113).shuffle(order)
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), order)
    np.testing.assert_array_equal(x_test[:, 0], 2 * y_test)
    assert len(y_test) == 100
    with pytest.raises(ValueError, match="test_split"):
        load(test_split=1.0)
    if name == "california_housing":
        assert len(load("small")[0][0]) == 480


@pytest.fixture
def server(tmp_path):
    """A web server on this machine: (URL, folder)."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", folder
        running.shutdown()
        thread.join()


def test_get_file_fetches_once_checks_and_replaces(server, cache):
    url, folder = server
    (folder / "a.bin").write_bytes(b"first" * 50000)
    checksum = hashlib.sha256(b"first" * 50000).hexdigest()
    path = utils.get_file(origin=f"{url}/a.bin", file_hash=checksum)
    assert path == str(cache / "a.bin")
    (folder / "a.bin").write_bytes(b"second")
    assert utils.get_file("a.bin", f"{url}/a.bin") == path and (cache / "a.bin").read_bytes().startswith(b"first")
    second = hashlib.md5(b"second").hexdigest()
    utils.get_file("a.bin", f"{url}/a.bin", file_hash=second)
    assert (cache / "a.bin").read_bytes() == b"second"
    with pytest.raises(ValueError, match="checksum"):
        utils.get_file("a.bin", f"{url}/a.bin", file_hash="0" * 64)
    assert (cache / "a.bin").read_bytes() == b"second", "a bad download leaves the old file"
    with pytest.raises(OSError, match="URL fetch failure"):
        utils.get_file("b.bin", f"{url}/b.bin")
    assert [p.name for p in cache.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_get_file_extracts_inside_its_folder(server, cache, kind):
    url, folder = server
    if kind == "tar":
        with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
            member = tarfile.TarInfo("x/one.txt")
            member.size = 3
            tar.addfile(member, io.BytesIO(b"one"))
    else:
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.writestr("x/one.txt", "one")
            archive.writestr("../../outside.txt", "two")
    name = "a.tar.gz" if kind == "tar" else "a.zip"
    unpacked = utils.get_file(name, f"{url}/{name}", extract=True)
    assert unpacked == str(cache / "a_extracted")
    assert (cache / "a_extracted" / "x" / "one.txt").read_text() == "one"
    assert not (cache.parent / "outside.txt").exists() and not (cache / "outside.txt").exists()


def test_tar_that_reaches_outside_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        member = tarfile.TarInfo("../outside.txt")
        tar.addfile(member, io.BytesIO(b""))
    with pytest.raises(ValueError, match=r"a\.tar.*outside"):
        utils.get_file("a.tar", (tmp_path / "a.tar").as_uri(), extract=True)


@pytest.mark.parametrize("name", ["../x", "a/b", ".."])
def test_get_file_names_have_no_folders(name):
    with pytest.raises(ValueError, match="without folders"):
        utils.get_file(name, "file:///x")


def test_to_categorical():
    np.testing.assert_array_equal(utils.to_categorical([0, 2]), [[1, 0, 0], [0, 0, 1]])
    assert utils.to_categorical(np.zeros((4, 5, 1)), 3).shape == (4, 5, 3)
    for wrong in ([-1], [3]):
        with pytest.raises(ValueError, match=r"0 \.\. 2"):
            utils.to_categorical(wrong, 3)


def test_normalize():
    x = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(utils.normalize(x), [[0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(utils.normalize(x, axis=0, order=1), [[1, 1], [0, 0]])
    tensor = utils.normalize(pydl.ops.convert_to_tensor(x))
    assert isinstance(tensor, pydl.Tensor)
    np.testing.assert_allclose(tensor, [[0.6, 0.8], [0, 0]], rtol=1e-6)


def test_pad_sequences():
    sequences = [[1], [2, 3], [4, 5, 6], []]
    np.testing.assert_array_equal(utils.pad_sequences(sequences), [[0, 0, 1], [0, 2, 3], [4, 5, 6], [0, 0, 0]])
    np.testing.assert_array_equal(utils.pad_sequences(sequences, 2, padding="post", truncating="post", value=-1),
                                  [[1, -1], [2, 3], [4, 5], [-1, -1]])
    assert utils.pad_sequences([np.ones((2, 3))], 4).shape == (1, 4, 3)
    with pytest.raises(ValueError, match="position 1"):
        utils.pad_sequences([np.ones((2, 3)), np.ones((2, 4))])
    with pytest.raises(ValueError, match="'middle'"):
        utils.pad_sequences(sequences, padding="middle")


def test_set_random_seed():
    def draw():
        utils.set_random_seed(7)
        return random.random(), np.random.rand(), float(pydl.random.uniform(()))

    assert draw() == draw()
    with pytest.raises(ValueError, match="'seven'"):
        utils.set_random_seed("seven")
