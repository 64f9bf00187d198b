"""pydl: deep learning on CPUs. `import pydl as keras` runs a script that was written for Keras 3."""

import importlib

from pydl import autograd, config, ops, tree
from pydl.autograd import GradientTape, grad, no_grad
from pydl.config import __version__
from pydl.ops import _operators
from pydl.program import RecordedFunction, function
from pydl.symbolic import KerasTensor
from pydl.tensor import RecordingError, Tensor, Variable, name_scope

_operators.install()

from pydl import (  # noqa: E402
    activations,
    backend,
    callbacks,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    random,
    regularizers,
)
from pydl.layers.base import InputSpec, Layer  # noqa: E402
from pydl.layers.core import Input  # noqa: E402
from pydl.models import Functional, Model, Sequential  # noqa: E402

__all__ = [
    "Functional", "GradientTape", "Input", "InputSpec", "KerasTensor", "Layer", "Model", "RecordedFunction",
    "RecordingError", "Sequential", "Tensor", "Variable", "__version__", "activations", "autograd", "backend",
    "callbacks", "config", "constraints", "function", "grad", "initializers", "layers", "losses", "metrics", "models",
    "name_scope", "no_grad", "ops", "optimizers", "random", "regularizers", "tree",
]

_LATE = ("applications", "datasets", "preprocessing", "saving", "utils")


def __getattr__(name):
    """Rooms that most programs do not need are imported at first use."""
    if name in _LATE:
        return importlib.import_module(f"pydl.{name}")
    raise AttributeError(f"module 'pydl' has no attribute {name!r}")


def __dir__():
    return sorted([*__all__, *_LATE])
