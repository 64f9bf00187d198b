"""Metrics: numbers accumulated over batches, and the per-sample functions some of them average."""

from __future__ import annotations

from pydl import lookup, registry
from pydl.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
    accuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
    sparse_top_k_categorical_accuracy,
    top_k_categorical_accuracy,
)
from pydl.metrics.auc import AUC
from pydl.metrics.base import Metric
from pydl.metrics.confusion import (
    FalseNegatives,
    FalsePositives,
    Precision,
    PrecisionAtRecall,
    Recall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    TrueNegatives,
    TruePositives,
)
from pydl.metrics.f_score import F1Score, FBetaScore
from pydl.metrics.iou import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from pydl.metrics.probabilistic import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    Hinge,
    KLDivergence,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from pydl.metrics.reductions import Mean, MeanMetricWrapper, Sum
from pydl.metrics.regression import (
    ConcordanceCorrelation,
    CosineSimilarity,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    PearsonCorrelation,
    R2Score,
    RootMeanSquaredError,
    concordance_correlation,
    pearson_correlation,
)
from pydl.ops import _criteria as criteria
from pydl.ops._criteria import (  # noqa: F401  public here, as in Keras
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_hinge,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)

_CLASSES = (
    Metric, Mean, Sum, MeanMetricWrapper, MeanSquaredError, RootMeanSquaredError, MeanAbsoluteError,
    MeanAbsolutePercentageError, MeanSquaredLogarithmicError, CosineSimilarity, LogCoshError, R2Score,
    PearsonCorrelation, ConcordanceCorrelation, AUC, TruePositives, FalsePositives, TrueNegatives, FalseNegatives,
    Precision, Recall, PrecisionAtRecall, RecallAtPrecision, SensitivityAtSpecificity, SpecificityAtSensitivity,
    Hinge, SquaredHinge, CategoricalHinge, KLDivergence, Poisson, BinaryCrossentropy, CategoricalCrossentropy,
    SparseCategoricalCrossentropy, Accuracy, BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy,
    TopKCategoricalAccuracy, SparseTopKCategoricalAccuracy, F1Score, FBetaScore, IoU, BinaryIoU, MeanIoU, OneHotIoU,
    OneHotMeanIoU,
)
_ALIASES = {"bce": BinaryCrossentropy, "mse": MeanSquaredError, "mae": MeanAbsoluteError,
            "mape": MeanAbsolutePercentageError, "msle": MeanSquaredLogarithmicError}
OBJECTS = {
    **{cls.__name__: cls for cls in _CLASSES},
    **{registry.to_snake_case(cls.__name__): cls for cls in _CLASSES},
    **_ALIASES, **{name.upper(): cls for name, cls in _ALIASES.items()},
}
# What `MeanMetricWrapper` may have averaged, by name.
FUNCTIONS = {**criteria.FUNCTIONS, **{fn.__name__: fn for fn in (
    accuracy, binary_accuracy, categorical_accuracy, sparse_categorical_accuracy, top_k_categorical_accuracy,
    sparse_top_k_categorical_accuracy, pearson_correlation, concordance_correlation, criteria.cosine_similarity)}}
for _cls in _CLASSES:
    registry.builtin("keras.metrics")(_cls)
__all__ = ["deserialize", "get", "serialize"]
__all__ += [cls.__name__ for cls in _CLASSES] + [name for name in FUNCTIONS if name in globals()]


def get(identifier):
    """The metric of a name ("mse", "AUC"), a config dict, a class or a callable; None gives None.

    Raises:
        ValueError: when nothing of that name is known.
    """
    return lookup.find(identifier, OBJECTS, "metric")


def serialize(metric):
    """The config dict of a metric."""
    return registry.serialize_keras_object(metric)


def deserialize(config, custom_objects=None):
    """The metric of a config dict or a name."""
    return lookup.deserialize(config, OBJECTS, "metric", custom_objects)
