"""Gradient descent, with momentum and Nesterov's look-ahead."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, Rule, Slot, given

__all__ = ["SGD"]


@registry.builtin("keras.optimizers")
class SGD(FusedOptimizer):
    """Gradient descent: w -= lr g; with momentum m = momentum m - lr g, w += m; Nesterov: w += momentum m - lr g.

    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.

    Args:
        learning_rate: see `Optimizer`.
        momentum: float, weight of the past steps, 0 to 1.
        nesterov: whether the step looks ahead.
        others: see `Optimizer`.
    """

    rule = Rule("sgd", slots=(Slot("momentums", "momentum", when="momentum"),), numbers=("momentum", "nesterov"),
                flags=("nesterov",))

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(**given(locals()))
        if not isinstance(momentum, float) or not 0 <= momentum <= 1:
            raise ValueError(f"`momentum` must be a float between [0, 1]. Received: momentum={momentum}")
