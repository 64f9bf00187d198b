"""EinsumDense: a dense layer whose axes an equation names."""

from __future__ import annotations

import math

from pydl import activations, constraints, initializers, ops, regularizers
from pydl.layers.base import Layer
from pydl.layers.core import FUSED, activated
from pydl.layers.input_spec import InputSpec
from pydl.registry import builtin

__all__ = ["EinsumDense"]


@builtin("keras.layers")
class EinsumDense(Layer):
    """`activation(einsum(equation, x, kernel) + bias)`.

    Where the last axes of the input meet the first of the kernel ("abc,cde->abde", "...x,xy->...y"), which is the
    common case, it is one fused product as in `Dense`.

    Args:
        equation: "ab,bc->ac", "...ab,bc->...ac" or "ab...,bc->ac...": input, kernel and output.
        output_shape: shape of the output without the batch axis (and without those of `...`); None where an axis of the
            input goes through.
        activation: name or callable; linear by default.
        bias_axes: letters of the output axes that a bias has, or None for no bias.
        kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, kernel_constraint, bias_constraint:
            of the variables `kernel` and `bias`.

    Raises:
        ValueError: for an equation of another form, or one that does not fit the shapes.
    """

    def __init__(self, equation, output_shape, activation=None, bias_axes=None, kernel_initializer="glorot_uniform",
                 bias_initializer="zeros", kernel_regularizer=None, bias_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, **kwargs):
        super().__init__(**kwargs)
        self.equation = equation
        self.partial_output_shape = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
        self.activation = activations.get(activation)
        self.bias_axes = bias_axes
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def _parse(self) -> tuple[str, str, str]:
        left, arrow, output = self.equation.replace(" ", "").partition("->")
        x, comma, kernel = left.partition(",")
        letters = [part.replace("...", "") for part in (x, kernel, output)]
        dots = [part.replace(letter, "#") for part, letter in zip((x, kernel, output), letters)]
        if not arrow or not comma or not all(part.isalpha() for part in letters) or \
                dots not in (["#", "#", "#"], ["...#", "#", "...#"], ["#...", "#", "#..."]):
            raise ValueError(f'EinsumDense "{self.name}": expected an equation such as "ab,bc->ac", "...ab,bc->...ac"'
                             f' or "ab...,bc->ac..."; received {self.equation!r}.')
        return x, kernel, output

    def build(self, input_shape):
        x, kernel, output = self._parse()
        letters, given = x.replace(".", ""), tuple(input_shape)
        elided = len(given) - len(letters)
        if elided < 0 or elided and "." not in x:
            raise ValueError(f'EinsumDense "{self.name}": {self.equation!r} does not fit an input of shape {given}.')
        skip = elided if x.startswith(".") else 0
        sizes = dict(zip(letters, given[skip:]))
        out = output.replace(".", "")
        # The axes of the output, the batch axis and those of `...` put before (or after) what was given.
        full = [given[0], *given[1:max(skip, 1)], *self.partial_output_shape]
        named = dict(zip(out, full[skip:]))
        if len(full) - skip != len(out):
            raise ValueError(f'EinsumDense "{self.name}": output_shape={self.partial_output_shape} does not fit'
                             f" {self.equation!r}.")
        for letter in kernel:
            if letter not in named and letter not in sizes:
                raise ValueError(f'EinsumDense "{self.name}": axis {letter!r} of the kernel is in neither input nor'
                                 f" output of {self.equation!r}.")
        for letter in out:
            if letter not in sizes and letter not in kernel:
                raise ValueError(f'EinsumDense "{self.name}": axis {letter!r} of the output is in neither input nor'
                                 f" kernel of {self.equation!r}.")
            if letter in sizes and None not in (named[letter], sizes[letter]) and named[letter] != sizes[letter]:
                raise ValueError(f'EinsumDense "{self.name}": axis {letter!r} has {sizes[letter]} places in the input,'
                                 f" {named[letter]} in the output.")
        shape = tuple(named[a] if a in named else sizes[a] for a in kernel)
        if None in shape:
            raise ValueError(f'EinsumDense "{self.name}": the axes {kernel!r} of the kernel must be known; input shape'
                             f" {given}, output_shape {self.partial_output_shape}.")
        self.kernel = self._weight("kernel", shape, initializer=self._fans(kernel, named))
        self.bias = None
        if self.bias_axes is not None:
            self.bias = self._weight("bias", self._bias_shape(out, named, 0 if skip else elided))
        self.input_spec = InputSpec(ndim=len(given))
        inner = sum(letter not in named for letter in kernel)
        rest = kernel[inner:]
        self._inner = inner if inner and letters.endswith(kernel[:inner]) and not x.endswith(".") and (
            out == letters[:len(letters) - inner] + rest) and (
                self.bias is None or self.bias.shape == shape[inner:]) else 0

    def _fans(self, kernel: str, named: dict):
        """The initializer, told which axes of the kernel are inputs."""
        if getattr(self.kernel_initializer, "input_axes", 0) is not None:
            return self.kernel_initializer
        import copy

        initializer = copy.copy(self.kernel_initializer)
        initializer.input_axes = [i for i, letter in enumerate(kernel) if letter not in named]
        initializer.output_axes = [i for i, letter in enumerate(kernel) if letter in named]
        return initializer

    def _bias_shape(self, out: str, named: dict, trailing: int) -> tuple[int, ...]:
        if not set(self.bias_axes) <= set(out):
            raise ValueError(f'EinsumDense "{self.name}": bias_axes={self.bias_axes!r} are not all in the output'
                             f" {out!r}.")
        first = min(out.index(letter) for letter in self.bias_axes)
        return tuple(named[a] if a in self.bias_axes else 1 for a in out[first:]) + (1,) * trailing

    def call(self, inputs, training=None):
        if not self._inner:
            y = ops.einsum(self.equation, inputs, self.kernel)
            return activated(self.activation, y if self.bias is None else ops.add(y, self.bias))
        lead, shape = inputs.shape[:-self._inner], self.kernel.shape
        k, rest = math.prod(shape[:self._inner]), shape[self._inner:]
        fused = FUSED.get(self.activation)
        y = ops.dense(inputs if self._inner == 1 else ops.reshape(inputs, (*lead, k)),
                      self.kernel if len(shape) == 2 else ops.reshape(self.kernel, (k, math.prod(rest))),
                      self.bias if self.bias is None or len(rest) == 1 else ops.reshape(self.bias, (-1,)), fused)
        if len(rest) != 1:
            y = ops.reshape(y, (*lead, *rest))
        return y if fused else activated(self.activation, y)

    def get_config(self):
        return {**super().get_config(), **self._arguments(
            "equation", "activation", "bias_axes", "kernel_initializer", "bias_initializer", "kernel_regularizer",
            "bias_regularizer", "kernel_constraint", "bias_constraint"), "output_shape": self.partial_output_shape}
