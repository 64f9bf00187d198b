"""Objects that threads share without a program in between: settings, names, splitters. The GIL hides most of what goes
wrong here; an interpreter without it (docs/development.md) shows it."""

import copy
import itertools
import threading

import numpy as np
import pytest
from test_threads import THREADS, in_threads

import pydl as keras
from pydl import layers, ops, random, registry, watch
from pydl._text import Splitter, Words
from pydl.tensor import Variable, variables_at

ROUNDS = 3000


class Setting(watch.Owner):
    def __init__(self):
        self.value, self.items = 0, list(range(100))


def together(work):
    """`work(i)` in threads that begin at the same time."""
    start = threading.Barrier(THREADS)

    def begin(i):
        start.wait()
        work(i)

    in_threads(begin)


def test_no_change_of_a_long_list_is_lost():
    setting = Setting()
    with watch.reading() as reading:
        len(setting.items)
    watch.Dependencies(reading.owners)
    before = setting.items._watch.count
    together(lambda i: [setting.items.append(k) for k in range(ROUNDS)])
    assert setting.items._watch.count == before + THREADS * ROUNDS
    assert len(setting.items) == 100 + THREADS * ROUNDS


def test_settings_change_while_others_compare_them():
    setting = Setting()

    def recorded():
        with watch.reading() as reading:
            seen = setting.value
        return seen, watch.Dependencies(reading.owners)

    def work(i):
        for k in range(ROUNDS // 4):
            if i == 0:
                setting.value = k % 7
                setattr(setting, f"name_{k % 50}", k)
            else:
                recorded()[1].hold()
                with watch.reading() as reading:
                    getattr(setting, f"name_{k % 50}", None)
                watch.Dependencies(reading.owners).hold()

    for _ in range(3):
        together(work)
        seen, dependencies = recorded()
        assert dependencies.hold() and seen == setting.value
        setting.value = "another"
        assert not dependencies.hold()


class Times(layers.Layer):
    def __init__(self):
        super().__init__()
        self.factor = 0

    def call(self, x):
        return x * float(self.factor)


@pytest.mark.parametrize("change", [
    lambda layer: setattr(layer, "factor", 5), lambda layer: layer.factors.append(5),
    lambda layer: setattr(layer.weight, "trainable", False)], ids=["attribute", "list", "variable"])
def test_a_change_by_another_thread_during_a_recording(change):
    layer = Times()
    layer.factors, layer.weight = [0], Variable(1.0)
    recordings = []

    def read(x):
        seen = layer.factor, len(layer.factors), layer.weight.trainable
        recordings.append(seen)
        if len(recordings) == 1:
            other = threading.Thread(target=change, args=(layer,))
            other.start()
            other.join()
        return x + float(layer.weight.trainable)

    f, x = keras.function(read), np.ones((2, 2), "float32")
    for _ in range(3):
        f(x)
    assert len(recordings) == 2  # what the first has read was no longer so when it ended
    assert recordings[0] != recordings[1]


def test_the_last_value_of_a_setting_counts():
    layer = Times()
    f, x = keras.function(lambda x: layer(x)), np.ones((2, 2), "float32")
    f(x)
    for k in range(60):
        def work(i, k=k):
            if i == 0:
                layer.factor = k % 9
            f(x)

        together(work)
        assert f(x).numpy()[0, 0] == k % 9


def test_programs_are_dropped_while_others_call_them():
    f, x = keras.function(lambda x, k: x * float(k)), np.ones((3,), "float32")

    def work(i):
        for k in range(ROUNDS // 30):
            if i == 0:
                f.clear()
                list(f.captures)
            else:
                assert f(x, k % 20).numpy()[0] == k % 20

    together(work)


def test_names_are_different():
    registry.reset_names()
    names, paths, uids = ([None] * THREADS for _ in range(3))

    def work(i):
        names[i] = [registry.auto_name("shared") for _ in range(ROUNDS)]
        uids[i] = [keras.backend.get_uid("shared") for _ in range(ROUNDS)]
        paths[i] = [Variable(0.0).name for _ in range(ROUNDS // 10)]

    together(work)
    for found in names, paths, uids:
        found = list(itertools.chain(*found))
        assert len(set(found)) == len(found)


def test_variables_come_and_go_while_they_are_looked_for():
    kept = Variable(np.ones((3, 4), "float32"))
    inside = kept.data.ctypes.data + 8

    def work(i):
        for _ in range(ROUNDS // 10):
            if i % 2:
                [Variable(0.0) for _ in range(10)]
            else:
                assert [v is kept for v in variables_at([inside])] == [True]

    together(work)


@pytest.mark.parametrize("size", [3, 40000])
def test_eager_draws_are_different_numbers(size):
    keras.utils.set_random_seed(3)
    calls = max(3, ROUNDS // size)
    found = [None] * THREADS

    def work(i):
        found[i] = [random.uniform((size,)).numpy()[0] for _ in range(calls)]

    together(work)
    drawn = list(itertools.chain(*found))
    keras.utils.set_random_seed(3)
    want = [random.uniform((size,)).numpy()[0] for _ in range(calls * THREADS)]
    assert sorted(drawn) == sorted(want)


def test_one_splitter_for_all_threads():
    texts = [f"Ein Satz {i} mit Ümläuten, e\u0301 und {'ᾴ' * (i % 5)} viel ЖЯ 漢字" * (1 + i % 40) for i in range(200)]
    splitter = Splitter(" ", ",", True, True)
    words = Words()
    copy.copy(splitter).count(texts, words)
    want = copy.copy(splitter).rows(texts, words, 1, 2)

    def work(i):
        for k in range(20):
            some = slice(k, k + 100 + i)
            found = splitter.rows(texts[some], words, 1, 2, want.shape[1])
            np.testing.assert_array_equal(found, want[some])
            np.testing.assert_array_equal(words.index([f"{k}", "ümläuten"]), words.index([f"{k}", "ümläuten"]))

    for _ in range(5):
        splitter = copy.copy(splitter)  # has learned nothing
        together(work)


def test_words_of_several_threads_are_counted_together():
    texts = [[f"w{k % 500} long-common-word-{k % 7} x{i}-{k}" for k in range(500)] for i in range(THREADS)]
    splitter, words = Splitter(" ", "", True, False), Words()
    together(lambda i: splitter.count(texts[i], words))
    counts = dict(zip(words.words(), words.tallies()[0]))
    assert len(counts) == 500 + 7 + 500 * THREADS
    assert all(counts[f"w{k}"] == THREADS for k in range(500))


def test_a_vectorization_layer():
    layer = layers.TextVectorization(output_mode="count")
    texts = np.array([f"word{i % 30} Wört{i % 11} and more" for i in range(300)])
    layer.adapt(texts)
    want = np.asarray(layer(texts))

    def work(i):
        for _ in range(10):
            np.testing.assert_array_equal(np.asarray(layer(texts)), want)

    together(work)


def test_gradients():
    w = Variable(np.ones((4, 4), "float32"))

    def work(i):
        for _ in range(ROUNDS // 30):
            with keras.GradientTape() as tape:
                y = ops.sum(ops.tanh(ops.matmul(w, w)) * float(i))
            g = tape.gradient(y, w)
            np.testing.assert_allclose(g.numpy(), i * first, rtol=1e-5)

    with keras.GradientTape() as tape:
        y = ops.sum(ops.tanh(ops.matmul(w, w)))
    first = tape.gradient(y, w).numpy()
    together(work)
