"""Published architectures against Keras 3: the same layers, and the same predictions from the same weights file."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np
import pytest

keras = pytest.importorskip("keras")
pytestmark = [
    pytest.mark.reference,
    pytest.mark.skipif(keras.config.backend() != "torch", reason="compares with Keras on its torch backend"),
    # 2026-11: Keras 3.15 with NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
]

import pydl  # noqa: E402
from pydl import applications  # noqa: E402

X = np.random.default_rng(4).uniform(-1, 1, (2, 64, 64, 3)).astype("float32")
NO_TOP = {"include_top": False, "input_shape": (64, 64, 3), "pooling": "avg"}
WITH_TOP = {"input_shape": (64, 64, 3), "classes": 5}
ROWS = [
    ("VGG16", NO_TOP, ".h5"), ("VGG19", {**NO_TOP, "pooling": "max"}, ".weights.h5"),
    ("ResNet50", NO_TOP, ".h5"), ("ResNet50", WITH_TOP, ".weights.h5"),
    ("ResNet50V2", {**NO_TOP, "pooling": None}, ".weights.h5"), ("MobileNetV2", NO_TOP, ".h5"),
    ("MobileNetV2", {**WITH_TOP, "alpha": 0.35}, ".weights.h5"),
    ("MobileNetV2", {**NO_TOP, "input_shape": (65, 63, 3), "alpha": 1.4}, ".weights.h5"),
]


def randomized(model):
    """Statistics and scales unlike their initial values, so that a swap shows."""
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([w * rng.uniform(0.8, 1.2, w.shape) + rng.normal(0, 0.02, w.shape)
                               for w in layer.get_weights()])
    return model


@pytest.mark.parametrize("name, arguments, suffix", ROWS)
def test_same_network(name, arguments, suffix, tmp_path):
    theirs = randomized(getattr(keras.applications, name)(weights=None, **arguments))
    path = str(tmp_path / f"x{suffix}")
    if suffix == ".h5":
        theirs.save(path)
    else:
        theirs.save_weights(path)
    ours = getattr(applications, name)(weights=path, **arguments)
    assert ours.name == theirs.name and ours.count_params() == theirs.count_params()
    # Names that Keras numbers by itself (input_layer, global_average_pooling2d) differ with what was made before.
    for a, b in zip(ours.layers, theirs.layers, strict=True):
        automatic = b.name.startswith(("input_layer", "global_", "max_pooling2d"))
        assert type(a).__name__ == type(b).__name__ and (automatic or a.name == b.name)
        if not b.name.startswith("input_layer"):
            assert tuple(a.output.shape) == tuple(b.output.shape), a.name
    x = X if "65" not in str(arguments) else np.resize(X, (2, 65, 63, 3))
    want = theirs.predict(x, verbose=0)
    np.testing.assert_allclose(ours.predict(x, verbose=0), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("name", ["VGG16", "MobileNetV2"])
def test_our_file_in_keras(name, tmp_path):
    ours = getattr(applications, name)(weights=None, **NO_TOP)
    ours.save_weights(tmp_path / "x.weights.h5")
    theirs = getattr(keras.applications, name)(weights=str(tmp_path / "x.weights.h5"), **NO_TOP)
    want = theirs.predict(X, verbose=0)
    np.testing.assert_allclose(ours.predict(X, verbose=0), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def test_same_arguments():
    import inspect

    for name in ("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2",
                 "MobileNetV2"):
        ours, theirs = (inspect.signature(getattr(k.applications, name)).parameters for k in (pydl, keras))
        assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]
