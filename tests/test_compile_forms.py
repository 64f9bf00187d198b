"""Losses, metrics and weights in every form that fits the outputs, with the values and names of Keras 3.15."""

import numpy as np
import pytest
from compile_forms import CASES, HISTORIES, MIXED, TWO, A, B, C, V, W, X, compiled, evaluated, history

import pydl as keras
from pydl import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore:Gradients do not exist for variables")  # of outputs without a loss


@pytest.mark.parametrize("name", CASES)
def test_names_values_and_order_are_those_of_keras(name):
    found = history(keras, CASES[name])
    assert list(found) == list(HISTORIES[name])
    np.testing.assert_allclose(list(found.values()), list(HISTORIES[name].values()), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_evaluate_returns_the_same_as_a_list_and_by_name(name):
    values, by_name = evaluated(keras, CASES[name])
    assert list(values) == list(by_name.values())
    assert set(by_name) == set(HISTORIES[name])
    model = compiled(keras, CASES[name])
    y, weights = CASES[name][1], CASES[name][3] if len(CASES[name]) > 3 else None
    assert list(np.ravel(model.test_on_batch(X, y, weights))) == list(model.test_on_batch(X, y, weights, True).values())
    assert model.metrics_names == list(by_name)


# Forms that Keras refuses, or computes wrong, and what they mean here.
@pytest.mark.parametrize("given, meant", [
    (("a", {"a": A}, {"loss": {"a": "mse"}, "metrics": {"a": "mae"}}), ("a", A, {"metrics": ["mae"]})),
    (("a", A, {"metrics": "mae"}), ("a", A, {"metrics": ["mae"]})),
    ((TWO, [A, B], {"loss": {"b": "mse"}}), (TWO, [A, B], {"loss": [None, "mse"]})),
    ((TWO, [A, B], {"loss_weights": [1.0, 0.5]}), (TWO, [A, B], {"loss": ["mse", "mse"], "loss_weights": [1.0, 0.5]})),
    ((TWO, [A, B], {"loss_weights": 0.5}), (TWO, [A, B], {"loss": ["mse", "mse"], "loss_weights": [0.5, 0.5]})),
    ((TWO, [A, B], {"loss": {"a": "mse", "b": "mae"}, "loss_weights": {"b": 0.5}}),
     (TWO, [A, B], {"loss": ["mse", "mae"], "loss_weights": [1.0, 0.5]})),
    (("[b, a]", [B, A], {"loss": ["mse", "mae"], "loss_weights": {"a": 2.0, "b": 0.5}}),  # by name, not by order
     ("[b, a]", [B, A], {"loss": ["mse", "mae"], "loss_weights": [0.5, 2.0]})),
    ((TWO, {"a": A, "b": B}, {"weighted_metrics": {"b": ["mse"], "a": ["mae"]}}, {"b": V, "a": W}),
     (TWO, [A, B], {"weighted_metrics": [["mae"], ["mse"]]}, [W, V])),
    ((MIXED, {"p": A, "q": [B, C]}, {"metrics": {"q": [None, "mae"]}}),
     (MIXED, {"p": A, "q": [B, C]}, {"metrics": {"p": None, "q": [None, ["mae"]]}})),
    (("[{r: a, s: b}, c]", ({"r": A, "s": B}, C), {"loss": ({"r": "mse", "s": "mae"}, "mse")}),
     ("[{r: a, s: b}, c]", [{"r": A, "s": B}, C], {"loss": [{"r": "mse", "s": "mae"}, "mse"]})),
])
def test_forms_beyond_those_of_keras(given, meant):
    assert history(keras, given) == history(keras, meant)


@pytest.mark.parametrize("case, text", [
    (("a", A, {"loss": {"z": "mse"}}), "`loss`: key 'z' does not correspond to any model output"),
    (("a", A, {"loss": ["mse", "mae"]}), "`loss`: expected one entry for output 'a'; received a list of 2"),
    (("a", A, {"metrics": {"z": "mae"}}), "`metrics`: key 'z' does not correspond"),
    ((TWO, [A, B], {"loss": {"a": "mse", "z": "mse"}}), r"`loss`: key 'z'.*Expected keys from \['a', 'b'\]"),
    ((TWO, [A, B], {"metrics": {"a": "mae", "z": "mae"}}), "`metrics`: key 'z'"),
    ((TWO, [A, B], {"weighted_metrics": {"z": "mae"}}), "`weighted_metrics`: key 'z'"),
    ((TWO, [A, B], {"loss_weights": {"z": 1.0}}), "`loss_weights`: key 'z'"),
    ((TWO, {"a": A, "z": B}, {}), "`y`: key 'z'"),
    ((TWO, [A, B], {}, {"z": W}), "`sample_weight`: key 'z'"),
    ((TWO, [A, B], {}, [W]), "`sample_weight` has 1 entries; the model has 2 outputs"),
    ((TWO, [A, B], {"metrics": ["mae"]}), "`metrics` has 1 entries; the model has 2 outputs"),
    ((TWO, [A, B], {"metrics": ["mae", "mse", "mape"]}), "`metrics` has 3 entries"),
    ((TWO, [A, B], {"loss": ["mse"]}), "`loss` has 1 entries"),
    ((TWO, [A, B], {"loss": ["mse", "mae", "mae"]}), "`loss` has 3 entries"),
    ((TWO, [A, B], {"loss": ["mse", "mae"], "loss_weights": [1.0]}), "`loss_weights` has 1 entries"),
    ((TWO, [A, B], {"loss": ["mae", ["mse", "mae"]], "loss_weights": [1.0, [2.0]]}), "must match the 2 losses"),
    (("(a, b)", (A, B), {"loss": ["mae", ("mse", "mse")], "loss_weights": [1.0]}), "must match the 2 losses"),
    (("(a, b)", (A, B), {"loss": ["mae", ("mse", "mse")]}, [W, V]), "expected one for the outputs"),
    ((TWO, A, {}), "`y` has 1 entries"),
    ((TWO, [A], {}), "`y` has 1 entries"),
    ((TWO, [A, None], {}), "No target for output \"b\""),
    ((TWO, [A, None], {"loss": ["mse", None], "metrics": [None, "mae"]}), "No target for output \"b\": the metric"),
    (("{v: a, u: b}", {"v": A}, {}), "No target for output \"u\""),
    ((MIXED, {"p": A, "q": [B, C]}, {"loss": {"p": "mse", "q": ["mae", "mse", "mse"]}}), "`loss` has 3 entries"),
    ((MIXED, {"p": A, "q": [B, C]}, {"loss": {"p": "mse", "x": "mae"}}), "`loss`: key 'x'"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_fits_no_output_is_refused(case, text):
    with pytest.raises(ValueError, match=text):
        history(keras, case)


def test_several_losses_of_one_output_are_added():
    """Keras adds them too, and shows the last of them."""
    got = history(keras, (TWO, [A, B], {"loss": ["mse", ["mse", "mae"]], "loss_weights": [1.0, [1.0, 0.5]]}))
    assert list(got) == ["a_loss", "b_loss", "loss"]
    model = compiled(keras, (TWO, [A, B], {"loss": ["mse", ["mse", "mae"]], "loss_weights": [1.0, [1.0, 0.5]]}))
    a, b = model.predict(X, verbose=0)
    mse, mae = np.mean((b - B) ** 2), np.mean(np.abs(b - B))
    np.testing.assert_allclose(model.evaluate(X, [A, B], verbose=0),
                               [np.mean((a - A) ** 2) + mse + 0.5 * mae, np.mean((a - A) ** 2), mse + mae], rtol=1e-5)


def test_a_list_of_one_output_is_trained_on_all_rows():
    """It was trained on the first row of the output alone."""
    assert history(keras, CASES["list of one"]) == history(keras, CASES["one"])


def test_a_loss_of_a_container_is_given_its_structure():
    seen = []

    def both(y_true, y_pred):
        seen.append((type(y_true), type(y_pred)))
        return ops.mean(ops.square(y_true["u"] - y_pred["u"]), -1) + ops.mean(ops.abs(y_true["v"] - y_pred["v"]), -1)

    case = ("{v: a, u: b}", {"u": B, "v": A}, {"loss": [both]})
    want = history(keras, ("{v: a, u: b}", {"u": B, "v": A}, {"loss": {"u": "mse", "v": "mae"}}))
    assert history(keras, case)["loss"] == want["loss"]
    assert set(seen) == {(dict, dict)}


def test_compute_loss_may_make_outputs_of_its_own():
    """The losses are matched to what it passes on, and named by themselves where the model has no names for that."""
    class Doubled(keras.Model):
        def compute_loss(self, x, y, y_pred, sample_weight=None, **kwargs):
            return super().compute_loss(x=x, y=y, y_pred=[y_pred, y_pred], sample_weight=sample_weight, **kwargs)

    x = keras.Input((2,))
    model = Doubled(x, layers.Dense(2, name="a")(x))
    model.compile("sgd", ["mse", "mean_absolute_error"])
    found = model.fit(X, (A, B), verbose=0).history
    assert list(found) == ["loss", "mean_absolute_error_loss", "mse_loss"]
    np.testing.assert_allclose(found["loss"], np.add(found["mse_loss"], found["mean_absolute_error_loss"]), rtol=1e-6)


def test_a_step_may_have_other_outputs_than_the_graph():
    class Half(keras.Model):
        def train_step(self, data):
            x, y = data
            loss = self.compute_loss(x, y, self(x, training=True)[0])
            loss.backward()
            self.optimizer.apply([v.grad for v in self.trainable_variables[:1]], self.trainable_variables[:1])
            self.zero_grad()
            return {"loss": loss}

    x = keras.Input((2,))
    model = Half(x, [layers.Dense(2, name="a")(x), layers.Dense(2, name="b")(x)])
    model.compile("sgd", "mse")
    before = np.mean((model.predict(X, verbose=0)[0] - A) ** 2)
    np.testing.assert_allclose(model.train_on_batch(X, A), before, rtol=1e-5)


@pytest.mark.parametrize("units, y, meant", [
    (1, (A[:, :1] > 0) * 1.0, "binary_crossentropy"), (3, np.eye(3)[np.arange(12) % 3], "categorical_crossentropy"),
    (3, np.arange(12) % 3, "sparse_categorical_crossentropy"),
    (3, np.arange(12)[:, None] % 3, "sparse_categorical_crossentropy")])
@pytest.mark.parametrize("name", ["crossentropy", "ce"])
def test_crossentropy_is_chosen_by_the_shapes(units, y, meant, name):
    def loss(given):
        keras.utils.set_random_seed(0)
        end = layers.Dense(units, activation="softmax" if units > 1 else "sigmoid")
        model = keras.Sequential([keras.Input((2,)), end])
        model.compile("sgd", given)
        return model.evaluate(X, y, verbose=0)

    assert loss(name) == loss(meant)


def test_every_metric_leaves_out_what_a_mask_does():
    ids, y = np.array([[1, 2, 0, 0], [3, 0, 1, 2]]), np.random.default_rng(0).normal(size=(2, 4, 1)).astype("float32")
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(1)(layers.Embedding(4, 2, mask_zero=True)(x)))
    model.compile("sgd", "mse", metrics=["mse", "mae", "RootMeanSquaredError"])
    error = (model.predict(ids, verbose=0) - y)[ids > 0]
    found = model.evaluate(ids, y, verbose=0, return_dict=True)
    wanted = {"mse": (error**2).mean(), "mae": abs(error).mean(), "RootMeanSquaredError": (error**2).mean()**0.5}
    np.testing.assert_allclose([found[name] for name in wanted], [*wanted.values()], rtol=1e-5)
