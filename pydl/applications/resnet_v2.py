"""ResNet V2 (He, Zhang, Ren and Sun, "Identity Mappings in Deep Residual Networks", 2016)."""

from __future__ import annotations

from pydl import layers
from pydl.applications import imagenet_utils
from pydl.applications.imagenet_utils import decode_predictions
from pydl.applications.resnet import normalized, resnet

__all__ = ["ResNet101V2", "ResNet152V2", "ResNet50V2", "decode_predictions", "preprocess_input"]


def preprocess_input(x, data_format=None):
    """Pixels 0 .. 255 scaled to -1 .. 1."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="tf")


def ResNet50V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
               classifier_activation="softmax", name="resnet50v2"):
    """ResNet50 with normalisation and ReLU before the convolutions; arguments as of `resnet.ResNet50`."""
    return resnet("resnet50v2", (3, 4, 6, 3), _stack, include_top, weights, input_tensor, input_shape, pooling,
                  classes, classifier_activation, name, preactivation=True)


def ResNet101V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="resnet101v2"):
    """ResNet101 with normalisation and ReLU before the convolutions; arguments as of `resnet.ResNet50`."""
    return resnet("resnet101v2", (3, 4, 23, 3), _stack, include_top, weights, input_tensor, input_shape, pooling,
                  classes, classifier_activation, name, preactivation=True)


def ResNet152V2(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
                classifier_activation="softmax", name="resnet152v2"):
    """ResNet152 with normalisation and ReLU before the convolutions; arguments as of `resnet.ResNet50`."""
    return resnet("resnet152v2", (3, 8, 36, 3), _stack, include_top, weights, input_tensor, input_shape, pooling,
                  classes, classifier_activation, name, preactivation=True)


def _stack(x, filters, blocks, stage, name):
    """The first block widens, the last one halves height and width (but in the last stage)."""
    for i in range(1, blocks + 1):
        x = _block(x, filters, 2 if i == blocks and stage < 3 else 1, i == 1, f"{name}_block{i}")
    return x


def _block(x, filters, stride, widen, name):
    """shortcut + convolutions 1 x 1, 3 x 3, 1 x 1, (batch, h, w, c) -> (batch, h/stride, w/stride, 4 filters)."""
    before = normalized(x, f"{name}_preact_bn", f"{name}_preact_relu")
    if widen:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(before)
    else:
        shortcut = layers.MaxPooling2D(1, strides=stride)(x) if stride > 1 else x
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(before)
    x = normalized(x, f"{name}_1_bn", f"{name}_1_relu")
    x = layers.ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    x = layers.Conv2D(filters, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")(x)
    x = normalized(x, f"{name}_2_bn", f"{name}_2_relu")
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    return layers.Add(name=f"{name}_out")([shortcut, x])
