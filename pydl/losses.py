"""Loss functions: per-sample values of `ops/_losses.py`, then weights, masks and a reduction."""

from __future__ import annotations

from pydl import lookup, ops, registry, tree
from pydl.configs import checked
from pydl.ops import _losses as functions
from pydl.ops._losses import *  # noqa: F403  # the function forms are public here
from pydl.ops._samples import align_weight, apply_mask, get_mask, squeeze_or_expand_to_same_rank, weighted_mean
from pydl.symbolic import op
from pydl.tensor import standardize_dtype
from pydl.watch import Owner

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


@op
def cosine_similarity(y_true, y_pred, axis=-1):
    """-cos of the angle between `y_true` and `y_pred` along `axis`: -1 for the same direction."""
    return -functions.cosine_similarity(y_true, y_pred, axis=axis)


def standardize_reduction(reduction):
    """The reduction itself. Raises ValueError for an unknown one."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"Invalid value for argument `reduction`. Expected one of {REDUCTIONS}. "
                         f"Received: reduction={reduction}")
    return reduction


def reduce_weighted_values(values, sample_weight=None, mask=None, reduction="sum_over_batch_size", dtype=None):
    """Weighs per-sample values and reduces them.

    Args:
        values: (batch, ...) losses.
        sample_weight: of the same shape, of a leading part of it, or broadcastable; None for 1.
        mask: as `sample_weight`; entries where it is False do not count.
        reduction: one of `REDUCTIONS`.

    Returns:
        A scalar, or (batch, ...) values without a reduction.
    """
    reduction = standardize_reduction(reduction)
    values = ops.convert_to_tensor(values, dtype=dtype)
    if sample_weight is not None:
        sample_weight = ops.convert_to_tensor(sample_weight, dtype=values.dtype)
    sample_weight = apply_mask(sample_weight, mask, values.dtype, reduction)
    if sample_weight is not None:
        values, sample_weight = align_weight(values, sample_weight)
    means = reduction not in (None, "none", "sum") and tuple(values.shape) not in ((), (0,))
    if means and (sample_weight is None or tuple(sample_weight.shape) == tuple(values.shape)):
        return weighted_mean(values, sample_weight, by_weight=reduction == "mean_with_sample_weight")
    if sample_weight is not None:
        values = values * sample_weight
    if reduction in (None, "none") or tuple(values.shape) in ((), (0,)):
        return values
    if reduction == "sum":
        return ops.sum(values)
    if reduction == "mean_with_sample_weight":
        return ops.divide_no_nan(ops.sum(values), ops.sum(sample_weight))
    return ops.mean(values)


class Loss(Owner):
    """Base of all losses: subclass it and write `call(y_true, y_pred)`, which gives one value per sample.

    Args:
        name: name of the instance; made from the class name by default.
        reduction: "sum_over_batch_size" or "mean" (sum divided by the number of values), "sum",
            "mean_with_sample_weight" (sum divided by the sum of the weights), or None for the values themselves.
        dtype: float dtype of the computation (name or dtype policy); `config.floatx()` by default.
    """

    def __init__(self, name=None, reduction="sum_over_batch_size", dtype=None):
        self.name = name or registry.auto_name(registry.to_snake_case(type(self).__name__))
        self.reduction = standardize_reduction(reduction)
        self._dtype = standardize_dtype(getattr(dtype, "compute_dtype", dtype))

    @property
    def dtype(self) -> str:
        return self._dtype

    def __call__(self, y_true, y_pred, sample_weight=None):
        """The reduced loss.

        Args:
            y_true, y_pred: tensors or arrays, or structures of them as `call` expects.
            sample_weight: (batch,), or any shape that broadcasts to the per-sample losses.
        """
        mask = get_mask(y_pred)
        y_pred = tree.map_structure(lambda x: ops.convert_to_tensor(x, dtype=self._dtype), y_pred)
        y_true = tree.map_structure(self._convert_target, y_true)
        values = self.call(y_true, y_pred)
        own_mask = get_mask(values)
        if mask is not None and own_mask is not None:
            mask = ops.logical_and(mask, own_mask)
        elif mask is None:
            mask = own_mask
        return reduce_weighted_values(values, sample_weight, mask, self.reduction, self._dtype)

    def _convert_target(self, y_true):
        return ops.convert_to_tensor(y_true, dtype=self._dtype)

    def call(self, y_true, y_pred):
        raise NotImplementedError(f"{type(self).__name__} has no `call(y_true, y_pred)`.")

    def get_config(self) -> dict:
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    @checked
    def from_config(cls, config: dict):
        return cls(**config)


class LossFunctionWrapper(Loss):
    """A loss made of a function `fn(y_true, y_pred, **kwargs)` with one value per sample."""

    _left_out: dict = {}  # arguments that Keras's config never holds; here it does unless they have these values

    def __init__(self, fn, reduction="sum_over_batch_size", name=None, dtype=None, **kwargs):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs

    def call(self, y_true, y_pred):
        if not tree.is_nested(y_pred):
            y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self) -> dict:
        own = {} if type(self) in _BUILT_IN else {"fn": registry.serialize_keras_object(self.fn)}
        given = {name: value for name, value in self._fn_kwargs.items() if self._left_out.get(name, ...) != value}
        return {**super().get_config(), **own, **registry.serialize_keras_object(given)}

    @classmethod
    def from_config(cls, config: dict):
        return cls(**{**config, "fn": lookup.find(config["fn"], OBJECTS, "loss")} if "fn" in config else config)

    def __repr__(self):
        return f"<{type(self).__name__}({getattr(self.fn, '__name__', self.fn)}, kwargs={self._fn_kwargs})>"


class MeanSquaredError(LossFunctionWrapper):
    """mean((y_true - y_pred)^2); see `mean_squared_error`."""

    def __init__(self, reduction="sum_over_batch_size", name="mean_squared_error", dtype=None):
        super().__init__(functions.mean_squared_error, reduction, name, dtype)


class MeanAbsoluteError(LossFunctionWrapper):
    """mean(|y_true - y_pred|); see `mean_absolute_error`."""

    def __init__(self, reduction="sum_over_batch_size", name="mean_absolute_error", dtype=None):
        super().__init__(functions.mean_absolute_error, reduction, name, dtype)


class MeanAbsolutePercentageError(LossFunctionWrapper):
    """100 mean(|(y_true - y_pred) / y_true|); see `mean_absolute_percentage_error`."""

    def __init__(self, reduction="sum_over_batch_size", name="mean_absolute_percentage_error", dtype=None):
        super().__init__(functions.mean_absolute_percentage_error, reduction, name, dtype)


class MeanSquaredLogarithmicError(LossFunctionWrapper):
    """mean((log(1 + y_true) - log(1 + y_pred))^2); see `mean_squared_logarithmic_error`."""

    def __init__(self, reduction="sum_over_batch_size", name="mean_squared_logarithmic_error", dtype=None):
        super().__init__(functions.mean_squared_logarithmic_error, reduction, name, dtype)


class CosineSimilarity(LossFunctionWrapper):
    """-cos of the angle between targets and predictions along `axis`; see `cosine_similarity`."""

    _left_out = {"axis": -1}

    def __init__(self, axis=-1, reduction="sum_over_batch_size", name="cosine_similarity", dtype=None):
        super().__init__(cosine_similarity, reduction, name, dtype, axis=axis)


class Huber(LossFunctionWrapper):
    """Squared up to `delta`, linear beyond; see `huber`."""

    _left_out = {"delta": 1.0}

    def __init__(self, delta=1.0, reduction="sum_over_batch_size", name="huber_loss", dtype=None):
        super().__init__(functions.huber, reduction, name, dtype, delta=delta)


class LogCosh(LossFunctionWrapper):
    """mean(log(cosh(y_pred - y_true))); see `log_cosh`."""

    def __init__(self, reduction="sum_over_batch_size", name="log_cosh", dtype=None):
        super().__init__(functions.log_cosh, reduction, name, dtype)


class Hinge(LossFunctionWrapper):
    """mean(max(1 - y_true y_pred, 0)); see `hinge`."""

    def __init__(self, reduction="sum_over_batch_size", name="hinge", dtype=None):
        super().__init__(functions.hinge, reduction, name, dtype)


class SquaredHinge(LossFunctionWrapper):
    """mean(max(1 - y_true y_pred, 0)^2); see `squared_hinge`."""

    def __init__(self, reduction="sum_over_batch_size", name="squared_hinge", dtype=None):
        super().__init__(functions.squared_hinge, reduction, name, dtype)


class CategoricalHinge(LossFunctionWrapper):
    """Margin between the true class and the best other one; see `categorical_hinge`."""

    def __init__(self, reduction="sum_over_batch_size", name="categorical_hinge", dtype=None):
        super().__init__(functions.categorical_hinge, reduction, name, dtype)


class KLDivergence(LossFunctionWrapper):
    """sum(y_true log(y_true / y_pred)); see `kl_divergence`."""

    def __init__(self, reduction="sum_over_batch_size", name="kl_divergence", dtype=None):
        super().__init__(functions.kl_divergence, reduction, name, dtype)


class Poisson(LossFunctionWrapper):
    """mean(y_pred - y_true log(y_pred)); see `poisson`."""

    def __init__(self, reduction="sum_over_batch_size", name="poisson", dtype=None):
        super().__init__(functions.poisson, reduction, name, dtype)


class BinaryCrossentropy(LossFunctionWrapper):
    """Cross-entropy of labels 0 / 1.

    Args:
        from_logits: whether predictions are logits (any real number) instead of probabilities.
        label_smoothing: in [0, 1]; labels move this far towards 0.5.
        axis: the axis of the mean.
    """

    def __init__(self, from_logits=False, label_smoothing=0.0, axis=-1, reduction="sum_over_batch_size",
                 name="binary_crossentropy", dtype=None):
        super().__init__(functions.binary_crossentropy, reduction, name, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing, axis=axis)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


class BinaryFocalCrossentropy(LossFunctionWrapper):
    """Binary cross-entropy that dwells on hard samples; see `binary_focal_crossentropy`.

    Args:
        apply_class_balancing: whether class 1 is weighted by `alpha` and class 0 by 1 - `alpha`.
        gamma: exponent of the focus, 0 for plain cross-entropy.
    """

    def __init__(self, apply_class_balancing=False, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0,
                 axis=-1, reduction="sum_over_batch_size", name="binary_focal_crossentropy", dtype=None):
        super().__init__(functions.binary_focal_crossentropy, reduction, name, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing, axis=axis, apply_class_balancing=apply_class_balancing,
                         alpha=alpha, gamma=gamma)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis
        self.apply_class_balancing, self.alpha, self.gamma = apply_class_balancing, alpha, gamma


class CategoricalCrossentropy(LossFunctionWrapper):
    """Cross-entropy of one-hot (or soft) labels.

    Args:
        from_logits: whether predictions are logits instead of probabilities.
        label_smoothing: in [0, 1]; this much probability moves to the uniform distribution.
        axis: the axis of the classes.
    """

    def __init__(self, from_logits=False, label_smoothing=0.0, axis=-1, reduction="sum_over_batch_size",
                 name="categorical_crossentropy", dtype=None):
        super().__init__(functions.categorical_crossentropy, reduction, name, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing, axis=axis)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis


class CategoricalFocalCrossentropy(LossFunctionWrapper):
    """Categorical cross-entropy that dwells on hard samples; see `categorical_focal_crossentropy`."""

    def __init__(self, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0, axis=-1,
                 reduction="sum_over_batch_size", name="categorical_focal_crossentropy", dtype=None):
        super().__init__(functions.categorical_focal_crossentropy, reduction, name, dtype, from_logits=from_logits,
                         label_smoothing=label_smoothing, axis=axis, alpha=alpha, gamma=gamma)
        self.from_logits, self.label_smoothing, self.axis = from_logits, label_smoothing, axis
        self.alpha, self.gamma = alpha, gamma


class SparseCategoricalCrossentropy(LossFunctionWrapper):
    """Cross-entropy of class numbers.

    Args:
        from_logits: whether predictions are logits instead of probabilities.
        ignore_class: a class number whose samples do not count, e.g. -1 or 255.
        axis: the axis of the classes.
    """

    _left_out = {"axis": -1}

    def __init__(self, from_logits=False, ignore_class=None, reduction="sum_over_batch_size", axis=-1,
                 name="sparse_categorical_crossentropy", dtype=None):
        super().__init__(functions.sparse_categorical_crossentropy, reduction, name, dtype, from_logits=from_logits,
                         ignore_class=ignore_class, axis=axis)
        self.from_logits, self.ignore_class, self.axis = from_logits, ignore_class, axis

    def _convert_target(self, y_true):  # class numbers stay integers: no cast there and back
        return ops.convert_to_tensor(y_true)


class CategoricalGeneralizedCrossEntropy(LossFunctionWrapper):
    """Cross-entropy for noisy labels; see `categorical_generalized_cross_entropy`.

    Args:
        q: in (0, 1): near 0 as cross-entropy, 1 the mean absolute error.
    """

    def __init__(self, q=0.5, reduction="sum_over_batch_size", name="categorical_generalized_cross_entropy",
                 dtype=None):
        if not 0 < q < 1:
            raise ValueError(f"q must be in the interval (0, 1). Received: q={q}")
        super().__init__(functions.categorical_generalized_cross_entropy, reduction, name, dtype, q=q)
        self.q = q


class Dice(LossFunctionWrapper):
    """1 - the Dice coefficient, over the whole batch or over `axis`; see `dice`."""

    def __init__(self, reduction="sum_over_batch_size", name="dice", axis=None, dtype=None):
        super().__init__(functions.dice, reduction, name, dtype, axis=axis)
        self.axis = axis


class Tversky(LossFunctionWrapper):
    """1 - the Tversky index: Dice with separate weights of the two kinds of error; see `tversky`."""

    def __init__(self, alpha=0.5, beta=0.5, reduction="sum_over_batch_size", name="tversky", axis=None, dtype=None):
        super().__init__(functions.tversky, reduction, name, dtype, alpha=alpha, beta=beta, axis=axis)
        self.alpha, self.beta, self.axis = alpha, beta, axis


class Circle(LossFunctionWrapper):
    """Metric learning on embeddings of norm 1; see `circle`."""

    def __init__(self, gamma=80.0, margin=0.4, remove_diagonal=True, reduction="sum_over_batch_size", name="circle",
                 dtype=None):
        super().__init__(functions.circle, reduction, name, dtype, gamma=gamma, margin=margin,
                         remove_diagonal=remove_diagonal)
        self.gamma, self.margin, self.remove_diagonal = gamma, margin, remove_diagonal


_BUILT_IN = tuple(value for value in globals().values() if isinstance(value, type)
                  and issubclass(value, LossFunctionWrapper) and value is not LossFunctionWrapper)
_OWN_FUNCTIONS = (*functions.FUNCTIONS.values(), cosine_similarity)
_CLASSES = {cls.__name__: cls for cls in (Loss, LossFunctionWrapper, *_BUILT_IN)}
_FUNCTIONS = {**functions.FUNCTIONS, "cosine_similarity": cosine_similarity}
_ALIASES = {"bce": "binary_crossentropy", "kld": "kl_divergence", "mae": "mean_absolute_error",
            "mse": "mean_squared_error", "mape": "mean_absolute_percentage_error",
            "msle": "mean_squared_logarithmic_error"}
_ALIASES.update({alias.upper(): name for alias, name in _ALIASES.items()})
_ALIASES.update({"huber_loss": "huber", "logcosh": "log_cosh", "kullback_leibler_divergence": "kl_divergence"})
OBJECTS = {**_CLASSES, **_FUNCTIONS, **{alias: _FUNCTIONS[name] for alias, name in _ALIASES.items()}}
for _cls in _CLASSES.values():
    registry.builtin("keras.losses")(_cls)
__all__ = [*_CLASSES, *_FUNCTIONS, "deserialize", "get", "serialize"]


def is_own(loss: Loss) -> bool:
    """Whether the library has the loss, and not a user."""
    return type(loss) in _BUILT_IN or (type(loss) is LossFunctionWrapper and loss.fn in _OWN_FUNCTIONS)


def get(identifier):
    """The loss of a name ("mse", "MeanSquaredError"), a config dict, a class or a callable; None gives None.

    Raises:
        ValueError: when nothing of that name is known.
    """
    return lookup.find(identifier, OBJECTS, "loss")


def serialize(loss):
    """The config dict of a loss."""
    return registry.serialize_keras_object(loss)


def deserialize(name, custom_objects=None):
    """The loss of a config dict or a name."""
    return lookup.deserialize(name, OBJECTS, "loss", custom_objects)
