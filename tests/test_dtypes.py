"""Every element type is one row of csrc/types.def; tables, names and bindings follow from it."""

import re
from pathlib import Path

import numpy as np
import pytest

from pydl._core import kernels

CSRC = Path(__file__).resolve().parent.parent / "csrc"
ROWS = re.findall(r"^TYPE\((\w+), ([\w:]+), '(\w)', (\w+)\)", (CSRC / "types.def").read_text(encoding="utf-8"),
                  re.MULTILINE)
STEPS = ["floats", "numbers", "data"]


def test_a_row_joins_the_kernels_of_its_step():
    for kernel, step in ((kernels.exp, "floats"), (kernels.negative, "numbers"), (kernels.fill, "data"),
                         (kernels.check_index, "numbers")):
        assert kernel.dtypes == [name for name, _, _, rows in ROWS if STEPS.index(rows) <= STEPS.index(step)]


@pytest.mark.parametrize("name, kind", [(name, kind) for name, _, kind, _ in ROWS])
def test_an_array_finds_the_instance_of_its_type(name, kind):
    assert np.dtype(name).kind == kind
    y = np.zeros(3, name)
    kernels.fill(1.0, y, 3)
    np.testing.assert_array_equal(y, np.ones(3, name))


@pytest.mark.parametrize("dtype", ["float16", "int16", "uint32", "complex64", ">f4", ">i4"])
def test_other_arrays_are_refused(dtype):
    with pytest.raises(TypeError, match="fill.*no instance for dtype"):
        kernels.fill(1.0, np.zeros(3, dtype), 3)


def test_cpp_names_a_type_in_its_row_only():
    """Outside of types.def a type's number is written nowhere: what depends on it is generated from the rows."""
    for path in [*CSRC.rglob("*.h"), *CSRC.rglob("*.cpp")]:
        written = re.findall(r"DType::(\w+)", path.read_text(encoding="utf-8"))
        assert not set(written) & {name for name, *_ in ROWS} - {"float32"}, path.name
