"""Whole steps, as users wait for them. Each row checks the result it has timed; see `test_kernels.py`."""

import subprocess
import sys
import tempfile

import numpy as np
import pytest

import pydl as keras
from harness import PYDL_FOLDER
from pydl import layers


def rng():
    return np.random.default_rng(0)


def classifier(shape, *inner, outputs=10):
    model = keras.Sequential([keras.Input(shape), *inner, layers.Dense(outputs)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def mlp():
    return classifier((784,), layers.Dense(128, "relu"), layers.Dense(64, "relu"))


def lenet():
    return classifier((28, 28, 1), layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPooling2D(),
                      layers.Conv2D(16, 5, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
                      layers.Dense(120, "relu"), layers.Dense(84, "relu"))


def vgg():
    blocks = []
    for filters in (32, 64, 128):
        blocks += [layers.Conv2D(filters, 3, padding="same", activation="relu") for _ in range(2)]
        blocks.append(layers.MaxPooling2D())
    return classifier((32, 32, 3), *blocks, layers.Flatten(), layers.Dense(128, "relu"))


def lstm():
    return classifier((50, 32), layers.LSTM(64))


def seq2seq():
    encoder = layers.GRU(64, return_sequences=True, return_state=True)
    model = keras.models.Seq2Seq(encoder, layers.BahdanauDecoder(64), 64, 64, embedding=32, mask_zero=False)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def seeded(make):
    """A model whose layers draw the same weights every time."""
    keras.utils.set_random_seed(0)
    return make()


def samples(model, rows):
    return rng().random((rows, *model.input_shape[1:]), np.float32), rng().integers(0, 10, rows).astype("int32")


def tokens(_, rows):
    source, target = rng().integers(3, 64, (rows, 12)), rng().integers(3, 64, (rows, 14))
    return (source.astype("int32"), target.astype("int32")), target.astype("int32")


def test_replay_of_a_tiny_network(benchmark):
    """2-16-1 with batches of 32: what a step costs when the arithmetic is next to nothing."""
    model, twin = ([keras.Sequential([keras.Input((2,)), layers.Dense(16, "relu", kernel_initializer="ones"),
                                      layers.Dense(1, kernel_initializer="ones")]) for _ in range(2)])
    x, y = rng().random((32, 2), np.float32), np.ones((32, 1), "float32")
    for m in (model, twin):
        m.compile(keras.optimizers.SGD(1e-4), "mse", run_eagerly=m is twin)
        m.train_on_batch(x, y)
    (capture,) = model.make_train_function().captures
    capture.program.run()
    twin.train_on_batch(x, y)
    for a, b in zip(model.get_weights(), twin.get_weights()):
        np.testing.assert_array_equal(a, b)
    benchmark(capture.program.run)
    assert all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize("make, data, rows", [
    pytest.param(mlp, samples, 32, id="mlp-32"), pytest.param(mlp, samples, 128, id="mlp-128"),
    pytest.param(lenet, samples, 64, id="lenet-64"), pytest.param(vgg, samples, 32, id="vgg-32"),
    pytest.param(lstm, samples, 32, id="lstm-32"), pytest.param(seq2seq, tokens, 64, id="gru-bahdanau-64")])
def test_training_step(benchmark, make, data, rows):
    model = seeded(make)
    x, y = data(model, rows)
    first = model.train_on_batch(x, y)
    twin = seeded(make)
    twin.run_eagerly = True
    assert first == twin.train_on_batch(x, y), "replayed and eager steps differ"
    benchmark(model.train_on_batch, x, y)
    assert model.train_on_batch(x, y) < first


@pytest.mark.parametrize("name", ["predict_on_batch", "predict"])
def test_prediction_of_one_row(benchmark, name):
    model = mlp()
    x = samples(model, 1)[0]
    call, options = getattr(model, name), {"verbose": 0} if name == "predict" else {}
    call(x, **options)
    np.testing.assert_allclose(benchmark(call, x, **options), model(x).numpy(), rtol=1e-5, atol=1e-6)


def test_import_in_a_fresh_process(benchmark):
    def start():
        return subprocess.run([sys.executable, "-c", "import pydl; print(pydl.__version__)"], check=True, text=True,
                              capture_output=True, cwd=tempfile.gettempdir(),
                              env={"PYTHONPATH": str(PYDL_FOLDER)}).stdout.strip()

    assert benchmark.pedantic(start, rounds=5) == keras.__version__


def test_save_and_load(benchmark, tmp_path):
    model = lenet()
    model.train_on_batch(*samples(model, 8))  # the optimizer has its state now

    def round_trip():
        model.save(tmp_path / "m.keras")
        return keras.models.load_model(tmp_path / "m.keras")

    loaded = benchmark.pedantic(round_trip, rounds=5)
    for a, b in zip(model.variables + model.optimizer.variables, loaded.variables + loaded.optimizer.variables):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_text_vectorization(benchmark):
    words = [f"word{i}" for i in range(500)]
    texts = [" ".join(rng().choice(words, 60)) for _ in range(500)]
    layer = layers.TextVectorization(max_tokens=400, output_sequence_length=40)
    layer.adapt(texts)
    found = benchmark(layer, texts)
    vocabulary = layer.get_vocabulary()
    known = {word: i for i, word in enumerate(vocabulary)}
    want = [[known.get(w, 1) for w in text.split()[:40]] for text in texts]
    np.testing.assert_array_equal(np.asarray(found), want)


def test_perceptron_fit(benchmark):
    from pydl.estimators import Perceptron

    x = rng().normal(size=(2000, 20))
    y = (x @ rng().normal(size=20) > 0).astype(int)
    fitted = benchmark(lambda: Perceptron(max_iter=20, tol=None, random_state=0).fit(x, y))
    assert fitted.score(x, y) > 0.95
