"""Numbers at the edges, as docs/numerics.md promises them: values that are large, small or zero, long sums, counts."""

import math

import numpy as np
import pytest

import pydl as keras
from pydl import ops


def gradient(f, *values, dtype="float32"):
    variables = [keras.Variable(np.array(v, dtype), dtype=dtype) for v in values]
    with keras.GradientTape() as tape:
        y = f(*variables)
    return [np.asarray(g) for g in tape.gradient(y, variables)]


# ------------------------------------------------------------------------------------------ metrics


@pytest.mark.parametrize("metric, update, read", [
    (keras.metrics.Mean(), lambda m: m.update_state([1.0]), lambda m: (m.count, m.total)),
    (keras.metrics.Sum(), lambda m: m.update_state([1.0]), lambda m: (m.total,)),
    (keras.metrics.MeanSquaredError(), lambda m: m.update_state([[1.0]], [[0.0]]), lambda m: (m.count, m.total)),
    (keras.metrics.BinaryAccuracy(), lambda m: m.update_state([[1.0]], [[1.0]]), lambda m: (m.count, m.total)),
    (keras.metrics.TruePositives(), lambda m: m.update_state([1.0], [1.0]), lambda m: (m.accumulator,)),
    (keras.metrics.Precision(), lambda m: m.update_state([1.0], [1.0]), lambda m: (m.true_positives,)),
    (keras.metrics.AUC(num_thresholds=3), lambda m: m.update_state([1.0], [0.6]), lambda m: (m.true_positives,)),
    (keras.metrics.F1Score(average="micro"), lambda m: m.update_state([[1.0, 0.0]], [[0.9, 0.1]]),
     lambda m: (m.true_positives,)),
    (keras.metrics.MeanIoU(2), lambda m: m.update_state([1], [1]), lambda m: (m.total_cm,)),
    (keras.metrics.R2Score(), lambda m: m.update_state([[1.0]], [[1.0]]), lambda m: (m.count, m.num_samples)),
], ids=lambda x: x.name if isinstance(x, keras.metrics.Metric) else "")
def test_metrics_count_past_2_to_the_24(metric, update, read):
    update(metric)  # some make their state with the first batch
    for variable in read(metric):
        variable.assign(np.full(variable.shape, 2.0**24))
    before = [v.numpy().max() for v in read(metric)]
    for _ in range(3):
        update(metric)
    assert [v.numpy().max() for v in read(metric)] == [b + 3 for b in before]
    assert np.asarray(metric.result()).dtype == "float32"


def test_a_long_mean_keeps_its_digits():
    metric = keras.metrics.Mean()
    for _ in range(400):
        metric.update_state(np.full(50_000, 0.1, "float32"))
    assert abs(float(metric.result()) - 0.1) < 1e-7


def test_a_long_sum_keeps_its_digits():
    metric, values = keras.metrics.Sum(), np.full(1_000_000, 0.1, "float32")
    metric.update_state(values)
    metric.update_state(values, sample_weight=np.full(values.shape, 2.0, "float32"))
    assert float(metric.result()) == np.float32(3 * values.astype("float64").sum())


def r2(y, p, **settings):
    metric = keras.metrics.R2Score(**settings)
    for part in np.array_split(np.arange(len(y)), 3):
        metric.update_state(y[part], p[part])
    return metric.result().numpy()


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_r2_score_of_targets_far_from_zero(offset):
    rng = np.random.default_rng(0)
    y = (offset + rng.integers(0, 9, (40, 2))).astype("float32")
    p = (y + rng.integers(-1, 2, y.shape)).astype("float32")
    y64, p64 = y.astype("float64"), p.astype("float64")
    want = 1 - ((y64 - p64) ** 2).sum(0) / ((y64 - y64.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(r2(y, p, class_aggregation=None), want, rtol=1e-6)


def test_r2_score_of_targets_that_do_not_vary():
    y = np.full((9, 2), 0.1, "float32")
    p = y.copy()
    p[3, 1] += 1
    np.testing.assert_array_equal(r2(y, p, class_aggregation=None), [1, 0])
    np.testing.assert_array_equal(r2(y, p, class_aggregation="variance_weighted_average"), 0.5)


def test_r2_score_before_the_first_sample():
    metric = keras.metrics.R2Score()
    assert float(metric.result()) == 0
    metric.update_state(np.ones((2, 1)), np.ones((2, 1)))
    metric.reset_state()
    assert float(metric.result()) == 0


# ------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("loss, target, cost", [
    (keras.losses.CategoricalCrossentropy(), np.eye(3)[:2], 1),
    (keras.losses.SparseCategoricalCrossentropy(), np.array([0, 1]), 1),
    (keras.losses.CategoricalFocalCrossentropy(), np.eye(3)[:2], 0.25),
], ids=lambda x: getattr(x, "name", ""))
def test_a_row_without_probability_costs_what_an_impossible_class_costs(loss, target, cost):
    zeros = np.zeros((2, 3), "float32")
    assert float(loss(target, zeros)) == pytest.approx(-math.log(keras.config.epsilon()) * cost, rel=1e-5)
    (slope,) = gradient(lambda p: loss(target, p), zeros)
    np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("p", [0.0, 1e-30, 1e-3])
def test_generalized_cross_entropy_near_zero(p):
    loss = keras.losses.CategoricalGeneralizedCrossEntropy(q=0.5)
    row = np.array([[p, 1 - p]], "float32")
    assert float(loss(np.array([0]), row)) == pytest.approx((1 - p**0.5) / 0.5)
    (slope,) = gradient(lambda x: loss(np.array([0]), x), row)
    np.testing.assert_allclose(slope, [[-(p**-0.5) if p > keras.config.epsilon() else 0, 0]], rtol=1e-5)


# ------------------------------------------------------------------------------------------ lengths

SIDES = np.array([3.0, 4.0], "float32")


@pytest.mark.parametrize("size", [1e30, 1.0, 1e-30])
@pytest.mark.parametrize("f, want", [
    (lambda x: ops.hypot(x[:1], x[1:]), lambda size: [5 * size]),
    (lambda x: ops.norm(x), lambda size: 5 * size),
    (lambda x: ops.norm(x, 3), lambda size: 91 ** (1 / 3) * size),
    (lambda x: ops.norm(ops.reshape(x, (1, 2)), "fro"), lambda size: 5 * size),
    (lambda x: ops.normalize(x, epsilon=1e-35), lambda size: [0.6, 0.8]),
    (lambda x: ops.normalize(x, order=3, epsilon=1e-35), lambda size: SIDES / 91 ** (1 / 3)),
    (lambda x: keras.utils.normalize(x.numpy(), axis=0), lambda size: [0.6, 0.8]),
], ids=["hypot", "norm", "3-norm", "fro", "normalize", "normalize 3", "utils"])
def test_lengths_of_large_and_small_values(f, want, size):
    np.testing.assert_allclose(np.asarray(f(ops.convert_to_tensor(SIDES * np.float32(size)))), want(size), rtol=1e-6)


@pytest.mark.parametrize("f", [ops.norm, lambda x: ops.norm(x, 3), lambda x: ops.sum(ops.hypot(x[:1], x[1:]))])
def test_gradients_of_lengths_of_large_values(f):
    (small,), (large,) = gradient(f, SIDES), gradient(f, SIDES * np.float32(1e30))
    np.testing.assert_allclose(large, small, rtol=1e-6)


def test_what_divides_by_a_length_takes_large_values():
    x = (SIDES * np.float32(1e30))[:, None]
    for scale in (keras.constraints.UnitNorm(), keras.constraints.MaxNorm(1), keras.constraints.MinMaxNorm(1, 1)):
        np.testing.assert_allclose(np.asarray(scale(ops.convert_to_tensor(x))).ravel(), [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(keras.layers.UnitNormalization(axis=0)(x).numpy().ravel(), [0.6, 0.8], rtol=1e-6)
    regularizer = keras.regularizers.OrthogonalRegularizer(1.0)
    assert float(regularizer(ops.convert_to_tensor(np.array([[3e30, 4e30], [3e30, 4e30]], "float32")))) \
        == pytest.approx(1)


@pytest.mark.parametrize("how", ["clipnorm", "global_clipnorm"])
@pytest.mark.parametrize("size", [1e30, 1.0, 1e-25])
def test_clipping_of_gradients_by_norm(how, size):
    limit = min(1.0, size)
    optimizer = keras.optimizers.SGD(1.0, **{how: limit})
    w = keras.Variable(np.zeros(40, "float32"))
    g = np.zeros(40, "float32")
    g[[1, 38]] = SIDES * np.float32(size)
    optimizer.apply([ops.convert_to_tensor(g)], [w])
    np.testing.assert_allclose(-w.numpy()[[1, 38]], np.array([0.6, 0.8]) * limit, rtol=1e-6)




def test_hypot_of_infinity_as_numpy():
    x, y = np.array([np.inf, -np.inf, np.nan, np.nan], "float32"), np.array([np.nan, 1, np.inf, 1], "float32")
    np.testing.assert_array_equal(ops.hypot(x, y), np.hypot(x, y))


# -------------------------------------------------------------------------------------- activations


@pytest.mark.parametrize("dtype, bound", [("float32", 2e-6), ("float64", 1e-13)])
def test_the_tail_of_gelu_keeps_its_digits(dtype, bound):
    x = -np.concatenate([np.linspace(0.01, 12.5, 3001), 2.0 ** -np.arange(1, 20)]).astype(dtype)
    exact = np.array([(v * 0.5 * math.erfc(-v / math.sqrt(2)),
                       0.5 * math.erfc(-v / math.sqrt(2)) + v * math.exp(-v * v / 2) / math.sqrt(2 * math.pi))
                      for v in x.astype("float64")])
    np.testing.assert_allclose(ops.gelu(x, approximate=False), exact[:, 0], rtol=bound)
    (slope,) = gradient(lambda v: ops.sum(ops.gelu(v, approximate=False)), x, dtype=dtype)
    # Around -0.75 the slope passes 0.
    np.testing.assert_allclose(slope, exact[:, 1], rtol=10 * bound, atol=bound / 10)


@pytest.mark.parametrize("name", ["gelu", "mish", "silu", "softplus", "squareplus", "log_sigmoid", "celu", "elu",
                                  "selu", "hard_silu", "softsign", "tanh", "sigmoid", "tanh_shrink"])
@pytest.mark.parametrize("x", [1e19, -1e19, 3e38, -3e38])
def test_activations_and_slopes_stay_finite(name, x):
    f = getattr(ops, name)
    assert np.isfinite(f(np.array([x], "float32"))).all()
    (slope,) = gradient(lambda v: ops.sum(f(v)), [x])
    assert np.isfinite(slope).all()


def test_squareplus_below_zero_keeps_its_digits():
    x = -np.logspace(-3, 9, 50)
    exact = 2 / (np.sqrt(x * x + 4) - x)
    np.testing.assert_allclose(ops.squareplus(x.astype("float32")), exact, rtol=1e-6)


# --------------------------------------------------------------------------------- sums and gradients


@pytest.mark.parametrize("shape, axis", [((10_000_000,), 0), ((10_000_000,), None), ((5_000_000, 2), 0)])
def test_long_sums_keep_their_digits(shape, axis):
    x = np.full(shape, 0.1, "float32")
    want = x.astype("float64").sum(axis)
    np.testing.assert_allclose(ops.sum(x, axis), want, rtol=3e-6)
    np.testing.assert_allclose(ops.mean(x, axis), 0.1, rtol=3e-6)


@pytest.mark.parametrize("f, at, want", [
    (lambda x: ops.power(x, 2.0), 0.0, 0.0), (lambda x: ops.power(x, 1.0), 0.0, 1.0),
    (lambda x: ops.power(x, 0.0), 0.0, 0.0), (lambda x: ops.power(x, 0.5), 0.0, math.inf),
    (lambda x: ops.power(0.0, x), 2.0, 0.0), (ops.sqrt, 0.0, math.inf), (ops.rsqrt, 0.0, -math.inf),
    (ops.log, 0.0, math.inf), (ops.abs, 0.0, 0.0), (ops.relu, 0.0, 0.0), (ops.arccos, 1.0, -math.inf),
    (lambda x: ops.where(ops.greater(x, 0), ops.log(x), 0.0), 0.0, math.nan),
    (lambda x: ops.where(ops.greater(x, 0), ops.log(ops.where(ops.greater(x, 0), x, 1.0)), 0.0), 0.0, 0.0),
], ids=["x^2", "x^1", "x^0", "x^0.5", "0^x", "sqrt", "rsqrt", "log", "abs", "relu", "arccos", "where(log)",
        "where(log(where))"])
def test_gradients_at_the_edge(f, at, want):
    (slope,) = gradient(lambda x: ops.sum(f(x)), [at])
    np.testing.assert_array_equal(slope, [want])


@pytest.mark.parametrize("f, at, want", [
    (ops.norm, [0.0, 0.0], [0, 0]), (lambda x: ops.norm(x, 3), [0.0, 0.0], [0, 0]), (ops.std, [2.0, 2.0], [0, 0]),
    (lambda x: ops.sum(ops.hypot(x[:1], x[1:])), [0.0, 0.0], [0, 0]), (ops.prod, [0.0, 2.0], [2, 0]),
    (ops.max, [1.0, 1.0], [0.5, 0.5])], ids=["norm", "3-norm", "std", "hypot", "prod", "max"])
def test_gradients_of_reductions_at_the_edge(f, at, want):
    (slope,) = gradient(f, at)
    np.testing.assert_array_equal(slope, want)


def correlation(y, p, concordance):
    """In float64, by NumPy; 0 where a row does not vary."""
    a, b = y - y.mean(1, keepdims=True), p - p.mean(1, keepdims=True)
    if concordance:
        spread = ((a**2 + b**2).mean(1) + (y.mean(1) - p.mean(1)) ** 2) / 2
    else:
        spread = np.sqrt((a**2).mean(1) * (b**2).mean(1))
    return np.divide((a * b).mean(1), spread, out=np.zeros(len(y)), where=spread > 0).mean()


@pytest.mark.parametrize("offset, scale", [(0.0, 1.0), (1e6, 1.0), (-1e5, 0.1), (0.0, 1e-18), (0.0, 1e18), (0.1, 0.0)])
@pytest.mark.parametrize("metric", ["PearsonCorrelation", "ConcordanceCorrelation"])
def test_correlations_far_from_zero_and_of_what_does_not_vary(metric, offset, scale):
    rng = np.random.default_rng(0)
    y = rng.normal(size=(40, 12))
    p = y + 0.5 * rng.normal(size=y.shape)
    y, p = ((scale * x + offset).astype("float32") for x in (y, p))
    y[0] = y[0, 0]  # constant
    found = getattr(keras.metrics, metric)()
    for rows in (slice(0, 7), slice(7, 40)):
        found.update_state(y[rows], p[rows])
    want = correlation(y.astype("float64"), p.astype("float64"), metric.startswith("C"))
    assert abs(float(found.result()) - want) < 1e-6


# ------------------------------------------------------------------- NaN, infinities, the sign of zero, as NumPy

inf, nan = math.inf, math.nan
ROWS = [[1, nan, 3], [inf, 1, -inf], [inf, inf], [-inf, -inf, -inf], [nan, nan], [-0.0, 0.0], [0.0, -0.0], [nan, inf],
        [1, 2, inf, inf], [-inf, -inf, 0, 1], [5], [nan], [inf], [3, nan, 1, -inf, inf, -0.0, 0.0]]
OF_ROWS = {name: getattr(np, name) for name in (
    "sum mean prod max min argmax argmin any all count_nonzero var std median ptp cumsum cumprod diff sort average"
    " isnan isinf isfinite sign floor ceil round trunc sqrt exp exp2 expm1 log log1p log2 log10 sin cos tan arcsin"
    " arccos arctan"
    " sinh cosh tanh arcsinh arccosh arctanh abs negative square reciprocal nan_to_num logical_not fabs").split()}
OF_ROWS["argsort"] = lambda x: np.argsort(x, kind="stable")
OF_ROWS["norm"] = np.linalg.norm
OF_ROWS["logsumexp"] = np.logaddexp.reduce
OF_PAIRS = ("add subtract multiply divide floor_divide mod power maximum minimum fmax fmin arctan2 logaddexp hypot"
            " equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor isclose").split()
LOSES_THE_SIGN = {"sign", "cumsum"}  # sign(-0.0) is -0.0, and a cumulative sum begins with 0.0


def same(got, want, signs=True):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-12)
    if signs and np.asarray(want).dtype.kind == "f":
        known = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(want)[known])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OF_ROWS)
def test_rows_with_nan_and_infinities_as_numpy(name, dtype):
    for row in ROWS:
        x = np.array(row, dtype)
        axis = {"axis": 0} if name in ("cumsum", "cumprod", "sort", "argsort") else {}
        same(np.asarray(getattr(ops, name)(x, **axis)), np.asarray(OF_ROWS[name](x)), name not in LOSES_THE_SIGN)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OF_PAIRS)
def test_pairs_with_nan_and_infinities_as_numpy(name, dtype):
    edges = np.array([nan, inf, -inf, 0.0, -0.0, 1, -1, 2.5, -2.5, 3, -3], dtype)
    a, b = (side.ravel() for side in np.meshgrid(edges, edges))
    same(np.asarray(getattr(ops, name)(a, b)), getattr(np, name)(a, b))


@pytest.mark.parametrize("method", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles_beside_nan(method):
    """NaN where there is one, in its row only; the gradient of the others is what it was."""
    x = np.array([[3.0, 1.0, 2.0], [3.0, nan, 2.0], [nan, nan, nan]])
    for q in (0.0, 0.3, 0.5, 1.0):
        np.testing.assert_array_equal(ops.quantile(x, q, axis=1, method=method), np.quantile(x, q, 1, method=method))
    np.testing.assert_array_equal(ops.median(x, axis=0), np.median(x, axis=0))
    (slope,) = gradient(lambda v: ops.sum(ops.where([True, False, False], ops.median(v, axis=1), 0.0)), x)
    np.testing.assert_array_equal(slope, [[0, 0, 1], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("row, q, want", [
    ([-inf, 0.0], 0.25, -inf), ([0.0, inf], 0.75, inf), ([inf, inf, inf], 0.3, inf), ([-inf, inf], 0.5, nan),
    ([-inf, 1.0, inf], 0.0, -inf), ([-inf, 1.0, inf], 1.0, inf), ([-inf, 1.0, inf], 0.5, 1.0)])
def test_quantiles_of_infinities(row, q, want):
    """Where NumPy's interpolation gives NaN for some: the infinity that is there, or that lies on one side."""
    np.testing.assert_array_equal(ops.quantile(np.array(row), q), want)


@pytest.mark.parametrize("x1, x2, shares", [(0.0, 0.0, (0.5, 0.5)), (inf, inf, (0.5, 0.5)), (-inf, -inf, (0.5, 0.5)),
                                            (inf, 0.0, (1, 0)), (-inf, 3.0, (0, 1)), (0.0, -1000.0, (1, 0))])
def test_slopes_of_logaddexp(x1, x2, shares):
    assert gradient(ops.logaddexp, x1, x2) == [np.float32(share) for share in shares]


def test_second_derivative_of_logaddexp_where_both_are_equal():
    first = keras.grad(lambda v: ops.logaddexp(v, 0.0))
    assert float(keras.grad(lambda v: first(v))(np.float32(0))) == 0.25  # of the sigmoid


def test_norms_of_nothing():
    for order in (None, 1, 2, 3, math.inf):
        assert float(ops.norm(np.zeros(0), order)) == np.linalg.norm(np.zeros(0), order) == 0
