"""Transformer blocks: masks, caches of generation, positions read at run time."""

import numpy as np
import pytest

import pydl
from pydl import layers, ops

RNG = np.random.default_rng(3)
B, T, S, D, N = 3, 6, 5, 8, 2


def draw(*shape):
    return RNG.normal(size=shape).astype("float32")


def shaken(layer):
    layer.set_weights([RNG.normal(0, 0.5, w.shape) + (1 if "gamma" in w.path else 0) for w in layer.weights])
    return layer


@pytest.mark.parametrize("first", [False, True])
def test_hidden_places_do_not_matter(first):
    """Of the encoder's input, of what the decoder sees of itself and of the encoder."""
    x, e = draw(B, T, D), draw(B, S, D)
    keep, seen = np.arange(T) < np.array([[6], [3], [4]]), np.arange(S) < np.array([[2], [5], [3]])
    other, hidden = np.where(keep[..., None], x, draw(B, T, D)), np.where(seen[..., None], e, draw(B, S, D))
    encoder, decoder = layers.TransformerEncoder(7, N, normalize_first=first), layers.TransformerDecoder(7, N)
    encoder(x), decoder(x, e)
    shaken(encoder), shaken(decoder)
    np.testing.assert_array_equal(encoder(x, padding_mask=keep).numpy()[keep],
                                  encoder(other, padding_mask=keep).numpy()[keep])
    y = decoder(x, e, decoder_padding_mask=keep, encoder_padding_mask=seen)
    z = decoder(other, hidden, decoder_padding_mask=keep, encoder_padding_mask=seen)
    np.testing.assert_array_equal(y.numpy()[keep], z.numpy()[keep])
    later = x.copy()
    later[:, 4:] += 1
    np.testing.assert_array_equal(decoder(x, e).numpy()[:, :4], decoder(later, e).numpy()[:, :4])
    whole, changed = (decoder(v, e, use_causal_mask=False).numpy() for v in (x, later))
    assert np.abs(whole - changed)[:, :4].max() > 0


def test_masks_arrive_by_themselves():
    ids = np.array([[3, 1, 2, 0, 0], [1, 0, 0, 0, 0]], "int32")
    embed = layers.TokenAndPositionEmbedding(5, 8, D, mask_zero=True)
    x = embed(ids)
    encoder, decoder = layers.TransformerEncoder(7, N), layers.TransformerDecoder(7, N)
    y = encoder(x)
    np.testing.assert_array_equal(y.numpy(), encoder(x.numpy(), padding_mask=ids != 0).numpy())
    np.testing.assert_array_equal(y._keras_mask.numpy(), ids != 0)
    z = decoder(x, y)
    np.testing.assert_array_equal(z.numpy(), decoder(x.numpy(), y.numpy(), decoder_padding_mask=ids != 0,
                                                     encoder_padding_mask=ids != 0).numpy())


def test_scores_of_the_encoder():
    x = draw(B, T, D)
    encoder = layers.TransformerEncoder(7, N)
    y, p = encoder(x, return_attention_scores=True, padding_mask=np.arange(T) < 4 + np.zeros((B, 1)))
    assert p.shape == (B, N, T, T) and np.all(p.numpy()[..., 4:] == 0)
    np.testing.assert_allclose(p.numpy().sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_cached_generation_equals_uncached(first, cross):
    """One recorded program serves all positions: the caches are variables, the index is read when it runs."""
    x, e = draw(B, T, D), draw(B, S, D) if cross else None
    seen = np.arange(S) < np.array([[2], [5], [3]])
    decoder = layers.TransformerDecoder(7, N, normalize_first=first)
    masks = {"encoder_padding_mask": seen} if cross else {}
    decoder(x, e)
    shaken(decoder)
    want = decoder(x, e, **masks).numpy()

    cache = pydl.Variable(np.full((B, 2, T, N, D // N), 9, "float32"))  # what is there to come must not matter
    given = {"self_attention_cache": cache}
    if cross:
        memory = pydl.Variable(np.zeros((B, 2, S, N, D // N), "float32"))
        decoder(x[:, :1], e, self_attention_cache=cache, self_attention_cache_update_index=0,
                cross_attention_cache=memory, cross_attention_cache_update_index=0, **masks)
        given["cross_attention_cache"] = memory
    step = pydl.function(lambda token, index: decoder(token, self_attention_cache_update_index=index, **given,
                                                      **masks)[0])
    got = [step(x[:, t:t + 1].copy(), np.array([t], "int32")).numpy() for t in range(T)]
    np.testing.assert_allclose(np.concatenate(got, 1), want, rtol=1e-4, atol=1e-5)
    assert len(step.captures) == 1
    with pytest.raises(IndexError):
        step(x[:, :1].copy(), np.array([T], "int32"))


def test_caches_that_are_no_variables_stay():
    x, e = draw(B, T, D), draw(B, S, D)
    decoder = layers.TransformerDecoder(7, N)
    decoder(x, e)
    shaken(decoder)
    want = decoder(x, e).numpy()
    cache, memory = (ops.zeros((B, 2, n, N, D // N)) for n in (T, S))
    y, filled, known = decoder(x[:, :4], e, self_attention_cache=cache, self_attention_cache_update_index=0,
                               cross_attention_cache=memory, cross_attention_cache_update_index=0)
    assert np.all(cache.numpy() == 0) and np.all(memory.numpy() == 0)
    z, filled, known = decoder(x[:, 4:], self_attention_cache=filled, self_attention_cache_update_index=4,
                               cross_attention_cache=known)
    np.testing.assert_allclose(np.concatenate([y.numpy(), z.numpy()], 1), want, rtol=1e-4, atol=1e-5)


def test_cached_attention_errors():
    q, cache = draw(2, 1, 4, 3), np.zeros((2, 2, 5, 2, 3), "float32")
    k = draw(2, 1, 2, 3)
    ops.cached_attention(q, k, k, cache, 4)
    for index in (5, -1):
        with pytest.raises(IndexError):
            ops.cached_attention(q, k, k, cache, index)
    with pytest.raises(ValueError, match=r"\(2, 2, 5, 3, 3\)"):
        ops.cached_attention(q, k, k, np.zeros((2, 2, 5, 3, 3), "float32"), 0)
    with pytest.raises(ValueError, match="one dtype"):
        ops.cached_attention(q, k, k, cache.astype("float64"), 0)
    with pytest.raises(ValueError, match="key and value"):
        ops.cached_attention(q, k, None, cache, 0)


def test_decoder_errors():
    x, e = draw(B, T, D), draw(B, S, D)
    crossing, alone = layers.TransformerDecoder(7, N), layers.TransformerDecoder(7, N)
    crossing(x, e), alone(x)
    with pytest.raises(ValueError, match="expected encoder_sequence"):
        crossing(x)
    with pytest.raises(ValueError, match="without an encoder"):
        alone(x, e)
    with pytest.raises(ValueError, match="self_attention_cache_update_index"):
        alone(x, self_attention_cache=np.zeros((B, 2, T, N, 4), "float32"))
    with pytest.raises(ValueError, match="at least 9 features"):
        layers.TransformerEncoder(7, 9)(x)


def test_positions():
    x = draw(2, 4, 6)
    sines = layers.SinePositionEncoding()
    learned = layers.PositionEmbedding(7)
    learned(x)
    for layer in (sines, learned):
        whole = layer(draw(1, 7, 6)).numpy()
        at = pydl.function(lambda x, start: layer(x, start_index=start))  # noqa: B023
        for start in (0, 2, 3):
            np.testing.assert_allclose(layer(x, start_index=start).numpy()[1], whole[0, start:start + 4], atol=1e-6)
            np.testing.assert_allclose(at(x, np.array([start], "int32")).numpy()[1], whole[0, start:start + 4],
                                       atol=1e-6)
        assert len(at.captures) == 1
    np.testing.assert_allclose(sines(x, positions=np.array([[3, 2, 1, 0]] * 2)).numpy(),
                               sines(x).numpy()[:, ::-1], atol=1e-6)
    with pytest.raises(ValueError, match="at most 7 positions"):
        learned(x, start_index=4)
    with pytest.raises(IndexError):
        at(x, np.array([4], "int32"))


def test_embedding_backwards():
    tied = layers.ReversibleEmbedding(9, 4)
    own = layers.ReversibleEmbedding(9, 4, tie_weights=False, logit_soft_cap=2.0)
    x = draw(3, 4)
    for layer in (tied, own):
        layer(np.zeros((1, 1), "int32"))
    np.testing.assert_allclose(tied(x, reverse=True).numpy(), x @ tied.embeddings.numpy().T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(own(x, reverse=True).numpy(), 2 * np.tanh(x @ own.reverse_embeddings.numpy() / 2),
                               rtol=1e-4, atol=1e-6)


def test_reversing_a_sequence():
    """A small encoder and decoder, both embedding tables shared with nothing, learn to turn sequences around."""
    pydl.utils.set_random_seed(1)
    digits, length = 8, 6

    def batch(n, seed):
        a = np.random.default_rng(seed).integers(2, digits, (n, length)).astype("int32")
        b = a[:, ::-1]
        return [a, np.concatenate([np.ones((n, 1), "int32"), b[:, :-1]], 1)], b.copy()

    a, b = layers.Input((length,), dtype="int32"), layers.Input((length,), dtype="int32")
    x = layers.TransformerEncoder(64, 4)(layers.TokenAndPositionEmbedding(digits, length, 32)(a))
    y = layers.TransformerDecoder(64, 4)(layers.TokenAndPositionEmbedding(digits, length, 32)(b), x)
    model = pydl.Model([a, b], layers.Dense(digits)(y))
    model.compile(pydl.optimizers.Adam(3e-3), pydl.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*batch(4096, 0), batch_size=64, epochs=8, verbose=0)
    inputs, target = batch(256, 1)
    assert (model.predict(inputs, verbose=0).argmax(-1) == target).all(1).mean() > 0.97
