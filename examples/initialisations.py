"""Initial weights that fail, and those that work, on images of digits.

* all zero: with tanh nothing moves but the last bias; no layer but the last gets a gradient;
* all equal: the units of a layer stay copies of each other, a layer of 50 is worth one unit;
* too small: the signal fades from layer to layer, and so does the gradient;
* too large: tanh saturates at -1 and 1, where its slope is 0;
* Glorot (tanh), He (ReLU): the signal keeps its size.

    python examples/initialisations.py --output initialisations.png
"""

import argparse
import warnings

import numpy as np

import pydl
from pydl import initializers, layers
from pydl.inspection import TrainingMonitor, feature_maps

CHOICES = {
    "all zero": ("tanh", lambda i: "zeros"),
    "all equal": ("tanh", lambda i: initializers.Constant(0.05)),
    "too small": ("tanh", lambda i: initializers.RandomNormal(stddev=0.01, seed=i)),
    "too large": ("tanh", lambda i: initializers.RandomNormal(stddev=1.0, seed=i)),
    "Glorot": ("tanh", lambda i: initializers.GlorotNormal(seed=i)),
    "He": ("relu", lambda i: initializers.HeNormal(seed=i)),
}
HIDDEN = 6


def data(rows=2000):
    """Pixels (rows, 784), centred, and labels."""
    (x, y), _ = pydl.datasets.digits.load_data()
    return (x[:rows].reshape(-1, 784) / 255 - 0.13).astype("float32") / 0.3, y[:rows]


def network(choice, units=50):
    """Six hidden layers."""
    activation, start = CHOICES[choice]
    pydl.utils.set_random_seed(0)
    hidden = [layers.Dense(units, activation, kernel_initializer=start(i), name=f"hidden{i}") for i in range(HIDDEN)]
    last = layers.Dense(10, "softmax", kernel_initializer=start(HIDDEN), name="answer")
    model = pydl.Sequential([layers.Input((784,)), *hidden, last])
    model.compile(pydl.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def spread(model, x):
    """Standard deviation of the output of each hidden layer."""
    return [float(y.std()) for y in feature_maps(model, x, [f"hidden{i}" for i in range(HIDDEN)]).values()]


def same_units(model):
    """Share of the units of the second layer that are copies of its first one."""
    kernel = model.get_layer("hidden1").kernel.numpy()
    return float(np.isclose(kernel, kernel[:, :1], rtol=1e-3, atol=1e-7).all(0).mean())


def draw(models, histories, x, path):
    """Outputs of the layers before training, and accuracy during it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6), layout="constrained")
    cells = figure.subplots(2, len(models))
    for (above, below), (choice, model) in zip(cells.T, models.items()):
        outputs = feature_maps(model, x[:200], [f"hidden{i}" for i in range(HIDDEN)])
        for i, y in enumerate(outputs.values()):
            above.hist(y.ravel(), 40, histtype="step", color=f"{i / HIDDEN * 0.8}", density=True)
        above.set(title=choice, yscale="log", xlabel="outputs, first layer black")
        below.plot(histories[choice]["accuracy"], marker=".")
        below.set(ylim=(0, 1), xlabel="epoch", ylabel="accuracy")
    figure.savefig(path)


def main(arguments=None):
    """Returns {choice: {"accuracy", "spread" (before training), "same", "gradients" (of the layers, first epoch)}}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--output", help="where the picture goes")
    options = parser.parse_args(arguments)
    x, y = data()
    result, fresh, histories = {}, {}, {}
    for choice in CHOICES:
        model, fresh[choice] = network(choice), network(choice)
        before = spread(model, x[:500])
        with warnings.catch_warnings(record=True) as caught:  # the monitor names the layers; here they are counted
            warnings.simplefilter("always")
            history = model.fit(x, y, batch_size=32, epochs=options.epochs, verbose=0, callbacks=[TrainingMonitor()])
        histories[choice] = history.history
        names = [f"hidden{i}" for i in range(HIDDEN)] + ["answer"]
        result[choice] = {"accuracy": history.history["accuracy"][-1], "spread": before, "same": same_units(model),
                          "gradients": [history.history[f"gradient_norm/{name}"][0] for name in names]}
        found = result[choice]
        first, last = found["gradients"][0], found["gradients"][-1]
        print(f"{choice:10} accuracy {found['accuracy']:.3f}   outputs of first / last hidden layer"
              f" {before[0]:.1e} / {before[-1]:.1e}   gradients of first / last layer {first:.1e} / {last:.1e}"
              f"   equal units {found['same']:.0%}   warnings {len(caught)}", flush=True)
    if options.output:
        draw(fresh, histories, x, options.output)
    return result


if __name__ == "__main__":
    main()
