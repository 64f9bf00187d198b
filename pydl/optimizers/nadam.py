"""Nadam: Adam with Nesterov's look-ahead."""

from __future__ import annotations

from pydl import config, ops, registry
from pydl.ops import optimizer as launch
from pydl.optimizers.fused import FusedOptimizer, take
from pydl.tensor import Variable

__all__ = ["Nadam"]


@registry.builtin("keras.optimizers")
class Nadam(FusedOptimizer):
    """With u_t = beta_1 (1 - 0.96^t / 2) and P_t = u_1 ... u_t:
    m^ = u_{t+1} m / (1 - P_{t+1}) + (1 - u_t) g / (1 - P_t); v^ = v / (1 - beta_2^t);
    w -= lr m^ / (sqrt(v^) + epsilon).

    Dozat, "Incorporating Nesterov Momentum into Adam", 2016, algorithm 8.

    Args:
        learning_rate: see `Optimizer`.
        beta_1: weight of the past in m.
        beta_2: weight of the past in v.
        epsilon: added to the root of v^.
        others: see `Optimizer`.
    """

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, weight_decay=None,
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

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums, self._velocities = self.add_optimizer_variables(variables, ["momentum", "velocity"])
        dtype = variables[0].dtype if variables else config.floatx()
        self._u_product = Variable(1.0, dtype=dtype, trainable=False)

    def _begin_step(self, every):
        launch.nadam_product(self._u_product, self._iterations, every, self.beta_1)

    def _launch(self, update, indices):
        product = self._u_product
        if product.dtype != update.variables[0].dtype:
            product = ops.cast(product, update.variables[0].dtype)
        slots = [take(self._momentums, indices), take(self._velocities, indices), product]
        update.launch("nadam", slots, self.beta_1, self.beta_2, self.epsilon)

    def get_config(self):
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
