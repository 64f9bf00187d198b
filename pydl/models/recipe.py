"""Recipe: what a model does with one batch, described in Python, and what that takes: optimizer, losses, metrics."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from pydl import losses as losses_module
from pydl import metrics as metrics_module
from pydl import optimizers, tree
from pydl.autograd import gradients, no_grad
from pydl.data.adapters import unpack
from pydl.models.compiled import CHOSEN_BY_SHAPE, CompileLoss, CompileMetrics
from pydl.registry import deserialize_keras_object, serialize_keras_object
from pydl.warning import warn

if TYPE_CHECKING:
    from pydl.layers.base import Layer as _Layer  # what Recipe is mixed into
else:
    _Layer = object

__all__ = ["Recipe"]


class Recipe(_Layer):
    """The part of Model that says how it learns: `compile`, and the steps that users override.

    A step (`train_step`, `test_step`, `predict_step`) is described in Python once per input signature and replayed in
    C++; with `run_eagerly=True` it runs in Python every time.
    """

    _learns = True

    def __init__(self):
        self.compiled = False
        self.loss = None
        self.optimizer = None
        self.run_eagerly = False
        self.jit_compile = True
        self.steps_per_execution = 1
        self.stop_training = self.stop_evaluating = self.stop_predicting = False
        self.history = None
        self._compile_config = None
        self._compile_loss = None
        self._compile_metrics = None
        self._loss_tracker = None

    # ---- compile -----------------------------------------------------------------------------------------------

    def compile(self, optimizer="rmsprop", loss=None, loss_weights=None, metrics=None, weighted_metrics=None,
                run_eagerly=False, steps_per_execution=1, jit_compile="auto", auto_scale_loss=True):
        """Sets optimizer, loss(es) and metrics for training.

        Args:
            optimizer: name or Optimizer.
            loss: name, Loss or callable `(y_true, y_pred)`, for each output; or a structure of them that mirrors the
                outputs, in which None leaves one out; or a flat list, or a dict by the names of the outputs.
            loss_weights: factors of the losses, in the form of `loss`.
            metrics, weighted_metrics: lists of names, Metrics or callables; the latter see sample weights. For several
                outputs, in the place of each its metrics.
            run_eagerly: run the Python of every step instead of replaying a recorded program.
            steps_per_execution, jit_compile, auto_scale_loss: accepted; recorded steps need none of them.

        Raises:
            ValueError: for names that do not exist.
        """
        optimizer = optimizers.get(optimizer)
        for value in tree.flatten(loss_weights):
            if isinstance(value, str) or callable(value):
                raise ValueError(f"`loss_weights` are numbers, one per output. Received: loss_weights={loss_weights!r}."
                                 " Were they meant as `metrics=`?")
        output_names = getattr(self, "output_names", None)
        for value in tree.flatten(loss):
            if isinstance(value, str) and CHOSEN_BY_SHAPE.get(value.lower()) != "Crossentropy":
                losses_module.get(value)
        for value in tree.flatten([metrics, weighted_metrics]):
            if isinstance(value, str) and value.lower() not in CHOSEN_BY_SHAPE:
                metrics_module.get(value)
        self.optimizer = optimizer
        self.loss = loss
        self.run_eagerly = run_eagerly
        self.jit_compile = jit_compile == "auto" or bool(jit_compile)
        self.steps_per_execution = steps_per_execution
        self._compile_loss = CompileLoss(loss, loss_weights, output_names) if loss is not None else None
        self._compile_metrics = (CompileMetrics(metrics, weighted_metrics, output_names)
                                 if metrics or weighted_metrics else None)
        self._loss_tracker = metrics_module.Mean(name="loss")
        self._compile_config = {"optimizer": optimizer, "loss": loss, "loss_weights": loss_weights, "metrics": metrics,
                                "weighted_metrics": weighted_metrics, "run_eagerly": run_eagerly,
                                "steps_per_execution": steps_per_execution, "jit_compile": jit_compile}
        self.stop_training = False
        self.compiled = True

    def get_compile_config(self) -> dict | None:
        """The arguments of `compile` in plain form; None before `compile`, or when they cannot be expressed."""
        if not self.compiled:
            return None
        return serialize_keras_object(self._compile_config)

    def compile_from_config(self, config) -> None:
        """Compiles as `get_compile_config` says; a class with a `compile` of its own has to say how, and is told."""
        if not config:
            return
        if not type(self).compile.__module__.startswith("pydl."):
            warn(f"{type(self).__name__} has a `compile` of its own and was not compiled while it was loaded: call it,"
                 " or write `get_compile_config` and `compile_from_config`.")
            return
        config = {k: deserialize_keras_object(v) for k, v in config.items()}
        config.pop("auto_scale_loss", None)
        self.compile(**config)
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def _assert_compiled(self, method: str) -> None:
        if not self.compiled:
            raise ValueError(f"You must call `compile()` before calling `{method}()`.")

    @property
    def metrics(self) -> list:
        """The loss tracker, the compiled metrics (as one), the losses by output, those of layers and the model."""
        found = [self._loss_tracker] if self._loss_tracker is not None else []
        if self._compile_metrics is not None:
            found.append(self._compile_metrics)
        if self._compile_loss is not None:
            found += self._compile_loss.trackers
        for m in self._all_metrics():
            if not any(m is f for f in found):
                found.append(m)
        return found

    @property
    def metrics_names(self) -> list[str]:
        """Names of what `evaluate` returns, in its order."""
        return self._in_order(name for m in self.metrics for name in (
            m.names if m is self._compile_metrics else [m.name]))

    def _in_order(self, names) -> list[str]:
        """Names of results in Keras's order: those that are the name of a metric in the order of the metrics, then the
        others (which begin with the name of an output) sorted."""
        names = set(names)
        own = dict.fromkeys(part.name for m in self.metrics for part in (
            m.metrics if m is self._compile_metrics else [m]))
        return [name for name in own if name in names] + sorted(names - own.keys())

    def reset_metrics(self) -> None:
        for m in self.metrics:
            m.reset_state()

    # ---- steps, to be overridden -------------------------------------------------------------------------------

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Total loss of a batch: compiled losses, `add_loss`, regularisation. A scalar tensor."""
        terms = []
        if self._compile_loss is not None:
            loss = self._compile_loss(y, y_pred, sample_weight, x=x)
            if loss is not None:
                terms.append(loss)
        terms += self.losses
        if not terms:
            raise ValueError("No loss to compute. Provide a `loss` argument in `compile()`, or add losses with"
                             " `add_loss()` in layers.")
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def compute_metrics(self, x, y, y_pred, sample_weight=None) -> dict:
        """Updates the compiled metrics with a batch and returns all results by name."""
        if self._compile_metrics is not None:
            self._compile_metrics.update_state(y, y_pred, sample_weight)
        return self.get_metrics_result()

    def get_metrics_result(self) -> dict:
        results = {}
        if self._loss_tracker is not None and self._loss_tracker.variables:
            results["loss"] = self._loss_tracker.result()
        if self._compile_loss is not None:
            results.update({m.name: m.result() for m in self._compile_loss.trackers})
        if self._compile_metrics is not None:
            results.update(self._compile_metrics.result())
        for m in self._all_metrics():
            if m is not self._loss_tracker:
                results[m.name] = m.result()
        return results

    def train_step(self, data) -> dict:
        """One update on a batch. Override it as in Keras; it is recorded.

        Args:
            data: (x, y, sample_weight) of tensors.

        Returns:
            dict name -> scalar tensor, shown by `fit`.
        """
        x, y, sample_weight = unpack(data)
        y_pred = self(x, training=True)
        loss = self._loss_of(x, y, y_pred, sample_weight, training=True)
        self._track_loss(loss, x)
        variables = self._learning_variables()
        if not variables:
            with no_grad():
                return self.compute_metrics(x, y, y_pred, sample_weight)
        if getattr(loss, "node", None) is None:
            raise ValueError("The loss does not depend on any trainable variable.")
        scaled = self.optimizer.scale_loss(loss)
        with no_grad():
            grads = gradients([scaled], variables)
            self.optimizer.apply(grads, variables)
            return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data) -> dict:
        """Loss and metrics of a batch."""
        x, y, sample_weight = unpack(data)
        y_pred = self(x, training=False)
        loss = self._loss_of(x, y, y_pred, sample_weight, training=False)
        self._track_loss(loss, x)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data):
        """Outputs for a batch."""
        x, _, _ = unpack(data)
        return self(x, training=False)

    def _loss_of(self, x, y, y_pred, sample_weight, training):
        """`compute_loss`, also where a subclass has written it without `training`, as Keras lets it."""
        if "training" in inspect.signature(self.compute_loss).parameters:
            return self.compute_loss(x, y, y_pred, sample_weight, training=training)
        return self.compute_loss(x, y, y_pred, sample_weight)

    def _learning_variables(self) -> list:
        """The trainable variables that the optimizer knows. Those that became trainable after it was built stay as
        they are, with a warning."""
        found = self.trainable_variables
        new = [v for v in found if not self.optimizer._tracks(v)] if self.optimizer.built else []
        if new:
            warn(f'Model "{self.name}": {", ".join(v.path for v in new)} became trainable after `compile()`, and will'
                 " not be trained before you compile again (with a new optimizer).")
            found = [v for v in found if self.optimizer._tracks(v)]
        return found

    def _track_loss(self, loss, x) -> None:
        if self._loss_tracker is not None:
            batch = next(a for a in tree.flatten(x) if a is not None).shape[0]
            self._loss_tracker.update_state(loss, sample_weight=float(batch))
