"""The rows of csrc/kernels.def say what their buffers hold: every kernel is called with exactly that, between guards,
and with each array one element short.

Guards see what is written past an array. Reads past one leave no trace here; the sanitizer run of docs/development.md
sees them in the second test, whose arrays end where their allocation ends."""

import re
import threading
import time

import numpy as np
import pytest

from pydl import _core

KERNELS = [getattr(_core.kernels, name) for name in sorted(dir(_core.kernels)) if not name.startswith("_")]
CASES = [pytest.param(kernel, dtype, id=f"{kernel.name}-{dtype}") for kernel in KERNELS for dtype in kernel.dtypes]
GUARD, CANARY = 64, 93

# Small values for sizes; what is not named here is 2. Flags are on, so that conditional buffers are demanded.
SIZES = {"n": 3, "inner": 2, "k": 2, "m": 4, "stride_a": 12, "stride_b": 12, "taps": 2, "channels": 4, "groups": 2,
         "offset": 0, "mode": 1, "shift": 1, "activation": 1, "every": 1, "trans_a": 0, "trans_b": 0, "low": 0,
         "high": 2, "backwards": 1, "momentum": 0.5, "rate": 0.5, "scale": 0.5, "clip": 1.0}
WINDOW = [1, 4, 5, 1, 3, 4, 1, 2, 2, 1, 1, 1, 1, 1, 1, 0, 0, 0]
LISTS = {"shape": [2, 3], "strides": [3, 1], "stride_a": [3, 1], "stride_b": [3, 1], "stride_condition": [3, 1],
         "geometry": [2, 1, 3, 5, *WINDOW], "window": WINDOW, "widths": [2, 3], "sizes": [3, 5], "decays": [1, 0],
         "x_shape": [2, 3], "before": [1, 1], "y_shape": [4, 5], "bias_stride": [48, 12, 4], "mask_stride": [48, 12, 4]}
ATTENTION = {"dot_attention": [2, 4, 2, 3, 4, 5, 6], "ddot_attention": [2, 4, 2, 3, 4, 5, 6],
             "cached_attention": [2, 4, 2, 3, 4, 5, 5], "additive_attention": [2, 3, 4, 5, 6, 12, 4],
             "dadditive_attention": [2, 3, 4, 5, 6, 12, 4], "attending_gru": [2, 3, 4, 5, 6, 7, 1],
             "dattending_gru": [2, 3, 4, 5, 6, 7, 1], "attending_lstm": [2, 3, 4, 5, 6, 7],
             "dattending_lstm": [2, 3, 4, 5, 6, 7]}
SHORT = re.compile(r"kernel (\w+): argument '(\w+)(?:\[\d+\])?' holds .*expected at least (\d+) elements")


def types(kernel, dtype):
    """The dtype of each buffer parameter, by its position; "" of numbers."""
    return [dtype if type_ == "T" else type_ for _, _, type_, _ in kernel.params]


class Call:
    """A call of a kernel whose arrays lie between guards; `need` holds the elements of each array."""

    def __init__(self, kernel, dtype, guard=GUARD):
        self.kernel, self.types, self.guard = kernel, types(kernel, dtype), guard
        self.need: dict[tuple[int, int], int] = {}
        self.whole: dict[tuple[int, int], np.ndarray] = {}
        lists = {**LISTS, "sizes": ATTENTION.get(kernel.name, LISTS["sizes"])}
        self.values = []
        for i, (name, access, *_) in enumerate(kernel.params):
            if access == "sizes":
                self.values.append(list(lists[name]))
            elif access in ("size", "scalar"):
                self.values.append(self.number(kernel, name, access))
            else:
                self.values.append(None)
                for item in range(2 if access.endswith("[]") else 1):
                    self.need[i, item] = 0

    @staticmethod
    def number(kernel, name, access):
        if kernel.name == "strided_scatter" and name == "n":
            return 6
        value = SIZES.get(name, 2)
        return float(value) if access == "scalar" else int(np.ceil(value))

    def arguments(self):
        values = list(self.values)
        self.whole = {}
        for (i, item), n in self.need.items():
            whole = np.full(n + 2 * self.guard, CANARY, self.types[i])
            array = whole[self.guard:self.guard + n]
            array[:] = 1 if self.types[i] in ("uint8", "float16", "float32", "float64") else 0
            self.whole[i, item] = whole
            if self.kernel.params[i][1].endswith("[]"):
                values[i] = (values[i] or []) + [array]
            else:
                values[i] = array
        return values

    def __call__(self):
        self.kernel(*self.arguments())

    def grow(self):
        """Lets the errors tell what the contract demands, until the call passes."""
        for _ in range(200):
            try:
                return self()
            except ValueError as error:
                match = SHORT.match(str(error))
                if not match:
                    raise
                position = [name for name, *_ in self.kernel.params].index(match[2])
                item = re.search(r"\[(\d+)\]' holds", str(error))
                self.need[position, int(item[1]) if item else 0] = int(match[3])
        raise AssertionError("the contract never came to an end")


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


@pytest.mark.parametrize("sizes", [(2**32, 2**31, 1), (2**62, 4, 0), (2**21, 2**21, 2**21)])
def test_products_that_64_bits_do_not_hold(sizes):
    x = np.ones(4, "float32")
    with pytest.raises(ValueError, match="kernel reduce_sum: a size exceeds 64 bits"):
        _core.kernels.reduce_sum(x, x.copy(), *sizes)


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
    n = 1000
    a, c = np.ones((n, n), "float64"), np.empty((n, n), "float64")
    done, ticks = threading.Event(), []

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(1e-3)

    other = threading.Thread(target=tick)
    other.start()
    begin = time.perf_counter()
    _core.kernels.matmul(a, a, None, c, 1, n, n, n, 0, 0, n * n, n * n, 0)
    end = time.perf_counter()
    done.set()
    other.join()
    assert (c == n).all()
    assert sum(begin < t < end for t in ticks) >= min(3, (end - begin) / 4e-3)
