"""The common form of IMDB and Reuters: texts as lists of word ranks, 1 for the most frequent word."""

from __future__ import annotations

import os

import numpy as np

from pydl.datasets import _files
from pydl.reading import read_json


def read(path, pairs) -> list[tuple[np.ndarray, np.ndarray]]:
    """(texts, labels) for each pair of names in an .npz file: lists of word ranks in an object array, an array.

    Raises:
        ValueError: when the file is damaged or holds something else.
    """
    arrays = _files.read_npz(path)
    with _files.damage(path):
        for texts, labels in pairs:
            if not {texts, labels} <= arrays.keys():
                raise ValueError(f"expected the arrays {pairs}; it has {list(arrays)}.")
            found, count = arrays[texts], arrays[labels].shape
            if found.ndim != 1 or count != found.shape or not all(
                    type(text) is list and set(map(type, text)) <= {int} for text in found):
                raise ValueError(f"expected {texts!r} to hold lists of word ranks, and {labels!r} a label for each.")
    return [(arrays[texts], arrays[labels]) for texts, labels in pairs]


def number_words(texts, labels, maxlen, start_char, index_from):
    """Puts `start_char` before each text, adds `index_from` to each rank, keeps texts shorter than `maxlen`."""
    start = [] if start_char is None else [start_char]
    texts = [start + [word + index_from for word in text] for text in texts]
    if maxlen:
        kept = [i for i, text in enumerate(texts) if len(text) < maxlen]
        texts, labels = [texts[i] for i in kept], labels[kept]
        if not texts:
            raise ValueError(f"No text is shorter than maxlen={maxlen}, its start mark counted. Increase `maxlen`.")
    return texts, labels


def replace_unknown(texts, num_words, skip_top, oov_char):
    """Words outside skip_top .. num_words - 1 become `oov_char`, or go when it is None. Without `num_words` the
    largest number takes its place, as in Keras (so that the rarest word counts as unknown)."""
    if not num_words:
        num_words = max(max(text) for text in texts if text)
    if oov_char is None:
        return [[word for word in text if skip_top <= word < num_words] for text in texts]
    return [[word if skip_top <= word < num_words else oov_char for word in text] for text in texts]


def as_objects(texts) -> np.ndarray:
    """An array of lists, also when all lists have one length."""
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def word_index(path: str, file_hash: str) -> dict[str, int]:
    """word -> rank from a JSON file. Raises ValueError when it holds something else."""
    found = _files.fetch(path, _files.SOURCE + os.path.basename(path), file_hash)
    with _files.damage(found):
        table = read_json(found)
        if not isinstance(table, dict) or not all(type(rank) is int for rank in table.values()):
            raise ValueError("it is no table of words and ranks.")
    return table
