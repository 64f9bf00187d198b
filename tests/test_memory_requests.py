"""Requests for more memory than there is: MemoryError with the size, before anything is touched."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import pydl as keras
from harness import PYDL_FOLDER
from pydl import _core, initializers, layers, ops, random, utils
from pydl.tensor import Tensor

HUGE = 10**12
ONE, WIDE = np.ones((1, 4), "float32"), np.ones((1, 10**4), "float32")
IMAGE = np.ones((1, 4, 4, 3), "float32")

REQUESTS = {
    "zeros": lambda: ops.zeros(HUGE), "ones": lambda: ops.ones((10**6, 10**7), "int32"),
    "full": lambda: ops.full((HUGE,), 3), "empty": lambda: ops.empty((HUGE, HUGE, HUGE)),
    "eye": lambda: ops.eye(10**7), "tri": lambda: ops.tri(10**7), "identity": lambda: ops.identity(10**7),
    "arange": lambda: ops.arange(HUGE), "arange of floats": lambda: ops.arange(0.0, 1e13),
    "linspace": lambda: ops.linspace(0, 1, HUGE), "logspace": lambda: ops.logspace(0, 1, HUGE),
    "broadcast_to": lambda: ops.broadcast_to(ONE, (HUGE, 4)), "tile": lambda: ops.tile(ONE, (HUGE, 4)),
    "repeat": lambda: ops.repeat(ONE, HUGE, axis=0), "pad": lambda: ops.pad(ONE, ((0, HUGE), (0, 0))),
    "one_hot": lambda: ops.one_hot(np.array([1, 2]), HUGE), "multi_hot": lambda: ops.multi_hot(np.array([1, 2]), HUGE),
    "scatter": lambda: ops.scatter(np.array([[1]]), WIDE, (2**31, 10**4)),
    "segment_sum": lambda: ops.segment_sum(WIDE, np.array([0]), 2**31 - 1),
    "outer": lambda: ops.outer(ops.broadcast_to(np.float32(1), (2**22,)), ops.broadcast_to(np.float32(1), (2**22,))),
    "resize": lambda: ops.image.resize(IMAGE, (10**6, 10**6)),
    "random.normal": lambda: random.normal((HUGE,)), "random.randint": lambda: random.randint((HUGE,), 0, 3),
    "Variable": lambda: keras.Variable(lambda shape, dtype: np.zeros(shape, dtype), shape=(HUGE,)),
    "Dense": lambda: layers.Dense(10**9).build((None, 10**6)),
    "Dense of a model": lambda: keras.Sequential([keras.Input((10**6,)), layers.Dense(10**9)]),
    "Embedding": lambda: layers.Embedding(HUGE, 64).build(), "LSTM": lambda: layers.LSTM(10**6).build((None, 3, 4)),
    "Conv2D": lambda: layers.Conv2D(10**9, 100).build((None, 8, 8, 10**4)),
    "MultiHeadAttention": lambda: layers.MultiHeadAttention(10**4, 10**6)(ONE[None], ONE[None]),
    "BatchNormalization": lambda: layers.BatchNormalization().build((None, HUGE)),
    "UpSampling2D": lambda: layers.UpSampling2D(10**6)(IMAGE),
    "ZeroPadding2D": lambda: layers.ZeroPadding2D(10**6)(IMAGE),
    "RepeatVector": lambda: layers.RepeatVector(HUGE)(ONE),
    "CategoryEncoding": lambda: layers.CategoryEncoding(2**31 - 1, "one_hot")(np.zeros(100, "int32")),
    "to_categorical": lambda: utils.to_categorical([1, 2], HUGE),
    "pad_sequences": lambda: utils.pad_sequences([[1], [2]], HUGE),
    **{f"initializers.{name}": (lambda name=name: getattr(initializers, name)()((10**6, 10**7)))
       for name in ("Zeros", "Ones", "Constant", "RandomNormal", "RandomUniform", "TruncatedNormal", "GlorotUniform",
                    "HeNormal", "Orthogonal", "Identity")},
}


@pytest.mark.parametrize("name", REQUESTS)
def test_absurd_sizes(name):
    with pytest.raises(MemoryError, match=r"shape \(.*\d{7}.*(takes .* [GTPE]iB; there are .*iB left|than any memory)"):
        REQUESTS[name]()


def test_sizes_that_fit_raise_no_false_alarm():
    left = _core.memory_left()
    assert (1 << 28) < left < (1 << 50)
    elements = left // 2 // 4  # nobody touches them
    assert _core.empty((elements,), "float32").shape == (elements,)
    _core.require_room((elements,), "float32")
    assert ops.zeros((3, 2**62, 0)[::2]).shape == (3, 0)


def test_the_next_size_does_not_fit():
    elements = _core.memory_left() // 4 + (1 << 28)
    with pytest.raises(MemoryError, match=rf"An array of shape \({elements},\) and dtype float32 takes .* GiB; there"):
        _core.empty((elements,), "float32")


def test_sizes_beyond_64_bits():
    for shape in ((10**30,), (2**62, 2**62), (2**63 - 1, 2**63 - 1, 3), (0, 2**62, 2**62)):
        with pytest.raises(MemoryError, match="is larger than any memory"):
            _core.empty(shape, "float32")
    with pytest.raises(ValueError, match="at least 0; received shape"):
        _core.empty((3, -2**63), "float32")


def test_shapes_without_values_are_not_bounded_by_memory():
    """Nobody touches what a dry run makes."""
    if sys.maxsize < 2**62:
        pytest.skip("addresses")
    elements = _core.memory_left() // 4 // 64
    x = keras.Input((elements,), batch_size=40)
    assert ops.add(x, x).shape == (40, elements)


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return _core.memory_left(str(root))


MEMINFO = "MemTotal: 9000000 kB\nMemFree: 100 kB\nMemAvailable:    4000 kB\nSwapTotal: 90 kB\nSwapFree:  1000 kB\n"
STAT = "anon 5\ninactive_file 1024\nactive_file 2048\nshmem 77\n"


def test_the_machine_gives_what_is_available_and_swap(tmp_path):
    assert tree(tmp_path, {"proc/meminfo": MEMINFO}) == 5000 << 10


def test_a_system_that_tells_nothing_bounds_nothing(tmp_path):
    assert tree(tmp_path, {}) == 2**64 - 1


@pytest.mark.parametrize("where", ["here", "of a parent", "as the root"])
def test_a_control_group_gives_less(tmp_path, where):
    folder = {"here": "/a/b", "of a parent": "/a", "as the root": ""}[where]
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/a/b\n",
             f"sys/fs/cgroup{folder}/memory.max": "2000000\n", f"sys/fs/cgroup{folder}/memory.current": "1500000\n",
             f"sys/fs/cgroup{folder}/memory.stat": STAT, f"sys/fs/cgroup{folder}/memory.swap.max": "0\n"}
    assert tree(tmp_path, files) == 2000000 - (1500000 - 3072)
    for most, swap in (("max", 1000 << 10), ("5000", 5000 - 77)):
        files[f"sys/fs/cgroup{folder}/memory.swap.max"] = most
        files[f"sys/fs/cgroup{folder}/memory.swap.current"] = "77"
        assert tree(tmp_path, files) == 2000000 - (1500000 - 3072) + swap
    files[f"sys/fs/cgroup{folder}/memory.max"] = "max\n"
    assert tree(tmp_path, files) == 5000 << 10


def test_a_control_group_of_the_first_version(tmp_path):
    stat = "inactive_file 1\ntotal_inactive_file 1000\ntotal_active_file 500\n"
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/x/y\n0::/\n",
             "sys/fs/cgroup/memory/x/y/memory.limit_in_bytes": "1000000\n",
             "sys/fs/cgroup/memory/x/y/memory.usage_in_bytes": "900000\n",
             "sys/fs/cgroup/memory/x/y/memory.stat": stat,
             "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}
    assert tree(tmp_path, files) == 1000000 - (900000 - 1500)


def test_a_control_group_that_is_mounted_elsewhere(tmp_path):
    """A container that is told its path on the host, and shown its own part, at a place of its own."""
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/host/mine/inner\n",
             "proc/self/mountinfo": "36 25 0:31 /host/mine /groups rw - cgroup2 cgroup2 rw\n",
             "groups/inner/memory.max": "max", "groups/memory.max": "1000000", "groups/memory.current": "400000",
             "groups/memory.swap.max": "0"}
    assert tree(tmp_path, files) == 600000


def test_a_full_group_gives_nothing(tmp_path):
    assert tree(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000",
                           "sys/fs/cgroup/memory.current": "5000", "sys/fs/cgroup/memory.swap.max": "0"}) == 0


def limited(code, extra_bytes):
    """Runs code in a process that gets no more addresses than it has, and `extra_bytes`."""
    head = f"""
        import resource
        import numpy as np
        import pydl as keras
        from pydl import _core, layers, ops
        def limit(extra={extra_bytes}):
            used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + extra, resource.RLIM_INFINITY))
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code)], capture_output=True,
                         text=True, cwd=PYDL_FOLDER)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


needs_limits = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS")


@needs_limits
def test_a_block_that_the_system_refuses():
    printed = limited("""
        limit()
        for make in (lambda: ops.zeros(2**27), lambda: keras.Variable(np.zeros, shape=(2**27,), dtype="float32")):
            try:
                make()
            except MemoryError as error:
                print(error)
        """, 1 << 28)
    assert "The system gives no block of 512.0 MiB." in printed and len(printed.splitlines()) == 2


@needs_limits
@pytest.mark.parametrize("threads", [1, 2])
def test_a_kernel_without_room_for_its_own_raises_on_any_thread(threads):
    """A copy of the padded images of 10^11 elements; the process, the pool and Ctrl-C go on as before."""
    printed = limited(f"""
        keras.config.set_threads({threads})
        x, kernel = ops.ones((8, 3, 3, 64)), ops.ones((3, 3, 64, 32))
        ops.conv(ops.ones((8, 40, 40, 64)), kernel)
        limit()
        for _ in range(3):
            try:
                ops.conv(x, kernel, padding="same", dilation_rate=20000)
            except MemoryError as error:
                print(error)
        assert abs(float(ops.max(ops.conv(ops.ones((8, 40, 40, 64)), kernel))) - 576) < 0.01
        """, 1 << 30)
    assert len(printed.splitlines()) == 3 and "iB" in printed


def test_a_program_whose_kernel_finds_no_room_says_so_too():
    x, kernel = Tensor(np.ones((1, 3, 3, 4), "float32")), Tensor(np.ones((3, 3, 4, 4), "float32"))
    recorded = keras.function(lambda x: ops.conv(x, kernel, padding="same", dilation_rate=3 * 10**6))
    with pytest.raises((MemoryError, ValueError), match="iB|more elements than an array has"):
        recorded(x)
