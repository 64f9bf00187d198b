"""Recurrent cells over whole sequences: simple, LSTM, GRU; layouts of weights and order of gates as in Keras 3."""

from __future__ import annotations

from pydl import ops
from pydl._core import kernels
from pydl.dtypes import is_byte_dtype
from pydl.ops._common import as_float, as_tensor, result_dtype
from pydl.ops.linalg import FUSED_ACTIVATIONS
from pydl.symbolic import op
from pydl.tape import differentiable
from pydl.tensor import Tensor, empty

__all__ = ["gru", "lstm", "simple_rnn"]


class _Sequence:
    """The arguments every cell has, checked and of one dtype, and the products over all steps.

    Args:
        op_name: for messages.
        inputs: (batch, steps, features).
        states: each (batch, units).
        kernel, recurrent_kernel: (features, gates * units), (units, gates * units).
        bias: of shape `bias_shape`, as a function of units, or None.
        mask, recurrent_mask: (batch, steps) and (batch, units), or None.
    """

    def __init__(self, op_name, inputs, states, kernel, recurrent_kernel, bias, mask, recurrent_mask, gates,
                 bias_shape):
        given = [as_float(t) for t in (inputs, kernel, recurrent_kernel, *states)]
        optional = [None if t is None else as_float(t) for t in (bias, recurrent_mask)]
        dtype = result_dtype(*given, *(t for t in optional if t is not None))

        def cast(t):
            return t if t is None or t.dtype == dtype else ops.cast(t, dtype)

        self.x, self.kernel, self.recurrent, *self.states = map(cast, given)
        self.bias, self.drop = map(cast, optional)
        if self.x.ndim != 3 or 0 in self.x.shape[1:]:
            raise ValueError(f"{op_name}: expected inputs (batch, steps, features) with at least one step and feature;"
                             f" received shape {self.x.shape}.")
        self.batch, self.steps, self.features = self.x.shape
        self.units = units = self.recurrent.shape[0] if self.recurrent.ndim else 0
        self.columns = gates * units
        self.mask = None if mask is None else as_tensor(mask)
        if self.mask is not None and not is_byte_dtype(self.mask.dtype):
            self.mask = ops.cast(self.mask, "bool")
        self.dtype = dtype
        wanted = [("kernel", self.kernel, (self.features, self.columns)),
                  ("recurrent_kernel", self.recurrent, (units, self.columns)),
                  ("bias", self.bias, bias_shape(units)), ("mask", self.mask, (self.batch, self.steps)),
                  ("recurrent_mask", self.drop, (self.batch, units)),
                  *(("initial state", state, (self.batch, units)) for state in self.states)]
        for what, tensor, shape in wanted:
            if tensor is not None and tensor.shape != shape:
                raise ValueError(f"{op_name}: expected {what} of shape {shape} for inputs of shape {self.x.shape} and"
                                 f" {units} units; received {tensor.shape}.")
        if units == 0:
            raise ValueError(f"{op_name}: expected at least one unit; received a recurrent_kernel of shape"
                             f" {self.recurrent.shape}.")

    def new(self, *shape) -> Tensor:
        return empty(shape, self.dtype)

    def like_sequence(self, count: int) -> list[Tensor]:
        return [self.new(self.batch, self.steps, self.units) for _ in range(count)]

    def like_state(self, count: int) -> list[Tensor]:
        return [self.new(self.batch, self.units) for _ in range(count)]

    @property
    def masks(self):
        return _data(self.mask), _data(self.drop)

    def project(self) -> Tensor:
        """What the inputs add to the sums of all steps, with the (first) bias."""
        z = self.new(self.batch, self.steps, self.columns)
        kernels.recurrent_inputs(self.x.data, self.kernel.data, _data(self.bias), _data(self.mask), z.data, self.batch,
                                 self.steps, self.columns, self.features)
        return z

    def dx(self, dz: Tensor) -> Tensor | None:
        if self.x.node is None:
            return None
        dx = self.new(*self.x.shape)
        kernels.recurrent_dx(dz.data, self.kernel.data, _data(self.mask), dx.data, self.batch, self.steps, self.columns,
                             self.features)
        return dx

    def dw(self, sequence: Tensor, dz: Tensor, go_backwards: bool) -> tuple:
        """The gradients of kernel, recurrent kernel and, where there is one, bias."""
        if self.frozen:
            return self.weights(None, None, None)
        dkernel, drecurrent = self.new(*self.kernel.shape), self.new(*self.recurrent.shape)
        dbias = None if self.bias is None else self.new(*self.bias.shape)
        kernels.recurrent_dw(self.x.data, self.states[0].data, sequence.data, dz.data, *self.masks, dkernel.data,
                             drecurrent.data, _data(dbias), self.batch, self.steps, self.features, self.units,
                             self.columns, int(go_backwards))
        return self.weights(dkernel, drecurrent, dbias)

    def gru_dw(self, previous: Tensor, dz: Tensor, dinner: Tensor, after: int) -> tuple:
        """As `dw`, from what the kernel dgru returned."""
        if self.frozen:
            return self.weights(None, None, None)
        dkernel, drecurrent = self.new(*self.kernel.shape), self.new(*self.recurrent.shape)
        dbias = None if self.bias is None else self.new(*self.bias.shape)
        kernels.gru_dw(self.x.data, previous.data, dz.data, dinner.data, _data(self.mask), dkernel.data,
                       drecurrent.data, _data(dbias), self.batch, self.steps, self.features, self.units, after)
        return self.weights(dkernel, drecurrent, dbias)

    def steps_dw(self, weights: Tensor, left: Tensor, dz: Tensor) -> Tensor | None:
        """The gradient of weights that `left` (batch, steps, k) is multiplied with at every step."""
        if weights.node is None:
            return None
        dw = self.new(*weights.shape)
        kernels.steps_dw(left.data, dz.data, _data(self.mask), dw.data, self.batch, self.steps, *weights.shape)
        return dw

    @property
    def frozen(self) -> bool:
        return all(t is None or t.node is None for t in (self.kernel, self.recurrent, self.bias))

    def weights(self, dkernel, drecurrent, dbias) -> tuple:
        """What a vjp returns behind the gradients of inputs and states."""
        return (dkernel, drecurrent) if self.bias is None else (dkernel, drecurrent, dbias)

    def gates(self, values: Tensor, names: tuple[str, ...], go_backwards: bool) -> dict[str, Tensor]:
        """Each gate's values (batch, steps, units) in the order of the walk."""
        parts = ops.split(Tensor(values.data), len(names), -1)
        return {name: ops.flip(part, 1) if go_backwards else part for name, part in zip(names, parts)}

    def inputs(self) -> tuple[Tensor, ...]:
        given = (self.x, *self.states, self.kernel, self.recurrent)
        return given if self.bias is None else (*given, self.bias)


def _data(tensor):
    return None if tensor is None else tensor.data


@op
def simple_rnn(inputs, initial_h, kernel, recurrent_kernel, bias=None, *, activation="tanh", mask=None,
               recurrent_mask=None, go_backwards=False):
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
    s = _Sequence("simple_rnn", inputs, [initial_h], kernel, recurrent_kernel, bias, mask, recurrent_mask, 1,
                  lambda units: (units,))
    (sequence,), (last,) = s.like_sequence(1), s.like_state(1)
    h0, y = s.states[0], sequence.data
    attributes = (s.batch, s.steps, s.units, int(go_backwards), FUSED_ACTIVATIONS[activation])
    kernels.simple_rnn(s.project().data, h0.data, s.recurrent.data, *s.masks, y, last.data, *attributes)

    def vjp(dsequence, dlast):
        (dz,), (dh0,) = s.like_sequence(1), s.like_state(1)
        kernels.dsimple_rnn(h0.data, s.recurrent.data, *s.masks, y, _data(dsequence), _data(dlast),
                            dz.data, dh0.data, *attributes)
        return s.dx(dz), dh0, *s.dw(sequence, dz, go_backwards)

    return differentiable((sequence, last), s.inputs(), vjp)


@op
def lstm(inputs, initial_h, initial_c, kernel, recurrent_kernel, bias=None, *, mask=None, recurrent_mask=None,
         go_backwards=False, return_gates=False):
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
    s = _Sequence("lstm", inputs, [initial_h, initial_c], kernel, recurrent_kernel, bias, mask, recurrent_mask, 4,
                  lambda units: (4 * units,))
    (sequence, cells), (last_h, last_c) = s.like_sequence(2), s.like_state(2)
    gates, y = s.project(), sequence.data
    given = (*(state.data for state in s.states), s.recurrent.data, *s.masks)
    attributes = (s.batch, s.steps, s.units, int(go_backwards))
    kernels.lstm(gates.data, *given, y, cells.data, last_h.data, last_c.data, *attributes)

    def vjp(dsequence, dh, dc):
        dz, (dh0, dc0) = s.new(*gates.shape), s.like_state(2)
        kernels.dlstm(gates.data, *given, y, cells.data, _data(dsequence), _data(dh), _data(dc), dz.data, dh0.data,
                      dc0.data, *attributes)
        return s.dx(dz), dh0, dc0, *s.dw(sequence, dz, go_backwards)

    result = differentiable((sequence, last_h, last_c), s.inputs(), vjp)
    if not return_gates:
        return result
    return *result, {**s.gates(gates, ("i", "f", "g", "o"), go_backwards), "c": Tensor(cells.data)}


@op
def gru(inputs, initial_h, kernel, recurrent_kernel, bias=None, *, reset_after=True, mask=None, recurrent_mask=None,
        go_backwards=False, return_gates=False):
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
    s = _Sequence("gru", inputs, [initial_h], kernel, recurrent_kernel, bias, mask, recurrent_mask, 3,
                  lambda units: (2, 3 * units) if reset_after else (3 * units,))
    (sequence, inner), (last,) = s.like_sequence(2), s.like_state(1)
    gates, y, h0 = s.project(), sequence.data, s.states[0]
    after = int(reset_after)
    attributes = (s.batch, s.steps, s.units, int(go_backwards), after)
    kernels.gru(gates.data, h0.data, s.recurrent.data, _data(s.bias) if reset_after else None, *s.masks,
                y, inner.data, last.data, *attributes)

    def vjp(dsequence, dlast):
        dz, (dinner, previous), (dh0,) = s.new(*gates.shape), s.like_sequence(2), s.like_state(1)
        kernels.dgru(gates.data, h0.data, s.recurrent.data, *s.masks, y, inner.data, _data(dsequence),
                     _data(dlast), dz.data, dinner.data, previous.data, dh0.data, *attributes)
        return s.dx(dz), dh0, *s.gru_dw(previous, dz, dinner, after)

    result = differentiable((sequence, last), s.inputs(), vjp)
    return (*result, s.gates(gates, ("z", "r", "n"), go_backwards)) if return_gates else result
