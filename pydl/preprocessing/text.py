"""The text tools of Keras 2: Tokenizer, one_hot, hashing_trick, text_to_word_sequence, tokenizer_from_json."""

from __future__ import annotations

import collections
import hashlib
import itertools
import json

import numpy as np

from pydl import _text
from pydl.reading import naming, parse_json

__all__ = ["Tokenizer", "hashing_trick", "one_hot", "text_to_word_sequence", "tokenizer_from_json"]

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


def text_to_word_sequence(input_text, filters=FILTERS, lower=True, split=" ") -> list:
    """The words of a text: characters of `filters` count as `split`, where it is cut."""
    text = input_text.lower() if lower else input_text
    return [word for word in text.translate(str.maketrans(dict.fromkeys(filters, split))).split(split) if word]


def one_hot(input_text, n, filters=FILTERS, lower=True, split=" ", analyzer=None) -> list:
    """Each word of a text as an integer 1 .. n - 1, by Python's `hash`, which differs from run to run."""
    return hashing_trick(input_text, n, hash, filters, lower, split, analyzer)


def hashing_trick(text, n, hash_function=None, filters=FILTERS, lower=True, split=" ", analyzer=None) -> list:
    """Each word of a text as an integer 1 .. n - 1.

    Args:
        hash_function: "md5", the same in every run; a function; Python's `hash` for None.
        analyzer: function that splits the text, in place of `filters`, `lower` and `split`.
    """
    if n < 2:
        raise ValueError(f"hashing_trick: expected n of at least 2; received {n}.")
    if hash_function == "md5":
        def hash_function(word):
            return int(hashlib.md5(word.encode()).hexdigest(), 16)
    elif hash_function is None:
        hash_function = hash
    words = text_to_word_sequence(text, filters, lower, split) if analyzer is None else analyzer(text)
    return [hash_function(word) % (n - 1) + 1 for word in words]


class Tokenizer:
    """Texts to lists of numbers of words: 1 for the most frequent; among equals, the first seen comes first.

    A text is a str, or a list of tokens.

    Args:
        num_words: only numbers below it are used; None for all.
        filters, lower, split: as in `text_to_word_sequence`.
        char_level: characters are the tokens.
        oov_token: takes number 1 and stands for unknown words; None: they are left out.
        analyzer: function from a text to its tokens.

    Attributes: `word_counts`, `word_docs`, `word_index`, `index_word`, `index_docs`, `document_count`.
    """

    def __init__(self, num_words=None, filters=FILTERS, lower=True, split=" ", char_level=False, oov_token=None,
                 analyzer=None, document_count=0):
        self.num_words, self.filters, self.lower, self.split = num_words, filters, lower, split
        self.char_level, self.oov_token, self.analyzer = char_level, oov_token, analyzer
        self.document_count = document_count
        self.word_counts: collections.OrderedDict = collections.OrderedDict()
        self.word_docs: dict = collections.defaultdict(int)
        self.index_docs: dict = collections.defaultdict(int)
        self.word_index: dict = {}
        self.index_word: dict = {}

    def _splitter(self):
        """None where Python has to cut."""
        if self.char_level:
            return _text.Splitter("", "", self.lower, False, True)
        if self.analyzer is not None or len(self.split) != 1:
            return None
        return _text.Splitter(self.filters + self.split, "", self.lower, False)

    def _tokens(self, text):
        if self.char_level or isinstance(text, list):
            if self.lower:
                return [t.lower() for t in text] if isinstance(text, list) else text.lower()
            return text
        if self.analyzer is not None:
            return self.analyzer(text)
        return text_to_word_sequence(text, self.filters, self.lower, self.split)

    def fit_on_texts(self, texts) -> None:
        """Counts the words of an iterable of texts, on top of what was counted before."""
        splitter = self._splitter()
        for plain, run in itertools.groupby(texts, lambda text: splitter is not None and isinstance(text, str)):
            if plain:
                words = _text.Words()
                self.document_count += splitter.count(run, words)
                names = words.words()
                for found, table in zip(words.tallies(), (self.word_counts, self.word_docs)):
                    for word, count in zip(names, found.tolist()):
                        table[word] = table.get(word, 0) + count
                continue
            for text in run:
                tokens = self._tokens(text)
                self.document_count += 1
                for word in tokens:
                    self.word_counts[word] = self.word_counts.get(word, 0) + 1
                for word in set(tokens):
                    self.word_docs[word] += 1
        ranked = sorted(self.word_counts, key=self.word_counts.__getitem__, reverse=True)
        ranked = ranked if self.oov_token is None else [self.oov_token, *ranked]
        self.word_index = {word: number for number, word in enumerate(ranked, 1)}
        self.index_word = {number: word for word, number in self.word_index.items()}
        for word, count in self.word_docs.items():
            self.index_docs[self.word_index[word]] = count

    def fit_on_sequences(self, sequences) -> None:
        """Counts in how many of the sequences each number occurs, for the "tfidf" mode of `sequences_to_matrix`."""
        for sequence in sequences:
            self.document_count += 1
            for number in set(sequence):
                self.index_docs[number] += 1

    def texts_to_sequences(self, texts) -> list:
        """A list of numbers for each text."""
        return list(self.texts_to_sequences_generator(texts))

    def texts_to_sequences_generator(self, texts):
        """The same, text by text."""
        unknown = self.word_index.get(self.oov_token) if self.oov_token is not None else None
        limit = self.num_words or len(self.word_index) + 2
        splitter = self._splitter()
        words, numbers = None, []
        for text in texts:
            if splitter is not None and isinstance(text, str):
                if words is None:
                    words = _text.Words(self.word_index)
                    numbers = [number if number < limit else unknown for number in self.word_index.values()]
                yield splitter.lists(text, words, numbers, unknown)
            else:
                found = [n if (n := self.word_index.get(t)) is not None and n < limit else unknown
                         for t in self._tokens(text)]
                yield [n for n in found if n is not None]

    def sequences_to_texts(self, sequences) -> list:
        """Texts of known words, joined by spaces."""
        return list(self.sequences_to_texts_generator(sequences))

    def sequences_to_texts_generator(self, sequences):
        """The same, sequence by sequence."""
        limit = self.num_words or float("inf")
        known_oov = self.oov_token is not None and self.oov_token in self.word_index
        for sequence in sequences:
            words = [self.index_word.get(n) if n < limit else None for n in sequence]
            yield " ".join(self.oov_token if w is None else w for w in words if w is not None or known_oov)

    def texts_to_matrix(self, texts, mode="binary"):
        """`sequences_to_matrix` of the texts' sequences."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences, mode="binary") -> np.ndarray:
        """A row (num_words,) per sequence.

        Args:
            mode: "binary", "count", "freq" (count / length), or "tfidf": (1 + log count) log(1 + N / (1 + documents)).

        Raises:
            ValueError: for another mode, or before anything was counted.
        """
        width = self.num_words or (len(self.word_index) + 1 if self.word_index else 0)
        if not width:
            raise ValueError("Tokenizer: give `num_words`, or call `fit_on_texts` first.")
        if mode not in ("binary", "count", "freq", "tfidf"):
            raise ValueError(f"Tokenizer: `mode` is binary, count, freq or tfidf; received {mode!r}.")
        if mode == "tfidf" and not self.document_count:
            raise ValueError("Tokenizer: mode 'tfidf' needs `fit_on_texts` first.")
        lengths = np.array([len(s) for s in sequences], np.int64)
        flat = np.fromiter(itertools.chain.from_iterable(sequences), np.int64, lengths.sum())
        rows, inside = np.repeat(np.arange(len(lengths)), lengths), flat < width
        counts = np.zeros((len(lengths), width))
        np.add.at(counts, (rows[inside], flat[inside]), 1)
        if mode == "binary":
            return (counts > 0).astype(float)
        if mode == "freq":
            return counts / np.maximum(lengths, 1)[:, None]
        if mode == "tfidf":
            documents = np.array([self.index_docs.get(j, 0) for j in range(width)])
            weights = np.log(1 + self.document_count / (1 + documents))
            return np.where(counts > 0, (1 + np.log(np.maximum(counts, 1))) * weights, 0)
        return counts

    def get_config(self) -> dict:
        tables = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")
        plain = ("num_words", "filters", "lower", "split", "char_level", "oov_token", "document_count")
        return {**{k: getattr(self, k) for k in plain}, **{k: json.dumps(getattr(self, k)) for k in tables}}

    def to_json(self, **kwargs) -> str:
        """The tokenizer as JSON, without `analyzer`; `kwargs` are those of `json.dumps`."""
        return json.dumps({"class_name": type(self).__name__, "config": self.get_config()}, **kwargs)


def tokenizer_from_json(json_string) -> Tokenizer:
    """The tokenizer that `Tokenizer.to_json` wrote, here or in Keras. Raises ValueError for anything else."""
    with naming("The JSON of the tokenizer"):
        config = parse_json(json_string, "the text")["config"]
        tables = {name: parse_json(config.pop(name), f"config.{name}")
                  for name in ("word_counts", "word_docs", "index_docs", "index_word", "word_index")}
        tokenizer = Tokenizer(**config)
        for name, table in tables.items():
            pairs = ((int(k) if name.startswith("index") else k, v) for k, v in table.items())
            kind = type(getattr(tokenizer, name))
            loaded = collections.defaultdict(int) if kind is collections.defaultdict else kind()
            loaded.update(pairs)
            setattr(tokenizer, name, loaded)
        return tokenizer
