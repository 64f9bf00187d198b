"""pydl: deep learning on CPUs. `import pydl as keras` runs a script that was written for Keras 3."""

import functools
import importlib
import types

from pydl import autograd, config, ops, tree
from pydl.autograd import GradientTape, grad, no_grad
from pydl.config import __version__
from pydl.ops import _operators
from pydl.program import RecordedFunction, function
from pydl.symbolic import KerasTensor
from pydl.tensor import RecordingError, Tensor, Variable, name_scope
from pydl.watch import rerecord

_operators.install()

from pydl import (  # noqa: E402
    activations,
    backend,
    callbacks,
    constraints,
    dtype_policies,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    random,
    regularizers,
)
from pydl.dtype_policies import DTypePolicy, FloatDTypePolicy  # noqa: E402
from pydl.initializers import Initializer  # noqa: E402
from pydl.layers.base import Layer  # noqa: E402
from pydl.layers.core import Input  # noqa: E402
from pydl.layers.input_spec import InputSpec  # noqa: E402
from pydl.losses import Loss  # noqa: E402
from pydl.metrics import Metric  # noqa: E402
from pydl.models import Functional, Model, Sequential  # noqa: E402
from pydl.optimizers import Optimizer  # noqa: E402
from pydl.regularizers import Regularizer  # noqa: E402

# Keras has them in `config` too, which stands below the policies.
config.dtype_policy = dtype_policies.dtype_policy  # type: ignore[attr-defined]
config.set_dtype_policy = dtype_policies.set_dtype_policy  # type: ignore[attr-defined]


def version() -> str:
    """The version of pydl."""
    return __version__


__all__ = [  # written down: to a type checker an import alone is private
    "DTypePolicy", "FloatDTypePolicy", "Functional", "GradientTape", "Initializer", "Input", "InputSpec",
    "KerasTensor", "Layer", "Loss", "Metric", "Model", "Optimizer", "RecordedFunction", "RecordingError",
    "Regularizer", "Sequential", "Tensor", "Variable", "__version__", "activations", "autograd", "backend",
    "callbacks", "config", "constraints", "dtype_policies", "function", "grad", "initializers", "layers", "losses",
    "metrics", "models", "name_scope", "no_grad", "ops", "optimizers", "random", "regularizers", "rerecord", "tree",
    "version",
]

_LATE = ("applications", "datasets", "estimators", "inspection", "preprocessing", "saving", "tuner", "utils")


def __getattr__(name):
    """Rooms that most programs do not need are imported at first use."""
    if name in _LATE:
        return importlib.import_module(f"pydl.{name}")
    raise AttributeError(f"module 'pydl' has no attribute {name!r}")


def __dir__():
    return sorted([*__all__, *_LATE])


for _room in (*(globals()[_name] for _name in __all__), optimizers.schedules):
    if isinstance(_room, types.ModuleType) and hasattr(_room, "__all__"):
        vars(_room)["__dir__"] = functools.partial(sorted, _room.__all__)  # tab completion shows public names
