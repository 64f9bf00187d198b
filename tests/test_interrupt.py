"""Ctrl-C acts within 0.2 s inside pydl, and leaves things as they were before or after a whole step."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import pydl as keras
from pydl import _core, layers, ops

SCRIPT = Path(__file__).with_name("interrupted.py")
ROUNDS, TRIES = 4, 3
BOUND = float(os.environ.get("PYDL_INTERRUPT_BOUND", 0.5))  # seconds; a machine with others on it is not prompt


def reactions(case, threads, rounds=ROUNDS, delay=(0.02, 0.9)):
    """Seconds from each signal until KeyboardInterrupt has left pydl."""
    environment = dict(os.environ, PYDL_NUM_THREADS=str(threads))
    with subprocess.Popen([sys.executable, SCRIPT, case, str(rounds)], stdout=subprocess.PIPE, text=True,
                          env=environment) as child:
        try:
            seconds = []
            for line in child.stdout:
                word, *moment = line.split()
                if word == "go":
                    time.sleep(random.uniform(*delay))
                    sent = time.monotonic()
                    child.send_signal(signal.SIGINT)
                elif word == "stopped":
                    seconds.append(float(moment[0]) - sent)
            assert child.wait(60) == 0
        finally:
            child.kill()
    assert len(seconds) == rounds
    return seconds


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("case", [
    "matmul", "tall_product", "convolution", "transposed_convolution", "gradients", "recurrence", "sort", "predict",
    "fit", "generate", "tiny_calls", "perceptron", "texts"])
def test_acts_at_once_and_leaves_nothing_half_done(case, threads):
    for _ in range(TRIES):  # a busy machine may take its time
        # Of an epoch of `fit` only the first 30 steps are compared: there it comes soon.
        longest = max(reactions(case, threads, delay=(0.02, 0.3 if case == "fit" else 0.9)))
        if longest < BOUND:
            break
    print(f"{case}, {threads} threads: {longest:.3f} s")
    assert longest < BOUND


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
def test_between_the_lines_of_a_call_nothing_stays_lent():
    reactions("tiny_calls", 1, rounds=150, delay=(0.001, 0.01))


# ---- handlers that do not raise ------------------------------------------------------------------------------------


class Alarm:
    """Calls `handler` after `seconds`, by a signal; counts how often it has."""

    def __init__(self, seconds, handler):
        self.seconds, self.handler, self.calls = seconds, handler, 0

    def __enter__(self):
        self.before = signal.signal(signal.SIGALRM, self._handle)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        return self

    def _handle(self, *_):
        if _core.is_recording():  # between two kernels, where what a handler calls would be recorded: try again
            signal.setitimer(signal.ITIMER_REAL, self.seconds)
            return
        self.calls += 1
        self.handler()

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)


needs_timers = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")


def long_product(n=2000, seed=0):
    return ops.convert_to_tensor(np.random.default_rng(seed).normal(size=(n, n)))


@needs_timers
@pytest.mark.parametrize("recorded", [False, True], ids=["eager", "recorded"])
def test_a_handler_may_call_kernels_in_the_middle_of_one(recorded):
    """They compute with scratch of their own, and are no part of what is recorded."""
    a = long_product()
    want = a.numpy() @ a.numpy()
    found = []
    square = keras.function(lambda a: ops.matmul(ops.matmul(a, a), 1.0 * a)) if recorded else None
    steps = None
    for _ in range(3):
        if square is not None:
            square.clear()
        b = long_product(200, seed=1)
        with Alarm(0.02, lambda b=b: found.append(ops.matmul(b, b).numpy())) as alarm:
            got = square(a) if square is not None else ops.matmul(a, a)
            deadline = time.monotonic() + 5
            while not alarm.calls and time.monotonic() < deadline:
                pass
        assert alarm.calls == 1
        np.testing.assert_allclose(got.numpy(), want @ a.numpy() if recorded else want, rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(found.pop(), b.numpy() @ b.numpy(), rtol=1e-9, atol=1e-9)
        if square is not None:
            assert steps in (None, len(square.captures[0].program))
            steps = len(square.captures[0].program)


class Stop(Exception):
    pass


def stop():
    raise Stop


@needs_timers
def test_what_a_handler_raises_comes_out_and_other_threads_go_on():
    a = long_product(3000)
    b = long_product(400, seed=1)
    want = b.numpy() @ b.numpy()
    done = threading.Event()
    wrong = []

    def other():
        right = ops.matmul(b, b).numpy()
        np.testing.assert_allclose(right, want, rtol=1e-9, atol=1e-9)
        while not done.is_set():
            if not np.array_equal(ops.matmul(b, b).numpy(), right):
                wrong.append(1)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        for _ in range(3):
            with pytest.raises(Stop), Alarm(0.05, stop):
                while True:
                    ops.matmul(a, a)
    finally:
        done.set()
        thread.join(60)
    assert not thread.is_alive() and not wrong


@needs_timers
def test_an_abandoned_step_puts_states_back():
    """The generator of a dropout layer and moving averages move on in the forward pass, long before the weights do."""
    seed = keras.random.SeedGenerator(3)
    mean = layers.BatchNormalization()
    a = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(2500, 2500)).astype("float32"))
    mean(a)

    def step(a):
        x = mean(a + keras.random.uniform((2500, 2500), seed=seed), training=True)
        for _ in range(6):
            x = ops.matmul(x, a)
        return x

    step = keras.function(step)
    step(a)
    states = [seed.state, *mean.variables]
    before = [np.array(v) for v in states]
    with pytest.raises(Stop), Alarm(0.15, stop):
        step(a)
    for v, was in zip(states, before):
        np.testing.assert_array_equal(np.array(v), was)
    step(a)
    assert any(not np.array_equal(np.array(v), was) for v, was in zip(states, before))
