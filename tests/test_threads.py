"""Callers' threads share nothing: every call gets its own numbers."""

import threading
import time

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops
from pydl.tensor import Variable

THREADS, CALLS = 4, 60


def in_threads(work, count=THREADS):
    """Runs `work(i)` in threads; raises what one of them raised."""
    errors = []

    def guarded(i):
        try:
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(i,), name=f"caller-{i}") for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
        assert not t.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


def array(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def network(**compiled):
    model = keras.Sequential([keras.Input((64,)), layers.Dense(256, "relu"), layers.Dense(8)])
    if compiled:
        model.compile(**compiled)
    return model


@pytest.mark.parametrize("call", [
    lambda m, x: m.predict_on_batch(x), lambda m, x: m.predict(x, verbose=0),
    lambda m, x: m.predict(x, batch_size=7, verbose=0), lambda m, x: m.predict([x], verbose=0),
    lambda m, x: m(x).numpy(),
], ids=["predict_on_batch", "predict", "predict in parts", "predict of a list", "call"])
def test_predictions(call):
    model = network()
    xs = [array(32, 64, seed=i) for i in range(THREADS)]
    right = [call(model, x) for x in xs]

    def work(i):
        for _ in range(CALLS):
            np.testing.assert_array_equal(call(model, xs[i]), right[i])

    in_threads(work)


def test_a_model_that_nobody_has_called():
    model = keras.Sequential([layers.Dense(256, "relu"), layers.Dense(8)])
    found = [None] * THREADS

    def work(i):
        found[i] = model.predict_on_batch(np.ones((4, 64), "float32"))

    in_threads(work)
    assert len(model.weights) == 4
    for y in found:
        np.testing.assert_array_equal(y, found[0])


@pytest.mark.parametrize("call", [
    lambda m, x, y: m.evaluate(x, y, verbose=0), lambda m, x, y: m.test_on_batch(x, y),
    lambda m, x, y: m.evaluate(x, y, batch_size=5, verbose=0)], ids=["evaluate", "test_on_batch", "evaluate in parts"])
def test_evaluations(call):
    model = network(loss="mse", metrics=["mae"])
    data = [(array(32, 64, seed=i), array(32, 8, seed=9 + i)) for i in range(THREADS)]
    right = [call(model, *d) for d in data]

    def work(i):
        for _ in range(CALLS):
            assert call(model, *data[i]) == right[i]

    in_threads(work)


def test_functions():
    f = keras.function(lambda x, k: {"y": ops.exp(x) * float(k)})
    xs = [array(500, seed=i) for i in range(THREADS)]

    def work(i):
        want = np.exp(xs[i]) * i
        for _ in range(CALLS):
            np.testing.assert_allclose(f(xs[i], i)["y"], want, rtol=1e-5)
            np.testing.assert_allclose(f(xs[i], 1)["y"], np.exp(xs[i]), rtol=1e-5)

    in_threads(work)


def test_a_function_that_writes_a_variable_takes_turns():
    count = Variable(0.0, trainable=False)

    def add(x):
        before = count + 0.0
        for _ in range(4):  # long enough for another thread to come in between
            x = ops.tanh(ops.matmul(x, x))
        count.assign(before + ops.max(x) * 0.0 + 1.0)
        return count + 0.0

    f = keras.function(add)
    seen = [[] for _ in range(THREADS)]

    def work(i):
        for _ in range(CALLS):
            seen[i].append(float(f(np.ones((200 + i % 2, 200 + i % 2), "float32"))))  # two programs

    in_threads(work)
    assert sorted(v for values in seen for v in values) == list(range(1, THREADS * CALLS + 1))


def test_random_draws_of_threads_are_different_numbers():
    seed = keras.random.SeedGenerator(3)
    f = keras.function(lambda x: x + keras.random.uniform((4,), seed=seed))
    drawn = [[] for _ in range(THREADS)]

    def work(i):
        for _ in range(CALLS):
            drawn[i].append(f(np.zeros(4, "float32")).numpy().tobytes())

    in_threads(work)
    assert len({d for values in drawn for d in values}) == THREADS * CALLS


def test_a_stateful_layer_advances_one_state_in_turn():
    """Documented in the layer: calls of several threads take turns on the one state."""
    def model():
        return keras.Sequential([keras.Input(batch_shape=(1, 1, 1)), layers.SimpleRNN(
            1, activation="linear", stateful=True, kernel_initializer="ones", recurrent_initializer="ones")])

    counter = model()
    seen = [[] for _ in range(THREADS)]

    def work(i):
        for _ in range(CALLS):
            seen[i].append(float(counter.predict_on_batch(np.ones((1, 1, 1), "float32"))[0, 0]))

    in_threads(work)
    assert sorted(v for values in seen for v in values) == list(range(1, THREADS * CALLS + 1))


@pytest.mark.filterwarnings("ignore:.*has not converged")
def test_estimators():
    MLPRegressor = pytest.importorskip("pydl.estimators").MLPRegressor
    estimator = MLPRegressor(hidden_layer_sizes=(8,), max_iter=3).fit(array(64, 5), array(64, 1)[:, 0])
    xs = [array(20, 5, seed=i) for i in range(THREADS)]
    right = [estimator.predict(x) for x in xs]

    def work(i):
        for _ in range(CALLS):
            np.testing.assert_array_equal(estimator.predict(xs[i]), right[i])

    in_threads(work)


def test_two_models_train_at_once_as_each_alone():
    def train(seed):
        keras.utils.set_random_seed(seed)
        return network(optimizer="adam", loss="mse")

    x, y = array(128, 64), array(128, 8, seed=1)
    models, alone = [train(i) for i in range(3)], [train(i) for i in range(3)]
    for m in alone:
        m.fit(x, y, epochs=3, shuffle=False, verbose=0)
    in_threads(lambda i: models[i].fit(x, y, epochs=3, shuffle=False, verbose=0), 3)
    for a, b in zip(models, alone):
        for v, w in zip(a.get_weights(), b.get_weights()):
            np.testing.assert_array_equal(v, w)


def held_in_training(model, x, y):
    """A thread that trains until the event is set."""
    inside, leave = threading.Event(), threading.Event()

    def wait(epoch, logs):
        inside.set()
        leave.wait(60)

    thread = threading.Thread(target=model.fit, args=(x, y), name="trainer", kwargs=dict(
        verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=wait)]))
    thread.start()
    assert inside.wait(60)
    return thread, leave


def test_training_is_exclusive_and_says_so():
    model = network(optimizer="sgd", loss="mse")
    x, y = array(32, 64), array(32, 8)
    thread, leave = held_in_training(model, x, y)
    try:
        for call in (lambda: model.fit(x, y, verbose=0), lambda: model.train_on_batch(x, y)):
            with pytest.raises(RuntimeError, match="is being trained by thread 'trainer'; thread 'MainThread' cannot"
                                                   " train it at the same time"):
                call()
        for call in (lambda: model.evaluate(x, y, verbose=0), lambda: model.test_on_batch(x, y)):
            with pytest.raises(RuntimeError, match="cannot evaluate it at the same time"):
                call()
        assert model.predict(x, verbose=0).shape == (32, 8)
    finally:
        leave.set()
        thread.join(60)
    model.fit(x, y, verbose=0)


def test_a_callback_may_evaluate_and_train_on():
    model = network(optimizer="sgd", loss="mse")
    x, y = array(32, 64), array(32, 8)

    def inside(epoch, logs):
        model.evaluate(x, y, verbose=0)
        model.train_on_batch(x, y)
        model.predict(x, verbose=0)

    model.fit(x, y, epochs=2, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=inside)])


def test_predictions_beside_training_see_whole_updates():
    """The layer multiplies by a and by b; each update keeps a = b, so a torn one would show."""
    class Twice(layers.Layer):
        def build(self, shape):
            self.a = self.add_weight(shape=(4000,), initializer="zeros", name="a")
            self.b = self.add_weight(shape=(4000,), initializer="zeros", name="b")

        def call(self, x):
            return x * (self.a - self.b), ops.reshape(ops.sum(x * (self.a + self.b), -1), (-1, 1))

    inputs = keras.Input((4000,))
    difference, total = Twice()(inputs)
    model = keras.Model(inputs, {"difference": difference, "total": total})
    model.compile(keras.optimizers.SGD(1e-6), {"total": "mse"})
    x, y = np.ones((8, 4000), "float32"), {"total": np.ones((8, 1), "float32")}
    model.train_on_batch(x, y)
    stop, moved = threading.Event(), []

    def read(i):
        while not stop.is_set():
            found = model.predict_on_batch(x)
            assert not found["difference"].any()
            moved.append(found["total"][0, 0])

    def train():
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            model.fit(x, y, batch_size=8, epochs=5, verbose=0)
        stop.set()

    in_threads(lambda i: train() if i == 0 else read(i), 3)
    assert len(set(moved)) > 3


def test_losses_added_by_layers_belong_to_the_thread():
    layer = layers.ActivityRegularization(l2=1.0)
    data = [np.full((1, 4), float(i + 1), "float32") for i in range(THREADS)]

    def work(i):
        for _ in range(CALLS):
            layer(data[i])
            assert float(layer.losses[0]) == 4 * (i + 1) ** 2

    in_threads(work)


def test_instances_are_bounded():
    f = keras.function(lambda x: ops.tanh(ops.matmul(x, x)))
    x = array(64, 64)
    in_threads(lambda i: [f(x) for _ in range(5)], 24)
    assert 1 <= len(f.captures) <= 8


def test_an_error_gives_the_instance_back():
    table = Variable(array(4, 2), trainable=False)
    f = keras.function(lambda ids: ops.embedding(table, ids))
    f(np.array([0], "int32"))
    for _ in range(20):
        with pytest.raises(IndexError):
            f(np.array([9], "int32"))
    assert len(f.captures) == 1
