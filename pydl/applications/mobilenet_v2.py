"""MobileNetV2 (Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018)."""

from __future__ import annotations

from pydl import config, layers
from pydl.applications import _common, imagenet_utils
from pydl.applications.imagenet_utils import decode_predictions
from pydl.warning import warn

__all__ = ["MobileNetV2", "decode_predictions", "preprocess_input"]

SIZES = (96, 128, 160, 192, 224)  # of images, for which weights were published
WIDTHS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)

# Table 2 of the paper: (filters, strides of the blocks) of each stage; the first does not expand.
STAGES = ((16, (1,)), (24, (2, 1)), (32, (2, 1, 1)), (64, (2, 1, 1, 1)), (96, (1, 1, 1)), (160, (2, 1, 1)), (320, (1,)))


def preprocess_input(x, data_format=None):
    """Pixels 0 .. 255 scaled to -1 .. 1."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="tf")


def MobileNetV2(input_shape=None, alpha=1.0, include_top=True, weights="imagenet", input_tensor=None, pooling=None,
                classes=1000, classifier_activation="softmax", name=None):
    """MobileNetV2: 17 blocks that expand 1 x 1, filter 3 x 3 in each channel, and project 1 x 1; 3,538,984 parameters.

    Args:
        input_shape: shape of one image, at least 32 x 32; 224 x 224 x 3 with the classifier, any size without it,
            when None.
        alpha: factor of the number of filters.
        include_top: whether global pooling and the dense layer are part of the model.
        weights: None (random), "imagenet" (downloaded once), or the path of a weights file.
        input_tensor: symbolic tensor to use as input.
        pooling: without the classifier: None (feature maps), "avg" or "max" (a vector per image).
        classes: number of classes.
        classifier_activation: of the last layer; None for logits.
        name: of the model; made of width and size when None.

    Raises:
        ValueError: for arguments that do not fit together, or a weights file of another network.
    """
    _common.check_weights(weights, include_top, classes)
    if weights == "imagenet" and alpha not in WIDTHS:
        raise ValueError(f"With weights='imagenet', expected `alpha` to be one of {WIDTHS}. Received: alpha={alpha}.")
    given = input_shape or getattr(input_tensor, "shape", (None,))[1:]
    rows, columns = _height_and_width(given)
    img_input = _common.image_input(input_tensor, input_shape, include_top, weights,
                                    default_size=rows if rows == columns and rows in SIZES else 224)
    rows, columns = _height_and_width(img_input.shape[1:])
    if weights == "imagenet" and (rows != columns or rows not in SIZES):
        warn(f"No weights were published for images of {rows} x {columns}, only for squares of {SIZES}: those"
             " for 224 x 224 are used.")
        rows = 224

    x = layers.Conv2D(divisible(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="Conv1")(img_input)
    x = _normalized(x, "bn_Conv1", "Conv1_relu")
    number = 0
    for filters, strides in STAGES:
        for stride in strides:
            x = _block(x, divisible(int(filters * alpha)), stride, number)
            number += 1
    x = layers.Conv2D(divisible(1280 * max(alpha, 1.0)), 1, use_bias=False, name="Conv_1")(x)
    x = _normalized(x, "Conv_1_bn", "out_relu")
    if include_top:
        x = layers.GlobalAveragePooling2D()(x)
        x = _common.classifier(x, classes, classifier_activation, weights)
    else:
        x = _common.pooled(x, pooling)
    top = "" if include_top else "_no_top"
    return _common.finish(img_input, x, name or f"mobilenetv2_{alpha:0.2f}_{rows}", weights,
                          f"mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(alpha)}_{rows}{top}.h5")


def divisible(filters, divisor=8) -> int:
    """The multiple of `divisor` next to `filters` that is not more than a tenth below it."""
    rounded = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * filters else rounded


def _height_and_width(shape):
    if len(shape) != 3:
        return None, None
    return shape[1:] if config.image_data_format() == "channels_first" else shape[:2]


def _normalized(x, name, relu=None):
    x = layers.BatchNormalization(axis=_common.channel_axis(), epsilon=1e-3, momentum=0.999, name=name)(x)
    return x if relu is None else layers.ReLU(6.0, name=relu)(x)


def _block(inputs, filters, stride, number):
    """An inverted residual: expand six-fold (not in block 0), filter each channel, project to `filters` channels."""
    channels = inputs.shape[_common.channel_axis()]
    prefix = f"block_{number}_" if number else "expanded_conv_"
    x = inputs
    if number:
        x = layers.Conv2D(6 * channels, 1, padding="same", use_bias=False, name=f"{prefix}expand")(x)
        x = _normalized(x, f"{prefix}expand_BN", f"{prefix}expand_relu")
    if stride == 2:  # as TensorFlow's "same": the odd row and column of zeros go to the end
        even = [n is None or n % 2 == 0 for n in _height_and_width(x.shape[1:])]
        x = layers.ZeroPadding2D(tuple((0 if e else 1, 1) for e in even), name=f"{prefix}pad")(x)
    x = layers.DepthwiseConv2D(3, strides=stride, padding="same" if stride == 1 else "valid", use_bias=False,
                               name=f"{prefix}depthwise")(x)
    x = _normalized(x, f"{prefix}depthwise_BN", f"{prefix}depthwise_relu")
    x = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{prefix}project")(x)
    x = _normalized(x, f"{prefix}project_BN")
    return layers.Add(name=f"{prefix}add")([inputs, x]) if channels == filters and stride == 1 else x
