"""Nadam: Adam with Nesterov's look-ahead."""

from __future__ import annotations

from pydl import config, ops, registry
from pydl.dtypes import COMPUTED_IN
from pydl.ops import optimizer as launch
from pydl.optimizers.fused import FusedOptimizer, Rule, Slot, given
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

    rule = Rule("nadam", slots=(Slot("_momentums", "momentum"), Slot("_velocities", "velocity")),
                numbers=("beta_1", "beta_2", "epsilon"))

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7, weight_decay=None,
                 clipnorm=None, clipvalue=None, global_clipnorm=None,
                 use_ema=False, ema_momentum=0.99, ema_overwrite_frequency=None, loss_scale_factor=None,
                 gradient_accumulation_steps=None, name=None, **kwargs):
        super().__init__(**given(locals()))

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        dtype = COMPUTED_IN[variables[0].dtype if variables else config.floatx()]
        self._u_product = Variable(1.0, dtype=dtype, trainable=False)

    def _begin_step(self, every):
        launch.nadam_product(self._u_product, self._iterations, every, self.beta_1)

    def _launch(self, update, indices):
        product, computed = self._u_product, COMPUTED_IN[update.variables[0].dtype]
        if product.dtype != computed:
            product = ops.cast(product, computed)
        update.launch(self.rule.name, [*self._slots(indices), product], *self.rule.attributes(self))
