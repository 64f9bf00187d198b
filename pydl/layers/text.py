"""Texts to numbers: TextVectorization."""

from __future__ import annotations

import itertools
import math
import unicodedata

import numpy as np

from pydl import _text, ops
from pydl.dtypes import COMPUTED_IN, holds_text, is_float_dtype
from pydl.layers._encoding import COUNT, INT, MULTI_HOT, TF_IDF, check_dense, check_mode
from pydl.layers._vocabulary import batches_of, strings_of
from pydl.layers.lookup import StringLookup
from pydl.registry import builtin, deserialize_keras_object
from pydl.tensor import from_numpy

__all__ = ["TextVectorization"]

_LOWER, _STRIP, _BOTH = "lower", "strip_punctuation", "lower_and_strip_punctuation"
_PUNCTUATION = "".join(c for c in map(chr, range(128)) if c.isprintable() and not c.isalnum() and not c.isspace())
_NO_PUNCTUATION = str.maketrans("", "", _PUNCTUATION)
_WHITE_SPACE = " \t\n\v\f\r"
_MAX_NGRAM = 1000  # tokens
_PART = 1 << 24  # characters of an array of str, all as long as the longest, that a function of the user gets at once


def _by_parts(function, array):
    """`function` of an array of texts as NumPy's str. Where one long text would make it a very large array, the parts
    of the first axis, one after the other."""
    longest = max(map(len, array.ravel().tolist()), default=0)
    if array.ndim == 0 or array.size * longest <= _PART:
        return function(array.astype(str))
    rows = max(_PART * len(array) // (array.size * longest), 1)
    return list(itertools.chain.from_iterable(function(array[i : i + rows].astype(str))
                                              for i in range(0, len(array), rows)))


class _Lookup:
    """The layer that Keras has inside of a TextVectorization, as far as files know it: they hold its weights too."""

    def __init__(self, layer):
        self.layer = layer
        self.name = f"{layer.name}_lookup"

    def save_own_variables(self, store):
        self.layer.save_own_variables(store)

    def load_own_variables(self, store):
        self.layer.load_own_variables(store)


@builtin("keras.layers")
class TextVectorization(StringLookup):
    """Texts to rows of numbers of tokens, or to one row of counts each.

    Input: str, bytes, or a list or NumPy array (batch,) or (batch, 1) of them. It runs on the host: in a model,
    directly behind an `Input` of dtype "string", or in `Dataset.map`. Output: int64 (batch, length) with 0 for padding
    and 1 for unknown tokens, or (batch, depth) in `dtype`.

    A single str or bytes gives a row without the axis of the batch. With split=None the last axis of the input holds
    the tokens of a text, and "int" output has its shape.

    A text is standardised, split, its tokens joined to n-grams, and these looked up. Lower-casing follows Unicode
    and brings text to NFC, so that composed and decomposed letters are the same (Keras lower-cases ASCII alone).
    Punctuation is that of ASCII, white space likewise, as in Keras. "character" splits by code point: a combining
    mark or a joined emoji is a token of its own. Bytes that `encoding` cannot read become U+FFFD.

    Args:
        max_tokens: most numbers, special ones included; None for no limit.
        standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation", None, or a function of a NumPy array
            of str that returns one of the same shape.
        split: "whitespace", "character", None (a text is one token), or a function of a NumPy array (batch,) of str
            that returns a list of tokens for each.
        ngrams: N (up to 1000) for n-grams of 1 to N tokens joined by spaces, a tuple for those sizes; None for tokens
            alone.
        output_mode: "int", "multi_hot", "count" or "tf_idf".
        output_sequence_length: length of the rows in "int" mode; by default that of the longest.
        pad_to_max_tokens: depth is `max_tokens`, also when the vocabulary is smaller.
        vocabulary: list of tokens, or path of a file with one per line; else `adapt` learns it.
        idf_weights: weights of the tokens for "tf_idf".
        encoding: of bytes.
    """

    def __init__(self, max_tokens=None, standardize=_BOTH, split="whitespace", ngrams=None, output_mode="int",
                 output_sequence_length=None, pad_to_max_tokens=False, vocabulary=None, idf_weights=None, sparse=False,
                 ragged=False, encoding="utf-8", name=None, **kwargs):
        kind = "TextVectorization"
        check_dense(kind, ragged=ragged)
        for what, value, known in (("standardize", standardize, (_BOTH, _LOWER, _STRIP)),
                                   ("split", split, ("whitespace", "character"))):
            if value is not None and not callable(value) and value not in known:
                raise ValueError(f"{kind}: `{what}` is one of {', '.join(known)}, None or a function; received"
                                 f" {value!r}.")
        output_mode = check_mode(kind, output_mode, (INT, MULTI_HOT, COUNT, TF_IDF))
        if isinstance(ngrams, int) and ngrams > _MAX_NGRAM:
            raise ValueError(f"{kind}: `ngrams` is at most {_MAX_NGRAM}; received {ngrams}.")
        sizes = tuple(range(1, ngrams + 1)) if isinstance(ngrams, int) else ngrams
        if sizes is not None and (not isinstance(sizes, tuple) or not sizes
                                  or not all(isinstance(n, int) and n > 0 for n in sizes)):
            raise ValueError(f"{kind}: `ngrams` is None, a positive integer or a tuple of them; received {ngrams!r}.")
        length = output_sequence_length
        if length is not None and (output_mode != INT or not isinstance(length, int) or length < 0):
            raise ValueError(f"{kind}: `output_sequence_length` is an integer in output_mode='int', else None;"
                             f" received {length!r} with output_mode={output_mode!r}.")
        self.standardize, self.split, self.ngrams = standardize, split, ngrams
        self.output_sequence_length = length
        self._ngrams = sizes
        self._splitter = None
        lower, strip = standardize in (_LOWER, _BOTH), standardize in (_STRIP, _BOTH)
        if isinstance(split, str):
            self._splitter = _text.Splitter(_WHITE_SPACE if split == "whitespace" else "",
                                            _PUNCTUATION if strip else "", lower, lower or strip,
                                            split == "character", sizes or (1,), encoding)
        super().__init__(max_tokens=max_tokens, mask_token="", vocabulary=vocabulary, idf_weights=idf_weights,
                         output_mode=output_mode, pad_to_max_tokens=pad_to_max_tokens, sparse=sparse,
                         encoding=encoding, name=name, **kwargs)
        if self.output_mode == TF_IDF:
            self._lookup_layer = _Lookup(self)

    # ---- texts to tokens ---------------------------------------------------------------------------------------

    def _texts(self, inputs) -> list:
        """A list of str or bytes of an input (), (batch,) or (batch, 1), after a function that standardises."""
        if callable(self.standardize):
            inputs = np.asarray(_by_parts(self.standardize, self._array(inputs)), object)
        if isinstance(inputs, (str, bytes)):
            return [inputs]
        if isinstance(inputs, list) and inputs and isinstance(inputs[0], (str, bytes)):
            return inputs
        is_text = isinstance(inputs, np.ndarray) and holds_text(inputs)
        return self._check_splittable(inputs if is_text else self._array(inputs)).ravel().tolist()

    def _array(self, inputs):
        flat, shape = strings_of(inputs, self.encoding, f'Layer "{self.name}"')
        array = np.empty(len(flat), object)
        array[:] = flat
        return array.reshape(shape)

    def _tokens(self, inputs):
        """(rows of tokens, shape of the array of rows) where nothing is split, or the user's function does it."""
        array = self._array(inputs)
        if callable(self.standardize):
            array = np.asarray(_by_parts(self.standardize, array), object)
        elif self.standardize is not None and array.size:
            array = np.asarray(np.frompyfunc(self._standard, 1, 1)(array), object)
        if self.split is not None:
            shape = self._check_splittable(array).shape[:1]
            rows = [list(row) for row in _by_parts(self.split, array.reshape(-1))]
        else:  # the last axis holds the tokens of a text
            shape = array.shape[:-1]
            rows = array.reshape(math.prod(shape), -1 if array.size else 0).tolist()
        if self._ngrams is not None:
            rows = [[" ".join(row[i : i + n]) for n in self._ngrams for i in range(len(row) - n + 1)] for row in rows]
        return rows, shape

    @staticmethod
    def _check_splittable(array):
        if array.ndim > 1 and array.shape[-1] != 1 or array.ndim > 2:
            raise ValueError(f"expected texts of shape (batch,) or (batch, 1) to split; received {array.shape}.")
        return array

    def _standard(self, text):
        text = unicodedata.normalize("NFC", text if self.standardize == _STRIP else text.lower())
        return text if self.standardize == _LOWER else text.translate(_NO_PUNCTUATION)

    # ---- learning and use --------------------------------------------------------------------------------------

    def adapt(self, data, batch_size=None, steps=None) -> None:  # type: ignore[override]  # as in Keras
        """Learns the vocabulary: most frequent tokens first, among equals the greater first, as in Keras.

        Args:
            data: texts as for a call, or an iterable of batches of them.
            batch_size: accepted; of no effect.
            steps: number of batches to read, None for all.

        Raises:
            ValueError: for data without a batch, or a layer that was made with a vocabulary.
        """
        self.reset_state()
        empty = True
        for batch in batches_of(data, steps):
            if batch is data and self.split is None and np.ndim(batch) == 1:  # each a text of one token
                batch = np.array([[text] for text in batch], object)
            self.update_state(batch)
            empty = False
        if empty:
            raise ValueError(f'Layer "{self.name}": adapt received no data.')
        self.finalize_state()

    def reset_state(self):
        super().reset_state()
        self._counted = _text.Words()

    def update_state(self, data):
        """Counts the tokens of a batch of texts; each is a document."""
        self._check_adaptable()
        if self._splitter is None:
            self._count_rows(self._tokens(data)[0])
            return
        texts = self._texts(data)
        self._splitter.count(texts, self._counted)
        self._num_documents += len(texts)

    def finalize_state(self):
        if self._splitter is None:
            super().finalize_state()
            return
        words = self._counted.ranked(self._room(), (self.mask_token, self.oov_token))
        self._use(words.words(), self._idf(words.tallies()[1]), words)
        self.reset_state()

    def call(self, inputs):
        self._check_ready()
        if self._splitter is None:
            return self._looked_up(*self._tokens(inputs), np.ndim(inputs) == 0)
        texts, unknown, first = self._texts(inputs), self._oov_start_index(), self._token_start_index()
        one = isinstance(inputs, (str, bytes)) or isinstance(inputs, np.ndarray) and inputs.ndim == 0
        if self.output_mode == INT:
            result = self._splitter.rows(texts, self._words, unknown, first, self.output_sequence_length)
        else:
            weights = self._factors() if self.output_mode == TF_IDF else None
            dtype = COMPUTED_IN[self._dtype] if is_float_dtype(self._dtype) else "float32"
            result = np.zeros((len(texts), self._depth()), dtype)
            self._splitter.bags(texts, self._words, unknown, first, result, self.output_mode != MULTI_HOT, weights)
        result = from_numpy(result[0] if one else result)
        return result if self.output_mode == INT else ops.cast(result, self._dtype)

    def _looked_up(self, rows, shape, one):
        """The result for rows of tokens."""
        flat, lengths = list(itertools.chain.from_iterable(rows)), np.array([len(row) for row in rows], np.int64)
        positions = self._words.index(flat)
        numbers = np.where(positions < 0, self._oov_start_index(), positions + self._token_start_index())
        nothing = np.array([token == "" for token in flat], bool)
        if self.output_mode == INT:
            numbers[nothing] = 0
            width = self.output_sequence_length
            padded = _text.pad(numbers, lengths, int(lengths.max(initial=0)) if width is None else width)
            scalar = one and self.split is None and width is None
            return from_numpy(padded.reshape(() if scalar else (*([] if one else shape), padded.shape[1])))
        counts = np.zeros((len(rows), self._depth()))
        np.add.at(counts, (np.repeat(np.arange(len(rows)), lengths)[~nothing], numbers[~nothing]), 1)
        counts = np.minimum(counts, 1) if self.output_mode == MULTI_HOT else counts
        counts = counts * self._factors() if self.output_mode == TF_IDF else counts
        return ops.cast(from_numpy(counts.reshape(*([] if one else shape), -1)), self._dtype)

    def compute_output_shape(self, input_shape):
        shape = tuple(input_shape)
        if self.split is not None:
            shape = (*shape[:1], None)
        if self.output_mode != INT:
            return (*shape[:-1], self._depth())
        width = self.output_sequence_length
        return (*shape[:-1], width) if width is not None or self._ngrams is not None else shape

    def get_config(self):
        config = super().get_config()
        for name in ("num_oov_indices", "mask_token", "oov_token", "invert", "salt", "oov_method"):
            del config[name]
        return {**config, **self._arguments("standardize", "split", "ngrams", "output_sequence_length"),
                "ragged": False}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in ("standardize", "split"):
            if isinstance(config.get(name), dict):
                config[name] = deserialize_keras_object(config[name])
        if isinstance(config.get("ngrams"), list):
            config["ngrams"] = tuple(config["ngrams"])
        return super().from_config(config)
