"""Every element type is one row of csrc/types.def; tables, names and bindings follow from it."""

import re
from pathlib import Path

import numpy as np
import pytest

from pydl import _core, dtypes
from pydl._core import kernels

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
ROWS = re.findall(r"^TYPE\((\w+), ([\w:]+), ([\w:]+), '(\w)', (\w+)\)",
                  (CSRC / "types.def").read_text(encoding="utf-8"),
                  re.MULTILINE)
STEPS = ["floats", "numbers", "data"]


def test_a_row_joins_the_kernels_of_its_step():
    for kernel, step in ((kernels.exp, "floats"), (kernels.negative, "numbers"), (kernels.fill, "data"),
                         (kernels.check_index, "numbers")):
        assert kernel.dtypes == [name for name, *_, rows in ROWS if STEPS.index(rows) <= STEPS.index(step)]


@pytest.mark.parametrize("name, kind", [(name, kind) for name, _, _, kind, _ in ROWS])
def test_an_array_finds_the_instance_of_its_type(name, kind):
    assert np.dtype(name).kind == kind
    y = np.zeros(3, name)
    kernels.fill(1.0, y, 3)
    np.testing.assert_array_equal(y, np.ones(3, name))


@pytest.mark.parametrize("dtype", ["int16", "uint32", "complex64", ">f2", ">f4", ">i4"])
def test_other_arrays_are_refused(dtype):
    with pytest.raises(TypeError, match="fill.*no instance for dtype"):
        kernels.fill(1.0, np.zeros(3, dtype), 3)


def test_cpp_names_a_type_in_its_row_only():
    """Outside of types.def a type's number is written nowhere: what depends on it is generated from the rows."""
    for path in [*CSRC.rglob("*.h"), *CSRC.rglob("*.cpp")]:
        written = re.findall(r"DType::(\w+)", path.read_text(encoding="utf-8"))
        assert not set(written) & {name for name, *_ in ROWS} - {"float32"}, path.name


def test_python_knows_the_rows():
    names = {stored: name for name, stored, *_ in ROWS}
    assert [(name, kind, rows, computed) for name, kind, _, rows, computed in _core.dtypes()] == [
        (name, kind, rows, names[computed]) for name, _, computed, kind, rows in ROWS]
    assert all(np.dtype(name).itemsize == size for name, _, size, *_ in _core.dtypes())
    assert set(dtypes.STORED_AS.values()) == set(dtypes.PROMOTION) == {"bool", *(name for name, *_ in ROWS)}
    assert dtypes.FLOATS == tuple(name for name, _, _, kind, _ in ROWS if kind == "f")


@pytest.mark.parametrize("name", dtypes.STORED_AS)
def test_what_a_name_is_follows_from_numpy(name):
    array = np.zeros(2, name)
    assert dtypes.is_float_dtype(name) == dtypes.holds_floats(array) == np.issubdtype(name, np.floating)
    assert dtypes.is_integer_dtype(name) == dtypes.holds_integers(array) == np.issubdtype(name, np.integer)
    assert dtypes.holds_numbers(array) and not dtypes.holds_text(array)
    assert np.dtype(dtypes.STORED_AS[name]).itemsize >= array.itemsize


# A dtype known by the letters of its name or by its kind, or a list of dtypes written down.
HAND_WRITTEN = re.compile(r'startswith\(\(?"(float|u?int)|dtype\.kind\b|in \("(bool|u?int\d+|float\d+)"'
                          r'|np\.issubdtype|\{"(bool|u?int\d+|float\d+)":')


def test_python_asks_the_one_module():
    found = [f"{path.relative_to(ROOT)}: {line.strip()}" for path in sorted((ROOT / "pydl").rglob("*.py"))
             if path.name != "dtypes.py" for line in path.read_text(encoding="utf-8").splitlines()
             if HAND_WRITTEN.search(line)]
    assert not found, "\n".join(found)
