"""Every element type is one row of csrc/types.def; tables, names and bindings follow from it."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import pydl
from pydl import _core, dtypes, ops
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
    assert set(dtypes.STORED_AS.values()) == set(dtypes.STORED) == {"bool", *(name for name, *_ in ROWS)}
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


# ------------------------------------------------------------------------------------- what two of them give together

# Measured with Keras 3.15 (tests/reference/test_dtypes_parity.py); `int` and `float` are Python's.
PROMOTED = """
bool     bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 int float
uint8    uint8 uint8 uint16 uint32 uint64 int16 int16 int32 int64 float16 float32 float64 uint8 float
uint16   uint16 uint16 uint16 uint32 uint64 int32 int32 int32 int64 float16 float32 float64 uint16 float
uint32   uint32 uint32 uint32 uint32 uint64 int64 int64 int64 int64 float16 float32 float64 uint32 float
uint64   uint64 uint64 uint64 uint64 uint64 float float float float float16 float32 float64 uint64 float
int8     int8 int16 int32 int64 float int8 int16 int32 int64 float16 float32 float64 int8 float
int16    int16 int16 int32 int64 float int16 int16 int32 int64 float16 float32 float64 int16 float
int32    int32 int32 int32 int64 float int32 int32 int32 int64 float16 float32 float64 int32 float
int64    int64 int64 int64 int64 float int64 int64 int64 int64 float16 float32 float64 int64 float
float16  float16 float16 float16 float16 float16 float16 float16 float16 float16 float16 float32 float64 float16 float16
float32  float32 float32 float32 float32 float32 float32 float32 float32 float32 float32 float32 float64 float32 float32
float64  float64 float64 float64 float64 float64 float64 float64 float64 float64 float64 float64 float64 float64 float64
int      int uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 int float
float    float float float float float float float float float float16 float32 float64 float float
"""
TABLE = {row.split()[0]: row.split()[1:] for row in PROMOTED.strip().splitlines()}


def test_the_table_of_promotion():
    assert {pair: dtypes.PROMOTED[pair] for pair in itertools.product(TABLE, repeat=2)} == {
        (first, second): result for first, row in TABLE.items() for second, result in zip(TABLE, row)}
    assert set(TABLE) == {*dtypes.STORED_AS, dtypes.WEAK_INT, dtypes.WEAK_FLOAT}


def test_the_order_of_operands_does_not_matter():
    for names in itertools.product(TABLE, repeat=3):
        assert len({dtypes.promoted(order) for order in itertools.permutations(names)}) == 1


@pytest.mark.parametrize("first", dtypes.STORED_AS)
def test_operands_promote_as_what_they_are_stored_as(first):
    """An array is what it is stored as from the moment it comes in, and gives what the table says, stored likewise:
    except uint64, an int64 here, with signed integers."""
    for second in dtypes.STORED_AS:
        want = dtypes.PROMOTED[first, second]
        want = "int64" if want == dtypes.WEAK_FLOAT else dtypes.STORED_AS[want]
        a, b = np.ones(3, first), np.ones(3, second)
        for y in (ops.add(a, b), ops.where(a, a, b), ops.maximum(a, ops.convert_to_tensor(b)), ops.concatenate([a, b]),
                  ops.convert_to_tensor(a) * b):
            assert y.dtype == want, (first, second)
    for number in (2, 2.5):
        want = dtypes.PROMOTED[first, type(number).__name__]
        want = {"float": "float32", "int": "int32"}.get(want, want)
        for op in (ops.multiply, ops.fmax, ops.fmin, ops.dot, ops.inner, ops.maximum, ops.mod):
            assert op(np.ones(3, first), number).dtype == dtypes.STORED_AS[want]


def test_result_type_names_dtypes_without_kernels():
    result_type = pydl.backend.result_type
    assert result_type("uint8", "int8") == "int16" and result_type("int8", int) == "int8"
    assert result_type("uint64", "int8") == result_type(int, float) == result_type() == result_type(None) == "float32"
    assert result_type("uint64", "int8", "float16") == "float16" and result_type(bool, int) == "int32"


NARROW = [name for name, stored in dtypes.STORED_AS.items() if name != stored]
PLACES = {
    "binary": lambda x: ops.add(x, x), "beside a tensor": lambda x: ops.convert_to_tensor([1, 2, 3]) + x,
    "comparison": lambda x: ops.less(x, 2), "unary": ops.negative, "float": ops.exp, "sum": ops.sum, "mean": ops.mean,
    "sort": ops.sort, "cast": lambda x: ops.cast(x, "float32"), "convert": ops.convert_to_tensor, "take": lambda x: (
        ops.take(np.arange(9.0), x)), "one_hot": lambda x: ops.one_hot(x, 9),
    "segments": lambda x: ops.segment_sum(x, x),
    "variable": lambda x: pydl.Variable(x), "assign": lambda x: pydl.Variable(np.zeros(3)).assign(x),
    "like": ops.zeros_like, "matmul": lambda x: ops.matmul(x, x), "layer": pydl.layers.Rescaling(2.0),
    "loss": lambda x: pydl.losses.mean_squared_error(x, x), "metric": lambda x: pydl.metrics.Mean()(x),
    "labels": lambda x: pydl.losses.sparse_categorical_crossentropy(x, np.full((3, 9), 1 / 9)),
    "embedding": pydl.layers.Embedding(9, 2), "weights": lambda x: pydl.metrics.Mean()(np.ones(3), sample_weight=x),
}


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("place", PLACES)
def test_arrays_without_kernels_come_in_everywhere(place, dtype):
    """They work in the next wider type: what int64 gives."""
    got, want = (np.asarray(PLACES[place](np.array([3, 1, 2], d))) for d in (dtype, "int64"))
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("dtype", NARROW)
def test_names_without_kernels_are_taken_everywhere(dtype):
    stored = dtypes.STORED_AS[dtype]
    for y in (ops.zeros(3, dtype), ops.full(3, 1, dtype), ops.convert_to_tensor([1, 2], dtype), ops.cast([1.5], dtype),
              ops.one_hot([1], 3, dtype=dtype), ops.multi_hot([1], 3, dtype=dtype), ops.arange(3, dtype=dtype),
              pydl.random.randint((3,), 0, 9, dtype), pydl.Variable([1, 2], dtype=dtype), ops.eye(2, dtype=dtype),
              ops.ones_like([1.0], dtype=dtype), ops.prod([2, 3], dtype=dtype), ops.cumsum([1, 2], dtype=dtype)):
        assert y.dtype == stored
    x = pydl.Input((3,), dtype=dtype)
    model = pydl.Model(x, ops.add(x, 1))
    assert x.dtype == dtype and model.predict(np.ones((2, 3), dtype), verbose=0).dtype == stored


@pytest.mark.parametrize("dtype", [*NARROW, "uint8", "bool", "float16"])
def test_a_model_learns_from_data_of_any_dtype(dtype):
    x = (np.arange(24).reshape(8, 3) % 5).astype(dtype)
    y = (np.arange(8) % 2).astype(dtype)
    wanted = None
    for data in ((x, y), (x.astype("float32"), y.astype("float32"))):
        pydl.utils.set_random_seed(0)
        model = pydl.Sequential([pydl.Input((3,)), pydl.layers.Dense(2, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        loss = model.fit(*data, epochs=2, batch_size=3, shuffle=False, verbose=0).history["loss"]
        found = [loss, model.evaluate(*data, verbose=0), model.predict(data[0], verbose=0)]
        wanted = wanted or found
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-6)
        np.testing.assert_allclose(found[1], wanted[1], rtol=1e-6)
        np.testing.assert_allclose(found[2], wanted[2], rtol=1e-6)


@pytest.mark.parametrize("door", [
    ops.convert_to_tensor, pydl.Variable, lambda x: ops.add(x, 1), lambda x: pydl.tensor.from_numpy(x),
    lambda x: ops.convert_to_tensor(x[1:].tolist()),
    lambda x: pydl.Sequential([pydl.Input((1,)), pydl.layers.Dense(1)]).predict(x[:, None], verbose=0),
], ids=["convert", "Variable", "op", "from_numpy", "list", "predict"])
def test_integers_that_int64_does_not_hold_are_refused(door):
    with pytest.raises(OverflowError, match="9223372036854775808"):
        door(np.array([1, 2**63], "uint64"))
    door(np.array([1, 2**63 - 1], "uint64"))


def test_python_ints_outside_of_a_type():
    """Arithmetic refuses them, as NumPy's; a comparison has an answer."""
    small, large = ops.convert_to_tensor(np.array([1, 200], "uint8")), ops.convert_to_tensor([1, 2])
    for f in (lambda: small + 300, lambda: ops.maximum(small, -1), lambda: ops.where(True, small, 256),
              lambda: large * 2**31, lambda: ops.convert_to_tensor([1, 300], "uint8"), lambda: ops.full(2, 128, "int8"),
              lambda: pydl.Variable(-1, dtype="uint16"), lambda: pydl.Variable(1, dtype="uint8").assign(256),
              lambda: pydl.random.randint((3,), 0, 257, "uint8")):
        with pytest.raises(OverflowError, match="out of bounds for u?int"):
            f()
    assert (small < 300).numpy().all() and (small > -1).numpy().all() and not (small == 256 + 1).numpy().any()
    assert (large < 2**40).numpy().all() and ops.add(2**40, 1).numpy() == 2**40 + 1


@pytest.mark.parametrize("dtype", ["uint8", *NARROW])
def test_casts_to_narrow_integers_have_their_values(dtype):
    info = np.iinfo(dtype)
    wide = np.array([0, 1, -1, 127, 128, 255, 256, 300, 40000, -40000, 65536, 2**31 - 1, 2**32 - 1, 2**32 + 5, 2**40])
    for x in (wide, wide.astype("int32")):
        want = x.astype(dtype)
        if dtype == "uint64":  # stored as int64, of the same bits
            want = want.astype("int64")
        np.testing.assert_array_equal(ops.cast(x, dtype).numpy(), want)
    floats = np.array([-np.inf, -1e30, -1.5, 1.5, 300.7, 1e30, np.inf, np.nan])
    want = [int(np.clip(v, float(info.min), min(float(info.max), 2.0**63))) if v == v else 0 for v in floats]
    np.testing.assert_array_equal(ops.cast(floats, dtype).numpy(), np.clip(want, info.min, min(info.max, 2**63 - 1)))


def test_float16_is_stored_as_such():
    x = ops.cast(np.array([1.0, 1e-4]), "float16")
    assert x.dtype == "float16" and x.numpy().nbytes == 4 and ops.convert_to_tensor([1.5], "float16").dtype == "float16"
    assert ops.add(np.ones(2, "float16"), np.ones(2, "int16")).dtype == "float16"
