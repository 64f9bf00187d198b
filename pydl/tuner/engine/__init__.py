"""The rooms of the tuner, under the names of Keras Tuner's."""

from pydl.tuner.engine import (
    base_tuner,
    hypermodel,
    hyperparameters,
    metrics_tracking,
    objective,
    oracle,
    trial,
    tuner,
)

__all__ = ["base_tuner", "hypermodel", "hyperparameters", "metrics_tracking", "objective", "oracle", "trial", "tuner"]
