"""Lion: the sign of a momentum."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, Rule, Slot, given

__all__ = ["Lion"]


@registry.builtin("keras.optimizers")
class Lion(FusedOptimizer):
    """w -= lr sign(beta_1 m + (1 - beta_1) g); m = beta_2 m + (1 - beta_2) g.

    Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023, algorithm 2.

    Args:
        learning_rate: see `Optimizer`; a third to a tenth of Adam's.
        beta_1: weight of the past in the step, 0 to 1.
        beta_2: weight of the past in m.
        others: see `Optimizer`.
    """

    rule = Rule("lion", slots=(Slot("_momentums", "momentum"),), numbers=("beta_1", "beta_2"))

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.99, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(**given(locals()))
        if beta_1 <= 0 or beta_1 > 1:
            raise ValueError("Argument `beta_1` must be in the [0, 1] range. Otherwise, the optimizer degenerates to"
                             f" SignSGD. Received: beta_1={beta_1}.")
