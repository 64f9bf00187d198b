"""Estimators: scikit-learn's own checks, its results where it has the estimator, its tools around all of them."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.7")  # the first with sample weights and the Poisson loss in its MLP

import sklearn.neural_network
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, make_blobs, make_multilabel_classification, make_regression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, check_sample_weight_equivalence_on_dense_data

import pydl
from harness import PYDL_FOLDER
from pydl import layers
from pydl.estimators import (
    MLPClassifier,
    MLPRegressor,
    NeuralClassifier,
    NeuralRegressor,
    Perceptron,
    PerceptronRegressor,
)

# As scikit-learn expects of its own Perceptron, SGDClassifier and SGDRegressor: points one by one in a random order.
ONE_BY_ONE = {f"check_sample_weight_equivalence_on_{kind}_data": "points one by one" for kind in ("dense", "sparse")}
# A cloud of weight 1000 within one of 0.0001: once it is right no point moves the line, wherever that is.
BY_CHANCE = {**ONE_BY_ONE, "check_class_weight_classifiers": "a line without a margin"}


@pytest.mark.slow
@pytest.mark.parametrize("estimator, expected", [
    (Perceptron(), ONE_BY_ONE), (Perceptron("hinge"), ONE_BY_ONE), (Perceptron("softmax"), ONE_BY_ONE),
    (Perceptron("log", solver="mini-batch"), {}), (Perceptron("squared", eta0="auto"), ONE_BY_ONE),
    (Perceptron(solver="trick"), BY_CHANCE), (PerceptronRegressor(), ONE_BY_ONE),
    (MLPClassifier(max_iter=100), {}), (MLPRegressor(max_iter=100), {}),
    (NeuralClassifier(epochs=60), ONE_BY_ONE), (NeuralRegressor(epochs=60), ONE_BY_ONE)], ids=str)
def test_scikit_learns_checks(estimator, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, expected_failed_checks=expected, on_skip=None)
    passed = {r["check_name"] for r in results if r["status"] == "passed"}
    assert len(passed) > 45 and not passed & set(expected) - {"check_class_weight_classifiers"}


def test_weights_are_repetitions():
    """Where all points make one update; with scikit-learn's own choice of solvers."""
    for estimator in (MLPClassifier(solver="lbfgs"), MLPRegressor(solver="sgd", tol=1e-2, random_state=42),
                      Perceptron("log", solver="batch")):
        check_sample_weight_equivalence_on_dense_data(type(estimator).__name__, estimator)


# ---- MLP against scikit-learn's ------------------------------------------------------------------------------------

DIGITS, LABELS = load_digits(return_X_y=True)
DIGITS, LABELS = DIGITS[:600] / 16, LABELS[:600]
WEIGHTS = np.random.default_rng(0).uniform(0, 2, len(LABELS))


def both(name, x, y, sample_weight=None, **arguments):
    """The two estimators after the same training; their weights agree."""
    made = [getattr(module, name)(**arguments) for module in (pydl.estimators, sklearn.neural_network)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for estimator in made:
            estimator.fit(x, y, sample_weight=sample_weight)
    assert_same(*made)
    return made


def assert_same(ours, theirs):
    assert ours.n_iter_ == theirs.n_iter_ and ours.out_activation_ == theirs.out_activation_
    for mine, other in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_):
        np.testing.assert_allclose(mine, other, atol=2e-6)  # our learning rate is float32
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-5)
    if hasattr(theirs, "loss_curve_"):
        np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-5)
        assert ours.t_ == theirs.t_


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["even", "weighted"])
@pytest.mark.parametrize("arguments", [
    {}, {"solver": "lbfgs"}, {"solver": "sgd", "learning_rate_init": 0.05},
    {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5, "nesterovs_momentum": False},
    {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.3, "tol": 0.5, "n_iter_no_change": 1},
    {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.1}, {"alpha": 1.0, "batch_size": 64},
    {"hidden_layer_sizes": (20, 10), "activation": "tanh", "shuffle": False}, {"hidden_layer_sizes": ()},
    {"hidden_layer_sizes": 15, "activation": "logistic", "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4},
    {"activation": "identity", "solver": "sgd", "momentum": 0.5}], ids=str)
def test_classifier_gives_scikit_learns_results(arguments, weights):
    ours, theirs = both("MLPClassifier", DIGITS, LABELS, weights, max_iter=8, random_state=3, **arguments)
    np.testing.assert_allclose(ours.predict_proba(DIGITS), theirs.predict_proba(DIGITS), atol=1e-5)
    np.testing.assert_array_equal(ours.predict(DIGITS), theirs.predict(DIGITS))
    if "early_stopping" in arguments:
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_)
        assert ours.best_validation_score_ == theirs.best_validation_score_ and ours.best_loss_ is None


@pytest.mark.parametrize("arguments", [{}, {"solver": "lbfgs"}, {"loss": "poisson"},
                                       {"early_stopping": True, "activation": "tanh"}], ids=str)
@pytest.mark.parametrize("targets", [1, 2])
def test_regressor_gives_scikit_learns_results(targets, arguments):
    x, y = make_regression(200, 5, n_targets=targets, random_state=0)
    y = np.abs(y) / 100
    ours, theirs = both("MLPRegressor", x, y, max_iter=8, random_state=0, **arguments)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=1e-4)
    assert ours.predict(x).shape == y.shape


def test_kinds_of_labels_and_points():
    x, y = make_multilabel_classification(120, 6, random_state=0)
    ours, theirs = both("MLPClassifier", x, y, max_iter=30, random_state=0)
    np.testing.assert_array_equal(ours.predict(x), theirs.predict(x))
    two = LABELS < 2
    both("MLPClassifier", DIGITS[two], LABELS[two], max_iter=5, random_state=0)
    names = np.array(["even", "odd"], object)[LABELS % 2]
    ours, _ = both("MLPClassifier", DIGITS, names, max_iter=5, random_state=0)
    assert set(ours.predict(DIGITS)) == {"even", "odd"}
    thin = sparse.csr_array(np.where(DIGITS > 0.5, DIGITS, 0))
    ours, theirs = both("MLPClassifier", thin, LABELS, max_iter=5, random_state=0)
    np.testing.assert_allclose(ours.predict_proba(thin.tocsc()), theirs.predict_proba(thin), atol=1e-5)
    single = MLPClassifier(max_iter=5, random_state=0, tol=1.0, n_iter_no_change=1).fit(DIGITS.astype("f4"), LABELS)
    assert single.coefs_[0].dtype == np.float32 == single.predict_proba(DIGITS).dtype
    assert MLPClassifier((), solver="lbfgs", max_iter=500).fit(DIGITS, LABELS).score(DIGITS, LABELS) > 0.99


def test_going_on():
    for name in ("MLPClassifier", "MLPRegressor"):
        ours, theirs = (getattr(m, name)(hidden_layer_sizes=20, random_state=0)
                        for m in (pydl.estimators, sklearn.neural_network))
        for estimator in (ours, theirs):
            for i in range(3):
                rows = slice(200 * i, 200 * (i + 1))
                more = {"classes": np.arange(10)} if i == 0 and name == "MLPClassifier" else {}
                estimator.partial_fit(DIGITS[rows], LABELS[rows], **more)
        assert_same(ours, theirs)
    copy = pickle.loads(pickle.dumps(ours))  # with the optimizer's state
    for estimator in (ours, copy):
        estimator.partial_fit(DIGITS, LABELS)
    np.testing.assert_array_equal(ours.coefs_[0], copy.coefs_[0])
    ours, theirs = (m.MLPClassifier(max_iter=3, warm_start=True, random_state=0)
                    for m in (pydl.estimators, sklearn.neural_network))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for estimator in (ours, theirs):
            estimator.fit(DIGITS, LABELS).fit(DIGITS, LABELS)
    assert_same(ours, theirs)
    with pytest.raises(ValueError, match="same classes"):
        ours.fit(DIGITS[LABELS < 5], LABELS[LABELS < 5])
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit") and not hasattr(MLPClassifier(), "coefs_")
    assert ours.model_.count_params() == 64 * 100 + 100 + 1010


@pytest.mark.parametrize("arguments, text", [
    ({"activation": "step"}, "activation"), ({"solver": "newton"}, "solver"), ({"hidden_layer_sizes": (3, 0)}, "> 0"),
    ({"alpha": -1}, "alpha"), ({"learning_rate_init": 0}, "learning_rate_init"), ({"momentum": 2}, "at most 1"),
    ({"batch_size": 0}, "batch_size"), ({"max_iter": 0.5}, "max_iter"), ({"learning_rate": "fast"}, "learning_rate"),
    ({"early_stopping": True, "validation_fraction": 0.001}, "validation")])
def test_arguments_out_of_range(arguments, text):
    with pytest.raises(ValueError, match=text):
        MLPClassifier(**arguments).fit(DIGITS[:50], LABELS[:50])


def test_bad_input_changes_nothing():
    estimator = MLPRegressor(hidden_layer_sizes=5, solver="sgd", learning_rate_init=0.1, random_state=0)
    estimator.partial_fit(DIGITS, LABELS)
    before = estimator.coefs_[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for bad in (lambda: estimator.partial_fit(1e200 * DIGITS, LABELS), lambda: estimator.partial_fit(DIGITS[:, 1:],
                    LABELS), lambda: estimator.partial_fit(DIGITS, np.stack([LABELS, LABELS], 1)),
                    lambda: estimator.partial_fit(DIGITS, LABELS, sample_weight=np.zeros(600))):
            with pytest.raises(ValueError, match="MLPRegressor|weights"):
                bad()
            np.testing.assert_array_equal(estimator.coefs_[0], before)
    with pytest.raises(ValueError, match="targets of 0 or more"):
        MLPRegressor("poisson").fit(DIGITS, -LABELS)
    with pytest.raises(ValueError, match="early_stopping"):
        MLPRegressor(early_stopping=True).partial_fit(DIGITS, LABELS)


# ---- scikit-learn's tools ----------------------------------------------------------------------------------------

BLOBS, KINDS = make_blobs(120, centers=3, random_state=0)
NAMES = np.array(["ash", "oak", "fir"])[KINDS]


def network(features, classes, units=8, end="softmax"):
    return pydl.Sequential([pydl.Input((features,)), layers.Dense(units, activation="tanh"),
                            layers.Dense(classes, activation=end)])


CLASSIFIERS = [Perceptron("softmax", random_state=0), MLPClassifier((8,), max_iter=60, learning_rate_init=0.05,
                                                                    random_state=0),
               NeuralClassifier(network, optimizer=pydl.optimizers.Adam(0.05), random_state=0)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda e: type(e).__name__)
def test_in_scikit_learns_tools(estimator):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(BLOBS, columns=["height", "girth"])
    assert cross_val_score(make_pipeline(StandardScaler(), clone(estimator)), frame, NAMES, cv=3).min() > 0.75
    fitted = clone(estimator).fit(frame, pandas.Series(NAMES))
    assert list(fitted.feature_names_in_) == ["height", "girth"] and fitted.n_features_in_ == 2
    assert list(fitted.classes_) == ["ash", "fir", "oak"] and fitted.score(frame, NAMES) > 0.75
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame.rename(columns={"girth": "age"}))
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.predict_proba(frame), fitted.predict_proba(frame))
    np.testing.assert_array_equal(clone(estimator).fit(frame, NAMES).predict_proba(frame), fitted.predict_proba(frame))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_searches_in_two_processes():
    grids = [(Perceptron(random_state=0), {"loss": ["log", "hinge"], "eta0": [0.1, 0.01]}),
             (MLPClassifier(max_iter=30, learning_rate_init=0.05, random_state=0),
              {"hidden_layer_sizes": [(4,), (8, 8)]}),
             (NeuralClassifier(epochs=20, random_state=0), {"model_arguments": [{"units": 4}, {"units": 16}]})]
    for estimator, grid in grids:
        alone, pair = (GridSearchCV(estimator, grid, cv=3, n_jobs=jobs).fit(BLOBS, NAMES) for jobs in (1, 2))
        assert alone.best_params_ == pair.best_params_
        np.testing.assert_array_equal(alone.cv_results_["mean_test_score"], pair.cv_results_["mean_test_score"])
        assert pair.score(BLOBS, NAMES) > 0.6


def test_scikit_learn_is_optional():
    run = [sys.executable, "-c"]
    code = ("import sys; import pydl, pydl.inspection; assert not any(m.split('.')[0] in ('sklearn', 'pandas', 'scipy')"
            " for m in sys.modules)\n"
            "sys.modules['sklearn'] = None\ntry: pydl.estimators\nexcept ImportError as e: print(e)")
    done = subprocess.run([*run, code], capture_output=True, text=True, cwd=PYDL_FOLDER, check=True)
    assert "pip install 'pydl[sklearn]'" in done.stdout
