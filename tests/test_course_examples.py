"""The examples of the course show what they say."""

import numpy as np
import pytest
from test_examples import example

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.slow  # whole trainings; what they stand on is tested at every level elsewhere


def run(name, tmp_path, *options):
    """(module, what its `main` returned), with the picture drawn."""
    module = example(name)
    picture = tmp_path / f"{name}.png"
    result = module.main(["--output", str(picture), *options])
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 5000
    return module, result


def test_ewma(tmp_path):
    module, result = run("ewma", tmp_path)
    measured, season = module.temperatures()
    roughness, lag, first, corrected = (dict(zip(result, column)) for column in zip(*result.values()))
    assert module.roughness(measured) > roughness[0.5] > roughness[0.9] > roughness[0.98]  # smoother
    assert lag[0.5] < lag[0.9] < lag[0.98]  # and later
    for beta in result:
        assert first[beta] == pytest.approx((1 - beta) * measured[0], rel=1e-5)
        assert corrected[beta] == pytest.approx(measured[0], rel=1e-5)
        t = 50
        mean = (module.weights(beta, t + 1) * measured[t::-1]).sum()
        plain, exact = module.averages(measured, [beta])[beta]
        assert plain[t] == pytest.approx(mean, rel=1e-5)
        assert exact[t] == pytest.approx(mean / (1 - beta ** (t + 1)), rel=1e-5)


def test_optimizers_on_surfaces(tmp_path):
    module, paths = run("optimizers_on_surfaces", tmp_path)

    def away(surface, name):
        return np.hypot(*(paths[surface][name][-1] - module.SURFACES[surface][2]))

    def steps_to_leave(name):
        return int(np.argmax(np.abs(paths["saddle"][name][:, 1]) > 1)) or 10_000

    assert len(paths["ravine"]) == 10 and all(len(of_surface) == 10 for of_surface in paths.values())
    for surface in ("ravine", "Rosenbrock", "Beale"):  # the minima are minima
        bottom = np.array([module.SURFACES[surface][2]])
        around = bottom + 1e-3 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])
        assert abs(module.height(surface, bottom)[0]) < 1e-12 < module.height(surface, around).min()
        for name in ("momentum", "Nesterov"):  # faster along a valley than plain descent
            assert away(surface, name) < 0.2 * away(surface, "SGD")
    for name in ("Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW", "Adamax", "Nadam"):  # at once off the saddle
        assert steps_to_leave(name) < steps_to_leave("momentum") < steps_to_leave("SGD")
    assert all(away("ravine", name) < 0.1 for name in paths["ravine"])


def test_initialisations(tmp_path):
    module, result = run("initialisations", tmp_path)
    for failing in ("all zero", "all equal", "too small", "too large"):
        assert result[failing]["accuracy"] < 0.3
    for working in ("Glorot", "He"):
        assert result[working]["accuracy"] > 0.6  # by the last bits of sums: 0.66 to 0.8
        first, last = result[working]["spread"][0], result[working]["spread"][-1]
        assert 0.2 < last / first < 5  # the signal keeps its size
        assert result[working]["gradients"][0] > 0.1 * result[working]["gradients"][-1]
    assert result["all zero"]["spread"] == [0] * 6 and result["all zero"]["gradients"][:6] == [0] * 6
    assert result["all equal"]["same"] == 1 and result["Glorot"]["same"] < 0.1
    assert result["too small"]["spread"][-1] < 1e-5 * result["too small"]["spread"][0]
    assert result["too small"]["gradients"][0] < 1e-4 * result["too small"]["gradients"][-1]
    assert result["too large"]["spread"][-1] > 0.9  # saturated: all outputs near -1 or 1


def test_overfitting(tmp_path):
    _, result = run("overfitting", tmp_path)
    nothing = result["nothing"]
    assert nothing["new"] > 1.8 * nothing["train"]  # it learned what it saw, not what is behind it
    for remedy in ("dropout", "L2", "early stopping"):
        assert result[remedy]["new"] < 0.8 * nothing["new"]
        assert result[remedy]["new"] - result[remedy]["train"] < 0.6 * (nothing["new"] - nothing["train"])
    assert result["L2"]["weight"] < 0.2 * nothing["weight"]
    assert result["early stopping"]["epochs"] < 200 == nothing["epochs"]


def test_vanishing_gradients(tmp_path):
    _, (result, steps) = run("vanishing_gradients", tmp_path)
    deep = result.pop("10 sigmoids")
    assert deep["ratio"] < 1e-5 and deep["accuracy"] < 0.65 and "hidden0" in deep["warned"]
    for remedy, found in result.items():
        assert found["ratio"] > 1e-3 and found["warned"] == [] and found["accuracy"] > 0.9, remedy
    assert steps[None] > 10 and steps[1.0] == pytest.approx(0.01, rel=1e-2)  # rate times clipnorm


def test_batch_normalisation(tmp_path):
    module, (accuracy, (mean, deviation, apart)) = run("batch_normalisation", tmp_path)
    for rate in module.RATES:
        assert accuracy[True, rate] > 0.75 and accuracy[True, rate] > accuracy[False, rate] + 0.1
    assert mean < 1e-5 and deviation == pytest.approx(1, abs=1e-2) and apart < 1e-4


def test_learning_rates(tmp_path):
    module, result = run("learning_rates", tmp_path)
    rates = {name: curve for name, (curve, _) in result.items()}
    errors = {name: error for name, (_, error) in result.items()}
    steps = np.arange(module.STEPS)
    np.testing.assert_allclose(rates["exponential"], 0.1 * 0.7 ** (steps / 100), rtol=1e-4)
    np.testing.assert_allclose(rates["staircase"], 0.1 * 0.7 ** (steps // 100), rtol=1e-4)
    np.testing.assert_allclose(rates["inverse time"], 0.1 / (1 + steps / 100), rtol=1e-4)
    np.testing.assert_allclose(rates["cosine"], 0.05 * (1 + np.cos(np.pi * steps / 1000)), rtol=1e-3, atol=1e-7)
    assert rates["cosine, warm-up"].argmax() == 100 and rates["cosine, warm-up"].max() == pytest.approx(0.1)
    assert (np.diff(rates["cosine, restarts"]) > 0.04).sum() == 2  # restarts
    assert all(errors[name] < 0.5 * errors["constant"] for name in errors if name != "constant")


def test_hidden_units(tmp_path):
    _, result = run("hidden_units", tmp_path)
    assert result[0][0] <= 0.75  # no line does better
    assert result[8][0] == 1 and np.abs(result[8][1] - [0, 1, 1, 0]).max() < 0.1


def test_gradient_descent(tmp_path):
    module, result = run("gradient_descent", tmp_path)
    assert {kind: found["updates"] for kind, found in result.items()} == {
        "batch": 10, "stochastic": 2030, "mini-batch": 70}  # 7 = 203 / 32, rounded up
    assert all(len(found["path"]) == found["updates"] + 1 for found in result.values())
    x, y = module.data()
    smooth = result["batch"]["path"]
    by_hand = [np.zeros(3)]  # batch descent in NumPy: two weights and the bias
    with_ones = np.hstack([x, np.ones((len(x), 1))]).astype("float64")
    for _ in range(10):
        error = with_ones @ by_hand[-1] - y[:, 0]
        by_hand.append(by_hand[-1] - 0.05 * 2 * with_ones.T @ error / len(x))
    np.testing.assert_allclose(smooth, np.array(by_hand)[:, :2], rtol=1e-4, atol=1e-5)
    last = {kind: found["losses"][-1] for kind, found in result.items()}
    assert last["stochastic"] < 0.2 > last["mini-batch"] and last["batch"] > 2 * last["mini-batch"]
    restless = {kind: np.abs(np.diff(found["path"][-7:], axis=0)).max() for kind, found in result.items()}
    assert restless["stochastic"] > restless["mini-batch"]
