"""Gradients, updates, activations, dead units, memory: what `pydl.inspection` measures while a model learns."""

import importlib.util
import math
import warnings

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops
from pydl.inspection import (
    TrainingMonitor,
    backprop_memory,
    confusion_matrix,
    dead_units,
    gradient_problems,
    monitored,
    plot_backprop_memory,
    plot_confusion_matrix,
    plot_dead_units,
    plot_history,
    plot_monitor,
    plot_weight_histograms,
    training_statistics,
    weight_histograms,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6)).astype("float32")
Y = RNG.integers(0, 3, 60)
WEIGHTS = RNG.uniform(0.5, 2, 60)


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


def network(optimizer=None, **compile_arguments):
    """Everything that has a state: penalty, normalisation, dropout."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([
        keras.Input((6,)), layers.Dense(8, activation="relu", kernel_regularizer="l2", name="first"),
        layers.BatchNormalization(name="norm"), layers.Dropout(0.3, name="drop"),
        layers.Dense(3, activation="softmax", name="last")])
    model.compile(optimizer or keras.optimizers.Adam(0.01, clipnorm=0.5), "sparse_categorical_crossentropy",
                  metrics=["accuracy"], **compile_arguments)
    return model


def generator():
    while True:
        for i in range(0, 60, 20):
            yield X[i:i + 20], Y[i:i + 20], WEIGHTS[i:i + 20]


class OwnStep(keras.Model):
    """A train_step of one's own, with two optimizers and random numbers without a seed."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(4, activation="tanh", name="inner")
        self.outer = layers.Dense(3, name="outer")
        self.second = keras.optimizers.SGD(0.1, momentum=0.9)

    def call(self, x, training=None):
        return self.outer(self.inner(x + 0.1 * keras.random.normal(x.shape)))

    def train_step(self, data):
        x, y = data[:2]
        with keras.GradientTape() as tape:
            loss = ops.mean(keras.losses.sparse_categorical_crossentropy(y, self(x), from_logits=True))
        variables = self.trainable_variables
        grads = tape.gradient(loss, variables)
        self.optimizer.apply_gradients(zip(grads[:2], variables[:2]))
        self.second.apply(grads[2:], variables[2:])
        return {"loss": loss}


def own_step():
    keras.utils.set_random_seed(3)
    model = OwnStep()
    model.compile("adam")
    return model


CALLS = {
    "arrays": (network, lambda m, c: m.fit(X, Y, batch_size=16, sample_weight=WEIGHTS, callbacks=c, epochs=3,
                                           verbose=0)),
    "generator": (network, lambda m, c: m.fit(generator(), steps_per_epoch=3, callbacks=c, epochs=3, verbose=0)),
    "eager": (lambda: network(run_eagerly=True), lambda m, c: m.fit(X, Y, callbacks=c, epochs=3, verbose=0)),
    "own step": (own_step, lambda m, c: m.fit(X, Y, batch_size=16, callbacks=c, epochs=3, verbose=0)),
    "accumulation": (lambda: network(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)),
                     lambda m, c: m.fit(X, Y, batch_size=16, callbacks=c, epochs=3, verbose=0)),
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_run_with_the_monitor_gives_the_same_bits(kind):
    make, fit = CALLS[kind]
    results = []
    for callbacks in ([], [TrainingMonitor()]):
        np.random.seed(1)
        model = make()
        history = fit(model, callbacks).history
        state = model.variables + model.optimizer.variables + model.metrics_variables
        results.append(([v.numpy().copy() for v in state], history["loss"], np.random.uniform(),
                        keras.random.normal((2,)).numpy().copy()))
    (plain, loss, draw, normal), (watched, watched_loss, watched_draw, watched_normal) = results
    for a, b in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (loss, draw) == (watched_loss, watched_draw)
    np.testing.assert_array_equal(normal, watched_normal)


def test_gradients_are_those_of_the_next_step():
    """With one batch per epoch, what the monitor rehearses after an epoch is what the next epoch does: plain SGD shows
    the gradient as the change of the weights, with the same dropout masks, sample weights, penalties."""
    rate = 0.1
    model = network(keras.optimizers.SGD(rate))
    monitor = TrainingMonitor()
    before = []
    snapshot = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: before.append(model.get_weights()))
    history = model.fit(X, Y, batch_size=60, sample_weight=WEIGHTS, shuffle=False, epochs=4, verbose=0,
                        callbacks=[snapshot, monitor]).history
    before.append(model.get_weights())
    for epoch in range(3):
        start, end = before[epoch + 1], before[epoch + 2]
        change = math.sqrt(sum(((b - a).astype("float64") ** 2).sum() for a, b in zip(start[:2], end[:2])))
        size = math.sqrt(sum((a.astype("float64") ** 2).sum() for a in start[:2]))
        assert history["gradient_norm/first"][epoch] == pytest.approx(change / rate, rel=1e-3)
        assert history["update_ratio/first"][epoch] == pytest.approx(change / size, rel=1e-5)
        assert history["weight_change/first"][epoch + 1] == pytest.approx(change / size, rel=1e-5)


def test_statistics_against_numpy(float64):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, activation="relu", name="a"),
                              layers.Dense(1, name="b")])
    model.compile(keras.optimizers.SGD(0.5, clipvalue=1e-3, loss_scale_factor=8.0), "mse")
    x, y, w = X[:10].astype("float64"), RNG.normal(size=(10, 1)), WEIGHTS[:10]
    kernel, bias, kernel2, bias2 = model.get_weights()
    hidden = np.maximum(x @ kernel + bias, 0)
    dz = 2 * w[:, None] * (hidden @ kernel2 + bias2 - y) / 10
    gradients = [hidden.T @ dz, dz.sum(0)]
    found = training_statistics(model, x, y, w)
    assert list(found) == ["a", "b"]
    assert found["b"]["gradient_norm"] == pytest.approx(math.sqrt(sum((g ** 2).sum() for g in gradients)))
    assert found["b"]["gradient_rms"] == pytest.approx(math.sqrt((gradients[0] ** 2).mean()))
    clipped = math.sqrt(sum((np.clip(g, -1e-3, 1e-3) ** 2).sum() for g in gradients))
    assert found["b"]["update_ratio"] == pytest.approx(
        0.5 * clipped / math.sqrt((kernel2 ** 2).sum() + (bias2 ** 2).sum()))
    assert found["a"]["activation_mean"] == pytest.approx(hidden.mean())
    assert found["a"]["activation_std"] == pytest.approx(hidden.std())
    assert found["a"]["activation_zeros"] == pytest.approx((hidden == 0).mean())
    for value, now in zip((kernel, bias, kernel2, bias2), model.get_weights()):
        np.testing.assert_array_equal(value, now)


def test_masks_and_recurrent_and_nested_models():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="dense")], name="inner")
    model = keras.Sequential([keras.Input((5,), dtype="int32"), layers.Embedding(9, 3, mask_zero=True, name="words"),
                              layers.Bidirectional(layers.LSTM(2, name="lstm"), name="both"), inner,
                              layers.Dense(2, name="dense")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 0, 0]])
    found = training_statistics(model, x, np.array([0, 1]))
    assert list(found) == ["words", "both", "inner/dense", "dense"]  # no cells, no models; paths where names repeat
    assert "activation_mean" in found["words"]
    model.get_layer("words").trainable = False
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert "gradient_norm" not in training_statistics(model, x, np.array([0, 1]))["words"]


def test_history_and_options():
    monitor = TrainingMonitor(data=(X[:8], Y[:8]), every=2)
    model = network()
    history = model.fit(X, Y, epochs=5, verbose=0, callbacks=[monitor])
    curve = history.history["gradient_norm/last"]
    assert len(curve) == 5 and [i for i, v in enumerate(curve) if not math.isnan(v)] == [1, 3]
    found = monitored(history)
    assert set(found) == {"gradient_norm", "weight_change", "update_ratio", "activation_mean", "activation_std",
                          "activation_zeros"}
    assert set(found["gradient_norm"]) == {"first", "norm", "last"} and found["gradient_norm"]["last"].shape == (5,)
    assert set(found["activation_mean"]) == {"first", "norm", "drop", "last"}
    given = keras.callbacks.History()
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[given, TrainingMonitor()])  # History before the monitor
    assert {len(curve) for curve in given.history.values()} == {2}
    for wrong in ({"every": 0}, {"data": X}, {"data": ()}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TrainingMonitor(**wrong)


def test_a_model_that_its_first_batch_builds():
    model = keras.Sequential([layers.Dense(2, name="only")])
    model.compile("sgd", "mse")
    history = model.fit(X, X[:, :2], epochs=2, verbose=0, callbacks=[TrainingMonitor()]).history
    first, second = history["weight_change/only"]
    assert math.isnan(first) and second > 0 and len(history["gradient_norm/only"]) == 2


def deep(activation, depth=10):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.Input((6,)), *(layers.Dense(10, activation, name=f"layer{i}") for i in range(depth)),
        layers.Dense(3, "softmax" if activation != "linear" else None, name="answer")])
    model.compile(keras.optimizers.SGD(1e-6), "sparse_categorical_crossentropy")
    return model


def test_warnings_name_the_layer_and_the_remedies():
    with pytest.warns(UserWarning) as seen:
        monitor = TrainingMonitor()
        deep("sigmoid").fit(X, Y, epochs=2, verbose=0, callbacks=[monitor])
    assert monitor.problems["layer0", "vanishing"] == 0
    (message,) = [str(w.message) for w in seen if 'Vanishing gradient in layer "layer0"' in str(w.message)]  # once
    assert "fewer layers, ReLU" in message and "BatchNormalization" in message and message.endswith("(epoch 1)")
    with pytest.warns(UserWarning) as seen:
        model = deep("linear", depth=2)
        model.compile(keras.optimizers.SGD(50.0), "mse")
        model.fit(X, RNG.normal(size=(60, 3)), batch_size=60, epochs=1, verbose=0, callbacks=[TrainingMonitor()])
    (message,) = [str(w.message) for w in seen if 'Exploding update in layer "layer0"' in str(w.message)]
    assert "clipnorm" in message
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deep("relu", depth=3).fit(X, Y, epochs=1, verbose=0, callbacks=[TrainingMonitor()])


def test_gradient_problems_of_numbers():
    def layer(rms, update=0.01):
        return {"gradient_rms": rms, "update_ratio": update}

    assert gradient_problems({"a": layer(1e-3), "b": layer(1e-2), "shape": {}}) == {}
    assert gradient_problems({"a": layer(1e-9), "b": layer(1e-9)}) == {}  # all are small: learned
    assert gradient_problems({"a": layer(0.0, 0.0), "b": layer(0.0, 0.0)}) == {}
    kinds = {name: kind for name, (kind, _) in gradient_problems({
        "zero": layer(0.0), "small": layer(1e-7), "large": layer(1e5), "wild": layer(1.0, 2.0), "b": layer(1.0),
        "nan": layer(math.nan)}).items()}
    assert kinds == {"zero": "vanishing", "small": "vanishing", "large": "exploding", "wild": "exploding",
                     "nan": "exploding"}


def test_wrong_models():
    for measure in (training_statistics, backprop_memory):
        with pytest.raises(TypeError, match=f"{measure.__name__}: expected a Model"):
            measure(layers.Dense(1), X)
        with pytest.raises(ValueError, match="not built"):
            measure(keras.Sequential([layers.Dense(1)]), X)
    bare = keras.Sequential([keras.Input((6,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="compile"):
        training_statistics(bare, X, Y)


# ---- units, weights, memory ----------------------------------------------------------------------------------------


def test_dead_units():
    inputs = keras.Input((6, 6, 1))
    conv = layers.Conv2D(4, 3, activation="relu", name="conv")
    dense = layers.Dense(4, name="dense")
    y = layers.ReLU(name="rectified")(dense(layers.Flatten()(conv(inputs))))
    model = keras.Model(inputs, ops.relu(layers.Dense(2, name="sums")(y)))
    conv.set_weights([conv.kernel.numpy(), np.array([-100, -100, -100, 1], "float32")])
    dense.set_weights([np.zeros((64, 4), "float32"), np.array([-1, 1, 1, 0], "float32")])
    model.get_layer("sums").set_weights([np.ones((4, 2), "float32"), np.zeros(2, "float32")])
    x = RNG.uniform(size=(50, 6, 6, 1))
    with pytest.warns(UserWarning, match='75% of the units of layer "conv" are dead.*LeakyReLU') as seen:
        found = dead_units(model, x)
    assert len(seen) == 1  # a share of one half is not above one half
    np.testing.assert_array_equal(found["conv"], [True, True, True, False])
    np.testing.assert_array_equal(found["rectified"], [True, False, False, True])
    assert len(found) == 3 and found[next(name for name in found if "relu" in name)].shape == (2,)
    one = np.zeros((40, 6, 6, 1))
    one[33] = 1  # fires for one sample of the second batch
    conv.set_weights([np.ones((3, 3, 1, 4), "float32"), np.full(4, -8.5, "float32")])
    assert not dead_units(model, one, warn_above=1)["conv"].any()
    with pytest.raises(ValueError, match="has no layer with a ReLU: .'only'"):
        dead_units(keras.Sequential([keras.Input((2,)), layers.Dense(2, name="only")]), np.ones((1, 2)))


def test_weight_histograms():
    model = network()
    found = weight_histograms(model, bins=7, limits=(-3, 3))
    assert list(found) == ["first/kernel", "last/kernel"]
    counts, edges = found["first/kernel"]
    assert counts.sum() == 48 and (edges[0], edges[-1], len(counts)) == (-3, 3, 7)
    assert len(weight_histograms(model, kernels_only=False)) == 6
    with pytest.raises(ValueError, match="no trainable weights"):
        weight_histograms(keras.Sequential([layers.Dense(1)]))


def test_memory_is_what_the_formulas_say():
    """float32: a Dense with ReLU keeps input and output; the linear one behind it reads what is counted already."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(50, activation="relu", name="a"),
                              layers.Dropout(0.5, name="drop"), layers.Dense(7, activation="tanh", name="b")])
    found = backprop_memory(model, X)
    assert found["a"] == 4 * 60 * (6 + 50)
    assert 60 * 50 <= found["drop"] <= 60 * 50 + 100  # the mask, in bytes, and a random state
    assert found["b"] == 4 * 60 * (50 + 7)  # what the dropout gave, and tanh
    half = backprop_memory(model, X[:30])
    assert half["a"] == found["a"] / 2 and half["b"] == found["b"] / 2
    model.compile("sgd", "mse")
    assert "(outside of layers)" in backprop_memory(model, X, np.zeros((60, 7)))
    before = network()
    state = [v.numpy().copy() for v in before.variables]
    backprop_memory(before, X, Y)
    for a, b in zip(state, before.variables):
        np.testing.assert_array_equal(a, b)


def test_memory_is_really_held():
    """The arena of the recorded step, which holds gradients too, is not smaller than the sum."""
    model = keras.Sequential([keras.Input((16, 16, 2)), layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(),
                              layers.Flatten(), layers.Dense(3)])
    model.compile("sgd", "mse")
    x, y = RNG.normal(size=(32, 16, 16, 2)).astype("float32"), np.zeros((32, 3), "float32")
    kept = sum(backprop_memory(model, x, y).values()) - x.nbytes - y.nbytes  # the batch lies outside of the arena
    model.fit(x, y, batch_size=32, verbose=0)
    arena = model.make_train_function().captures[-1].program.arena_bytes
    assert 0 < kept <= arena


# ---- confusion -----------------------------------------------------------------------------------------------------


def test_confusion_matrix():
    true, scores = np.array([0, 0, 1, 2, 2, 2]), np.eye(3)[[0, 1, 1, 2, 2, 0]]
    expected = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 2]])
    classes = scores.argmax(1)
    for y, p in ((true, scores), (true[:, None], scores), (np.eye(3)[true], classes), (true, classes)):
        found = confusion_matrix(y, p)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.int64
    np.testing.assert_allclose(np.diag(confusion_matrix(true, scores, normalize="true")), [1 / 2, 1, 2 / 3])
    np.testing.assert_allclose(np.diag(confusion_matrix(true, scores, normalize="pred")), [1 / 2, 1 / 2, 1])
    assert confusion_matrix(true, scores, normalize="all").sum() == pytest.approx(1)
    np.testing.assert_array_equal(confusion_matrix(true, scores, sample_weight=np.full(6, 0.5)), expected / 2)
    np.testing.assert_array_equal(confusion_matrix([0, 1, 1], [[0.2], [0.9], [0.5]]), [[1, 0], [1, 1]])  # binary
    assert confusion_matrix([0], [1], num_classes=4, normalize="true").shape == (4, 4)
    for arguments, message in ((([0, 1], [0]), "2 labels and 1 predictions"), (([], []), "at least one"),
                               (([0, 5], [0, 1], 3), "y_true in 0 .. 2; received 5"),
                               (([0], [0], 2, "rows"), "normalize"),
                               (([0.5], [0]), "class numbers")):
        with pytest.raises(ValueError, match=message):
            confusion_matrix(*arguments)


@pytest.mark.reference
def test_confusion_matrix_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    true, pred, weights = RNG.integers(0, 5, 200), RNG.integers(0, 5, 200), RNG.uniform(size=200)
    for normalize in (None, "true", "pred", "all"):
        np.testing.assert_allclose(confusion_matrix(true, pred, normalize=normalize, sample_weight=weights),
                                   metrics.confusion_matrix(true, pred, normalize=normalize, sample_weight=weights))


# ---- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="draws with matplotlib")
def test_pictures(tmp_path):
    model = network()
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[TrainingMonitor()])
    figure = plot_monitor(history, path=tmp_path / "monitor.png")
    assert (tmp_path / "monitor.png").read_bytes().startswith(b"\x89PNG")
    assert [axis.get_ylabel() for axis in figure.axes] == ["gradient norm", "weight change", "update ratio",
                                                           "activation mean", "activation std", "activation zeros"]
    assert [line.get_label() for line in figure.axes[0].lines] == ["first", "norm", "last"]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), history.history["gradient_norm/first"])
    assert figure.axes[0].get_yscale() == "log" and figure.axes[3].get_yscale() == "linear"
    assert len(plot_monitor(history.history, "activation_std", ["drop"]).axes[0].lines) == 1
    for wrong, message in (({"quantities": "loss"}, "quantity among"), ({"layers": "third"}, "layer among")):
        with pytest.raises(ValueError, match=message):
            plot_monitor(history, **wrong)
    with pytest.raises(ValueError, match="no values of a TrainingMonitor"):
        plot_monitor({"loss": [1.0]})
    assert [axis.get_ylabel() for axis in plot_history(history).axes] == ["accuracy", "loss"]

    figure = plot_weight_histograms({"L2": model, "without": network()}, bins=9)
    assert [axis.get_xlabel() for axis in figure.axes] == ["first/kernel", "last/kernel"]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["L2", "without"]
    assert len(plot_weight_histograms(model, kernels_only=False).axes) == 6
    with pytest.raises(ValueError, match="the same layers"):
        plot_weight_histograms({"a": model, "b": deep("relu")})

    bars = plot_dead_units({"a": np.array([True, True, False]), "b": np.array([False])}).axes[0].patches
    assert [bar.get_width() for bar in bars] == [pytest.approx(200 / 3), 0]
    assert bars[0].get_facecolor() != bars[1].get_facecolor()
    assert len(plot_backprop_memory(backprop_memory(model, X)).axes[0].patches) == 4

    figure = plot_confusion_matrix(confusion_matrix(Y, model.predict(X, verbose=0)), ["x", "y", "z"])
    assert len(figure.axes[0].texts) == 9
    with pytest.raises(ValueError, match="expected 3 class names; received 2"):
        plot_confusion_matrix(np.eye(3), ["a", "b"])
