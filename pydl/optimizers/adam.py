"""Adam: momentum over the root of the mean square, both corrected for their start at zero."""

from __future__ import annotations

from pydl import registry
from pydl.optimizers.fused import FusedOptimizer, take

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

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, amsgrad=False,
                 weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, clipnorm=clipnorm,
                         clipvalue=clipvalue, global_clipnorm=global_clipnorm, use_ema=use_ema,
                         ema_momentum=ema_momentum, ema_overwrite_frequency=ema_overwrite_frequency,
                         loss_scale_factor=loss_scale_factor,
                         gradient_accumulation_steps=gradient_accumulation_steps, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.amsgrad = amsgrad

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        self._velocity_hats = self.add_optimizer_variables(variables, "velocity_hat") if self.amsgrad else []

    def _launch(self, update, indices):
        slots = [take(s, indices) for s in (self._momentums, self._velocities, self._velocity_hats)]
        update.launch("adam", slots, self.beta_1, self.beta_2, self.epsilon, int(self.amsgrad))

    def get_config(self):
        return {**super().get_config(),
                "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon,
                "amsgrad": self.amsgrad}
