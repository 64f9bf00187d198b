"""Multi-layer perceptrons with scikit-learn's arguments and arithmetic, on pydl's engine."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from pydl.dtypes import holds_integers
from pydl.estimators import _network
from pydl.estimators._common import (
    check_choice,
    check_number,
    column,
    keep_arguments,
    learned_classes,
    numeric_targets,
    sample_weights,
)
from pydl.warning import warn

__all__ = ["MLPClassifier", "MLPRegressor"]

ARGUMENTS = """
    Args:
        hidden_layer_sizes: units of the hidden layers, an int or a sequence; () for none.
        activation: of the hidden layers: "identity", "logistic", "tanh" or "relu".
        solver: "adam", "sgd", or "lbfgs" (SciPy's, on all rows at once).
        alpha: the penalty is alpha / 2 times the sum of squares of the coefficients, divided by the rows of the batch.
        batch_size: rows per update; "auto" is min(200, rows).
        learning_rate: of "sgd": "constant"; "invscaling", divided by (rows seen + 1)^power_t after each epoch;
            "adaptive", divided by 5 where training would stop, until it is 1e-6.
        learning_rate_init: the first one, over 0.
        power_t: see `learning_rate`.
        max_iter: epochs, or iterations of "lbfgs".
        shuffle: whether each epoch has a new order.
        random_state: int, RandomState or None, for first weights, orders and the validation rows.
        tol: an epoch counts as progress when loss (validation score) is better by `tol` than the best one.
        verbose: whether to print a line per epoch.
        warm_start: whether `fit` starts from the last weights.
        momentum: of "sgd", 0 to 1. nesterovs_momentum: whether it looks ahead.
        early_stopping: whether to hold rows back, watch the score on them, and end with the best weights.
        validation_fraction: the part held back.
        beta_1, beta_2, epsilon: of "adam".
        n_iter_no_change: epochs without progress before training stops.
        max_fun: evaluations of "lbfgs".

    Attributes:
        coefs_, intercepts_: copies of the weights (inputs, outputs) and biases (outputs,) of each layer.
        model_: the network, a `pydl.Sequential` of Dense layers; its outputs are logits (rates: their logarithms).
        loss_, loss_curve_, best_loss_: last, all, and least of the epochs' mean losses with penalty.
        validation_scores_, best_validation_score_: with `early_stopping`, else None.
        n_iter_, t_: epochs of the last call; rows seen in all.
        n_layers_, n_outputs_, out_activation_: with inputs counted; "softmax", "logistic", "identity" or "exp".
        n_features_in_, feature_names_in_: as in scikit-learn.

    Weights and steps have the precision of X: float32 for float32, else float64.
"""


class _MLP(BaseEstimator):
    validation_scores_: Any
    best_validation_score_: Any
    best_loss_: Any

    def _check_arguments(self) -> None:
        check_choice(self, "activation", _network.ACTIVATIONS)
        check_choice(self, "solver", ("lbfgs", "sgd", "adam"))
        check_choice(self, "learning_rate", ("constant", "invscaling", "adaptive"))
        for name in ("alpha", "power_t", "tol"):
            check_number(self, name, 0)
        for name in ("learning_rate_init", "epsilon"):
            check_number(self, name, 0, open_low=True)
        for name in ("momentum", "beta_1", "beta_2", "validation_fraction"):
            check_number(self, name, 0, 1)
        for name in ("max_iter", "max_fun"):
            check_number(self, name, 1, integer=True)
        if self.n_iter_no_change != math.inf:
            check_number(self, "n_iter_no_change", 1, integer=True)
        if not isinstance(self.batch_size, str) or self.batch_size != "auto":
            check_number(self, "batch_size", 1, integer=True)
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes))
        if sizes.size and (not holds_integers(sizes) or (sizes < 1).any()):
            raise ValueError(f"{type(self).__name__}: hidden_layer_sizes must be > 0, integers; received"
                             f" {self.hidden_layer_sizes!r}.")

    def _rows(self, X, reset, *y, **kwargs):
        return validate_data(self, X, *y, accept_sparse=["csr", "csc"], dtype=(np.float64, np.float32), reset=reset,
                             **kwargs)

    def _fit(self, X, y, sample_weight, incremental, classes=None):
        self._check_arguments()
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "_network") or not (self.warm_start or incremental)
        if self._y_checks and y is not None:
            y = numeric_targets(y)
        X, y = self._rows(X, first, y, multi_output=True, **({} if y is None else self._y_checks))
        if sparse.issparse(X):
            X = X.tocsr()
        if not first:
            X = X.astype(self._network.variables[0].dtype, copy=False)
        X = X if sparse.issparse(X) else np.require(X, requirements=("C", "A"))
        weights = sample_weights(self, sample_weight, X, X.dtype)
        targets, learned = self._targets(y, classes, first, X.dtype, incremental)
        random = check_random_state(self.random_state)
        if first:
            network = self._new_network(X, targets, learned, random)
        else:
            network = self._network
        before = network.vector()
        data = _network.Rows(X, targets, weights)
        if self.solver == "lbfgs":
            run = self._run_lbfgs
        else:
            run = self._run_epochs
        for name, value in learned.items():
            setattr(self, name, value)
        self._network = network
        run(network, data, y, random, first, incremental)
        if not all(np.isfinite(v.numpy()).all() for v in network.variables):
            network.set_vector(before)
            raise ValueError(f"{type(self).__name__}: the solver produced non-finite weights; those from before are"
                             " kept. The input may hold large values: scale it (StandardScaler), or lower"
                             " learning_rate_init.")
        return self

    def _new_network(self, X, targets, learned, random):
        outputs = learned["n_outputs_"]
        units = [X.shape[1], *(int(n) for n in np.atleast_1d(np.asarray(self.hidden_layer_sizes))), outputs]
        model = _network.build(units, self.activation, X.dtype, lambda limit, shape: random.uniform(
            -limit, limit, shape))
        end, loss = self._end_and_loss(targets)
        self.n_layers_, self.out_activation_, self.t_, self.n_iter_ = len(units), end, 0, 0
        for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_"):
            self.__dict__.pop(name, None)
        return _network.Network(model, end, loss, self.alpha, outputs if loss is _network.squared_error else 1)

    @property
    def coefs_(self) -> list:
        if "_network" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no coefs_ before fit.")
        return self._network.kernels()

    @property
    def intercepts_(self) -> list:
        if "_network" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no intercepts_ before fit.")
        return self._network.biases()

    @property
    def model_(self):
        if "_network" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no model_ before fit.")
        return self._network.model

    # ---- solvers -------------------------------------------------------------------------------------------------

    def _run_lbfgs(self, network, data, y, random, first, incremental) -> None:
        from scipy.optimize import minimize

        network.alpha = float(self.alpha)
        network._forget()
        found = minimize(lambda vector: network.loss_and_gradients(data, vector), network.vector(), jac=True,
                         method="L-BFGS-B", options={"maxfun": self.max_fun, "maxiter": self.max_iter,
                                                     "gtol": self.tol})
        network.set_vector(found.x)
        self.n_iter_, self.loss_ = min(int(found.nit), self.max_iter), float(found.fun)
        if found.status != 0:
            warn(f"{type(self).__name__}: lbfgs did not converge within max_iter={self.max_iter} and"
                 f" max_fun={self.max_fun}: {found.message}", ConvergenceWarning)

    def _run_epochs(self, network, data, y, random, first, incremental) -> None:
        if not incremental or network.optimizer is None:
            network.alpha = float(self.alpha)
            network.set_optimizer(_network.make_optimizer(self.solver, self))
            self._rate = float(self.learning_rate_init)
        if first or not hasattr(self, "loss_curve_"):
            self.loss_curve_, self._no_improvement_count = [], 0
            self.validation_scores_ = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None
            self.best_loss_ = None if self.early_stopping else np.inf
        held_back = None
        if self.early_stopping:
            data, held_back = self._held_back(data, y, random)
        rows, best = data.rows, network.vector()
        if self.batch_size != "auto" and self.batch_size > rows:
            warn(f"{type(self).__name__}: batch_size={self.batch_size} is larger than the {rows} rows; it is"
                 " clipped to them.")
        batch = min(200 if self.batch_size == "auto" else self.batch_size, rows)
        runner = None if incremental else network.runner(data)
        order = np.arange(rows)
        self.n_iter_ = 0
        try:
            for _ in range(1 if incremental else self.max_iter):
                if self.shuffle:
                    drawn = np.arange(rows)
                    random.shuffle(drawn)  # the draws of sklearn.utils.shuffle, which takes 0.19 ms for it
                    order = order[drawn]
                self.loss_ = network.run(data, order, batch, runner)
                self.n_iter_ += 1
                self.t_ += rows
                self.loss_curve_.append(self.loss_)
                if self.verbose:
                    print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
                if held_back is None:
                    self._count(self.loss_ > self.best_loss_ - self.tol)
                    self.best_loss_ = min(self.best_loss_, self.loss_)
                else:
                    score = self._score(network, *held_back)
                    self.validation_scores_.append(score)
                    if self.verbose:
                        print(f"Validation score: {score:f}")
                    self._count(score < self.best_validation_score_ + self.tol)
                    if score > self.best_validation_score_:
                        self.best_validation_score_, best = score, network.vector()
                if self.solver == "sgd" and self.learning_rate == "invscaling":
                    self._set_rate(network, self.learning_rate_init / (self.t_ + 1) ** self.power_t)
                if self._no_improvement_count > self.n_iter_no_change:
                    if self.solver != "sgd" or self.learning_rate != "adaptive" or self._rate <= 1e-6:
                        if self.verbose:
                            print(f"No improvement by tol={self.tol} in {self.n_iter_no_change} epochs. Stopping.")
                        break
                    self._set_rate(network, self._rate / 5)
                    self._no_improvement_count = 0
            else:
                if not incremental:
                    warn(f"{type(self).__name__}: the optimization has not converged after"
                         f" max_iter={self.max_iter} epochs.", ConvergenceWarning)
        except KeyboardInterrupt:
            warn("Training interrupted by user.")
        if held_back is not None:
            network.set_vector(best)

    def _count(self, worse: bool) -> None:
        self._no_improvement_count = self._no_improvement_count + 1 if worse else 0

    def _set_rate(self, network, rate: float) -> None:
        self._rate = rate
        network.optimizer.learning_rate = rate

    def _held_back(self, data, y, random):
        """(rows to train on, (x, y, weights) to score on)."""
        single = is_classifier(self) and self.n_outputs_ == 1  # scikit-learn stratifies no more than this
        train, held = train_test_split(np.arange(data.rows), random_state=random, test_size=self.validation_fraction,
                                       stratify=data.structure[1] if single else None)
        if len(held) < 2:
            raise ValueError(f"{type(self).__name__}: the validation set is too small: {len(held)} of {data.rows} rows."
                             " Increase 'validation_fraction' or the size of your dataset.")
        x, targets, weights = data.structure
        parts = [None if weights is None else weights[rows] for rows in (train, held)]
        return _network.Rows(x[train], targets[train], parts[0]), (x[held], y[held], parts[1])

    def _score(self, network, x, y, weights) -> float:
        predicted = network.predict(x)
        if not np.isfinite(predicted).all():
            return np.nan
        metric = accuracy_score if is_classifier(self) else r2_score
        return metric(y, self._decoded(predicted), sample_weight=weights)

    def _outputs(self, X) -> np.ndarray:
        check_is_fitted(self)
        X = self._rows(X, False)
        X = X.tocsr() if sparse.issparse(X) else X
        return self._network.predict(X.astype(self._network.variables[0].dtype, copy=False))

    def _has_steps(self) -> bool:
        if self.solver not in ("sgd", "adam"):
            raise AttributeError("partial_fit is only available for stochastic optimizers. "
                                 f"{self.solver} is not stochastic.")
        return True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class MLPClassifier(ClassifierMixin, _MLP):
    __doc__ = f"""Classes by a multi-layer perceptron with cross-entropy; labels of one or (indicator matrix) several
    kinds. The same `random_state` gives scikit-learn's results, up to rounding.
    {ARGUMENTS}"""

    _y_checks: dict = {}

    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam", alpha=0.0001, batch_size="auto",
                 learning_rate="constant", learning_rate_init=0.001, power_t=0.5, max_iter=200, shuffle=True,
                 random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9, nesterovs_momentum=True,
                 early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-8,
                 n_iter_no_change=10, max_fun=15000):
        keep_arguments(self, locals())

    def fit(self, X, y, sample_weight=None):
        """Learns from rows X (samples, features), dense or sparse, and labels y (samples,) or indicators (samples,
        labels)."""
        return self._fit(X, y, sample_weight, False)

    @available_if(_MLP._has_steps)
    def partial_fit(self, X, y, sample_weight=None, classes=None):
        """One epoch over these rows, from the weights and the optimizer's state as they are. The first call needs all
        `classes`, except for indicators."""
        return self._fit(X, y, sample_weight, True, classes)

    def _targets(self, y, classes, first, dtype, incremental):
        """(targets as the loss takes them, what is learned from them)."""
        if sparse.issparse(y) or type_of_target(y).startswith("multilabel"):
            y = (y.toarray() if sparse.issparse(y) else np.asarray(y)).astype(dtype)
            if not first and y.shape[1] != self.n_outputs_:
                raise ValueError(f"{type(self).__name__}: expected {self.n_outputs_} labels; received {y.shape[1]}.")
            return np.ascontiguousarray(y), {"classes_": np.arange(y.shape[1]), "n_outputs_": y.shape[1],
                                             "_multilabel": True}
        y = column(y)
        if first and incremental and classes is None:
            raise ValueError(f"{type(self).__name__}: classes must be passed on the first call to partial_fit.")
        classes, numbers = learned_classes(self, y, classes, None if first else self.classes_)
        if not first and not incremental and len(np.unique(numbers)) < len(classes):
            raise ValueError(f"warm_start can only be used where `y` has the same classes as in the previous call to"
                             f" fit: {classes.tolist()}; `y` has {np.unique(y).tolist()}.")
        learned = {"classes_": classes, "n_outputs_": 1 if len(classes) == 2 else len(classes), "_multilabel": False}
        if len(classes) == 2:
            return numbers.astype(dtype)[:, None], learned
        return numbers.astype(np.int32), learned

    def _end_and_loss(self, targets):
        if targets.ndim == 1:
            return "softmax", _network.crossentropy
        return "logistic", _network.binary_crossentropy

    def _decoded(self, p):
        if self._multilabel:
            return (p > 0.5).astype(int)
        return self.classes_[(p[:, 0] > 0.5).astype(int) if p.shape[1] == 1 else p.argmax(1)]

    def predict(self, X):
        """The likeliest labels, (samples,) or indicators (samples, labels)."""
        return self._decoded(self._outputs(X))

    def predict_proba(self, X):
        """(samples, classes) probabilities."""
        p = self._outputs(X)
        return np.concatenate([1 - p, p], 1) if p.shape[1] == 1 and not self._multilabel else p

    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(RegressorMixin, _MLP):
    __doc__ = f"""Numbers by a multi-layer perceptron; one target or several. The same `random_state` gives
    scikit-learn's results, up to rounding.

    The first argument, loss, is "squared_error" (half of it, mean over samples and targets), or "poisson" (half the
    deviance; targets of 0 or more, predictions exp of the output).
    {ARGUMENTS}"""

    _y_checks: dict = {"y_numeric": True}

    def __init__(self, loss="squared_error", hidden_layer_sizes=(100,), activation="relu", *, solver="adam",
                 alpha=0.0001, batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5,
                 max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False, momentum=0.9,
                 nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1, beta_1=0.9, beta_2=0.999,
                 epsilon=1e-8, n_iter_no_change=10, max_fun=15000):
        keep_arguments(self, locals())

    def fit(self, X, y, sample_weight=None):
        """Learns from rows X (samples, features), dense or sparse, and targets y (samples,) or (samples, targets)."""
        return self._fit(X, y, sample_weight, False)

    @available_if(_MLP._has_steps)
    def partial_fit(self, X, y, sample_weight=None):
        """One epoch over these rows, from the weights and the optimizer's state as they are."""
        return self._fit(X, y, sample_weight, True)

    def _targets(self, y, classes, first, dtype, incremental):
        check_choice(self, "loss", ("squared_error", "poisson"))
        if y.ndim == 2 and y.shape[1] == 1:
            y = column(y)
        y = np.ascontiguousarray(y.reshape(len(y), -1), dtype)
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError(f"{type(self).__name__}: loss='poisson' expects targets of 0 or more; the least is"
                             f" {y.min()}.")
        if not first and y.shape[1] != self.n_outputs_:
            raise ValueError(f"{type(self).__name__}: expected {self.n_outputs_} targets; received {y.shape[1]}.")
        return y, {"n_outputs_": y.shape[1]}

    def _end_and_loss(self, targets):
        return ("exp", _network.poisson) if self.loss == "poisson" else ("identity", _network.squared_error)

    def _decoded(self, outputs):
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict(self, X):
        """(samples,) or (samples, targets)."""
        return self._decoded(self._outputs(X))
