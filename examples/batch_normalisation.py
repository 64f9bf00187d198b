"""What batch normalisation does: layers see inputs of mean 0 and deviation 1, whatever the layers before them do, so
that larger learning rates and badly scaled inputs are no trouble. In training it uses the batch's statistics, at
prediction the moving ones it has gathered.

    python examples/batch_normalisation.py --output normalisation.png
"""

import argparse

import numpy as np

import pydl
from pydl import layers

RATES = (0.01, 0.1, 1.0, 3.0)


def data(rows=2000):
    """Pixels of digits as they come, 0 to 255, and labels."""
    (x, y), _ = pydl.datasets.digits.load_data()
    return x[:rows].reshape(-1, 784).astype("float32"), y[:rows]


def network(normalise, rate):
    """Three hidden layers of tanh."""
    pydl.utils.set_random_seed(0)
    model = pydl.Sequential([layers.Input((784,))])
    for i in range(3):
        model.add(layers.Dense(50, use_bias=not normalise, name=f"hidden{i}"))
        if normalise:
            model.add(layers.BatchNormalization(momentum=0.9, name=f"norm{i}"))
        model.add(layers.Activation("tanh"))
    model.add(layers.Dense(10, "softmax"))
    model.compile(pydl.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def training_and_prediction(model, x):
    """How the first normalisation sees a batch: (mean and deviation of its output in training, largest difference
    between its output at prediction and (z - moving mean) / sqrt(moving variance + epsilon) gamma + beta)."""
    norm = model.get_layer("norm0")
    z = model.get_layer("hidden0")(x)
    kept = [v.numpy().copy() for v in norm.variables]
    trained = norm(z, training=True).numpy()
    norm.set_weights(kept)  # a call in training mode moves the statistics
    gamma, beta, mean, variance = (v.numpy() for v in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance))
    expected = (z.numpy() - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta
    plain = (trained - beta) / gamma
    return float(np.abs(plain.mean(0)).max()), float(np.median(plain.std(0))), float(
        np.abs(norm(z, training=False).numpy() - expected).max())


def main(arguments=None):
    """Returns ({(normalise, rate): accuracy}, what `training_and_prediction` found)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--output", help="where the picture goes")
    options = parser.parse_args(arguments)
    x, y = data()
    accuracy, curves, model = {}, {}, None
    for rate in RATES:
        for normalise in (False, True):
            model = network(normalise, rate)
            history = model.fit(x, y, batch_size=50, epochs=options.epochs, verbose=0).history
            curves[normalise, rate] = history["accuracy"]
            accuracy[normalise, rate] = history["accuracy"][-1]
        print(f"learning rate {rate:<5} accuracy without {accuracy[False, rate]:.3f}, with batch normalisation"
              f" {accuracy[True, rate]:.3f}", flush=True)
    found = training_and_prediction(model, x[:500])
    print(f"in training each channel has a mean below {found[0]:.1e} and a deviation of {found[1]:.3f}; at prediction"
          f" it is the formula of the moving statistics, to {found[2]:.1e}")
    if options.output:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4), layout="constrained")
        cell = figure.subplots()
        for (normalise, rate), curve in curves.items():
            cell.plot(range(1, len(curve) + 1), curve, "-" if normalise else "--", color=f"C{RATES.index(rate)}",
                      label=f"rate {rate}" if normalise else None)
        cell.set(xlabel="epoch", ylabel="accuracy", title="with (solid) and without (dashed) batch normalisation")
        cell.legend()
        figure.savefig(options.output)
    return accuracy, found


if __name__ == "__main__":
    main()
