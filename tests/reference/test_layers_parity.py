"""Every row of the layers against Keras 3: config, weights' shapes, outputs at inference and in training."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from test_layers import LAYER_CLASSES, made  # noqa: E402

from cases.layers import CASES  # noqa: E402  after the skip
from harness import call_layer  # noqa: E402
from pydl import activations, layers  # noqa: E402
from pydl.tensor import from_numpy  # noqa: E402

pytestmark = [pytest.mark.reference,
              pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]  # of Keras variables


# Arguments that pydl refuses, or whose defaults it leaves out; axis of LayerNormalization
# stays an int, groups=-1 of GroupNormalization stays -1.
NOT_OURS = {"activity_regularizer", "quantization_config", "axis", "groups"}


def plain(value):
    """Tuples as lists, and of a serialised object its class and config."""
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        if value.get("class_name") == "DTypePolicy":  # Keras writes the name alone in some versions
            return value["config"]["name"]
        return {k: plain(v) for k, v in value.items() if k not in ("module", "registered_name", "build_config")}
    return value


@pytest.mark.parametrize("case", CASES, ids=str)
def test_layer(case):
    ours, theirs = case.built(name="same"), getattr(keras.layers, case.name)(**case.args, name="same")
    inputs = case.draw(1, "float32")
    theirs(inputs[0] if len(inputs) == 1 else inputs)
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    theirs.set_weights(ours.get_weights())
    if hasattr(theirs, "finalize_state"):  # Normalization keeps its statistics in attributes too
        theirs.finalize_state()
    for training in (False,) if case.draws else (False, True):
        options = {} if not training else {"training": True}
        want = keras.ops.convert_to_numpy(theirs(inputs[0] if len(inputs) == 1 else inputs, **options))
        got = call_layer(ours, inputs, **options).data
        assert got.shape == want.shape and got.dtype == want.dtype
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    for a, b in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    mine, wanted = plain(layers.serialize(ours)["config"]), plain(keras.layers.serialize(theirs)["config"])
    differing = {k: (mine.get(k, "absent"), v) for k, v in wanted.items() if mine.get(k, "absent") != v}
    assert differing.keys() <= NOT_OURS, differing
    keras.layers.deserialize(layers.serialize(ours))
    layers.deserialize(keras.layers.serialize(theirs))


# Keras has these for TensorFlow only, or not at all; a Wrapper has no call there.
NOT_THERE = {"Hashing", "IntegerLookup", "StringLookup", "TextVectorization", "Wrapper", "Layer"}


@pytest.mark.parametrize("name", sorted(n for n in LAYER_CLASSES if hasattr(keras.layers, n) and n not in NOT_THERE))
def test_flags(name):
    """Built when made, and able to pass masks on."""
    ours = made(name, LAYER_CLASSES[name])
    if name in ("RNN", "StackedRNNCells", "Bidirectional", "TimeDistributed", "SpectralNormalization", "Lambda"):
        theirs = {"RNN": lambda k: k.RNN(k.LSTMCell(2)), "Bidirectional": lambda k: k.Bidirectional(k.LSTM(2)),
                  "StackedRNNCells": lambda k: k.StackedRNNCells([k.LSTMCell(2)]), "Lambda": lambda k: k.Lambda(abs),
                  "TimeDistributed": lambda k: k.TimeDistributed(k.Dense(2)),
                  "SpectralNormalization": lambda k: k.SpectralNormalization(k.Dense(2))}[name](keras.layers)
    else:
        theirs = made(name, getattr(keras.layers, name))
    assert (ours.built, ours.supports_masking) == (theirs.built, theirs.supports_masking)


def pair(x, mask=None):
    """The same tensor for both libraries, with the same mask."""
    ours, theirs = from_numpy(x.copy()), keras.ops.convert_to_tensor(x)
    if mask is not None:
        ours._keras_mask, theirs._keras_mask = from_numpy(mask), keras.ops.convert_to_tensor(mask)
    return ours, theirs


def assert_same(ours, theirs, masks=True):
    for a, b in zip(ours if isinstance(ours, tuple) else [ours], theirs if isinstance(theirs, tuple) else [theirs]):
        np.testing.assert_allclose(a.data, keras.ops.convert_to_numpy(b), rtol=1e-4, atol=1e-5)
        if masks:
            a, b = (getattr(t, "_keras_mask", None) for t in (a, b))
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_array_equal(a.data, keras.ops.convert_to_numpy(b))


RNG = np.random.default_rng(5)


@pytest.mark.parametrize("masked", [(1, 1), (1, 0), (0, 1), (0, 0), (1, 1, 1), (0, 1, 1), (1, 0, 1)], ids=str)
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4)], ids=str)
@pytest.mark.parametrize("name, args", [
    ("Add", {}), ("Subtract", {}), ("Multiply", {}), ("Average", {}), ("Maximum", {}), ("Minimum", {}),
    ("Concatenate", {}), ("Concatenate", {"axis": 1}), ("Concatenate", {"axis": 0})])
def test_masks_of_merging_layers(name, args, shape, masked):
    if name == "Subtract" and len(masked) > 2:
        return
    pairs = [pair(RNG.normal(size=shape).astype("float32"), RNG.random(shape[:-1]) < 0.6 if m else None)
             for m in masked]
    assert_same(getattr(layers, name)(**args)([p[0] for p in pairs]),
                getattr(keras.layers, name)(**args)([p[1] for p in pairs]))


@pytest.mark.parametrize("slope", [0.0, 0.25, -0.5])
@pytest.mark.parametrize("max_value", [None, 0.0, 0.5, 2.0, 6, -1.0])
def test_relu(max_value, slope):
    x = np.array([-7, -3, -1.5, -0.5, 0, 0.25, 0.5, 1, 2, 2.5, 3, 5, 6, 7], "float32")
    for threshold in (0.0, 0.5, 2.0, 3.0, -1.5):
        options = {"max_value": max_value, "threshold": threshold, "negative_slope": slope}
        assert_same(activations.relu(from_numpy(x), **options), keras.activations.relu(x, **options))
        if min(threshold, slope, max_value or 0) >= 0:
            assert_same(layers.ReLU(**options)(x), keras.layers.ReLU(**options)(x))


@pytest.mark.parametrize("axis, mask", [(-1, (2, 4, 3)), (1, (4, 1)), ((1, 2), (2, 1, 3)), ([1], (2, 4, 3)), (-1, (3,)),
                                        (-2, (2, 4, 1))], ids=str)
def test_softmax_masks(axis, mask):
    x, m = RNG.normal(size=(2, 4, 3)).astype("float32") * 5, RNG.random(mask) < 0.5
    m[..., 0] = False
    for given in (m, m.astype("float32") * 0.7):
        assert_same(layers.Softmax(axis)(x, mask=from_numpy(given)),
                    keras.layers.Softmax(axis)(x, mask=keras.ops.convert_to_tensor(given)))


@pytest.mark.parametrize("args", [
    {"axis": 1}, {"axis": 2}, {"axis": -1}, {"renorm": True}, {"renorm": True, "axis": 1, "renorm_momentum": 0.5},
    {"renorm": True, "renorm_clipping": {"rmax": 1.5, "rmin": 0.7, "dmax": 0.2}, "scale": False}], ids=str)
@pytest.mark.parametrize("mask", [None, (6, 3)], ids=str)
def test_batch_normalization(args, mask):
    x = RNG.normal(2, 3, size=(6, 3, 4)).astype("float32")
    ours, theirs = layers.BatchNormalization(**args), keras.layers.BatchNormalization(**args)
    ours.build(x.shape)
    theirs.build(x.shape)
    weights = [RNG.uniform(0.5, 1.5, w.shape) for w in ours.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    for training in (True, True, False):
        m = None if mask is None else RNG.random(mask) < 0.7
        if m is not None:
            m[0] = True
        a, b = pair(x + training, m)
        assert_same(ours(a, training=training), theirs(b, training=training))
    for a, b in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name, args", [
    ("Attention", {}), ("Attention", {"use_scale": True}), ("AdditiveAttention", {}),
    ("Attention", {"score_mode": "concat", "use_scale": True})], ids=str)
@pytest.mark.parametrize("lead", [(2,), (2, 3), (2, 3, 2)], ids=str)
def test_attention_of_any_rank(name, args, lead):
    q, v = (RNG.normal(size=(*lead, n, 4)).astype("float32") for n in (5, 6))
    ours, theirs = getattr(layers, name)(**args), getattr(keras.layers, name)(**args)
    for layer in (ours, theirs):
        layer.build([q.shape, v.shape])
    theirs.set_weights(ours.get_weights())
    for options in ({}, {"use_causal_mask": True}):
        a = ours([from_numpy(q), from_numpy(v)], return_attention_scores=True, **options)
        b = theirs([keras.ops.convert_to_tensor(x) for x in (q, v)], return_attention_scores=True, **options)
        assert_same(a, b)
        shapes = [(None, *q.shape[1:]), (None, *v.shape[1:])]
        assert ours.compute_output_shape(shapes) == tuple(theirs.compute_output_shape(shapes))


@pytest.mark.parametrize("inner, shape", [
    (("Dense", {"units": 3}), (2, 4, 5)), (("Conv2D", {"filters": 2, "kernel_size": 2}), (2, 4, 4, 3))], ids=str)
@pytest.mark.parametrize("iterations", [1, 4])
def test_spectral_normalization(inner, shape, iterations):
    x = RNG.normal(size=shape).astype("float32")
    ours, theirs = (k.SpectralNormalization(getattr(k, inner[0])(**inner[1]), iterations)
                    for k in (layers, keras.layers))
    ours(x)
    theirs(x)
    weights = [RNG.normal(size=w.shape) for w in ours.weights]
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    for training in (False, True, True):
        assert_same(ours(x, training=training), theirs(x, training=training))
    for a, b in zip(ours.get_weights(), theirs.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling")
@pytest.mark.filterwarnings("ignore:LayerNormalization. rms_scaling")
@pytest.mark.parametrize("args", [{"rms_scaling": True}, {"rms_scaling": True, "axis": [1, 2]}, {"axis": [-1, 1]},
                                  {"axis": (1, -1)}], ids=str)
def test_layer_normalization(args):
    x = RNG.normal(1, 2, size=(2, 3, 4)).astype("float32")
    ours, theirs = layers.LayerNormalization(**args), keras.layers.LayerNormalization(**args)
    ours.build(x.shape)
    theirs.build(x.shape)
    weights = [RNG.normal(size=w.shape) for w in ours.weights]
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    assert_same(ours(x), theirs(x))
