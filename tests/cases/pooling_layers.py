"""Rows of pooling, padding, cropping, up-sampling and spatial dropout."""

import numpy as np

from cases.image import np_resize
from cases.layers import dropped
from cases.pooling import np_adaptive, np_pool
from harness import LayerCase, normal

FIRST = {"data_format": "channels_first"}
SEQUENCE, IMAGE, VOLUME = normal(2, 7, 5), normal(2, 7, 6, 3), normal(2, 5, 4, 6, 3)
POOLS = [
    ("1D", SEQUENCE, {"pool_size": 2}, ""),
    ("1D", SEQUENCE, {"pool_size": 3, "strides": 2, "padding": "same"}, "same"),
    ("2D", IMAGE, {"pool_size": 2}, ""),
    ("2D", normal(2, 6, 5, 17), {"pool_size": (3, 2), "strides": (2, 1), "padding": "same"}, "same"),
    ("2D", normal(2, 3, 6, 7), {"pool_size": 2, **FIRST}, "channels_first"),
    ("3D", VOLUME, {"pool_size": 2}, ""),
    ("3D", VOLUME, {"pool_size": (2, 3, 2), "strides": 2, "padding": "same"}, "same"),
]
ADAPTIVE = [("1D", SEQUENCE, {"output_size": 3}, ""), ("2D", IMAGE, {"output_size": (3, 4)}, ""),
            ("2D", normal(2, 3, 6, 7), {"output_size": 2, **FIRST}, "channels_first"),
            ("3D", VOLUME, {"output_size": (2, 2, 3)}, "")]


def sliding(args, reduce):
    return lambda w, x: np_pool(reduce)(x, **args)


def adaptive(args, reduce):
    return lambda w, x: np_adaptive(reduce)(x, **args)


def padded(*pairs):
    """Zeros around; one pair (before, after) per axis."""
    return lambda w, x: np.pad(x, pairs)


def repeated(**times):
    """axis_<n>=times: every place of these axes repeated."""
    def reference(w, x):
        for axis, count in times.items():
            x = np.repeat(x, count, int(axis[-1]))
        return x
    return reference


def over(reduce, axes, keepdims=False):
    return lambda w, x: reduce(x, axis=axes, keepdims=keepdims)


CASES = [
    *(LayerCase(f"{kind}Pooling{rank}", sliding(args, reduce), (x,), args, tag=tag)
      for kind, reduce in (("Max", np.max), ("Average", np.mean)) for rank, x, args, tag in POOLS),
    *(LayerCase(f"Adaptive{kind}Pooling{rank}", adaptive(args, reduce), (x,), args, tag=tag)
      for kind, reduce in (("Max", np.max), ("Average", np.mean)) for rank, x, args, tag in ADAPTIVE),
    *(LayerCase(f"Global{kind}Pooling{rank}", over(reduce, axes), (x,))
      for kind, reduce in (("Max", np.max), ("Average", np.mean))
      for rank, x, axes in (("1D", SEQUENCE, 1), ("2D", IMAGE, (1, 2)), ("3D", VOLUME, (1, 2, 3)))),
    *(LayerCase(f"Global{kind}Pooling{rank}", over(reduce, axes, True), (x,), {"keepdims": True, **FIRST}, tag="kept")
      for kind, reduce in (("Max", np.max), ("Average", np.mean))
      for rank, x, axes in (("1D", SEQUENCE, 2), ("2D", IMAGE, (2, 3)), ("3D", VOLUME, (2, 3, 4)))),
    # around and between
    LayerCase("ZeroPadding1D", padded((0, 0), (1, 1), (0, 0)), (SEQUENCE,)),
    LayerCase("ZeroPadding1D", padded((0, 0), (0, 0), (2, 0)), (SEQUENCE,), {"padding": (2, 0), **FIRST},
              tag="channels_first"),
    LayerCase("ZeroPadding2D", padded((0, 0), (1, 1), (1, 1), (0, 0)), (IMAGE,)),
    LayerCase("ZeroPadding2D", padded((0, 0), (0, 0), (2, 2), (0, 3)), (IMAGE,), {"padding": (2, (0, 3)), **FIRST},
              tag="channels_first"),
    LayerCase("ZeroPadding3D", padded((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)), (VOLUME,)),
    LayerCase("ZeroPadding3D", padded((0, 0), (0, 0), (1, 1), (2, 2), (0, 3)), (VOLUME,),
              {"padding": ((1, 1), (2, 2), (0, 3)), **FIRST}, tag="channels_first"),
    LayerCase("Cropping1D", lambda w, x: x[:, 1:-1], (SEQUENCE,)),
    LayerCase("Cropping1D", lambda w, x: x[:, 3:], (SEQUENCE,), {"cropping": (3, 0)}, tag="front"),
    LayerCase("Cropping2D", lambda w, x: x, (IMAGE,), tag="nothing"),
    LayerCase("Cropping2D", lambda w, x: x[:, 1:-2, 2:-2], (IMAGE,), {"cropping": ((1, 2), 2)}),
    LayerCase("Cropping2D", lambda w, x: x[:, :, 1:-1, 1:-1], (IMAGE,), {"cropping": 1, **FIRST}, tag="channels_first"),
    LayerCase("Cropping3D", lambda w, x: x[:, 1:-1, 1:-1, 1:-1], (VOLUME,)),
    LayerCase("Cropping3D", lambda w, x: x[:, :, 1:-1, :-2, 1:], (VOLUME,),
              {"cropping": ((1, 1), (0, 2), (1, 0)), **FIRST}, tag="channels_first"),
    LayerCase("UpSampling1D", repeated(axis_1=2), (SEQUENCE,)),
    LayerCase("UpSampling2D", repeated(axis_1=2, axis_2=2), (IMAGE,)),
    LayerCase("UpSampling2D", repeated(axis_2=3, axis_3=2), (IMAGE,), {"size": (3, 2), **FIRST}, tag="channels_first"),
    *[LayerCase("UpSampling2D", lambda w, x, i=i: np_resize(x, (2 * x.shape[1], 3 * x.shape[2]), i), (IMAGE,),
                {"size": (2, 3), "interpolation": i}, tag=i, rtol_eps=64) for i in ("bilinear", "bicubic", "lanczos3")],
    LayerCase("UpSampling3D", repeated(axis_1=2, axis_2=2, axis_3=2), (VOLUME,)),
    LayerCase("UpSampling3D", repeated(axis_2=1, axis_3=2, axis_4=3), (VOLUME,), {"size": (1, 2, 3), **FIRST},
              tag="channels_first"),
    # whole channels dropped
    LayerCase("SpatialDropout1D", lambda w, x: x, (normal(6, 4, 9),), {"rate": 0.4, "seed": 1},
              dropped(0.4, (1,)), True),
    LayerCase("SpatialDropout2D", lambda w, x: x, (normal(6, 3, 4, 9),), {"rate": 0.5, "seed": 2},
              dropped(0.5, (1, 2)), True),
    LayerCase("SpatialDropout2D", lambda w, x: x, (normal(6, 9, 3, 4),), {"rate": 0.5, "seed": 3, **FIRST},
              dropped(0.5, (2, 3)), True, tag="channels_first"),
    LayerCase("SpatialDropout3D", lambda w, x: x, (normal(6, 2, 3, 4, 9),), {"rate": 0.3, "seed": 4},
              dropped(0.3, (1, 2, 3)), True),
]
