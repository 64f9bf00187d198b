"""Adagrad: the gradient over the root of the sum of its squares."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, constant, take

__all__ = ["Adagrad"]


@registry.builtin("keras.optimizers")
class Adagrad(FusedOptimizer):
    """a += g^2; w -= lr g / sqrt(a + epsilon).

    Duchi et al., "Adaptive Subgradient Methods for Online Learning and Stochastic Optimization", 2011.

    Args:
        learning_rate: see `Optimizer`.
        initial_accumulator_value: a at the start, >= 0.
        epsilon: added under the root.
        others: see `Optimizer`.
    """

    def __init__(self, learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-7, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, clipnorm=clipnorm,
                         clipvalue=clipvalue, global_clipnorm=global_clipnorm, use_ema=use_ema,
                         ema_momentum=ema_momentum, ema_overwrite_frequency=ema_overwrite_frequency,
                         loss_scale_factor=loss_scale_factor,
                         gradient_accumulation_steps=gradient_accumulation_steps, name=name, **kwargs)
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._accumulators = self.add_optimizer_variables(variables, "accumulator",
                                                          constant(self.initial_accumulator_value))

    def _launch(self, update, indices):
        update.launch("adagrad", [take(self._accumulators, indices)], self.epsilon)

    def get_config(self):
        return {**super().get_config(),
                "initial_accumulator_value": self.initial_accumulator_value, "epsilon": self.epsilon}
