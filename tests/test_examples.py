"""The examples run and compute what they say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import pydl

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
    errors, norms = adding.main(["--quick", "--output", str(tmp_path / "norms.png")])
    assert errors["LSTM", 10] < 0.02 and errors["GRU", 10] < 0.02 < 1 / 6
    assert (tmp_path / "norms.png").stat().st_size > 1000 and "T =  10" in capsys.readouterr().out


@pytest.mark.slow
def test_gates_learn_to_remember():
    """What the table in the example says: T = 50 and 200."""
    errors, norms = example("adding_problem").main([])
    for steps in (50, 200):
        assert errors["SimpleRNN", steps] > 0.1
        simple = norms["SimpleRNN", steps, "trained"]
        assert simple[0] < 1e-6 * simple[-1]
        for kind in ("LSTM", "GRU"):
            assert errors[kind, steps] < 0.01
            trained = norms[kind, steps, "trained"]
            assert trained[0] > 0.05 * trained[-1]


def test_gradients_over_time():
    """Before training, what reaches the first steps falls by a constant factor per step, in each of the layers."""
    adding = example("adding_problem")
    for kind in adding.LAYERS:
        for steps in (50, 200):
            pydl.utils.set_random_seed(1)
            norms = adding.gradient_norms(adding.network(kind), *adding.sequences(64, steps))
            assert norms.shape == (steps,) and np.isfinite(norms).all() and norms[-1] > 0
            assert norms[0] < 1e-3 * norms[-1] if (kind, steps) != ("SimpleRNN", 50) else norms[0] < norms[-1], kind


def test_kinds_of_rnn(capsys):
    kinds = example("kinds_of_rnn")
    x, y = kinds.additions(4, 6, np.random.default_rng(0))
    value = 2 ** np.arange(6)
    np.testing.assert_array_equal((x * value[:, None]).sum((1, 2)), (y[..., 0] * value).sum(1))
    found = kinds.main(["--quick"])
    _, network, without = found["one-to-many"]
    assert network < 0.02 < 0.3 < without
    for kind in ("many-to-one", "many-to-many"):
        _, network, without = found[kind]
        assert network > 0.97 and without < 0.7
    assert "many-to-many" in capsys.readouterr().out


def test_surnames_are_split_by_beginnings(capsys):
    pytest.importorskip("faker")
    surnames = example("surnames")
    names, labels, classes = surnames.surnames()
    assert len(set(names)) == len(names) > 9000 and set(labels) == set(range(len(classes)))
    sides = [{n[:5] for n in names if surnames.is_test(n) == side} for side in (False, True)]
    assert sides[0].isdisjoint(sides[1]) and surnames.folded("Nováková") == "novakova"
    told = surnames.naive_bayes(["abab", "abba", "cdcd", "cddc"], np.array([0, 0, 1, 1]), ["aab", "dcc"])
    np.testing.assert_array_equal(told, [0, 1])
    shares, matrix, _ = surnames.main(["--quick"])
    assert shares["LSTMs, mean"] > 0.65 > 0.3 > shares["most frequent class"]
    assert matrix.sum() == sum(map(surnames.is_test, names)) and "Slovak" in capsys.readouterr().out


@pytest.mark.slow
def test_surnames_beat_counting():
    """79.0% to 80.8% of single networks, against 78.3%; the mean of three 81.3%."""
    pytest.importorskip("faker")
    shares, matrix, _ = example("surnames").classify(networks=3)
    assert shares["LSTMs, mean"] > max(v for k, v in shares.items() if k.startswith("naive"))
    assert shares["LSTMs, mean"] == pytest.approx(np.trace(matrix) / matrix.sum())


def test_forecast():
    """A GRU beats last year's number and that of a solar cycle ago by far (RMSE 17 against 32 and 36)."""
    pytest.importorskip("statsmodels")
    errors = example("forecast").forecast(epochs=100, seed=1)
    assert errors["GRU"] < 0.7 * min(errors["naive"], errors["seasonal naive"])
