"""Adadelta: steps in the unit of the weights."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, Rule, Slot, given

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

    rule = Rule("adadelta", slots=(Slot("_accumulated_grads", "accumulated_grad"),
                                  Slot("_accumulated_delta_vars", "accumulated_delta_var")),
                numbers=("rho", "epsilon"))

    def __init__(self, learning_rate=0.001, rho=0.95, epsilon=1e-7, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(**given(locals()))
