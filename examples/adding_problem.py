"""The adding problem: which recurrent layers remember over long times (Hochreiter and Schmidhuber 1997).

Each step of a sequence holds a number from [0, 1] and a mark; two steps are marked, one in each half, and the target is
the sum of their numbers. Always answering 1 has a mean squared error of 1/6 = 0.167, so a network that stays there has
not learned to remember.

    python examples/adding_problem.py            T = 50 and 200
    python examples/adding_problem.py --quick    T = 10, a few seconds

The first gives, on new sequences, and for the norm of the loss's gradient at the first step over that at the last:

    T     layer      mean squared error   gradient ratio untrained, trained
    50    SimpleRNN  0.1664               4e-2    1e-6
    50    LSTM       0.0001               2e-4    1.2
    50    GRU        0.0001               7e-11   2.9
    200   SimpleRNN  0.1638               5e-6    0
    200   LSTM       0.0000               3e-16   2.6
    200   GRU        0.0000               3e-40   11

All begin with gradients that vanish; those with gates learn to keep them, the simple layer does not. With
half the learning rate the simple layer learns some of T = 50 (0.07 to 0.17 with four seeds), with all of it nothing.
"""

import argparse

import numpy as np

import pydl
from pydl import layers

LAYERS = {"SimpleRNN": layers.SimpleRNN, "LSTM": layers.LSTM, "GRU": layers.GRU}


def sequences(count, steps, seed=0):
    """Sequences (count, steps, 2) of numbers and marks, and their sums (count, 1)."""
    rng = np.random.default_rng(seed)
    x = np.zeros((count, steps, 2), "float32")
    x[:, :, 0] = rng.uniform(size=(count, steps))
    rows = np.arange(count)
    for low, high in ((0, steps // 2), (steps // 2, steps)):
        x[rows, rng.integers(low, high, count), 1] = 1
    return x, (x[:, :, 0] * x[:, :, 1]).sum(1, keepdims=True)


def network(kind, units=32):
    """A recurrent layer and a linear answer from its last state."""
    model = pydl.Sequential([layers.Input((None, 2)), LAYERS[kind](units), layers.Dense(1)])
    model.compile(pydl.optimizers.Adam(0.01, clipnorm=1.0), "mse")
    return model


def gradient_norms(model, x, y):
    """Norm of the gradient of the loss with respect to each step's input, a mean over the batch: (steps,)."""
    inputs = pydl.Tensor(x.copy())
    pydl.autograd.watch(inputs)
    loss = pydl.ops.mean(pydl.ops.square(model(inputs, training=False) - y))
    (gradient,) = pydl.autograd.gradients([loss], [inputs], [np.float32(1)])
    return np.linalg.norm(gradient.data.astype("float64"), axis=-1).mean(0)


def draw(norms, path) -> None:
    """A panel for each length, before and after training; a curve for each layer, on a logarithmic scale."""
    import matplotlib.pyplot as plt

    lengths, times = sorted({steps for _, steps, _ in norms}), ("untrained", "trained")
    figure, axes = plt.subplots(len(lengths), 2, squeeze=False, sharey=True, figsize=(10, 4 * len(lengths)))
    for row, steps in zip(axes, lengths):
        for panel, when in zip(row, times):
            for kind in LAYERS:
                panel.semilogy(np.maximum(norms[kind, steps, when], 1e-45), label=kind)
            panel.set(title=f"T = {steps}, {when}", xlabel="step", ylabel="norm of the gradient of the input")
            panel.legend()
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main(arguments=None):
    """Trains all layers for each length.

    Returns:
        {(kind, steps): mean squared error on new sequences} and {(kind, steps, "untrained" or "trained"): gradient
        norms by step}.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="T = 10 only")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--output", help="file for a picture of the gradient norms by step")
    options = parser.parse_args(arguments)
    errors, norms = {}, {}
    for steps in (10,) if options.quick else (50, 200):
        x, y = sequences(2000 if options.quick else 10_000, steps)
        test = sequences(1000, steps, seed=1)
        for kind in LAYERS:
            pydl.utils.set_random_seed(1)
            model = network(kind)
            norms[kind, steps, "untrained"] = gradient_norms(model, x[:64], y[:64])
            model.fit(x, y, batch_size=32, epochs=10 if options.quick else options.epochs, verbose=0)
            norms[kind, steps, "trained"] = gradient_norms(model, x[:64], y[:64])
            errors[kind, steps] = float(model.evaluate(*test, verbose=0))
            before, after = (n[0] / n[-1] for n in (norms[kind, steps, when] for when in ("untrained", "trained")))
            print(f"T = {steps:3}  {kind:9}  mean squared error {errors[kind, steps]:.4f}   gradient at the first step"
                  f" / at the last: untrained {before:.1e}, trained {after:.1e}", flush=True)
    if options.output:
        draw(norms, options.output)
    return errors, norms


if __name__ == "__main__":
    main()
