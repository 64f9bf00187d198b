"""Run by test_interrupt.py in a process of its own: works until Ctrl-C, says when it noticed, and checks what is left.

    python interrupted.py CASE ROUNDS

Each round prints "go", waits for SIGINT, and prints the moment (of time.monotonic()) at which KeyboardInterrupt came
out of pydl. After the last one what must hold is asserted.
"""

import sys
import threading
import time

import numpy as np

import pydl as keras
from pydl import layers, ops

CASES = {}


def case(make):
    """`make()` returns (work, check): `work()` takes longer than any test waits, `check()` may be None."""
    CASES[make.__name__] = make
    return make


def random(*shape, dtype="float32"):
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def again_and_again(call):
    def work():
        while True:
            call()
    return work


def of_op(call):
    """An eager kernel: the same bits before and after interruptions."""
    before = call().numpy()

    def check():
        np.testing.assert_array_equal(call().numpy(), before)
    return again_and_again(call), check


@case
def matmul():
    a = ops.convert_to_tensor(random(3000, 3000, dtype="float64"))
    return again_and_again(lambda: ops.matmul(a, a)), None


@case
def tall_product():
    a, b = ops.convert_to_tensor(random(400_000, 256)), ops.convert_to_tensor(random(256, 512))
    return again_and_again(lambda: ops.matmul(a, b)), None


@case
def convolution():
    x, w = ops.convert_to_tensor(random(8, 112, 112, 64)), ops.convert_to_tensor(random(5, 5, 64, 128))
    return of_op(lambda: ops.conv(x, w))


@case
def transposed_convolution():
    x, w = ops.convert_to_tensor(random(1, 160, 160, 96)), ops.convert_to_tensor(random(5, 5, 96, 96))
    return of_op(lambda: ops.conv_transpose(x, w, strides=2))


@case
def gradients():
    """Of convolutions and attention, by a tape that is not recorded."""
    x = keras.Variable(random(2, 56, 56, 64))
    w = keras.Variable(random(3, 3, 64, 96))
    attend = layers.MultiHeadAttention(1, 64)
    q = keras.Variable(random(1, 2000, 64))

    def call():
        with keras.GradientTape() as tape:
            y = ops.sum(ops.conv(x, w)) + ops.sum(attend(q, q))
        return tape.gradient(y, [x, w, q])
    call()
    return again_and_again(call), None


@case
def recurrence():
    layer = layers.LSTM(256)
    x = ops.convert_to_tensor(random(16, 4000, 64))
    return of_op(lambda: layer(x))


@case
def sort():
    x = ops.convert_to_tensor(random(1, 20_000_000))
    return again_and_again(lambda: ops.top_k(x, 100)), None


@case
def predict():
    model = keras.Sequential([keras.Input((1024,)), layers.Dense(4096, "relu"), layers.Dense(4096), layers.Dense(8)])
    x = random(8192, 1024)
    before = model.predict(x, batch_size=4096, verbose=0)

    def check():
        np.testing.assert_array_equal(model.predict(x, batch_size=4096, verbose=0), before)
    return again_and_again(lambda: model.predict(x, batch_size=4096, verbose=0)), check


def network():
    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.Input((512,)), layers.Dense(1024, "relu"), layers.BatchNormalization(), layers.Dropout(0.3),
        layers.Dense(1024, "tanh"), layers.Dense(10)])
    model.compile("adam", "mse", metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    return model


STEPS, BATCH = 30, 1024


def state(model):
    """Everything a step changes."""
    return [np.array(v) for v in [*model.variables, *model.optimizer.variables]]


def trajectory(model, x, y):
    """The states after 0, 1, ... steps."""
    states = [state(model)]
    for i in range(0, len(x), BATCH):
        model.train_on_batch(x[i:i + BATCH], y[i:i + BATCH])
        states.append(state(model))
    return states


@case
def fit():
    """Weights are those before a step or those after it, and training goes on with the bits of an undisturbed one."""
    x, y = random(STEPS * BATCH, 512), random(STEPS * BATCH, 10)
    right = trajectory(network(), x, y)
    seen = []

    def work():
        model = network()
        try:
            while True:  # more epochs than are compared: the signal comes before the end of the first
                model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
        except KeyboardInterrupt as interrupt:
            interrupt.moment = time.monotonic()
            done = int(model.optimizer.iterations)
            seen.append(done)
            assert done < STEPS, "the machine is too fast for this test"
            compare(state(model), right[done], f"interrupted after {done} steps")
            model.fit(x[done * BATCH:], y[done * BATCH:], batch_size=BATCH, shuffle=False, verbose=0)
            compare(state(model), right[STEPS], f"trained on after {done} steps")
            raise
    return work, lambda: print("steps", seen)


def compare(found, wanted, when):
    assert len(found) == len(wanted)
    for i, (a, b) in enumerate(zip(found, wanted)):
        np.testing.assert_array_equal(a, b, err_msg=f"variable {i}, {when}")


@case
def generate():
    model = keras.models.Seq2Seq(
        layers.GRU(512, return_sequences=True), layers.BahdanauDecoder(512), 2000, 2000, embedding=64)
    source = np.random.default_rng(0).integers(3, 2000, (64, 40)).astype("int32")
    model([source, np.ones((64, 1), "int32")])
    before = model.generate(source, 20, beam_width=4)

    def check():
        np.testing.assert_array_equal(model.generate(source, 20, beam_width=4), before)
    return again_and_again(lambda: model.generate(source, 400, beam_width=4)), check


@case
def tiny_calls():
    """Most of the time is Python's here: between its lines, too, nothing stays lent or closed."""
    model = keras.Sequential([keras.Input((2,)), layers.Dense(4, "relu"), layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = random(4, 2), random(4, 1)
    model.train_on_batch(x, y)
    count = keras.Variable(0.0, trainable=False)

    def step(x):  # it writes a variable: its program has one instance, which all calls share
        count.assign(count + 1.0)
        return x * 2

    double = keras.function(step)
    calls = [lambda: model.predict_on_batch(x), lambda: model.predict(x, verbose=0), lambda: double(x)]
    turn = iter(range(1000))

    def work():
        call = calls[next(turn) % len(calls)]
        while True:
            for _ in range(1000):
                call()

    def check():
        model.fit(x, y, verbose=0)  # waits for readers that are still inside
        found = []
        other = threading.Thread(target=lambda: found.append((model.predict_on_batch(x), double(x).numpy())))
        other.start()
        other.join(20)
        assert found, "another thread waits for what an interrupted call has not given back"
        np.testing.assert_array_equal(found[0][1], x * 2)
    return work, check


@case
def perceptron():
    x = random(200_000, 100, dtype="float64")
    y = (x @ np.arange(100) + random(200_000) > 0).astype(int)
    model = keras.estimators.Perceptron(max_iter=10 ** 6, tol=None)
    return lambda: model.fit(x, y), None


@case
def texts():
    words = np.random.default_rng(0).integers(0, 50_000, 3_000_000).astype(str)
    one = " ".join(words.tolist())
    return again_and_again(lambda: layers.TextVectorization().adapt([one])), None


def main():
    work, check = CASES[sys.argv[1]]()
    for _ in range(int(sys.argv[2])):
        try:
            print("go", flush=True)  # the signal may follow before the next line is reached
            work()
        except KeyboardInterrupt as interrupt:
            print("stopped", getattr(interrupt, "moment", time.monotonic()), flush=True)
        else:
            raise AssertionError("the work has ended by itself")
    if check is not None:
        check()
    print("right", flush=True)


if __name__ == "__main__":
    main()
