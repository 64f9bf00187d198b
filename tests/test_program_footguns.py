"""Every known trap of recording is a named test."""

import gc

import numpy as np
import pytest

import pydl
from pydl import layers, ops
from pydl.program import RecordedFunction
from pydl.tensor import Tensor, Variable


def array(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_replay_sees_new_inputs():
    f = pydl.function(lambda x: ops.tanh(x) * 2.0)
    for seed in range(4):
        x = array(5, seed=seed)
        np.testing.assert_array_equal(f(x).numpy(), (ops.tanh(Tensor(x)) * 2.0).numpy())
    assert len(f.captures) == 1


def test_a_new_shape_or_dtype_gets_its_own_program():
    f = pydl.function(lambda x: x + 1.0)
    f(array(3)), f(array(4)), f(array(3).astype("float64")), f(array(3))
    assert len(f.captures) == 3


def test_the_number_of_programs_is_bounded(monkeypatch):
    f = pydl.function(lambda x: x + 1.0)
    for n in range(1, 80):
        f(array(n))
    assert len(f.captures) == 32
    monkeypatch.setattr("pydl.program._MANY_BYTES", 1000)
    f(array(80))
    assert len(f.captures) == 16


@pytest.mark.parametrize("make", [
    lambda: layers.SimpleRNN(3), lambda: layers.LSTM(3, dropout=0.5, recurrent_dropout=0.5),
    lambda: layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)]), lambda: layers.Bidirectional(layers.GRU(3)),
    lambda: layers.TimeDistributed(layers.Dense(3)), lambda: layers.Conv1D(3, 2),
])
def test_shapes_that_return_are_not_recorded_again(make):
    model = pydl.Sequential([make(), layers.Dense(1)])
    model.compile("sgd", "mse")
    lengths = (3, 4, 5)

    def recordings():
        before = len(recorded)
        for n in lengths:
            model.train_on_batch(array(2, n, 4), np.zeros(model.predict_on_batch(array(2, n, 4)).shape, "float32"))
        return len(recorded) - before

    recorded = []
    original = RecordedFunction._record
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordedFunction, "_record", lambda *args: recorded.append(1) or original(*args))
        assert [recordings() for _ in range(3)] == [2 * len(lengths), 0, 0]


def test_non_tensor_arguments_are_part_of_the_key():
    f = pydl.function(lambda x, flag: x + 1.0 if flag else x - 1.0)
    x = array(2)
    np.testing.assert_array_equal(f(x, True).numpy(), x + 1)
    np.testing.assert_array_equal(f(x, False).numpy(), x - 1)


@pytest.mark.parametrize("read", [
    lambda t: t.numpy(), lambda t: float(t), lambda t: int(t), lambda t: bool(t), lambda t: np.asarray(t),
    lambda t: t.tolist(), lambda t: t.item(), lambda t: 1 if t > 0 else 2,
])
def test_host_reads_inside_a_recording_are_refused_with_the_line(read):
    f = pydl.function(lambda x: read(ops.sum(x)))
    with pytest.raises(pydl.RecordingError, match=r"test_program_footguns.py, line \d+.*run_eagerly=True"):
        f(array(3))
    ops.sum(Tensor(array(3))).numpy()  # the recording was closed


def test_in_place_change_is_refused():
    with pytest.raises(TypeError, match="slice_update"):
        Tensor(array(3))[0] = 1.0


def test_variables_are_read_at_run_time():
    scale = Variable(2.0, name="scale")
    f = pydl.function(lambda x: x * scale)
    x = array(3)
    f(x)
    scale.assign(5.0)
    np.testing.assert_array_equal(f(x).numpy(), x * np.float32(5.0))


def test_variables_are_written_at_run_time():
    count = Variable(0.0, trainable=False)
    def step(x):
        count.assign_add(ops.sum(x))
        return x

    f = pydl.function(step)
    for _ in range(3):
        f(np.ones(4, "float32"))
    assert float(count) == 12.0


def test_a_variable_made_inside_is_initialised_once():
    made = []

    def step(x):
        if not made:
            made.append(Variable(np.zeros(3, "float32"), trainable=False))
        return made[0].assign_add(x)

    f = pydl.function(step)
    for _ in range(4):
        f(np.ones(3, "float32"))
    np.testing.assert_array_equal(made[0].numpy(), [4.0] * 3)


def test_results_are_not_overwritten_by_later_calls():
    f = pydl.function(lambda x: x * 2.0)
    first = f(np.ones(3, "float32"))
    f(np.full(3, 7.0, "float32"))
    np.testing.assert_array_equal(first.numpy(), [2.0] * 3)


def test_the_caller_s_array_is_not_aliased():
    f = pydl.function(lambda x: x + 0.0)
    x = np.ones(3, "float32")
    f(x)
    x[:] = 9.0
    np.testing.assert_array_equal(f(np.ones(3, "float32")).numpy(), [1.0] * 3)
    np.testing.assert_array_equal(x, [9.0] * 3)


def test_the_same_tensor_twice():
    f = pydl.function(lambda a, b: a * b)
    x = array(3)
    np.testing.assert_array_equal(f(x, x).numpy(), x * x)
    np.testing.assert_array_equal(f(x, 2 * x).numpy(), x * (2 * x))


def test_trainable_flip_re_records():
    w = Variable(np.float32(3.0))

    def step(x):
        with pydl.GradientTape() as tape:
            y = ops.sum(w * x)
        g = tape.gradient(y, w)
        return ops.zeros(()) if g is None else g

    f = pydl.function(step)
    x = np.ones(2, "float32")
    assert float(f(x)) == 2.0
    w.trainable = False
    assert float(f(x)) == 0.0


def test_memory_of_intermediate_values_is_reused():
    n = 1 << 16

    def chain(x):
        for _ in range(50):
            x = x + 1.0
        return x

    f = pydl.function(chain)
    f(np.zeros(n, "float32"))
    assert f.captures[0].program.arena_bytes <= 4 * n * 4


def test_a_failed_recording_leaves_nothing_open():
    def fail(x):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pydl.function(fail)(array(2))
    assert not pydl._core.is_recording()


def test_bad_index_at_replay_is_an_error_before_later_steps():
    table = Variable(array(4, 2), trainable=False)
    hits = Variable(0.0, trainable=False)

    def look_up(ids):
        rows = ops.embedding(table, ids)
        hits.assign_add(1.0)
        return rows

    f = pydl.function(look_up)
    f(np.array([0, 3], "int32"))
    with pytest.raises(IndexError, match="value 4 at position 1"):
        f(np.array([1, 4], "int32"))
    assert float(hits) == 1.0
    np.testing.assert_array_equal(f(np.array([1, 2], "int32")).numpy(), table.numpy()[[1, 2]])


def test_programs_free_their_memory():
    import resource

    def once():
        f = pydl.function(lambda x: ops.tanh(x))
        f(np.zeros(1 << 20, "float32"))

    once()
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(40):
        once()
    gc.collect()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024


def test_nested_recorded_functions_are_inlined():
    inner = pydl.function(lambda x: x * 3.0)
    outer = pydl.function(lambda x: inner(x) + 1.0)
    for value in (1.0, 2.0):
        assert float(outer(np.float32(value).reshape(1))[0]) == 3 * value + 1


def test_threads_record_independently():
    import threading

    results = {}

    def work(k):
        f = pydl.function(lambda x: ops.exp(x) * float(k))
        for seed in range(20):
            x = array(100, seed=seed)
            results[k, seed] = np.array_equal(f(x).numpy(), (ops.exp(Tensor(x)) * float(k)).numpy())

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    [w.start() for w in workers], [w.join() for w in workers]
    assert len(results) == 80 and all(results.values())
