"""Over-fitting, and what helps: dropout, an L2 penalty, early stopping.

A network with far more weights than the 200 noisy points it sees (two half-moons that overlap) learns the noise: its
loss on them falls while the loss on new points rises.

    python examples/overfitting.py --output overfitting.png
"""

import argparse

import numpy as np

import pydl
from pydl import callbacks, layers, regularizers


def moons(count, noise=0.35, seed=0):
    """Points (count, 2) of two half-moons with noise, and which of them (count, 1)."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0, np.pi, count)
    upper = rng.integers(0, 2, count)
    x = np.stack([np.where(upper, np.cos(angle), 1 - np.cos(angle)),
                  np.where(upper, np.sin(angle), 0.5 - np.sin(angle))], 1)
    return (x + noise * rng.normal(size=x.shape)).astype("float32"), upper[:, None].astype("float32")


def network(dropout=0.0, l2=0.0):
    """Two layers of 128 units."""
    pydl.utils.set_random_seed(1)
    model = pydl.Sequential([layers.Input((2,))])
    for i in range(2):
        model.add(layers.Dense(128, "relu", kernel_regularizer=regularizers.L2(l2) if l2 else None, name=f"hidden{i}"))
        if dropout:
            model.add(layers.Dropout(dropout))
    model.add(layers.Dense(1, "sigmoid", name="answer"))
    model.compile(pydl.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy", "binary_crossentropy"])
    return model


VARIANTS = {
    "nothing": (dict, list),
    "dropout": (lambda: {"dropout": 0.5}, list),
    "L2": (lambda: {"l2": 0.01}, list),
    "early stopping": (dict, lambda: [callbacks.EarlyStopping(patience=20, restore_best_weights=True)]),
}


def draw(histories, models, path):
    """Curves of each variant, and the weights with and without the penalty."""
    from matplotlib.figure import Figure

    from pydl.inspection import plot_weight_histograms

    figure = Figure(figsize=(14, 7), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(2, 1))
    for cell, (name, curves) in zip(left.subplots(2, 2, sharey=True).flat, histories.items()):
        cell.plot(curves["binary_crossentropy"], label="training")
        cell.plot(curves["val_binary_crossentropy"], label="new points")
        cell.set(title=name, xlabel="epoch", ylabel="cross-entropy", ylim=(0, 1.5))
        cell.legend()
    plot_weight_histograms({"nothing": models["nothing"], "L2": models["L2"]}, figure=right)
    figure.savefig(path)


def main(arguments=None):
    """Returns {variant: {"train", "new" (cross-entropy at the end), "accuracy" (new points), "epochs", "weight" (root
    of the mean squared weight of the second layer)}}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--output", help="where the picture goes")
    options = parser.parse_args(arguments)
    x, y = moons(200)
    new = moons(2000, seed=1)
    result, histories, models = {}, {}, {}
    for name, (arguments_of, callbacks_of) in VARIANTS.items():
        model = models[name] = network(**arguments_of())
        history = model.fit(x, y, epochs=options.epochs, batch_size=32, verbose=0, validation_data=new,
                            validation_batch_size=2000, callbacks=callbacks_of())
        histories[name] = history.history
        seen, unseen = (model.evaluate(*d, batch_size=2000, verbose=0, return_dict=True) for d in ((x, y), new))
        result[name] = {"train": seen["binary_crossentropy"], "new": unseen["binary_crossentropy"],
                        "accuracy": unseen["accuracy"], "epochs": len(history.epoch),
                        "weight": float(np.sqrt(np.mean(model.get_layer("hidden1").kernel.numpy() ** 2)))}
        print(f"{name:15} {result[name]['epochs']:3} epochs   cross-entropy {result[name]['train']:.3f} on what it saw,"
              f" {result[name]['new']:.3f} on new points (accuracy {result[name]['accuracy']:.3f})   weights"
              f" {result[name]['weight']:.3f}", flush=True)
    if options.output:
        draw(histories, models, options.output)
    return result


if __name__ == "__main__":
    main()
