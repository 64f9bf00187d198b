"""Vanishing gradients in a deep network of sigmoids, and each remedy; exploding ones, and clipping.

The gradient of a layer is a product over all layers behind it. A sigmoid's slope is at most 1/4, so through ten of them
hardly anything arrives. Remedies: fewer layers, ReLU, an initialisation that fits it, batch normalisation, residual
connections. Too large weights make the product grow instead; clipping bounds the step.

    python examples/vanishing_gradients.py --output gradients.png
"""

import argparse
import warnings

import numpy as np

import pydl
from pydl import layers
from pydl.inspection import TrainingMonitor, monitored

DEPTH, UNITS = 10, 32


def data(count=1000, seed=0):
    """Points (count, 2) in two rings and which of them: not separable by a line."""
    rng = np.random.default_rng(seed)
    ring = rng.integers(0, 2, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    radius = 0.5 + ring + 0.1 * rng.normal(size=count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype("float32"), ring


def network(depth=DEPTH, activation="sigmoid", initializer="glorot_uniform", normalise=False, residual=False,
            optimizer=None):
    """`depth` hidden layers; with batch normalisation before each activation; with a way past every layer."""
    pydl.utils.set_random_seed(2)
    x = inputs = layers.Input((2,))
    for i in range(depth):
        y = layers.Dense(UNITS, kernel_initializer=initializer, name=f"hidden{i}")(x)
        y = layers.BatchNormalization(name=f"norm{i}")(y) if normalise else y
        y = layers.Activation(activation, name=f"activation{i}")(y)
        x = layers.Add(name=f"add{i}")([x, y]) if residual and i else y
    model = pydl.Model(inputs, layers.Dense(1, "sigmoid", name="answer")(x))
    model.compile(optimizer or pydl.optimizers.SGD(0.05, momentum=0.9), "binary_crossentropy", metrics=["accuracy"])
    return model


REMEDIES = {
    "10 sigmoids": {},
    "fewer layers": {"depth": 1},
    "ReLU": {"activation": "relu"},
    "ReLU, He": {"activation": "relu", "initializer": "he_normal"},
    "batch normalisation": {"normalise": True},
    "residual, tanh": {"residual": True, "activation": "tanh"},  # sigmoids are positive, their sum only grows
}


def exploding(clipnorm=None, steps=20):
    """Largest change of the weights in one step of a linear network with large weights, and whether its loss is still
    finite at the end."""
    pydl.utils.set_random_seed(0)
    start = pydl.initializers.RandomNormal(stddev=0.6, seed=0)
    model = pydl.Sequential([layers.Input((2,)), *(layers.Dense(UNITS, kernel_initializer=start) for _ in range(5)),
                             layers.Dense(1, kernel_initializer=start)])
    model.compile(pydl.optimizers.SGD(0.01, global_clipnorm=clipnorm), "mse")
    x, y = data(64)
    largest, loss = 0.0, 0.0
    for _ in range(steps):
        before = model.get_weights()
        loss = model.train_on_batch(x, y[:, None].astype("float32"))
        with np.errstate(all="ignore"):
            change = np.sqrt(sum(np.sum((a - b).astype("float64") ** 2) for a, b in zip(before, model.get_weights())))
        largest = max(largest, float(change)) if np.isfinite(change) else float("inf")
    return largest, bool(np.isfinite(loss))


def main(arguments=None):
    """Returns ({remedy: {"ratio" (gradient of first / last hidden layer), "accuracy", "warned" (layers)}},
    {clipnorm: largest step})."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--output", help="where the picture goes")
    options = parser.parse_args(arguments)
    x, y = data()
    result, histories = {}, {}
    for name, choice in REMEDIES.items():
        model, monitor = network(**choice), TrainingMonitor()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are in monitor.problems
            history = model.fit(x, y, batch_size=32, epochs=options.epochs, verbose=0, callbacks=[monitor])
        histories[name] = history
        norms = monitored(history)["gradient_norm"]
        ratio = norms["hidden0"][0] / norms["answer"][0]
        warned = [layer for layer, kind in monitor.problems if kind == "vanishing"]
        result[name] = {"ratio": float(ratio), "accuracy": history.history["accuracy"][-1], "warned": warned}
        print(f"{name:20} gradient of the first layer / of the last {ratio:.1e}   accuracy"
              f" {result[name]['accuracy']:.3f}   warned of {', '.join(warned) or 'nothing'}", flush=True)
    steps = {}
    for clipnorm in (None, 1.0):
        steps[clipnorm], finite = exploding(clipnorm)
        print(f"large weights, clipnorm {clipnorm}: largest step {steps[clipnorm]:.3g}, the loss is"
              f" {'finite' if finite else 'no number any more'}")
    if options.output:
        from matplotlib.figure import Figure

        from pydl.inspection import plot_monitor

        figure = Figure(figsize=(15, 4), layout="constrained")
        for part, (name, history) in zip(figure.subfigures(1, len(histories)), histories.items()):
            plot_monitor(history, "gradient_norm", figure=part)
            part.suptitle(name)
        figure.savefig(options.output)
    return result, steps


if __name__ == "__main__":
    main()
