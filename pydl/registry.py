"""Names <-> classes, objects <-> plain dicts (Keras 3's serialisation form), automatic names.

A config is data: deserialising looks names up in the table below and never imports or runs code a file names.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from pydl.configs import check_from_config, inside, require_arguments
from pydl.dtypes import NAMES

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
        self.replaced: list[tuple[Any, str]] | None = None


@contextlib.contextmanager
def replacements() -> Iterator[list[tuple[Any, str]]]:
    """Context: gives the list of the objects that are made inside of another class than their config names, as
    `custom_objects` or a registration say, each with that name."""
    before, _scopes.replaced = _scopes.replaced, []
    try:
        yield _scopes.replaced
    finally:
        _scopes.replaced = before


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
    """Class decorator: makes a class of ours known under Keras's public module path, e.g. "keras.layers". Errors of its
    `from_config` say where in the config they come from."""

    def enter(cls: type[_Registered]) -> type[_Registered]:
        _builtins[f"{module}>{cls.__name__}"] = cls
        _builtin_modules[cls] = module
        check_from_config(cls)
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


LAMBDA = {"class_name": "__lambda__", "config": {}}  # stands for a lambda in a `get_config`; files hold none


def serialize_keras_object(obj: Any) -> Any:
    """The plain form of a layer, optimizer, loss ... or of a structure of them, as Keras 3 writes it to config.json."""
    if obj is None or isinstance(obj, (str, bool, int, float)):
        return obj
    if isinstance(obj, (list, tuple)):
        items = [serialize_keras_object(item) for item in obj]
        return tuple(items) if isinstance(obj, tuple) else items
    if isinstance(obj, dict):
        if obj.get("class_name") == "__lambda__":
            raise ValueError("A lambda cannot be saved: a model file never contains code. Give the function a name and"
                             " register it with register_keras_serializable.")
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
        return serialize_keras_object(LAMBDA)
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
        ValueError: for a class that is neither ours nor registered nor in `custom_objects`, and for every argument
            that is wrong; the message names its place ("config.layers[3].config.units"). An error of a class of yours
            is its `__cause__`.
    """
    if not isinstance(config, (list, tuple, dict)):
        return config
    with inside(config):
        if not isinstance(config, dict):
            return type(config)(deserialize_keras_object(item, custom_objects) for item in config)
        if "class_name" not in config or "config" not in config:
            return {key: deserialize_keras_object(value, custom_objects) for key, value in config.items()}
        return _deserialize_object(config, custom_objects)


def _deserialize_object(config: dict[str, Any], custom_objects: dict[str, Any] | None) -> Any:
    name, inner = config["class_name"], config["config"]
    for key in ("class_name", "module", "registered_name"):
        if not isinstance(config.get(key), (str, type(None))):
            raise TypeError(f"expected `{key}` to be a name; received {config[key]!r}")
    if name == "function":
        return _find(config, inner, custom_objects)
    if name in _PLAIN:
        return _PLAIN[name](inner)
    if name == "__lambda__":
        raise ValueError("it is a Python lambda, as byte code. pydl never runs code from a file, whatever `safe_mode`"
                         " says: rebuild the model in Python with a named, registered function and load its weights.")
    with inside(inner):
        require_arguments(inner)
    cls = _find(config, name, custom_objects)
    if not isinstance(cls, type):
        raise ValueError(f"Cannot deserialize '{name}': it names {cls!r}, which is not a class.")
    if not hasattr(cls, "from_config"):
        raise TypeError(f"Cannot deserialize '{name}': {cls!r} has no from_config().")
    with CustomObjectScope(custom_objects):
        obj = make(cls, inner)
        if cls.__name__ != name and _scopes.replaced is not None:
            _scopes.replaced.append((obj, name))
        build = config.get("build_config")
        if build and hasattr(obj, "build_from_config") and not getattr(obj, "built", False):
            with inside(build):
                obj.build_from_config(build)
        compiled = config.get("compile_config")
        if compiled and hasattr(obj, "compile_from_config"):
            with inside(compiled):
                obj.compile_from_config(compiled)
    return obj


def make(cls: Any, arguments: Any) -> Any:
    """The object of a class by its `from_config`, which gets a copy of the arguments."""
    with inside(arguments):
        require_arguments(arguments)
        return cls.from_config({**arguments})


def _array(inner: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(inner["dtype"])
    if dtype not in NAMES:  # of others, one element may be declared as gigabytes
        raise ValueError(f"expected one of the dtypes {', '.join(NAMES.values())}; received {inner['dtype']!r}.")
    return np.array(inner["value"], dtype=dtype)


def _tensor(inner: dict[str, Any]) -> Any:
    from pydl.tensor import from_numpy

    return from_numpy(_array(inner))


# What is written as an object and is none of a class of ours.
_PLAIN: dict[str, Callable[[Any], Any]] = {
    "__numpy__": _array,
    "__tensor__": _tensor,
    "__slice__": lambda inner: slice(*(deserialize_keras_object(inner[k]) for k in ("start", "stop", "step"))),
    "__ellipsis__": lambda inner: Ellipsis,
    "__bytes__": lambda inner: inner["value"].encode("utf-8"),
    "DTypePolicy": lambda inner: inner["name"],
}


def given_for(config: dict[str, Any], name: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """What the user has given for the `name` in a config, by that name, by the registered one, or with its module (as
    a layer's `_twin` does); None where there is nothing."""
    for key in (f"{config.get('module') or ''}>{name}", config.get("registered_name"), name):
        found = get_registered_object(key, custom_objects) if key else None
        if found is not None:
            return found
    return None


def _find(config: dict[str, Any], name: Any, custom_objects: dict[str, Any] | None) -> Any:
    if not isinstance(name, str):
        raise TypeError(f"expected the name of a function; received {name!r}")
    module, registered = config.get("module") or "", config.get("registered_name")
    is_function = config["class_name"] == "function"
    found = given_for(config, name, custom_objects)
    if found is not None:
        return found
    if is_function and ">" not in name:  # files of Keras before 3.7 leave out the package
        tables = (custom_objects or {}, *reversed(_scope_stack()), _registered)
        found = next((obj for table in tables for key, obj in table.items() if key.endswith(f">{name}")), None)
        if found is not None:
            return found
    found = _builtins.get(f"{module}>{name}")
    if found is None and (module.startswith("keras") or module == "builtins"):
        # Keras moves classes between internal modules; the class name decides.
        by_name = [cls for key, cls in _builtins.items() if key.endswith(f">{name}")]
        found = by_name[0] if len(by_name) == 1 else None
    if (found is not None or is_function) and registered not in (None, "", name, config["class_name"]):
        raise ValueError(f"'{registered}' is not registered, and '{name}' of {module or 'no module'} is registered"
                         " under no name. If it is yours, decorate it with @register_keras_serializable() or pass it in"
                         " `custom_objects`.")
    if found is None and is_function:
        return name  # resolved by the `get` of its field (activations, losses, metrics ...)
    if found is None:
        raise ValueError(f"Unknown class '{name}' (module {module or 'none'}). If it is yours, decorate it with"
                         " @register_keras_serializable() or pass it in `custom_objects`.")
    return found
