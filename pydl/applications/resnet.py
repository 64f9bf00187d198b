"""ResNet50, 101 and 152 (He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", 2016)."""

from __future__ import annotations

from pydl import layers
from pydl.applications import _common, imagenet_utils
from pydl.applications.imagenet_utils import decode_predictions

__all__ = ["ResNet101", "ResNet152", "ResNet50", "decode_predictions", "preprocess_input"]

# MD5 of the published weights, with and without the classifier.
HASHES = {
    "resnet50": ("2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": ("f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": ("100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "resnet50v2": ("3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"),
    "resnet101v2": ("6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "resnet152v2": ("a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33"),
}


def preprocess_input(x, data_format=None):
    """Pixels 0 .. 255 as ResNet expects them: channels blue, green, red, minus the means of ImageNet."""
    return imagenet_utils.preprocess_input(x, data_format=data_format, mode="caffe")


def ResNet50(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
             classifier_activation="softmax", name="resnet50"):
    """ResNet50: 16 residual blocks of three convolutions; 25,636,712 parameters.

    Args:
        include_top: whether global pooling and the dense layer are part of the model.
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
    return resnet("resnet50", (3, 4, 6, 3), _stack, include_top, weights, input_tensor, input_shape, pooling, classes,
                  classifier_activation, name)


def ResNet101(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
              classifier_activation="softmax", name="resnet101"):
    """ResNet101: 33 residual blocks; arguments as of `ResNet50`."""
    return resnet("resnet101", (3, 4, 23, 3), _stack, include_top, weights, input_tensor, input_shape, pooling,
                  classes, classifier_activation, name)


def ResNet152(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
              classifier_activation="softmax", name="resnet152"):
    """ResNet152: 50 residual blocks; arguments as of `ResNet50`."""
    return resnet("resnet152", (3, 8, 36, 3), _stack, include_top, weights, input_tensor, input_shape, pooling,
                  classes, classifier_activation, name)


def resnet(published, blocks, stack, include_top, weights, input_tensor, input_shape, pooling, classes,
           classifier_activation, name, preactivation=False):
    """A network of the family.

    Args:
        published: key of `HASHES`.
        blocks: how many each of the four stages has.
        stack: `stack(x, filters, blocks, stage, name)`, the residual blocks of a stage.
        preactivation: normalise before each convolution (version 2) instead of after it.
    """
    _common.check_weights(weights, include_top, classes)
    img_input = _common.image_input(input_tensor, input_shape, include_top, weights)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(img_input)
    x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    if not preactivation:
        x = normalized(x, "conv1_bn", "conv1_relu")
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, (count, filters) in enumerate(zip(blocks, (64, 128, 256, 512))):
        x = stack(x, filters, count, stage, f"conv{stage + 2}")
    if preactivation:
        x = normalized(x, "post_bn", "post_relu")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = _common.classifier(x, classes, classifier_activation, weights)
    else:
        x = _common.pooled(x, pooling, names=("avg_pool", "max_pool"))
    top = "" if include_top else "_notop"
    return _common.finish(img_input, x, name, weights,
                          f"resnet/{published}_weights_tf_dim_ordering_tf_kernels{top}.h5",
                          HASHES[published][0 if include_top else 1])


def normalized(x, name, relu=None):
    """Batch normalisation, followed by a ReLU when `relu` names one."""
    x = layers.BatchNormalization(axis=_common.channel_axis(), epsilon=1.001e-5, name=name)(x)
    return x if relu is None else layers.Activation("relu", name=relu)(x)


def _stack(x, filters, blocks, stage, name):
    """The first block halves height and width (but in the first stage) and widens; the others keep the shape."""
    for i in range(1, blocks + 1):
        x = _block(x, filters, 2 if i == 1 and stage > 0 else 1, i == 1, f"{name}_block{i}")
    return x


def _block(x, filters, stride, widen, name):
    """relu(shortcut + convolutions 1 x 1, 3 x 3, 1 x 1), (batch, h, w, c) -> (batch, h/stride, w/stride, 4 filters)."""
    shortcut = x
    if widen:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = normalized(shortcut, f"{name}_0_bn")
    x = layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = normalized(x, f"{name}_1_bn", f"{name}_1_relu")
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = normalized(x, f"{name}_2_bn", f"{name}_2_relu")
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = normalized(x, f"{name}_3_bn")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)
