"""The examples run and compute what they say."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import pydl

pytestmark = pytest.mark.slow  # whole trainings; what they stand on is tested at every level elsewhere
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
        assert simple[0] < 1e-4 * simple[-1]
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


@pytest.mark.parametrize("task, decoder, rows", [("dates", "luong", 6000), ("reverse", "bahdanau", 10000)])
def test_toys_of_sequences(task, decoder, rows):
    """A small model is right to the letter for more than 99 % of unseen strings."""
    toys = example("seq2seq_toys")
    source, seen, target = toys.arrays([("march 3, 1998", "1998-03-03")], 16, 11)
    assert toys.decoded(target) == ["1998-03-03"] and toys.decoded(source) == ["march 3, 1998"]
    assert seen[0, 0] == toys.START and toys.END not in seen and target[0, 10] == toys.END
    _, right, samples = toys.train(task, decoder, rows=rows, epochs=8, units=64, seed=1, verbose=0)
    assert right > 0.99 and len(samples) > 900


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
    for name, trials in (("random search", 12), ("Hyperband", 23)):
        tuner, accuracy = results[name]
        assert accuracy > 0.88 and len(tuner.oracle.trials) == trials
        scores = [trial.score for trial in tuner.oracle.trials.values()]
        assert min(scores) < 0.6 < max(scores)  # it does matter what one takes
    again = tuning.main(["--directory", str(tmp_path)])
    assert {name: accuracy for name, (_, accuracy) in again.items()} == {n: a for n, (_, a) in results.items()}
    assert printed.splitlines()[-1] in capsys.readouterr().out
