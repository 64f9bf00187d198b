import numpy as np

from harness import Case, normal, uniform
from pydl import ops
from pydl.tensor import Variable


def np_standardize(x, axes, centred=True, epsilon=1e-7, weight=None):
    mean = np.average(x, axis=axes, weights=weight, keepdims=True) if centred else 0
    variance = np.average((x - mean) ** 2, axis=axes, weights=weight, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)


def along(v, axis, rank):
    return v.reshape([-1 if a == axis % rank else 1 for a in range(rank)])


def np_batch_normalization(x, mean, variance, scale=None, offset=None, axis=-1, epsilon=1e-3):
    mean, variance = along(mean, axis, x.ndim), along(variance, axis, x.ndim)
    y = (x - mean) / np.sqrt(variance + epsilon)
    y = y if scale is None else y * along(scale, axis, x.ndim)
    return y if offset is None else y + along(offset, axis, x.ndim)


def batch_normalization(x, mean, variance, scale=None, offset=None, axis=-1):
    return ops.batch_normalization(x, mean, variance, axis, offset, scale)


def np_training(x, scale=None, offset=None, axis=-1, mask=None):
    axes = tuple(a for a in range(x.ndim) if a != axis % x.ndim)
    weight = None
    if mask is not None:
        weight = np.broadcast_to(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x.shape).astype(float)
    y = np_standardize(x, axes, epsilon=1e-3, weight=weight)
    y = y if scale is None else y * along(scale, axis, x.ndim)
    return y if offset is None else y + along(offset, axis, x.ndim)


def training(x, scale=None, offset=None, axis=-1, mask=None):
    channels = x.shape[axis]
    moving = [Variable(np.full(channels, v), dtype=x.dtype, trainable=False) for v in (0.0, 1.0)]
    return ops.batch_normalization_training(x, *moving, axis=axis, scale=scale, offset=offset, mask=mask)


def np_layer(x, gamma=None, beta=None, axis=-1):
    y = np_standardize(x, axis)
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


def np_rms(x, scale=None, axis=-1):
    y = np_standardize(x, axis, centred=False)
    return y if scale is None else y * scale


def np_group(x, groups, gamma=None, beta=None):
    shape = x.shape[:-1] + (groups, x.shape[-1] // groups)
    split = x.reshape(shape)
    axes = tuple(a for a in range(1, split.ndim) if a != split.ndim - 2)
    y = np_standardize(split, axes, epsilon=1e-3).reshape(x.shape)
    y = y if gamma is None else y * gamma
    return y if beta is None else y + beta


def np_normalize(x, axis=-1, order=2):
    norm = (np.abs(x) ** order).sum(axis=axis, keepdims=True) ** (1 / order)
    return x / np.maximum(norm, 1e-7)


MASK = np.arange(40).reshape(8, 5) % 3 > 0
CASES = [
    Case("batch_normalization", np_batch_normalization, (normal(6, 5), normal(5), uniform(5, low=0.5, high=2)),
         fn=batch_normalization, rtol_eps=32),
    Case("batch_normalization", np_batch_normalization,
         (normal(2, 3, 19, 4), normal(19), uniform(19, low=0.5, high=2), normal(19), normal(19)), {"axis": 2},
         fn=batch_normalization, tag="axis", rtol_eps=32),
    Case("batch_normalization", np_batch_normalization,
         (normal(3000, 70), normal(70), uniform(70, low=0.5, high=2), normal(70), normal(70)),
         fn=batch_normalization, tag="long", rtol_eps=32),
    Case("batch_normalization_training", np_training, (normal(6, 5),), fn=training, rtol_eps=32, tag="plain"),
    Case("batch_normalization_training", np_training, (normal(4, 7, 33, loc=3), normal(33), normal(33)), fn=training,
         rtol_eps=64, scale=4.0),
    Case("batch_normalization_training", np_training, (normal(4, 7, 33), normal(7), normal(7)), {"axis": 1},
         fn=training, rtol_eps=64, tag="axis"),
    *(Case("batch_normalization_training", np_training, (normal(700, c, loc=20), normal(c), normal(c)), fn=training,
           rtol_eps=64, scale=20.0, tag=f"{c} channels") for c in (16, 32, 64, 100)),  # 1, 2, 4 and more registers
    Case("batch_normalization_training", np_training, (normal(5003, 33, loc=100), normal(33), normal(33)), fn=training,
         rtol_eps=64, scale=100.0, tag="long"),
    Case("batch_normalization_training", lambda x: np_training(x, mask=MASK), (normal(8, 5, 3),),
         fn=lambda x: training(x, mask=MASK), rtol_eps=64, tag="mask"),
    Case("layer_normalization", np_layer, (normal(7, 5),), rtol_eps=64, scale=1.0, tag="plain"),
    Case("layer_normalization", np_layer, (normal(3, 4, 83, loc=2), normal(83), normal(83)), rtol_eps=64, scale=1.0),
    Case("layer_normalization", np_layer, (normal(900, 130), normal(130), normal(130)), rtol_eps=64, scale=1.0,
         tag="long"),
    Case("layer_normalization", lambda x, g, axis: np_layer(x, g.reshape(1, 4, 1, 6), axis=axis),
         (normal(3, 4, 5, 6), normal(4, 6)), {"axis": (1, 3)}, rtol_eps=64, scale=1.0, tag="axes"),
    Case("rms_normalization", np_rms, (normal(7, 35), normal(35)), rtol_eps=64),
    Case("rms_normalization", np_rms, (normal(7, 35, 2),), {"axis": 1}, rtol_eps=64, tag="axis"),
    Case("group_normalization", np_group, (normal(2, 3, 5, 12),), {"groups": 3}, rtol_eps=64, scale=1.0),
    Case("group_normalization", lambda x, g, b, groups: np_group(x, groups, g, b),
         (normal(2, 9, 8), normal(8), normal(8)), {"groups": 2},
         fn=lambda x, g, b, groups: ops.group_normalization(x, groups, g, b), rtol_eps=64, scale=1.0, tag="scaled"),
    Case("normalize", np_normalize, (normal(4, 7),)),
    Case("normalize", np_normalize, (normal(4, 7),), {"order": 1, "axis": 0}, tag="order1"),
    Case("normalize", np_normalize, (normal(4, 7),), {"order": 3}, tag="order3", rtol_eps=64),
]
