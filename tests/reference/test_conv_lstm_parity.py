"""ConvLSTM layers against Keras 3: outputs, states, masks, gradients, configs, files both ways."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import pydl  # noqa: E402  after the skip

pytestmark = [pytest.mark.reference,
              pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

RNG = np.random.default_rng(8)
SPATIAL = (7, 6, 4)
MASKS = {"none": None, "right": np.arange(4) < np.array([[4], [2], [1]]), "holes": RNG.random((3, 4)) < 0.5}
OPTIONS = {
    "plain": {}, "same": {"padding": "same", "use_bias": False}, "strides": {"strides": 2, "unit_forget_bias": False},
    "dilation": {"dilation_rate": 2, "padding": "same", "activation": "relu"},
    "first": {"data_format": "channels_first"}, "backwards": {"go_backwards": True, "recurrent_activation": "tanh"},
}


def arrays(values):
    values = values if isinstance(values, (list, tuple)) else [values]
    return [v.data if isinstance(v, pydl.Tensor) else keras.ops.convert_to_numpy(v) for v in values]


def same(ours, theirs, tolerance=2e-5):
    ours, theirs = arrays(ours), arrays(theirs)
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_layer(rank, option):
    options = OPTIONS[option]
    if options.get("data_format") and keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no channels_first on a CPU")
    x = RNG.normal(size=(3, 4, *SPATIAL[:rank], 2)).astype("float32")
    x = np.moveaxis(x, -1, 2).copy() if option == "first" else x
    for sequences in (False, True):
        ours, theirs = (getattr(k.layers, f"ConvLSTM{rank}D")(3, 2, return_sequences=sequences, return_state=True,
                                                              **options) for k in (pydl, keras))
        ours(x), theirs(x)
        assert [(w.name, tuple(w.shape)) for w in ours.weights] == [(w.name, tuple(w.shape)) for w in theirs.weights]
        weights = [RNG.normal(0, 0.4, w.shape).astype("float32") for w in ours.weights]
        ours.set_weights(weights), theirs.set_weights(weights)
        for mask in MASKS.values():
            if mask is not None and keras.backend.backend() == "jax":
                continue  # Keras's loop there broadcasts masks to states of two axes only
            y, z = ours(x, mask=mask), theirs(x, mask=None if mask is None else keras.ops.convert_to_tensor(mask))
            same(y, z)
        same(ours(x, initial_state=list(y[1:])), theirs(x, initial_state=list(z[1:])))
        assert ours.compute_output_shape((None, *x.shape[1:])) == theirs.compute_output_shape((None, *x.shape[1:]))


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_signature_and_config(rank):
    mine, theirs = (getattr(k.layers, f"ConvLSTM{rank}D") for k in (pydl, keras))
    for method in ("__init__", "call"):
        a, b = ([(p.name, p.default) for p in inspect.signature(getattr(c, method)).parameters.values()]
                for c in (mine, theirs))
        assert a == b
    a, b = (c(3, 2, strides=2, padding="SAME", name="same").get_config() for c in (mine, theirs))
    assert a.keys() == b.keys()
    plain = {k for k, v in b.items() if not isinstance(v, dict) and k != "dtype"}
    assert {k: a[k] for k in plain} == {k: b[k] for k in plain}
    keras.layers.deserialize(pydl.layers.serialize(mine(3, 2)))
    pydl.layers.deserialize(keras.layers.serialize(theirs(3, 2)))


def model(k, rank):
    return k.Sequential([k.Input((4, *SPATIAL[:rank], 2)),
                         getattr(k.layers, f"ConvLSTM{rank}D")(3, 2, return_sequences=True, dropout=0.2),
                         getattr(k.layers, f"ConvLSTM{rank}D")(2, 2, padding="same"),
                         k.layers.Flatten(), k.layers.Dense(2)])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_files_both_ways(rank, tmp_path):
    x = RNG.normal(size=(3, 4, *SPATIAL[:rank], 2)).astype("float32")
    ours, theirs = model(pydl, rank), model(keras, rank)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    want, keras_want = ours.predict(x, verbose=0), theirs.predict(x, verbose=0)
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "ours.keras").predict(x, verbose=0), want, rtol=1e-4,
                               atol=1e-5)
    np.testing.assert_allclose(pydl.models.load_model(tmp_path / "theirs.keras").predict(x, verbose=0), keras_want,
                               rtol=1e-4, atol=1e-5)
