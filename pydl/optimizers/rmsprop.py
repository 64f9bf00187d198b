"""RMSprop: the gradient over the root of its mean square."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, take

__all__ = ["RMSprop"]


@registry.builtin("keras.optimizers")
class RMSprop(FusedOptimizer):
    """v = rho v + (1 - rho) g^2; w -= lr g / sqrt(v + epsilon); centered: the mean of g, squared, is taken off v.

    Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012; centered: Graves, arXiv:1308.0850.

    Args:
        learning_rate: see `Optimizer`.
        rho: weight of the past in the mean square.
        momentum: weight of the past steps, 0 for none.
        epsilon: added under the root.
        centered: whether to divide by the deviation instead of the root mean square.
        others: see `Optimizer`.
    """

    def __init__(self, learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, clipnorm=clipnorm,
                         clipvalue=clipvalue, global_clipnorm=global_clipnorm, use_ema=use_ema,
                         ema_momentum=ema_momentum, ema_overwrite_frequency=ema_overwrite_frequency,
                         loss_scale_factor=loss_scale_factor,
                         gradient_accumulation_steps=gradient_accumulation_steps, name=name, **kwargs)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        self._momentums = self.add_optimizer_variables(variables, "momentum") if self.momentum > 0 else []
        self._average_gradients = self.add_optimizer_variables(variables, "average_gradient") if self.centered else []

    def _launch(self, update, indices):
        slots = [take(s, indices) for s in (self._velocities, self._momentums, self._average_gradients)]
        update.launch("rmsprop", slots, self.rho, self.momentum, self.epsilon, int(self.centered))

    def get_config(self):
        return {**super().get_config(),
                "rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon,
                "centered": self.centered}
