"""float16 is stored, not computed: conversions to the bit, and every kernel as its float32 self, rounded once."""

import hashlib
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

import pydl as keras
from harness import PYDL_FOLDER
from kernel_calls import KERNELS, Call
from pydl import _core, config, ops
from pydl._core import kernels

HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16)


@pytest.fixture(autouse=True)
def quiet():
    with np.errstate(all="ignore"):
        yield


def converted(x, dtype):
    y = np.empty(x.shape, dtype)
    getattr(kernels, f"cast_to_{dtype}")(x, y, x.size)
    return y


def same(found, wanted):
    """The same bits, NaNs apart."""
    nan = np.isnan(wanted)
    return bool((np.isnan(found) == nan).all()) and found[~nan].tobytes() == wanted[~nan].tobytes()


# -------------------------------------------------------------------------------------- conversions


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_half_widens_exactly(dtype):
    assert same(converted(HALVES, dtype), HALVES.astype(dtype))


def test_every_half_comes_back():
    finite_or_quiet = HALVES[~np.isnan(HALVES) | (HALVES.view(np.uint16) & 0x200 != 0)]
    for dtype in ("float32", "float64"):
        back = converted(converted(finite_or_quiet, dtype), "float16")
        assert same(back, finite_or_quiet)
    assert converted(converted(finite_or_quiet, "float32"), "float16").tobytes() == finite_or_quiet.tobytes()


def test_signalling_nans_become_quiet_and_keep_sign_and_payload():
    loud = np.array([0x7c01, 0xfd55], np.uint16).view(np.float16)
    assert converted(loud, "float32").view(np.uint32).tolist() == [0x7fc02000, 0xffeaa000]
    loud = np.array([0x7f802000, 0xff800001], np.uint32).view(np.float32)
    assert converted(loud, "float16").view(np.uint16).tolist() == [0x7e01, 0xfe00]


def around_halves(dtype):
    """All halves, all midpoints between neighbours, and what lies next to these."""
    finite = np.sort(HALVES[np.isfinite(HALVES)].astype(dtype))
    centres = np.concatenate([finite, (finite[1:] + finite[:-1]) / 2, [65519, 65520, 65521, -65520, np.inf, -np.inf]])
    centres = centres.astype(dtype)
    lowest, highest = np.array(-np.inf, dtype), np.array(np.inf, dtype)
    return np.concatenate([centres, np.nextafter(centres, lowest), np.nextafter(centres, highest)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_at_every_tie(dtype):
    x = around_halves(dtype)
    assert same(converted(x, "float16"), x.astype(np.float16))


def test_rounding_over_all_magnitudes():
    bits = np.arange(0, 2**32, 4093, dtype=np.uint64).astype(np.uint32)
    x = bits.view(np.float32)
    assert same(converted(x, "float16"), x.astype(np.float16))
    x = np.random.default_rng(0).integers(0, 2**64, 200_000, dtype=np.uint64).view(np.float64)
    x = np.concatenate([x, np.ldexp(x / 2.0 ** np.frexp(x)[1], np.arange(x.size) % 50 - 30)])
    assert same(converted(x, "float16"), x.astype(np.float16))


def test_a_double_is_rounded_once():
    x = np.array([1 + 2**-11 + 2**-40, 1 + 2**-11 - 2**-40, 2**-25 + 2**-60, -65520 + 2**-20])
    assert converted(x, "float16").tolist() == [1 + 2**-10, 1, 2**-24, -65504]
    y = np.empty(3, np.float16)
    kernels.fill(1 + 2**-11 + 2**-40, y, 3)
    assert y.tolist() == [1 + 2**-10] * 3


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_integers(dtype):
    x = np.arange(-70000, 70000).astype(dtype)
    assert same(converted(x, "float16"), x.astype(np.float16))
    assert (converted(HALVES, dtype) == converted(HALVES.astype(np.float32), dtype)).all()


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 15, 16, 17, 255, 256, 257, 1000])
def test_parts_of_registers_and_blocks(n):
    whole = np.full(n + 2, 9, np.float16)
    kernels.cast_to_float16(np.arange(n, dtype=np.float64), whole[1:-1], n)
    assert whole.tolist() == [9, *range(n), 9]


DIGEST = """
import numpy as np, hashlib
from pydl._core import kernels
halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
wide = np.empty(2**16, np.float32)
kernels.cast_to_float32(halves, wide, wide.size)
floats = np.arange(0, 2**32, 4093, dtype=np.uint64).astype(np.uint32).view(np.float32)
narrow = np.empty(floats.shape, np.float16)
kernels.cast_to_float16(floats, narrow, narrow.size)
print(hashlib.sha256(wide.tobytes() + narrow.tobytes()).hexdigest())
"""


def test_every_isa_level_gives_the_same_bits():
    found = {level: subprocess.run([sys.executable, "-c", DIGEST], env={**os.environ, "PYDL_ISA": level}, text=True,
                                   cwd=PYDL_FOLDER, capture_output=True, check=True).stdout
             for level in config.supported_isas()}
    assert len(set(found.values())) == 1, found


# ------------------------------------------------------------------------------------------ kernels


class SameValues(Call):
    """A call whose arrays of type T hold the same values for every T: halves between 0.1 and 0.9, or ones where a CHECK
    wants whole numbers."""

    def __init__(self, kernel, dtype):
        super().__init__(kernel, dtype)
        self.dtype = dtype

    def arguments(self, *given):
        values = super().arguments(*given)
        for (i, item), whole in self.whole.items():
            if self.types[i] == self.dtype and not self.kernel.is_check:
                n = self.need[i, item]
                draws = np.random.default_rng([i, item]).uniform(0.1, 0.9, n)
                whole[self.guard:self.guard + n] = draws.astype(np.float16)
        return values

    def written(self):
        return {place: whole[self.guard:self.guard + self.need[place]] for place, whole in self.whole.items()
                if "out" in self.kernel.params[place[0]][1]}


FLOAT_KERNELS = [kernel for kernel in KERNELS if "float16" in kernel.dtypes]


def test_every_kernel_of_floats_takes_float16():
    assert FLOAT_KERNELS == [kernel for kernel in KERNELS if "float32" in kernel.dtypes]


@pytest.mark.parametrize("kernel", FLOAT_KERNELS, ids=lambda kernel: kernel.name)
def test_a_kernel_in_float16_is_that_in_float32_rounded(kernel):
    wide, narrow = SameValues(kernel, "float32"), SameValues(kernel, "float16")
    wide.grow()
    narrow.grow()
    found = narrow.written()
    for (i, item), wanted in wide.written().items():
        if wide.types[i] != narrow.types[i]:
            wanted = wanted.astype(np.float16)
        np.testing.assert_array_equal(found[i, item], wanted, err_msg=kernel.params[i][0])


def random_halves(*shape):
    return np.random.default_rng(sum(shape)).normal(0, 2, shape).astype(np.float16)


def wide(op, *args, **kwargs):
    """What the op gives in float32, rounded."""
    args = [a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype == np.float16 else a for a in args]
    y = op(*args, **kwargs).numpy()
    return y.astype(np.float16) if y.dtype == np.float32 else y


SHAPES = [((1000,), (1000,)), ((40000,), ()), ((), (513,)), ((7, 300), (300,)), ((700, 3), (700, 1)),
          ((5, 1, 6), (4, 1)), ((0, 4), (4,)), ((3, 1, 700), (1, 5, 700)), ((1, 1), (1,)), ((2, 3, 1, 200), (3, 4, 1))]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_broadcasting_by_blocks(shapes):
    a, b = (random_halves(*shape) for shape in shapes)
    for op in (ops.add, ops.divide, ops.maximum, ops.arctan2, ops.greater, ops.logical_and):
        np.testing.assert_array_equal(op(a, b).numpy(), wide(op, a, b))
    condition = np.asarray(b > 0)
    found = ops.where(condition, a, b)
    assert found.dtype == "float16"
    np.testing.assert_array_equal(found.numpy(), np.where(condition, a, b))


@pytest.mark.parametrize("n", [0, 1, 511, 512, 513, 20000])
def test_functions_by_blocks(n):
    x = random_halves(n)
    for op in (ops.exp, ops.tanh, ops.gelu, ops.isnan, ops.logical_not, ops.sign):
        np.testing.assert_array_equal(op(x).numpy(), wide(op, x))
    np.testing.assert_array_equal(ops.clip(x, -0.3, 1).numpy(), wide(ops.clip, x, -0.3, 1))


@pytest.mark.parametrize(("shape", "axis"), [
    ((10000,), 0), ((300000,), 0), ((700, 10), 1), ((700, 10), 0), ((5, 33, 3), 1), ((3, 1000, 40), 1), ((9, 4097), 1),
    ((40, 2), 0), ((0, 3), 0), ((600, 300), 0)])
def test_reductions_sum_in_float32(shape, axis):
    x = random_halves(*shape)
    for op in (ops.sum, ops.mean, ops.prod) + ((ops.max, ops.min) if x.size else ()):
        np.testing.assert_array_equal(op(x, axis=axis).numpy(), wide(op, x, axis=axis))


def test_a_sum_that_halves_cannot_hold_on_the_way():
    assert ops.sum(np.ones(4000, np.float16)).numpy() == 4000  # summed in halves: 2048


PRODUCTS = [(1, 1, 1), (1, 40, 50), (60, 1, 50), (3, 5, 7), (230, 530, 400), (500, 20, 1), (17, 33, 0), (1, 3000, 600),
            (2000, 1, 300)]


@pytest.mark.parametrize("sizes", PRODUCTS, ids=str)
@pytest.mark.parametrize("transposed", list(itertools.product((0, 1), (0, 1))), ids=str)
def test_products_sum_in_float32(sizes, transposed):
    m, n, k = sizes
    ta, tb = transposed
    a, b, bias = random_halves(k, m) if ta else random_halves(m, k), random_halves(n, k) if tb else random_halves(
        k, n), random_halves(n)
    old = random_halves(m, n)
    results = []
    for dtype in (np.float32, np.float16):
        plain, ended, added = (np.empty((m, n), dtype) for _ in range(3))
        added[:] = old
        x, y, z = (v.astype(dtype) for v in (a, b, bias))
        kernels.matmul(x, y, None, plain, 1, m, n, k, ta, tb, 0, 0, 0)
        kernels.matmul(x, y, z, ended, 1, m, n, k, ta, tb, 0, 0, 2)
        kernels.matmul_accumulate(x, y, added, 1, m, n, k, ta, tb, 0, 0)
        results.append([plain, ended, added])
    for found, wanted in zip(results[1], results[0]):
        np.testing.assert_array_equal(found, wanted.astype(np.float16))


def test_batches_of_products():
    a, b = random_halves(6, 30, 20), random_halves(6, 20, 25)
    for x, y in ((a, b), (a, b[0]), (a[0], b)):
        np.testing.assert_array_equal(ops.matmul(x, y).numpy(), wide(ops.matmul, x, y))


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_any_number_of_threads_gives_the_same_bits(threads):
    before = config.threads()
    config.set_threads(threads)
    try:
        x, y = random_halves(400, 700), random_halves(700, 300)
        text = b"".join(v.numpy().tobytes() for v in (ops.exp(x), ops.matmul(x, y), ops.sum(x), ops.transpose(x)))
    finally:
        config.set_threads(before)
    assert hashlib.sha256(text).hexdigest() == digest_of_one_thread(x, y)


def digest_of_one_thread(x, y):
    before = config.threads()
    config.set_threads(1)
    try:
        text = b"".join(v.numpy().tobytes() for v in (ops.exp(x), ops.matmul(x, y), ops.sum(x), ops.transpose(x)))
    finally:
        config.set_threads(before)
    return hashlib.sha256(text).hexdigest()


def test_what_moves_keeps_every_bit():
    x = HALVES.reshape(256, 256)
    moves = {
        "transpose": (ops.transpose(x), x.T), "take": (ops.take(x, [3, -1, 0], axis=0), x[[3, -1, 0]]),
        "concatenate": (ops.concatenate([x, x], axis=1), np.concatenate([x, x], 1)),
        "flip": (ops.flip(x), x[::-1, ::-1]),
        "roll": (ops.roll(x, 3, axis=1), np.roll(x, 3, 1)), "stride": (ops.convert_to_tensor(x)[::2, ::3], x[::2, ::3]),
        "pad": (ops.pad(x, ((1, 1), (2, 2)), constant_values=0.1), np.pad(x, ((1, 1), (2, 2)), constant_values=0.1)),
        "reflect": (ops.pad(x, ((3, 3), (3, 3)), mode="reflect"), np.pad(x, 3, mode="reflect")),
        "repeat": (ops.repeat(x, 2, axis=0), np.repeat(x, 2, 0)), "split": (ops.split(x, 4, axis=1)[2], x[:, 128:192]),
        "along": (ops.take_along_axis(x, np.zeros((256, 1), "int32"), axis=1), x[:, :1]), "tril": (ops.tril(x), None),
    }
    for name, (found, wanted) in moves.items():
        assert found.dtype == "float16", name
        if wanted is not None:
            assert found.numpy().tobytes() == np.ascontiguousarray(wanted).tobytes(), name


# --------------------------------------------------------------------------- tensors, models, files


def test_dtypes_of_operations():
    half, single = ops.ones((2,), "float16"), ops.ones((2,), "float32")
    assert (half + half).dtype == (half * 2.5).dtype == (1 + half).dtype == "float16"
    assert (half + single).dtype == "float32" and (half + np.ones(2, "int64")).dtype == "float16"
    assert ops.mean(half).dtype == ops.exp(half).dtype == ops.matmul(half, half).dtype == "float16"
    assert ops.convert_to_tensor(np.ones(2, np.float16)).dtype == "float16"
    assert ops.cast(single, "float16").numpy().dtype == np.float16
    assert keras.Variable(np.ones(3), dtype="float16").numpy().itemsize == 2


def test_gradients_have_the_dtype_of_the_variable():
    w = keras.Variable(random_halves(20, 5), dtype="float16")
    x = random_halves(7, 20)
    with keras.GradientTape() as tape:
        loss = ops.mean(ops.square(ops.dense(x, w, activation="tanh")))
    (found,) = tape.gradient(loss, [w])
    assert found.dtype == loss.dtype == "float16"
    v = keras.Variable(w.numpy().astype(np.float32))
    with keras.GradientTape() as tape:
        loss = ops.mean(ops.square(ops.dense(x.astype(np.float32), v, activation="tanh")))
    (wanted,) = tape.gradient(loss, [v])
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), rtol=0.02, atol=2e-4)


def test_through_a_float32_part_of_a_graph():
    w = keras.Variable(random_halves(4), dtype="float16")
    with keras.GradientTape() as tape:
        loss = ops.sum(ops.square(ops.cast(w, "float32")))
    (found,) = tape.gradient(loss, [w])
    assert found.dtype == "float16"
    np.testing.assert_array_equal(found.numpy(), 2 * w.numpy())


def everything(x, table, ids):
    """A step of all kinds: by blocks, stored, moved, and kernels that only have a float32 body."""
    y = ops.softmax(ops.tanh(x) * 0.5 + ops.take(table, ids, axis=0), axis=-1)
    y = ops.concatenate([ops.sort(y, axis=-1), ops.cumsum(x, axis=0)], axis=-1)
    y = ops.matmul(y, ops.transpose(y)) + ops.mean(y, axis=-1, keepdims=True)
    return ops.log_softmax(y)


def test_replay_equals_eager():
    table = random_halves(9, 6)
    recorded = keras.function(everything)
    for seed in range(3):
        x = np.random.default_rng(seed).normal(0, 1, (8, 6)).astype(np.float16)
        ids = np.random.default_rng(seed).integers(0, 9, 8).astype("int32")
        found, wanted = recorded(x, table, ids), everything(*map(ops.convert_to_tensor, (x, table, ids)))
        assert found.dtype == "float16"
        assert found.numpy().tobytes() == wanted.numpy().tobytes()


def test_what_widens_is_part_of_the_program():
    program = _core.Program()
    x = random_halves(4, 5)
    y = np.empty_like(x)
    before = _core.open_recording(program)
    try:
        kernels.softmax(x, y, 4, 5, 1)
    finally:
        _core.open_recording(before)
    program.seal()
    assert [kernel for _, kernel, *_ in program.steps()] == ["cast_to_float32", "softmax", "cast_to_float16"]
    assert program.writes_outside
    first = y.copy()
    x[:] = x[::-1].copy()
    program.run()
    assert y.tobytes() == first[::-1].tobytes()


def test_an_array_longer_than_the_kernel_writes_keeps_its_rest():
    x, y = random_halves(2, 3), np.full(8, 7, np.float16)
    kernels.softmax(x, y, 2, 3, 1)
    assert y[6:].tolist() == [7, 7] and (y[:6] < 1).all()


def small_model(dtype=None):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,), dtype=dtype), keras.layers.Dense(8, "relu", dtype=dtype),
                             keras.layers.Dense(3, dtype=dtype)])


@pytest.mark.parametrize("ending", ["keras", "weights.h5", "safetensors"])
def test_files_keep_halves(tmp_path, ending):
    model, path = small_model("float16"), tmp_path / f"model.{ending}"
    x = random_halves(5, 6)
    if ending == "keras":
        model.save(path)
        other = keras.models.load_model(path)
    else:
        model.save_weights(path)
        other = small_model("float16")
        for v in other.weights:
            v.assign(ops.zeros(v.shape, v.dtype))
        other.load_weights(path)
    for a, b in zip(model.weights, other.weights):
        assert a.dtype == b.dtype == "float16" and a.numpy().tobytes() == b.numpy().tobytes()
    assert model(x).numpy().tobytes() == other(x).numpy().tobytes()


def test_files_of_halves_into_floats_and_back(tmp_path):
    model, path = small_model("float16"), tmp_path / "model.weights.h5"
    model.save_weights(path)
    single = small_model("float32")
    single.load_weights(path)
    for a, b in zip(model.weights, single.weights):
        assert b.dtype == "float32" and (a.numpy() == b.numpy()).all()


def test_npz(tmp_path):
    x = ops.convert_to_tensor(HALVES[:100])
    np.savez(tmp_path / "x.npz", x=x)
    assert np.load(tmp_path / "x.npz")["x"].dtype == np.float16


@pytest.fixture
def floatx16():
    config.set_floatx("float16")
    yield
    config.set_floatx("float32")


def test_floatx(floatx16):
    assert config.floatx() == "float16"
    assert ops.ones((2,)).dtype == ops.convert_to_tensor(0.5).dtype == keras.Variable([1.0]).dtype == "float16"
    assert keras.random.normal((3,)).dtype == keras.initializers.GlorotUniform(seed=0)((3, 3)).dtype == "float16"


def test_training_in_floatx(floatx16):
    keras.utils.set_random_seed(1)
    x = np.random.default_rng(0).normal(0, 1, (256, 6))
    y = (x @ np.arange(6) > 0).astype("int32")
    model = keras.Sequential([keras.layers.Dense(16, "tanh"), keras.layers.Dropout(0.1), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                  metrics=["accuracy"])
    history = model.fit(x, y, epochs=20, batch_size=32, verbose=0).history
    assert all(v.dtype == "float16" for v in model.weights)
    assert history["accuracy"][-1] > 0.9
    assert model.predict(x[:3], verbose=0).dtype == np.float16


def test_a_count_beyond_the_halves(floatx16):
    metric = keras.metrics.BinaryAccuracy()
    metric.update_state(np.ones((3000, 1)), np.ones((3000, 1)))
    for _ in range(100):  # 3000 + 1 is 3000 in float16
        metric.update_state(np.ones((1, 1)), np.zeros((1, 1)))
    assert abs(float(metric.result()) - 3000 / 3100) < 1e-6


def test_draws():
    draw = keras.random.uniform((100_000,), dtype="float16", seed=3)
    assert draw.dtype == "float16" and 0 <= draw.numpy().min() and draw.numpy().max() < 1
    wanted = keras.random.normal((1000,), dtype="float32", seed=3).numpy().astype(np.float16)
    assert (keras.random.normal((1000,), dtype="float16", seed=3).numpy() == wanted).all()


def test_the_policy_of_a_layer():
    layer = keras.layers.Dense(3, dtype="float16")
    y = layer(np.ones((2, 4), np.float32))
    assert y.dtype == layer.kernel.dtype == layer.compute_dtype == "float16"


@pytest.mark.parametrize("make", [
    lambda: keras.optimizers.Adam(0.01), lambda: keras.optimizers.SGD(0.01, momentum=0.9, clipnorm=1.0),
    lambda: keras.optimizers.Nadam(0.01), lambda: keras.optimizers.RMSprop(0.01, centered=True, use_ema=True),
    lambda: keras.optimizers.AdamW(0.01, global_clipnorm=1.0, gradient_accumulation_steps=2)], ids=range(5))
def test_an_optimizer_keeps_its_state_in_float32(make):
    start = random_halves(40)
    results = []
    for dtype in ("float16", "float32"):
        v, optimizer = keras.Variable(start, dtype=dtype), make()
        optimizer.build([v])
        assert {s.dtype for s in optimizer.variables} <= {"float32", "int64"}
        for step in range(4):
            optimizer.apply([ops.convert_to_tensor((start * 2**-12 * (step + 1)).astype(np.float16).astype(dtype))])
        results.append(v.numpy())
    assert results[0].dtype == np.float16
    # Four roundings of the variable; squares of these gradients are below what float16 holds.
    np.testing.assert_allclose(results[0], results[1], rtol=4 * 2**-11, atol=1e-4)
