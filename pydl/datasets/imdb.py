"""IMDB: 50,000 film reviews as word ranks, liked or not (Maas et al., 2011)."""

from __future__ import annotations

from pydl.datasets import _files, _text


def load_data(path="imdb.npz", num_words=None, skip_top=0, maxlen=None, seed=113, start_char=1, oov_char=2,
              index_from=3):
    """The reviews as lists of numbers; the file (17 MB) comes from PYDL_HOME/datasets or is downloaded there.

    Args:
        path: name of the file below PYDL_HOME, or an absolute path.
        num_words: numbers from here on count as unknown; None for no limit.
        skip_top: numbers below count as unknown.
        maxlen: only reviews shorter than this are returned.
        seed: of the order.
        start_char: number before each review; None for none.
        oov_char: number in place of unknown words; None leaves them out.
        index_from: added to each rank, so that small numbers are free for marks.

    Returns:
        ((x_train, y_train), (x_test, y_test)): object arrays of lists, int64 labels; 25,000 each without `maxlen`.

    Raises:
        OSError: without the file and without a network; says what to do.
        ValueError: when the file is damaged or no review is shorter than `maxlen`.
    """
    found = _files.fetch(path, _files.SOURCE + "imdb.npz",
                         "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f")
    # One generator orders both parts, training first: Keras's order for a seed.
    train, test = _files.shuffled(seed, *_text.read(found, [("x_train", "y_train"), ("x_test", "y_test")]))
    x_train, y_train = _text.number_words(*train, maxlen, start_char, index_from)
    x_test, y_test = _text.number_words(*test, maxlen, start_char, index_from)
    texts = _text.replace_unknown(x_train + x_test, num_words, skip_top, oov_char)
    return ((_text.as_objects(texts[: len(x_train)]), y_train), (_text.as_objects(texts[len(x_train) :]), y_test))


def get_word_index(path="imdb_word_index.json") -> dict[str, int]:
    """word -> rank (without `index_from`)."""
    return _text.word_index(path, "bfafd718b763782e994055a2d397834f")
