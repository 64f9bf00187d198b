"""Reuters: 11,228 newswires as word ranks, 46 topics."""

from __future__ import annotations

from pydl.datasets import _files, _text


def load_data(path="reuters.npz", num_words=None, skip_top=0, maxlen=None, test_split=0.2, seed=113, start_char=1,
              oov_char=2, index_from=3):
    """The newswires as lists of numbers; the file (2 MB) comes from PYDL_HOME/datasets or is downloaded there.

    Args:
        path: name of the file below PYDL_HOME, or an absolute path.
        num_words: numbers from here on count as unknown; None for no limit.
        skip_top: numbers below count as unknown.
        maxlen: only newswires shorter than this are returned.
        test_split: fraction for testing.
        seed: of the order.
        start_char: number before each newswire; None for none.
        oov_char: number in place of unknown words; None leaves them out.
        index_from: added to each rank, so that small numbers are free for marks.

    Returns:
        ((x_train, y_train), (x_test, y_test)): object arrays of lists, int64 labels.

    Raises:
        OSError: without the file and without a network; says what to do.
        ValueError: when the file is damaged or no newswire is shorter than `maxlen`.
    """
    found = _files.fetch(path, _files.SOURCE + "reuters.npz",
                         "d6586e694ee56d7a4e65172e12b3e987c03096cb01eab99753921ef915959916")
    [newswires] = _files.shuffled(seed, *_text.read(found, [("x", "y")]))
    texts, labels = _text.number_words(*newswires, maxlen, start_char, index_from)
    texts = _text.as_objects(_text.replace_unknown(texts, num_words, skip_top, oov_char))
    return _files.split(texts, labels, test_split)


def get_word_index(path="reuters_word_index.json") -> dict[str, int]:
    """word -> rank (without `index_from`)."""
    return _text.word_index(path, "4d44cc38712099c9e383dc6e5f11a921")


def get_label_names() -> tuple[str, ...]:
    """The names of the 46 topics, in the order of the labels."""
    return ("cocoa", "grain", "veg-oil", "earn", "acq", "wheat", "copper", "housing", "money-supply", "coffee",
            "sugar", "trade", "reserves", "ship", "cotton", "carcass", "crude", "nat-gas", "cpi", "money-fx",
            "interest", "gnp", "meal-feed", "alum", "oilseed", "gold", "tin", "strategic-metal", "livestock", "retail",
            "ipi", "iron-steel", "rubber", "heat", "jobs", "lei", "bop", "zinc", "orange", "pet-chem", "dlr", "gas",
            "silver", "wpi", "hog", "lead")
