"""What other libraries got wrong, one named test each."""

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops

rng = np.random.default_rng(3)
X = rng.normal(size=(40, 4)).astype("float32")
Y = rng.normal(size=(40, 1)).astype("float32")


def regression(optimizer="sgd", **kwargs):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6, activation="tanh"), layers.Dense(1)])
    model.compile(optimizer, "mse", **kwargs)
    return model


class Scripted(keras.callbacks.Callback):
    """Lets `val_loss` take given values, and remembers the weights of every epoch."""

    def __init__(self, values):
        super().__init__()
        self.values, self.weights = values, []

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.values[epoch]
        self.weights.append(self.model.get_weights())


@pytest.mark.parametrize("values, best, epochs", [
    ([3, 1, 2, 2], 1, 4),  # runs to its end without stopping early
    ([3, 1, 2, 2, 2, 2, 2], 1, 5),  # stops early
    ([1, 2, 3, 4], 0, 4),
    ([4, 3, 2, 1], 3, 4),
])
def test_early_stopping_restores_the_best_weights_even_when_it_does_not_stop(values, best, epochs):
    model, script = regression(), Scripted([float(v) for v in values])
    stop = keras.callbacks.EarlyStopping(patience=3, restore_best_weights=True)
    history = model.fit(X, Y, epochs=len(values), verbose=0, callbacks=[script, stop])
    assert len(history.epoch) == epochs and stop.best_epoch == best
    for got, want in zip(model.get_weights(), script.weights[best]):
        np.testing.assert_array_equal(got, want)
    if best < epochs - 1:
        assert not np.array_equal(script.weights[best][0], script.weights[-1][0])


@pytest.mark.parametrize("callback", [
    lambda m: keras.callbacks.EarlyStopping(m), lambda m: keras.callbacks.ReduceLROnPlateau(m, mode="min")])
@pytest.mark.parametrize("monitor, arguments, text", [
    ("val_loss", {}, "val_loss.*not available.*loss.*no validation data"),
    ("val_lozz", {"validation_split": 0.2}, "val_lozz.*not available.*val_loss"),
    ("accuracy", {"validation_split": 0.2}, "accuracy.*not available.*loss"),
])
def test_a_monitored_metric_that_never_appears_is_a_clear_error(callback, monitor, arguments, text):
    with pytest.raises(ValueError, match=text):
        regression().fit(X, Y, epochs=3, verbose=0, callbacks=[callback(monitor)], **arguments)


def test_the_error_of_a_missing_metric_comes_in_the_first_epoch():
    epochs = []
    count = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    with pytest.raises(ValueError, match="not available"):
        regression().fit(X, Y, epochs=5, verbose=0, callbacks=[count, keras.callbacks.EarlyStopping("val_loss")])
    assert epochs == [0]


def test_validation_in_some_epochs_only_is_no_error():
    stop = keras.callbacks.EarlyStopping("val_loss", patience=2)
    regression().fit(X, Y, epochs=4, verbose=0, callbacks=[stop], validation_split=0.2, validation_freq=2)


def test_masked_loss_and_metric_agree():
    """Masked time steps count neither in the loss nor in the metric; batches differ in their number of masked steps."""
    ids = rng.integers(1, 9, (20, 6))
    for row, length in enumerate(rng.integers(1, 7, 20)):
        ids[row, length:] = 0
    y = rng.normal(size=(20, 6, 1))
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((6,), dtype="int32"), layers.Embedding(9, 3, mask_zero=True),
                              layers.Dense(1)])
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"), metrics=["mse"],
                  weighted_metrics=[keras.metrics.MeanSquaredError(name="weighted")])
    got = model.evaluate(ids, y, batch_size=20, verbose=0, return_dict=True)
    kept = ids != 0
    want = np.mean((model.predict(ids, verbose=0) - y)[kept] ** 2)
    for value in got.values():
        np.testing.assert_allclose(value, want, rtol=1e-5)


def test_weighted_loss_and_metric_agree():
    w = rng.uniform(size=40)
    model = regression(weighted_metrics=["mse"])
    model.compile("sgd", keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"), weighted_metrics=["mse"])
    got = model.evaluate(X, Y, sample_weight=w, batch_size=40, verbose=0, return_dict=True)
    want = np.average((model.predict(X, verbose=0) - Y)[:, 0] ** 2, weights=w)
    np.testing.assert_allclose([got["loss"], got["mse"]], want, rtol=1e-5)


@pytest.mark.parametrize("weights", [3.0, [3.0], {"out": 3.0}])
def test_loss_weights_with_one_output(weights):
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(1, name="out")(x))
    model.compile("sgd", "mse", loss_weights=weights, metrics=["mse"])
    loss, mse = model.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(loss, 3 * mse, rtol=1e-5)


@pytest.mark.parametrize("eagerly", [False, True])
def test_frozen_batch_normalization_does_not_update(eagerly):
    norm = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((4,)), norm, layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=eagerly)
    model.fit(X + 3, Y, verbose=0)
    norm.trainable = False
    before = norm.get_weights()
    model.compile("sgd", "mse", run_eagerly=eagerly)
    model.fit(X - 3, Y, epochs=2, verbose=0)
    for a, b in zip(before, norm.get_weights()):
        np.testing.assert_array_equal(a, b)
    # and it normalises with the moving statistics, in training as in prediction
    gamma, beta, mean, variance = before
    want = gamma * (X - mean) / np.sqrt(variance + norm.epsilon) + beta
    np.testing.assert_allclose(norm(X, training=True).numpy(), want, rtol=1e-4, atol=1e-5)


def test_a_frozen_model_freezes_the_batch_normalization_inside():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()])
    inner.trainable = False
    model = keras.Sequential([keras.Input((4,)), inner, layers.Dense(1)])
    model.compile("adam", "mse")
    before = inner.get_weights()
    model.fit(X, Y, epochs=2, verbose=0)
    for a, b in zip(before, inner.get_weights()):
        np.testing.assert_array_equal(a, b)


@keras.saving.register_keras_serializable("sore")
class Lazy(layers.Layer):
    """Makes its weights in `build`, those of its parts at their first call."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = layers.Dense(units, activation="tanh")
        self.more = [layers.Dense(units), layers.BatchNormalization()]

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), "random_normal", name="scale")

    def call(self, x):
        x = self.inner(x * self.scale)
        for layer in self.more:
            x = layer(x)
        return x

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@pytest.mark.parametrize("wrap", ["Sequential", "lazy Sequential", "functional"])
def test_a_custom_layer_with_lazily_built_weights_saves_and_loads(tmp_path, wrap):
    if wrap == "functional":
        x = keras.Input((4,))
        model = keras.Model(x, layers.Dense(1)(Lazy(5)(x)))
    else:
        model = keras.Sequential([*([keras.Input((4,))] if wrap == "Sequential" else []), Lazy(5), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert len(again.weights) == len(model.weights) == 11
    np.testing.assert_array_equal(model.predict(X, verbose=0), again.predict(X, verbose=0))
    model.save_weights(tmp_path / "m.weights.h5")
    fresh = keras.models.clone_model(model)
    fresh(X[:1])
    fresh.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(model.predict(X, verbose=0), fresh.predict(X, verbose=0))
    for m in (model, again):  # the optimizer's state came along
        m.fit(X, Y, verbose=0, shuffle=False)
    np.testing.assert_array_equal(model.predict(X, verbose=0), again.predict(X, verbose=0))


@pytest.mark.parametrize("loss, y, bad, logits", [
    ("binary_crossentropy", [[1.0], [0.0]], [[0.0], [1.0]], False),
    ("binary_crossentropy", [[1.0], [0.0]], [[-1e4], [1e4]], True),
    ("categorical_crossentropy", [[1.0, 0, 0], [0, 1, 0]], [[0.0, 1, 0], [0, 0, 1]], False),
    ("categorical_crossentropy", [[1.0, 0, 0], [0, 1, 0]], [[-1e4, 0, 1e4], [0, -1e30, 0]], True),
    ("sparse_categorical_crossentropy", [0, 1], [[0.0, 1, 0], [0, 0, 1]], False),
    ("sparse_categorical_crossentropy", [0, 1], [[-1e4, 0, 1e4], [0, -1e30, 0]], True),
    ("kl_divergence", [[1.0, 0, 0], [0, 1, 0]], [[0.0, 1, 0], [0, 0, 1]], False),
    ("poisson", [[1.0], [0.0]], [[0.0], [0.0]], False),
])
def test_cross_entropy_stays_finite_at_saturated_outputs(loss, y, bad, logits):
    kwargs = {"from_logits": True} if logits else {}
    out = keras.Variable(np.array(bad, "float32"))
    with keras.GradientTape() as tape:
        value = ops.sum(getattr(keras.losses, loss)(ops.convert_to_tensor(np.array(y)), out, **kwargs))
    gradient = tape.gradient(value, out)
    assert np.isfinite(float(value)) and np.isfinite(gradient.numpy()).all()
    assert float(value) > (10 if loss != "poisson" else -1)


@pytest.mark.parametrize("activation, units, loss, y", [
    ("sigmoid", 1, "binary_crossentropy", np.arange(40) % 2),
    ("softmax", 3, "sparse_categorical_crossentropy", np.arange(40) % 3)])
def test_training_from_saturated_outputs_recovers(activation, units, loss, y):
    """Outputs of exactly 0 and 1 on the wrong side: finite loss, finite weights."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(units, activation=activation)])
    model.set_weights([w + 1000 * (1 + np.arange(w.size).reshape(w.shape)) for w in model.get_weights()])
    model.compile("sgd", loss)
    history = model.fit(X, y, epochs=3, verbose=0).history
    assert np.isfinite(history["loss"]).all() and all(np.isfinite(w).all() for w in model.get_weights())


@pytest.mark.parametrize("clip", ["clipvalue", "clipnorm", "global_clipnorm"])
def test_clipping_against_the_formula(clip):
    limit = 0.05
    start, gradients = regression().get_weights(), None
    model = regression()
    with keras.GradientTape() as tape:
        loss = ops.mean(ops.square(model(X, training=True) - 10 * Y))
    gradients = [g.numpy().astype("float64") for g in tape.gradient(loss, model.trainable_variables)]
    norms = [np.sqrt(np.sum(g**2)) for g in gradients]
    total = np.sqrt(np.sum(np.square(norms)))
    want = {"clipvalue": [np.clip(g, -limit, limit) for g in gradients],
            "clipnorm": [g * min(1, limit / n) for g, n in zip(gradients, norms)],
            "global_clipnorm": [g * min(1, limit / total) for g in gradients]}[clip]
    assert total > limit and max(np.abs(g).max() for g in gradients) > limit
    model = regression(keras.optimizers.SGD(0.5, **{clip: limit}))
    model.fit(X, 10 * Y, batch_size=40, shuffle=False, verbose=0)
    for before, after, g in zip(start, model.get_weights(), want):
        np.testing.assert_allclose(before - after, 0.5 * g, rtol=2e-4, atol=3e-7)
