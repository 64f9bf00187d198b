"""Event files as TensorBoard itself reads them."""

import gc
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest

import pydl as keras
from pydl import layers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of tensorboard's own imports
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
tensor_util = pytest.importorskip("tensorboard.util.tensor_util")

X = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 50)


def network():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="relu", name="hidden"),
                              layers.Dense(3, activation="softmax", name="answer")])
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def read(folder):
    events = event_accumulator.EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def curve(events, tag):
    return [(e.step, float(tensor_util.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]


def test_epochs(tmp_path):
    model = network()
    history = model.fit(X, Y, batch_size=10, epochs=3, verbose=0, validation_split=0.2,
                        callbacks=[keras.callbacks.TensorBoard(tmp_path / "logs")]).history
    train, validation = read(tmp_path / "logs" / "train"), read(tmp_path / "logs" / "validation")
    assert set(train.Tags()["tensors"]) == {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"}
    for name in ("loss", "accuracy"):
        assert curve(train, f"epoch_{name}") == [(i, pytest.approx(v)) for i, v in enumerate(history[name])]
        assert curve(validation, f"epoch_{name}") == [(i, pytest.approx(v))
                                                      for i, v in enumerate(history[f"val_{name}"])]
        assert curve(validation, f"evaluation_{name}_vs_iterations") == [
            (4 * (i + 1), pytest.approx(v)) for i, v in enumerate(history[f"val_{name}"])]
    assert curve(train, "epoch_learning_rate") == [(i, pytest.approx(0.02)) for i in range(3)]
    plugin = train.SummaryMetadata("epoch_loss").plugin_data.plugin_name
    assert plugin == "scalars"  # which page shows it


def test_batches(tmp_path):
    losses = []
    seen = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    board = keras.callbacks.TensorBoard(tmp_path, update_freq=2, write_steps_per_second=True)
    network().fit(X, Y, batch_size=10, epochs=2, verbose=0, callbacks=[seen, board])
    train = read(tmp_path / "train")
    assert curve(train, "batch_loss") == [(i, pytest.approx(losses[i - 1])) for i in (2, 4, 6, 8, 10)]
    assert all(v > 0 for tag in ("batch_steps_per_second", "epoch_steps_per_second") for _, v in curve(train, tag))
    assert keras.callbacks.TensorBoard(tmp_path, update_freq="batch").update_freq == 1
    assert not keras.callbacks.TensorBoard(tmp_path).needs_every_batch


def test_histograms_images_and_graph(tmp_path):
    inputs = keras.Input((6, 6, 2))
    features = layers.Conv2D(4, 3, name="conv")(inputs)
    model = keras.Model(inputs, layers.Dense(1, name="head")(layers.Flatten(name="flat")(features)))
    model.compile("sgd", "mse")
    board = keras.callbacks.TensorBoard(tmp_path, histogram_freq=2, write_images=True)
    model.fit(np.ones((4, 6, 6, 2)), np.ones((4, 1)), epochs=3, verbose=0, callbacks=[board])
    train = read(tmp_path / "train")
    events = train.Tensors("head/kernel/histogram")
    assert [e.step for e in events] == [0, 2]
    table = tensor_util.make_ndarray(events[-1].tensor_proto)  # rows (left, right, count)
    weights = model.get_layer("head").kernel.numpy()
    assert table[:, 2].sum() == weights.size
    np.testing.assert_allclose((table[0, 0], table[-1, 1]), (weights.min(), weights.max()), rtol=1e-5)
    assert train.SummaryMetadata("head/kernel/histogram").plugin_data.plugin_name == "histograms"
    assert train.SummaryMetadata("head/kernel/image").plugin_data.plugin_name == "images"
    width, height, picture = tensor_util.make_ndarray(train.Tensors("head/kernel/image")[0].tensor_proto)
    assert (width, height) == (b"1", b"64") and picture.startswith(b"\x89PNG")
    assert not any("conv/kernel/image" in tag for tag in train.Tags()["tensors"])  # four axes
    nodes = {node.name: list(node.input) for node in train.Graph().node}
    assert nodes["head"] == ["flat"] and nodes["flat"] == ["conv"] and len(nodes) == 4


def test_embeddings(tmp_path):
    from google.protobuf import text_format
    from tensorboard.plugins import projector

    model = keras.Sequential([keras.Input((3,), dtype="int32"), layers.Embedding(5, 2, name="words"), layers.Flatten(),
                              layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3), "int32"), np.ones((4, 1))
    model.fit(x, y, verbose=0, callbacks=[keras.callbacks.TensorBoard(tmp_path, embeddings_freq=1,
                                                                      embeddings_metadata={"words": "words.txt"})])
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), projector.ProjectorConfig())
    assert [(e.tensor_path, e.metadata_path) for e in config.embeddings] == [("words.tsv", "words.txt")]
    np.testing.assert_allclose(np.loadtxt(tmp_path / "words.tsv"), model.get_layer("words").embeddings, rtol=1e-6)
    with pytest.raises(ValueError, match="names passed to `embeddings_metadata`: .'other'"):
        model.fit(x, y, verbose=0, callbacks=[keras.callbacks.TensorBoard(tmp_path, embeddings_freq=1,
                                                                          embeddings_metadata={"other": "a"})])


def test_the_result_is_the_same(tmp_path):
    results = []
    for callbacks in ([], [keras.callbacks.TensorBoard(tmp_path, histogram_freq=1, write_images=True, update_freq=1)]):
        keras.utils.set_random_seed(1)
        model = network()
        model.fit(X, Y, batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
        results.append(model.get_weights())
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


def test_a_second_fit_and_evaluate(tmp_path):
    model, board = network(), keras.callbacks.TensorBoard(tmp_path)
    model.fit(X, Y, epochs=1, verbose=0, callbacks=[board])
    model.fit(X, Y, epochs=2, initial_epoch=1, verbose=0, callbacks=[board])
    model.evaluate(X, Y, verbose=0, callbacks=[board])
    assert [step for step, _ in curve(read(tmp_path / "train"), "epoch_loss")] == [0, 1]
    assert [step for step, _ in curve(read(tmp_path / "validation"), "evaluation_loss_vs_iterations")] == [4]


def test_a_fit_that_fails_leaves_no_thread(tmp_path):
    class Raise(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyError

    before = threading.active_count()
    with pytest.raises(KeyError):
        network().fit(X, Y, verbose=0, callbacks=[keras.callbacks.TensorBoard(tmp_path), Raise()])
    gc.collect()
    assert threading.active_count() == before


def test_wrong_arguments(tmp_path):
    for wrong in ({"update_freq": "day"}, {"update_freq": 0}, {"histogram_freq": -1}, {"embeddings_freq": 0.5},
                  {"profile_batch": 5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            keras.callbacks.TensorBoard(tmp_path, **wrong)


def test_without_tensorboard(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(ImportError, match=r"pip install 'pydl\[tensorboard\]'"):
        keras.callbacks.TensorBoard()


def test_importing_pydl_imports_no_tensorboard():
    subprocess.run([sys.executable, "-c", "import sys, pydl.callbacks; assert 'tensorboard' not in sys.modules"],
                   check=True, timeout=120, cwd=keras.__path__[0] + "/..")
