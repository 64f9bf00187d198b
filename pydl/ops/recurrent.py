"""Recurrent cells over whole sequences: simple, LSTM, GRU; layouts of weights and order of gates as in Keras 3."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

from pydl import ops
from pydl._core import kernels
from pydl.dtypes import is_byte_dtype
from pydl.ops._common import Gradients, Shape, TensorLike, as_float, as_tensor, data_of, result_dtype
from pydl.ops._fused import fused
from pydl.ops._steps import gru_step, lstm_step, unrolled
from pydl.ops.linalg import FUSED_ACTIVATIONS
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

__all__ = ["gru", "lstm", "simple_rnn"]


# x, states, kernel, recurrent kernel, bias, mask, recurrent mask
Checked: TypeAlias = tuple[Tensor, tuple[Tensor, ...], Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]


def checked(op_name: str, inputs: TensorLike, states: Iterable[TensorLike], kernel: TensorLike,
            recurrent_kernel: TensorLike, bias: TensorLike | None, mask: TensorLike | None,
            recurrent_mask: TensorLike | None, gates: int, bias_shape: Callable[[int], Shape]) -> Checked:
    """The tensors every cell has, of one dtype: what `Sequence` takes.

    Args:
        op_name: for messages.
        inputs: (batch, steps, features).
        states: each (batch, units).
        kernel, recurrent_kernel: (features, gates * units), (units, gates * units).
        bias: of shape `bias_shape`, as a function of units, or None.
        mask, recurrent_mask: (batch, steps) and (batch, units), or None.
    """
    given: list[Any] = [None if t is None else as_float(t)
                        for t in (inputs, kernel, recurrent_kernel, bias, recurrent_mask, *states)]
    dtype = result_dtype(*[t for t in given if t is not None])
    x, kernel, recurrent, bias, drop, *states = [t if t is None or t.dtype == dtype else ops.cast(t, dtype)
                                                 for t in given]
    if x.ndim != 3 or 0 in x.shape[1:]:
        raise ValueError(f"{op_name}: expected inputs (batch, steps, features) with at least one step and feature;"
                         f" received shape {x.shape}.")
    batch, steps, features = x.shape
    units = recurrent.shape[0] if recurrent.ndim else 0
    mask = None if mask is None else as_tensor(mask)
    if mask is not None and not is_byte_dtype(mask.dtype):
        mask = ops.cast(mask, "bool")
    wanted = [("kernel", kernel, (features, gates * units)), ("recurrent_kernel", recurrent, (units, gates * units)),
              ("bias", bias, bias_shape(units)), ("mask", mask, (batch, steps)),
              ("recurrent_mask", drop, (batch, units)), *[("initial state", state, (batch, units)) for state in states]]
    for what, tensor, shape in wanted:
        if tensor is not None and tensor.shape != shape:
            raise ValueError(f"{op_name}: expected {what} of shape {shape} for inputs of shape {x.shape} and"
                             f" {units} units; received {tensor.shape}.")
    if units == 0:
        raise ValueError(f"{op_name}: expected at least one unit; received a recurrent_kernel of shape"
                         f" {recurrent.shape}.")
    return x, tuple(states), kernel, recurrent, bias, mask, drop


class Sequence:
    """What kernels over whole sequences share: the products over all steps, buffers, gradients of weights.

    Args:
        x, states, kernel, recurrent, bias, mask, drop: of `checked`.
    """

    def __init__(self, x: Tensor, states: tuple[Tensor, ...], kernel: Tensor, recurrent: Tensor, bias: Tensor | None,
                 mask: Tensor | None, drop: Tensor | None) -> None:
        self.x, self.states, self.kernel, self.recurrent, self.bias = x, states, kernel, recurrent, bias
        self.mask, self.drop = mask, drop
        self.batch, self.steps, self.features = x.shape
        self.units, self.columns = recurrent.shape
        self.dtype = x.dtype

    def new(self, *shape: int) -> Tensor:
        return empty(shape, self.dtype)

    def like_sequence(self, count: int) -> list[Tensor]:
        return [self.new(self.batch, self.steps, self.units) for _ in range(count)]

    def like_state(self, count: int) -> list[Tensor]:
        return [self.new(self.batch, self.units) for _ in range(count)]

    @property
    def masks(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        return data_of(self.mask), data_of(self.drop)

    def project(self) -> Tensor:
        """What the inputs add to the sums of all steps, with the (first) bias."""
        z = self.new(self.batch, self.steps, self.columns)
        kernels.recurrent_inputs(self.x.data, self.kernel.data, data_of(self.bias), data_of(self.mask), z.data,
                                 self.batch, self.steps, self.columns, self.features)
        return z

    def dx(self, dz: Tensor) -> Tensor | None:
        if self.x.node is None:
            return None
        dx = self.new(*self.x.shape)
        kernels.recurrent_dx(dz.data, self.kernel.data, data_of(self.mask), dx.data, self.batch, self.steps,
                             self.columns, self.features)
        return dx

    def dw(self, sequence: np.ndarray, dz: Tensor, go_backwards: bool) -> Gradients:
        """The gradients of kernel, recurrent kernel and, where there is one, bias; `sequence` as the walk left it."""
        if self.frozen:
            return self.weights(None, None, None)
        dkernel, drecurrent = self.new(*self.kernel.shape), self.new(*self.recurrent.shape)
        dbias = None if self.bias is None else self.new(*self.bias.shape)
        kernels.recurrent_dw(self.x.data, self.states[0].data, sequence, dz.data, *self.masks, dkernel.data,
                             drecurrent.data, data_of(dbias), self.batch, self.steps, self.features, self.units,
                             self.columns, int(go_backwards))
        return self.weights(dkernel, drecurrent, dbias)

    def gru_dw(self, previous: Tensor, dz: Tensor, dinner: Tensor, after: int) -> Gradients:
        """As `dw`, from what the kernel dgru returned."""
        if self.frozen:
            return self.weights(None, None, None)
        dkernel, drecurrent = self.new(*self.kernel.shape), self.new(*self.recurrent.shape)
        dbias = None if self.bias is None else self.new(*self.bias.shape)
        kernels.gru_dw(self.x.data, previous.data, dz.data, dinner.data, data_of(self.mask), dkernel.data,
                       drecurrent.data, data_of(dbias), self.batch, self.steps, self.features, self.units, after)
        return self.weights(dkernel, drecurrent, dbias)

    def steps_dw(self, weights: Tensor, left: Tensor, dz: Tensor) -> Tensor | None:
        """The gradient of weights that `left` (batch, steps, k) is multiplied with at every step."""
        if weights.node is None:
            return None
        dw = self.new(*weights.shape)
        kernels.steps_dw(left.data, dz.data, data_of(self.mask), dw.data, self.batch, self.steps, *weights.shape)
        return dw

    @property
    def frozen(self) -> bool:
        return all(t is None or t.node is None for t in (self.kernel, self.recurrent, self.bias))

    def weights(self, dkernel: Tensor | None, drecurrent: Tensor | None, dbias: Tensor | None) -> Gradients:
        """What a vjp returns behind the gradients of inputs and states."""
        return (dkernel, drecurrent) if self.bias is None else (dkernel, drecurrent, dbias)

    def gates(self, values: np.ndarray, go_backwards: bool) -> list[Tensor]:
        """Each gate's values (batch, steps, units) in the order of the walk."""
        parts = ops.split(Tensor(values), self.columns // self.units, -1)
        return [ops.flip(part, 1) for part in parts] if go_backwards else parts

    def inputs(self) -> tuple[Tensor, ...]:
        given = (self.x, *self.states, self.kernel, self.recurrent)
        return given if self.bias is None else (*given, self.bias)


# ---- the ops: composed functions, and the kernels that serve them. A recurrent mask has no gradient.


def sums_of_inputs(x: Tensor, kernel: Tensor, bias: Tensor | None, mask: Tensor | None) -> list[Tensor]:
    """What the inputs add to the sums of each step (batch, columns). What a masked step holds is not read."""
    batch, steps, features = x.shape
    if mask is not None:
        x = ops.where(ops.expand_dims(mask, -1), x, 0)
    z = ops.matmul(ops.reshape(x, (batch * steps, features)), kernel)
    z = z if bias is None else z + bias
    return ops.unstack(ops.reshape(z, (batch, steps, kernel.shape[1])), axis=1)


def _dropping(drop: Tensor | None) -> Callable[[Tensor], Tensor]:
    """The function that scales the state in front of the products."""
    if drop is None:
        return lambda h: h
    drop = ops.stop_gradient(drop)
    return lambda h: h * drop


class _Gates:
    """Collects the gates of a composed cell, which have no gradient; masked steps have zeros."""

    def __init__(self, mask: Tensor | None) -> None:
        self._kept = None if mask is None else ops.unstack(ops.expand_dims(mask, -1), axis=1)
        self._steps: list[list[Tensor]] = []

    def add(self, t: int, values: Iterable[Tensor]) -> None:
        values = [ops.stop_gradient(v) for v in values]
        self._steps.append(values if self._kept is None else [ops.where(self._kept[t], v, 0) for v in values])

    def sequences(self) -> list[Tensor]:
        return [ops.stack(values, 1) for values in zip(*self._steps)]


def _simple_rnn_kernel(x: Tensor, states: tuple[Tensor, ...], kernel: Tensor, recurrent: Tensor, bias: Tensor | None,
                       mask: Tensor | None, drop: Tensor | None, activation: str,
                       go_backwards: bool) -> tuple[Tensor, Tensor]:
    s = Sequence(x, states, kernel, recurrent, bias, mask, drop)
    (sequence,), (last,) = s.like_sequence(1), s.like_state(1)
    (h0,), y = states, sequence.data
    attributes = (s.batch, s.steps, s.units, int(go_backwards), FUSED_ACTIVATIONS[activation])
    kernels.simple_rnn(s.project().data, h0.data, recurrent.data, *s.masks, y, last.data, *attributes)

    def vjp(dsequence: Tensor | None, dlast: Tensor | None) -> Gradients:
        (dz,), (dh0,) = s.like_sequence(1), s.like_state(1)
        kernels.dsimple_rnn(h0.data, recurrent.data, *s.masks, y, data_of(dsequence), data_of(dlast), dz.data, dh0.data,
                            *attributes)
        return s.dx(dz), dh0, *s.dw(y, dz, go_backwards)

    return differentiable((sequence, last), s.inputs(), vjp)


@fused(_simple_rnn_kernel)
def _simple_rnn(x: Tensor, states: tuple[Tensor, ...], kernel: Tensor, recurrent: Tensor, bias: Tensor | None,
                mask: Tensor | None, drop: Tensor | None, activation: str, go_backwards: bool) -> tuple[Tensor, Tensor]:
    sums, dropped, f = sums_of_inputs(x, kernel, bias, mask), _dropping(drop), getattr(ops, activation)

    def advance(t: int, before: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        h = f(sums[t] + ops.matmul(dropped(before[0]), recurrent))
        return h, [h]

    sequence, (last,) = unrolled(advance, x.shape[1], list(states), mask, go_backwards)
    return sequence, last


def _lstm_kernel(x: Tensor, states: tuple[Tensor, ...], kernel: Tensor, recurrent: Tensor, bias: Tensor | None,
                 mask: Tensor | None, drop: Tensor | None, go_backwards: bool,
                 return_gates: bool) -> tuple[Tensor, ...]:
    s = Sequence(x, states, kernel, recurrent, bias, mask, drop)
    (sequence, inner), (last_h, last_c) = s.like_sequence(2), s.like_state(2)
    gates, cells, y = s.project().data, inner.data, sequence.data
    given = (*(state.data for state in states), recurrent.data, *s.masks)
    attributes = (s.batch, s.steps, s.units, int(go_backwards))
    kernels.lstm(gates, *given, y, cells, last_h.data, last_c.data, *attributes)

    def vjp(dsequence: Tensor | None, dh: Tensor | None, dc: Tensor | None) -> Gradients:
        dz, (dh0, dc0) = s.new(*gates.shape), s.like_state(2)
        kernels.dlstm(gates, *given, y, cells, data_of(dsequence), data_of(dh), data_of(dc), dz.data, dh0.data,
                      dc0.data, *attributes)
        return s.dx(dz), dh0, dc0, *s.dw(y, dz, go_backwards)

    result = differentiable((sequence, last_h, last_c), s.inputs(), vjp)
    return (*result, *s.gates(gates, go_backwards), inner) if return_gates else result


@fused(_lstm_kernel)
def _lstm(x: Tensor, states: tuple[Tensor, ...], kernel: Tensor, recurrent: Tensor, bias: Tensor | None,
          mask: Tensor | None, drop: Tensor | None, go_backwards: bool, return_gates: bool) -> tuple[Tensor, ...]:
    step, dropped, gates = lstm_steps(x, kernel, recurrent, bias, mask), _dropping(drop), _Gates(mask)
    cells = []

    def advance(t: int, before: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        h, c, values = step(t, *before, dropped=dropped(before[0]))
        cells.append(before[1])
        if return_gates:
            gates.add(t, values)
        return h, [h, c]

    sequence, last = unrolled(advance, x.shape[1], list(states), mask, go_backwards)
    if not return_gates:
        return sequence, *last
    return sequence, *last, *gates.sequences(), ops.stop_gradient(ops.stack([*cells[1:], last[1]], 1))


def lstm_steps(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None,
               mask: Tensor | None) -> Callable[..., tuple[Tensor, Tensor, tuple[Tensor, ...]]]:
    """Function (number of the step, h, c, h with dropout, more to add to the sums) -> what `lstm_step` returns."""
    sums = sums_of_inputs(x, kernel, bias, mask)

    def step(t: int, h: Tensor, c: Tensor, dropped: Tensor,
             more: Tensor | None = None) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        inputs = sums[t] if more is None else sums[t] + more
        return lstm_step(ops.split(inputs + ops.matmul(dropped, recurrent), 4, -1), c)

    return step


def _gru_kernel(x: Tensor, states: tuple[Tensor, ...], kernel: Tensor, recurrent: Tensor, bias: Tensor | None,
                mask: Tensor | None, drop: Tensor | None, reset_after: bool, go_backwards: bool,
                return_gates: bool) -> tuple[Tensor, ...]:
    s = Sequence(x, states, kernel, recurrent, bias, mask, drop)
    (sequence, inner), (last,) = s.like_sequence(2), s.like_state(1)
    gates, y, (h0,), after = s.project().data, sequence.data, states, int(reset_after)
    attributes = (s.batch, s.steps, s.units, int(go_backwards), after)
    kernels.gru(gates, h0.data, recurrent.data, data_of(bias) if reset_after else None, *s.masks, y, inner.data,
                last.data, *attributes)

    def vjp(dsequence: Tensor | None, dlast: Tensor | None) -> Gradients:
        dz, (dinner, previous), (dh0,) = s.new(*gates.shape), s.like_sequence(2), s.like_state(1)
        kernels.dgru(gates, h0.data, recurrent.data, *s.masks, y, inner.data, data_of(dsequence), data_of(dlast),
                     dz.data, dinner.data, previous.data, dh0.data, *attributes)
        return s.dx(dz), dh0, *s.gru_dw(previous, dz, dinner, after)

    result = differentiable((sequence, last), s.inputs(), vjp)
    return (*result, *s.gates(gates, go_backwards)) if return_gates else result


@fused(_gru_kernel)
def _gru(x: Tensor, states: tuple[Tensor, ...], kernel: Tensor, recurrent: Tensor, bias: Tensor | None,
         mask: Tensor | None, drop: Tensor | None, reset_after: bool, go_backwards: bool,
         return_gates: bool) -> tuple[Tensor, ...]:
    step, dropped, gates = gru_steps(x, kernel, recurrent, bias, mask, reset_after), _dropping(drop), _Gates(mask)

    def advance(t: int, before: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        h, values = step(t, before[0], dropped(before[0]))
        if return_gates:
            gates.add(t, values)
        return h, [h]

    sequence, last = unrolled(advance, x.shape[1], list(states), mask, go_backwards)
    return (sequence, *last, *gates.sequences()) if return_gates else (sequence, *last)


def gru_steps(x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor | None, mask: Tensor | None,
              reset_after: bool) -> Callable[..., tuple[Tensor, tuple[Tensor, ...]]]:
    """Function (number of the step, state, state with dropout, more to add to the sums) -> what `gru_step` returns."""
    inner = None
    if bias is not None and reset_after:
        bias, inner = ops.unstack(bias)
    sums = sums_of_inputs(x, kernel, bias, mask)
    units = recurrent.shape[0]
    of_gates, of_candidate = ops.split(recurrent, [2 * units], -1)

    def step(t: int, h: Tensor, dropped: Tensor, more: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        inputs = ops.split(sums[t] if more is None else sums[t] + more, 3, -1)
        if reset_after:
            product = ops.matmul(dropped, recurrent)
            *of_zr, last = ops.split(product if inner is None else product + inner, 3, -1)
            return gru_step(inputs, of_zr, lambda r: r * last, h)
        of_zr = ops.split(ops.matmul(dropped, of_gates), 2, -1)
        return gru_step(inputs, of_zr, lambda r: ops.matmul(r * dropped, of_candidate), h)

    return step


@op
def simple_rnn(inputs: TensorLike, initial_h: TensorLike, kernel: TensorLike, recurrent_kernel: TensorLike,
               bias: TensorLike | None = None, *, activation: str = "tanh", mask: TensorLike | None = None,
               recurrent_mask: TensorLike | None = None, go_backwards: bool = False) -> tuple[Tensor, Tensor]:
    """A sequence through the simple cell h = activation(x @ kernel + h' @ recurrent_kernel + bias).

    Args:
        inputs: (batch, steps, features).
        initial_h: (batch, units).
        kernel: (features, units).
        recurrent_kernel: (units, units).
        bias: (units,) or None.
        activation: "tanh" or "relu".
        mask: (batch, steps), false at steps to skip: there the state stays, and the sequence repeats the output before
            (zeros where there was none). Leading and trailing masked steps cost next to nothing.
        recurrent_mask: (batch, units) or None: scales h' in front of the product, at all steps alike; it gets no
            gradient.
        go_backwards: walk from the last step to the first; the sequence comes in the order of the walk.

    Returns:
        The sequence (batch, steps, units) and the last h (batch, units).

    Raises:
        ValueError: for shapes that do not fit, and other activations.

    Source: Elman 1990.
    """
    if activation not in ("tanh", "relu"):
        raise ValueError(f'simple_rnn: expected activation to be "tanh" or "relu"; received {activation!r}.')
    given = checked("simple_rnn", inputs, [initial_h], kernel, recurrent_kernel, bias, mask, recurrent_mask, 1,
                    lambda units: (units,))
    return _simple_rnn(*given, activation, go_backwards)


@op
def lstm(inputs: TensorLike, initial_h: TensorLike, initial_c: TensorLike, kernel: TensorLike,
         recurrent_kernel: TensorLike, bias: TensorLike | None = None, *, mask: TensorLike | None = None,
         recurrent_mask: TensorLike | None = None, go_backwards: bool = False,
         return_gates: bool = False) -> tuple[Tensor | dict[str, Tensor], ...]:
    """A sequence through long short-term memory:

        i, f, o = sigmoid(...), g = tanh(...)      of x @ kernel + h' @ recurrent_kernel + bias, in the order i f g o
        c = f * c' + i * g,    h = o * tanh(c)

    Args:
        inputs: (batch, steps, features).
        initial_h, initial_c: (batch, units).
        kernel: (features, 4 * units).
        recurrent_kernel: (units, 4 * units).
        bias: (4 * units,) or None.
        mask, recurrent_mask, go_backwards: as for `simple_rnn`.
        return_gates: also return a dict of i, f, g, o and c (batch, steps, units), in the order of the walk. They have
            no gradient; at masked steps gates are zero.

    Returns:
        The sequence (batch, steps, units), the last h and the last c (batch, units), and with `return_gates` the dict.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000.
    """
    given = checked("lstm", inputs, [initial_h, initial_c], kernel, recurrent_kernel, bias, mask, recurrent_mask, 4,
                    lambda units: (4 * units,))
    sequence, last_h, last_c, *gates = _lstm(*given, go_backwards, return_gates)
    return (sequence, last_h, last_c, *([dict(zip("ifgoc", gates))] if return_gates else []))


@op
def gru(inputs: TensorLike, initial_h: TensorLike, kernel: TensorLike, recurrent_kernel: TensorLike,
        bias: TensorLike | None = None, *, reset_after: bool = True, mask: TensorLike | None = None,
        recurrent_mask: TensorLike | None = None, go_backwards: bool = False,
        return_gates: bool = False) -> tuple[Tensor | dict[str, Tensor], ...]:
    """A sequence through gated recurrent units, with gates in the order z r h:

        z, r = sigmoid(x @ kernel + h' @ recurrent_kernel + biases)
        n = tanh(x @ kernel + b0 + r * (h' @ recurrent_kernel + b1))      with reset_after
        n = tanh(x @ kernel + b0 + (r * h') @ recurrent_kernel)           without
        h = z * h' + (1 - z) * n

    Args:
        inputs: (batch, steps, features).
        initial_h: (batch, units).
        kernel: (features, 3 * units).
        recurrent_kernel: (units, 3 * units).
        bias: (2, 3 * units) with reset_after, (3 * units,) without, or None.
        reset_after: whether the reset gate scales the product (as cuDNN and PyTorch) or its left factor.
        mask, recurrent_mask, go_backwards: as for `simple_rnn`.
        return_gates: also return a dict of z, r, n (batch, steps, units), in the order of the walk. They have no
            gradient; at masked steps they are zero.

    Returns:
        The sequence (batch, steps, units), the last h (batch, units), and with `return_gates` the dict.

    Raises:
        ValueError: for shapes that do not fit.

    Source: Cho et al. 2014.
    """
    given = checked("gru", inputs, [initial_h], kernel, recurrent_kernel, bias, mask, recurrent_mask, 3,
                    lambda units: (2, 3 * units) if reset_after else (3 * units,))
    sequence, last, *gates = _gru(*given, reset_after, go_backwards, return_gates)
    return (sequence, last, *([dict(zip("zrn", gates))] if return_gates else []))
