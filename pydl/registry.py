"""Names <-> classes, objects <-> plain dicts (Keras 3's serialisation form), automatic names.

A config is data: deserialising looks names up in the table below and never imports or runs code a file names.
"""

from __future__ import annotations

import inspect
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

_Registered = TypeVar("_Registered")

_registered: dict[str, Any] = {}  # "package>Name" -> class or function of the user
_registered_names: dict[Any, str] = {}
_builtins: dict[str, Any] = {}  # "keras.layers>Dense" -> ours
_builtin_modules: dict[Any, str] = {}
_counts: dict[str, Iterator[int]] = {}


class _Scopes(threading.local):
    """The scopes that a thread is in, from the outermost."""

    def __init__(self) -> None:
        self.stack: list[dict[str, Any]] = []


_scopes = _Scopes()


def to_snake_case(name: str) -> str:
    """"BatchNormalization" -> "batch_normalization"."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(prefix: str) -> str:
    """"dense", then "dense_1", ... until `reset_names`."""
    count = next(_counts.setdefault(prefix, itertools.count()))
    return prefix if count == 0 else f"{prefix}_{count}"


def reset_names() -> None:
    _counts.clear()


def builtin(module: str) -> Callable[[type[_Registered]], type[_Registered]]:
    """Class decorator: makes a class of ours known under Keras's public module path, e.g. "keras.layers"."""

    def enter(cls: type[_Registered]) -> type[_Registered]:
        _builtins[f"{module}>{cls.__name__}"] = cls
        _builtin_modules[cls] = module
        return cls

    return enter


def register_keras_serializable(package: str = "Custom",
                                name: str | None = None) -> Callable[[_Registered], _Registered]:
    """Decorator: makes a class or function of the user loadable from files as "package>name"."""

    def enter(obj: Any) -> Any:
        if inspect.isclass(obj) and not hasattr(obj, "get_config"):
            raise ValueError("Cannot register a class that does not have a get_config() method.")
        full = f"{package}>{name or obj.__name__}"
        _registered[full] = obj
        _registered_names[obj] = full
        return obj

    return enter


def get_registered_name(obj: Any) -> str:
    return _registered_names.get(obj) or str(obj.__name__)


def get_registered_object(name: str, custom_objects: dict[str, Any] | None = None,
                          module_objects: dict[str, Any] | None = None) -> Any:
    """The class or function registered as `name`, or None."""
    for table in (custom_objects or {}, *reversed(_scope_stack()), _registered, module_objects or {}):
        if name in table:
            return table[name]
    return None


def get_custom_objects() -> dict[str, Any]:
    """The table of user registrations itself; entries may be added."""
    return _registered


def _scope_stack() -> list[dict[str, Any]]:
    return _scopes.stack


class CustomObjectScope:
    """Context: names in the given dict(s) are known to deserialisation inside."""

    def __init__(self, *custom_objects: dict[str, Any] | None) -> None:
        self._objects: dict[str, Any] = {}
        for objects in custom_objects:
            self._objects.update(objects or {})

    def __enter__(self) -> CustomObjectScope:
        _scope_stack().append(self._objects)
        return self

    def __exit__(self, *_: object) -> None:
        _scope_stack().pop()


custom_object_scope = CustomObjectScope


def serialize_keras_object(obj: Any) -> Any:
    """The plain form of a layer, optimizer, loss ... or of a structure of them, as Keras 3 writes it to config.json."""
    if obj is None or isinstance(obj, (str, bool, int, float)):
        return obj
    if isinstance(obj, (list, tuple)):
        items = [serialize_keras_object(item) for item in obj]
        return tuple(items) if isinstance(obj, tuple) else items
    if isinstance(obj, dict):
        return {key: serialize_keras_object(value) for key, value in obj.items()}
    if isinstance(obj, slice):
        return {"class_name": "__slice__", "config": {k: serialize_keras_object(getattr(obj, k))
                                                      for k in ("start", "stop", "step")}}
    if obj is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(obj, bytes):
        return {"class_name": "__bytes__", "config": {"value": obj.decode("utf-8")}}
    if isinstance(obj, np.generic):
        return obj.item()
    if isinstance(obj, np.ndarray):
        return {"class_name": "__numpy__", "config": {"value": obj.tolist(), "dtype": obj.dtype.name}}
    if hasattr(obj, "keras_tensor_config"):
        return obj.keras_tensor_config()
    if type(obj).__module__ == "pydl.tensor":
        return {"class_name": "__tensor__", "config": {"value": obj.numpy().tolist(), "dtype": obj.dtype}}
    if inspect.isfunction(obj) and obj.__name__ == "<lambda>":
        raise ValueError("A lambda cannot be saved: a model file never contains code. Give the function a name and"
                         " register it with register_keras_serializable.")
    if inspect.isfunction(obj) or inspect.isbuiltin(obj):
        return {"module": "builtins", "class_name": "function", "config": obj.__name__,
                "registered_name": _registered_names.get(obj, "function")}
    if not hasattr(obj, "get_config"):
        raise TypeError(f"Cannot serialize {obj!r} of type {type(obj).__name__}: it has no get_config().")
    cls = type(obj)
    plain = {"module": _builtin_modules.get(cls), "class_name": cls.__name__,
             "config": _serialize_dict(obj.get_config()), "registered_name": None}
    if cls in _registered_names:
        plain["registered_name"] = _registered_names[cls]
    elif cls not in _builtin_modules:
        plain["module"], plain["registered_name"] = cls.__module__, cls.__name__
    if hasattr(obj, "get_build_config"):
        build = obj.get_build_config()
        if build is not None:
            plain["build_config"] = _serialize_dict(build)
    if hasattr(obj, "get_compile_config"):
        compiled = obj.get_compile_config()
        if compiled is not None:
            plain["compile_config"] = _serialize_dict(compiled)
    return plain


def _serialize_dict(config: dict[str, Any]) -> dict[str, Any]:
    return {key: serialize_keras_object(value) for key, value in config.items()}


def deserialize_keras_object(config: Any, custom_objects: dict[str, Any] | None = None, safe_mode: bool = True,
                             **kwargs: Any) -> Any:
    """The inverse of `serialize_keras_object`.

    Raises:
        ValueError: for a class that is neither ours nor registered nor in `custom_objects`.
    """
    if isinstance(config, (list, tuple)):
        return type(config)(deserialize_keras_object(item, custom_objects) for item in config)
    if not isinstance(config, dict):
        return config
    if "class_name" not in config or "config" not in config:
        return {key: deserialize_keras_object(value, custom_objects) for key, value in config.items()}
    name, inner = config["class_name"], config["config"]
    if name == "__numpy__":
        return np.array(inner["value"], dtype=inner["dtype"])
    if name == "__tensor__":
        from pydl.tensor import from_numpy

        return from_numpy(np.array(inner["value"], dtype=inner["dtype"]))
    if name == "__slice__":
        return slice(*(deserialize_keras_object(inner[k]) for k in ("start", "stop", "step")))
    if name == "__ellipsis__":
        return Ellipsis
    if name == "__bytes__":
        return inner["value"].encode("utf-8")
    if name == "__lambda__":
        raise ValueError("The file contains a Python lambda as byte code. pydl never runs code from a file: rebuild the"
                         " model in Python with a named, registered function and load its weights.")
    if name == "function":
        return _find(config, inner, custom_objects)
    if name == "DTypePolicy":
        return inner["name"]
    cls = _find(config, name, custom_objects)
    if not isinstance(cls, type):
        raise ValueError(f"Cannot deserialize '{name}': it names {cls!r}, which is not a class.")
    with CustomObjectScope(custom_objects):
        obj = cls.from_config({**inner})  # type: ignore[attr-defined]  # looked up by name
        build = config.get("build_config")
        if build and hasattr(obj, "build_from_config") and not getattr(obj, "built", False):
            obj.build_from_config(build)
        compiled = config.get("compile_config")
        if compiled and hasattr(obj, "compile_from_config"):
            obj.compile_from_config(compiled)
    return obj


def _find(config: dict[str, Any], name: Any, custom_objects: dict[str, Any] | None) -> Any:
    for key in (config.get("registered_name"), name):
        found = get_registered_object(key, custom_objects) if key else None
        if found is not None:
            return found
    module = config.get("module") or ""
    found = _builtins.get(f"{module}>{name}")
    if found is None and (module.startswith("keras") or module == "builtins"):
        # Keras moves classes between internal modules; the class name decides.
        by_name = [cls for key, cls in _builtins.items() if key.endswith(f">{name}")]
        found = by_name[0] if len(by_name) == 1 else None
    if found is None and config["class_name"] == "function":
        return name  # resolved by the `get` of its field (activations, losses, metrics ...)
    if found is None:
        raise ValueError(f"Unknown class '{name}' (module {module or 'none'}). If it is yours, decorate it with"
                         " @register_keras_serializable() or pass it in `custom_objects`.")
    return found
