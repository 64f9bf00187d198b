"""The door for configs: what goes wrong behind it is a ValueError that says where in the config.

`registry.deserialize_keras_object`, and every `from_config` of the package (`checked`), open it; configs hold others,
so it is mostly open already. A config comes from a file, and whatever the objects made of it raise (KeyError,
TypeError, RecursionError, MemoryError ...) is an answer about the file. The error behind the answer is its `__cause__`,
with the traceback that somebody needs whose own class is at fault.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pydl.reading import check_depth, is_of_system, sentence

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Door(threading.local):
    """What a thread is making objects of."""

    def __init__(self) -> None:
        self.configs: list[Any] = []  # from the outermost; each lies in the one before, or is a copy of it
        self.told: Exception | None = None  # the error that already says its place
        self.trying = False  # while arguments are tried to find the one at fault


_door = _Door()


class _WrongType(ValueError, TypeError):
    """Of a type in a config: a ValueError, as all errors about files, and a TypeError, as Keras's."""


@contextlib.contextmanager
def inside(config: Any, cls: type | None = None) -> Iterator[None]:
    """Context in which something is made of `config`.

    Args:
        config: plain data, a part of the config that the context around it has, or a copy of that.
        cls: the class whose arguments `config` holds.

    Raises:
        ValueError: from any error about the config, with its place.
    """
    if not _door.configs:
        check_depth(config)
    _door.configs.append(config)
    try:
        yield
    except Exception as error:
        if error is _door.told or _door.trying or is_of_system(error):
            raise
        _door.told = (_WrongType if isinstance(error, TypeError) else ValueError)(_message(error, cls))
        raise _door.told from error
    finally:
        _door.configs.pop()
        if not _door.configs:
            _door.told = None


def checked(from_config: _Function) -> _Function:
    """Decorator of `from_config`, below `@classmethod`: its errors say which key of which config is at fault."""

    @functools.wraps(from_config)
    def enter(cls: type, config: Any, *args: Any, **kwargs: Any) -> Any:
        with inside(config, cls):
            require_arguments(config)
            return from_config(cls, config, *args, **kwargs)

    return enter  # type: ignore[return-value]  # it takes what `from_config` takes


def check_from_config(cls: type) -> None:
    """Does what `checked` does to the `from_config` that a class has of its own."""
    own = vars(cls).get("from_config")
    if isinstance(own, classmethod):
        cls.from_config = classmethod(checked(own.__func__))  # type: ignore[attr-defined]


def require_arguments(config: Any) -> None:
    """Raises TypeError for anything but a dict of arguments."""
    if not isinstance(config, Mapping) or not all(isinstance(key, str) for key in config):
        raise TypeError(f"expected a dict of arguments by name; received {config!r}"[:200])


# ---- the place ------------------------------------------------------------------------------------------------------


def _message(error: Exception, cls: type | None) -> str:
    place, names = _place()
    config = _door.configs[-1]
    if cls is not None and (key := _culprit(cls, config, error)) is not None:
        place += _step(key)
    own = getattr(cls, "__name__", None) or names.get("class_name")
    held = (c.get("name") for c in (config, names.get("config")) if isinstance(c, dict))
    name = next((f" {name!r}" for name in held if isinstance(name, str)), "")
    who = f" ({own}{name})" if own else ""
    return f"{place}{who}: {sentence(error)}"


def _place() -> tuple[str, dict[str, Any]]:
    """Where the innermost config lies in the outermost ("config.layers[3].config"), and the last one with a class."""
    at = _door.configs[0]
    path = "" if _names_class(at) else "config"
    names = at if _names_class(at) else {}
    for config in _door.configs[1:]:
        steps = _steps(at, config)
        if steps is not None:  # else a copy of what was found before
            path, at = path + "".join(map(_step, steps)), config
        if _names_class(config):
            names = config
    return path.removeprefix(".") or "config", names


def _names_class(config: Any) -> bool:
    return isinstance(config, dict) and isinstance(config.get("class_name"), str)


def _step(key: Any) -> str:
    if isinstance(key, str):
        return f".{key}" if key.isidentifier() else f"[{key[:40]!r}]"
    return f"[{key!r}]"


def _steps(held: Any, wanted: Any) -> tuple[Any, ...] | None:
    """The keys that lead from a structure to one in it, which is found by identity; None where it is not in it."""
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(held, ())]
    seen: set[int] = set()
    while waiting:
        value, path = waiting.pop()
        if value is wanted:
            return path
        if id(value) in seen:
            continue
        seen.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        waiting += [(v, (*path, key)) for key, v in items if isinstance(v, (dict, list, tuple))]
    return None


def _culprit(cls: type, config: dict[str, Any], error: Exception) -> str | None:
    """The argument that a constructor refuses; None where that cannot be told.

    It is the one that the error names, or the one whose default would do; what else is left is the only one without a
    default. Constructors of others are not called again: who knows what they do.
    """
    if not isinstance(config, dict) or not _of_constructor(cls, error):
        return None
    named = [key for key in config if re.search(rf"\b{re.escape(str(key))}\b", str(error))]
    if len(named) == 1 or not cls.__module__.startswith("pydl."):
        return named[0] if len(named) == 1 else None
    _door.trying = True
    try:
        for key in config:
            with contextlib.suppress(Exception):
                cls.from_config({k: v for k, v in config.items() if k != key})  # type: ignore[attr-defined]
                return key
    finally:
        _door.trying = False
    parameters = inspect.signature(cls).parameters
    needed = [key for key in config if key in parameters and parameters[key].default is inspect.Parameter.empty]
    return needed[0] if len(needed) == 1 else None


def _of_constructor(cls: type, error: Exception) -> bool:
    """Whether arguments were refused, rather than what came of them later."""
    import traceback

    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    made = any(f.f_code.co_name == "__init__" and isinstance(f.f_locals.get("self"), cls) for f in frames)
    return made or (isinstance(error, TypeError) and frames[-1].f_code.co_name == "from_config")
