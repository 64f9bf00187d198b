"""What `get()` of losses, metrics, initializers ... shares: from name, config, class or callable to an object."""

from __future__ import annotations

import inspect
from typing import Any

from pydl import configs, registry


def find(identifier: Any, objects: dict[str, Any], what: str) -> Any:
    """The object an identifier stands for.

    Args:
        identifier: None, a name (of `objects` or of a registered custom object), the dict that `serialize` gave,
            a class (instantiated without arguments), or a callable (returned as it is).
        objects: name -> class or function.
        what: the kind of object, for the message of the error.

    Raises:
        ValueError: when nothing is found.
    """
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        found = from_config(identifier, objects)
    elif isinstance(identifier, str):
        found = by_name(identifier, objects)
    else:
        found = identifier
    if inspect.isclass(found):
        found = found()
    if not callable(found):
        raise ValueError(f"Could not interpret {what} identifier: {identifier}{_hint(identifier, objects)}")
    return found


def by_name(name: str, objects: dict[str, Any]) -> Any:
    """The registered custom object of that name, else the one of `objects`, else None."""
    custom = registry.get_registered_object(name)
    return custom if custom is not None else objects.get(name)


def from_config(config: dict[str, Any], objects: dict[str, Any],
                custom_objects: dict[str, Any] | None = None) -> Any:
    """Rebuilds the object of a config; a class name alone is enough for what `objects` holds."""
    name = config.get("class_name")
    custom = custom_objects or {}
    with configs.inside(config):
        function = config.get("config")
        if name == "function" and isinstance(function, str) and function in objects:
            given = registry.given_for(config, function, custom)
            if given is not None or config.get("registered_name") in (None, function, "function"):
                return objects[function] if given is None else given
        if config.get("registered_name") in (None, name) and not _is_replaced(name, custom):
            if name in objects and inspect.isclass(objects[name]):
                return registry.make(objects[name], config.get("config") or {})
        return registry.deserialize_keras_object(config, custom_objects=custom_objects)


def _is_replaced(name: Any, custom_objects: dict[str, Any]) -> bool:
    return isinstance(name, str) and registry.get_registered_object(name, custom_objects) is not None


def deserialize(identifier: Any, objects: dict[str, Any], what: str,
                custom_objects: dict[str, Any] | None = None) -> Any:
    """As `find`, with the objects of one call added."""
    if custom_objects:
        objects = {**objects, **custom_objects}
    if isinstance(identifier, dict):
        return from_config(identifier, objects, custom_objects)
    return find(identifier, objects, what)


def _hint(identifier: Any, objects: dict[str, Any]) -> str:
    if not isinstance(identifier, str):
        return ""
    import difflib

    close = difflib.get_close_matches(identifier, objects, n=3)
    return f". Did you mean {' or '.join(repr(name) for name in close)}?" if close else ""
