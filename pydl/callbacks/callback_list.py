"""Several callbacks as one, which a model calls."""

from __future__ import annotations

from pydl import tree
from pydl.callbacks.base import Callback, History
from pydl.callbacks.progress import ProgbarLogger
from pydl.registry import to_snake_case
from pydl.tensor import Tensor

__all__ = ["CallbackList"]

_BATCH_METHODS = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}


def overrides(callback, name: str) -> bool:
    """Whether the callback has a method of its own (of its class or set on the object)."""
    return getattr(type(callback), name, None) is not getattr(Callback, name) or name in vars(callback)


class CallbackList(Callback):
    """Calls several callbacks as one.

    Args:
        callbacks: callback or nested list of them.
        add_history: whether a `History` is added when there is none.
        add_progbar: whether a `ProgbarLogger` is added when there is none.
        model: given to all.
        params: given to all; see `Callback.params`.
    """

    def __init__(self, callbacks=None, add_history=False, add_progbar=False, model=None, **params):
        super().__init__()
        self.callbacks = list(tree.flatten(callbacks)) if callbacks is not None else []
        for callback in self.callbacks:
            if isinstance(callback, type) or not callable(getattr(callback, "on_epoch_end", None)):
                raise TypeError(f"Expected callbacks to be instances of Callback; received {callback!r}.")
        if add_history and not any(isinstance(c, History) for c in self.callbacks):
            self.callbacks.append(History())
        if add_progbar and not any(isinstance(c, ProgbarLogger) for c in self.callbacks):
            self.callbacks.append(ProgbarLogger())
        self._arrange()
        if model is not None:
            self.set_model(model)
        self.set_params(params)

    def append(self, callback) -> None:
        """Adds a callback at the end."""
        self.callbacks.append(callback)
        self._arrange()

    @property
    def history(self):
        """The `History` of the list, or None."""
        return next((c for c in self.callbacks if isinstance(c, History)), None)

    def needs_batches(self, phase: str) -> bool:
        """Whether batch methods must be called for every batch of "train", "test" or "predict"."""
        names = _BATCH_METHODS[phase]
        return any(getattr(c, "needs_every_batch", True) and any(overrides(c, name) for name in names)
                   for c in self.callbacks)

    def set_params(self, params) -> None:
        self.params = params
        if params:
            for callback in self.callbacks:
                callback.set_params(params)

    def set_model(self, model) -> None:
        super().set_model(model)
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    def get_state(self) -> dict:
        """The states of those that have one, by name: "early_stopping", of a second one "early_stopping_1"."""
        return {name: state for name, callback in self._named() if (state := callback.get_state())}

    def set_state(self, state) -> None:
        """Gives each callback its state; one that has none there stays as it is."""
        for name, callback in self._named():
            if name in state:
                callback.set_state(state[name])

    def _named(self):
        used: dict[str, int] = {}
        for callback in self.callbacks:
            if not hasattr(callback, "get_state"):  # no subclass of Callback
                continue
            name = to_snake_case(type(callback).__name__)
            used[name] = used.get(name, -1) + 1
            yield f"{name}_{used[name]}" if used[name] else name, callback

    def _arrange(self) -> None:
        self.callbacks.sort(key=lambda c: getattr(c, "runs_last", False))  # the others keep their order
        # Callbacks per batch method, so that those without it cost nothing per batch.
        self._hooks = {}
        for phase, names in _BATCH_METHODS.items():
            for name in names[:2]:
                legacy = ("on_batch_" + name.rsplit("_", 1)[1],) if phase == "train" else ()
                self._hooks[name] = [c for c in self.callbacks if any(overrides(c, n) for n in (name, *legacy))]

    def _call_batch(self, name: str, batch, logs) -> None:
        hooks = self._hooks[name]
        if hooks:
            logs = pythonify(logs)
            for callback in hooks:
                getattr(callback, name)(batch, logs=logs)

    def _call(self, name: str, *args, logs) -> None:
        logs = pythonify(logs)
        for callback in self.callbacks:
            getattr(callback, name)(*args, logs)

    def on_train_batch_begin(self, batch, logs=None):
        self._call_batch("on_train_batch_begin", batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        self._call_batch("on_train_batch_end", batch, logs)

    def on_test_batch_begin(self, batch, logs=None):
        self._call_batch("on_test_batch_begin", batch, logs)

    def on_test_batch_end(self, batch, logs=None):
        self._call_batch("on_test_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch, logs=None):
        self._call_batch("on_predict_batch_begin", batch, logs)

    def on_predict_batch_end(self, batch, logs=None):
        self._call_batch("on_predict_batch_end", batch, logs)

    on_batch_begin = on_train_batch_begin
    on_batch_end = on_train_batch_end

    def on_epoch_begin(self, epoch, logs=None):
        self._call("on_epoch_begin", epoch, logs=logs)

    def on_epoch_end(self, epoch, logs=None):
        self._call("on_epoch_end", epoch, logs=logs)

    def on_train_begin(self, logs=None):
        self._call("on_train_begin", logs=logs)

    def on_train_end(self, logs=None):
        self._call("on_train_end", logs=logs)

    def on_test_begin(self, logs=None):
        self._call("on_test_begin", logs=logs)

    def on_test_end(self, logs=None):
        self._call("on_test_end", logs=logs)

    def on_predict_begin(self, logs=None):
        self._call("on_predict_begin", logs=logs)

    def on_predict_end(self, logs=None):
        self._call("on_predict_end", logs=logs)


def pythonify(logs) -> dict:
    """Logs with Python floats in the place of scalar tensors; dicts of metrics are spread out."""
    result = {}
    for key, value in sorted((logs or {}).items()) if _has_dict(logs) else (logs or {}).items():
        if isinstance(value, dict):
            result.update(pythonify(value))
        elif isinstance(value, Tensor) or hasattr(value, "dtype"):
            array = value.data if isinstance(value, Tensor) else value
            result[key] = float(array) if getattr(array, "size", 1) == 1 and array.ndim == 0 else array.copy()
        else:
            result[key] = value
    return result


def _has_dict(logs) -> bool:
    return any(isinstance(value, dict) for value in (logs or {}).values())
