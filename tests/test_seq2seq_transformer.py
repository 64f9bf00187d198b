"""Transformers under `Seq2Seq`: what is written step by step, from caches, against calls on whole prefixes."""

import numpy as np
import pytest
from test_seq2seq import SOURCE, START, V, padded, reference_beam

import pydl
from pydl import layers, ops
from pydl.models import Seq2Seq

LENGTH = 5


def model(first=False, blocks=2, seed=0):
    pydl.utils.set_random_seed(seed)

    def embedding(tokens):
        return layers.TokenAndPositionEmbedding(tokens, 8, 6, mask_zero=True)

    m = Seq2Seq([layers.TransformerEncoder(7, 2, normalize_first=first) for _ in range(blocks)],
                [layers.TransformerDecoder(7, 2, normalize_first=first) for _ in range(blocks)], 9, V,
                source_embedding=embedding(9), target_embedding=embedding(V))
    m([SOURCE, np.ones((len(SOURCE), 1), "int32")])
    m.set_weights([w * 3 for w in m.get_weights()])
    return m


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("width, penalty", [(1, 0.0), (3, 0.7), (4, 0.0)])
def test_search_equals_search_by_whole_prefixes(first, width, penalty):
    m = model(first, seed=5)
    tokens, scores = m.generate(SOURCE, LENGTH, beam_width=width, length_penalty=penalty, n_best=width,
                                return_scores=True, batch_size=2)
    tokens, scores = tokens.reshape(len(SOURCE), width, LENGTH), scores.reshape(len(SOURCE), width)
    assert len({tuple(row) for row in tokens[:, 0]}) > 1  # the sources matter
    for i, source in enumerate(SOURCE):
        want = reference_beam(m, source, LENGTH, width, penalty)
        np.testing.assert_array_equal(tokens[i], [padded(t, LENGTH) for t, _ in want])
        np.testing.assert_allclose(scores[i], [s for _, s in want], rtol=1e-4, atol=1e-4)


def test_one_decoder_and_its_limits():
    m = model(blocks=1)
    m.decoder = m.decoder[0]
    single = Seq2Seq(m.encoder, m.decoder, 9, V, source_embedding=m.source_embedding,
                     target_embedding=m.target_embedding)
    assert single.generate(SOURCE, LENGTH).shape == (len(SOURCE), LENGTH)
    with pytest.raises(ValueError, match="has no attention weights"):
        single.generate(SOURCE, LENGTH, return_attention=True)
    with pytest.raises(IndexError):  # more steps than positions
        single.generate(SOURCE, 9, end_token=None)


def test_a_step_of_the_embedding():
    embedding = layers.TokenAndPositionEmbedding(V, 8, 6)
    ids = np.array([[3, 1, 4], [2, 2, 0]], "int32")
    whole = embedding(ids).numpy()
    for t in range(3):
        for position in (t, ops.convert_to_tensor(np.array([t], "int32"))):
            np.testing.assert_array_equal(embedding.step(ops.convert_to_tensor(ids[:, t]), position).numpy(),
                                          whole[:, t])


def test_it_learns():
    """To write the source backwards."""
    pydl.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    source = rng.integers(3, 9, (1000, 4)).astype("int32")
    target = np.concatenate([source[:, ::-1], np.full((1000, 1), 2, "int32")], 1)
    before = np.concatenate([np.full((1000, 1), START, "int32"), target[:, :-1]], 1)
    m = Seq2Seq(layers.TransformerEncoder(32, 2), layers.TransformerDecoder(32, 2), 9, 9,
                source_embedding=layers.TokenAndPositionEmbedding(9, 8, 32, mask_zero=True),
                target_embedding=layers.TokenAndPositionEmbedding(9, 8, 32, mask_zero=True))
    m.compile(pydl.optimizers.Adam(0.005), pydl.losses.SparseCategoricalCrossentropy(from_logits=True))
    m.fit((source, before), target, batch_size=50, epochs=30, verbose=0)
    np.testing.assert_array_equal(m.generate(source[:50], LENGTH)[:, :4], target[:50, :4])
