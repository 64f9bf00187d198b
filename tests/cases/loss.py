"""Per-sample losses against NumPy in float64, with Keras's conventions."""

import numpy as np

from cases.reduction import np_log_softmax
from harness import Case, integers, normal, uniform
from pydl import ops
from pydl.ops import _losses
from pydl.ops._samples import weighted_mean

EPSILON = 1e-7
# One output, a few, a short row that fills registers partly, a long row, several axes, one sample, none.
SHAPES = [(32, 1), (7, 3), (16, 10), (33, 10), (5, 100), (2, 5000), (3, 4, 6), (1, 2), (0, 3), (1, 70000)]


def positive(*shape):
    return uniform(*shape, low=0.05, high=0.95)


def labels_01(*shape):
    return lambda rng: rng.integers(0, 2, shape).astype("float64")


def one_hot(*shape, axis=-1):
    def draw(rng):
        x = rng.normal(size=shape)
        return (x == x.max(axis=axis, keepdims=True)).astype("float64")

    return draw


def mean(x):
    return np.mean(x, axis=-1)


def np_huber(t, p, delta=1.0):
    e = np.abs(t - p)
    return mean(np.where(e <= delta, e**2 / 2, delta * e - delta**2 / 2))


def np_categorical_hinge(t, p):
    return np.maximum(np.max((1 - t) * p, -1, initial=-np.inf) - np.sum(t * p, -1) + 1, 0)


def np_kl(t, p):
    t, p = np.clip(t, EPSILON, 1), np.clip(p, EPSILON, 1)
    return np.sum(t * np.log(t / p), -1)


def np_cosine(t, p):
    lengths = [np.maximum(np.linalg.norm(x, axis=-1), EPSILON) for x in (t, p)]
    return np.sum(t * p, -1) / (lengths[0] * lengths[1])


def np_signed(t):
    return 2 * t - 1 if np.all((t == 0) | (t == 1)) else t


def np_binary(t, p, from_logits=False):
    if from_logits:
        return np.logaddexp(0, p) - t * p
    p = np.clip(p, EPSILON, 1 - EPSILON)
    return -t * np.log(p) - (1 - t) * np.log1p(-p)


def np_categorical(t, p, from_logits=False, axis=-1):
    if from_logits:
        logp = np_log_softmax(p, axis)
        return -np.sum(np.where(t == 0, 0.0, t * np.where(t == 0, 0.0, logp)), axis)
    total = np.sum(p, axis, keepdims=True)
    return -np.sum(t * np.log(np.clip(p / np.where(total == 0, 1, total), EPSILON, 1 - EPSILON)), axis)


def np_sparse(labels, p, from_logits=False, axis=-1, ignore_class=None):
    labels = np.asarray(labels).astype(int)
    if labels.ndim < p.ndim:
        labels = np.expand_dims(labels, axis)
    keep = labels != ignore_class if ignore_class is not None else np.ones(labels.shape, bool)
    t = np.zeros(p.shape)
    np.put_along_axis(t, np.where(keep, labels, 0), 1.0, axis)
    return np.where(np.squeeze(keep, axis), np_categorical(t, p, from_logits, axis), 0.0)


def np_weighted_mean(x, w=None, by_weight=False):
    w = np.ones(x.shape) if w is None else w
    return np.sum(x * w) / (np.sum(w) if by_weight else x.size)


ROW_LOSSES = {
    "mean_squared_error": (lambda t, p: mean((t - p) ** 2), normal, normal),
    "mean_absolute_error": (lambda t, p: mean(np.abs(t - p)), normal, normal),
    "mean_absolute_percentage_error": (lambda t, p: 100 * mean(np.abs(t - p) / np.maximum(np.abs(t), EPSILON)),
                                       positive, normal),
    "mean_squared_logarithmic_error": (
        lambda t, p: mean((np.log1p(np.maximum(t, EPSILON)) - np.log1p(np.maximum(p, EPSILON))) ** 2), normal, normal),
    "huber": (np_huber, normal, normal),
    "log_cosh": (lambda t, p: mean(np.logaddexp(p - t, t - p) - np.log(2)), normal, normal),
    "hinge": (lambda t, p: mean(np.maximum(1 - np_signed(t) * p, 0)), labels_01, normal),
    "squared_hinge": (lambda t, p: mean(np.maximum(1 - np_signed(t) * p, 0) ** 2), labels_01, normal),
    "categorical_hinge": (np_categorical_hinge, one_hot, normal),
    "kl_divergence": (np_kl, positive, positive),
    "poisson": (lambda t, p: mean(p - t * np.log(p + EPSILON)), positive, positive),
    "cosine_similarity": (np_cosine, normal, normal),
    "binary_crossentropy": (lambda t, p: mean(np_binary(t, p)), positive, positive),
    "categorical_crossentropy": (np_categorical, one_hot, positive),
}


FUNCTIONS = {
    **_losses.FUNCTIONS, "cosine_similarity": _losses.cosine_similarity, "weighted_mean": weighted_mean,
    # The loss of that name warns of one class.
    "categorical_crossentropy": ops.categorical_crossentropy,
}


def row(name, reference, inputs, tag="", kwargs=None, **options):
    return Case(name, reference, inputs, kwargs or {}, fn=FUNCTIONS[name], tag=tag,
                **{"grad": (1,), "rtol_eps": 64, "scale": 1.0, **options})


def of_predictions(shape):
    """Which gradients to check: the predictions'; of nothing, where there is no value."""
    return (1,) if np.prod(shape) else ()


def size_tag(shape):
    return "x".join(map(str, shape))


CASES = [
    *[row(name, reference, (true(*shape), pred(*shape)), size_tag(shape), scale=100.0 if "percentage" in name else 1.0,
          grad=of_predictions(shape))
      for name, (reference, true, pred) in ROW_LOSSES.items() for shape in SHAPES],
    # The targets' own gradient takes the composed path.
    *[row(name, reference, (positive(6, 5), positive(6, 5)), "both-gradients", grad="all",
          scale=100.0 if "percentage" in name else 1.0)
      for name, (reference, _, _) in ROW_LOSSES.items() if "hinge" not in name],
    row("huber", np_huber, (normal(6, 5), normal(6, 5)), "delta", {"delta": 0.3}),
    row("log_cosh", lambda t, p: mean(np.logaddexp(p - t, t - p) - np.log(2)),
        (normal(6, 5, scale=100.0), normal(6, 5, scale=100.0)), "large"),
    row("hinge", lambda t, p: mean(np.maximum(1 - t * p, 0)),
        (lambda rng: rng.choice([-1.0, 1.0], (6, 5)), normal(6, 5)), "signed"),
    row("binary_crossentropy", lambda t, p, from_logits: mean(np_binary(t, p, from_logits)),
        (labels_01(33, 1), normal(33, 1, scale=5.0)), "logits", {"from_logits": True}),
    Case("binary_crossentropy", np_binary, (positive(7, 5), positive(7, 5)), grad="all", rtol_eps=64, scale=1.0),
    Case("binary_crossentropy", np_binary, (labels_01(33), normal(33, scale=5.0)), {"from_logits": True}, grad=(1,),
         scale=1.0, tag="logits"),
    Case("binary_crossentropy", np_binary, (labels_01(33), normal(33, scale=500.0)), {"from_logits": True}, grad=(1,),
         scale=1.0, tag="logits-saturated"),
    # float32 has no 1 - 1e-7; its clipped value differs from the reference's.
    Case("binary_crossentropy", np_binary, (labels_01(33), labels_01(33)), grad=(), scale=1.0, tag="saturated",
         dtypes=("float64",)),
    *[Case("categorical_crossentropy", np_categorical, (draw(*shape), normal(*shape, scale=3.0)), {"from_logits": True},
           grad=of_predictions(shape), scale=4.0, rtol_eps=64, tag=f"logits-{draw.__name__}-{size_tag(shape)}")
      for shape in SHAPES for draw in (one_hot, positive) if shape != (1, 70000) or draw is one_hot],
    Case("categorical_crossentropy", np_categorical, (one_hot(33, 5), normal(33, 5, scale=1e4)), {"from_logits": True},
         grad=(), scale=1e4, tag="logits-saturated"),
    Case("categorical_crossentropy", np_categorical, (one_hot(6, 4, axis=0), normal(6, 4)),
         {"from_logits": True, "axis": 0}, grad="all", scale=1.0, tag="logits-axis0"),
    Case("categorical_crossentropy", np_categorical, (one_hot(3, 5, 20, axis=1), positive(3, 5, 20)), {"axis": 1},
         grad="all", scale=1.0, rtol_eps=64, tag="axis1"),
    Case("categorical_crossentropy", np_categorical, (one_hot(6, 4), one_hot(6, 4)), grad=(), scale=1.0,
         tag="saturated", dtypes=("float64",)),
    *[Case("sparse_categorical_crossentropy", np_sparse, (integers(*shape[:-1], high=shape[-1]), pred(*shape)),
           {"from_logits": logits}, scale=4.0, rtol_eps=64,
            tag=f"{'logits' if logits else 'probabilities'}-{size_tag(shape)}")
      for shape in SHAPES for logits, pred in ((True, normal), (False, positive)) if shape[-1] > 1],
    Case("sparse_categorical_crossentropy", np_sparse, (integers(33, 1, high=5, dtype="int64"), normal(33, 5)),
         {"from_logits": True}, scale=4.0, tag="column-of-int64"),
    Case("sparse_categorical_crossentropy", np_sparse,
         (lambda rng: rng.integers(0, 5, 33).astype("float64"), normal(33, 5)),
         {"from_logits": True}, scale=4.0, grad=(1,), tag="float-labels"),
    Case("sparse_categorical_crossentropy", np_sparse, (integers(3, 20, high=5), normal(3, 5, 20)),
         {"from_logits": True, "axis": 1}, scale=4.0, tag="axis1"),
    *[Case("sparse_categorical_crossentropy", np_sparse, (integers(33, low=-1, high=5), positive(33, 5)),
           {"from_logits": logits, "ignore_class": -1}, scale=4.0, tag=f"ignored-{logits}")
       for logits in (False, True)],
    Case("sparse_categorical_crossentropy", np_sparse, (integers(33, high=5), normal(33, 5, scale=1e4)),
         {"from_logits": True}, grad=(), scale=1e4, tag="saturated"),
    row("weighted_mean", np_weighted_mean, (normal(33),), grad="all"),
    row("weighted_mean", np_weighted_mean, (normal(33), positive(33)), "weights", grad="all"),
    row("weighted_mean", np_weighted_mean, (normal(33), positive(33)), "weights-fused", grad=(0,)),
    row("weighted_mean", np_weighted_mean, (normal(9, 1000), positive(9, 1000)), "by-weight", {"by_weight": True},
        grad=(0,)),
]
