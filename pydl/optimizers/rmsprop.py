"""RMSprop: the gradient over the root of its mean square."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, Rule, Slot, given

__all__ = ["RMSprop"]


@registry.builtin("keras.optimizers")
class RMSprop(FusedOptimizer):
    """v = rho v + (1 - rho) g^2; w -= lr g / sqrt(v + epsilon); centered: the mean of g, squared, is taken off v.

    Tieleman and Hinton, lecture 6.5 of "Neural Networks for Machine Learning", 2012; centered: Graves, arXiv:1308.0850.

    Args:
        learning_rate: see `Optimizer`.
        rho: weight of the past in the mean square.
        momentum: weight of the past steps, 0 for none.
        epsilon: added under the root.
        centered: whether to divide by the deviation instead of the root mean square.
        others: see `Optimizer`.
    """

    rule = Rule("rmsprop", slots=(Slot("_velocities", "velocity"), Slot("_momentums", "momentum", when="momentum"),
                                 Slot("_average_gradients", "average_gradient", when="centered")),
                numbers=("rho", "momentum", "epsilon", "centered"), flags=("centered",))

    def __init__(self, learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-7, centered=False, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(**given(locals()))
