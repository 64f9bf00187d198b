"""Rows of the metrics: arguments, batches, and what NumPy says about all batches together, in float64.

test_metrics.py checks every row eagerly, recorded, weighted and through its config; tests/reference checks it against
Keras. The kernels of ops/_metric.py are `CASES` of the harness.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cases import losses as ref
from harness import Case, integers, normal, uniform
from pydl import ops
from pydl.ops._metric import accumulate_mean, confusion_counts
from pydl.tensor import Variable


@dataclass(frozen=True)
class MetricRow:
    """A metric class.

    Args:
        name: class of `pydl.metrics`; the coverage test reads it.
        inputs: draws of (y_true, y_pred) for one batch.
        reference: `f(y_true, y_pred, weight)` of everything seen; weight is (n,) and never None.
        args: of the constructor.
        weighted: whether the metric takes sample weights.
        rtol: float32 error allowed.
    """

    name: str
    inputs: tuple
    reference: object
    args: dict = field(default_factory=dict)
    weighted: bool = True
    rtol: float = 2e-5

    def __str__(self):
        shown = (f"{k}={v}" for k, v in self.args.items() if not callable(v))
        return f"{self.name}({', '.join(shown)})"

    def batch(self, seed: int, weighted: bool = False):
        """(y_true, y_pred, weight or None) as float32 / int32 arrays."""
        rng = np.random.default_rng(seed)
        drawn = [np.asarray(draw(rng)) for draw in self.inputs]
        drawn = [x.astype("float32") if x.dtype.kind == "f" else x for x in drawn]
        weight = rng.integers(0, 4, len(drawn[0])).astype("float32") if weighted else None
        return (*drawn, weight)


def mean_of(per_sample):
    """The weighted mean of a per-sample function."""

    def reference(t, p, w):
        v = per_sample(t, p)
        v = v.reshape(len(v), -1).mean(1)
        return np.sum(v * w) / np.sum(w)

    return reference


def rates(thresholds, t, p, w):
    """tp, fp, tn, fn at each threshold, (thresholds,) each; the columns of a sample share its weight."""
    t, p = t.reshape(len(w), -1), p.reshape(len(w), -1)
    w = np.broadcast_to(w[:, None], t.shape)
    levels = np.asarray(thresholds, "float32").astype("float64")[:, None, None]
    said, true = p > levels, t != 0
    return [np.sum(w * both, axis=(1, 2)) for both in (said & true, said & ~true, ~said & ~true, ~said & true)]


def count(which, thresholds):
    def reference(t, p, w):
        return np.squeeze(rates(thresholds, t, p, w)[which])

    return reference


def divide(a, b):
    return np.where(b == 0, 0.0, a / np.where(b == 0, 1.0, b))


def precision(thresholds):
    return lambda t, p, w: np.squeeze(divide((r := rates(thresholds, t, p, w))[0], r[0] + r[1]))


def recall(thresholds):
    return lambda t, p, w: np.squeeze(divide((r := rates(thresholds, t, p, w))[0], r[0] + r[3]))


def top_k_only(k, reference):
    """Columns that are not among the k largest of their row can never be predicted."""

    def of(t, p, w):
        rank = np.argsort(np.argsort(-p, axis=-1, kind="stable"), axis=-1)
        return reference(t, np.where(rank < k, p, -np.inf), w)

    return of


def best_at(wanted, given, least):
    """The best `wanted` rate where the `given` one is at least `least`, over 200 thresholds."""

    def reference(t, p, w):
        tp, fp, tn, fn = rates(np.arange(200) / 199, t, p, w)
        rate = {"sensitivity": divide(tp, tp + fn), "specificity": divide(tn, tn + fp),
                "precision": divide(tp, tp + fp)}
        return np.max(np.where(rate[given] >= least, rate[wanted], 0))

    return reference


def auc(curve="ROC", summation="interpolation", thresholds=None, squash=False):
    """Riemann sums over the curve, and the interpolation of Davis and Goadrich for PR."""
    inner = np.arange(1, 199) / 199 if thresholds is None else np.asarray(thresholds)
    levels = np.concatenate([[-1e-7], inner, [1 + 1e-7]])

    def reference(t, p, w):
        if squash:
            p = 1 / (1 + np.exp(-p))
        tp, fp, tn, fn = rates(levels, t, p, w)
        if curve == "PR" and summation == "interpolation":
            total = 0.0
            for i in range(len(levels) - 1):
                gain, step = tp[i] - tp[i + 1], (tp[i] + fp[i]) - (tp[i + 1] + fp[i + 1])
                if step > 0:
                    slope = gain / step
                    left, right = tp[i] + fp[i], tp[i + 1] + fp[i + 1]
                    log = np.log(left / right) if left > 0 and right > 0 else 0.0
                    total += slope * (gain + (tp[i + 1] - slope * right) * log) / (tp[i + 1] + fn[i + 1])
            return total
        y = divide(tp, tp + fn) if curve == "ROC" else divide(tp, tp + fp)
        x = divide(fp, fp + tn) if curve == "ROC" else divide(tp, tp + fn)
        height = {"interpolation": (y[:-1] + y[1:]) / 2, "majoring": np.maximum(y[:-1], y[1:]),
                  "minoring": np.minimum(y[:-1], y[1:])}[summation]
        return np.sum((x[:-1] - x[1:]) * height)

    return reference


def auc_by_label(weights):
    def reference(t, p, w):
        each = [auc()(t[:, i], p[:, i], w) for i in range(t.shape[1])]
        return np.average(each, weights=weights)

    return reference


def f_score(beta=1.0, average=None, threshold=None):
    def reference(t, p, w):
        said = (p > threshold) if threshold is not None else (p == p.max(-1, keepdims=True))
        axis = None if average == "micro" else 0
        w = w[:, None]
        tp, fp, fn = ((w * x).sum(axis) for x in (said * t, said * (1 - t), (1 - said) * t))
        score = (1 + beta**2) * divide(tp, (1 + beta**2) * tp + beta**2 * fn + fp)
        if average == "weighted":
            return np.average(score, weights=(w * t).sum(0))
        return score if average is None else score.mean()

    return reference


def r2(aggregation="uniform_average", regressors=0):
    def reference(t, p, w):
        mean = np.average(t, axis=0, weights=w)
        # Keras's sums: weighted squares about the weighted mean.
        total = np.sum(w[:, None] * (t - mean) ** 2, 0)
        score = 1 - np.sum(w[:, None] * (t - p) ** 2, 0) / total
        if aggregation == "uniform_average":
            score = score.mean()
        elif aggregation == "variance_weighted_average":
            score = np.sum(score * total) / np.sum(total)
        n = t.size
        return 1 - (1 - score) * (n - 1) / (n - regressors - 1) if regressors else score

    return reference


def iou(classes, wanted, ignore=None):
    def reference(t, p, w):
        t, p = t.reshape(-1), p.reshape(-1)
        scores = []
        for c in wanted:
            keep = (t != ignore) & (t >= 0) & (t < classes)
            both = np.sum(w * keep * (t == c) * (p == c))
            either = np.sum(w * keep * ((t == c) | (p == c)))
            if either:
                scores.append(both / either)
        return np.mean(scores)

    return reference


def pearson(t, p):
    return np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(t, p)])


def concordance(t, p):
    return 2 * np.mean((t - t.mean(-1, keepdims=True)) * (p - p.mean(-1, keepdims=True)), -1) / (
        t.var(-1) + p.var(-1) + (t.mean(-1) - p.mean(-1)) ** 2)


def scores(*shape):
    """Probabilities on a grid of 1 / 64 plus a bit: no two equal a threshold."""
    return lambda rng: (rng.integers(0, 64, shape) + rng.uniform(0.2, 0.8, shape)) / 64


REAL, POSITIVE, PROBABLE, CLASSES, NUMBERS = ref.REAL, ref.POSITIVE, ref.PROBABLE, ref.CLASSES, ref.NUMBERS
BINARY = (ref.labels(30), scores(30))
COLUMNS = (ref.labels(20, 4), scores(20, 4))
CATEGORY = (ref.one_hot(30, 4), ref.soft(30, 4))
ALL = np.arange(200) / 199
METRICS = [
    MetricRow("MeanMetricWrapper", REAL, mean_of(ref.np_mean_squared_error), {"fn": "mse"}),
    MetricRow("MeanSquaredError", REAL, mean_of(ref.np_mean_squared_error)),
    MetricRow("RootMeanSquaredError", REAL, lambda t, p, w: np.sqrt(mean_of(ref.np_mean_squared_error)(t, p, w))),
    MetricRow("MeanAbsoluteError", REAL, mean_of(ref.np_mean_absolute_error)),
    MetricRow("MeanAbsolutePercentageError", POSITIVE, mean_of(ref.np_mean_absolute_percentage_error)),
    MetricRow("MeanSquaredLogarithmicError", POSITIVE, mean_of(ref.np_mean_squared_logarithmic_error)),
    MetricRow("LogCoshError", REAL, mean_of(ref.np_log_cosh)),
    MetricRow("CosineSimilarity", REAL, mean_of(ref.np_cosine_similarity)),
    MetricRow("PearsonCorrelation", REAL, mean_of(pearson)),
    MetricRow("ConcordanceCorrelation", REAL, mean_of(concordance)),
    MetricRow("R2Score", REAL, r2()),
    MetricRow("R2Score", REAL, r2(None), {"class_aggregation": None}),
    MetricRow("R2Score", REAL, r2("variance_weighted_average", 2),
              {"class_aggregation": "variance_weighted_average", "num_regressors": 2}),
    MetricRow("Hinge", (ref.labels(6, 5), normal(6, 5)), mean_of(ref.np_hinge)),
    MetricRow("SquaredHinge", (ref.labels(6, 5), normal(6, 5)), mean_of(ref.np_squared_hinge)),
    MetricRow("CategoricalHinge", (ref.one_hot(6, 5), normal(6, 5)), mean_of(ref.np_categorical_hinge)),
    MetricRow("KLDivergence", (ref.soft(6, 5), ref.soft(6, 5)), mean_of(ref.np_kl_divergence)),
    MetricRow("Poisson", POSITIVE, mean_of(ref.np_poisson)),
    MetricRow("BinaryCrossentropy", PROBABLE, mean_of(ref.np_binary_crossentropy)),
    MetricRow("BinaryCrossentropy", (ref.labels(6, 5), normal(6, 5)),
              mean_of(lambda t, p: ref.np_binary_crossentropy(t, p, True, 0.1)),
              {"from_logits": True, "label_smoothing": 0.1}),
    MetricRow("CategoricalCrossentropy", CLASSES, mean_of(ref.np_categorical_crossentropy)),
    MetricRow("CategoricalCrossentropy", (ref.one_hot(6, 5), normal(6, 5)),
              mean_of(lambda t, p: ref.np_categorical_crossentropy(t, p, True, 0.1)),
              {"from_logits": True, "label_smoothing": 0.1}),
    MetricRow("SparseCategoricalCrossentropy", NUMBERS, mean_of(ref.np_sparse_categorical_crossentropy)),
    MetricRow("SparseCategoricalCrossentropy", NUMBERS,
              lambda t, p, w: mean_of(lambda t, p: ref.np_sparse_categorical_crossentropy(t, p, ignore_class=2))(
                  t, p, w if (w == 1).all() else w * (t != 2)),  # Keras's rule: without weights ignored ones count as 0
              {"ignore_class": 2}),
    MetricRow("Accuracy", (integers(20, high=3), integers(20, high=3)), mean_of(lambda t, p: (t == p) * 1.0)),
    MetricRow("BinaryAccuracy", PROBABLE, mean_of(lambda t, p: (t == (p > 0.5)) * 1.0)),
    MetricRow("BinaryAccuracy", BINARY, mean_of(lambda t, p: (t == (p > 0.7)) * 1.0), {"threshold": 0.7}),
    MetricRow("CategoricalAccuracy", CATEGORY, mean_of(lambda t, p: (t.argmax(-1) == p.argmax(-1)) * 1.0)),
    MetricRow("SparseCategoricalAccuracy", NUMBERS, mean_of(lambda t, p: (t == p.argmax(-1)) * 1.0)),
    MetricRow("SparseCategoricalAccuracy", (integers(6, 1, high=5), ref.soft(6, 5)),
              mean_of(lambda t, p: (t[:, 0] == p.argmax(-1)) * 1.0)),
    MetricRow("SparseCategoricalAccuracy", (integers(6, 3, high=5), ref.soft(6, 3, 5)),
              mean_of(lambda t, p: (t == p.argmax(-1)) * 1.0)),
    MetricRow("TopKCategoricalAccuracy", CATEGORY,
              mean_of(lambda t, p: np.sum(p > np.sum(p * t, -1, keepdims=True), -1) < 2.0), {"k": 2}),
    MetricRow("SparseTopKCategoricalAccuracy", NUMBERS,
              mean_of(lambda t, p: np.sum(p > np.take_along_axis(p, t[:, None], 1), -1) < 3.0), {"k": 3}),
    MetricRow("SparseTopKCategoricalAccuracy", (integers(6, high=5), lambda rng: np.array(
        [rng.permutation(5) for _ in range(6)]).astype("int32")),
        mean_of(lambda t, p: np.any(p[:, :2] == t[:, None], -1) * 1.0), {"k": 2, "from_sorted_ids": True}),
    MetricRow("TruePositives", BINARY, count(0, [0.5])),
    MetricRow("FalsePositives", COLUMNS, count(1, [0.5])),
    MetricRow("TrueNegatives", BINARY, count(2, [0.8, 0.2, 0.5]), {"thresholds": [0.8, 0.2, 0.5]}),
    MetricRow("FalseNegatives", BINARY, count(3, [0.3]), {"thresholds": 0.3}),
    MetricRow("Precision", BINARY, precision([0.5])),
    MetricRow("Precision", BINARY, precision([0.7, 0.1]), {"thresholds": [0.7, 0.1]}),
    MetricRow("Precision", COLUMNS, top_k_only(2, precision([-1e10])), {"top_k": 2}),
    MetricRow("Precision", COLUMNS, lambda t, p, w: precision([0.5])(t[:, 1], p[:, 1], w), {"class_id": 1}),
    MetricRow("Recall", BINARY, recall([0.5])),
    MetricRow("Recall", COLUMNS, top_k_only(1, recall([-1e10])), {"top_k": 1}),
    MetricRow("SensitivityAtSpecificity", BINARY, best_at("sensitivity", "specificity", 0.6), {"specificity": 0.6}),
    MetricRow("SpecificityAtSensitivity", BINARY, best_at("specificity", "sensitivity", 0.6), {"sensitivity": 0.6}),
    MetricRow("PrecisionAtRecall", BINARY, best_at("precision", "sensitivity", 0.5), {"recall": 0.5}),
    MetricRow("RecallAtPrecision", BINARY, best_at("sensitivity", "precision", 0.5), {"precision": 0.5}),
    MetricRow("AUC", BINARY, auc()),
    MetricRow("AUC", BINARY, auc("PR"), {"curve": "PR"}),
    MetricRow("AUC", BINARY, auc("PR", "majoring"), {"curve": "PR", "summation_method": "majoring"}),
    MetricRow("AUC", BINARY, auc("ROC", "minoring"), {"summation_method": "minoring"}),
    MetricRow("AUC", BINARY, auc(thresholds=[0.2, 0.4, 0.9]), {"thresholds": [0.2, 0.4, 0.9]}),
    MetricRow("AUC", (ref.labels(30), normal(30)), auc(squash=True), {"from_logits": True}, rtol=2e-3),
    MetricRow("AUC", COLUMNS, auc_by_label(None), {"multi_label": True}),
    MetricRow("AUC", COLUMNS, auc_by_label([1.0, 2.0, 3.0, 4.0]),
              {"multi_label": True, "label_weights": [1.0, 2.0, 3.0, 4.0], "num_labels": 4}),
    MetricRow("F1Score", CATEGORY, f_score()),
    MetricRow("F1Score", COLUMNS, f_score(average="macro", threshold=0.4), {"average": "macro", "threshold": 0.4}),
    MetricRow("FBetaScore", CATEGORY, f_score(2.0, "weighted"), {"beta": 2.0, "average": "weighted"}),
    MetricRow("FBetaScore", CATEGORY, f_score(0.5, "micro"), {"beta": 0.5, "average": "micro"}),
    MetricRow("IoU", (integers(40, high=4), integers(40, high=4)), iou(4, [1, 3]),
              {"num_classes": 4, "target_class_ids": [1, 3]}),
    MetricRow("MeanIoU", (integers(40, high=4), integers(40, high=4)), iou(4, range(4), 2),
              {"num_classes": 4, "ignore_class": 2}),
    MetricRow("BinaryIoU", BINARY, lambda t, p, w: iou(2, [0, 1])(t, (p >= 0.3) * 1.0, w), {"threshold": 0.3}),
    MetricRow("OneHotIoU", CATEGORY, lambda t, p, w: iou(4, [0, 2])(t.argmax(-1), p.argmax(-1), w),
              {"num_classes": 4, "target_class_ids": [0, 2]}),
    MetricRow("OneHotMeanIoU", CATEGORY, lambda t, p, w: iou(4, range(4))(t.argmax(-1), p.argmax(-1), w),
              {"num_classes": 4}),
]


def _mean(values, weight=None):
    total, count = (Variable(np.zeros(()), dtype="float64", trainable=False) for _ in range(2))
    accumulate_mean(values, weight, total, count)
    return ops.cast(total, values.dtype), ops.cast(count, values.dtype)


def _np_mean(values, weight=None):
    leading = values.shape[:1] if weight is None else weight.shape
    weight = np.ones(leading) if weight is None else weight
    values = values.reshape(*leading, -1).mean(-1) if values.size else np.zeros(leading)
    per_sample = max(int(np.prod(leading[1:])), 1)
    return np.sum(values * weight) / per_sample, np.sum(weight) / per_sample


def _counts(t, p, w=None, **kwargs):
    return confusion_counts(t, p, w, **kwargs)


def _np_counts(t, p, w=None, thresholds=(), multi_label=False):
    w = np.ones_like(t) if w is None else w
    levels = np.asarray(thresholds).reshape(-1, *(1,) * t.ndim)
    said, true = p > levels, t != 0
    axes = 1 if multi_label else tuple(range(1, t.ndim + 1))
    return np.stack([np.sum(w * both, axis=axes) for both in (said & true, said & ~true, ~said & ~true, ~said & true)])


_NO_SYMBOL = {"grad": (), "symbolic": False}  # accumulators: no gradient, and no layer is made of them
CASES = [
    Case("accumulate_mean", _np_mean, (normal(*shape), *weight), fn=_mean, replay=False, tag=f"{shape}-{len(weight)}",
         scale=float(np.prod(shape)) or 1.0, **_NO_SYMBOL)
    for shape, weight in (((37,), ()), ((37,), (uniform(37, low=0),)), ((5, 40), ()), ((5, 40), (uniform(5, low=0),)),
                          ((5, 7), (uniform(5, 7, low=0),)), ((0,), ()), ((1,), ()), ((), ()))
] + [
    Case("confusion_counts", _np_counts, inputs, kwargs, fn=_counts, tag=tag, scale=100.0, **_NO_SYMBOL)
    for tag, inputs, kwargs in (
        ("one", (ref.labels(50), uniform(50)), {"thresholds": [0.25], "multi_label": False}),
        ("many", (ref.labels(20, 3), uniform(20, 3), uniform(20, 3, low=0)),
         {"thresholds": np.arange(-8, 9) / 8 + 0.03, "multi_label": False}),
        ("by label", (ref.labels(20, 3), uniform(20, 3), uniform(20, 3, low=0)),
         {"thresholds": np.arange(-8, 9) / 8 + 0.03, "multi_label": True}),
        ("unsorted", (ref.labels(50), uniform(50)), {"thresholds": [0.5, -0.5, 0.1], "multi_label": False}),
        ("empty", (ref.labels(0), uniform(0)), {"thresholds": [0.5, 0.7], "multi_label": False}))
]
