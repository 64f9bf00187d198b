"""The rows of csrc/kernels.def say what their buffers hold: every kernel is called with exactly that, between guards,
and with each array one element short.

Guards see what is written past an array. Reads past one leave no trace here; the sanitizer run of docs/development.md
sees them in the second test, whose arrays end where their allocation ends."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from kernel_calls import CANARY, GUARD, KERNELS, Call
from pydl import _core

CASES = [pytest.param(kernel, dtype, id=f"{kernel.name}-{dtype}") for kernel in KERNELS for dtype in kernel.dtypes]


@pytest.mark.parametrize(("kernel", "dtype"), CASES)
def test_arrays_of_the_demanded_size_pass_and_are_not_left(kernel, dtype):
    call = Call(kernel, dtype)
    call.grow()
    for (i, item), whole in call.whole.items():
        outside = np.concatenate([whole[:GUARD], whole[GUARD + call.need[i, item]:]])
        assert (outside == CANARY).all(), f"{kernel.name} writes outside of {kernel.params[i][0]}"


@pytest.mark.parametrize(("kernel", "dtype"), CASES)
def test_an_array_that_is_one_element_short_is_refused(kernel, dtype):
    call = Call(kernel, dtype, guard=0)
    call.grow()
    assert any(call.need.values())
    for place, n in call.need.items():
        if n == 0:
            continue
        call.need[place] = n - 1
        name = kernel.params[place[0]][0]
        with pytest.raises(ValueError, match=f"argument '{name}.*at least {n} .*array of {n - 1}"):
            call()
        call.need[place] = n


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_sizes_are_not_negative(kernel):
    free = re.search(r"any: ([^;]*)", kernel.contract)
    call = Call(kernel, kernel.dtypes[0])
    call.grow()
    for i, (name, access, *_) in enumerate(kernel.params):
        if access not in ("size", "sizes") or (free and name in free[1].split()):
            continue
        kept = call.values[i]
        call.values[i] = -1 if access == "size" else [-1, *kept[1:]]
        with pytest.raises(ValueError, match=f"argument '{name}' expected a size of at least 0; received -1"):
            call()
        call.values[i] = kept


def test_what_wrote_past_its_array():
    big = np.zeros(64, "float32")
    with pytest.raises(ValueError, match="kernel relu: argument 'x' holds n: expected at least 64 elements; received an"
                                         " array of 4"):
        _core.kernels.relu(np.ones(64, "float32")[:4], big[:4], 64)
    assert not big.any()


@pytest.mark.parametrize("sizes", [(2**32, 2**31, 1), (2**40, 2**40, 0), (2**21, 2**21, 2**21)])
def test_products_that_64_bits_do_not_hold(sizes):
    x = np.ones(4, "float32")
    with pytest.raises(ValueError, match="kernel reduce_sum: a size exceeds 64 bits"):
        _core.kernels.reduce_sum(x, x.copy(), *sizes)


@pytest.mark.parametrize("size", [2**47 + 1, 2**62, 2**63 - 1])
def test_no_size_exceeds_the_addresses_of_a_process(size):
    x = np.ones(4, "float32")
    with pytest.raises(ValueError, match=f"argument 'n' expected a size of at most {2**47}; received {size}"):
        _core.kernels.reduce_sum(x, x, 0, size, 0)
    with pytest.raises(ValueError, match=f"argument 'shape' expected a size of at most {2**47}; received {size}"):
        _core.kernels.add(x, x, x, [0, size], [0, 0], [0, 0])


@pytest.mark.parametrize(("name", "arguments"), [
    ("group_norm_grad", (2**30, 0, 2**20, 1)), ("depthwise_kernel_grad", (0, 2**30, [2**20, *[1] * 14, 0, 0, 0])),
])
def test_sizes_beside_an_empty_array_are_bounded_too(name, arguments):
    """What a kernel makes of them by itself, in whatever order it multiplies them."""
    kernel = getattr(_core.kernels, name)
    empty = np.zeros(0, "float32")
    arrays = [empty for _, access, *_ in kernel.params if access not in ("size", "sizes", "scalar")]
    numbers = [1e-3 for _, access, *_ in kernel.params if access == "scalar"]
    with pytest.raises(ValueError, match=f"beside a size of 0 multiply to {2**50}, more than an array holds"):
        kernel(*arrays, *arguments, *numbers)


@pytest.mark.parametrize(("strides", "offset"), [([-3, 1], 0), ([3, -1], 1), ([4, 1], 0), ([3, 1], 1), ([0, 0], -1)])
def test_strides_stay_inside_on_both_sides(strides, offset):
    x, y = np.arange(6, dtype="float32"), np.zeros(6, "float32")
    with pytest.raises(ValueError, match="strided_copy"):
        _core.kernels.strided_copy(x, y, [2, 3], strides, offset)
    _core.kernels.strided_copy(x, y, [2, 3], [-3, -1], 5)
    assert y.tolist() == [5, 4, 3, 2, 1, 0]


def test_strides_against_every_point_they_reach():
    random = np.random.default_rng(0)
    for _ in range(500):
        rank, offset, n = (int(v) for v in random.integers((1, 0, 0), (4, 12, 30)))
        shape, strides = random.integers(0, 4, rank).tolist(), random.integers(-5, 6, rank).tolist()
        points = [offset + sum(i * s for i, s in zip(index, strides)) for index in np.ndindex(*shape)]
        x, y = np.zeros(n, "float32"), np.zeros(len(points), "float32")
        if all(0 <= p < n for p in points):
            _core.kernels.strided_copy(x, y, shape, strides, offset)
        else:
            with pytest.raises(ValueError, match="strided_copy"):
                _core.kernels.strided_copy(x, y, shape, strides, offset)


@pytest.mark.parametrize(("name", "error"), [("check_index", IndexError), ("check_labels", ValueError)])
def test_a_check_raises_what_its_row_names(name, error):
    arguments = (1, 0, 3) if name == "check_index" else (1, 3)
    with pytest.raises(error, match="value 7 at position 0"):
        getattr(_core.kernels, name)(np.array([7], "int32"), *arguments)


def test_other_threads_run_beside_a_long_kernel():
    """In the middle of a call of a quarter of a second at least, where a thread that waits for the GIL stands still."""
    n, repeats, done, ticks = 500, 1, threading.Event(), []
    a, c = np.ones((n, n), "float64"), np.empty((n, n), "float64")

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(1e-3)

    other = threading.Thread(target=tick)
    other.start()
    try:
        while True:
            c = np.empty((repeats, n, n), "float64")
            begin = time.perf_counter()
            _core.kernels.matmul(a, a, None, c, repeats, n, n, n, 0, 0, 0, 0, 0)
            end = time.perf_counter()
            if end - begin > 0.25:
                break
            repeats *= 2
    finally:
        done.set()
        other.join()
    assert (c == n).all()
    assert any(begin + 0.1 < t < end - 0.1 for t in ticks)


SWEEPS = [KERNELS[i:i + 8] for i in range(0, len(KERNELS), 8)]


@pytest.mark.parametrize("kernels", SWEEPS, ids=lambda kernels: f"{kernels[0].name}-{kernels[-1].name}")
def test_wrong_numbers_raise_or_do_no_harm(kernels):
    """Every integer of every kernel, and the values of its integer arrays: see kernel_calls.py."""
    script = Path(__file__).with_name("kernel_calls.py")
    run = subprocess.run([sys.executable, str(script), *(kernel.name for kernel in kernels)], capture_output=True,
                         text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    last = run.stdout.rsplit("\n", 2)[-2:]
    assert run.returncode == 0, f"{last} ended with {run.returncode}: {run.stderr[-500:]}"


@pytest.mark.parametrize(("arguments", "message"), [
    (("gather", "x", [-4], "y2", 1, 1, (3,), 2), "'index': value -4 at position 0 is not allowed .low=-3, high=3"),
    (("gather", "x", [0, 3], "y", 1, 2, (3,), 2), "'index': value 3 at position 1"),
    (("gather", "x", [0, 2], "y1", 1, 1, (3, 2), 1), "'index': value 2 at position 1 is not allowed .low=-2, high=2"),
    (("scatter", None, [3], "y2", "x", 1, 1, (3,), 2, 1), "'index': value 3 at position 0"),
    (("take_along", "x", [6], "y1", 1, 6, 1, 1), "'index': value 6 at position 0"),
    (("take_along_grad", [-7], "y1", "x", 1, 6, 1, 1), "'index': value -7 at position 0"),
    (("resample", "x", [0, 5], "y", "y2", 1, 6, 2, 2, 1), "'start': value 5 at position 1 .*low=0, high=5"),
    (("resample", "x", [-1, 0], "y", "y2", 1, 6, 2, 2, 1), "'start': value -1 at position 0"),
    (("gather_rows_to_float64", "x", [0, -1], "d", 2, 2), "'index': value -1 at position 1"),
    (("sparse_categorical_crossentropy_logits", "x", [0, 3], "y1", "y2", "y", -1, 2, 3, 1), "'label': value 3 at"),
    (("sparse_categorical_crossentropy", "x", [-2, 0], "y1", "y2", "y", 1e-7, -1, 2, 3, 1), "'label': value -2 at"),
])
def test_values_of_an_index_stay_inside(arguments, message):
    name, *rest = arguments
    arrays = {"x": np.zeros(6, "float32"), "y": np.zeros(4, "float32"), "y1": np.zeros(2, "float32"),
              "y2": np.zeros(2, "float32"), "d": np.zeros(4, "float64")}
    given = [np.array(one, "int32") if isinstance(one, list) else arrays.get(one, one) if isinstance(one, str) else one
             for one in rest]
    with pytest.raises(IndexError, match=f"kernel {name}: argument {message}"):
        getattr(_core.kernels, name)(*given)


def test_rows_of_a_data_set_are_as_many_as_the_index_says():
    x, y = np.arange(6, dtype="float32"), np.zeros(4)
    with pytest.raises(ValueError, match=r"'x' holds rows\(index\) width: expected at least 8 elements"):
        _core.kernels.gather_rows_to_float64(x, np.array([0, 3], "int32"), y, 2, 2)
    _core.kernels.gather_rows_to_float64(x, np.array([2, 0], "int32"), y, 2, 2)
    assert y.tolist() == [4, 5, 0, 1]


def test_an_ignored_label_is_allowed_wherever_it_lies():
    p, label, out = np.zeros((2, 3), "float32"), np.array([-9, 2], "int32"), np.zeros((3, 2), "float32")
    _core.kernels.sparse_categorical_crossentropy_logits(p, label, *out, -9, 2, 3, 1)
    np.testing.assert_allclose(out[2], [0, np.log(3)], rtol=1e-6)


def test_a_key_is_put_into_the_cache_where_there_is_room():
    q, cache = np.zeros((1, 2, 1, 3), "float32"), np.zeros((1, 2, 4, 1, 3), "float32")
    call = _core.kernels.cached_attention
    sizes, strides = (1, 1, 1, 2, 4, 3, 3), (0, 0, 0)
    for index in (-1, 3, 2**31 - 1):
        with pytest.raises(IndexError, match=f"'index': value {index} at position 0 is not allowed .low=0, high=3"):
            call(q, q, q, cache, np.array([index], "int32"), None, q.copy(), None, sizes, strides, 1.0, 1)
    call(q, q, q, cache, np.array([2], "int32"), None, q.copy(), None, sizes, strides, 1.0, 1)
    call(q, None, None, cache, np.array([9], "int32"), None, q.copy(), None, sizes, strides, 1.0, 0)  # not read


@pytest.mark.parametrize("name", ["ddot_attention", "dadditive_attention"])
def test_attention_has_a_gradient_to_start_from(name):
    call = Call(getattr(_core.kernels, name), "float32")
    call.grow()
    absent = {i: None for i, (param, *_) in enumerate(call.kernel.params) if param in ("dy", "dp")}
    with pytest.raises(ValueError, match="expected 'dy' or 'dp'; received None for both"):
        call.kernel(*call.arguments(fill=absent))
    for one in absent:
        call.kernel(*call.arguments(fill={one: None}))


def test_a_kernel_whose_results_are_empty_does_not_run():
    """Its loops over the other sizes, which no array bounds, would."""
    x = np.zeros(0, "float32")
    _core.kernels.add(x, x, x, [2**47, 0], [0, 0], [0, 0])
    _core.kernels.matmul(x, x, None, x, 1, 2**47, 0, 0, 0, 0, 0, 0, 0)
