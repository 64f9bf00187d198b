"""Weights, masks, reductions, shapes and names of the losses; their values are rows of cases/losses.py."""

import numpy as np
import pytest

import pydl
from cases.losses import LOSSES
from pydl import losses
from pydl.tensor import from_numpy

T = np.arange(6.0, dtype="float32").reshape(3, 2)
P = np.array([[1, 1], [2, 5], [3, 3]], "float32")
EACH = np.mean((T - P) ** 2, -1)  # 0.5, 2, 2.5




@pytest.mark.parametrize("reduction, expected", [
    ("sum_over_batch_size", lambda v, w: (v * w).sum() / 3), ("mean", lambda v, w: (v * w).sum() / 3),
    ("sum", lambda v, w: (v * w).sum()), ("mean_with_sample_weight", lambda v, w: (v * w).sum() / w.sum()),
    ("none", lambda v, w: v * w), (None, lambda v, w: v * w)])
def test_reductions_and_weights(reduction, expected):
    loss = losses.MeanSquaredError(reduction)
    np.testing.assert_allclose(loss(T, P).numpy(), expected(EACH, np.ones(3)), rtol=1e-6)
    weight = np.array([1.0, 0.0, 3.0])
    for given in (weight, weight[:, None], weight.tolist()):
        np.testing.assert_allclose(np.squeeze(loss(T, P, sample_weight=given).numpy()),
                                   expected(EACH, weight), rtol=1e-6)


def test_weights_of_zero():
    assert losses.MeanSquaredError("mean_with_sample_weight")(T, P, sample_weight=np.zeros(3)).numpy() == 0


def test_scalar_weight():
    np.testing.assert_allclose(losses.MeanSquaredError()(T, P, sample_weight=2.0).numpy(), 2 * EACH.mean(), rtol=1e-6)


def test_batch_weights_of_a_sequence():
    # (batch,) weights belong to the first axis of (batch, time) values, also when batch == time.
    t, p = np.zeros((3, 3, 2), "float32"), np.arange(18.0, dtype="float32").reshape(3, 3, 2)
    weight = np.array([1.0, 0.0, 2.0])
    each = np.mean(p**2, -1)
    got = losses.MeanSquaredError()(t, p, sample_weight=weight).numpy()
    np.testing.assert_allclose(got, np.mean(each * weight[:, None]), rtol=1e-6)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", None])
def test_mask(reduction):
    t, p = np.zeros((2, 3, 2), "float32"), np.arange(12.0, dtype="float32").reshape(2, 3, 2)
    mask = np.array([[True, True, False], [True, False, False]])
    each = np.mean(p**2, -1)

    def masked():
        tensor = from_numpy(p)
        tensor._keras_mask = from_numpy(mask)
        return tensor

    got = losses.MeanSquaredError(reduction)(t, masked()).numpy()
    weighted = losses.MeanSquaredError(reduction)(t, masked(), sample_weight=np.array([1.0, 2.0])).numpy()
    weight = np.array([[1.0], [2.0]]) * mask
    if reduction is None:
        np.testing.assert_allclose(got, each * mask, rtol=1e-6)
    elif reduction == "sum":
        np.testing.assert_allclose([got, weighted], [each[mask].sum(), (each * weight).sum()], rtol=1e-6)
    elif reduction == "sum_over_batch_size":
        np.testing.assert_allclose([got, weighted], [each[mask].mean(), (each * weight).sum() / 3], rtol=1e-6)
    else:
        np.testing.assert_allclose([got, weighted], [each[mask].mean(), (each * weight).sum() / weight.sum()],
                                   rtol=1e-6)


def test_everything_masked():
    tensor = from_numpy(P.copy())
    tensor._keras_mask = from_numpy(np.zeros(3, bool))
    assert losses.MeanSquaredError()(T, tensor).numpy() == 0


def test_ignore_class():
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    numbers = np.array([0, -1, 2, -1], "int32")
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    kept = losses.SparseCategoricalCrossentropy(from_logits=True)(numbers[::2], logits[::2]).numpy()
    np.testing.assert_allclose(loss(numbers, logits).numpy(), kept, rtol=1e-6)
    np.testing.assert_allclose(loss(numbers[:, None], logits).numpy(), kept, rtol=1e-6)


def test_ranks():
    line = np.array([1.0, 2.0, 4.0], "float32")
    expected = np.mean(line**2)
    for t, p in ((0 * line, line[:, None]), (0 * line[:, None], line), (0 * line, line)):
        np.testing.assert_allclose(losses.MeanSquaredError()(t, p).numpy(), expected, rtol=1e-6)
    with pytest.raises(ValueError, match=r"y_true.shape=\(3, 2\) and y_pred.shape=\(3, 4\)"):
        losses.MeanSquaredError()(T, np.zeros((3, 4), "float32"))


@pytest.mark.parametrize("name", ["BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy"])
def test_cross_entropies_do_not_broadcast(name):
    """Labels of one column are class numbers, not the same answer for every class: that trained on nonsense."""
    loss, p = getattr(losses, name)(), np.full((3, 3), 0.5, "float32")
    for t in (np.array([[0], [1], [2]]), np.array([0, 1, 2])):
        with pytest.raises(ValueError, match="same shape"):
            loss(t, p)
    assert losses.BinaryCrossentropy()(np.ones(3), np.full((3, 1), 0.5)).numpy() > 0  # an axis of 1 is no other shape


def test_configs_hold_what_those_of_keras_do():
    """Keras's config of these never holds the argument, so that a file forgets it; here it does where it matters."""
    assert losses.Huber(reduction="sum", name="huber").get_config() == {"name": "huber", "reduction": "sum"}
    assert losses.CosineSimilarity().get_config() == {"name": "cosine_similarity", "reduction": "sum_over_batch_size"}
    for loss in (losses.Huber(delta=2.0), losses.CosineSimilarity(axis=1),
                 losses.SparseCategoricalCrossentropy(axis=1)):
        assert type(loss).from_config(loss.get_config())._fn_kwargs == loss._fn_kwargs


def test_signed_labels_of_the_hinge():
    t = np.array([[-1.0, 1.0]], "float32")
    p = np.array([[0.3, -0.2]], "float32")
    expected = np.mean(np.maximum(1 - t * p, 0))
    np.testing.assert_allclose(losses.Hinge()(t, p).numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.Hinge()((t + 1) / 2, p).numpy(), expected, rtol=1e-6)


def test_finite_at_saturated_outputs():
    hit, miss = np.array([[1.0, 0.0]], "float32"), np.array([[0.0, 1.0]], "float32")
    for loss in (losses.BinaryCrossentropy(), losses.CategoricalCrossentropy(), losses.KLDivergence()):
        assert np.isfinite(loss(hit, miss).numpy()) and loss(hit, miss).numpy() > 10
        assert abs(loss(hit, hit).numpy()) < 1e-6
    for loss in (losses.BinaryCrossentropy(from_logits=True), losses.CategoricalCrossentropy(from_logits=True)):
        assert np.isfinite(loss(hit, miss * 1e4).numpy())


def test_custom_loss():
    class Cubed(losses.Loss):
        def call(self, y_true, y_pred):
            return pydl.ops.mean((y_true - y_pred) ** 2 * (y_true - y_pred), axis=-1)

    loss = Cubed()
    assert loss.name.startswith("cubed") and loss.dtype == "float32"
    np.testing.assert_allclose(loss(T, P).numpy(), np.mean((T - P) ** 3), rtol=1e-5)
    with pytest.raises(NotImplementedError, match="has no `call"):
        losses.Loss()(T, P)


@pytest.mark.parametrize("row", LOSSES, ids=str)
def test_config_round_trip(row):
    first = getattr(losses, row.name)(**row.args, reduction="sum", name="mine")
    plain = losses.serialize(first)
    assert plain["module"] == "keras.losses" and plain["class_name"] == row.name
    again = losses.deserialize(plain)
    assert type(again) is type(first) and again.get_config() == first.get_config()
    assert (again.name, again.reduction) == ("mine", "sum")
    rng = np.random.default_rng(0)
    inputs = [np.asarray(draw(rng)) for draw in row.inputs]
    np.testing.assert_array_equal(again(*inputs).numpy(), first(*inputs).numpy())


def test_get():
    assert losses.get(None) is None
    assert losses.get("mse") is losses.get("MSE") is losses.mean_squared_error
    assert losses.get("categorical_crossentropy") is losses.categorical_crossentropy
    assert isinstance(losses.get("MeanSquaredError"), losses.MeanSquaredError)
    assert isinstance(losses.get(losses.Huber), losses.Huber)
    assert losses.get({"class_name": "Huber", "config": {"delta": 3.0}}).get_config()["delta"] == 3.0
    mine = losses.Huber()
    assert losses.get(mine) is mine
    with pytest.raises(ValueError, match="Could not interpret loss identifier: mes"):
        losses.get("mes")
    with pytest.raises(ValueError, match="Invalid value for argument `reduction`.*Received: reduction=avg"):
        losses.MeanSquaredError(reduction="avg")
    with pytest.raises(ValueError, match="`axis` must be of type `int`"):
        losses.categorical_crossentropy(T, P, axis=True)
    with pytest.warns(SyntaxWarning, match="over one class"):
        losses.categorical_crossentropy(np.ones((2, 1)), np.ones((2, 1)))


def test_wrapper_of_a_function():
    wrapper = losses.LossFunctionWrapper(losses.huber, delta=2.0, name="h")
    again = losses.deserialize(losses.serialize(wrapper))
    assert again.fn is losses.huber and again.get_config() == wrapper.get_config()
    np.testing.assert_allclose(again(T, P).numpy(), losses.Huber(2.0)(T, P).numpy())
