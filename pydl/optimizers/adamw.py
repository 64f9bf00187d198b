"""AdamW: Adam with weight decay that does not pass through the moments."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.adam import Adam
from pydl.optimizers.fused import given

__all__ = ["AdamW"]


@registry.builtin("keras.optimizers")
class AdamW(Adam):
    """Adam after w -= w * weight_decay * lr.

    Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2.

    Args:
        learning_rate: see `Optimizer`.
        weight_decay: factor, not None.
        others: see `Adam`.
    """

    def __init__(self, learning_rate=0.001, weight_decay=0.004, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False,
                 clipnorm=None, clipvalue=None, global_clipnorm=None, use_ema=False, ema_momentum=0.99,
                 ema_overwrite_frequency=None, loss_scale_factor=None, gradient_accumulation_steps=None, name=None,
                 **kwargs):
        super().__init__(**given(locals()))
        if self.weight_decay is None:
            raise ValueError("Argument `weight_decay` must be a float. Received: weight_decay=None")
