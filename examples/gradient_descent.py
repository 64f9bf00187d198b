"""Batch, stochastic and mini-batch gradient descent: the same data, as many epochs, other numbers of updates.

One update per epoch is a smooth and slow way down; one per point is fast and restless; mini-batches lie between.

    python examples/gradient_descent.py --output descent.png
"""

import argparse

import numpy as np

import pydl
from pydl import layers

TRUE = np.array([[2.0], [-1.0]], "float32")  # the weights that made the data, and the bias below
BIAS = 0.5


def data(count=203, seed=0):
    """Points (count, 2) and noisy values of a plane; 203 rows make the last mini-batch a small one."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2)).astype("float32")
    return x, x @ TRUE + BIAS + 0.3 * rng.normal(size=(count, 1)).astype("float32")


class Path(pydl.callbacks.Callback):
    """Remembers the weights after every update."""

    def on_train_begin(self, logs=None):
        self.points = [self.model.get_weights()[0][:, 0]]

    def on_train_batch_end(self, batch, logs=None):
        self.points.append(self.model.get_weights()[0][:, 0])


def main(arguments=None):
    """Returns {kind: {"updates", "losses" (by epoch), "path" (updates + 1, 2)}}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--output", help="where the picture goes")
    options = parser.parse_args(arguments)
    x, y = data()
    result = {}
    for kind, batch_size in (("batch", len(x)), ("stochastic", 1), ("mini-batch", 32)):
        pydl.utils.set_random_seed(0)
        model = pydl.Sequential([layers.Input((2,)), layers.Dense(1, kernel_initializer="zeros")])
        model.compile(pydl.optimizers.SGD(0.05), "mse")
        path = Path()
        history = model.fit(x, y, batch_size=batch_size, epochs=options.epochs, verbose=0, callbacks=[path])
        result[kind] = {"updates": int(model.optimizer.iterations), "losses": history.history["loss"],
                        "path": np.array(path.points)}
        print(f"{kind:10} {batch_size:3} rows per update, {result[kind]['updates']:4} updates, loss"
              f" {result[kind]['losses'][0]:.3f} in the first epoch, {result[kind]['losses'][-1]:.3f} in the last;"
              f" weights {path.points[-1].round(3)}")
    if options.output:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for kind, found in result.items():
            left.plot(range(1, options.epochs + 1), found["losses"], marker=".", label=kind)
            right.plot(*found["path"].T, linewidth=0.8, label=kind)
        right.plot(*TRUE[:, 0], "k*", markersize=12)
        left.set(xlabel="epoch", ylabel="loss", yscale="log")
        right.set(xlabel="first weight", ylabel="second weight")
        left.legend()
        figure.savefig(options.output)
    return result


if __name__ == "__main__":
    main()
