"""Cross-entropies, divergences and the hinge family as metrics: weighted means of the per-sample losses."""

from __future__ import annotations

from pydl.metrics.reductions import NamedMean
from pydl.ops import _losses

__all__ = ["BinaryCrossentropy", "CategoricalCrossentropy", "CategoricalHinge", "Hinge", "KLDivergence", "Poisson",
           "SparseCategoricalCrossentropy", "SquaredHinge"]


class KLDivergence(NamedMean):
    """Mean of sum(y_true log(y_true / y_pred))."""

    def __init__(self, name="kl_divergence", dtype=None):
        super().__init__(_losses.kl_divergence, name, dtype)


class Poisson(NamedMean):
    """mean(y_pred - y_true log(y_pred))."""

    def __init__(self, name="poisson", dtype=None):
        super().__init__(_losses.poisson, name, dtype)


class BinaryCrossentropy(NamedMean):
    """Mean cross-entropy of labels 0 / 1; arguments as the loss of the same name."""

    def __init__(self, name="binary_crossentropy", dtype=None, from_logits=False, label_smoothing=0):
        super().__init__(_losses.binary_crossentropy, name, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing)
        self.from_logits, self.label_smoothing = from_logits, label_smoothing


class CategoricalCrossentropy(NamedMean):
    """Mean cross-entropy of one-hot labels; arguments as the loss of the same name."""

    def __init__(self, name="categorical_crossentropy", dtype=None, from_logits=False, label_smoothing=0, axis=-1):
        super().__init__(_losses.categorical_crossentropy, name, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing, axis=axis)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


class SparseCategoricalCrossentropy(NamedMean):
    """Mean cross-entropy of class numbers; arguments as the loss of the same name."""

    def __init__(self, name="sparse_categorical_crossentropy", dtype=None, from_logits=False, ignore_class=None,
                 axis=-1):
        super().__init__(_losses.sparse_categorical_crossentropy, name, dtype, from_logits=from_logits,
                         ignore_class=ignore_class, axis=axis)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis


class Hinge(NamedMean):
    """mean(max(1 - y_true y_pred, 0)), labels -1 / 1 (0 / 1 are converted)."""

    def __init__(self, name="hinge", dtype=None):
        super().__init__(_losses.hinge, name, dtype)


class SquaredHinge(NamedMean):
    """mean(max(1 - y_true y_pred, 0)^2), labels -1 / 1 (0 / 1 are converted)."""

    def __init__(self, name="squared_hinge", dtype=None):
        super().__init__(_losses.squared_hinge, name, dtype)


class CategoricalHinge(NamedMean):
    """Mean margin between the true class and the best other one, one-hot labels."""

    def __init__(self, name="categorical_hinge", dtype=None):
        super().__init__(_losses.categorical_hinge, name, dtype)
