"""Encoder-decoders in pydl, through `Seq2Seq`: `fit` on arrays, `generate`."""

from __future__ import annotations

import numpy as np

import pydl as keras
from pydl import layers

PLACES, STEPS, VOCABULARY, WIDTH, UNITS = 20, 22, 64, 64, 128
END = 2


def words(rows):
    """(source, target_in, target_out) of random tokens, none of them padding or the end."""
    rng = np.random.default_rng(0)
    source = rng.integers(3, VOCABULARY, (rows, PLACES))
    target = rng.integers(3, VOCABULARY, (rows, STEPS))
    return source, np.concatenate([np.ones((rows, 1), target.dtype), target[:, :-1]], 1), target


def model(kind):
    rnn = layers.LSTM if kind == "lstm" else layers.GRU
    encoder = rnn(UNITS, return_sequences=True, return_state=True)
    decoder = {"lstm": lambda: layers.LSTM(UNITS, return_sequences=True),
               "bahdanau": lambda: layers.BahdanauDecoder(UNITS), "luong": lambda: layers.LuongDecoder(UNITS)}[kind]()
    return keras.models.Seq2Seq(encoder, decoder, VOCABULARY, VOCABULARY, embedding=WIDTH, mask_zero=False)


def seq2seq(kind, batch):
    """One call is an epoch of `fit` with its progress bar; kind: "lstm", "bahdanau", "luong"."""
    steps = 40
    source, target_in, target = words(steps * batch)
    m = model(kind)
    m.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def epoch():
        m.fit((source, target_in), target, batch_size=batch, epochs=1, verbose=1)

    return epoch, steps


def decode(kind, batch):
    """Greedy decoding of 1,000 words, each of STEPS tokens: the end is looked for and never comes."""
    source, target_in, _ = words(1000)
    m = model(kind)
    m((source[:1], target_in[:1]))
    bias = m.output_layer.bias.numpy()
    bias[END] = -1e9
    m.output_layer.bias.assign(bias)
    return lambda: m.generate(source, STEPS, end_token=END, batch_size=batch), 1000
