"""`HyperModel`: a model whose architecture and training depend on hyperparameters."""

from __future__ import annotations

from pydl.tuner.errors import FatalValueError


class HyperModel:
    """Subclass it and override `build`, and `fit` to tune the training too.

    Args:
        name: its name.
        tunable: False keeps what `build` declares out of the search space: it has its defaults, or what was declared
            before.
    """

    def __init__(self, name=None, tunable=True):
        self.name = name
        self.tunable = tunable
        self._build = self.build
        self.build = self._build_or_copy

    def _build_or_copy(self, hp, *args, **kwargs):
        return self._build(hp if self.tunable else hp.copy(), *args, **kwargs)

    def build(self, hp):
        """Returns a compiled model for the values of a `HyperParameters`."""
        raise NotImplementedError(f"{type(self).__name__} has no `build(hp)`.")

    def declare_hyperparameters(self, hp):
        """Called once before the first `build`; may declare hyperparameters of its own."""

    def fit(self, hp, model, *args, **kwargs):
        """Trains what `build` returned; called with the arguments of `search` and the tuner's callbacks.

        Returns: what `model.fit` returns, or the objective as a float, or a dict of metrics with it.
        """
        return model.fit(*args, **kwargs)


class _Function(HyperModel):
    """A function `build(hp)` as a HyperModel."""

    def __init__(self, build):
        super().__init__(name=getattr(build, "__name__", None))
        self.build = build


def get_hypermodel(hypermodel) -> HyperModel | None:
    """A HyperModel from one, from a function `build(hp)`, or None."""
    if hypermodel is None or isinstance(hypermodel, HyperModel):
        return hypermodel
    if not callable(hypermodel):
        raise FatalValueError("Expected `hypermodel` to be a HyperModel or a function `build(hp)` that returns a model"
                              f"; received {hypermodel!r}.")
    return _Function(hypermodel)
