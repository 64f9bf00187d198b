"""Any model of pydl as an estimator."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from pydl import layers, losses, random
from pydl.data.adapters import ArrayData
from pydl.estimators._common import (
    check_number,
    column,
    keep_arguments,
    learned_classes,
    numeric_targets,
    sample_weights,
    with_class_weights,
)
from pydl.models import Model, Sequential
from pydl.utils import set_random_seed

__all__ = ["NeuralClassifier", "NeuralRegressor"]


@contextlib.contextmanager
def seeded(seed):
    """Context in which Python's, NumPy's and pydl's global generators start from `seed`; afterwards they are as they
    were. None leaves them alone."""
    if seed is None:
        yield
        return
    kept = random.get_global_state()
    set_random_seed(seed)
    try:
        yield
    finally:
        random.set_global_state(kept)


class _Neural(BaseEstimator):
    def _rows(self, X, *y, reset, **kwargs):
        return validate_data(self, X, *y, dtype="numeric", allow_nd=True, reset=reset, **kwargs)

    def _new_model(self, X, outputs: int):
        """The model, built, with the number of its outputs; compiled unless it came so."""
        shape = X.shape[1] if X.ndim == 2 else X.shape[1:]
        arguments = self.model_arguments or {}
        if isinstance(self.model, Model):
            if arguments:
                raise ValueError(f"{type(self).__name__}: model_arguments are for a function that builds the model;"
                                 f" received a model and {arguments}.")
            model = copy.deepcopy(self.model)
        elif self.model is None:
            model = self._default_model(X.shape[1:], outputs, **arguments)
        elif callable(self.model):
            model = self.model(shape, outputs, **arguments)
        else:
            model = self.model
        if not isinstance(model, Model):
            raise TypeError(f"{type(self).__name__}: expected model to be a pydl model, or a function of"
                            f" (features, outputs) that makes one; received {model!r}.")
        width = self._width(model, X)
        self._check_width(width, outputs)
        if not model.compiled:
            model.compile(copy.deepcopy(self.optimizer), self.loss if self.loss is not None else self._loss(width),
                          weighted_metrics=copy.deepcopy(self.metrics))
        return model

    def _width(self, model, X) -> int:
        y = model(ArrayData(X[:1]).take(slice(0, 1))[0], training=False)
        if isinstance(y, (list, tuple, dict)) or y.ndim != 2:
            raise ValueError(f"{type(self).__name__}: expected a model with one output of shape (batch, outputs);"
                             f" received {getattr(y, 'shape', y)}.")
        return y.shape[1]

    def _learn(self, X, weights, encode, outputs, first, arguments):
        """Trains, and returns what is learned as a dict. `encode(model, width)` gives the targets."""
        for name in ("epochs", "batch_size"):
            check_number(self, name, 1, integer=True)
        generator = check_random_state(self.random_state)
        seed = None if self.random_state is None else generator.randint(2**31 - 1)
        with seeded(seed):
            model = self._new_model(X, outputs) if first else self.model_
            y = encode(model, self._width(model, X))
            given = {"batch_size": self.batch_size, "epochs": self.epochs, "verbose": self.verbose,
                     "callbacks": self.callbacks, "validation_split": self.validation_split, "shuffle": self.shuffle,
                     **arguments}
            if given["validation_split"] and given.get("validation_data") is None:  # not the last rows: the first
                rows = generator.permutation(len(X))  # rows may all be of one class
                X, y, weights = X[rows], y[rows], None if weights is None else weights[rows]
            before = [np.array(w) for w in model.get_weights()]
            history = model.fit(X, y, sample_weight=weights, **given)
        if not all(np.isfinite(w).all() for w in model.get_weights()):
            model.set_weights(before)
            raise ValueError(f"{type(self).__name__}: training produced non-finite weights; those from before are kept."
                             " The input may hold large values: scale it (StandardScaler), or lower the learning rate.")
        return {"model_": model, "history_": dict(history.history)}

    def _is_first(self) -> bool:
        return not (self.warm_start and hasattr(self, "model_"))

    def _outputs(self, X) -> np.ndarray:
        check_is_fitted(self)
        return self.model_.predict(self._rows(X, reset=False), batch_size=max(self.batch_size, 256), verbose=0)


def _loss_name(loss) -> str:
    return str(loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", ""))).lower()


class NeuralClassifier(ClassifierMixin, _Neural):
    """A pydl model as a classifier: labels of any kind go in and come out.

    Args:
        model: a function of (features, classes) that returns a model, compiled or not: features is a number for X of
            two dimensions, else the shape of a sample. Or a model, of which every `fit` trains a copy, from the weights
            it has. None: a hidden layer of 100 relu units. Its output is (batch, classes), or (batch, 1) for two
            classes.
        model_arguments: dict of further arguments of the function.
        optimizer, loss, metrics: for a model that is not compiled. loss=None is cross-entropy; metrics see the
            weights.
        from_logits: whether the outputs are logits, not probabilities, where `loss` does not tell.
        batch_size, epochs, callbacks, shuffle, verbose: of `Model.fit`.
        validation_split: part of the rows, drawn at random, to validate on.
        class_weight: dict label -> factor of its losses, "balanced", or None.
        warm_start: whether `fit` goes on with the trained model and its optimizer.
        random_state: int, RandomState, or None, which leaves the global generators alone; else they are seeded for the
            time of `fit`.

    Attributes:
        model_: the trained model.
        history_: dict name -> value per epoch, of the last `fit`.
        classes_: the labels, sorted.
        n_features_in_, feature_names_in_: as in scikit-learn.
    """

    def __init__(self, model=None, *, model_arguments=None, optimizer="adam", loss=None, metrics=None,
                 from_logits=False, batch_size=32, epochs=10, callbacks=None, validation_split=0.0, shuffle=True,
                 verbose=0, class_weight=None, warm_start=False, random_state=None):
        keep_arguments(self, locals())

    def fit(self, X, y, sample_weight=None, **arguments):
        """Trains on X (samples, ...) and labels y (samples,).

        Args:
            sample_weight: (samples,) factors of the losses.
            arguments: of `Model.fit`, in place of those of the constructor; `validation_data` with labels as in `y`.

        Raises:
            ValueError: for data and outputs that do not fit, and when weights become infinite (those from before are
                kept).
        """
        return self._fit(X, y, None, sample_weight, self._is_first(), arguments)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One epoch with the model and optimizer as they are; the first call needs all `classes`."""
        first = not hasattr(self, "model_")
        if first and classes is None:
            raise ValueError(f"{type(self).__name__}: classes must be passed on the first call to partial_fit.")
        return self._fit(X, y, classes, sample_weight, first, {"epochs": 1, "validation_split": 0.0})

    def _fit(self, X, y, classes, sample_weight, first, arguments):
        if getattr(y, "ndim", 1) == 2 and y.shape[1] > 1:
            raise ValueError(f"{type(self).__name__}: expected one label for each sample; received y of shape"
                             f" {y.shape}. Several labels of a sample are learned by a classifier each, as"
                             " sklearn.multioutput.MultiOutputClassifier makes them; one-hot rows become labels by"
                             " y.argmax(axis=1).")
        X, y = self._rows(X, y, reset=first)
        y = column(y)
        classes, numbers = learned_classes(self, y, classes, None if first else self.classes_)
        weights = with_class_weights(self, self.class_weight, y, classes, numbers, sample_weights(
            self, sample_weight, X))

        def encode(model, width):
            if arguments.get("validation_data") is not None:
                vx, vy, *vw = arguments["validation_data"]
                vy = learned_classes(self, np.asarray(vy), known=classes)[1]
                arguments["validation_data"] = (vx, self._encoded(model, vy, width), *vw)
            return self._encoded(model, numbers, width)

        learned = self._learn(X, weights, encode, len(classes), first, arguments)
        self.classes_ = classes
        for name, value in learned.items():
            setattr(self, name, value)
        return self

    @staticmethod
    def _default_model(shape, classes, units=100):
        return Sequential([layers.Input(shape), *([layers.Flatten()] if len(shape) > 1 else []),
                           layers.Dense(units, activation="relu"), layers.Dense(classes, activation="softmax")])

    def _check_width(self, width, classes):
        if width != classes and not (width == 1 and classes == 2):
            raise ValueError(f"{type(self).__name__}: the data has {classes} classes, the model {width} outputs.")

    def _loss(self, width):
        kind = losses.BinaryCrossentropy if width == 1 else losses.SparseCategoricalCrossentropy
        return kind(from_logits=self.from_logits)

    @staticmethod
    def _encoded(model, numbers, width):
        """Class numbers as the loss of the model takes them: numbers, one column, or one-hot rows."""
        if "sparse" in _loss_name(model.loss) or (model.loss is None and width > 1):
            return numbers.astype(np.int32)
        return numbers.astype(np.float32)[:, None] if width == 1 else np.eye(width, dtype=np.float32)[numbers]

    def _has_probabilities(self) -> bool:
        loss = self.model_.loss if hasattr(self, "model_") else self.loss
        if "hinge" in _loss_name(loss):
            raise AttributeError(f"A model trained with the loss {_loss_name(loss)!r} gives no probabilities.")
        return True

    def predict(self, X):
        """(samples,) labels."""
        y = self._outputs(X)
        border = 0.0 if self._are_logits() else 0.5
        return self.classes_[(y[:, 0] > border).astype(int) if y.shape[1] == 1 else y.argmax(1)]

    def _are_logits(self) -> bool:
        loss = self.model_.loss
        if "hinge" in _loss_name(loss):
            return True
        return bool(loss.get_config().get("from_logits", False) if isinstance(loss, losses.Loss) else self.from_logits)

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        """(samples, classes) probabilities, float64."""
        y = self._outputs(X).astype(np.float64)
        if y.shape[1] == 1:
            p = 0.5 * (1 + np.tanh(y / 2)) if self._are_logits() else y
            return np.concatenate([1 - p, p], 1)
        if self._are_logits():
            y = np.exp(y - y.max(1, keepdims=True))
        return y / y.sum(1, keepdims=True)


class NeuralRegressor(RegressorMixin, _Neural):
    """A pydl model as a regressor.

    Args:
        model: as of `NeuralClassifier`; the function gets (features, targets). None: a hidden layer of 100 relu units.
        loss: "mean_squared_error" for None.
        others: as of `NeuralClassifier`.

    Attributes:
        model_, history_, n_features_in_, feature_names_in_: as of `NeuralClassifier`.
    """

    def __init__(self, model=None, *, model_arguments=None, optimizer="adam", loss=None, metrics=None, batch_size=32,
                 epochs=10, callbacks=None, validation_split=0.0, shuffle=True, verbose=0, warm_start=False,
                 random_state=None):
        keep_arguments(self, locals())

    def fit(self, X, y, sample_weight=None, **arguments):
        """Trains on X (samples, ...) and y (samples,) or (samples, targets); see `NeuralClassifier.fit`."""
        return self._fit(X, y, sample_weight, self._is_first(), arguments)

    def partial_fit(self, X, y, sample_weight=None):
        """One epoch with the model and optimizer as they are."""
        return self._fit(X, y, sample_weight, not hasattr(self, "model_"), {"epochs": 1, "validation_split": 0.0})

    def _fit(self, X, y, sample_weight, first, arguments):
        if y is not None:
            y = numeric_targets(y)
        X, y = self._rows(X, y, reset=first, multi_output=True, **({} if y is None else {"y_numeric": True}))
        single = y.ndim == 1 or y.shape[1] == 1
        y = column(y)[:, None] if single else y
        weights = sample_weights(self, sample_weight, X)
        learned = self._learn(X, weights, lambda model, width: y.astype(np.float64), y.shape[1], first, arguments)
        self._single = single
        for name, value in learned.items():
            setattr(self, name, value)
        return self

    @staticmethod
    def _default_model(shape, targets, units=100):
        return Sequential([layers.Input(shape), *([layers.Flatten()] if len(shape) > 1 else []),
                           layers.Dense(units, activation="relu"), layers.Dense(targets)])

    def _check_width(self, width, targets):
        if width != targets:
            raise ValueError(f"{type(self).__name__}: the data has {targets} targets, the model {width} outputs.")

    def _loss(self, width):
        return "mean_squared_error"

    def predict(self, X):
        """(samples,) or (samples, targets), as `y` was."""
        y = self._outputs(X)
        return y[:, 0] if self._single else y


