"""Arrays whose elements do not lie at multiples of their size (fields of packed records, bytes at an odd offset) are
copied at every door; a kernel never sees one."""

import numpy as np
import pytest

import pydl as keras
from pydl import _core, layers, ops
from pydl.utils import PyDataset

rng = np.random.default_rng(3)
X = rng.normal(size=(24, 5)).astype("float32")
Y = rng.normal(size=(24, 1)).astype("float32")


def unaligned(array):
    """The same values, C-contiguous, one byte behind a multiple of their size."""
    array = np.asarray(array)
    room = np.zeros(array.nbytes + 1, "uint8")
    moved = np.frombuffer(room, array.dtype, array.size, 1).reshape(array.shape)
    moved[...] = array
    assert moved.flags.c_contiguous and not moved.flags.aligned
    return moved


def packed(array):
    """The same values as a field of records with a byte in front: neither contiguous nor aligned."""
    records = np.zeros(array.shape[0], np.dtype([("tag", "i1"), ("values", array.dtype, array.shape[1:])]))
    records["values"] = array
    assert not records["values"].flags.aligned
    return records["values"]


FORMS = pytest.mark.parametrize("form", [unaligned, packed])


def model():
    keras.utils.set_random_seed(4)
    net = keras.Sequential([keras.Input((5,)), layers.Dense(4, activation="tanh"), layers.Dense(1)])
    net.compile("adam", "mse")
    return net


class Batches(PyDataset):
    def __init__(self, form):
        super().__init__()
        self.form = form

    def __len__(self):
        return 3

    def __getitem__(self, i):
        rows = slice(8 * i, 8 * i + 8)
        return self.form(X[rows]), self.form(Y[rows])


@FORMS
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64"])
def test_ops(form, dtype):
    x = (10 * X).astype(dtype)
    for tensor in (ops.convert_to_tensor(form(x)), ops.array(form(x)), keras.Variable(form(x), dtype=dtype)):
        assert tensor.data.flags.aligned and tensor.data.flags.c_contiguous
        np.testing.assert_array_equal(tensor.data, x)
    np.testing.assert_array_equal(ops.add(form(x), form(x)).data, x + x)
    np.testing.assert_array_equal(ops.concatenate([form(x), x]).data, np.concatenate([x, x]))
    np.testing.assert_array_equal((ops.convert_to_tensor(x) * form(x)).data, x * x)
    np.testing.assert_array_equal(ops.take(x, form(np.array([3, 1, 2])), axis=0).data, x[[3, 1, 2]])


def test_numbers_without_axes():
    records = np.zeros((), np.dtype([("tag", "i1"), ("value", "f8")]))
    records["value"] = 3
    assert not records["value"].flags.aligned
    assert ops.add(records["value"], 1.0).shape == () and float(ops.add(records["value"], 1.0)) == 4


@FORMS
def test_variables_and_weights(form):
    net, other = model(), model()
    net.set_weights([form(w) if w.ndim > 1 else unaligned(w) for w in other.get_weights()])
    for got, want in zip(net.get_weights(), other.get_weights()):
        np.testing.assert_array_equal(got, want)
    variable = keras.Variable(X)
    variable.assign_add(form(X))
    np.testing.assert_array_equal(variable.numpy(), X + X)


@FORMS
@pytest.mark.parametrize("eagerly", [False, True])
def test_models(form, eagerly):
    results = []
    for given in (np.asarray, form):
        net = model()
        net.compile("adam", "mse", run_eagerly=eagerly)
        history = net.fit(given(X), given(Y), sample_weight=given(np.abs(Y)), batch_size=7, epochs=2,
                          validation_data=(given(X), given(Y)), verbose=0).history
        results.append([history["loss"], history["val_loss"], net.evaluate(given(X), given(Y), verbose=0),
                        net.train_on_batch(given(X), given(Y)), net.test_on_batch(given(X), given(Y)),
                        net.predict(given(X), verbose=0), net.predict_on_batch(given(X)), net(given(X)).data,
                        *(net.predict(given(X), verbose=0) for _ in range(3))])
    for got, want in zip(*results):
        np.testing.assert_array_equal(got, want)


@FORMS
def test_batches(form):
    results = []
    for given in (np.asarray, form):
        net = model()
        history = net.fit(Batches(given), epochs=2, shuffle=False, verbose=0).history["loss"]
        batches = ((given(X), given(Y)) for _ in range(4))
        results.append(history + net.fit(batches, steps_per_epoch=2, epochs=2, verbose=0).history["loss"])
    np.testing.assert_array_equal(*results)


@FORMS
def test_recorded_functions(form):
    @keras.function
    def step(x, more):
        return ops.sum(x * 2, 1) + more["bias"]

    want = X.sum(1) * 2 + Y[:, 0]
    for given in (form, np.asarray, form):
        np.testing.assert_allclose(step(given(X), {"bias": unaligned(Y[:, 0])}).data, want, rtol=1e-5)


@FORMS
def test_losses_metrics_and_helpers(form):
    assert float(keras.losses.MeanSquaredError()(form(Y), form(Y))) == 0
    metric = keras.metrics.MeanAbsoluteError()
    metric.update_state(form(Y), form(Y))
    assert float(metric.result()) == 0
    np.testing.assert_array_equal(keras.utils.normalize(form(X)), keras.utils.normalize(X))
    normalization = layers.Normalization()
    normalization.adapt(form(X))
    np.testing.assert_allclose(np.asarray(normalization(form(X))).mean(0), 0, atol=1e-5)
    np.testing.assert_array_equal(layers.Embedding(9, 2)(form(np.full((3, 2), 1, "int32"))).shape, (3, 2, 2))


@FORMS
def test_estimators(form):
    estimators = pytest.importorskip("pydl.estimators")
    classes = (X[:, 0] > 0).astype("int64")
    for make in (lambda: estimators.Perceptron(random_state=0),
                 lambda: estimators.MLPClassifier((3,), max_iter=300, tol=1.0, random_state=0)):
        want = make().fit(X.astype("float64"), classes).predict(X)
        got = make().fit(form(X.astype("float64")), unaligned(classes)).predict(form(X))
        np.testing.assert_array_equal(got, want)


def test_a_kernel_refuses_what_no_door_lets_in():
    x = np.zeros(4, "float32")
    with pytest.raises(TypeError, match="kernel relu: argument 'x' expected elements at multiples of their size"):
        _core.kernels.relu(unaligned(x), x, 4)
