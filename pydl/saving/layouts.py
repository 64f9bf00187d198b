"""How PyTorch lays out the weights of its modules, for `name_map` of `load_weights`.

A layout takes the arrays of a module out of a file, by their names in the module, and gives the layer's, by theirs.
Kernels are transposed, the two biases of a cell are summed where the layer has one, gates and heads come in its order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

__all__ = ["LAYOUTS", "Arrays", "weights_of"]


class Arrays:
    """The arrays of a module in a file.

    Args:
        arrays: of the file, by name.
        prefix: name of the module there; "" for a file of one module.

    Attributes:
        taken: names, in the file, of those that were asked for.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], prefix: str):
        self._arrays = arrays
        self._prefix = f"{prefix}." if prefix else ""
        self.taken: set[str] = set()

    def get(self, name: str) -> np.ndarray | None:
        """The array of that name in the module, None where there is none."""
        full = self._prefix + name
        self.taken.add(full)
        return self._arrays.get(full)

    def __getitem__(self, name: str) -> np.ndarray:
        found = self.get(name)
        if found is None:
            own = [full for full in self._arrays if full.startswith(self._prefix)]
            raise ValueError(f"the file has no '{self._prefix}{name}', but {', '.join(own[:8]) or 'nothing'} there.")
        return found

    def left(self) -> list[str]:
        """Names, in the file, of arrays of the module that were not asked for."""
        return [full for full in self._arrays if full.startswith(self._prefix) and full not in self.taken]


_Found = Iterator[tuple[Any, dict[str, np.ndarray | None]]]  # (layer, its weights by name) for the layer and its parts


def weights_of(layout: str, layer: Any, arrays: Arrays) -> list[tuple[Any, np.ndarray, str]]:
    """(variable, array, name of it) for all weights of a layer.

    Args:
        layout: a name in `LAYOUTS`; for a module of several recurrent layers with the number of one: "torch.LSTM[1]".

    Raises:
        ValueError: for an unknown layout, or when module and layer do not have the same weights.
    """
    name, _, number = layout.partition("[")
    if name not in LAYOUTS or (number and not (number[:-1].isdecimal() and number.endswith("]"))):
        raise ValueError(f"unknown layout '{layout}'; expected one of {', '.join(LAYOUTS)}.")
    pairs: list[tuple[Any, np.ndarray, str]] = []
    numbered = (int(number[:-1]),) if number else ()
    if numbered and name not in _RECURRENT:
        raise ValueError(f"layout '{layout}': only {', '.join(_RECURRENT)} have numbers.")
    for part, found in LAYOUTS[name](layer, arrays, *numbered):
        own = {v.name: v for v in part.weights}
        given = {leaf: array for leaf, array in found.items() if array is not None}
        if own.keys() != given.keys():
            raise ValueError(f"layout '{layout}' gives {', '.join(sorted(given))}; {type(part).__name__}"
                             f" '{part.name}' has {', '.join(sorted(own)) or 'no weights'}.")
        pairs += [(own[leaf], array, f"{layout} of {part.name}/{leaf}") for leaf, array in given.items()]
    return pairs


def _linear(layer, arrays: Arrays) -> _Found:
    yield layer, {"kernel": arrays["weight"].T, "bias": arrays.get("bias")}


def _convolution(layer, arrays: Arrays) -> _Found:
    kernel = np.moveaxis(arrays["weight"], (0, 1), (-1, -2))  # (filters, channels, window) there
    if hasattr(layer, "depth_multiplier"):  # (channels * multiplier, 1, window)
        kernel = kernel.reshape(*kernel.shape[:-2], -1, layer.depth_multiplier)
    yield layer, {"kernel": kernel, "bias": arrays.get("bias")}


def _transposed_convolution(layer, arrays: Arrays) -> _Found:
    """The kernel is (channels, filters, window) there."""
    yield from _convolution(layer, arrays)


def _embedding(layer, arrays: Arrays) -> _Found:
    yield layer, {"embeddings": arrays["weight"]}


def _norm(layer, arrays: Arrays) -> _Found:
    yield layer, {"gamma": arrays.get("weight"), "beta": arrays.get("bias")}


def _batch_norm(layer, arrays: Arrays) -> _Found:
    arrays.get("num_batches_tracked")
    yield layer, {"gamma": arrays.get("weight"), "beta": arrays.get("bias"), "moving_mean": arrays["running_mean"],
                  "moving_variance": arrays["running_var"]}


def _attention(layer, arrays: Arrays) -> _Found:
    query, key, value, output = layer.projections()
    heads = query.weights[0].shape[1:]
    joined = arrays.get("in_proj_bias")
    biases = [None] * 3 if joined is None else np.split(joined, 3)
    for part, kernel, bias in zip((query, key, value), np.split(arrays["in_proj_weight"], 3), biases):
        yield part, {"kernel": kernel.T.reshape(-1, *heads), "bias": None if bias is None else bias.reshape(heads)}
    yield output, {"kernel": arrays["out_proj.weight"].T.reshape(*heads, -1), "bias": arrays.get("out_proj.bias")}


def _recurrent(gates: tuple[int, ...]) -> Callable[..., _Found]:
    """The layout of a cell whose gates are those of the module in this order."""

    def ordered(array: np.ndarray) -> np.ndarray:
        parts = np.split(array, len(gates))
        return np.concatenate([parts[gate] for gate in gates])

    def layout(layer, arrays: Arrays, number: int = 0) -> _Found:
        both = (layer.forward_layer, layer.backward_layer) if hasattr(layer, "forward_layer") else (layer,)
        for part, suffix in zip(both, ("", "_reverse")):
            def given(name: str, where: str = f"_l{number}{suffix}"):
                array = arrays.get(name + where) if name.startswith("bias") else arrays[name + where]
                return None if array is None else ordered(array)

            biases, bias = (given("bias_ih"), given("bias_hh")), None
            if biases[0] is not None and biases[1] is not None:
                one = getattr(part, "reset_after", None) is None  # a GRU needs both: the gate r lies between them
                bias = biases[0] + biases[1] if one else np.stack(biases)
            yield part, {"kernel": given("weight_ih").T, "recurrent_kernel": given("weight_hh").T, "bias": bias}

    return layout


LAYOUTS: dict[str, Callable[..., _Found]] = {
    "torch.Linear": _linear,
    **{f"torch.Conv{rank}d": _convolution for rank in (1, 2, 3)},
    **{f"torch.ConvTranspose{rank}d": _transposed_convolution for rank in (1, 2, 3)},
    "torch.Embedding": _embedding, "torch.LayerNorm": _norm, "torch.GroupNorm": _norm, "torch.RMSNorm": _norm,
    **{f"torch.BatchNorm{rank}d": _batch_norm for rank in (1, 2, 3)},
    "torch.MultiheadAttention": _attention,
    "torch.RNN": _recurrent((0,)), "torch.LSTM": _recurrent((0, 1, 2, 3)),
    "torch.GRU": _recurrent((1, 0, 2)),  # r z n there, z r n here
}
_RECURRENT = ("torch.RNN", "torch.LSTM", "torch.GRU")
