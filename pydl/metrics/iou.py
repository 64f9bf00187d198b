"""Intersection over union of segmentations, from a confusion matrix of classes."""

from __future__ import annotations

from pydl import config, ops
from pydl.dtypes import is_float_dtype
from pydl.metrics.base import Metric
from pydl.warning import warn

__all__ = ["BinaryIoU", "IoU", "MeanIoU", "OneHotIoU", "OneHotMeanIoU"]


class IoU(Metric):
    """Mean over `target_class_ids` of TP / (TP + FP + FN); classes that never occur are left out.

    Args:
        num_classes: class numbers are 0 ... num_classes - 1; entries with other labels do not count.
        target_class_ids: the classes of the mean.
        dtype: of the confusion matrix, int32 by default; integer matrices take integer sample weights.
        ignore_class: a label whose entries do not count.
        sparse_y_true, sparse_y_pred: whether labels / predictions are class numbers instead of one-hot / scores.
        axis: of the classes where they are not sparse.
    """

    _direction = "up"

    def __init__(self, num_classes, target_class_ids, name=None, dtype=None, ignore_class=None, sparse_y_true=True,
                 sparse_y_pred=True, axis=-1):
        super().__init__(name=name, dtype="int32" if dtype in (None, "int") else dtype)
        if max(target_class_ids) >= num_classes:
            raise ValueError(f"Target class id {max(target_class_ids)} is out of range, which is [0, {num_classes}).")
        self.num_classes = num_classes
        self.target_class_ids = list(target_class_ids)
        self.ignore_class = ignore_class
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        self.axis = axis
        self.total_cm = self._add_tally((num_classes, num_classes), "total_confusion_matrix")

    def _classes(self, y, sparse: bool):
        y = ops.convert_to_tensor(y)
        return ops.reshape(ops.cast(y if sparse else ops.argmax(y, axis=self.axis), "int32"), (-1,))

    def update_state(self, y_true, y_pred, sample_weight=None):
        y_true = self._classes(y_true, self.sparse_y_true)
        y_pred = self._classes(y_pred, self.sparse_y_pred)
        true = ops.one_hot(y_true, self.num_classes, dtype="float32")  # (n, classes); a row of zeros out of range
        pred = ops.one_hot(y_pred, self.num_classes, dtype="float32")
        if sample_weight is not None:
            weight = ops.convert_to_tensor(sample_weight)
            if is_float_dtype(weight.dtype) and not is_float_dtype(self.dtype):
                warn(f"{type(self).__name__}: the weights are {weight.dtype}, and the counts {self.dtype}: casting cuts"
                     " off what stands behind the point. Pass dtype='float32', or integer weights.")
            weight = ops.cast(weight, self.dtype)
            weight = ops.reshape(ops.broadcast_to(weight, y_true.shape) if not weight.shape else weight, (-1, 1))
            pred = pred * ops.cast(weight, "float32")
        if self.ignore_class is not None:
            counts = ops.reshape(ops.not_equal(y_true, self.ignore_class), (-1, 1))
            pred = pred * ops.cast(counts, "float32")
        # Whole numbers below 2^24 are exact in float32, so the product counts a batch exactly.
        self.total_cm.assign_add(ops.cast(ops.matmul(ops.transpose(true), pred), self.dtype))

    def result(self):
        matrix = ops.convert_to_tensor(self.total_cm)
        hits = ops.sum(matrix * ops.eye(self.num_classes, dtype="float64"), axis=0)
        union = ops.sum(matrix, axis=0) + ops.sum(matrix, axis=1) - hits
        wanted = [1.0 if i in self.target_class_ids else 0.0 for i in range(self.num_classes)]
        valid = ops.cast(ops.greater(union, 1e-9), "float64") * wanted
        tiny = config.epsilon()
        return ops.cast(ops.sum(valid * hits / (union + tiny)) / (ops.sum(valid) + tiny), "float32")

    def get_config(self) -> dict:
        return {**super().get_config(), "num_classes": self.num_classes, "target_class_ids": self.target_class_ids,
                "ignore_class": self.ignore_class, "sparse_y_true": self.sparse_y_true,
                "sparse_y_pred": self.sparse_y_pred, "axis": self.axis}

    def _config_without(self, *names) -> dict:
        return {key: value for key, value in IoU.get_config(self).items() if key not in names}


class BinaryIoU(IoU):
    """IoU of two classes; predictions at or above `threshold` are class 1."""

    def __init__(self, target_class_ids=(0, 1), threshold=0.5, name=None, dtype=None):
        super().__init__(num_classes=2, target_class_ids=target_class_ids, name=name, dtype=dtype)
        self.threshold = threshold

    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(y_true, ops.greater_equal(ops.convert_to_tensor(y_pred), self.threshold), sample_weight)

    def get_config(self) -> dict:
        return {"target_class_ids": self.target_class_ids, "threshold": self.threshold, "name": self.name,
                "dtype": self.dtype}


class MeanIoU(IoU):
    """Mean IoU of all classes; arguments as `IoU`."""

    def __init__(self, num_classes, name=None, dtype=None, ignore_class=None, sparse_y_true=True, sparse_y_pred=True,
                 axis=-1):
        super().__init__(num_classes, range(num_classes), name, dtype, ignore_class, sparse_y_true, sparse_y_pred,
                         axis)

    def get_config(self) -> dict:
        return self._config_without("target_class_ids")


class OneHotIoU(IoU):
    """IoU of one-hot labels; arguments as `IoU`."""

    def __init__(self, num_classes, target_class_ids, name=None, dtype=None, ignore_class=None, sparse_y_pred=False,
                 axis=-1):
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict:
        return self._config_without("sparse_y_true")


class OneHotMeanIoU(MeanIoU):
    """Mean IoU of one-hot labels over all classes; arguments as `IoU`."""

    def __init__(self, num_classes, name=None, dtype=None, ignore_class=None, sparse_y_pred=False, axis=-1):
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict:
        return self._config_without("target_class_ids", "sparse_y_true")
