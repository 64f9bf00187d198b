"""Encoder-decoders in pydl, through `Seq2Seq`: `fit` on arrays, `generate`."""

from __future__ import annotations

import pydl as keras
from bench.workloads import SEQ2SEQ, pairs
from pydl import layers

UNITS, TOKENS, WIDTH = SEQ2SEQ["units"], SEQ2SEQ["vocabulary"], SEQ2SEQ["width"]


def model(kind):
    if kind == "transformer":
        def embedding():
            return layers.TokenAndPositionEmbedding(TOKENS, SEQ2SEQ["steps"], WIDTH)

        blocks = [[layer(SEQ2SEQ["inner"], SEQ2SEQ["heads"]) for _ in range(2)]
                  for layer in (layers.TransformerEncoder, layers.TransformerDecoder)]
        return keras.models.Seq2Seq(*blocks, TOKENS, TOKENS, source_embedding=embedding(),
                                    target_embedding=embedding(), mask_zero=False)
    rnn = layers.LSTM if kind == "lstm" else layers.GRU
    encoder = rnn(UNITS, return_sequences=True, return_state=True)
    decoder = {"lstm": lambda: layers.LSTM(UNITS, return_sequences=True),
               "bahdanau": lambda: layers.BahdanauDecoder(UNITS), "luong": lambda: layers.LuongDecoder(UNITS)}[kind]()
    return keras.models.Seq2Seq(encoder, decoder, TOKENS, TOKENS, embedding=SEQ2SEQ["embedding"], mask_zero=False)


def seq2seq(kind, batch):
    """One call is an epoch of `fit` with its progress bar; kind: "lstm", "bahdanau", "luong", "transformer"."""
    steps = 40
    source, target_in, target = pairs(steps * batch)
    m = model(kind)
    m.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def epoch():
        m.fit((source, target_in), target, batch_size=batch, epochs=1, verbose=1)

    return epoch, steps


def decode(kind, batch):
    """Greedy decoding of 1,000 words: the end is looked for and never comes."""
    source, target_in, _ = pairs(1000)
    m = model(kind)
    m((source[:1], target_in[:1]))
    bias = m.output_layer.bias.numpy()
    bias[SEQ2SEQ["end"]] = -1e9
    m.output_layer.bias.assign(bias)
    return lambda: m.generate(source, SEQ2SEQ["steps"], end_token=SEQ2SEQ["end"], batch_size=batch), 1000
