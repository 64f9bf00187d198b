"""pydl: deep learning on CPUs. `import pydl as keras` runs a script that was written for Keras 3."""

import importlib

from pydl import _core, autograd, config, ops, tree
from pydl.autograd import GradientTape, grad, no_grad
from pydl.config import __version__
from pydl.ops import _operators
from pydl.program import RecordedFunction, function
from pydl.symbolic import KerasTensor
from pydl.tensor import RecordingError, Tensor, Variable, name_scope

_operators.install()

__all__ = ["GradientTape", "KerasTensor", "RecordedFunction", "RecordingError", "Tensor", "Variable", "__version__",
           "autograd", "config", "function", "grad", "name_scope", "no_grad", "ops", "tree"]


def __getattr__(name):
    """Rooms that most programs do not need are imported at first use."""
    if name in ("datasets", "random", "utils"):
        return importlib.import_module(f"pydl.{name}")
    raise AttributeError(f"module 'pydl' has no attribute {name!r}")
