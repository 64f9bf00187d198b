"""The perceptron: one unit, or one per class, and the rules by which its line moves."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from pydl import _perceptron
from pydl.estimators._common import (
    check_choice,
    check_number,
    column,
    keep_arguments,
    learned_classes,
    sample_weights,
    with_class_weights,
)
from pydl.warning import warn

__all__ = ["Path", "Perceptron", "PerceptronRegressor"]

LOSSES = {"perceptron": _perceptron.TRICK, "hinge": _perceptron.HINGE, "log": _perceptron.LOG,
          "softmax": _perceptron.SOFTMAX, "squared": _perceptron.SIGNED}
SOLVERS = ("trick", "rule", "stochastic", "mini-batch", "batch")
_DRAWN = 8192  # random points drawn at a time


class Path(NamedTuple):
    """The way of the line: after `step[i]` updates it was `coef[i]`, `intercept[i]`; the first entry is the start.

    Updates that moved nothing are counted and have no entry.

    Attributes:
        step: (changes + 1,) int64.
        coef: (changes + 1, units, features).
        intercept: (changes + 1, units).
    """

    step: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray


class _Unit(BaseEstimator):
    """The loop that `Perceptron` and `PerceptronRegressor` share."""

    def _check_arguments(self) -> None:
        check_choice(self, "solver", SOLVERS)
        check_choice(self, "init", ("zeros", "random"))
        if self.eta0 != "auto":
            check_number(self, "eta0", 0, open_low=True)
        check_number(self, "max_iter", 1, integer=True)
        check_number(self, "max_steps", 1, integer=True, optional=True)
        check_number(self, "tol", 0, optional=True)
        check_number(self, "n_iter_no_change", 1, integer=True)
        check_number(self, "batch_size", 1, integer=True)

    def _points(self, X, *y, reset=True, **kwargs):
        return validate_data(self, X, *y, accept_sparse="csr", accept_large_sparse=False, dtype=np.float64, order="C",
                             reset=reset, **kwargs)

    def _start(self, units: int, features: int, first: bool, coef_init, intercept_init):
        """(coef (units, features), intercept (units,)) to begin with, copies."""
        if first:
            self._random = check_random_state(self.random_state)
        if not first:
            coef, intercept = self.coef_, self.intercept_
        elif self.init == "random":
            coef, intercept = self._random.normal(size=(units, features)), self._random.normal(size=units)
            intercept = intercept if self.fit_intercept else np.zeros(units)
        else:
            coef, intercept = np.zeros((units, features)), np.zeros(units)
        found = []
        for name, given, default, shape in (("coef_init", coef_init, coef, (units, features)),
                                            ("intercept_init", intercept_init, intercept, (units,))):
            value = np.array(default if given is None else given, np.float64, order="C")
            if value.size != np.prod(shape) or not np.isfinite(value).all():
                raise ValueError(f"{type(self).__name__}: expected {name} to be finite and of shape {shape}; received"
                                 f" an array of shape {value.shape}.")
            found.append(value.reshape(shape))
        return found

    def _learn(self, rule, X, targets, weights, coef, intercept, passes, callback, first):
        """Moves `coef` and `intercept` in place; sets everything else that is learned."""
        m = X.shape[0]
        at_random = self.solver in ("trick", "rule")
        batch = {"batch": m, "mini-batch": min(self.batch_size, m)}.get(self.solver, 1)
        share = 1.0 if weights is None else weights.mean()
        if batch > 1 and weights is not None:  # means, whatever the scale of the weights
            weights, share = weights / share, 1.0
        watched = callback is not None or self.record_path
        room = 0 if not watched else 1 if callback is not None else max(1, min(4096, 2**21 // (coef.size + 1)))
        points = X if not sparse.issparse(X) else (
            X.data, X.indices.astype(np.int32, copy=False), X.indptr.astype(np.int32, copy=False))
        rate = float(self.eta0) if self.eta0 != "auto" else 1 / (
            (1 + _squares(X).max()) * (1 if weights is None else weights.max()))
        walker = _perceptron.Walker(rule, rate, batch, points, targets, weights, coef, intercept,
                                    bool(self.fit_intercept), room)
        kept = [(np.zeros(1, np.int64), coef[None].copy(), intercept[None].copy())]
        # A perceptron's loss is in the units of its line, which grows by eta0.
        tol = None if self.tol is None else self.tol * (rate if rule <= _perceptron.STEP else 1)
        left = self.max_steps if self.max_steps is not None else passes * (-(-m // batch))
        curve, best, bad, stopped, converged = [], np.inf, 0, False, False
        while len(curve) < passes and left > 0 and not (stopped or converged):
            block = min(max(1, _DRAWN // m), passes - len(curve)) if at_random else 1
            walker.follow(self._order(m, block, at_random))
            for start in range(0, block * m, m):
                walker.loss, walker.moves, before = 0.0, 0, walker.steps
                done = min(m, left * batch)
                arrived = False
                while not (arrived or stopped):
                    arrived = walker.walk(start + done)
                    stopped = self._taken(walker, kept, callback)
                left -= walker.steps - before
                seen = walker.position - start
                curve.append(walker.loss / (seen * share))
                if not math.isfinite(curve[-1]):
                    stopped = True
                if walker.moves == 0 and seen == m and not (
                        at_random and _moves(rule, X, targets, weights, coef, intercept)):
                    converged = True
                elif tol is not None and passes > 1:
                    bad = bad + 1 if curve[-1] > best - tol else 0
                    converged = bad >= self.n_iter_no_change
                best = min(best, curve[-1])
                if self.verbose:
                    print(f"Pass {len(curve)}, loss {curve[-1]:.6f}, {walker.moves} moves")
                if left <= 0 or stopped or converged:
                    break
        if not (math.isfinite(curve[-1]) and np.isfinite(coef).all() and np.isfinite(intercept).all()):
            raise ValueError(f"{type(self).__name__}: the line grew without bound in pass {len(curve)}. Lower"
                             f" eta0={self.eta0} (or use 'auto'), or scale the features (StandardScaler).")
        if passes > 1 and self.max_steps is None and tol is not None and not (converged or stopped):
            warn(f"{type(self).__name__}: the loss still falls after max_iter={passes} passes.",
                 ConvergenceWarning)
        self.n_iter_, self.eta0_ = len(curve), rate
        self.t_ = walker.steps + (0 if first else self.t_)
        self.loss_curve_ = curve if first else self.loss_curve_ + curve
        if self.record_path:
            path = Path(*(np.concatenate(parts) for parts in zip(*kept)))
            if not first and hasattr(self, "path_"):  # goes on where the last call ended
                old = self.path_
                path = Path(*(np.concatenate([a, b[1:]]) for a, b in
                              zip(old, path._replace(step=path.step + self.t_ - walker.steps))))
            self.path_ = path

    def _order(self, m: int, passes: int, at_random: bool) -> np.ndarray:
        if at_random:
            return self._random.randint(0, m, size=passes * m, dtype=np.int32)
        if self.solver == "batch" or not self.shuffle:
            return np.arange(m, dtype=np.int32)
        return self._random.permutation(m).astype(np.int32)

    def _taken(self, walker, kept, callback) -> bool:
        """Takes the changes of the last walk; whether the callback wants to stop."""
        if callback is None and not self.record_path:
            return False
        changes = walker.taken()
        if self.record_path:
            kept.append(changes)
        return callback is not None and any([bool(callback(int(step), coef.copy(), intercept.copy()))
                                             for step, coef, intercept in zip(*changes)])


class Perceptron(ClassifierMixin, _Unit):
    """One line (hyperplane) between two classes, or one per class, moved point by point or by gradient descent.

    With f(x) = w x + b and y = 1 or -1, the loss of a point is

    * "perceptron": max(0, -y f(x)), the step unit (Rosenblatt, 1958);
    * "hinge": max(0, 1 - y f(x)), a linear support vector machine without its penalty;
    * "log": log(1 + exp(-y f(x))), the sigmoid unit: logistic regression;
    * "softmax": cross-entropy of softmax over one line per class: softmax regression;
    * "squared": (y - f(x))^2 / 2, the linear unit (Widrow and Hoff, 1960).

    More than two classes: one line against the rest for each; "softmax" has a line per class, also for two.

    Args:
        loss: see above.
        solver: which points make an update.
            "trick": one random point, drawn with replacement: if it is on the wrong side of its line, or on it, the
            line moves by eta0 y x (with other losses: by eta0 times the negative gradient).
            "rule": the same, written w += eta0 (y - y') x with y in {0, 1} and the unit's output y': its step (0 on
            the line, where "trick" moves both ways), sigmoid, softmax, or f(x) itself for y = 1 or -1; not for "hinge".
            "stochastic": one point, each once per pass. "mini-batch": the mean over `batch_size` points. "batch": the
            mean over all points.
        eta0: learning rate, over 0; or "auto", 1 / max(|x|^2 + 1): with the squared loss no update then goes beyond
            its point, so that the line stays bounded whatever the scale of the features.
        max_iter: passes; a pass is as many points as there are.
        max_steps: updates after which to stop, counted also where nothing moves; None: no bound.
        tol: stop when the loss per pass has not fallen by `tol` for `n_iter_no_change` passes (with "perceptron", whose
            line grows with the learning rate, by eta0 tol); None: never. When no point moves the line, it stops anyway.
        n_iter_no_change: see `tol`.
        batch_size: of "mini-batch".
        shuffle: whether "stochastic" and "mini-batch" take a new order in each pass.
        fit_intercept: whether b is learned; else it stays as it began.
        init: "zeros", or "random": normal draws.
        class_weight: dict class -> factor of its points' moves, "balanced", or None.
        record_path: whether to keep every change of the line in `path_`.
        warm_start: whether `fit` goes on from the last line.
        verbose: whether to print a line per pass.
        random_state: int, RandomState or None.

    Attributes:
        coef_: (1, features), or (classes, features) for more than two classes and "softmax".
        intercept_: (1,) or (classes,).
        classes_: the classes, sorted.
        n_iter_: passes of the last call.
        eta0_: learning rate of the last call.
        t_: updates in all.
        loss_curve_: mean loss of each pass, every point's taken before its update.
        path_: `Path`, with `record_path`.
        n_features_in_, feature_names_in_: as in scikit-learn.
    """

    def __init__(self, loss="perceptron", *, solver="stochastic", eta0=0.1, max_iter=1000, max_steps=None, tol=1e-3,
                 n_iter_no_change=5, batch_size=32, shuffle=True, fit_intercept=True, init="zeros", class_weight=None,
                 record_path=False, warm_start=False, verbose=0, random_state=None):
        keep_arguments(self, locals())

    def fit(self, X, y, coef_init=None, intercept_init=None, sample_weight=None, callback=None):
        """Learns the line.

        Args:
            X: (samples, features), array, frame or sparse.
            y: (samples,) labels of any kind.
            coef_init, intercept_init: the line to begin with, of the shapes of `coef_` and `intercept_`.
            sample_weight: (samples,) factors of the points' moves.
            callback: called as callback(step, coef, intercept) after every update that moved a line, with copies;
                when it returns something true, training stops.

        Raises:
            ValueError: for arguments and data out of range, and when the line grows without bound (it is kept as it
                was).
        """
        first = not (self.warm_start and hasattr(self, "coef_"))
        return self._fit(X, y, None, coef_init, intercept_init, sample_weight, callback, first, self.max_iter)

    def partial_fit(self, X, y, classes=None, sample_weight=None, callback=None):
        """One pass over the points, from the line as it is.

        Args:
            classes: all classes; needed in the first call.
            others: see `fit`.
        """
        first = not hasattr(self, "coef_")
        if first and classes is None:
            raise ValueError(f"{type(self).__name__}: classes must be passed on the first call to partial_fit.")
        if self.class_weight == "balanced":
            raise ValueError(f"{type(self).__name__}: class_weight='balanced' needs all points at once, which"
                             " partial_fit does not have. Pass a dict.")
        return self._fit(X, y, classes, None, None, sample_weight, callback, first, 1)

    def _fit(self, X, y, classes, coef_init, intercept_init, sample_weight, callback, first, passes):
        check_choice(self, "loss", LOSSES)
        self._check_arguments()
        rule = LOSSES[self.loss]
        if self.solver == "rule":
            if self.loss == "hinge":
                raise ValueError(f"{type(self).__name__}: the hinge loss has no rule of the form w += eta0 (y - y') x."
                                 " Use solver='trick' or 'stochastic'.")
            rule = _perceptron.STEP if rule == _perceptron.TRICK else rule
        X, y = self._points(X, y, reset=first)
        y = column(y)
        classes, numbers = learned_classes(self, y, classes, None if first else self.classes_)
        weights = with_class_weights(self, self.class_weight, y, classes, numbers, sample_weights(
            self, sample_weight, X))
        units = 1 if len(classes) == 2 and self.loss != "softmax" else len(classes)
        if not first and len(self.coef_) != units:
            raise ValueError(f"{type(self).__name__}: {len(self.coef_)} lines cannot go on with loss={self.loss!r}.")
        coef, intercept = self._start(units, X.shape[1], first, coef_init, intercept_init)
        self._learn(rule, X, numbers.astype(np.float64), weights, coef, intercept, passes, callback, first)
        self.classes_, self.coef_, self.intercept_ = classes, coef, intercept
        return self

    def decision_function(self, X):
        """f(x): (samples,) for two classes, positive on the side of `classes_[1]`; else (samples, classes)."""
        check_is_fitted(self)
        z = _scores(self._points(X, reset=False), self.coef_, self.intercept_)
        return z if len(self.classes_) > 2 else z[:, -1] - (z[:, 0] if z.shape[1] == 2 else 0)

    def predict(self, X):
        """(samples,) labels: the side of the line, or the class with the largest f(x)."""
        z = self.decision_function(X)
        return self.classes_[(z > 0).astype(int) if z.ndim == 1 else z.argmax(1)]

    def _has_probabilities(self) -> bool:
        if self.loss not in ("log", "softmax"):
            raise AttributeError(f"loss={self.loss!r} gives no probabilities; 'log' and 'softmax' do.")
        return True

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        """(samples, classes) probabilities, with "log" and "softmax": sigmoid, divided by its sum over more than two
        classes, or softmax."""
        z = self.decision_function(X)
        if z.ndim == 1:
            p = 0.5 * (1 + np.tanh(z / 2))
            return np.stack([1 - p, p], 1)
        p = np.exp(z - z.max(1, keepdims=True)) if self.loss == "softmax" else 0.5 * (1 + np.tanh(z / 2))
        total = p.sum(1, keepdims=True)
        return np.where(total > 0, p, 1) / np.where(total > 0, total, p.shape[1])

    @available_if(_has_probabilities)
    def predict_log_proba(self, X):
        """Logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def mean_loss(self, X, y, coef=None, intercept=None):
        """The loss that training lowers, averaged over points; for other lines than the learned one, too.

        Args:
            X, y: points and labels as in `fit`.
            coef, intercept: (..., units, features) and (..., units); `coef_` and `intercept_` by default.

        Returns:
            Array of the leading shape; a float without one.
        """
        check_is_fitted(self)
        X, y = self._points(X, y, reset=False)
        _, numbers = learned_classes(self, column(y), known=self.classes_)
        return _mean_loss(LOSSES[self.loss], X, numbers, *_lines(self, coef, intercept))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class PerceptronRegressor(RegressorMixin, _Unit):
    """The linear unit for numbers: (y - f(x))^2 / 2 with f(x) = w x + b, lowered as `Perceptron` does it.

    Args:
        solver, ..., random_state: as of `Perceptron`; "trick" and "rule" are both w += eta0 (y - f(x)) x at random
            points.

    Attributes:
        coef_: (features,), intercept_: (1,); others as of `Perceptron`.
    """

    def __init__(self, *, solver="stochastic", eta0="auto", max_iter=1000, max_steps=None, tol=1e-3, n_iter_no_change=5,
                 batch_size=32, shuffle=True, fit_intercept=True, init="zeros", record_path=False, warm_start=False,
                 verbose=0, random_state=None):
        keep_arguments(self, locals())

    def fit(self, X, y, coef_init=None, intercept_init=None, sample_weight=None, callback=None):
        """Learns the line; see `Perceptron.fit`.

        Raises:
            ValueError: also when the line grows without bound: the features are too large for `eta0`.
        """
        first = not (self.warm_start and hasattr(self, "coef_"))
        return self._fit(X, y, coef_init, intercept_init, sample_weight, callback, first, self.max_iter)

    def partial_fit(self, X, y, sample_weight=None, callback=None):
        """One pass over the points, from the line as it is."""
        return self._fit(X, y, None, None, sample_weight, callback, not hasattr(self, "coef_"), 1)

    def _fit(self, X, y, coef_init, intercept_init, sample_weight, callback, first, passes):
        self._check_arguments()
        X, y = self._points(X, y, reset=first, **({} if y is None else {"y_numeric": True}))
        y = np.ascontiguousarray(column(y), np.float64)
        weights = sample_weights(self, sample_weight, X)
        coef, intercept = self._start(1, X.shape[1], first, coef_init, intercept_init)
        self._learn(_perceptron.SQUARED, X, y, weights, coef, intercept, passes, callback, first)
        self.coef_, self.intercept_ = coef[0], intercept
        return self

    def predict(self, X):
        """f(x), (samples,)."""
        check_is_fitted(self)
        return _scores(self._points(X, reset=False), self.coef_[None], self.intercept_)[:, 0]

    def mean_loss(self, X, y, coef=None, intercept=None):
        """See `Perceptron.mean_loss`; one unit."""
        check_is_fitted(self)
        X, y = self._points(X, y, reset=False, y_numeric=True)
        return _mean_loss(_perceptron.SQUARED, X, column(y), *_lines(self, coef, intercept))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _scores(X, coef, intercept) -> np.ndarray:
    """(samples, units)"""
    return np.asarray(X @ coef.T) + intercept


def _squares(X) -> np.ndarray:
    """(samples,) sums of squares of the features."""
    return np.asarray(X.multiply(X).sum(1)) if sparse.issparse(X) else np.einsum("ij,ij->i", X, X)


def _signs(targets, units: int) -> np.ndarray:
    """(samples, units): +1 for the class of a unit, -1 for others."""
    return np.where(targets[:, None] == (np.arange(units) if units > 1 else [1]), 1.0, -1.0)


def _moves(rule, X, targets, weights, coef, intercept) -> bool:
    """Whether any point would move a line: a random pass leaves out more than a third of them."""
    z, signs = _scores(X, coef, intercept), _signs(targets, len(coef))
    wrong = {_perceptron.TRICK: signs * z <= 0, _perceptron.STEP: (signs > 0) != (z > 0),
             _perceptron.HINGE: signs * z < 1}.get(rule)
    return wrong is None or bool(wrong[slice(None) if weights is None else weights > 0].any())


def _lines(unit, coef, intercept):
    """The learned line in place of None."""
    coef = np.atleast_2d(unit.coef_ if coef is None else np.asarray(coef, np.float64))
    return coef, np.asarray(unit.intercept_ if intercept is None else intercept, np.float64)


def _mean_loss(rule, X, targets, coef, intercept):
    """Of the lines coef (..., K, n), intercept (..., K): (...)."""
    shape, units = coef.shape[:-2], coef.shape[-2]
    z = _scores(X, coef.reshape(-1, coef.shape[-1]), np.broadcast_to(intercept, coef.shape[:-1]).reshape(-1))
    z = z.reshape(len(z), -1, units)
    t = targets[:, None, None] if rule == _perceptron.SQUARED else _signs(targets, units)[:, None]
    if rule == _perceptron.SOFTMAX:
        loss = np.logaddexp.reduce(z, -1) - z[np.arange(len(z)), :, targets]
    else:
        loss = {_perceptron.TRICK: lambda: np.maximum(0, -t * z), _perceptron.HINGE: lambda: np.maximum(0, 1 - t * z),
                _perceptron.LOG: lambda: np.logaddexp(0, -t * z)}.get(rule, lambda: (t - z) ** 2 / 2)().sum(-1)
    return loss.mean(0).reshape(shape)[()]
