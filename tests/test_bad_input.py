"""Wrong input is refused with a sentence that says what was expected and what was received, and nothing is changed."""

import numpy as np
import pytest

import pydl as keras
from pydl import layers

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
    "width": (X[:, :3], LABELS, ValueError, r"expected.*4.*found.*3"),
    "lengths": (X, LABELS[:7], ValueError, r"cardinality.*'x' sizes: 12.*'y' sizes: 7"),
    "empty": (X[:0], LABELS[:0], ValueError, "empty"),
    "text": (np.array([["a"] * 4] * 12), LABELS, (ValueError, TypeError), "(?i)string|str|dtype|numbers"),
    "objects": (np.array([[object()] * 4] * 12), LABELS, ValueError, "numbers"),
    "complex": (X.astype("complex64"), LABELS, (ValueError, TypeError), "complex64"),
    "label too large": (X, with_value(LABELS, 3), (ValueError, IndexError), r"3.*(0|\[0).*(2|3)"),
    "label negative": (X, with_value(LABELS, -1), (ValueError, IndexError), r"-1"),
    "label NaN": (X, with_value(LABELS.astype("float32"), np.nan), ValueError, "`y` contains NaN.*row 9"),
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
    ({"validation_data": (X[:, :2], LABELS)}, "expected.*4.*found.*2"), ({"steps_per_epoch": 0}, "steps_per_epoch"),
    ({"epochs": "two"}, "epochs"), ({"validation_freq": 0}, "validation_freq"),
    ({"callbacks": [3]}, "(?i)callback"), ({"class_weight": [1, 2]}, "class_weight"),
])
def test_bad_arguments_of_fit(model, arguments, text):
    before = state(model)
    with pytest.raises((ValueError, TypeError), match=text):
        model.fit(X, LABELS, **{"verbose": 0, **arguments})
    if "validation_data" not in arguments or not isinstance(arguments["validation_data"], tuple):
        for a, b in zip(before, state(model)):
            np.testing.assert_array_equal(a, b)


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
