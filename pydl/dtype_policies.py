"""DTypePolicy: Keras's object for "which dtype a layer computes in". pydl computes in the dtype of the variables."""

from __future__ import annotations

from typing import Any

from pydl import config
from pydl.configs import inside
from pydl.registry import builtin
from pydl.tensor import standardize_dtype

__all__ = ["DTypePolicy", "FloatDTypePolicy", "deserialize", "dtype_policy", "get", "serialize", "set_dtype_policy"]


@builtin("keras")
class DTypePolicy:
    """The dtype of a layer's variables and computation.

    Args:
        name: one of `dtypes.FLOATS`; `config.floatx()` by default. "float16" stores variables and results of ops in
            float16; what an op adds up it adds in float32. Policies with two dtypes ("mixed_float16") are refused.
    """

    def __init__(self, name: Any = None) -> None:
        self._name = standardize_dtype(name)

    @property
    def name(self) -> str:
        return self._name

    compute_dtype = variable_dtype = name

    def get_config(self) -> dict[str, str]:
        return {"name": self._name}

    @classmethod
    def from_config(cls, config: dict[str, str]) -> DTypePolicy:
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return bool(self._name == getattr(other, "name", other))

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self._name}">'


FloatDTypePolicy = DTypePolicy


def get(identifier: Any) -> DTypePolicy:
    """The policy of a dtype name, a policy, or the config of one; the default policy for None."""
    if isinstance(identifier, DTypePolicy):
        return identifier
    return deserialize(identifier) if isinstance(identifier, dict) else DTypePolicy(identifier)


def serialize(dtype_policy: Any) -> dict[str, Any]:
    """The plain form of a policy, as configs of layers hold it."""
    return {"module": "keras", "class_name": "DTypePolicy", "config": {"name": get(dtype_policy).name},
            "registered_name": None}


def deserialize(config: dict[str, Any], custom_objects: Any = None) -> DTypePolicy:
    """The inverse of `serialize`."""
    with inside(config):
        return DTypePolicy(**config["config"])


def dtype_policy() -> DTypePolicy:
    """The policy of layers made without `dtype`."""
    return DTypePolicy(config.floatx())


def set_dtype_policy(policy: Any) -> None:
    """Sets the policy of layers made from now on, and with it `config.floatx()`."""
    config.set_floatx(get(policy).name)
