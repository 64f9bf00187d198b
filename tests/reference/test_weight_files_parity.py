"""Weights files of Keras and of the package safetensors, read here and written there."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
safetensors = pytest.importorskip("safetensors.numpy")

import pydl  # noqa: E402

pytestmark = pytest.mark.reference
rng = np.random.default_rng(4)
X = rng.normal(size=(5, 4)).astype("float32")


def network(library):
    inner = library.Sequential([library.Input((4,)), library.layers.Dense(4, name="d"),
                                library.layers.BatchNormalization(name="n1"),
                                library.layers.BatchNormalization(name="n2")], name="inner")
    x = library.Input((4,))
    y = library.layers.Embedding(7, 4, name="e")(library.layers.Lambda(lambda a: a[:, :1] * 0)(x))
    y = library.layers.Flatten()(y) + inner(x)
    return library.Model(x, library.layers.Dense(3, name="head")(library.layers.Dropout(0.5)(y)))


def filled():
    model = network(keras)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("by_name", [False, True])
def test_whole_legacy_model(tmp_path, by_name, frozen):
    theirs, ours = filled(), network(pydl)
    theirs.get_layer("inner").trainable = not frozen
    theirs.save(tmp_path / "x.h5")
    ours.load_weights(tmp_path / "x.h5", by_name=by_name)
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)


@pytest.mark.parametrize("name", ["x.weights.h5", "x.keras"])
def test_files_of_keras_3(tmp_path, name):
    theirs, ours = filled(), network(pydl)
    (theirs.save_weights if name == "x.weights.h5" else theirs.save)(tmp_path / name)
    ours.load_weights(tmp_path / name)
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)


def test_safetensors(tmp_path):
    theirs, ours = filled(), network(pydl)
    # The package takes contiguous arrays only, and writes names in its own order.
    safetensors.save_file({"/".join(v.path.split("/")[-2:]): np.ascontiguousarray(keras.ops.convert_to_numpy(v))
                           for v in theirs.weights}, tmp_path / "x.safetensors", {"made": "here"})
    ours.load_weights(tmp_path / "x.safetensors")
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)
    ours.save_weights(tmp_path / "y.safetensors")
    again = safetensors.load_file(tmp_path / "y.safetensors")
    assert len(again) == len(ours.weights)
    np.testing.assert_array_equal(again["layers/dense/kernel"], ours.get_layer("head").kernel.numpy())


@pytest.mark.parametrize("kind", ["sequential", "functional"])
def test_load_legacy_model(tmp_path, kind):
    if kind == "sequential":
        theirs = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "relu", kernel_regularizer="l2"),
                                   keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    else:
        x = keras.Input((4,))
        y = keras.layers.Dense(4, "relu")(x)
        inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        y = keras.layers.Concatenate()([keras.layers.Add()([inner(y), x]), y])
        theirs = keras.Model(x, keras.layers.Dense(2)(y))
    theirs.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    target = rng.normal(size=(5, 2)).astype("float32")
    theirs.fit(X, target, verbose=0)
    theirs.save(tmp_path / "x.h5")
    ours = pydl.saving.load_model(tmp_path / "x.h5")
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-5)
    for model in (ours, theirs):  # with the optimizer's state
        model.fit(X, target, epochs=3, verbose=0)
    np.testing.assert_allclose(ours.predict(X, verbose=0), theirs.predict(X, verbose=0), atol=1e-4)
