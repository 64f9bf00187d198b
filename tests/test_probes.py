"""Shapes of symbolic results where sizes are not known: None where they matter, the size where not. No number that
stands for an unknown size is ever seen."""

import re

import numpy as np
import pytest

import pydl as keras
from pydl import layers, ops, tree


def K(*shape, dtype="float32"):  # noqa: N802  it stands for a class
    return keras.KerasTensor(shape, dtype)


# What NumPy's rules give for every size that fits; None where it is not the same for all.
@pytest.mark.parametrize("call, want", [
    # Sizes of axis 0 and of others that must agree.
    (lambda: K(None, 3) + K(2, 1), [(2, 3)]),
    (lambda: K(None, 3) + K(1, 3), [(None, 3)]),
    (lambda: K(None, None) + K(5), [(None, 5)]),
    (lambda: K(None, None) + K(None), [(None, None)]),
    (lambda: K(None, None, None) + K(3, 1, 17), [(3, None, 17)]),
    (lambda: K(None, None, None, None) + K(3, 1, 17), [(None, 3, None, 17)]),
    (lambda: K(None, None) @ K(4, 5), [(None, 5)]),
    (lambda: K(None, None, None) @ K(None, None), [(None, None, None)]),
    (lambda: ops.concatenate([K(None, 3), K(2, None)], axis=1), [(2, None)]),
    (lambda: ops.concatenate([K(None, 3), K(2, None)], axis=0), [(None, 3)]),
    (lambda: ops.stack([K(None, None), K(2, 3)]), [(2, 2, 3)]),
    (lambda: ops.conv(K(None, 4, None), K(3, 2, 5)), [(None, 2, 5)]),
    (lambda: ops.conv_transpose(K(None, 4, None), K(2, 4, 5), strides=2), [(None, 8, 4)]),
    (lambda: ops.layer_normalization(K(None, 4, 83), K(None), K(None)), [(None, 4, 83)]),
    # What is no larger than an unknown size.
    (lambda: K(None, None, 16)[:, :5], [(None, None, 16)]),
    (lambda: K(None, None, 16)[:, 0], [(None, 16)]),
    (lambda: K(None, 3, 16)[:, :5], [(None, 3, 16)]),
    (lambda: ops.diagonal(K(None, 2, 5)), [(5, None)]),
    (lambda: ops.diag(K(3, None)), [(None,)]),
    (lambda: ops.array_split(K(None, 2), 3), [(None, 2)] * 3),
    # Sizes that must divide, or be what is asked for.
    (lambda: ops.unstack(K(None, None, None), num=3, axis=1), [(None, None)] * 3),
    (lambda: ops.split(K(None, None), 5, axis=1), [(None, None)] * 5),
    (lambda: ops.reshape(K(None, None), (-1, 3, 5)), [(None, 3, 5)]),
    (lambda: ops.reshape(K(6, None), (-1, 8)), [(None, 8)]),
    (lambda: ops.reshape(K(None), (3, 5)), [(3, 5)]),
    (lambda: ops.reshape(K(None, 4, 5), (None, 20)), [(None, 20)]),
    (lambda: ops.slice(K(None, None), (1, 2), (3, 4)), [(3, 4)]),
    (lambda: ops.top_k(K(None, None), 3), [(None, 3)] * 2),
    # Layers.
    (lambda: layers.Reshape((3, 5))(K(None, None)), [(None, 3, 5)]),
    (lambda: layers.Reshape((2, 10))(K(None, None, 4)), [(None, 2, 10)]),
    (lambda: layers.Reshape((-1, 4))(K(None, None, 6)), [(None, None, 4)]),
    (lambda: layers.Flatten()(K(None, None, 3)), [(None, None)]),
    (lambda: layers.Masking()(K(None, None, 3)), [(None, None, 3)]),
    (lambda: layers.Add()([K(None, None, 3), K(None, 7, 3)]), [(None, 7, 3)]),
    (lambda: layers.Conv3D(32, 5)(K(None, None, None, None, 3)), [(None, None, None, None, 32)]),
    (lambda: layers.MaxPooling2D(2)(K(None, None, 9, 3)), [(None, None, 4, 3)]),
])
def test_shape(call, want):
    assert [t.shape for t in tree.flatten(call())] == want


def test_a_model_made_for_one_size_takes_unknown_sizes():
    x = keras.Input((64, 48, 3))
    model = keras.Model(x, layers.Conv2D(2, 3)(x))
    assert model(K(None, None, None, 3)).shape == (None, 62, 46, 2)


PROBES = re.compile(r"\b(7|509|251|127|61|480|960|507|249|125|59)\b")


def composite(*inner):
    class Composite(layers.Layer):
        def __init__(self):
            super().__init__(name="composite")
            self.inner = list(inner)

        def call(self, x):
            for layer in self.inner:
                x = layer(x)
            return x

    return Composite()


@pytest.mark.parametrize("call, parts", [
    (lambda: K(None, None, 3) + K(None, None, 4), ["(None, None, 3)", "(None, None, 4)"]),
    (lambda: K(None, 8) @ K(6, 4), ["(None, 8)", "(6, 4)"]),
    (lambda: ops.concatenate([K(None, None, 3), K(None, 4)]), ["(None, None, 3)", "(None, 4)"]),
    (lambda: ops.unstack(K(None, None, None), axis=1), ["number", "(None, None, None)"]),
    (lambda: ops.squeeze(K(None, None, 3), 2), ["(None, None, 3)", "received 3"]),
    (lambda: ops.conv(K(None, None, 3), K(2, 4, 8)), ["received 3 channels", "(2, 4, 8)"]),
    (lambda: ops.reshape(K(None, 0, 3), (4, 4)), ["(None, 0, 3)", "(4, 4)"]),
    (lambda: ops.transpose(K(None, None), (0, 2)), ["axis=2"]),
    (lambda: layers.Concatenate()([K(None, None, 3), K(None, 4)]), ["(None, None, 3)", "(None, 4)"]),
    (lambda: layers.Reshape((3, 4))(K(None, 8)), ["(8,)", "(3, 4)"]),
    (lambda: composite(layers.Dense(3, name="inner"))(K(None, None)), ['"inner"', "(None, None)", "weights"]),
    (lambda: composite(layers.Conv2D(3, 3), layers.Conv1D(3, 3, name="inner"))(K(None, None, None, 3)),
     ['"inner"', "ndim=4", "(None, None, None, 3)"]),
    (lambda: composite(keras.Sequential([layers.Dense(3)], name="inner"))(K(None, None)), ["(None, None)", "weights"]),
])
def test_an_error_shows_no_number_in_place_of_an_unknown_size(call, parts):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    message = str(caught.value)
    assert not PROBES.search(message), message
    for part in parts:
        assert part in message, message


def test_the_shape_of_a_weight_must_be_known():
    with pytest.raises(ValueError, match=r'PReLU "p": .*must be known; received \(None, 4\)'):
        layers.PReLU(name="p")(K(None, None, 4))


def test_what_is_read_while_shapes_are_inferred_stays_that_error():
    with pytest.raises(keras.RecordingError):
        ops.nonzero(K(None, 3))


def shapes_in(layer):
    return [tuple(inner._build_shapes["input_shape"]) for inner in layer._flatten_layers(include_self=False)
            if inner._build_shapes]


def test_layers_built_on_the_way_have_no_sizes_that_nobody_gave():
    """Neither in their build config nor, for a Sequential, as its input shape."""
    stack = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization()], name="stack")
    layer = composite(layers.Conv2D(2, 3), stack, composite(layers.GlobalMaxPooling2D(), layers.Dense(3)))
    assert layer(K(None, None, 9, 3)).shape == (None, 3)
    assert stack.input_shape == (None, None, 7, 2) and stack.output_shape == (None, None, 5, 4)
    assert stack.layers[0].output.shape == (None, None, 5, 4)
    assert all(inner.built for inner in layer._flatten_layers())
    assert set(shapes_in(layer)) >= {(None, None, 9, 3), (None, None, 7, 2), (None, None, 5, 4), (None, 4)}
    assert all(shape[0] is None for shape in shapes_in(layer))
    assert layer(np.zeros((2, 6, 9, 3), "float32")).shape == (2, 3) and layer(np.zeros((1, 8, 9, 3))).shape == (1, 3)


def test_a_layer_that_could_not_be_built_is_as_before():
    dense, other = layers.Dense(3), layers.Dense(2)
    layer = composite(dense, other)
    with pytest.raises(ValueError):
        layer(K(None, None))
    assert not dense.built and dense.weights == [] and not other.built
    assert layer(np.zeros((2, 6))).shape == (2, 2) and dense.kernel.shape == (6, 3)


def test_what_build_computes_is_computed():
    """Also in a layer that is built while shapes are inferred, or a program is recorded."""
    class Table(layers.Layer):
        def build(self, input_shape):
            self.table = ops.cumsum(ops.ones((input_shape[-1],)))

        def call(self, x):
            return x * self.table

    for around in (composite(Table()), Table()):
        assert around(K(None, 3)).shape == (None, 3)
        np.testing.assert_array_equal(around(np.ones((1, 3), "float32")).data, [[1, 2, 3]])
    recorded, layer = keras.function(lambda x: layer(x)), Table()
    for _ in range(2):
        np.testing.assert_array_equal(recorded(np.ones((1, 3), "float32")).data, [[1, 2, 3]])
    np.testing.assert_array_equal(layer.table.data, [1, 2, 3])


def test_one_weight_is_drawn_once():
    draws = []

    def initializer(shape, dtype=None):
        draws.append(shape)
        return np.zeros(shape, dtype)

    composite(layers.Dense(3, kernel_initializer=initializer), layers.Dense(2, kernel_initializer=initializer))(
        K(None, None, 4))
    assert draws == [(4, 3), (3, 2)]


# ---- windows that start where a tensor says, loops ------------------------------------------------------------------


@pytest.mark.parametrize("call, want", [
    (lambda: ops.slice(K(None, None, 16), K(3, dtype="int32"), (2, 4, 16)), [(2, 4, 16)]),
    (lambda: ops.slice(K(None, 20, 16), [0, K(dtype="int32"), 1], (2, 4, -1)), [(2, 4, 15)]),
    (lambda: ops.slice_update(K(None, None, 16), K(3, dtype="int32"), K(2, 4, 16)), [(None, None, 16)]),
    (lambda: ops.reshape(K(None, 4, 5), (K(dtype="int32"), 20)), [(None, 20)]),
    (lambda: ops.fori_loop(0, 10, lambda i, v: v + i, K(None, 3)), [(None, 3)]),
    (lambda: ops.while_loop(lambda x, n: ops.max(x) < n, lambda x, n: (x + 1, n), (K(None, 3), K())), [(None, 3), ()]),
    (lambda: ops.while_loop(lambda x: True, lambda x: x + 1, K(None, 3)), [(None, 3)]),
    (lambda: ops.switch(K(dtype="int32"), [lambda x: x, ops.exp], K(None, 3)), [(None, 3)]),
    (lambda: ops.scan(lambda c, x: (c + x, x[0]), K(3), K(None, 3)), [(3,), (None,)]),
    (lambda: ops.scan(lambda c, x: (c + x, x), K(3), K(6, 3), reverse=True), [(3,), (6, 3)]),
    (lambda: ops.map(ops.sum, K(None, 3)), [(None,)]),
    (lambda: ops.vectorized_map(lambda x: x[:2], K(None, 3)), [(None, 2)]),
    (lambda: ops.associative_scan(ops.add, K(None, None), axis=1, reverse=True), [(None, None)]),
    (lambda: ops.associative_scan(ops.add, K(3, None)), [(3, None)]),
])
def test_shape_of_windows_and_loops(call, want):
    assert [t.shape for t in tree.flatten(call())] == want


@pytest.mark.parametrize("call, error, parts", [
    (lambda: ops.slice(K(None, 20), K(2, dtype="int32"), (2, -1)), ValueError, ["(2, -1)"]),
    (lambda: ops.slice(K(2, 20), K(2, dtype="int32"), (3, 4)), ValueError, ["(3, 4)", "(2, 20)"]),
    (lambda: ops.slice(K(2, 20), K(3, dtype="int32"), (2, 4)), ValueError, ["expected 2 starts"]),
    (lambda: ops.slice(K(2, 20), [0, K(2, dtype="int32")], (2, 4)), ValueError, ["one number", "(2,)"]),
    (lambda: ops.cond(K(dtype="bool"), lambda: K(3), lambda: K(3)), ValueError, ["ops.where"]),
    (lambda: ops.fori_loop(0, K(dtype="int32"), lambda i, v: v, K(3)), keras.RecordingError, ["not known"]),
    (lambda: ops.scan(lambda c, x: (c, x), K(3), (K(None, 3), K(4, 3), K(2, 3))), ValueError, ["one common size"]),
])
def test_windows_and_loops_refuse(call, error, parts):
    with pytest.raises(error) as caught:
        call()
    assert all(part in str(caught.value) for part in parts), caught.value


X = np.arange(72, dtype="float32").reshape(4, 6, 3)
WINDOW = -np.ones((2, 3, 3), "float32")


@pytest.mark.parametrize("whole", [True, False], ids=["tensor", "list"])
def test_a_recorded_window_moves(whole):
    def starts(s):
        return s if whole else [s[0], s[1], 0]

    read = keras.function(lambda x, s: ops.slice(x, starts(s), (2, 3, 3)))
    written = keras.function(lambda x, s, u: ops.slice_update(x, starts(s), u))
    for a, b in ((0, 0), (2, 3), (1, 2)):
        s = np.array([a, b, 0], "int32")
        np.testing.assert_array_equal(read(X, s).data, X[a:a + 2, b:b + 3])
        want = X.copy()
        want[a:a + 2, b:b + 3] = WINDOW
        np.testing.assert_array_equal(written(X, s, WINDOW).data, want)
    assert len(read.captures) == len(written.captures) == 1
    for s in ([3, 0, 0], [0, 4, 0], [-1, 0, 0]):
        for call in (lambda s: read(X, s), lambda s: written(X, s, WINDOW)):
            with pytest.raises(IndexError, match=f"value {max(s, key=abs)}.*low=0, high="):
                call(np.array(s, "int32"))


def test_gradients_of_a_window_that_moves():
    x, u = keras.Variable(X), keras.Variable(WINDOW)

    @keras.function
    def gradients(s):
        with keras.GradientTape() as tape:
            y = ops.sum(ops.slice(x, s, (2, 3, 3)) ** 2) + ops.sum(ops.slice_update(x, s, u) * X)
        return tape.gradient(y, [x, u])

    window = (slice(1, 3), slice(2, 5))
    dx, du = gradients(np.array([1, 2, 0], "int32"))
    want = X.copy()
    want[window] = 2 * X[window]
    np.testing.assert_allclose(dx.data, want)
    np.testing.assert_allclose(du.data, X[window])


def test_models_with_loops_and_windows_run():
    x, row = keras.Input((6, 3)), keras.Input((), dtype="int32")
    outputs = [ops.fori_loop(0, 4, lambda i, v: v * 2 + i, x), ops.map(lambda v: ops.cumsum(v, axis=0), x),
               ops.associative_scan(ops.add, x, axis=1), ops.slice(x, [0, row[0], 0], (2, 2, 3)),
               ops.reshape(x, (ops.sum(row), 18))]
    model = keras.Model([x, row], outputs)
    wide = model.predict([X, np.array([3, 1, 0, 0])], verbose=0)
    want = [X * 16 + 11, X.cumsum(1), X.cumsum(1), X[:2, 3:5], X.reshape(4, 18)]
    for a, b in zip(wide, want):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    with pytest.raises(IndexError, match="value 3.*low=4, high=5"):
        model.predict([X, np.array([3, 0, 0, 0])], verbose=0)
    with pytest.raises(ValueError, match="lambda"):
        model.to_json()
