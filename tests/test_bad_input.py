"""Wrong input is refused with a sentence that says what was expected and what was received, and nothing is changed."""

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops

rng = np.random.default_rng(5)
X = rng.normal(size=(12, 4)).astype("float32")
LABELS = rng.integers(0, 3, 12)
ONE_HOT = np.eye(3)[LABELS]


def state(model):
    found = [v.numpy() for v in model.variables if not any(v is m for m in model.metrics_variables)]
    return found + [v.numpy() for v in model.optimizer.variables]


@pytest.fixture(params=["recorded", "eager", "warm"])
def model(request):
    """A classifier with batch norm and dropout: fresh, in eager mode, or after a first fit."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6, name="hidden"), layers.BatchNormalization(),
                              layers.Dropout(0.2), layers.Dense(3, activation="softmax", name="out")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"],
                  run_eagerly=request.param == "eager")
    model.optimizer.build(model.trainable_variables)
    if request.param == "warm":
        model.fit(X, LABELS, batch_size=4, verbose=0)
    return model


def with_value(array, value, row=9):
    array = np.array(array)
    array[row] = value
    return array


BAD = {
    "rank": (X[:, None, :, None], LABELS, ValueError, r"expected.*\(None, 4\).*found.*\(\d+, 1, 4, 1\)"),
    "width": (X[:, :3], LABELS, ValueError, r"expected.*4.*(found|received).*3"),
    "lengths": (X, LABELS[:7], ValueError, r"cardinality.*'x' sizes: 12.*'y' sizes: 7"),
    "empty": (X[:0], LABELS[:0], ValueError, "empty"),
    "text": (np.array([["a"] * 4] * 12), LABELS, (ValueError, TypeError), "(?i)string|str|dtype|numbers"),
    "objects": (np.array([[object()] * 4] * 12), LABELS, ValueError, "numbers"),
    "complex": (X.astype("complex64"), LABELS, (ValueError, TypeError), "complex64"),
    "label too large": (X, with_value(LABELS, 3), (ValueError, IndexError), r"3.*(0|\[0).*(2|3)"),
    "label negative": (X, with_value(LABELS, -1), (ValueError, IndexError), r"-1"),
    "label NaN": (X, with_value(LABELS.astype("float32"), np.nan), ValueError,
                  "label nan in row 9|value nan at position 9"),
    "one-hot for sparse": (X, ONE_HOT, ValueError, r"\(\d+, 3\)"),
    "no targets": (X, None, ValueError, "(?i)target"),
    "scalar": (np.float32(3), LABELS, ValueError, "single number"),
    "nothing": (None, LABELS, ValueError, "."),
    "ragged": ([[1.0, 2.0], [3.0]], [0, 1], ValueError, "(?i)inhomogeneous|ragged|shape|mixed"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data(model, name):
    x, y, error, text = BAD[name]
    before = state(model)
    with pytest.raises(error, match=text):
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    after = state(model)
    assert len(before) == len(after)
    for a, b in zip(before, after):
        np.testing.assert_array_equal(a, b)
    model.fit(X, LABELS, verbose=0)  # and it still works


@pytest.mark.parametrize("name", ["label too large", "label NaN", "width", "lengths", "empty", "one-hot for sparse"])
@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch", "evaluate"])
def test_bad_data_of_other_methods(model, method, name):
    x, y, error, text = BAD[name]
    before = state(model)
    with pytest.raises(error, match=text):
        getattr(model, method)(x, y)
    for a, b in zip(before, state(model)):
        np.testing.assert_array_equal(a, b)


def test_bad_batches_of_a_generator(model):
    def batches():
        yield X[:4], LABELS[:4]
        yield X[:4], np.array([0, 1, 2, 9])

    with pytest.raises((ValueError, IndexError), match="9"):
        model.fit(batches(), verbose=0)
    with pytest.raises(ValueError, match="tuple of 4"):
        model.fit(iter([(X, LABELS, X, X)]), verbose=0)
    with pytest.raises(ValueError, match="no batch"):
        model.fit(iter([]), verbose=0)


def test_weights_of_wrong_length(model):
    before = state(model)
    with pytest.raises(ValueError, match="'sample_weight' sizes: 5"):
        model.fit(X, LABELS, sample_weight=np.ones(5), verbose=0)
    with pytest.raises(ValueError, match="`sample_weight` contains NaN"):
        model.fit(X, LABELS, sample_weight=np.full(12, np.nan), verbose=0)
    for a, b in zip(before, state(model)):
        np.testing.assert_array_equal(a, b)


def test_both_weights_on_a_batch(model):
    with pytest.raises(ValueError, match="cannot be specified at the same time"):
        model.train_on_batch(X, LABELS, sample_weight=np.ones(12), class_weight={0: 1.0})


@pytest.mark.parametrize("arguments, text", [
    ({"validation_split": 1.0}, "(?i)validation_split"), ({"validation_split": -0.5}, "(?i)validation_split"),
    ({"validation_split": 0.999}, "not sufficient"), ({"batch_size": 0}, "batch_size=0"),
    ({"batch_size": 2.5}, "batch_size=2.5"), ({"validation_data": 3}, "single number"),
    ({"validation_data": (X[:, :2], LABELS)}, "expected.*4.*(found|received).*2"),
    ({"steps_per_epoch": 0}, "steps_per_epoch"),
    ({"epochs": "two"}, "epochs"), ({"validation_freq": 0}, "validation_freq"),
    ({"validation_split": "0.2"}, "validation_split='0.2'"), ({"validation_split": [0.1]}, "validation_split"),
    ({"batch_size": "4"}, "batch_size='4'"), ({"batch_size": [3]}, "batch_size"), ({"batch_size": np.inf}, "batch_s"),
    ({"validation_data": (X, LABELS), "validation_batch_size": 2.5}, "validation_batch_size=2.5"),
    ({"validation_data": (X, LABELS), "validation_batch_size": -1}, "validation_batch_size=-1"),
    ({"callbacks": [3]}, "(?i)callback"), ({"callbacks": [keras.callbacks.EarlyStopping]}, "EarlyStopping"),
    ({"sample_weight": {"nobody": np.ones(12)}}, "sample_weight.*nobody"),
    *[({"class_weight": w}, "class_weight")
      for w in ([1, 2], {0: "a"}, {0: None}, {0: np.nan}, {0: [1.0]}, {"a": 1.0})],
])
def test_bad_arguments_of_fit(model, arguments, text):
    before = state(model)
    with pytest.raises((ValueError, TypeError), match=text):
        model.fit(X, LABELS, **{"verbose": 0, **arguments})
    if "validation_data" not in arguments or not isinstance(arguments["validation_data"], tuple):
        for a, b in zip(before, state(model)):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("arguments", [{"steps": 1.5}, {"steps": "a"}, {"steps": 0}, {"batch_size": "4"},
                                       {"batch_size": 0}, {"callbacks": [3]}], ids=str)
def test_bad_arguments_of_evaluate_and_predict(model, arguments):
    name = next(iter(arguments))
    for call in (lambda: model.evaluate(X, LABELS, verbose=0, **arguments),
                 lambda: model.predict(X, verbose=0, **arguments)):
        with pytest.raises((ValueError, TypeError), match=f"{name}={arguments[name]!r}|callbacks"):
            call()


def test_batches_with_separate_targets():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`y` and `sample_weight` should not be passed"):
        model.fit(iter([(X, X[:, :1])]), X[:, :1], verbose=0)


def test_an_embedding_index_out_of_range_changes_nothing():
    model = keras.Sequential([keras.Input((3,), dtype="int32"), layers.Embedding(10, 4, name="words"),
                              layers.Flatten(), layers.BatchNormalization(), layers.Dense(1)])
    model.compile("adam", "mse")
    ids, y = rng.integers(0, 10, (12, 3)), rng.normal(size=(12, 1))
    model.fit(ids, y, batch_size=4, verbose=0)
    before = state(model)
    for wrong in (10, -11, 10**6):
        bad = with_value(ids, wrong, row=2)
        with pytest.raises(IndexError, match=str(wrong)):
            model.fit(bad, y, batch_size=4, verbose=0, shuffle=False)
        for a, b in zip(before, state(model)):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("arguments, text", [
    ({"optimizer": "adamm"}, "adamm"), ({"loss": "msee"}, "msee"), ({"metrics": ["accuracyy"]}, "accuracyy"),
    ({"weighted_metrics": ["nope"]}, "nope"), ({"loss": 3}, "3"), ({"optimizer": 3}, "3"), ({"metrics": 3}, "3"),
    ({"loss": "mse", "unknown": 1}, "unknown"),
])
def test_unknown_names_in_compile(arguments, text):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    with pytest.raises((ValueError, TypeError), match=text):
        model.compile(**{"optimizer": "sgd", "loss": "mse", **arguments})
        model.fit(X, X[:, :1], verbose=0)


@pytest.mark.parametrize("make, text", [
    (lambda: layers.Dense(3, activation="reluu"), "reluu"), (lambda: layers.Dense(-1), "-1"),
    (lambda: layers.Dense("three"), "three"), (lambda: layers.Dense(3, kernel_initializer="glorott"), "glorott"),
    (lambda: layers.Dense(3, kernel_regularizer="l7"), "l7"), (lambda: layers.Dense(3, unitz=3), "unitz"),
    (lambda: layers.Dense(3, kernel_constraint="nope"), "nope"), (lambda: layers.Dropout(1.5), "1.5"),
    (lambda: layers.Activation("nope"), "nope"),
])
def test_unknown_names_in_layers(make, text):
    with pytest.raises((ValueError, TypeError), match=text):
        make()


def test_loss_structures_that_do_not_fit():
    a = keras.Input((4,))
    two = keras.Model(a, [layers.Dense(1, name="u")(a), layers.Dense(1, name="v")(a)])
    y = X[:, :1]
    for loss, text in ((["mse"], "1 entries.*2 outputs"), ({"w": "mse"}, "'w'.*'u', 'v'")):
        two.compile("sgd", loss)
        with pytest.raises(ValueError, match=text):
            two.fit(X, [y, y], verbose=0)
    two.compile("sgd", "mse", loss_weights=[1.0])
    with pytest.raises(ValueError, match="loss_weights.*1 entries"):
        two.fit(X, [y, y], verbose=0)
    two.compile("sgd", "mse")
    for targets in ({"u": y, "w": y}, [y]):
        before = two.get_weights()
        with pytest.raises(ValueError, match="(?s)'w'.*'u', 'v'|1 entries|target"):
            two.fit(X, targets, verbose=0)
        for v, w in zip(before, two.get_weights()):
            np.testing.assert_array_equal(v, w)


def test_wrong_target_shape_names_both():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model.compile("sgd", "mse")
    before = state(model)
    with pytest.raises(ValueError, match=r"5.*3|3.*5"):
        model.fit(X, rng.normal(size=(12, 5)), verbose=0)
    for a, b in zip(before, state(model)):
        np.testing.assert_array_equal(a, b)


def test_a_metric_that_fails_in_the_first_step_changes_nothing():
    def broken(y_true, y_pred):
        raise ValueError("no such luck")

    for build in (True, False):
        first = [keras.Input((4,))] if build else []
        model = keras.Sequential([*first, layers.Dense(3), layers.BatchNormalization()])
        model.build((None, 4))
        model.compile("adam", "mse", metrics=[broken])
        before = model.get_weights()
        with pytest.raises(ValueError, match="no such luck"):
            model.fit(X, ONE_HOT, verbose=0)
        for a, b in zip(before, model.get_weights()):
            np.testing.assert_array_equal(a, b)
        assert all(not v.numpy().any() for v in model.optimizer.variables if v.name != "learning_rate")


# ---- missing values -------------------------------------------------------------------------------------------------


def regressor(loss="mse", outputs=1, eager=False):
    keras.utils.set_random_seed(1)
    x = keras.Input((4,), name="x")
    h = layers.BatchNormalization()(layers.Dense(5, activation="tanh")(x))
    heads = [layers.Dense(1, name=f"y{i}")(h) for i in range(outputs)]
    model = keras.Model(x, heads if outputs > 1 else heads[0])
    model.compile(keras.optimizers.Adam(0.01), loss, metrics=["mae"] if outputs == 1 else None, run_eagerly=eager)
    return model


def skipping(t, p):
    there = ops.logical_not(ops.isnan(t))
    squares = ops.where(there, ops.square(ops.where(there, t, 0.0) - p), 0.0)
    return ops.sum(squares) / ops.sum(ops.cast(there, "float32"))


class SkippingLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return skipping(y_true, y_pred)


def whole(model):
    return [v.numpy() for v in model.variables + model.optimizer.variables]


GOOD = X[:, :1].copy()


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("name", ["y", "sample_weight", "x"])
@pytest.mark.parametrize("form", ["rows", "batch", "generator", "sequence", "late"])
def test_nan_in_the_data_of_a_loss_of_the_library(form, name, eager):
    """Refused with the row, and nothing has changed: no weight, no statistic, no state of the optimizer."""
    data = {"x": X.copy(), "y": GOOD.copy(), "sample_weight": np.ones(12, "float32")}
    data[name][9 if form == "rows" else 1] = np.nan
    x, y, w = data.values()
    model = regressor(eager=eager)
    model.fit(X, GOOD, sample_weight=np.ones(12), batch_size=12, verbose=0)  # replayed, not only recorded
    before = whole(model)

    class Sequence(keras.utils.PyDataset):
        num_batches = 1

        def __getitem__(self, i):
            return x, y, w

    where = {"rows": "", "batch": "", "generator": "Batch 0: ", "sequence": "Batch 0: ", "late": "Batch 1: "}[form]
    with pytest.raises(ValueError, match=f"^{where}`{name}` contains NaN .first in row {9 if form == 'rows' else 1}.*"
                                         "destroy the weights"):
        if form == "rows" and name != "x":
            model.fit(x, y, sample_weight=w, batch_size=4, verbose=0)
        elif form == "rows":  # nobody looks at all inputs beforehand: the batch with the row is refused
            model.fit(x, y, sample_weight=w, batch_size=12, verbose=0)
        elif form == "batch":
            model.train_on_batch(x, y, sample_weight=w)
        elif form == "late":
            keras.utils.set_random_seed(3)
            stepped = regressor(eager=eager)
            stepped.train_on_batch(X, GOOD, sample_weight=np.ones(12))
            before, model = whole(stepped), regressor(eager=eager)
            model.fit(iter([(X, GOOD, np.ones(12)), (x, y, w)]), verbose=0)
        else:
            model.fit(iter([(x, y, w)]) if form == "generator" else Sequence(), verbose=0)
    for a, b in zip(before, whole(model)):
        np.testing.assert_array_equal(a, b)


def test_a_state_that_a_layer_writes_before_the_loss_is_put_back():
    class Counting(layers.Layer):
        def build(self, input_shape):
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

        def call(self, x):
            self.calls.assign_add(1.0)
            return x

    model = keras.Sequential([keras.Input((4,)), Counting(), layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(X, GOOD, verbose=0)
    before = whole(model)
    assert before[0] == 1
    with pytest.raises(ValueError, match="`x` contains NaN"):
        model.fit(with_value(X, np.nan), GOOD, verbose=0)
    for a, b in zip(before, whole(model)):
        np.testing.assert_array_equal(a, b)
    model.fit(X, GOOD, verbose=0)
    assert whole(model)[0] == 2


@pytest.mark.parametrize("loss", [skipping, SkippingLoss()])
def test_nan_targets_of_a_loss_that_skips_them(loss):
    y = with_value(GOOD, np.nan)
    model = regressor(loss)
    p = model.predict(X, verbose=0)
    np.testing.assert_allclose(model.evaluate(X, y, verbose=0)[0], np.nanmean((p - y) ** 2), rtol=1e-5)
    before = whole(model)[0]
    model.fit(X, y, epochs=2, verbose=0)
    model.fit(iter([(X, y)]), verbose=0)
    model.train_on_batch(X, y)
    assert all(np.isfinite(v).all() for v in whole(model))
    assert not np.array_equal(before, whole(model)[0])


def test_nan_targets_of_one_output():
    """Two tasks: the loss of one skips missing labels, that of the other is the library's."""
    y = [with_value(GOOD, np.nan), GOOD]
    model = regressor([skipping, "mse"], outputs=2)
    model.fit(X, y, verbose=0)
    assert all(np.isfinite(v).all() for v in whole(model))
    before = whole(model)
    with pytest.raises(ValueError, match=r"`y\[1\]` contains NaN .first in row 9"):
        model.fit(X, [GOOD, with_value(GOOD, np.nan)], verbose=0)
    for a, b in zip(before, whole(model)):
        np.testing.assert_array_equal(a, b)


def test_nan_that_reaches_no_loss_is_nobodys_business():
    model = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: ops.where(ops.isnan(x), 0.0, x)),
                              layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(with_value(X, np.nan), GOOD, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_evaluate_and_predict_never_refuse_nan():
    model = regressor()
    y = with_value(GOOD, np.nan)
    assert np.isnan(model.evaluate(X, y, verbose=0)).all()
    assert np.isnan(model.evaluate(with_value(X, np.nan), GOOD, verbose=0)).all()
    assert np.isnan(model.test_on_batch(X, y)).all()
    p = model.predict(with_value(X, np.nan), verbose=0)
    assert np.isnan(p[9]).all() and np.isfinite(np.delete(p, 9, 0)).all()
    history = model.fit(X, GOOD, validation_data=(X, y), verbose=0).history
    assert np.isnan(history["val_loss"]).all() and np.isfinite(history["loss"]).all()


def test_a_loss_that_diverges_by_itself_goes_on():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e30), "mse")
    stop = keras.callbacks.TerminateOnNaN()
    history = model.fit(X, GOOD, batch_size=4, epochs=20, verbose=0, callbacks=[stop])
    assert len(history.epoch) < 20 and not np.isfinite(history.history["loss"][-1])


class TestNone:
    """None among Python objects, as a data frame read from a database has it: NumPy makes NaN of it in silence."""

    OBJECTS = np.array([[1, 2.0, 0, 1], [3, 4, None, 1]] * 6, dtype=object)

    def refused(self, call, what=""):
        with pytest.raises((ValueError, TypeError), match=what or "None"):
            call()

    @pytest.mark.parametrize("frame", [False, True])
    @pytest.mark.parametrize("name", ["x", "y", "sample_weight"])
    def test_in_every_method_of_a_model(self, name, frame):
        model = regressor(outputs=1)
        before = whole(model)
        data = {"x": X, "y": GOOD, "sample_weight": np.ones(12)}
        data[name] = self.OBJECTS if name == "x" else self.OBJECTS[:, 2]
        if frame:
            pandas = pytest.importorskip("pandas")
            data[name] = pandas.DataFrame(data[name]) if name == "x" else pandas.Series(data[name])
        x, y, w = data.values()
        where = rf"`{name}` holds None .first at \[1"
        self.refused(lambda: model.fit(x, y, sample_weight=w, verbose=0), where)
        self.refused(lambda: model.fit(x, y, sample_weight=w, validation_split=0.5, verbose=0), where)
        self.refused(lambda: model.fit(iter([(x, y, w)]), verbose=0), where)
        self.refused(lambda: model.evaluate(x, y, sample_weight=w, verbose=0), where)
        self.refused(lambda: model.train_on_batch(x, y, sample_weight=w), where)
        self.refused(lambda: model.test_on_batch(x, y, sample_weight=w), where)
        if name == "x":
            self.refused(lambda: model.predict(x, verbose=0), where)
            self.refused(lambda: model.predict_on_batch(x), where)
            self.refused(lambda: model(x if not frame else x.to_numpy()))
        for a, b in zip(before, whole(model)):
            np.testing.assert_array_equal(a, b)

    def test_as_a_list(self):
        self.refused(lambda: regressor().fit(self.OBJECTS.tolist(), GOOD, verbose=0), "`x` holds None")

    def test_elsewhere(self):
        bad = self.OBJECTS
        self.refused(lambda: ops.convert_to_tensor(bad))
        self.refused(lambda: ops.convert_to_tensor(bad, "float32"))
        self.refused(lambda: ops.convert_to_tensor([1.0, None]))
        self.refused(lambda: keras.losses.MeanSquaredError()(bad, bad))
        self.refused(lambda: keras.metrics.MeanSquaredError().update_state(bad, bad))
        self.refused(lambda: layers.Normalization().adapt(bad))
        self.refused(lambda: layers.Discretization(num_bins=2).adapt(bad))
        self.refused(lambda: keras.utils.pad_sequences([[1, None]], dtype="float32"))
        self.refused(lambda: keras.initializers.Constant(bad)((12, 4)))
        self.refused(lambda: keras.Variable(np.zeros(4)).assign(bad[1]))
        self.refused(lambda: next(iter(keras.utils.timeseries_dataset_from_array(bad, None, 1))))

    def test_in_estimators(self):
        pytest.importorskip("sklearn")
        from pydl import estimators

        build = lambda features, outputs: keras.Sequential([keras.Input((features,)), layers.Dense(outputs)])  # noqa: E731
        for estimator in (estimators.MLPRegressor(max_iter=2), estimators.NeuralRegressor(build)):
            self.refused(lambda e=estimator: e.fit(X, self.OBJECTS[:, 2]), "`y` holds None")
            with pytest.raises(ValueError, match="NaN"):  # scikit-learn's own words for what it has made of None
                estimator.fit(self.OBJECTS, GOOD[:, 0])

    def test_objects_that_are_numbers_are_taken(self):
        model = regressor()
        objects = X.astype(object)
        np.testing.assert_array_equal(model.predict(objects, verbose=0), model.predict(X, verbose=0))
