"""Keras scripts run unchanged after `import pydl as keras`; where Keras is installed, with the same numbers.

KERAS_BACKEND=torch: the scripts' own training steps call `loss.backward()`, as Keras's guide for PyTorch does.
"""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import os
import pickle
import threading
import warnings

import numpy as np
import pytest
from keras_scripts import SCRIPTS, points

import pydl


def run(script, keras, folder):
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    return script(keras, folder) if "folder" in inspect.signature(script).parameters else script(keras)


def compare(ours, theirs, where):
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key in theirs:
            compare(ours[key], theirs[key], f"{where}, {key}")
    elif isinstance(theirs, (list, tuple)):
        assert type(ours) is type(theirs) and len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs)):
            compare(a, b, f"{where}, {i}")
    elif isinstance(theirs, (float, np.ndarray, np.floating)):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-5, err_msg=where)
    else:
        assert ours == theirs, where


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_script(script, tmp_path):
    for value in pydl.tree.flatten(run(script, pydl, tmp_path)):
        if isinstance(value, (float, np.ndarray)):
            assert np.isfinite(value).all()
        elif isinstance(value, bool):
            assert value or script.__name__ == "sequential"  # not built before its first call


@pytest.mark.reference
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_script_in_keras(script, tmp_path):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras")
    if "backward" in inspect.getsource(script) and keras.backend.backend() != "torch":
        pytest.skip("loss.backward() is PyTorch's")
    ours = run(script, pydl, tmp_path)
    with warnings.catch_warnings():  # Keras's own are none of our business
        warnings.simplefilter("ignore")
        theirs = run(script, keras, tmp_path)
    compare(ours, theirs, script.__name__)


# ---- what scripts do around models ---------------------------------------------------------------------------------

X, Y = points()


def trained():
    pydl.utils.set_random_seed(1)
    layers = pydl.layers
    model = pydl.Sequential([pydl.Input((8,)), layers.Dense(6, activation="relu"), layers.BatchNormalization(),
                             layers.Dropout(0.1), layers.Dense(1)])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, Y, verbose=0)
    return model


@pytest.mark.parametrize("how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))],
                         ids=["deepcopy", "pickle"])
def test_a_copy_goes_on_by_itself(how):
    model = trained()
    twin = how(model)
    np.testing.assert_array_equal(twin.predict(X, verbose=0), model.predict(X, verbose=0))
    before = model.get_weights()
    twin.fit(X, Y, verbose=0)
    for a, b, c in zip(before, model.get_weights(), twin.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert np.any(c != b)
    assert int(twin.optimizer.iterations) == 2 * int(model.optimizer.iterations)


def test_two_threads_train_as_one():
    alone = trained().fit(X, Y, epochs=20, verbose=0, shuffle=False).history["loss"]
    models, losses = [trained(), trained()], {}

    def fit(i):
        losses[i] = models[i].fit(X, Y, epochs=20, verbose=0, shuffle=False).history["loss"]

    threads = [threading.Thread(target=fit, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert losses == {0: alone, 1: alone}


def _in_child(_):
    return trained().fit(X, Y, epochs=2, verbose=0, shuffle=False).history["loss"]


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_children_of_a_fork_train():
    here = _in_child(None)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map_async(_in_child, range(2)).get(timeout=60) == [here, here]


def test_dir_shows_public_names():
    for room in (pydl, pydl.layers, pydl.ops, pydl.losses, pydl.metrics, pydl.optimizers, pydl.random):
        assert not [n for n in dir(room) if n in ("importlib", "pkgutil", "annotations", "np") or n.startswith("_")
                    and not n.startswith("__")]
        assert all(hasattr(room, n) for n in dir(room))


def test_older_paths():
    assert pydl.preprocessing.sequence.pad_sequences is pydl.utils.pad_sequences
    assert pydl.utils.register_keras_serializable is pydl.saving.register_keras_serializable


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: pydl.layers.Dense(3, name="d")(), TypeError, "'d' was called without inputs"),
    (lambda: pydl.layers.Dense(3, name="d")("abc"), ValueError, "'d': Only input tensors.*'abc'"),
    (lambda: pydl.Input(3), ValueError, r"`shape` is a tuple.*shape=3"),
    (lambda: trained().compile("adam", "mse", ["mae"]), ValueError, r"`loss_weights` are numbers.*\['mae'\].*metrics="),
    (lambda: trained().fit(np.array(["a", "b"]), [0, 1]), ValueError, "hold strings; expected numbers.*'a'"),
])
def test_slips(call, error, message):
    with pytest.raises(error, match=message):
        call()
