"""Decision regions, lines in a box, the animation, surfaces of the loss: arrays against NumPy, pictures by contents."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

import pydl as keras
from pydl import layers
from pydl.estimators import MLPClassifier, NeuralClassifier, Perceptron, PerceptronRegressor
from pydl.inspection import (
    animate_line,
    decision_regions,
    descent_curves,
    line_ends,
    loss_surface,
    plot_decision_regions,
    plot_descent_curves,
    plot_loss_surface,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
THREE = np.arange(60) % 3
X[THREE == 1] += [4, 0]
X[THREE == 2] += [0, 4]
TWO = (THREE > 0).astype(int)
NAMES = np.array(["ash", "fir", "oak"])[THREE]


def grid(regions):
    return np.array([[(a, b) for a in regions.x] for b in regions.y])


@pytest.mark.parametrize("model, y", [
    (Perceptron("softmax"), NAMES), (Perceptron("log"), TWO), (MLPClassifier(max_iter=300), NAMES),
    (NeuralClassifier(epochs=2), NAMES), (KNeighborsClassifier(), NAMES), (DecisionTreeClassifier(), TWO)],
    ids=lambda v: type(v).__name__)
def test_regions_are_predictions(model, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    found = decision_regions(model, X, resolution=21)
    points = grid(found).reshape(-1, 2)
    np.testing.assert_array_equal(found.classes[found.label].ravel(), model.predict(points))
    assert found.x[0] < X[:, 0].min() and found.y[-1] > X[:, 1].max() and found.label.shape == (21, 21)
    if len(found.classes) == 2:
        np.testing.assert_array_equal(found.score > 0, found.label == 1)
    else:
        assert (found.score >= 0).all()


@pytest.mark.parametrize("units, end, loss", [(3, "softmax", "sparse_categorical_crossentropy"),
                                              (1, "sigmoid", "binary_crossentropy"),
                                              (1, None, keras.losses.BinaryCrossentropy(from_logits=True))])
def test_regions_of_a_model(units, end, loss):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(5, activation="tanh"), layers.Dropout(0.5),
                              layers.Dense(units, activation=end)])
    model.compile("sgd", loss)
    found = decision_regions(model, bounds=(-1, 2, 0, 3), resolution=11)
    y = model.predict(grid(found).reshape(-1, 2), verbose=0)
    expected = y.argmax(1) if units > 1 else (y[:, 0] > (0.5 if end else 0)).astype(int)
    np.testing.assert_array_equal(found.label.ravel(), expected)
    np.testing.assert_array_equal(found.x, np.linspace(-1, 2, 11))


def test_regions_of_a_frame_and_their_picture(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["height", "girth"])
    model = Perceptron("softmax", random_state=0).fit(frame, NAMES)
    figure = plot_decision_regions(model, frame, NAMES, title="trees", path=tmp_path / "regions.png", resolution=30)
    cell, = figure.axes
    assert cell.get_title() == "trees" and [t.get_text() for t in cell.get_legend().texts] == ["ash", "fir", "oak"]
    assert (tmp_path / "regions.png").read_bytes().startswith(b"\x89PNG")
    only = plot_decision_regions(decision_regions(model, X, resolution=9), X)
    assert len(only.axes[0].collections) > 2


def test_lines_end_at_the_box():
    rng = np.random.default_rng(1)
    coef, b, box = rng.normal(size=(200, 3, 2)), rng.normal(size=(200, 3)), (-1.0, 2.0, -0.5, 1.0)
    coef[0, 0], coef[1, 0], coef[2, 0] = (1, 0), (0, 1), (0, 0)
    ends = line_ends(coef, b, box)
    seen = np.isfinite(ends).all((-1, -2))
    assert 100 < seen.sum() < 600 and not seen[2, 0]
    corners = np.array([(x, y) for x in box[:2] for y in box[2:]])
    sides = corners @ coef[..., None] + b[..., None, None]  # a line crosses the box where corners lie on both sides
    np.testing.assert_array_equal(seen, (sides.min((-1, -2)) <= 0) & (sides.max((-1, -2)) >= 0) & coef.any(-1))
    x, y = ends[seen][..., 0], ends[seen][..., 1]
    np.testing.assert_allclose(coef[seen][:, None, 0] * x + coef[seen][:, None, 1] * y + b[seen][:, None], 0, atol=1e-9)
    on = np.isclose(x, box[0]) | np.isclose(x, box[1]) | np.isclose(y, box[2]) | np.isclose(y, box[3])
    assert on.all() and (x >= box[0] - 1e-9).all() and (y <= box[3] + 1e-9).all()


def test_animation(tmp_path):
    from PIL import Image

    unit = Perceptron(solver="trick", eta0=0.1, max_iter=20, tol=None, record_path=True, random_state=0).fit(X, TWO)
    frames = animate_line(unit, X, TWO, tmp_path / "line.gif", frames=7, fps=5)
    with Image.open(tmp_path / "line.gif") as gif:
        assert gif.n_frames == frames == 7 and gif.info["duration"] == 200
        first = np.asarray(gif.convert("L"), int)
        gif.seek(6)
        assert np.abs(np.asarray(gif.convert("L"), int) - first).max() > 50  # the line has moved
    assert animate_line(Perceptron("softmax", record_path=True, max_iter=1, tol=None).fit(X, NAMES).path_, X, NAMES,
                        str(tmp_path / "three.gif"), frames=2) == 2
    with pytest.raises(ValueError, match="record_path"):
        animate_line(Perceptron().fit(X, TWO), X, TWO, tmp_path / "none.gif")


def test_surface_and_its_path():
    unit = Perceptron("log", solver="batch", eta0=0.5, max_iter=40, tol=None, record_path=True).fit(X, TWO)
    found = loss_surface(unit, X, TWO, (1, "intercept"), resolution=9)
    for i, j in ((0, 0), (3, 7), (8, 8)):
        z = X @ [unit.coef_[0, 0], found.x[j]] + found.y[i]
        np.testing.assert_allclose(found.loss[i, j], np.log1p(np.exp(-(2 * TWO - 1) * z)).mean())
    assert found.names == ("w2", "b")
    np.testing.assert_array_equal(found.path[-1], [unit.coef_[0, 1], unit.intercept_[0]])
    assert found.x[0] < found.path[:, 0].min() and found.y[-1] > found.path[:, 1].max()
    assert len(plot_loss_surface(found).axes) == 2
    flat = loss_surface(PerceptronRegressor(max_iter=5, tol=None).fit(X, X[:, 0]), X, X[:, 0], bounds=(0, 2, -1, 1),
                        resolution=3)
    assert flat.path is None and flat.loss.argmin() == 4  # w = (1, 0) in the middle
    for wrong in ((0, 0), (0, 3), (0,)):
        with pytest.raises(ValueError, match="two of the weights"):
            loss_surface(unit, X, TWO, wrong)
    with pytest.raises(ValueError, match="3 lines"):
        loss_surface(Perceptron().fit(X, NAMES), X, NAMES)


def test_curves():
    curves = descent_curves(Perceptron("log", random_state=0), X, TWO, passes=3, eta0=0.05)
    assert {k: len(v) for k, v in curves.items()} == {"batch": 4, "stochastic": 181, "mini-batch": 7}
    for curve in curves.values():
        assert curve[0, 1] == pytest.approx(np.log(2)) and curve[-1, 0] == 3
    batch = Perceptron("log", solver="batch", eta0=0.05, max_iter=3, tol=None).fit(X, TWO)
    assert curves["batch"][-1, 1] == pytest.approx(batch.mean_loss(X, TWO))
    texts = [t.get_text() for t in plot_descent_curves(curves).axes[0].get_legend().texts]
    assert texts == ["batch, 3 moves", "stochastic, 180 moves", "mini-batch, 6 moves"]


def test_what_cannot_be_drawn():
    unit = Perceptron().fit(X, TWO)
    for call, text in ((lambda: decision_regions(unit), "bounds"), (lambda: decision_regions(unit, X[:, :1]), "two"),
                       (lambda: decision_regions(unit, bounds=(1, 0, 0, 1)), "left, right"),
                       (lambda: decision_regions(unit, X, resolution=1), "resolution"),
                       (lambda: decision_regions("tree", X), "fitted classifier"),
                       (lambda: line_ends(np.ones((3, 3)), np.ones(3), (0, 1, 0, 1)), "coef")):
        with pytest.raises(ValueError, match=text):
            call()
