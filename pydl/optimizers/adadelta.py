"""Adadelta: steps in the unit of the weights."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, take

__all__ = ["Adadelta"]


@registry.builtin("keras.optimizers")
class Adadelta(FusedOptimizer):
    """a = rho a + (1 - rho) g^2; d = -g sqrt(x + epsilon) / sqrt(a + epsilon); x = rho x + (1 - rho) d^2; w += lr d.

    Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, algorithm 1 (there lr = 1).

    Args:
        learning_rate: see `Optimizer`.
        rho: weight of the past in both means.
        epsilon: added under both roots.
        others: see `Optimizer`.
    """

    def __init__(self, learning_rate=0.001, rho=0.95, epsilon=1e-7, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, clipnorm=clipnorm,
                         clipvalue=clipvalue, global_clipnorm=global_clipnorm, use_ema=use_ema,
                         ema_momentum=ema_momentum, ema_overwrite_frequency=ema_overwrite_frequency,
                         loss_scale_factor=loss_scale_factor,
                         gradient_accumulation_steps=gradient_accumulation_steps, name=name, **kwargs)
        self.rho = rho
        self.epsilon = epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._accumulated_grads, self._accumulated_delta_vars = self.add_optimizer_variables(
            variables, ["accumulated_grad", "accumulated_delta_var"])

    def _launch(self, update, indices):
        slots = [take(self._accumulated_grads, indices), take(self._accumulated_delta_vars, indices)]
        update.launch("adadelta", slots, self.rho, self.epsilon)

    def get_config(self):
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}
