"""Adamax: Adam with the largest past gradient in place of the root mean square."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, take

__all__ = ["Adamax"]


@registry.builtin("keras.optimizers")
class Adamax(FusedOptimizer):
    """m += (1 - beta_1)(g - m); u = max(beta_2 u, |g|); w -= lr / (1 - beta_1^t) m / (u + epsilon).

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, section 7.1.

    Args:
        learning_rate: see `Optimizer`.
        beta_1: weight of the past in m.
        beta_2: how slowly u forgets.
        epsilon: added to u.
        others: see `Optimizer`.
    """

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, clipnorm=clipnorm,
                         clipvalue=clipvalue, global_clipnorm=global_clipnorm, use_ema=use_ema,
                         ema_momentum=ema_momentum, ema_overwrite_frequency=ema_overwrite_frequency,
                         loss_scale_factor=loss_scale_factor,
                         gradient_accumulation_steps=gradient_accumulation_steps, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._m, self._u = self.add_optimizer_variables(variables, ["momentum", "norm"])

    def _launch(self, update, indices):
        update.launch("adamax", [take(self._m, indices), take(self._u, indices)],
                      self.beta_1, self.beta_2, self.epsilon)

    def get_config(self):
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
