"""Images: resizing, patches, geometric transforms, colours, and the layers made of them; oracles pixel by pixel."""

from __future__ import annotations

import colorsys

import numpy as np

from harness import Case, LayerCase, integers, normal, uniform
from pydl import ops

KEYS = {
    "bilinear": (1, lambda x: 1 - x),
    "bicubic": (2, lambda x: 1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2),
    "lanczos3": (3, lambda x: np.sinc(x) * np.sinc(x / 3)),
    "lanczos5": (5, lambda x: np.sinc(x) * np.sinc(x / 5)),
}


def np_resize_axis(x, axis, m, interpolation, antialias):
    x = np.moveaxis(x, axis, 0)
    n = len(x)
    y = np.zeros((m, *x.shape[1:]))
    for j in range(m):
        if interpolation == "nearest":
            y[j] = x[int(np.floor((j + 0.5) * n / m))]
            continue
        radius, f = KEYS[interpolation]
        wide = max(n / m, 1) if antialias else 1
        at = (j + 0.5) * n / m - 0.5
        taps = [(i, f(abs(at - i) / wide)) for i in range(n) if abs(at - i) / wide < radius]
        y[j] = sum(w * x[i] for i, w in taps) / sum(w for _, w in taps)
    return np.moveaxis(y, 0, axis)


def np_resize(x, size, interpolation="bilinear", antialias=False, data_format=None, **_):
    h, w = (-2, -1) if data_format == "channels_first" else (-3, -2)
    y = np_resize_axis(np_resize_axis(x, h, size[0], interpolation, antialias), w, size[1], interpolation, antialias)
    return y if x.dtype.kind == "f" else np.clip(np.rint(y), 0, 255).astype(x.dtype)


def np_extract(x, size, strides=None, dilation_rate=1, padding="valid", data_format=None):
    if data_format == "channels_first":
        return np.moveaxis(np_extract(np.moveaxis(x, -3, -1), size, strides, dilation_rate, padding), -1, -3)
    if x.ndim == 3:
        return np_extract(x[None], size, strides, dilation_rate, padding)[0]
    (kh, kw), (sh, sw), (dh, dw) = (np.broadcast_to(v, 2) for v in (size, strides or size, dilation_rate))
    if padding == "same":
        total = [max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
                 for n, s, k, d in zip(x.shape[1:3], (sh, sw), (kh, kw), (dh, dw))]
        x = np.pad(x, [(0, 0), *((t // 2, t - t // 2) for t in total), (0, 0)])
    rows = range(0, x.shape[1] - (kh - 1) * dh, sh)
    cols = range(0, x.shape[2] - (kw - 1) * dw, sw)
    return np.stack([np.stack([x[:, r : r + (kh - 1) * dh + 1 : dh, c : c + (kw - 1) * dw + 1 : dw].reshape(len(x), -1)
                               for c in cols], 1) for r in rows], 1)


def np_extract_3d(x, size):
    n, d, h, w, c = x.shape
    a, b, e = size
    x = x[:, : d // a * a, : h // b * b, : w // e * e].reshape(n, d // a, a, h // b, b, w // e, e, c)
    return x.transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(n, d // a, h // b, w // e, -1)


def np_pixel(image, r, c, mode, value):
    h, w = image.shape[:2]
    if mode == "constant":
        return image[r, c] if 0 <= r < h and 0 <= c < w else np.full(image.shape[2], value)
    pad = {"nearest": "edge", "wrap": "wrap", "mirror": "reflect", "reflect": "symmetric"}[mode]
    reach = [(max(-i, 0), max(i - n + 1, 0)) for i, n in ((r, h), (c, w))]
    padded = np.pad(image, [*reach, (0, 0)], mode=pad)
    return padded[r + reach[0][0], c + reach[1][0]]


def np_affine(x, transform, interpolation="bilinear", fill_mode="constant", fill_value=0, data_format=None):
    if data_format == "channels_first":
        y = np_affine(np.moveaxis(x, -3, -1), transform, interpolation, fill_mode, fill_value)
        return np.moveaxis(y, -1, -3)
    if x.ndim == 3:
        return np_affine(x[None], transform, interpolation, fill_mode, fill_value)[0]
    y = np.zeros(x.shape)
    for b, (a0, a1, a2, b0, b1, b2, c0, c1) in enumerate(np.broadcast_to(transform, (len(x), 8)).astype("float64")):
        for row, col in np.ndindex(*x.shape[1:3]):
            k = c0 * col + c1 * row + 1
            u, v = (a0 * col + a1 * row + a2) / k, (b0 * col + b1 * row + b2) / k
            if interpolation == "nearest":
                y[b, row, col] = np_pixel(x[b], int(np.rint(v)), int(np.rint(u)), fill_mode, fill_value)
                continue
            left, top = int(np.floor(u)), int(np.floor(v))
            y[b, row, col] = sum(abs((1 - i) - (v - top)) * abs((1 - j) - (u - left))
                                 * np_pixel(x[b], top + i, left + j, fill_mode, fill_value)
                                 for i in (0, 1) for j in (0, 1))
    return y if x.dtype.kind == "f" else np.clip(np.rint(y), 0, 255).astype(x.dtype)


def image_case(name, reference, inputs, kwargs=None, **options):
    return Case(name, reference, inputs, kwargs or {}, getattr(ops.image, name), **options)


def bytes_of(*shape):
    return integers(*shape, high=256, dtype="uint8")


TURN = np.array([[0.83, -0.41, 2.3, 0.37, 1.12, -1.9, 0.01, -0.02], [1.31, 0.23, -7.7, -0.52, 0.71, 3.3, 0, 0]])
BATCH = normal(2, 6, 7, 3)
def np_map_coordinates(x, coordinates, order, fill_mode="constant", fill_value=0.0):
    y = np.zeros(coordinates.shape[1:])
    for at in np.ndindex(*y.shape):
        places = coordinates[(slice(None), *at)]
        low = np.floor(places).astype(int)
        corners = np.ndindex(*(2,) * x.ndim) if order else [np.rint(places).astype(int) - low]
        for corner in corners:
            index = low + corner
            weight = np.prod(np.abs(1 - np.array(corner) - (places - low))) if order else 1
            padded, inside = x, True
            for axis, (i, n) in enumerate(zip(index, x.shape)):
                inside &= 0 <= i < n
                fixed = {"constant": np.clip(i, 0, n - 1), "nearest": np.clip(i, 0, n - 1), "wrap": i % n,
                         "mirror": [*range(n), *range(n - 2, 0, -1)][i % max(2 * n - 2, 1)],
                         "reflect": [*range(n), *range(n - 1, -1, -1)][i % (2 * n)]}[fill_mode]
                padded = padded[fixed]
            y[at] += weight * (padded if inside or fill_mode != "constant" else fill_value)
    return y


def pixelwise(f):
    return lambda x: np.apply_along_axis(lambda pixel: f(*pixel), -1, x)


LUMA = [0.2989, 0.5870, 0.1140]


def cropped(x, top, left, height, width):
    return x[..., top : top + height, left : left + width, :]


# The scale of resizing: a position p, and with it a weight, is good to p eps.
OPS = [
    *[image_case("resize", np_resize, (BATCH,), {"size": size, "interpolation": k, "antialias": antialias},
                 tag=f"{k} {size} {antialias}", rtol_eps=32, scale=1)
      for k in ("nearest", *KEYS) for size in ((9, 4), (3, 15)) for antialias in (False, True)],
    image_case("resize", np_resize, (normal(6, 5, 20),), {"size": (5, 7)}, tag="one image, many channels",
               rtol_eps=32, scale=1),
    image_case("resize", np_resize, (normal(2, 2, 19, 33),), {"size": (40, 21), "data_format": "channels_first"},
               tag="channels_first", rtol_eps=32, scale=4),
    image_case("resize", np_resize, (bytes_of(2, 5, 6, 3),), {"size": (7, 4), "interpolation": "bicubic"}, tag="bytes",
               grad=()),
    image_case("resize", np_resize, (normal(3, 90, 70, 3),), {"size": (64, 96)}, tag="large", rtol_eps=32, scale=9),
    image_case("resize", lambda x, size, **_: np_resize(x[:, :, 1:5], size), (normal(2, 4, 6, 1),),
               {"size": (8, 8), "crop_to_aspect_ratio": True}, tag="crop", rtol_eps=32, scale=1),
    image_case("resize", lambda x, size, **_: np_resize(np.pad(x, [(0, 0), (1, 1), (0, 0), (0, 0)],
                                                               constant_values=2.0), size),
               (normal(2, 4, 6, 1),), {"size": (8, 8), "pad_to_aspect_ratio": True, "fill_value": 2.0}, tag="pad",
               rtol_eps=32, scale=1),
    image_case("extract_patches", np_extract, (BATCH,), {"size": 3}),
    image_case("extract_patches", np_extract, (BATCH,), {"size": (3, 2), "strides": (2, 1), "padding": "same"},
               tag="same"),
    image_case("extract_patches", np_extract, (normal(9, 8, 2),), {"size": 2, "strides": 1, "dilation_rate": (2, 3)},
               tag="dilated"),
    image_case("extract_patches", np_extract, (normal(2, 3, 6, 5),),
               {"size": 2, "strides": 3, "padding": "same", "data_format": "channels_first"}, tag="channels_first"),
    image_case("extract_patches", np_extract_3d, (normal(2, 4, 5, 6, 2),), {"size": (2, 2, 3)}, tag="volumes"),
    image_case("extract_patches_3d", lambda x, size: np_extract_3d(x, (size,) * 3), (normal(2, 4, 5, 6, 2),),
               {"size": 2}),
    *[image_case("affine_transform", np_affine, (BATCH, TURN), {"interpolation": i, "fill_mode": m, "fill_value": 0.7},
                 tag=f"{i} {m}", grad=(0,))
      for i in ("bilinear", "nearest") for m in ("constant", "nearest", "wrap", "mirror", "reflect")],
    image_case("affine_transform", np_affine, (normal(3, 8, 7), TURN[0]), {"data_format": "channels_first"},
               tag="one image", grad=(0,)),
    image_case("affine_transform", np_affine, (bytes_of(2, 4, 6, 3), TURN), {"fill_mode": "reflect"}, tag="bytes",
               grad=()),
    image_case("affine_transform", np_affine, (normal(2, 70, 60, 3), TURN[1:]), {"fill_mode": "reflect"}, tag="large",
               grad=(0,), scale=1),
    *[image_case("map_coordinates", np_map_coordinates, (normal(4, 5), uniform(2, 9, 3, low=-5, high=9)),
                 {"order": order, "fill_mode": m, "fill_value": 0.7}, tag=f"{order} {m}", scale=1,
                 grad="all" if order else (0,))
      for order in (0, 1) for m in ("constant", "nearest", "wrap", "mirror", "reflect")],
    image_case("map_coordinates", np_map_coordinates, (normal(4, 1, 5), uniform(3, 20, low=-3, high=6)),
               {"order": 1, "fill_mode": "mirror"}, tag="rank 3", scale=1),
    image_case("rgb_to_hsv", pixelwise(colorsys.rgb_to_hsv), (uniform(2, 5, 4, 3, low=0, high=1),)),
    image_case("rgb_to_hsv", pixelwise(colorsys.rgb_to_hsv), (integers(5, 4, 3, high=3, dtype="float64"),), grad=(),
               tag="grey and primary"),
    image_case("hsv_to_rgb", pixelwise(colorsys.hsv_to_rgb), (uniform(2, 5, 4, 3, low=0, high=1),), scale=1),
    image_case("crop_images", lambda x, **_: cropped(x, 1, 2, 3, 4), (BATCH,),
               {"top_cropping": 1, "target_height": 3, "left_cropping": 2, "right_cropping": 1}),
    image_case("pad_images", lambda x, **_: np.pad(x, [(0, 0), (1, 2), (3, 0), (0, 0)]), (BATCH,),
               {"top_padding": 1, "bottom_padding": 2, "right_padding": 0, "target_width": 10}),
    image_case("rgb_to_grayscale", lambda x: (x @ LUMA)[..., None], (BATCH,)),
    image_case("rgb_to_grayscale", lambda x, data_format: np.einsum("bchw,c->bhw", x, LUMA)[:, None],
               (normal(2, 3, 4, 5),), {"data_format": "channels_first"}, tag="channels_first"),
]


def same(w, x):
    return x


def each_is(*choices):
    """Every image of y is one of the choices f(x), and more than one choice occurs in a batch."""
    def check(w, y, x):
        found = {next((i for i, f in enumerate(choices) if np.allclose(f(a), b, rtol=1e-6)), None)
                 for a, b in zip(x, y)}
        assert None not in found and (len(found) > 1 or len(x) == 1)
    return check


def contrasted(w, y, x):
    mean = x.mean((1, 2), keepdims=True)
    factor = (y - mean) / (x - mean)
    inside = (y > 0) & (y < 255)
    for f, k in zip(factor, inside):
        assert np.ptp(f[k]) < 1e-2 and 1 <= f[k].mean() <= 1.5


def brightened(w, y, x):
    for shift, k in zip(y - x, (y > 0) & (y < 255)):
        assert np.ptp(shift[k]) < 1e-3 and abs(shift[k].mean()) <= 0.3 * 255


def window_of(height, width):
    def check(w, y, x):
        assert any(np.allclose(y, cropped(x, r, c, height, width)) for r in range(x.shape[1] - height + 1)
                   for c in range(x.shape[2] - width + 1))
    return check


def ramp(rng):
    """Images whose two channels are the column and the row: a transform can be read off a pixel."""
    return np.broadcast_to(np.stack(np.meshgrid(np.arange(11.0), np.arange(9.0)), -1), (6, 9, 11, 2)).copy()


def transformed(check):
    """For ramps: fits column' and row' of the pixels that stay inside as affine functions of column and row."""
    def fit(w, y, x):
        rows, cols = np.mgrid[: x.shape[1], : x.shape[2]]
        for a in y:
            at = (a[..., 0] >= 0) & (a[..., 1] >= 0)  # outside shows -1e4, also in parts
            basis = np.stack([cols[at], rows[at], np.ones(at.sum())], 1)
            solution, *_ = np.linalg.lstsq(basis, a[at], rcond=None)
            np.testing.assert_allclose(basis @ solution, a[at], atol=2e-4)
            check(solution.T)
    return fit


def rotated(m):
    angle = np.arctan2(m[1, 0], m[0, 0])
    assert abs(angle) <= 0.1 * 2 * np.pi + 1e-4
    c, s = np.cos(angle), np.sin(angle)
    np.testing.assert_allclose(m, [[c, -s, 5 - 5 * c + 4 * s], [s, c, 4 - 5 * s - 4 * c]], atol=1e-3)


def zoomed(m):
    down, across = m[1, 1], m[0, 0]
    assert 0.8 <= across <= 1.1 and 0.7 <= down <= 1.3
    np.testing.assert_allclose(m, [[across, 0, 5 * (1 - across)], [0, down, 4 * (1 - down)]], atol=1e-3)


def moved(m):
    assert abs(m[0, 2]) <= 0.3 * 11 + 1e-3 and -1e-3 <= -m[1, 2] <= 0.2 * 9 + 1e-3
    np.testing.assert_allclose(m[:, :2], np.eye(2), atol=1e-3)


OUTSIDE = {"fill_mode": "constant", "fill_value": -1e4}
PIXELS = uniform(6, 5, 7, 3, low=50, high=200)

LAYERS = [
    LayerCase("Resizing", lambda w, x: np_resize(x, (4, 9)), (BATCH,), {"height": 4, "width": 9}, rtol_eps=64),
    LayerCase("Resizing", lambda w, x: np_resize(x, (4, 3), "lanczos3", True, "channels_first"), (normal(2, 3, 8, 7),),
              {"height": 4, "width": 3, "interpolation": "lanczos3", "antialias": True,
               "data_format": "channels_first"}, rtol_eps=64, tag="lanczos3"),
    LayerCase("CenterCrop", lambda w, x: cropped(x, 1, 2, 3, 2), (BATCH,), {"height": 3, "width": 2}),
    LayerCase("CenterCrop", lambda w, x: np_resize(cropped(x, 1, 0, 4, 7), (8, 14)), (BATCH,),
              {"height": 8, "width": 14}, tag="larger", rtol_eps=64),
    LayerCase("RandomFlip", same, (normal(9, 5, 6, 2),), {"seed": 3},
              each_is(lambda a: a, lambda a: a[::-1, ::-1]), True),
    LayerCase("RandomFlip", same, (normal(9, 5, 6, 2),), {"mode": "horizontal", "seed": 3},
              each_is(lambda a: a, lambda a: a[:, ::-1]), True, tag="horizontal"),
    LayerCase("RandomFlip", same, (normal(9, 2, 6, 5),),
              {"mode": "vertical", "seed": 3, "data_format": "channels_first"},
              each_is(lambda a: a, lambda a: a[:, ::-1]), True, tag="channels_first"),
    LayerCase("RandomRotation", same, (ramp,), {"factor": 0.1, "seed": 3, **OUTSIDE}, transformed(rotated), True),
    LayerCase("RandomZoom", same, (ramp,),
              {"height_factor": 0.3, "width_factor": (-0.2, 0.1), "seed": 4, **OUTSIDE}, transformed(zoomed), True),
    LayerCase("RandomTranslation", same, (ramp,),
              {"height_factor": (0, 0.2), "width_factor": 0.3, "seed": 5, **OUTSIDE}, transformed(moved), True),
    LayerCase("RandomCrop", lambda w, x: np_resize(cropped(x, 0, 0, 6, 6), (3, 3)), (BATCH,),
              {"height": 3, "width": 3, "seed": 1}, window_of(3, 3), True, rtol_eps=64),
    LayerCase("RandomContrast", same, (PIXELS,), {"factor": 0.5, "seed": 6}, contrasted, True),
    LayerCase("RandomBrightness", same, (PIXELS,), {"factor": 0.3, "seed": 7}, brightened, True),
]

CASES = OPS + LAYERS
