"""ConvLSTM1D, ConvLSTM2D, ConvLSTM3D: LSTMs over sequences of signals, images and volumes."""

from __future__ import annotations

from pydl import config, ops
from pydl.layers.input_spec import InputSpec
from pydl.layers.recurrent import RNN, _Recurrent, _sorted_out
from pydl.layers.rnn_cells import LSTMCell
from pydl.ops._steps import unrolled
from pydl.ops._window import is_channels_first, per_axis, window
from pydl.registry import builtin

__all__ = ["ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"]


class _ConvLSTMCell(LSTMCell):
    """An LSTMCell whose products are convolutions: of the input as the arguments say, of the state with strides 1 and
    padding "same". Dropout has a draw for each gate, which the convolutions see as a group of channels.
    """

    _rank: int

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1,
                 activation="tanh", recurrent_activation="sigmoid", use_bias=True, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros", unit_forget_bias=True,
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, kernel_constraint=None,
                 recurrent_constraint=None, bias_constraint=None, dropout=0.0, recurrent_dropout=0.0, seed=None,
                 **kwargs):
        who = f"ConvLSTM{self._rank}D"
        if not isinstance(filters, int) or isinstance(filters, bool) or filters < 1:
            raise ValueError(f"{who}: expected filters to be a positive integer; received filters={filters!r}.")
        super().__init__(filters, activation, recurrent_activation, use_bias, kernel_initializer, recurrent_initializer,
                         bias_initializer, unit_forget_bias, kernel_regularizer, recurrent_regularizer,
                         bias_regularizer, kernel_constraint, recurrent_constraint, bias_constraint, dropout,
                         recurrent_dropout, seed, **kwargs)
        self.filters = filters
        self.kernel_size = per_axis(kernel_size, self._rank, "kernel_size", who)
        self.strides = per_axis(strides, self._rank, "strides", who)
        self.padding = padding.lower() if isinstance(padding, str) else padding
        if self.padding not in ("valid", "same"):
            raise ValueError(f'{who}: expected padding to be "valid" or "same"; received padding={padding!r}.')
        self.dilation_rate = per_axis(dilation_rate, self._rank, "dilation_rate", who)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(f"{who}: strides above 1 do not go with a dilation_rate above 1; received"
                             f" strides={self.strides} and dilation_rate={self.dilation_rate}.")
        self._axis = 1 if is_channels_first(data_format, who) else -1
        self.data_format = data_format or config.image_data_format()

    def build(self, input_shape):
        shape = tuple(input_shape[1:])
        if None in shape:
            raise ValueError(f'ConvLSTM{self._rank}D: expected known channels and spatial sizes; received a step of'
                             f" shape {tuple(input_shape)}.")
        channels, spatial = (shape[0], shape[1:]) if self._axis == 1 else (shape[-1], shape[:-1])
        size, columns = self.kernel_size, self.gates * self.filters
        self.kernel = self._weight("kernel", (*size, channels, columns))
        self.recurrent_kernel = self._weight("recurrent_kernel", (*size, self.filters, columns), "recurrent")
        self.bias = None
        if self.use_bias:
            self.bias = self._weight("bias", self._bias_shape(), initializer=self._bias_initializer())
        positions = window(f"ConvLSTM{self._rank}D", spatial, size, self.strides, self.padding,
                           self.dilation_rate).outputs
        self.state_shape = (self.filters, *positions) if self._axis == 1 else (*positions, self.filters)
        self.input_spec = InputSpec(shape=(None, *shape))

    def get_initial_state(self, batch_size=None):
        """Zeros (batch_size, positions..., filters), two of them; the layer must be built."""
        return [ops.zeros((batch_size, *self.state_shape), self.dtype) for _ in range(2)]

    def _mask_shape(self, x, training):
        shape = list(x.shape)
        shape[self._axis] *= self.gates
        return tuple(shape)

    def dropped(self, which, x, training):
        mask = self.mask_of(which, x, training)
        return x if mask is None else ops.multiply(ops.concatenate([x] * self.gates, self._axis), mask)

    def product(self, which, x, kernel, bias, training):
        x = self.dropped(which, x, training)
        return self._of_inputs(x) if which == "dropout" else ops.conv(x, kernel, 1, "same", self.data_format)

    def _of_inputs(self, x):
        return ops.conv(x, self.kernel, self.strides, self.padding, self.data_format, self.dilation_rate,
                        bias=self.bias)

    def parts(self, z):
        return ops.split(z, self.gates, self._axis)

    def walk(self, sequences, states, mask, go_backwards, training):
        batch, steps = sequences.shape[:2]
        drop = self.mask_of("dropout", sequences[:, 0], training)
        if drop is not None:
            axis = 2 if self._axis == 1 else -1
            sequences = ops.multiply(ops.concatenate([sequences] * self.gates, axis), ops.expand_dims(drop, 1))
        z = self._of_inputs(ops.reshape(sequences, (batch * steps, *sequences.shape[2:])))
        inputs = ops.unstack(ops.reshape(z, (batch, steps, *z.shape[1:])), axis=1)

        def advance(t, before):
            return self.advance(inputs[t] + self.product("recurrent_dropout", before[0], self.recurrent_kernel, None,
                                                         training), before[1])

        return unrolled(advance, steps, states, mask, go_backwards)

    def get_config(self):
        own = super().get_config()
        del own["units"]
        return {**own, **self._arguments("filters", "kernel_size", "strides", "padding", "data_format",
                                         "dilation_rate")}


class _Cell1D(_ConvLSTMCell):
    _rank = 1


class _Cell2D(_ConvLSTMCell):
    _rank = 2


class _Cell3D(_ConvLSTMCell):
    _rank = 3


class _ConvLSTM(_Recurrent):
    """An LSTM over sequences (batch, steps, spatial..., channels) whose products are convolutions (Shi et al. 2015,
    without the connections from the cell state to the gates, as in Keras).

    Args:
        filters: channels of output and states.
        kernel_size: size of the windows, int or one per spatial axis, for inputs and state.
        strides, padding, dilation_rate: of the convolution of the inputs, as for convolution layers; padding is "valid"
            or "same". The state is convolved with strides 1 and padding "same".
        data_format: "channels_last", or "channels_first" for (batch, steps, channels, spatial...).
        *_initializer, *_regularizer, *_constraint: of `kernel` (window..., channels, 4 * filters), `recurrent_kernel`
            (window..., filters, 4 * filters) and `bias` (4 * filters,).
        dropout, recurrent_dropout: shares of inputs and state that count as 0 in training, at the same places in all
            steps, with a draw for each gate.

    Other arguments, and those of a call, are those of `LSTM`. States: h and c, each (batch, positions..., filters).

    Raises:
        ValueError: for wrong arguments; when built, for channels or spatial sizes that are not known.
    """

    _cell_class: type[_ConvLSTMCell]

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format=None, dilation_rate=1,
                 activation="tanh", recurrent_activation="sigmoid", use_bias=True, kernel_initializer="glorot_uniform",
                 recurrent_initializer="orthogonal", bias_initializer="zeros", unit_forget_bias=True,
                 kernel_regularizer=None, recurrent_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                 kernel_constraint=None, recurrent_constraint=None, bias_constraint=None, dropout=0.0,
                 recurrent_dropout=0.0, seed=None, return_sequences=False, return_state=False, go_backwards=False,
                 stateful=False, **kwargs):
        super().__init__(*_sorted_out(locals(), "conv_lstm_cell"))
        self.input_spec = InputSpec(ndim=self._cell_class._rank + 3)

    def build(self, sequences_shape, initial_state_shape=None):
        RNN.build(self, sequences_shape)
        self.input_spec = InputSpec(shape=(None, None, *sequences_shape[2:]))

    def _state_shapes(self, batch):
        return [(batch, *self.cell.state_shape)] * 2


@builtin("keras.layers")
class ConvLSTM1D(_ConvLSTM):
    __doc__ = _ConvLSTM.__doc__
    _cell_class = _Cell1D


@builtin("keras.layers")
class ConvLSTM2D(_ConvLSTM):
    __doc__ = _ConvLSTM.__doc__
    _cell_class = _Cell2D


@builtin("keras.layers")
class ConvLSTM3D(_ConvLSTM):
    __doc__ = _ConvLSTM.__doc__
    _cell_class = _Cell3D
