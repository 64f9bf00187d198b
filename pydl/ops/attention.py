"""Attention: scores of queries against keys, their softmax over the keys, the average of the values it weighs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydl import ops
from pydl._core import kernels
from pydl.dtypes import is_byte_dtype
from pydl.ops import _draws, _strided
from pydl.ops._broadcast import sum_to_shape
from pydl.ops._common import Gradients, Shape, TensorLike, as_float, as_tensor, data_of, result_dtype
from pydl.ops._fused import fused
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, Variable, empty

__all__ = ["additive_attention", "cached_attention", "dot_attention", "dot_product_attention"]


def _floats(query: TensorLike, key: TensorLike, value: TensorLike,
            more: TensorLike | None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Tensors of one float dtype; `more` may be None, and stays so."""
    query, key, value, more = as_float(query), as_float(key), as_float(value), None if more is None else as_float(more)
    dtype = result_dtype(*(x for x in (query, key, value, more) if x is not None))
    query, key, value = (x if x.dtype == dtype else ops.cast(x, dtype) for x in (query, key, value))
    return query, key, value, more if more is None or more.dtype == dtype else ops.cast(more, dtype)


def _booleans(mask: TensorLike) -> Tensor:
    mask = as_tensor(mask)
    return mask if is_byte_dtype(mask.dtype) else ops.cast(mask, "bool")


def _check_broadcast(x: Tensor, shape: tuple[int, ...], what: str) -> None:
    """Raises a ValueError when `x` does not broadcast to `shape`."""
    if x.ndim > len(shape) or any(n not in (1, full) for n, full in zip(x.shape[::-1], shape[::-1])):
        raise ValueError(f"{what} that broadcasts to {shape}; received shape {x.shape}.")


def _seen_as(x: Tensor | None, shape: tuple[int, ...]) -> tuple[Tensor | None, tuple[int, ...]]:
    """`x`, which broadcasts to `shape`, and its strides over all axes but the last, along which it lies; 0 repeats."""
    if x is None:
        return None, (0,) * (len(shape) - 1)
    sizes = (1,) * (len(shape) - x.ndim) + x.shape
    if sizes[-1] != shape[-1]:
        sizes = (*sizes[:-1], shape[-1])
        x = ops.broadcast_to(x, sizes)
    strides, step = [], sizes[-1]
    for n in sizes[-2::-1]:
        strides.append(0 if n == 1 else step)
        step *= n
    return x, tuple(strides[::-1])


def _mask_as(mask: TensorLike | None, shape: tuple[int, ...], name: str) -> tuple[Tensor | None, tuple[int, ...]]:
    """`_seen_as` of a mask, checked."""
    if mask is not None:
        mask = _booleans(mask)
        _check_broadcast(mask, shape, f"{name}: expected a mask")
    return _seen_as(mask, shape)


def _dropout(rate: float, training: bool, seed: object, like: Tensor, shape: tuple[int, ...],
             name: str) -> tuple[Tensor | None, float]:
    """(mask of what is kept, or None; what it is multiplied with)."""
    if not 0 <= rate <= 1:
        raise ValueError(f"{name}: expected dropout between 0 and 1; received {rate}.")
    if not training or rate == 0:
        return None, 1.0
    n = math.prod(shape)
    mask = empty(((n + 63) // 64 * 64,), "uint8")
    kernels.dropout_mask(_draws.state_of(seed), like.data, mask.data, n, float(rate))
    return mask, 1 / (1 - rate) if rate < 1 else 0.0


@op
def dot_product_attention(query: TensorLike, key: TensorLike, value: TensorLike, bias: TensorLike | None = None,
                          mask: TensorLike | None = None, scale: float | None = None, is_causal: bool = False,
                          flash_attention: bool | None = None, attn_logits_soft_cap: float | None = None, *,
                          dropout: float = 0.0, seed: object = None, training: bool = False,
                          return_attention_scores: bool = False) -> Tensor | tuple[Tensor, Tensor]:
    """softmax(scale query . key + bias) value, over the keys, in heads.

    One kernel, forwards and backwards; the probabilities are stored for the gradient or the caller only. A query that
    sees no key attends to all alike, and moves nothing but the values then.

    Args:
        query: (B, T, N, H).
        key, value: (B, S, K, H), (B, S, K, V); N is a multiple of K, and query head n reads head n // (N // K).
        bias: broadcasts to (B, N, T, S), or None.
        mask: bool, true where a key is seen; broadcasts to (B, N, T, S), or None. (B, 1, 1, S), a mask of padded
            keys, is read as it is.
        scale: of the products, 1 / sqrt(H) by default.
        is_causal: query t sees the keys up to t; costs no mask.
        flash_attention: accepted for Keras's sake; there is one way of computing.
        attn_logits_soft_cap: c in c tanh(products / c), before the bias.
        dropout: rate at which probabilities are left out while `training`; the others count 1 / (1 - rate)-fold.
        seed: as in `random.normal`.
        training: whether dropout applies.
        return_attention_scores: also return the probabilities, as they were before dropout.

    Returns:
        (B, T, N, V); with `return_attention_scores` also (B, N, T, S).

    Raises:
        ValueError: for shapes that do not fit.

    Source: Vaswani et al. 2017, eq. 1; grouped heads: Ainslie et al. 2023.
    """
    query, key, value, bias = _floats(query, key, value, bias)
    if not (query.ndim == key.ndim == value.ndim == 4 and query.shape[0] == key.shape[0]
            and query.shape[3] == key.shape[3] and key.shape[:3] == value.shape[:3] and key.shape[2]
            and query.shape[2] % key.shape[2] == 0):
        raise ValueError("dot_product_attention: expected query (B, T, N, H), key (B, S, K, H) and value (B, S, K, V)"
                         f" with N a multiple of K; received {query.shape}, {key.shape}, {value.shape}.")
    scale = 1 / math.sqrt(max(query.shape[3], 1)) if scale is None else float(scale)
    (batch, queries, heads, _), keys = query.shape, key.shape[1]
    scores = (batch, heads, queries, keys)
    mask, mask_strides = _mask_as(mask, scores, "dot_product_attention")
    if bias is not None:
        _check_broadcast(bias, scores, "dot_product_attention: expected a bias")
    kept = _dropout(dropout, training, seed, query, scores, "dot_product_attention")
    context, weights = _dot(query, key, value, bias, mask, mask_strides, *kept, scale,
                            float(attn_logits_soft_cap or 0), bool(is_causal), return_attention_scores)
    return context if weights is None else (context, weights)


def _dot_kernel(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, mask: Tensor | None,
                mask_strides: Shape, drop: Tensor | None, factor: float, scale: float, cap: float, causal: bool,
                want_weights: bool) -> tuple[Tensor, Tensor | None]:
    (batch, queries, heads, width), (_, keys, groups, depth) = query.shape, value.shape
    dtype, scores = query.dtype, (batch, heads, queries, keys)
    sizes = (batch, heads, groups, queries, keys, width, depth)
    inputs = (query, key, value) if bias is None else (query, key, value, bias)
    context = empty((batch, queries, heads, depth), dtype)
    wanted = want_weights or any(x.node is not None for x in inputs)
    weights = empty(scores, dtype) if wanted else None
    biased, bias_strides = _seen_as(bias, scores)
    q, k, v, seen, keep, p = query.data, key.data, value.data, data_of(mask), data_of(drop), data_of(weights)
    kernels.dot_attention(q, k, v, data_of(biased), seen, keep, context.data, p, sizes, bias_strides, mask_strides,
                          scale, cap, factor, causal)

    def vjp(dy: Tensor | None, dp: Tensor | None = None) -> Gradients:
        dq, dk, dv = (empty(x.shape, dtype) if x.node is not None else None for x in (query, key, value))
        dlogits = empty(scores, dtype) if bias is not None and bias.node is not None else None
        kernels.ddot_attention(q, k, v, seen, keep, p, data_of(dy), data_of(dp), data_of(dq), data_of(dk), data_of(dv),
                               data_of(dlogits), sizes, mask_strides, scale, cap, factor, causal)
        if bias is None:
            return dq, dk, dv
        return dq, dk, dv, None if dlogits is None else sum_to_shape(dlogits, bias.shape)

    if want_weights:
        return differentiable((context, weights), inputs, vjp)
    return differentiable(context, inputs, vjp), None


@fused(_dot_kernel)
def _dot(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, mask: Tensor | None, mask_strides: Shape,
         drop: Tensor | None, factor: float, scale: float, cap: float, causal: bool,
         want_weights: bool) -> tuple[Tensor, Tensor | None]:
    """(context, probabilities or None) of queries, keys and values in heads.

    Args:
        query, key, value, bias, scale: as for `dot_product_attention`.
        mask, mask_strides: broadcasts to (B, N, T, S), all of the last axis there, and how it is read; or None.
        drop, factor: of `_dropout`.
        cap: of the logits; 0 for none.
        causal, want_weights: whether keys behind a query are hidden; whether the probabilities are wanted.
    """
    (batch, queries, heads, width), (_, keys, groups, depth) = query.shape, value.shape
    rows = heads // groups * queries  # the heads of a group are rows of one product
    q = ops.reshape(ops.transpose(query * scale, (0, 2, 1, 3)), (batch, groups, rows, width))
    logits = ops.matmul(q, ops.transpose(key, (0, 2, 3, 1)))
    logits = ops.reshape(logits, (batch, heads, queries, keys))
    if cap:
        logits = ops.tanh(logits / cap) * cap
    logits = logits if bias is None else logits + bias
    if causal:
        past = ops.greater_equal(ops.expand_dims(ops.arange(queries), 1), ops.arange(keys))
        mask = past if mask is None else ops.logical_and(mask, past)
    weights, dropped = _weights(logits, mask, drop, factor)
    context = ops.matmul(ops.reshape(dropped, (batch, groups, rows, keys)), ops.transpose(value, (0, 2, 1, 3)))
    context = ops.transpose(ops.reshape(context, (batch, heads, queries, depth)), (0, 2, 1, 3))
    return context, weights if want_weights else None


def _weights(logits: Tensor, mask: Tensor | None, drop: Tensor | None, factor: float) -> tuple[Tensor, Tensor]:
    """The probabilities of logits (..., T, S), and what dropout leaves of them."""
    if not logits.shape[-1]:
        return logits, logits
    p = ops.softmax(logits) if mask is None else ops.masked_softmax(logits, mask)
    if drop is None:
        return p, p
    kept = ops.reshape(ops.split(drop, [p.size])[0], p.shape)
    return p, ops.where(kept, p * factor, 0)


@op
def cached_attention(query: TensorLike, key: TensorLike | None, value: TensorLike | None, cache: TensorLike,
                     index: TensorLike, mask: TensorLike | None = None, scale: float | None = None,
                     is_causal: bool = True) -> tuple[Tensor, Tensor]:
    """A step of generation: attention to keys and values of earlier steps, which `cache` holds.

    The index is read when the program runs: one recorded step serves all positions. No gradient.

    Args:
        query: (B, T, N, H).
        key, value: (B, T, K, H), what is new, put into the cache at `index`; None where the cache is complete.
        cache: (B, 2, S, K, H), keys and values. A Variable is changed in place, anything else is left as it is.
        index: int or int tensor of one element, 0 to S - T: where the new keys come. Not used without a key.
        mask: bool, broadcasts to (B, N, T, S), or None; true where a key is seen.
        scale: of the products, 1 / sqrt(H) by default.
        is_causal: query t sees the keys up to index + t only.

    Returns:
        (B, T, N, H) and the cache as it is now.

    Raises:
        ValueError: for shapes that do not fit.
        IndexError: when the new keys do not fit behind `index`; the cache is unchanged then.
    """
    query = as_float(query)
    cache = as_tensor(cache)
    key = None if key is None else as_float(key)
    value = None if key is None or value is None else as_float(value)
    fits = query.ndim == 4 and cache.ndim == 5 and cache.shape[1] == 2 and cache.shape[3] > 0 and (
        cache.shape[::4] == query.shape[::3]) and query.shape[2] % cache.shape[3] == 0
    if key is not None:
        new = (*query.shape[:2], *cache.shape[3:])
        fits = fits and value is not None and key.shape == value.shape == new
    if not fits:
        raise ValueError("cached_attention: expected query (B, T, N, H), key and value (B, T, K, H) and cache"
                         f" (B, 2, S, K, H) with N a multiple of K; received {query.shape},"
                         f" {[x if x is None else x.shape for x in (key, value)]}, {cache.shape}.")
    if any(x is not None and x.dtype != cache.dtype for x in (query, key, value)):
        raise ValueError(f"cached_attention: expected one dtype; received query {query.dtype}, cache {cache.dtype}.")
    (batch, queries, heads, width), keys, groups = query.shape, cache.shape[2], cache.shape[3]
    index = ops.cast(as_tensor(index), "int32")
    if index.size != 1:
        raise ValueError(f"cached_attention: expected one index; received shape {index.shape}.")
    if key is not None:
        kernels.check_index(index.data, 1, 0, keys - queries + 1)
    if not isinstance(cache, Variable):
        cache = ops.add(ops.stop_gradient(cache), 0) if key is not None else cache
    scale = 1 / math.sqrt(max(width, 1)) if scale is None else float(scale)
    mask, strides = _mask_as(mask, (batch, heads, queries, keys), "cached_attention")
    y = empty(query.shape, query.dtype)
    kernels.cached_attention(query.data, data_of(key), data_of(value), cache.data, index.data, data_of(mask), y.data,
                             None, (batch, heads, groups, queries, keys, width, width), strides, scale,
                             is_causal and key is not None)
    return y, cache


def _sequences(name: str, query: TensorLike, key: TensorLike, value: TensorLike, scale: TensorLike | None,
               mask: TensorLike | None) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """The arguments of attention without heads, checked: query, key, value, scale, mask (B, 1 or T, S) or None."""
    query, key, value, scale = _floats(query, key, value, scale)
    if not (query.ndim == key.ndim == value.ndim == 3 and query.shape[0] == key.shape[0]
            and query.shape[2] == key.shape[2] and key.shape[:2] == value.shape[:2]):
        raise ValueError(f"{name}: expected query (B, T, D), key (B, S, D) and value (B, S, V); received {query.shape},"
                         f" {key.shape}, {value.shape}.")
    if mask is not None:
        mask = _booleans(mask)
        mask = _strided.view(mask, (mask.shape[0], 1, mask.shape[1])) if mask.ndim == 2 else mask
    return query, key, value, scale, mask


@op
def dot_attention(query: TensorLike, key: TensorLike, value: TensorLike, scale: TensorLike | None = None,
                  mask: TensorLike | None = None, *, is_causal: bool = False, dropout: float = 0.0, seed: object = None,
                  training: bool = False) -> tuple[Tensor, Tensor]:
    """softmax(scale query . key) value, over the keys: Luong's attention with the score "dot".

    Args:
        query: (B, T, D).
        key, value: (B, S, D), (B, S, V).
        scale: number or scalar tensor (which gets a gradient), 1 by default.
        mask: bool (B, S), or what broadcasts to (B, T, S); true where a key is seen.
        is_causal, dropout, seed, training: as for `dot_product_attention`.

    Returns:
        The context (B, T, V) and the probabilities (B, T, S), as they were before dropout. Both have gradients.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Luong, Pham and Manning 2015, eq. 7 and 8.
    """
    number = 1.0
    if scale is not None:
        if isinstance(scale, (int, float)):
            number, scale = float(scale), None
        elif as_tensor(scale).size != 1:
            raise ValueError(f"dot_attention: expected one scale; received shape {as_tensor(scale).shape}.")
    query, key, value, scale, mask = _sequences("dot_attention", query, key, value, scale, mask)
    if scale is not None:
        query = ops.multiply(query, ops.reshape(scale, (1,)))
    (batch, queries, _), (_, keys, depth) = query.shape, value.shape
    mask, strides = _mask_as(mask, (batch, queries, keys), "dot_attention")
    kept = _dropout(dropout, training, seed, query, (batch, queries, keys), "dot_attention")
    q, k, v = (_strided.view(x, (*x.shape[:2], 1, x.shape[2])) for x in (query, key, value))
    if mask is not None and mask.ndim == 3:
        mask = _strided.view(mask, (mask.shape[0], 1, *mask.shape[1:]))
    context, weights = _dot(q, k, v, None, mask, (strides[0], 0, strides[1]), *kept, number, 0.0, bool(is_causal),
                            True)
    assert weights is not None  # they were wanted
    return _strided.view(context, (batch, queries, depth)), _strided.view(weights, (batch, queries, keys))


def _additive_kernel(query: Tensor, key: Tensor, value: Tensor, scale: Tensor | None, mask: Tensor | None,
                     strides: Sequence[int], drop: Tensor | None, factor: float) -> tuple[Tensor, Tensor]:
    (batch, queries, width), (_, keys, depth) = query.shape, value.shape
    dtype, sizes = query.dtype, (batch, queries, keys, width, depth, *strides)
    context, weights = empty((batch, queries, depth), dtype), empty((batch, queries, keys), dtype)
    given = (query.data, key.data, value.data, data_of(scale), data_of(mask), data_of(drop))
    kernels.additive_attention(*given, context.data, weights.data, sizes, factor)
    p = weights.data

    def vjp(dy: Tensor | None, dp: Tensor | None) -> Gradients:
        def new(x: Tensor, wanted: bool) -> Tensor | None:
            return empty(x.shape, dtype) if wanted else None

        of_key = key.node is not None
        dq, dk, dv = new(query, of_key or query.node is not None), new(key, of_key), new(value, value.node is not None)
        dscale = empty((batch, width), dtype) if scale is not None and scale.node is not None else None
        kernels.dadditive_attention(*given, p, data_of(dy), data_of(dp), data_of(dq), data_of(dk), data_of(dv),
                                    data_of(dscale), sizes, factor)
        if scale is None:
            return dq, dk, dv
        return dq, dk, dv, None if dscale is None else ops.sum(dscale, 0)

    return differentiable((context, weights), (query, key, value) if scale is None else (query, key, value, scale), vjp)


@fused(_additive_kernel)
def _additive(query: Tensor, key: Tensor, value: Tensor, scale: Tensor | None, mask: Tensor | None,
              strides: Sequence[int], drop: Tensor | None, factor: float) -> tuple[Tensor, Tensor]:
    hidden = ops.tanh(ops.expand_dims(query, 2) + ops.expand_dims(key, 1))
    weights, dropped = _weights(ops.sum(hidden if scale is None else hidden * scale, -1), mask, drop, factor)
    return ops.matmul(dropped, value), weights


@op
def additive_attention(query: TensorLike, key: TensorLike, value: TensorLike, scale: TensorLike | None = None,
                       mask: TensorLike | None = None, *, dropout: float = 0.0, seed: object = None,
                       training: bool = False) -> tuple[Tensor, Tensor]:
    """softmax(sum over d of scale_d tanh(query_d + key_d)) value, over the keys: Bahdanau's attention.

    One kernel, forwards and backwards; the sums inside tanh are not stored, the gradient makes them again.

    Args:
        query: (B, T, D).
        key, value: (B, S, D), (B, S, V).
        scale: (D,), or None for ones.
        mask: bool (B, S), or what broadcasts to (B, T, S); true where a key is seen. A query that sees none attends to
            all alike, and moves nothing but the values then.
        dropout, seed, training: as for `dot_product_attention`.

    Returns:
        The context (B, T, V) and the probabilities (B, T, S), as they were before dropout. Both have gradients.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Bahdanau, Cho and Bengio 2015, appendix A.1.2.
    """
    query, key, value, scale, mask = _sequences("additive_attention", query, key, value, scale, mask)
    (batch, queries, width), keys = query.shape, key.shape[1]
    if scale is not None and scale.shape != (width,):
        raise ValueError(f"additive_attention: expected scale of shape ({width},); received {scale.shape}.")
    shape = (batch, queries, keys)
    mask, strides = _mask_as(mask, shape, "additive_attention")
    kept = _dropout(dropout, training, seed, query, shape, "additive_attention")
    return _additive(query, key, value, scale, mask, strides, *kept)
