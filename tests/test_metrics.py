"""Every row of cases/metrics.py, and what all metrics promise."""

import numpy as np
import pytest

import pydl
from cases.metrics import METRICS
from pydl import losses, metrics
from pydl.tensor import from_numpy

CUT = pytest.mark.filterwarnings("ignore:.*casting cuts off what stands behind the point")


def make(row):
    args = dict(row.args)
    if row.name == "MeanMetricWrapper":
        args["fn"] = losses.get(args["fn"])
    return getattr(metrics, row.name)(**args)


def wide(x):
    return x.astype("float64") if x.dtype.kind == "f" else x


def expected(row, batches):
    t, p = (np.concatenate([wide(b[i]) for b in batches]) for i in (0, 1))
    weight = np.concatenate([np.ones(len(b[0])) if b[2] is None else wide(b[2]) for b in batches])
    return row.reference(t, p, weight)


def read(metric):
    return np.array(metric.result().numpy())


@CUT
@pytest.mark.parametrize("row", METRICS, ids=str)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_values(row, weighted):
    metric = make(row)
    batches = [row.batch(seed, weighted) for seed in (1, 2, 3)]
    for t, p, w in batches:
        metric.update_state(t, p, sample_weight=w)
    got = read(metric)
    want = expected(row, batches)
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(got, want, rtol=row.rtol, atol=1e-6)

    metric.reset_state()
    assert all(not v.numpy().any() for v in metric.variables)
    metric.update_state(*batches[0][:2], sample_weight=batches[0][2])
    np.testing.assert_allclose(read(metric), expected(row, batches[:1]), rtol=row.rtol, atol=1e-6)


@CUT
@pytest.mark.parametrize("row", METRICS, ids=str)
def test_recorded_is_eager(row):
    """update_state and result inside a recorded step: replayed on new batches, bit for bit as run eagerly."""
    eager, recorded = make(row), make(row)

    def step(t, p, w):
        recorded.update_state(t, p, sample_weight=w)
        return recorded.result()

    run = pydl.function(step)
    for seed in (1, 2, 3, 4):
        t, p, w = (from_numpy(x) for x in row.batch(seed, True))
        eager.update_state(t, p, sample_weight=w)
        np.testing.assert_array_equal(run(t, p, w).numpy(), eager.result().numpy())
    assert len(run.captures) == 1


@CUT
@pytest.mark.parametrize("row", METRICS, ids=str)
def test_config_round_trip(row):
    first = make(row)
    plain = metrics.serialize(first)
    assert plain["module"] == "keras.metrics" and plain["class_name"] == row.name
    again = metrics.deserialize(plain)
    assert type(again) is type(first) and again.get_config() == first.get_config()
    t, p, w = row.batch(5, True)
    np.testing.assert_array_equal(again(t, p, sample_weight=w).numpy(), first(t, p, sample_weight=w).numpy())


def test_mean_and_sum():
    mean, total = metrics.Mean(), metrics.Sum()
    assert mean([1, 3, 5, 7]).numpy() == 4 and total([1, 3, 5, 7]).numpy() == 16
    mean.reset_state(), total.reset_state()
    assert mean([1, 3, 5, 7], sample_weight=[1, 1, 0, 0]).numpy() == 2
    assert total([1, 3, 5, 7], sample_weight=[1, 1, 0, 0]).numpy() == 4
    assert metrics.Mean()(3.0).numpy() == 3 and metrics.Mean().result().numpy() == 0
    # A sample counts once, however many values it has.
    mean.reset_state()
    mean.update_state(np.array([[1.0, 3.0], [2.0, 2.0]]))
    mean.update_state(np.array([5.0]))
    assert mean.result().numpy() == 3 and mean.count.numpy() == 3
    assert [v.path for v in mean.variables] == [f"{mean.name}/total", f"{mean.name}/count"]


def test_mean_of_sequences_with_weights():
    values = np.arange(12.0).reshape(3, 4)
    for weight in (np.array([1.0, 0.0, 2.0]), np.array([[1.0], [0.0], [2.0]]), np.random.default_rng(0).random((3, 4))):
        metric = metrics.Mean()
        metric.update_state(values, sample_weight=weight)
        full = np.broadcast_to(weight.reshape(3, -1), (3, 4))
        np.testing.assert_allclose(read(metric), np.sum(values * full) / np.sum(full), rtol=1e-6)


def test_masked_metric_agrees_with_masked_loss():
    t, p = np.zeros((2, 3, 2), "float32"), np.arange(12.0, dtype="float32").reshape(2, 3, 2)
    mask = np.array([[True, True, False], [True, False, False]])

    def masked():
        tensor = from_numpy(p)
        tensor._keras_mask = from_numpy(mask)
        return tensor

    want = losses.MeanSquaredError()(t, masked()).numpy()
    for metric in (metrics.MeanSquaredError(), metrics.MeanMetricWrapper(losses.mean_squared_error)):
        metric.update_state(t, masked())
        np.testing.assert_allclose(read(metric), want, rtol=1e-6)


def test_ignored_class_of_the_sparse_crossentropy():
    """Keras's rule: weights of ignored samples are taken away; without weights the samples count, with 0."""
    t, p = np.array([0, 1, 2]), np.array([[0.8, 0.1, 0.1], [0.05, 0.95, 0], [0.1, 0.8, 0.1]], "float32")
    b, c = -np.log(0.95), -np.log(0.1)
    metric = metrics.SparseCategoricalCrossentropy(ignore_class=0)
    np.testing.assert_allclose(metric(t, p).numpy(), (b + c) / 3, rtol=1e-5)
    metric.reset_state()
    np.testing.assert_allclose(metric(t, p, np.array([0.5, 1.5, 2.0])).numpy(), (1.5 * b + 2 * c) / 3.5, rtol=1e-5)


def test_a_variable_of_a_metric_begins_with_an_array():
    start = np.arange(9).reshape(3, 3) + 18_729_664  # more than float32 counts
    metric = metrics.MeanIoU(3)
    metric.total_cm = metric.add_variable((3, 3), pydl.ops.convert_to_tensor(start), dtype="int", name="matrix")
    metric.update_state(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2]))
    np.testing.assert_array_equal(metric.total_cm.numpy(), start + [[1, 0, 0], [0, 1, 0], [0, 1, 1]])


def test_weights_that_an_integer_matrix_cuts_are_told():
    with pytest.warns(UserWarning, match="casting cuts off what stands behind the point"):
        metrics.MeanIoU(2).update_state([0, 1], [0, 1], sample_weight=[0.5, 1.0])
    metrics.MeanIoU(2, dtype="float32").update_state([0, 1], [0, 1], sample_weight=[0.5, 1.0])
    metrics.MeanIoU(2).update_state([0, 1], [0, 1], sample_weight=[2, 1])


def test_edges_of_the_auc():
    assert metrics.AUC()([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]).numpy() == pytest.approx(0.75)
    assert metrics.AUC()([0, 1], [0.0, 1.0]).numpy() == pytest.approx(1.0)
    assert metrics.AUC()([1, 0], [0.0, 1.0]).numpy() == pytest.approx(0.0)
    assert metrics.AUC()([1, 1], [0.3, 0.6]).numpy() == 0
    assert metrics.AUC()([0, 1], [-5.0, 7.0]).numpy() == pytest.approx(1.0)  # beyond [0, 1] counts as its end
    with pytest.raises(ValueError, match='Invalid AUC curve value: "x"'):
        metrics.AUC(curve="x")
    with pytest.raises(ValueError, match="`num_thresholds` must be an integer > 1"):
        metrics.AUC(num_thresholds=1)
    with pytest.raises(ValueError, match="only when `multi_label` is True"):
        metrics.AUC(num_labels=3)
    with pytest.raises(ValueError, match="must have rank 2"):
        metrics.AUC(multi_label=True)([1, 0], [0.3, 0.4])


def test_errors():
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]. Received: \[1.5\]"):
        metrics.Precision(thresholds=[0.5, 1.5])
    with pytest.raises(ValueError, match="one shape"):
        metrics.Precision()(np.ones((3, 2)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="`recall` must be in the range"):
        metrics.PrecisionAtRecall(1.5)
    with pytest.raises(ValueError, match="should be a Python float"):
        metrics.FBetaScore(beta=1)
    with pytest.raises(ValueError, match="expects 2D inputs"):
        metrics.F1Score()(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="Invalid value for argument `class_aggregation`"):
        metrics.R2Score(class_aggregation="mean")
    with pytest.raises(ValueError, match="out of range"):
        metrics.IoU(2, [2])


def test_custom_metric():
    class Hits(metrics.Metric):
        def __init__(self, name="hits", **kwargs):
            super().__init__(name=name, **kwargs)
            self.hits = self.add_weight(name="hits", initializer="zeros")
            self.inner = metrics.Mean(name="inner")

        def update_state(self, y_true, y_pred, sample_weight=None):
            self.hits.assign_add(pydl.ops.sum(pydl.ops.cast(pydl.ops.equal(y_true, y_pred), self.dtype)))
            self.inner.update_state(y_pred)

        def result(self):
            return {"hits": self.hits, "mean": self.inner.result()}

    metric = Hits()
    result = metric(np.array([1.0, 2.0]), np.array([1.0, 3.0]))
    assert (result["hits"].numpy(), result["mean"].numpy()) == (1, 2)
    assert [v.path for v in metric.variables] == ["hits/hits", "inner/total", "inner/count"]
    metric.reset_state()
    assert metric.hits.numpy() == 0 and metric.inner.count.numpy() == 0

    class Forgetful(metrics.Metric):
        def __init__(self):
            self.total = self.add_weight()

    with pytest.raises(RuntimeError, match="did not call super"):
        Forgetful()


def test_get():
    assert metrics.get(None) is None
    assert isinstance(metrics.get("mse"), metrics.MeanSquaredError)
    assert isinstance(metrics.get("sparse_categorical_accuracy"), metrics.SparseCategoricalAccuracy)
    assert isinstance(metrics.get("AUC"), metrics.AUC) and isinstance(metrics.get("auc"), metrics.AUC)
    assert isinstance(metrics.get(metrics.Recall), metrics.Recall)
    assert metrics.get(metrics.binary_accuracy) is metrics.binary_accuracy
    assert metrics.mean_squared_error is losses.mean_squared_error
    with pytest.raises(ValueError, match="Could not interpret metric identifier: acuracy. Did you mean 'accuracy'"):
        metrics.get("acuracy")


def test_directions():
    assert metrics.AUC()._direction == metrics.Recall()._direction == metrics.BinaryAccuracy()._direction == "up"
    assert metrics.MeanSquaredError()._direction == metrics.Hinge()._direction == "down"
    assert metrics.MeanMetricWrapper(losses.huber)._direction == "down"
    assert metrics.MeanMetricWrapper(lambda t, p: p)._direction is metrics.Mean()._direction is None
    assert metrics.TruePositives()._direction == "up" and metrics.FalseNegatives()._direction == "down"
