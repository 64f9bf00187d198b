"""Hyper-parameter tuning: units, layers, activation, dropout, optimizer and learning rate of a network for digits.

Two searches over the same models, on 2,000 digits: random search trains every model for all epochs, Hyperband trains
many for one epoch and only the best for more. Interrupt it (Ctrl-C, or kill it) and start it again: it goes on where it
stood. Needs Optuna (pip install 'pydl[tune]').

    python examples/tuning.py                         in the folder "tuning"
    python examples/tuning.py --directory elsewhere --overwrite
"""

import argparse

import pydl
from pydl import layers
from pydl import tuner as kt


def build(hp):
    """A network with the values of `hp`. Layers that this one does not have, have no units to tune."""
    model = pydl.Sequential([pydl.Input((28, 28)), layers.Flatten()])
    count = hp.Int("layers", 1, 3)
    activation = hp.Choice("activation", ["relu", "tanh", "sigmoid"])
    for i in range(3):
        with hp.conditional_scope("layers", list(range(i + 1, 4))):
            units = hp.Int(f"units {i + 1}", 16, 128, step=16)
            if i < count:
                model.add(layers.Dense(units, activation=activation))
    if dropout := hp.Float("dropout", 0.0, 0.4, step=0.1):
        model.add(layers.Dropout(dropout))
    model.add(layers.Dense(10, activation="softmax"))
    name = hp.Choice("optimizer", ["sgd", "rmsprop", "adam"])
    model.compile(pydl.optimizers.get({"class_name": name, "config": {
        "learning_rate": hp.Float("learning rate", 1e-4, 1e-1, sampling="log")}}),
        "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(arguments=None):
    """Runs both searches. Returns {name: (tuner, accuracy of its best model on test digits)}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", default="tuning")
    parser.add_argument("--overwrite", action="store_true", help="begin again")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    (x, y), (x_test, y_test) = pydl.datasets.digits.load_data()
    x, x_test = x[:2500] / 255.0, x_test / 255.0
    where = {"directory": options.directory, "overwrite": options.overwrite, "seed": options.seed}
    tuners = {
        "random search": kt.RandomSearch(build, "val_accuracy", max_trials=12, project_name="random", **where),
        "Hyperband": kt.Hyperband(build, "val_accuracy", max_epochs=9, factor=3, project_name="hyperband", **where),
    }
    results = {}
    for name, tuner in tuners.items():
        tuner.search(x[:2000], y[:2000], epochs=9, validation_data=(x[2000:], y[2000:2500]), verbose=0)
        best = tuner.get_best_hyperparameters()[0].values
        accuracy = tuner.get_best_models()[0].evaluate(x_test, y_test, verbose=0)[1]
        results[name] = tuner, accuracy
        epochs = sum(t.hyperparameters.values.get("tuner/epochs", 9) - t.hyperparameters.values.get(
            "tuner/initial_epoch", 0) for t in tuner.oracle.trials.values())
        print(f"{name}: {len(tuner.oracle.trials)} trials, {epochs} epochs; the best is right for {accuracy:.1%} of "
              f"the test digits\n   {({k: v for k, v in best.items() if not k.startswith('tuner/')})}")
    return results


if __name__ == "__main__":
    main()
