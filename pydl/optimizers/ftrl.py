"""FTRL: follow the regularised leader."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, Rule, Slot, given

__all__ = ["Ftrl"]


@registry.builtin("keras.optimizers")
class Ftrl(FusedOptimizer):
    """n' = n + g^2; p = -learning_rate_power; z += g + 2 shrinkage w - (n'^p - n^p) / lr w;
    w = (clip(z, -l1, l1) - z) / (n'^p / lr + 2 l2 + beta / lr). A step with a rate of zero, as a decay ends, changes
    nothing.

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

    rule = Rule("ftrl", slots=(Slot("_accumulators", "accumulator", start="initial_accumulator_value"),
                              Slot("_linears", "linear")),
                numbers=("learning_rate_power", "initial_accumulator_value", "l1_regularization_strength",
                         "l2_regularization_strength", "l2_shrinkage_regularization_strength", "beta"))

    def __init__(self, learning_rate=0.001, learning_rate_power=-0.5, initial_accumulator_value=0.1,
                 l1_regularization_strength=0.0, l2_regularization_strength=0.0,
                 l2_shrinkage_regularization_strength=0.0, beta=0.0, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(**given(locals()))
        if learning_rate_power > 0:
            raise ValueError("`learning_rate_power` needs to be negative or zero. Received:"
                             f" learning_rate_power={learning_rate_power}.")
        for what, value in (("initial_accumulator_value", initial_accumulator_value),
                            ("l1_regularization_strength", l1_regularization_strength),
                            ("l2_regularization_strength", l2_regularization_strength),
                            ("l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength)):
            if value < 0:
                raise ValueError(f"`{what}` needs to be positive or zero. Received: {what}={value}.")
