"""Adam: momentum over the root of the mean square, both corrected for their start at zero."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, Rule, Slot, given

__all__ = ["Adam"]


@registry.builtin("keras.optimizers")
class Adam(FusedOptimizer):
    """m += (1 - beta_1)(g - m); v += (1 - beta_2)(g^2 - v);
    w -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon).

    Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, section 2 (the form before section 2.1, where
    epsilon is added to the uncorrected root). AMSGrad: Reddi et al., 2018.

    Args:
        learning_rate: see `Optimizer`.
        beta_1: weight of the past in m.
        beta_2: weight of the past in v.
        epsilon: added to the root of v.
        amsgrad: whether the largest v so far takes v's place.
        others: see `Optimizer`.
    """

    rule = Rule("adam", slots=(Slot("_momentums", "momentum"), Slot("_velocities", "velocity"),
                              Slot("_velocity_hats", "velocity_hat", when="amsgrad")),
                numbers=("beta_1", "beta_2", "epsilon", "amsgrad"), flags=("amsgrad",))

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False,
                 weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(**given(locals()))
