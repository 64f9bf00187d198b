"""Adagrad: the gradient over the root of the sum of its squares."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, Rule, Slot, given

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

    rule = Rule("adagrad", slots=(Slot("_accumulators", "accumulator", start="initial_accumulator_value"),),
                numbers=("initial_accumulator_value", "epsilon"))

    def __init__(self, learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-7, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(**given(locals()))
