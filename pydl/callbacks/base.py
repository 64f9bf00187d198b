"""Callback, and the simplest ones."""

from __future__ import annotations

__all__ = ["Callback", "History", "LambdaCallback"]


class Callback:
    """Base of all callbacks: subclass it and override what should happen when.

    `fit` runs many steps between two calls from Python. It calls every batch method for every batch as soon as one
    callback in the list overrides one (of that phase) and does not say `needs_every_batch = False`. Otherwise batch
    methods are called now and then, a few times a second, and always for the last batch of an epoch.

    Attributes:
        model: the model being trained, evaluated or asked.
        params: dict: "verbose", "epochs", "steps" (per epoch, None when unknown) and "validation" (bool).
        needs_every_batch: False when the batch methods work by time; only read where they are overridden.
        runs_last: True to be called after all others of the list, whatever its place in it.
    """

    needs_every_batch = True
    runs_last = False
    _kept: tuple[str, ...] = ()  # attributes that `get_state` returns

    def __init__(self):
        self.params = None
        self._model = None

    @property
    def model(self):
        return self.__dict__.get("_model")

    def set_params(self, params) -> None:
        self.params = params

    def set_model(self, model) -> None:
        self._model = model

    def get_state(self) -> dict:
        """What the callback must find again when an interrupted training goes on (see `BackupAndRestore`): a dict of
        numbers, strings, None, lists, dicts and arrays. A callback with a memory overrides it and `set_state`."""
        return {name: getattr(self, name) for name in self._kept}

    def set_state(self, state) -> None:
        """Takes over what `get_state` returned; called after `on_train_begin`, and again after `on_epoch_begin` of an
        epoch that goes on in its middle."""
        vars(self).update(state)

    def on_epoch_begin(self, epoch, logs=None):
        """At the start of an epoch of training; epochs count from 0."""

    def on_epoch_end(self, epoch, logs=None):
        """At the end of an epoch; `logs` holds loss and metrics, those of the validation as "val_..."."""

    def on_train_batch_begin(self, batch, logs=None):
        """Before a batch of training; calls `on_batch_begin`."""
        self.on_batch_begin(batch, logs=logs)

    def on_train_batch_end(self, batch, logs=None):
        """After a batch of training, `logs` holding the means so far; calls `on_batch_end`."""
        self.on_batch_end(batch, logs=logs)

    def on_batch_begin(self, batch, logs=None):
        """Another name of `on_train_batch_begin`."""

    def on_batch_end(self, batch, logs=None):
        """Another name of `on_train_batch_end`."""

    def on_test_batch_begin(self, batch, logs=None):
        """Before a batch of `evaluate` or of the validation."""

    def on_test_batch_end(self, batch, logs=None):
        """After a batch of `evaluate` or of the validation."""

    def on_predict_batch_begin(self, batch, logs=None):
        """Before a batch of `predict`."""

    def on_predict_batch_end(self, batch, logs=None):
        """After a batch of `predict`."""

    def on_train_begin(self, logs=None):
        """At the start of `fit`."""

    def on_train_end(self, logs=None):
        """At the end of `fit`."""

    def on_test_begin(self, logs=None):
        """At the start of `evaluate` or of the validation."""

    def on_test_end(self, logs=None):
        """At the end of `evaluate` or of the validation."""

    def on_predict_begin(self, logs=None):
        """At the start of `predict`."""

    def on_predict_end(self, logs=None):
        """At the end of `predict`."""


class History(Callback):
    """Remembers the logs of every epoch; `fit` returns it.

    Attributes:
        epoch: list of epoch numbers.
        history: dict of lists, one value per epoch.
    """

    def __init__(self):
        super().__init__()
        self.history: dict[str, list] = {}
        self.epoch: list[int] = []

    def get_state(self) -> dict:
        from pydl.saving.structures import plain_items

        return {"epoch": self.epoch, "history": plain_items(self.history)}

    def on_train_begin(self, logs=None):
        self.epoch = []

    def on_epoch_end(self, epoch, logs=None):
        self.epoch.append(epoch)
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(value)
        self.model.history = self


class LambdaCallback(Callback):
    """A callback made of functions.

    Args:
        on_epoch_begin, on_epoch_end: `fn(epoch, logs)`.
        on_train_begin, on_train_end: `fn(logs)`.
        on_train_batch_begin, on_train_batch_end: `fn(batch, logs)`.
        kwargs: any other method of `Callback` by its name, and any attribute.
    """

    def __init__(self, on_epoch_begin=None, on_epoch_end=None, on_train_begin=None, on_train_end=None,
                 on_train_batch_begin=None, on_train_batch_end=None, **kwargs):
        super().__init__()
        given = {"on_epoch_begin": on_epoch_begin, "on_epoch_end": on_epoch_end, "on_train_begin": on_train_begin,
                 "on_train_end": on_train_end, "on_train_batch_begin": on_train_batch_begin,
                 "on_train_batch_end": on_train_batch_end}
        vars(self).update({name: fn for name, fn in given.items() if fn is not None})
        vars(self).update(kwargs)
