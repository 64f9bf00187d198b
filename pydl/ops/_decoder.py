"""Cells that attend, over whole sequences: what `layers.BahdanauDecoder` runs on."""

from __future__ import annotations

from pydl import ops
from pydl._core import kernels
from pydl.ops.recurrent import _data, _Sequence
from pydl.tape import differentiable
from pydl.tensor import empty


def attending(inputs, states, kernel, recurrent_kernel, bias, keys, memory, query_kernel, scale, mask=None,
              memory_mask=None, reset_after=None):
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
    lstm = reset_after is None
    features = inputs.shape[-1]
    into, from_context = ops.split(kernel, [features], axis=0)
    s = _Sequence("attending", inputs, states, into, recurrent_kernel, bias, mask, None, 4 if lstm else 3,
                  lambda units: (2, 3 * units) if reset_after else ((4 if lstm else 3) * units,))
    (batch, places, width), depth = keys.shape, memory.shape[-1]
    (sequence, inner), last = s.like_sequence(2), s.like_state(2 if lstm else 1)
    queries, contexts, p = (s.new(batch, s.steps, n) for n in (width, depth, places))
    factors, safe = s.new(*keys.shape), empty((batch,), "uint8")
    gates, given = s.project(), [state.data for state in s.states]
    looked = (keys.data, memory.data, scale.data, query_kernel.data, from_context.data, _data(memory_mask))
    sizes = [batch, s.steps, s.units, places, width, depth, int(bool(reset_after))]
    kept = (queries.data, contexts.data, p.data, factors.data, safe.data)
    before = (_data(s.mask),) if lstm else (_data(s.bias) if reset_after else None, _data(s.mask))
    (kernels.attending_lstm if lstm else kernels.attending_gru)(
        gates.data, *given, s.recurrent.data, *before, *looked, sequence.data, inner.data, *(t.data for t in last),
        *kept, sizes)

    def vjp(dsequence, dp, *dlast):
        dz, (dinner, previous), dstates = s.new(*gates.shape), s.like_sequence(2), s.like_state(len(last))
        dqueries, dkeys, dmemory = s.new(*queries.shape), s.new(*keys.shape), s.new(*memory.shape)
        dscale = s.new(batch, width)
        walked = (previous.data,) if lstm else (dinner.data, previous.data)
        (kernels.dattending_lstm if lstm else kernels.dattending_gru)(
            gates.data, *given, s.recurrent.data, _data(s.mask), sequence.data, inner.data, _data(dsequence),
            *map(_data, dlast), *looked, queries.data, p.data, factors.data, safe.data, _data(dp), dz.data, *walked,
            *(t.data for t in dstates), dqueries.data, dkeys.data, dmemory.data, dscale.data, sizes)
        weights = s.dw(sequence, dz, False) if lstm else s.gru_dw(previous, dz, dinner, int(bool(reset_after)))
        return (s.dx(dz), *dstates, *weights, dkeys, dmemory, s.steps_dw(query_kernel, previous, dqueries),
                ops.sum(dscale, 0), s.steps_dw(from_context, contexts, dz))

    return differentiable((sequence, p, *last),
                          (*s.inputs(), keys, memory, query_kernel, scale, from_context), vjp)


