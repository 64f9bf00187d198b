"""Published architectures. Every module of this package lists its models in `__all__`; they are gathered here.

What comes with a model (`preprocess_input`, `decode_predictions`) stays in its module, as in Keras, because the models
differ in it.
"""

import pkgutil
from typing import TYPE_CHECKING, Any

from pydl.exports import gather as _gather

if TYPE_CHECKING:  # the names are gathered at run time, where a type checker does not see them

    def __getattr__(name: str) -> Any: ...


_names = _gather(__name__, __path__, wanted=lambda _, name: name[0].isupper())
globals().update(_names)
__all__ = [*_names, *(file.name for file in pkgutil.iter_modules(__path__) if not file.name.startswith("_"))]
