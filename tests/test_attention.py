"""What rows of attention do not say: dropout, errors, tolerance of what nobody sees."""

import numpy as np
import pytest

import pydl
from pydl import ops


def draw(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=s).astype("float32") for s in shapes]


OPS = {
    "dot_product_attention": lambda q, k, v, **kw: ops.dot_product_attention(
        *(ops.reshape(x, (*x.shape[:2], 2, -1)) for x in (q, k, v)), **kw),
    "dot_attention": lambda *a, **kw: ops.dot_attention(*a, **kw)[0],
    "additive_attention": lambda *a, **kw: ops.additive_attention(*a, **kw)[0],
}


@pytest.mark.parametrize("name", OPS)
def test_dropout(name):
    """Unbiased, fresh at every replay, the same for the same seed, absent outside of training; its gradient is that of
    the same mask (the context is linear in the values)."""
    q, k, v = draw((4, 6, 16), (4, 9, 16), (4, 9, 16))
    call = OPS[name]
    plain = call(q, k, v).numpy()
    np.testing.assert_array_equal(call(q, k, v, dropout=0.5).numpy(), plain)
    np.testing.assert_array_equal(call(q, k, v, dropout=0.5, training=True, seed=3).numpy(),
                                  call(q, k, v, dropout=0.5, training=True, seed=3).numpy())
    generator = pydl.random.SeedGenerator(1)
    replayed = pydl.function(lambda q, k, v: call(q, k, v, dropout=0.3, training=True, seed=generator))
    draws = [replayed(q, k, v).numpy() for _ in range(2000)]
    assert not np.array_equal(draws[1], draws[2])
    error = np.mean(draws, 0) - plain
    assert np.abs(error).max() < 6 * np.std(draws, 0).max() / np.sqrt(2000)
    assert np.all(call(q, k, v, dropout=1.0, training=True).numpy() == 0)
    tensors = [pydl.Tensor(x) for x in (q, k, v)]
    for t in tensors:
        pydl.autograd.watch(t)
    with pydl.GradientTape() as tape:
        y = call(*tensors, dropout=0.4, training=True, seed=5)
    dv = tape.gradient(y, tensors[2], output_gradients=y)
    np.testing.assert_allclose(np.sum(dv.numpy() * v), np.sum(y.numpy() ** 2), rtol=1e-4)


@pytest.mark.parametrize("name", OPS)
def test_gradient_through_dropout(name):
    """Towards queries and keys, against central differences under a fixed seed."""
    q, k, v = (x.astype("float64") for x in draw((2, 3, 8), (2, 5, 8), (2, 5, 8)))

    def loss(q, k):
        return ops.sum(ops.square(OPS[name](q, k, v, dropout=0.4, training=True, seed=11)))

    dq, dk = pydl.grad(loss, (0, 1))(pydl.Tensor(q), pydl.Tensor(k))
    for x, d, at in ((q, dq, 0), (k, dk, 1)):
        step = np.random.default_rng(1).normal(size=x.shape)
        ends = [float(loss(*(a + sign * 1e-6 * step if i == at else a for i, a in enumerate((q, k)))))
                for sign in (1, -1)]
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-6, np.sum(d.numpy() * step), rtol=1e-6)


@pytest.mark.parametrize("name", OPS)
def test_a_query_that_sees_nothing(name):
    """Attends to all keys alike, moves no query and no key, and is never NaN."""
    q, k, v = (pydl.Tensor(x) for x in draw((2, 3, 16), (2, 5, 16), (2, 5, 16)))
    for t in (q, k, v):
        pydl.autograd.watch(t)
    mask = np.zeros((2, 1, 3, 5) if name == "dot_product_attention" else (2, 3, 5), bool)
    with pydl.GradientTape() as tape:
        y = OPS[name](q, k, v, mask=mask)
    mean = np.broadcast_to(v.numpy().mean(1, keepdims=True), (2, 3, 16))
    np.testing.assert_allclose(y.numpy().reshape(2, 3, 16), mean, rtol=1e-5, atol=1e-6)
    dq, dk, dv = tape.gradient(y, [q, k, v])
    assert np.all(dq.numpy() == 0) and np.all(dk.numpy() == 0)
    np.testing.assert_allclose(dv.numpy(), 0.6, rtol=1e-6)


def test_nan_is_not_hidden():
    q, k, v = draw((1, 2, 4), (1, 3, 4), (1, 3, 4))
    k[0, 0] = np.nan
    for call in (ops.dot_attention, ops.additive_attention):
        context, weights = call(q, k, v, mask=np.array([[True, False, False]]))
        assert np.all(np.isnan(weights.numpy()[..., 0]))


@pytest.mark.parametrize("shapes, message", [
    (((2, 3, 4, 8), (2, 5, 3, 8), (2, 5, 3, 8)), "multiple of K"),
    (((2, 3, 4, 8), (2, 5, 4, 7), (2, 5, 4, 8)), r"\(2, 5, 4, 7\)"),
    (((2, 3, 8), (2, 5, 4, 8), (2, 5, 4, 8)), "expected query"),
])
def test_shapes_of_heads(shapes, message):
    with pytest.raises(ValueError, match=message):
        ops.dot_product_attention(*draw(*shapes))


def test_other_errors():
    q, k, v = draw((2, 3, 8), (2, 5, 8), (2, 5, 8))
    with pytest.raises(ValueError, match=r"scale of shape \(8,\)"):
        ops.additive_attention(q, k, v, scale=np.ones(7, "float32"))
    with pytest.raises(ValueError, match=r"broadcasts to \(2, 3, 5\); received shape \(2, 1, 4\)"):
        ops.additive_attention(q, k, v, mask=np.ones((2, 4), bool))
    with pytest.raises(ValueError, match="between 0 and 1"):
        ops.dot_attention(q, k, v, dropout=1.5)
    with pytest.raises(ValueError, match="one scale"):
        ops.dot_attention(q, k, v, scale=np.ones(3))


def test_ranks_that_differ():
    x = np.zeros((2, 5, 8), "float32")
    for query, value in ((x[0], x), (x, x[0]), (x[0], x[0])):
        with pytest.raises(ValueError, match=r"of one rank, at least 3; received shapes"):
            pydl.layers.MultiHeadAttention(2, 4)(query, value)


def test_masks_of_more_axes():
    """Those of value and query have all axes but the last; places left out of one batch entry do not touch another."""
    rng = np.random.default_rng(11)
    q, v = rng.normal(size=(2, 3, 4, 5)).astype("float32"), rng.normal(size=(2, 3, 6, 5)).astype("float32")
    seen, asked = rng.random((2, 3, 6)) < 0.6, rng.random((2, 3, 4)) < 0.6
    seen[..., 0] = True
    for layer in (pydl.layers.Attention(), pydl.layers.AdditiveAttention(use_scale=False)):
        y = layer([q, v], mask=[pydl.ops.convert_to_tensor(m) for m in (asked, seen)])
        assert y._keras_mask.shape == (2, 3, 4)
        for i in range(2):
            for j in range(3):
                one = layer([q[i, j][None], v[i, j][None, seen[i, j]]]).numpy()[0] * asked[i, j][:, None]
                np.testing.assert_allclose(y.numpy()[i, j], one, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"a mask of shape \(2, 3, 6\) .* received \(2, 6\)"):
        layer([q, v], mask=[None, pydl.ops.ones((2, 6), "bool")])
    with pytest.raises(ValueError, match="agree in all but the last two axes"):
        layer([q, v[:, :2]])


@pytest.mark.parametrize("inputs, mask, message", [
    (np.ones((1, 2, 2)), None, "called on a list"), ([np.ones((1, 2, 2))] * 4, None, "length 2 or 3"),
    ([np.ones((1, 2, 2))] * 2, np.ones((1, 2, 2)), "layer mask must be a list"),
    ([np.ones((1, 2, 2))] * 2, [np.ones((1, 2))], "length 2 or 3")])
@pytest.mark.parametrize("name", ["Attention", "AdditiveAttention"])
def test_inputs_that_are_no_pairs(name, inputs, mask, message):
    with pytest.raises(ValueError, match=message):
        getattr(pydl.layers, name)()(inputs, **({} if mask is None else {"mask": mask}))


def test_scores_after_dropout():
    """As in Keras: the scores that come back are those that the values were summed by."""
    layer = pydl.layers.Attention(dropout=0.5, seed=3)
    q, v = np.ones((2, 3, 4), "float32"), np.random.default_rng(0).normal(size=(2, 8, 4)).astype("float32")
    y, scores = layer([q, v], return_attention_scores=True, training=True)
    assert (scores.numpy() == 0).any() and set(np.unique(scores.numpy() > 0)) == {False, True}
    np.testing.assert_allclose(y.numpy(), scores.numpy() @ v, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer([q, v], return_attention_scores=True)[1].numpy().sum(-1), 1, rtol=1e-5)
