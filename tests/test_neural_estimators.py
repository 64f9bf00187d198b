"""NeuralClassifier and NeuralRegressor: what a wrapped model learns, and what wrapping must not touch."""

import random as python_random

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_digits, make_blobs, make_regression

import pydl
from pydl import layers, losses
from pydl.estimators import NeuralClassifier, NeuralRegressor

BLOBS, KINDS = make_blobs(120, centers=3, random_state=0)
BLOBS = BLOBS / 3


def network(features, classes, units=8, end="softmax"):
    return pydl.Sequential([pydl.Input((features,)), layers.Dense(units, activation="tanh"),
                            layers.Dense(classes, activation=end)])


def compiled(features, classes, loss, end="softmax", outputs=None):
    model = network(features, classes if outputs is None else outputs, end=end)
    model.compile(pydl.optimizers.Adam(0.05), loss)
    return model


@pytest.mark.parametrize("arguments", [
    {"loss": "sparse_categorical_crossentropy"}, {"loss": "categorical_crossentropy"}, {"loss": "mse"},
    {"loss": losses.SparseCategoricalCrossentropy(from_logits=True), "end": "linear"},
    {"loss": losses.CategoricalCrossentropy(from_logits=True), "end": "linear"},
    {"loss": "categorical_hinge", "end": "linear"}], ids=str)
def test_losses_of_several_classes(arguments):
    names = np.array(["ash", "oak", "fir"])[KINDS]
    estimator = NeuralClassifier(compiled, model_arguments=arguments, epochs=20, random_state=0).fit(BLOBS, names)
    assert estimator.score(BLOBS, names) > 0.85
    if "hinge" in str(arguments["loss"]):
        assert not hasattr(estimator, "predict_proba")
        return
    p = estimator.predict_proba(BLOBS)
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_array_equal(estimator.classes_[p.argmax(1)], estimator.predict(BLOBS))
    y = estimator.model_.predict(BLOBS, verbose=0).astype("float64")
    expected = np.exp(y) / np.exp(y).sum(1, keepdims=True) if arguments.get("end") else y / y.sum(1, keepdims=True)
    np.testing.assert_allclose(p, expected, rtol=1e-6)


@pytest.mark.parametrize("arguments", [
    {"loss": "binary_crossentropy", "end": "sigmoid"}, {"loss": "hinge", "end": "linear"},
    {"loss": losses.BinaryCrossentropy(from_logits=True), "end": "linear"}], ids=str)
def test_losses_of_one_output(arguments):
    x, y = BLOBS[KINDS < 2], KINDS[KINDS < 2]
    estimator = NeuralClassifier(compiled, model_arguments={**arguments, "outputs": 1}, epochs=20, random_state=0)
    assert estimator.fit(x, y).score(x, y) > 0.9
    if arguments["loss"] != "hinge":
        p = estimator.predict_proba(x)
        np.testing.assert_array_equal(p[:, 1] > 0.5, estimator.predict(x) == 1)


def test_it_is_the_models_own_training():
    """The weights are those of `fit` on the model itself, from the same seed."""
    class_weight, given = {0: 2.0, 1: 1.0, 2: 0.5}, np.random.default_rng(0).uniform(0.5, 2, len(KINDS))
    estimator = NeuralClassifier(network, class_weight=class_weight, epochs=3, batch_size=16, random_state=7)
    estimator.fit(BLOBS, KINDS, sample_weight=given)
    pydl.utils.set_random_seed(np.random.RandomState(7).randint(2**31 - 1))
    model = network(2, 3)
    model.compile("adam", "sparse_categorical_crossentropy", weighted_metrics=None)
    history = model.fit(BLOBS, KINDS, 16, 3, verbose=0, sample_weight=given * [class_weight[k] for k in KINDS])
    for mine, other in zip(estimator.model_.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(mine, other)
    assert estimator.history_ == history.history


def test_global_generators_stay_as_they_are():
    pydl.utils.set_random_seed(1)
    before = python_random.getstate(), np.random.get_state()[1].copy(), pydl.random.normal((3,)).numpy()
    pydl.utils.set_random_seed(1)
    NeuralClassifier(network, epochs=1, random_state=0).fit(BLOBS, KINDS)
    assert python_random.getstate() == before[0]
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])
    np.testing.assert_array_equal(pydl.random.normal((3,)).numpy(), before[2])


def test_a_given_model_is_copied():
    model = network(2, 3)
    weights = model.get_weights()
    estimator = NeuralClassifier(model, epochs=2, random_state=0).fit(BLOBS, KINDS)
    again = NeuralClassifier(model, epochs=2, random_state=0).fit(BLOBS, KINDS)
    for mine, other, first in zip(estimator.model_.get_weights(), again.model_.get_weights(), weights):
        np.testing.assert_array_equal(mine, other)
        assert (mine != first).any()
    for now, first in zip(model.get_weights(), weights):
        np.testing.assert_array_equal(now, first)


def test_going_on():
    estimator = NeuralClassifier(network, epochs=2, warm_start=True, random_state=0).fit(BLOBS, KINDS)
    steps = int(estimator.model_.optimizer.iterations)
    assert int(estimator.fit(BLOBS, KINDS).model_.optimizer.iterations) == 2 * steps
    part = NeuralClassifier(network, random_state=0)
    with pytest.raises(ValueError, match="first call"):
        part.partial_fit(BLOBS, KINDS)
    part.partial_fit(BLOBS[KINDS < 2], KINDS[KINDS < 2], classes=[0, 1, 2]).partial_fit(BLOBS, KINDS)
    assert part.model_.output_shape == (None, 3)
    with pytest.raises(ValueError, match="not among"):
        part.partial_fit(BLOBS, KINDS + 1)


def test_arguments_of_fit():
    class Epochs(pydl.callbacks.Callback):
        seen = 0

        def on_epoch_end(self, epoch, logs=None):
            Epochs.seen += 1

    names = np.array(["ash", "oak", "fir"])[KINDS]
    estimator = NeuralClassifier(network, metrics=["accuracy"], epochs=9, random_state=0)
    estimator.fit(BLOBS, names, epochs=3, callbacks=[Epochs()], validation_data=(BLOBS[:30], names[:30]))
    assert Epochs.seen == 3 and set(estimator.history_) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    order = np.argsort(KINDS)  # the last rows are all of one class
    sorted_ = NeuralClassifier(network, metrics=["accuracy"], epochs=15, validation_split=0.2,
                               optimizer=pydl.optimizers.Adam(0.05), random_state=0).fit(BLOBS[order], KINDS[order])
    assert sorted_.history_["val_accuracy"][-1] > 0.7


def test_images():
    x, y = load_digits(return_X_y=True)
    x, y = x[:500].reshape(-1, 8, 8, 1).astype("uint8"), y[:500]

    def convolutional(shape, classes):
        return pydl.Sequential([pydl.Input(shape), layers.Rescaling(1 / 16), layers.Conv2D(8, 3, activation="relu"),
                                layers.Flatten(), layers.Dense(classes, activation="softmax")])

    estimator = NeuralClassifier(convolutional, optimizer=pydl.optimizers.Adam(0.01), random_state=0)
    assert estimator.fit(x, y).score(x, y) > 0.95
    assert NeuralClassifier(epochs=3, random_state=0).fit(x, y).score(x, y) > 0.6  # the default one flattens


def test_regressor():
    x, y = make_regression(200, 4, n_targets=2, random_state=0)
    y /= 100
    arguments = {"optimizer": pydl.optimizers.Adam(0.02), "epochs": 30, "random_state": 0}
    both = NeuralRegressor(**arguments).fit(x, y)
    assert both.score(x, y) > 0.98 and both.predict(x).shape == (200, 2)
    one = NeuralRegressor(lambda n, k: network(n, k, end="linear"), loss="huber", **arguments).fit(x, y[:, 0])
    assert one.predict(x).shape == (200,) and one.score(x, y[:, 0]) > 0.9
    assert NeuralRegressor(**arguments).partial_fit(x, y).model_.optimizer.iterations == 7


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="3 classes, the model 4 outputs"):
        NeuralClassifier(lambda n, k: network(n, 4)).fit(BLOBS, KINDS)
    with pytest.raises(ValueError, match="2 targets, the model 1 outputs"):
        NeuralRegressor(lambda n, k: network(n, 1)).fit(BLOBS, BLOBS)
    with pytest.raises(TypeError, match="expected model"):
        NeuralClassifier("mlp").fit(BLOBS, KINDS)
    with pytest.raises(ValueError, match="model_arguments"):
        NeuralClassifier(network(2, 3), model_arguments={"units": 3}).fit(BLOBS, KINDS)
    with pytest.raises(ValueError, match="one output"):
        NeuralClassifier(lambda n, k: pydl.Sequential([layers.Reshape((2, 1))])).fit(BLOBS, KINDS)
    estimator = NeuralRegressor(network, optimizer=pydl.optimizers.SGD(0.1), model_arguments={"end": "linear"},
                                warm_start=True, random_state=0).fit(BLOBS, BLOBS)
    before = estimator.model_.get_weights()
    with pytest.raises(ValueError, match="non-finite"):
        estimator.fit(BLOBS, 1e30 * BLOBS)
    for now, then in zip(estimator.model_.get_weights(), before):
        np.testing.assert_array_equal(now, then)


def test_several_labels_of_a_sample_are_refused():
    many = np.stack([KINDS == 0, KINDS == 1, KINDS == 2], 1).astype(int)
    for call in (lambda e: e.fit(BLOBS, many), lambda e: e.partial_fit(BLOBS, many, classes=[0, 1])):
        with pytest.raises(ValueError, match=r"one label for each sample; received y of shape \(\d+, 3\).*argmax"):
            call(NeuralClassifier(epochs=1))
    with pytest.raises(ValueError, match=r"`y` has classes \[7\] that are not among the known ones, \[0, 1, 2\]"):
        NeuralClassifier(epochs=1).fit(BLOBS, KINDS).partial_fit(BLOBS, np.where(KINDS == 0, 7, KINDS))
