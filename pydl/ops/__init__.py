"""Differentiable functions under the names of `keras.ops`; forward and gradient stand side by side.

Every module of this package lists its public ops in `__all__`; they are gathered here, but for those of `ops.image`,
which Keras keeps apart too.
"""

from typing import TYPE_CHECKING, Any

from pydl.exports import gather as _gather

if TYPE_CHECKING:  # the names are gathered at run time, where a type checker does not see them

    def __getattr__(name: str) -> Any: ...


_names = _gather(__name__, __path__, wanted=lambda file, _: file != "image")
globals().update(_names)
__all__: list[str] = [*_names]
