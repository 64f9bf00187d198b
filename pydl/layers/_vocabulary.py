"""The vocabulary of a layer: given or learned, searched, saved. Shared by StringLookup, IntegerLookup and
TextVectorization."""

from __future__ import annotations

import collections
import itertools
import os

import numpy as np

from pydl import ops
from pydl.atomic import atomic_write
from pydl.configs import checked
from pydl.layers._encoding import COUNT, INT, MULTI_HOT, ONE_HOT, TF_IDF, check_dense, check_mode, encode
from pydl.layers.base import Layer
from pydl.reading import naming
from pydl.symbolic import KerasTensor, SymbolicNode
from pydl.tensor import Tensor

_MOST_UNKNOWN = 1 << 24  # numbers for unknown values, each of which has a place in the vocabulary


def batches_of(data, steps=None):
    """What `adapt` learns from, batch by batch: an array, list or tensor is one batch, anything else gives batches."""
    if isinstance(data, (list, tuple, np.ndarray, Tensor)) or hasattr(data, "to_numpy"):
        return [data]
    if not hasattr(data, "__iter__"):
        raise ValueError(f"adapt: expected an array, a list or an iterable of batches; received {data!r}.")
    return itertools.islice(data, steps)


def strings_of(values, encoding="utf-8", what="the layer"):
    """(flat list of str, shape) of a string, a list, or an array of strings or bytes.

    Raises:
        TypeError: for anything that is no string; it names value and position.
    """
    if isinstance(values, Tensor) or getattr(getattr(values, "dtype", None), "kind", "O") in "iufb":
        raise TypeError(f"{what} reads strings and received numbers of shape {tuple(values.shape)}. In a model"
                        " it stands directly behind an `Input` of dtype \"string\".")
    array = values if isinstance(values, np.ndarray) else np.array(values, object)
    flat = array.ravel().tolist()
    for position, value in enumerate(flat):
        if isinstance(value, bytes):
            flat[position] = value.decode(encoding, "replace")
        elif not isinstance(value, str):
            raise TypeError(f"{what} reads strings (of one length per row); received {value!r} at position"
                            f" {position}.")
    return flat, array.shape


def salt_of(kind: str, salt):
    """The two integers of a salt, or None."""
    if salt is None:
        return None
    pair = [salt, salt] if isinstance(salt, int) else list(salt) if isinstance(salt, (tuple, list)) else []
    if len(pair) != 2 or not all(isinstance(part, int) and 0 <= part < 2**64 for part in pair):
        raise ValueError(f"{kind}: `salt` is an integer from 0 to 2**64 - 1, or two of them. Received: {salt!r}")
    return pair


class HostLayer(Layer):
    """A layer whose result's shape is known without a run. While `on_host` is true it runs in Python: in a model,
    ahead of the recorded steps, where it and its like stand directly behind the inputs."""

    def _symbolic_call(self, args, kwargs):
        x = args[0] if args else kwargs["inputs"]
        self._check_symbolic(x)
        outputs = self.compute_output_spec(x)
        self._inbound_nodes.append(SymbolicNode(self, args, kwargs, outputs))
        return outputs

    def _check_symbolic(self, x) -> None:
        """Raises TypeError for an input of a kind that the layer does not read."""

    def compute_output_spec(self, inputs):
        return KerasTensor(self.compute_output_shape(inputs.shape), self._output_dtype())

    def _output_dtype(self) -> str:
        return "int64" if self.output_mode == INT else self._dtype  # type: ignore[attr-defined]  # of subclasses


class IndexLookup(HostLayer):
    """What StringLookup, IntegerLookup and TextVectorization share: a vocabulary, given or learned, and its use.

    Numbers run: mask (0, in "int" mode with a `mask_token`), then `num_oov_indices` for unknown values, then the
    vocabulary.
    """

    def __init__(self, max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
                 output_mode, pad_to_max_tokens, sparse, vocabulary_size=None, has_input_vocabulary=None, **kwargs):
        super().__init__(**kwargs)
        kind = type(self).__name__
        check_dense(kind, sparse=sparse)
        if max_tokens is not None and max_tokens <= 1:
            raise ValueError(f"{kind}: `max_tokens` must be greater than 1. Received: max_tokens={max_tokens}")
        if pad_to_max_tokens and max_tokens is None:
            raise ValueError(f"{kind}: pad_to_max_tokens=True needs `max_tokens`.")
        if not 0 <= num_oov_indices <= _MOST_UNKNOWN:
            raise ValueError(f"{kind}: `num_oov_indices` must be 0 to {_MOST_UNKNOWN}. Received: {num_oov_indices}")
        self.output_mode = check_mode(kind, output_mode, (INT, ONE_HOT, MULTI_HOT, COUNT, TF_IDF))
        if invert and self.output_mode != INT:
            raise ValueError(f"{kind}: invert=True needs output_mode='int'. Received: {output_mode!r}")
        self.max_tokens, self.num_oov_indices = max_tokens, num_oov_indices
        self.mask_token, self.oov_token = mask_token, oov_token
        self.invert, self.pad_to_max_tokens = invert, pad_to_max_tokens
        self.tokens: list | None = None  # the vocabulary without special tokens; None before there is one
        self.idf_weights: np.ndarray | None = None  # for every number, special ones too
        self._has_input_vocabulary = vocabulary is not None if has_input_vocabulary is None else has_input_vocabulary
        self._frozen_vocab_size = vocabulary_size  # what a later vocabulary has to keep to
        self.reset_state()
        if vocabulary is not None:
            self.set_vocabulary(vocabulary, idf_weights)
        elif idf_weights is not None:
            raise ValueError(f"{kind}: `idf_weights` needs a `vocabulary`.")
        self.built = True

    # ---- the vocabulary ----------------------------------------------------------------------------------------

    def _oov_start_index(self) -> int:
        return int(self.mask_token is not None and self.output_mode == INT)

    def _token_start_index(self) -> int:
        return self._oov_start_index() + self.num_oov_indices

    def _special_tokens(self) -> list:
        return [self.mask_token] * self._oov_start_index() + [self.oov_token] * self.num_oov_indices

    def get_vocabulary(self, include_special_tokens=True) -> list:
        """The terms by their numbers; `include_special_tokens`: also those for masked and unknown values."""
        return (self._special_tokens() if include_special_tokens else []) + (self.tokens or [])

    def vocabulary_size(self) -> int:
        """How many numbers there are, special ones included."""
        return self._token_start_index() + len(self.tokens or [])

    def _terms(self, values) -> list:
        """Terms of a vocabulary as plain Python values. Raises TypeError for others."""
        raise NotImplementedError

    def _index_terms(self) -> None:
        """Prepares the search in `tokens`."""
        raise NotImplementedError

    def set_vocabulary(self, vocabulary, idf_weights=None) -> None:
        """Sets the terms, and with output_mode="tf_idf" their weights.

        Args:
            vocabulary: list or array of different terms, with or without the special tokens in front; or the path of
                a text file with a term per line.
            idf_weights: a number per entry of `vocabulary`.

        Raises:
            ValueError: for repeated terms, special tokens in other places, more than `max_tokens`, or weights that
                are missing or too many. The layer keeps its vocabulary then.
        """
        if (idf_weights is not None) != (self.output_mode == TF_IDF):
            raise ValueError(f'Layer "{self.name}": `idf_weights` belong to a vocabulary with output_mode="tf_idf" and'
                             f" to no other. Received: output_mode={self.output_mode!r}, idf_weights={idf_weights}")
        if isinstance(vocabulary, str):
            vocabulary = self._read_terms(vocabulary)
        terms = self._terms(vocabulary)
        if not terms:
            raise ValueError(f'Layer "{self.name}": cannot set an empty vocabulary.')
        special = self._special_tokens()
        with_special = bool(special) and terms[: len(special)] == special
        tokens = terms[len(special) :] if with_special else terms
        repeated = [term for term, count in collections.Counter(tokens).items() if count > 1]
        if repeated:
            raise ValueError(f'Layer "{self.name}": the vocabulary has repeated terms: {repeated[:10]}')
        for what, token in (("mask", self.mask_token), ("OOV", self.oov_token if self.invert else None)):
            if token is not None and token in tokens:
                raise ValueError(f'Layer "{self.name}": the {what} token {token!r} is at place {terms.index(token)} of'
                                 f" the vocabulary; special tokens are left out, or come first, as {special}.")
        if self.max_tokens is not None and len(special) + len(tokens) > self.max_tokens:
            raise ValueError(f'Layer "{self.name}": {len(tokens)} terms and {len(special)} special tokens are more than'
                             f" max_tokens={self.max_tokens}.")
        weights = None
        if idf_weights is not None:
            weights = np.asarray(idf_weights, np.float64)
            if weights.shape != (len(terms),):
                raise ValueError(f'Layer "{self.name}": expected {len(terms)} `idf_weights`, one per term; received'
                                 f" shape {weights.shape}.")
            if not with_special:
                weights = np.concatenate([np.full(len(special), weights.mean()), weights])
        self._use(tokens, weights)

    def _read_terms(self, path) -> list:
        if not os.path.isfile(path):
            raise ValueError(f'Layer "{self.name}": there is no vocabulary file {path!r}.')
        if self.output_mode == TF_IDF:
            raise ValueError(f'Layer "{self.name}": output_mode="tf_idf" needs a list of terms and weights, not a'
                             f" file; received {path!r}.")
        # A byte-order mark at the beginning is no part of the first term.
        with naming(path), open(path, encoding="utf-8-sig", newline="\n") as file:
            return [line.removesuffix("\n").removesuffix("\r") for line in file]

    def _use(self, tokens, weights, words=None) -> None:
        """Takes over a vocabulary; `words`: a table of it, if there is one already."""
        size = self._token_start_index() + len(tokens)
        fixed = self.output_mode != INT and not self.pad_to_max_tokens
        if fixed and self._frozen_vocab_size not in (None, size):
            raise RuntimeError(f'Layer "{self.name}": with output_mode={self.output_mode!r} and pad_to_max_tokens=False'
                               f" the size of the vocabulary cannot change. It was {self._frozen_vocab_size}, the new"
                               f" one is {size}.")
        self._frozen_vocab_size = size
        self.tokens, self.idf_weights = tokens, weights
        if words is None:
            self._index_terms()
        else:
            self._words = words

    # ---- learning it -------------------------------------------------------------------------------------------

    def adapt(self, data, steps=None) -> None:
        """Learns the vocabulary: most frequent terms first, among equals the greater first, as in Keras.

        Args:
            data: array, list or tensor, whose rows are documents for "tf_idf"; or an iterable of such batches.
            steps: number of batches to read, None for all.

        Raises:
            ValueError: for data without a batch, or a layer that was made with a vocabulary.
        """
        self.reset_state()
        empty = True
        for batch in batches_of(data, steps):
            if batch is data and np.ndim(batch) == 1:
                batch = np.asarray(batch).reshape(-1, 1) if len(batch) else np.empty((0, 1), object)
            self.update_state(batch)
            empty = False
        if empty:
            raise ValueError(f'Layer "{self.name}": adapt received no data.')
        self.finalize_state()

    def reset_state(self) -> None:
        """Forgets what has been counted (not the vocabulary)."""
        self._counts: collections.Counter = collections.Counter()
        self._documents: collections.Counter = collections.Counter()
        self._num_documents = 0

    def update_state(self, data) -> None:
        """Counts the terms of a batch."""
        self._check_adaptable()
        terms, shape = self._values(data)
        width = shape[-1] if shape else 1
        self._count_rows([terms[i : i + width] for i in range(0, len(terms), width)] if width else [])

    def _check_adaptable(self):
        if self._has_input_vocabulary:
            raise ValueError(f'Layer "{self.name}" was made with a vocabulary of {len(self.tokens)} terms and cannot'
                             " adapt.")

    def _values(self, data):
        """(flat list of terms, shape) of a batch."""
        raise NotImplementedError

    def _count_rows(self, rows) -> None:
        for row in rows:
            self._counts.update(row)
            if self.output_mode == TF_IDF:
                self._documents.update(set(row))
        self._num_documents += len(rows)

    def finalize_state(self) -> None:
        """Makes the vocabulary of what has been counted."""
        for token in (self.mask_token, self.oov_token):
            self._counts.pop(token, None)
        tokens = sorted(self._counts, key=lambda t: (self._counts[t], t), reverse=True)
        tokens = tokens[: self._room()]
        self._use(tokens, self._idf([self._documents[t] for t in tokens]))
        self.reset_state()

    def _room(self) -> int | None:
        """How many terms may be learned; None for any number."""
        return None if self.max_tokens is None else max(self.max_tokens - self._token_start_index(), 0)

    def _idf(self, documents) -> np.ndarray | None:
        """Weights for "tf_idf" of all numbers, from the documents that each term occurs in."""
        if self.output_mode != TF_IDF:
            return None
        weights = np.log(1 + self._num_documents / (1 + np.asarray(documents, np.float64)))
        special = np.full(self._token_start_index(), weights.mean() if len(weights) else 0.0)
        return np.concatenate([special, weights])

    # ---- use ---------------------------------------------------------------------------------------------------

    def _check_ready(self) -> None:
        if self.tokens is None:
            raise RuntimeError(f'Layer "{self.name}" has no vocabulary yet: call `adapt` or `set_vocabulary`, or pass'
                               " `vocabulary`.")

    def _numbers(self, positions, masked, buckets):
        """Numbers of values.

        Args:
            positions: int64 tensor, places in `tokens`, -1 for unknown values.
            masked: tensor of bools, where the mask token is; None for nowhere.
            buckets: int64 tensor 0 .. num_oov_indices - 1 for unknown values; None where there is one number for them.
        """
        unknown = self._oov_start_index() if buckets is None else buckets + self._oov_start_index()
        numbers = ops.where(ops.less(positions, 0), unknown, positions + self._token_start_index())
        if masked is not None:
            numbers = ops.where(masked, 0 if self.output_mode == INT else self._depth(), numbers)
        return ops.cast(numbers, "int64")

    def _depth(self) -> int:
        if self.pad_to_max_tokens:
            return self.max_tokens
        if self.tokens is None and self._frozen_vocab_size is not None:
            return self._frozen_vocab_size  # of a file that is being loaded
        self._check_ready()
        return self.vocabulary_size()

    def compute_output_shape(self, input_shape):
        shape = tuple(input_shape)
        if self.output_mode == INT:
            return shape
        if self.output_mode == ONE_HOT and not (len(shape) > 1 and shape[-1] == 1):
            return (*shape, self._depth())
        return (*shape[:-1], self._depth())

    def _encoded(self, numbers):
        """Numbers in the layer's output mode."""
        if self.output_mode == INT:
            return numbers
        mode = COUNT if self.output_mode == TF_IDF else self.output_mode
        return self._weighted(encode(numbers, mode, self._depth(), self._dtype))

    def _weighted(self, counts):
        if self.output_mode != TF_IDF:
            return counts
        return counts * self._factors().astype(self._dtype)

    def _factors(self) -> np.ndarray:
        """The weights of all columns."""
        assert self.idf_weights is not None  # with output_mode="tf_idf" there is no vocabulary without them
        return np.pad(self.idf_weights, (0, self._depth() - len(self.idf_weights)))

    def _unknown(self, values) -> ValueError:
        return ValueError(f"with num_oov_indices=0 all values must be in the vocabulary; received {values[:5]}.")

    # ---- saving ------------------------------------------------------------------------------------------------

    def get_config(self) -> dict:
        config = {"max_tokens": self.max_tokens, "num_oov_indices": self.num_oov_indices,
                  "mask_token": self.mask_token, "oov_token": self.oov_token, "invert": self.invert,
                  "output_mode": self.output_mode, "pad_to_max_tokens": self.pad_to_max_tokens, "sparse": False,
                  "vocabulary": None, "idf_weights": None}
        if self.tokens:
            config["vocabulary"] = self.get_vocabulary()
            config["idf_weights"] = None if self.idf_weights is None else self.idf_weights.tolist()
            if not self._has_input_vocabulary:
                config["has_input_vocabulary"] = False  # learned: the copy may learn again
        return {**super().get_config(), **config}

    def save_own_variables(self, store) -> None:
        if self.idf_weights is not None:
            store["idf_weights"] = self.idf_weights

    def load_own_variables(self, store) -> None:
        if "idf_weights" in store:
            weights = np.asarray(store["idf_weights"], np.float64)
            self.idf_weights = weights if self.tokens is None else weights[: self.vocabulary_size()]

    def save_assets(self, dir_path) -> None:
        """Writes a learned vocabulary to `vocabulary.txt`, special tokens included, as Keras does."""
        if not self._has_input_vocabulary:
            with atomic_write(os.path.join(dir_path, "vocabulary.txt"), "w", encoding="utf-8", newline="") as file:
                file.write("\n".join(map(str, self.get_vocabulary())))

    def load_assets(self, dir_path) -> None:
        """Reads what `save_assets` wrote, here or in Keras. Weights for "tf_idf" are loaded before."""
        path = os.path.join(dir_path, "vocabulary.txt")
        if self._has_input_vocabulary or not os.path.exists(path):
            return
        with open(path, encoding="utf-8", newline="") as file:
            lines = file.read().split("\n")
        while lines and lines[-1] == "":
            lines.pop()
        weights = self.idf_weights if self.output_mode == TF_IDF else None
        if len(lines) > len(self._special_tokens()):
            self.set_vocabulary(lines, None if weights is None else weights[: len(lines)])

    @classmethod
    @checked
    def from_config(cls, config):
        if isinstance(config.get("vocabulary"), str):
            raise ValueError(f"{cls.__name__}: a configuration names the vocabulary file {config['vocabulary']!r};"
                             " files are read for the constructor and `set_vocabulary` alone.")
        return super().from_config(config)
