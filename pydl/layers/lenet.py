"""What LeNet-5 has beside today's layers (LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to
Document Recognition", 1998): trainable sub-sampling, a sparse table of connections, distances to drawn digits, and a
loss for them."""

from __future__ import annotations

import numpy as np

from pydl import activations, constraints, initializers, losses, ops, regularizers
from pydl.layers._spatial import Spatial
from pydl.layers.base import Layer
from pydl.layers.core import activated
from pydl.layers.input_spec import InputSpec
from pydl.registry import builtin

__all__ = ["RBF", "SparseTableConv2D", "SubSampling2D"]


@builtin("pydl.layers")
class SubSampling2D(Spatial):
    """The sum of each window, times a trained coefficient, plus a trained bias, through an activation (section II.B).

    (batch, height, width, channels) -> (batch, height // n, width // n, channels); coefficient and bias, shaped
    (channels,), are those of a channel.

    Args:
        pool_size: height and width n of the windows, which do not overlap.
        activation: of the result.
        coefficient_initializer, bias_initializer: by default the layer begins as the mean of the window.
        data_format: where the channels are; `config.image_data_format()` by default.
    """

    _rank = 2

    def __init__(self, pool_size=2, activation=None, coefficient_initializer=None, bias_initializer="zeros",
                 data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        if not isinstance(pool_size, int) or pool_size < 1:
            raise ValueError(f"Expected `pool_size` to be a positive int. Received: pool_size={pool_size!r}.")
        self.pool_size = pool_size
        self.activation = activations.get(activation)
        self.coefficient_initializer = initializers.get(coefficient_initializer or
                                                        initializers.Constant(1 / pool_size**2))
        self.bias_initializer = initializers.get(bias_initializer)

    def build(self, input_shape):
        axis = 3 if self.data_format == "channels_last" else 1
        channels = (input_shape[axis],)
        self.coefficient = self.add_weight(channels, self.coefficient_initializer, name="coefficient")
        self.bias = self.add_weight(channels, self.bias_initializer, name="bias")
        self.input_spec = InputSpec(ndim=4, axes={axis: input_shape[axis]})

    def call(self, inputs):
        total = ops.average_pool(inputs, self.pool_size, self.pool_size, data_format=self.data_format)
        total = total * float(self.pool_size**2)
        shape = (-1,) if self.data_format == "channels_last" else (-1, 1, 1)
        coefficient, bias = ops.reshape(self.coefficient, shape), ops.reshape(self.bias, shape)
        return activated(self.activation, total * coefficient + bias)

    def get_config(self):
        return {**super().get_config(), **self._arguments("pool_size", "activation", "coefficient_initializer",
                                                          "bias_initializer")}


@builtin("pydl.layers")
class SparseTableConv2D(Spatial):
    """A convolution whose output maps each see some of the input maps (section II.B, table I).

    (batch, height, width, channels) -> (batch, height - k + 1, width - k + 1, len(table)). The kernel has k * k
    weights for each connection of the table, and nothing for the others.

    Args:
        table: for every output map the numbers of the input maps it sees.
        kernel_size: height and width k of the kernel.
        activation: of the result.
        kernel_initializer: by default uniform between +-sqrt(3 / inputs of the unit), for each output map by itself
            (LeCun et al., "Efficient BackProp", 1998, section 4.6).
        bias_initializer, kernel_regularizer, kernel_constraint: as elsewhere; the kernel is shaped
            (k, k, connections), connections in the order of the table.
        data_format: where the channels are; `config.image_data_format()` by default.
    """

    _rank = 2

    def __init__(self, table, kernel_size, activation=None, kernel_initializer=None, bias_initializer="zeros",
                 kernel_regularizer=None, kernel_constraint=None, data_format=None, **kwargs):
        super().__init__(data_format, **kwargs)
        self.table = [[int(i) for i in maps] for maps in table]
        if not self.table or any(not maps or len(set(maps)) != len(maps) or min(maps) < 0 for maps in self.table):
            raise ValueError("Expected `table` to list, for every output map, different numbers of input maps from 0"
                             f" on. Received: table={table}.")
        if not isinstance(kernel_size, int) or kernel_size < 1:
            raise ValueError(f"Expected `kernel_size` to be a positive int. Received: kernel_size={kernel_size!r}.")
        self.kernel_size = kernel_size
        self.activation = activations.get(activation)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)

    def build(self, input_shape):
        axis = 3 if self.data_format == "channels_last" else 1
        self._channels = input_shape[axis]
        if self._channels <= max(map(max, self.table)):
            raise ValueError(f'SparseTableConv2D "{self.name}": the table names input map {max(map(max, self.table))};'
                             f" the input has {self._channels} maps, counted from 0.")
        connections = sum(map(len, self.table))
        self.kernel = self.add_weight((self.kernel_size, self.kernel_size, connections),
                                      self.kernel_initializer or self._initial, name="kernel",
                                      regularizer=self.kernel_regularizer, constraint=self.kernel_constraint)
        self.bias = self.add_weight((len(self.table),), self.bias_initializer, name="bias")
        self.input_spec = InputSpec(ndim=4, axes={axis: self._channels})

    def _initial(self, shape, dtype=None):
        inputs = np.concatenate([[len(maps) * self.kernel_size**2] * len(maps) for maps in self.table])
        unit = initializers.RandomUniform(-1.0, 1.0)(shape, dtype)
        return unit * np.sqrt(3 / inputs).astype(unit.dtype)

    def _places(self) -> np.ndarray:
        """(connections, channels * maps) of 0 and 1: where in a full kernel each connection lies."""
        pairs = [channel * len(self.table) + i for i, maps in enumerate(self.table) for channel in maps]
        places = np.zeros((len(pairs), self._channels * len(self.table)), self.kernel.dtype)
        places[np.arange(len(pairs)), pairs] = 1
        return places

    def call(self, inputs):
        size = self.kernel_size
        kernel = ops.matmul(ops.reshape(self.kernel, (size * size, -1)), self._places())
        kernel = ops.reshape(kernel, (size, size, self._channels, len(self.table)))
        y = ops.conv(inputs, kernel, 1, "valid", data_format=self.data_format)
        bias = self.bias if self.data_format == "channels_last" else ops.reshape(self.bias, (-1, 1, 1))
        return activated(self.activation, y + bias)

    def get_config(self):
        return {**super().get_config(), **self._arguments("table", "kernel_size", "activation", "kernel_initializer",
                                                          "bias_initializer", "kernel_regularizer",
                                                          "kernel_constraint")}


@builtin("pydl.layers")
class RBF(Layer):
    """Minus the squared distance to each of `units` points: the nearest has the largest output (eq. 7, negated).

    (batch, features) -> (batch, units), all <= 0. Up to a constant these are the logarithms of Gaussian likelihoods.

    Args:
        units: number of points.
        initializer: of the points, shaped (units, features).
        trainable: whether the points move; the paper keeps them where they are.
    """

    def __init__(self, units, initializer="glorot_uniform", trainable=True, **kwargs):
        super().__init__(trainable=trainable, **kwargs)
        self.units = units
        self.initializer = initializers.get(initializer)
        self.input_spec = InputSpec(ndim=2)

    def build(self, input_shape):
        self.points = self.add_weight((self.units, input_shape[-1]), self.initializer, name="points")
        self.input_spec = InputSpec(ndim=2, axes={-1: input_shape[-1]})

    def call(self, inputs):
        # Differences, not |x|^2 - 2 x w + |w|^2: near a point that would lose all digits.
        return -ops.sum(ops.square(ops.expand_dims(inputs, 1) - self.points), axis=-1)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "initializer": initializers.serialize(self.initializer)}


@builtin("pydl.losses")
class MAPCriterion(losses.Loss):
    """Minus the logarithm of the right class's probability, among the classes and "none of them" (eq. 9).

        -z_right + log(e^-j + sum_i e^z_i),  z = -(squared distances)

    It pulls the output towards the right point and pushes it away from the others; a point further away than about j
    pushes no more.

    Args:
        rubbish: j, the distance of "none of them", > 0.

    `call` takes class numbers (batch,) or (batch, 1) and outputs of `RBF` (batch, classes).
    """

    def __init__(self, rubbish=1.0, reduction="sum_over_batch_size", name="map_criterion", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not rubbish > 0:
            raise ValueError(f"Expected `rubbish` > 0. Received: rubbish={rubbish}.")
        self.rubbish = rubbish

    def _convert_target(self, y_true):  # class numbers stay integers
        return ops.convert_to_tensor(y_true)

    def call(self, y_true, y_pred):
        rubbish = ops.full((y_pred.shape[0], 1), -self.rubbish, dtype=y_pred.dtype)
        logits = ops.concatenate([y_pred, rubbish], axis=-1)
        return losses.sparse_categorical_crossentropy(y_true, logits, from_logits=True)

    def get_config(self):
        return {**super().get_config(), "rubbish": self.rubbish}


# Figure 3 of the paper shows such digits: 7 wide, 12 high, ink +1, paper -1. Similar digits have similar pictures, so
# that a network unsure between them can say so.
_DIGITS = """
.#####. ...#... .#####. .#####. .....#. ####### ..####. ####### .#####. .#####.
##...## ..##... ##...## ##...## ....##. ##..... .##.... ......# ##...## ##...##
#.....# .###... #.....# ......# ...###. ##..... ##..... .....## #.....# #.....#
#.....# ...#... ......# ......# ..##.#. ##..... #...... .....#. ##...## #.....#
#.....# ...#... .....## .....## .##..#. #####.. #.####. ....##. .#####. ##....#
#.....# ...#... ....##. ..####. ##...#. ....##. ###..## ....#.. .#####. .######
#.....# ...#... ...##.. .....## #....#. .....## ##....# ...##.. ##...## ..###.#
#.....# ...#... ..##... ......# ####### ......# #.....# ...#... #.....# ......#
#.....# ...#... .##.... ......# .....#. ......# #.....# ..##... #.....# ......#
#.....# ...#... ##..... #.....# .....#. #.....# #.....# ..#.... #.....# .....##
##...## ...#... #...... ##...## .....#. ##...## ##...## .##.... ##...## ....##.
.#####. .#####. ####### .#####. .....#. .#####. .#####. .#..... .#####. .####..
"""


def digit_bitmaps() -> np.ndarray:
    """(10, 84) float32 of -1 and +1: the ten digits above, row by row."""
    rows = [line.split() for line in _DIGITS.split("\n") if line]
    return np.array([[1 if c == "#" else -1 for row in rows for c in row[digit]] for digit in range(10)], "float32")


@builtin("pydl.initializers")
class DigitBitmaps(initializers.Initializer):
    """The points of LeNet-5's `RBF`: `digit_bitmaps`, shaped (10, 84)."""

    def __call__(self, shape, dtype=None):
        bitmaps = digit_bitmaps()
        if tuple(shape) != bitmaps.shape:
            raise ValueError(f"DigitBitmaps are {bitmaps.shape[0]} points of {bitmaps.shape[1]} values; received shape"
                             f" {tuple(shape)}.")
        return ops.convert_to_tensor(bitmaps, dtype=dtype)

    def get_config(self):
        return {}
