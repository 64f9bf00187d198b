"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, "Gradient-Based Learning Applied to Document Recognition", 1998)."""

from __future__ import annotations

import numpy as np

from pydl import config, layers
from pydl.applications import _common
from pydl.layers.lenet import DigitBitmaps, MAPCriterion, digit_bitmaps
from pydl.models import Functional

__all__ = ["LeNet5", "MAPCriterion", "digit_bitmaps", "preprocess_input"]

# Table I: which of the six maps of S2 each of the sixteen maps of C3 sees. Six see three neighbours, six see four,
# three see two pairs, the last one sees all: each map is forced to find something else, and the symmetry is broken.
C3_TABLE = (*([(i + k) % 6 for k in range(3)] for i in range(6)), *([(i + k) % 6 for k in range(4)] for i in range(6)),
            *([i, i + 1, i + 3, (i + 4) % 6] for i in range(3)), list(range(6)))

SHIPPED = {"modern": "lenet5_mnist.weights.h5", "1998": "lenet5_1998_mnist.weights.h5"}


def preprocess_input(x, data_format=None):
    """Images of ink on empty ground as LeNet-5 expects them.

    Args:
        x: (batch, 28, 28) or (batch, 28, 28, 1) array of values 0 (ground) .. 255 (ink), as `datasets.mnist` gives.

    Returns:
        (batch, 28, 28, 1) array of `config.floatx()` with values 0 .. 1; (batch, 1, 28, 28) for "channels_first".
    """
    x = np.asarray(x, config.floatx()) / 255
    if x.ndim == 3:
        x = np.expand_dims(x, 1 if (data_format or config.image_data_format()) == "channels_first" else 3)
    return x


def LeNet5(include_top=True, weights=None, input_tensor=None, input_shape=None, pooling=None, classes=10,
           classifier_activation="softmax", name="lenet5", variant="modern", activation="relu", subsampling="max"):
    """LeNet-5, the network that read the digits of cheques.

    `variant="modern"` is the form most courses teach: convolution 6 @ 5 x 5 with padding, pooling, convolution
    16 @ 5 x 5, pooling, dense 120, 84, classes; 61,706 parameters. ReLU and max pooling are the default because they
    train faster and err less; `activation="tanh", subsampling="average"` is nearer to the paper.

    `variant="1998"` is the network as published: 60,000 trained parameters, 1.7159 tanh(2x / 3) everywhere,
    sub-sampling with a trained coefficient and bias, the sparse table between S2 and C3, and as output minus the
    squared distances to the drawn digits, so that argmax is the prediction. Compile it with `MAPCriterion()`. Pixels
    0 .. 1 become -0.1 .. 1.175 and the frame is widened to 32 x 32 inside the network. Weights begin as in LeCun et
    al., "Efficient BackProp" (uniform, variance 1 / fan-in).

    Args:
        include_top: whether the dense layers are part of the model; without them S4, the second pooling, is the end.
        weights: None (random), "mnist" (trained on its 60,000 images, shipped), or the path of a weights file.
        input_tensor: symbolic tensor to use as input.
        input_shape: shape of one image, 28 x 28 x 1 when None; pixels 0 (ground) .. 1 (ink), see `preprocess_input`.
        pooling: without the dense layers: None (feature maps), "avg" or "max" (a vector per image).
        classes: number of classes; the variant of 1998 has its ten digits.
        classifier_activation: of the last layer of the modern variant; None for logits.
        name: of the model.
        variant: "modern" or "1998".
        activation, subsampling: "relu", "tanh" ... and "max" or "average", of the modern variant.

    Raises:
        ValueError: for arguments that do not fit together, or a weights file of another network.
    """
    if variant not in SHIPPED:
        raise ValueError(f"Expected `variant` to be one of {sorted(SHIPPED)}. Received: variant={variant!r}.")
    _common.check_weights(weights, include_top, classes, published="mnist", published_classes=10)
    default = (1, 28, 28) if config.image_data_format() == "channels_first" else (28, 28, 1)
    if weights == "mnist" and (*(input_shape or default), activation, subsampling) != (*default, "relu", "max"):
        raise ValueError(f"The weights of MNIST are for images of shape {default}, activation 'relu' and subsampling"
                         f" 'max'. Received: input_shape={input_shape}, activation={activation!r},"
                         f" subsampling={subsampling!r}.")
    img_input = layers.Input(shape=input_shape or default) if input_tensor is None else _common.symbolic(input_tensor)
    complete = include_top or weights == "mnist"
    if variant == "1998":
        features, output = _published(img_input, complete, classes)
    else:
        features, output = _modern(img_input, complete, classes, classifier_activation, activation, subsampling)
    inputs = _common.source(img_input)
    if weights == "mnist":
        from importlib import resources

        shipped = resources.files("pydl.applications").joinpath("weights", SHIPPED[variant])
        with resources.as_file(shipped) as path:
            Functional(inputs, output).load_weights(path)
    model = Functional(inputs, output if include_top else _common.pooled(features, pooling), name=name)
    if weights not in (None, "mnist"):
        model.load_weights(weights)
    return model


def _modern(x, complete, classes, classifier_activation, activation, subsampling):
    """(feature maps, class scores or None)."""
    if subsampling not in ("max", "average"):
        raise ValueError(f"Expected `subsampling` to be 'max' or 'average'. Received: subsampling={subsampling!r}.")
    pool = layers.MaxPooling2D if subsampling == "max" else layers.AveragePooling2D
    x = layers.Conv2D(6, 5, padding="same", activation=activation, name="conv1")(x)
    x = pool(2, name="pool1")(x)
    x = layers.Conv2D(16, 5, activation=activation, name="conv2")(x)
    features = pool(2, name="pool2")(x)
    if not complete:
        return features, None
    x = layers.Flatten(name="flatten")(features)
    x = layers.Dense(120, activation=activation, name="fc1")(x)
    x = layers.Dense(84, activation=activation, name="fc2")(x)
    return features, _common.classifier(x, classes, classifier_activation, None)


def _published(x, complete, classes):
    """(feature maps, minus distances to the digits or None)."""
    x = layers.ZeroPadding2D(2, name="frame")(x)
    x = layers.Rescaling(1.275, -0.1, name="scale")(x)  # mean about 0, variance about 1 (section II.B)
    x = layers.Conv2D(6, 5, activation="scaled_tanh", kernel_initializer="lecun_uniform", name="C1")(x)
    x = layers.SubSampling2D(2, activation="scaled_tanh", name="S2")(x)
    x = layers.SparseTableConv2D(C3_TABLE, 5, activation="scaled_tanh", name="C3")(x)
    features = layers.SubSampling2D(2, activation="scaled_tanh", name="S4")(x)
    if not complete:
        return features, None
    if classes != 10:
        raise ValueError(f"LeNet-5 of 1998 knows ten digits, drawn in its output layer. Received: classes={classes}.")
    x = layers.Conv2D(120, 5, activation="scaled_tanh", kernel_initializer="lecun_uniform", name="C5")(features)
    if None in x.shape[1:] or np.prod(x.shape[1:]) != 120:
        raise ValueError("LeNet-5 of 1998 with its top takes images of 28 x 28, for which C5 is one unit high and wide;"
                         f" here C5 is {x.shape[1:]}.")
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(84, activation="scaled_tanh", kernel_initializer="lecun_uniform", name="F6")(x)
    return features, layers.RBF(10, DigitBitmaps(), trainable=False, name="output")(x)
