"""Text tools and layers for categories against Keras 3, as far as Keras runs without TensorFlow."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import pydl  # noqa: E402  after the skip
from pydl.preprocessing import text as ours  # noqa: E402

pytestmark = pytest.mark.reference
theirs = pytest.importorskip("keras.src.legacy.preprocessing.text")

RNG = np.random.default_rng(0)
TEXTS = ["".join(RNG.choice(list("abcdeABC  ,.!-\t\né"), 80)) for _ in range(60)]


@pytest.mark.parametrize("kwargs", [{}, {"num_words": 7}, {"num_words": 7, "oov_token": "?"}, {"oov_token": "?"},
                                    {"lower": False}, {"char_level": True}, {"split": "b"}, {"filters": "abA"},
                                    {"filters": "", "split": "ab"}])
def test_tokenizer(kwargs):
    both = [room.Tokenizer(**kwargs) for room in (ours, theirs)]
    for tokenizer in both:
        tokenizer.fit_on_texts(TEXTS[:20])
        tokenizer.fit_on_texts(TEXTS[20:40])
    mine, keras_own = both
    for name in ("word_counts", "word_docs", "word_index", "index_word", "index_docs", "document_count"):
        assert getattr(mine, name) == getattr(keras_own, name), name
    sequences = keras_own.texts_to_sequences(TEXTS)
    assert mine.texts_to_sequences(TEXTS) == sequences
    assert mine.sequences_to_texts(sequences) == keras_own.sequences_to_texts(sequences)
    for mode in ("binary", "count", "freq", "tfidf"):
        np.testing.assert_allclose(mine.texts_to_matrix(TEXTS, mode), keras_own.texts_to_matrix(TEXTS, mode))
    assert ours.tokenizer_from_json(keras_own.to_json()).word_index == keras_own.word_index


def test_functions():
    for text in TEXTS:
        assert ours.text_to_word_sequence(text) == theirs.text_to_word_sequence(text)
        assert ours.hashing_trick(text, 30, "md5") == theirs.hashing_trick(text, 30, "md5")
        assert ours.one_hot(text, 30) == theirs.one_hot(text, 30)


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 5)])
def test_category_encoding(shape, mode):
    x = RNG.integers(0, 6, shape)
    mine, want = (lib.layers.CategoryEncoding(6, output_mode=mode)(x) for lib in (pydl, keras))
    np.testing.assert_allclose(mine.numpy(), keras.ops.convert_to_numpy(want))


def test_discretization():
    data = RNG.normal(size=(5, 700)).astype("float32")
    mine, want = (lib.layers.Discretization(num_bins=7, epsilon=0.02) for lib in (pydl, keras))
    for layer in (mine, want):
        for batch in data:
            layer.update_state(batch)
        layer.finalize_state()
    np.testing.assert_allclose(mine.bin_boundaries, want.bin_boundaries, rtol=1e-6)
    np.testing.assert_array_equal(mine(data).numpy(), keras.ops.convert_to_numpy(want(data)))


def test_pad_sequences_and_to_categorical():
    sequences = [RNG.integers(0, 9, n).tolist() for n in (3, 0, 7, 5)]
    for kwargs in ({}, {"maxlen": 4}, {"maxlen": 4, "truncating": "post"}, {"padding": "post", "value": -1},
                   {"dtype": "float32", "value": 0.5}):
        np.testing.assert_array_equal(pydl.utils.pad_sequences(sequences, **kwargs),
                                      keras.utils.pad_sequences(sequences, **kwargs))
    for labels in ([0, 2, 1], [[0], [3]], [[0, 1], [2, 2]]):
        np.testing.assert_array_equal(pydl.utils.to_categorical(labels), keras.utils.to_categorical(labels))
