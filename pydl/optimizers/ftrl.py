"""FTRL: follow the regularised leader."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, constant, take

__all__ = ["Ftrl"]


@registry.builtin("keras.optimizers")
class Ftrl(FusedOptimizer):
    """n' = n + g^2; p = -learning_rate_power; z += g + 2 shrinkage w - (n'^p - n^p) / lr w;
    w = (clip(z, -l1, l1) - z) / (n'^p / lr + 2 l2 + beta / lr).

    McMahan et al., "Ad Click Prediction: a View from the Trenches", 2013, algorithm 1.

    Args:
        learning_rate: see `Optimizer`.
        learning_rate_power: exponent, <= 0; 0 keeps the rate fixed.
        initial_accumulator_value: n at the start, >= 0.
        l1_regularization_strength: l1, >= 0.
        l2_regularization_strength: l2, >= 0.
        l2_shrinkage_regularization_strength: shrinkage, >= 0: an L2 penalty on the gradient's side only.
        beta: beta of the paper.
        others: see `Optimizer`.
    """

    def __init__(self, learning_rate=0.001, learning_rate_power=-0.5, initial_accumulator_value=0.1,
                 l1_regularization_strength=0.0, l2_regularization_strength=0.0,
                 l2_shrinkage_regularization_strength=0.0, beta=0.0, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, clipnorm=clipnorm,
                         clipvalue=clipvalue, global_clipnorm=global_clipnorm, use_ema=use_ema,
                         ema_momentum=ema_momentum, ema_overwrite_frequency=ema_overwrite_frequency,
                         loss_scale_factor=loss_scale_factor,
                         gradient_accumulation_steps=gradient_accumulation_steps, name=name, **kwargs)
        if learning_rate_power > 0:
            raise ValueError("`learning_rate_power` needs to be negative or zero. Received:"
                             f" learning_rate_power={learning_rate_power}.")
        for what, value in (("initial_accumulator_value", initial_accumulator_value),
                            ("l1_regularization_strength", l1_regularization_strength),
                            ("l2_regularization_strength", l2_regularization_strength),
                            ("l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength)):
            if value < 0:
                raise ValueError(f"`{what}` needs to be positive or zero. Received: {what}={value}.")
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._accumulators, self._linears = self.add_optimizer_variables(
            variables, ["accumulator", "linear"], [constant(self.initial_accumulator_value), "zeros"])

    def _launch(self, update, indices):
        update.launch("ftrl", [take(self._accumulators, indices), take(self._linears, indices)],
                      self.learning_rate_power, self.l1_regularization_strength, self.l2_regularization_strength,
                      self.l2_shrinkage_regularization_strength, self.beta)

    def get_config(self):
        return {**super().get_config(),
                "learning_rate_power": self.learning_rate_power,
                "initial_accumulator_value": self.initial_accumulator_value,
                "l1_regularization_strength": self.l1_regularization_strength,
                "l2_regularization_strength": self.l2_regularization_strength,
                "l2_shrinkage_regularization_strength": self.l2_shrinkage_regularization_strength,
                "beta": self.beta}
