"""Rows of the layers: what each computes, stated in NumPy float64, at inference and in training."""

from __future__ import annotations

import numpy as np

from cases.normalization import along, np_group, np_standardize
from harness import LayerCase, integers, normal, uniform

X = normal(5, 7)
SEQUENCE = normal(3, 5, 4)
PAIR = (normal(3, 5, 4), normal(3, 5, 4))


def keep(mask, *_):
    return mask


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def np_softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def dense(activation=lambda z: z):
    return lambda w, x: activation(x @ w[0] + (w[1] if len(w) > 1 else 0))


def batch_inference(axis=-1, epsilon=1e-3):
    def reference(w, x):
        scale, offset, mean, variance = (along(v, axis, x.ndim) for v in w)
        return (x - mean) / np.sqrt(variance + epsilon) * scale + offset
    return reference


def batch_training(axis=-1):
    def reference(w, x):
        axes = tuple(a for a in range(x.ndim) if a != axis % x.ndim)
        return np_standardize(x, axes, epsilon=1e-3) * along(w[0], axis, x.ndim) + along(w[1], axis, x.ndim)
    return reference


def dropped(rate, shared=()):
    """Each value is 0 or x / (1 - rate), the same along shared axes, and neither nothing nor everything falls."""
    def check(w, y, x):
        kept = y != 0
        np.testing.assert_allclose(y, np.where(kept, x / (1 - rate), 0), rtol=1e-6)
        for axis in shared:
            assert (kept.all(axis) | ~kept.any(axis)).all()
        assert not kept.all() and (kept.any() or x.size < 50)
    return check


def noise(mean, spread):
    """(y - mean(x)) / spread(x) is drawn from N(0, 1): moments within 5 standard errors."""
    def check(w, y, x):
        z = (y - mean(x)) / spread(x)
        assert abs(z.mean()) < 5 / np.sqrt(z.size) and abs(z.var() - 1) < 5 * np.sqrt(2 / z.size)
        assert np.unique(z.round(9)).size > z.size * 0.99
    return check


def alpha_dropped(rate):
    def check(w, y, x):
        alpha = -1.0507009873554805 * 1.6732632423543772
        a = ((1 - rate) * (1 + rate * alpha**2)) ** -0.5
        b = -a * alpha * rate
        kept = np.abs(y - (a * x + b)) < 1e-5
        np.testing.assert_allclose(y[~kept], a * alpha + b, rtol=1e-5)
        assert 0 < kept.mean() < 1
    return check


def np_dot(i, j, unit=False):
    """Sum over axis i of a and j of b for every row, spelled out."""
    def reference(w, a, b):
        if unit:
            a, b = (v / np.linalg.norm(v, axis=k, keepdims=True) for v, k in ((a, i), (b, j)))
        rows = [np.tensordot(p, q, (i - 1, j - 1)) for p, q in zip(a, b)]
        return np.stack([np.atleast_1d(r) for r in rows])
    return reference


def joined(one, two, *_):
    return one | two


CASES = [
    # core
    LayerCase("Dense", dense(), (X,), {"units": 3}),
    LayerCase("Dense", dense(lambda z: np.maximum(z, 0)), (SEQUENCE,), {"units": 6, "activation": "relu"}, tag="relu",
              mask=keep),
    LayerCase("Dense", dense(np.tanh), (X,), {"units": 1, "activation": "tanh", "use_bias": False}, tag="no_bias"),
    LayerCase("Dense", dense(sigmoid), (X,), {"units": 17, "activation": "sigmoid"}, tag="sigmoid"),
    LayerCase("Dense", dense(np_softmax), (X,), {
        "units": 4, "activation": "softmax", "kernel_regularizer": {"class_name": "L2", "config": {"l2": 0.1}},
        "kernel_initializer": "he_normal", "bias_constraint": "non_neg"}, tag="softmax"),
    LayerCase("Embedding", lambda w, x: w[0][x], (integers(3, 5, high=6),), {"input_dim": 6, "output_dim": 4}),
    LayerCase("Embedding", lambda w, x: w[0][x], (integers(3, 5, high=6),),
              {"input_dim": 6, "output_dim": 1, "mask_zero": True}, tag="mask", mask=lambda m, x: x != 0),
    LayerCase("Masking", lambda w, x: x * (x != 0).any(-1, keepdims=True),
              (lambda rng: rng.normal(size=(3, 5, 4)) * (rng.random((3, 5, 1)) < 0.6),),
              mask=lambda m, x: (x != 0).any(-1), grad=False),  # the mask jumps where a step of zeros is moved
    LayerCase("Activation", lambda w, x: x * sigmoid(x), (SEQUENCE,), {"activation": "silu"}, mask=keep),
    LayerCase("Identity", lambda w, x: x, (SEQUENCE,), mask=keep),
    # activation
    LayerCase("ReLU", lambda w, x: np.maximum(x, 0), (SEQUENCE,), mask=keep),
    LayerCase("ReLU", lambda w, x: np.where(x >= 0.2, np.minimum(x, 1), 0.1 * (x - 0.2)), (X,),
              {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2}, tag="all"),
    LayerCase("LeakyReLU", lambda w, x: np.where(x > 0, x, 0.3 * x), (SEQUENCE,), mask=keep),
    LayerCase("PReLU", lambda w, x: np.where(x > 0, x, w[0] * x), (SEQUENCE,), mask=keep),
    LayerCase("PReLU", lambda w, x: np.where(x > 0, x, w[0] * x), (SEQUENCE,), {"shared_axes": [1]}, tag="shared"),
    LayerCase("ELU", lambda w, x: np.where(x > 0, x, 0.7 * np.expm1(x)), (SEQUENCE,), {"alpha": 0.7}, mask=keep),
    LayerCase("Softmax", lambda w, x: np_softmax(x), (X,)),
    LayerCase("Softmax", lambda w, x: np_softmax(x, (1, 2)), (SEQUENCE,), {"axis": [1, 2]}, tag="axes"),
    # regularization
    LayerCase("Dropout", lambda w, x: x, (normal(9, 31),), {"rate": 0.4, "seed": 1}, dropped(0.4), True),
    LayerCase("Dropout", lambda w, x: x, (normal(4, 5, 9),), {"rate": 0.5, "noise_shape": [None, 1, 9], "seed": 4},
              dropped(0.5, (1,)), True, tag="noise_shape", mask=keep),
    LayerCase("GaussianNoise", lambda w, x: x, (normal(9, 31),), {"stddev": 0.3, "seed": 2},
              noise(lambda x: x, lambda x: 0.3), True),
    LayerCase("GaussianDropout", lambda w, x: x, (uniform(9, 31, low=1, high=2),), {"rate": 0.2, "seed": 3},
              noise(lambda x: x, lambda x: x * 0.5), True),
    LayerCase("AlphaDropout", lambda w, x: x, (normal(9, 31),), {"rate": 0.3, "seed": 5}, alpha_dropped(0.3), True),
    LayerCase("ActivityRegularization", lambda w, x: x, (SEQUENCE,), {"l1": 0.1, "l2": 0.2}, mask=keep),
    # reshaping
    LayerCase("Flatten", lambda w, x: x.reshape(len(x), -1), (SEQUENCE,)),
    LayerCase("Flatten", lambda w, x: np.moveaxis(x, 1, -1).reshape(len(x), -1), (normal(2, 3, 4, 5),),
              {"data_format": "channels_first"}, tag="channels_first"),
    LayerCase("Reshape", lambda w, x: x.reshape(len(x), 2, 10), (SEQUENCE,), {"target_shape": (2, 10)}),
    LayerCase("Reshape", lambda w, x: x.reshape(len(x), 10, 2), (SEQUENCE,), {"target_shape": (-1, 2)}, tag="free"),
    LayerCase("Permute", lambda w, x: x.transpose(0, 3, 1, 2), (normal(2, 3, 4, 5),), {"dims": (3, 1, 2)}),
    LayerCase("RepeatVector", lambda w, x: np.stack([x, x, x], 1), (X,), {"n": 3}),
    # merging
    LayerCase("Add", lambda w, a, b, c: a + b + c, (*PAIR, normal(3, 5, 4))),
    LayerCase("Add", lambda w, a, b: a + b[:, None], (normal(3, 5, 4), normal(3, 4)), tag="ranks"),
    LayerCase("Subtract", lambda w, a, b: a - b, PAIR, mask=joined),
    LayerCase("Multiply", lambda w, a, b: a * b, (normal(3, 5, 4), normal(3, 5, 1)), mask=joined),
    LayerCase("Average", lambda w, a, b: (a + b) / 2, PAIR, mask=joined),
    LayerCase("Maximum", lambda w, a, b: np.maximum(a, b), PAIR, mask=joined),
    LayerCase("Minimum", lambda w, a, b: np.minimum(a, b), PAIR, mask=joined),
    LayerCase("Concatenate", lambda w, *x: np.concatenate(x, -1), (normal(3, 5, 4), normal(3, 5, 1)),
              mask=lambda a, b, *_: a | b),
    LayerCase("Concatenate", lambda w, *x: np.concatenate(x, 1), (normal(3, 5, 4), normal(3, 2, 4)), {"axis": 1},
              tag="axis", mask=lambda a, b, *_: np.concatenate([a, b], 1)),
    LayerCase("Dot", np_dot(1, 1), (X, normal(5, 7)), {"axes": 1}),
    LayerCase("Dot", np_dot(2, 1), (SEQUENCE, normal(3, 4, 6)), {"axes": (2, 1)}, tag="matrices"),
    LayerCase("Dot", np_dot(1, 1, True), (X, normal(5, 7)), {"axes": -1, "normalize": True}, tag="cosine"),
    # normalization
    LayerCase("BatchNormalization", batch_inference(), (normal(6, 7),), training=batch_training(), rtol_eps=64),
    LayerCase("BatchNormalization", batch_inference(1), (normal(4, 3, 5, 2),), {"axis": 1}, training=batch_training(1),
              rtol_eps=64, tag="axis"),
    LayerCase("BatchNormalization", lambda w, x: (x - w[0]) / np.sqrt(w[1] + 1e-3), (normal(6, 7),),
              {"center": False, "scale": False}, tag="bare", rtol_eps=64,
              training=lambda w, x: np_standardize(x, 0, epsilon=1e-3)),
    LayerCase("LayerNormalization", lambda w, x: np_standardize(x, -1, epsilon=1e-3) * w[0] + w[1], (SEQUENCE,),
              rtol_eps=64, mask=keep),
    LayerCase("LayerNormalization", lambda w, x: np_standardize(x, (1, 2), epsilon=1e-3) * w[0] + w[1], (SEQUENCE,),
              {"axis": [1, 2]}, rtol_eps=64, tag="axes"),
    LayerCase("RMSNormalization", lambda w, x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * w[0], (SEQUENCE,),
              rtol_eps=64, mask=lambda *_: None),
    LayerCase("GroupNormalization", lambda w, x: np_group(x, 2, w[0], w[1]), (normal(3, 5, 6),), {"groups": 2},
              rtol_eps=64),
    LayerCase("GroupNormalization", lambda w, x: np_group(x, 6, w[0], w[1]), (normal(3, 5, 6),), {"groups": -1},
              rtol_eps=64, tag="instance"),
    LayerCase("GroupNormalization", lambda w, x: np_group(x, 3, w[0], w[1]), (normal(2, 5, 4, 6),), {"groups": 3},
              rtol_eps=64, tag="images"),
    LayerCase("GroupNormalization",
              lambda w, x: np.moveaxis(np_group(np.moveaxis(x, 1, -1), 2, w[0], w[1]), -1, 1), (normal(2, 6, 5, 3),),
              {"groups": 2, "axis": 1}, rtol_eps=64, tag="images, channels first"),
    LayerCase("UnitNormalization", lambda w, x: x / np.linalg.norm(x, axis=-1, keepdims=True), (SEQUENCE,), mask=keep),
    # preprocessing
    LayerCase("Rescaling", lambda w, x: x * 0.5 - 1, (SEQUENCE,), {"scale": 0.5, "offset": -1.0}, mask=keep),
    LayerCase("Rescaling", lambda w, x: x * [1, 2, 3, 4], (SEQUENCE,), {"scale": [1, 2, 3, 4]}, tag="channels"),
    LayerCase("Normalization", lambda w, x: (x - w[0]) / np.sqrt(w[1]), (X,)),
    LayerCase("Normalization", lambda w, x: (x - 3) / 2, (X,), {"mean": 3.0, "variance": 4.0}, tag="given"),
    LayerCase("Normalization", lambda w, x: x * 2 + 3, (X,), {"axis": None, "mean": 3.0, "variance": 4.0,
                                                             "invert": True}, tag="invert"),
]
