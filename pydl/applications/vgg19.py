"""VGG19 (Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015)."""

from __future__ import annotations

from pydl.applications.vgg16 import decode_predictions, preprocess_input, vgg

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]


def VGG19(include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None, classes=1000,
          classifier_activation="softmax", name="vgg19"):
    """VGG19: 16 convolutions and three dense layers; 143,667,240 parameters (table 1, column E).

    The arguments, and the errors, are those of `vgg16.VGG16`.
    """
    return vgg((2, 2, 4, 4, 4), include_top, weights, input_tensor, input_shape, pooling, classes,
               classifier_activation, name,
               origins=("vgg19/vgg19_weights_tf_dim_ordering_tf_kernels.h5",
                        "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"),
               hashes=("cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"))
