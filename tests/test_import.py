"""What a fresh process loads before its first step: what it does not need would be paid by every script."""

import ast
import subprocess
import sys

import pytest

from harness import PYDL_FOLDER

# What an interpreter, or NumPy, mostly has loaded before.
COMMON = ("__future__", "collections.abc", "contextlib", "functools", "importlib", "inspect", "io", "itertools", "math",
          "operator", "os", "platform", "re", "stat", "time", "types", "typing", "warnings", "weakref")
# What `import pydl` loads beside, with the reason. What these import comes along.
USED = {
    "bisect": "finds the array behind an address (tensor.py)",
    "dataclasses": "values with equality: the geometry of a window (ops/_window.py)",
    "errno": "tells the system's errors from those of a file (reading.py, atomic.py)",
    "heapq": "the tape walks nodes from the latest (tape.py)",
    "pkgutil": "lists the files that a package gathers (exports.py)",
    "random": "seeds that nobody has given (initializers.py, random.py)",
    "threading": "locks, and what each thread has of its own (watch.py)",
    "unicodedata": "normal forms of texts (_text.pyx)",
    "zlib": "names of temporary files (atomic.py)",
}
OF_CYTHON = ("cython_runtime", "_cython_")  # what its modules share

LATE_ROOMS = {"applications", "cli", "datasets", "estimators", "inspection", "preprocessing", "saving", "tuner",
              "utils"}

LENET = """
import numpy as np
model = pydl.applications.LeNet5()
model.predict(np.zeros((1, *model.input_shape[1:]), "float32"), verbose=0)
"""


def loaded(code: str, before: str = "") -> set[str]:
    """The modules that `code` adds, in a fresh process, to those of NumPy and `before`."""
    script = f"import sys, numpy\n{before}\nknown = set(sys.modules)\n{code}\nprint(sorted(set(sys.modules) - known))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=PYDL_FOLDER, check=True)
    return set(ast.literal_eval(done.stdout.splitlines()[-1]))


def top(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


def test_import_loads_what_is_used_and_no_more():
    own = {name for name in loaded("import pydl", before=f"import {', '.join([*COMMON, *USED])}")
           if not name.startswith(("pydl", *OF_CYTHON))}
    assert not own, f"`import pydl` loads {sorted(own)}; import them where they are used, or say in USED why not"


def test_what_is_no_longer_loaded_leaves_the_list():
    unused = USED.keys() - loaded("import pydl\nknown = set()")  # NumPy may load one, too
    assert not unused, f"`import pydl` no longer loads {sorted(unused)}"


def test_import_leaves_late_rooms_alone():
    modules = loaded("import pydl")
    rooms = {name.split(".")[1] for name in modules if name.startswith("pydl.")}
    assert not rooms & LATE_ROOMS
    assert "numpy.random" not in modules


@pytest.mark.parametrize("step", [
    "pydl.Sequential([pydl.Input((4,)), pydl.layers.Dense(2, 'relu')]).predict(numpy.ones((3, 4)), verbose=0)",
    "model = pydl.Sequential([pydl.Input((4,)), pydl.layers.Dense(2)]); model.compile('adam', 'mse');"
    " model.fit(numpy.ones((3, 4)), numpy.ones((3, 2)), verbose=0)",
], ids=["predict", "fit"])
def test_a_first_step_reads_no_files(step):
    """`numpy.random` brings hashlib and what belongs to it; of ours nothing more is loaded."""
    modules = loaded(step, before="import pydl, numpy.random")
    assert not modules, sorted(modules)


def test_a_published_network_needs_no_network():
    """Weights that are asked for, and only those, bring HTTP, TLS, archives."""
    modules = top(loaded(LENET, before="import pydl"))
    assert not modules & {"concurrent", "email", "h5py", "html", "http", "logging", "ssl", "tarfile", "tqdm", "zipfile"}


@pytest.mark.parametrize("name, barred", [
    ("model.safetensors", {"bz2", "h5py", "lzma", "tempfile", "zipfile"}),
    ("model.weights.h5", {"bz2", "lzma", "tempfile", "zipfile"}),
])
def test_weights_load_with_what_their_format_needs(tmp_path, name, barred):
    path = str(tmp_path / name)
    model = "model = pydl.Sequential([pydl.Input((4,)), pydl.layers.Dense(2)])\n"
    loaded(f"import pydl\n{model}model.save_weights({path!r})")
    # h5py's own modules do not count: what it imports is its matter.
    before = "import pydl, h5py" if name.endswith(".h5") else "import pydl"
    modules = top(loaded(f"{model}model.load_weights({path!r})", before=before))
    assert "pydl" in modules and not modules & barred, sorted(modules & barred)
