"""Attention against Keras 3 (layers, masks, returned scores, files both ways) and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
torch = pytest.importorskip("torch")

import pydl  # noqa: E402  after the skips

pytestmark = [pytest.mark.reference,
              pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

RNG = np.random.default_rng(7)
Q, V, K = (RNG.normal(size=s).astype("float32") for s in ((3, 5, 8), (3, 7, 6), (3, 7, 8)))
KEYS = {"none": None, "padding": np.arange(7) < np.array([[7], [3], [1]]), "holes": RNG.random((3, 7)) < 0.6,
        "nothing": np.arange(7) < np.array([[7], [0], [4]])}
QUERIES = np.arange(5) < np.array([[5], [2], [3]])


def numpy(x):
    return x.data if isinstance(x, pydl.Tensor) else keras.ops.convert_to_numpy(x)


def same(ours, theirs, tolerance=2e-5):
    ours, theirs = ([x] if not isinstance(x, (list, tuple)) else x for x in (ours, theirs))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(numpy(a), numpy(b), rtol=tolerance, atol=tolerance)


def pair(make, *inputs):
    ours, theirs = make(pydl), make(keras)
    ours(*inputs), theirs(*[[keras.ops.convert_to_tensor(x) for x in i] if isinstance(i, list) else i for i in inputs])
    assert [(w.name, tuple(w.shape)) for w in ours.weights] == [(w.name, tuple(w.shape)) for w in theirs.weights]
    weights = [RNG.normal(0, 0.5, w.shape).astype("float32") for w in ours.weights]
    ours.set_weights(weights)
    theirs.set_weights(weights)
    return ours, theirs


PLAIN = {
    "dot": lambda k: k.layers.Attention(), "scaled": lambda k: k.layers.Attention(use_scale=True),
    "concat": lambda k: k.layers.Attention(score_mode="concat"),
    "concat scaled": lambda k: k.layers.Attention(True, "concat"),
    "additive": lambda k: k.layers.AdditiveAttention(), "unscaled": lambda k: k.layers.AdditiveAttention(False),
}
HEADS = {
    "heads": lambda k: k.layers.MultiHeadAttention(2, 4),
    "sizes": lambda k: k.layers.MultiHeadAttention(3, 4, value_dim=5, output_shape=7, use_bias=False),
    "gate": lambda k: k.layers.MultiHeadAttention(2, 4, output_shape=(2, 3), use_gate=True),
    "window": lambda k: k.layers.MultiHeadAttention(2, 4, sliding_window=3),
    "groups": lambda k: k.layers.GroupQueryAttention(4, 4, 2),
    "groups gate": lambda k: k.layers.GroupQueryAttention(4, 4, 1, use_gate=True, use_bias=False),
}


def skip_where_keras_fails(kind):
    if kind == "sizes" and keras.backend.backend() == "jax":
        pytest.skip("values of another size than the keys are an error on Keras's JAX backend")


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", KEYS)
@pytest.mark.parametrize("kind", PLAIN)
def test_plain(kind, mask, causal):
    inputs = [Q, V, K]
    ours, theirs = pair(PLAIN[kind], inputs)
    for query_mask in (None, QUERIES):
        masks = None if query_mask is None and KEYS[mask] is None else [query_mask, KEYS[mask]]
        options = {"return_attention_scores": True, "use_causal_mask": causal}
        same(ours(inputs, mask=masks, **options),
             theirs([keras.ops.convert_to_tensor(x) for x in inputs],
                    mask=masks and [None if m is None else keras.ops.convert_to_tensor(m) for m in masks], **options),
             1e-4)  # Keras takes 1e9 from hidden scores, where single precision has steps of 64


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", KEYS)
@pytest.mark.parametrize("kind", HEADS)
def test_heads(kind, mask, causal):
    skip_where_keras_fails(kind)
    ours, theirs = pair(HEADS[kind], Q, V, K)
    attention_mask = RNG.random((3, 5, 7)) < 0.8
    for options in ({}, {"attention_mask": attention_mask}, {"attention_mask": attention_mask[0]}):
        options = {**options, "value_mask": KEYS[mask], "use_causal_mask": causal}
        tensors = {k: keras.ops.convert_to_tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        same(ours(Q, V, K, **options), theirs(Q, V, K, **tensors))
        (y, p), (z, w) = (layer(Q, V, K, return_attention_scores=True, **given)
                          for layer, given in ((ours, options), (theirs, tensors)))
        # Queries that see nothing: what its ops give, alike for all keys; with scores Keras gives zeros.
        blind = numpy(w).sum(-1) == 0
        np.testing.assert_allclose(p.numpy()[blind], 1 / 7, rtol=1e-6)
        np.testing.assert_allclose(p.numpy()[~blind], numpy(w)[~blind], rtol=2e-5, atol=2e-5)
        seeing = ~blind.any(1)
        np.testing.assert_allclose(y.numpy()[seeing], numpy(z)[seeing], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("axes", [None, 1, (2,), (1, 2)])
def test_axes(axes):
    q, v = (RNG.normal(size=s).astype("float32") for s in ((2, 3, 4, 5), (2, 3, 4, 5)))
    ours, theirs = pair(lambda k: k.layers.MultiHeadAttention(2, 3, attention_axes=axes), q, v)
    same(ours(q, v, return_attention_scores=True), theirs(q, v, return_attention_scores=True))


@pytest.mark.parametrize("kind", [*PLAIN, *HEADS])
def test_config(kind):
    make = {**PLAIN, **HEADS}[kind]
    ours, theirs = make(pydl), make(keras)
    mine, wanted = ours.get_config(), theirs.get_config()
    skipped = {"dtype", "name"} | {k for k, v in wanted.items() if isinstance(v, dict)}
    assert mine.keys() >= wanted.keys()
    for k in wanted.keys() - skipped:
        assert mine[k] == wanted[k], k
    keras.layers.deserialize(pydl.layers.serialize(ours))
    pydl.layers.deserialize(keras.layers.serialize(theirs))


@pytest.mark.parametrize("equation, shape, bias", [
    ("abc,cde->abde", (None, 2, 3), "de"), ("abc,bcd->ad", 4, "d"), ("...x,xy->...y", 3, "y"),
    ("ab...,be->ae...", 3, "e"), ("abc,bd->adc", (6, None), "d"), ("abc,cd->abd", (5, 4), "bd")])
def test_einsum_dense(equation, shape, bias):
    ours, theirs = pair(lambda k: k.layers.EinsumDense(equation, shape, bias_axes=bias, activation="tanh"), Q)
    same(ours(Q), theirs(Q))


def model(k, kind):
    a, b = k.Input((5,), dtype="int32", name="a"), k.Input((7,), dtype="int32", name="b")
    embed = k.layers.Embedding(9, 8, mask_zero=True)
    x, y = embed(a), embed(b)
    z = {**PLAIN, **HEADS}[kind](k)([x, y]) if kind in PLAIN else {**HEADS}[kind](k)(x, y)
    return k.Model([a, b], k.layers.GRU(3)(z) if len(z.shape) == 3 else z)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Keras's grouped layer hands masks to its projections
@pytest.mark.parametrize("kind", [*PLAIN, *HEADS])
def test_files_both_ways(kind, tmp_path):
    """With masks that the embedding makes and the attention hands on."""
    skip_where_keras_fails(kind)
    x = [RNG.integers(1, 9, (3, 5)).astype("int32"), RNG.integers(1, 9, (3, 7)).astype("int32")]
    x[0][1, 3:] = x[1][2, 2:] = 0
    ours, theirs = model(pydl, kind), model(keras, kind)
    want = theirs.predict(x, verbose=0)
    theirs.save(tmp_path / "theirs.keras")
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    np.testing.assert_allclose(pydl.models.load_model(tmp_path / "theirs.keras").predict(x, verbose=0), want, rtol=1e-4,
                               atol=1e-5)
    ours.load_weights(tmp_path / "theirs.weights.h5")
    np.testing.assert_allclose(ours.predict(x, verbose=0), want, rtol=1e-4, atol=1e-5)
    ours.save(tmp_path / "ours.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "ours.keras").predict(x, verbose=0), want, rtol=1e-4,
                               atol=1e-5)


@pytest.mark.parametrize("kind", ["none", "padding", "holes", "causal", "bias"])
def test_op_against_pytorch(kind):
    """Outputs and gradients of scaled_dot_product_attention."""
    q, k, v = (RNG.normal(size=s) for s in ((2, 5, 4, 8), (2, 7, 4, 8), (2, 7, 4, 3)))
    mask = {"padding": (np.arange(7) < np.array([[7], [3]]))[:, None, None], "holes": RNG.random((2, 1, 5, 7)) < 0.7,
            "bias": RNG.normal(size=(2, 4, 5, 7))}.get(kind)
    if kind == "holes":
        mask[..., 0] = True
    theirs = [torch.tensor(x.transpose(0, 2, 1, 3).copy(), requires_grad=True) for x in (q, k, v)]
    y = torch.nn.functional.scaled_dot_product_attention(
        *theirs, attn_mask=None if mask is None else torch.tensor(mask), is_causal=kind == "causal")
    seed = RNG.normal(size=(2, 5, 4, 3))
    grads = torch.autograd.grad(y, theirs, torch.tensor(seed.transpose(0, 2, 1, 3).copy()))
    ours = [pydl.Tensor(x) for x in (q, k, v)]
    for t in ours:
        pydl.autograd.watch(t)
    with pydl.GradientTape() as tape:
        z = pydl.ops.dot_product_attention(*ours, bias=mask if kind == "bias" else None,
                                           mask=None if kind == "bias" else mask, is_causal=kind == "causal")
    for a, b in zip((z, *tape.gradient(z, ours, output_gradients=seed)), (y, *grads), strict=True):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy().transpose(0, 2, 1, 3), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("causal", [False, True])
def test_layer_against_pytorch(causal):
    """nn.MultiheadAttention with its packed projections taken apart."""
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    ours = pydl.layers.MultiHeadAttention(2, 4)
    x = RNG.normal(size=(3, 5, 8)).astype("float32")
    ours(x, x)
    kernel, bias = theirs.in_proj_weight.detach().numpy(), theirs.in_proj_bias.detach().numpy()
    parts = [a for w, c in zip(np.split(kernel, 3), np.split(bias, 3)) for a in (w.T.reshape(8, 2, 4), c.reshape(2, 4))]
    out = theirs.out_proj
    ours.set_weights([*parts, out.weight.detach().numpy().T.reshape(2, 4, 8), out.bias.detach().numpy()])
    keep = np.arange(5) < np.array([[5], [2], [4]])
    hidden = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None
    y, p = theirs(*[torch.tensor(x)] * 3, key_padding_mask=torch.tensor(~keep), attn_mask=hidden, is_causal=False,
                  average_attn_weights=False)
    z, w = ours(x, x, value_mask=keep, use_causal_mask=causal, return_attention_scores=True)
    np.testing.assert_allclose(z.numpy(), y.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(w.numpy(), p.detach().numpy(), rtol=1e-4, atol=1e-6)
