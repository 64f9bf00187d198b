"""compile, fit, evaluate, predict as a user calls them: data in every form, weights of samples, classes and losses,
validation, epochs, interruption, equal bits."""

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops

rng = np.random.default_rng(11)
X = rng.normal(size=(50, 4)).astype("float32")
Y = (X @ rng.normal(size=(4, 2)) + 0.1 * rng.normal(size=(50, 2))).astype("float32")
LABELS = (X[:, 0] > 0).astype("int32") + (X[:, 1] > 0)


def regression(seed=1, optimizer="sgd", **kwargs):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="tanh"), layers.Dense(2)])
    model.compile(optimizer, "mse", **kwargs)
    return model


def classifier(seed=1, dropout=0.0, **kwargs):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu"), layers.BatchNormalization(),
                              layers.Dropout(dropout), layers.Dense(3, activation="softmax")])
    model.compile(kwargs.pop("optimizer", "adam"), "sparse_categorical_crossentropy", metrics=["accuracy"], **kwargs)
    return model


def bits(model):
    return [w.copy() for w in model.get_weights()] + [v.numpy().copy() for v in model.optimizer.variables]


def assert_same_bits(a, b):
    assert len(a) == len(b)
    for v, w in zip(a, b):
        np.testing.assert_array_equal(v, w)


def fit_bits(data=(X, Y), make=regression, **kwargs):
    """Weights and optimizer state after a fit on data in some form, and the last loss."""
    model = make()
    x, y = data if isinstance(data, tuple) else (data, None)
    history = model.fit(x, y, verbose=0, **{"shuffle": False, "epochs": 2, **kwargs})
    return bits(model) + [np.array(history.history["loss"])]


# ---- forms of data --------------------------------------------------------------------------------------------------


class Batches:
    """A PyDataset-like sequence."""

    def __init__(self, size=32, extra=False):
        self.size, self.extra, self.epochs = size, extra, 0

    def __len__(self):
        return -(-len(X) // self.size)

    def __getitem__(self, i):
        part = slice(i * self.size, (i + 1) * self.size)
        return (X[part], Y[part], np.ones(len(X[part]))) if self.extra else (X[part], Y[part])

    def on_epoch_end(self):
        self.epochs += 1


class NumBatches(Batches):
    __len__ = None

    @property
    def num_batches(self):
        return Batches.__len__(self)


class Iterable:
    def __iter__(self):
        return iter([Batches()[0], Batches()[1]])


class Frame:
    """What of a pandas frame matters."""

    def __init__(self, values):
        self.values = values

    def to_numpy(self):
        return self.values

    @property
    def shape(self):
        return self.values.shape


def endless():
    while True:
        yield from Iterable()


def test_every_form_of_data_trains_to_the_same_bits():
    want = fit_bits()
    assert_same_bits(want, fit_bits((X.tolist(), Y.tolist())))
    assert_same_bits(want, fit_bits((X.astype("float64"), np.asfortranarray(Y))))
    assert_same_bits(want, fit_bits((keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(Y))))
    assert_same_bits(want, fit_bits((Frame(X.astype("float64")), Frame(Y))))
    assert_same_bits(want, fit_bits(Batches()))
    assert_same_bits(want, fit_bits(NumBatches()))
    assert_same_bits(want, fit_bits(Iterable()))
    assert_same_bits(want, fit_bits(endless(), steps_per_epoch=2))


class Foreign:
    """A tensor of another library: it turns itself into an array, and can be iterated over."""

    def __init__(self, values):
        self.values, self.shape = values, values.shape

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype)

    def __iter__(self):
        return iter(self.values)


def test_tensors_of_other_libraries_are_arrays():
    assert_same_bits(fit_bits(), fit_bits((Foreign(X), Foreign(Y))))
    batches = iter([[Foreign(X[:32]), Foreign(Y[:32])], [Foreign(X[32:]), Foreign(Y[32:])]])  # lists, as DataLoader's
    assert_same_bits(fit_bits(epochs=1), fit_bits(batches, epochs=1))


def test_sequences_hear_of_epoch_ends():
    data = Batches()
    regression().fit(data, epochs=3, verbose=0)
    assert data.epochs == 3


def test_a_generator_goes_on_over_epochs():
    seen = []

    def numbered():
        for i in range(100):
            seen.append(i)
            yield X[:8], Y[:8]

    history = regression().fit(numbered(), steps_per_epoch=3, epochs=4, verbose=0)
    assert len(history.history["loss"]) == 4 and len(seen) in (12, 13)


def test_a_generator_that_runs_out_warns():
    def short():
        for _ in range(3):
            yield X[:8], Y[:8]

    with pytest.warns(UserWarning, match="ran out of data"):
        regression().fit(short(), steps_per_epoch=5, epochs=1, verbose=0)


def test_a_generator_without_steps_is_one_epoch():
    history = regression().fit(iter(Iterable()), epochs=1, verbose=0)
    assert len(history.history["loss"]) == 1


def test_the_last_partial_batch_counts_its_rows():
    """50 rows in batches of 32 and 18: the loss shown is the mean over rows."""
    model = regression(optimizer=keras.optimizers.SGD(0.0))
    loss = model.fit(X, Y, verbose=0).history["loss"][0]
    want = np.mean((model.predict(X, verbose=0) - Y) ** 2)
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), want, rtol=1e-5)
    np.testing.assert_allclose(model.evaluate(X, Y, batch_size=7, verbose=0), want, rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 50, 1000])
def test_any_batch_size(size):
    model = regression()
    model.fit(X, Y, batch_size=size, verbose=0)
    np.testing.assert_allclose(model.predict(X, batch_size=size, verbose=0), model(X).numpy(), rtol=1e-5, atol=1e-6)


def test_steps_per_epoch_over_arrays():
    model = regression()
    model.fit(X, Y, batch_size=10, steps_per_epoch=2, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 4
    with pytest.warns(UserWarning, match="ran out of data after 1 of 2"):
        model.fit(X, Y, batch_size=10, steps_per_epoch=2, epochs=3, verbose=0)
    assert int(model.optimizer.iterations) == 9


def test_steps_per_epoch_goes_on_where_it_stopped():
    """Without shuffling, two epochs of half the steps see what one epoch sees."""
    want = fit_bits(epochs=1, batch_size=5)[:-1]
    assert_same_bits(want, fit_bits(epochs=2, batch_size=5, steps_per_epoch=5)[:-1])
    assert_same_bits(want, fit_bits(Batches(5), epochs=2, steps_per_epoch=5)[:-1])
    model = regression()
    model.fit(Batches(10), epochs=4, steps_per_epoch=5, verbose=0)  # read again and again
    assert int(model.optimizer.iterations) == 20


def test_shuffle_changes_the_order_and_the_seed_fixes_it():
    plain = fit_bits(batch_size=5)
    first, second = fit_bits(batch_size=5, shuffle=True), fit_bits(batch_size=5, shuffle=True)
    assert_same_bits(first, second)
    assert not np.array_equal(plain[0], first[0])


def test_byte_images_and_wide_labels():
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((3, 2)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(4)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = rng.integers(0, 256, (20, 3, 2)).astype("uint8"), rng.integers(0, 4, (20, 1)).astype("int64")
    model.fit(x, y, verbose=0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), model.predict(x.astype("float32"), verbose=0))


# ---- several inputs and outputs -------------------------------------------------------------------------------------


def two(**kwargs):
    keras.utils.set_random_seed(2)
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    h = layers.Dense(5, activation="tanh")(layers.Concatenate()([a, b]))
    model = keras.Model([a, b], [layers.Dense(2, name="u")(h), layers.Dense(1, name="v")(h)])
    model.compile("sgd", **{"loss": ["mse", "mae"], **kwargs})
    return model


def fit_two(x, y, compiled=None, **kwargs):
    model = two(**(compiled or {}))
    history = model.fit(x, y, verbose=0, shuffle=False, epochs=2, **kwargs).history
    return bits(model) + [np.array(history["loss"])]


def test_targets_and_inputs_as_lists_tuples_and_dicts():
    u, v = Y, X[:, :1]
    want = fit_two([X, -X], [u, v])
    assert_same_bits(want, fit_two((X, -X), (u, v)))
    assert_same_bits(want, fit_two({"b": -X, "a": X}, {"v": v, "u": u}))
    assert_same_bits(want, fit_two({"b": -X, "a": X}, [u, v], {"loss": {"v": "mae", "u": "mse"}}))


def test_losses_of_outputs_are_shown_and_add_up():
    model = two(loss_weights=[2.0, 0.5], metrics={"u": ["mae"], "v": "mse"})
    history = model.fit([X, X], [Y, X[:, :1]], verbose=0, validation_split=0.2).history
    assert {"loss", "u_loss", "v_loss", "u_mae", "v_mse", "val_loss", "val_u_mae"} <= set(history)
    got = model.evaluate([X, X], [Y, X[:, :1]], verbose=0, return_dict=True)
    np.testing.assert_allclose(got["loss"], 2 * got["u_loss"] + 0.5 * got["v_loss"], rtol=1e-5)


def test_loss_weights_by_name():
    y = [Y, X[:, :1]]
    want = fit_two([X, X], y, {"loss_weights": [2.0, 0.5]})
    assert_same_bits(want, fit_two([X, X], y, {"loss_weights": {"v": 0.5, "u": 2.0}}))
    assert not np.array_equal(want[0], fit_two([X, X], y)[0])


def test_an_output_without_a_loss():
    model = two(loss=["mse", None])
    before = model.get_layer("v").get_weights()
    with pytest.warns(UserWarning, match="Gradients do not exist for variables.*v/kernel"):
        model.fit([X, X], [Y, X[:, :1]], verbose=0)
    assert_same_bits(before, model.get_layer("v").get_weights())


def test_sample_weights_by_output():
    w = rng.uniform(size=50).astype("float32")
    y = [Y, X[:, :1]]
    both = fit_two([X, X], y, sample_weight=w)
    assert_same_bits(both, fit_two([X, X], y, sample_weight=[w, w]))
    assert_same_bits(fit_two([X, X], y, sample_weight=[w, np.ones(50)]),
                     fit_two([X, X], y, sample_weight={"u": w, "v": np.ones(50)}))


# ---- weights --------------------------------------------------------------------------------------------------------


def test_sample_weight_is_what_repeating_rows_is():
    w = rng.integers(0, 3, 50)
    x2, y2 = np.repeat(X, w, axis=0), np.repeat(Y, w, axis=0)
    model = regression(weighted_metrics=["mae"], metrics=["mse"])
    loss, mse, mae = model.evaluate(X, Y, sample_weight=w, verbose=0, batch_size=100)
    again = model.evaluate(x2, y2, verbose=0, batch_size=500)
    np.testing.assert_allclose(mae, again[2], rtol=1e-5)
    np.testing.assert_allclose(loss, again[0] * w.sum() / 50, rtol=1e-5)
    np.testing.assert_allclose(mse, model.evaluate(X, Y, verbose=0)[1], rtol=1e-5)


def test_class_weight_is_a_sample_weight():
    table = {0: 1.0, 1: 2.0, 2: 0.5}
    w = np.array([table[k] for k in LABELS])
    want = fit_bits((X, LABELS), classifier, sample_weight=w)
    assert_same_bits(want, fit_bits((X, LABELS), classifier, class_weight=table))
    assert_same_bits(want, fit_bits((X, LABELS[:, None]), classifier, class_weight=table))
    model = classifier()
    model.fit(((X[i:i + 32], LABELS[i:i + 32]) for i in (0, 32, 0, 32)), epochs=2, steps_per_epoch=2, verbose=0,
              class_weight=table)
    assert_same_bits(want[:-1], bits(model))


def test_class_weight_of_one_hot_targets():
    model = classifier()
    model.compile("sgd", "categorical_crossentropy")
    model.fit(X, np.eye(3)[LABELS], class_weight={0: 1.0, 1: 2.0, 2: 0.5}, verbose=0)


# ---- validation -----------------------------------------------------------------------------------------------------


def test_validation_split_takes_the_last_rows_unshuffled():
    a = regression().fit(X, Y, validation_split=0.2, epochs=2, verbose=0).history
    b = regression().fit(X[:40], Y[:40], validation_data=(X[40:], Y[40:]), epochs=2, verbose=0).history
    assert a == b and set(a) == {"loss", "val_loss"}


def test_validation_data_forms():
    def last(**kwargs):
        return regression().fit(X, Y, epochs=1, verbose=0, **kwargs).history["val_loss"]

    want = last(validation_data=(X, Y))
    assert want == last(validation_data=[X, Y]) == last(validation_data=Batches())
    assert want == last(validation_data=endless(), validation_steps=2)
    weighted = last(validation_data=(X, Y, np.full(50, 0.5)))
    np.testing.assert_allclose(weighted, np.array(want) / 2, rtol=1e-5)


def test_validation_freq():
    history = regression().fit(X, Y, validation_split=0.2, epochs=6, validation_freq=2, verbose=0).history
    assert len(history["loss"]) == 6 and len(history["val_loss"]) == 3
    history = regression().fit(X, Y, validation_split=0.2, epochs=6, validation_freq=[1, 6], verbose=0).history
    assert len(history["val_loss"]) == 2


@pytest.mark.parametrize("frequency", [0, None, 1.5, "a", ["a"], [1, 0], [1.5]], ids=repr)
def test_validation_freq_of_no_epoch(frequency):
    with pytest.raises(ValueError, match="validation_freq=.*expected an integer of at least 1"):
        regression().fit(X, Y, validation_split=0.2, epochs=2, validation_freq=frequency, verbose=0)


@pytest.mark.parametrize("weights", [3.0, np.ones(3)], ids=repr)
def test_class_weight_beside_weights_of_no_row(weights):
    for rows in (1, 8):
        with pytest.raises(ValueError, match=f"one weight for each of the {rows} rows"):
            classifier().fit(X[:rows], LABELS[:rows], class_weight={0: 2.0}, sample_weight=weights, verbose=0)


def test_validation_changes_nothing_in_training():
    assert_same_bits(fit_bits((X, LABELS), classifier),
                     fit_bits((X, LABELS), classifier, validation_data=(X[:9], LABELS[:9])))


def test_validation_loss_is_evaluates():
    model = classifier(dropout=0.5)
    history = model.fit(X, LABELS, validation_data=(X, LABELS), epochs=2, verbose=0).history
    loss, accuracy = model.evaluate(X, LABELS, verbose=0)
    assert history["val_loss"][-1] == loss and history["val_accuracy"][-1] == accuracy


# ---- epochs, verbosity, single batches ------------------------------------------------------------------------------


def test_initial_epoch():
    history = regression().fit(X, Y, epochs=5, initial_epoch=3, verbose=0)
    assert history.epoch == [3, 4] and len(history.history["loss"]) == 2


def test_history_is_on_the_model_and_has_floats():
    model = regression()
    history = model.fit(X, Y, epochs=2, verbose=0)
    assert model.history is history and all(isinstance(v, float) for v in history.history["loss"])
    assert history.params["epochs"] == 2 and history.model is model


@pytest.mark.parametrize("verbose, wanted", [(0, []), (1, ["Epoch 1/2", "2/2 ━", "loss: ", "val_loss: "]),
                                             (2, ["Epoch 1/2", "2/2 - ", "loss: ", "val_loss: "])])
def test_verbose(verbose, wanted, capsys):
    regression().fit(X, Y, epochs=2, verbose=verbose, validation_split=0.2)
    text = capsys.readouterr().out
    assert bool(text) == bool(wanted) and all(w in text for w in wanted)
    assert ("━" in text) == (verbose == 1)


def test_evaluate_and_predict_are_silent_when_asked(capsys):
    model = regression()
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    assert capsys.readouterr().out == ""
    model.predict(X)
    assert "2/2" in capsys.readouterr().out


def test_train_on_batch_is_a_fit_of_one_batch():
    a, b = regression(), regression()
    a.fit(X[:20], Y[:20], verbose=0, shuffle=False)
    b.train_on_batch(X[:20], Y[:20])
    assert_same_bits(bits(a), bits(b))


def test_single_batches():
    model = classifier()
    result = model.train_on_batch(X, LABELS)
    assert len(result) == 2
    assert set(model.train_on_batch(X, LABELS, return_dict=True)) == {"loss", "accuracy"}
    model.reset_metrics()
    np.testing.assert_allclose(model.test_on_batch(X, LABELS), model.evaluate(X, LABELS, batch_size=50, verbose=0))
    np.testing.assert_array_equal(model.predict_on_batch(X), model.predict(X, batch_size=50, verbose=0))


def test_evaluate_forms():
    model = classifier()
    listed, named = model.evaluate(X, LABELS, verbose=0), model.evaluate(X, LABELS, verbose=0, return_dict=True)
    assert list(named) == ["loss", "accuracy"] and list(named.values()) == listed
    assert isinstance(regression().evaluate(X, Y, verbose=0), float)
    model.evaluate(X, LABELS, steps=1, batch_size=10, verbose=0)


def test_predict_forms():
    model = regression()
    want = model.predict(X, verbose=0)
    np.testing.assert_array_equal(want, model.predict(X.tolist(), verbose=0))
    np.testing.assert_array_equal(want, model.predict(Batches(), verbose=0))
    np.testing.assert_array_equal(want, model.predict((X[i:i + 32] for i in (0, 32)), verbose=0))
    assert model.predict(X, batch_size=10, steps=2, verbose=0).shape == (20, 2)
    assert model.predict(X[:1], verbose=0).shape == (1, 2)


def test_a_batch_like_the_one_before_goes_the_short_way(capsys, monkeypatch):
    model = regression()
    a, b = X[:1], X[1:2]
    want = model.predict(np.concatenate([a, b]), verbose=0)
    first, calls = model.predict(a, verbose=0), []
    monkeypatch.setattr(type(model._steps), "call", lambda *args: calls.append(1))
    np.testing.assert_array_equal(model.predict(b, verbose=0), want[1:])
    np.testing.assert_array_equal(first, want[:1])
    assert calls == [] and capsys.readouterr().out == ""
    model.predict(a)
    model.predict(a, verbose=2)
    bar, line = capsys.readouterr().out.splitlines()
    assert calls == [] and "1/1 ━" in bar and "1/1 - " in line
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 2)
    np.testing.assert_allclose(model.predict(b, verbose=0) - model.layers[-1].bias.numpy(),
                               2 * (want[1:] - model.layers[-1].bias.numpy()), rtol=1e-5)


@pytest.mark.parametrize("form", [
    lambda x: np.asfortranarray(x), lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x.astype("float64"),
    lambda x: x.astype(">f4"), lambda x: x[:3], lambda x: x.tolist(), lambda x: x.view(np.recarray),
    lambda x: np.frombuffer(b"." + x.tobytes(), x.dtype, offset=1).reshape(x.shape)], ids=[
    "by columns", "rows reversed", "columns reversed", "float64", "big-endian", "fewer rows", "list", "subclass",
    "unaligned"])
def test_repeated_predictions_take_every_form_of_array(form):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    kernel, bias = model.get_weights()
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    for _ in range(2):  # the second one goes the short way
        model.predict_on_batch(x)
    given = form(x)
    np.testing.assert_allclose(model.predict_on_batch(given), np.array(given, "float32") @ kernel + bias, atol=1e-6)


@pytest.mark.parametrize("how", [
    {"callbacks": [keras.callbacks.Callback()]}, {"steps": 1, "batch_size": 1}, {"batch_size": 1}])
def test_what_does_not_go_the_short_way(how):
    model = regression()
    rows = X[:2] if how == {"batch_size": 1} else X[:1]
    want = model.predict(rows, verbose=0)
    model.predict_on_batch(rows)
    np.testing.assert_array_equal(model.predict(rows, verbose=0, **how), want)


@pytest.mark.parametrize("x", [np.zeros((0, 3), "float32"), np.float32(1), np.zeros((1, 5), "float32")])
def test_predict_refuses_wrong_arrays_also_when_warm(x):
    model = regression()
    model.predict(X[:1], verbose=0)
    with pytest.raises(ValueError, match="empty|single number|shape"):
        model.predict(x, verbose=0)


def test_predict_does_not_share_memory_with_the_next():
    model = regression()
    first = model.predict(X, verbose=0)
    kept = first.copy()
    model.predict(-X, verbose=0)
    model.predict_on_batch(X)
    np.testing.assert_array_equal(first, kept)
    one = model.predict_on_batch(X)
    model.predict_on_batch(-X)
    np.testing.assert_array_equal(one, model.predict_on_batch(X))


def test_evaluate_leaves_the_model_as_it_was():
    model = classifier(dropout=0.3)
    model.fit(X, LABELS, verbose=0)
    before = bits(model)
    model.evaluate(X, LABELS, verbose=0)
    model.predict(X, verbose=0)
    assert_same_bits(before, bits(model))


def test_fit_changes_nothing_in_the_data():
    x, y = X.copy(), Y.copy()
    regression().fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_data_changed_in_place_between_fits_is_read_again():
    x, y = X.copy(), Y.copy()
    model = regression()
    model.fit(x, y, verbose=0)
    x[:], y[:] = 1, 1
    model.fit(x, y, verbose=0, epochs=300, batch_size=50)
    np.testing.assert_allclose(model.predict(x[:1], verbose=0), 1, atol=1e-2)


def test_uncompiled():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises(ValueError, match=r"must call `compile\(\)`"):
            call(X, Y)
    assert model.predict(X, verbose=0).shape == (50, 1)


def test_a_changed_learning_rate_acts_at_once():
    model = regression(optimizer=keras.optimizers.SGD(0.1))
    model.fit(X, Y, verbose=0)
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    assert_same_bits(before, model.get_weights())


def test_a_second_compile_starts_anew():
    model = regression()
    model.fit(X, Y, verbose=0)
    model.compile("adam", "mae", metrics=["mse"])
    assert set(model.fit(X, Y, verbose=0).history) == {"loss", "mse"}


# ---- equal bits -----------------------------------------------------------------------------------------------------


def test_eager_and_recorded_fits_give_the_same_bits():
    for make, y in ((regression, Y), (lambda **kw: classifier(dropout=0.4, **kw), LABELS)):
        results = []
        for eagerly in (False, True):
            model = make(run_eagerly=eagerly)
            history = model.fit(X, y, epochs=3, validation_split=0.2, verbose=0).history
            results.append(bits(model) + [np.array(v) for v in history.values()])
        assert_same_bits(*results)


def test_one_and_two_threads_give_the_same_bits():
    before, results = keras.config.threads(), []
    wide = rng.normal(size=(300, 4)).astype("float32")
    labels = rng.integers(0, 3, 300)
    try:
        for threads in (1, 2):
            keras.config.set_threads(threads)
            keras.utils.set_random_seed(5)
            model = keras.Sequential([keras.Input((4,)), layers.Dense(256, activation="gelu"), layers.Dropout(0.3),
                                      layers.BatchNormalization(), layers.Dense(256, activation="relu"),
                                      layers.Dense(3, activation="softmax")])
            model.compile("adamw", "sparse_categorical_crossentropy", metrics=["accuracy"])
            history = model.fit(wide, labels, epochs=3, batch_size=128, verbose=0).history
            results.append(bits(model) + [np.array(v) for v in history.values()])
    finally:
        keras.config.set_threads(before)
    assert_same_bits(*results)


def test_a_callback_on_every_batch_changes_no_bits():
    class Watch(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1

    watch = Watch()
    assert_same_bits(fit_bits(), fit_bits(callbacks=[watch]))
    assert watch.batches == 4


# ---- steps of one's own ---------------------------------------------------------------------------------------------


def custom(step):
    class Custom(keras.Model):
        def __init__(self):
            super().__init__()
            self.stack = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="tanh"), layers.Dense(2)])

        def call(self, x, training=False):
            return self.stack(x, training=training)

        train_step = step

    def make(**kwargs):
        keras.utils.set_random_seed(1)
        model = Custom()
        model.compile("sgd", "mse", metrics=["mae"], **kwargs)
        return model

    return make


def tape_step(self, data):
    x, y = data
    with keras.GradientTape() as tape:
        y_pred = self(x, training=True)
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
    gradients = tape.gradient(loss, self.trainable_variables)
    self.optimizer.apply_gradients(zip(gradients, self.trainable_variables))
    for metric in self.metrics:
        if metric.name == "loss":
            metric.update_state(loss, sample_weight=x.shape[0])
        else:
            metric.update_state(y, y_pred)
    return {m.name: m.result() for m in self.metrics}


def backward_step(self, data):
    x, y = data
    for v in self.trainable_variables:
        v.grad = None
    y_pred = self(x, training=True)
    loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
    loss.backward()
    self.optimizer.apply([v.grad for v in self.trainable_variables], self.trainable_variables)
    return {"loss": loss}


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_train_step_with_a_tape_or_backward_is_fit(eagerly):
    want = fit_bits()[:-1]
    for step in (tape_step, backward_step):
        got = fit_bits(make=lambda step=step: custom(step)(run_eagerly=eagerly))
        assert_same_bits(want, got[:-1])


def test_a_custom_train_step_runs_recorded():
    """Its Python runs once per signature, not once per batch."""
    calls = []

    def counted(self, data):
        calls.append(1)
        return tape_step(self, data)

    custom(counted)().fit(X, Y, batch_size=10, epochs=3, verbose=0)
    assert len(calls) == 1


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_step_without_targets_receives_x_itself(eagerly):
    """As in Keras: `fit(x)` of an autoencoder hands over x, not (x,)."""

    class Autoencoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = layers.Dense(2), layers.Dense(4)
            self.tracker = keras.metrics.Mean(name="loss")

        def call(self, x):
            return self.decoder(self.encoder(x))

        def train_step(self, data):
            with keras.GradientTape() as tape:
                loss = ops.mean((self(data) - data) ** 2)
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            self.tracker.update_state(loss)
            return {"loss": self.tracker.result()}

    model = Autoencoder()
    model.compile("adam", run_eagerly=eagerly)
    losses = model.fit(X, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert model.predict(X, verbose=0).shape == X.shape


def test_a_custom_test_step():
    class Custom(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, x):
            return self.dense(x)

        def test_step(self, data):
            x, y = data
            return {"worst": ops.max(ops.abs(self(x, training=False) - y))}

    model = Custom()
    model.compile("sgd", "mse")
    got = model.evaluate(X, Y, batch_size=50, verbose=0, return_dict=True)
    np.testing.assert_allclose(got["worst"], np.abs(model.predict(X, verbose=0) - Y).max(), rtol=1e-5)
    assert "val_worst" in model.fit(X, Y, validation_data=(X, Y), verbose=0).history


class Scaled(keras.optimizers.Optimizer):
    """Sign descent with a memory, written by a user."""

    def build(self, variables):
        super().build(variables)
        self.mean = [self.add_variable_from_reference(v, "mean") for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        mean = self.mean[self._get_variable_index(variable)]
        mean.assign(0.9 * mean + 0.1 * gradient)
        variable.assign_sub(learning_rate * ops.sign(mean))


class Worst(keras.metrics.Metric):
    def __init__(self, name="worst", **kwargs):
        super().__init__(name=name, **kwargs)
        self.top = self.add_weight(name="top", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.top.assign(ops.maximum(self.top, ops.max(ops.abs(y_true - y_pred))))

    def result(self):
        return self.top


class Quartic(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean((y_true - y_pred) ** 4, axis=-1)


def quartic(y_true, y_pred):
    return ops.mean((y_true - y_pred) ** 4, axis=-1)


def test_custom_loss_metric_optimizer_recorded_and_eager():
    results = []
    for loss, eagerly in ((Quartic(), False), (Quartic(), True), (quartic, False)):
        model = regression()
        model.compile(Scaled(learning_rate=0.01), loss, metrics=[Worst(), quartic], run_eagerly=eagerly)
        history = model.fit(X, Y, epochs=3, verbose=0, shuffle=False).history
        results.append(bits(model) + [np.array(history[k]) for k in ("loss", "worst", "quartic")])
        got = model.evaluate(X, Y, verbose=0, return_dict=True)
        np.testing.assert_allclose(got["worst"], np.abs(model.predict(X, verbose=0) - Y).max(), rtol=1e-5)
    assert_same_bits(results[0], results[1])
    assert_same_bits(results[0], results[2])


def test_add_loss_and_activity_regularizer_and_l2():
    class Pull(layers.Layer):
        def call(self, x):
            self.add_loss(0.1 * ops.mean(ops.square(x)))
            return x

    keras.utils.set_random_seed(1)
    dense = layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.01), activity_regularizer="l1")
    model = keras.Sequential([keras.Input((4,)), dense, Pull(), layers.Dense(2)])
    model.compile("sgd", "mse")
    total = model.evaluate(X, Y, batch_size=50, verbose=0)
    h = X @ dense.kernel.numpy() + dense.bias.numpy()
    want = (np.mean((model.predict(X, verbose=0) - Y) ** 2) + 0.01 * np.sum(dense.kernel.numpy() ** 2)
            + 0.1 * np.mean(h**2) + 0.01 * np.abs(h).sum() / 50)
    np.testing.assert_allclose(total, want, rtol=1e-5)
    model.fit(X, Y, verbose=0)


def test_reading_a_value_in_a_recorded_step_names_the_line():
    def peeking(self, data):
        x, y = data
        loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        return {"loss": loss} if float(loss) > 0 else {}

    model = custom(peeking)()
    with pytest.raises(keras.RecordingError, match="run_eagerly=True.*|test_trainer"):
        model.fit(X, Y, verbose=0)
    custom(peeking)(run_eagerly=True).fit(X, Y, verbose=0)


# ---- interruption ---------------------------------------------------------------------------------------------------


def test_ctrl_c_stops_within_a_tick_and_leaves_a_usable_model():
    keras.utils.set_random_seed(1)
    x, y = rng.normal(size=(20000, 32)).astype("float32"), rng.normal(size=(20000, 1)).astype("float32")
    model = keras.Sequential([keras.Input((32,)), layers.Dense(64, activation="relu"), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(x[:64], y[:64], verbose=0)
    sent = []

    def interrupt():
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.5, interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore the signal
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, y, epochs=100000, verbose=0)
    finally:
        signal.signal(signal.SIGINT, before)
    late = time.perf_counter() - sent[0]
    timer.join()
    assert late < 2.0, f"stopped {late:.2f} s after the signal"
    steps = int(model.optimizer.iterations)
    assert steps > 1 and all(np.isfinite(w).all() for w in model.get_weights())
    model.fit(x, y, verbose=0)
    assert int(model.optimizer.iterations) == steps + 625


# ---- no leak, no slow-down ------------------------------------------------------------------------------------------


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")
def test_repeated_fit_and_predict_neither_leak_nor_slow_down():
    import gc

    x, y = rng.normal(size=(2000, 50)).astype("float32"), rng.integers(0, 5, 2000)
    model = keras.Sequential([keras.Input((50,)), layers.Dense(50, activation="relu"), layers.Dropout(0.2),
                              layers.Dense(5, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

    def rounds(count):
        times = []
        for _ in range(count):
            start = time.perf_counter()
            model.fit(x.copy(), y.copy(), verbose=0, validation_split=0.1)
            model.predict(x, batch_size=int(rng.integers(500, 1000)), verbose=0)  # new signatures every time
            model.predict_on_batch(x[:1])
            times.append(time.perf_counter() - start)
        gc.collect()
        return np.median(times), resident(), len(gc.get_objects())

    rounds(20)
    first_time, first_memory, first_objects = rounds(20)
    for _ in range(2):
        last_time, last_memory, last_objects = rounds(20)
    assert last_memory - first_memory < 8 << 20, f"grew by {(last_memory - first_memory) / 2**20:.1f} MiB in 40 rounds"
    assert last_objects - first_objects < 4000
    assert last_time < 5 * first_time


def test_a_model_that_is_dropped_is_freed():
    import gc
    import weakref

    model = classifier()
    model.fit(X, LABELS, verbose=0)
    model.predict(X, verbose=0)
    there = weakref.ref(model)
    del model
    gc.collect()
    assert there() is None


def test_fit_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier().fit(X, LABELS, validation_split=0.2, verbose=0)


# ---- nothing to train -----------------------------------------------------------------------------------------------


class Tripled(keras.Model):
    def call(self, x):
        return 3.0 * x


def frozen():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(4, kernel_initializer="identity"),
                              layers.Rescaling(3.0)])
    model.trainable = False
    return model


NOTHING_TO_TRAIN = {"layers": lambda: keras.Sequential([keras.Input((4,)), layers.Rescaling(3.0)]),
                    "unbuilt": lambda: keras.Sequential([layers.Rescaling(3.0)]), "subclassed": Tripled,
                    "frozen": frozen}


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("name", NOTHING_TO_TRAIN)
def test_a_model_with_nothing_to_train_is_compiled_fitted_and_evaluated(name, eager, tmp_path):
    model = NOTHING_TO_TRAIN[name]()
    model.compile(keras.optimizers.Adam(), "mse", metrics=["mae"], run_eagerly=eager)
    mse, mae = np.mean((2 * X) ** 2), np.mean(np.abs(2 * X))
    with pytest.warns(UserWarning, match="no trainable weights") as found:
        history = model.fit(X, X, epochs=3, batch_size=8, validation_split=0.2, verbose=0).history
    assert len(found) == 1  # though the last batch of an epoch is a program of its own
    np.testing.assert_allclose(history["loss"], [np.mean((2 * X[:40]) ** 2)] * 3, rtol=1e-5)
    np.testing.assert_allclose(history["val_mae"], [np.mean(np.abs(2 * X[40:]))] * 3, rtol=1e-5)
    np.testing.assert_allclose(model.evaluate(X, X, verbose=0), [mse, mae], rtol=1e-5)
    np.testing.assert_allclose(model.train_on_batch(X, X), [mse, mae], rtol=1e-5)
    assert model.optimizer.iterations.numpy() == 0
    if name not in ("unbuilt", "subclassed"):
        model.save(tmp_path / "m.keras")
        np.testing.assert_allclose(keras.models.load_model(tmp_path / "m.keras").evaluate(X, X, verbose=0), [mse, mae],
                                   rtol=1e-5)


@pytest.mark.parametrize("loaded", [False, True])
def test_a_model_in_a_model_keeps_its_metrics_to_itself(loaded, tmp_path):
    """Its loss, which nobody updates, stood in the place of the outer one's: 0."""
    inner = regression(metrics=["mae"])
    inner.fit(X, Y, verbose=0)
    if loaded:
        inner.save(tmp_path / "inner.keras")
        inner = keras.models.load_model(tmp_path / "inner.keras")
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(1)(inner(x)))
    model.compile("sgd", "mse", metrics=["mae"])
    assert model.metrics == [model._loss_tracker, model._compile_metrics]
    want = np.mean((model.predict(X, verbose=0) - Y[:, :1]) ** 2)
    np.testing.assert_allclose(model.evaluate(X, Y[:, :1], verbose=0)[0], want, rtol=1e-5)
    np.testing.assert_allclose(model.fit(X, Y[:, :1], batch_size=50, verbose=0).history["loss"], want, rtol=1e-5)


def test_layers_thawed_after_compile_wait_for_the_next_compile():
    model = regression(optimizer=keras.optimizers.Adam(0.1))
    first, last = model.layers
    first.trainable = False
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.fit(X, Y, verbose=0)
    fixed, learned = first.get_weights(), last.get_weights()
    first.trainable = True
    with pytest.warns(UserWarning, match=r"dense.*/kernel.*became trainable after `compile\(\)`.*compile again"):
        model.fit(X, Y, verbose=0)
    assert_same_bits(fixed, first.get_weights())
    assert not np.array_equal(learned[0], last.get_weights()[0])
    with pytest.raises(ValueError, match="Unknown variable"):  # what a train_step of one's own is told
        model.optimizer.apply([ops.zeros_like(v) for v in model.trainable_variables], model.trainable_variables)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(fixed[0], first.get_weights()[0])


def test_a_callback_thaws_and_freezes():
    class Thaw(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.layers[0].trainable = epoch != 1

    model = regression()
    model.fit(X, Y, epochs=4, verbose=0, callbacks=[Thaw()])  # the optimizer knows all: nothing to say
    assert model.optimizer.iterations.numpy() == 8


# ---- data that ends -------------------------------------------------------------------------------------------------


def batches(n):
    for i in range(n):
        yield X[4 * i:4 * i + 4], Y[4 * i:4 * i + 4]


@pytest.mark.parametrize("n, arguments, epochs, updates, warned", [
    (5, {"epochs": 3}, 1, 5, "ran out of data after 1 of 3 epochs"),
    (5, {"epochs": 1}, 1, 5, None),
    (5, {"epochs": 1, "steps_per_epoch": 5}, 1, 5, None),
    (7, {"epochs": 3, "steps_per_epoch": 5}, 2, 7, "ran out of data after 2 of 5 steps"),
    (10, {"epochs": 2, "steps_per_epoch": 5}, 2, 10, None),
    (10, {"epochs": 3, "steps_per_epoch": 5}, 2, 10, "ran out of data after 2 of 3 epochs"),
    (3, {"epochs": 2, "steps_per_epoch": 5}, 1, 3, "ran out of data after 3 of 5 steps"),
    (3, {"epochs": 5, "initial_epoch": 3}, 1, 3, "ran out of data after 4 of 5 epochs"),
])
def test_a_generator_that_is_used_up_ends_the_training(n, arguments, epochs, updates, warned):
    """Each batch is trained on once; Keras 3.15 goes back to those it has peeked at."""
    seen = []
    model = regression(optimizer="sgd")
    record = keras.callbacks.LambdaCallback(on_train_end=lambda logs: seen.append(sorted(logs)))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        history = model.fit(batches(n), verbose=0, callbacks=[record], **arguments)
    assert [str(w.message).startswith(f"Your input {warned}") for w in found] == ([True] if warned else [])
    assert isinstance(history, keras.callbacks.History) and len(history.history["loss"]) == epochs
    assert model.optimizer.iterations.numpy() == updates
    assert seen == [["loss"]]


def test_validation_from_a_generator_that_is_used_up():
    model = regression()
    with pytest.warns(UserWarning, match="The validation data ran out"):
        history = model.fit(X, Y, epochs=3, verbose=0, validation_data=batches(4), validation_steps=2).history
    assert {name: len(values) for name, values in history.items()} == {"loss": 3, "val_loss": 2}


def test_data_that_can_be_read_again_go_on():
    class Again:
        def __iter__(self):
            return batches(3)

    model = regression()
    assert len(model.fit(Again(), epochs=3, verbose=0).history["loss"]) == 3
    assert model.optimizer.iterations.numpy() == 9


# ---- stopping -------------------------------------------------------------------------------------------------------


class StopAt(keras.callbacks.Callback):
    def __init__(self, hook, flag, batch):
        super().__init__()
        setattr(self, hook, lambda at, logs=None: setattr(self.model, flag, at == batch))


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("form", ["arrays", "batches"])
def test_callbacks_stop_evaluate_and_predict(form, eager):
    model = regression(run_eagerly=eager)
    data = (X, Y) if form == "arrays" else (batches(12),)
    got = model.evaluate(*data, batch_size=4, verbose=0, callbacks=[StopAt("on_test_batch_end", "stop_evaluating", 2)])
    np.testing.assert_allclose(got, model.evaluate(X[:12], Y[:12], verbose=0), rtol=1e-6)
    want = np.mean((model.predict(X, verbose=0) - Y) ** 2)
    np.testing.assert_allclose(model.evaluate(X, Y, verbose=0), want, rtol=1e-5)
    data = X if form == "arrays" else (x for x, _ in batches(12))
    got = model.predict(data, batch_size=4, verbose=0,
                        callbacks=[StopAt("on_predict_batch_end", "stop_predicting", 2)])
    np.testing.assert_allclose(got, model.predict(X[:12], verbose=0), rtol=1e-6)
    assert len(model.predict(X, batch_size=4, verbose=0)) == 50


def test_stopping_a_validation_does_not_stop_the_training():
    model = regression()
    history = model.fit(X, Y, epochs=2, batch_size=10, validation_data=(X, Y), verbose=0,
                        callbacks=[StopAt("on_test_batch_end", "stop_evaluating", 0)]).history
    np.testing.assert_allclose(history["val_loss"][-1], model.evaluate(X[:10], Y[:10], verbose=0), rtol=1e-6)
    assert len(history["loss"]) == 2 and model.optimizer.iterations.numpy() == 10


# ---- optional inputs ------------------------------------------------------------------------------------------------


class Joined(layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2, use_bias=False, kernel_initializer="ones")

    def call(self, x, other=None):
        return self.dense(x if other is None else x + other)


@pytest.mark.parametrize("form", [dict, list, tuple])
@pytest.mark.parametrize("given", [False, True])
def test_optional_inputs(form, given):
    x, o = keras.Input((4,), name="x"), keras.Input((4,), name="o", optional=True)
    outputs = Joined()(x, o)
    model = keras.Model({"x": x, "o": o} if form is dict else form([x, o]), outputs)
    other = 2 * X if given else None
    data = {"x": X, "o": other} if form is dict else form([X, other])
    want = np.repeat((3 * X if given else X).sum(1, keepdims=True), 2, 1)
    for got in (model(data), model.predict(data, verbose=0), model.predict_on_batch(data)):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    model.compile("sgd", "mse")
    np.testing.assert_allclose(model.evaluate(data, Y, verbose=0), np.mean((want - Y) ** 2), rtol=1e-5)
    losses = [model.fit(data, Y, batch_size=50, verbose=0, validation_split=0.2).history["loss"],
              model.fit(iter([(data, Y)]), verbose=0).history["loss"]]
    assert np.isfinite(losses).all()
    if form is dict and not given:
        np.testing.assert_array_equal(model.predict({"x": X}, verbose=0), model.predict(data, verbose=0))
    missing = {"x": None, "o": X} if form is dict else form([None, X])
    for method in (model, model.predict_on_batch, lambda x: model.fit(x, Y, verbose=0)):
        with pytest.raises(ValueError, match="the input 'x' is not optional, but None was passed"):
            method(missing)


def test_none_for_the_only_input():
    with pytest.raises(ValueError, match="not optional, but None was passed"):
        regression().fit([None], Y, verbose=0)


def test_inputs_in_another_structure_are_told():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    text = "The structure of `inputs` doesn't match the expected structure"
    named = keras.Model({"a": a, "b": b}, layers.Subtract()([a, b]))
    with pytest.warns(UserWarning, match=text) as found:
        np.testing.assert_array_equal(named.predict({"b": X, "a": 2 * X, "c": X[:, :1]}, batch_size=50, verbose=0), X)
    assert len(found) == 1
    with pytest.warns(UserWarning, match=text):
        np.testing.assert_array_equal(named([2 * X, X]), X)
    crossed = keras.Model({"b": a, "a": b}, layers.Subtract()([a, b]))
    with pytest.raises(ValueError, match=f"{text}.*Pass a dict"):  # by the order of the keys, or of the letters?
        crossed([X, X])
    listed = keras.Model([a, b], layers.Subtract()([a, b]))
    np.testing.assert_array_equal(listed.predict((2 * X, X), verbose=0), X)
    np.testing.assert_array_equal(listed.predict({"b": X, "a": 2 * X, "c": X}, verbose=0), X)


# ---- losses of one's own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["without training", "other names", "keywords", "as it is"])
def test_compute_loss_with_the_signatures_of_keras(kind):
    seen = []

    class Net(keras.Sequential):
        if kind == "without training":
            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
                return super().compute_loss(x, y, y_pred, sample_weight)
        elif kind == "other names":
            def compute_loss(self, inputs, targets, outputs, weights):
                return ops.mean(ops.square(outputs - targets))
        elif kind == "keywords":
            def compute_loss(self, x, y, y_pred, sample_weight=None, **kwargs):
                seen.append(kwargs)
                return super().compute_loss(x, y, y_pred, sample_weight, **kwargs)
        else:
            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
                seen.append(training)
                return super().compute_loss(x, y, y_pred, sample_weight, training)

    def trained(cls):
        keras.utils.set_random_seed(1)
        model = cls([keras.Input((4,)), layers.Dense(2)])
        model.compile("sgd", "mse")
        return model.fit(X, Y, verbose=0, shuffle=False).history["loss"], model.evaluate(X, Y, verbose=0)

    np.testing.assert_allclose(trained(Net)[1], trained(keras.Sequential)[1], rtol=1e-6)
    assert seen in {"keywords": [[{}] * 4, [{}] * 3], "as it is": [[True, True, False, False]]}.get(kind, [[]])


def test_steps_of_ones_own():
    class Net(keras.Sequential):
        def train_step(self, data):
            x, y = data
            with keras.GradientTape() as tape:
                loss = self.compute_loss(y=y, y_pred=self(x, training=True))
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"mine": loss}

        def test_step(self, data):
            x, y = data
            return {"theirs": self.compute_loss(x, y, self(x, training=False))}

    model = Net([keras.Input((4,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    history = model.fit(X, Y, validation_data=(X, Y), verbose=0).history
    assert sorted(history) == ["mine", "val_theirs"]
    y = Y.copy()
    y[3] = np.nan
    assert np.isnan(model.evaluate(X, y, verbose=0, batch_size=50))  # evaluation never refuses
    before = bits(model)
    with pytest.raises(ValueError, match="`y` contains NaN .first in row 3"):
        model.fit(X, y, batch_size=50, verbose=0)
    assert_same_bits(before, bits(model))
