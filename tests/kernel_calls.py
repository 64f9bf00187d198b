"""Calls of the kernels from what their rows say (csrc/kernels.def), and a sweep of bad numbers through them.

    python tests/kernel_calls.py relu matmul ...

calls each kernel with wrong integers, one and two at a time; it says before each call what it is about to do, so that
the last line of a process that died names the call."""

import ctypes
import mmap
import re
import signal
import sys

import numpy as np

from pydl import _core

KERNELS = [getattr(_core.kernels, name) for name in sorted(dir(_core.kernels)) if not name.startswith("_")]
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


def guarded(n, dtype, guard):
    """n elements in the middle of an array of canaries, and that array."""
    whole = np.full(n + 2 * guard, CANARY, dtype)
    return whole[guard:guard + n], whole


class Fences:
    """Arrays between two pages that nobody may touch: at their end (`to_end`) or from their start."""

    PAGE, ABSENT = mmap.PAGESIZE, 0

    def __init__(self, to_end):
        self.to_end, self.protect = to_end, ctypes.CDLL(None, use_errno=True).mprotect
        self.protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        self.maps = {}

    def __call__(self, place, n, dtype):
        size = n * np.dtype(dtype).itemsize
        pages = max(1, -(-size // self.PAGE))
        if (place, size) not in self.maps:
            memory = mmap.mmap(-1, (pages + 2) * self.PAGE)
            begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
            for page in (0, pages + 1):
                assert self.protect(begin + page * self.PAGE, self.PAGE, self.ABSENT) == 0
            self.maps[place, size] = memory
        offset = (pages + 1) * self.PAGE - size if self.to_end else self.PAGE
        return np.frombuffer(self.maps[place, size], dtype, n, offset)


class Call:
    """A call of a kernel; `need` holds the elements of each array. They lie between
    `guard` canaries, or in `fences`."""

    def __init__(self, kernel, dtype, guard=GUARD, fences=None):
        self.kernel, self.types, self.guard, self.fences = kernel, types(kernel, dtype), guard, fences
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

    def arguments(self, values=None, fill=()):
        """The arrays made anew; `fill`: by parameter what an array is full of, or None in its place."""
        values, fill = list(values or self.values), dict(fill)
        self.whole = {}
        for (i, item), n in self.need.items():
            if self.fences:
                array = self.fences((i, item), n, self.types[i])
            else:
                array, self.whole[i, item] = guarded(n, self.types[i], self.guard)
            array[:] = fill.get(i, 1 if self.types[i] in ("uint8", "float16", "float32", "float64") else 0) or 0
            if self.kernel.params[i][1].endswith("[]"):
                values[i] = (values[i] or []) + [array]
            else:
                values[i] = array
        values = [None if i in fill and fill[i] is None else value for i, value in enumerate(values)]
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


def bad_numbers(call):
    """(what is wrong, the values of a call with that, what arrays are full of): each integer of the call alone, then
    two of them, lists of other lengths, the elements of integer arrays, optional arrays left out."""
    places = [(i, None) for i, (_, access, *_) in enumerate(call.kernel.params) if access == "size"]
    places += [(i, k) for i, (_, access, *_) in enumerate(call.kernel.params) if access == "sizes"
               for k in range(len(call.values[i]))]

    def put(values, place, number):
        i, k = place
        values[i] = number if k is None else [*values[i][:k], number, *values[i][k + 1:]]

    def name(place):
        return call.kernel.params[place[0]][0] + ("" if place[1] is None else f"[{place[1]}]")

    for one in places:
        for number in (-2**63, -2**31, -1, 0, 1, 2**31, 2**62, 2**63 - 1):
            values = list(call.values)
            put(values, one, number)
            yield f"{name(one)}={number}", values, None
    for one in places:
        for other in places:
            if one == other:
                continue
            for number in (-1, 2**31, 2**62):
                values = list(call.values)
                put(values, one, 0)
                put(values, other, number)
                yield f"{name(one)}=0, {name(other)}={number}", values, None
    for i, (array, access, *_) in enumerate(call.kernel.params):
        if access == "sizes":
            for numbers in ([], call.values[i][:-1], [*call.values[i], 1]):
                yield f"{array}={numbers}", [*call.values[:i], numbers, *call.values[i + 1:]], None
    for i, (array, access, dtype, _) in enumerate(call.kernel.params):
        if dtype.startswith("int") and access.startswith("in"):
            for number in (-2**63, -2**31, -1, 4, 2**31 - 1, 2**63 - 1):
                if np.iinfo(dtype).min <= number <= np.iinfo(dtype).max:
                    yield f"{array} full of {number}", list(call.values), {i: number}
    for i, (array, access, *_) in enumerate(call.kernel.params):
        if access.endswith("?"):
            yield f"{array} is None", list(call.values), {i: None}
    yield "all optional arrays None", list(call.values), {
        i: None for i, (_, access, *_) in enumerate(call.kernel.params) if access.endswith("?")}


def sweep(kernel, seconds=20):
    """Right calls with each dtype, wrong ones with one. Those that raise or come back pass; the process ends at one
    that touches what lies beside an array, crashes otherwise, or takes `seconds`."""
    for to_end in (True, False):
        for dtype in kernel.dtypes:
            print(f"{kernel.name}: {dtype}", flush=True)
            Call(kernel, dtype, fences=Fences(to_end)).grow()
        call = Call(kernel, kernel.dtypes[0], fences=Fences(to_end))
        call.grow()
        for wrong, values, fill in bad_numbers(call):
            print(f"{kernel.name}: {wrong}", flush=True)
            arguments = call.arguments(values, fill or {})
            signal.alarm(seconds)
            try:
                kernel(*arguments)
            except (ValueError, IndexError, TypeError, MemoryError):
                pass
            signal.alarm(0)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        sweep(getattr(_core.kernels, name))
