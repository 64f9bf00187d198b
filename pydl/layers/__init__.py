"""Layers under Keras's names. Every module of this package lists its public layers in `__all__`."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        _loaded = importlib.import_module(f"{__name__}.{_module.name}")
        for _name in getattr(_loaded, "__all__", ()):
            globals()[_name] = getattr(_loaded, _name)
