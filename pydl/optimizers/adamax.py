"""Adamax: Adam with the largest past gradient in place of the root mean square."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, Rule, Slot, given

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

    rule = Rule("adamax", slots=(Slot("_m", "momentum"), Slot("_u", "norm")), numbers=("beta_1", "beta_2", "epsilon"))

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(**given(locals()))
