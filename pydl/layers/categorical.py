"""Categories of features: Hashing, CategoryEncoding, Discretization."""

from __future__ import annotations

import numpy as np

from pydl import _core, _text, config, ops
from pydl.dtypes import INTEGERS, holds_numbers
from pydl.layers._encoding import COUNT, INT, MULTI_HOT, ONE_HOT, check_dense, check_mode, encode
from pydl.layers._vocabulary import HostLayer, batches_of, salt_of, strings_of
from pydl.layers.base import Layer
from pydl.ops.indexing import categories
from pydl.registry import builtin
from pydl.tensor import Tensor, as_array, from_numpy

__all__ = ["CategoryEncoding", "Discretization", "Hashing"]


@builtin("keras.layers")
class Hashing(HostLayer):
    """Strings or integers to bins by a hash that is the same everywhere: FarmHash's Fingerprint64 (Pike, 2014), or
    SipHash-2-4 (Aumasson, Bernstein, 2012) with a salt; the bins are Keras's.

    Integers are hashed by their decimal digits, floats are cut to integers first. It runs on the host: in a
    model, directly behind an `Input`, or in `Dataset.map`.

    Args:
        num_bins: number of bins, that of `mask_value` included.
        mask_value: value that goes to bin 0, which others leave free; None for no such.
        salt: integer, or two, from 0 to 2**64 - 1.
        output_mode: "int" (the shape of the input), "one_hot", "multi_hot" or "count".
    """

    def __init__(self, num_bins, mask_value=None, salt=None, output_mode="int", sparse=False, **kwargs):
        if kwargs.get("dtype") is None:
            kwargs["dtype"] = "int64" if output_mode == INT else config.floatx()
        super().__init__(**kwargs)
        if not isinstance(num_bins, int) or num_bins < 1:
            raise ValueError(f"Hashing: `num_bins` is a positive integer. Received: num_bins={num_bins!r}")
        check_dense("Hashing", sparse=sparse)
        self.output_mode = check_mode("Hashing", output_mode, (INT, ONE_HOT, MULTI_HOT, COUNT))
        if self.output_mode == INT and self._dtype not in INTEGERS:
            raise ValueError(f"Hashing: output_mode='int' needs an integer dtype. Received: dtype={self._dtype}")
        self.num_bins, self.mask_value, self.salt = num_bins, mask_value, salt_of("Hashing", salt)
        self.built = True

    on_host = True

    def _convert(self, value):
        return value  # strings are no tensors

    def _output_dtype(self):
        return self._dtype

    def call(self, inputs):
        if _core.is_recording() or _core.is_dry_run():
            raise ValueError("hashes are computed on the host: in a model directly behind an input, or in"
                             " `Dataset.map`.")
        array = inputs.numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
        numbers = holds_numbers(array)
        if self.mask_value is not None and isinstance(self.mask_value, str) == numbers:
            raise TypeError(f"mask_value={self.mask_value!r} is of another kind than the inputs,"
                            f" {'numbers' if numbers else 'strings'}.")
        if numbers:
            words, shape = [str(int(value)) for value in array.ravel().tolist()], array.shape
            masked = array == self.mask_value
        else:
            words, shape = strings_of(inputs, what=f'Layer "{self.name}"')
            masked = np.array([word == self.mask_value for word in words], bool).reshape(shape)
        reserved = int(self.mask_value is not None and self.num_bins > 1)
        bins = _text.hash_buckets(words, self.num_bins - reserved, self.salt).reshape(shape) + reserved
        if reserved:
            bins[masked] = 0
        return encode(from_numpy(np.asarray(bins)), self.output_mode, self.num_bins, self._dtype)

    def compute_output_shape(self, input_shape):
        shape = tuple(input_shape)
        return shape if self.output_mode == INT else (*shape[:-1], self.num_bins)

    def get_config(self):
        return {**super().get_config(), "num_bins": self.num_bins, "salt": self.salt, "mask_value": self.mask_value,
                "output_mode": self.output_mode, "sparse": False}


@builtin("keras.layers")
class CategoryEncoding(Layer):
    """Integers 0 .. num_tokens - 1 as one-hot rows, or the integers of a sample as one row.

    Args:
        num_tokens: number of categories.
        output_mode: "one_hot": (...) to (..., num_tokens); "multi_hot", "count": (batch, n) to (batch, num_tokens).

    A call raises IndexError for an integer of num_tokens or more; those below 0 (padding) leave no trace.
    """

    def __init__(self, num_tokens=None, output_mode="multi_hot", sparse=False, **kwargs):
        super().__init__(**kwargs)
        check_dense("CategoryEncoding", sparse=sparse)
        self.output_mode = check_mode("CategoryEncoding", output_mode, (ONE_HOT, MULTI_HOT, COUNT))
        if not isinstance(num_tokens, int) or not 1 <= num_tokens < 2**31:
            raise ValueError(f"CategoryEncoding: `num_tokens` is a positive integer of 32 bits. Received:"
                             f" {num_tokens!r}. Where the categories are not known, IntegerLookup learns them.")
        self.num_tokens = num_tokens

    def call(self, inputs, count_weights=None):
        if count_weights is not None:
            if self.output_mode != COUNT:
                raise ValueError("`count_weights` belong to output_mode='count'. Received: output_mode="
                                 f"{self.output_mode!r}")
            count_weights = ops.cast(count_weights, self._dtype)
        ids = categories(inputs, self.num_tokens)
        return encode(ids, self.output_mode, self.num_tokens, self._dtype, count_weights)

    def get_config(self):
        return {**super().get_config(), **self._arguments("num_tokens", "output_mode"), "sparse": False}


@builtin("keras.layers")
class Discretization(Layer):
    """Numbers to the intervals they lie in: i for bin_boundaries[i - 1] <= x < bin_boundaries[i].

    Args:
        bin_boundaries: rising numbers.
        num_bins: instead, number of intervals that `adapt` finds, each with about the same share of the data.
        epsilon: error of their quantiles, as a share of the data.
        output_mode: "int" (int32), "one_hot", "multi_hot" or "count".
    """

    def __init__(self, bin_boundaries=None, num_bins=None, epsilon=0.01, output_mode="int", sparse=False, dtype=None,
                 name=None, **kwargs):
        super().__init__(name=name, dtype=dtype, **kwargs)
        check_dense("Discretization", sparse=sparse)
        self.output_mode = check_mode("Discretization", output_mode, (INT, ONE_HOT, MULTI_HOT, COUNT))
        if (bin_boundaries is None) == (num_bins is None):
            raise ValueError("Discretization: give one of `num_bins` and `bin_boundaries`. Received:"
                             f" num_bins={num_bins}, bin_boundaries={bin_boundaries}")
        if num_bins is not None and num_bins < 1:
            raise ValueError(f"Discretization: `num_bins` is a positive integer. Received: num_bins={num_bins}")
        if bin_boundaries is not None and (np.ndim(bin_boundaries) != 1 or (np.diff(bin_boundaries) < 0).any()):
            raise ValueError(f"Discretization: `bin_boundaries` are rising numbers. Received: {bin_boundaries}")
        self.bin_boundaries = None if bin_boundaries is None else np.asarray(bin_boundaries).tolist()
        self.num_bins, self.epsilon = num_bins, epsilon
        self.reset_state()

    def reset_state(self) -> None:
        """Forgets the data seen (not the boundaries)."""
        self._summary = np.zeros((2, 0), "float32")

    def adapt(self, data, steps=None) -> None:
        """Learns the boundaries of an array, or of an iterable of batches, of which `steps` are read.

        Raises:
            ValueError: for a layer made with `bin_boundaries`, or no data.
        """
        if self.num_bins is None:
            raise ValueError(f'Layer "{self.name}" was made with `bin_boundaries` and cannot adapt; give `num_bins`.')
        self.reset_state()
        for batch in batches_of(data, steps):
            self.update_state(batch)
        if self._summary.shape[1] == 0:
            raise ValueError(f'Layer "{self.name}": adapt received no data.')
        self.finalize_state()

    def update_state(self, data) -> None:
        """Joins a batch to what has been seen: sorted values at equal distances, each with a weight."""
        values = np.sort(as_array(data, "float32").ravel())
        step = max(values.size * self.epsilon, 1.0)
        kept = values[int(step - 1) :: int(step)]
        merged = np.concatenate([np.stack([kept, np.full_like(kept, step)]), self._summary], 1)
        self._summary = _compress(merged[:, np.argsort(merged[0])], self.epsilon)

    def finalize_state(self) -> None:
        """Makes the boundaries of what has been seen."""
        self.bin_boundaries = _compress(self._summary, 1.0 / self.num_bins)[0, :-1].tolist()

    def call(self, inputs):
        if self.bin_boundaries is None:
            raise ValueError("there are no boundaries yet: call `adapt`, or pass `bin_boundaries`.")
        bins = ops.digitize(inputs, np.asarray(self.bin_boundaries, self._dtype))
        return encode(bins, self.output_mode, len(self.bin_boundaries) + 1,
                      "int32" if self.output_mode == INT else self._dtype)

    def get_config(self):
        base = super().get_config()
        if base["trainable"]:
            del base["trainable"]  # Keras's class does not take it
        return {**base, "bin_boundaries": self.bin_boundaries, "num_bins": self.num_bins,
                "epsilon": self.epsilon, "output_mode": self.output_mode, "sparse": False}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        learned = config.pop("bin_boundaries", None) if config.get("num_bins") is not None else None
        layer = super().from_config(config)
        if learned is not None:
            layer.bin_boundaries = learned
        return layer


def _compress(summary, epsilon):
    """A summary (values, weights) with about 1 / epsilon entries: its quantiles, interpolated."""
    if summary.shape[1] * epsilon < 1:
        return summary
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    total = summary[1].cumsum()
    known = total / total[-1]
    reached = np.interp(shares, known, total)
    return np.stack([np.interp(shares, known, summary[0]), np.diff(reached, prepend=0)]).astype("float32")
