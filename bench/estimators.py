"""`python -m bench.estimators [--threads N]`: estimators against scikit-learn's, times and what was learned.

Online updates: one call over 200,000 points in the plane, one after the other, per point; the overlapping classes make
about one point in ten move the line. Networks: 20 epochs over `sklearn.datasets.load_digits` at the same settings and
seed, accuracy on every fourth row, which was held back. The best of some interleaved rounds.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings

ROUNDS = 7


def best(jobs: dict, rounds: int = ROUNDS) -> dict:
    """Seconds of each job() by name, the least of interleaved rounds."""
    times = dict.fromkeys(jobs, float("inf"))
    for _ in range(rounds):
        for name, job in jobs.items():
            begin = time.perf_counter()
            job()
            times[name] = min(times[name], time.perf_counter() - begin)
    return times


def online(rounds: int) -> None:
    import numpy as np
    from sklearn.linear_model import Perceptron as Peer
    from sklearn.linear_model import SGDClassifier

    from pydl.estimators import Perceptron

    rng = np.random.default_rng(0)
    count, few = 200_000, 2_000
    x = rng.normal(size=(count, 2))
    y = (x @ [1, 2] + 0.3 + 0.5 * rng.normal(size=count) > 0).astype(int)
    classes = np.array([0, 1])

    def passes(estimator):
        return lambda: estimator.partial_fit(x, y, classes=classes)

    def one_by_one(estimator):
        def run():
            for i in range(few):
                estimator.partial_fit(x[i:i + 1], y[i:i + 1], classes=classes)
        return run

    small = x[:1000], y[:1000]
    jobs = {
        "pydl, trick": passes(Perceptron(solver="trick", random_state=0)),
        "pydl, stochastic": passes(Perceptron(random_state=0)),
        "pydl, stochastic, log": passes(Perceptron("log", random_state=0)),
        "scikit-learn Perceptron": passes(Peer(random_state=0)),
        "scikit-learn SGDClassifier, log": passes(SGDClassifier("log_loss", random_state=0)),
        "pydl, trick, 1000 points, 200 passes": lambda: Perceptron(
            solver="trick", max_iter=200, tol=None, random_state=0).fit(*small),
        "scikit-learn Perceptron, 1000 points, 200 passes": lambda: Peer(
            max_iter=200, tol=None, random_state=0).fit(*small),
        "pydl, a call per point": one_by_one(Perceptron(random_state=0)),
        "scikit-learn Perceptron, a call per point": one_by_one(Peer(random_state=0)),
    }
    print("| online updates, 2 features | ns per point |\n|---|---|")
    for name, seconds in best(jobs, rounds).items():
        print(f"| {name} | {seconds / (few if 'call' in name else count) * 1e9:.0f} |")


def networks(rounds: int) -> None:
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier as Peer

    from pydl.estimators import MLPClassifier

    x, y = load_digits(return_X_y=True)
    held = np.arange(len(x)) % 4 == 3
    print("| digits, 20 epochs | pydl, ms | scikit-learn, ms | ratio | accuracy, pydl | scikit-learn |\n"
          "|---|---|---|---|---|---|")
    for dtype in ("float64", "float32"):
        data = (x / 16).astype(dtype)
        for settings in ({}, {"batch_size": 32}, {"hidden_layer_sizes": (64, 64)},
                         {"solver": "sgd", "learning_rate_init": 0.1}, {"solver": "lbfgs"}):
            arguments = {"max_iter": 20, "random_state": 0, **settings}
            made = {"pydl": MLPClassifier(**arguments), "scikit-learn": Peer(**arguments)}
            times = best({name: lambda m=m, x=data[~held]: m.fit(x, y[~held]) for name, m in made.items()}, rounds)
            right = [f"{m.score(data[held], y[held]):.4f}" for m in made.values()]
            name = ", ".join([dtype, *(f"{k}={v}" for k, v in settings.items())])
            print(f"| {name} | {times['pydl'] * 1e3:.1f} | {times['scikit-learn'] * 1e3:.1f} |"
                  f" {times['scikit-learn'] / times['pydl']:.1f} | {' | '.join(right)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    for name in ("PYDL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(options.threads)  # before NumPy is imported
    warnings.simplefilter("ignore")
    online(options.rounds)
    print()
    networks(options.rounds)


if __name__ == "__main__":
    main()
