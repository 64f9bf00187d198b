"""Everything at once that may run at once: kernels of several threads, programs, another number of threads, children,
signals. Most of all for ThreadSanitizer (`.ci/sanitize thread`), which sees races that do not show in the numbers."""

import os
import random
import signal
import threading
import time

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops

SECONDS = 3.0


def array(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def products(end):
    a = ops.convert_to_tensor(array(300, 300))
    right = ops.matmul(a, a).numpy()
    while time.monotonic() < end:
        np.testing.assert_array_equal(ops.matmul(a, a).numpy(), right)


def walks(end):
    layer, x = layers.LSTM(16), array(64, 12, 8)
    right = layer(x).numpy()
    while time.monotonic() < end:
        np.testing.assert_array_equal(layer(x).numpy(), right)


def model():
    m = keras.Sequential([keras.Input((32,)), layers.Dense(256, "relu"), layers.Dropout(0.1), layers.Dense(4)])
    m.compile("adam", "mse")
    return m


def trainer(end):
    m, x, y = model(), array(256, 32), array(256, 4)
    while time.monotonic() < end:
        m.fit(x, y, batch_size=64, epochs=2, verbose=0)


def served():
    """A reader and a trainer of one model, which take turns at its gate."""
    m, x, y = model(), array(64, 32), array(64, 4)
    m.predict_on_batch(x)

    def train(end):
        while time.monotonic() < end:
            m.train_on_batch(x, y)

    def read(end):
        while time.monotonic() < end:
            m.predict(x[: random.randint(1, 64)], verbose=0)
            m.predict_on_batch(x)
    return train, read


def resizer(end):
    before = keras.config.threads()
    while time.monotonic() < end:
        keras.config.set_threads(random.randint(1, 4))
        time.sleep(0.01)
    keras.config.set_threads(before)


def recorder(end):
    f = keras.function(lambda x, k: ops.tanh(ops.matmul(x, x)) * float(k))
    x, k = array(80, 80), 0
    while time.monotonic() < end:
        k += 1  # a new program each time, and old ones dropped
        f(x, k // 3)


def test_everything_at_once():
    train, read = served()
    work = [products, products, walks, trainer, train, read, read, resizer, recorder, recorder]
    end, errors = time.monotonic() + SECONDS, []

    def guarded(f):
        try:
            f(end)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(f,), name=f.__name__) for f in work]
    before = keras.config.threads()
    alarms = []
    handler = signal.signal(signal.SIGALRM, lambda *_: alarms.append(1)) if hasattr(signal, "setitimer") else None
    try:
        if handler is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        for t in threads:
            t.start()
        products(end)
        for t in threads:
            t.join(120)
            assert not t.is_alive(), f"{t.name} hangs"
    finally:
        if handler is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
        keras.config.set_threads(before)
    if errors:
        raise errors[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.skipif("tsan" in os.environ.get("LD_PRELOAD", ""), reason="ThreadSanitizer does not follow into children")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_children_have_threads_of_their_own():
    a = ops.convert_to_tensor(array(400, 400))
    right = ops.matmul(a, a).numpy()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            same = np.array_equal(ops.matmul(a, a).numpy(), right)
            os._exit(0 if same else 1)
        assert os.waitpid(child, 0)[1] == 0
        np.testing.assert_array_equal(ops.matmul(a, a).numpy(), right)
