"""Rows of the convolution layers, on the oracles of the ops."""

from __future__ import annotations

from cases.convolution import np_conv, np_conv_transpose
from cases.depthwise import np_depthwise, np_separable
from harness import LayerCase, normal

STEPS, IMAGE, VOLUME = normal(2, 11, 4), normal(2, 9, 8, 6), normal(2, 5, 4, 6, 3)
# What an oracle takes of a layer's arguments, under the same names.
OPTIONS = ("strides", "padding", "dilation_rate", "activation", "data_format", "output_padding")


def row(name, reference, x, tag="", finish=lambda y: y, rtol_eps=64, **args):
    options = {k: v for k, v in args.items() if k in OPTIONS and not (k == "activation" and v == "softsign")}
    return LayerCase(name, lambda w, x: finish(reference(x, *w, **options)), (x,), args, tag=tag, rtol_eps=rtol_eps)


CASES = [
    row("Conv1D", np_conv, STEPS, filters=5, kernel_size=3),
    row("Conv1D", np_conv, STEPS, "causal", filters=6, kernel_size=(4,), padding="causal", dilation_rate=2, groups=2,
        activation="relu"),
    row("Conv2D", np_conv, IMAGE, filters=7, kernel_size=3, activation="relu", kernel_regularizer="l2",
        kernel_initializer="he_normal", bias_constraint="non_neg"),
    row("Conv2D", np_conv, IMAGE, "same", filters=16, kernel_size=(3, 2), strides=2, padding="same", use_bias=False,
        activation="tanh"),
    row("Conv2D", np_conv, IMAGE, "stride", filters=3, kernel_size=2, strides=(3, 4), activation="sigmoid"),
    row("Conv2D", np_conv, IMAGE, "dilation", filters=3, kernel_size=(2, 3), dilation_rate=(3, 2), padding="same"),
    row("Conv2D", np_conv, IMAGE, "groups", filters=9, kernel_size=3, groups=3, padding="same"),
    row("Conv2D", np_conv, IMAGE, "1x1", filters=17, kernel_size=1),
    row("Conv2D", np_conv, IMAGE, "softsign", lambda y: y / (1 + abs(y)), filters=3, kernel_size=3,
        activation="softsign"),
    row("Conv2D", np_conv, normal(2, 6, 9, 8), "channels_first", filters=5, kernel_size=3, strides=2, padding="same",
        data_format="channels_first", activation="relu"),
    row("Conv3D", np_conv, VOLUME, filters=4, kernel_size=(2, 3, 2), strides=(1, 1, 2), padding="same"),
    row("Conv1DTranspose", np_conv_transpose, STEPS, filters=5, kernel_size=3, strides=2),
    row("Conv2DTranspose", np_conv_transpose, IMAGE, filters=5, kernel_size=3, strides=2, padding="same",
        activation="relu"),
    row("Conv2DTranspose", np_conv_transpose, IMAGE, "output_padding", filters=5, kernel_size=(3, 4), strides=(2, 3),
        padding="same", output_padding=1, use_bias=False),
    row("Conv2DTranspose", np_conv_transpose, IMAGE, "dilation", filters=3, kernel_size=2, dilation_rate=2),
    row("Conv2DTranspose", np_conv_transpose, normal(2, 3, 5, 6), "channels_first", filters=4, kernel_size=3, strides=2,
        data_format="channels_first"),
    row("Conv3DTranspose", np_conv_transpose, VOLUME, filters=2, kernel_size=2, strides=(2, 1, 2)),
    row("DepthwiseConv1D", np_depthwise, STEPS, kernel_size=3, padding="same", depth_multiplier=2),
    row("DepthwiseConv2D", np_depthwise, IMAGE, kernel_size=3, strides=2, padding="same", activation="relu",
        depthwise_regularizer="l2", depthwise_initializer="he_normal", bias_constraint="non_neg"),
    row("DepthwiseConv2D", np_depthwise, IMAGE, "dilation", kernel_size=(2, 3), dilation_rate=2, use_bias=False),
    row("DepthwiseConv2D", np_depthwise, normal(2, 6, 9, 8), "channels_first", kernel_size=3, depth_multiplier=2,
        data_format="channels_first", activation="sigmoid"),
    row("SeparableConv1D", np_separable, STEPS, filters=5, kernel_size=3, dilation_rate=2, activation="tanh"),
    row("SeparableConv2D", np_separable, IMAGE, filters=7, kernel_size=3, strides=2, padding="same", depth_multiplier=2,
        activation="relu", pointwise_initializer="he_normal", depthwise_constraint="non_neg"),
    row("SeparableConv2D", np_separable, normal(2, 6, 9, 8), "channels_first", filters=3, kernel_size=2,
        data_format="channels_first", use_bias=False),
]
