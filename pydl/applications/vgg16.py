"""VGG16 (Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015)."""

from __future__ import annotations

from pydl import layers
from pydl.applications import _common, imagenet_utils
from pydl.applications.imagenet_utils import decode_predictions

__all__ = ["VGG16", "decode_predictions", "preprocess_input"]


def preprocess_input(x, data_format=None):
    """Pixels 0 .. 255 as VGG expects them: channels blue, green, red, minus the means of ImageNet."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="caffe")


def VGG16(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
          classifier_activation="softmax", name="vgg16"):
    """VGG16: 13 convolutions 3 x 3 in five blocks, three dense layers; 138,357,544 parameters (table 1, column D).

    Args:
        include_top: whether the three dense layers are part of the model.
        weights: None (random), "imagenet" (downloaded once), or the path of a weights file.
        input_tensor: symbolic tensor to use as input.
        input_shape: shape of one image, at least 32 x 32; 224 x 224 x 3 with the classifier, any size without it,
            when None.
        pooling: without the classifier: None (feature maps), "avg" or "max" (a vector per image).
        classes: number of classes.
        classifier_activation: of the last layer; None for logits.
        name: of the model.

    Raises:
        ValueError: for arguments that do not fit together, or a weights file of another network.
    """
    return vgg((2, 2, 3, 3, 3), include_top, weights, input_tensor, input_shape, pooling, classes,
               classifier_activation, name,
               origins=("vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5",
                        "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
               hashes=("64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"))


def vgg(convolutions, include_top, weights, input_tensor, input_shape, pooling, classes, classifier_activation, name,
        origins, hashes):
    """A network of the family.

    Args:
        convolutions: how many each of the five blocks has.
        origins, hashes: of the published weights, with and without the classifier.
    """
    _common.check_weights(weights, include_top, classes)
    x = img_input = _common.image_input(input_tensor, input_shape, include_top, weights)
    for block, (count, filters) in enumerate(zip(convolutions, (64, 128, 256, 512, 512)), start=1):
        for i in range(1, count + 1):
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"block{block}_conv{i}")(x)
        x = layers.MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        for i in (1, 2):
            x = layers.Dense(4096, activation="relu", name=f"fc{i}")(x)
        x = _common.classifier(x, classes, classifier_activation, weights)
    else:
        x = _common.pooled(x, pooling)
    which = 0 if include_top else 1
    return _common.finish(img_input, x, name, weights, origins[which], hashes[which])
