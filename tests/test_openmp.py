"""The threads that OpenMP gives: how many, where, from which library, beside whom, and how they end.

What OpenMP's variables do shows in processes of their own; `/proc/self/task` tells how many threads there are.
"""

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import pydl as keras
from harness import PYDL_FOLDER
from pydl import _core, layers

ROOT = Path(__file__).resolve().parent.parent
OPENMP = _core.threading_layer() == "openmp"
pytestmark = pytest.mark.once
needs_tasks = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc")
needs_gomp = pytest.mark.skipif(not (OPENMP and "libgomp" in _core.threading_runtime()),
                                reason="says how GCC's OpenMP runtime behaves")

# What programs below begin with. NumPy's BLAS has no threads in them.
START = """
import os, re, sys, time
import numpy as np
import pydl
from pydl import _core, config

def tasks():
    return len(os.listdir("/proc/self/task"))

def kilobytes(name):
    return int(re.search(name + r":\\s*(\\d+) kB", open("/proc/self/status").read())[1])

"""


def run(code, *, start=START, timeout=120, **variables):
    """What `code` prints, as words, and its standard error; in an environment with no other variables of OpenMP."""
    mine = {k: v for k, v in os.environ.items() if k != "PYDL_NUM_THREADS" and not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", start + code], cwd=PYDL_FOLDER, timeout=timeout,
                          env=mine | {"OPENBLAS_NUM_THREADS": "1"} | variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


def threads(**variables):
    """Threads that a process tells of and has, when its variables are these."""
    (told, had), _ = run("print(config.threads(), tasks())", **variables)
    return int(told), int(had)


def test_names_of_layer_and_library():
    assert keras.config.threading_layer() in ("openmp", "std")
    assert os.path.exists(keras.config.threading_runtime()) == OPENMP
    assert f"threads ({keras.config.threading_layer()})" in keras.config.show()


# ---- how many --------------------------------------------------------------------------------------------------------


@needs_tasks
@pytest.mark.parametrize(("variables", "count"), [
    ({"OMP_NUM_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "3,2"}, 3),
    ({"OMP_NUM_THREADS": "3", "PYDL_NUM_THREADS": "5"}, 5)])
def test_number_of_threads(variables, count):
    assert threads(**variables) == (count, count)


@needs_gomp
@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_caller_counts_for_the_limit(limit):
    assert threads(OMP_THREAD_LIMIT=str(limit), PYDL_NUM_THREADS="5") == (limit, limit)
    found, _ = run("config.set_threads(4); print(config.threads(), tasks())", OMP_THREAD_LIMIT=str(limit))
    assert found == [str(limit)] * 2


@needs_gomp
def test_the_number_told_is_the_one_granted():
    """Without levels of parallelism a region is its first thread alone: the caller has one beside it."""
    assert threads(OMP_MAX_ACTIVE_LEVELS="0", PYDL_NUM_THREADS="8") == (2, 2)


@needs_gomp
def test_threads_that_openmp_adjusts():
    told, had = threads(OMP_DYNAMIC="true", PYDL_NUM_THREADS="64")
    assert told == had <= os.cpu_count() + 1


LIMITED = """
for count in (9, 2, 9, 5, 9) * 4:
    config.set_threads(count)
    _core.empty_regions(100)
    print(config.threads(), tasks())
"""
GRANTED = ["4", "4", "2", "2", "4", "4", "4", "4", "4", "4"] * 4


@needs_gomp
def test_the_system_has_no_memory_for_more_threads():
    """Four threads of a gigabyte fit, not eight. The runtime would end the process at the first that does not."""
    found, _ = run("import resource; limit = (kilobytes('VmSize') << 10) + (7 << 29);"
                   "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))" + LIMITED,
                   OMP_STACKSIZE="1G", PYDL_NUM_THREADS="9")
    assert found == GRANTED


needs_root = pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="becomes a user of its own")
USER = "import resource; os.setuid(54321); resource.setrlimit(resource.RLIMIT_NPROC, ({0}, {0}));"


@needs_gomp
@needs_root
def test_the_system_grants_the_user_no_more_threads():
    found, _ = run(USER.format(4) + LIMITED, PYDL_NUM_THREADS="9")
    assert found == GRANTED


@needs_gomp
@needs_root
def test_threads_that_end_are_off_the_books():
    """With room for one more thread there is one each time, whichever has just ended."""
    found, _ = run(USER.format(2) + """
granted = set()
for count in (2, 3) * 1500:
    config.set_threads(count)
    granted.add(config.threads())
print(*granted)
""")
    assert found == ["2"]


# ---- where, and with which stack -------------------------------------------------------------------------------------


@pytest.fixture
def cpus():
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    return sorted(os.sched_getaffinity(0))


@needs_gomp
@pytest.mark.parametrize("bind", ["close", "spread", "true"])
def test_the_team_has_other_places_than_the_caller(cpus, bind):
    code = """
assert config.threads() == 2
_core.empty_regions(100)
places = {int(t): re.search(r"Cpus_allowed_list:\\s*(\\S+)", open(f"/proc/self/task/{t}/status").read())[1]
          for t in os.listdir("/proc/self/task")}
print(places.pop(os.getpid()), *sorted(places.values()))
"""
    first, second = cpus[:2]
    found, _ = run(code, OMP_PLACES=f"{{{first}}},{{{second}}}", OMP_PROC_BIND=bind, PYDL_NUM_THREADS="2")
    assert found == [str(first), str(first), str(second)]  # the caller, the host that stands for it, the member


@needs_gomp
@pytest.mark.parametrize("places", ["threads", "cores", None])
def test_cores_are_counted_before_the_caller_is_bound(cpus, places):
    variables = {"OMP_PROC_BIND": "true"} | ({"OMP_PLACES": places} if places else {})
    (told,), _ = run("print(config.threads())", **variables)
    assert int(told) == _core.count_cores("", len(cpus))


@needs_gomp
def test_no_more_cores_than_the_places_have(cpus):
    assert threads(OMP_PLACES=f"{{{cpus[1]}}}") == (1, 1)


@needs_gomp
@pytest.mark.parametrize(("size", "gigabytes"), [("1G", 1), (" 1024 m ", 1), ("2097152", 2), ("1073741824B", 1)])
@pytest.mark.parametrize("workers", [1, 2])
def test_stacks(size, gigabytes, workers):
    """With one worker it is the host, whose stack the runtime does not make."""
    code = "before = kilobytes('VmSize'); config.threads(); print((kilobytes('VmSize') - before) / 2**20)"
    (grown,), _ = run(code, OMP_STACKSIZE=size, PYDL_NUM_THREADS=str(workers + 1))
    assert workers * gigabytes <= float(grown) < workers * gigabytes + 0.7


@needs_gomp
@pytest.mark.parametrize("size", ["1k", "many", "1x", "99999999999999G"])
def test_a_stack_size_that_cannot_be(size):
    (told,), _ = run("_core.empty_regions(100); print(config.threads())", OMP_STACKSIZE=size, PYDL_NUM_THREADS="3")
    assert told == "3"


@needs_gomp
def test_the_runtime_shows_its_environment():
    _, shown = run("", OMP_DISPLAY_ENV="true", OMP_NUM_THREADS="3")
    assert "OPENMP DISPLAY ENVIRONMENT BEGIN" in shown and "OMP_NUM_THREADS = '3'" in shown


# ---- their ends ------------------------------------------------------------------------------------------------------


@needs_tasks
def test_another_number_leaves_no_threads_behind():
    before = keras.config.threads()
    try:
        keras.config.set_threads(2)
        others = len(os.listdir("/proc/self/task")) - keras.config.threads()
        for count in (5, 2, 8, 3, 4) * 10:
            keras.config.set_threads(count)
            assert keras.config.threads() == count
            assert len(os.listdir("/proc/self/task")) == others + count
            _core.empty_regions(20)
            keras.config.set_threads(1)  # they sleep
            _core.empty_regions(20)
            assert len(os.listdir("/proc/self/task")) == others + count
    finally:
        keras.config.set_threads(before)


@pytest.mark.parametrize("code", [
    "_core.empty_regions(1000)", "_core.empty_regions(1000); time.sleep(0.05)", "config.threads()",
    "import threading; threading.Thread(target=_core.empty_regions, args=(10**10,), daemon=True).start();"
    "time.sleep(0.2)",
    "_core.empty_regions(1000); sys.exit(print('left'))",
], ids=["awake", "asleep", "made", "in a region", "sys.exit"])
@pytest.mark.parametrize("bind", ["false", "true"])
def test_a_process_ends_with_a_live_team(code, bind):
    begin = time.monotonic()
    run(code, PYDL_NUM_THREADS="4", OMP_PROC_BIND=bind)
    assert time.monotonic() - begin < 30


def test_threads_are_made_in_one_place():
    """Kernels, the loop of the perceptron and those over texts have the team or none."""
    maker = re.compile(r"std::j?thread\b(?!::hardware)|std::async|pthread_create|pragma omp|prange|cython.parallel")
    files = [*(ROOT / "csrc").rglob("*.h"), *(ROOT / "csrc").rglob("*.cpp"), *(ROOT / "pydl").glob("*.p[yx]x"),
             *(ROOT / "pydl").glob("*.pxi")]
    makers = {path.name for path in files if maker.search(path.read_text(encoding="utf-8"))}
    assert makers == {"team_openmp.cpp", "team_std.cpp"}


# ---- the same bits, children -----------------------------------------------------------------------------------------


def fitted():
    """Digest of the weights of a network with kernels of several families, after some steps."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([
        keras.Input((16, 16, 3)), layers.Conv2D(24, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Reshape((8, 192)), layers.LSTM(48, return_sequences=True), layers.BatchNormalization(), layers.Flatten(),
        layers.Dropout(0.2), layers.Dense(300, "tanh"), layers.Dense(5)])
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(128, 16, 16, 3)).astype("float32"), rng.normal(size=(128, 5)).astype("float32")
    model.fit(x, y, batch_size=64, epochs=2, shuffle=False, verbose=0)  # NumPy's numbers are also drawn by others
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest()


def test_the_same_bits_for_any_number_of_threads():
    before, found = keras.config.threads(), set()
    try:
        for count in (1, 2, 3, 8):
            keras.config.set_threads(count)
            assert keras.config.threads() == count
            found.add(fitted())
    finally:
        keras.config.set_threads(before)
    assert len(found) == 1


# A program gets the function above and what it needs.
FIT = START + f"""
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_openmp
from test_openmp import fitted

def in_child():
    "fitted() in a forked process, which has threads of its own and ends without a word."
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, fitted().encode())
            os._exit(0 if tasks() >= config.threads() > 1 else 2)
        finally:
            os._exit(1)
    found = os.read(read, 100).decode()
    assert os.waitpid(child, 0)[1] == 0
    return found
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("bind", ["false", "true"])
def test_fit_in_a_child_after_fit(bind):
    found, _ = run("""
first = fitted()
print(first, *(in_child() for _ in range(5)), fitted())
config.set_threads(5)
print(in_child(), fitted())
""", start=FIT, PYDL_NUM_THREADS="3", OMP_PROC_BIND=bind)
    assert len(found) == 9 and set(found) == {found[0]}


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_joblib(backend):
    pytest.importorskip("joblib")
    found, _ = run(f"""
from joblib import Parallel, delayed
print(fitted(), *Parallel(2, backend={backend!r})(delayed(fitted)() for _ in range(4)), fitted())
""", start=FIT, PYDL_NUM_THREADS="3")
    assert len(found) == 6 and set(found) == {found[0]}


# ---- other libraries with OpenMP in one process ----------------------------------------------------------------------


@pytest.mark.skipif(not OPENMP, reason="there is no runtime to see")
def test_threadpoolctl_sees_the_runtime():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    keras.config.threads()
    runtime = os.path.realpath(keras.config.threading_runtime())
    seen = [pool for pool in threadpoolctl.threadpool_info() if os.path.realpath(pool["filepath"]) == runtime]
    assert [pool["user_api"] for pool in seen] == ["openmp"]


WORK = {
    "torch": """
import torch
torch.set_num_threads(2)
def work_torch():
    a = torch.ones(600, 600, requires_grad=True)
    (torch.tanh(a @ a / 600)).sum().backward()
    assert torch.isfinite(a.grad).all() and a.grad.min() > 0
""",
    "sklearn": """
from sklearn.ensemble import HistGradientBoostingRegressor
def work_sklearn():
    x = np.random.default_rng(0).normal(size=(2000, 8))
    assert HistGradientBoostingRegressor(max_iter=5).fit(x, x[:, 0]).score(x, x[:, 0]) > 0.5
""",
    "pydl": FIT,
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("order", [
    "sklearn pydl", "pydl sklearn", "torch pydl", "pydl torch", "torch sklearn pydl", "pydl sklearn torch"])
def test_in_one_process(order):
    names = order.split()
    for name in names:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    others = "; ".join(f"work_{name}()" for name in names if name != "pydl")
    code = "\n".join(WORK[name] for name in names) + f"""
import threading
found = []
for _ in range(3):
    {others}
    found += [fitted(), in_child()]
thread = threading.Thread(target=lambda: found.append(fitted()))
thread.start()
{others}
thread.join()
found.append(fitted())
print(*set(found))
"""
    found, _ = run(code, start="import os, numpy as np\n", OMP_NUM_THREADS="2")
    alone, _ = run("print(fitted())", start=FIT, OMP_NUM_THREADS="1")
    assert found == alone
