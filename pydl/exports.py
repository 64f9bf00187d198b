"""A name is exported because the file that defines it lists it in `__all__`; packages hand on what their files list."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

__all__ = ["gather", "public"]


def gather(package: str, path: Iterable[str], wanted: Callable[[str, str], bool] | None = None) -> dict[str, Any]:
    """What all files of a package list, by name: for packages of many families. Files whose names begin with an
    underscore stay apart.

    Args:
        package: `__name__` of the package.
        path: its `__path__`.
        wanted: function of file and name that tells whether it is handed on; by default all are.

    Raises:
        ImportError: when two files list one name for two things.
    """
    found: dict[str, Any] = {}
    for file in pkgutil.iter_modules(path):
        if file.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{file.name}")
        for name in getattr(module, "__all__", ()):
            if wanted is not None and not wanted(file.name, name):
                continue
            value = getattr(module, name)
            if found.setdefault(name, value) is not value:
                raise ImportError(f"{module.__name__} lists {name!r}, as another file of {package} does for another"
                                  " thing.")
    return found


def public(namespace: dict[str, Any]) -> list[str]:
    """What a package that imports its files' names (`from file import *`) hands on: all public names but modules."""
    return sorted(name for name, value in namespace.items()
                  if not name.startswith("_") and name != "annotations" and not isinstance(value, ModuleType))
