"""Random draws: known answers, moments, distances from the distribution functions, seeds, replays, threads."""

import math
import random as python_random

import numpy as np
import pytest

import pydl
from pydl import random
from pydl._core import kernels
from pydl.random import SeedGenerator

N = 200_000


def draws(fn, n=N, dtype="float64", seed=11):
    return np.array(fn((n,), dtype=dtype, seed=SeedGenerator(seed)))


def normal_cdf(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def distance(sample, cdf):
    """Kolmogorov-Smirnov; below 2.2 / sqrt(n) but for one seed in 8000."""
    x = np.sort(sample)
    f, k = cdf(x), np.arange(len(x))
    return max((f - k / len(x)).max(), ((k + 1) / len(x) - f).max()) * math.sqrt(len(x))


def test_philox_known_answers():
    """Random123's vectors for philox4x32-10: counter and key 0; counter 1 by our own scalar reference."""

    def philox(counter, key):
        c, k0, k1 = [counter & 0xFFFFFFFF, counter >> 32, 0, 0], key & 0xFFFFFFFF, key >> 32
        for _ in range(10):
            p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(p1 >> 32) ^ c[1] ^ k0, p1 & 0xFFFFFFFF, (p0 >> 32) ^ c[3] ^ k1, p0 & 0xFFFFFFFF]
            k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
        return c

    assert philox(0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    for seed, counter in ((0, 0), (0x123456789ABCDEF, 2**32 - 5)):
        state, y = np.array([seed, counter]), np.empty(64, "float32")
        kernels.random_uniform(state, y, 64, 0.0, 1.0)
        expected = [[w >> 8 for w in philox(counter + b, seed)] for b in range(16)]
        np.testing.assert_array_equal((y * 2**24).astype(int).reshape(4, 16).T, expected)
        assert state.tolist() == [seed, counter + 16]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_distributions(dtype):
    bound = 2.2
    assert distance(draws(random.uniform, dtype=dtype), lambda x: x) < bound
    assert distance(draws(random.normal, dtype=dtype), normal_cdf) < bound
    low, high = normal_cdf(np.array([-2.0, 2.0]))
    x = draws(random.truncated_normal, dtype=dtype)
    assert np.abs(x).max() <= 2
    assert distance(x, lambda v: (normal_cdf(v) - low) / (high - low)) < bound
    x = draws(lambda *a, **k: random.gamma(*a, alpha=1.0, **k), 20_000, dtype)
    assert distance(x, lambda v: 1 - np.exp(-v)) < bound
    x = draws(lambda *a, **k: random.gamma(*a, alpha=0.5, **k), 20_000, dtype)  # half a squared normal
    assert distance(x, lambda v: 2 * normal_cdf(np.sqrt(2 * v)) - 1) < bound
    x = draws(lambda *a, **k: random.beta(*a, alpha=2.0, beta=1.0, **k), 20_000, dtype)
    assert distance(x, lambda v: v**2) < bound


def close(value, expected, sigma):
    assert abs(value - expected) < 4.5 * sigma, f"{value}, expected {expected} +- {sigma}"


def test_moments():
    x = np.array(random.normal((N,), 3.0, 2.0, seed=5), dtype="float64")
    close(x.mean(), 3, 2 / math.sqrt(N))
    close(x.var(), 4, 4 * math.sqrt(2 / N))
    x = np.array(random.uniform((N,), -1.0, 3.0, seed=5), dtype="float64")
    assert x.min() >= -1 and x.max() < 3
    close(x.mean(), 1, 4 / math.sqrt(12 * N))
    for trials, p in ((5, 0.3), (40, 0.9), (1000, 0.01)):
        x = np.array(random.binomial((20_000,), trials, p, seed=5), dtype="float64")
        assert x.min() >= 0 and x.max() <= trials and (x == np.floor(x)).all()
        variance = trials * p * (1 - p)
        close(x.mean(), trials * p, math.sqrt(variance / 20_000))
        close(x.var(), variance, variance * math.sqrt(3 / 20_000))
    x = np.array(random.randint((N,), -3, 4, seed=5))
    assert x.dtype == "int32" and set(x) == set(range(-3, 4))
    for value in range(-3, 4):
        close((x == value).mean(), 1 / 7, math.sqrt(6 / 49 / N))
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    with np.errstate(divide="ignore"):
        x = np.array(random.categorical(np.log(p), N // 2, seed=5))
    for row in range(2):
        for k in range(3):
            close((x[row] == k).mean(), p[row, k], math.sqrt(p[row, k] * (1 - p[row, k]) / (N / 2)) + 1e-12)


def test_words_are_independent():
    """Neighbouring elements, blocks and seeds are uncorrelated."""
    x = np.array(random.uniform((N,), seed=1), dtype="float64") - 0.5
    for lag in (1, 2, 15, 16, 17, 32, 48, 64):
        close(np.mean(x[lag:] * x[:-lag]) * 12, 0, 1 / math.sqrt(N))
    y = np.array(random.uniform((N,), seed=2), dtype="float64") - 0.5
    close(np.mean(x * y) * 12, 0, 1 / math.sqrt(N))


def test_dropout():
    x = np.full(N, 2.0, "float32")
    y = np.array(random.dropout(x, 0.3, seed=3))
    close((y == 0).mean(), 0.3, math.sqrt(0.21 / N))
    np.testing.assert_array_equal(np.unique(y), np.float32([0, 2 / 0.7]))
    x = np.array(random.normal((N,), dtype="float64", seed=3))
    y = np.array(random.alpha_dropout(x, 0.4, seed=4))
    close(y.mean(), 0, 3 / math.sqrt(N))
    close(y.var(), 1, 5 / math.sqrt(N))
    assert random.dropout(x, 0).shape == x.shape
    for rate in (-0.1, 1.1, None):
        with pytest.raises(ValueError, match="rate"):
            random.dropout(x, rate)
    with pytest.raises(ValueError, match="noise_shape"):
        random.dropout(np.ones((2, 3)), 0.5, noise_shape=(2, 2))


def test_shuffle_is_a_permutation_of_slices():
    x = np.arange(3000).reshape(1000, 3)
    y = np.array(random.shuffle(x, seed=3))
    assert (y != x).any()
    np.testing.assert_array_equal(np.sort(y[:, 0]), x[:, 0])
    np.testing.assert_array_equal(y[:, 1], y[:, 0] + 1)
    firsts = [int(np.array(random.shuffle(np.arange(4), seed=s))[0]) for s in range(2000)]
    for value in range(4):
        close(firsts.count(value) / 2000, 0.25, math.sqrt(0.1875 / 2000))


DRAWS = {
    "uniform": lambda seed: random.uniform((70_001,), seed=seed),
    "normal": lambda seed: random.normal((70_001,), seed=seed),
    "truncated_normal": lambda seed: random.truncated_normal((70_001,), seed=seed),
    "randint": lambda seed: random.randint((5001,), 0, 2**31 - 1, seed=seed),
    "gamma": lambda seed: random.gamma((301,), 2.5, seed=seed),
    "beta": lambda seed: random.beta((301,), 2.5, 0.5, seed=seed),
    "binomial": lambda seed: random.binomial((301,), 100, 0.5, seed=seed),
    "dropout": lambda seed: random.dropout(np.ones(70_001, "float32"), 0.5, seed=seed),
    "shuffle": lambda seed: random.shuffle(np.arange(501), seed=seed),
    "categorical": lambda seed: random.categorical(np.zeros((2000, 9), "float32"), 3, seed=seed),
}


@pytest.mark.parametrize("name", DRAWS)
def test_seeds_replays_threads(name):
    draw = DRAWS[name]

    def values(seed, threads=2):
        pydl.config.set_threads(threads)
        return np.array(draw(seed))

    before = pydl.config.threads()
    try:
        np.testing.assert_array_equal(values(3, 1), values(3, 2))
        assert (values(3) != values(4)).any()
        generator, recorded_generator = SeedGenerator(3), SeedGenerator(3)
        eager = [values(generator) for _ in range(4)]
        assert all((a != b).any() for i, a in enumerate(eager) for b in eager[:i])
        replay = pydl.function(lambda: draw(recorded_generator))
        for expected in eager:  # a replay draws what the next eager call would
            np.testing.assert_array_equal(np.array(replay()), expected)
    finally:
        pydl.config.set_threads(before)


def test_global_seed():
    random.set_global_seed(5)
    a, b = np.array(random.uniform((8,))), np.array(random.uniform((8,)))
    random.set_global_seed(5)
    np.testing.assert_array_equal(np.array(random.uniform((8,))), a)
    assert (a != b).any()


def test_seed_generator():
    generator = SeedGenerator(7)
    assert SeedGenerator.from_config(generator.get_config()).get_config() == {"seed": 7, "name": generator.name}
    assert SeedGenerator().get_config()["seed"] is None  # another one when it is made again
    assert np.array(generator.next()).tolist() == [7, 0] and np.array(generator.next()).tolist() == [7, 1]
    for bad in ("x", 1.5):
        with pytest.raises(ValueError, match="seed"):
            SeedGenerator(bad)
        with pytest.raises(ValueError, match="seed"):
            random.normal((2,), seed=bad)
    with pytest.raises(ValueError, match="minval"):
        random.randint((2,), 3, 3)


def test_states_of_the_process():
    """Python's, NumPy's, ours: what is drawn after `set_global_state` was drawn after `get_global_state`."""
    def drawn():
        return [python_random.random(), python_random.gauss(0, 1), np.random.normal(), *np.random.permutation(4),
                *random.normal((3,)).numpy()]

    drawn()  # a Gaussian is kept for the next call
    state = random.get_global_state()
    first, second = drawn(), drawn()
    random.set_global_state(state)
    assert drawn() == first and first != second


def test_a_generator_in_a_config_comes_back(tmp_path):
    """An initializer that draws from a generator, in a layer, in a file; under Keras's name for the class."""
    initializer = pydl.initializers.RandomNormal(seed=SeedGenerator(5, name="mine"))
    layer = pydl.layers.Dense(2, kernel_initializer=initializer)
    form = layer.get_config()["kernel_initializer"]["config"]["seed"]
    assert (form["module"], form["class_name"], form["config"]) == ("keras.random", "SeedGenerator",
                                                                     {"seed": 5, "name": "mine"})
    pydl.Sequential([pydl.Input((3,)), layer]).save(tmp_path / "m.keras")
    again = pydl.saving.load_model(tmp_path / "m.keras").layers[0]
    np.testing.assert_array_equal(again.get_weights()[0], layer.get_weights()[0])
    seed = pydl.layers.Dense.from_config(layer.get_config()).kernel_initializer.seed
    assert isinstance(seed, SeedGenerator) and seed.get_config() == {"seed": 5, "name": "mine"}
