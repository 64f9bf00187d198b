"""What the estimators share: checks of arguments and data."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, column_or_1d

from pydl.tensor import as_array


def keep_arguments(estimator, scope: dict) -> None:
    """Makes the arguments of a constructor, from its `locals()`, attributes of their names: scikit-learn reads them."""
    for name, value in scope.items():
        if name not in ("self", "__class__"):
            setattr(estimator, name, value)


def check_number(estimator, name: str, low, high=math.inf, integer=False, open_low=False, optional=False) -> None:
    """Raises ValueError unless the argument `name` of the estimator is a number in [low, high] ((low, high] with
    `open_low`), or None where `optional`."""
    value = getattr(estimator, name)
    if value is None and optional:
        return
    kind = Integral if integer else Real
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind) or not (
            (low < value if open_low else low <= value) and value <= high):
        wanted = f"{'an integer' if integer else 'a number'} {'over' if open_low else 'of at least'} {low}"
        wanted += "" if high == math.inf else f" and at most {high}"
        raise ValueError(f"{type(estimator).__name__}: expected {name} to be {wanted}{' or None' if optional else ''};"
                         f" received {value!r}.")


def check_choice(estimator, name: str, choices) -> None:
    """Raises ValueError unless the argument `name` of the estimator is one of `choices`."""
    value = getattr(estimator, name)
    if not isinstance(value, (str, type(None))) or value not in choices:
        raise ValueError(f"{type(estimator).__name__}: expected {name} to be one of {list(choices)}; received"
                         f" {value!r}.")


def sample_weights(estimator, sample_weight, X, dtype=np.float64):
    """(samples,) weights, or None. Raises ValueError for another shape, negative ones, and when all are zero."""
    if sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, X, dtype=dtype)
    if weights.min() < 0 or not weights.any():
        raise ValueError(f"{type(estimator).__name__}: expected sample weights of zero or more, not all of them zero;"
                         f" received weights from {weights.min()} to {weights.max()}.")
    return weights


def with_class_weights(estimator, class_weight, y, classes, numbers, weights):
    """`weights` times the weight of each sample's class; None for both None."""
    if class_weight is None:
        return weights
    by_class = compute_class_weight(class_weight, classes=classes, y=y)[numbers]
    return by_class if weights is None else weights * by_class


def learned_classes(estimator, y, given=None, known=None) -> tuple[np.ndarray, np.ndarray]:
    """(classes, number of the class of each sample).

    Args:
        y: (samples,) labels.
        given: the classes, where the caller named them.
        known: the classes of an earlier call.

    Raises:
        ValueError: for labels that are no classes, fewer than two classes, or labels that are new.
    """
    name = type(estimator).__name__
    if known is None and given is None:
        check_classification_targets(y)
        classes, numbers = np.unique(y, return_inverse=True)
    else:
        classes = known if known is not None else np.unique(given)
        numbers = np.searchsorted(classes, y) if len(classes) != 2 else (y == classes[1]).astype(np.intp)
        numbers = np.minimum(numbers, len(classes) - 1)
    if known is not None and given is not None and not np.array_equal(np.unique(given), known):
        raise ValueError(f"{name}: expected classes={known.tolist()} as in the first call; received"
                         f" {np.asarray(given).tolist()}.")
    if len(classes) < 2:
        raise ValueError(f"{name}: expected at least two classes; the data has one class,"
                         f" {classes.tolist()[0]!r}.")
    new = classes[numbers] != y
    if new.any():
        check_classification_targets(y)
        raise ValueError(f"{name}: `y` has classes {np.unique(y[new]).tolist()} that are not among the known ones,"
                         f" {classes.tolist()}.")
    return classes, numbers


def numeric_targets(y):
    """Targets of a regression; scikit-learn makes NaN of None among Python objects, after it has looked for NaN."""
    return as_array(y, np.float64, "`y`") if np.asarray(y).dtype == object else y


def column(y):
    """(samples,) of targets that may come as one column, with scikit-learn's warning."""
    return column_or_1d(y, warn=True)
