"""Gradient descent, with momentum and Nesterov's look-ahead."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, take

__all__ = ["SGD"]


@registry.builtin("keras.optimizers")
class SGD(FusedOptimizer):
    """Gradient descent: w -= lr g; with momentum m = momentum m - lr g, w += m; Nesterov: w += momentum m - lr g.

    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.

    Args:
        learning_rate: see `Optimizer`.
        momentum: float, weight of the past steps, 0 to 1.
        nesterov: whether the step looks ahead.
        others: see `Optimizer`.
    """

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, clipnorm=clipnorm,
                         clipvalue=clipvalue, global_clipnorm=global_clipnorm, use_ema=use_ema,
                         ema_momentum=ema_momentum, ema_overwrite_frequency=ema_overwrite_frequency,
                         loss_scale_factor=loss_scale_factor,
                         gradient_accumulation_steps=gradient_accumulation_steps, name=name, **kwargs)
        if not isinstance(momentum, float) or not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be a float between [0, 1]. Received: momentum={momentum}")
        self.momentum = momentum
        self.nesterov = nesterov

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum != 0 else []

    def _launch(self, update, indices):
        update.launch("sgd", [take(self.momentums, indices)], self.momentum, int(self.nesterov))

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}
