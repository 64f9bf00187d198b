"""What attention layers look at, and its picture."""

import numpy as np
import pytest

import pydl
from pydl import layers
from pydl.inspection import attention_heatmap, attention_weights

RNG = np.random.default_rng(2)


def model():
    a = layers.Input((5,), dtype="int32")
    x = layers.Embedding(9, 8, mask_zero=True)(a)
    x = layers.TransformerEncoder(7, 2, name="block")(x)
    x = layers.Attention(name="last")([x, x])
    return pydl.Model(a, layers.Dense(2)(x))


def test_weights():
    network = model()
    ids = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8]], "int32")
    before = network.predict(ids, verbose=0)
    p = attention_weights(network, ids, "block/self_attention_layer")
    assert p.shape == (2, 2, 5, 5)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
    assert np.all(p[0, :, :, 3:] == 0)
    last = attention_weights(network, ids, "last")
    assert last.shape == (2, 5, 5) and np.all(last[0, :, 3:] == 0)
    np.testing.assert_array_equal(network.predict(ids, verbose=0), before)
    with pytest.raises(ValueError, match="has 2 attention layers"):
        attention_weights(network, ids)
    with pytest.raises(ValueError, match="expected an attention layer"):
        attention_weights(network, ids, "block")


def test_heatmap(tmp_path):
    pytest.importorskip("matplotlib")
    weights = RNG.dirichlet(np.ones(6), (3, 5))
    figure = attention_heatmap(weights, "abcd", ["x", "y", "z"], path=tmp_path / "heads.png")
    cells = [cell for cell in figure.axes if cell.images]
    assert len(cells) == 3 and (tmp_path / "heads.png").stat().st_size > 0
    np.testing.assert_array_equal(cells[1].images[0].get_array(), weights[1, :3, :4])
    assert [t.get_text() for t in cells[0].get_xticklabels()] == list("abcd")
    assert [t.get_text() for t in cells[0].get_yticklabels()] == list("xyz")
    assert cells[2].get_title() == "head 2"
    one = attention_heatmap(weights[0], titles=["all"])
    assert len(one.axes) == 1 and one.axes[0].images[0].get_array().shape == (5, 6)
    with pytest.raises(ValueError, match="7 keys"):
        attention_heatmap(weights, "abcdefg")
    with pytest.raises(ValueError, match="received shape"):
        attention_heatmap(weights[None])
