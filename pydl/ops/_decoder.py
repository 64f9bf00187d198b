"""Cells that attend, over whole sequences: what `layers.BahdanauDecoder` runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pydl import ops
from pydl._core import kernels
from pydl.ops._common import Gradients, data_of
from pydl.ops._fused import fused
from pydl.ops._steps import unrolled
from pydl.ops.recurrent import Sequence, checked, gru_steps, lstm_steps
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty


def _kernel(x: Tensor, states: tuple[Tensor, ...], kernel: Tensor, recurrent: Tensor, bias: Tensor | None,
            mask: Tensor | None, keys: Tensor, memory: Tensor, query_kernel: Tensor, scale: Tensor,
            from_context: Tensor, memory_mask: Tensor | None, reset_after: bool | None) -> tuple[Tensor, ...]:
    lstm, s = reset_after is None, Sequence(x, states, kernel, recurrent, bias, mask, None)
    (batch, places, width), depth = keys.shape, memory.shape[-1]
    (sequence, inner), last = s.like_sequence(2), s.like_state(len(states))
    queries, contexts, p = (s.new(batch, s.steps, n) for n in (width, depth, places))
    factors, safe = s.new(*keys.shape), empty((batch,), "uint8")
    gates, given = s.project().data, [state.data for state in states]
    looked = (keys.data, memory.data, scale.data, query_kernel.data, from_context.data, data_of(memory_mask))
    sizes = [batch, s.steps, s.units, places, width, depth, int(bool(reset_after))]
    y, weights = sequence.data, p.data
    before = (data_of(mask),) if lstm else (data_of(bias) if reset_after else None, data_of(mask))
    (kernels.attending_lstm if lstm else kernels.attending_gru)(
        gates, *given, recurrent.data, *before, *looked, y, inner.data, *(t.data for t in last),
        queries.data, contexts.data, weights, factors.data, safe.data, sizes)

    def vjp(dsequence: Tensor | None, dp: Tensor | None, *dlast: Tensor | None) -> Gradients:
        dz, (dinner, previous), dstates = s.new(*gates.shape), s.like_sequence(2), s.like_state(len(states))
        dqueries, dkeys, dmemory = s.new(*queries.shape), s.new(*keys.shape), s.new(*memory.shape)
        dscale = s.new(batch, width)
        walked = (previous.data,) if lstm else (dinner.data, previous.data)
        (kernels.dattending_lstm if lstm else kernels.dattending_gru)(
            gates, *given, recurrent.data, data_of(mask), y, inner.data, data_of(dsequence), *map(data_of, dlast),
            *looked, queries.data, weights, factors.data, safe.data, data_of(dp), dz.data, *walked,
            *(t.data for t in dstates), dqueries.data, dkeys.data, dmemory.data, dscale.data, sizes)
        of_weights = s.dw(y, dz, False) if lstm else s.gru_dw(previous, dz, dinner, int(bool(reset_after)))
        return (s.dx(dz), *dstates, *of_weights, dkeys, dmemory, s.steps_dw(query_kernel, previous, dqueries),
                ops.sum(dscale, 0), s.steps_dw(from_context, contexts, dz))

    return differentiable((sequence, p, *last), (*s.inputs(), keys, memory, query_kernel, scale, from_context), vjp)


@fused(_kernel)
def _attending(x: Tensor, states: tuple[Tensor, ...], kernel: Tensor, recurrent: Tensor, bias: Tensor | None,
               mask: Tensor | None, keys: Tensor, memory: Tensor, query_kernel: Tensor, scale: Tensor,
               from_context: Tensor, memory_mask: Tensor | None, reset_after: bool | None) -> tuple[Tensor, ...]:
    if memory_mask is not None:  # masked places are not read: the context of a row that sees nothing is zero
        there = ops.expand_dims(memory_mask, -1)
        keys, memory = ops.where(there, keys, 0), ops.where(there, memory, 0)
    step: Callable[..., tuple[Any, ...]]
    if reset_after is None:
        step = lstm_steps(x, kernel, recurrent, bias, mask)
    else:
        step = gru_steps(x, kernel, recurrent, bias, mask, reset_after)
    seen = None if mask is None else ops.unstack(ops.expand_dims(mask, -1), axis=1)
    weights = []

    def advance(t: int, before: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        query = ops.expand_dims(ops.matmul(before[0], query_kernel), 1)
        context, p = (ops.squeeze(v, 1) for v in ops.additive_attention(query, keys, memory, scale, memory_mask))
        p = p if memory_mask is None else ops.where(memory_mask, p, 0)
        weights.append(p if seen is None else ops.where(seen[t], p, 0))
        *new, _ = step(t, *before, dropped=before[0], more=ops.matmul(context, from_context))
        return new[0], new

    sequence, last = unrolled(advance, x.shape[1], list(states), mask, False)
    return sequence, ops.stack(weights, 1), *last


def attending(inputs: Tensor, states: Iterable[Tensor], kernel: Tensor, recurrent_kernel: Tensor, bias: Tensor | None,
              keys: Tensor, memory: Tensor, query_kernel: Tensor, scale: Tensor, mask: Tensor | None = None,
              memory_mask: Tensor | None = None, reset_after: bool | None = None) -> tuple[Tensor, ...]:
    """A sequence through a GRU or LSTM that sees [x; c], where before each step

        e_j = scale . tanh(h' query_kernel + key_j),    p = softmax(e),    c = sum_j p_j memory_j

    in one kernel for all steps, and one for their gradient. Arguments are checked as far as shapes and dtypes go by
    what made them.

    Args:
        inputs: (batch, steps, features).
        states: [h] of a GRU, [h, c] of an LSTM, each (batch, units).
        kernel: (features + depth, gates * units); recurrent_kernel, bias: as for `ops.gru`, `ops.lstm`.
        keys, memory: (batch, places, width), (batch, places, depth).
        query_kernel, scale: (units, width), (width,).
        mask, memory_mask: bool (batch, steps), (batch, places), or None.
        reset_after: of a GRU; None for an LSTM.

    Returns:
        The sequence (batch, steps, units), p (batch, steps, places), the last states. Zeros of p at masked steps.

    Source: Bahdanau, Cho and Bengio 2015.
    """
    states, features, columns = list(states), inputs.shape[-1], 4 if reset_after is None else 3
    into, from_context = ops.split(kernel, [features], axis=0)
    given = checked("attending", inputs, states, into, recurrent_kernel, bias, mask, None, columns,
                    lambda units: (2, columns * units) if reset_after else (columns * units,))
    return _attending(*given[:-1], keys, memory, query_kernel, scale, from_context, memory_mask, reset_after)
