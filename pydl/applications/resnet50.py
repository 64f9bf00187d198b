"""ResNet50 under the module name that Keras gives it."""

from pydl.applications.resnet import ResNet50, decode_predictions, preprocess_input

__all__ = ["ResNet50", "decode_predictions", "preprocess_input"]
