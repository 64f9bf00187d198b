"""Three kinds of recurrent networks, each on a task that shows what its kind is for.

    python examples/kinds_of_rnn.py [--quick] [--seed N]

one-to-many   one number, the frequency, to a wave of 40 samples: the number is repeated, the state counts the time.
many-to-one   steps to the left and right to whether they end right of where they began: the last state answers.
many-to-many  two binary numbers, a digit of each per step, to their sum, a digit per step: the state is the carry, and
              an answer must not wait for the end of the sequence.

Each is compared with an answer that needs no memory: the mean wave; the direction of the last step; the sum without
carry. (Sequences to sequences of another length take an encoder and a decoder.) On new sequences, longer ones for the
second and third kind (31 instead of 21 steps, 20 instead of 8 digits), `python examples/kinds_of_rnn.py`:

    one-to-many   mean squared error     network 0.0000   without memory 0.3756
    many-to-one   share right            network 0.9980   without memory 0.5880
    many-to-many  share of digits right  network 1.0000   without memory 0.5512
"""

from __future__ import annotations

import argparse

import numpy as np

import pydl as keras
from pydl import layers

WAVE = 40


def waves(count, rng):
    """Frequencies (count, 1) in [-1, 1], and sines of one to three periods (count, WAVE, 1)."""
    x = rng.uniform(-1, 1, (count, 1)).astype("float32")
    return x, np.sin(2 * np.pi * (x + 2) * np.arange(WAVE) / WAVE).astype("float32")[..., None]


def walks(count, steps, rng):
    """Steps of -1 and 1 (count, steps, 1), and 1 where they sum to more than 0; an odd number, so never to 0."""
    x = rng.choice([-1.0, 1.0], (count, steps, 1)).astype("float32")
    return x, (x.sum(1) > 0).astype("float32")


def additions(count, digits, rng):
    """Digits of two binary numbers (count, digits, 2), lowest first, and of their sum (count, digits, 1)."""
    a, b = rng.integers(0, 2 ** (digits - 1), (2, count))

    def bits(n):
        return (n[:, None] >> np.arange(digits)) & 1

    return np.stack([bits(a), bits(b)], -1).astype("float32"), bits(a + b)[..., None].astype("float32")


def one_to_many():
    return keras.Sequential([layers.Input((1,)), layers.RepeatVector(WAVE), layers.LSTM(48, return_sequences=True),
                             layers.TimeDistributed(layers.Dense(1))])


def many_to_one():
    return keras.Sequential([layers.Input((None, 1)), layers.GRU(16), layers.Dense(1, activation="sigmoid")])


def many_to_many():
    return keras.Sequential([layers.Input((None, 2)), layers.SimpleRNN(16, return_sequences=True),
                             layers.Dense(1, activation="sigmoid")])


def learned(model, loss, x, y, epochs, rate):
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * -(-len(x) // 32))
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss)
    model.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    return model


def run(epochs=30, seed=0):
    """dict kind -> (measure, of the network, without memory), on sequences that were not learned from; those of the
    second and third kind are longer."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    found = {}
    x, y = waves(2000, rng)
    model = learned(one_to_many(), "mse", x, y, epochs, 0.01)
    x, y = waves(500, rng)
    found["one-to-many"] = "mean squared error", float(np.mean((model.predict(x, verbose=0) - y) ** 2)), float(
        np.mean((y - y.mean(0)) ** 2))
    model = learned(many_to_one(), "binary_crossentropy", *walks(2000, 21, rng), epochs, 0.01)
    x, y = walks(500, 31, rng)
    found["many-to-one"] = "share right", float(np.mean((model.predict(x, verbose=0) > 0.5) == y)), float(
        np.mean((x[:, -1] > 0) == y))
    model = learned(many_to_many(), "binary_crossentropy", *additions(2000, 8, rng), epochs, 0.01)
    x, y = additions(500, 20, rng)
    found["many-to-many"] = "share of digits right", float(np.mean((model.predict(x, verbose=0) > 0.5) == y)), float(
        np.mean((x.sum(-1, keepdims=True) % 2) == y))
    return found


def main(arguments=None):
    """Prints and returns what `run` finds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 epochs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    found = run(10 if options.quick else 30, options.seed)
    for kind, (measure, network, without) in found.items():
        print(f"{kind:13} {measure:22} network {network:.4f}   without memory {without:.4f}")
    return found


if __name__ == "__main__":
    main()
