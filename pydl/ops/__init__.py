"""Differentiable functions under the names of `keras.ops`; forward and gradient stand side by side.

Every module of this package lists its public ops in `__all__`; they are gathered here, but for those of `ops.image`,
which Keras keeps apart too.
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the names are gathered at run time, where a type checker does not see them

    def __getattr__(name: str) -> Any: ...


__all__: list[str] = []
for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        _loaded = importlib.import_module(f"{__name__}.{_module.name}")
        for _name in getattr(_loaded, "__all__", ()) if _module.name != "image" else ():
            globals()[_name] = getattr(_loaded, _name)
            __all__.append(_name)
del importlib, pkgutil
