"""Vocabularies: strings or integers to their numbers and back (StringLookup, IntegerLookup)."""

from __future__ import annotations

import numpy as np

from pydl import _core, _text, ops
from pydl.dtypes import holds_floats, holds_text
from pydl.layers._vocabulary import IndexLookup, salt_of, strings_of
from pydl.registry import builtin
from pydl.tensor import from_numpy

__all__ = ["IntegerLookup", "StringLookup"]


@builtin("keras.layers")
class StringLookup(IndexLookup):
    """Strings to numbers, by a vocabulary that is given or learned with `adapt`.

    Input: str, bytes, or a list or NumPy array (...) of them. It runs on the host: in a model,
    directly behind an `Input` of dtype "string", or in `Dataset.map`.

    Args:
        max_tokens: most numbers, special ones included; None for no limit.
        num_oov_indices: numbers for unknown strings. 0: they are an error; more than 1: FarmHash decides, or SipHash
            with a `salt`.
        mask_token: string that means "nothing": number 0 in "int" mode, left out of the others. None for no such.
        oov_token: what an unknown number becomes with `invert`.
        vocabulary: list of terms, or path of a file with one per line.
        idf_weights: weights of the terms for "tf_idf".
        invert: numbers to strings; the result is a NumPy array of str.
        output_mode: "int": int64 numbers (...); "one_hot": (..., depth); "multi_hot", "count", "tf_idf": (batch,
            depth) in `dtype`, the entries of axis 1 brought together.
        pad_to_max_tokens: depth is `max_tokens`, also when the vocabulary is smaller.
        encoding: of bytes.
        salt: integer, or two, for SipHash.
    """

    def __init__(self, max_tokens=None, num_oov_indices=1, mask_token=None, oov_token="[UNK]", vocabulary=None,
                 idf_weights=None, invert=False, output_mode="int", pad_to_max_tokens=False, sparse=False,
                 encoding="utf-8", name=None, salt=None, oov_method="floormod", **kwargs):
        if oov_method not in ("floormod", "farmhash"):
            raise ValueError(f"StringLookup: `oov_method` is 'floormod' or 'farmhash'. Received: {oov_method!r}")
        self.encoding, self.salt, self.oov_method = encoding, salt_of("StringLookup", salt), oov_method
        super().__init__(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
                         output_mode, pad_to_max_tokens, sparse, name=name, **kwargs)

    on_host = True

    def _convert(self, value):
        return super()._convert(value) if self.invert else value

    def _terms(self, values):
        return strings_of(values, self.encoding, f'the vocabulary of layer "{self.name}"')[0]

    def _values(self, data):
        return strings_of(data, self.encoding, f'Layer "{self.name}"')

    def _index_terms(self):
        self._words = _text.Words(self.tokens)

    def call(self, inputs):
        self._check_ready()
        return self._invert(inputs) if self.invert else self._lookup(*self._values(inputs))

    def _lookup(self, values, shape):
        positions = self._words.index(values)
        masked, buckets, missing = None, None, positions < 0
        if self.mask_token is not None:
            masked = np.array([value == self.mask_token for value in values], bool)
            missing &= ~masked
        if self.num_oov_indices == 0 and missing.any():
            raise self._unknown([values[i] for i in np.flatnonzero(missing)])
        if self.num_oov_indices > 1:
            buckets = from_numpy(_text.hash_buckets(values, self.num_oov_indices, self.salt).reshape(shape))
        return self._encoded(self._numbers(from_numpy(positions.reshape(shape)),
                                           None if masked is None else from_numpy(masked.reshape(shape)), buckets))

    def _invert(self, inputs):
        numbers = np.asarray(inputs).astype("int64")
        table = np.array([*self.get_vocabulary(), self.oov_token], object)
        return table[np.where((numbers >= 0) & (numbers < len(table)), numbers, len(table) - 1)]

    def _check_symbolic(self, x):
        if (x.dtype == "string") == self.invert:
            raise TypeError(f"{type(self).__name__} reads {'numbers' if self.invert else 'strings'} here; received a"
                            f" symbolic tensor of dtype {x.dtype}.")

    def _output_dtype(self):
        return "string" if self.invert else super()._output_dtype()

    def get_config(self):
        return {**super().get_config(), "encoding": self.encoding, "salt": self.salt, "oov_method": self.oov_method}


@builtin("keras.layers")
class IntegerLookup(IndexLookup):
    """Integers to numbers 0, 1, 2, ..., by a vocabulary that is given or learned with `adapt`. Works inside models.

    Args:
        oov_token: integer for an unknown number with `invert`; not learned by `adapt`.
        oov_method: with more than one number for unknown integers: "floormod" takes the remainder, "farmhash" a hash
            of the decimal digits, in a model directly behind an input only.
        others: as of `StringLookup`, with integers for strings.
    """

    def __init__(self, max_tokens=None, num_oov_indices=1, mask_token=None, oov_token=-1, vocabulary=None,
                 vocabulary_dtype="int64", idf_weights=None, invert=False, output_mode="int", sparse=False,
                 pad_to_max_tokens=False, oov_method="floormod", salt=None, name=None, **kwargs):
        if vocabulary_dtype != "int64":
            raise ValueError(f"IntegerLookup: `vocabulary_dtype` is 'int64'. Received: {vocabulary_dtype!r}")
        if oov_method not in ("floormod", "farmhash"):
            raise ValueError(f"IntegerLookup: `oov_method` is 'floormod' or 'farmhash'. Received: {oov_method!r}")
        if salt is not None and oov_method != "farmhash":
            raise ValueError(f"IntegerLookup: `salt` needs oov_method='farmhash'. Received: {oov_method!r}")
        self.oov_method, self.salt = oov_method, salt_of("IntegerLookup", salt)
        super().__init__(max_tokens, num_oov_indices, mask_token, oov_token, vocabulary, idf_weights, invert,
                         output_mode, pad_to_max_tokens, sparse, name=name, **kwargs)

    @property
    def on_host(self) -> bool:  # type: ignore[override]  # where kernels do not suffice
        return self.num_oov_indices == 0 or (self.num_oov_indices > 1 and self.oov_method == "farmhash")

    def _terms(self, values):
        return self._values(values)[0]

    def _values(self, data):
        array = np.asarray(data)
        if holds_text(array) and array.size:
            try:
                array = array.astype("int64")  # lines of a vocabulary file
            except (TypeError, ValueError):
                raise TypeError(f'Layer "{self.name}" reads integers; received {array.flat[0]!r}.') from None
            except OverflowError:
                most = max(array.flat, key=abs)
                raise ValueError(f'Layer "{self.name}" reads integers of 64 bits; received {most}.') from None
        if holds_floats(array) and not (array == np.floor(array)).all():
            raise TypeError(f'Layer "{self.name}" reads integers; received {array[array != np.floor(array)][0]}.')
        return array.ravel().astype("int64").tolist(), array.shape

    def _index_terms(self):
        keys = np.array(self.tokens or [0], np.int64)
        order = np.argsort(keys)
        self._keys, self._places = keys[order], (order if self.tokens else np.array([-1])).astype("int64")

    def call(self, inputs):
        self._check_ready()
        x = ops.cast(inputs, "int64")
        if self.invert:
            table = np.array([*(self.oov_token if t is None else t for t in self.get_vocabulary()), self.oov_token],
                             np.int64)
            known = ops.logical_and(ops.greater_equal(x, 0), ops.less(x, len(table)))
            return ops.take(from_numpy(table), ops.where(known, x, len(table) - 1))
        at = ops.minimum(ops.searchsorted(self._keys, x), len(self._keys) - 1)
        found = ops.equal(ops.take(from_numpy(self._keys), at), x)
        positions = ops.where(found, ops.take(from_numpy(self._places), at), -1)
        masked = None if self.mask_token is None else ops.equal(x, self.mask_token)
        if self.num_oov_indices == 0:
            self._check_known(x, positions, masked)
        return self._encoded(self._numbers(positions, masked, self._buckets(x)))

    def _buckets(self, x):
        if self.num_oov_indices < 2:
            return None
        if self.oov_method == "floormod":
            return ops.mod(x, self.num_oov_indices)
        if _core.is_recording():
            raise ValueError("oov_method='farmhash' works outside of recorded models only; use `Dataset.map`.")
        digits = [str(value) for value in x.numpy().ravel().tolist()]
        return from_numpy(_text.hash_buckets(digits, self.num_oov_indices, self.salt).reshape(x.shape))

    def _check_known(self, x, positions, masked):
        if _core.is_recording() or _core.is_dry_run():
            raise ValueError("num_oov_indices=0 works outside of recorded models only; use `Dataset.map`.")
        missing = positions.numpy() < 0
        if masked is not None:
            missing &= ~masked.numpy().astype(bool)
        if missing.any():
            raise self._unknown(x.numpy()[missing].tolist())

    def get_config(self):
        return {**super().get_config(), **self._arguments("oov_method", "salt"), "vocabulary_dtype": "int64"}
