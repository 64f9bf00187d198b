"""The examples run and compute what they say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def example(name):
    """The module of examples/<name>.py."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


edges = example("edge_detection")


def correlated(image, kernel):
    windows = np.lib.stride_tricks.sliding_window_view(image, np.shape(kernel))
    return np.einsum("ijhw,hw->ij", windows, kernel)


def test_sobel_finds_a_step():
    step = np.zeros((5, 8), "float32")
    step[:, 4:] = 1  # dark left, bright right
    found = edges.filtered(step)
    expected = np.zeros((3, 6))
    expected[:, 2:4] = 4  # 1 + 2 + 1 under the two windows that reach over the edge
    np.testing.assert_array_equal(found["Sobel x"], expected)
    np.testing.assert_array_equal(found["Sobel y"], np.zeros((3, 6)))
    np.testing.assert_array_equal(edges.filtered(step.T)["Sobel y"], expected.T)
    np.testing.assert_array_equal(found["Laplace"][0], [0, 0, 1, -1, 0, 0])
    np.testing.assert_array_equal(edges.magnitude(found["Sobel x"], found["Sobel y"]), expected)


def test_kernels_against_numpy_and_as_a_layer():
    image = np.random.default_rng(0).uniform(size=(17, 23)).astype("float32")
    found = edges.filtered(image)
    by_layer = edges.filter_layer().predict(image[None, :, :, None], verbose=0)
    for i, (name, kernel) in enumerate(edges.KERNELS.items()):
        np.testing.assert_allclose(found[name], correlated(image.astype("float64"), kernel), atol=1e-5)
        np.testing.assert_allclose(by_layer[0, :, :, i], found[name], atol=1e-6)
    flat = edges.filtered(np.full((6, 6), 0.5, "float32"))  # an even surface has no edges, and stays as bright
    for name in ("Sobel x", "Sobel y", "Prewitt x", "Prewitt y", "Laplace"):
        np.testing.assert_allclose(flat[name], 0, atol=1e-6)
    for name in ("blur (Gauss)", "sharpen", "emboss"):
        np.testing.assert_allclose(flat[name], 0.5, atol=1e-6)


def test_edges_of_a_photograph(tmp_path, capsys):
    for module in ("matplotlib", "PIL"):
        pytest.importorskip(module)
    results = edges.main(["--output", str(tmp_path / "edges.png")])
    assert (tmp_path / "edges.png").read_bytes().startswith(b"\x89PNG")
    image = edges.photograph()
    assert image.shape == (600, 512) and 0 <= image.min() < image.max() <= 1
    assert results["Sobel magnitude"].shape == (598, 510)
    assert results["blur (Gauss)"].std() < image.std() < results["sharpen"].std()
    assert "Conv2D needs 72 weights" in capsys.readouterr().out


def test_adding_problem(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    adding = example("adding_problem")
    x, y = adding.sequences(50, 8)
    assert (x[:, :4, 1].sum(1) == 1).all() and (x[:, 4:, 1].sum(1) == 1).all()
    np.testing.assert_allclose(y[:, 0], [row[row[:, 1] == 1, 0].sum() for row in x], rtol=1e-6)
    errors = adding.main(["--quick", "--output", str(tmp_path / "norms.png")])
    assert errors["LSTM", 10] < 0.02 and errors["GRU", 10] < 0.02 < 1 / 6
    assert (tmp_path / "norms.png").stat().st_size > 1000 and "T =  10" in capsys.readouterr().out


def test_forecast():
    """A GRU beats last year's number and that of a solar cycle ago by far (RMSE 17 against 32 and 36)."""
    pytest.importorskip("statsmodels")
    errors = example("forecast").forecast(epochs=100, seed=1)
    assert errors["GRU"] < 0.7 * min(errors["naive"], errors["seasonal naive"])


def test_perceptron(tmp_path, capsys):
    for module in ("sklearn", "matplotlib", "PIL"):
        pytest.importorskip(module)
    perceptron = example("perceptron")
    x, y = perceptron.clouds()
    unit = perceptron.trick(x, y, steps=300)
    lines = perceptron.by_hand(x, y, np.random.RandomState(1).randint(0, len(x), 2000, dtype=np.int32)[:300], 0.1)
    np.testing.assert_array_equal(unit.path_.step, lines[:, 0])  # the very moves of ten lines of Python
    np.testing.assert_array_equal(unit.path_.coef[:, 0], lines[:, 1:3])
    np.testing.assert_array_equal(unit.path_.intercept[:, 0], lines[:, 3])
    picture, animation = tmp_path / "descent.png", tmp_path / "line.gif"
    unit, scores, (found, true), curves = perceptron.main(["--output", str(picture), "--animation", str(animation)])
    assert unit.score(x, y) > 0.95 and min(scores.values()) > 0.9 and scores["log"] > 0.97
    np.testing.assert_allclose(found, true, atol=0.1)
    assert curves["stochastic"][-1, 1] < curves["mini-batch"][-1, 1] < curves["batch"][-1, 1] < np.log(2)
    assert animation.read_bytes().startswith(b"GIF89a") and picture.stat().st_size > 1000
    assert "accuracy" in capsys.readouterr().out


def test_xor(tmp_path, capsys):
    for module in ("sklearn", "matplotlib"):
        pytest.importorskip(module)
    scores, line, network = example("xor").main(["--output", str(tmp_path / "xor.png")])
    assert scores["perceptron"] <= scores["best line"] + 0.01 < 0.8 and scores["network"] == 1
    assert list(network.predict([[0, 0], [0, 1], [1, 0], [1, 1]])) == [0, 1, 1, 0]
    assert (tmp_path / "xor.png").stat().st_size > 1000 and "33" in capsys.readouterr().out  # 2*8 + 8 + 8 + 1 weights


def test_tuning(tmp_path, capsys):
    """Both searches find a good model; started again, they have nothing left to do and say the same."""
    pytest.importorskip("optuna")
    tuning = example("tuning")
    results = tuning.main(["--directory", str(tmp_path)])
    printed = capsys.readouterr().out
    for name, trials in (("random search", 12), ("Hyperband", 17)):
        tuner, accuracy = results[name]
        assert accuracy > 0.88 and len(tuner.oracle.trials) == trials
        scores = [trial.score for trial in tuner.oracle.trials.values()]
        assert min(scores) < 0.6 < max(scores)  # it does matter what one takes
    again = tuning.main(["--directory", str(tmp_path)])
    assert {name: accuracy for name, (_, accuracy) in again.items()} == {n: a for n, (_, a) in results.items()}
    assert printed.splitlines()[-1] in capsys.readouterr().out
