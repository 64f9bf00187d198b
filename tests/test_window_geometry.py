"""Every geometry of the ops that slide windows, forwards and backwards, against sums over a table of places.

A row of tests/cases/ is one geometry that somebody thought of. Here sizes, windows, strides, dilations and paddings of
1 to 9 meet in all combinations on one axis (`slow`), and by seeds on one to three: windows as large as the padded map,
strides past its end, maps of one pixel."""

import itertools

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops
from pydl.tensor import Tensor

RANGE = range(1, 10)
CHANNELS = (1, 2, 3, 6, 16, 17)


def pairs_of(n, size, stride, dilation, padding):
    """(before, after) of one axis."""
    reach = (size - 1) * dilation + 1
    total = max((-(-n // stride) - 1) * stride + reach - n, 0) if padding == "same" else 0
    return (reach - 1, 0) if padding == "causal" else (total // 2, total - total // 2)


def table(n, size, stride, dilation, padding):
    """(positions, size, n): 1 where a tap of a position is a place of the input; None where the window does not fit."""
    before, after = pairs_of(n, size, stride, dilation, padding)
    positions = (n + before + after - (size - 1) * dilation - 1) // stride + 1
    if n + before + after < (size - 1) * dilation + 1:
        return None
    place = np.arange(positions)[:, None] * stride + np.arange(size) * dilation - before
    return (place[:, :, None] == np.arange(n)).astype("float64")


def look(x, tables):
    """(batch, spatial..., channels) -> (batch, positions..., taps..., channels), zeros in padding."""
    rank = len(tables)
    for of_axis in tables:
        x = np.tensordot(x, of_axis, ([1], [2]))
    return x.transpose(0, *range(2, 2 + 2 * rank, 2), *range(3, 3 + 2 * rank, 2), 1)


def put(patches, tables):
    """The transpose of `look`."""
    rank = len(tables)
    x = patches.transpose(0, 2 * rank + 1, *(at for axis in range(rank) for at in (1 + axis, 1 + rank + axis)))
    for of_axis in tables:
        x = np.tensordot(x, of_axis, ([2, 3], [0, 1]))
    return np.moveaxis(x, 1, -1)


class Geometry:
    """What a draw gives: sizes, windows, strides, dilations of `rank` axes, and a padding that they fit."""

    def __init__(self, rank, rng=None, values=None, dilated=True):
        while True:
            if values is None:
                draw = rng.integers(1, 10 if rank < 3 else 6, (3, rank))
                dilation = rng.integers(1, 4, rank) if dilated else [1] * rank
                self.values = (*draw.tolist(), list(map(int, dilation)), ("valid", "same")[rng.integers(2)])
            else:
                self.values = values
            self.spatial, self.sizes, self.strides, self.dilation, self.padding = self.values
            self.tables = [table(*axis, self.padding)
                           for axis in zip(self.spatial, self.sizes, self.strides, self.dilation)]
            if values is not None or all(t is not None for t in self.tables):
                break
        self.fits = all(t is not None for t in self.tables)
        self.rank = rank
        self.taps = tuple(range(1 + rank, 1 + 2 * rank))

    def __str__(self):
        return "sizes {}, windows {}, strides {}, dilation {}, padding {}".format(*self.values)


def integers(rng, *shape):
    """Small ones: their sums are the same in float32."""
    return rng.integers(-4, 5, shape).astype("float64")


def compare(geometry, what, function, reference, inputs, rng):
    """Value and gradients of `function` against `reference(*inputs, dy=None or (what makes dy of y))`."""
    tensors = [Tensor(x.astype("float32")) for x in inputs]
    with keras.GradientTape() as tape:
        tape.watch(tensors)
        y = function(*tensors)
        dy = integers(rng, *y.shape)
        total = ops.sum(y * dy.astype("float32"))
    gradients = [g.data for g in tape.gradient(total, tensors)]
    want_y, *want = reference(*inputs, dy)
    for got, wanted, name in zip([y.data, *gradients], [want_y, *want], ["value", *map(str, range(9))]):
        assert got.shape == wanted.shape, f"{what}, {name}: shape {got.shape}, expected {wanted.shape}; {geometry}"
        scale = max(1.0, float(np.abs(wanted).max(initial=0)))
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5 * scale, err_msg=f"{what}, {name}; {geometry}")


def check_conv(g, rng):
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    depth, filters = (int(rng.choice(CHANNELS)) for _ in range(2))
    x = integers(rng, 2, *g.spatial, groups * depth)
    kernel = integers(rng, *g.sizes, depth, groups * filters)
    bias = integers(rng, groups * filters)

    def reference(x, kernel, bias, dy):
        parts = []
        for i in range(groups):
            own, out = slice(i * depth, (i + 1) * depth), slice(i * filters, (i + 1) * filters)
            patches, weights = look(x[..., own], g.tables), kernel[..., out]
            along = (tuple(range(1 + g.rank, 2 + 2 * g.rank)), tuple(range(g.rank + 1)))
            places = tuple(range(1 + g.rank))
            parts.append((np.tensordot(patches, weights, along),
                          put(np.tensordot(dy[..., out], weights, ([-1], [-1])), g.tables),
                          np.tensordot(patches, dy[..., out], (places, places))))
        y, dx, dkernel = (np.concatenate(part, -1) for part in zip(*parts))
        return y + bias, dx, dkernel, dy.sum(tuple(range(dy.ndim - 1)))

    compare(g, f"conv, {groups} groups of {depth} to {filters}",
            lambda x, k, b: ops.conv(x, k, g.strides, g.padding, None, g.dilation, bias=b), reference,
            (x, kernel, bias), rng)


def check_depthwise(g, rng):
    channels, multiplier = int(rng.choice(CHANNELS)), int(rng.choice([1, 1, 2]))
    x = integers(rng, 2, *g.spatial, channels)
    kernel = integers(rng, *g.sizes, channels, multiplier)
    bias = integers(rng, channels * multiplier)
    places = tuple(range(1 + g.rank))

    def reference(x, kernel, bias, dy):
        patches = look(x, g.tables)[..., None]
        of_dy = dy.reshape(*dy.shape[:-1], channels, multiplier)
        spread = np.expand_dims(of_dy, g.taps)
        y = (patches * kernel).sum(g.taps).reshape(dy.shape) + bias
        return (y, put((spread * kernel).sum(-1), g.tables), (patches * spread).sum(places), dy.sum(places))

    compare(g, f"depthwise_conv, {channels} channels",
            lambda x, k, b: ops.depthwise_conv(x, k, g.strides, g.padding, None, g.dilation, bias=b), reference,
            (x, kernel, bias), rng)


def check_separable(g, rng):
    channels, filters = (int(rng.choice(CHANNELS)) for _ in range(2))
    x = integers(rng, 2, *g.spatial, channels)
    kernel, mix = integers(rng, *g.sizes, channels, 1), integers(rng, *[1] * g.rank, channels, filters)
    places = tuple(range(1 + g.rank))

    def reference(x, kernel, mix, dy):
        patches, own, matrix = look(x, g.tables), kernel[..., 0], mix.reshape(channels, filters)
        inner = (patches * own).sum(g.taps)
        dinner = np.expand_dims(dy @ matrix.T, g.taps)
        return (inner @ matrix, put(dinner * own, g.tables), (patches * dinner).sum(places)[..., None],
                np.tensordot(inner, dy, (places, places)).reshape(mix.shape))

    compare(g, f"separable_conv, {channels} to {filters}",
            lambda x, k, m: ops.separable_conv(x, k, m, g.strides, g.padding, None, g.dilation), reference,
            (x, kernel, mix), rng)


def check_transposed(g, rng):
    """The gradient of a convolution for its input: its tables are those of the larger map."""
    channels, filters = (int(rng.choice(CHANNELS)) for _ in range(2))
    x = integers(rng, 2, *g.spatial, channels)
    kernel, bias = integers(rng, *g.sizes, filters, channels), integers(rng, filters)
    tables = []
    for n, size, stride, dilation in zip(g.spatial, g.sizes, g.strides, g.dilation):
        reach = (size - 1) * dilation + 1
        larger = n * stride if g.padding == "same" else n * stride + max(reach - stride, 0)
        before = pairs_of(larger, size, stride, dilation, "same")[0] if g.padding == "same" else 0
        place = np.arange(n)[:, None] * stride + np.arange(size) * dilation - before
        tables.append((place[:, :, None] == np.arange(larger)).astype("float64"))
    places = tuple(range(1 + g.rank))

    def reference(x, kernel, bias, dy):
        patches = look(dy, tables)
        along = (tuple(range(1 + g.rank, 2 + 2 * g.rank)), tuple(range(g.rank + 1)))
        y = put(np.tensordot(x, kernel, ([-1], [-1])), tables) + bias
        return y, np.tensordot(patches, kernel, along), np.tensordot(patches, x, (places, places)), dy.sum(places)

    compare(g, f"conv_transpose, {channels} to {filters}",
            lambda x, k, b: ops.conv_transpose(x, k, g.strides, g.padding, None, None, g.dilation, bias=b), reference,
            (x, kernel, bias), rng)


def check_pools(g, rng):
    channels = int(rng.choice(CHANNELS))
    x = integers(rng, 2, *g.spatial, channels)
    tables = [table(n, k, s, 1, g.padding) for n, k, s in zip(g.spatial, g.sizes, g.strides)]
    if any(t is None for t in tables):
        return
    inside = look(np.ones_like(x), tables)
    count = inside.sum(g.taps)

    def flat(patches):
        """The taps as one axis, the last."""
        return np.moveaxis(patches, -1, 1 + g.rank).reshape(*patches.shape[:1 + g.rank], channels, -1)

    def average(x, dy):
        share = np.broadcast_to(np.expand_dims(dy / count, g.taps), inside.shape) * inside
        return look(x, tables).sum(g.taps) / count, put(share, tables)

    def largest(x, dy):
        patches = flat(np.where(inside > 0, look(x, tables), -np.inf))
        chosen = (np.arange(patches.shape[-1]) == patches.argmax(-1)[..., None]) * dy[..., None]
        shaped = chosen.reshape(*chosen.shape[:-1], *g.sizes)
        return patches.max(-1), put(np.moveaxis(shaped, 1 + g.rank, -1), tables)

    compare(g, "average_pool", lambda x: ops.average_pool(x, g.sizes, g.strides, g.padding), average, (x,), rng)
    compare(g, "max_pool", lambda x: ops.max_pool(x, g.sizes, g.strides, g.padding), largest, (x,), rng)


def check_adaptive(g, rng):
    """As many windows as the geometry has taps, more than there are places included."""
    x = integers(rng, 2, *g.spatial, int(rng.choice(CHANNELS)))
    tables = []
    for n, outputs in zip(g.spatial, g.sizes):
        place, o = np.arange(n), np.arange(outputs)[:, None]
        tables.append(((place >= o * n // outputs) & (place < -(-(o + 1) * n // outputs))).astype("float64"))

    def average(x, dy):
        y, dx = x, dy
        for of_axis in tables:
            mean = of_axis / of_axis.sum(1, keepdims=True)
            y, dx = (np.tensordot(a, m, ([1], [1])) for a, m in ((y, mean), (dx, mean.T)))
        return np.moveaxis(y, 1, -1), np.moveaxis(dx, 1, -1)

    def largest(x, dy):
        y, dx = np.zeros(dy.shape), np.zeros(x.shape)
        for at in np.ndindex(*dy.shape[1:-1]):
            window = np.ix_(*(np.flatnonzero(of_axis[o]) for of_axis, o in zip(tables, at)))
            for b, c in np.ndindex(x.shape[0], x.shape[-1]):
                part = x[b, ..., c][window]
                y[(b, *at, c)] = part.max()
                place = np.unravel_index(part.argmax(), part.shape)
                dx[(b, *(w.ravel()[p] for w, p in zip(window, place)), c)] += dy[(b, *at, c)]
        return y, dx

    compare(g, "adaptive_average_pool", lambda x: ops.adaptive_average_pool(x, g.sizes), average, (x,), rng)
    if x.size * np.prod(g.sizes) < 20000:
        compare(g, "adaptive_max_pool", lambda x: ops.adaptive_max_pool(x, g.sizes), largest, (x,), rng)


def check_patches(g, rng):
    if g.rank == 1:
        return
    x = integers(rng, 2, *g.spatial, int(rng.choice(CHANNELS)))

    def reference(x, dy):
        patches = look(x, g.tables)
        return patches.reshape(dy.shape), put(dy.reshape(patches.shape), g.tables)

    compare(g, "extract_patches",
            lambda x: ops.image.extract_patches(x, tuple(g.sizes), tuple(g.strides), tuple(g.dilation), g.padding),
            reference, (x,), rng)


def check_padding(g, rng):
    """The sizes of the geometry in front of an axis, its strides behind."""
    x = integers(rng, 2, *g.spatial, 2)
    widths = [(0, 0), *zip(g.sizes, g.strides), (0, 0)]
    for mode in ("constant", "edge", "reflect", "symmetric"):
        sources = [np.pad(np.arange(1, n + 1), pair, mode) - 1 for n, pair in zip(x.shape, widths)]  # -1: a constant
        tables = [(s[:, None] == np.arange(n)).astype("float64") for s, n in zip(sources, x.shape)]

        def reference(x, dy):
            y, dx = x, dy
            for of_axis in tables:
                y, dx = np.tensordot(y, of_axis, ([0], [1])), np.tensordot(dx, of_axis, ([0], [0]))
            return y, dx

        compare(g, f"pad, {mode}", lambda x: ops.pad(x, widths, mode), reference, (x,), rng)


CHECKS = {name.removeprefix("check_"): check for name, check in sorted(globals().items()) if name.startswith("check_")}


@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize(("rank", "draws"), [(1, 60), (2, 60), (3, 30)])
def test_geometries_by_seeds(name, rank, draws):
    rng = np.random.default_rng(rank)
    for _ in range(draws):
        CHECKS[name](Geometry(rank, rng), rng)


@pytest.mark.parametrize("values", [
    ([9, 8], [3, 3], [3, 8], [3, 3], "same"),  # inputs that no tap reaches, strides that do not divide the dilation
    ([1, 5, 2], [2, 5, 2], [3, 3, 2], [3, 1, 3], "same"),
    ([3, 3], [3, 3], [4, 4], [1, 1], "same"), ([1, 1], [1, 1], [2, 2], [1, 1], "valid"),
    ([2, 9], [1, 1], [9, 9], [1, 1], "same"), ([8, 8], [3, 3], [2, 2], [1, 1], "same"),
], ids=str)
def test_geometries_that_went_wrong(values):
    rng = np.random.default_rng(0)
    for name in ("conv", "depthwise", "separable", "transposed", "pools", "patches"):
        for _ in range(6):
            CHECKS[name](Geometry(len(values[0]), values=values), rng)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_every_geometry_of_one_axis(name, padding):
    rng = np.random.default_rng(0)
    for n, size, stride, dilation in itertools.product(RANGE, RANGE, RANGE, (1, 2, 3)):
        geometry = Geometry(1, values=([n], [size], [stride], [dilation], padding))
        if geometry.fits:
            CHECKS[name](geometry, rng)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_many_geometries_by_seeds(name, rank, seed):
    rng = np.random.default_rng([rank, seed])
    for _ in range(500):
        CHECKS[name](Geometry(rank, rng), rng)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 3, 2), (3, 3, 4), (1, 1, 2), (2, 3, 3), (3, 2, 9)])
@pytest.mark.parametrize("layer", [layers.Conv2D, layers.SeparableConv2D, layers.MaxPooling2D, layers.AveragePooling2D])
def test_strided_layers_down_to_one_pixel_and_past_it_train(layer, size, kernel, stride):
    def one():
        if issubclass(layer, (layers.MaxPooling2D, layers.AveragePooling2D)):
            return layer(kernel, stride, padding="same")
        return layer(4, kernel, strides=stride, padding="same")

    net = keras.Sequential([keras.Input((size, size, 3)), *(one() for _ in range(4)), layers.Flatten(),
                            layers.Dense(1)])
    net.compile("sgd", "mse")
    history = net.fit(np.ones((4, size, size, 3), "float32"), np.ones((4, 1), "float32"), verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("strides", [10**9, 2**31, 2**62, 10**30])
def test_a_stride_past_every_map_leaves_one_position(strides):
    x, kernel = Tensor(np.ones((2, 5, 6, 3), "float32")), Tensor(np.ones((3, 3, 3, 4), "float32"))
    for padding in ("valid", "same"):
        assert (ops.conv(x, kernel, strides, padding).data[:, 0, 0] > 0).all()
        assert ops.max_pool(x, 3, strides, padding).shape == (2, 1, 1, 3)
        assert ops.average_pool(x, 3, strides, padding).shape == (2, 1, 1, 3)
        assert ops.depthwise_conv(x, kernel, strides, padding).shape == (2, 1, 1, 12)
    with keras.GradientTape() as tape:
        tape.watch([x, kernel])
        y = ops.sum(ops.conv(x, kernel, strides))
    assert [float(ops.sum(g)) for g in tape.gradient(y, [x, kernel])] == [2 * 27 * 4, 2 * 27 * 4]
