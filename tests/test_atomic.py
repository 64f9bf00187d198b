"""Files are replaced whole, by every writer: full disks, read-only folders, killed processes and what they leave."""

import errno
import io
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import pydl as keras
from pydl import atomic, layers, process

posix_only = pytest.mark.skipif(os.name != "posix", reason="asks the system about processes")


def names(folder):
    return sorted(os.listdir(folder))


# ---- the writer -----------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_when_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    with atomic.atomic_write(path, "w", encoding="utf-8") as file:
        file.write("å")
        assert not path.exists()
    assert path.read_bytes() == "å".encode()
    with pytest.raises(KeyError), atomic.atomic_write(path) as file:
        file.write(b"half")
        raise KeyError
    assert path.read_bytes() == "å".encode() and names(tmp_path) == ["a.txt"]


def test_permissions_are_those_of_the_old_file_or_of_a_new_one(tmp_path):
    path, plain = tmp_path / "a", tmp_path / "b"
    for i in range(2):
        with atomic.atomic_write(path) as file:
            file.write(b"x")
        plain.touch()
        assert os.stat(path).st_mode == os.stat(plain).st_mode
        os.chmod(path, 0o640)
        os.chmod(plain, 0o640)


def test_a_link_leads_to_the_new_file(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "real").write_text("old")
    os.symlink(tmp_path / "far" / "real", tmp_path / "link")
    with atomic.atomic_write(tmp_path / "link", "w") as file:
        file.write("new")
    assert os.path.islink(tmp_path / "link") and (tmp_path / "far" / "real").read_text() == "new"
    assert names(tmp_path / "far") == ["real"]


@posix_only
def test_pipes_are_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with atomic.atomic_write(tmp_path / "pipe") as file:
        file.write(b"through")
    reader.join()
    assert found == [b"through"] and names(tmp_path) == ["pipe"]


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(FileNotFoundError, match="Cannot write .*x/a: the folder .*x does not exist"):
        with atomic.atomic_write(tmp_path / "x" / "a"):
            pass
    with pytest.raises(IsADirectoryError, match=f"Cannot write {tmp_path}: Is a directory"):
        with atomic.atomic_write(tmp_path):
            pass
    long = tmp_path / ("n" * 250)  # with something before and behind it, the name would be too long
    for content in (b"1", b"2"):
        with atomic.atomic_write(long) as file:
            file.write(content)
    assert long.read_bytes() == b"2" and names(tmp_path) == [long.name]


def test_rows_are_appended_whole(tmp_path, monkeypatch):
    path = tmp_path / "log"
    atomic.append_to(path, b"one\n")
    atomic.append_to(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    with limited(10), pytest.raises(OSError, match="Cannot write .*log: File too large"):
        atomic.append_to(path, b"three\n" * 1000)
    assert path.read_bytes() == b"one\ntwo\n"


# ---- what killed writers leave --------------------------------------------------------------------------------------

WRITER = """
import os, sys, time
from pydl import atomic
with atomic.atomic_write(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("go", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing `tmp_path / "a"`."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "a")], stdout=subprocess.PIPE,
                             env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, cwd=tmp_path)
    assert child.stdout.readline() == b"go\n"
    yield child
    child.kill()
    child.communicate()


def write(path):
    with atomic.atomic_write(path) as file:
        file.write(b"new")


@posix_only
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path, writer):
    (left,) = names(tmp_path)
    write(tmp_path / "a")
    write(tmp_path / "b")
    assert names(tmp_path) == [left, "a", "b"]  # it lives
    writer.kill()
    writer.wait()
    write(tmp_path / "b")
    write(tmp_path / "a.b")
    assert names(tmp_path) == [left, "a", "a.b", "b"]  # a file of another name
    write(tmp_path / "a")
    assert names(tmp_path) == ["a", "a.b", "b"]


@posix_only
def test_whose_file_it_is(tmp_path):
    mine = process.this_process()
    prefix = ".a.pydl-"

    def leave(machine=atomic._machine(), pid=mine["pid"], started=mine["started"] or 0, serial=12345):
        path = tmp_path / f"{prefix}{machine}-{pid}-{started}-{serial}"
        path.touch()
        return path

    own_earlier = leave()  # nothing of this process: of one that had its id
    another_began = leave(started="1")
    foreign, old_foreign = leave("0" * 8), leave("1" * 8)
    os.utime(old_foreign, (time.time() - 1e6,) * 2)
    other = tmp_path / ".a.pydl-notes"
    other.touch()
    with atomic.atomic_write(tmp_path / "a") as file:
        file.write(b"first")
        write(tmp_path / "a")  # a second one meanwhile, as another thread would
    assert (tmp_path / "a").read_bytes() == b"first"
    assert not own_earlier.exists() and not another_began.exists() and not old_foreign.exists()
    assert foreign.exists() and other.exists()


def test_folders_are_complete_or_not_there(tmp_path):
    with atomic.atomic_folder(tmp_path / "f") as folder:
        (tmp_path / folder / "a").touch()
        assert not (tmp_path / "f").exists()
    assert names(tmp_path / "f") == ["a"]
    with pytest.raises(KeyError), atomic.atomic_folder(tmp_path / "g"):
        raise KeyError
    assert names(tmp_path) == ["f"]


# ---- every writer, where the disk is full ---------------------------------------------------------------------------


class limited:
    """Context: no file of this process grows beyond a number of bytes, as on a full disk."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.before[1]))

    def __exit__(self, *error):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


def network(units=200):
    model = keras.Sequential([keras.Input((20,)), layers.Dense(units), layers.Embedding(2000, 5)])
    model.compile("adam", "mse")
    return model


def csv(path, size):
    logger = keras.callbacks.CSVLogger(path)
    logger.on_train_begin()
    logger.on_epoch_end(0, {f"value {i}": float(i) for i in range(size)})


def table(path, size):
    callback = keras.callbacks.TensorBoard(os.path.dirname(path), embeddings_freq=1)
    model = keras.Sequential([keras.Input((2,)), layers.Embedding(max(size // 10, 1), 5, name="words")])
    callback.set_model(model)
    callback._write_embeddings()


def picture(path, size):
    from matplotlib.figure import Figure

    from pydl.inspection.drawing import save_figure
    save_figure(Figure(figsize=(1, max(size / 100, 1))), path)


WRITERS = {
    "model.keras": lambda path, size: network(size).save(path),
    "model.weights.h5": lambda path, size: network(size).save_weights(path),
    "model.safetensors": lambda path, size: network(size).save_weights(path),
    "picture.png": lambda path, size: keras.utils.save_img(
        path, np.random.default_rng(0).integers(0, 255, (size, size, 3)), scale=False),
    "picture.tif": lambda path, size: keras.utils.save_img(path, np.zeros((size, size, 3)), scale=False),
    "figure.png": picture,
    "model.svg": lambda path, size: keras.utils.plot_model(
        keras.Sequential([keras.Input((2,))] + [layers.Dense(2) for _ in range(size // 40)]), path),
    "log.csv": csv,
    "words.tsv": table,
}
NEEDS = {"picture.png": "PIL", "picture.tif": "PIL", "figure.png": "matplotlib", "words.tsv": "tensorboard",
         "model.svg": "matplotlib"}


@pytest.mark.parametrize("name", WRITERS)
def test_no_writer_loses_the_old_file(tmp_path, name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    path, write = tmp_path / name, WRITERS[name]
    write(str(path), 40)
    before, around = path.read_bytes(), names(tmp_path)
    with limited(len(before) // 2), pytest.raises(OSError, match=f"Cannot write .*{name}: File too large") as caught:
        write(str(path), 400)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == before and names(tmp_path) == around
    write(str(path), 400)
    assert path.read_bytes() != before


READ_ONLY = """
import os, sys, tempfile
import numpy as np
import pydl as keras
folder = sys.argv[1]
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
model.compile("sgd", "mse")
x = np.zeros((4, 2), "float32")
with tempfile.TemporaryDirectory() as warm:  # the other user may not be allowed to import
    model.save(f"{warm}/m.keras")
    model.fit(x, x, verbose=0)
os.setgid(65534)
os.setuid(65534)
for write in (lambda: model.save(f"{folder}/m.keras"), lambda: model.save_weights(f"{folder}/m.weights.h5"),
              lambda: model.fit(x, x, verbose=0, callbacks=[keras.callbacks.CSVLogger(f"{folder}/l.csv")]),
              lambda: model.fit(x, x, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(folder)])):
    try:
        write()
    except PermissionError as error:
        print(error)
"""


@pytest.fixture
def readable_folder():
    """A folder that another user may look into: those above `tmp_path` are closed by every pytest that starts."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="becomes another user")
def test_a_folder_of_somebody_else(readable_folder):
    tmp_path = readable_folder
    write(tmp_path / "m.keras")
    found = subprocess.run([sys.executable, "-c", READ_ONLY, str(tmp_path)], capture_output=True, text=True,
                           env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, cwd=tmp_path)
    lines = found.stdout.splitlines()
    assert len(lines) == 4, found.stderr
    for line, name in zip(lines, ("m.keras", "m.weights.h5", "l.csv", "latest.weights.h5")):
        assert name in line and ("Permission denied" in line or "read-only" in line)
    assert names(tmp_path) == ["m.keras"] and (tmp_path / "m.keras").read_bytes() == b"new"


def test_an_open_file_is_written_to_as_it_is():
    pytest.importorskip("PIL")
    buffer = io.BytesIO()
    keras.utils.save_img(buffer, np.zeros((2, 2, 1)), file_format="png")
    assert buffer.getvalue()[1:4] == b"PNG"


def test_an_interruption_stays_one(tmp_path):
    """zipfile cannot close an archive in the middle of a member, and says so in place of Ctrl-C."""
    path = tmp_path / "a.zip"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic.atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.open("member", "w").write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and names(tmp_path) == ["a.zip"]


def test_an_interruption_of_a_library_stays_one():
    """h5py answers a Ctrl-C that comes while it asks Python for something by a TypeError."""
    with pytest.raises(KeyboardInterrupt), process.uncovered():
        try:
            raise KeyboardInterrupt
        finally:
            raise TypeError("operation not defined")
    with pytest.raises(TypeError, match="its own"), process.uncovered():
        raise TypeError("its own")


def test_an_interruption_that_is_being_handled_covers_nothing(tmp_path):
    """`except KeyboardInterrupt: model.save(...)`: what goes wrong then is said."""
    (tmp_path / "damaged.keras").write_bytes(b"PK")
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        with pytest.raises(FileNotFoundError, match="nowhere"), atomic.atomic_write(tmp_path / "nowhere" / "a"):
            pass
        with pytest.raises(ValueError, match="damaged.keras"):
            keras.models.load_model(tmp_path / "damaged.keras")
